//! COPY and MOVE (RFC 9051 §6.4.7, §6.4.8): rows only, never bytes.

use crate::clicks;
use crate::writer::{Facts, Intent};
use crate::{Error, Result};
use db::{Amount, Op};
use types::{AccountId, MailboxId, Uid, UidSet, UidValidity};

/// Old and new UIDs, pair by pair, ascending by the old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    pub uid_validity: UidValidity,
    pub uids: Vec<(Uid, Uid)>,
}

pub(crate) struct Copy {
    pub(crate) account: AccountId,
    pub(crate) from: MailboxId,
    pub(crate) uids: UidSet,
    pub(crate) to: MailboxId,
    /// Take them out of `from` in the same step.
    pub(crate) remove: bool,
}

impl Intent for Copy {
    type Outcome = Copied;

    fn accounts(&self) -> Vec<AccountId> {
        vec![self.account]
    }

    fn resolve(&self, facts: &mut Facts<'_>) -> Result<Copied> {
        let account = self.account;
        let source = facts.mailbox(account, self.from)?;
        let target = facts.mailbox(account, self.to)?;
        let rows = facts.txn.messages(account, self.from, &self.uids)?;
        let mut uids = Vec::with_capacity(rows.len());
        if rows.is_empty() {
            return Ok(Copied { uid_validity: target.uid_validity, uids });
        }
        let room = target.uid_next.map_or(0, |next| u64::from(Uid::MAX.get() - next.get()) + 1);
        if room < rows.len() as u64 {
            return Err(Error::UidsExhausted);
        }
        if !self.remove {
            let more = rows.iter().map(Amount::of).fold(Amount::default(), Amount::plus);
            facts.check_quota(account, more)?;
        }
        let said = clicks::of_move(source.special_use, target.special_use);
        let modseq = facts.next_change(account)?;
        for row in &rows {
            let copy = facts.add_copy(account, self.to, modseq, row)?;
            uids.push((row.uid, copy.uid));
            facts.click(account, row.email, said);
        }
        if self.remove {
            let uids = rows.iter().map(|row| row.uid).collect();
            facts.put(&Op::MessageGone { account, mailbox: self.from, modseq, uids })?;
        }
        Ok(Copied { uid_validity: target.uid_validity, uids })
    }
}
