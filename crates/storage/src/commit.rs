//! What is resolved becomes durable and is answered: by the writer itself, or beside it.
//!
//! Few callers are all in one batch: while it is synced nobody is left to work for, so the writer does it. Of a crowd
//! [`ENOUGH`] changes make a batch; the syncing thread takes it, and meanwhile the writer resolves and writes the
//! others'. Only one of the two commits at a time, so that batches are told, handed over and answered in order.

use crate::ahead::Ahead;
use crate::applier::Way;
use crate::log::{Log, Read, Segments};
use crate::pending::Pending;
use crate::queue::{BATCH_BYTES, BATCH_CHANGES, CROWD, Crowd, Job, Queue, answer_all};
use crate::watch::Listeners;
use crate::writer::{Told, WriterState, panicked, refuse_from_now_on, resolve};
use crate::{Error, Result};
use db::Index;
use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use types::{AccountId, EmailId, ModSeq};

/// A batch need not wait for more callers than this: one sync for 40 changes is cheap enough, and the disk has
/// something to do while the others are at work.
const ENOUGH: usize = 40;

/// As often the usual time a batch waits for those who tend to come back: 8 callers share 0.127 syncs a change instead
/// of 0.16, and lose nothing.
const PATIENCE: u32 = 2;

/// Changes that are resolved and not yet durable.
#[derive(Default)]
pub(crate) struct Ready {
    pub(crate) jobs: Vec<Box<dyn Job>>,
    /// Deliveries, pushed to the log and not yet applied.
    frames: Vec<Read>,
    /// Places of the jobs that need the index's transaction.
    rest: Vec<usize>,
    changed: HashMap<AccountId, ModSeq>,
    bytes: usize,
    now_unix_s: i64,
}

impl Ready {
    /// One change, to be resolved in the index's transaction.
    pub(crate) fn one(job: Box<dyn Job>, now_unix_s: i64) -> Self {
        Self { jobs: vec![job], rest: vec![0], now_unix_s, ..Self::default() }
    }

    fn is_full(&self) -> bool {
        self.jobs.len() >= BATCH_CHANGES || self.bytes >= BATCH_BYTES
    }
}

/// What changes are resolved with, and what became of them so far. The applier's thread takes it while the writer
/// waits for it there.
#[expect(
    clippy::struct_excessive_bools,
    reason = "what two threads tell each other, each by itself"
)]
pub(crate) struct Desk {
    pub(crate) log: Log,
    pub(crate) ahead: Ahead,
    pub(crate) segments: Arc<Segments>,
    pub(crate) ready: Ready,
    index: Arc<dyn Index>,
    last_sync: Duration,
    /// So many callers are at work together,
    expected: usize,
    /// and a batch waits for them at most until then.
    until: Instant,
    /// The syncing thread commits what is ready until nothing is; else the writer does.
    pub(crate) away: bool,
    /// It waits for more.
    waits: bool,
    /// It shall not wait for more.
    hurry: bool,
    /// It shall leave what is ready to the writer.
    leave: bool,
    stop: bool,
}

impl Desk {
    pub(crate) fn new(
        log: Log,
        ahead: Ahead,
        index: Arc<dyn Index>,
        segments: Arc<Segments>,
    ) -> Self {
        Self {
            log,
            ahead,
            segments,
            ready: Ready::default(),
            index,
            last_sync: Duration::ZERO,
            expected: 0,
            until: Instant::now(),
            away: false,
            waits: false,
            hurry: false,
            leave: false,
            stop: false,
        }
    }

    /// Whether it can be resolved from rows in memory.
    pub(crate) fn is_free_delivery(&self, job: &dyn Job) -> bool {
        job.is_delivery()
            && (!self.ahead.binds_any()
                || job.accounts().into_iter().all(|account| !self.ahead.is_bound(account)))
    }

    /// Resolves those deliveries that can be, from rows in memory; the other jobs are noted.
    pub(crate) fn resolve(
        &mut self,
        jobs: Vec<Box<dyn Job>>,
        now_unix_s: i64,
        state: &WriterState,
    ) -> Result<()> {
        let from = self.ready.jobs.len();
        self.ready.jobs.extend(jobs);
        self.ready.now_unix_s = now_unix_s;
        let free: Vec<bool> = {
            let new = self.ready.jobs.iter().skip(from);
            new.map(|job| self.is_free_delivery(&**job)).collect()
        };
        let Self { log, ahead, index, ready, .. } = self;
        let mut told = Told { changed: std::mem::take(&mut ready.changed), ..Told::default() };
        let mut txn = ahead.txn(&**index);
        for (place, job) in ready.jobs.iter_mut().enumerate().skip(from) {
            ready.bytes += job.letter().map_or(0, |(bytes, _)| bytes.len());
            if free.get(place - from) == Some(&true) {
                let frame = resolve(log, job, &mut txn, &mut told, now_unix_s, state)?;
                ready.frames.extend(frame);
            } else {
                ready.rest.push(place);
            }
        }
        ready.changed = told.changed;
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        let from = Instant::now();
        self.log.sync()?;
        self.last_sync = from.elapsed();
        Ok(())
    }

    /// Resolves the rest of a batch in the index's transaction and makes all of it durable, or takes all of it back.
    pub(crate) fn change(
        &mut self,
        group: &mut Ready,
        pending: &mut Pending<'_>,
        commits: &Commits,
    ) -> Result<()> {
        let work = || self.try_change(group, pending, commits);
        let done = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(panicked()));
        if done.is_err() {
            self.take_back(pending, &commits.state);
        }
        done
    }

    fn try_change(
        &mut self,
        group: &mut Ready,
        pending: &mut Pending<'_>,
        commits: &Commits,
    ) -> Result<()> {
        let mut told = Told::default();
        let txn = pending.txn()?;
        for frame in &group.frames {
            crate::pending::apply(txn, frame)?;
        }
        let state = &commits.state;
        let mut frames = group.frames.len();
        for place in &group.rest {
            let Some(job) = group.jobs.get_mut(*place) else { continue };
            let frame = resolve(&mut self.log, job, txn, &mut told, group.now_unix_s, state)?;
            frames += usize::from(frame.is_some());
        }
        let ids: (AccountId, EmailId) = txn.last_ids()?;
        if frames == 0 {
            return Ok(());
        }
        self.sync()?;
        commits.count(frames);
        let synced = self.log.synced();
        pending.keep(frames, synced);
        self.ahead.bind(told.touched.into_iter(), synced.lsn, ids);
        group.changed.extend(told.changed);
        commits.announce(&group.changed, synced.lsn);
        commits.listeners.clicks.tell(told.clicks);
        if told.commit_at_once {
            pending.commit()?;
            state.figures.commits.inc();
        }
        Ok(())
    }

    /// Undoes a batch that failed in the index's transaction, and only that.
    fn take_back(&mut self, pending: &mut Pending<'_>, state: &WriterState) {
        let forgotten = self.log.forget();
        let undo = || pending.undo(&self.segments, self.log.synced()).and(forgotten);
        let undone = catch_unwind(AssertUnwindSafe(undo)).unwrap_or_else(|_| Err(panicked()));
        if let Err(error) = undone {
            let error = Error::Poisoned(format!("a failed change could not be undone: {error}"));
            refuse_from_now_on(&error, state);
        }
    }
}

/// What the writer has to wait for.
pub(crate) enum Gathering {
    /// Nobody has something under way.
    Nothing,
    /// Others look after what is under way; there are many.
    Crowd,
    /// A batch that lacks so many changes and waits until then.
    Open(Instant, usize),
}

/// Why a batch must go.
pub(crate) enum Trouble {
    Change(Error),
    /// A write that failed.
    Disk(io::Error),
}

/// What the writer and the syncing thread share.
pub(crate) struct Commits {
    desk: Mutex<Desk>,
    /// There is something to do for the syncing thread.
    go: Condvar,
    /// It has taken what was ready, or left.
    back: Condvar,
    pub(crate) state: Arc<WriterState>,
    listeners: Arc<Listeners>,
    applying: Way,
    crowd: Crowd,
}

pub(crate) type Locked<'a> = MutexGuard<'a, Desk>;

impl Commits {
    pub(crate) fn new(
        desk: Desk,
        state: Arc<WriterState>,
        listeners: Arc<Listeners>,
        applying: Way,
        crowd: Crowd,
    ) -> Arc<Self> {
        let (go, back) = (Condvar::new(), Condvar::new());
        Arc::new(Self { desk: Mutex::new(desk), go, back, state, listeners, applying, crowd })
    }

    /// Starts the syncing thread.
    pub(crate) fn start(self: Arc<Self>) -> Result<JoinHandle<()>> {
        let thread = std::thread::Builder::new().name("sync".to_owned());
        let started = thread.spawn(move || self.run());
        started.map_err(|e| Error::Poisoned(format!("the syncing thread did not start: {e}")))
    }

    /// Ends the syncing thread, after [`Commits::drain`].
    pub(crate) fn stop(&self) {
        self.desk().stop = true;
        self.go.notify_one();
    }

    pub(crate) fn desk(&self) -> Locked<'_> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The desk, if nobody works at it.
    pub(crate) fn free_desk(&self) -> Option<Locked<'_>> {
        match self.desk.try_lock() {
            Ok(desk) => Some(desk),
            Err(TryLockError::Poisoned(desk)) => Some(desk.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    // --- for the writer

    pub(crate) fn gathering(&self) -> Gathering {
        let desk = self.desk();
        if desk.away && desk.expected > CROWD {
            Gathering::Crowd
        } else if desk.away || desk.ready.jobs.is_empty() {
            Gathering::Nothing
        } else {
            let missing = desk.expected.saturating_sub(desk.ready.jobs.len());
            Gathering::Open(desk.until, missing)
        }
    }

    /// Has what is ready committed if it is time to.
    pub(crate) fn look(self: &Arc<Self>) {
        let mut desk = self.desk();
        let ready = desk.ready.jobs.len();
        if ready == 0 {
            return;
        }
        if desk.away {
            if desk.waits && ready >= desk.expected.min(ENOUGH) {
                self.go.notify_one();
            }
            return;
        }
        let is_crowd = desk.expected > ENOUGH && desk.ready.rest.is_empty();
        let is_complete = ready >= desk.expected || desk.ready.is_full();
        let is_time = is_complete || Instant::now() >= desk.until;
        if is_crowd && (ready >= ENOUGH || is_time && ready > CROWD) {
            desk.away = true;
            drop(desk);
            self.go.notify_one();
        } else if is_time {
            drop(self.commit(desk));
        }
    }

    /// Has all that is ready committed; afterwards nothing is under way.
    pub(crate) fn drain(self: &Arc<Self>) {
        let mut desk = self.desk();
        desk.hurry = true;
        self.go.notify_one();
        desk = self.wait_while(desk, |desk| desk.away);
        desk.hurry = false;
        if !desk.ready.jobs.is_empty() {
            drop(self.commit(desk));
        }
    }

    /// Waits while more is ready than one batch may have.
    pub(crate) fn wait_for_room(&self) {
        let desk = self.desk();
        drop(self.wait_while(desk, |desk| desk.away && desk.ready.is_full()));
    }

    fn wait_while<'a>(&'a self, desk: Locked<'a>, until: impl Fn(&Desk) -> bool) -> Locked<'a> {
        self.back.wait_while(desk, |desk| until(desk)).unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes back all that is ready and not yet on its way to the disk.
    pub(crate) fn undo<'a>(&'a self, mut desk: Locked<'a>, trouble: Trouble) {
        desk.leave = true;
        self.go.notify_one();
        desk = self.wait_while(desk, |desk| desk.away);
        desk.leave = false;
        let error = match trouble {
            Trouble::Change(error) => error,
            Trouble::Disk(error) => desk.log.cut_back(&error),
        };
        let jobs = std::mem::take(&mut desk.ready).jobs;
        drop(self.fail(desk, jobs, &error));
    }

    /// Answers jobs that nothing was done for.
    pub(crate) fn refuse(&self, jobs: Vec<Box<dyn Job>>, error: &Error) {
        refuse_from_now_on(error, &self.state);
        tracing::error!(%error, changes = jobs.len(), "changes could not be written");
        let answer = self.state.poison().unwrap_or_else(|| error.clone());
        answer_all(jobs, &Err(answer));
    }

    // --- for both

    /// Makes durable what is ready, and answers it.
    fn commit<'a>(self: &'a Arc<Self>, mut desk: Locked<'a>) -> Locked<'a> {
        let mut group = std::mem::take(&mut desk.ready);
        let done = if let Some(error) = self.state.poison() {
            Err(error)
        } else if !group.rest.is_empty() {
            drop(desk);
            let done = self.change(&mut group);
            desk = self.desk();
            done
        } else if group.frames.is_empty() {
            Ok(())
        } else {
            let done;
            (desk, done) = self.sync(desk, &mut group);
            done
        };
        if let Err(error) = done {
            return self.fail(desk, group.jobs, &error);
        }
        let jobs = group.jobs;
        let coming = desk.ready.jobs.len() + self.crowd.waiting();
        desk.expected = (jobs.len() + coming).min(BATCH_CHANGES);
        desk.until = Queue::gather_until(desk.last_sync * PATIENCE);
        drop(desk);
        answer_all(jobs, &Ok(()));
        self.desk()
    }

    /// Syncs, tells, hands over. The writer goes on meanwhile, if it is another thread that does this.
    fn sync<'a>(&'a self, mut desk: Locked<'a>, group: &mut Ready) -> (Locked<'a>, Result<()>) {
        if let Err(error) = desk.log.write() {
            let error = desk.log.cut_back(&error);
            return (desk, Err(error));
        }
        let syncing = desk.log.begin_sync();
        drop(desk);
        self.back.notify_all();
        let from = Instant::now();
        let work = || syncing.sync();
        let mut done = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(panicked()));
        let last_sync = from.elapsed();
        let mut desk = self.desk();
        if done.is_err() {
            desk.log.give_up();
            return (desk, done);
        }
        desk.last_sync = last_sync;
        desk.log.end_sync(&syncing);
        drop(desk);
        let frames = std::mem::take(&mut group.frames);
        self.count(frames.len());
        let last = frames.last().map_or(0, |frame| frame.after.lsn);
        self.announce(&group.changed, last);
        done = self.applying.apply(frames);
        (self.desk(), done)
    }

    /// Resolves what needs the index's transaction. The applier's thread does it, and the jobs come back from there.
    fn change(self: &Arc<Self>, group: &mut Ready) -> Result<()> {
        let mut away = std::mem::take(group);
        let commits = self.clone();
        let (back, done) = self.applying.there(move |pending| {
            let done = commits.desk().change(&mut away, pending, &commits);
            (away, done)
        })?;
        *group = back;
        done
    }

    fn count(&self, frames: usize) {
        self.state.figures.batches.inc();
        self.state.figures.changes.inc_by(frames as u64);
    }

    /// Call when changes up to `lsn` are durable, and before anything can make readers see them: who looks at them
    /// first and then finds that nothing has changed since an earlier look would go back in time.
    fn announce(&self, changed: &HashMap<AccountId, ModSeq>, lsn: u64) {
        self.state.hidden.add(changed.keys().copied(), lsn);
        let changed: Vec<_> = changed.iter().map(|(account, modseq)| (*account, *modseq)).collect();
        self.listeners.tell(&changed);
    }

    /// After a batch that failed: what was resolved ahead is not true, with all that came after it; what is
    /// acknowledged gets visible.
    fn fail<'a>(
        &'a self,
        mut desk: Locked<'a>,
        mut jobs: Vec<Box<dyn Job>>,
        error: &Error,
    ) -> Locked<'a> {
        jobs.extend(std::mem::take(&mut desk.ready).jobs);
        if let Err(error) = desk.log.forget() {
            refuse_from_now_on(&error, &self.state);
        }
        let settled = self.applying.there(|pending| pending.commit().map(|_| ()));
        if let Err(error) = settled.and_then(|committed| committed) {
            refuse_from_now_on(&error, &self.state);
        }
        match desk.index.read().and_then(|read| read.last_ids()) {
            Ok(ids) => desk.ahead = Ahead::new(ids),
            Err(error) => {
                let error =
                    Error::Poisoned(format!("a failed change could not be undone: {error}"));
                refuse_from_now_on(&error, &self.state);
            }
        }
        // Nobody may come in between.
        refuse_from_now_on(error, &self.state);
        drop(desk);
        self.refuse(jobs, error);
        self.desk()
    }

    // --- the syncing thread

    fn run(self: &Arc<Self>) {
        loop {
            let desk = self.desk();
            let idle = |desk: &mut Desk| !desk.away && !desk.stop;
            let desk = self.go.wait_while(desk, idle).unwrap_or_else(PoisonError::into_inner);
            if desk.stop {
                return;
            }
            let work = AssertUnwindSafe(|| self.commit_crowd(desk));
            if catch_unwind(work).is_err() {
                refuse_from_now_on(&panicked(), &self.state);
                self.desk().away = false;
                self.back.notify_all();
            }
        }
    }

    /// Commits what is ready until nothing is.
    fn commit_crowd<'a>(self: &'a Arc<Self>, mut desk: Locked<'a>) {
        while !desk.ready.jobs.is_empty() && !desk.leave {
            let left = desk.until.saturating_duration_since(Instant::now());
            let is_enough = desk.ready.jobs.len() >= desk.expected.min(ENOUGH);
            if !is_enough && !desk.hurry && !left.is_zero() {
                desk.waits = true;
                let waited = self.go.wait_timeout(desk, left);
                (desk, _) = waited.unwrap_or_else(PoisonError::into_inner);
                desk.waits = false;
                continue;
            }
            desk = self.commit(desk);
        }
        desk.away = false;
        self.back.notify_all();
    }
}
