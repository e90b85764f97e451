//! The IMAP server: RFC 9051 and RFC 3501, with the extensions in `capabilities.rs`. Knows nothing about TLS,
//! listeners, SMTP, or how mail is stored.
//!
//! | file | holds |
//! |---|---|
//! | `commands` | the table of commands: name, when it is welcome, who answers, which section says so |
//! | `capabilities` | the table of what we say we can |
//! | `cmd/` | one file for each verb: its ABNF, parse, answer |
//! | `session` | one connection: reads a command, finds its row, answers, tells what else happened |
//! | `selected` | the mailbox as this session has been told it is: message numbers, UIDs, what is still to tell |
//! | `resync` | CONDSTORE and QRESYNC: what a client asks, what went since it looked last |
//! | `sharing` | rights on mailboxes, and the mailboxes of others |
//! | `contexts` | results of searches that are kept up to date |
//! | `fetch/` | the pieces of a FETCH answer |
//! | `order/` | messages sorted and in threads |
//! | `wire`, `parse/` | bytes to commands, bounded before anything is allocated |
//! | `progress` | signs of life while a command takes long |
//! | `reply`, `encode` | errors to `NO [CODE] sentence`, in one place; strings, sets |
//! | `mailbox_name`, `pattern` | modified UTF-7; LIST's wildcards |
//!
//! A new command is a file in `cmd/`, a row in `commands.rs`, and a transcript in `testdata/imap/`.
//!
//! ```no_run
//! # async fn tour(store: storage::Store, auth: auth::Auth) -> std::io::Result<()> {
//! use std::sync::Arc;
//! let config = imap::Config { hostname: "mail.example.test".into(), ..Default::default() };
//! let service = imap::Service::new(store, auth, config, Arc::new(types::SystemClock));
//! let (_stop, shutdown) = tokio::sync::watch::channel(false);
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:1143").await?;
//! let (stream, address) = listener.accept().await?;
//! service.run(stream, types::Peer::plain(address.ip()), shutdown).await;
//! # Ok(()) }
//! ```

mod base64;
mod capabilities;
mod cmd;
mod commands;
mod contexts;
mod encode;
mod fetch;
mod mailbox_name;
mod metadata;
mod metrics;
mod noted;
mod notify;
mod order;
mod parse;
mod pattern;
mod progress;
mod reply;
mod resync;
mod selected;
mod session;
mod sharing;
mod upload;
mod wire;

pub use capabilities::{CAPABILITIES, Capability};
pub use commands::{COMMANDS, parse_command};
pub use parse::Syntax;
pub use reply::Error;
pub use wire::Stop;

use metrics::Metrics;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use types::{Clock, Limits, Peer};

/// What `server` reads from the configuration for us.
#[derive(Debug, Clone)]
pub struct Config {
    /// How we call ourselves in the greeting.
    pub hostname: String,
    /// Put behind a user name without `@`.
    pub default_domain: Option<String>,
    pub limits: Limits,
    /// The session resource of a JMAP server that gives the same mail under the same object IDs to who logs in here
    /// (RFC 9698); `None`: there is none.
    pub jmap_session_url: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hostname: "localhost".to_owned(),
            default_domain: None,
            limits: Limits::default(),
            jmap_session_url: None,
        }
    }
}

/// What TLS a connection has, or may get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// None, and STARTTLS is not offered: there is no certificate.
    Greeting,
    /// None yet; STARTTLS is offered.
    Encryptable,
    /// STARTTLS has just been done: the client has been greeted, and begins anew.
    Encrypted(Binding),
    /// The connection was encrypted from its first byte (RFC 8314 §3).
    Implicit(Binding),
}

/// What ties a login to its TLS connection: `tls-exporter` (RFC 9266 §2). `None`: the connection has no such value,
/// so that mechanisms with channel binding cannot be used on it.
pub type Binding = Option<[u8; 32]>;

impl Opening {
    /// The value for mechanisms with channel binding; `None` without TLS.
    pub fn binding(&self) -> Option<&[u8; 32]> {
        match self {
            Self::Encrypted(binding) | Self::Implicit(binding) => binding.as_ref(),
            Self::Greeting | Self::Encryptable => None,
        }
    }
}

/// What all connections share.
pub struct Service {
    pub(crate) store: storage::Store,
    pub(crate) auth: auth::Auth,
    pub(crate) config: Config,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
}

impl Service {
    pub fn new(
        store: storage::Store,
        auth: auth::Auth,
        config: Config,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        Arc::new(Self { store, auth, config, clock, metrics: Metrics::default() })
    }

    /// Adds our counters, each with the prefix `imap_`.
    pub fn register(&self, registry: &mut prometheus_client::registry::Registry) {
        self.metrics.register(registry.sub_registry_with_prefix("imap"));
    }

    /// Serves one connection until it ends: by LOGOUT, by the client, by silence, or because `shutdown`
    /// became `true`, which is said with `* BYE`. `peer.private` false: no password is taken.
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
        let session = session::Session::new(self, Box::new(stream), peer, opening, shutdown);
        // Boxed: the state of a session is large, and most of its life it waits.
        let stream = Box::pin(session.serve()).await?;
        stream.downcast().ok().map(|stream| *stream)
    }
}
