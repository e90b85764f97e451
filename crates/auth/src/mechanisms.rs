//! SASL (RFC 4422) without the protocol around it: what the server asks, what the client's answers mean.
//!
//! ```
//! use auth::{Exchange, Step};
//! let mut exchange = Exchange::start("plain").unwrap();
//! assert!(matches!(exchange.next(None), Step::Ask(b"")));
//! let Step::Password { user, .. } = exchange.next(Some(b"\0alice@example.test\0secret")) else { panic!() };
//! assert_eq!(user, "alice@example.test");
//! ```

use base64ct::{Base64, Encoding};

/// A way to prove who one is: its name, whether the password itself crosses the wire (then only on a private
/// connection), what follows from all the client said so far, and where that is specified.
pub struct Mechanism {
    pub name: &'static str,
    pub plaintext: bool,
    pub next: fn(said: &[Vec<u8>]) -> Step,
    pub spec: &'static str,
}

pub static MECHANISMS: &[Mechanism] = &[
    Mechanism {
        name: "LOGIN",
        plaintext: true,
        next: login,
        spec: "draft-murchison-sasl-login-00",
    },
    Mechanism { name: "PLAIN", plaintext: true, next: plain, spec: "RFC 4616 §2" },
];

/// What comes next in an exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Send this to the client and wait for its answer.
    Ask(&'static [u8]),
    /// The client has said all there is: check it with [`crate::Auth::login`].
    Password { user: String, password: Vec<u8> },
    /// What the client said has no meaning in this mechanism: `501`, `BAD`.
    Malformed,
    /// The client gave up with `*`: `501`, `BAD`.
    Cancelled,
}

/// One run of a mechanism.
pub struct Exchange {
    mechanism: &'static Mechanism,
    said: Vec<Vec<u8>>,
}

impl Exchange {
    /// `None`: there is no such mechanism. Names are compared without case.
    pub fn start(name: &str) -> Option<Self> {
        let mechanism = MECHANISMS.iter().find(|m| m.name.eq_ignore_ascii_case(name))?;
        Some(Self { mechanism, said: Vec::new() })
    }

    pub fn mechanism(&self) -> &'static Mechanism {
        self.mechanism
    }

    /// Takes the client's answer, or `None` where it came without an initial response.
    pub fn next(&mut self, answer: Option<&[u8]>) -> Step {
        self.said.extend(answer.map(<[u8]>::to_vec));
        (self.mechanism.next)(&self.said)
    }

    /// The same for a line of base64, as IMAP, SMTP and POP3 have it; `*` gives up.
    pub fn next_line(&mut self, line: &[u8]) -> Step {
        if line == b"*" {
            return Step::Cancelled;
        }
        let decoded = std::str::from_utf8(line).ok().and_then(|text| Base64::decode_vec(text).ok());
        match decoded {
            Some(answer) => self.next(Some(&answer)),
            None => Step::Malformed,
        }
    }

    /// The same for an initial response in a command, where `=` stands for an empty one (RFC 4954 §4,
    /// RFC 4959 §3, RFC 5034 §4).
    pub fn next_initial(&mut self, initial: Option<&[u8]>) -> Step {
        match initial {
            None => self.next(None),
            Some(b"=") => self.next(Some(b"")),
            Some(line) => self.next_line(line),
        }
    }
}

impl Step {
    /// The question in base64, as IMAP, SMTP and POP3 send it after `+ ` or `334 `.
    pub fn question_base64(question: &[u8]) -> String {
        Base64::encode_string(question)
    }
}

/// Decodes the message of SASL PLAIN (RFC 4616 §2): `[authzid] NUL authcid NUL passwd`. An authzid is not
/// used: nobody acts for others yet.
pub fn sasl_plain(message: &[u8]) -> Option<(&str, &[u8])> {
    let mut fields = message.splitn(3, |b| *b == 0);
    let (_authzid, user, password) = (fields.next()?, fields.next()?, fields.next()?);
    let user = std::str::from_utf8(user).ok()?;
    (!user.is_empty() && !password.contains(&0)).then_some((user, password))
}

fn plain(said: &[Vec<u8>]) -> Step {
    match said {
        [] => Step::Ask(b""),
        [message] => sasl_plain(message).map_or(Step::Malformed, |(user, password)| {
            Step::Password { user: user.to_owned(), password: password.to_vec() }
        }),
        _ => Step::Malformed,
    }
}

fn login(said: &[Vec<u8>]) -> Step {
    match said {
        [] => Step::Ask(b"Username:"),
        [_] => Step::Ask(b"Password:"),
        [user, password] => match String::from_utf8(user.clone()) {
            Ok(user) if !user.is_empty() => Step::Password { user, password: password.clone() },
            _ => Step::Malformed,
        },
        _ => Step::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_every_row_ends_in_a_password() {
        assert!(MECHANISMS.is_sorted_by(|a, b| a.name < b.name));
        for mechanism in MECHANISMS {
            assert!(mechanism.plaintext && !mechanism.spec.is_empty());
            let mut exchange = Exchange::start(&mechanism.name.to_lowercase()).unwrap();
            let mut step = exchange.next_initial(None);
            let mut answers = match mechanism.name {
                "PLAIN" => vec!["AGFAZXhhbXBsZS50ZXN0AHNlY3JldA=="],
                _ => vec!["YUBleGFtcGxlLnRlc3Q=", "c2VjcmV0"],
            }
            .into_iter();
            while let Step::Ask(_) = step {
                step = exchange.next_line(answers.next().unwrap().as_bytes());
            }
            let password =
                Step::Password { user: "a@example.test".to_owned(), password: b"secret".to_vec() };
            assert_eq!(step, password, "{}", mechanism.name);
        }
        assert!(Exchange::start("CRAM-MD5").is_none());
    }

    #[test]
    fn initial_responses() {
        #[track_caller]
        fn check(name: &str, initial: &[u8], expect: &Step) {
            let step = Exchange::start(name).unwrap().next_initial(Some(initial));
            assert_eq!(&step, expect);
        }
        let long = "A".repeat(60_000);
        check("PLAIN", b"=", &Step::Malformed);
        check("PLAIN", b"*", &Step::Cancelled);
        check("PLAIN", b"AGFAZXhhbXBsZS50ZXN0AHNlY3JldA", &Step::Malformed);
        check("PLAIN", b"AG\0Fh", &Step::Malformed);
        check("PLAIN", b"\xff\xfe", &Step::Malformed);
        check("PLAIN", b"AAAA", &Step::Malformed);
        check("PLAIN", long.as_bytes(), &Step::Malformed);
        check("LOGIN", b"YUBleGFtcGxlLnRlc3Q=", &Step::Ask(b"Password:"));
        check("LOGIN", b"!", &Step::Malformed);
    }

    #[test]
    fn plain_messages() {
        #[track_caller]
        fn check(message: &[u8], expect: Option<(&str, &[u8])>) {
            assert_eq!(sasl_plain(message), expect);
        }
        check(b"\0a@b\0pw", Some(("a@b", b"pw")));
        check(b"z@b\0a@b\0pw", Some(("a@b", b"pw")));
        check(b"\0a@b\0", Some(("a@b", b"")));
        check("\0ż@b\0ż".as_bytes(), Some(("ż@b", "ż".as_bytes())));
        check(b"\0\0pw", None);
        check(b"\0a@b\0p\0w", None);
        check(b"\0\xff\0pw", None);
        check(b"a@b\0pw", None);
        check(b"", None);
    }

    #[test]
    fn questions_travel_in_base64() {
        assert_eq!(Step::question_base64(b"Username:"), "VXNlcm5hbWU6");
        assert_eq!(Step::question_base64(b""), "");
    }
}
