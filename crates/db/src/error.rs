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
    #[error("unknown index engine in {0:?}; known: sqlite:PATH, memory:")]
    UnknownEngine(String),
    #[error("the index failed: {0}")]
    Engine(String),
}

impl Error {
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Full(_) => ErrorClass::Full,
            Self::Corrupt(_) => ErrorClass::Corrupt,
            Self::Newer { .. } | Self::UnknownEngine(_) => ErrorClass::Permanent,
            Self::Engine(_) => ErrorClass::Temporary,
        }
    }
}
