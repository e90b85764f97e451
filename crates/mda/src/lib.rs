//! One message in: checks, verdict, trace, storage. Knows nothing about the SMTP dialogue.
//!
//! [`Mda::recipient`] says who can have mail here, [`Mda::deliver`] hands one letter to all of them at once and
//! answers for each, after the commit: what it says `Ok` to survives a power cut. What happens to a letter on
//! the way stands in [`STEPS`].
//!
//! ```no_run
//! # async fn tour(store: storage::Store) -> Result<(), mda::Refusal> {
//! use std::sync::Arc;
//! let config = mda::Config { hostname: "mx.example.test".into(), domains: vec!["example.test".into()], ..Default::default() };
//! let mda = mda::Mda::new(store, config, Arc::new(types::SystemClock));
//! let alice = mda.recipient(&"alice+lists@example.test".parse().unwrap(), 0).await?;
//! let envelope = Arc::new(mda::Envelope {
//!     sender: None,
//!     recipients: vec![alice],
//!     client_ip: std::net::Ipv4Addr::LOCALHOST.into(),
//!     helo: "client.example.test".into(),
//!     protocol: "LMTP",
//!     id: "1".into(),
//! });
//! for answer in mda.deliver(&envelope, "Subject: hello\r\n\r\n".into()).await { answer?; }
//! # Ok(()) }
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `lib` | [`Mda`]: recipients, and the way of a letter |
//! | `envelope` | [`Envelope`], [`Recipient`]: what the dialogue found out |
//! | `steps/` | the table [`STEPS`], one file for each step |
//! | `refusal` | [`Refusal`]: why not, and who must act |
//! | `metrics` | counters |

mod envelope;
mod metrics;
mod refusal;
mod steps;

pub use antispam::{JUNK_STRING, TEST_STRING, Thresholds};
pub use envelope::{Envelope, Recipient};
pub use refusal::Refusal;
pub use steps::{Passage, STEPS, Step};

use bytes::Bytes;
use metrics::{Metrics, Outcome};
use prometheus_client::registry::Registry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use storage::{Amount, Into, Letter, Store, Target};
use types::{AccountId, Address, Clock, Flags, SpecialUse};

/// Letters from here on are looked at by a thread that may take its time; smaller ones take microseconds.
const LARGE_BYTES: usize = 256 * 1024;

#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Our name in `Received`.
    pub hostname: String,
    /// The domains that live here. Mail for others is not taken. The first one is meant where none is given.
    pub domains: Vec<String>,
    pub thresholds: Thresholds,
}

/// The way in. Shared by all listeners.
pub struct Mda {
    store: Store,
    hostname: String,
    domains: HashSet<String>,
    default_domain: String,
    thresholds: Thresholds,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
}

/// Where a letter went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    Inbox,
    Junk,
}

impl Mda {
    pub fn new(store: Store, config: Config, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            store,
            default_domain: config.domains.first().unwrap_or(&config.hostname).clone(),
            domains: config.domains.iter().map(|d| d.to_lowercase()).collect(),
            hostname: config.hostname,
            thresholds: config.thresholds,
            clock,
            metrics: Metrics::default(),
        })
    }

    /// Adds the counters, under `mda_`.
    pub fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }

    /// A name without `@` is one of the first domain: `postmaster` (RFC 5321 §4.5.1), short login names.
    pub fn full_address(&self, name: &str) -> String {
        if name.contains('@') {
            return name.to_owned();
        }
        format!("{name}@{}", self.default_domain)
    }

    /// The account an address belongs to; `user+tag` is `user`. `size_bytes` is what the sender says the letter has, 0 when
    /// it does not say (RFC 1870 §6.1).
    pub async fn recipient(
        &self,
        address: &Address,
        size_bytes: u64,
    ) -> Result<Recipient, Refusal> {
        if !self.domains.contains(address.domain()) {
            return Err(Refusal::OtherDomain);
        }
        let refusal = |error: storage::Error| Refusal::of_letter(&error);
        let found = self.store.account_by_key(&address.account_key()).await.map_err(refusal)?;
        let account = found.ok_or(Refusal::UnknownUser)?;
        // Now, so that the letter need not come, and the others it is for get it once. Whether it really fits is seen
        // when it is here.
        let letter = Amount { size_bytes: size_bytes.max(1), messages: 1 };
        if !self.store.has_room(&account, letter).await.map_err(refusal)? {
            return Err(Refusal::MailboxFull);
        }
        Ok(Recipient { address: address.clone(), account: account.id })
    }

    /// Takes one letter through the steps and stores it for all recipients in one commit. One answer for each
    /// recipient, in their order.
    pub async fn deliver(
        self: &Arc<Self>,
        envelope: &Arc<Envelope>,
        raw: Bytes,
    ) -> Vec<Result<Delivered, Refusal>> {
        let answers = match self.prepare(envelope, raw).await {
            Ok((letter, into)) => self.store(envelope, letter, into).await,
            Err(refusal) => envelope.all(Err(refusal)),
        };
        for answer in &answers {
            self.metrics.count(Outcome::of(*answer));
        }
        answers
    }

    async fn prepare(
        self: &Arc<Self>,
        envelope: &Arc<Envelope>,
        raw: Bytes,
    ) -> Result<(Letter, Delivered), Refusal> {
        if raw.len() < LARGE_BYTES {
            return self.take_steps(envelope, &raw);
        }
        let (mda, envelope) = (Arc::clone(self), Arc::clone(envelope));
        tokio::task::spawn_blocking(move || mda.take_steps(&envelope, &raw))
            .await
            .unwrap_or(Err(Refusal::Unavailable))
    }

    /// Everything before storage: no waiting, no disk.
    fn take_steps(&self, envelope: &Envelope, raw: &[u8]) -> Result<(Letter, Delivered), Refusal> {
        let mut passage = Passage {
            envelope,
            hostname: &self.hostname,
            thresholds: &self.thresholds,
            now_unix_s: self.clock.now_unix_s(),
            message: mparser::Message::parse(raw),
            verdict: None,
            into: Delivered::Inbox,
            trace: Vec::new(),
        };
        for step in STEPS {
            (step.run)(&mut passage).inspect_err(|refusal| {
                tracing::info!(id = envelope.id, step = step.name, %refusal, "letter refused");
            })?;
        }
        let into = passage.into;
        let letter = Letter::with_trace(&passage.trace, raw, passage.message.into_index());
        Ok((letter, into))
    }

    /// One frame for all accounts. An account named twice gets one copy and answers for both.
    async fn store(
        &self,
        envelope: &Envelope,
        letter: Letter,
        into: Delivered,
    ) -> Vec<Result<Delivered, Refusal>> {
        let mut places: HashMap<AccountId, usize> = HashMap::new();
        let mut targets = Vec::with_capacity(envelope.recipients.len());
        for recipient in &envelope.recipients {
            places.entry(recipient.account).or_insert_with(|| {
                targets.push(target(recipient.account, into));
                targets.len() - 1
            });
        }
        let stored = match self.store.deliver(letter, targets).await {
            Ok(stored) => stored,
            Err(error) => {
                tracing::error!(id = envelope.id, %error, "letter not stored");
                return envelope.all(Err(Refusal::of_letter(&error)));
            }
        };
        let answer = |recipient: &Recipient| match stored.get(*places.get(&recipient.account)?)? {
            Ok(_) => Some(Ok(into)),
            Err(error) => {
                tracing::error!(id = envelope.id, account = %recipient.account, %error, "letter not stored");
                Some(Err(Refusal::of_recipient(error)))
            }
        };
        envelope
            .recipients
            .iter()
            .map(|recipient| answer(recipient).unwrap_or(Err(Refusal::Unavailable)))
            .collect()
    }
}

fn target(account: AccountId, into: Delivered) -> Target {
    let special_use = match into {
        Delivered::Inbox => SpecialUse::Inbox,
        Delivered::Junk => SpecialUse::Junk,
    };
    Target { account, into: Into::Use(special_use), flags: Flags::default(), received_unix_s: None }
}
