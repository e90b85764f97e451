//! Changes of an email wherever it is (RFC 8621 §4.6).

use crate::clicks;
use crate::writer::{Facts, Intent};
use crate::{Error, Result};
use db::{Amount, MessageRow, Op};
use std::collections::BTreeSet;
use types::{AccountId, EmailId, FlagChange, MailboxId, ModSeq, UidSet};

/// A change of one email in all its mailboxes at once.
#[derive(Debug, Clone, Default)]
pub struct Patch {
    pub flags: Option<FlagChange>,
    /// The mailboxes it shall be in, at least one.
    pub mailboxes: Option<Vec<MailboxId>>,
}

pub(crate) struct PatchEmail {
    pub(crate) account: AccountId,
    pub(crate) email: EmailId,
    pub(crate) patch: Patch,
}

impl Intent for PatchEmail {
    type Outcome = ModSeq;

    fn accounts(&self) -> Vec<AccountId> {
        vec![self.account]
    }

    fn resolve(&self, facts: &mut Facts<'_>) -> Result<ModSeq> {
        let account = self.account;
        let homes = homes(facts, account, self.email)?;
        let wanted = match &self.patch.mailboxes {
            Some(wanted) if wanted.is_empty() => {
                return Err(Error::MailboxFixed("an email is always in at least one mailbox"));
            }
            Some(wanted) => wanted.iter().copied().collect(),
            None => homes.iter().map(|(mailbox, _)| *mailbox).collect::<BTreeSet<_>>(),
        };
        let mut to = Vec::with_capacity(wanted.len());
        for mailbox in &wanted {
            let row = facts.mailbox(account, *mailbox)?;
            row.uid_next.ok_or(Error::UidsExhausted)?;
            to.push(row.special_use);
        }
        let template = homes.first().map(|(_, row)| row.clone()).ok_or(Error::NoMessage)?;
        let is_home = |mailbox: &&MailboxId| homes.iter().any(|(home, _)| home == *mailbox);
        let added = wanted.iter().filter(|mailbox| !is_home(mailbox)).count();
        let removed = homes.iter().filter(|(mailbox, _)| !wanted.contains(mailbox)).count();
        if added > removed {
            let messages = (added - removed) as u64;
            let size_bytes = messages.saturating_mul(template.size_bytes.into());
            facts.check_quota(account, Amount { size_bytes, messages })?;
        }
        let mut from = Vec::with_capacity(homes.len());
        for (mailbox, _) in &homes {
            from.push(facts.mailbox(account, *mailbox)?.special_use);
        }
        let modseq = facts.next_change(account)?;
        let flags = |row: &MessageRow| match &self.patch.flags {
            Some(change) => change.apply(&row.flags),
            None => row.flags.clone(),
        };
        for (mailbox, row) in homes.iter().filter(|(mailbox, _)| wanted.contains(mailbox)) {
            let new = MessageRow { flags: flags(row), ..row.clone() };
            if new.flags != row.flags {
                facts.put_flags(account, *mailbox, modseq, &[new])?;
            }
        }
        let before = template.flags.clone();
        let template = MessageRow { flags: flags(&template), ..template };
        let said =
            clicks::of_homes(&from, &to).or_else(|| clicks::of_flags(&before, &template.flags));
        facts.click(account, self.email, said);
        for mailbox in &wanted {
            if !homes.iter().any(|(home, _)| home == mailbox) {
                facts.add_copy(account, *mailbox, modseq, &template)?;
            }
        }
        for (mailbox, row) in homes.iter().filter(|(mailbox, _)| !wanted.contains(mailbox)) {
            let uids = UidSet::one(row.uid);
            facts.put(&Op::MessageGone { account, mailbox: *mailbox, modseq, uids })?;
        }
        Ok(modseq)
    }
}

pub(crate) struct DestroyEmail {
    pub(crate) account: AccountId,
    pub(crate) email: EmailId,
}

impl Intent for DestroyEmail {
    type Outcome = ModSeq;

    fn accounts(&self) -> Vec<AccountId> {
        vec![self.account]
    }

    fn resolve(&self, facts: &mut Facts<'_>) -> Result<ModSeq> {
        let homes = homes(facts, self.account, self.email)?;
        let modseq = facts.next_change(self.account)?;
        for (mailbox, row) in homes {
            let (account, uids) = (self.account, UidSet::one(row.uid));
            facts.put(&Op::MessageGone { account, mailbox, modseq, uids })?;
        }
        Ok(modseq)
    }
}

/// Where the email is; [`Error::NoMessage`] when that is nowhere in this account.
fn homes(
    facts: &Facts<'_>,
    account: AccountId,
    email: EmailId,
) -> Result<Vec<(MailboxId, MessageRow)>> {
    let owned = facts.txn.email(email)?.is_some_and(|row| row.account == account);
    let homes = if owned { facts.txn.homes(account, email)? } else { Vec::new() };
    if homes.is_empty() { Err(Error::NoMessage) } else { Ok(homes) }
}
