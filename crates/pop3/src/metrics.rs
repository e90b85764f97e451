//! What is counted.

use crate::Opening;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Default)]
pub(crate) struct Metrics {
    sessions: Counter,
    open: Gauge,
    pub(crate) logins: Counter,
    pub(crate) failed_logins: Counter,
    pub(crate) retrieved: Counter,
    pub(crate) deleted: Counter,
}

impl Metrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("sessions", "Sessions begun", self.sessions.clone());
        registry.register("sessions_open", "Sessions now", self.open.clone());
        registry.register("logins", "Logins that worked", self.logins.clone());
        registry.register("failed_logins", "Logins that did not work", self.failed_logins.clone());
        registry.register("retrieved", "Letters sent", self.retrieved.clone());
        registry.register("deleted", "Letters deleted", self.deleted.clone());
    }

    /// Counts a session as open until the guard goes; one that goes on after the handshake has begun before.
    pub(crate) fn session(&self, opening: Opening) -> Open {
        if opening != Opening::Encrypted {
            self.sessions.inc();
        }
        self.open.inc();
        Open(self.open.clone())
    }
}

pub(crate) struct Open(Gauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
