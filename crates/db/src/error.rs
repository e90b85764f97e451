//! What can go wrong in an index.

use types::ErrorClass;

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the index is full: {0}")]
    Full(String),
    #[error(
        "the index is damaged: {0}; it is built again from the log when it is deleted and the server restarted"
    )]
    Corrupt(String),
    #[error("the index was written by a newer version (format {found}, this build knows {known})")]
    Newer { found: u32, known: u32 },
    #[error(
        "unknown index engine in {0:?}; known: sqlite:PATH, memory:, postgres://USER:PASSWORD@HOST/DATABASE"
    )]
    UnknownEngine(String),
    /// Nobody is there at the moment, or nobody answers.
    #[error(
        "the database {place} cannot be reached: {why}; is it running, and is the address right?"
    )]
    Unreachable { place: String, why: String },
    /// In the middle of something, and what was not committed is undone. Trying again helps.
    #[error("the connection to the database was lost: {0}")]
    Lost(String),
    /// The answer to a commit was lost and nobody could say what became of it: trying again may do it twice.
    #[error("the answer to a commit was lost: what was changed may be done, or not")]
    Unsettled,
    /// It is there, but cannot be used as it is.
    #[error("the database {place} cannot be used: {why}")]
    Refused { place: String, why: String },
    /// Another node changed the same at the same time; nothing was changed here. Trying again helps.
    #[error("another server changed the same at the same time: {0}")]
    Conflict(String),
    #[error("too much at once: {0} are in use; trying again helps")]
    Busy(String),
    #[error("the index failed: {0}")]
    Engine(String),
}

impl Error {
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Full(_) => ErrorClass::Full,
            Self::Corrupt(_) => ErrorClass::Corrupt,
            Self::Newer { .. } | Self::UnknownEngine(_) | Self::Refused { .. } => {
                ErrorClass::Permanent
            }
            Self::Unreachable { .. }
            | Self::Lost(_)
            | Self::Unsettled
            | Self::Conflict(_)
            | Self::Busy(_)
            | Self::Engine(_) => ErrorClass::Temporary,
        }
    }
}
