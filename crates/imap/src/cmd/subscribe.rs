//! SUBSCRIBE (RFC 9051 §6.3.7) and UNSUBSCRIBE (§6.3.8).
//!
//! ```text
//! subscribe   = "SUBSCRIBE" SP mailbox
//! unsubscribe = "UNSUBSCRIBE" SP mailbox
//! ```

use crate::commands::Verb;
use crate::parse::{Parsed, Parser};
use crate::reply::{Answer, Done, Error};
use crate::session::Session;
use crate::sharing::{self, Rights};

pub(crate) struct Subscribe(String);

impl Verb for Subscribe {
    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        p.mailbox().map(Self)
    }

    async fn run(self, session: &mut Session) -> Answer {
        let named = session.named(&self.0, Rights::LOOKUP).await?;
        let (account, store) = (session.account()?, session.store());
        if named.is_own() {
            store.subscribe_mailbox(account, named.mailbox.id, true).await?;
        } else {
            sharing::subscribe(&store, account, &named.mailbox.name, true).await?;
        }
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
        if sharing::is_others(&self.0) {
            // No right is needed for it (RFC 4314 §4).
            let name = match session.named(&self.0, Rights::NONE).await {
                Ok(named) => named.mailbox.name,
                Err(Error::Storage(storage::Error::NoMailbox)) => self.0,
                Err(other) => return Err(other),
            };
            sharing::subscribe(&store, account, &name, false).await?;
            return Ok(Done::new("Not subscribed any more"));
        }
        match store.mailbox_by_name(account, &self.0).await {
            Ok(mailbox) => store.subscribe_mailbox(account, mailbox.id, false).await?,
            // Clients do it after DELETE, which keeps the name on the list.
            Err(storage::Error::NoMailbox) => {
                sharing::subscribe(&store, account, &self.0, false).await?;
            }
            Err(other) => return Err(other.into()),
        }
        Ok(Done::new("Not subscribed any more"))
    }
}
