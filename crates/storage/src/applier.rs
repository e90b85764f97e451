//! The thread that brings the index after the log.
//!
//! It alone holds the index's transaction. Deliveries are durable and answered before it hears of them; it
//! applies their frames as a replay would. Other changes are resolved here, in the transaction, once all before
//! them are applied; readers who want to see an account that is behind are answered here, after a commit.

use crate::log::{Read, Segments};
use crate::pending::{Pending, apply};
use crate::writer::{WriterState, refuse_from_now_on};
use crate::{Error, Result};
use db::{Index, Position};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// The index is committed when nothing came for so long.
const IDLE: Duration = Duration::from_millis(100);
/// The index is tidied up beside the applier after this many changes, so that opening after a crash stays quick.
const CHECKPOINT_CHANGES: usize = 8_000;
/// And by the applier itself after this many: only when nothing is written meanwhile can SQLite begin its
/// write-ahead log anew. Little is left to do then.
const WHOLE_CHECKPOINT_CHANGES: usize = 30_000;
/// The index may lag by so much, and the one batch that went over it: about a tenth of a second of work, which
/// whoever reads next may have to wait for, and which an open after a crash has to do again.
const LAG_CHANGES: usize = 4_000;
const LAG_BYTES: usize = 16 << 20;

pub(crate) type There = Box<dyn for<'a> FnOnce(&mut Pending<'a>) + Send>;

/// What is asked of the applier.
pub(crate) enum Work {
    /// Frames that are durable, in order.
    Apply(Vec<Read>),
    /// Something that needs the transaction, after all before it.
    There(There),
    /// Commit, so that the log can be read up to here. Its last frames may not have been handed over yet.
    Show(u64, oneshot::Sender<Result<()>>),
    /// Commit and end.
    Stop,
}

/// How far the index is behind the log.
#[derive(Default)]
pub(crate) struct Lag {
    waiting: Mutex<(usize, usize)>,
    less: Condvar,
}

impl Lag {
    fn add(&self, frames: &[Read]) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.0 += frames.len();
        waiting.1 += bytes_of(frames);
    }

    fn remove(&self, changes: usize, bytes: usize) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.0 = waiting.0.saturating_sub(changes);
        waiting.1 = waiting.1.saturating_sub(bytes);
        self.less.notify_one();
    }

    /// Waits until the index is near enough to take more.
    fn wait(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        while waiting.0 > LAG_CHANGES || waiting.1 > LAG_BYTES {
            waiting = self.less.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn bytes_of(frames: &[Read]) -> usize {
    frames.iter().map(|frame| frame.ops.len()).sum()
}

/// The applier, as long as it runs.
pub(crate) struct Applying {
    way: Way,
    thread: JoinHandle<()>,
}

/// The way to the applier.
#[derive(Clone)]
pub(crate) struct Way {
    work: Sender<Work>,
    lag: Arc<Lag>,
}

impl Applying {
    pub(crate) fn readers(&self) -> Sender<Work> {
        self.way.work.clone()
    }

    pub(crate) fn way(&self) -> Way {
        self.way.clone()
    }

    /// Finishes what is waiting and ends the thread: afterwards it holds nothing of the index.
    pub(crate) fn stop(self) {
        let sent = self.way.work.send(Work::Stop).is_ok();
        if self.thread.join().is_err() || !sent {
            tracing::debug!("the applier had ended already");
        }
    }
}

impl Way {
    /// Waits while the index is too far behind.
    pub(crate) fn wait(&self) {
        self.lag.wait();
    }

    /// Hands over frames that are durable.
    pub(crate) fn apply(&self, frames: Vec<Read>) -> Result<()> {
        self.lag.add(&frames);
        self.work.send(Work::Apply(frames)).map_err(|_| gone())
    }

    /// Does `work` in the applier's thread, after all before it, and waits for what comes of it.
    pub(crate) fn there<T: Send + 'static>(
        &self,
        work: impl for<'a> FnOnce(&mut Pending<'a>) -> T + Send + 'static,
    ) -> Result<T> {
        let (done, outcome) = sync_channel(1);
        let there: There = Box::new(move |pending| {
            if done.send(work(pending)).is_err() {
                tracing::debug!("nobody waits for what was asked of the index");
            }
        });
        self.work.send(Work::There(there)).map_err(|_| gone())?;
        outcome.recv().map_err(|_| gone())
    }
}

fn gone() -> Error {
    Error::Poisoned("the thread that keeps the index has ended".to_owned())
}

/// What the thread works with.
pub(crate) struct Applier {
    pub(crate) index: Arc<dyn Index>,
    pub(crate) segments: Arc<Segments>,
    pub(crate) state: Arc<WriterState>,
    /// What the index has of the log.
    pub(crate) applied: Position,
}

/// What it remembers.
struct Memory {
    lag: Arc<Lag>,
    checkpoints: SyncSender<()>,
    since_checkpoint: usize,
    since_whole_checkpoint: usize,
    /// Those who wait to see the log up to a frame.
    readers: Vec<(u64, oneshot::Sender<Result<()>>)>,
    /// The index cannot follow any more.
    broken: bool,
}

impl Applier {
    pub(crate) fn start(self) -> Result<Applying> {
        let (work, waiting) = channel();
        let lag = Arc::<Lag>::default();
        let (checkpoints, checkpointer) = self.start_checkpoints()?;
        let memory = Memory {
            lag: lag.clone(),
            checkpoints,
            since_checkpoint: 0,
            since_whole_checkpoint: 0,
            readers: Vec::new(),
            broken: false,
        };
        let thread = std::thread::Builder::new().name("applier".to_owned());
        let started = thread.spawn(move || {
            self.run(&waiting, memory);
            // Its channel went with the memory.
            if checkpointer.join().is_err() {
                tracing::warn!("the checkpoint thread panicked");
            }
        });
        let failed = |e| Error::Poisoned(format!("the applier thread did not start: {e}"));
        Ok(Applying { way: Way { work, lag }, thread: started.map_err(failed)? })
    }

    /// Runs checkpoints beside the applier, one for each message on the channel.
    fn start_checkpoints(&self) -> Result<(SyncSender<()>, JoinHandle<()>)> {
        let (due, wanted) = sync_channel(1);
        let index = self.index.clone();
        let thread = std::thread::Builder::new().name("checkpoint".to_owned());
        let started = thread.spawn(move || {
            while wanted.recv().is_ok() {
                checkpoint(&*index);
            }
        });
        let failed = |e| Error::Poisoned(format!("the checkpoint thread did not start: {e}"));
        Ok((due, started.map_err(failed)?))
    }

    /// Ends when nobody can ask any more; what is not committed then, the next open replays.
    fn run(self, work: &Receiver<Work>, mut memory: Memory) {
        let mut pending = Pending::new(&*self.index, &self.state.hidden, self.applied);
        loop {
            let next = if pending.waits() && !memory.broken {
                work.recv_timeout(IDLE)
            } else {
                work.recv().map_err(RecvTimeoutError::from)
            };
            // Then the folder may be open again elsewhere.
            if self.state.is_gone() {
                return;
            }
            match next {
                Ok(Work::Apply(frames)) => self.apply(&mut pending, &frames, &mut memory),
                Ok(Work::There(there)) => {
                    let done = catch_unwind(AssertUnwindSafe(|| there(&mut pending)));
                    if done.is_err() {
                        self.broken(&panicked(), &mut memory);
                    }
                }
                Ok(Work::Show(lsn, reader)) => memory.readers.push((lsn, reader)),
                Ok(Work::Stop) => {
                    self.commit(&mut pending, &mut memory);
                    checkpoint(&*self.index);
                    return;
                }
                Err(RecvTimeoutError::Timeout) => self.commit(&mut pending, &mut memory),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if pending.is_due() {
                self.commit(&mut pending, &mut memory);
            }
            self.show(&mut pending, &mut memory);
        }
    }

    /// Answers the readers who can be.
    fn show(&self, pending: &mut Pending<'_>, memory: &mut Memory) {
        for (lsn, reader) in std::mem::take(&mut memory.readers) {
            let poison = self.state.poison();
            if lsn > pending.applied().lsn && poison.is_none() {
                memory.readers.push((lsn, reader));
                continue;
            }
            self.commit(pending, memory);
            let shown = lsn <= self.state.hidden.shown_lsn();
            let answer = if shown { Ok(()) } else { Err(poison.unwrap_or(Error::Closed)) };
            // A reader that has gone needs no answer.
            reader.send(answer).unwrap_or_default();
        }
    }

    fn apply(&self, pending: &mut Pending<'_>, frames: &[Read], memory: &mut Memory) {
        let work = || {
            let txn = pending.txn()?;
            frames.iter().try_for_each(|frame| apply(txn, frame))
        };
        let end = frames.last().map(|frame| frame.after);
        if let Some(end) = end.filter(|_| !memory.broken) {
            match catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(panicked())) {
                Ok(()) => pending.keep(frames.len(), end),
                Err(error) => self.again(pending, end, &error, memory),
            }
        }
        memory.lag.remove(frames.len(), bytes_of(frames));
    }

    /// What could not be applied is acknowledged all the same: it is tried once more, from the log.
    fn again(&self, pending: &mut Pending<'_>, end: Position, error: &Error, memory: &mut Memory) {
        tracing::warn!(%error, "the index could not follow the log; trying again");
        let undo = || pending.undo(&self.segments, end);
        let undone = catch_unwind(AssertUnwindSafe(undo)).unwrap_or_else(|_| Err(panicked()));
        if let Err(error) = undone {
            self.broken(&error, memory);
        }
    }

    fn broken(&self, error: &Error, memory: &mut Memory) {
        memory.broken = true;
        let behind = format!("the log is durable, the index is behind: {error}");
        refuse_from_now_on(&Error::Poisoned(behind), &self.state);
    }

    /// Shows readers what is acknowledged, and tidies up the index from time to time.
    fn commit(&self, pending: &mut Pending<'_>, memory: &mut Memory) {
        if !pending.waits() || memory.broken {
            return;
        }
        let changes = match catch_unwind(AssertUnwindSafe(|| pending.commit())) {
            Ok(Ok(changes)) => changes,
            Ok(Err(error)) => return self.broken(&error, memory),
            Err(_) => return self.broken(&panicked(), memory),
        };
        self.state.figures.commits.inc();
        memory.since_checkpoint += changes;
        memory.since_whole_checkpoint += changes;
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
}

fn panicked() -> Error {
    Error::Poisoned("the applier panicked".to_owned())
}

fn checkpoint(index: &dyn Index) {
    if let Err(error) = index.checkpoint() {
        tracing::warn!(%error, "the index could not be tidied up; trying again later");
    }
}
