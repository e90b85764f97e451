//! One file for each operation that changes a mailbox: its intent, how it becomes facts, its tests.

use types::{
    AccountId, EmailId, FlagChange, Flags, MailboxId, ModSeq, SpecialUse, ThreadId, Uid,
    UidValidity,
};

/// Where in an account a letter goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Into {
    Mailbox(MailboxId),
    /// The mailbox of that use; the inbox when there is none.
    Use(SpecialUse),
}

/// One recipient's copy of a letter.
#[derive(Debug, Clone)]
pub struct Target {
    pub account: AccountId,
    pub into: Into,
    pub flags: Flags,
    /// INTERNALDATE; `None`: now.
    pub received_unix_s: Option<i64>,
}

impl Target {
    pub fn inbox(account: AccountId) -> Self {
        Self {
            account,
            into: Into::Use(SpecialUse::Inbox),
            flags: Flags::default(),
            received_unix_s: None,
        }
    }
}

/// A letter that is now in a mailbox, durably.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    pub email: EmailId,
    pub thread: ThreadId,
    pub mailbox: MailboxId,
    pub uid_validity: UidValidity,
    pub uid: Uid,
    pub modseq: ModSeq,
}

/// COPY and MOVE: old and new UIDs, pair by pair, ascending by the old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    pub uid_validity: UidValidity,
    pub uids: Vec<(Uid, Uid)>,
}

/// A change of one email in all its mailboxes at once.
#[derive(Debug, Clone, Default)]
pub struct Patch {
    pub flags: Option<FlagChange>,
    /// The mailboxes it shall be in, at least one.
    pub mailboxes: Option<Vec<MailboxId>>,
}
