//! Tells listeners that an account changed, and readers whether it did since they looked.

use crate::clicks::Clicks;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use tokio::sync::watch;
use types::{AccountId, ModSeq};

/// Resolves when the account has a change newer than the last one seen.
#[derive(Debug, Clone)]
pub struct Watch(watch::Receiver<ModSeq>);

impl Watch {
    /// The newest MODSEQ told; marks it as seen.
    pub fn seen(&mut self) -> ModSeq {
        *self.0.borrow_and_update()
    }

    /// Waits for the next change. Cancel-safe. Never ends while the store is open; `false` after.
    pub async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }
}

/// Counters of changes. Accounts share them; more of them, and fewer readers look again for nothing.
const COUNTERS: usize = 4096;

/// A moment in the life of an account: as long as it is the same one, nothing has changed. Never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(pub(crate) u64);

/// One channel for each account that somebody listens to, and counters for all.
#[derive(Debug)]
pub(crate) struct Listeners {
    channels: Mutex<HashMap<AccountId, watch::Sender<ModSeq>>>,
    counters: Box<[AtomicU64]>,
    pub(crate) clicks: Clicks,
    hasher: RandomState,
}

impl Default for Listeners {
    fn default() -> Self {
        let counters = (0..COUNTERS).map(|_| AtomicU64::new(1)).collect();
        Self {
            channels: Mutex::default(),
            counters,
            clicks: Clicks::default(),
            hasher: RandomState::new(),
        }
    }
}

impl Listeners {
    pub(crate) fn listen(&self, account: AccountId) -> Watch {
        let mut map = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        Watch(map.entry(account).or_insert_with(|| watch::channel(ModSeq(0)).0).subscribe())
    }

    /// Tells who listens; forgets accounts that nobody listens to any more.
    ///
    /// Call when a reader that asks for these changes would get them or wait for them, and before anybody hears
    /// that they are done: only so may a reader who finds the moment of its last look take what it saw then.
    pub(crate) fn tell(&self, changed: &[(AccountId, ModSeq)]) {
        for (account, _) in changed {
            if let Some(counter) = self.counter(*account) {
                counter.fetch_add(1, Ordering::AcqRel);
            }
        }
        let mut map = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        for (account, modseq) in changed {
            if let Some(sender) = map.get(account)
                && sender.send(*modseq).is_err()
            {
                map.remove(account);
            }
        }
    }

    /// The moment of now. Take it first, then look.
    pub(crate) fn moment(&self, account: AccountId) -> Moment {
        Moment(self.counter(account).map_or(0, |counter| counter.load(Ordering::Acquire)))
    }

    fn counter(&self, account: AccountId) -> Option<&AtomicU64> {
        let hash = usize::try_from(self.hasher.hash_one(account) % COUNTERS as u64).ok()?;
        self.counters.get(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_lasts_until_the_account_changes() {
        let listeners = Listeners::default();
        let before = listeners.moment(AccountId(7));
        assert_eq!(listeners.moment(AccountId(7)), before);
        listeners.tell(&[(AccountId(7), ModSeq(1))]);
        assert!(listeners.moment(AccountId(7)) > before);
    }
}
