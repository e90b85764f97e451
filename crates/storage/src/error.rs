//! What can go wrong in a mailbox, and who must act.

use crate::ops::{NOTE_BYTES, NOTE_NAME_BYTES, NOTES};
use std::path::PathBuf;
use types::ErrorClass;

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    #[error("there is no such account")]
    NoAccount,
    #[error("there is no such mailbox")]
    NoMailbox,
    #[error("there is no such message")]
    NoMessage,
    #[error("a mailbox of that name exists already")]
    MailboxExists,
    #[error("this mailbox cannot be changed so: {0}")]
    MailboxFixed(&'static str),
    #[error("this mailbox name is not allowed: {0}")]
    MailboxName(&'static str),
    #[error("the mailbox has given its last UID; move the mail to a new mailbox")]
    UidsExhausted,
    #[error(
        "the account would hold more than it may; delete letters, or ask the operator for more room"
    )]
    OverQuota,
    #[error(
        "what is to be noted is too large: a name takes {NOTE_NAME_BYTES} bytes, a value {NOTE_BYTES}"
    )]
    NoteTooLarge,
    #[error("somebody else changed the note at the same time; read it again, then change it")]
    NoteChanged,
    #[error("an alias cannot be so: {0}")]
    Alias(&'static str),
    #[error("the mailbox or account has {NOTES} notes already; delete some first")]
    TooManyNotes,
    #[error("the letters are together too large to be stored at once; store them one by one")]
    TooLarge,
    #[error("what changed so long ago is forgotten; look at everything again")]
    TooOld,
    #[error("the disk of the mail store is full; free some space, nothing is lost")]
    DiskFull,
    #[error("the search was ended, since {0}; narrow it by date or mailbox and try again")]
    SearchLimit(&'static str),
    #[error("too much is waiting to be written; try again")]
    Busy,
    #[error(
        "the mail store stopped writing after a disk error and takes no changes: {0}; restart to replay the log"
    )]
    Poisoned(String),
    #[error("the mail store is closing")]
    Closed,
    #[error(
        "stored bytes are damaged: {0}; nothing was changed: copy the data folder, then `openpoczta fsck` says what is lost and what can be put right"
    )]
    Corrupt(String),
    #[error("the data folder {folder} is in use by process {pid}; stop that one first")]
    InUse { folder: PathBuf, pid: String },
    #[error(
        "the data folder {folder} was written by a newer version (format {found}, this build knows {known}); nothing was changed, use the newer version"
    )]
    Newer { folder: PathBuf, found: String, known: u32 },
    #[error(transparent)]
    Index(std::sync::Arc<db::Error>),
    #[error("{what} {path}: {reason}")]
    Io { what: &'static str, path: PathBuf, reason: String },
}

impl From<db::Error> for Error {
    fn from(error: db::Error) -> Self {
        match error {
            db::Error::Full(_) => Self::DiskFull,
            other => Self::Index(std::sync::Arc::new(other)),
        }
    }
}

impl Error {
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::NoAccount | Self::NoMailbox | Self::NoMessage => ErrorClass::NotFound,
            Self::MailboxExists
            | Self::MailboxFixed(_)
            | Self::MailboxName(_)
            | Self::UidsExhausted
            | Self::NoteTooLarge
            | Self::Alias(_)
            | Self::TooManyNotes
            | Self::TooLarge
            | Self::TooOld
            | Self::SearchLimit(_)
            | Self::InUse { .. }
            | Self::Newer { .. } => ErrorClass::Permanent,
            Self::DiskFull | Self::OverQuota => ErrorClass::Full,
            Self::Busy | Self::NoteChanged | Self::Poisoned(_) | Self::Closed | Self::Io { .. } => {
                ErrorClass::Temporary
            }
            Self::Corrupt(_) => ErrorClass::Corrupt,
            Self::Index(error) => error.class(),
        }
    }
}
