//! What is counted, in the form Prometheus reads.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Verb {
    /// A name from the table of commands, or `unknown`: never what a stranger sent.
    pub(crate) verb: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Outcome {
    pub(crate) outcome: &'static str,
}

#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) commands: Family<Verb, Counter>,
    pub(crate) logins: Family<Outcome, Counter>,
    pub(crate) connections: Gauge,
    pub(crate) idle: Gauge,
    pub(crate) received_bytes: Counter,
    pub(crate) sent_bytes: Counter,
}

impl Metrics {
    pub(crate) fn register(&self, to: &mut Registry) {
        to.register("commands", "Commands answered", self.commands.clone());
        to.register("logins", "Attempts to log in", self.logins.clone());
        to.register("connections", "Connections open now", self.connections.clone());
        to.register("idle", "Connections in IDLE now", self.idle.clone());
        to.register_with_unit("received", "From clients", Unit::Bytes, self.received_bytes.clone());
        to.register_with_unit("sent", "To clients", Unit::Bytes, self.sent_bytes.clone());
    }

    pub(crate) fn login(&self, outcome: &'static str) {
        self.logins.get_or_create(&Outcome { outcome }).inc();
    }
}

/// Counts one while it lives.
#[derive(Debug)]
pub(crate) struct Counted(Gauge);

impl Counted {
    pub(crate) fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
