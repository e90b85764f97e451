//! What is counted for each kind of listener.

use crate::Opening;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What became of a letter at the end of its data. With several recipients, the best of their outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// For good.
    Refused,
    /// For now.
    Failed,
    Junk,
    Accepted,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    outcome: &'static str,
}

#[derive(Default)]
pub(crate) struct Metrics {
    sessions: Counter,
    open: Gauge,
    letters: Family<Labels, Counter>,
    letter_bytes: Counter,
    refused_recipients: Counter,
    turned_away: Counter,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Junk => "junk",
            Self::Accepted => "accepted",
        }
    }
}

impl Metrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("sessions", "Sessions begun", self.sessions.clone());
        registry.register("sessions_open", "Sessions now", self.open.clone());
        registry.register("letters", "Letters by what became of them", self.letters.clone());
        registry.register("letter_bytes", "Bytes of letters read", self.letter_bytes.clone());
        registry.register(
            "refused_recipients",
            "Recipients refused before the data",
            self.refused_recipients.clone(),
        );
        registry.register(
            "sessions_turned_away",
            "Strangers over a limit, or who spoke before the greeting",
            self.turned_away.clone(),
        );
    }

    /// Counts a session as open until the guard goes; one that goes on after the handshake has begun before.
    pub(crate) fn session(&self, opening: Opening) -> Open {
        if opening != Opening::Encrypted {
            self.sessions.inc();
        }
        self.open.inc();
        Open(self.open.clone())
    }

    pub(crate) fn letter(&self, outcome: Outcome, size_bytes: u64) {
        self.letters.get_or_create(&Labels { outcome: outcome.name() }).inc();
        self.letter_bytes.inc_by(size_bytes);
    }

    pub(crate) fn turned_away(&self) {
        self.turned_away.inc();
    }

    pub(crate) fn refused_recipient(&self) {
        self.refused_recipients.inc();
    }
}

pub(crate) struct Open(Gauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
