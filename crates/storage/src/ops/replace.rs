//! REPLACE (RFC 8508): a letter comes and an older message goes, in one step.

use super::deliver::{Arrived, Deliver, find};
use crate::writer::{Facts, Intent};
use crate::{Error, Result};
use bytes::Bytes;
use db::{Amount, Op};
use types::{AccountId, MailboxId, Uid, UidSet};

/// The message that goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replaced {
    pub account: AccountId,
    pub mailbox: MailboxId,
    pub uid: Uid,
}

pub(crate) struct Replace {
    /// With one target.
    pub(crate) letter: Deliver,
    pub(crate) old: Replaced,
}

impl Intent for Replace {
    type Outcome = Arrived;

    fn letter(&self) -> Option<(&Bytes, [u8; 16])> {
        self.letter.letter()
    }

    fn accounts(&self) -> Vec<AccountId> {
        let mut accounts = self.letter.accounts();
        accounts.push(self.old.account);
        accounts
    }

    fn resolve(&self, facts: &mut Facts<'_>) -> Result<Arrived> {
        let Replaced { account, mailbox, uid } = self.old;
        let uids = UidSet::one(uid);
        facts.mailbox(account, mailbox)?;
        let rows = facts.txn.messages(account, mailbox, &uids)?;
        let old = rows.first().ok_or(Error::NoMessage)?;
        let (target, guessed) = self.letter.only_target().ok_or(Error::NoMailbox)?;
        let into = find(facts, target)?;
        // RFC 8508 §3.4: only what is more than before counts.
        let more = self.letter.amount();
        if account == target.account {
            let (more, less) = (more, Amount::of(old));
            if more.size_bytes > less.size_bytes {
                facts.check_quota(account, more.minus(less))?;
            }
        } else {
            facts.check_quota(target.account, more)?;
        }
        let modseq = facts.next_change(account)?;
        let arrived = self.letter.arrive(facts, target, &into, guessed)?;
        facts.put(&Op::MessageGone { account, mailbox, modseq, uids })?;
        Ok(arrived)
    }
}
