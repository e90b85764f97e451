//! What can go wrong.

use types::ErrorClass;

#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    #[error("the store cannot keep or read what the spam filter learned: {0}")]
    Storage(#[from] storage::Error),
    #[error(
        "a state of the spam filter in the store is damaged; it learns again from the lessons that are there"
    )]
    DamagedState,
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Storage(error) => error.class(),
            Self::DamagedState => ErrorClass::Permanent,
        }
    }
}
