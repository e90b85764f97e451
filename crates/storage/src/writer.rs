//! The one thread that changes a partition: takes what is waiting, makes it durable together, answers.
//!
//! A batch is one index transaction, one write and one sync. Each intent is resolved to facts inside
//! the transaction, so that it sees the ones before it; the facts become a frame; the frames are
//! synced; only then the transaction is committed, readers see it, listeners are told, callers hear `Ok`.

use crate::log::{Log, Segments};
use crate::watch::Listeners;
use crate::{Error, Result};
use bytes::Bytes;
use db::{BlobRef, Index, Op, Txn};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use types::{AccountId, Clock, ModSeq};

/// Changes that may wait; more are told to come back.
const QUEUE: usize = 4096;
/// How long a caller waits for a place in the queue.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(10);
/// A batch ends at this many bytes of letters or changes, so that the first in it need not wait for ever.
const BATCH_BYTES: usize = 16 << 20;
const BATCH_CHANGES: usize = 1024;
/// The index is tidied up after this many changes, so that opening after a crash stays quick.
const CHECKPOINT_CHANGES: usize = 5_000;

/// What somebody wants to be true.
pub(crate) trait Intent: Send + 'static {
    type Outcome: Send + 'static;

    /// The letter that comes with it.
    fn letter(&self) -> Option<&Bytes> {
        None
    }

    /// Turns the wish into facts. Checks everything before the first fact: an error after one undoes
    /// the whole batch.
    fn resolve(&self, facts: &mut Facts<'_>) -> Result<Self::Outcome>;
}

/// The facts of one intent, as they are put.
pub(crate) struct Facts<'a> {
    pub(crate) txn: &'a mut dyn Txn,
    pub(crate) now_unix_s: i64,
    blob: Option<BlobRef>,
    ops: Vec<u8>,
    changed: &'a mut HashMap<AccountId, ModSeq>,
}

impl Facts<'_> {
    pub(crate) fn put(&mut self, op: &Op) -> Result<()> {
        db::apply(self.txn, op, self.blob)?;
        op.encode(&mut self.ops);
        Ok(())
    }

    /// The account's next MODSEQ, which whoever listens will be told.
    pub(crate) fn next_modseq(&mut self, account: AccountId) -> Result<ModSeq> {
        let row = self.txn.account(account)?.ok_or(Error::NoAccount)?;
        let next = row.modseq.next();
        self.changed.insert(account, next);
        Ok(next)
    }
}

/// An intent and the one who waits for its outcome.
trait Job: Send {
    fn letter(&self) -> Option<&Bytes>;
    fn resolve(&mut self, facts: &mut Facts<'_>) -> Result<()>;
    fn answer(self: Box<Self>, batch: Result<()>);
}

struct Waiting<I: Intent> {
    intent: I,
    outcome: Result<I::Outcome>,
    caller: oneshot::Sender<Result<I::Outcome>>,
}

impl<I: Intent> Job for Waiting<I> {
    fn letter(&self) -> Option<&Bytes> {
        self.intent.letter()
    }

    fn resolve(&mut self, facts: &mut Facts<'_>) -> Result<()> {
        self.outcome = self.intent.resolve(facts);
        self.outcome.as_ref().map(|_| ()).map_err(Clone::clone)
    }

    fn answer(self: Box<Self>, batch: Result<()>) {
        let outcome = batch.and(self.outcome);
        if self.caller.send(outcome).is_err() {
            tracing::debug!("the caller of a change has gone; the change stands");
        }
    }
}

enum Command {
    Change(Box<dyn Job>),
    Stop(oneshot::Sender<()>),
}

/// The sending end of the writer's queue.
#[derive(Clone)]
pub(crate) struct WriterHandle {
    queue: mpsc::Sender<Command>,
    state: Arc<WriterState>,
}

/// What others may know of the writer.
#[derive(Default)]
pub(crate) struct WriterState {
    poison: OnceLock<String>,
    pub(crate) figures: Figures,
}

/// Counted since the start.
#[derive(Default)]
pub(crate) struct Figures {
    pub(crate) changes: prometheus_client::metrics::counter::Counter,
    pub(crate) batches: prometheus_client::metrics::counter::Counter,
    pub(crate) letters: prometheus_client::metrics::counter::Counter,
    pub(crate) letter_bytes: prometheus_client::metrics::counter::Counter,
}

impl WriterState {
    /// Why no change is taken any more, if so.
    pub(crate) fn poison(&self) -> Option<Error> {
        self.poison.get().map(|reason| Error::Poisoned(reason.clone()))
    }
}

impl WriterHandle {
    /// Hands an intent over and waits until it is durable or refused.
    pub(crate) async fn change<I: Intent>(&self, intent: I) -> Result<I::Outcome> {
        if let Some(error) = self.state.poison() {
            return Err(error);
        }
        let (caller, answer) = oneshot::channel();
        let job = Box::new(Waiting { intent, outcome: Err(Error::Closed), caller });
        match self.queue.send_timeout(Command::Change(job), QUEUE_TIMEOUT).await {
            Ok(()) => answer.await.unwrap_or(Err(Error::Closed)),
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => Err(Error::Busy),
            Err(mpsc::error::SendTimeoutError::Closed(_)) => Err(Error::Closed),
        }
    }

    /// Lets what is waiting finish and ends the thread.
    pub(crate) async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        if self.queue.send(Command::Stop(done)).await.is_ok() && stopped.await.is_err() {
            tracing::debug!("the writer had stopped already");
        }
    }

    pub(crate) fn state(&self) -> &WriterState {
        &self.state
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

impl Writer {
    pub(crate) fn start(self) -> Result<WriterHandle> {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let state = Arc::<WriterState>::default();
        let handle = WriterHandle { queue, state: state.clone() };
        let checkpoints = self.start_checkpoints()?;
        let thread = std::thread::Builder::new().name("writer".to_owned());
        let started = thread.spawn(move || self.run(waiting, &state, &checkpoints));
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
                if let Err(error) = index.checkpoint() {
                    tracing::warn!(%error, "the index could not be tidied up; trying again later");
                }
            }
        });
        started
            .map_err(|e| Error::Poisoned(format!("the checkpoint thread did not start: {e}")))?;
        Ok(due)
    }

    fn run(
        mut self,
        mut waiting: mpsc::Receiver<Command>,
        state: &WriterState,
        checkpoints: &SyncSender<()>,
    ) {
        let mut changes = 0;
        while let Some(first) = waiting.blocking_recv() {
            let (batch, stop) = gather(first, &mut waiting);
            changes += batch.len();
            if !batch.is_empty() {
                self.write(batch, state);
            }
            // A full channel means that one is running; the next batch asks again.
            if changes >= CHECKPOINT_CHANGES && checkpoints.try_send(()).is_ok() {
                changes = 0;
            }
            if let Some(done) = stop {
                if let Err(error) = self.index.checkpoint() {
                    tracing::warn!(%error, "the index could not be tidied up at close");
                }
                if done.send(()).is_err() {
                    tracing::debug!("nobody waits for the writer to stop");
                }
                return;
            }
        }
    }

    /// Makes a batch durable and answers everybody in it.
    fn write(&mut self, mut batch: Vec<Box<dyn Job>>, state: &WriterState) {
        let mut changed = HashMap::new();
        let done = match state.poison() {
            Some(error) => Err(error),
            None => catch_unwind(AssertUnwindSafe(|| self.commit(&mut batch, &mut changed, state)))
                .unwrap_or_else(|_| Err(Error::Poisoned("the writer panicked".to_owned()))),
        };
        if let Err(error) = &done {
            self.log.forget();
            changed.clear();
            refuse_from_now_on(error, state);
            tracing::error!(%error, changes = batch.len(), "changes could not be written");
        }
        let answer = done.map_err(|error| state.poison().unwrap_or(error));
        self.listeners.tell(&changed.into_iter().collect::<Vec<_>>());
        for job in batch {
            job.answer(answer.clone());
        }
    }

    fn commit(
        &mut self,
        batch: &mut [Box<dyn Job>],
        changed: &mut HashMap<AccountId, ModSeq>,
        state: &WriterState,
    ) -> Result<()> {
        let now_unix_ms = self.clock.now_unix_ms();
        self.log.roll(now_unix_ms)?;
        if batch.iter().any(|job| job.letter().is_some()) {
            self.check_room()?;
        }
        let mut txn = self.index.begin()?;
        let mut frames = 0_u64;
        for job in batch.iter_mut() {
            frames +=
                u64::from(resolve(&mut self.log, job, &mut *txn, changed, now_unix_ms, state)?);
        }
        if frames == 0 {
            return Ok(());
        }
        self.log.sync()?;
        txn.commit(self.log.pushed()).map_err(|error| {
            Error::Poisoned(format!("the log is durable, the index is behind: {error}"))
        })?;
        state.figures.batches.inc();
        state.figures.changes.inc_by(frames);
        Ok(())
    }

    /// Refuses letters while there is still room for the changes that free some.
    fn check_room(&self) -> Result<()> {
        let free_bytes = self.segments.free_bytes()?;
        if free_bytes < self.reserve_bytes { Err(Error::DiskFull) } else { Ok(()) }
    }
}

/// After some errors nobody can say what is on the disk: then no change is taken until a replay has looked.
fn refuse_from_now_on(error: &Error, state: &WriterState) {
    let uncertain = matches!(error, Error::Io { .. } | Error::Poisoned(_) | Error::Corrupt(_));
    if uncertain && state.poison.set(error.to_string()).is_ok() {
        tracing::error!("no more changes are taken until a restart replays the log");
    }
}

/// What waits behind `first`, up to a batch; and the wish to stop, if it is there.
fn gather(
    first: Command,
    waiting: &mut mpsc::Receiver<Command>,
) -> (Vec<Box<dyn Job>>, Option<oneshot::Sender<()>>) {
    let mut batch = Vec::new();
    let mut bytes = 0;
    let mut next = Some(first);
    while let Some(command) = next {
        match command {
            Command::Change(job) => {
                bytes += job.letter().map_or(0, Bytes::len);
                batch.push(job);
            }
            Command::Stop(done) => return (batch, Some(done)),
        }
        let room = bytes < BATCH_BYTES && batch.len() < BATCH_CHANGES;
        next = if room { waiting.try_recv().ok() } else { None };
    }
    (batch, None)
}

/// Resolves one intent and pushes its frame; `false` when it put no fact.
fn resolve(
    log: &mut Log,
    job: &mut Box<dyn Job>,
    txn: &mut dyn Txn,
    changed: &mut HashMap<AccountId, ModSeq>,
    now_unix_ms: i64,
    state: &WriterState,
) -> Result<bool> {
    let letter = job.letter().cloned();
    let blob = letter.as_ref().map(|bytes| log.place(bytes, crate::log::blob_hash(bytes)));
    let now_unix_s = now_unix_ms.div_euclid(1000);
    let mut facts = Facts { txn, now_unix_s, blob, ops: Vec::new(), changed };
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
