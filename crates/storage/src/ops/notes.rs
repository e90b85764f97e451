//! Notes about a mailbox or an account: annotations (RFC 5464), rights (RFC 4314).

use crate::writer::{Facts, Intent};
use crate::{Error, Result};
use db::{Op, SEEN_BY};
use std::collections::{BTreeMap, BTreeSet};
use types::{AccountId, MailboxId, ModSeq};

/// The name of a note, in bytes.
pub const NOTE_NAME_BYTES: usize = 1024;
/// What is noted, in bytes: a few pages of text or a small picture, no letters.
pub const NOTE_BYTES: usize = 65_536;
/// Notes of one mailbox, or of an account itself, of one kind: rights, annotations for all, those of one user. So nobody
/// takes the room of others.
pub const NOTES: usize = 1_000;
/// Before the name of a mailbox, in the name of a note about the account: it is subscribed, and not one of the account's
/// (any more).
pub const SUBSCRIBED: &str = "subscribed/";

pub(crate) struct PutNotes {
    pub(crate) account: AccountId,
    pub(crate) mailbox: Option<MailboxId>,
    /// `None`: no longer.
    pub(crate) notes: Vec<(String, Option<Vec<u8>>)>,
    /// What those of them must be that somebody read before he wrote.
    pub(crate) before: Vec<(String, Option<Vec<u8>>)>,
}

impl Intent for PutNotes {
    type Outcome = ModSeq;

    fn accounts(&self) -> Vec<AccountId> {
        vec![self.account]
    }

    fn resolve(&self, facts: &mut Facts<'_>) -> Result<ModSeq> {
        let (account, mailbox) = (self.account, self.mailbox);
        let before = facts.account(account)?.modseq;
        if let Some(mailbox) = mailbox {
            facts.mailbox(account, mailbox)?;
        }
        let too_large = |(name, value): &(String, Option<Vec<u8>>)| {
            name.len() > NOTE_NAME_BYTES
                || name.starts_with(SEEN_BY)
                || value.as_ref().is_some_and(|value| value.len() > NOTE_BYTES)
        };
        if self.notes.iter().any(too_large) {
            return Err(Error::NoteTooLarge);
        }
        for (name, value) in &self.before {
            if facts.txn.note(account, mailbox, name)? != *value {
                return Err(Error::NoteChanged);
            }
        }
        // Of a name that stands there twice the last one counts.
        let notes: BTreeMap<&str, &Option<Vec<u8>>> =
            self.notes.iter().map(|(name, value)| (&name[..], value)).collect();
        let mut changed = Vec::new();
        for kind in notes.keys().map(|name| kind(name)).collect::<BTreeSet<_>>() {
            let there = facts.txn.notes_under(account, mailbox, kind)?;
            let there: BTreeMap<&str, &Vec<u8>> =
                there.iter().map(|row| (&row.name[..], &row.value)).collect();
            let new = notes.iter().filter(|(name, _)| self::kind(name) == kind);
            let mut count = there.len();
            for (name, value) in new {
                let old = there.get(name).copied();
                count = count + usize::from(value.is_some()) - usize::from(old.is_some());
                if value.as_ref() != old {
                    changed.push(((*name).to_owned(), (*value).clone()));
                }
            }
            if count > NOTES.max(there.len()) {
                return Err(Error::TooManyNotes);
            }
        }
        if changed.is_empty() {
            return Ok(before);
        }
        let modseq = facts.next_change(account)?;
        for (name, value) in changed {
            facts.put(&Op::NotePut { account, mailbox, modseq, name, value })?;
        }
        Ok(modseq)
    }
}

/// `acl/`, `/shared/`, `/private7/`: what stands up to the second level.
fn kind(name: &str) -> &str {
    let first = usize::from(name.starts_with('/'));
    let end = name.get(first..).and_then(|rest| rest.find('/'));
    end.and_then(|end| name.get(..=first + end)).unwrap_or(name)
}

impl Facts<'_> {
    /// A mailbox that goes stays subscribed (RFC 9051 §6.3.9: nobody but the client takes a name off that list).
    pub(super) fn keep_subscription(
        &mut self,
        account: AccountId,
        name: &str,
        modseq: ModSeq,
    ) -> Result<()> {
        if self.txn.notes_under(account, None, SUBSCRIBED)?.len() >= NOTES {
            return Ok(());
        }
        let (name, value) = (format!("{SUBSCRIBED}{name}"), Some(Vec::new()));
        self.put(&Op::NotePut { account, mailbox: None, modseq, name, value })
    }

    /// Of a mailbox that is there again, or for the first time, its own row says whether it is subscribed.
    pub(super) fn end_subscription(
        &mut self,
        account: AccountId,
        name: &str,
        modseq: ModSeq,
    ) -> Result<()> {
        let name = format!("{SUBSCRIBED}{name}");
        if self.txn.note(account, None, &name)?.is_none() {
            return Ok(());
        }
        self.put(&Op::NotePut { account, mailbox: None, modseq, name, value: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        let check = |name: &str, expect: &str| assert_eq!(kind(name), expect);
        check("acl/bob@example.test", "acl/");
        check("/shared/vendor/x", "/shared/");
        check("/private7/comment", "/private7/");
        check("plain", "plain");
        check("", "");
        check("/", "/");
    }
}
