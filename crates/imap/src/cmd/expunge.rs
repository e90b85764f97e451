//! EXPUNGE (RFC 9051 §6.4.3) and UID EXPUNGE (§6.4.9, RFC 4315 §2.1).
//!
//! ```text
//! expunge     = "EXPUNGE"
//! uid-expunge = "UID" SP "EXPUNGE" SP sequence-set
//! ```

use crate::commands::Verb;
use crate::parse::{Parsed, Parser, Set};
use crate::reply::{Answer, Done};
use crate::session::Session;
use types::UidSet;

pub(crate) struct Expunge(Option<Set>);

impl Verb for Expunge {
    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        if !p.by_uid {
            return Ok(Self(None));
        }
        p.sp()?;
        p.set().map(|set| Self(Some(set)))
    }

    async fn run(self, session: &mut Session) -> Answer {
        let (account, mailbox) = session.writable()?;
        let uids = match &self.0 {
            Some(set) => session.view()?.resolve(set, true)?,
            None => UidSet::all(),
        };
        // What went is told like everybody's changes, from the log.
        session.store().expunge(account, mailbox, uids).await?;
        Ok(Done::new("Expunged"))
    }
}
