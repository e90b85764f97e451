//! One conversation: what was said so far, who answers the next line, how it ends.

use crate::commands::{self, Command, Run, When};
use crate::dots::Body;
use crate::reply::Reply;
use crate::wire::{End, Line, Wire};
use crate::{Kind, Opening, Service};
use auth::Identity;
use queue::{Body as BodyType, Return};
use std::any::Any;
use std::sync::Arc;
use types::{Address, Limits, Peer};

/// Refused commands in a row, recipients included, before we hang up: somebody is guessing.
const ERRORS: u32 = 100;

/// The state of one session.
pub struct Session {
    pub(crate) service: Arc<Service>,
    pub(crate) peer: Peer,
    pub(crate) wire: Wire,
    pub(crate) opening: Opening,
    /// The client was told to begin with TLS.
    pub(crate) begin_tls: bool,
    pub(crate) hello: Option<Hello>,
    pub(crate) identity: Option<Identity>,
    pub(crate) failed_logins: u32,
    pub(crate) mail: Option<Transaction>,
    errors: u32,
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
            wire,
            opening,
            begin_tls: false,
            hello: None,
            identity: None,
            failed_logins: 0,
            mail: None,
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

    /// Reports can be asked for, and letters can wait: there is a queue behind us, and the sender is one of ours. To
    /// strangers nobody reports: whoever forges a sender must not make us write to it.
    pub(crate) fn may_report(&self) -> bool {
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
        if self.opening != Opening::Encrypted {
            self.greet();
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

    fn greet(&mut self) {
        let dialect = match self.kind() {
            Kind::Lmtp => "LMTP",
            Kind::Smtp | Kind::Submission => "ESMTP",
        };
        let greeting = format!("{} {dialect} OpenPoczta", self.service.config.hostname);
        Reply::new(220, "", greeting).write(self.wire.output());
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
