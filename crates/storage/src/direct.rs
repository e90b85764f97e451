//! The thread that changes a store whose index is the truth itself, a database that other servers may share.
//!
//! A batch is one transaction: rows and letters together, durable with its commit; only then callers hear `Ok` and
//! listeners, here and on the other servers, are told. There is nothing to replay and nothing to poison: after any
//! error the database knows what holds, and the next batch asks it.

use crate::queue::{Batch, Job, Queue, WriterHandle};
use crate::watch::Listeners;
use crate::writer::{Facts, Told, WriterState};
use crate::{Error, Result};
use bytes::Bytes;
use db::{BlobRef, Index, Position, Txn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use types::{AccountId, Clock};

/// How often a batch is tried again when another server was quicker.
const TRIES: usize = 5;
/// How long a batch waits for a database that is gone: a restart or the change to a standby takes seconds. Callers'
/// clients wait longer than that.
const AWAY_TIMEOUT: Duration = Duration::from_secs(15);
/// Between its tries, twice as long each time.
const AWAY_EVERY: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];
/// How often the database is asked to remove what is gone.
const TIDY_EVERY: Duration = Duration::from_mins(5);

/// What the thread works with.
pub(crate) struct Direct {
    pub(crate) index: Arc<dyn Index>,
    pub(crate) listeners: Arc<Listeners>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// What a batch came to, once it is committed.
#[derive(Default)]
struct Done {
    told: Told,
    changes: u64,
    letters: u64,
    letter_bytes: u64,
}

impl Direct {
    pub(crate) fn start(self) -> Result<WriterHandle> {
        let state = Arc::<WriterState>::default();
        let (handle, queue) = WriterHandle::new(state.clone());
        let thread = std::thread::Builder::new().name("writer".to_owned());
        let started = thread.spawn(move || self.run(queue, &state));
        started.map_err(|e| Error::Poisoned(format!("the writer thread did not start: {e}")))?;
        Ok(handle)
    }

    fn run(self, mut queue: Queue, state: &WriterState) {
        let mut tidied = Instant::now();
        let mut last_commit = Duration::ZERO;
        while let Some(batch) = queue.take_all(Some(TIDY_EVERY), last_commit) {
            let Batch { jobs, stop, .. } = batch;
            if !jobs.is_empty() {
                let from = Instant::now();
                self.write(jobs, &mut queue, state);
                last_commit = from.elapsed();
            }
            if tidied.elapsed() >= TIDY_EVERY {
                self.tidy();
                tidied = Instant::now();
            }
            if let Some(done) = stop {
                if done.send(()).is_err() {
                    tracing::debug!("nobody waits for the writer to stop");
                }
                return;
            }
        }
    }

    fn tidy(&self) {
        if let Err(error) = self.index.checkpoint() {
            tracing::warn!(%error, "the database could not be tidied up; trying again later");
        }
    }

    /// Makes a batch durable and answers everybody in it.
    fn write(&self, mut jobs: Vec<Box<dyn Job>>, queue: &mut Queue, state: &WriterState) {
        let mut done = self.commit(&mut jobs, state);
        queue.expect_back(jobs.len());
        // One of them may be to blame: then the others need not suffer.
        let alone = jobs.len() > 1;
        for job in jobs {
            if alone && done.as_ref().is_err_and(|error| !is_out_of_reach(error)) {
                let mut job = [job];
                let own = self.commit(&mut job, state);
                let [job] = job;
                if own.as_ref().is_err_and(is_out_of_reach) {
                    done.clone_from(&own);
                }
                job.answer(own);
            } else {
                job.answer(done.clone());
            }
        }
    }

    /// All or nothing, tried again when another server was quicker, or when the database went away before the commit.
    fn commit(&self, jobs: &mut [Box<dyn Job>], state: &WriterState) -> Result<()> {
        let mut tries = 1;
        let [mut pause, longest] = AWAY_EVERY;
        let until = Instant::now() + AWAY_TIMEOUT;
        let done = loop {
            let attempt = catch_unwind(AssertUnwindSafe(|| self.attempt(jobs)));
            match attempt.unwrap_or_else(|_| Err(panicked())) {
                Err(Error::Index(error)) if is_conflict(&error) && tries < TRIES => {
                    tracing::debug!(%error, tries, "trying the changes again");
                    tries += 1;
                }
                Err(error) if is_undone(&error) && Instant::now() < until => {
                    tracing::warn!(%error, changes = jobs.len(), "waiting for the database");
                    std::thread::park_timeout(pause);
                    pause = longest.min(pause * 2);
                }
                Err(error) => {
                    tracing::error!(%error, changes = jobs.len(), "changes could not be written");
                    return Err(error);
                }
                Ok(done) => break done,
            }
        };
        if done.changes > 0 {
            state.figures.batches.inc();
            state.figures.commits.inc();
        }
        state.figures.changes.inc_by(done.changes);
        state.figures.letters.inc_by(done.letters);
        state.figures.letter_bytes.inc_by(done.letter_bytes);
        let changed: Vec<_> = done.told.changed.into_iter().collect();
        self.listeners.tell(&changed);
        self.listeners.clicks.tell(done.told.clicks);
        if let Some(letters) = self.index.letters() {
            letters.announce(&changed);
        }
        Ok(())
    }

    /// One transaction; an error undoes it.
    fn attempt(&self, jobs: &mut [Box<dyn Job>]) -> Result<Done> {
        let now_unix_s = self.clock.now_unix_ms().div_euclid(1000);
        let mut accounts: Vec<AccountId> = jobs.iter().flat_map(|job| job.accounts()).collect();
        accounts.sort_unstable();
        accounts.dedup();
        let mut txn = self.index.begin()?;
        if !accounts.is_empty() {
            txn.lock_accounts(&accounts)?;
        }
        let mut done = Done::default();
        for job in jobs {
            resolve(job, &mut *txn, &mut done, now_unix_s)?;
        }
        if done.changes > 0 {
            txn.commit(Position::NO_LOG)?;
        }
        Ok(done)
    }
}

fn panicked() -> Error {
    Error::Index(Arc::new(db::Error::Engine("a change panicked and was undone".to_owned())))
}

fn is_conflict(error: &db::Error) -> bool {
    matches!(error, db::Error::Conflict(_))
}

/// The database is away, and nothing of the batch is done.
fn is_undone(error: &Error) -> bool {
    use db::Error::{Lost, Unreachable};
    matches!(error, Error::Index(error) if matches!(**error, Unreachable { .. } | Lost(_)))
}

/// Nobody answers: asking for each change would take long, and all would hear the same. Or nobody knows what was done:
/// asking for each could do it twice.
fn is_out_of_reach(error: &Error) -> bool {
    is_undone(error)
        || matches!(error, Error::Index(error) if matches!(**error, db::Error::Unsettled))
}

/// Resolves one intent in the transaction.
fn resolve(
    job: &mut Box<dyn Job>,
    txn: &mut dyn Txn,
    done: &mut Done,
    now_unix_s: i64,
) -> Result<()> {
    let mut place = |(bytes, hash): (&Bytes, [u8; 16])| -> Result<BlobRef> {
        let size_bytes = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Ok(BlobRef { location: txn.put_letter(bytes)?, size_bytes, hash })
    };
    let letters = job.letters().into_iter().map(&mut place).collect::<Result<Vec<_>>>()?;
    let blob = match job.letter().filter(|_| letters.is_empty()) {
        Some(letter) => Some(place(letter)?),
        None => None,
    };
    let placed: Vec<BlobRef> = letters.iter().copied().chain(blob).collect();
    let ops = Vec::new();
    let mut facts = Facts { txn, now_unix_s, blob, letters, ops, told: &mut done.told };
    let outcome = job.resolve(&mut facts);
    let put_facts = !facts.ops.is_empty();
    match outcome {
        Err(error) if put_facts => return Err(error),
        // A failing database fails everybody in the batch; a refusal only the one who asked.
        Err(error @ (Error::Index(_) | Error::DiskFull)) => return Err(error),
        _ if !put_facts => return Ok(()),
        _ => done.changes += 1,
    }
    for blob in placed {
        done.letters += 1;
        done.letter_bytes += u64::from(blob.size_bytes);
    }
    Ok(())
}
