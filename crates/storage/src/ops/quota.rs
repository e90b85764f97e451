//! How much an account may hold (RFC 9208 §3): set by the operator, asked before anything is added.

use crate::writer::{Facts, Intent};
use crate::{Error, Result};
use db::{Amount, Op};
use types::AccountId;

pub(crate) struct SetQuota {
    pub(crate) account: AccountId,
    pub(crate) limit: Amount,
}

impl Intent for SetQuota {
    type Outcome = ();

    fn accounts(&self) -> Vec<AccountId> {
        vec![self.account]
    }

    fn resolve(&self, facts: &mut Facts<'_>) -> Result<()> {
        let row = facts.account(self.account)?;
        if row.limit == self.limit {
            return Ok(());
        }
        // Nothing a client is told of, so no MODSEQ; but who looks afterwards must see it.
        facts.told.changed.entry(self.account).or_insert(row.modseq);
        facts.put(&Op::QuotaPut { account: self.account, limit: self.limit })
    }
}

impl Facts<'_> {
    /// Refuses what would make the account hold more than it may, with [`Error::OverQuota`]. For changes that add
    /// something only: whoever is over a limit that was lowered must still be able to move and delete.
    pub(super) fn check_quota(&self, account: AccountId, more: Amount) -> Result<()> {
        if self.account(account)?.has_room(more) { Ok(()) } else { Err(Error::OverQuota) }
    }
}
