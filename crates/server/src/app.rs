//! The wiring: a store, a service for each protocol, a loop for each port. Starts them, stops them.

use crate::config::Config;
use crate::listeners::{Bound, LISTENERS, Protocol, Service};
use crate::metrics::{self, ListenerFigures, Process};
use anyhow::{Context, Result, ensure};
use prometheus_client::registry::Registry;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use storage::Store;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use types::{Clock, SystemClock};

/// So soon after a signal, another one is the same.
const ECHO: Duration = Duration::from_secs(1);

/// `openpoczta serve`: until a signal.
pub(crate) async fn serve(config: &Config, file: &Path) -> Result<()> {
    let signals = Signals::new()?;
    let mut bound = Vec::new();
    for row in LISTENERS {
        let fix = format!("change {} in {}", row.key, file.display());
        for address in config.listen.get(row.name).map(Vec::as_slice).unwrap_or_default() {
            bound.push(Bound::open(row, *address, &fix).await?);
        }
    }
    ensure!(!bound.is_empty(), "all listeners are off in {}: give one an address", file.display());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = Store::open(&config.storage_options(), clock.clone())?;
    let domains = domains(config, &store)?;
    if domains.is_empty() {
        tracing::warn!("there is no account yet: `openpoczta account add` makes one");
    }
    let app = App { config: config.clone(), store, domains, clock, behind_tls_proxy: true };
    let running = app.start(bound);
    crate::cli::print(&format!("ready {}\n", running.addresses()))?;
    tracing::info!(listeners = running.addresses(), "ready");
    running.until(signals).await;
    Ok(())
}

/// The domains of the configuration; without them those of the accounts.
fn domains(config: &Config, store: &Store) -> Result<Vec<String>> {
    if !config.domains.is_empty() {
        return Ok(config.domains.clone());
    }
    let index = store.index();
    let accounts = index.read()?.accounts()?;
    let domain = |key: &str| key.rsplit_once('@').map(|(_, domain)| domain.to_owned());
    let found: BTreeSet<String> = accounts.iter().filter_map(|row| domain(&row.key)).collect();
    Ok(found.into_iter().collect())
}

/// All that is needed to start.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) domains: Vec<String>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Browsers reach us over HTTPS, and by our host name.
    pub(crate) behind_tls_proxy: bool,
}

/// One service for each protocol.
struct Services {
    smtp: Arc<smtp::Service>,
    lmtp: Arc<smtp::Service>,
    submission: Arc<smtp::Service>,
    imap: Arc<imap::Service>,
    pop3: Arc<pop3::Service>,
    api: Arc<api::Service>,
    router: axum::Router,
}

impl App {
    /// Begins to accept on every port.
    pub(crate) fn start(self, bound: Vec<Bound>) -> Running {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Process {
            data_folder: self.config.data_folder.clone(),
            started_unix_s: self.clock.now_unix_s(),
        }));
        let figures = ListenerFigures::default();
        figures.register(registry.sub_registry_with_prefix("openpoczta"));
        let services = self.services(registry);
        let (shutdown, stopping) = watch::channel(false);
        let mut loops = JoinSet::new();
        let mut addresses = Vec::new();
        let limit = self.config.limits.connections as usize;
        for bound in bound {
            let row = bound.row;
            addresses.push((row.protocol, row.name, bound.address));
            let service = services.of(row.protocol);
            loops.spawn(bound.serve(service, limit, figures.of(row.name), stopping.clone()));
        }
        Running { store: self.store, api: services.api, shutdown, loops, addresses }
    }

    fn services(&self, mut registry: Registry) -> Services {
        let Config { hostname, limits, .. } = &self.config;
        let (store, clock) = (&self.store, &self.clock);
        let default_domain = self.domains.first().cloned();
        let auth = auth::Auth::new(store.index(), clock.clone());
        let mda_config = mda::Config {
            hostname: hostname.clone(),
            domains: self.domains.clone(),
            thresholds: self.config.thresholds(),
        };
        let mda = mda::Mda::new(store.clone(), mda_config, clock.clone());
        let smtp = |kind| {
            let config = smtp::Config { hostname: hostname.clone(), limits: *limits };
            smtp::Service::new(kind, mda.clone(), auth.clone(), config, clock.clone())
        };
        let imap_config = imap::Config {
            hostname: hostname.clone(),
            default_domain: default_domain.clone(),
            limits: *limits,
        };
        let pop3_config = pop3::Config {
            hostname: hostname.clone(),
            default_domain: default_domain.clone(),
            limits: *limits,
        };
        let api_config = api::Config {
            hostname: hostname.clone(),
            limits: *limits,
            cookie_secure: self.behind_tls_proxy,
            default_domain: default_domain.clone(),
            loopback_only: !self.behind_tls_proxy,
        };
        let api = api::Service::new(store.clone(), auth.clone(), api_config, clock.clone());
        let imap = imap::Service::new(store.clone(), auth.clone(), imap_config, clock.clone());
        let pop3 = pop3::Service::new(store.clone(), auth.clone(), pop3_config, clock.clone());
        let [smtp, lmtp, submission] =
            [smtp::Kind::Smtp, smtp::Kind::Lmtp, smtp::Kind::Submission].map(smtp);
        let ours = registry.sub_registry_with_prefix("openpoczta");
        store.register(ours);
        mda.register(ours);
        smtp.register(ours);
        lmtp.register(ours);
        submission.register(ours);
        imap.register(ours);
        pop3.register(ours);
        api.register(ours);
        let router = api.router(metrics::router(registry, store.clone()));
        Services { smtp, lmtp, submission, imap, pop3, api, router }
    }
}

impl Services {
    fn of(&self, protocol: Protocol) -> Service {
        match protocol {
            Protocol::Smtp => Service::Smtp(self.smtp.clone()),
            Protocol::Lmtp => Service::Smtp(self.lmtp.clone()),
            Protocol::Submission => Service::Smtp(self.submission.clone()),
            Protocol::Imap => Service::Imap(self.imap.clone()),
            Protocol::Pop3 => Service::Pop3(self.pop3.clone()),
            Protocol::Http => Service::Http(self.router.clone()),
        }
    }
}

/// A server that accepts on all its ports.
pub(crate) struct Running {
    store: Store,
    api: Arc<api::Service>,
    shutdown: watch::Sender<bool>,
    loops: JoinSet<()>,
    addresses: Vec<(Protocol, &'static str, std::net::SocketAddr)>,
}

impl Running {
    /// `smtp=127.0.0.1:1125 … http=http://127.0.0.1:8080/`
    pub(crate) fn addresses(&self) -> String {
        let one =
            |(protocol, name, address): &(Protocol, &str, std::net::SocketAddr)| match protocol {
                Protocol::Http => format!("{name}=http://{address}/"),
                _ => format!("{name}={address}"),
            };
        self.addresses.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn address(&self, wanted: Protocol) -> Option<std::net::SocketAddr> {
        let found = self.addresses.iter().find(|(protocol, ..)| *protocol == wanted);
        found.map(|(.., address)| *address)
    }

    /// Serves until SIGTERM or SIGINT; then stops accepting, lets sessions say goodbye, closes the store.
    /// A second signal cuts the goodbyes short.
    pub(crate) async fn until(self, mut signals: Signals) {
        signals.next().await;
        tracing::info!("stopping");
        tokio::select! {
            () = self.stop() => {}
            () = signals.again() => tracing::warn!("stopped at once, as asked twice"),
        }
    }

    /// Nothing acknowledged is lost either way: the store writes before it answers.
    pub(crate) async fn stop(mut self) {
        self.shutdown.send_replace(true);
        self.api.stop();
        while self.loops.join_next().await.is_some() {}
        self.store.close().await;
    }
}

/// SIGTERM and SIGINT, from now on.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(crate) fn new() -> Result<Self> {
        let listen = |kind| signal(kind).context("signals cannot be listened to");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// A second signal that somebody meant: shells and supervisors often send the first one twice.
    async fn again(&mut self) {
        let echoes = async {
            loop {
                self.next().await;
            }
        };
        let _: Result<(), _> = tokio::time::timeout(ECHO, echoes).await;
        self.next().await;
    }

    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
