//! SUBSCRIBE (RFC 9051 §6.3.7) and UNSUBSCRIBE (§6.3.8).
//!
//! ```text
//! subscribe   = "SUBSCRIBE" SP mailbox
//! unsubscribe = "UNSUBSCRIBE" SP mailbox
//! ```

use crate::commands::Verb;
use crate::parse::{Parsed, Parser};
use crate::reply::{Answer, Done};
use crate::session::Session;

pub(crate) struct Subscribe(String);

impl Verb for Subscribe {
    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        p.mailbox().map(Self)
    }

    async fn run(self, session: &mut Session) -> Answer {
        let account = session.account()?;
        let store = session.store();
        let mailbox = store.mailbox_by_name(account, &self.0).await?;
        store.subscribe_mailbox(account, mailbox.id, true).await?;
        Ok(Done::new("Subscribed"))
    }
}

pub(crate) struct Unsubscribe(String);

impl Verb for Unsubscribe {
    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        p.mailbox().map(Self)
    }

    async fn run(self, session: &mut Session) -> Answer {
        let account = session.account()?;
        let store = session.store();
        match store.mailbox_by_name(account, &self.0).await {
            Ok(mailbox) => store.subscribe_mailbox(account, mailbox.id, false).await?,
            // Clients unsubscribe after DELETE; what is gone is not subscribed.
            Err(storage::Error::NoMailbox) => {}
            Err(other) => return Err(other.into()),
        }
        Ok(Done::new("Not subscribed any more"))
    }
}
