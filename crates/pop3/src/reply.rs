//! Replies (RFC 1939 §3) with response codes (RFC 2449 §8, RFC 3206), and what every refusal becomes.
//!
//! ```text
//! single-line = ( "+OK" / "-ERR" ) [ SP "[" resp-code "]" ] SP text CRLF
//! ```

use crate::wire::End;
use std::borrow::Cow;
use types::ErrorClass;

/// One reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub ok: bool,
    /// `IN-USE`, `AUTH`, …; empty: none.
    pub code: &'static str,
    pub text: Cow<'static, str>,
    /// The connection ends after it.
    pub close: bool,
    /// Already written, with the lines that follow it.
    pub said: bool,
}

impl Reply {
    pub(crate) fn ok(text: impl Into<Cow<'static, str>>) -> Self {
        Self { ok: true, code: "", text: text.into(), close: false, said: false }
    }

    pub(crate) fn error(code: &'static str, text: impl Into<Cow<'static, str>>) -> Self {
        Self { ok: false, code, ..Self::ok(text) }
    }

    /// Stands for a reply that went out already.
    pub(crate) fn said() -> Self {
        Self { said: true, ..Self::ok("") }
    }

    #[must_use]
    pub(crate) fn closing(mut self) -> Self {
        self.close = true;
        self
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        if self.said {
            return;
        }
        out.extend_from_slice(if self.ok { b"+OK" } else { b"-ERR" });
        if !self.code.is_empty() {
            out.extend_from_slice(format!(" [{}]", self.code).as_bytes());
        }
        if !self.text.is_empty() {
            out.push(b' ');
            out.extend_from_slice(self.text.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }

    /// RFC 3206 §3: whether trying again helps. What exactly is wrong is for the log.
    pub(crate) fn of_storage(error: &storage::Error) -> Self {
        match error.class() {
            ErrorClass::NotFound => Self::error("", "the letter is gone, somebody removed it"),
            ErrorClass::Temporary | ErrorClass::Full => {
                let text = "the mail store cannot do that at the moment, try again later";
                Self::error("SYS/TEMP", text)
            }
            ErrorClass::Permanent
            | ErrorClass::Client
            | ErrorClass::Denied
            | ErrorClass::Corrupt => {
                let text = "the mail store cannot do that, tell the operator";
                Self::error("SYS/PERM", text)
            }
        }
    }

    /// Only a wrong password is `[AUTH]`: clients throw the saved one away then (RFC 3206 §4).
    pub(crate) fn of_login(error: &auth::Error) -> Self {
        let code = match error {
            auth::Error::Credentials => "AUTH",
            auth::Error::Throttled { .. } => "LOGIN-DELAY",
            auth::Error::Unavailable(_) => "SYS/TEMP",
        };
        Self::error(code, error.to_string())
    }

    /// The last words when the conversation cannot go on; `None`: nobody listens.
    pub(crate) fn of_end(end: End) -> Option<Self> {
        let reply = match end {
            End::Closed => return None,
            End::Idle => Self::error("", "nothing came for too long, closing"),
            End::Shutdown => Self::error("SYS/TEMP", "the server is stopping, come back soon"),
            End::Garbage => Self::error("", "this is not POP3, closing"),
        };
        Some(reply)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_the_wire() {
        #[track_caller]
        fn check(reply: &Reply, expect: &str) {
            let mut out = Vec::new();
            reply.write(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expect);
        }
        check(&Reply::ok(""), "+OK\r\n");
        check(&Reply::ok("2 320"), "+OK 2 320\r\n");
        check(&Reply::error("IN-USE", "x"), "-ERR [IN-USE] x\r\n");
        check(&Reply::said(), "");
    }

    #[test]
    fn storage_errors() {
        #[track_caller]
        fn check(error: &storage::Error, code: &str) {
            assert_eq!(Reply::of_storage(error).code, code);
        }
        check(&storage::Error::NoMessage, "");
        check(&storage::Error::DiskFull, "SYS/TEMP");
        check(&storage::Error::Poisoned("EIO".into()), "SYS/TEMP");
        check(&storage::Error::Corrupt("x".into()), "SYS/PERM");
    }
}
