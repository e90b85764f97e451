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
//!     origin: None,
//!     body: queue::Body::EightBit,
//!     utf8: false,
//!     require_tls: false,
//!     may_refuse: true,
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
//! | `outgoing/` | [`Mda::submit`], the table [`OUTGOING`]: letters of our own users |
//! | `local` | [`Local`]: what the queue delivers letters here with |
//! | `resolve` | where an address leads: accounts, aliases, domains |
//! | `forward` | what leaves again |
//! | `refusal` | [`Refusal`]: why not, and who must act |
//! | `metrics` | counters |

mod envelope;
mod forward;
mod local;
mod metrics;
mod outgoing;
mod refusal;
mod resolve;
mod steps;

pub use antispam::{JUNK_STRING, TEST_STRING, Thresholds};
pub use envelope::{Envelope, Leads, Origin, Recipient, Share, Targets};
pub use local::Local;
pub use outgoing::{
    Leaving, Login, OUTGOING, Objection, Outgoing, OutgoingStep, Sent, Submission, TooMuch,
};
pub use refusal::Refusal;
pub use steps::{Passage, STEPS, Step};

use bytes::Bytes;
use filter::{Filter, Looked};
use metrics::{Metrics, Outcome};
use outgoing::Rates;
use prometheus_client::registry::Registry;
use queue::Queue;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use steps::verdict::Asked;
use storage::{Amount, Arrived, Into, Letter, Store, Target};
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
    /// `None`: the rules alone, and nobody is asked.
    pub filter: Option<Filter>,
    pub outgoing: Outgoing,
}

/// The way in, and for letters of our own users the way out. Shared by all listeners.
pub struct Mda {
    store: Store,
    hostname: String,
    domains: HashSet<String>,
    default_domain: String,
    filter: Filter,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    rates: Rates,
    outgoing: Outgoing,
    queue: OnceLock<Queue>,
    /// Given to copies that leave again.
    copies: AtomicU64,
}

/// Where a letter went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    Inbox,
    Junk,
    /// To no mailbox here: it is in the queue.
    Forwarded,
}

/// A letter on its way from the steps to storage and the queue.
struct Prepared {
    letter: Letter,
    into: Places,
    /// For each recipient that forwards it what stands before that copy.
    traces: HashMap<usize, Vec<u8>>,
    came_back: BTreeSet<usize>,
}

impl Mda {
    pub fn new(store: Store, config: Config, clock: Arc<dyn Clock>) -> Arc<Self> {
        let filter = config.filter.unwrap_or_else(|| {
            let thresholds = config.thresholds;
            let options = filter::Options { thresholds, ..filter::Options::default() };
            Filter::new(options, clock.clone())
        });
        Arc::new(Self {
            store,
            default_domain: config.domains.first().unwrap_or(&config.hostname).clone(),
            domains: config.domains.iter().map(|d| d.to_lowercase()).collect(),
            hostname: config.hostname,
            filter,
            rates: Rates::new(config.outgoing.letters_per_hour, config.outgoing.recipients_per_day),
            outgoing: config.outgoing,
            queue: OnceLock::new(),
            copies: AtomicU64::new(u64::try_from(clock.now_unix_ms()).unwrap_or(0)),
            clock,
            metrics: Metrics::default(),
        })
    }

    /// Letters for other servers, and those that are to wait, go in here. Said once, at the start: the queue's own way into
    /// mailboxes, [`Local`], needs this [`Mda`] first.
    pub fn with_queue(&self, queue: Queue) {
        let already = self.queue.set(queue).is_err();
        debug_assert!(!already, "one queue is enough");
    }

    /// `None`: letters cannot leave, and nobody writes reports.
    pub fn queue(&self) -> Option<&Queue> {
        self.queue.get()
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

    /// Where mail for an address goes, by account or alias; `user+tag` is `user`. `size_bytes` is what the sender says the letter has, 0 when
    /// it does not say (RFC 1870 §6.1).
    pub async fn recipient(
        &self,
        address: &Address,
        size_bytes: u64,
    ) -> Result<Recipient, Refusal> {
        let found = self.resolve(address).await?;
        let leads = found.leads;
        // Now, so that the letter need not come, and the others it is for get it once. Whether it really fits is seen
        // when it is here.
        let letter = Amount { size_bytes: size_bytes.max(1), messages: 1 };
        let mut full = 0;
        for account in &found.accounts {
            let has_room = self.store.has_room(account, letter).await;
            if !has_room.map_err(|error| Refusal::of_letter(&error))? {
                full += 1;
                // The sender has to wait for a mailbox that the queue could not wait for.
                if !self.waits_for(&leads, account.id) {
                    return Err(Refusal::MailboxFull);
                }
            }
        }
        if full > 0 && full == found.accounts.len() && leads.elsewhere().is_empty() {
            return Err(Refusal::MailboxFull);
        }
        if !leads.elsewhere().is_empty() && self.queue.get().is_none() {
            tracing::error!(alias = %address, "it leads to other servers, and there is no queue");
            return Err(Refusal::Unavailable);
        }
        Ok(Recipient { address: address.clone(), leads })
    }

    /// Whether the queue tries again for one mailbox of several when it is full.
    fn waits_for(&self, leads: &Leads, account: AccountId) -> bool {
        let Leads::Alias(targets) = leads else { return false };
        let mut shares = targets.here.iter();
        self.queue.get().is_some()
            && shares.any(|share| share.account == account && share.alone.is_some())
    }

    /// Takes one letter through the steps, stores it for all recipients in one commit, and puts into the queue what leaves
    /// again. One answer for each recipient, in their order.
    pub async fn deliver(
        self: &Arc<Self>,
        envelope: &Arc<Envelope>,
        raw: Bytes,
    ) -> Vec<Result<Delivered, Refusal>> {
        let envelope = &self.with_postmaster(envelope).await;
        let raw = self.without_our_name(envelope, raw);
        let answers = match self.prepare(envelope, raw.clone()).await {
            Ok(prepared) => self.hand_over(envelope, prepared, raw).await,
            Err(refusal) => envelope.all(Err(refusal)),
        };
        for answer in &answers {
            self.metrics.count(Outcome::of(*answer));
        }
        answers
    }

    /// What pretends to be our own results goes (RFC 8601 §5); a letter that was here already has real ones.
    fn without_our_name(&self, envelope: &Envelope, raw: Bytes) -> Bytes {
        if envelope.protocol.is_empty() {
            return raw;
        }
        antispam::without_results_of(&self.hostname, &raw).map_or(raw, Bytes::from)
    }

    async fn prepare(
        self: &Arc<Self>,
        envelope: &Arc<Envelope>,
        raw: Bytes,
    ) -> Result<Prepared, Refusal> {
        let asked = Asked::of(envelope);
        let looked = self.filter.look(&asked.connection(envelope), &raw).await;
        if raw.len() < LARGE_BYTES {
            return self.take_steps(envelope, &raw, looked);
        }
        let (mda, envelope) = (Arc::clone(self), Arc::clone(envelope));
        tokio::task::spawn_blocking(move || mda.take_steps(&envelope, &raw, looked))
            .await
            .unwrap_or(Err(Refusal::Unavailable))
    }

    /// Everything before storage: no waiting, no disk.
    fn take_steps(
        &self,
        envelope: &Envelope,
        raw: &[u8],
        looked: Looked,
    ) -> Result<Prepared, Refusal> {
        let mut passage = Passage {
            envelope,
            hostname: &self.hostname,
            filter: &self.filter,
            looked,
            now_unix_s: self.clock.now_unix_s(),
            message: mparser::Message::parse(raw),
            verdict: None,
            into: Delivered::Inbox,
            own: Vec::new(),
            came_back: BTreeSet::new(),
            trace: Vec::new(),
        };
        for step in STEPS {
            (step.run)(&mut passage).inspect_err(|refusal| {
                tracing::info!(id = envelope.id, step = step.name, %refusal, "letter refused");
            })?;
        }
        let recipients = envelope.recipients.iter().enumerate();
        let aliases = recipients.filter(|(_, to)| matches!(to.leads, Leads::Alias(_)));
        let traces =
            aliases.map(|(n, to)| (n, steps::trace::forwarded(&passage, &to.address))).collect();
        let into = Places { all: passage.into, own: std::mem::take(&mut passage.own) };
        let came_back = std::mem::take(&mut passage.came_back);
        let letter = Letter::with_trace(&passage.trace, raw, passage.message.into_index());
        Ok(Prepared { letter, into, traces, came_back })
    }

    /// First into the mailboxes, then into the queue: when the second fails, the sender tries again, and mailboxes here get
    /// the letter twice rather than people elsewhere; nobody misses it.
    async fn hand_over(
        &self,
        envelope: &Envelope,
        prepared: Prepared,
        raw: Bytes,
    ) -> Vec<Result<Delivered, Refusal>> {
        let Prepared { letter, into, traces, came_back } = prepared;
        let stored = self.store(envelope, letter, &into, &came_back).await;
        let mut answers = Vec::with_capacity(envelope.recipients.len());
        for (place, recipient) in envelope.recipients.iter().enumerate() {
            let answer = if came_back.contains(&place) {
                tracing::info!(id = envelope.id, alias = %recipient.address, "letter came back");
                Err(Refusal::Loop)
            } else {
                match stored.of(recipient) {
                    Ok(to) if to.is_empty() => Ok(into.of_recipient(recipient)),
                    // One after the other: each is a copy of the letter in memory.
                    Ok(to) => {
                        let trace = traces.get(&place).map(Vec::as_slice).unwrap_or_default();
                        let copy = [trace, &raw].concat();
                        let has_mailbox = recipient.leads.accounts().next().is_some();
                        let answer = if has_mailbox {
                            into.of_recipient(recipient)
                        } else {
                            Delivered::Forwarded
                        };
                        self.send_on(envelope, recipient, to, copy.into()).await.map(|()| answer)
                    }
                    Err(refusal) => Err(refusal),
                }
            };
            answers.push(answer);
        }
        answers
    }

    /// One frame for all accounts. An account named twice gets one copy.
    async fn store(
        &self,
        envelope: &Envelope,
        letter: Letter,
        into: &Places,
        came_back: &BTreeSet<usize>,
    ) -> Stored {
        let mut places: HashMap<AccountId, usize> = HashMap::new();
        let mut targets = Vec::with_capacity(envelope.recipients.len());
        let recipients = envelope.recipients.iter().enumerate();
        for (_, recipient) in recipients.filter(|(place, _)| !came_back.contains(place)) {
            for account in recipient.leads.accounts() {
                places.entry(account).or_insert_with(|| {
                    targets.push(target(account, into.of(account)));
                    targets.len() - 1
                });
            }
        }
        if targets.is_empty() {
            return Stored { places, outcomes: Ok(Vec::new()) };
        }
        let outcomes = self.store.deliver(letter, targets).await.map_err(|error| {
            tracing::error!(id = envelope.id, %error, "letter not stored");
            Refusal::of_letter(&error)
        });
        Stored { places, outcomes }
    }
}

/// Where a letter goes.
struct Places {
    all: Delivered,
    own: Vec<(AccountId, Delivered)>,
}

impl Places {
    fn of(&self, account: AccountId) -> Delivered {
        let own = self.own.iter().find(|(of, _)| *of == account);
        own.map_or(self.all, |(_, place)| *place)
    }

    fn of_recipient(&self, recipient: &Recipient) -> Delivered {
        match &recipient.leads {
            Leads::Account(account) => self.of(*account),
            Leads::Alias(_) => self.all,
        }
    }
}

/// What storage said, for each account it was asked for.
struct Stored {
    places: HashMap<AccountId, usize>,
    outcomes: Result<Vec<storage::Result<Arrived>>, Refusal>,
}

impl Stored {
    /// To whom the letter must still go for this recipient, by the queue.
    fn of(&self, recipient: &Recipient) -> Result<Vec<Address>, Refusal> {
        let targets = match &recipient.leads {
            Leads::Account(account) => return self.account(*account).map(|()| Vec::new()),
            Leads::Alias(targets) => targets,
        };
        let mut to = targets.elsewhere.clone();
        for share in &targets.here {
            match (self.account(share.account), &share.alone) {
                (Ok(()), _) => {}
                // The others have it: only this mailbox is tried again.
                (Err(_), Some(address)) if self.outcomes.is_ok() => to.push(address.clone()),
                (Err(refusal), _) => return Err(refusal),
            }
        }
        Ok(to)
    }

    fn account(&self, account: AccountId) -> Result<(), Refusal> {
        let outcomes = self.outcomes.as_ref().map_err(|refusal| *refusal)?;
        let place = self.places.get(&account).ok_or(Refusal::Unavailable)?;
        match outcomes.get(*place).ok_or(Refusal::Unavailable)? {
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::error!(%account, %error, "letter not stored");
                Err(Refusal::of_recipient(error))
            }
        }
    }
}

fn target(account: AccountId, into: Delivered) -> Target {
    let special_use = match into {
        Delivered::Inbox | Delivered::Forwarded => SpecialUse::Inbox,
        Delivered::Junk => SpecialUse::Junk,
    };
    Target { account, into: Into::Use(special_use), flags: Flags::default(), received_unix_s: None }
}
