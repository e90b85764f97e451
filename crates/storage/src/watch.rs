//! Tells listeners that an account changed.

use std::collections::HashMap;
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

/// One channel for each account that somebody listens to.
#[derive(Debug, Default)]
pub(crate) struct Listeners(Mutex<HashMap<AccountId, watch::Sender<ModSeq>>>);

impl Listeners {
    pub(crate) fn listen(&self, account: AccountId) -> Watch {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Watch(map.entry(account).or_insert_with(|| watch::channel(ModSeq(0)).0).subscribe())
    }

    /// Tells who listens; forgets accounts that nobody listens to any more.
    pub(crate) fn tell(&self, changed: &[(AccountId, ModSeq)]) {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (account, modseq) in changed {
            if let Some(sender) = map.get(account)
                && sender.send(*modseq).is_err()
            {
                map.remove(account);
            }
        }
    }
}
