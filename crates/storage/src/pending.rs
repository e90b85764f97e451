//! The index transaction that stays open over many batches.
//!
//! The log has every acknowledged change, so the index may lag: pages that many letters touch are then written
//! once for all of them. What may not lag is what a reader sees: accounts with changes that are not committed
//! are remembered in [`Hidden`], and whoever wants to read one has the writer commit first.
//!
//! There is one way to undo: drop the transaction and apply again, from the log, what had been acknowledged.

use crate::log::{Read, Segments, reread};
use crate::{Error, Result};
use db::{Index, Position, Txn};
use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use types::AccountId;

/// A commit is due after so many changes: the next open after a crash applies at most these again.
const COMMIT_CHANGES: usize = 2_000;
/// Or after this time, so that a slow trickle does not wait for ever.
const COMMIT_AFTER: Duration = Duration::from_secs(1);

/// Accounts whose acknowledged changes readers cannot see yet.
#[derive(Debug, Default)]
pub(crate) struct Hidden(Mutex<HashSet<AccountId>>);

impl Hidden {
    fn accounts(&self) -> MutexGuard<'_, HashSet<AccountId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn has(&self, account: AccountId) -> bool {
        self.accounts().contains(&account)
    }

    /// Call before anybody hears of the change.
    pub(crate) fn add(&self, accounts: impl Iterator<Item = AccountId>) {
        self.accounts().extend(accounts);
    }
}

/// The open transaction, if there is one.
pub(crate) struct Pending<'a> {
    index: &'a dyn Index,
    hidden: &'a Hidden,
    txn: Option<Box<dyn Txn + 'a>>,
    /// Acknowledged changes in it.
    changes: usize,
    since: Instant,
}

impl<'a> Pending<'a> {
    pub(crate) fn new(index: &'a dyn Index, hidden: &'a Hidden) -> Self {
        Self { index, hidden, txn: None, changes: 0, since: Instant::now() }
    }

    /// The transaction to resolve the next batch in.
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

    /// A batch in it is durable in the log.
    pub(crate) fn keep(&mut self, changes: usize) {
        self.changes += changes;
    }

    /// Whether there is something to commit.
    pub(crate) fn waits(&self) -> bool {
        self.changes > 0
    }

    pub(crate) fn is_due(&self) -> bool {
        self.changes >= COMMIT_CHANGES || self.waits() && self.since.elapsed() >= COMMIT_AFTER
    }

    /// Shows readers everything up to `position`, where the durable log ends.
    pub(crate) fn commit(&mut self, position: Position) -> Result<()> {
        let Some(txn) = self.txn.take().filter(|_| self.changes > 0) else {
            return Ok(());
        };
        txn.commit(position).map_err(|error| {
            Error::Poisoned(format!("the log is durable, the index is behind: {error}"))
        })?;
        self.shown();
        Ok(())
    }

    /// Takes back what is not acknowledged: drops all, applies again what the log has up to `position`.
    pub(crate) fn undo(&mut self, segments: &Segments, position: Position) -> Result<()> {
        self.txn = None;
        if self.changes == 0 {
            return Ok(());
        }
        let mut txn = self.index.begin()?;
        let from = txn.position()?;
        reread(segments, from, position, |frame| apply(&mut *txn, &frame))?;
        txn.commit(position)?;
        self.shown();
        Ok(())
    }

    fn shown(&mut self) {
        self.changes = 0;
        self.hidden.accounts().clear();
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
