//! TLS: certificates that are checked before they are used, chosen by the name a client asks for, and read again while
//! connections go on; the handshake. Knows nothing about what is said over the connection.
//!
//! ```toml
//! [tls]
//! certificates = [{ cert = "/etc/openpoczta/mail.pem", key = "/etc/openpoczta/mail.key" }]
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `pair` | a certificate and its key: reading, what can be wrong with them |
//! | `x509` | names and days of a certificate |

mod pair;
mod x509;

pub(crate) use pair::Pair;

use crate::config::{Config, Problems};
use crate::listeners::{Protocol, stopping};
use pair::{Certificate, Stamp, star};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ProtocolVersion, ServerConfig, SupportedProtocolVersion};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::signal::unix::Signal;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use types::Clock;

/// A client that needs longer for its handshake holds a place for nothing.
const HANDSHAKE: Duration = Duration::from_secs(20);
/// How often the files are looked at: what a few `stat` cost nobody notices.
const LOOK: Duration = Duration::from_secs(10);
/// How often the log says that a certificate ends soon.
const REMIND: Duration = Duration::from_hours(24);
/// RFC 9266 §3
const BINDING_LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// The oldest version of TLS that is spoken. Before 1.2 all are broken (RFC 8996).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Minimum {
    Tls12,
    Tls13,
}

impl Minimum {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tls12 => "1.2",
            Self::Tls13 => "1.3",
        }
    }

    fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        static NEWEST: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
        match self {
            Self::Tls12 => rustls::DEFAULT_VERSIONS,
            Self::Tls13 => NEWEST,
        }
    }
}

/// What all listeners share.
pub(crate) struct Tls {
    pairs: Vec<Pair>,
    certificates: Arc<Certificates>,
    imap: TlsAcceptor,
    pop3: TlsAcceptor,
    http: TlsAcceptor,
    /// Protocols without a name for ALPN.
    other: TlsAcceptor,
    patience: Duration,
    clock: Arc<dyn Clock>,
    handshakes: Family<HandshakeLabels, Counter>,
    readings: Family<Outcome, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HandshakeLabels {
    listener: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

impl Tls {
    /// `None` without certificates; beside it what is odd about them, in whole sentences. `file` is the configuration
    /// that names them.
    pub(crate) fn open(
        config: &Config,
        file: &Path,
        clock: Arc<dyn Clock>,
    ) -> Result<(Option<Arc<Self>>, Vec<String>), Problems> {
        if config.certificates.is_empty() {
            return Ok((None, Vec::new()));
        }
        let problem = |text: &str| format!("{}: tls.certificates: {text}", file.display());
        let (mut loaded, mut problems) = (Vec::new(), Vec::new());
        for pair in &config.certificates {
            match pair::load(pair, clock.now_unix_s()) {
                Ok(certificate) => loaded.push(certificate),
                Err(text) => problems.push(problem(&text)),
            }
        }
        if !problems.is_empty() {
            return Err(Problems::new(problems));
        }
        let warnings = warnings(&loaded, &config.hostname);
        let certificates = Arc::new(Certificates(RwLock::new(Loaded::new(loaded))));
        let made = Self::new(config, certificates, clock).map_err(|error| {
            Problems::new(vec![problem(&format!("TLS cannot be begun ({error})"))])
        })?;
        Ok((Some(Arc::new(made)), warnings))
    }

    fn new(
        config: &Config,
        certificates: Arc<Certificates>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        // Clients that come back skip the signature, and nothing is kept for them here (RFC 8446 §4.6.1).
        let tickets = rustls::crypto::ring::Ticketer::new()?;
        let acceptor = |alpn: &[&[u8]]| -> Result<TlsAcceptor, rustls::Error> {
            let mut made = ServerConfig::builder_with_provider(provider.clone())
                .with_protocol_versions(config.tls_minimum.versions())?
                .with_no_client_auth()
                .with_cert_resolver(certificates.clone());
            // Who names another protocol was sent here by somebody in between: no handshake (RFC 7301 §3.2).
            made.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
            made.ticketer = tickets.clone();
            Ok(Arc::new(made).into())
        };
        Ok(Self {
            imap: acceptor(&[b"imap"])?,
            pop3: acceptor(&[b"pop3"])?,
            http: acceptor(&[b"http/1.1"])?,
            other: acceptor(&[])?,
            pairs: config.certificates.clone(),
            certificates,
            patience: HANDSHAKE.min(Duration::from_millis(config.limits.login_timeout_ms)),
            clock,
            handshakes: Family::default(),
            readings: Family::default(),
        })
    }

    pub(crate) fn register(self: &Arc<Self>, registry: &mut Registry) {
        registry.register_collector(Box::new(DaysLeft(self.clone())));
        let ours = registry.sub_registry_with_prefix("openpoczta_tls");
        ours.register("handshakes", "TLS handshakes", self.handshakes.clone());
        ours.register("readings", "Certificates read again", self.readings.clone());
    }

    /// The handshake. `None`: it failed, or took too long.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
        protocol: Protocol,
        (listener, peer): (&'static str, SocketAddr),
    ) -> Option<TlsStream<TcpStream>> {
        let acceptor = match protocol {
            Protocol::Imap => &self.imap,
            Protocol::Pop3 => &self.pop3,
            Protocol::Http => &self.http,
            Protocol::Smtp
            | Protocol::Lmtp
            | Protocol::Submission
            | Protocol::Tables
            | Protocol::Passwords
            | Protocol::Verdicts
            | Protocol::Milter => &self.other,
        };
        let done = tokio::time::timeout(self.patience, acceptor.accept(stream)).await;
        let outcome = match &done {
            Ok(Ok(_)) => "ok",
            Ok(Err(error)) => {
                // Strangers looking for open ports fail all day long: nothing for an operator to do.
                tracing::debug!(listener, %peer, %error, "a TLS handshake failed");
                "failed"
            }
            Err(_) => {
                tracing::debug!(listener, %peer, "a TLS handshake took too long");
                "timeout"
            }
        };
        self.handshakes.get_or_create(&HandshakeLabels { listener, outcome }).inc();
        done.ok()?.ok()
    }

    /// Reads the certificates again when asked by SIGHUP, and when their files have changed; until `shutdown`.
    pub(crate) async fn watch(
        self: Arc<Self>,
        mut hangup: Signal,
        mut shutdown: watch::Receiver<bool>,
    ) {
        let mut used = self.stamps().await;
        let mut seen = used.clone();
        let mut reminded = Instant::now();
        loop {
            let asked = tokio::select! {
                () = stopping(&mut shutdown) => return,
                _ = hangup.recv() => true,
                () = tokio::time::sleep(LOOK) => false,
            };
            let now = self.stamps().await;
            // Whoever writes two files writes one after the other: read when they rest.
            if asked || (now != used && now == seen) {
                used.clone_from(&now);
                let this = self.clone();
                drop(tokio::task::spawn_blocking(move || this.read_again()).await);
            }
            seen = now;
            if reminded.elapsed() >= REMIND {
                reminded = Instant::now();
                self.remind();
            }
        }
    }

    fn remind(&self) {
        let now = self.clock.now_unix_s();
        for warning in self.certificates.loaded().all.iter().filter_map(|one| one.ending(now)) {
            tracing::warn!("{warning}");
        }
    }

    async fn stamps(self: &Arc<Self>) -> Vec<Stamp> {
        let this = self.clone();
        let look = move || {
            let files = this.pairs.iter().flat_map(|pair| [&pair.cert, &pair.key]);
            files.map(|file| Stamp::of(file)).collect()
        };
        tokio::task::spawn_blocking(look).await.unwrap_or_default()
    }

    /// For the handshakes from now on; open connections stay as they are. What cannot be used stays as it was.
    fn read_again(&self) {
        let old = self.certificates.loaded().all.clone();
        let mut loaded = Vec::new();
        for (pair, old) in self.pairs.iter().zip(old) {
            let outcome = match pair::load(pair, self.clock.now_unix_s()) {
                Ok(new) => {
                    for warning in &new.warnings {
                        tracing::warn!("{warning}");
                    }
                    let (file, days) =
                        (pair.cert.display(), new.days_left(self.clock.now_unix_s()));
                    tracing::info!(%file, days, names = new.names.join(" "), "certificate read again");
                    loaded.push(new);
                    "ok"
                }
                Err(problem) => {
                    tracing::error!(
                        "{problem}; until then the certificate that was read before stays in use"
                    );
                    loaded.push(old);
                    "failed"
                }
            };
            self.readings.get_or_create(&Outcome { outcome }).inc();
        }
        *self.certificates.0.write().unwrap_or_else(PoisonError::into_inner) = Loaded::new(loaded);
    }
}

/// What ties a login to this connection (RFC 9266). TLS 1.2 has such a value only with RFC 7627, which rustls does not
/// tell of a connection.
pub(crate) fn binding(stream: &TlsStream<TcpStream>) -> imap::Binding {
    let (_, connection) = stream.get_ref();
    if connection.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
        return None;
    }
    connection.export_keying_material([0; 32], BINDING_LABEL, Some(b"")).ok()
}

fn warnings(loaded: &[Certificate], hostname: &str) -> Vec<String> {
    let mut all: Vec<String> = loaded.iter().flat_map(|one| one.warnings.iter().cloned()).collect();
    if !loaded.iter().any(|one| one.covers(hostname)) {
        let names: Vec<&str> =
            loaded.iter().flat_map(|one| &one.names).map(String::as_str).collect();
        all.push(format!(
            "hostname is {hostname}, but the certificates are for {}: clients that connect by that name will refuse \
             them. Set hostname to the name in the certificate, or ask for one with that name",
            if names.is_empty() { "no name".to_owned() } else { names.join(", ") }
        ));
    }
    all
}

/// The certificates in use.
struct Certificates(RwLock<Loaded>);

struct Loaded {
    /// In the order of the configuration; the first is for clients that name nobody we know.
    all: Vec<Certificate>,
    /// Several for a name: of different kinds of key.
    by_name: HashMap<String, Vec<Arc<CertifiedKey>>>,
}

impl Loaded {
    fn new(all: Vec<Certificate>) -> Self {
        let mut by_name: HashMap<String, Vec<Arc<CertifiedKey>>> = HashMap::new();
        for one in &all {
            for name in &one.names {
                by_name.entry(name.clone()).or_default().push(one.key.clone());
            }
        }
        Self { all, by_name }
    }
}

impl Certificates {
    fn loaded(&self) -> std::sync::RwLockReadGuard<'_, Loaded> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn choose(
        &self,
        name: Option<&str>,
        usable: impl Fn(&CertifiedKey) -> bool,
    ) -> Option<Arc<CertifiedKey>> {
        let loaded = self.loaded();
        let named = name.map(str::to_ascii_lowercase).and_then(|name| {
            loaded.by_name.get(&name).or_else(|| loaded.by_name.get(&star(&name)?))
        });
        let fitting = named.into_iter().flatten().chain(loaded.all.iter().map(|one| &one.key));
        let first = fitting.clone().next();
        fitting.clone().find(|key| usable(key)).or(first).cloned()
    }
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.loaded().all.iter().map(|one| &one.file)).finish()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        self.choose(hello.server_name(), |key| key.key.choose_scheme(schemes).is_some())
    }
}

/// Days until each certificate ends, counted when somebody asks.
struct DaysLeft(Arc<Tls>);

impl std::fmt::Debug for DaysLeft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DaysLeft")
    }
}

impl Collector for DaysLeft {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let now = self.0.clock.now_unix_s();
        let mut metric = encoder.encode_descriptor(
            "openpoczta_tls_certificate_days_left",
            "Whole days until the certificate ends; negative when it is over",
            None,
            MetricType::Gauge,
        )?;
        for one in &self.0.certificates.loaded().all {
            let labels = [("certificate", one.file.to_string_lossy().into_owned())];
            ConstGauge::new(one.days_left(now)).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use rustls::pki_types::ServerName;
    use rustls::pki_types::pem::PemObject as _;
    use rustls::{ClientConfig, RootCertStore};
    use std::process::Command;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsConnector;
    use types::SystemClock;

    pub(crate) const NAME: &str = "mail.example.test";

    /// A certificate for [`NAME`] that signs itself.
    pub(crate) fn certificate(folder: &Path) -> Pair {
        let arguments = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem \
             -out cert.pem -days 30 -subj /CN=mail -addext subjectAltName=DNS:mail.example.test \
             -addext basicConstraints=critical,CA:FALSE";
        let arguments = arguments.split_ascii_whitespace();
        let done = Command::new("openssl").args(arguments).current_dir(folder).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        Pair { cert: folder.join("cert.pem"), key: folder.join("key.pem") }
    }

    pub(crate) fn open(pair: Pair) -> Arc<Tls> {
        let config =
            Config { hostname: NAME.to_owned(), certificates: vec![pair], ..Config::default() };
        Tls::open(&config, Path::new("x.toml"), Arc::new(SystemClock)).unwrap().0.unwrap()
    }

    /// A client that trusts this one.
    pub(crate) fn client(
        pair: &Pair,
        versions: &[&'static SupportedProtocolVersion],
    ) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(rustls::pki_types::CertificateDer::from_pem_file(&pair.cert).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config).into()
    }

    pub(crate) fn name() -> ServerName<'static> {
        ServerName::try_from(NAME).unwrap()
    }

    #[tokio::test]
    async fn both_ends_have_the_same_value_for_channel_binding() {
        let folder = tempfile::tempdir().unwrap();
        let pair = certificate(folder.path());
        let tls = open(pair.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let both = async |versions: &[&'static SupportedProtocolVersion]| {
            let connect = async {
                let stream = TcpStream::connect(address).await.unwrap();
                client(&pair, versions).connect(name(), stream).await.unwrap()
            };
            let accept = async {
                let (stream, peer) = listener.accept().await.unwrap();
                tls.accept(stream, Protocol::Imap, ("imaps", peer)).await.unwrap()
            };
            let (theirs, ours) = tokio::join!(connect, accept);
            let (_, connection) = theirs.get_ref();
            let label = b"EXPORTER-Channel-Binding";
            let exported = connection.export_keying_material([0; 32], label, Some(b"")).unwrap();
            (binding(&ours), exported)
        };
        let (first, exported) = both(&[&rustls::version::TLS13]).await;
        assert_eq!(first, Some(exported));
        let (second, exported) = both(&[&rustls::version::TLS13]).await;
        assert_eq!(second, Some(exported));
        assert_ne!(first, second);
        assert_eq!(both(&[&rustls::version::TLS12]).await.0, None);
    }

    #[test]
    fn stars_stand_for_one_label() {
        let folder = tempfile::tempdir().unwrap();
        let pair = certificate(folder.path());
        let mut one = pair::load(&pair, 0).unwrap();
        one.names = vec!["*.example.test".to_owned(), "a.example.org".to_owned()];
        for (name, expect) in [
            ("mail.example.test", true),
            ("MAIL.Example.Test", true),
            ("a.mail.example.test", false),
            ("example.test", false),
            ("a.example.org", true),
            ("b.example.org", false),
            ("", false),
        ] {
            assert_eq!(one.covers(name), expect, "{name}");
        }
    }

    #[test]
    fn days_are_told_in_time() {
        let folder = tempfile::tempdir().unwrap();
        let pair = certificate(folder.path());
        let until = pair::load(&pair, 0).unwrap().until_unix_s;
        let says = |now: i64| {
            let one = pair::load(&pair, now).unwrap();
            (one.days_left(now), one.warnings.join(" "))
        };
        let day = 86_400;
        assert_eq!(says(until - 14 * day), (14, String::new()));
        let (days, text) = says(until - 14 * day + 1);
        assert!(days == 13 && text.contains("in 13 days; renew it"), "{text}");
        let (days, text) = says(until + 1);
        assert!(days == -1 && text.contains("has been over since"), "{text}");
        let (_, text) = says(until - 31 * day);
        assert!(text.contains("begins only on"), "{text}");
    }
}
