//! Why a letter of our own user does not leave. Each text says what it means and what to do.

use crate::Refusal;
use crate::outgoing::TooMuch;
use types::ErrorClass;

/// The texts go to the user who sends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Objection {
    #[error(
        "{address} is not yours to send from: you are {key}; choose your own address in your mail program, or ask the postmaster for an alias"
    )]
    NotYours { address: String, key: String },
    #[error("the letter does not say who wrote it: put your address into From")]
    NoAuthor,
    #[error("several authors are in From: say in Sender which one of them sends")]
    WantsSender,
    #[error(
        "the letter has more than one {0}, and people would see different ones: send it with one"
    )]
    Several(&'static str),
    #[error(
        "the header has a line that is no field, or a line end that is not CRLF: send the letter with a mail program that keeps to RFC 5322"
    )]
    BrokenHeader,
    #[error("{0}")]
    TooMuch(TooMuch),
    #[error("{0}")]
    Refused(#[from] Refusal),
}

impl Objection {
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::NotYours { .. } => ErrorClass::Denied,
            Self::TooMuch(_) => ErrorClass::Temporary,
            Self::Refused(refusal) => refusal.class(),
            _ => ErrorClass::Permanent,
        }
    }
}
