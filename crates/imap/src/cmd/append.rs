//! APPEND (RFC 9051 §6.3.12), of letters in pieces too (RFC 4469).
//!
//! ```text
//! append  = "APPEND" SP mailbox 1*append-message
//! ```

use crate::commands::Verb;
use crate::parse::{Parsed, Parser};
use crate::reply::{Answer, Done, try_create};
use crate::session::Session;
use crate::sharing;
use crate::upload::{self, Steps};
use types::UidSet;

pub(crate) struct Append {
    mailbox: String,
    first: Steps,
}

impl Verb for Append {
    const STREAMS: bool = true;

    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        Ok(Self { mailbox: p.mailbox()?, first: Steps::first(p)? })
    }

    async fn run(self, session: &mut Session) -> Answer {
        let account = session.account()?;
        let target = session.target(&self.mailbox).await;
        let (to, letters) = upload::receive(session, self.first, target, upload::LETTERS).await?;
        let store = session.store();
        let mut done = (None, UidSet::default());
        let mut seen = UidSet::default();
        for letter in letters {
            let (flags, is_seen) = to.marks(&letter.flags);
            let parsed = upload::parse(letter.bytes).await;
            let received = letter.received_unix_s;
            let arrived = store.append(to.account, to.mailbox.id, parsed, flags, received).await;
            let arrived = arrived.map_err(try_create)?;
            done.0 = Some(arrived.uid_validity);
            done.1.insert(arrived.uid);
            if is_seen {
                seen.insert(arrived.uid);
            }
        }
        if !seen.is_empty() {
            sharing::mark_seen(&store, account, &to, seen).await?;
        }
        let code = done.0.map(|validity| format!("APPENDUID {validity} {}", done.1));
        Ok(Done::with(code, "Message stored"))
    }
}
