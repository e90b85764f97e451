//! One conversation: what was said so far, who answers the next line, how it ends.

use crate::commands::{self, Command, Run, When};
use crate::dots::Body;
use crate::gate::{Guard, Pass};
use crate::reply::Reply;
use crate::wire::{self, End, Line, Wire};
use crate::{Kind, Opening, Service};
use auth::Identity;
use queue::{Body as BodyType, Return};
use std::any::Any;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use types::{Address, Limits, Peer};

/// Refused commands in a row, recipients included, before we hang up: somebody is guessing.
const ERRORS: u32 = 100;

/// The state of one session.
pub struct Session {
    pub(crate) service: Arc<Service>,
    /// Who is served: the other end, or whom a server in front speaks for (XCLIENT).
    pub(crate) peer: Peer,
    /// The other end of the connection.
    pub(crate) front: IpAddr,
    pub(crate) wire: Wire,
    pub(crate) opening: Opening,
    /// The client was told to begin with TLS.
    pub(crate) begin_tls: bool,
    pub(crate) hello: Option<Hello>,
    pub(crate) identity: Option<Identity>,
    pub(crate) failed_logins: u32,
    pub(crate) mail: Option<Transaction>,
    /// Where the next letter comes from, says a server in front (XFORWARD).
    pub(crate) forwarded: Option<Forwarded>,
    pub(crate) known: u32,
    pub(crate) unknown: u32,
    pass: Option<Pass>,
    errors: u32,
}

/// What XFORWARD says about a letter.
#[derive(Debug, Clone, Default)]
pub(crate) struct Forwarded {
    pub(crate) ip: Option<IpAddr>,
    pub(crate) helo: Option<String>,
    /// The name it has in front.
    pub(crate) id: Option<String>,
}

/// What the client called itself, and in which dialect.
#[derive(Debug, Clone)]
pub(crate) struct Hello {
    pub(crate) name: String,
    pub(crate) extended: bool,
}

/// From MAIL to the end of the data (RFC 5321 §3.3).
#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) sender: Option<Address>,
    pub(crate) size_bytes: Option<u64>,
    pub(crate) body: BodyType,
    pub(crate) utf8: bool,
    /// Never in clear from here on (RFC 8689 §4.1).
    pub(crate) require_tls: bool,
    /// How much of the letter a report brings back (RFC 3461 §4.3).
    pub(crate) ret: Option<Return>,
    /// ENVID, decoded (RFC 3461 §4.4).
    pub(crate) envelope_id: Option<String>,
    /// Not before this time (RFC 4865).
    pub(crate) release_unix_s: Option<i64>,
    pub(crate) recipients: Vec<Accepted>,
    /// Recipients beyond the limit.
    pub(crate) too_many: u32,
    pub(crate) chunks: Chunks,
}

/// A recipient that was answered `250`.
#[derive(Debug, Clone)]
pub(crate) struct Accepted {
    /// The address and the reports that are wanted of it.
    pub(crate) wanted: queue::Recipient,
    /// `None`: it lives elsewhere, which only our own users may write to.
    pub(crate) here: Option<mda::Recipient>,
}

/// How far BDAT has come.
#[derive(Debug, Default)]
pub(crate) enum Chunks {
    #[default]
    None,
    Some(Body),
    /// One failed: nothing but RSET and a new MAIL helps (RFC 3030 §2).
    Failed,
}

impl Session {
    pub(crate) fn new(service: Arc<Service>, peer: Peer, opening: Opening, wire: Wire) -> Self {
        Self {
            service,
            peer,
            front: peer.ip,
            wire,
            opening,
            begin_tls: false,
            hello: None,
            identity: None,
            failed_logins: 0,
            mail: None,
            forwarded: None,
            known: 0,
            unknown: 0,
            pass: None,
            errors: 0,
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        self.service.kind
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.service.config.limits
    }

    /// A password may be sent now.
    pub(crate) fn may_log_in(&self) -> bool {
        self.peer.private && self.identity.is_none()
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        matches!(self.opening, Opening::Encrypted | Opening::Implicit)
    }

    /// A server in front, which may say where a letter comes from.
    pub(crate) fn is_from_a_front(&self) -> bool {
        self.service.is_front(self.front)
    }

    /// One that may say for whom it speaks.
    pub(crate) fn may_speak_for_others(&self) -> bool {
        self.service.config.xclient_from.iter().any(|network| network.contains(self.front))
    }

    /// What holds for who is neither on this machine nor a server in front.
    fn guard(&self) -> Option<&Guard> {
        let ip = self.peer.ip.to_canonical();
        let near = ip.is_loopback() || self.service.is_front(ip);
        (!near).then_some(&self.service.config.guard)
    }

    /// The same where anybody may come.
    fn guard_of_strangers(&self) -> Option<&Guard> {
        self.guard().filter(|_| self.kind() == Kind::Smtp)
    }

    /// More recipients were wrong than right, and many: somebody is guessing.
    pub(crate) fn is_guessing(&self) -> bool {
        let limit = self.guard_of_strangers().map_or(0, |guard| guard.unknown_recipients);
        limit > 0 && self.unknown >= limit && self.unknown > self.known
    }

    /// A stranger begins a letter.
    pub(crate) fn count_letter(&self) -> Result<(), Reply> {
        if self.guard_of_strangers().is_none() {
            return Ok(());
        }
        let now_unix_ms = self.service.clock.now_unix_ms();
        self.service.gate.letter(self.peer.ip, now_unix_ms).map_err(Reply::of_full)
    }

    /// From here on the letter has to come at some pace.
    pub(crate) fn begin_letter(&mut self) {
        let slowest = self.guard().map_or(0, |guard| guard.slowest_bytes_per_s);
        if slowest > 0 {
            self.wire.begin_letter(wire::GRACE, slowest);
        }
    }

    /// Reports can be asked for: there is a queue behind us, and who speaks is one of ours, or a server in front, which
    /// knows to whom it lets us write. To strangers nobody reports: whoever forges a sender must not make us write to it.
    pub(crate) fn may_report(&self) -> bool {
        let trusted = match self.kind() {
            Kind::Lmtp | Kind::Submission => true,
            Kind::Smtp => self.front == self.peer.ip && self.is_from_a_front(),
        };
        trusted && self.service.config.has_queue
    }

    /// Letters can wait: they are those of our own users.
    pub(crate) fn may_hold(&self) -> bool {
        self.kind() == Kind::Submission && self.service.config.has_queue
    }

    /// Gives the stream back when TLS is to begin on it.
    pub(crate) async fn run(mut self) -> Option<Box<dyn Any>> {
        let end = self.converse().await;
        tracing::debug!(kind = self.kind().name(), ip = %self.peer.ip, ?end, "session ended");
        if let Some(reply) = end.and_then(Reply::of_end) {
            reply.write(self.wire.output());
        }
        if self.begin_tls {
            return self.wire.into_stream().await.ok();
        }
        if end != Some(End::Closed) {
            self.wire.close().await;
        }
        None
    }

    /// `None`: we said the last word already.
    async fn converse(&mut self) -> Option<End> {
        let again = self.opening == Opening::Encrypted;
        let first = match self.begin(again).await {
            Ok(Some(reply)) => reply,
            Ok(None) if again => Reply::new(0, "", ""),
            Ok(None) => self.greeting(),
            Err(end) => return Some(end),
        };
        if first.code > 0 {
            first.write(self.wire.output());
        }
        if first.close {
            return None;
        }
        let mut line = Vec::new();
        loop {
            let answer = match self.wire.line(&mut line).await {
                Ok(Line::Whole) => self.answer(&line).await,
                Ok(Line::TooLong) => Ok(Reply::new(500, "5.5.2", "the line is too long")),
                Err(end) => Err(end),
            };
            let mut reply = match answer {
                Ok(reply) => reply,
                Err(end) => return Some(end),
            };
            self.count_error(&mut reply);
            reply.write(self.wire.output());
            if reply.close || self.begin_tls {
                return None;
            }
            if let Err(end) = self.wire.relieve().await {
                return Some(end);
            }
        }
    }

    /// Before the greeting: may this one come in, and does it wait for us? Else the reply that ends it. `again`: it was
    /// in already.
    pub(crate) async fn begin(&mut self, again: bool) -> Result<Option<Reply>, End> {
        let Some(guard) = self.guard_of_strangers() else { return Ok(None) };
        let delay = Duration::from_millis(guard.greeting_delay_ms);
        let session = Duration::from_millis(guard.session_timeout_ms);
        let service = &self.service;
        let now_unix_ms = service.clock.now_unix_ms();
        // The one that is given back first is counted no more.
        self.pass = None;
        match service.gate.enter(self.peer.ip, now_unix_ms, again) {
            Ok(pass) => self.pass = Some(pass),
            Err(full) => {
                service.metrics.turned_away();
                return Ok(Some(Reply::of_full(full)));
            }
        }
        if !session.is_zero() {
            self.wire.end_after(session);
        }
        // After XCLIENT the commands of the server in front may be here already.
        let listens = again || self.front != self.peer.ip || delay.is_zero();
        if listens || !self.wire.wait_for_silence(delay).await? {
            return Ok(None);
        }
        service.metrics.turned_away();
        let text = "you speak before the greeting; wait for it";
        Ok(Some(Reply::new(554, "5.5.1", text).closing()))
    }

    pub(crate) fn greeting(&self) -> Reply {
        let dialect = match self.kind() {
            Kind::Lmtp => "LMTP",
            Kind::Smtp | Kind::Submission => "ESMTP",
        };
        let greeting = format!("{} {dialect} OpenPoczta", self.service.config.hostname);
        Reply::new(220, "", greeting)
    }

    /// A letter that was taken forgives what was wrong before.
    fn count_error(&mut self, reply: &mut Reply) {
        if !reply.is_error() {
            return;
        }
        self.errors += 1;
        if self.errors >= ERRORS && !reply.close {
            *reply = Reply::new(421, "4.7.0", "too many errors, closing").closing();
        }
    }

    pub(crate) fn forgive(&mut self) {
        self.errors = 0;
    }

    async fn answer(&mut self, line: &[u8]) -> Result<Reply, End> {
        let (command, arg) = match self.read(line) {
            Ok(found) => found,
            Err(reply) => return Ok(reply),
        };
        match command.run {
            Run::Now(run) => Ok(run(self, arg)),
            Run::Wait(run) => run(self, arg).await,
        }
    }

    /// Finds the command and its argument; blanks around the argument do not count.
    fn read<'a>(&self, line: &'a [u8]) -> Result<(&'static Command, &'a str), Reply> {
        let text = std::str::from_utf8(line)
            .map_err(|_| Reply::new(500, "5.5.2", "a command is ASCII or UTF-8 text"))?;
        if text.chars().any(|c| c.is_control() && c != '\t') {
            return Err(Reply::new(501, "5.5.2", "there is a control character in it"));
        }
        let (name, arg) = text.split_once(' ').unwrap_or((text, ""));
        let command = commands::find(name, self.kind())?;
        self.check_order(command)?;
        Ok((command, arg.trim()))
    }

    fn check_order(&self, command: &Command) -> Result<(), Reply> {
        let missing = match (command.when, &self.mail) {
            (When::Always, _) => return Ok(()),
            (_, _) if self.hello.is_none() => match self.kind() {
                Kind::Lmtp => "say LHLO first",
                Kind::Smtp | Kind::Submission => "say EHLO first",
            },
            (When::Greeted, _) => return Ok(()),
            (_, None) => "say MAIL first",
            (When::Recipients, Some(mail)) if mail.recipients.is_empty() => {
                "there is no valid recipient"
            }
            (When::Mail | When::Recipients, Some(_)) => return Ok(()),
        };
        Err(Reply::sequence(missing))
    }
}

impl Transaction {
    pub(crate) fn new(sender: Option<Address>) -> Self {
        Self {
            sender,
            size_bytes: None,
            body: BodyType::default(),
            utf8: false,
            require_tls: false,
            ret: None,
            envelope_id: None,
            release_unix_s: None,
            recipients: Vec::new(),
            too_many: 0,
            chunks: Chunks::None,
        }
    }
}
