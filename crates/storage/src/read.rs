//! What readers get.

use db::{ChangeRow, MailboxRow, MessageRow};
use types::ModSeq;

/// A mailbox and its messages at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub mailbox: MailboxRow,
    /// Ascending by UID.
    pub messages: Vec<MessageRow>,
}

/// What happened in an account after a MODSEQ.
#[derive(Debug, Clone)]
pub struct Changes {
    /// Ascending.
    pub changes: Vec<ChangeRow>,
    /// The state after the last of them.
    pub state: ModSeq,
    /// More follow after `state`.
    pub more: bool,
}
