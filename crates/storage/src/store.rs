//! The door to a mail store: every operation a protocol may ask for.

use crate::ops::{Arrived, Copied, Patch, Target};
use crate::read::{Changes, Snapshot};
use crate::{Account, Email, Letter, Mailbox, Message, Options, Query, Result, Watch};
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;
use types::{
    AccountId, Clock, EmailId, FlagChange, Flags, MailboxId, ModSeq, SpecialUse, ThreadId, UidSet,
};

/// An open mail store. Cloning is cheap: all clones are the same store.
///
/// Every changing call is durable when it returns `Ok`; dropping its future does not undo it.
#[derive(Clone)]
pub struct Store;

#[expect(
    unused_variables,
    clippy::unused_async,
    clippy::todo,
    reason = "the surface, filled in next"
)]
impl Store {
    /// Opens or makes the data folder, replays the log's tail, starts the writer.
    pub fn open(options: &Options, clock: Arc<dyn Clock>) -> Result<Self> {
        todo!()
    }

    /// Finishes what is waiting and stops the writer; later changes answer [`crate::Error::Closed`].
    pub async fn close(&self) {
        todo!()
    }

    // --- accounts

    /// Makes an account with the standard mailboxes, or changes the secret of the one there is.
    /// `secret` is a password hash as a PHC string; empty: nobody can log in.
    pub async fn put_account(&self, key: &str, secret: &str) -> Result<AccountId> {
        todo!()
    }

    /// `key` is [`types::Address::account_key`].
    pub async fn account_by_key(&self, key: &str) -> Result<Option<Account>> {
        todo!()
    }

    /// Reading side of the accounts, for `auth`.
    pub fn index(&self) -> Arc<dyn db::Index> {
        todo!()
    }

    // --- letters in

    /// Stores one letter for every target, in one frame. The outer error concerns the letter (disk
    /// full, poisoned), the inner ones a target (no such account).
    pub async fn deliver(
        &self,
        letter: Letter,
        targets: Vec<Target>,
    ) -> Result<Vec<Result<Arrived>>> {
        todo!()
    }

    /// Stores one letter in one mailbox, as IMAP APPEND does. `received_unix_s` `None`: now.
    pub async fn append(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        letter: Letter,
        flags: Flags,
        received_unix_s: Option<i64>,
    ) -> Result<Arrived> {
        todo!()
    }

    // --- messages

    /// Changes flags of the messages in `uids` that exist, one MODSEQ for all. Gives back the rows of
    /// all of them after the change (RFC 9051 §6.4.6). With `unchanged_since` (RFC 7162 §3.1.3) rows with a
    /// higher MODSEQ stay as they are and are given as the second value.
    pub async fn store_flags(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        uids: UidSet,
        change: FlagChange,
        unchanged_since: Option<ModSeq>,
    ) -> Result<(Vec<Message>, UidSet)> {
        todo!()
    }

    /// Copies messages that exist to another (or the same) mailbox; bytes are not copied.
    pub async fn copy(
        &self,
        account: AccountId,
        from: MailboxId,
        uids: UidSet,
        to: MailboxId,
    ) -> Result<Copied> {
        todo!()
    }

    /// Copy and expunge in one step (RFC 6851).
    pub async fn move_messages(
        &self,
        account: AccountId,
        from: MailboxId,
        uids: UidSet,
        to: MailboxId,
    ) -> Result<Copied> {
        todo!()
    }

    /// Removes the messages in `uids` that have `\Deleted` for good; gives back their UIDs.
    pub async fn expunge(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        uids: UidSet,
    ) -> Result<UidSet> {
        todo!()
    }

    /// Removes the messages in `uids` for good, whatever their flags (POP3 DELE); gives back their UIDs.
    pub async fn remove(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        uids: UidSet,
    ) -> Result<UidSet> {
        todo!()
    }

    /// Changes flags or mailboxes of an email wherever it is, in one step (JMAP Email/set update).
    pub async fn patch_email(
        &self,
        account: AccountId,
        email: EmailId,
        patch: Patch,
    ) -> Result<ModSeq> {
        todo!()
    }

    /// Removes an email from every mailbox, for good (JMAP Email/set destroy).
    pub async fn destroy_email(&self, account: AccountId, email: EmailId) -> Result<ModSeq> {
        todo!()
    }

    // --- mailboxes

    /// Makes a mailbox, and those above it that are missing. Names are UTF-8 with `/` between levels;
    /// `INBOX` in any case is the inbox. New mailboxes are subscribed.
    pub async fn create_mailbox(
        &self,
        account: AccountId,
        name: &str,
        special_use: Option<SpecialUse>,
    ) -> Result<Mailbox> {
        todo!()
    }

    /// Renames a mailbox and all below it. Renaming INBOX moves its messages to a new mailbox
    /// (RFC 9051 §6.3.6).
    pub async fn rename_mailbox(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        name: &str,
    ) -> Result<()> {
        todo!()
    }

    /// Deletes a mailbox with its messages. INBOX cannot be deleted; one with children neither.
    pub async fn delete_mailbox(&self, account: AccountId, mailbox: MailboxId) -> Result<()> {
        todo!()
    }

    pub async fn subscribe_mailbox(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        subscribed: bool,
    ) -> Result<()> {
        todo!()
    }

    /// All mailboxes of the account, INBOX first, then by name.
    pub async fn mailboxes(&self, account: AccountId) -> Result<Vec<Mailbox>> {
        todo!()
    }

    pub async fn mailbox(&self, account: AccountId, mailbox: MailboxId) -> Result<Mailbox> {
        todo!()
    }

    /// `INBOX` in any case; other names exactly.
    pub async fn mailbox_by_name(&self, account: AccountId, name: &str) -> Result<Mailbox> {
        todo!()
    }

    // --- reading

    /// A mailbox and all its messages at one moment.
    pub async fn snapshot(&self, account: AccountId, mailbox: MailboxId) -> Result<Snapshot> {
        todo!()
    }

    /// The messages in `uids` that exist, ascending.
    pub async fn messages(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        uids: &UidSet,
    ) -> Result<Vec<Message>> {
        todo!()
    }

    /// The emails asked for that exist in this account, in the order asked.
    pub async fn emails(&self, account: AccountId, ids: &[EmailId]) -> Result<Vec<Arc<Email>>> {
        todo!()
    }

    /// The mailboxes that hold an email, with its row in each.
    pub async fn homes(
        &self,
        account: AccountId,
        email: EmailId,
    ) -> Result<Vec<(MailboxId, Message)>> {
        todo!()
    }

    /// Emails of a thread that are still in a mailbox, oldest first.
    pub async fn thread(&self, account: AccountId, thread: ThreadId) -> Result<Vec<EmailId>> {
        todo!()
    }

    /// The letter, byte for byte as stored, checked against its hash.
    pub async fn bytes(&self, email: &Email) -> Result<Bytes> {
        todo!()
    }

    /// Bytes `range` of the letter, cut to its size.
    pub async fn range(&self, email: &Email, range: Range<u32>) -> Result<Bytes> {
        todo!()
    }

    /// Messages of a mailbox that meet the criteria, ascending by UID.
    pub async fn search(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        query: Query,
    ) -> Result<Vec<Message>> {
        todo!()
    }

    /// The last MODSEQ of the account.
    pub async fn state(&self, account: AccountId) -> Result<ModSeq> {
        todo!()
    }

    /// What happened after `since`, at most `limit` entries.
    pub async fn changes(
        &self,
        account: AccountId,
        since: ModSeq,
        limit: usize,
    ) -> Result<Changes> {
        todo!()
    }

    /// Told at once after every commit that changes the account.
    pub fn watch(&self, account: AccountId) -> Watch {
        todo!()
    }
}
