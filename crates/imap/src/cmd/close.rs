//! CLOSE (RFC 9051 §6.4.1) and UNSELECT (§6.4.2): leave the mailbox, with or without tidying up.
//!
//! ```text
//! close    = "CLOSE"
//! unselect = "UNSELECT"
//! ```

use crate::commands::Verb;
use crate::parse::{Parsed, Parser};
use crate::reply::{Answer, Done};
use crate::session::Session;
use crate::sharing::Rights;
use types::UidSet;

pub(crate) struct Close;

impl Verb for Close {
    const NEEDS_LIST: bool = false;

    fn parse(_: &mut Parser<'_>) -> Parsed<Self> {
        Ok(Self)
    }

    async fn run(self, session: &mut Session) -> Answer {
        // RFC 4314 §4: without the right to expunge it is closed all the same.
        if let Ok((account, mailbox)) = session.writable(Rights::EXPUNGE) {
            session.store().expunge(account, mailbox, UidSet::all()).await?;
        }
        session.selected = None;
        Ok(Done::new("Mailbox closed"))
    }
}

pub(crate) struct Unselect;

impl Verb for Unselect {
    const NEEDS_LIST: bool = false;

    fn parse(_: &mut Parser<'_>) -> Parsed<Self> {
        Ok(Self)
    }

    async fn run(self, session: &mut Session) -> Answer {
        session.selected = None;
        Ok(Done::new("Mailbox left as it is"))
    }
}
