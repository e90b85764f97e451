//! The way to the writer: who waits, for how long, and how a batch comes together.

use crate::alone::ShortWay;
use crate::applier::Work;
use crate::writer::{Facts, Intent, WriterState};
use crate::{Error, Result};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{Semaphore, oneshot};
use types::AccountId;

/// Changes that may wait; more are told to come back.
const QUEUE: usize = 4096;
/// How long a caller waits for a place in the queue.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(10);
/// A batch ends at this many bytes of letters or changes, so that the first in it need not wait for ever.
pub(crate) const BATCH_BYTES: usize = 16 << 20;
pub(crate) const BATCH_CHANGES: usize = 1024;
/// How long a batch waits at most for callers who were just answered and tend to come back.
const GATHER_TIMEOUT: Duration = Duration::from_millis(1);
/// Of a crowd each who comes would wake the writer; it naps instead and takes all who are there then.
pub(crate) const CROWD: usize = 16;
const NAP: Duration = Duration::from_micros(50);

/// From so many callers on their runtime answers them itself.
const MANY: usize = 4;

/// An intent and the one who waits for its outcome.
pub(crate) trait Job: Send {
    /// The caller's runtime, if its threads always run.
    fn runtime(&self) -> Option<&Handle>;
    fn letter(&self) -> Option<(&Bytes, [u8; 16])>;
    fn letters(&self) -> Vec<(&Bytes, [u8; 16])>;
    fn accounts(&self) -> Vec<AccountId>;
    fn is_delivery(&self) -> bool;
    fn resolve(&mut self, facts: &mut Facts<'_>) -> Result<()>;
    fn answer(self: Box<Self>, batch: Result<()>);
}

struct Waiting<I: Intent> {
    intent: I,
    outcome: Result<I::Outcome>,
    caller: oneshot::Sender<Result<I::Outcome>>,
    runtime: Option<Handle>,
}

impl<I: Intent> Job for Waiting<I> {
    fn runtime(&self) -> Option<&Handle> {
        self.runtime.as_ref()
    }

    fn letter(&self) -> Option<(&Bytes, [u8; 16])> {
        self.intent.letter()
    }

    fn letters(&self) -> Vec<(&Bytes, [u8; 16])> {
        self.intent.letters()
    }

    fn accounts(&self) -> Vec<AccountId> {
        self.intent.accounts()
    }

    fn is_delivery(&self) -> bool {
        self.intent.is_delivery()
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

/// Answers all of a batch. Many callers are woken by their own runtime: a thread outside it would take a lock for
/// each, and be pushed off its core by the first.
pub(crate) fn answer_all(mut jobs: Vec<Box<dyn Job>>, batch: &Result<()>) {
    let runtime = jobs.first().and_then(|job| job.runtime().cloned());
    if let Some(runtime) = runtime.filter(|_| jobs.len() >= MANY) {
        let is_there =
            |job: &mut Box<dyn Job>| job.runtime().is_some_and(|other| other.id() == runtime.id());
        let there = jobs.extract_if(.., is_there).collect();
        let answers = Answers { jobs: there, batch: batch.clone() };
        // A runtime that is ending drops it instead.
        drop(runtime.spawn(async move { drop(answers) }));
    }
    drop(Answers { jobs, batch: batch.clone() });
}

/// Answers when it is dropped, so that nothing can keep it from it.
struct Answers {
    jobs: Vec<Box<dyn Job>>,
    batch: Result<()>,
}

impl Drop for Answers {
    fn drop(&mut self) {
        for job in self.jobs.drain(..) {
            job.answer(self.batch.clone());
        }
    }
}

pub(crate) enum Command {
    Change(Box<dyn Job>),
    Stop(oneshot::Sender<()>),
}

/// The sending end of the writer's queue.
#[derive(Clone)]
pub(crate) struct WriterHandle {
    queue: Sender<Command>,
    places: Arc<Semaphore>,
    state: Arc<WriterState>,
    /// Who shows readers what is not committed, and takes a change that is alone; `None`: everything is committed
    /// before it is acknowledged.
    short_way: Option<ShortWay>,
    /// Callers who wait for a change.
    callers: Arc<AtomicUsize>,
}

/// One of the callers, until it has its answer or goes.
struct Caller<'a>(&'a AtomicUsize);

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl WriterHandle {
    pub(crate) fn new(state: Arc<WriterState>) -> (Self, Queue) {
        let (queue, waiting) = channel();
        let places = Arc::new(Semaphore::new(QUEUE));
        let callers = Arc::default();
        let handle = Self { queue, places: places.clone(), state, short_way: None, callers };
        (handle, Queue { waiting, places, next: Batch::default(), expected: 0 })
    }

    /// With a way to the applier.
    pub(crate) fn with(self, short_way: ShortWay) -> Self {
        Self { short_way: Some(short_way), ..self }
    }

    /// Hands an intent over and waits until it is durable or refused.
    pub(crate) async fn change<I: Intent>(&self, intent: I) -> Result<I::Outcome> {
        let others = self.callers.fetch_add(1, Ordering::Relaxed);
        let _caller = Caller(&self.callers);
        if let Some(error) = self.state.poison() {
            return Err(error);
        }
        let place = match self.places.try_acquire() {
            Ok(place) => place,
            Err(_) => match tokio::time::timeout(QUEUE_TIMEOUT, self.places.acquire()).await {
                Ok(Ok(place)) => place,
                Ok(Err(_)) => return Err(Error::Closed),
                Err(_) => return Err(Error::Busy),
            },
        };
        let (caller, answer) = oneshot::channel();
        let runtime = Handle::try_current().ok();
        let runtime = runtime.filter(|it| it.runtime_flavor() == RuntimeFlavor::MultiThread);
        let job = Box::new(Waiting { intent, outcome: Err(Error::Closed), caller, runtime });
        match &self.short_way {
            Some(way) if others == 0 && ShortWay::is_for(&*job) => {
                way.change(job, self.queue.clone(), self.places.clone())?;
            }
            _ => self.queue.send(Command::Change(job)).map_err(|_| Error::Closed)?,
        }
        // Whoever takes the change gives the place back.
        place.forget();
        answer.await.unwrap_or(Err(Error::Closed))
    }

    /// Hands an intent over that nobody waits for; when there is no room for it, never mind.
    pub(crate) fn knock<I: Intent>(&self, intent: I) {
        let Ok(place) = self.places.try_acquire() else { return };
        let (caller, _) = oneshot::channel();
        let job = Box::new(Waiting { intent, outcome: Err(Error::Closed), caller, runtime: None });
        if self.state.poison().is_none() && self.queue.send(Command::Change(job)).is_ok() {
            place.forget();
        }
    }

    /// Waits until a reader sees everything acknowledged for the account.
    pub(crate) async fn show(&self, account: AccountId) -> Result<()> {
        let Some(lsn) = self.state.hidden.last(account) else {
            return Ok(());
        };
        if let Some(error) = self.state.poison() {
            return Err(error);
        }
        let (asked, shown) = oneshot::channel();
        let sent = self.short_way.as_ref().is_some_and(|way| way.send(Work::Show(lsn, asked)));
        match shown.await {
            Ok(done) if sent => done,
            _ => Err(self.state.poison().unwrap_or(Error::Closed)),
        }
    }

    /// Lets what is waiting finish and ends the thread.
    pub(crate) async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        if self.queue.send(Command::Stop(done)).is_ok() && stopped.await.is_err() {
            tracing::debug!("the writer had stopped already");
        }
    }

    pub(crate) fn state(&self) -> &WriterState {
        &self.state
    }
}

/// What the writer takes from the queue at one time.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) jobs: Vec<Box<dyn Job>>,
    pub(crate) stop: Option<oneshot::Sender<()>>,
    bytes: usize,
}

impl Batch {
    fn add(&mut self, command: Command) {
        match command {
            Command::Change(job) => {
                self.bytes += job.letter().map_or(0, |(bytes, _)| bytes.len());
                self.jobs.push(job);
            }
            Command::Stop(done) => self.stop = Some(done),
        }
    }

    fn has_room(&self) -> bool {
        self.bytes < BATCH_BYTES && self.jobs.len() < BATCH_CHANGES && self.stop.is_none()
    }

    fn is_empty(&self) -> bool {
        self.jobs.is_empty() && self.stop.is_none()
    }
}

/// The receiving end.
pub(crate) struct Queue {
    waiting: Receiver<Command>,
    places: Arc<Semaphore>,
    next: Batch,
    /// For [`Queue::take_all`]: so many callers were at work together.
    expected: usize,
}

impl Queue {
    /// Tells how many wait.
    pub(crate) fn crowd(&self) -> Crowd {
        Crowd(self.places.clone())
    }

    /// What is there for the next batch, or the first that comes; empty when nothing comes for `idle`; `None` when
    /// all senders are gone.
    pub(crate) fn take(&mut self, idle: Option<Duration>) -> Option<Batch> {
        self.collect();
        if self.next.is_empty() {
            let first = match idle {
                Some(idle) => self.waiting.recv_timeout(idle),
                None => self.waiting.recv().map_err(RecvTimeoutError::from),
            };
            match first {
                Ok(first) => self.next.add(first),
                Err(RecvTimeoutError::Timeout) => return Some(Batch::default()),
                Err(RecvTimeoutError::Disconnected) => return None,
            }
            self.collect();
        }
        Some(self.hand_out())
    }

    /// The time until which [`Queue::more`] should be asked: half a sync spent to make the next one serve all is
    /// well spent; more is not.
    pub(crate) fn gather_until(last_sync: Duration) -> Instant {
        Instant::now() + GATHER_TIMEOUT.min(last_sync / 2)
    }

    /// What comes until then, as soon as something does, while `expected` more changes may come. Nothing: it is time
    /// to write what there is.
    pub(crate) fn more(&mut self, until: Instant, expected: usize) -> Batch {
        self.collect();
        while self.next.is_empty() && expected > 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            if expected > CROWD {
                nap(left);
            } else if let Ok(command) = self.waiting.recv_timeout(left) {
                self.next.add(command);
            }
            self.collect();
        }
        self.hand_out()
    }

    /// [`Queue::take`], after a nap if nothing is there: whoever comes meanwhile need not wake anybody.
    pub(crate) fn take_rested(&mut self) -> Option<Batch> {
        self.collect();
        if self.next.is_empty() {
            nap(NAP);
        }
        self.take(None)
    }

    /// [`Queue::take`] with all that comes in time.
    pub(crate) fn take_all(&mut self, idle: Option<Duration>, last: Duration) -> Option<Batch> {
        let mut batch = self.take(idle)?;
        let until = Self::gather_until(last);
        while batch.has_room() && !batch.jobs.is_empty() {
            let more = self.more(until, self.expected.saturating_sub(batch.jobs.len()));
            if more.is_empty() {
                break;
            }
            batch.bytes += more.bytes;
            batch.jobs.extend(more.jobs);
            batch.stop = more.stop;
        }
        Some(batch)
    }

    /// Call between the commit of a batch and its answers: its callers may come back, and join those who
    /// came meanwhile.
    pub(crate) fn expect_back(&mut self, answered: usize) {
        self.collect();
        self.expected = (answered + self.next.jobs.len()).min(BATCH_CHANGES);
    }

    fn hand_out(&mut self) -> Batch {
        let batch = std::mem::take(&mut self.next);
        self.places.add_permits(batch.jobs.len());
        batch
    }

    fn collect(&mut self) {
        while self.next.has_room() {
            match self.waiting.try_recv() {
                Ok(command) => self.next.add(command),
                Err(_) => return,
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the writer is a thread, no executor waits for it")]
fn nap(at_most: Duration) {
    std::thread::sleep(NAP.min(at_most));
}

/// Callers whose changes nobody has taken yet.
pub(crate) struct Crowd(Arc<Semaphore>);

impl Crowd {
    pub(crate) fn waiting(&self) -> usize {
        QUEUE.saturating_sub(self.0.available_permits())
    }
}
