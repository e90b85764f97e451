//! Why a recipient or a letter is not taken. The protocol turns it into its reply; storage's words stay in the log.

use types::ErrorClass;

/// The texts go to the sender of the letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("there is no such user here")]
    UnknownUser,
    #[error("this server takes no mail for that domain")]
    OtherDomain,
    #[error("the letter went through too many servers, it seems to go round in circles")]
    Loop,
    #[error("the letter looks like spam")]
    Unwanted,
    #[error("come again in a few minutes; mail from there is not known here yet")]
    Later,
    #[error("the mailbox is full")]
    MailboxFull,
    #[error("the server is out of room; the letter was not taken, try again later")]
    DiskFull,
    #[error("the mail store cannot take the letter at the moment; try again later")]
    Unavailable,
}

/// Whatever is wrong with the queue, the operator can mend it and the sender can try again.
impl From<queue::Error> for Refusal {
    fn from(error: queue::Error) -> Self {
        match error.class() {
            ErrorClass::Full => Self::DiskFull,
            _ => Self::Unavailable,
        }
    }
}

impl Refusal {
    pub fn class(self) -> ErrorClass {
        match self {
            Self::UnknownUser => ErrorClass::NotFound,
            Self::OtherDomain | Self::Unwanted => ErrorClass::Denied,
            Self::Loop => ErrorClass::Permanent,
            Self::MailboxFull | Self::DiskFull => ErrorClass::Full,
            Self::Unavailable | Self::Later => ErrorClass::Temporary,
        }
    }

    /// Trying again helps.
    pub fn is_temporary(self) -> bool {
        matches!(self.class(), ErrorClass::Temporary | ErrorClass::Full)
    }

    /// Storage could not take the letter for anybody. Whatever it is, the operator can mend it and the sender
    /// can try again: nothing here refuses a letter for good.
    pub(crate) fn of_letter(error: &storage::Error) -> Self {
        match error.class() {
            ErrorClass::Full => Self::DiskFull,
            _ => Self::Unavailable,
        }
    }

    /// Storage could not take it for one account.
    pub(crate) fn of_recipient(error: &storage::Error) -> Self {
        match error.class() {
            ErrorClass::Full => Self::MailboxFull,
            ErrorClass::NotFound => Self::UnknownUser,
            _ => Self::Unavailable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage::Error;

    #[test]
    fn storage_errors() {
        #[track_caller]
        fn check(error: &Error, letter: Refusal, recipient: Refusal) {
            assert_eq!(Refusal::of_letter(error), letter);
            assert_eq!(Refusal::of_recipient(error), recipient);
        }
        use Refusal::{DiskFull, MailboxFull, Unavailable, UnknownUser};
        check(&Error::DiskFull, DiskFull, MailboxFull);
        check(&Error::OverQuota, DiskFull, MailboxFull);
        check(&Error::NoAccount, Unavailable, UnknownUser);
        check(&Error::UidsExhausted, Unavailable, Unavailable);
        check(&Error::Poisoned("EIO".into()), Unavailable, Unavailable);
        check(&Error::Corrupt("x".into()), Unavailable, Unavailable);
        check(&Error::Busy, Unavailable, Unavailable);
    }
}
