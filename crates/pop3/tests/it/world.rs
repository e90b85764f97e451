//! A mail store with alice and bob in a temporary folder, and a client that speaks from a script.
//!
//! A script has one line for each thing said: `C: text` sends text and CRLF; `S: pattern` is the next line of the
//! server, where `*` stands for anything. At the end the client stops speaking, and the server must have said no
//! more than the script has.

use pop3::{Config, Service};
use std::sync::Arc;
use std::time::Duration;
use storage::tools::{fsck, silent};
use storage::{Letter, Options, Store};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream, DuplexStream};
use tokio::sync::watch;
use tokio::time::timeout;
use types::{AccountId, Clock, Flags, Limits, ManualClock, Peer, SystemClock, UidSet};

pub(crate) const LOGIN: &str = "S: +OK *
    C: USER alice
    S: +OK *
    C: PASS secret
    S: +OK *";

pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) alice: AccountId,
    pub(crate) limits: Limits,
    auth: auth::Auth,
    clock: Arc<dyn Clock>,
    service: Option<Arc<Service>>,
    _folder: Folder,
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
    pub(crate) async fn new(letters: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at_unix_s(1_795_370_400));
        let store = Store::open(&Options::in_folder(folder.path()), clock.clone()).unwrap();
        let secret = auth::hash_password(b"secret").unwrap();
        let alice = store.put_account("alice@example.test", &secret).await.unwrap();
        store.put_account("bob@example.test", &secret).await.unwrap();
        let auth = auth::Auth::new(store.index(), clock.clone());
        let limits = Limits::default();
        let world =
            Self { store, alice, limits, auth, clock, service: None, _folder: Folder(folder) };
        for letter in letters {
            world.add(letter).await;
        }
        world
    }

    pub(crate) async fn add(&self, letter: &str) {
        let inbox = self.store.mailbox_by_name(self.alice, "INBOX").await.unwrap();
        let letter = Letter::parse(letter.to_owned().into());
        self.store.append(self.alice, inbox.id, letter, Flags::default(), None).await.unwrap();
    }

    /// UIDs in alice's inbox.
    pub(crate) async fn uids(&self) -> Vec<u32> {
        let inbox = self.store.mailbox_by_name(self.alice, "INBOX").await.unwrap();
        let messages = self.store.messages(self.alice, inbox.id, &UidSet::all()).await.unwrap();
        messages.iter().map(|m| m.uid.get()).collect()
    }

    pub(crate) fn service(&mut self) -> Arc<Service> {
        let config = Config {
            hostname: "mail.example.test".to_owned(),
            default_domain: Some("example.test".to_owned()),
            limits: self.limits,
        };
        let (store, auth, clock) = (self.store.clone(), self.auth.clone(), self.clock.clone());
        self.service.get_or_insert_with(|| Service::new(store, auth, config, clock)).clone()
    }

    pub(crate) fn connect(&mut self) -> Client {
        self.connect_from(Peer::LOCAL)
    }

    pub(crate) fn connect_from(&mut self, peer: Peer) -> Client {
        let (ours, theirs) = tokio::io::duplex(16 << 20);
        let (stop, shutdown) = watch::channel(false);
        let session = tokio::spawn(self.service().run(theirs, peer, shutdown));
        Client { stream: BufStream::new(ours), stop, session }
    }

    /// Logs in as alice, then plays the script.
    pub(crate) async fn talk(&mut self, script: &str) {
        let mut client = self.connect();
        client.steps(LOGIN).await;
        client.play(script).await;
    }
}

pub(crate) struct Client {
    stream: BufStream<DuplexStream>,
    pub(crate) stop: watch::Sender<bool>,
    session: tokio::task::JoinHandle<()>,
}

impl Client {
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

    /// Exactly these bytes come next.
    pub(crate) async fn bytes(&mut self, expect: &str) {
        let mut found = vec![0; expect.len()];
        let read = self.stream.read_exact(&mut found);
        timeout(Duration::from_secs(10), read).await.expect("the server is silent").unwrap();
        assert_eq!(String::from_utf8_lossy(&found), expect);
    }

    pub(crate) async fn steps(&mut self, script: &str) {
        for step in script.lines().map(str::trim_start).filter(|s| !s.is_empty()) {
            match step.split_at_checked(3) {
                Some(("C: ", text)) => self.send(format!("{text}\r\n")).await,
                Some(("S: ", pattern)) => {
                    let line = self.line().await;
                    let text = line.strip_suffix("\r\n").unwrap_or(&line);
                    assert!(
                        matches(pattern, text),
                        "expected {pattern:?}, the server says {line:?}"
                    );
                }
                _ => panic!("what is {step:?}?"),
            }
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
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
        open = piece.is_empty();
    }
    open || rest.is_empty()
}
