//! The metadata index: accounts, mailboxes, messages, the change log, thread look-ups.
//!
//! A derived view: everything here is rebuilt from the log by applying its [`Op`]s again in order.
//! Knows nothing about the bytes of messages, the log's files, or any protocol.
//!
//! An engine implements [`Index`]; one row in [`ENGINES`] names it and `tests/it/contract.rs` tests it.

mod engines;
mod error;
mod op;
mod rows;

pub use engines::{ENGINES, EngineEntry, open};
pub use error::{Error, Result};
pub use op::{DecodeError, Op};
pub use rows::{
    AccountRow, BlobRef, ChangeKind, ChangeRow, EmailRow, Location, MailboxRow, MessageRow,
    Position,
};

use types::{AccountId, EmailId, MailboxId, ModSeq, ThreadId, UidSet};

/// One open index. Readers work while the single writer does.
pub trait Index: Send + Sync {
    /// Starts the one write transaction. Dropping it without [`Txn::commit`] undoes it.
    fn begin(&self) -> Result<Box<dyn Txn + '_>>;

    /// A snapshot of the last commit; later commits do not show in it.
    fn read(&self) -> Result<Box<dyn Read + '_>>;

    /// Moves committed rows into the main file so that the write-ahead part stays small. May be slow.
    fn checkpoint(&self) -> Result<()>;
}

/// What can be asked of a snapshot, or of a transaction about its own uncommitted state.
pub trait Read {
    /// How far the log has been applied; `None` in an empty index.
    fn position(&self) -> Result<Option<Position>>;

    fn account(&self, account: AccountId) -> Result<Option<AccountRow>>;
    /// `key` is [`types::Address::account_key`].
    fn account_by_key(&self, key: &str) -> Result<Option<AccountRow>>;
    fn accounts(&self) -> Result<Vec<AccountRow>>;
    /// The highest account id and email id ever given in this partition.
    fn last_ids(&self) -> Result<(AccountId, EmailId)>;

    /// Sorted by name.
    fn mailboxes(&self, account: AccountId) -> Result<Vec<MailboxRow>>;
    fn mailbox(&self, account: AccountId, mailbox: MailboxId) -> Result<Option<MailboxRow>>;
    fn mailbox_by_name(&self, account: AccountId, name: &str) -> Result<Option<MailboxRow>>;

    /// Messages of a mailbox whose UID is in `uids`, ascending.
    fn messages(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        uids: &UidSet,
    ) -> Result<Vec<MessageRow>>;
    /// Where an email lives: empty once its last copy is expunged.
    fn homes(&self, email: EmailId) -> Result<Vec<(MailboxId, MessageRow)>>;

    fn email(&self, email: EmailId) -> Result<Option<EmailRow>>;
    /// Emails of a thread, ascending.
    fn thread(&self, account: AccountId, thread: ThreadId) -> Result<Vec<EmailId>>;
    /// The thread that a Message-ID (hashed by the caller) belongs to.
    fn thread_of(&self, account: AccountId, message_id_hash: u64) -> Result<Option<ThreadId>>;

    /// Changes with a MODSEQ above `since`, ascending, at most `limit`.
    fn changes(&self, account: AccountId, since: ModSeq, limit: usize) -> Result<Vec<ChangeRow>>;
}

/// The write transaction: reads see what was applied in it.
pub trait Txn: Read {
    /// Applies one fact. `blob` is where the frame's message bytes lie, for [`Op::EmailAdd`].
    fn apply(&mut self, op: &Op, blob: Option<BlobRef>) -> Result<()>;

    /// Makes it visible, and the index remember that the log is applied up to `position`.
    fn commit(self: Box<Self>, position: Position) -> Result<()>;
}
