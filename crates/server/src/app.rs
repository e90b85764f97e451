//! The wiring: a store, a service for each protocol, a loop for each port. Starts them, stops them.

use crate::config::Config;
use crate::dkim;
use crate::dns::Dns;
use crate::listeners::{Answers, Bound, Encryption, LISTENERS, ListenerRow, Protocol, Service};
use crate::metrics::{self, ListenerFigures, Process};
use crate::out;
use crate::place::Place;
use crate::router::{self, Router};
use crate::rules;
use crate::tls::Tls;
use ::filter::Filter;
use antispam::dkim::Signer;
use anyhow::{Context, Result, ensure};
use prometheus_client::registry::Registry;
use queue::{Queue, Transport};
use smtp::relay::Relay;
use std::collections::BTreeSet;
use std::net::SocketAddr;
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
    // Asked to read again, a server without certificates must not end.
    let hangup = || signal(SignalKind::hangup()).context("signals cannot be listened to");
    let (hangup, hangup_of_rules) = (hangup()?, hangup()?);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (tls, warnings) = Tls::open(config, file, clock.clone())?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let signer = Arc::new(dkim::signer(config, file)?);
    let relay = out::open(config, file)?;
    let mut bound = Vec::new();
    for row in LISTENERS {
        let fix = format!("change {} in {}", row.key, file.display());
        for place in config.listen.get(row.name).map(Vec::as_slice).unwrap_or_default() {
            bound.push(Bound::open(row, place, config.socket_mode, &fix).await?);
        }
    }
    ensure!(!bound.is_empty(), "all listeners are off in {}: give one an address", file.display());
    let store = Store::open(&config.storage_options(), clock.clone())?;
    let domains = domains(config, &store)?;
    if domains.is_empty() {
        tracing::warn!("there is no account yet: `openpoczta account add` makes one");
    }
    let queue = Some(router::open(config, &domains, clock.clone())?);
    let filter = filter(config, &store, clock.clone()).await?;
    let app = App {
        config: config.clone(),
        store,
        filter,
        queue,
        relay,
        domains,
        clock,
        browsers_use_tls: true,
        tls: tls.clone(),
        signer,
    };
    let filter = app.filter.clone();
    let mut running = app.start(bound);
    let stopping = running.shutdown.subscribe();
    running.loops.spawn(rules::watch(config.clone(), filter, hangup_of_rules, stopping));
    if let Some(tls) = tls {
        let stopping = running.shutdown.subscribe();
        running.loops.spawn(tls.watch(hangup, stopping));
    }
    crate::cli::print(&format!("ready {}\n", running.addresses()))?;
    tracing::info!(listeners = running.addresses(), "ready");
    running.until(signals).await;
    Ok(())
}

/// The domains of the configuration; without them those of the accounts and aliases.
fn domains(config: &Config, store: &Store) -> Result<Vec<String>> {
    if !config.domains.is_empty() {
        return Ok(config.domains.clone());
    }
    let index = store.index();
    let read = index.read()?;
    let (accounts, aliases) = (read.accounts()?, read.aliases()?);
    let keys = accounts.iter().map(|row| &row.key).chain(aliases.iter().map(|row| &row.key));
    let domain = |key: &String| key.rsplit_once('@').map(|(_, domain)| domain.to_owned());
    let found: BTreeSet<String> = keys.filter_map(domain).collect();
    Ok(found.into_iter().collect())
}

/// Of the filter, in that of the mail: verdicts that were given, and the socket of `openpoczta spam`.
pub(crate) const SPAM_FOLDER: &str = "spam";

/// The spam filter, with what it has learned.
pub(crate) async fn filter(
    config: &Config,
    store: &Store,
    clock: Arc<dyn Clock>,
) -> Result<Filter> {
    let options = ::filter::Options {
        hostname: config.hostname.clone(),
        thresholds: config.thresholds(),
        history: Some(config.data_folder.join(SPAM_FOLDER)),
        senders: config.check_senders.then(|| senders(config)),
        scanners: config.scanners(),
        greylisting: config.greylisting(),
        fields: config.spam_fields.clone(),
    };
    let filter = Filter::on(store.clone(), options, clock);
    filter.set_local_rules(rules::load(config)?);
    filter.restore().await?;
    Ok(filter)
}

fn senders(config: &Config) -> ::filter::Senders {
    ::filter::Senders {
        resolver: Arc::new(Dns::new(&config.relay.dns_servers)),
        lists: config.spam_lists.clone(),
        trusted_sealers: config.trusted_sealers.clone(),
        deadline: ::filter::DEADLINE,
    }
}

/// All that is needed to start.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) filter: Filter,
    /// `None`: mail for other servers is not taken.
    pub(crate) queue: Option<Queue>,
    /// The way to other servers; `None`: nothing leaves this machine.
    pub(crate) relay: Option<Arc<Relay>>,
    pub(crate) domains: Vec<String>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Browsers reach us over HTTPS, ours or that of a proxy, and by our host name.
    pub(crate) browsers_use_tls: bool,
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) signer: Arc<Signer>,
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
    front: Arc<front::Service>,
    verdicts: axum::Router,
    milter: Arc<front::Milter>,
    mda: Arc<mda::Mda>,
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
        if let Some(tls) = &self.tls {
            tls.register(&mut registry);
        }
        let services = self.services(registry);
        let (shutdown, stopping) = watch::channel(false);
        let mut loops = JoinSet::new();
        let mut addresses = Vec::new();
        let limit = self.config.limits.connections as usize;
        let proxies: Arc<[smtp::Network]> = self.config.proxies.clone().into();
        for bound in bound {
            let row = bound.row;
            addresses.push((row, bound.place.clone()));
            let answers = Answers {
                service: services.of(row.protocol),
                tls: self.tls.clone(),
                proxies: proxies.clone(),
            };
            loops.spawn(bound.serve(answers, limit, figures.of(row.name), stopping.clone()));
        }
        if let Some(clicks) = self.store.clicks() {
            loops.spawn(self.filter.clone().run(clicks, stopping.clone()));
            let folder = self.config.data_folder.join(SPAM_FOLDER);
            loops.spawn(self.filter.clone().serve_control(folder, stopping.clone()));
        }
        if let Some(queue) = &self.queue {
            // Without it letters are sent all the same; only `openpoczta queue` finds nobody to ask.
            match queue.serve_control(stopping.clone()) {
                Ok(serving) => drop(loops.spawn(async move { drop(serving.await) })),
                Err(error) => tracing::warn!(%error, "`openpoczta queue` cannot ask this server"),
            }
            let relay = self.relay.map(|relay| relay as Arc<dyn Transport>);
            let sending = queue.start(Router::new(services.mda, relay), stopping);
            loops.spawn(async move { drop(sending.await) });
        }
        let (store, queue) = (self.store, self.queue);
        Running { store, queue, api: services.api, shutdown, loops, addresses }
    }

    fn mda(&self) -> Arc<mda::Mda> {
        let config = mda::Config {
            hostname: self.config.hostname.clone(),
            domains: self.domains.clone(),
            thresholds: self.config.thresholds(),
            filter: Some(self.filter.clone()),
            outgoing: self.config.outgoing(self.signer.clone()),
        };
        let mda = mda::Mda::new(self.store.clone(), config, self.clock.clone());
        if let Some(queue) = &self.queue {
            mda.with_queue(queue.clone());
        }
        mda
    }

    fn services(&self, mut registry: Registry) -> Services {
        let Config { hostname, limits, .. } = &self.config;
        let (store, clock) = (&self.store, &self.clock);
        let default_domain = self.domains.first().cloned();
        let issuer = self.config.token_issuer();
        let auth = auth::Auth::with(store.index(), clock.clone(), issuer);
        let mda = self.mda();
        let smtp = |kind| {
            let config = smtp::Config {
                hostname: hostname.clone(),
                limits: *limits,
                fronts: self.config.fronts.clone(),
                xclient_from: self.config.xclient_from.clone(),
                guard: self.config.guard.clone(),
                has_queue: mda.has_queue(),
            };
            smtp::Service::new(kind, mda.clone(), auth.clone(), config, clock.clone())
        };
        let imap_config = imap::Config {
            hostname: hostname.clone(),
            default_domain: default_domain.clone(),
            limits: *limits,
            jmap_session_url: self.config.jmap_session_url.clone(),
        };
        let pop3_config = pop3::Config {
            hostname: hostname.clone(),
            default_domain: default_domain.clone(),
            limits: *limits,
        };
        let api_config = api::Config {
            hostname: hostname.clone(),
            limits: *limits,
            cookie_secure: self.browsers_use_tls,
            default_domain: default_domain.clone(),
            loopback_only: !self.browsers_use_tls,
        };
        let api = api::Service::new(store.clone(), auth.clone(), api_config, clock.clone());
        let imap = imap::Service::new(store.clone(), auth.clone(), imap_config, clock.clone());
        let pop3 = pop3::Service::new(store.clone(), auth.clone(), pop3_config, clock.clone());
        let [smtp, lmtp, submission] =
            [smtp::Kind::Smtp, smtp::Kind::Lmtp, smtp::Kind::Submission].map(smtp);
        let ours = registry.sub_registry_with_prefix("openpoczta");
        store.register(ours);
        if let Some(queue) = &self.queue {
            queue.register(ours);
        }
        if let Some(relay) = &self.relay {
            relay.register(ours);
        }
        mda.register(ours);
        self.filter.register(ours);
        smtp.register(ours);
        lmtp.register(ours);
        submission.register(ours);
        imap.register(ours);
        pop3.register(ours);
        api.register(ours);
        let router = api.router(metrics::router(registry, store.clone()));
        let front = front::Service::new(mda.clone(), auth, *limits);
        let verdicts = front::rspamd(self.filter.clone(), limits.message_bytes as usize);
        let milter = front::Milter::new(self.filter.clone(), *limits);
        Services { smtp, lmtp, submission, imap, pop3, api, router, front, verdicts, milter, mda }
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
            Protocol::Tables => Service::Front(front::Kind::Tables, self.front.clone()),
            Protocol::Passwords => Service::Front(front::Kind::Passwords, self.front.clone()),
            Protocol::Verdicts => Service::Http(self.verdicts.clone()),
            Protocol::Milter => Service::Milter(self.milter.clone()),
        }
    }
}

/// A server that accepts on all its ports.
pub(crate) struct Running {
    store: Store,
    queue: Option<Queue>,
    api: Arc<api::Service>,
    shutdown: watch::Sender<bool>,
    loops: JoinSet<()>,
    addresses: Vec<(&'static ListenerRow, Place)>,
}

impl Running {
    /// `smtp=127.0.0.1:1125 … http=http://127.0.0.1:8080/`
    pub(crate) fn addresses(&self) -> String {
        let one = |(row, address): &(&ListenerRow, Place)| match row.protocol {
            Protocol::Http => format!("{0}={0}://{address}/", row.name),
            _ => format!("{}={address}", row.name),
        };
        self.addresses.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    /// Where this protocol is spoken in clear.
    pub(crate) fn address(&self, wanted: Protocol) -> Option<SocketAddr> {
        let is_it =
            |row: &ListenerRow| row.protocol == wanted && row.encryption != Encryption::Implicit;
        let mut here = self.addresses.iter().filter(|(row, _)| is_it(row));
        here.find_map(|(_, place)| place.tcp())
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
        if let Some(queue) = self.queue {
            queue.close().await;
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listeners::Visitor;
    use crate::tls::tests::{NAME, certificate, client, name, open};
    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    type Lines = &'static [(&'static str, &'static str)];

    async fn app(folder: &Path, tls: Arc<Tls>) -> App {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let config = Config {
            hostname: NAME.to_owned(),
            data_folder: folder.join("mail"),
            index: "memory:".to_owned(),
            ..Config::default()
        };
        let store = Store::open(&config.storage_options(), clock.clone()).unwrap();
        let secret: Arc<str> = auth::hash_password(b"secret").unwrap().into();
        store.put_account("alice@example.test", &secret).await.unwrap();
        let domains = vec!["example.test".to_owned()];
        let filter = filter(&config, &store, clock.clone()).await.unwrap();
        let signer = Arc::default();
        let (queue, tls) = (None, Some(tls));
        App {
            config,
            store,
            filter,
            queue,
            relay: None,
            domains,
            clock,
            browsers_use_tls: true,
            tls,
            signer,
        }
    }

    /// Says each line, and reads until the answer holds what is expected; gives back all that was heard.
    async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
        stream: &mut S,
        lines: &[(&str, &str)],
    ) -> String {
        let mut heard = String::new();
        for (say, expect) in lines {
            stream.write_all(say.as_bytes()).await.unwrap();
            let start = heard.len();
            while !heard.get(start..).unwrap().contains(expect) {
                let mut more = [0; 4096];
                let count = stream.read(&mut more).await.unwrap();
                assert_ne!(count, 0, "{expect} did not come: {heard}");
                heard.push_str(std::str::from_utf8(&more[..count]).unwrap());
            }
        }
        heard
    }

    #[tokio::test]
    async fn a_password_from_far_away_is_taken_only_inside_tls() {
        let folder = tempfile::tempdir().unwrap();
        let pair = certificate(folder.path());
        let app = app(folder.path(), open(pair.clone())).await;
        let services = app.services(Registry::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (_stop, shutdown) = watch::channel(false);
        let serve = async |row: &'static ListenerRow| {
            let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (theirs, _) = listener.accept().await.unwrap();
            let (service, tls) = (services.of(row.protocol), app.tls.clone());
            let answers = Answers { service, tls, proxies: [].into() };
            let far = Visitor::Tcp(theirs, "192.0.2.7:4000".parse().unwrap());
            tokio::spawn(answers.run(row, far, shutdown.clone()));
            ours
        };
        let row = |name: &str| LISTENERS.iter().find(|row| row.name == name).unwrap();
        let connector = client(&pair, rustls::DEFAULT_VERSIONS);
        let rows: [(&str, Lines, &str, Lines); 3] = [
            (
                "imap",
                &[
                    ("", " LOGINDISABLED"),
                    ("a LOGIN alice secret\r\n", "a NO [PRIVACYREQUIRED]"),
                    ("b STARTTLS\r\n", "b OK"),
                ],
                "AUTH=",
                &[("a LOGIN alice secret\r\n", "a OK"), ("b LOGOUT\r\n", "b OK")],
            ),
            (
                "pop3",
                &[("CAPA\r\n", "STLS\r\n"), ("USER alice\r\n", "-ERR"), ("STLS\r\n", "+OK begin")],
                "SASL",
                &[
                    ("USER alice\r\n", "+OK"),
                    ("PASS secret\r\n", "+OK"),
                    ("QUIT\r\n", "+OK goodbye"),
                ],
            ),
            (
                "submission",
                &[
                    ("EHLO x\r\n", "250 STARTTLS"),
                    ("AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n", "538 5.7.11"),
                    ("STARTTLS\r\n", "220 2.0.0"),
                ],
                "AUTH",
                &[
                    ("EHLO x\r\n", "AUTH "),
                    ("AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n", "235"),
                    ("QUIT\r\n", "221"),
                ],
            ),
        ];
        for (listener, clear, never_in_clear, encrypted) in rows {
            let mut stream = serve(row(listener)).await;
            let heard = talk(&mut stream, clear).await;
            assert!(!heard.contains(never_in_clear), "{heard}");
            let mut stream = connector.connect(name(), stream).await.unwrap();
            talk(&mut stream, encrypted).await;
            // The same from the first byte on.
            let stream = serve(row(&format!("{listener}s"))).await;
            let mut stream = connector.connect(name(), stream).await.unwrap();
            let heard = talk(&mut stream, encrypted).await;
            assert!(!heard.contains("STARTTLS") && !heard.contains("LOGINDISABLED"), "{heard}");
        }
        // Figures are for this machine, the webmail is for everybody.
        for (path, expect) in [("/", "200 OK"), ("/metrics", "404 "), ("/healthz", "404 ")] {
            let mut stream = connector.connect(name(), serve(row("https")).await).await.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nHost: {NAME}\r\n\r\n");
            talk(&mut stream, &[(&request, &format!("HTTP/1.1 {expect}"))]).await;
        }
    }
}
