//! What is known of each account: what it taught for itself, and to whom it wrote. Notes about the account, and the ones in
//! use in memory.

use crate::Result;
use crate::correspondents::Correspondents;
use antispam::Personal;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use storage::Store;
use types::AccountId;

/// Names of notes; no annotation of IMAP can be called so.
const TAUGHT: &str = "filter/own";
const KNOWS: &str = "filter/known";
/// Another server may have learned since.
const FRESH: Duration = Duration::from_mins(1);
/// Accounts in memory; those that taught something take 33 KB, those that wrote to many people up to 16 KB more.
const ACCOUNTS: usize = 100_000;
const WITH_NOTES: usize = 2_000;
/// Tries to change a note that others change too.
const TRIES: usize = 5;

/// What the filter knows of one account.
#[derive(Debug, Clone, Default)]
pub struct Own {
    /// `None`: nothing.
    pub taught: Option<Arc<Personal>>,
    pub knows: Arc<Correspondents>,
}

impl Own {
    fn is_empty(&self) -> bool {
        self.taught.is_none() && self.knows.is_empty()
    }
}

pub(crate) struct People {
    store: Store,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    own: HashMap<AccountId, (Instant, Option<Own>)>,
    with_notes: usize,
}

impl People {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, known: Mutex::default() }
    }

    /// `None`: nothing is known. Trouble is none either: mail must not wait for it.
    pub(crate) async fn of(&self, account: AccountId) -> Option<Own> {
        if let Some(own) = self.known(account) {
            return own;
        }
        let own = self.read(account).await.unwrap_or_else(|error| {
            tracing::warn!(%account, %error, "what the account taught the spam filter cannot be read");
            Own::default()
        });
        self.keep(account, own.clone());
        (!own.is_empty()).then_some(own)
    }

    async fn read(&self, account: AccountId) -> Result<Own> {
        let notes = self.store.notes_under(account, None, "filter/").await?;
        let value =
            |name: &str| notes.iter().find(|note| note.name == name).map(|note| &note.value);
        let taught = value(TAUGHT).and_then(|value| Personal::decode(value)).map(Arc::new);
        let knows = value(KNOWS).and_then(|value| Correspondents::decode(value));
        Ok(Own { taught, knows: Arc::new(knows.unwrap_or_default()) })
    }

    /// What the account taught: read, changed, and kept durably.
    pub(crate) async fn teach(
        &self,
        account: AccountId,
        change: impl Fn(&mut Personal),
    ) -> Result<()> {
        let change = |value: Option<&[u8]>| {
            let mut taught = value.and_then(Personal::decode).unwrap_or_default();
            change(&mut taught);
            Some(taught.encode())
        };
        self.change(account, TAUGHT, change).await
    }

    /// To whom the account wrote, the same way.
    pub(crate) async fn meet(
        &self,
        account: AccountId,
        change: impl Fn(&mut Correspondents) -> bool,
    ) -> Result<()> {
        let change = |value: Option<&[u8]>| {
            let mut knows = value.and_then(Correspondents::decode).unwrap_or_default();
            change(&mut knows).then(|| knows.encode())
        };
        self.change(account, KNOWS, change).await
    }

    /// Nothing is written when `change` gives nothing back.
    async fn change(
        &self,
        account: AccountId,
        name: &str,
        change: impl Fn(Option<&[u8]>) -> Option<Vec<u8>>,
    ) -> Result<()> {
        for left in (0..TRIES).rev() {
            let notes = self.store.notes_under(account, None, name).await?;
            let note = notes.into_iter().find(|note| note.name == name);
            let before = note.map(|note| note.value);
            let Some(after) = change(before.as_deref()) else { break };
            match self.store.replace_note(account, name, before, after).await {
                Err(storage::Error::NoteChanged) if left > 0 => {}
                Err(error) => return Err(error.into()),
                Ok(_) => break,
            }
        }
        let own = self.read(account).await?;
        self.keep(account, own);
        Ok(())
    }

    #[expect(clippy::option_option, reason = "known to be none, and not known")]
    fn known(&self, account: AccountId) -> Option<Option<Own>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, own) = known.own.get(&account)?;
        (since.elapsed() < FRESH).then(|| own.clone())
    }

    fn keep(&self, account: AccountId, own: Own) {
        let own = (!own.is_empty()).then_some(own);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.own.len() >= ACCOUNTS || known.with_notes >= WITH_NOTES {
            // All at once: what is in use comes back with the next letter.
            *known = Known::default();
        }
        known.with_notes += usize::from(own.is_some());
        let before = known.own.insert(account, (Instant::now(), own));
        known.with_notes -= usize::from(before.is_some_and(|(_, own)| own.is_some()));
    }
}
