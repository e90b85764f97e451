//! Replies (RFC 5321 §4.2) with enhanced codes (RFC 2034, RFC 3463), and what every refusal becomes.
//!
//! ```text
//! Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF
//! ```

use crate::gate::Full;
use crate::wire::End;
use mda::{Objection, Refusal};
use std::borrow::Cow;

/// One reply. Text with `\n` in it makes several lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    /// `class.subject.detail`; empty: none belongs there (RFC 2034 §4).
    pub enhanced: &'static str,
    pub text: Cow<'static, str>,
    /// The connection ends after it.
    pub close: bool,
}

impl Reply {
    pub(crate) fn new(
        code: u16,
        enhanced: &'static str,
        text: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { code, enhanced, text: text.into(), close: false }
    }

    #[must_use]
    pub(crate) fn closing(mut self) -> Self {
        self.close = true;
        self
    }

    pub(crate) fn is_error(&self) -> bool {
        self.code >= 400
    }

    pub(crate) fn is_temporary(&self) -> bool {
        (400..500).contains(&self.code)
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut lines = self.text.split('\n').peekable();
        while let Some(line) = lines.next() {
            out.extend_from_slice(self.code.to_string().as_bytes());
            out.push(if lines.peek().is_some() { b'-' } else { b' ' });
            if !self.enhanced.is_empty() {
                out.extend_from_slice(self.enhanced.as_bytes());
                out.push(b' ');
            }
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Of a recipient or a letter; `id` is the letter's, for whoever asks the postmaster about it.
    pub(crate) fn of_refusal(refusal: Refusal, id: &str) -> Self {
        let (code, enhanced) = match refusal {
            Refusal::UnknownUser => (550, "5.1.1"),
            Refusal::OtherDomain => (554, "5.7.1"),
            Refusal::Loop => (554, "5.4.6"),
            Refusal::Unwanted => (550, "5.7.1"),
            Refusal::Later => (451, "4.7.1"),
            Refusal::MailboxFull => (452, "4.2.2"),
            Refusal::DiskFull => (452, "4.3.1"),
            Refusal::Unavailable => (451, "4.3.0"),
        };
        let text = match refusal {
            Refusal::UnknownUser | Refusal::OtherDomain => refusal.to_string(),
            _ => format!("{refusal} ({id})"),
        };
        Self::new(code, enhanced, text)
    }

    /// Of a letter of one of our own users.
    pub(crate) fn of_objection(objection: &Objection, id: &str) -> Self {
        let (code, enhanced) = match objection {
            Objection::Refused(refusal) => return Self::of_refusal(*refusal, id),
            Objection::NotYours { .. } => (550, "5.7.1"),
            Objection::TooMuch(_) => (450, "4.7.1"),
            Objection::NoAuthor
            | Objection::WantsSender
            | Objection::Several(_)
            | Objection::BrokenHeader => (550, "5.6.0"),
        };
        Self::new(code, enhanced, objection.to_string())
    }

    /// Of a stranger who has to wait outside.
    pub(crate) fn of_full(full: Full) -> Self {
        if full == Full::Letters {
            let text = "too many letters from your network in a minute, try again later";
            return Self::new(451, "4.7.0", text);
        }
        let text = match full {
            Full::Sessions => "too many connections from your network, try again later",
            Full::Rate | Full::Letters => {
                "too many connections from your network in a minute, try again later"
            }
        };
        Self::new(421, "4.7.0", text).closing()
    }

    /// Of a login that failed (RFC 4954 §4, §6).
    pub(crate) fn of_login(error: &auth::Error) -> Self {
        match error {
            auth::Error::Credentials => Self::new(535, "5.7.8", error.to_string()),
            auth::Error::Throttled { .. } | auth::Error::Unavailable(_) => {
                Self::new(454, "4.7.0", error.to_string())
            }
        }
    }

    /// The last words when the conversation cannot go on; `None`: nobody listens.
    pub(crate) fn of_end(end: End) -> Option<Self> {
        let reply = match end {
            End::Closed => return None,
            End::Idle => Self::new(421, "4.4.2", "nothing came for too long, closing"),
            End::Slow => Self::new(421, "4.4.2", "the letter comes too slowly, closing"),
            End::Overtime => Self::new(421, "4.4.2", "the session took too long, closing"),
            End::Shutdown => Self::new(421, "4.3.2", "the server is stopping, come back soon"),
            End::Garbage => Self::new(500, "5.5.2", "this is not SMTP, closing"),
        };
        Some(reply.closing())
    }

    pub(crate) fn syntax(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(501, "5.5.4", text)
    }

    pub(crate) fn sequence(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(503, "5.5.1", text)
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
        check(&Reply::new(250, "2.0.0", "ok"), "250 2.0.0 ok\r\n");
        check(&Reply::new(354, "", "go"), "354 go\r\n");
        check(&Reply::new(334, "", ""), "334 \r\n");
        check(&Reply::new(250, "", "a\nB\nC 1"), "250-a\r\n250-B\r\n250 C 1\r\n");
        check(&Reply::new(214, "2.0.0", "a\nb"), "214-2.0.0 a\r\n214 2.0.0 b\r\n");
    }

    #[test]
    fn refusals() {
        #[track_caller]
        fn check(refusal: Refusal, expect: &str) {
            let reply = Reply::of_refusal(refusal, "ID7");
            let found = format!("{} {}", reply.code, reply.enhanced);
            assert_eq!(found, expect);
            // A temporary class of code goes with a temporary enhanced code (RFC 2034 §4).
            assert_eq!(reply.enhanced.as_bytes()[0], expect.as_bytes()[0]);
            let asks_postmaster = !matches!(refusal, Refusal::UnknownUser | Refusal::OtherDomain);
            assert_eq!(reply.text.contains("ID7"), asks_postmaster);
        }
        check(Refusal::UnknownUser, "550 5.1.1");
        check(Refusal::OtherDomain, "554 5.7.1");
        check(Refusal::Loop, "554 5.4.6");
        check(Refusal::Unwanted, "550 5.7.1");
        check(Refusal::Later, "451 4.7.1");
        check(Refusal::MailboxFull, "452 4.2.2");
        check(Refusal::DiskFull, "452 4.3.1");
        check(Refusal::Unavailable, "451 4.3.0");
    }
}
