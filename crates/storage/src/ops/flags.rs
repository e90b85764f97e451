//! STORE (RFC 9051 §6.4.6), with UNCHANGEDSINCE (RFC 7162 §3.1.3).

use crate::Result;
use crate::clicks;
use crate::writer::{Facts, Intent};
use db::{MessageRow, Op};
use types::{AccountId, Flag, FlagChange, MailboxId, ModSeq, UidSet};

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
    /// Another than the owner of the mailbox: has read what it has read.
    pub(crate) user: Option<AccountId>,
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
        let seen = match self.user {
            Some(user) => Some(facts.txn.seen_by(self.account, self.mailbox, user)?),
            None => None,
        };
        let mut changed = Vec::new();
        let (mut read, mut unread) = (UidSet::new(), UidSet::new());
        for row in &mut rows {
            let own = row.clone();
            if let Some(seen) = &seen {
                row.flags.set(Flag::Seen, seen.contains(row.uid));
            }
            let before = row.flags.clone();
            row.flags = self.change.apply(&before);
            if row.flags == before {
                continue;
            }
            facts.click(self.account, row.email, clicks::of_flags(&before, &row.flags));
            let mut kept = row.flags.clone();
            if seen.is_some() {
                match (before.contains(Flag::Seen), kept.contains(Flag::Seen)) {
                    (false, true) => read.insert(row.uid),
                    (true, false) => unread.insert(row.uid),
                    _ => {}
                }
                kept.set(Flag::Seen, own.flags.contains(Flag::Seen));
            }
            changed.push(MessageRow { flags: kept, ..own });
        }
        let mut after = before;
        if !changed.is_empty() {
            after = facts.next_change(self.account)?;
            let uids: UidSet = changed.iter().map(|row| row.uid).collect();
            for row in rows.iter_mut().filter(|row| uids.contains(row.uid)) {
                row.modseq = after;
            }
            for row in &mut changed {
                row.modseq = after;
            }
            facts.put_flags(self.account, self.mailbox, after, &changed)?;
            self.put_seen(facts, after, read, true)?;
            self.put_seen(facts, after, unread, false)?;
        }
        Ok(Flagged { rows, modified, before, after })
    }
}

impl StoreFlags {
    fn put_seen(
        &self,
        facts: &mut Facts<'_>,
        modseq: ModSeq,
        uids: UidSet,
        seen: bool,
    ) -> Result<()> {
        let Some(user) = self.user.filter(|_| !uids.is_empty()) else { return Ok(()) };
        let (account, mailbox) = (self.account, self.mailbox);
        facts.put(&Op::SeenPut { account, mailbox, modseq, user, uids, seen })
    }
}
