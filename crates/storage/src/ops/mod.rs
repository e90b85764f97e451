//! One file for each operation that changes a mailbox: its intent, how it becomes facts.

mod accounts;
mod aliases;
mod append_all;
mod copy;
mod deliver;
mod email;
mod expunge;
mod flags;
mod mailboxes;
mod notes;
mod quota;
mod replace;
mod subject;

pub(crate) use accounts::PutAccount;
pub(crate) use aliases::PutAlias;
pub(crate) use append_all::AppendAll;
pub(crate) use copy::Copy;
pub(crate) use deliver::{Deliver, message_id_hashes};
pub(crate) use email::{DestroyEmail, PatchEmail};
pub(crate) use expunge::Expunge;
pub(crate) use flags::StoreFlags;
pub(crate) use mailboxes::{
    CreateMailbox, DeleteMailbox, RenameMailbox, SubscribeMailbox, canonical_name,
};

pub(crate) use notes::PutNotes;
pub(crate) use quota::SetQuota;
pub(crate) use replace::Replace;
pub(crate) use subject::LostAnswer;

pub use aliases::ALIAS_TARGETS;
pub use copy::Copied;
pub use deliver::{Arrived, Into, Target};
pub use email::Patch;
pub use flags::Flagged;
pub use notes::{NOTE_BYTES, NOTE_NAME_BYTES, NOTES, SUBSCRIBED};
pub use replace::Replaced;

use crate::writer::Facts;
use crate::{Error, Result};
use db::{AccountRow, MailboxRow, MessageRow, Op};
use types::{AccountId, Flags, MailboxId, ModSeq, UidSet};

/// Entries of an account's change log that are kept at least: who was away for longer looks at everything again.
/// Counted, not dated: in a quiet account they reach back for years and cost nothing.
const CHANGES_KEPT: usize = 100_000;
/// Whether there are more is looked up after so many new ones.
const CHANGES_BETWEEN_LOOKS: u64 = 10_000;

impl Facts<'_> {
    /// The account, or [`Error::NoAccount`].
    fn account(&self, account: AccountId) -> Result<AccountRow> {
        self.txn.account(account)?.ok_or(Error::NoAccount)
    }

    /// The MODSEQ of a change that is about to be put and cannot be refused any more: from time to time the end of
    /// the change log goes first.
    fn next_change(&mut self, account: AccountId) -> Result<ModSeq> {
        let row = self.account(account)?;
        if row.new_changes >= CHANGES_BETWEEN_LOOKS {
            let floor = self.txn.forgettable(account, CHANGES_KEPT)?;
            let modseq = floor.unwrap_or_default().max(row.changes_floor);
            self.put(&Op::ChangesFloor { account, modseq })?;
        }
        self.next_modseq(account)
    }

    /// The mailbox, or [`Error::NoMailbox`].
    fn mailbox(&self, account: AccountId, mailbox: MailboxId) -> Result<MailboxRow> {
        self.txn.mailbox(account, mailbox)?.ok_or(Error::NoMailbox)
    }

    /// Puts a copy of `row` into a mailbox under its next UID, and gives back the new row.
    fn add_copy(
        &mut self,
        account: AccountId,
        mailbox: MailboxId,
        modseq: ModSeq,
        row: &MessageRow,
    ) -> Result<MessageRow> {
        let uid = self.mailbox(account, mailbox)?.uid_next.ok_or(Error::UidsExhausted)?;
        let row = MessageRow { uid, modseq, saved_unix_s: self.now_unix_s, ..row.clone() };
        self.put(&Op::MessageAdd { account, mailbox, row: row.clone() })?;
        Ok(row)
    }

    /// Writes new flags of messages; those that get the same flags share one fact.
    fn put_flags(
        &mut self,
        account: AccountId,
        mailbox: MailboxId,
        modseq: ModSeq,
        rows: &[MessageRow],
    ) -> Result<()> {
        let mut groups: Vec<(Flags, UidSet)> = Vec::new();
        for row in rows {
            match groups.iter_mut().find(|(flags, _)| *flags == row.flags) {
                Some((_, uids)) => uids.insert(row.uid),
                None => groups.push((row.flags.clone(), UidSet::one(row.uid))),
            }
        }
        for (flags, uids) in groups {
            self.put(&Op::FlagsPut { account, mailbox, modseq, uids, flags })?;
        }
        Ok(())
    }
}
