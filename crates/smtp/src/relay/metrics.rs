//! What is counted of connections to other servers.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Default)]
pub(super) struct Metrics {
    connections: Family<Outcome, Counter>,
    uncertain: Counter,
}

impl Metrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "connections",
            "Connections to other servers: clear, encrypted, verified, reused, failed",
            self.connections.clone(),
        );
        registry.register(
            "uncertain",
            "Letters sent whole without an answer; they are sent again and may arrive twice",
            self.uncertain.clone(),
        );
    }

    pub(super) fn connection(&self, outcome: &'static str) {
        self.connections.get_or_create(&Outcome { outcome }).inc();
    }

    pub(super) fn uncertain(&self) {
        self.uncertain.inc();
    }
}
