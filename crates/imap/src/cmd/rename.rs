//! RENAME (RFC 9051 §6.3.6).
//!
//! ```text
//! rename = "RENAME" SP mailbox SP mailbox
//! ```

use super::list;
use crate::commands::Verb;
use crate::parse::{Parsed, Parser};
use crate::pattern::SEPARATOR;
use crate::reply::{Answer, Done};
use crate::session::Session;

pub(crate) struct Rename {
    from: String,
    to: String,
}

impl Verb for Rename {
    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        let from = p.mailbox()?;
        p.sp()?;
        Ok(Self { from, to: p.mailbox()? })
    }

    async fn run(self, session: &mut Session) -> Answer {
        let account = session.account()?;
        let store = session.store();
        let mailbox = store.mailbox_by_name(account, &self.from).await?;
        let to = self.to.strip_suffix(SEPARATOR).unwrap_or(&self.to);
        store.rename_mailbox(account, mailbox.id, to).await?;
        if session.enabled.rev2 {
            // RFC 9051 §6.3.9.7: what became of the name that the client knew.
            let renamed = store.mailbox_by_name(account, to).await?;
            list::one(session, &renamed, &mailbox.name).await?;
        }
        Ok(Done::new("Mailbox renamed"))
    }
}
