//! What was learned, in the order in which it was learned: letters of a mailbox that nobody logs in to.
//!
//! The UID of a lesson is its place: every server that reads them in that order comes to the same state. From time to time
//! one of them stores that state, with the place it reaches to, and lessons before it are given up.

use crate::Result;
use bytes::Bytes;
use std::sync::OnceLock;
use storage::{Letter, Store, Watch};
use types::{AccountId, Flags, MailboxId, Uid, UidSet};

/// The account's key: no address, so no mail can come and nobody can log in.
pub const ACCOUNT: &str = "spam-filter";
/// Where the states are.
const STATES: &str = "States";
/// Lessons that are read at once.
const READ_AT_ONCE: usize = 256;
/// A letter of the store has a header.
const HEADER: &[u8] = b"Subject: lesson\r\n\r\n";

/// The mailboxes of the hidden account.
pub struct Journal {
    store: Store,
    place: OnceLock<Place>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    account: AccountId,
    lessons: MailboxId,
    states: MailboxId,
}

/// A lesson and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub at: Uid,
    pub lesson: Bytes,
}

/// All that was learned up to a lesson.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub up_to: Uid,
    pub bytes: Bytes,
}

impl Journal {
    pub fn new(store: Store) -> Self {
        Self { store, place: OnceLock::new() }
    }

    /// Durable when it returns.
    pub async fn append(&self, lesson: &[u8]) -> Result<Uid> {
        let place = self.make().await?;
        let letter = Letter::parse([HEADER, lesson].concat().into());
        let kept = self.store.append(place.account, place.lessons, letter, Flags::default(), None);
        Ok(kept.await?.uid)
    }

    /// Lessons after a place, the oldest first, a few hundred at most: ask again until there are none.
    pub async fn after(&self, last: Option<Uid>) -> Result<Vec<Entry>> {
        let Some(place) = self.find().await? else { return Ok(Vec::new()) };
        let Some(next) = last.map_or(Some(Uid::MIN), following) else { return Ok(Vec::new()) };
        let new = UidSet::from_ranges([(next, Uid::MAX)]);
        let rows = self.store.messages(place.account, place.lessons, &new).await?;
        let uids = rows.iter().take(READ_AT_ONCE).map(|row| row.uid).collect();
        let mut entries = Vec::new();
        for (row, email) in self.store.list_to_read(place.account, place.lessons, &uids).await? {
            let bytes = self.store.bytes(&email).await?;
            let lesson = bytes.slice(HEADER.len().min(bytes.len())..);
            entries.push(Entry { at: row.uid, lesson });
        }
        Ok(entries)
    }

    /// The newest state that was kept.
    pub async fn state(&self) -> Result<Option<State>> {
        let Some(place) = self.find().await? else { return Ok(None) };
        let rows = self.store.messages(place.account, place.states, &UidSet::all()).await?;
        let Some(newest) = rows.last() else { return Ok(None) };
        let email = self.store.list(place.account, place.states, &UidSet::one(newest.uid)).await?;
        let Some((_, email)) = email.first() else { return Ok(None) };
        let raw = self.store.bytes(email).await?;
        Ok(State::decode(&raw))
    }

    /// Keeps a state instead of the one before. Lessons up to it that are older than `since_unix_s` are given up: those
    /// of the last weeks stay, for a new kind of model to learn from.
    pub async fn keep(&self, state: &State, since_unix_s: i64) -> Result<()> {
        let Place { account, lessons, states } = self.make().await?;
        let letter = Letter::parse(state.encode().into());
        let new = self.store.append(account, states, letter, Flags::default(), None).await?;
        if let Some(before) = Uid::new(new.uid.get() - 1) {
            let old = UidSet::from_ranges([(Uid::MIN, before)]);
            self.store.remove(account, states, old).await?;
        }
        let covered = UidSet::from_ranges([(Uid::MIN, state.up_to)]);
        let rows = self.store.messages(account, lessons, &covered).await?;
        let old = rows.iter().filter(|row| row.saved_unix_s < since_unix_s);
        let old: UidSet = old.map(|row| row.uid).collect();
        if !old.is_empty() {
            self.store.remove(account, lessons, old).await?;
        }
        Ok(())
    }

    /// Told when another server, or this one, has learned. `None`: nobody has learned anything yet.
    pub async fn watch(&self) -> Result<Option<Watch>> {
        Ok(self.find().await?.map(|place| self.store.watch(place.account)))
    }

    async fn find(&self) -> Result<Option<Place>> {
        if let Some(place) = self.place.get() {
            return Ok(Some(*place));
        }
        let Some(row) = self.store.account_by_key(ACCOUNT).await? else { return Ok(None) };
        let account = row.id;
        let lessons = self.store.mailbox_by_name(account, "INBOX").await?.id;
        let states = match self.store.mailbox_by_name(account, STATES).await {
            Ok(row) => row.id,
            // Another server is about to make it.
            Err(storage::Error::NoMailbox) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let place = Place { account, lessons, states };
        Ok(Some(*self.place.get_or_init(|| place)))
    }

    async fn make(&self) -> Result<Place> {
        if let Some(place) = self.find().await? {
            return Ok(place);
        }
        let account = match self.store.account_by_key(ACCOUNT).await? {
            Some(row) => row.id,
            None => self.store.put_account(ACCOUNT, "").await?,
        };
        match self.store.create_mailbox(account, STATES, None).await {
            Ok(_) | Err(storage::Error::MailboxExists) => {}
            Err(error) => return Err(error.into()),
        }
        self.find().await?.ok_or(crate::Error::Storage(storage::Error::NoMailbox))
    }
}

impl State {
    /// `Subject: state`, an empty line, the place as four bytes, the state.
    fn encode(&self) -> Vec<u8> {
        [b"Subject: state\r\n\r\n", &self.up_to.get().to_le_bytes()[..], &self.bytes].concat()
    }

    fn decode(raw: &Bytes) -> Option<Self> {
        let body = raw.strip_prefix(b"Subject: state\r\n\r\n")?;
        let (up_to, _) = body.split_first_chunk::<4>()?;
        let up_to = Uid::new(u32::from_le_bytes(*up_to))?;
        Some(Self { up_to, bytes: raw.slice(raw.len() - (body.len() - 4)..) })
    }
}

fn following(uid: Uid) -> Option<Uid> {
    Uid::new(uid.get().checked_add(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use storage::Options;
    use types::ManualClock;

    const NOW_UNIX_S: i64 = 1_795_370_400;

    #[tokio::test]
    async fn lessons_and_states_are_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at_unix_s(NOW_UNIX_S));
        let store = Store::open(&Options::in_folder(folder.path()), clock.clone()).unwrap();
        let (one, two) = (Journal::new(store.clone()), Journal::new(store.clone()));
        assert_eq!(two.after(None).await.unwrap(), []);
        assert!(two.state().await.unwrap().is_none() && two.watch().await.unwrap().is_none());

        let damaged = b"\x00\xff\r\n.\r\n\r\n--\x80";
        let first = one.append(damaged).await.unwrap();
        for n in 0..600_u32 {
            one.append(&n.to_le_bytes()).await.unwrap();
        }
        let mut read = Vec::new();
        while let Some(last) = {
            let more = two.after(read.last().map(|entry: &Entry| entry.at)).await.unwrap();
            let last = more.last().map(|entry| entry.at);
            read.extend(more);
            last
        } {
            assert!(last >= first);
        }
        assert_eq!(read.len(), 601);
        assert_eq!(read[0].lesson, damaged.as_slice());
        assert_eq!(read[600].lesson, 599_u32.to_le_bytes().as_slice());

        let up_to = read[400].at;
        for bytes in ["an old state", "a state"] {
            let state = State { up_to, bytes: bytes.into() };
            one.keep(&state, NOW_UNIX_S + 1).await.unwrap();
            assert_eq!(two.state().await.unwrap(), Some(state));
        }
        assert_eq!(two.after(None).await.unwrap().len(), 200, "those before the state are gone");
        store.close().await;
    }
}
