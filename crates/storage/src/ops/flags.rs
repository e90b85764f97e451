//! STORE (RFC 9051 §6.4.6), with UNCHANGEDSINCE (RFC 7162 §3.1.3).

use crate::Result;
use crate::writer::{Facts, Intent};
use db::MessageRow;
use types::{AccountId, FlagChange, MailboxId, ModSeq, UidSet};

/// What a STORE did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flagged {
    /// All messages asked for that exist, after the change, but for `modified`.
    pub rows: Vec<MessageRow>,
    /// Those that had changed since: they stay as they are.
    pub modified: UidSet,
    /// The account's MODSEQ before and after: who knew all up to the first now knows all up to the second.
    pub before: ModSeq,
    pub after: ModSeq,
}

pub(crate) struct StoreFlags {
    pub(crate) account: AccountId,
    pub(crate) mailbox: MailboxId,
    pub(crate) uids: UidSet,
    pub(crate) change: FlagChange,
    pub(crate) unchanged_since: Option<ModSeq>,
}

impl Intent for StoreFlags {
    type Outcome = Flagged;

    fn accounts(&self) -> Vec<AccountId> {
        vec![self.account]
    }

    fn resolve(&self, facts: &mut Facts<'_>) -> Result<Self::Outcome> {
        facts.mailbox(self.account, self.mailbox)?;
        let before = facts.account(self.account)?.modseq;
        let mut rows = facts.txn.messages(self.account, self.mailbox, &self.uids)?;
        let late = |row: &MessageRow| self.unchanged_since.is_some_and(|since| row.modseq > since);
        let modified = rows.iter().filter(|row| late(row)).map(|row| row.uid).collect();
        rows.retain(|row| !late(row));
        let mut after = before;
        let mut changed = Vec::new();
        for row in &mut rows {
            let flags = self.change.apply(&row.flags);
            if flags != row.flags {
                row.flags = flags;
                changed.push(row.uid);
            }
        }
        if !changed.is_empty() {
            after = facts.next_change(self.account)?;
            let changed: UidSet = changed.into_iter().collect();
            for row in rows.iter_mut().filter(|row| changed.contains(row.uid)) {
                row.modseq = after;
            }
            let new: Vec<_> = rows.iter().filter(|r| changed.contains(r.uid)).cloned().collect();
            facts.put_flags(self.account, self.mailbox, after, &new)?;
        }
        Ok(Flagged { rows, modified, before, after })
    }
}
