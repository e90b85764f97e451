//! The inbox as one session sees it: numbers given at login, sizes, what is marked for deletion.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use storage::{Result, Snapshot, Store};
use types::{AccountId, EmailId, MailboxId, Uid, UidSet, UidValidity};

/// Which inboxes are held by a session (RFC 1939 §4: one at a time).
#[derive(Debug, Default)]
pub(crate) struct Locks(Mutex<HashSet<AccountId>>);

/// Holds an inbox until it goes.
#[derive(Debug)]
pub(crate) struct Lock {
    locks: Arc<Locks>,
    account: AccountId,
}

impl Locks {
    /// `None`: another session has it.
    pub(crate) fn take(self: &Arc<Self>, account: AccountId) -> Option<Lock> {
        self.held(|held| held.insert(account)).then(|| Lock { locks: Arc::clone(self), account })
    }

    fn held<T>(&self, work: impl FnOnce(&mut HashSet<AccountId>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.locks.held(|held| held.remove(&self.account));
    }
}

/// One letter of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) uid: Uid,
    pub(crate) email: EmailId,
    pub(crate) size_bytes: u32,
    pub(crate) deleted: bool,
}

/// What was there at login. Letters that come later are for the next session (RFC 1939 §5).
#[derive(Debug)]
pub(crate) struct Maildrop {
    pub(crate) account: AccountId,
    pub(crate) mailbox: MailboxId,
    uid_validity: UidValidity,
    items: Vec<Item>,
    _lock: Lock,
}

impl Maildrop {
    pub(crate) async fn open(store: &Store, account: AccountId, lock: Lock) -> Result<Self> {
        let inbox = store.mailbox_by_name(account, "INBOX").await?;
        let snapshot = store.snapshot(account, inbox.id).await?;
        Ok(Self::new(account, &snapshot, lock))
    }

    fn new(account: AccountId, snapshot: &Snapshot, lock: Lock) -> Self {
        let item = |m: &storage::Message| Item {
            uid: m.uid,
            email: m.email,
            size_bytes: m.size_bytes,
            deleted: false,
        };
        Self {
            account,
            mailbox: snapshot.mailbox.id,
            uid_validity: snapshot.mailbox.uid_validity,
            items: snapshot.messages.iter().map(item).collect(),
            _lock: lock,
        }
    }

    /// A message number: a decimal from 1 to the number of letters, of one that is not marked as deleted.
    pub(crate) fn get(&self, number: &[u8]) -> Option<(usize, Item)> {
        let place = parse_number(number)?.checked_sub(1)?;
        let item = self.items.get(place).filter(|i| !i.deleted)?;
        Some((place, *item))
    }

    pub(crate) fn delete(&mut self, place: usize) {
        if let Some(item) = self.items.get_mut(place) {
            item.deleted = true;
        }
    }

    pub(crate) fn restore(&mut self) {
        for item in &mut self.items {
            item.deleted = false;
        }
    }

    /// Letters not marked as deleted, with their numbers.
    pub(crate) fn list(&self) -> impl Iterator<Item = (usize, &Item)> {
        (1..).zip(&self.items).filter(|(_, i)| !i.deleted)
    }

    /// How many letters and bytes are not marked as deleted.
    pub(crate) fn totals(&self) -> (usize, u64) {
        self.list().fold((0, 0), |(count, bytes), (_, item)| {
            (count + 1, bytes + u64::from(item.size_bytes))
        })
    }

    pub(crate) fn deleted(&self) -> UidSet {
        let deleted = self.items.iter().filter(|i| i.deleted);
        deleted.map(|i| i.uid).collect()
    }

    /// The unique id of a letter (RFC 1939 §7): UIDVALIDITY and UID, which are never given twice, so it stays
    /// the same for ever and is the same in every session.
    pub(crate) fn unique_id(&self, item: &Item) -> String {
        format!("{}.{}", self.uid_validity, item.uid)
    }
}

/// Digits only: no sign, no blank, no more than fits.
pub(crate) fn parse_number(text: &[u8]) -> Option<usize> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maildrop(sizes: &[u32]) -> Maildrop {
        let items = (1..).zip(sizes).map(|(n, size)| Item {
            uid: Uid::new(n * 10).unwrap(),
            email: EmailId(n.into()),
            size_bytes: *size,
            deleted: false,
        });
        Maildrop {
            account: AccountId(1),
            mailbox: MailboxId(1),
            uid_validity: UidValidity(7),
            items: items.collect(),
            _lock: Arc::new(Locks::default()).take(AccountId(1)).unwrap(),
        }
    }

    #[test]
    fn numbers() {
        #[track_caller]
        fn check(drop: &Maildrop, number: &str, expect: Option<u32>) {
            let found = drop.get(number.as_bytes()).map(|(_, i)| i.uid.get());
            assert_eq!(found, expect, "{number:?}");
        }
        let mut drop = maildrop(&[100, 200, 300]);
        drop.delete(1);
        check(&drop, "1", Some(10));
        check(&drop, "01", Some(10));
        check(&drop, "2", None);
        check(&drop, "3", Some(30));
        for bad in [
            "0",
            "4",
            "-1",
            "+1",
            "",
            " 1",
            "1 ",
            "1x",
            "4294967297",
            "18446744073709551617",
            "99999999999999999999999999",
            "٣",
        ] {
            check(&drop, bad, None);
        }
        assert_eq!(drop.totals(), (2, 400));
        assert_eq!(drop.deleted().to_string(), "20");
        assert_eq!(drop.unique_id(&drop.items[2]), "7.30");
        drop.restore();
        assert_eq!(drop.totals(), (3, 600));
        assert!(drop.deleted().is_empty());
    }

    #[test]
    fn one_session_holds_an_inbox() {
        let locks = Arc::new(Locks::default());
        let first = locks.take(AccountId(1)).unwrap();
        assert!(locks.take(AccountId(1)).is_none());
        assert!(locks.take(AccountId(2)).is_some());
        drop(first);
        assert!(locks.take(AccountId(1)).is_some());
    }
}
