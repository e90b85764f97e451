//! The one thread that changes a partition: takes what is waiting, makes it durable together, answers.
//!
//! A batch is one write and one sync of the log. Each intent is resolved to facts; the facts become a frame; the
//! frames are synced; listeners are told, callers hear `Ok`. Deliveries are resolved from rows in memory
//! ([`crate::ahead`]) and applied to the index behind their answer ([`crate::applier`]); all else is resolved
//! inside the index's open transaction, so that it sees what came before it.

use crate::ahead::Ahead;
use crate::applier::{Applier, Applying};
use crate::log::{Log, Read, Segments};
use crate::pending::{Hidden, Pending};
use crate::queue::{Batch, Job, Queue, WriterHandle};
use crate::watch::Listeners;
use crate::{Error, Result};
use bytes::Bytes;
use db::{BlobRef, Index, Op, Txn};
use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use types::{AccountId, Clock, EmailId, ModSeq};

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
    pub(crate) ops: Vec<u8>,
    pub(crate) told: &'a mut Told,
}

/// What must be told, and to whom, once a batch is durable.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) changed: HashMap<AccountId, ModSeq>,
    /// Accounts there are facts about.
    touched: HashSet<AccountId>,
    /// Who asks for an account by its key reads the index as it is committed.
    accounts_put: bool,
}

impl Facts<'_> {
    pub(crate) fn put(&mut self, op: &Op) -> Result<()> {
        db::apply(self.txn, op, self.blob)?;
        op.encode(&mut self.ops);
        self.told.touched.insert(op.account());
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

/// What a batch is resolved with. The applier's thread takes it while the writer waits for it there.
struct Desk {
    log: Log,
    ahead: Ahead,
    index: Arc<dyn Index>,
    segments: Arc<Segments>,
    state: Arc<WriterState>,
    listeners: Arc<Listeners>,
    last_sync: Duration,
}

/// A batch on its way.
struct Group {
    jobs: Vec<Box<dyn Job>>,
    now_unix_s: i64,
    /// Deliveries, resolved and not yet applied.
    fresh: Vec<Read>,
    /// Places of the jobs that need the index's transaction.
    rest: Vec<usize>,
    changed: HashMap<AccountId, ModSeq>,
}

impl Writer {
    pub(crate) fn start(self) -> Result<WriterHandle> {
        let state = Arc::<WriterState>::default();
        let Self { log, segments, index, listeners, clock, reserve_bytes } = self;
        let applied = log.synced();
        let ahead = Ahead::new(index.read()?.last_ids()?);
        let applier = Applier {
            index: index.clone(),
            segments: segments.clone(),
            state: state.clone(),
            applied,
        };
        let applying = applier.start()?;
        let (handle, queue) = WriterHandle::new(state.clone(), Some(applying.readers()));
        let last_sync = Duration::ZERO;
        let desk = Desk { log, ahead, index, segments, state: state.clone(), listeners, last_sync };
        let desk = Arc::new(Mutex::new(desk));
        let work = Working { desk, applying, clock, reserve_bytes, state };
        let thread = std::thread::Builder::new().name("writer".to_owned());
        let started = thread.spawn(move || work.run(queue));
        started.map_err(|e| Error::Poisoned(format!("the writer thread did not start: {e}")))?;
        Ok(handle)
    }
}

/// The thread itself.
struct Working {
    desk: Arc<Mutex<Desk>>,
    applying: Applying,
    clock: Arc<dyn Clock>,
    reserve_bytes: u64,
    state: Arc<WriterState>,
}

fn lock(desk: &Mutex<Desk>) -> MutexGuard<'_, Desk> {
    desk.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Working {
    fn run(self, mut queue: Queue) {
        loop {
            self.applying.wait();
            let Some(Batch { jobs, stop, .. }) = queue.take(None) else {
                self.state.gone.store(true, Ordering::Release);
                return;
            };
            if !jobs.is_empty() {
                self.write(jobs, &mut queue);
            }
            if let Some(done) = stop {
                let Self { desk, applying, .. } = self;
                drop(desk);
                applying.stop();
                if done.send(()).is_err() {
                    tracing::debug!("nobody waits for the writer to stop");
                }
                return;
            }
        }
    }

    /// Has all that is acknowledged applied and committed.
    fn settle(&self) {
        let settled = self.applying.there(|pending| pending.commit().map(|_| ()));
        if let Err(error) = settled.and_then(|committed| committed) {
            refuse_from_now_on(&error, &self.state);
        }
    }

    /// Makes a batch durable and answers everybody in it.
    fn write(&self, jobs: Vec<Box<dyn Job>>, queue: &mut Queue) {
        let now_unix_ms = self.clock.now_unix_ms();
        let mut group = Group {
            jobs,
            now_unix_s: now_unix_ms.div_euclid(1000),
            fresh: Vec::new(),
            rest: Vec::new(),
            changed: HashMap::new(),
        };
        let mut done = self.prepare(&group.jobs, now_unix_ms);
        if done.is_ok() {
            let work = || self.make_durable(&mut group, queue);
            done = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(panicked()));
            if done.is_err() {
                self.start_afresh();
            }
        }
        if let Err(error) = &done {
            refuse_from_now_on(error, &self.state);
            tracing::error!(%error, changes = group.jobs.len(), "changes could not be written");
        }
        let answer = done.map_err(|error| self.state.poison().unwrap_or(error));
        queue.expect_back(group.jobs.len());
        for job in group.jobs {
            job.answer(answer.clone());
        }
    }

    /// What can be refused before anything has happened.
    fn prepare(&self, batch: &[Box<dyn Job>], now_unix_ms: i64) -> Result<()> {
        if let Some(error) = self.state.poison() {
            return Err(error);
        }
        let desk = &mut *lock(&self.desk);
        desk.log.roll(now_unix_ms)?;
        let (shown, last) = (self.state.hidden.shown_lsn(), desk.log.synced().lsn);
        desk.ahead.forget(shown, last, || self.state.hidden.accounts());
        // Refuses letters while there is still room for the changes that free some.
        let has_letters = batch.iter().any(|job| job.letter().is_some());
        if has_letters && desk.segments.free_bytes()? < self.reserve_bytes {
            return Err(Error::DiskFull);
        }
        Ok(())
    }

    /// Resolves, appends, syncs. After an error nothing of the batch may stay.
    fn make_durable(&self, group: &mut Group, queue: &mut Queue) -> Result<()> {
        let mut desk = lock(&self.desk);
        desk.deliver(group, queue)?;
        if !group.rest.is_empty() {
            drop(desk);
            return self.resolve_rest(group);
        }
        if group.fresh.is_empty() {
            return Ok(());
        }
        desk.sync(group.fresh.len())?;
        desk.announce(&group.changed);
        self.applying.apply(std::mem::take(&mut group.fresh))
    }

    /// The applier's thread does it, and the jobs come back from there.
    fn resolve_rest(&self, group: &mut Group) -> Result<()> {
        let desk = self.desk.clone();
        let empty = Group {
            jobs: Vec::new(),
            fresh: Vec::new(),
            rest: Vec::new(),
            changed: HashMap::new(),
            ..*group
        };
        let mut away = std::mem::replace(group, empty);
        let (back, done) = self.applying.there(move |pending| {
            let mut desk = lock(&desk);
            let work = || desk.change(&mut away, pending);
            let done = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(panicked()));
            if done.is_err() {
                desk.take_back(pending);
            }
            (away, done)
        })?;
        *group = back;
        done
    }

    /// After a batch that failed: what was resolved ahead is not true, what is acknowledged gets visible.
    fn start_afresh(&self) {
        let forgotten = lock(&self.desk).log.forget();
        if let Err(error) = forgotten {
            refuse_from_now_on(&error, &self.state);
        }
        self.settle();
        let desk = &mut *lock(&self.desk);
        match desk.index.read().and_then(|read| read.last_ids()) {
            Ok(ids) => desk.ahead = Ahead::new(ids),
            Err(error) => {
                let error =
                    Error::Poisoned(format!("a failed change could not be undone: {error}"));
                refuse_from_now_on(&error, &self.state);
            }
        }
    }
}

impl Desk {
    /// Resolves those deliveries that can be, from rows in memory; the other jobs are noted. Takes in who comes
    /// meanwhile.
    fn deliver(&mut self, group: &mut Group, queue: &mut Queue) -> Result<()> {
        let Self { log, ahead, index, state, last_sync, .. } = self;
        let until = Queue::gather_until(*last_sync);
        let mut told = Told::default();
        let mut txn = ahead.txn(&**index);
        let mut place = 0;
        while place < group.jobs.len() {
            for job in group.jobs.iter_mut().skip(place) {
                let free = |account| !txn.is_bound(account);
                if job.is_delivery() && job.accounts().into_iter().all(free) {
                    let frame = resolve(log, job, &mut txn, &mut told, group.now_unix_s, state)?;
                    group.fresh.extend(frame);
                } else {
                    group.rest.push(place);
                }
                place += 1;
            }
            log.write_early()?;
            group.jobs.extend(queue.more(until));
        }
        group.changed = told.changed;
        Ok(())
    }

    fn sync(&mut self, frames: usize) -> Result<()> {
        let from = Instant::now();
        self.log.sync()?;
        self.last_sync = from.elapsed();
        self.state.figures.batches.inc();
        self.state.figures.changes.inc_by(frames as u64);
        Ok(())
    }

    /// Call when changes are durable, and before anything can make readers see them: who looks at them first and
    /// then finds that nothing has changed since an earlier look would go back in time.
    fn announce(&self, changed: &HashMap<AccountId, ModSeq>) {
        self.state.hidden.add(changed.keys().copied(), self.log.synced().lsn);
        let changed: Vec<_> = changed.iter().map(|(account, modseq)| (*account, *modseq)).collect();
        self.listeners.tell(&changed);
    }

    /// Resolves the rest of a batch in the index's transaction and makes all of it durable.
    fn change(&mut self, group: &mut Group, pending: &mut Pending<'_>) -> Result<()> {
        let mut told = Told::default();
        let txn = pending.txn()?;
        for frame in &group.fresh {
            crate::pending::apply(txn, frame)?;
        }
        let mut frames = group.fresh.len();
        for place in &group.rest {
            let Some(job) = group.jobs.get_mut(*place) else { continue };
            let frame = resolve(&mut self.log, job, txn, &mut told, group.now_unix_s, &self.state)?;
            frames += usize::from(frame.is_some());
        }
        let ids: (AccountId, EmailId) = txn.last_ids()?;
        if frames == 0 {
            return Ok(());
        }
        self.sync(frames)?;
        let synced = self.log.synced();
        pending.keep(frames, synced);
        self.ahead.bind(told.touched.into_iter(), synced.lsn, ids);
        group.changed.extend(told.changed);
        self.announce(&group.changed);
        if told.accounts_put {
            pending.commit()?;
            self.state.figures.commits.inc();
        }
        Ok(())
    }

    /// Undoes a batch that failed in the index's transaction, and only that.
    fn take_back(&mut self, pending: &mut Pending<'_>) {
        let forgotten = self.log.forget();
        let undo = || pending.undo(&self.segments, self.log.synced()).and(forgotten);
        let undone = catch_unwind(AssertUnwindSafe(undo)).unwrap_or_else(|_| Err(panicked()));
        if let Err(error) = undone {
            let error = Error::Poisoned(format!("a failed change could not be undone: {error}"));
            refuse_from_now_on(&error, &self.state);
        }
    }
}

fn panicked() -> Error {
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
fn resolve(
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
    let mut facts = Facts { txn, now_unix_s, blob, ops: Vec::new(), told };
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
