//! The thread that writes: it takes what waits, appends it together, syncs once, answers everybody.
//!
//! What became of an attempt is written at once and synced within [`SYNC_WITHIN`]: a server that is killed forgets
//! nothing it has written, and after a power cut a letter goes out twice at worst, which is counted.

use crate::log::{Place, Tail};
use crate::queue::{Shared, lock};
use crate::record::{self, Record, Status, Taken};
use crate::state::{self, Job, State};
use crate::{Error, Result};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

const SYNC_WITHIN: Duration = Duration::from_millis(100);
/// What one batch takes at most.
const BATCH_BYTES: usize = 16 << 20;
const BATCH_FRAMES: usize = 1024;
/// Letters that are written again in one go, so that an old file can go.
const MOVED_AT_ONCE: usize = 64;
/// On a full disk, how long until what must be written is tried again.
const FULL_WAIT: Duration = Duration::from_secs(1);

/// One frame to be written.
pub(crate) struct Ask {
    pub(crate) records: Vec<Record>,
    pub(crate) letter: Bytes,
    /// Told when it is durable. Without: it must be written, however long the disk is full.
    pub(crate) reply: Option<oneshot::Sender<Result<()>>>,
    /// An attempt that has ended, and what is known now: true in memory once it is written.
    pub(crate) ended: Option<(Job, Vec<(usize, Status)>)>,
}

pub(crate) struct Writer {
    pub(crate) tail: Tail,
    pub(crate) shared: Arc<Shared>,
    pub(crate) asks: Receiver<Ask>,
}

impl Writer {
    /// Until nobody can ask any more, or the disk failed.
    pub(crate) fn run(mut self) {
        let mut dirty_since: Option<Instant> = None;
        let mut late: Vec<Ask> = Vec::new();
        loop {
            let wait = match (dirty_since, late.is_empty()) {
                (Some(since), _) => Some(SYNC_WITHIN.saturating_sub(since.elapsed())),
                (None, false) => Some(FULL_WAIT),
                (None, true) => None,
            };
            let (batch, is_end) = self.batch(wait, std::mem::take(&mut late));
            let wants_sync = batch.iter().any(|ask| ask.reply.is_some());
            if !batch.is_empty() {
                late = match self.write(batch) {
                    Ok(late) => late,
                    Err(error) => return self.poison(&error),
                };
                dirty_since.get_or_insert_with(Instant::now);
            }
            let is_time = dirty_since.is_some_and(|since| since.elapsed() >= SYNC_WITHIN);
            if wants_sync || is_time || is_end {
                dirty_since = None;
                if let Err(error) = self.tail.sync().and_then(|()| self.give_up_old()) {
                    return self.poison(&error);
                }
            }
            if is_end {
                return;
            }
        }
    }

    /// What waits, after waiting for the first; whether nobody is left to ask.
    fn batch(&self, wait: Option<Duration>, late: Vec<Ask>) -> (Vec<Ask>, bool) {
        let mut batch = late;
        let first = match wait {
            Some(wait) => match self.asks.recv_timeout(wait) {
                Ok(ask) => ask,
                Err(RecvTimeoutError::Timeout) => return (batch, false),
                Err(RecvTimeoutError::Disconnected) => return (batch, true),
            },
            None => match self.asks.recv() {
                Ok(ask) => ask,
                Err(_) => return (batch, true),
            },
        };
        let mut bytes = first.letter.len();
        batch.push(first);
        while bytes < BATCH_BYTES && batch.len() < BATCH_FRAMES {
            match self.asks.try_recv() {
                Ok(ask) => {
                    bytes += ask.letter.len();
                    batch.push(ask);
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        (batch, false)
    }

    /// Gives back what a full disk did not take and must be written later.
    fn write(&mut self, batch: Vec<Ask>) -> Result<Vec<Ask>> {
        let encode = |ask: &Ask| {
            let records = serde_json::to_vec(&ask.records).unwrap_or_default();
            (records, ask.letter.clone())
        };
        let parts: Vec<_> = batch.iter().map(encode).collect();
        let places = match self.tail.append(&parts) {
            Ok(places) => places,
            Err(Error::DiskFull) => {
                self.shared.set_full(true);
                let (answered, late): (Vec<_>, Vec<_>) =
                    batch.into_iter().partition(|ask| ask.reply.is_some());
                for ask in answered {
                    answer(ask.reply, Err(Error::DiskFull));
                }
                return Ok(late);
            }
            Err(error) => {
                for ask in batch {
                    answer(ask.reply, Err(error.clone()));
                }
                return Err(error);
            }
        };
        self.shared.set_full(false);
        if batch.iter().any(|ask| ask.reply.is_some())
            && let Err(error) = self.tail.sync()
        {
            for ask in batch {
                answer(ask.reply, Err(error.clone()));
            }
            return Err(error);
        }
        for (ask, place) in batch.into_iter().zip(places) {
            for record in &ask.records {
                if let Record::Taken(taken) = record {
                    self.shared.taken(taken, place);
                }
            }
            if let Some((job, now)) = ask.ended {
                lock(&self.shared.state).ended(&job, now);
            }
            answer(ask.reply, Ok(()));
        }
        self.shared.wake.notify_one();
        Ok(Vec::new())
    }

    /// Removes old files without letters, and empties those with few.
    fn give_up_old(&mut self) -> Result<()> {
        loop {
            let files = self.tail.files().clone();
            let Some(oldest) = files.oldest().filter(|oldest| *oldest != self.tail.id()) else {
                return Ok(());
            };
            if !lock(&self.shared.state).is_live(oldest) {
                self.tail.remove(oldest)?;
                continue;
            }
            let spare = 4 * self.shared.options.segment_bytes;
            let moving = lock(&self.shared.state).worth_moving(oldest, files.total_bytes(), spare);
            let Some(some) = moving.chunks(MOVED_AT_ONCE).next() else { return Ok(()) };
            match self.move_letters(some) {
                Ok(()) => {}
                // Room comes when letters go.
                Err(Error::DiskFull) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes letters again at the end, with what is known of them.
    fn move_letters(&mut self, numbers: &[u64]) -> Result<()> {
        let mut parts = Vec::new();
        let mut moved = Vec::new();
        for number in numbers {
            let found = {
                let state = lock(&self.shared.state);
                let known = |letter: &state::Letter| {
                    let known: Vec<Status> =
                        letter.slots.iter().map(|s| s.status.clone()).collect();
                    (letter.place, known)
                };
                state.get(*number).map(known)
            };
            let Some((place, known)) = found else { continue };
            let (records, letter) = self.tail.files().read(place)?;
            let Some(taken) = taken_of(&records, *number) else {
                return Err(Error::Corrupt(format!("letter {number} is not where it should be")));
            };
            let taken = Taken { known, ..taken.clone() };
            let records = serde_json::to_vec(&[Record::Taken(taken)]).unwrap_or_default();
            parts.push((records, letter));
            moved.push(*number);
        }
        let places = self.tail.append(&parts)?;
        self.tail.sync()?;
        let mut state = lock(&self.shared.state);
        for (number, place) in moved.into_iter().zip(places) {
            state.moved(number, place);
        }
        Ok(())
    }

    /// Nobody knows what is on the disk: nothing more is taken or sent until a restart has read it.
    fn poison(self, error: &Error) {
        tracing::error!(%error, "the queue stops");
        self.shared.poison(error);
        while let Ok(ask) = self.asks.recv() {
            answer(ask.reply, Err(Error::Poisoned(error.to_string())));
        }
    }
}

/// The letter's own record in its frame.
pub(crate) fn taken_of(records: &[Record], number: u64) -> Option<&Taken> {
    records.iter().find_map(|record| match record {
        Record::Taken(taken) if taken.number == number => Some(taken),
        _ => None,
    })
}

/// Who gave up waiting is not told.
fn answer(reply: Option<oneshot::Sender<Result<()>>>, result: Result<()>) {
    if let Some(reply) = reply {
        drop(reply.send(result));
    }
}

impl Shared {
    /// A letter is in the log: from now on it is in memory too, and tried when there is a way out.
    fn taken(&self, taken: &Taken, place: Place) {
        let Some(envelope) = record::envelope(&taken.envelope) else { return };
        let status = |at: usize| {
            taken.known.get(at).cloned().unwrap_or_else(|| state::fresh(envelope.release_unix_s))
        };
        let known = (0..envelope.recipients.len()).map(status).collect();
        let addresses: Vec<_> = envelope.recipients.into_iter().map(|r| r.address).collect();
        let put = |state: &mut State| {
            let since_unix_s = envelope.release_unix_s.unwrap_or(0).max(taken.received_unix_s);
            state.put(taken.number, &taken.name, place, since_unix_s, envelope.account, known);
        };
        // The same order of locks as where the transport comes: first who has no way, then the state.
        let mut unrouted = lock(&self.unrouted);
        let Some(transport) = self.transport.get() else {
            put(&mut lock(&self.state));
            return unrouted.push((taken.number, addresses));
        };
        drop(unrouted);
        let routes = addresses.iter().map(|address| transport.route(address)).collect();
        let mut state = lock(&self.state);
        put(&mut state);
        state.route(taken.number, routes);
    }

    /// The same for what replay found.
    pub(crate) fn found(&self, taken: &Taken, place: Place) -> Result<()> {
        if record::envelope(&taken.envelope).is_none() {
            return Err(Error::Corrupt(format!(
                "letter {} has an address that is none",
                taken.name
            )));
        }
        self.taken(taken, place);
        Ok(())
    }
}
