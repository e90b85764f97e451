//! Facts as the log keeps them. An op says what became true, with every number already given, so
//! that applying the same ops in the same order always gives the same index.

use types::{
    AccountId, EmailId, Flags, MailboxId, ModSeq, SpecialUse, ThreadId, Uid, UidSet, UidValidity,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// An account exists with this key and secret.
    AccountPut {
        account: AccountId,
        key: String,
        secret: String,
    },
    /// A mailbox exists with this name. First put makes it, later ones rename or (un)subscribe.
    MailboxPut {
        account: AccountId,
        mailbox: MailboxId,
        modseq: ModSeq,
        uid_validity: UidValidity,
        name: String,
        special_use: Option<SpecialUse>,
        subscribed: bool,
    },
    /// A mailbox and all its messages are gone.
    MailboxGone {
        account: AccountId,
        mailbox: MailboxId,
        modseq: ModSeq,
    },
    /// The frame's blob is this email's bytes.
    EmailAdd {
        account: AccountId,
        email: EmailId,
        thread: ThreadId,
        received_unix_s: i64,
        /// Encoded `mparser::Index`.
        index: Vec<u8>,
        /// Hashes of Message-ID and References that lead to `thread` from now on.
        message_ids: Vec<u64>,
    },
    /// An email is in a mailbox under this UID.
    MessageAdd {
        account: AccountId,
        mailbox: MailboxId,
        uid: Uid,
        modseq: ModSeq,
        email: EmailId,
        flags: Flags,
        received_unix_s: i64,
        saved_unix_s: i64,
        size_bytes: u32,
    },
    /// These messages have exactly these flags.
    FlagsPut {
        account: AccountId,
        mailbox: MailboxId,
        modseq: ModSeq,
        uids: UidSet,
        flags: Flags,
    },
    /// These messages are gone from the mailbox; an email whose last copy goes is dead.
    MessageGone {
        account: AccountId,
        mailbox: MailboxId,
        modseq: ModSeq,
        uids: UidSet,
    },
}

/// The bytes are not an op this build knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an operation this version knows")]
pub struct DecodeError;
