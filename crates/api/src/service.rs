//! The service: what it is given, and the router `server` serves.

use crate::http::{self, Listeners};
use crate::metrics::Metrics;
use crate::sessions::Sessions;
use prometheus_client::registry::Registry;
use std::sync::Arc;
use tokio::sync::watch;
use types::{Clock, Limits};

/// What the operator decides.
#[derive(Debug, Clone)]
pub struct Config {
    /// The name people reach us by.
    pub hostname: String,
    pub limits: Limits,
    /// Cookies only travel over HTTPS. `false` on a loopback demo, and then passwords are taken from
    /// loopback peers only.
    pub cookie_secure: bool,
    /// Completes a user name without `@`.
    pub default_domain: Option<String>,
    /// Requests must name this machine or `hostname` in `Host`: a page of a stranger that points its own
    /// name at 127.0.0.1 gets nothing (DNS rebinding).
    pub loopback_only: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hostname: "localhost".to_owned(),
            limits: Limits::default(),
            cookie_secure: true,
            default_domain: None,
            loopback_only: false,
        }
    }
}

/// Everything requests share.
pub struct Service {
    pub(crate) store: storage::Store,
    pub(crate) auth: auth::Auth,
    pub(crate) config: Config,
    pub(crate) sessions: Sessions,
    pub(crate) metrics: Metrics,
    pub(crate) listeners: Listeners,
    pub(crate) stop: watch::Sender<bool>,
}

impl Service {
    pub fn new(
        store: storage::Store,
        auth: auth::Auth,
        config: Config,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        Arc::new(Self {
            store,
            auth,
            config,
            sessions: Sessions::new(clock),
            metrics: Metrics::default(),
            listeners: Listeners::default(),
            stop: watch::channel(false).0,
        })
    }

    pub fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }

    /// All HTTP of the platform; `extra` brings what is not ours (`/metrics`, `/healthz`) under the same guards.
    /// The peer's address comes from `axum::extract::ConnectInfo<SocketAddr>`.
    pub fn router(self: &Arc<Self>, extra: axum::Router) -> axum::Router {
        http::router(self, extra)
    }

    /// Ends the push connections, which would keep a graceful shutdown waiting for ever.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }
}
