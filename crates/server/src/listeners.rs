//! The ports: one table, one accept loop for all of them.

use crate::http;
use crate::metrics::Connections;
use anyhow::{Result, anyhow};
use std::io::{ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
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
    pub(crate) demo_port: u16,
    pub(crate) protocol: Protocol,
    /// Without TLS it may only be reached from this machine.
    pub(crate) takes_passwords: bool,
    /// What a connection too many is told before it is closed.
    pub(crate) busy: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Smtp,
    Lmtp,
    Submission,
    Imap,
    Pop3,
    Http,
}

// unsorted: the order of the `ready` line, mail in, mail out, browser
pub(crate) static LISTENERS: &[ListenerRow] = &[
    ListenerRow {
        name: "smtp",
        key: "smtp.listen",
        about: "Mail from other servers.",
        port: 25,
        demo_port: 1125,
        protocol: Protocol::Smtp,
        takes_passwords: false,
        busy: "421 4.3.2 too many connections, try again later\r\n",
    },
    ListenerRow {
        name: "lmtp",
        key: "lmtp.listen",
        about: "Mail from a mail server in front, such as Postfix.",
        port: 24,
        demo_port: 1124,
        protocol: Protocol::Lmtp,
        takes_passwords: false,
        busy: "421 4.3.2 too many connections, try again later\r\n",
    },
    ListenerRow {
        name: "submission",
        key: "submission.listen",
        about: "Mail that our own people send, with their password.",
        port: 587,
        demo_port: 1587,
        protocol: Protocol::Submission,
        takes_passwords: true,
        busy: "421 4.3.2 too many connections, try again later\r\n",
    },
    ListenerRow {
        name: "imap",
        key: "imap.listen",
        about: "Mail programs.",
        port: 143,
        demo_port: 1143,
        protocol: Protocol::Imap,
        takes_passwords: true,
        busy: "* BYE [UNAVAILABLE] too many connections, try again later\r\n",
    },
    ListenerRow {
        name: "pop3",
        key: "pop3.listen",
        about: "Older mail programs.",
        port: 110,
        demo_port: 1110,
        protocol: Protocol::Pop3,
        takes_passwords: true,
        busy: "-ERR [SYS/TEMP] too many connections, try again later\r\n",
    },
    ListenerRow {
        name: "http",
        key: "http.listen",
        about: "Webmail, API, /metrics and /healthz.",
        port: 8080,
        demo_port: 8080,
        protocol: Protocol::Http,
        takes_passwords: true,
        busy: "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    },
];

impl ListenerRow {
    /// This machine only, but for mail from the world.
    pub(crate) fn default_address(&self) -> SocketAddr {
        let world = self.protocol == Protocol::Smtp;
        let ip = if world { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST };
        SocketAddr::new(IpAddr::V4(ip), self.port)
    }
}

/// An open port that nobody accepts on yet; the kernel lets callers wait.
pub(crate) struct Bound {
    pub(crate) row: &'static ListenerRow,
    pub(crate) address: SocketAddr,
    socket: TcpListener,
}

impl Bound {
    /// `fix` completes the sentence of the error: what the operator can do.
    pub(crate) async fn open(
        row: &'static ListenerRow,
        wanted: SocketAddr,
        fix: &str,
    ) -> Result<Self> {
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
        Ok(Self { row, address, socket })
    }

    /// Accepts until `shutdown` becomes `true`, then waits for the sessions, at most ten seconds.
    pub(crate) async fn serve(
        self,
        service: Service,
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
                    Ok((stream, _)) if sessions.len() >= limit => self.turn_away(stream, &figures),
                    Ok((stream, peer)) => {
                        figures.opened.inc();
                        figures.open.inc();
                        sessions.spawn(service.clone().run(stream, peer, shutdown.clone()));
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
    fn turn_away(&self, stream: TcpStream, figures: &Connections) {
        figures.turned_away.inc();
        if let Ok(mut stream) = stream.into_std() {
            drop(stream.write_all(self.row.busy.as_bytes()));
        }
    }
}

/// Waits until the server stops.
pub(crate) async fn stopping(shutdown: &mut watch::Receiver<bool>) {
    // An error means that nobody is left to say it: the same.
    drop(shutdown.wait_for(|stop| *stop).await);
}

/// Who answers on a port.
#[derive(Clone)]
pub(crate) enum Service {
    Smtp(Arc<smtp::Service>),
    Imap(Arc<imap::Service>),
    Pop3(Arc<pop3::Service>),
    Http(axum::Router),
}

impl Service {
    async fn run(self, stream: TcpStream, address: SocketAddr, shutdown: watch::Receiver<bool>) {
        // Answers are small and written whole: waiting to fill a packet only delays them.
        drop(stream.set_nodelay(true));
        let peer = Peer::plain(address.ip());
        match self {
            Self::Smtp(service) => service.run(stream, peer, shutdown).await,
            Self::Imap(service) => service.run(stream, peer, shutdown).await,
            Self::Pop3(service) => service.run(stream, peer, shutdown).await,
            Self::Http(router) => http::run(router, stream, address, shutdown).await,
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
            assert!(row.busy.ends_with("\r\n"));
            let others = || LISTENERS.iter().take(at);
            assert!(others().all(|o| o.name != row.name && o.protocol != row.protocol));
            assert!(others().all(|o| o.port != row.port && o.demo_port != row.demo_port));
            assert!(row.demo_port >= 1024 && row.demo_port.checked_add(40_000).is_some());
            assert!(!row.takes_passwords || row.default_address().ip().is_loopback());
        }
    }

    async fn local(row: &'static ListenerRow) -> Bound {
        Bound::open(row, "127.0.0.1:0".parse().unwrap(), "").await.unwrap()
    }

    #[tokio::test]
    async fn a_port_in_use_is_named_with_the_fix() {
        let first = local(&LISTENERS[0]).await;
        let Err(error) = Bound::open(&LISTENERS[0], first.address, "choose another").await else {
            panic!("the port was given twice");
        };
        let text = error.to_string();
        assert!(text.contains(&format!("port {} (smtp)", first.address.port())), "{text}");
        assert!(text.ends_with("choose another"), "{text}");
    }

    #[tokio::test]
    async fn one_too_many_is_turned_away_and_a_panic_ends_one_only() {
        let http = &LISTENERS[5];
        let bound = local(http).await;
        let address = bound.address;
        let router = axum::Router::new()
            .route("/", axum::routing::get(|| async { "hello" }))
            .route("/panic", axum::routing::get(async || -> String { panic!("on purpose") }));
        let (stop, shutdown) = watch::channel(false);
        let figures = Connections::default();
        let serving =
            tokio::spawn(bound.serve(Service::Http(router), 1, figures.clone(), shutdown));

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
}
