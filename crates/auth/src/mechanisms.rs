//! SASL (RFC 4422) without the protocol around it: what the server asks, what the client's answers mean.
//!
//! ```no_run
//! # async fn tour(door: auth::Door) {
//! use auth::{Exchange, Step};
//! let mut exchange = Exchange::start("plain", door).unwrap();
//! assert!(matches!(exchange.next(None).await, Step::Ask(question) if question.is_empty()));
//! let answer = exchange.next(Some(b"\0alice@example.test\0secret")).await;
//! assert!(matches!(answer, Step::Password { user, .. } if user == "alice@example.test"));
//! # }
//! ```

use crate::scram::{self, Challenge};
use crate::{Auth, Error, Identity, tokens};
use base64ct::{Base64, Encoding};
use std::net::IpAddr;

/// A way to prove who one is, and where that is specified.
#[derive(Debug)]
pub struct Mechanism {
    pub name: &'static str,
    /// It needs the channel binding of the connection.
    pub binds: bool,
    pub takes_tokens: bool,
    pub spec: &'static str,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// What follows from all the client said so far.
    Password(fn(said: &[Vec<u8>]) -> Step),
    Scram,
    Bearer,
}

const fn row(name: &'static str, spec: &'static str, kind: Kind) -> Mechanism {
    let takes_tokens = matches!(kind, Kind::Bearer);
    Mechanism { name, binds: false, takes_tokens, spec, kind }
}

const fn bound(mut mechanism: Mechanism) -> Mechanism {
    mechanism.binds = true;
    mechanism
}

const XOAUTH2: &str = "XOAUTH2";

/// Sorted by name.
pub static MECHANISMS: &[Mechanism] = &[
    row("LOGIN", "draft-murchison-sasl-login-00", Kind::Password(login)),
    row("OAUTHBEARER", "RFC 7628", Kind::Bearer),
    row("PLAIN", "RFC 4616 §2", Kind::Password(plain)),
    row("SCRAM-SHA-256", "RFC 7677", Kind::Scram),
    bound(row("SCRAM-SHA-256-PLUS", "RFC 7677", Kind::Scram)),
    row("XOAUTH2", "developers.google.com/workspace/gmail/imap/xoauth2-protocol", Kind::Bearer),
];

/// What comes next in an exchange.
#[derive(Debug, Clone)]
pub enum Step {
    /// Send this to the client and wait for its answer.
    Ask(Vec<u8>),
    /// The client has said all there is: check it with [`crate::Auth::login`].
    Password { user: String, password: Vec<u8> },
    /// It is checked: whom the client said it is, and what came of it.
    Done { user: String, outcome: Result<Identity, Error> },
    /// What the client said has no meaning in this mechanism: `501`, `BAD`.
    Malformed,
    /// The client gave up with `*`: `501`, `BAD`.
    Cancelled,
}

/// Who asks, and from where.
pub struct Door {
    pub auth: Auth,
    pub peer: IpAddr,
    /// `tls-exporter` (RFC 9266).
    pub binding: Option<[u8; 32]>,
    /// Of users who are named without one.
    pub default_domain: Option<String>,
}

/// One run of a mechanism.
pub struct Exchange {
    door: Door,
    mechanism: &'static Mechanism,
    said: Vec<Vec<u8>>,
    scram: Option<Running>,
    /// Known; the client has something to say first.
    end: Option<Step>,
}

/// SCRAM after the client's first message.
struct Running {
    user: String,
    known: Option<Identity>,
    challenge: Challenge,
}

impl Exchange {
    /// `None`: there is no such mechanism here. Names are compared without case.
    pub fn start(name: &str, door: Door) -> Option<Self> {
        let mechanism = MECHANISMS.iter().find(|m| m.name.eq_ignore_ascii_case(name))?;
        let offered = door.auth.mechanisms(door.binding.is_some());
        if !offered.contains(&mechanism.name) {
            return None;
        }
        Some(Self { door, mechanism, said: Vec::new(), scram: None, end: None })
    }

    pub fn mechanism(&self) -> &'static Mechanism {
        self.mechanism
    }

    /// Takes the client's answer, or `None` where it came without an initial response.
    pub async fn next(&mut self, answer: Option<&[u8]>) -> Step {
        if let Some(end) = self.end.take() {
            return end;
        }
        match self.mechanism.kind {
            Kind::Password(next) => {
                self.said.extend(answer.map(<[u8]>::to_vec));
                next(&self.said)
            }
            Kind::Scram => match (answer, self.scram.take()) {
                (None, _) => Step::Ask(Vec::new()),
                (Some(message), None) => self.begin_scram(message).await,
                (Some(message), Some(running)) => self.end_scram(message, running),
            },
            Kind::Bearer => match answer {
                None => Step::Ask(Vec::new()),
                Some(message) => self.bearer(message).await,
            },
        }
    }

    async fn begin_scram(&mut self, message: &[u8]) -> Step {
        let binding = self.door.binding.as_ref().map(<[u8; 32]>::as_slice);
        let plus = self.mechanism.binds;
        let Some(first) = scram::first(message, binding, plus) else { return Step::Malformed };
        let user = self.full(&first.user);
        let (known, verifier) = match self.door.auth.verifier(&user, self.door.peer).await {
            Ok(found) => found,
            Err(error) => return Step::Done { user, outcome: Err(error) },
        };
        let Some((challenge, said)) = Challenge::new(first, verifier) else {
            let why = "the system gave no random bytes".to_owned();
            return Step::Done { user, outcome: Err(Error::Unavailable(why)) };
        };
        self.scram = Some(Running { user, known, challenge });
        Step::Ask(said.into_bytes())
    }

    fn end_scram(&mut self, message: &[u8], running: Running) -> Step {
        let Running { user, known, challenge } = running;
        let Ok(proves) = challenge.last(message) else { return Step::Malformed };
        let known = known.filter(|_| proves.is_some());
        let outcome = self.door.auth.book(&user, self.door.peer, known);
        let is_right = outcome.is_ok();
        let done = Step::Done { user, outcome };
        match proves.filter(|_| is_right) {
            Some(proves) => {
                self.end = Some(done);
                Step::Ask(proves.into_bytes())
            }
            None => done,
        }
    }

    async fn bearer(&mut self, message: &[u8]) -> Step {
        let is_xoauth2 = self.mechanism.name == XOAUTH2;
        let Some((user, token)) = tokens::bearer(message, is_xoauth2) else {
            return Step::Malformed;
        };
        let user = user.map(|user| self.full(&user));
        let outcome = self.door.auth.token(user.clone(), token, self.door.peer).await;
        let is_wrong = matches!(outcome, Err(Error::Credentials));
        let done = Step::Done { user: user.unwrap_or_default(), outcome };
        if !is_wrong {
            return done;
        }
        // RFC 7628 §3.2.2: the client hears why, and answers with nothing of meaning.
        self.end = Some(done);
        let status = if is_xoauth2 { r#""401""# } else { r#""invalid_token""# };
        Step::Ask(format!(r#"{{"status":{status},"schemes":"bearer","scope":""}}"#).into_bytes())
    }

    fn full(&self, user: &str) -> String {
        match &self.door.default_domain {
            Some(domain) if !user.contains('@') => format!("{user}@{domain}"),
            _ => user.to_owned(),
        }
    }

    /// The same for a line of base64, as IMAP, SMTP and POP3 have it; `*` gives up.
    pub async fn next_line(&mut self, line: &[u8]) -> Step {
        if line == b"*" {
            // Who gives up after the end was known has what came of it: so a failed token counts.
            return self
                .end
                .take()
                .filter(|_| self.mechanism.takes_tokens)
                .unwrap_or(Step::Cancelled);
        }
        let decoded = std::str::from_utf8(line).ok().and_then(|text| Base64::decode_vec(text).ok());
        match decoded {
            Some(answer) => self.next(Some(&answer)).await,
            None => Step::Malformed,
        }
    }

    /// The same for an initial response in a command, where `=` stands for an empty one (RFC 4954 §4,
    /// RFC 4959 §3, RFC 5034 §4).
    pub async fn next_initial(&mut self, initial: Option<&[u8]>) -> Step {
        match initial {
            None => self.next(None).await,
            Some(b"=") => self.next(Some(b"")).await,
            Some(line) => self.next_line(line).await,
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
        [] => Step::Ask(Vec::new()),
        [message] => sasl_plain(message).map_or(Step::Malformed, |(user, password)| {
            Step::Password { user: user.to_owned(), password: password.to_vec() }
        }),
        _ => Step::Malformed,
    }
}

fn login(said: &[Vec<u8>]) -> Step {
    match said {
        [] => Step::Ask(b"Username:".to_vec()),
        [_] => Step::Ask(b"Password:".to_vec()),
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
    use crate::scram::tests::answer;
    use crate::tests::{HOME, accounts};
    use crate::tokens::tests::{Signer, claims, issuer};
    use crate::{Issuer, hash_password};
    use std::sync::Arc;
    use types::ManualClock;

    const NOW: i64 = 1_795_000_000;

    fn door(issuer: Option<Issuer>, binding: Option<[u8; 32]>) -> Door {
        let clock = Arc::new(ManualClock::at_unix_s(NOW));
        let auth = Auth::with(accounts(&hash_password(b"secret").unwrap()), clock, issuer);
        let default_domain = Some("example.test".to_owned());
        Door { auth, peer: HOME, binding, default_domain }
    }

    fn start(name: &str) -> Exchange {
        Exchange::start(name, door(None, None)).unwrap()
    }

    fn asked(step: Step) -> String {
        let Step::Ask(question) = step else { panic!("{step:?}") };
        String::from_utf8(question).unwrap()
    }

    fn done(step: Step) -> (String, Result<String, String>) {
        let Step::Done { user, outcome } = step else { panic!("{step:?}") };
        (user, outcome.map(|who| who.key).map_err(|error| error.to_string()))
    }

    #[test]
    fn the_table_is_sorted_and_what_is_offered_depends_on_the_door() {
        assert!(MECHANISMS.is_sorted_by(|a, b| a.name < b.name));
        assert!(MECHANISMS.iter().all(|m| !m.spec.is_empty()));
        let offered = |issuer, binding| door(issuer, None).auth.mechanisms(binding).join(" ");
        assert_eq!(offered(None, false), "LOGIN PLAIN SCRAM-SHA-256");
        assert_eq!(offered(None, true), "LOGIN PLAIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS");
        let folder = tempfile::tempdir().unwrap();
        let issuer = Some(issuer(folder.path(), ""));
        let all = "LOGIN OAUTHBEARER PLAIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS XOAUTH2";
        assert_eq!(offered(issuer, true), all);
        for name in ["CRAM-MD5", "SCRAM-SHA-256-PLUS", "OAUTHBEARER", "XOAUTH2", ""] {
            assert!(Exchange::start(name, door(None, None)).is_none(), "{name}");
        }
    }

    #[tokio::test]
    async fn passwords() {
        for (name, answers) in [
            ("plain", vec!["AGFAZXhhbXBsZS50ZXN0AHNlY3JldA=="]),
            ("login", vec!["YUBleGFtcGxlLnRlc3Q=", "c2VjcmV0"]),
        ] {
            let mut exchange = start(name);
            let mut step = exchange.next_initial(None).await;
            for answer in answers {
                assert!(matches!(step, Step::Ask(_)));
                step = exchange.next_line(answer.as_bytes()).await;
            }
            let Step::Password { user, password } = step else { panic!("{name}: {step:?}") };
            assert_eq!((user.as_str(), password.as_slice()), ("a@example.test", &b"secret"[..]));
        }
    }

    #[tokio::test]
    async fn initial_responses() {
        async fn check(name: &str, initial: &[u8], expect: &str) {
            let step = start(name).next_initial(Some(initial)).await;
            assert!(format!("{step:?}").starts_with(expect), "{step:?}");
        }
        let long = "A".repeat(60_000);
        for name in ["PLAIN", "SCRAM-SHA-256"] {
            check(name, b"=", "Malformed").await;
            check(name, b"*", "Cancelled").await;
            check(name, b"AGFAZXhhbXBsZS50ZXN0AHNlY3JldA", "Malformed").await;
            check(name, b"AG\0Fh", "Malformed").await;
            check(name, b"\xff\xfe", "Malformed").await;
            check(name, b"AAAA", "Malformed").await;
            check(name, long.as_bytes(), "Malformed").await;
        }
        check("LOGIN", b"YUBleGFtcGxlLnRlc3Q=", "Ask").await;
        check("LOGIN", b"!", "Malformed").await;
    }

    #[tokio::test]
    async fn scram_proves_both_sides() {
        for binding in [None, Some([7; 32])] {
            let name = if binding.is_some() { "SCRAM-SHA-256-PLUS" } else { "SCRAM-SHA-256" };
            let flag = if binding.is_some() { "p=tls-exporter,," } else { "n,," };
            let door = door(None, binding);
            let auth = door.auth.clone();
            let mut exchange = Exchange::start(name, door).unwrap();
            assert_eq!(asked(exchange.next(None).await), "");
            let bare = "n=alice,r=nonce";
            let challenge = asked(exchange.next(Some(format!("{flag}{bare}").as_bytes())).await);
            let bound = [flag.as_bytes(), binding.as_ref().map_or(&[][..], |b| &b[..])].concat();
            let (last, proves) = answer(bare, &bound, &challenge, "secret");
            assert_eq!(asked(exchange.next(Some(last.as_bytes())).await), proves);
            let (user, outcome) = done(exchange.next(Some(b"")).await);
            assert_eq!(
                (user, outcome),
                ("alice@example.test".into(), Ok("alice@example.test".into()))
            );
            assert_eq!(auth.hashes_computed(), 0);
        }
    }

    #[tokio::test]
    async fn a_wrong_proof_is_no_login_whoever_is_named_and_slows_down() {
        let door = || door(None, None);
        let first = door();
        let auth = first.auth.clone();
        for user in ["alice", "ghost", "nobody", "odd"] {
            let door = Door { auth: auth.clone(), ..door() };
            let mut exchange = Exchange::start("SCRAM-SHA-256", door).unwrap();
            let bare = format!("n={user},r=nonce");
            let challenge = asked(exchange.next(Some(format!("n,,{bare}").as_bytes())).await);
            assert!(challenge.ends_with(",i=65536"), "{challenge}");
            let (last, _) = answer(&bare, b"n,,", &challenge, "wrong");
            let (_, outcome) = done(exchange.next(Some(last.as_bytes())).await);
            assert_eq!(outcome, Err("wrong user name or password".to_owned()), "{user}");
        }
        for n in 0.. {
            let door = Door { auth: auth.clone(), ..door() };
            let mut exchange = Exchange::start("SCRAM-SHA-256", door).unwrap();
            let step = exchange.next(Some(b"n,,n=alice,r=nonce")).await;
            if let Step::Done { outcome: Err(Error::Throttled { .. }), .. } = step {
                break;
            }
            let (last, _) = answer("n=alice,r=nonce", b"n,,", &asked(step), "wrong");
            done(exchange.next(Some(last.as_bytes())).await).1.unwrap_err();
            assert!(n < 20);
        }
    }

    #[tokio::test]
    async fn tokens_are_taken_from_the_issuer() {
        let folder = tempfile::tempdir().unwrap();
        let signer = Signer::new();
        let door = door(Some(issuer(folder.path(), &signer.jwk("one"))), None);
        let auth = door.auth.clone();
        let header = r#"{"alg":"EdDSA"}"#;
        let good = signer.token(header, &claims(&format!(r#","exp":{}"#, NOW + 60)));
        let late = signer.token(header, &claims(&format!(r#","exp":{}"#, NOW - 600)));
        let run = async |name: &str, message: String| {
            let default_domain = Some("example.test".to_owned());
            let door = Door { auth: auth.clone(), peer: HOME, binding: None, default_domain };
            let mut exchange = Exchange::start(name, door).unwrap();
            let step = exchange.next(Some(message.replace('^', "\u{1}").as_bytes())).await;
            let Step::Ask(why) = step else { return (String::new(), done(step).1) };
            (String::from_utf8(why).unwrap(), done(exchange.next_line(b"AQ==").await).1)
        };
        let alice = Ok("alice@example.test".to_owned());
        for (name, message) in [
            ("OAUTHBEARER", format!("n,a=alice@example.test,^host=x^auth=Bearer {good}^^")),
            ("OAUTHBEARER", format!("n,,^auth=Bearer {good}^^")),
            ("XOAUTH2", format!("user=alice^auth=Bearer {good}^^")),
        ] {
            assert_eq!(run(name, message).await, (String::new(), alice.clone()), "{name}");
        }
        for (name, message, status) in [
            ("OAUTHBEARER", format!("n,,^auth=Bearer {late}^^"), "\"invalid_token\""),
            (
                "OAUTHBEARER",
                format!("n,a=bob@example.test,^auth=Bearer {good}^^"),
                "\"invalid_token\"",
            ),
            ("XOAUTH2", format!("user=bob@example.test^auth=Bearer {good}^^"), "\"401\""),
        ] {
            let (why, outcome) = run(name, message).await;
            assert_eq!(why, format!(r#"{{"status":{status},"schemes":"bearer","scope":""}}"#));
            assert_eq!(outcome, Err("wrong user name or password".to_owned()));
        }
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
