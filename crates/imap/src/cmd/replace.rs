//! REPLACE and UID REPLACE (RFC 8508): a letter is stored and an older message goes, in one step.
//!
//! ```text
//! replace     = "REPLACE" SP seq-number SP mailbox append-message
//! uid-replace = "UID" SP "REPLACE" SP uniqueid SP mailbox append-message
//! ```

use crate::commands::Verb;
use crate::parse::{Bound, Parsed, Parser, Set};
use crate::reply::{Answer, Done, Error, try_create};
use crate::session::Session;
use crate::sharing::{self, Rights};
use crate::upload::{self, Steps};
use storage::{Into, Replaced, Target};
use types::UidSet;

pub(crate) struct Replace {
    old: Set,
    by_uid: bool,
    mailbox: String,
    first: Steps,
}

impl Verb for Replace {
    const BY_NUMBER: bool = true;
    const STREAMS: bool = true;

    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        let before = p.clone();
        let old = p.set()?;
        let is_one = matches!(old.0.as_slice(), [(a, b)] if a == b && *a != Bound::Saved);
        if !is_one {
            return before.wanted("one message");
        }
        p.sp()?;
        Ok(Self { old, by_uid: p.by_uid, mailbox: p.mailbox()?, first: Steps::first(p)? })
    }

    async fn run(self, session: &mut Session) -> Answer {
        let me = session.account()?;
        let target = match self.old(session) {
            Ok(old) => session.target(&self.mailbox).await.map(|to| (old, to)),
            Err(error) => Err(error),
        };
        let ((old, to), mut letters) = upload::receive(session, self.first, target, 1).await?;
        let letter = letters.pop().ok_or(Error::Bad("there is no message"))?;
        let (store, (flags, is_seen)) = (session.store(), to.marks(&letter.flags));
        let (into, received_unix_s) = (Into::Mailbox(to.mailbox.id), letter.received_unix_s);
        let target = Target { account: to.account, into, flags, received_unix_s };
        let parsed = upload::parse(letter.bytes).await;
        let arrived = store.replace(parsed, target, old).await.map_err(try_create)?;
        if is_seen {
            sharing::mark_seen(&store, me, &to, UidSet::one(arrived.uid)).await?;
        }
        // Before the EXPUNGE (RFC 8508 §3.4), which is told like everybody's changes.
        let code = format!("APPENDUID {} {}", arrived.uid_validity, arrived.uid);
        session.wire.say(&format!("* OK [{code}] The new message is stored"));
        if !session.enabled.condstore {
            return Ok(Done::new("Replaced"));
        }
        // As after EXPUNGE (RFC 7162 §3.2.7).
        let modseq = store.view(old.account, old.mailbox).await?.mailbox().modseq;
        Ok(Done::with(format!("HIGHESTMODSEQ {modseq}"), "Replaced"))
    }
}

impl Replace {
    /// The message that goes, if it is there and may go (RFC 8508 §4.1).
    fn old(&self, session: &Session) -> Result<Replaced, Error> {
        let need = Rights::DELETED.with(Rights::EXPUNGE);
        let (account, mailbox) = session.writable(need)?;
        let uids = session.view()?.resolve(&self.old, self.by_uid)?;
        match session.view()?.members(&uids).as_slice() {
            [uid] => Ok(Replaced { account, mailbox, uid: *uid }),
            _ => Err(storage::Error::NoMessage.into()),
        }
    }
}
