//! MOVE (RFC 9051 §6.4.8, RFC 6851) and UID MOVE.
//!
//! ```text
//! move = "MOVE" SP sequence-set SP mailbox
//! ```

use super::copy::{Copy, across, copy_uid};
use crate::commands::Verb;
use crate::parse::{Parsed, Parser};
use crate::progress::reporting;
use crate::reply::{Answer, Done, try_create};
use crate::session::Session;
use crate::sharing::Rights;

pub(crate) struct Move(Copy);

impl Verb for Move {
    const BY_NUMBER: bool = true;

    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        Copy::parse(p).map(Self)
    }

    async fn run(self, session: &mut Session) -> Answer {
        let Copy { set, by_uid, to } = self.0;
        let (account, mailbox) = session.writable(Rights::EXPUNGE.with(Rights::DELETED))?;
        let uids = session.view()?.resolve(&set, by_uid)?;
        let to = session.target(&to).await?;
        let moved = if session.view()?.shared.is_none() && to.is_own() {
            let store = session.store();
            let moving = store.move_messages(account, mailbox, uids, to.mailbox.id);
            reporting(&mut session.wire, &session.tag, moving).await?.map_err(try_create)?
        } else {
            Box::pin(across(session, &uids, &to, true)).await?
        };
        // RFC 6851 §4.3: before the EXPUNGE responses, which follow from the log.
        if let Some(code) = copy_uid(&moved) {
            session.wire.say(&format!("* OK [{code}] Moved"));
        }
        Ok(Done::new("Moved"))
    }
}
