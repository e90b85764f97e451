//! What each account taught for itself: a note about the account, and the ones in use in memory.

use crate::Result;
use antispam::Personal;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use storage::Store;
use types::AccountId;

/// The note's name; no annotation of IMAP can be called so.
const NOTE: &str = "filter/own";
/// Another server may have learned since.
const FRESH: Duration = Duration::from_mins(1);
/// Accounts in memory; those that taught something take 33 KB.
const KNOWN: usize = 100_000;
const TAUGHT: usize = 2_000;

pub(crate) struct People {
    store: Store,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    own: HashMap<AccountId, (Instant, Option<Arc<Personal>>)>,
    taught: usize,
}

impl People {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, known: Mutex::default() }
    }

    /// `None`: the account taught nothing. Trouble is none either: mail must not wait for it.
    pub(crate) async fn of(&self, account: AccountId) -> Option<Arc<Personal>> {
        let known = self.known(account);
        if let Some(own) = known {
            return own;
        }
        let own = self.read(account).await.unwrap_or_else(|error| {
            tracing::warn!(%account, %error, "what the account taught the spam filter cannot be read");
            None
        });
        let own = own.map(Arc::new);
        self.keep(account, own.clone());
        own
    }

    /// Reads it, changes it, and keeps it durably.
    pub(crate) async fn change(
        &self,
        account: AccountId,
        change: impl FnOnce(&mut Personal),
    ) -> Result<()> {
        let mut own = self.read(account).await?.unwrap_or_default();
        change(&mut own);
        let note = (NOTE.to_owned(), Some(own.encode()));
        self.store.put_notes(account, None, vec![note]).await?;
        self.keep(account, Some(Arc::new(own)));
        Ok(())
    }

    async fn read(&self, account: AccountId) -> Result<Option<Personal>> {
        let notes = self.store.notes_under(account, None, NOTE).await?;
        let note = notes.iter().find(|note| note.name == NOTE);
        Ok(note.and_then(|note| Personal::decode(&note.value)))
    }

    #[expect(clippy::option_option, reason = "known to be none, and not known")]
    fn known(&self, account: AccountId) -> Option<Option<Arc<Personal>>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, own) = known.own.get(&account)?;
        (since.elapsed() < FRESH).then(|| own.clone())
    }

    fn keep(&self, account: AccountId, own: Option<Arc<Personal>>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.own.len() >= KNOWN || known.taught >= TAUGHT {
            // All at once: what is in use comes back with the next letter.
            *known = Known::default();
        }
        known.taught += usize::from(own.is_some());
        let before = known.own.insert(account, (Instant::now(), own));
        known.taught -= usize::from(before.is_some_and(|(_, own)| own.is_some()));
    }
}
