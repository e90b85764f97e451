//! EXPUNGE (RFC 9051 §6.4.3), and removal whatever the flags.

use crate::Result;
use crate::writer::{Facts, Intent};
use db::Op;
use types::{AccountId, Flag, MailboxId, UidSet};

pub(crate) struct Expunge {
    pub(crate) account: AccountId,
    pub(crate) mailbox: MailboxId,
    pub(crate) uids: UidSet,
    /// Leave messages without `\Deleted` alone.
    pub(crate) only_deleted: bool,
}

impl Intent for Expunge {
    type Outcome = UidSet;

    fn accounts(&self) -> Vec<AccountId> {
        vec![self.account]
    }

    fn resolve(&self, facts: &mut Facts<'_>) -> Result<UidSet> {
        let (account, mailbox) = (self.account, self.mailbox);
        let counters = facts.mailbox(account, mailbox)?;
        if self.only_deleted && counters.deleted == 0 {
            return Ok(UidSet::new());
        }
        let rows = facts.txn.messages(account, mailbox, &self.uids)?;
        let goes = |row: &&db::MessageRow| !self.only_deleted || row.flags.contains(Flag::Deleted);
        let uids: UidSet = rows.iter().filter(goes).map(|row| row.uid).collect();
        if !uids.is_empty() {
            let modseq = facts.next_change(account)?;
            facts.put(&Op::MessageGone { account, mailbox, modseq, uids: uids.clone() })?;
        }
        Ok(uids)
    }
}
