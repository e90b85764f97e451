//! What can go wrong, and who must act.

use std::path::PathBuf;
use types::ErrorClass;

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    #[error("the disk of the queue is full")]
    DiskFull,
    #[error("{what} ({}: {reason})", path.display())]
    Io { what: &'static str, path: PathBuf, reason: String },
    #[error(
        "the queue takes nothing after an error of its disk ({0}); look at the disk, then start the server again"
    )]
    Poisoned(String),
    #[error("the queue is damaged: {0}")]
    Corrupt(String),
    #[error("another process has the queue in {}", .0.display())]
    InUse(PathBuf),
    #[error("there is no such letter in the queue")]
    NotFound,
    #[error("the letter is being sent at this moment; it cannot be stopped any more")]
    TooLate,
    #[error("the queue is closing")]
    Closed,
}

impl Error {
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::DiskFull => ErrorClass::Full,
            Self::Io { .. } | Self::Poisoned(_) | Self::InUse(_) | Self::Closed => {
                ErrorClass::Temporary
            }
            Self::Corrupt(_) => ErrorClass::Corrupt,
            Self::NotFound => ErrorClass::NotFound,
            Self::TooLate => ErrorClass::Denied,
        }
    }
}
