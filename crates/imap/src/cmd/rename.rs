//! RENAME (RFC 9051 §6.3.6).
//!
//! ```text
//! rename = "RENAME" SP mailbox SP mailbox
//! ```

use super::list;
use crate::commands::Verb;
use crate::parse::{Parsed, Parser};
use crate::pattern::SEPARATOR;
use crate::reply::{Answer, Done, Error};
use crate::session::Session;
use crate::sharing::{self, Rights};
use std::borrow::Cow;

const ELSEWHERE: Error = Error::No {
    code: "CANNOT",
    text: Cow::Borrowed("a mailbox stays with its owner; make a new one and move the messages"),
};

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
        let to = self.to.strip_suffix(SEPARATOR).unwrap_or(&self.to);
        let mut from = session.named(&self.from, Rights::NONE).await?;
        if from.is_own() == sharing::is_others(to) {
            return Err(ELSEWHERE);
        }
        let store = session.store();
        let mut inner = to;
        if !from.is_own() {
            from = from.need(Rights::DELETE)?;
            let me = session.me()?;
            let (account, _) = Box::pin(sharing::place(&store, (me.0, &me.1), to)).await?;
            if account != from.account {
                return Err(ELSEWHERE);
            }
            inner = sharing::split(to).map_or(to, |(_, inner)| inner);
        }
        store.rename_mailbox(from.account, from.mailbox.id, inner).await?;
        if session.enabled.rev2 {
            // RFC 9051 §6.3.9.7: what became of the name that the client knew.
            let mut renamed = store.mailbox_by_name(from.account, inner).await?;
            renamed.name.insert_str(0, from.prefix());
            list::one(session, &renamed, &from.mailbox.name).await?;
        }
        Ok(Done::new("Mailbox renamed"))
    }
}
