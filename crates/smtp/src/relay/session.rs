//! One connection, from the greeting to where letters can be sent: EHLO, STARTTLS, AUTH (RFC 5321 §3.1, §3.2).

use super::reply::{Reply, Step};
use super::tls::Connectors;
use super::wire::{Broken, Stream, Wire};
use super::{Login, Patience, answers};
use base64ct::{Base64, Encoding};
use queue::Answer;
use rustls::pki_types::ServerName;
use std::sync::Arc;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

/// How a connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// Not: TLS was tried and did not work.
    Clear,
    /// Where it is offered; whoever the certificate names (RFC 7435).
    Opportunistic,
    /// With a certificate that names the host, or not at all.
    Verified,
    /// The same from the first byte on (RFC 8314 §3).
    Implicit,
}

/// What is wanted of a connection.
pub(super) struct Want<'a> {
    /// Our own name.
    pub(super) ours: &'a str,
    /// The server's name, for its certificate and for reports.
    pub(super) host: &'a str,
    pub(super) level: Level,
    pub(super) login: Option<&'a Login>,
    /// A server that greets with our own name is us.
    pub(super) is_mx: bool,
    /// What is said stays on this machine.
    pub(super) is_loopback: bool,
    pub(super) patience: &'a Patience,
    pub(super) connectors: &'a Connectors,
    pub(super) deadline: Instant,
}

/// Why there is no session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) answer: Answer,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// For now.
    Down,
    /// For good, says the server.
    Refused,
    /// The handshake did not work; in clear it might go on.
    Handshake,
    /// The protection that was asked for cannot be had there.
    Insecure,
    /// It is ourselves.
    Loop,
}

/// What EHLO told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "one for each word of EHLO")]
pub(super) struct Offers {
    pub(super) pipelining: bool,
    /// 0: no limit is told (RFC 1870 §4).
    pub(super) size: Option<u64>,
    pub(super) eight_bit: bool,
    pub(super) utf8: bool,
    pub(super) chunking: bool,
    pub(super) binary: bool,
    pub(super) dsn: bool,
    pub(super) require_tls: bool,
    starttls: bool,
    plain: bool,
    login: bool,
    /// RFC 9422 §4.2: recipients of one letter.
    pub(super) recipients: Option<usize>,
    /// RFC 9422 §4.1: letters of one connection.
    pub(super) letters: Option<u32>,
}

/// Ready for letters.
pub(super) struct Session {
    pub(super) wire: Wire,
    pub(super) host: Arc<str>,
    pub(super) offers: Offers,
    pub(super) encrypted: bool,
    /// The certificate names the host.
    pub(super) verified: bool,
    /// Letters sent so far.
    pub(super) letters: u32,
    pub(super) patience: Patience,
}

impl Session {
    pub(super) async fn begin(stream: Box<dyn Stream>, want: &Want<'_>) -> Result<Self, Failure> {
        let implicit = want.level == Level::Implicit;
        let stream = if implicit {
            handshake(stream, &want.connectors.verified, want).await?
        } else {
            stream
        };
        let patience = want.patience.clone();
        let wire = Wire::new(stream, want.deadline);
        let host = want.host.into();
        let offers = Offers::default();
        let (encrypted, verified) = (implicit, implicit);
        let mut session = Self { wire, host, offers, encrypted, verified, letters: 0, patience };
        session.greeting(want).await?;
        session.hello(want).await?;
        if !implicit && want.level != Level::Clear {
            session = session.encrypt(want).await?;
        }
        if let Some(login) = want.login {
            session.login(login, want).await?;
        }
        Ok(session)
    }

    /// The connection is over.
    pub(super) fn broken(&self, broken: Broken) -> Answer {
        answers::about(&self.host, "4.4.2", broken.text())
    }

    fn down(&self, broken: Broken) -> Failure {
        Failure { answer: self.broken(broken), kind: Kind::Down }
    }

    fn failure(&self, reply: &Reply, step: Step) -> Failure {
        let kind = if reply.is_permanent() { Kind::Refused } else { Kind::Down };
        Failure { answer: reply.answer(step, &self.host), kind }
    }

    async fn greeting(&mut self, want: &Want<'_>) -> Result<(), Failure> {
        let greeting = self.wire.reply(self.patience.greeting).await;
        let greeting = greeting.map_err(|broken| self.down(broken))?;
        if !greeting.is_good() {
            return Err(self.failure(&greeting, Step::Greeting));
        }
        let name = greeting.lines.first().and_then(|line| line.split(' ').next());
        if want.is_mx && name.is_some_and(|name| name.eq_ignore_ascii_case(want.ours)) {
            let text = "greets with our own name: mail for this domain would go in circles";
            return Err(Failure {
                answer: answers::about(&self.host, "5.4.6", text),
                kind: Kind::Loop,
            });
        }
        Ok(())
    }

    /// EHLO; HELO for servers that do not know it (RFC 5321 §3.2).
    async fn hello(&mut self, want: &Want<'_>) -> Result<(), Failure> {
        let command = format!("EHLO {}", want.ours);
        let mut reply = self.ask(&command).await?;
        self.offers = Offers::default();
        if reply.is_good() {
            self.offers = Offers::of(&reply);
        } else if reply.is_permanent() {
            reply = self.ask(&format!("HELO {}", want.ours)).await?;
        }
        if reply.is_good() { Ok(()) } else { Err(self.failure(&reply, Step::Hello)) }
    }

    async fn ask(&mut self, command: &str) -> Result<Reply, Failure> {
        let reply = self.wire.ask(command, self.patience.command).await;
        reply.map_err(|broken| self.down(broken))
    }

    async fn encrypt(mut self, want: &Want<'_>) -> Result<Self, Failure> {
        let verified = want.level == Level::Verified;
        if self.offers.starttls {
            let reply = self.ask("STARTTLS").await?;
            if reply.is_goodbye() {
                return Err(self.failure(&reply, Step::Hello));
            }
            if reply.is_good() {
                let connectors = want.connectors;
                let connector = if verified { &connectors.verified } else { &connectors.any };
                let down = self.down(Broken::Garbage);
                let stream = self.wire.into_stream().map_err(|_| down)?;
                let stream = handshake(stream, connector, want).await?;
                self.wire = Wire::new(stream, want.deadline);
                (self.encrypted, self.verified) = (true, verified);
                // RFC 3207 §4.2: what was learnt before is forgotten.
                self.hello(want).await?;
                return Ok(self);
            }
        }
        if verified {
            let answer =
                answers::about(&self.host, "5.7.10", "offers no TLS, which is wanted here");
            return Err(Failure { answer, kind: Kind::Insecure });
        }
        Ok(self)
    }

    /// RFC 4954 §4, PLAIN or else LOGIN.
    async fn login(&mut self, login: &Login, want: &Want<'_>) -> Result<(), Failure> {
        let insecure =
            |text| Failure { answer: answers::about(want.host, "4.7.11", text), kind: Kind::Down };
        // Who can put himself between us must not get the password.
        if !self.verified && !want.is_loopback {
            return Err(insecure(
                "gets no password: the connection is not protected by TLS with a good certificate",
            ));
        }
        let encode = |text: &str| Base64::encode_string(text.as_bytes());
        let (user, password) = (login.user.as_str(), login.password.as_str());
        let reply = if self.offers.plain {
            self.ask(&format!("AUTH PLAIN {}", encode(&format!("\0{user}\0{password}")))).await?
        } else if self.offers.login {
            let mut reply = self.ask("AUTH LOGIN").await?;
            for part in [user, password] {
                if reply.code == 334 {
                    reply = self.ask(&encode(part)).await?;
                }
            }
            reply
        } else {
            return Err(insecure("offers neither AUTH PLAIN nor AUTH LOGIN"));
        };
        if reply.code == 235 {
            return Ok(());
        }
        // A wrong password is the operator's to mend; letters wait for that.
        Err(Failure { answer: reply.answer(Step::Auth, &self.host), kind: Kind::Down })
    }

    /// Whether a letter that must not travel in clear may go here (RFC 8689 §4.2.1).
    pub(super) fn may_require_tls(&self) -> bool {
        self.verified && self.offers.require_tls
    }

    /// A polite end, not waited for.
    pub(super) fn quit(mut self) {
        tokio::spawn(async move {
            let patience = self.patience.quit;
            drop(self.wire.ask("QUIT", patience).await);
        });
    }
}

async fn handshake(
    stream: Box<dyn Stream>,
    connector: &TlsConnector,
    want: &Want<'_>,
) -> Result<Box<dyn Stream>, Failure> {
    let failure = |text: &str| Failure {
        answer: answers::about(want.host, "4.7.5", text),
        kind: Kind::Handshake,
    };
    let name = ServerName::try_from(want.host.to_owned())
        .map_err(|_| failure("has a name that no certificate can have"))?;
    match timeout(want.patience.handshake, connector.connect(name, stream)).await {
        Ok(Ok(stream)) => Ok(Box::new(stream)),
        Ok(Err(error)) => {
            let error = Reply::printable(error.to_string().as_bytes());
            Err(failure(&format!("TLS could not be begun: {error}")))
        }
        Err(_) => Err(failure("TLS could not be begun: no answer in time")),
    }
}

impl Offers {
    fn of(reply: &Reply) -> Self {
        let mut offers = Self::default();
        for line in reply.lines.iter().skip(1) {
            let mut words = line.split_ascii_whitespace();
            let Some(word) = words.next() else { continue };
            match word.to_ascii_uppercase().as_str() {
                "PIPELINING" => offers.pipelining = true,
                "SIZE" => {
                    let limit = words.next().and_then(|limit| limit.parse().ok());
                    offers.size = Some(limit.unwrap_or(0));
                }
                "8BITMIME" => offers.eight_bit = true,
                "SMTPUTF8" => offers.utf8 = true,
                "CHUNKING" => offers.chunking = true,
                "BINARYMIME" => offers.binary = true,
                "DSN" => offers.dsn = true,
                "REQUIRETLS" => offers.require_tls = true,
                "STARTTLS" => offers.starttls = true,
                "AUTH" => offers.mechanisms(words),
                "LIMITS" => words.for_each(|word| offers.limit(word)),
                _ => {}
            }
        }
        offers
    }

    fn mechanisms<'a>(&mut self, words: impl Iterator<Item = &'a str>) {
        for word in words {
            self.plain |= word.eq_ignore_ascii_case("PLAIN");
            self.login |= word.eq_ignore_ascii_case("LOGIN");
        }
    }

    fn limit(&mut self, word: &str) {
        let Some((name, value)) = word.split_once('=') else { return };
        match name.to_ascii_uppercase().as_str() {
            "RCPTMAX" => self.recipients = value.parse().ok().filter(|most| *most > 0),
            "MAILMAX" => self.letters = value.parse().ok().filter(|most| *most > 0),
            _ => {}
        }
    }
}
