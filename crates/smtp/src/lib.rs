//! SMTP in, submission and LMTP: one dialogue, three kinds; and SMTP out. Knows nothing about mailboxes, storage, or who owns the
//! listening socket.
//!
//! A [`Service`] is made once for each kind and runs one session for each connection that it is handed. Mail goes
//! to `mda`; a letter is answered `250` only after it is durable.
//!
//! ```no_run
//! # async fn tour(mda: std::sync::Arc<mda::Mda>, auth: auth::Auth, socket: tokio::net::TcpStream) {
//! use smtp::{Config, Kind, Service};
//! let config = Config { hostname: "mx.example.test".into(), ..Config::default() };
//! let lmtp = Service::new(Kind::Lmtp, mda, auth, config, std::sync::Arc::new(types::SystemClock));
//! let (_stop, shutdown) = tokio::sync::watch::channel(false);
//! lmtp.run(socket, types::Peer::LOCAL, shutdown).await;
//! # }
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `lib` | [`Service`], [`Kind`], [`Config`] |
//! | `commands` | the table [`COMMANDS`]; `cmd/`: one file for each verb |
//! | `extensions` | the table [`EXTENSIONS`], what EHLO and LHLO tell |
//! | `session` | one conversation: its state, dispatch, its end |
//! | `wire` | lines in, replies out in batches, time limits |
//! | `dots` | where DATA ends; `path`: addresses of commands; `params`: values of their parameters |
//! | `gate` | who may come in: the limits of strangers; `network`: who is trusted, who is counted together |
//! | `deliver` | from a body to its replies; `submit`: the same for our own users |
//! | `relay` | the client: mail to other servers |
//! | `reply` | every refusal's code in one place |

mod cmd;
mod commands;
mod deliver;
mod dots;
mod extensions;
mod gate;
mod metrics;
mod network;
mod params;
mod path;
mod reply;
mod session;
mod submit;
mod wire;

pub mod relay;

pub use commands::{COMMANDS, Command, Run, Waiting, When};
pub use extensions::{EXTENSIONS, Extension};
pub use gate::Guard;
pub use network::{Network, NoNetwork};
pub use session::Session;

use auth::Auth;
use gate::Gate;
use mda::Mda;
use metrics::Metrics;
use prometheus_client::registry::Registry;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use types::{Clock, Limits, Peer};

/// Whom a listener talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A mail server that has taken responsibility already (RFC 2033): one answer for each recipient.
    Lmtp,
    /// Anybody (RFC 5321).
    Smtp,
    /// Our own users (RFC 6409): only after AUTH.
    Submission,
}

impl Kind {
    /// In lower case, for metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lmtp => "lmtp",
            Self::Smtp => "smtp",
            Self::Submission => "submission",
        }
    }
}

#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Our name in the greeting.
    pub hostname: String,
    pub limits: Limits,
    /// The mda has a queue: letters of our own users can wait, and reports are written.
    pub has_queue: bool,
    /// Servers in front, which may say where a letter comes from (XFORWARD).
    pub fronts: Vec<Network>,
    /// Those which may also say for whom they speak, up to who has logged in (XCLIENT).
    pub xclient_from: Vec<Network>,
    pub guard: Guard,
}

/// What TLS a connection has, or may get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// None, and STARTTLS is not offered: there is no certificate.
    Greeting,
    /// None yet; STARTTLS is offered.
    Encryptable,
    /// STARTTLS has just been done: the client has been greeted, and begins anew.
    Encrypted,
    /// The connection was encrypted from its first byte (RFC 8314 §3).
    Implicit,
}

/// What all sessions of one kind share.
pub struct Service {
    kind: Kind,
    mda: Arc<Mda>,
    auth: Auth,
    config: Config,
    clock: Arc<dyn Clock>,
    gate: Arc<Gate>,
    metrics: Metrics,
    letters: AtomicU64,
}

impl Service {
    pub fn new(
        kind: Kind,
        mda: Arc<Mda>,
        auth: Auth,
        config: Config,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        Arc::new(Self {
            kind,
            mda,
            auth,
            gate: Gate::new(config.guard.clone()),
            config,
            clock,
            metrics: Metrics::default(),
            letters: AtomicU64::new(0),
        })
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    fn is_front(&self, ip: IpAddr) -> bool {
        let Config { fronts, xclient_from, .. } = &self.config;
        fronts.iter().chain(xclient_from).any(|network| network.contains(ip))
    }

    /// Adds the counters, under `lmtp_`, `smtp_` or `submission_`.
    pub fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry.sub_registry_with_prefix(self.kind.name()));
    }

    /// One session, from the greeting to the end of the connection. `shutdown` turning true ends it with `421`
    /// where no letter is being stored.
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

    /// A new name for a letter: 12 letters and digits, unique in time and in this process.
    fn new_id(&self) -> String {
        const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
        let now_ms = u64::try_from(self.clock.now_unix_ms()).unwrap_or(0);
        let count = self.letters.fetch_add(1, Ordering::Relaxed);
        let number = (now_ms << 16) | (count & 0xffff);
        (0..12)
            .rev()
            .map(|place| {
                let digit = usize::try_from(number >> (5 * place) & 31).unwrap_or(0);
                DIGITS.get(digit).copied().map_or('0', char::from)
            })
            .collect()
    }
}
