//! Which way a letter of the queue goes: into mailboxes here, or to other servers.

use crate::config::Config;
use anyhow::{Context, Result};
use mda::{Local, Mda};
use queue::{Answer, Attempt, Options, Outcome, Queue, Route, Transport, Trying};
use std::sync::Arc;
use types::{Address, Clock};

/// Its folder in that of the mail.
pub(crate) const FOLDER: &str = "queue";

/// Opens the queue; letters that wait in it are not touched before it is started.
pub(crate) fn open(config: &Config, domains: &[String], clock: Arc<dyn Clock>) -> Result<Queue> {
    let folder = config.data_folder.join(FOLDER);
    // Reports come from here. A name without domain is no address: then ours is as good.
    let of = |domain: &String| format!("postmaster@{domain}").parse::<Address>().ok();
    let postmaster = domains.iter().chain([&config.hostname]).find_map(of);
    let postmaster = postmaster.context("the host name is no name that an address can have")?;
    let options = Options::in_folder(&folder, &config.hostname, postmaster);
    Queue::open(options, clock).with_context(|| {
        format!("the queue of outgoing letters in {} cannot be opened", folder.display())
    })
}

/// Both ways in one.
pub(crate) struct Router {
    mda: Arc<Mda>,
    local: Local,
    /// `None`: nothing leaves this machine.
    relay: Option<Arc<dyn Transport>>,
}

impl Router {
    pub(crate) fn new(mda: Arc<Mda>, relay: Option<Arc<dyn Transport>>) -> Arc<Self> {
        Arc::new(Self { local: Local::new(mda.clone()), mda, relay })
    }
}

impl Transport for Router {
    fn route(&self, address: &Address) -> Route {
        match &self.relay {
            _ if self.mda.is_local(address) => self.local.route(address),
            Some(relay) => relay.route(address),
            None => Route(address.domain().into()),
        }
    }

    fn attempt(&self, attempt: Attempt) -> Trying<'_> {
        match &self.relay {
            _ if &*attempt.route.0 == Route::LOCAL => self.local.attempt(attempt),
            Some(relay) => relay.attempt(attempt),
            None => Box::pin(async move { vec![no_way(); attempt.recipients.len()] }),
        }
    }
}

fn no_way() -> Outcome {
    let text = "this server sends nothing to other servers".to_owned();
    let answer = Answer { code: 0, enhanced: "4.4.0".to_owned(), text, host: None, reports: false };
    Outcome::Later { answer, route_down: true }
}
