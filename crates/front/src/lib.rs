//! What a mail server in front of us asks: is there such a mailbox, is this the right password. Takes no
//! letters; one may be looked at.
//!
//! Two small protocols of others, spoken as they expect it: Postfix looks addresses up in a table (socketmap), and lets
//! a "Dovecot" check passwords (Dovecot's authentication protocol). With them Postfix refuses unknown users by itself
//! and takes mail of our own people, without a copy of our accounts.
//!
//! ```no_run
//! # async fn tour(mda: std::sync::Arc<mda::Mda>, auth: auth::Auth, socket: tokio::net::UnixStream) {
//! let front = front::Service::new(mda, auth, types::Limits::default());
//! let (_stop, shutdown) = tokio::sync::watch::channel(false);
//! front.run(front::Kind::Tables, socket, types::Peer::LOCAL, shutdown).await;
//! # }
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `lib` | [`Service`], [`Kind`] |
//! | `tables` | socketmap: the table [`TABLES`], one row for each map |
//! | `netstring` | its framing |
//! | `milter` | [`Milter`]: the spam filter for Postfix and Sendmail |
//! | `asked` | what it is asked about |
//! | `passwords` | Dovecot's authentication protocol |
//! | `rspamd` | the spam filter for programs that ask an Rspamd |

mod asked;
mod milter;
mod netstring;
mod passwords;
mod rspamd;
mod tables;

pub use milter::Milter;
pub use rspamd::rspamd;
pub use tables::{TABLES, Table};

use auth::Auth;
use mda::Mda;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use types::{Limits, Peer};

/// What a listener is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Postfix socketmap.
    Tables,
    /// Dovecot's authentication protocol.
    Passwords,
}

/// What all connections share.
pub struct Service {
    mda: Arc<Mda>,
    auth: Auth,
    idle_timeout: Duration,
    write_timeout: Duration,
}

impl Service {
    pub fn new(mda: Arc<Mda>, auth: Auth, limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            mda,
            auth,
            idle_timeout: Duration::from_millis(limits.idle_timeout_ms),
            write_timeout: Duration::from_millis(limits.write_timeout_ms),
        })
    }

    /// One connection, until its end. Who is not on this machine, nor reached over TLS, is not answered: addresses
    /// and passwords are asked about here.
    pub async fn run<S>(
        self: Arc<Self>,
        kind: Kind,
        stream: S,
        peer: Peer,
        mut shutdown: watch::Receiver<bool>,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if !peer.private {
            tracing::warn!(ip = %peer.ip, ?kind, "only programs on this machine may ask; closed");
            return;
        }
        let talk = async {
            match kind {
                Kind::Tables => tables::talk(&self, stream).await,
                Kind::Passwords => passwords::talk(&self, stream, peer).await,
            }
        };
        tokio::select! {
            ended = talk => tracing::debug!(?kind, ?ended, "connection ended"),
            _ = shutdown.wait_for(|stop| *stop) => {}
        }
    }
}
