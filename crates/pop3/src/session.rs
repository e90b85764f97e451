//! One conversation: what was said so far, who answers the next line, how it ends.

use crate::commands::{self, Command, Run, When};
use crate::maildrop::Maildrop;
use crate::reply::Reply;
use crate::wire::{End, Line, Wire};
use crate::{Opening, Service};
use std::any::Any;
use std::sync::Arc;
use types::Peer;

/// Refused commands in one session before we hang up. Real clients make none.
const ERRORS: u32 = 100;
/// Wrong passwords in one session; the throttle in `auth` counts across sessions.
const FAILED_LOGINS: u32 = 3;

/// The state of one session.
pub struct Session {
    pub(crate) service: Arc<Service>,
    pub(crate) peer: Peer,
    pub(crate) wire: Wire,
    pub(crate) opening: Opening,
    /// The client was told to begin with TLS.
    pub(crate) begin_tls: bool,
    /// From USER to PASS.
    pub(crate) user: Option<String>,
    /// The inbox, after login.
    pub(crate) maildrop: Option<Maildrop>,
    failed_logins: u32,
    errors: u32,
}

impl Session {
    pub(crate) fn new(service: Arc<Service>, peer: Peer, opening: Opening, wire: Wire) -> Self {
        Self {
            service,
            peer,
            wire,
            opening,
            begin_tls: false,
            user: None,
            maildrop: None,
            failed_logins: 0,
            errors: 0,
        }
    }

    /// Gives the stream back when TLS is to begin on it.
    pub(crate) async fn run(mut self) -> Option<Box<dyn Any>> {
        let end = self.converse().await;
        tracing::debug!(ip = %self.peer.ip, ?end, "POP3 session ended");
        if let Some(reply) = end.and_then(Reply::of_end) {
            reply.write(self.wire.output());
        }
        // The inbox is free before the last words go out: the next session may follow at once.
        self.maildrop = None;
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
            Reply::ok(format!("{} OpenPoczta POP3", self.service.config.hostname))
                .write(self.wire.output());
        }
        let mut line = Vec::new();
        loop {
            let answer = match self.wire.line(&mut line).await {
                Ok(Line::Whole) => self.answer(&line).await,
                Ok(Line::TooLong) => Ok(Reply::error("", "the line is too long")),
                Err(end) => Err(end),
            };
            let reply = match answer {
                Ok(reply) => self.count_error(reply),
                Err(end) => return Some(end),
            };
            reply.write(self.wire.output());
            if reply.close || self.begin_tls {
                return None;
            }
            if let Err(end) = self.wire.relieve().await {
                return Some(end);
            }
        }
    }

    fn count_error(&mut self, reply: Reply) -> Reply {
        if reply.ok {
            return reply;
        }
        self.errors += 1;
        if self.errors >= ERRORS && !reply.close {
            return Reply::error("", "too many errors, closing").closing();
        }
        reply
    }

    async fn answer(&mut self, line: &[u8]) -> Result<Reply, End> {
        let name_end = line.iter().position(|b| *b == b' ').unwrap_or(line.len());
        let (name, arg) = line.split_at(name_end);
        let Some(command) = commands::find(name) else {
            return Ok(Reply::error("", "there is no such command here"));
        };
        if let Err(reply) = self.check_state(command) {
            return Ok(reply);
        }
        let arg = arg.strip_prefix(b" ").unwrap_or(arg);
        match command.run {
            Run::Now(run) => Ok(run(self, arg)),
            Run::Wait(run) => run(self, arg).await,
        }
    }

    fn check_state(&self, command: &Command) -> Result<(), Reply> {
        match (command.when, &self.maildrop) {
            (When::Authorization, Some(_)) => Err(Reply::error("", "you are logged in already")),
            (When::Transaction, None) => Err(Reply::error("", "log in first")),
            _ => Ok(()),
        }
    }

    /// A password may only travel where nobody listens.
    pub(crate) fn check_private(&self) -> Result<(), Reply> {
        if self.peer.private {
            return Ok(());
        }
        let text = "a password may only travel on an encrypted connection";
        Err(Reply::error("", text))
    }

    /// Checks the password, takes the lock, reads the inbox.
    pub(crate) async fn log_in(&mut self, user: &str, password: &[u8]) -> Reply {
        let service = Arc::clone(&self.service);
        let user = match user {
            user if user.contains('@') => user.to_owned(),
            user => {
                format!("{user}@{}", service.config.default_domain.as_deref().unwrap_or_default())
            }
        };
        let outcome = service.auth.login(&user, password, self.peer.ip).await;
        self.finish_login(outcome).await
    }

    /// Opens the inbox of who proved who they are.
    pub(crate) async fn finish_login(
        &mut self,
        outcome: Result<auth::Identity, auth::Error>,
    ) -> Reply {
        let service = Arc::clone(&self.service);
        let identity = match outcome {
            Ok(identity) => identity,
            Err(error) => return self.refuse_login(&error),
        };
        service.metrics.logins.inc();
        let Some(lock) = service.locks.take(identity.account) else {
            return Reply::error("IN-USE", "another session has this mailbox open");
        };
        match Maildrop::open(&service.store, identity.account, lock).await {
            Ok(maildrop) => {
                let (count, bytes) = maildrop.totals();
                self.maildrop = Some(maildrop);
                self.wire.trust();
                Reply::ok(format!("{count} letters, {bytes} bytes"))
            }
            Err(error) => {
                tracing::error!(account = %identity.account, %error, "inbox not opened");
                Reply::of_storage(&error)
            }
        }
    }

    fn refuse_login(&mut self, error: &auth::Error) -> Reply {
        self.service.metrics.failed_logins.inc();
        self.failed_logins += 1;
        let reply = Reply::of_login(error);
        if self.failed_logins < FAILED_LOGINS {
            return reply;
        }
        reply.closing()
    }

    /// Runs `work` on the open inbox. The table lets nobody come here without one.
    pub(crate) fn on_maildrop(&mut self, work: impl FnOnce(&mut Maildrop) -> Reply) -> Reply {
        match &mut self.maildrop {
            Some(maildrop) => work(maildrop),
            None => Reply::error("", "log in first"),
        }
    }
}
