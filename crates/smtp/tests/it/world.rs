//! A mail store with alice and bob in a temporary folder, and a client that speaks from a script.
//!
//! A script has one line for each thing said: `C: text` sends text and CRLF, `C| text` sends text alone, both with
//! `\r \n \0 \\ \xHH`; `S: pattern` is the next line of the server, where `*` stands for anything. At the end the
//! client stops speaking, and the server must have said no more than the script has.

use smtp::{Config, Guard, Kind, Network, Service};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use storage::tools::{fsck, silent};
use storage::{Options, Store};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream, DuplexStream};
use tokio::sync::watch;
use tokio::time::timeout;
use types::{AccountId, Clock, Limits, ManualClock, Peer, SpecialUse, SystemClock, UidSet};

pub(crate) const STRANGER: Peer =
    Peer { ip: IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7)), private: false };

pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) limits: Limits,
    pub(crate) has_queue: bool,
    pub(crate) fronts: Vec<Network>,
    pub(crate) xclient_from: Vec<Network>,
    /// Off, but where a test is about it.
    pub(crate) guard: Guard,
    pub(crate) mda: Arc<mda::Mda>,
    auth: auth::Auth,
    clock: Arc<dyn Clock>,
    accounts: Vec<(&'static str, AccountId)>,
    folder: Folder,
}

/// When the data folder of a test goes, `fsck` looks into it and must find nothing.
struct Folder(TempDir);

impl Drop for Folder {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let options = Options::in_folder(self.0.path());
            let report = fsck(&options, false, &SystemClock, &silent).unwrap();
            assert!(report.is_fine(), "{:#?}", report.findings);
        }
    }
}

impl World {
    /// Every letter is welcome: bare ones in these tests would look like spam.
    pub(crate) async fn new() -> Self {
        Self::with_thresholds(mda::Thresholds { junk: 1000.0, refuse: 1000.0 }).await
    }

    /// Spam is sorted out as by default.
    pub(crate) async fn choosy() -> Self {
        Self::with_thresholds(mda::Thresholds::default()).await
    }

    async fn with_thresholds(thresholds: mda::Thresholds) -> Self {
        let folder = TempDir::new().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at_unix_s(1_795_370_400));
        let store = Store::open(&Options::in_folder(folder.path()), clock.clone()).unwrap();
        let secret = auth::hash_password(b"secret").unwrap();
        let mut accounts = Vec::new();
        for name in ["alice", "bob"] {
            let key = format!("{name}@example.test");
            accounts.push((name, store.put_account(&key, &secret).await.unwrap()));
        }
        let config = mda::Config {
            hostname: "mx.example.test".to_owned(),
            domains: vec!["example.test".to_owned(), "gęś.test".to_owned()],
            thresholds,
            filter: None,
            outgoing: mda::Outgoing::default(),
        };
        Self {
            mda: mda::Mda::new(store.clone(), config, clock.clone()),
            auth: auth::Auth::new(store.index(), clock.clone()),
            limits: Limits::default(),
            has_queue: false,
            fronts: Vec::new(),
            xclient_from: Vec::new(),
            guard: Guard::OFF,
            store,
            clock,
            accounts,
            folder: Folder(folder),
        }
    }

    pub(crate) fn service(&self, kind: Kind) -> Arc<Service> {
        let config = Config {
            hostname: "mx.example.test".to_owned(),
            limits: self.limits,
            has_queue: self.has_queue,
            fronts: self.fronts.clone(),
            xclient_from: self.xclient_from.clone(),
            guard: self.guard.clone(),
        };
        Service::new(kind, self.mda.clone(), self.auth.clone(), config, self.clock.clone())
    }

    /// A queue that is taken from by nobody, so that a test can look into it.
    pub(crate) fn with_queue(&mut self) -> queue::Queue {
        let postmaster = "postmaster@example.test".parse().unwrap();
        let folder = self.folder.0.path().join("queue");
        let options = queue::Options::in_folder(folder, "mx.example.test", postmaster);
        let queue = queue::Queue::open(options, self.clock.clone()).unwrap();
        self.mda.with_queue(queue.clone());
        self.has_queue = true;
        queue
    }

    /// A stranger for SMTP, a peer on this machine for the others.
    pub(crate) fn connect(&self, kind: Kind) -> Client {
        let peer = if kind == Kind::Smtp { STRANGER } else { Peer::LOCAL };
        self.connect_from(kind, peer)
    }

    pub(crate) fn connect_from(&self, kind: Kind, peer: Peer) -> Client {
        Client::new(self.service(kind), peer)
    }

    pub(crate) async fn talk(&self, kind: Kind, script: &str) {
        self.connect(kind).play(script).await;
    }

    /// The letters in a mailbox of that use, as stored.
    pub(crate) async fn letters(&self, name: &str, special_use: SpecialUse) -> Vec<String> {
        let (_, account) = self.accounts.iter().find(|(n, _)| *n == name).unwrap();
        let mailboxes = self.store.mailboxes(*account).await.unwrap();
        let mailbox = mailboxes.iter().find(|m| m.special_use == Some(special_use)).unwrap();
        let messages = self.store.messages(*account, mailbox.id, &UidSet::all()).await.unwrap();
        let ids: Vec<_> = messages.iter().map(|m| m.email).collect();
        let mut letters = Vec::new();
        for email in self.store.emails(*account, &ids).await.unwrap() {
            let bytes = self.store.bytes(&email).await.unwrap();
            letters.push(String::from_utf8_lossy(&bytes).into_owned());
        }
        letters
    }

    pub(crate) async fn inbox(&self, name: &str) -> Vec<String> {
        self.letters(name, SpecialUse::Inbox).await
    }

    /// The letters in an inbox without the fields we put in front.
    pub(crate) async fn bodies(&self, name: &str) -> Vec<String> {
        let letters = self.inbox(name).await;
        letters.iter().map(|l| without_trace(l).to_owned()).collect()
    }
}

/// What follows `X-Spam-Status`, the last of our fields.
pub(crate) fn without_trace(letter: &str) -> &str {
    let mut rest = &letter[letter.find("X-Spam-Status:").unwrap()..];
    loop {
        rest = rest.split_once("\r\n").unwrap().1;
        if !rest.starts_with(['\t', ' ']) {
            return rest;
        }
    }
}

pub(crate) struct Client {
    stream: BufStream<DuplexStream>,
    pub(crate) stop: watch::Sender<bool>,
    session: tokio::task::JoinHandle<()>,
}

impl Client {
    pub(crate) fn new(service: Arc<Service>, peer: Peer) -> Self {
        let (ours, theirs) = tokio::io::duplex(16 << 20);
        let (stop, shutdown) = watch::channel(false);
        let session = tokio::spawn(service.run(theirs, peer, shutdown));
        Self { stream: BufStream::new(ours), stop, session }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The server may have hung up: then the reply tells.
        drop(self.stream.write_all(bytes.as_ref()).await);
        drop(self.stream.flush().await);
    }

    pub(crate) async fn line(&mut self) -> String {
        let mut line = Vec::new();
        let read = self.stream.read_until(b'\n', &mut line);
        timeout(Duration::from_secs(10), read).await.expect("the server is silent").unwrap();
        String::from_utf8(line).unwrap()
    }

    #[track_caller]
    fn expect(line: &str, pattern: &str) {
        let text = line.strip_suffix("\r\n").unwrap_or(line);
        assert!(matches(pattern, text), "expected {pattern:?}, the server says {line:?}");
    }

    pub(crate) async fn step(&mut self, step: &str) {
        match step.split_at_checked(3) {
            Some(("C: ", text)) => self.send([&unescape(text), &b"\r\n"[..]].concat()).await,
            Some(("C| ", text)) => self.send(unescape(text)).await,
            Some(("S: ", pattern)) => Self::expect(&self.line().await, pattern),
            _ => panic!("what is {step:?}?"),
        }
    }

    pub(crate) async fn steps(&mut self, script: &str) {
        for step in script.lines().map(str::trim_start).filter(|s| !s.is_empty()) {
            self.step(step).await;
        }
    }

    /// Plays the script; then nothing more may come.
    pub(crate) async fn play(mut self, script: &str) {
        self.steps(script).await;
        assert_eq!(self.rest().await, "", "the server said more than the script");
    }

    /// Stops speaking and hears the rest.
    pub(crate) async fn rest(mut self) -> String {
        drop(self.stream.shutdown().await);
        let mut rest = Vec::new();
        let read = self.stream.read_to_end(&mut rest);
        timeout(Duration::from_secs(10), read).await.expect("the server does not end").unwrap();
        timeout(Duration::from_secs(10), self.session).await.unwrap().unwrap();
        String::from_utf8(rest).unwrap()
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut open = false;
    for piece in pieces {
        open = true;
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
        open &= piece.is_empty();
    }
    open || rest.is_empty()
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        bytes.push(match chars.next().unwrap() {
            'r' => b'\r',
            'n' => b'\n',
            '0' => 0,
            '\\' => b'\\',
            'x' => {
                let hex: String = chars.by_ref().take(2).collect();
                u8::from_str_radix(&hex, 16).unwrap()
            }
            other => panic!("what is \\{other}?"),
        });
    }
    bytes
}
