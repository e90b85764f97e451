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
use crate::sharing::Rights;
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
        let (account, mailbox) = session.writable(Rights::EXPUNGE)?;
        let uids = match &self.0 {
            Some(set) => session.view()?.resolve(set, true)?,
            None => UidSet::all(),
        };
        // What went is told like everybody's changes, from the log.
        let store = session.store();
        let gone = store.expunge(account, mailbox, uids).await?;
        if gone.is_empty() || !session.enabled.condstore {
            return Ok(Done::new("Expunged"));
        }
        // RFC 7162 §3.2.7. All up to there is told before this.
        let modseq = store.view(account, mailbox).await?.mailbox().modseq;
        Ok(Done::with(format!("HIGHESTMODSEQ {modseq}"), "Expunged"))
    }
}
