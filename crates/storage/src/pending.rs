//! The index transaction that stays open over many batches.
//!
//! The log has every acknowledged change, so the index may lag: pages that many letters touch are then written
//! once for all of them. What may not lag is what a reader sees: accounts with changes that are not committed
//! are remembered in [`Hidden`], and whoever wants to read one has them applied and committed first.
//!
//! There is one way to undo: drop the transaction and apply again, from the log, what had been acknowledged.

use crate::log::{Read, Segments, reread};
use crate::{Error, Result};
use db::{Index, Position, Txn};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use types::AccountId;

/// A commit is due after so many changes: the next open after a crash applies at most these again, and those
/// that still waited to be applied.
const COMMIT_CHANGES: usize = 4_000;
/// Or after this time, so that a slow trickle does not wait for ever.
const COMMIT_AFTER: Duration = Duration::from_secs(1);

/// Accounts whose acknowledged changes readers cannot see yet.
#[derive(Debug, Default)]
pub(crate) struct Hidden(Mutex<Unseen>);

#[derive(Debug, Default)]
struct Unseen {
    /// The last change of each.
    accounts: HashMap<AccountId, u64>,
    /// Readers see the log up to here.
    shown_lsn: u64,
}

impl Hidden {
    fn lock(&self) -> MutexGuard<'_, Unseen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last change of the account, if readers cannot see it.
    pub(crate) fn last(&self, account: AccountId) -> Option<u64> {
        self.lock().accounts.get(&account).copied()
    }

    pub(crate) fn accounts(&self) -> Vec<AccountId> {
        self.lock().accounts.keys().copied().collect()
    }

    /// The last change that readers see.
    pub(crate) fn shown_lsn(&self) -> u64 {
        self.lock().shown_lsn
    }

    /// Call before anybody hears of the change.
    pub(crate) fn add(&self, accounts: impl Iterator<Item = AccountId>, lsn: u64) {
        let mut unseen = self.lock();
        // It may have been committed already.
        if lsn > unseen.shown_lsn {
            unseen.accounts.extend(accounts.map(|account| (account, lsn)));
        }
    }

    fn show(&self, lsn: u64) {
        let mut unseen = self.lock();
        unseen.shown_lsn = lsn;
        unseen.accounts.retain(|_, last| *last > lsn);
    }
}

/// The open transaction, if there is one.
pub(crate) struct Pending<'a> {
    index: &'a dyn Index,
    hidden: &'a Hidden,
    txn: Option<Box<dyn Txn + 'a>>,
    /// What it has of the log.
    applied: Position,
    /// Changes in it that are durable.
    changes: usize,
    since: Instant,
}

impl<'a> Pending<'a> {
    /// `applied`: what the index has of the log.
    pub(crate) fn new(index: &'a dyn Index, hidden: &'a Hidden, applied: Position) -> Self {
        hidden.show(applied.lsn);
        Self { index, hidden, txn: None, applied, changes: 0, since: Instant::now() }
    }

    /// The transaction to resolve or apply in.
    pub(crate) fn txn(&mut self) -> Result<&mut (dyn Txn + 'a)> {
        let txn = match self.txn.take() {
            Some(txn) => txn,
            None => self.index.begin()?,
        };
        if self.changes == 0 {
            self.since = Instant::now();
        }
        Ok(&mut **self.txn.insert(txn))
    }

    /// What was put in it is durable in the log.
    pub(crate) fn keep(&mut self, changes: usize, applied: Position) {
        self.changes += changes;
        self.applied = applied;
    }

    pub(crate) fn applied(&self) -> Position {
        self.applied
    }

    /// Whether there is something to commit.
    pub(crate) fn waits(&self) -> bool {
        self.changes > 0
    }

    pub(crate) fn is_due(&self) -> bool {
        self.changes >= COMMIT_CHANGES || self.waits() && self.since.elapsed() >= COMMIT_AFTER
    }

    /// Shows readers everything that is applied; gives back how many changes that were.
    pub(crate) fn commit(&mut self) -> Result<usize> {
        let Some(txn) = self.txn.take().filter(|_| self.changes > 0) else {
            return Ok(0);
        };
        txn.commit(self.applied).map_err(|error| {
            Error::Poisoned(format!("the log is durable, the index is behind: {error}"))
        })?;
        self.hidden.show(self.applied.lsn);
        Ok(std::mem::take(&mut self.changes))
    }

    /// Takes back what is not acknowledged: drops all, applies again what the log has up to `position`.
    pub(crate) fn undo(&mut self, segments: &Segments, position: Position) -> Result<()> {
        self.txn = None;
        self.changes = 0;
        let mut txn = self.index.begin()?;
        let from = txn.position()?;
        if from.map_or(0, |from| from.lsn) < position.lsn {
            reread(segments, from, position, |frame| apply(&mut *txn, &frame))?;
            txn.commit(position)?;
        }
        self.applied = position;
        self.hidden.show(position.lsn);
        Ok(())
    }
}

/// Applies a frame of the log to the index.
pub(crate) fn apply(txn: &mut dyn Txn, frame: &Read) -> Result<()> {
    let mut ops = &frame.ops[..];
    while !ops.is_empty() {
        let op = db::Op::decode(&mut ops)
            .map_err(|e| Error::Corrupt(format!("frame {}: {e}", frame.after.lsn)))?;
        db::apply(txn, &op, frame.blob)?;
    }
    Ok(())
}
