//! How a command ends: `OK`, `NO [CODE] sentence`, `BAD sentence`. The one place where errors of the store
//! and of auth become IMAP. Texts are for people: what happened and what to do.

use crate::parse::Syntax;
use crate::wire::Stop;
use std::borrow::Cow;
use types::ErrorClass;

/// A command that worked: the text after `OK`, maybe with a code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Done {
    /// What stands between the brackets.
    pub(crate) code: Option<String>,
    pub(crate) text: &'static str,
}

impl Done {
    pub(crate) fn new(text: &'static str) -> Self {
        Self { code: None, text }
    }

    pub(crate) fn with(code: impl Into<Option<String>>, text: &'static str) -> Self {
        Self { code: code.into(), text }
    }
}

pub(crate) type Answer = Result<Done, Error>;

/// Why a command was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a command we understand: `BAD`.
    #[error("{0}")]
    Syntax(#[from] Syntax),
    /// Understood, but it makes no sense here: `BAD`.
    #[error("{0}")]
    Bad(&'static str),
    /// Refused for a reason of IMAP itself: `NO [code] text`.
    #[error("{text}")]
    No { code: &'static str, text: Cow<'static, str> },
    /// A URL that names nothing one can read: `NO [BADURL url]` (RFC 4469 §5).
    #[error("the URL names no message, or part of one, that can be read here")]
    BadUrl(String),
    #[error(transparent)]
    Storage(#[from] storage::Error),
    #[error(transparent)]
    Auth(#[from] auth::Error),
    /// The connection is over; nothing more can be said.
    #[error(transparent)]
    Stop(#[from] Stop),
}

/// Where messages have no numbers (RFC 9586 §3).
pub(crate) const UID_REQUIRED: Error =
    Error::Bad("[UIDREQUIRED] Messages are named by UID since ENABLE UIDONLY");

/// A client knows a URL of its own by so much of it.
const URL_BYTES: usize = 1000;

impl Error {
    pub(crate) fn no(code: &'static str, text: impl Into<Cow<'static, str>>) -> Self {
        Self::No { code, text: text.into() }
    }

    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Syntax(_) | Self::Bad(_) => ErrorClass::Client,
            Self::No { .. } | Self::BadUrl(_) => ErrorClass::Permanent,
            Self::Storage(error) => error.class(),
            Self::Auth(error) => error.class(),
            Self::Stop(_) => ErrorClass::Temporary,
        }
    }

    /// What follows the tag, up to the sentence.
    fn status(&self) -> Cow<'static, str> {
        let code = match self {
            Self::Syntax(_) | Self::Bad(_) | Self::Stop(_) => return "BAD".into(),
            Self::No { code: "", .. } => return "NO".into(),
            Self::No { code, .. } => code,
            Self::BadUrl(url) => return format!("NO [BADURL {}]", resp_text(url)).into(),
            Self::Auth(auth::Error::Credentials) => "AUTHENTICATIONFAILED",
            Self::Storage(storage::Error::MailboxExists) => "ALREADYEXISTS",
            Self::Storage(storage::Error::NoMessage) => "EXPUNGEISSUED",
            Self::Storage(storage::Error::UidsExhausted | storage::Error::SearchLimit(_)) => {
                "LIMIT"
            }
            Self::Auth(_) | Self::Storage(_) => match self.class() {
                ErrorClass::Temporary => "UNAVAILABLE",
                ErrorClass::Full => "OVERQUOTA",
                ErrorClass::Permanent | ErrorClass::Client => "CANNOT",
                ErrorClass::NotFound => "NONEXISTENT",
                ErrorClass::Denied => "NOPERM",
                ErrorClass::Corrupt => "CORRUPTION",
            },
        };
        format!("NO [{code}]").into()
    }
}

/// The tagged line that ends a command, without its line end.
pub(crate) fn completion(tag: &str, answer: &Answer) -> String {
    match answer {
        Ok(Done { code: Some(code), text }) => format!("{tag} OK [{code}] {text}"),
        Ok(Done { code: None, text }) => format!("{tag} OK {text}"),
        Err(error) => format!("{tag} {} {}", error.status(), sentence(&error.to_string())),
    }
}

/// A URL as it can stand between brackets; of a long one the beginning.
fn resp_text(url: &str) -> String {
    let escaped = |byte: u8| match byte {
        b'!'..=b'~' if !matches!(byte, b']' | b'\\') => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    url.bytes().take(URL_BYTES).map(escaped).collect()
}

/// One line that begins with a capital. Texts of errors below us may hold anything.
fn sentence(text: &str) -> String {
    let mut line: String =
        text.chars().map(|c| if matches!(c, ' '..='~') { c } else { '?' }).collect();
    if let Some(first) = line.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    line
}

/// A mailbox that is missing where one more could be made: the client may CREATE it and try again.
pub(crate) fn try_create(error: storage::Error) -> Error {
    match error {
        storage::Error::NoMailbox => {
            Error::no("TRYCREATE", "there is no such mailbox; create it first")
        }
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completions() {
        #[track_caller]
        fn check(answer: &Answer, expect: &str) {
            assert_eq!(completion("a1", answer), expect);
        }
        check(&Ok(Done::new("done")), "a1 OK done");
        check(&Ok(Done::with("X 1".to_owned(), "done")), "a1 OK [X 1] done");
        let syntax = Syntax { at: 3, expected: "a tag" };
        check(&Err(syntax.into()), "a1 BAD Expected a tag at byte 3");
        check(&Err(Error::no("", "no")), "a1 NO No");
        check(
            &Err(storage::Error::NoMailbox.into()),
            "a1 NO [NONEXISTENT] There is no such mailbox",
        );
        check(
            &Err(auth::Error::Credentials.into()),
            "a1 NO [AUTHENTICATIONFAILED] Wrong user name or password",
        );
        check(
            &Err(auth::Error::Throttled { retry_after_s: 7 }.into()),
            "a1 NO [UNAVAILABLE] Too many wrong passwords; try again in 7 s",
        );
        check(
            &Err(storage::Error::Poisoned("a\r\n* BYE".to_owned()).into()),
            "a1 NO [UNAVAILABLE] The mail store stopped writing after a disk error and takes no changes: \
             a??* BYE; restart to replay the log",
        );
        let full = storage::Error::DiskFull;
        assert!(completion("a1", &Err(full.into())).starts_with("a1 NO [OVERQUOTA] The disk"));
        let damaged = storage::Error::Corrupt("x".to_owned());
        assert!(completion("a1", &Err(damaged.into())).starts_with("a1 NO [CORRUPTION] Stored"));
    }
}
