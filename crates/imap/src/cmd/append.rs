//! APPEND (RFC 9051 §6.3.12), of letters in pieces (RFC 4469) and of several at once (RFC 3502) too.
//!
//! ```text
//! append  = "APPEND" SP mailbox 1*append-message
//! ```

use crate::commands::Verb;
use crate::parse::{Parsed, Parser};
use crate::reply::{Answer, Done, try_create};
use crate::session::Session;
use crate::sharing::{self, Named};
use crate::upload::{self, Steps};
use storage::{Arrived, Letter, Store};
use types::{Flags, UidSet};

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
        let mut marked = Vec::with_capacity(letters.len());
        let mut are_seen = Vec::with_capacity(letters.len());
        for letter in letters {
            let (flags, is_seen) = to.marks(&letter.flags);
            are_seen.push(is_seen);
            marked.push((upload::parse(letter.bytes).await, flags, letter.received_unix_s));
        }
        let arrived = store_all(&store, &to, marked).await.map_err(try_create)?;
        let uids: UidSet = arrived.iter().map(|one| one.uid).collect();
        let seen = arrived.iter().zip(are_seen).filter(|(_, is_seen)| *is_seen);
        let seen: UidSet = seen.map(|(one, _)| one.uid).collect();
        if !seen.is_empty() {
            sharing::mark_seen(&store, account, &to, seen).await?;
        }
        let validity = to.mailbox.uid_validity;
        let text = if arrived.len() == 1 { "Message stored" } else { "Messages stored" };
        Ok(Done::with(format!("APPENDUID {validity} {uids}"), text))
    }
}

/// All of them or none (RFC 3502 §3).
async fn store_all(
    store: &Store,
    to: &Named,
    mut letters: Vec<(Letter, Flags, Option<i64>)>,
) -> storage::Result<Vec<Arrived>> {
    let (account, mailbox) = (to.account, to.mailbox.id);
    if letters.len() > 1 {
        return store.append_all(account, mailbox, letters).await;
    }
    let Some((letter, flags, received)) = letters.pop() else { return Ok(Vec::new()) };
    Ok(vec![store.append(account, mailbox, letter, flags, received).await?])
}
