//! The ports: one table, one accept loop for all of them.

use crate::http;
use crate::metrics::Connections;
use crate::place::{Place, UnixSocket};
use crate::proxy::{self, Said};
use crate::tls::{self, Tls};
use anyhow::{Result, anyhow};
use imap::Opening;
use smtp::Network;
use std::io::{self, ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use types::Peer;

/// How long sessions may take to say goodbye when the server stops.
const GOODBYE: Duration = Duration::from_secs(10);
/// Pause after a failed accept: out of file descriptors, the next try would fail at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A port: its name, where it listens by default, who answers there.
pub(crate) struct ListenerRow {
    pub(crate) name: &'static str,
    /// Its key in the configuration.
    pub(crate) key: &'static str,
    pub(crate) about: &'static str,
    pub(crate) port: u16,
    /// Ports over 1024, as everybody may open them; `None`: the demo has no such listener.
    pub(crate) demo_port: Option<u16>,
    pub(crate) protocol: Protocol,
    pub(crate) encryption: Encryption,
    /// Without TLS it may only be reached from this machine.
    pub(crate) takes_passwords: bool,
    /// What a connection too many is told before it is closed. Empty where only TLS is understood.
    pub(crate) busy: &'static str,
}

/// When TLS begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encryption {
    Never,
    /// When the client asks for it, and there is a certificate.
    StartTls,
    /// At once (RFC 8314 §3).
    Implicit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Smtp,
    Lmtp,
    Submission,
    Imap,
    Pop3,
    Http,
    /// Tables of a server in front.
    Tables,
    /// Passwords that a server in front was given.
    Passwords,
    /// Letters that a server in front wants judged.
    Verdicts,
    /// The same, in the protocol of Postfix and Sendmail.
    Milter,
}

// unsorted: the order of the `ready` line, mail in, mail out, browser; then what is TLS only
pub(crate) static LISTENERS: &[ListenerRow] = &[
    ListenerRow {
        name: "smtp",
        key: "smtp.listen",
        about: "Mail from other servers.",
        port: 25,
        demo_port: Some(1125),
        protocol: Protocol::Smtp,
        encryption: Encryption::StartTls,
        takes_passwords: false,
        busy: "421 4.3.2 too many connections, try again later\r\n",
    },
    ListenerRow {
        name: "lmtp",
        key: "lmtp.listen",
        about: "Mail from a mail server in front, such as Postfix.",
        port: 24,
        demo_port: Some(1124),
        protocol: Protocol::Lmtp,
        encryption: Encryption::StartTls,
        takes_passwords: false,
        busy: "421 4.3.2 too many connections, try again later\r\n",
    },
    ListenerRow {
        name: "submission",
        key: "submission.listen",
        about: "Mail that our own people send, with their password.",
        port: 587,
        demo_port: Some(1587),
        protocol: Protocol::Submission,
        encryption: Encryption::StartTls,
        takes_passwords: true,
        busy: "421 4.3.2 too many connections, try again later\r\n",
    },
    ListenerRow {
        name: "imap",
        key: "imap.listen",
        about: "Mail programs.",
        port: 143,
        demo_port: Some(1143),
        protocol: Protocol::Imap,
        encryption: Encryption::StartTls,
        takes_passwords: true,
        busy: "* BYE [UNAVAILABLE] too many connections, try again later\r\n",
    },
    ListenerRow {
        name: "pop3",
        key: "pop3.listen",
        about: "Older mail programs.",
        port: 110,
        demo_port: Some(1110),
        protocol: Protocol::Pop3,
        encryption: Encryption::StartTls,
        takes_passwords: true,
        busy: "-ERR [SYS/TEMP] too many connections, try again later\r\n",
    },
    ListenerRow {
        name: "http",
        key: "http.listen",
        about: "Webmail, API, /metrics and /healthz.",
        port: 8080,
        demo_port: Some(8080),
        protocol: Protocol::Http,
        encryption: Encryption::Never,
        takes_passwords: true,
        busy: "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    },
    ListenerRow {
        name: "submissions",
        key: "submissions.listen",
        about: "Mail that our own people send, encrypted from the first byte; the usual port is 465.",
        port: 465,
        demo_port: None,
        protocol: Protocol::Submission,
        encryption: Encryption::Implicit,
        takes_passwords: true,
        busy: "",
    },
    ListenerRow {
        name: "imaps",
        key: "imaps.listen",
        about: "Mail programs, encrypted from the first byte; the usual port is 993.",
        port: 993,
        demo_port: None,
        protocol: Protocol::Imap,
        encryption: Encryption::Implicit,
        takes_passwords: true,
        busy: "",
    },
    ListenerRow {
        name: "pop3s",
        key: "pop3s.listen",
        about: "Older mail programs, encrypted from the first byte; the usual port is 995.",
        port: 995,
        demo_port: None,
        protocol: Protocol::Pop3,
        encryption: Encryption::Implicit,
        takes_passwords: true,
        busy: "",
    },
    ListenerRow {
        name: "https",
        key: "https.listen",
        about: "The same as http, encrypted; the usual port is 443.",
        port: 443,
        demo_port: None,
        protocol: Protocol::Http,
        encryption: Encryption::Implicit,
        takes_passwords: true,
        busy: "",
    },
    ListenerRow {
        name: "socketmap",
        key: "socketmap.listen",
        about: "Tables for Postfix in front (socketmap): domains, mailboxes, who may send as whom. Only from this machine, such as [\"unix:/run/openpoczta/socketmap\"].",
        port: 10023,
        demo_port: None,
        protocol: Protocol::Tables,
        encryption: Encryption::Never,
        takes_passwords: true,
        busy: "",
    },
    ListenerRow {
        name: "sasl",
        key: "sasl.listen",
        about: "Passwords that Postfix in front is given, by Dovecot's authentication protocol (smtpd_sasl_type = dovecot). Only from this machine, such as [\"unix:/run/openpoczta/sasl\"].",
        port: 10024,
        demo_port: None,
        protocol: Protocol::Passwords,
        encryption: Encryption::Never,
        takes_passwords: true,
        busy: "",
    },
    ListenerRow {
        name: "rspamd",
        key: "rspamd.listen",
        about: "The spam filter for programs that ask an Rspamd: /checkv2, /learnspam, /learnham. Only from this machine, such as [\"127.0.0.1:11333\"].",
        port: 11333,
        demo_port: None,
        protocol: Protocol::Verdicts,
        encryption: Encryption::Never,
        takes_passwords: true,
        busy: "",
    },
    ListenerRow {
        name: "milter",
        key: "milter.listen",
        about: "The spam filter for Postfix in front (smtpd_milters). Only from this machine, such as [\"unix:/run/openpoczta/milter\"].",
        port: 11332,
        demo_port: None,
        protocol: Protocol::Milter,
        encryption: Encryption::Never,
        takes_passwords: true,
        busy: "",
    },
];

impl ListenerRow {
    /// Only servers on this machine ask here, which may prefer a Unix socket.
    pub(crate) fn may_be_unix(&self) -> bool {
        matches!(
            self.protocol,
            Protocol::Lmtp | Protocol::Tables | Protocol::Passwords | Protocol::Milter
        )
    }

    /// This machine only, but for mail from the world. Nowhere without a certificate.
    pub(crate) fn default_places(&self) -> Vec<Place> {
        let ip = match (self.encryption, self.protocol) {
            (Encryption::Implicit, _)
            | (_, Protocol::Tables | Protocol::Passwords | Protocol::Verdicts | Protocol::Milter) =>
            {
                return Vec::new();
            }
            (_, Protocol::Smtp) => Ipv4Addr::UNSPECIFIED,
            _ => Ipv4Addr::LOCALHOST,
        };
        vec![Place::Tcp(SocketAddr::new(IpAddr::V4(ip), self.port))]
    }
}

/// An open port that nobody accepts on yet; the kernel lets callers wait.
pub(crate) struct Bound {
    pub(crate) row: &'static ListenerRow,
    pub(crate) place: Place,
    socket: Socket,
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixSocket),
}

/// Somebody at the door.
pub(crate) enum Visitor {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

impl Bound {
    /// `mode` is that of a Unix socket; `fix` completes the sentence of the error: what the operator can do.
    pub(crate) async fn open(
        row: &'static ListenerRow,
        wanted: &Place,
        mode: u32,
        fix: &str,
    ) -> Result<Self> {
        match wanted {
            Place::Tcp(address) => Self::open_tcp(row, *address, fix).await,
            Place::Unix(path) => {
                let socket = UnixSocket::open(path, mode).map_err(|error| {
                    anyhow!("{wanted} ({}) cannot be opened: {error}. To mend it, {fix}", row.name)
                })?;
                Ok(Self { row, place: wanted.clone(), socket: Socket::Unix(socket) })
            }
        }
    }

    async fn open_tcp(row: &'static ListenerRow, wanted: SocketAddr, fix: &str) -> Result<Self> {
        let opened = TcpListener::bind(wanted).await.and_then(|s| Ok((s.local_addr()?, s)));
        let (address, socket) = opened.map_err(|error| {
            let (port, name) = (wanted.port(), row.name);
            match error.kind() {
                ErrorKind::AddrInUse => {
                    anyhow!("port {port} ({name}) is in use by another program. Stop that one, or {fix}")
                }
                ErrorKind::PermissionDenied => anyhow!(
                    "port {port} ({name}) may not be opened by this user: ports under 1024 need root or the \
                     capability CAP_NET_BIND_SERVICE. Give it, or {fix}"
                ),
                ErrorKind::AddrNotAvailable => {
                    anyhow!("{wanted} ({name}) is no address of this machine. To mend it, {fix}")
                }
                _ => anyhow!("{wanted} ({name}) cannot be opened: {error}. To mend it, {fix}"),
            }
        })?;
        Ok(Self { row, place: Place::Tcp(address), socket: Socket::Tcp(socket) })
    }

    /// Accepts until `shutdown` becomes `true`, then waits for the sessions, at most ten seconds.
    pub(crate) async fn serve(
        self,
        answers: Answers,
        limit: usize,
        figures: Connections,
        mut shutdown: watch::Receiver<bool>,
    ) {
        let mut sessions = JoinSet::new();
        loop {
            tokio::select! {
                () = stopping(&mut shutdown) => break,
                Some(ended) = sessions.join_next() => self.ended(ended, &figures),
                accepted = self.socket.accept() => match accepted {
                    Ok(visitor) if sessions.len() >= limit => self.turn_away(visitor, &figures),
                    Ok(visitor) => {
                        figures.opened.inc();
                        figures.open.inc();
                        sessions.spawn(answers.clone().run(self.row, visitor, shutdown.clone()));
                    }
                    Err(error) => {
                        tracing::warn!(listener = self.row.name, %error, "a connection could not be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        let name = self.row.name;
        drop(self.socket);
        let goodbye = async { while sessions.join_next().await.is_some() {} };
        if tokio::time::timeout(GOODBYE, goodbye).await.is_err() {
            tracing::warn!(
                listener = name,
                sessions = sessions.len(),
                "sessions cut off at the end"
            );
            sessions.shutdown().await;
        }
    }

    fn ended(&self, ended: Result<(), JoinError>, figures: &Connections) {
        figures.open.dec();
        if ended.is_err_and(|error| error.is_panic()) {
            figures.panics.inc();
            tracing::error!(listener = self.row.name, "a session ended by a bug; the others go on");
        }
    }

    /// The kernel's buffer of a new connection is empty, so that the one line fits without waiting.
    fn turn_away(&self, visitor: Visitor, figures: &Connections) {
        figures.turned_away.inc();
        let busy = self.row.busy.as_bytes();
        let said = match visitor {
            Visitor::Tcp(stream, _) => stream.into_std().and_then(|mut s| s.write_all(busy)),
            Visitor::Unix(stream) => stream.into_std().and_then(|mut s| s.write_all(busy)),
        };
        drop(said);
    }
}

impl Socket {
    async fn accept(&self) -> io::Result<Visitor> {
        match self {
            Self::Tcp(socket) => {
                let (stream, address) = socket.accept().await?;
                Ok(Visitor::Tcp(stream, address))
            }
            Self::Unix(socket) => Ok(Visitor::Unix(socket.listener.accept().await?.0)),
        }
    }
}

/// Waits until the server stops.
pub(crate) async fn stopping(shutdown: &mut watch::Receiver<bool>) {
    // An error means that nobody is left to say it: the same.
    drop(shutdown.wait_for(|stop| *stop).await);
}

/// Who answers on a port, and how it is encrypted.
#[derive(Clone)]
pub(crate) struct Answers {
    pub(crate) service: Service,
    pub(crate) tls: Option<Arc<Tls>>,
    /// Proxies that say, before anything else, for whom they speak.
    pub(crate) proxies: Arc<[Network]>,
}

/// Who is there: the other end, or whom a proxy speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Caller {
    address: SocketAddr,
    /// Before TLS with us: nobody else hears what is said.
    private: bool,
}

impl Caller {
    fn direct(address: SocketAddr) -> Self {
        Self { address, private: Peer::plain(address.ip()).private }
    }

    /// Nobody but programs on this machine reaches a Unix socket.
    fn local() -> Self {
        Self::direct(SocketAddr::new(Peer::LOCAL.ip, 0))
    }

    /// Private is what is private on both its ways.
    fn behind(proxy: SocketAddr, said: Said) -> Self {
        let near = Self::direct(proxy);
        match said {
            Said::Itself => near,
            Said::Client { address, encrypted } => {
                let far = encrypted || Self::direct(address).private;
                Self { address, private: near.private && far }
            }
        }
    }
}

#[derive(Clone)]
pub(crate) enum Service {
    Smtp(Arc<smtp::Service>),
    Imap(Arc<imap::Service>),
    Pop3(Arc<pop3::Service>),
    Http(axum::Router),
    Front(front::Kind, Arc<front::Service>),
    Milter(Arc<front::Milter>),
}

impl Answers {
    /// One connection, from its first byte to its end.
    pub(crate) async fn run(
        self,
        row: &'static ListenerRow,
        visitor: Visitor,
        shutdown: watch::Receiver<bool>,
    ) {
        match visitor {
            Visitor::Tcp(stream, address) => self.run_tcp(row, stream, address, shutdown).await,
            // What never leaves the machine needs no TLS.
            Visitor::Unix(stream) => {
                let caller = Caller::local();
                self.service.converse(stream, caller, Opening::Greeting, shutdown).await;
            }
        }
    }

    async fn run_tcp(
        self,
        row: &'static ListenerRow,
        mut stream: TcpStream,
        address: SocketAddr,
        mut shutdown: watch::Receiver<bool>,
    ) {
        // Answers are small and written whole: waiting to fill a packet only delays them.
        drop(stream.set_nodelay(true));
        let mut caller = Caller::direct(address);
        if self.proxies.iter().any(|proxy| proxy.contains(address.ip())) {
            let said = tokio::select! {
                () = stopping(&mut shutdown) => None,
                said = proxy::read(&mut stream) => said,
            };
            let Some(said) = said else {
                tracing::info!(listener = row.name, %address, "no valid PROXY header: closed");
                return;
            };
            caller = Caller::behind(address, said);
        }
        let Some(tls) = self.tls.filter(|_| row.encryption != Encryption::Never) else {
            // The configuration is checked: whatever is encrypted at once has its certificate.
            if row.encryption != Encryption::Implicit {
                self.service.converse(stream, caller, Opening::Greeting, shutdown).await;
            }
            return;
        };
        let service = self.service;
        let stream = if row.encryption == Encryption::Implicit {
            Some(stream)
        } else {
            let clear = service.clone();
            clear.converse(stream, caller, Opening::Encryptable, shutdown.clone()).await
        };
        if let Some(stream) = stream {
            // Boxed: connections in clear need not carry the room of a handshake.
            Box::pin(encrypted(row, service, &tls, (stream, caller), shutdown)).await;
        }
    }
}

/// From the handshake to the end of the connection.
async fn encrypted(
    row: &'static ListenerRow,
    service: Service,
    tls: &Tls,
    (stream, caller): (TcpStream, Caller),
    mut shutdown: watch::Receiver<bool>,
) {
    let done = tokio::select! {
        () = stopping(&mut shutdown) => None,
        done = tls.accept(stream, row.protocol, (row.name, caller.address)) => done,
    };
    let Some(stream) = done else { return };
    let binding = tls::binding(&stream);
    let opening = match row.encryption {
        Encryption::Implicit => Opening::Implicit(binding),
        _ => Opening::Encrypted(binding),
    };
    service.converse(stream, caller, opening, shutdown).await;
}

impl Service {
    /// Gives the stream back when the client wants TLS to begin.
    async fn converse<S>(
        self,
        stream: S,
        caller: Caller,
        opening: Opening,
        shutdown: watch::Receiver<bool>,
    ) -> Option<S>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let address = caller.address;
        let encrypted = matches!(opening, Opening::Encrypted(_) | Opening::Implicit(_));
        let peer = Peer { ip: address.ip(), private: encrypted || caller.private };
        match self {
            Self::Smtp(service) => {
                let opening = match opening {
                    Opening::Greeting => smtp::Opening::Greeting,
                    Opening::Encryptable => smtp::Opening::Encryptable,
                    Opening::Encrypted(_) => smtp::Opening::Encrypted,
                    Opening::Implicit(_) => smtp::Opening::Implicit,
                };
                service.run_with(stream, peer, opening, shutdown).await
            }
            Self::Imap(service) => service.run_with(stream, peer, opening, shutdown).await,
            Self::Pop3(service) => {
                let opening = match opening {
                    Opening::Greeting => pop3::Opening::Greeting,
                    Opening::Encryptable => pop3::Opening::Encryptable,
                    Opening::Encrypted(_) => pop3::Opening::Encrypted,
                    Opening::Implicit(_) => pop3::Opening::Implicit,
                };
                service.run_with(stream, peer, opening, shutdown).await
            }
            Self::Http(router) => {
                Box::pin(http::run(router, stream, address, shutdown)).await;
                None
            }
            Self::Front(kind, service) => {
                service.run(kind, stream, peer, shutdown).await;
                None
            }
            Self::Milter(milter) => {
                milter.run(stream, peer, shutdown).await;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[test]
    fn rows_fit_together() {
        for (at, row) in LISTENERS.iter().enumerate() {
            assert_eq!(row.key, format!("{}.listen", row.name));
            // TLS first, or no words for people at all.
            let implicit = row.encryption == Encryption::Implicit
                || matches!(
                    row.protocol,
                    Protocol::Tables | Protocol::Passwords | Protocol::Verdicts | Protocol::Milter
                );
            assert!(if implicit { row.busy.is_empty() } else { row.busy.ends_with("\r\n") });
            let others = || LISTENERS.iter().take(at);
            let kind = |row: &ListenerRow| (row.protocol, row.encryption);
            assert!(others().all(|o| o.name != row.name && kind(o) != kind(row)));
            assert!(others().all(|o| o.port != row.port));
            assert_eq!(row.demo_port.is_none(), implicit);
            assert!(row.demo_port.is_none_or(|port| {
                let free = others().all(|o| o.demo_port != row.demo_port);
                free && port >= 1024 && port.checked_add(40_000).is_some()
            }));
            let loopback = |place: &Place| place.tcp().is_some_and(|a| a.ip().is_loopback());
            let loopback = row.default_places().iter().all(loopback);
            assert!(!row.takes_passwords || loopback);
        }
    }

    async fn local(row: &'static ListenerRow) -> Bound {
        Bound::open(row, &"127.0.0.1:0".parse().unwrap(), 0, "").await.unwrap()
    }

    #[tokio::test]
    async fn a_port_in_use_is_named_with_the_fix() {
        let first = local(&LISTENERS[0]).await;
        let again = Bound::open(&LISTENERS[0], &first.place, 0, "choose another").await;
        let Err(error) = again else { panic!("the port was given twice") };
        let text = error.to_string();
        assert!(
            text.contains(&format!("port {} (smtp)", first.place.tcp().unwrap().port())),
            "{text}"
        );
        assert!(text.ends_with("choose another"), "{text}");
    }

    #[tokio::test]
    async fn one_too_many_is_turned_away_and_a_panic_ends_one_only() {
        let http = &LISTENERS[5];
        let bound = local(http).await;
        let address = bound.place.tcp().unwrap();
        let router = axum::Router::new()
            .route("/", axum::routing::get(|| async { "hello" }))
            .route("/panic", axum::routing::get(async || -> String { panic!("on purpose") }));
        let (stop, shutdown) = watch::channel(false);
        let figures = Connections::default();
        let answers = Answers { service: Service::Http(router), tls: None, proxies: [].into() };
        let serving = tokio::spawn(bound.serve(answers, 1, figures.clone(), shutdown));

        let ask = async |path: &str| {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            drop(stream.read_to_string(&mut answer).await);
            answer
        };
        let settle = async || {
            while figures.open.get() > 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        assert!(ask("/").await.ends_with("hello"));
        settle().await;
        let holding = TcpStream::connect(address).await.unwrap();
        while figures.open.get() == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        // Said before anything is asked, as a greeting is.
        let mut turned_away = TcpStream::connect(address).await.unwrap();
        let mut answer = String::new();
        turned_away.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, http.busy);
        drop(holding);
        settle().await;
        assert_eq!(ask("/panic").await, "");
        settle().await;
        assert!(ask("/").await.ends_with("hello"));
        settle().await;
        assert_eq!((figures.panics.get(), figures.turned_away.get()), (1, 1));

        stop.send_replace(true);
        serving.await.unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[test]
    fn who_is_private() {
        #[track_caller]
        fn check(proxy: &str, said: Said, ip: &str, private: bool) {
            let caller = Caller::behind(proxy.parse().unwrap(), said);
            assert_eq!((caller.address.ip(), caller.private), (ip.parse().unwrap(), private));
        }
        let client = |address: &str, encrypted| Said::Client {
            address: address.parse().unwrap(),
            encrypted,
        };
        let (here, there) = ("127.0.0.1:9", "10.0.0.5:9");
        check(here, Said::Itself, "127.0.0.1", true);
        check(there, Said::Itself, "10.0.0.5", false);
        check(here, client("192.0.2.7:1", false), "192.0.2.7", false);
        check(here, client("192.0.2.7:1", true), "192.0.2.7", true);
        check(here, client("127.0.0.1:1", false), "127.0.0.1", true);
        // What the proxy has with its client does not cover the way to us.
        check(there, client("192.0.2.7:1", true), "192.0.2.7", false);
        check(there, client("127.0.0.1:1", false), "127.0.0.1", false);
    }
}
