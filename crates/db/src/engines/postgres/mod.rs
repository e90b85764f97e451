//! Rows in PostgreSQL. Unlike the other engines it is the truth itself when no log stands behind it: a commit
//! is durable, and several nodes may write to one database at once.
//!
//! A write transaction takes the row of an account `FOR UPDATE` before it looks at anything of that account, and
//! keeps it to its end. So UID, MODSEQ and counters of an account have one writer at a time, on all nodes
//! together. Isolation is READ COMMITTED: each question sees what the last holder of the lock committed, where
//! REPEATABLE READ would end in an error after every wait. Readers take REPEATABLE READ: one moment for all
//! questions, without any lock.
//!
//! The files: [`session`] one connection and its errors, [`tls`] how it is encrypted, [`schema`] the tables, [`read`] questions, [`write`] the
//! write transaction, [`letters`] bytes, numbers and news.

mod letters;
mod read;
mod schema;
mod session;
mod tls;
mod write;

use crate::{Error, Index, Letters, Read, Result, Txn};
use session::{Place, Session};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedSender;
use types::{AccountId, ModSeq};

/// Connections of one node for reading; with the writer's and the server's own need, four nodes fit the 100 of
/// PostgreSQL's default.
const READERS: usize = 20;
/// How long a reader waits for one of them.
const READER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a reader waits for a database that is gone: a restart takes a few seconds.
const RETURN_TIMEOUT: Duration = Duration::from_secs(5);
const RETURN_EVERY: Duration = Duration::from_millis(100);

/// `rest` is what follows `postgres:` in a URL as `libpq` takes them.
pub(super) fn open(rest: &str) -> Result<Arc<dyn Index>> {
    let place = Place::new(&format!("postgres:{rest}"))?;
    let session = place.connect()?;
    schema::check_server(&session, &place)?;
    schema::migrate(&session, schema::MIGRATIONS)?;
    Ok(Arc::new(Postgres {
        place,
        writer: Mutex::new(Some(session)),
        readers: Mutex::default(),
        reader_back: Condvar::new(),
        ids: Mutex::default(),
        news: Mutex::default(),
    }))
}

struct Postgres {
    place: Place,
    /// `None` after its connection was lost.
    writer: Mutex<Option<Session>>,
    readers: Mutex<Readers>,
    reader_back: Condvar,
    ids: Mutex<letters::Ids>,
    /// What other servers shall hear, once somebody listens.
    news: Mutex<Option<UnboundedSender<(AccountId, ModSeq)>>>,
}

/// Connections for reading: those that wait for work, and how many there are in all.
#[derive(Default)]
struct Readers {
    idle: Vec<Session>,
    open: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Index for Postgres {
    fn begin(&self) -> Result<Box<dyn Txn + '_>> {
        let mut writer = lock(&self.writer);
        let begin = "BEGIN ISOLATION LEVEL READ COMMITTED";
        // One that was lost while nothing happened shows it only now.
        let kept = writer.take().filter(|kept| kept.batch(begin).is_ok());
        let session = if let Some(session) = kept {
            session
        } else {
            let session = self.again()?;
            session.batch(begin)?;
            session
        };
        Ok(Box::new(write::PostgresTxn::new(self, writer, session)))
    }

    fn read(&self) -> Result<Box<dyn Read + '_>> {
        let session = self.reader()?;
        // Its moment is that of its first question: nobody waits for the answer to this.
        session.send("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
        Ok(Box::new(read::PostgresRead { pool: self, session: Some(session) }))
    }

    /// Rows PostgreSQL tidies up by itself.
    fn checkpoint(&self) -> Result<()> {
        let session = self.reader()?;
        let done = letters::tidy(&session);
        self.keep(session);
        done
    }

    fn letters(&self) -> Option<&dyn Letters> {
        Some(self)
    }
}

impl Postgres {
    /// A connection for reading: an idle one, a new one, or the next that comes back.
    fn reader(&self) -> Result<Session> {
        let until = Instant::now() + READER_TIMEOUT;
        let mut readers = lock(&self.readers);
        loop {
            while let Some(session) = readers.idle.pop() {
                if session.is_open() {
                    return Ok(session);
                }
                readers.open -= 1;
            }
            if readers.open < READERS {
                readers.open += 1;
                drop(readers);
                return self.returned().inspect_err(|_| self.reader_gone());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::Busy(format!("all {READERS} connections to PostgreSQL")));
            }
            let waited = self.reader_back.wait_timeout(readers, left);
            readers = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// A new connection of a store that has been in use. What refuses it now is not for ever: nobody's mail goes
    /// back because somebody changes a password or a certificate.
    fn again(&self) -> Result<Session> {
        self.place.connect().map_err(|error| match error {
            Error::Refused { place, why } => Error::Unreachable { place, why },
            other => other,
        })
    }

    /// The same, for a reader: waits a while for a server that is starting again.
    fn returned(&self) -> Result<Session> {
        let until = Instant::now() + RETURN_TIMEOUT;
        loop {
            match self.again() {
                Err(Error::Unreachable { .. } | Error::Lost(_)) if Instant::now() < until => {
                    std::thread::park_timeout(RETURN_EVERY);
                }
                done => return done,
            }
        }
    }

    fn reader_gone(&self) {
        lock(&self.readers).open -= 1;
        self.reader_back.notify_one();
    }

    fn give_back(&self, session: Session) {
        session.send("COMMIT");
        self.keep(session);
    }

    /// Takes back a connection that is in no transaction.
    fn keep(&self, session: Session) {
        lock(&self.readers).idle.push(session);
        self.reader_back.notify_one();
    }
}
