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
use crate::sharing::Rights;

pub(crate) struct Delete(String);

impl Verb for Delete {
    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        p.mailbox().map(Self)
    }

    async fn run(self, session: &mut Session) -> Answer {
        // Of one's own the store says what cannot be deleted.
        let mut named = session.named(&self.0, Rights::NONE).await?;
        if !named.is_own() {
            named = named.need(Rights::DELETE)?;
        }
        let (account, mailbox, store) = (named.account, named.mailbox.id, session.store());
        let below = format!("{}{SEPARATOR}", named.inner_name());
        let others = store.mailboxes(account).await?;
        if others.iter().any(|other| other.name.starts_with(&below)) {
            let text = "there are mailboxes below it; delete those first";
            return Err(Error::no("HASCHILDREN", text));
        }
        let is_selected = session.is_selected(account, mailbox);
        store.delete_mailbox(account, mailbox).await?;
        if is_selected {
            session.selected = None;
        }
        Ok(Done::new("Mailbox deleted"))
    }
}
