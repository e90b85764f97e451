//! What can go wrong for one request. How each front says it stands in `reply.rs`.

use types::ErrorClass;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The text of an error is meant for people: what happened, and what to do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    #[error("the request is not JSON: {0}")]
    NotJson(String),
    #[error("{0}")]
    NotRequest(&'static str),
    /// RFC 8620 §3.6.1 `limit`; the limit's name is the first value.
    #[error("the request is over the limit {0}: {1} at most")]
    Limit(&'static str, usize),
    #[error("there is no method {0:?}")]
    UnknownMethod(String),
    #[error("{field}: {reason}")]
    InvalidArguments { field: String, reason: String },
    #[error("{0}")]
    InvalidReference(String),
    #[error("there is no such account")]
    NoAccount,
    #[error("{0}")]
    Forbidden(&'static str),
    #[error("{0} is not there")]
    NotFound(&'static str),
    #[error("{0}: {1} at most")]
    TooLarge(&'static str, usize),
    #[error("the changes since that state are not known any more; ask for everything again")]
    NoChanges,
    #[error("the state is now another one; look again before you change it")]
    StateMismatch,
    #[error("the anchor is not among the results")]
    NoAnchor,
    #[error("sorting is not possible by {0}")]
    UnsupportedSort(String),
    #[error("filtering is not possible by {0}")]
    UnsupportedFilter(String),
    #[error("log in first")]
    LoggedOut,
    #[error("{0}")]
    WrongOrigin(&'static str),
    #[error("too many of these at once; try again in {retry_after_s} s")]
    Busy { retry_after_s: u64 },
    #[error(transparent)]
    Auth(#[from] auth::Error),
    #[error(transparent)]
    Storage(storage::Error),
    /// Ours to mend; the text goes to the log, not to the client.
    #[error("{0}")]
    Internal(String),
}

impl From<storage::Error> for Error {
    fn from(error: storage::Error) -> Self {
        match error {
            storage::Error::TooOld => Self::NoChanges,
            other => Self::Storage(other),
        }
    }
}

impl Error {
    /// An argument is wrong; `field` names it.
    pub(crate) fn argument(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::InvalidArguments { field: field.into(), reason: reason.into() }
    }

    pub fn class(&self) -> ErrorClass {
        match self {
            Self::NotJson(_)
            | Self::NotRequest(_)
            | Self::Limit(..)
            | Self::UnknownMethod(_)
            | Self::InvalidArguments { .. }
            | Self::InvalidReference(_)
            | Self::TooLarge(..)
            | Self::NoChanges
            | Self::StateMismatch
            | Self::NoAnchor
            | Self::UnsupportedSort(_)
            | Self::UnsupportedFilter(_) => ErrorClass::Client,
            Self::NoAccount | Self::NotFound(_) => ErrorClass::NotFound,
            Self::Forbidden(_) | Self::LoggedOut | Self::WrongOrigin(_) => ErrorClass::Denied,
            Self::Busy { .. } => ErrorClass::Temporary,
            Self::Auth(error) => error.class(),
            Self::Storage(error) => error.class(),
            Self::Internal(_) => ErrorClass::Corrupt,
        }
    }
}
