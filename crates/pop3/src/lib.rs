//! POP3 (RFC 1939): the inbox as a numbered list, to be fetched and emptied. Knows nothing about other mailboxes,
//! other protocols, or who owns the listening socket.
//!
//! A [`Service`] runs one session for each connection that it is handed. Only one session at a time may hold an
//! inbox; deletes happen at QUIT and only there.
//!
//! ```no_run
//! # async fn tour(store: storage::Store, auth: auth::Auth, socket: tokio::net::TcpStream) {
//! let config = pop3::Config {
//!     hostname: "mail.example.test".into(),
//!     default_domain: Some("example.test".into()),
//!     limits: types::Limits::default(),
//! };
//! let service = pop3::Service::new(store, auth, config, std::sync::Arc::new(types::SystemClock));
//! let (_stop, shutdown) = tokio::sync::watch::channel(false);
//! service.run(socket, types::Peer::LOCAL, shutdown).await;
//! # }
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `lib` | [`Service`], [`Config`] |
//! | `commands` | the table [`COMMANDS`]; `cmd/`: one file for each verb |
//! | `capabilities` | the table [`CAPABILITIES`], what CAPA tells |
//! | `session` | one conversation: its state, dispatch, its end |
//! | `maildrop` | the inbox as this session sees it, and the lock on it |
//! | `wire` | lines in, replies out in batches, dots, time limits |
//! | `reply` | `+OK`, `-ERR`, and every refusal's code in one place |

mod capabilities;
mod cmd;
mod commands;
mod maildrop;
mod metrics;
mod reply;
mod session;
mod wire;

pub use capabilities::{CAPABILITIES, Capability};
pub use commands::{COMMANDS, Command, Run, Waiting, When};
pub use session::Session;

use auth::Auth;
use maildrop::Locks;
use metrics::Metrics;
use prometheus_client::registry::Registry;
use std::sync::Arc;
use storage::Store;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use types::{Clock, Limits, Peer};

#[derive(Debug, Clone)]
pub struct Config {
    /// Our name in the greeting.
    pub hostname: String,
    /// Added to user names without `@`.
    pub default_domain: Option<String>,
    pub limits: Limits,
}

/// What TLS a connection has, or may get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// None, and STLS is not offered: there is no certificate.
    Greeting,
    /// None yet; STLS is offered.
    Encryptable,
    /// STLS has just been done: the client has been greeted, and begins anew.
    Encrypted,
    /// The connection was encrypted from its first byte (RFC 8314 §3).
    Implicit,
}

/// What all sessions share.
pub struct Service {
    store: Store,
    auth: Auth,
    config: Config,
    locks: Arc<Locks>,
    metrics: Metrics,
}

impl Service {
    /// The clock is not needed before EXPIRE and LOGIN-DELAY (RFC 2449 §6.5, §6.7).
    pub fn new(store: Store, auth: Auth, config: Config, _clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { store, auth, config, locks: Arc::default(), metrics: Metrics::default() })
    }

    /// Adds the counters, under `pop3_`.
    pub fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry.sub_registry_with_prefix("pop3"));
    }

    /// One session, from the greeting to the end of the connection. `shutdown` turning true ends it; nothing is
    /// deleted then (RFC 1939 §3: only QUIT deletes).
    pub async fn run<S>(self: Arc<Self>, stream: S, peer: Peer, shutdown: watch::Receiver<bool>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.run_with(stream, peer, Opening::Greeting, shutdown).await;
    }

    /// The same, where the caller can do TLS. Gives the stream back when the client asked for it and was told to
    /// begin: after the handshake it comes here again, as [`Opening::Encrypted`].
    pub async fn run_with<S>(
        self: Arc<Self>,
        stream: S,
        peer: Peer,
        opening: Opening,
        shutdown: watch::Receiver<bool>,
    ) -> Option<S>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let _open = self.metrics.session(opening);
        let wire = wire::Wire::new(Box::new(stream), &self.config.limits, shutdown);
        let stream = Session::new(self.clone(), peer, opening, wire).run().await?;
        stream.downcast().ok().map(|stream| *stream)
    }
}
