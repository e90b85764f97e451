//! The rows of the index, as values.

use types::{AccountId, EmailId, Flags, MailboxId, ModSeq, SpecialUse, ThreadId, Uid, UidValidity};

/// One person's account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRow {
    pub id: AccountId,
    /// Lower case `local@domain`, without tag.
    pub key: String,
    /// Password hash as a PHC string; empty: nobody can log in.
    pub secret: String,
    /// The last MODSEQ given in this account.
    pub modseq: ModSeq,
    /// The last mailbox id given.
    pub last_mailbox: MailboxId,
    /// The last UIDVALIDITY given.
    pub last_uid_validity: UidValidity,
}

/// One mailbox with its counters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxRow {
    pub id: MailboxId,
    /// UTF-8, levels separated by `/`; the inbox is `INBOX`.
    pub name: String,
    pub special_use: Option<SpecialUse>,
    pub subscribed: bool,
    pub uid_validity: UidValidity,
    /// `None` when every UID has been given.
    pub uid_next: Option<Uid>,
    /// The last change in this mailbox.
    pub modseq: ModSeq,
    /// The change that made it.
    pub created: ModSeq,
    pub total: u64,
    pub unseen: u64,
    pub deleted: u64,
    pub size_bytes: u64,
}

/// A copy of an email in a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRow {
    pub uid: Uid,
    pub email: EmailId,
    pub modseq: ModSeq,
    pub flags: Flags,
    /// INTERNALDATE
    pub received_unix_s: i64,
    /// When it came into this mailbox (RFC 8514).
    pub saved_unix_s: i64,
    pub size_bytes: u32,
}

/// An email: its content, the same wherever it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmailRow {
    pub id: EmailId,
    pub account: AccountId,
    pub thread: ThreadId,
    pub received_unix_s: i64,
    pub blob: BlobRef,
    /// The encoded `mparser::Index`: envelope and part table.
    pub index: Vec<u8>,
}

/// Where the bytes of a letter lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlobRef {
    pub location: Location,
    pub size_bytes: u32,
    /// First half of the BLAKE3 hash of the bytes.
    pub hash: [u8; 16],
}

/// A byte in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    pub segment: u64,
    pub offset: u64,
}

/// The end of what has been applied: the next frame is `lsn + 1` and begins at `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub lsn: u64,
    pub end: Location,
}

impl Position {
    /// Of an index that is the truth itself.
    pub const NO_LOG: Self = Self { lsn: 0, end: Location { segment: 0, offset: 0 } };
}

/// One entry of the change log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeRow {
    pub modseq: ModSeq,
    pub kind: ChangeKind,
    pub mailbox: MailboxId,
    /// `None` for changes of the mailbox itself.
    pub message: Option<(Uid, EmailId)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ChangeKind {
    MessageAdded = 1,
    FlagsChanged = 2,
    MessageGone = 3,
    MailboxMade = 4,
    MailboxChanged = 5,
    MailboxGone = 6,
}

impl ChangeKind {
    pub fn from_u8(n: u8) -> Option<Self> {
        [
            Self::MessageAdded,
            Self::FlagsChanged,
            Self::MessageGone,
            Self::MailboxMade,
            Self::MailboxChanged,
            Self::MailboxGone,
        ]
        .into_iter()
        .find(|k| *k as u8 == n)
    }
}
