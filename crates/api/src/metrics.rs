//! Counters for Prometheus.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};
use prometheus_client::registry::Registry;

/// Names come from our own tables, never from a client: the number of series is bounded.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    method: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics {
    requests: Family<Labels, Counter>,
    pub(crate) sessions: Gauge,
    pub(crate) listeners: Gauge,
}

impl Metrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "api_requests",
            "Calls of a method or route, and how they ended",
            self.requests.clone(),
        );
        registry.register("api_sessions", "Sessions in memory", self.sessions.clone());
        registry.register("api_listeners", "Open push connections", self.listeners.clone());
    }

    pub(crate) fn count(&self, method: &'static str, outcome: &'static str) {
        self.requests.get_or_create(&Labels { method, outcome }).inc();
    }
}
