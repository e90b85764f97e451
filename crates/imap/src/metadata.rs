//! Annotations of mailboxes and of the account (RFC 5464): their names, and where they are kept.
//!
//! A shared one of a mailbox is a note of that name; a private one has the number of the account in front of it, so that
//! everybody whom a mailbox is shared with has their own. With an empty mailbox name the private ones are the
//! account's; the shared ones there are the server's, and nobody has written any.

use crate::parse::{Parsed, Parser};
use crate::reply::Error;
use crate::session::Session;
use crate::sharing::{NO_PERMISSION, Named, Rights};
use storage::Store;
use types::{AccountId, MailboxId};

/// Entries of one command.
pub(crate) const ENTRIES: usize = 100;
/// A name, in bytes; with the account's number in front it must fit into a note's.
const NAME_BYTES: usize = 512;
/// A value, in bytes: half of what a command may have.
pub(crate) const VALUE_BYTES: usize = 32 << 10;
const SHARED: &str = "/shared";
const PRIVATE: &str = "/private";
/// RFC 5464 §3.3: who may see the mailbox and do any of this with it.
const READS: Rights =
    Rights::READ.with(Rights::SEEN).with(Rights::WRITE).with(Rights::INSERT).with(Rights::POST);

/// `/shared/comment`, as the client writes it. Names do not depend on case (RFC 5464 §3.2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry(String);

impl Entry {
    pub(crate) fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        let name = p.astring()?;
        match str::from_utf8(&name).ok().filter(|name| is_allowed(name)) {
            Some(name) => Ok(Self(name.to_owned())),
            None => p.wanted("the name of an entry, /private/... or /shared/..."),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    pub(crate) fn is_shared(&self) -> bool {
        self.0.get(..SHARED.len()).is_some_and(|start| start.eq_ignore_ascii_case(SHARED))
    }
}

fn is_allowed(name: &str) -> bool {
    let below = |top: &str| {
        let start = name.get(..top.len()).filter(|start| start.eq_ignore_ascii_case(top));
        start
            .and(name.get(top.len()..))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    name.len() <= NAME_BYTES
        && (below(SHARED) || below(PRIVATE))
        && name.bytes().all(|b| b.is_ascii_graphic() && !b"*%".contains(&b) || b == b' ')
        && !name.contains("//")
        && !name.ends_with('/')
}

/// What the client named: a mailbox, or the server and its account there.
pub(crate) struct Annotated {
    /// As the client is told it.
    pub(crate) name: String,
    /// Whose notes they are.
    pub(crate) account: AccountId,
    pub(crate) mailbox: Option<MailboxId>,
    me: AccountId,
    rights: Rights,
}

/// The notes of a mailbox that one may see, with their names as entries.
pub(crate) type Entries = Vec<(String, Vec<u8>)>;

impl Annotated {
    pub(crate) async fn find(session: &mut Session, name: &str) -> Result<Self, Error> {
        let me = session.account()?;
        if name.is_empty() {
            let (name, mailbox, rights) = (String::new(), None, Rights::ALL);
            return Ok(Self { name, account: me, mailbox, me, rights });
        }
        let named = session.named(name, Rights::LOOKUP).await?;
        if !named.rights.has_any(READS) {
            return Err(NO_PERMISSION);
        }
        Ok(Self::of(me, named))
    }

    pub(crate) fn of(me: AccountId, named: Named) -> Self {
        let Named { account, mailbox, rights, .. } = named;
        Self { name: mailbox.name, account, mailbox: Some(mailbox.id), me, rights }
    }

    /// The name of the note.
    pub(crate) fn note(&self, entry: &Entry) -> String {
        let name = entry.0.to_ascii_lowercase();
        match name.strip_prefix(PRIVATE) {
            Some(rest) if self.mailbox.is_some() => format!("{PRIVATE}{}{rest}", self.me),
            _ => name,
        }
    }

    /// Refuses what one may not write.
    pub(crate) fn check(&self, entry: &Entry) -> Result<(), Error> {
        match (entry.is_shared(), self.mailbox) {
            (true, None) => Err(Error::no("NOPERM", "what the server says of itself is fixed")),
            (true, Some(_)) if !self.rights.has(Rights::WRITE) => Err(NO_PERMISSION),
            _ => Ok(()),
        }
    }

    /// All there are, sorted by name.
    pub(crate) async fn entries(&self, store: &Store) -> Result<Entries, Error> {
        let (account, mailbox) = (self.account, self.mailbox);
        let own = match mailbox {
            Some(_) => format!("{PRIVATE}{}/", self.me),
            None => format!("{PRIVATE}/"),
        };
        let mut entries: Entries = Vec::new();
        for note in store.notes_under(account, mailbox, &own).await? {
            let rest = note.name.strip_prefix(&own).unwrap_or_default();
            entries.push((format!("{PRIVATE}/{rest}"), note.value));
        }
        let shared = store.notes_under(account, mailbox, "/shared/").await?;
        entries.extend(shared.into_iter().map(|note| (note.name, note.value)));
        entries.sort();
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_entries() {
        #[track_caller]
        fn check(name: &str, expect: bool) {
            assert_eq!(is_allowed(name), expect, "{name}");
        }
        check("/shared/comment", true);
        check("/PRIVATE/Vendor/x y", true);
        check("/shared", true);
        check("/private", true);
        for bad in [
            "",
            "/",
            "comment",
            "/other/x",
            "/sharedx",
            "/shared/",
            "/shared//x",
            "/shared/*",
            "/shared/%",
            "/shared/\u{17c}",
            "/shared/a\tb",
            "shared/x",
        ] {
            check(bad, false);
        }
        check(&format!("/shared/{}", "x".repeat(NAME_BYTES)), false);
    }
}
