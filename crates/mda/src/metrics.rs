//! What is counted.

use crate::{Delivered, Refusal};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// What became of a letter for one recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    Inbox,
    Junk,
    Forwarded,
    Refused,
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    outcome: &'static str,
}

#[derive(Default)]
pub(crate) struct Metrics {
    deliveries: Family<Labels, Counter>,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Inbox => "inbox",
            Self::Junk => "junk",
            Self::Forwarded => "forwarded",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }

    pub(crate) fn of(answer: Result<Delivered, Refusal>) -> Self {
        match answer {
            Ok(Delivered::Inbox) => Self::Inbox,
            Ok(Delivered::Junk) => Self::Junk,
            Ok(Delivered::Forwarded) => Self::Forwarded,
            Err(Refusal::DiskFull | Refusal::MailboxFull | Refusal::Unavailable) => Self::Failed,
            Err(_) => Self::Refused,
        }
    }
}

impl Metrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("mda");
        registry.register(
            "deliveries",
            "Letters by recipient and what became of them",
            self.deliveries.clone(),
        );
    }

    pub(crate) fn count(&self, outcome: Outcome) {
        self.deliveries.get_or_create(&Labels { outcome: outcome.name() }).inc();
    }
}
