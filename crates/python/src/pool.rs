//! Work done by threads, results fetched in order. Whoever waits for a result works meanwhile: with one thread there is
//! no other, and with two the second core is busy while the first makes Python objects. Knows nothing about letters.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Pieces of work numbered in the order they came, at most as many as its user lets wait.
pub(crate) struct Pool<W, D> {
    shared: Arc<Shared<W, D>>,
    threads: Vec<JoinHandle<()>>,
    pushed: u64,
    fetched: u64,
}

struct Shared<W, D> {
    queue: Mutex<Queue<W, D>>,
    changed: Condvar,
    /// Counted with the queue locked.
    changes: AtomicUsize,
    run: fn(W) -> D,
}

/// Looks before a thread sleeps: some 50 us.
const LOOKS: usize = 2_000;

struct Queue<W, D> {
    waiting: VecDeque<(u64, W)>,
    /// A panic in the work is handed on to whoever fetches its result.
    done: BTreeMap<u64, Result<D, Box<dyn Any + Send>>>,
    /// Threads that wait for a change: with none, nobody need be woken, which takes longer than all else here.
    sleeping: usize,
    stopping: bool,
}

impl<W: Send + 'static, D: Send + 'static> Pool<W, D> {
    /// `threads` counts the one that fetches. Fewer are started when the system has no more to give.
    pub(crate) fn new(threads: usize, run: fn(W) -> D) -> Self {
        let (waiting, done) = (VecDeque::new(), BTreeMap::new());
        let queue = Queue { waiting, done, sleeping: 0, stopping: false };
        let shared = Arc::new(Shared {
            queue: Mutex::new(queue),
            changed: Condvar::new(),
            changes: AtomicUsize::new(0),
            run,
        });
        let start = |_| {
            let shared = Arc::clone(&shared);
            let thread = std::thread::Builder::new().name("libop".to_owned());
            thread.spawn(move || shared.work()).ok()
        };
        let threads = (1..threads).map_while(start).collect();
        Self { shared, threads, pushed: 0, fetched: 0 }
    }

    /// Pieces whose results were not fetched.
    pub(crate) fn pending(&self) -> u64 {
        self.pushed - self.fetched
    }

    /// Whether threads that look for work may soon find none.
    pub(crate) fn is_hungry(&self) -> bool {
        self.shared.lock().waiting.len() <= self.threads.len()
    }

    /// Many pieces at once, because a thread that sleeps is woken for each call.
    pub(crate) fn push(&mut self, pieces: Vec<W>) {
        let mut queue = self.shared.lock();
        for work in pieces {
            queue.waiting.push_back((self.pushed, work));
            self.pushed += 1;
        }
        self.shared.changes.fetch_add(1, Ordering::AcqRel);
        // Only the workers can be asleep: who pushes is who fetches.
        if queue.sleeping > 0 {
            self.shared.changed.notify_all();
        }
    }

    /// The next result in the order of the work; `None` when nothing is pending. Call it without the GIL.
    pub(crate) fn fetch(&mut self) -> Option<D> {
        if self.pending() == 0 {
            return None;
        }
        let wanted = self.fetched;
        self.fetched += 1;
        let mut queue = self.shared.lock();
        loop {
            if let Some(done) = queue.done.remove(&wanted) {
                drop(queue);
                return Some(done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            queue = match queue.waiting.pop_front() {
                Some((number, work)) => {
                    drop(queue);
                    self.shared.finish(number, work)
                }
                None => self.shared.wait(queue),
            };
        }
    }
}

impl<W, D> Shared<W, D> {
    fn lock(&self) -> MutexGuard<'_, Queue<W, D>> {
        // Nothing panics while it is locked.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until something may have changed. Looks for a moment before it sleeps: to wake up takes longer than most work.
    fn wait<'a>(&'a self, queue: MutexGuard<'a, Queue<W, D>>) -> MutexGuard<'a, Queue<W, D>> {
        let before = self.changes.load(Ordering::Acquire);
        drop(queue);
        for _ in 0..LOOKS {
            if self.changes.load(Ordering::Acquire) != before {
                return self.lock();
            }
            std::hint::spin_loop();
        }
        let mut queue = self.lock();
        if self.changes.load(Ordering::Acquire) != before {
            return queue;
        }
        queue.sleeping += 1;
        let mut queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        queue.sleeping -= 1;
        queue
    }

    fn finish(&self, number: u64, work: W) -> MutexGuard<'_, Queue<W, D>> {
        let done = catch_unwind(AssertUnwindSafe(|| (self.run)(work)));
        let mut queue = self.lock();
        queue.done.insert(number, done);
        self.changes.fetch_add(1, Ordering::AcqRel);
        if queue.sleeping > 0 {
            self.changed.notify_all();
        }
        queue
    }

    fn work(&self) {
        let mut queue = self.lock();
        while !queue.stopping {
            queue = match queue.waiting.pop_front() {
                Some((number, work)) => {
                    drop(queue);
                    self.finish(number, work)
                }
                None => self.wait(queue),
            };
        }
    }
}

impl<W, D> Drop for Pool<W, D> {
    /// Waits for the pieces that are being worked on; those that wait are dropped.
    fn drop(&mut self) {
        self.shared.lock().stopping = true;
        self.shared.changes.fetch_add(1, Ordering::AcqRel);
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            // A thread catches what its work throws.
            drop(thread.join());
        }
    }
}
