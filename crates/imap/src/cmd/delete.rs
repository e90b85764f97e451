//! DELETE (RFC 9051 §6.3.5).
//!
//! ```text
//! delete = "DELETE" SP mailbox
//! ```

use crate::commands::Verb;
use crate::parse::{Parsed, Parser};
use crate::pattern::SEPARATOR;
use crate::reply::{Answer, Done, Error};
use crate::session::Session;

pub(crate) struct Delete(String);

impl Verb for Delete {
    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        p.mailbox().map(Self)
    }

    async fn run(self, session: &mut Session) -> Answer {
        let account = session.account()?;
        let store = session.store();
        let mailbox = store.mailbox_by_name(account, &self.0).await?;
        let below = format!("{}{SEPARATOR}", mailbox.name);
        let others = store.mailboxes(account).await?;
        if others.iter().any(|other| other.name.starts_with(&below)) {
            let text = "there are mailboxes below it; delete those first";
            return Err(Error::no("HASCHILDREN", text));
        }
        store.delete_mailbox(account, mailbox.id).await?;
        if session.selected.as_ref().is_some_and(|s| s.mailbox == mailbox.id) {
            session.selected = None;
        }
        Ok(Done::new("Mailbox deleted"))
    }
}
