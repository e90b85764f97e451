//! The one thread that changes a partition: takes what is waiting, makes it durable together, answers.
//!
//! A batch is one write and one sync of the log. Each intent is resolved to facts; the facts become a frame; the
//! frames are synced; listeners are told, callers hear `Ok`. Deliveries are resolved from rows in memory
//! ([`crate::ahead`]) and applied to the index behind their answer ([`crate::applier`]); all else is resolved
//! inside the index's open transaction, so that it sees what came before it.

use crate::ahead::Ahead;
use crate::alone::ShortWay;
use crate::applier::{Applier, Way};
use crate::clicks::Click;
use crate::commit::{Commits, Desk, Gathering, Locked, Trouble};
use crate::log::{Log, Read, Segments};
use crate::pending::Hidden;
use crate::queue::{Batch, Job, Queue, WriterHandle};
use crate::watch::Listeners;
use crate::{Error, Result};
use bytes::Bytes;
use db::{BlobRef, Index, Op, Txn};
use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::oneshot;
use types::{AccountId, Clock, ModSeq};

/// What somebody wants to be true.
pub(crate) trait Intent: Send + 'static {
    type Outcome: Send + 'static;

    /// The letter that comes with it, and [`crate::log::blob_hash`] of it.
    fn letter(&self) -> Option<(&Bytes, [u8; 16])> {
        None
    }

    /// The letters that the one letter is made of, one after the other; none when it is only one. A database keeps
    /// each by itself.
    fn letters(&self) -> Vec<(&Bytes, [u8; 16])> {
        Vec::new()
    }

    /// Those it will look at, as far as they are known: where several servers share a store, it takes all of
    /// a batch at once.
    fn accounts(&self) -> Vec<AccountId> {
        Vec::new()
    }

    /// Whether counters of those accounts and their mailboxes, and threads, are all it looks at and changes.
    fn is_delivery(&self) -> bool {
        false
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
    /// Places of [`Intent::letters`], where each has its own.
    pub(crate) letters: Vec<BlobRef>,
    pub(crate) ops: Vec<u8>,
    pub(crate) told: &'a mut Told,
}

/// What must be told, and to whom, once a batch is durable.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) changed: HashMap<AccountId, ModSeq>,
    /// What people say about letters by this.
    pub(crate) clicks: Vec<Click>,
    /// Accounts there are facts about.
    pub(crate) touched: HashSet<AccountId>,
    /// Who asks for an account by its key, for an alias, or for a note in all accounts, reads the index as it is
    /// committed.
    pub(crate) commit_at_once: bool,
}

impl Facts<'_> {
    pub(crate) fn put(&mut self, op: &Op) -> Result<()> {
        db::apply(self.txn, op, self.blob)?;
        op.encode(&mut self.ops);
        self.told.touched.extend(op.account());
        self.told.commit_at_once |=
            matches!(op, Op::AccountPut { .. } | Op::NotePut { .. } | Op::AliasPut { .. });
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
    /// Every handle was dropped, without closing.
    gone: AtomicBool,
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
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

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

/// The thread itself.
struct Working {
    commits: Arc<Commits>,
    applying: Way,
    clock: Arc<dyn Clock>,
    reserve_bytes: u64,
}

impl Writer {
    pub(crate) fn start(self) -> Result<WriterHandle> {
        let state = Arc::<WriterState>::default();
        let Self { log, segments, index, listeners, clock, reserve_bytes } = self;
        let ahead = Ahead::new(index.read()?.last_ids()?);
        let applier = Applier {
            index: index.clone(),
            segments: segments.clone(),
            state: state.clone(),
            applied: log.synced(),
        };
        let applier = applier.start()?;
        let applying = applier.way();
        let (handle, queue) = WriterHandle::new(state.clone());
        let crowd = queue.crowd();
        let desk = Desk::new(log, ahead, index, segments);
        let commits = Commits::new(desk, state, listeners, applying.clone(), crowd);
        let handle = handle.with(ShortWay::new(applier.readers(), &commits, clock.clone()));
        let syncer = commits.clone().start()?;
        let work = Working { commits, applying, clock, reserve_bytes };
        let thread = std::thread::Builder::new().name("writer".to_owned());
        let started = thread.spawn(move || {
            let stopped = work.run(queue);
            work.commits.stop();
            if syncer.join().is_err() {
                tracing::debug!("the syncing thread panicked");
            }
            // The desk holds the index.
            drop(work);
            if let Some(done) = stopped {
                applier.stop();
                if done.send(()).is_err() {
                    tracing::debug!("nobody waits for the writer to stop");
                }
            }
        });
        started.map_err(|e| Error::Poisoned(format!("the writer thread did not start: {e}")))?;
        Ok(handle)
    }
}

impl Working {
    /// Until it is told to stop: then it gives back whom to tell; or until nobody can ask any more.
    fn run(&self, mut queue: Queue) -> Option<oneshot::Sender<()>> {
        loop {
            let Some(Batch { jobs, stop, .. }) = self.gather(&mut queue) else {
                self.commits.drain();
                self.commits.state.gone.store(true, Ordering::Release);
                return None;
            };
            if !jobs.is_empty() {
                self.take_in(jobs);
            }
            if stop.is_some() {
                self.commits.drain();
                return stop;
            }
            self.commits.look();
        }
    }

    fn gather(&self, queue: &mut Queue) -> Option<Batch> {
        match self.commits.gathering() {
            Gathering::Open(until, expected) => Some(queue.more(until, expected)),
            Gathering::Crowd => {
                self.applying.wait();
                queue.take_rested()
            }
            Gathering::Nothing => {
                self.applying.wait();
                queue.take(None)
            }
        }
    }

    /// Resolves what can be ahead of the index; the rest is noted.
    fn take_in(&self, jobs: Vec<Box<dyn Job>>) {
        let now_unix_ms = self.clock.now_unix_ms();
        let has_letters = jobs.iter().any(|job| job.letter().is_some());
        let all_free = |desk: &Desk| jobs.iter().all(|job| desk.is_free_delivery(&**job));
        let mut desk = match self.prepare(now_unix_ms, has_letters, all_free) {
            Ok(desk) => desk,
            Err(error) => return self.commits.refuse(jobs, &error),
        };
        let state = &self.commits.state;
        let now_unix_s = now_unix_ms.div_euclid(1000);
        let work = || desk.resolve(jobs, now_unix_s, state);
        let done = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(panicked()));
        let done = done.map_err(Trouble::Change);
        let done = done.and_then(|()| desk.log.write_early().map_err(Trouble::Disk));
        if let Err(trouble) = done {
            self.commits.undo(desk, trouble);
        }
    }

    /// What can be refused before anything has happened. The desk stays locked, so that nothing changes that.
    fn prepare(
        &self,
        now_unix_ms: i64,
        has_letters: bool,
        all_free: impl Fn(&Desk) -> bool,
    ) -> Result<Locked<'_>> {
        let commits = &self.commits;
        commits.wait_for_room();
        let mut desk = commits.desk();
        let is_due = desk.log.is_due(now_unix_ms);
        desk.log.at(now_unix_ms);
        // What needs the index's transaction is for this thread alone.
        if is_due || desk.ahead.is_full() || desk.away && !all_free(&desk) {
            drop(desk);
            commits.drain();
            desk = commits.desk();
        }
        // After a failed sync no segment may begin: the end of the one before is not known.
        if let Some(error) = commits.state.poison() {
            return Err(error);
        }
        if is_due {
            desk.log.begin_segment(now_unix_ms)?;
        }
        let (shown, last) = (commits.state.hidden.shown_lsn(), desk.log.pushed().lsn);
        desk.ahead.forget(shown, last, || commits.state.hidden.accounts());
        // Refuses letters while there is still room for the changes that free some.
        if has_letters && desk.segments.free_bytes()? < self.reserve_bytes {
            return Err(Error::DiskFull);
        }
        Ok(desk)
    }
}

pub(crate) fn panicked() -> Error {
    Error::Poisoned("the writer panicked".to_owned())
}

/// After some errors nobody can say what is on the disk: then no change is taken until a replay has looked.
pub(crate) fn refuse_from_now_on(error: &Error, state: &WriterState) {
    let uncertain = matches!(error, Error::Io { .. } | Error::Poisoned(_) | Error::Corrupt(_));
    if uncertain && state.poison.set(error.to_string()).is_ok() {
        tracing::error!("no more changes are taken until a restart replays the log");
    }
}

/// Resolves one intent and pushes its frame; `None` when it put no fact.
pub(crate) fn resolve(
    log: &mut Log,
    job: &mut Box<dyn Job>,
    txn: &mut dyn Txn,
    told: &mut Told,
    now_unix_s: i64,
    state: &WriterState,
) -> Result<Option<Read>> {
    let letter = job.letter().map(|(bytes, hash)| (bytes.clone(), hash));
    let blob = letter.as_ref().map(|(bytes, hash)| log.place(bytes, *hash));
    let letter = letter.map(|(bytes, _)| bytes);
    // One piece of memory is enough for most: a part table takes some 500 bytes.
    let ops = Vec::with_capacity(if blob.is_some() { 1024 } else { 128 });
    let mut facts = Facts { txn, now_unix_s, blob, letters: Vec::new(), ops, told };
    let outcome = job.resolve(&mut facts);
    let ops = facts.ops;
    match outcome {
        Err(error) if !ops.is_empty() => return Err(error),
        // A failing index fails everybody in the batch; a refusal only the one who asked.
        Err(error @ (Error::Index(_) | Error::DiskFull | Error::Io { .. })) => return Err(error),
        _ if ops.is_empty() => return Ok(None),
        _ => log.push(letter.as_ref().zip(blob), &ops),
    }
    if let Some(letter) = letter {
        state.figures.letters.inc();
        state.figures.letter_bytes.inc_by(letter.len() as u64);
    }
    Ok(Some(Read { blob, ops, after: log.pushed() }))
}
