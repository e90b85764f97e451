//! What is counted.

use crate::queue::{Shared, lock};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::{Arc, Weak};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    outcome: &'static str,
}

#[derive(Debug, Default)]
pub(crate) struct Metrics {
    letters: Counter,
    letter_bytes: Counter,
    recipients: Family<Labels, Counter>,
    reports: Counter,
    reports_dropped: Counter,
    cancelled: Counter,
    maybe_twice: Counter,
}

impl Metrics {
    pub(crate) fn register(&self, registry: &mut Registry, shared: &Arc<Shared>) {
        let registry = registry.sub_registry_with_prefix("queue");
        registry.register("letters", "Letters taken", self.letters.clone());
        registry.register("letter_bytes", "Their bytes", self.letter_bytes.clone());
        let about = "Attempts for a recipient, by what became of them";
        registry.register("attempts", about, self.recipients.clone());
        registry.register("reports", "Reports to senders", self.reports.clone());
        let about = "Reports that nobody could be sent: the letter had no sender";
        registry.register("reports_dropped", about, self.reports_dropped.clone());
        registry.register("cancelled", "Letters taken back", self.cancelled.clone());
        let about =
            "Letters that were being sent when the server ended, and may have arrived twice";
        registry.register("maybe_twice", about, self.maybe_twice.clone());
        registry.register_collector(Box::new(Now(Arc::downgrade(shared))));
    }

    pub(crate) fn taken(&self, size_bytes: usize) {
        self.letters.inc();
        self.letter_bytes.inc_by(size_bytes as u64);
    }

    pub(crate) fn outcome(&self, outcome: &'static str) {
        self.recipients.get_or_create(&Labels { outcome }).inc();
    }

    pub(crate) fn report(&self) {
        self.reports.inc();
    }

    pub(crate) fn report_dropped(&self) {
        self.reports_dropped.inc();
    }

    pub(crate) fn cancelled(&self) {
        self.cancelled.inc();
    }

    pub(crate) fn maybe_twice(&self) {
        self.maybe_twice.inc();
    }
}

/// Read when somebody asks.
struct Now(Weak<Shared>);

impl fmt::Debug for Now {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Now")
    }
}

impl Collector for Now {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(shared) = self.0.upgrade() else { return Ok(()) };
        let (waiting, routes, running) = {
            let state = lock(&shared.state);
            (state.len(), state.routes(), state.running())
        };
        let gauges = [
            ("waiting", "Letters that wait", waiting),
            ("routes", "Ways out that somebody waits for", routes),
            ("sending", "Attempts under way", running),
        ];
        for (name, about, value) in gauges {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            let metric = encoder.encode_descriptor(name, about, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        Ok(())
    }
}
