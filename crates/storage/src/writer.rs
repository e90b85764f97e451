//! The one thread that changes a partition: takes what is waiting, makes it durable together, answers.
//!
//! A batch is one write and one sync of the log. Each intent is resolved to facts inside the open index
//! transaction, so that it sees the ones before it; the facts become a frame; the frames are synced; listeners
//! are told, callers hear `Ok`. The transaction is committed for many batches together ([`crate::pending`]).

use crate::log::{Log, Segments};
use crate::pending::{Hidden, Pending};
use crate::queue::{Batch, Job, Queue, WriterHandle};
use crate::watch::Listeners;
use crate::{Error, Result};
use bytes::Bytes;
use db::{BlobRef, Index, Op, Txn};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use types::{AccountId, Clock, ModSeq};

/// The index is committed when nothing came for so long.
const IDLE: Duration = Duration::from_millis(100);
/// The index is tidied up beside the writer after this many changes, so that opening after a crash stays quick.
const CHECKPOINT_CHANGES: usize = 8_000;
/// And by the writer itself after this many: only when nothing is written meanwhile can SQLite begin its
/// write-ahead log anew. Little is left to do then.
const WHOLE_CHECKPOINT_CHANGES: usize = 30_000;

/// What somebody wants to be true.
pub(crate) trait Intent: Send + 'static {
    type Outcome: Send + 'static;

    /// The letter that comes with it, and [`crate::log::blob_hash`] of it.
    fn letter(&self) -> Option<(&Bytes, [u8; 16])> {
        None
    }

    /// Those it will look at, as far as they are known: where several servers share a store, it takes all of
    /// a batch at once.
    fn accounts(&self) -> Vec<AccountId> {
        Vec::new()
    }

    /// Turns the wish into facts. Checks everything before the first fact: an error after one undoes
    /// the whole batch.
    fn resolve(&self, facts: &mut Facts<'_>) -> Result<Self::Outcome>;
}

/// The facts of one intent, as they are put.
pub(crate) struct Facts<'a> {
    pub(crate) txn: &'a mut dyn Txn,
    pub(crate) now_unix_s: i64,
    pub(crate) blob: Option<BlobRef>,
    pub(crate) ops: Vec<u8>,
    pub(crate) told: &'a mut Told,
}

/// What must be told, and to whom, once a batch is durable.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) changed: HashMap<AccountId, ModSeq>,
    /// Who asks for an account by its key reads the index as it is committed.
    accounts_put: bool,
}

impl Facts<'_> {
    pub(crate) fn put(&mut self, op: &Op) -> Result<()> {
        db::apply(self.txn, op, self.blob)?;
        op.encode(&mut self.ops);
        self.told.accounts_put |= matches!(op, Op::AccountPut { .. });
        Ok(())
    }

    /// The account's next MODSEQ, which whoever listens will be told.
    pub(crate) fn next_modseq(&mut self, account: AccountId) -> Result<ModSeq> {
        let row = self.txn.account(account)?.ok_or(Error::NoAccount)?;
        let next = row.modseq.next();
        self.told.changed.insert(account, next);
        Ok(next)
    }
}

/// What others may know of the writer.
#[derive(Default)]
pub(crate) struct WriterState {
    poison: OnceLock<String>,
    pub(crate) hidden: Hidden,
    pub(crate) figures: Figures,
}

/// Counted since the start.
#[derive(Default)]
pub(crate) struct Figures {
    pub(crate) changes: prometheus_client::metrics::counter::Counter,
    pub(crate) batches: prometheus_client::metrics::counter::Counter,
    pub(crate) commits: prometheus_client::metrics::counter::Counter,
    pub(crate) letters: prometheus_client::metrics::counter::Counter,
    pub(crate) letter_bytes: prometheus_client::metrics::counter::Counter,
}

impl WriterState {
    /// Why no change is taken any more, if so.
    pub(crate) fn poison(&self) -> Option<Error> {
        self.poison.get().map(|reason| Error::Poisoned(reason.clone()))
    }
}

/// What the thread works with.
pub(crate) struct Writer {
    pub(crate) log: Log,
    pub(crate) segments: Arc<Segments>,
    pub(crate) index: Arc<dyn Index>,
    pub(crate) listeners: Arc<Listeners>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) reserve_bytes: u64,
}

/// What the thread remembers from batch to batch.
struct Memory {
    checkpoints: SyncSender<()>,
    since_checkpoint: usize,
    since_whole_checkpoint: usize,
    last_sync: Duration,
}

impl Writer {
    pub(crate) fn start(self) -> Result<WriterHandle> {
        let state = Arc::<WriterState>::default();
        let (handle, queue) = WriterHandle::new(state.clone());
        let checkpoints = self.start_checkpoints()?;
        let thread = std::thread::Builder::new().name("writer".to_owned());
        let started = thread.spawn(move || self.run(queue, &state, checkpoints));
        started.map_err(|e| Error::Poisoned(format!("the writer thread did not start: {e}")))?;
        Ok(handle)
    }

    /// Runs checkpoints beside the writer, one for each message on the channel.
    fn start_checkpoints(&self) -> Result<SyncSender<()>> {
        let (due, wanted) = sync_channel(1);
        let index = self.index.clone();
        let thread = std::thread::Builder::new().name("checkpoint".to_owned());
        let started = thread.spawn(move || {
            while wanted.recv().is_ok() {
                checkpoint(&*index);
            }
        });
        started
            .map_err(|e| Error::Poisoned(format!("the checkpoint thread did not start: {e}")))?;
        Ok(due)
    }

    fn run(mut self, mut queue: Queue, state: &WriterState, checkpoints: SyncSender<()>) {
        let index = self.index.clone();
        let mut pending = Pending::new(&*index, &state.hidden);
        let (since_checkpoint, since_whole_checkpoint) = (0, 0);
        let last_sync = Duration::ZERO;
        let mut memory =
            Memory { checkpoints, since_checkpoint, since_whole_checkpoint, last_sync };
        loop {
            let idle = (pending.waits() && state.poison().is_none()).then_some(IDLE);
            let Some(Batch { jobs, readers, stop, .. }) = queue.take(idle, memory.last_sync) else {
                return;
            };
            let nothing_came = jobs.is_empty() && readers.is_empty();
            if nothing_came || !readers.is_empty() || pending.is_due() {
                self.commit(&mut pending, &mut memory, state);
            }
            for reader in readers {
                let shown =
                    if pending.waits() { state.poison().map_or(Ok(()), Err) } else { Ok(()) };
                // A reader that has gone needs no answer.
                reader.send(shown).unwrap_or_default();
            }
            if !jobs.is_empty() {
                self.write(jobs, &mut pending, &mut queue, &mut memory, state);
            }
            if let Some(done) = stop {
                self.commit(&mut pending, &mut memory, state);
                checkpoint(&*self.index);
                if done.send(()).is_err() {
                    tracing::debug!("nobody waits for the writer to stop");
                }
                return;
            }
        }
    }

    /// Shows readers what is acknowledged, and tidies up the index from time to time.
    fn commit(&self, pending: &mut Pending<'_>, memory: &mut Memory, state: &WriterState) {
        if !pending.waits() || state.poison().is_some() {
            return;
        }
        if let Err(error) = pending.commit(self.log.synced()) {
            refuse_from_now_on(&error, state);
            return;
        }
        state.figures.commits.inc();
        if memory.since_whole_checkpoint >= WHOLE_CHECKPOINT_CHANGES {
            checkpoint(&*self.index);
            (memory.since_checkpoint, memory.since_whole_checkpoint) = (0, 0);
        }
        // A full channel means that one is running; the next commit asks again.
        if memory.since_checkpoint >= CHECKPOINT_CHANGES && memory.checkpoints.try_send(()).is_ok()
        {
            memory.since_checkpoint = 0;
        }
    }

    /// Makes a batch durable and answers everybody in it.
    fn write(
        &mut self,
        mut batch: Vec<Box<dyn Job>>,
        pending: &mut Pending<'_>,
        queue: &mut Queue,
        memory: &mut Memory,
        state: &WriterState,
    ) {
        let mut told = Told::default();
        let mut done = self.prepare(&batch, state);
        if done.is_ok() {
            let work = || self.make_durable(&mut batch, pending, &mut told, memory, state);
            done = catch_unwind(AssertUnwindSafe(work))
                .unwrap_or_else(|_| Err(Error::Poisoned("the writer panicked".to_owned())));
            if done.is_err() {
                self.take_back(pending, state);
            }
        }
        if let Err(error) = &done {
            told = Told::default();
            refuse_from_now_on(error, state);
            tracing::error!(%error, changes = batch.len(), "changes could not be written");
        }
        state.hidden.add(told.changed.keys().copied());
        if told.accounts_put {
            self.commit(pending, memory, state);
        }
        memory.since_checkpoint += batch.len();
        memory.since_whole_checkpoint += batch.len();
        let answer = done.map_err(|error| state.poison().unwrap_or(error));
        self.listeners.tell(&told.changed.into_iter().collect::<Vec<_>>());
        queue.expect_back(batch.len());
        for job in batch {
            job.answer(answer.clone());
        }
    }

    /// What can be refused before anything has happened.
    fn prepare(&mut self, batch: &[Box<dyn Job>], state: &WriterState) -> Result<()> {
        if let Some(error) = state.poison() {
            return Err(error);
        }
        self.log.roll(self.clock.now_unix_ms())?;
        let has_letters = batch.iter().any(|job| job.letter().is_some());
        if has_letters { self.check_room() } else { Ok(()) }
    }

    /// Resolves, appends, syncs. After an error nothing of the batch may stay.
    fn make_durable(
        &mut self,
        batch: &mut [Box<dyn Job>],
        pending: &mut Pending<'_>,
        told: &mut Told,
        memory: &mut Memory,
        state: &WriterState,
    ) -> Result<()> {
        let now_unix_s = self.clock.now_unix_ms().div_euclid(1000);
        let txn = pending.txn()?;
        let mut frames = 0_u32;
        for job in batch.iter_mut() {
            frames += u32::from(resolve(&mut self.log, job, txn, told, now_unix_s, state)?);
        }
        if frames == 0 {
            return Ok(());
        }
        let from = Instant::now();
        self.log.sync()?;
        memory.last_sync = from.elapsed();
        pending.keep(frames as usize);
        state.figures.batches.inc();
        state.figures.changes.inc_by(frames.into());
        Ok(())
    }

    /// Undoes a batch that failed, and only that.
    fn take_back(&mut self, pending: &mut Pending<'_>, state: &WriterState) {
        self.log.forget();
        let undo = || pending.undo(&self.segments, self.log.synced());
        let undone = catch_unwind(AssertUnwindSafe(undo))
            .unwrap_or_else(|_| Err(Error::Poisoned("the writer panicked twice".to_owned())));
        if let Err(error) = undone {
            let error = Error::Poisoned(format!("a failed change could not be undone: {error}"));
            refuse_from_now_on(&error, state);
        }
    }

    /// Refuses letters while there is still room for the changes that free some.
    fn check_room(&self) -> Result<()> {
        let free_bytes = self.segments.free_bytes()?;
        if free_bytes < self.reserve_bytes { Err(Error::DiskFull) } else { Ok(()) }
    }
}

fn checkpoint(index: &dyn Index) {
    if let Err(error) = index.checkpoint() {
        tracing::warn!(%error, "the index could not be tidied up; trying again later");
    }
}

/// After some errors nobody can say what is on the disk: then no change is taken until a replay has looked.
fn refuse_from_now_on(error: &Error, state: &WriterState) {
    let uncertain = matches!(error, Error::Io { .. } | Error::Poisoned(_) | Error::Corrupt(_));
    if uncertain && state.poison.set(error.to_string()).is_ok() {
        tracing::error!("no more changes are taken until a restart replays the log");
    }
}

/// Resolves one intent and pushes its frame; `false` when it put no fact.
fn resolve(
    log: &mut Log,
    job: &mut Box<dyn Job>,
    txn: &mut dyn Txn,
    told: &mut Told,
    now_unix_s: i64,
    state: &WriterState,
) -> Result<bool> {
    let letter = job.letter().map(|(bytes, hash)| (bytes.clone(), hash));
    let blob = letter.as_ref().map(|(bytes, hash)| log.place(bytes, *hash));
    let letter = letter.map(|(bytes, _)| bytes);
    let mut facts = Facts { txn, now_unix_s, blob, ops: Vec::new(), told };
    let outcome = job.resolve(&mut facts);
    let ops = facts.ops;
    match outcome {
        Err(error) if !ops.is_empty() => return Err(error),
        // A failing index fails everybody in the batch; a refusal only the one who asked.
        Err(error @ (Error::Index(_) | Error::DiskFull | Error::Io { .. })) => return Err(error),
        _ if ops.is_empty() => return Ok(false),
        _ => log.push(letter.as_ref().zip(blob), &ops),
    }
    if let Some(letter) = letter {
        state.figures.letters.inc();
        state.figures.letter_bytes.inc_by(letter.len() as u64);
    }
    Ok(true)
}
