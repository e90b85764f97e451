//! Compares the live index with one built from the log, row by row, and checks what must always hold.

use super::words;
use super::{Doing, Progress};
use crate::Result;
use db::{AccountRow, Amount, ChangeRow, EmailRow, MailboxRow, MessageRow, Read};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;
use types::{AccountId, EmailId, Flag, ModSeq, UidSet};

/// Lines about differences; the rest is counted.
pub(super) const LINES: usize = 100;

/// What is wrong, the first [`LINES`] in words.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) lines: Vec<String>,
    pub(super) more: u64,
}

impl Lines {
    pub(super) fn push(&mut self, line: impl FnOnce() -> String) {
        if self.lines.len() < LINES {
            self.lines.push(line());
        } else {
            self.more += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

/// Both indexes at the same place of the log.
pub(super) struct Compare<'a> {
    pub(super) live: &'a dyn Read,
    pub(super) fresh: &'a dyn Read,
    /// Message-ID hashes the log has put, to be looked up in both.
    pub(super) hashes: &'a [(AccountId, u64)],
    pub(super) differences: Lines,
    /// Rules the live index breaks by itself.
    pub(super) broken: Lines,
}

impl Compare<'_> {
    pub(super) fn run(&mut self, log: &Path, progress: Progress<'_>) -> Result<()> {
        let (live, fresh) = (by_id(self.live.accounts()?), by_id(self.fresh.accounts()?));
        for (id, row) in &fresh {
            if !live.contains_key(id) {
                self.differences.push(|| format!("{} is missing from the index", row.key));
            }
        }
        let total = live.len() as u64;
        for (done, (id, row)) in (0..).zip(&live) {
            progress(Doing::Comparing, done, total);
            match fresh.get(id) {
                Some(expect) => self.account(row, expect)?,
                None => self
                    .differences
                    .push(|| format!("{} is in the index and not in the log", row.key)),
            }
        }
        self.aliases()?;
        self.emails(log)?;
        for (account, hash) in self.hashes {
            let found = self.live.thread_of(*account, *hash)?;
            let expect = self.fresh.thread_of(*account, *hash)?;
            if found != expect {
                let owner = words::account(self.live, *account);
                self.differences.push(|| {
                    format!(
                        "{owner}: a Message-ID leads to thread {} and not to {}",
                        shown(found),
                        shown(expect)
                    )
                });
            }
        }
        progress(Doing::Comparing, total, total);
        Ok(())
    }

    fn aliases(&mut self) -> Result<()> {
        let of = |read: &dyn Read| -> Result<BTreeMap<_, _>> {
            Ok(read.aliases()?.into_iter().map(|row| (row.key, row.targets.join(", "))).collect())
        };
        let (live, fresh) = (of(self.live)?, of(self.fresh)?);
        for (key, targets) in &fresh {
            match live.get(key) {
                None => {
                    self.differences.push(|| format!("alias {key} is missing from the index"));
                }
                Some(other) if other != targets => self.differences.push(|| {
                    format!("alias {key} leads to {other} in the index, by the log to {targets}")
                }),
                Some(_) => {}
            }
        }
        for key in live.keys().filter(|key| !fresh.contains_key(*key)) {
            self.differences.push(|| format!("alias {key} is in the index and not in the log"));
        }
        Ok(())
    }

    fn account(&mut self, live: &AccountRow, fresh: &AccountRow) -> Result<()> {
        let (name, id) = (&live.key, live.id);
        if live.secret != fresh.secret {
            self.differences.push(|| format!("{name}: another password than the log has"));
        }
        let mut field = |what: &str, live: &dyn Debug, fresh: &dyn Debug| {
            let (live, fresh) = (format!("{live:?}"), format!("{fresh:?}"));
            if live != fresh {
                self.differences.push(|| format!("{name}: {what} is {live}, by the log {fresh}"));
            }
        };
        field("the address", &live.key, &fresh.key);
        field("the last MODSEQ", &live.modseq.0, &fresh.modseq.0);
        field("the last mailbox id", &live.last_mailbox.0, &fresh.last_mailbox.0);
        field("the last UIDVALIDITY", &live.last_uid_validity.0, &fresh.last_uid_validity.0);
        field("the limit", &live.limit, &fresh.limit);
        field("what it holds", &live.used, &fresh.used);
        field("the first change kept", &live.changes_floor.0, &fresh.changes_floor.0);
        field("its notes", &self.live.notes(id, None)?, &self.fresh.notes(id, None)?);
        let of = |read: &dyn Read| -> Result<BTreeMap<_, _>> {
            Ok(read.mailboxes(id)?.into_iter().map(|row| (row.id, row)).collect())
        };
        let (mailboxes, expect) = (of(self.live)?, of(self.fresh)?);
        for row in expect.values().filter(|row| !mailboxes.contains_key(&row.id)) {
            self.differences
                .push(|| format!("{name}, {}: the mailbox is missing from the index", row.name));
        }
        let mut held = Amount::default();
        for row in mailboxes.values() {
            if let Some(expect) = expect.get(&row.id) {
                self.mailbox(live, row, expect)?;
            } else {
                self.differences.push(|| {
                    format!("{name}, {}: the mailbox is in the index and not in the log", row.name)
                });
            }
            let messages = self.live.messages(id, row.id, &UidSet::all())?;
            self.mailbox_rules(live, row, &messages)?;
            held = messages.iter().fold(held, |held, row| held.plus(Amount::of(row)));
        }
        if live.used != held {
            let (says, is) = (live.used, held);
            self.broken.push(|| {
                format!(
                    "{name}: counts {} messages of {} bytes, there are {} of {}",
                    says.messages, says.size_bytes, is.messages, is.size_bytes
                )
            });
        }
        self.changes(live)
    }

    fn mailbox(&mut self, owner: &AccountRow, live: &MailboxRow, fresh: &MailboxRow) -> Result<()> {
        let name = format!("{}, {}", owner.key, live.name);
        let (of, mailbox) = (owner.id, Some(live.id));
        let notes = (self.live.notes(of, mailbox)?, self.fresh.notes(of, mailbox)?);
        let mut field = |what: &str, live: &dyn Debug, fresh: &dyn Debug| {
            let (live, fresh) = (format!("{live:?}"), format!("{fresh:?}"));
            if live != fresh {
                self.differences.push(|| format!("{name}: {what} is {live}, by the log {fresh}"));
            }
        };
        field("the notes", &notes.0, &notes.1);
        field("the name", &live.name, &fresh.name);
        field("the special use", &live.special_use, &fresh.special_use);
        field("subscribed", &live.subscribed, &fresh.subscribed);
        field("UIDVALIDITY", &live.uid_validity.0, &fresh.uid_validity.0);
        field("UIDNEXT", &live.uid_next.map(types::Uid::get), &fresh.uid_next.map(types::Uid::get));
        field("the last MODSEQ", &live.modseq.0, &fresh.modseq.0);
        field("the MODSEQ that made it", &live.created.0, &fresh.created.0);
        field("the count of messages", &live.total, &fresh.total);
        field("the count of unread messages", &live.unseen, &fresh.unseen);
        field("the count of messages marked as deleted", &live.deleted, &fresh.deleted);
        field("the size in bytes", &live.size_bytes, &fresh.size_bytes);
        let rows = |read: &dyn Read| read.messages(owner.id, live.id, &UidSet::all());
        let by_uid = |rows: Vec<MessageRow>| -> BTreeMap<_, _> {
            rows.into_iter().map(|row| (row.uid, row)).collect()
        };
        let (mut found, expect) = (by_uid(rows(self.live)?), by_uid(rows(self.fresh)?));
        for (uid, expect) in expect {
            match found.remove(&uid) {
                None => {
                    let letter = words::email(self.fresh, expect.email);
                    self.differences
                        .push(|| format!("{name}, UID {uid} is missing from the index: {letter}"));
                }
                Some(row) if row != expect => self.message(&name, &row, &expect),
                Some(_) => {}
            }
        }
        for (uid, row) in found {
            let letter = words::email(self.live, row.email);
            self.differences
                .push(|| format!("{name}, UID {uid} is in the index and not in the log: {letter}"));
        }
        Ok(())
    }

    fn message(&mut self, mailbox: &str, live: &MessageRow, fresh: &MessageRow) {
        let uid = live.uid;
        let mut field = |what: &str, live: String, fresh: String| {
            if live != fresh {
                self.differences
                    .push(|| format!("{mailbox}, UID {uid}: {what} {live}, by the log {fresh}"));
            }
        };
        field("the letter is", live.email.to_string(), fresh.email.to_string());
        field("flags are", format!("({})", live.flags), format!("({})", fresh.flags));
        field("MODSEQ is", live.modseq.to_string(), fresh.modseq.to_string());
        field("received", words::when(live.received_unix_s), words::when(fresh.received_unix_s));
        field("saved", words::when(live.saved_unix_s), words::when(fresh.saved_unix_s));
        field("the size is", live.size_bytes.to_string(), fresh.size_bytes.to_string());
    }

    /// What must hold inside the live index, whatever the log says.
    fn mailbox_rules(
        &mut self,
        owner: &AccountRow,
        mailbox: &MailboxRow,
        rows: &[MessageRow],
    ) -> Result<()> {
        let name = format!("{}, {}", owner.key, mailbox.name);
        let with = |flag| rows.iter().filter(|row| row.flags.contains(flag)).count() as u64;
        let total = rows.len() as u64;
        let mut count = |what: &str, says: u64, is: u64| {
            if says != is {
                self.broken.push(|| format!("{name}: counts {says} {what}, there are {is}"));
            }
        };
        count("messages", mailbox.total, total);
        count("unread messages", mailbox.unseen, total - with(Flag::Seen));
        count("messages marked as deleted", mailbox.deleted, with(Flag::Deleted));
        count("bytes", mailbox.size_bytes, rows.iter().map(|row| u64::from(row.size_bytes)).sum());
        let (last, next) = (rows.last().map(|row| row.uid), mailbox.uid_next);
        if let (Some(last), Some(next)) = (last, next)
            && last >= next
        {
            self.broken.push(|| format!("{name}: UIDNEXT is {next}, UID {last} is given already"));
        }
        let newest = rows.iter().map(|row| row.modseq).max().unwrap_or(mailbox.modseq);
        if newest.max(mailbox.modseq) > owner.modseq {
            self.broken.push(|| {
                format!("{name}: MODSEQ {newest} is above the account's, which is {}", owner.modseq)
            });
        }
        for row in rows {
            let email = self.live.email(row.email)?;
            let uid = row.uid;
            match email {
                None => self.broken.push(|| {
                    format!("{name}, UID {uid}: its letter {} is not in the index", row.email)
                }),
                Some(email) if email.account != owner.id => {
                    self.broken.push(|| {
                        format!(
                            "{name}, UID {uid}: its letter {} belongs to another account",
                            row.email
                        )
                    });
                }
                Some(email) if email.blob.size_bytes != row.size_bytes => self.broken.push(|| {
                    let (says, is) = (row.size_bytes, email.blob.size_bytes);
                    format!("{name}, UID {uid}: says {says} bytes, its letter has {is}")
                }),
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn emails(&mut self, log: &Path) -> Result<()> {
        let last = self.live.last_ids()?.1.max(self.fresh.last_ids()?.1);
        let mut lengths = BTreeMap::new();
        for id in (1..=last.0).map(EmailId) {
            let (live, fresh) = (self.live.email(id)?, self.fresh.email(id)?);
            match (&live, &fresh) {
                (None, Some(_)) => {
                    let letter = words::email(self.fresh, id);
                    self.differences.push(|| format!("{letter} is missing from the index"));
                }
                (Some(_), None) => {
                    let letter = words::email(self.live, id);
                    self.differences
                        .push(|| format!("{letter} is in the index and not in the log"));
                }
                (Some(live), Some(fresh)) if live != fresh => self.email(live, fresh),
                (Some(_), Some(_)) | (None, None) => {}
            }
            let Some(row) = live else { continue };
            if self.live.homes(row.account, id)?.is_empty() {
                let letter = words::email(self.live, id);
                self.broken.push(|| format!("{letter} is in no mailbox"));
            }
            let at = row.blob.location;
            let length = *lengths
                .entry(at.segment)
                .or_insert_with(|| super::scan::segment_bytes(log, at.segment).unwrap_or(0));
            if at.offset + u64::from(row.blob.size_bytes) > length {
                let letter = words::email(self.live, id);
                self.broken.push(|| {
                    format!("{letter} would lie behind the end of segment {:x}", at.segment)
                });
            }
        }
        Ok(())
    }

    fn email(&mut self, live: &EmailRow, fresh: &EmailRow) {
        let name = words::email(self.fresh, fresh.id);
        let mut field = |what: &str, same: bool| {
            if !same {
                self.differences.push(|| format!("{name}: {what} is not what the log says"));
            }
        };
        field("its owner", live.account == fresh.account);
        field("its thread", live.thread == fresh.thread);
        field("its date", live.received_unix_s == fresh.received_unix_s);
        field("the place of its bytes", live.blob == fresh.blob);
        field("its part table", live.index == fresh.index);
    }

    fn changes(&mut self, owner: &AccountRow) -> Result<()> {
        let of = |read: &dyn Read| -> Result<Vec<_>> {
            // What is older may be forgotten; engines still know of some of it from other rows.
            let mut rows = read.changes(owner.id, owner.changes_floor, usize::MAX)?;
            rows.sort_by_key(order);
            rows.dedup();
            Ok(rows)
        };
        let (live, fresh) = (of(self.live)?, of(self.fresh)?);
        if live != fresh {
            let missing = fresh.iter().filter(|row| !has(&live, row)).count();
            let extra = live.iter().filter(|row| !has(&fresh, row)).count();
            self.differences.push(|| {
                format!(
                    "{}: the change log lacks {missing} entries and has {extra} that the log has not",
                    owner.key
                )
            });
        }
        Ok(())
    }
}

fn order(row: &ChangeRow) -> (ModSeq, u32, Option<(types::Uid, EmailId)>, u8) {
    (row.modseq, row.mailbox.0, row.message, row.kind as u8)
}

fn has(sorted: &[ChangeRow], row: &ChangeRow) -> bool {
    sorted.binary_search_by_key(&order(row), order).is_ok()
}

fn by_id(rows: Vec<AccountRow>) -> BTreeMap<AccountId, AccountRow> {
    rows.into_iter().map(|row| (row.id, row)).collect()
}

fn shown(thread: Option<types::ThreadId>) -> String {
    thread.map_or_else(|| "none".to_owned(), |thread| thread.to_string())
}
