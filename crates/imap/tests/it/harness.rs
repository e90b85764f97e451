//! A server on a store in a temporary folder, and clients that talk to it over pipes.

use imap::{Config, Service};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;
use storage::tools::{fsck, silent};
use storage::{Letter, Options, Store};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::io::{BufReader, DuplexStream, ReadBuf};
use tokio::sync::watch;
use types::{AccountId, Flag, Flags, Limits, ManualClock, Peer, SystemClock};

/// Sun, 22 Nov 2026 18:00:00 +0000
pub(crate) const NOW_UNIX_S: i64 = 1_795_370_400;

pub(crate) const PLAIN: &str = "Date: Sun, 22 Nov 2026 17:00:00 +0100\r\n\
    From: Ala Kot <ala@example.test>\r\n\
    To: alice@example.test, \"Bob \\\"B\\\"\" <bob@example.test>\r\n\
    Subject: Hello\r\n\
    Message-ID: <1@example.test>\r\n\
    \r\n\
    First letter.\r\n";

pub(crate) const MIXED: &str = "Date: Sat, 21 Nov 2026 10:00:00 +0000\r\n\
    From: =?utf-8?Q?Bo=C5=BCena?= <bozena@example.test>\r\n\
    To: alice@example.test\r\n\
    Cc: team: carol@example.test, dan@example.test;\r\n\
    Subject: =?utf-8?B?RmFrdHVyYSDFvMOzxYJ0YQ==?=\r\n\
    Message-ID: <2@example.test>\r\n\
    MIME-Version: 1.0\r\n\
    Content-Type: multipart/mixed; boundary=\"b1\"\r\n\
    \r\n\
    preamble\r\n\
    --b1\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Transfer-Encoding: quoted-printable\r\n\
    \r\n\
    W za=C5=82=C4=85czeniu faktura.\r\n\
    --b1\r\n\
    Content-Type: application/pdf; name=\"f.pdf\"\r\n\
    Content-Disposition: attachment; filename*=utf-8''za%C5%BC.pdf\r\n\
    Content-Transfer-Encoding: base64\r\n\
    \r\n\
    JVBERi0xLjQK\r\n\
    --b1--\r\n";

pub(crate) const NESTED: &str = "Date: Fri, 20 Nov 2026 10:00:00 +0000\r\n\
    From: carol@example.test\r\n\
    To: alice@example.test\r\n\
    Subject: Fwd: plans\r\n\
    In-Reply-To: <1@example.test>\r\n\
    Message-ID: <3@example.test>\r\n\
    MIME-Version: 1.0\r\n\
    Content-Type: multipart/mixed; boundary=out\r\n\
    \r\n\
    --out\r\n\
    \r\n\
    see below\r\n\
    --out\r\n\
    Content-Type: message/rfc822\r\n\
    \r\n\
    From: dan@example.test\r\n\
    Subject: plans\r\n\
    Content-Type: multipart/alternative; boundary=in\r\n\
    \r\n\
    --in\r\n\
    Content-Type: text/plain\r\n\
    \r\n\
    plain plans\r\n\
    --in\r\n\
    Content-Type: text/html\r\n\
    \r\n\
    <p>html plans</p>\r\n\
    --in--\r\n\
    --out--\r\n";

pub(crate) struct Server {
    pub(crate) store: Store,
    pub(crate) alice: AccountId,
    pub(crate) service: Arc<Service>,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) folder: Folder,
}

/// When the data folder of a test goes, `fsck` looks into it and must find nothing, unless the test did damage.
pub(crate) struct Folder {
    pub(crate) place: tempfile::TempDir,
    pub(crate) is_damaged: AtomicBool,
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let options = Options::in_folder(self.place.path());
            let report = fsck(&options, false, &SystemClock, &silent).unwrap();
            let is_damaged = *self.is_damaged.get_mut();
            assert_eq!(report.is_fine(), !is_damaged, "{:#?}", report.findings);
        }
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(Limits::default()).await
    }

    pub(crate) async fn with(limits: Limits) -> Self {
        Self::with_jmap(limits, None).await
    }

    pub(crate) async fn with_jmap(limits: Limits, jmap_session_url: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at_unix_s(NOW_UNIX_S));
        let store = Store::open(&Options::in_folder(folder.path()), clock.clone()).unwrap();
        let alice = store.put_account("alice@example.test", secret()).await.unwrap();
        let auth = auth::Auth::new(store.index(), clock.clone());
        let config = Config {
            hostname: "mail.example.test".to_owned(),
            default_domain: Some("example.test".to_owned()),
            limits,
            jmap_session_url: jmap_session_url.map(str::to_owned),
        };
        let service = Service::new(store.clone(), auth, config, clock);
        let folder = Folder { place: folder, is_damaged: AtomicBool::new(false) };
        Self { store, alice, service, stop: watch::channel(false).0, folder }
    }

    pub(crate) async fn put_account(&self, key: &str) -> AccountId {
        self.store.put_account(key, secret()).await.unwrap()
    }

    /// Puts a letter into INBOX.
    pub(crate) async fn deliver(&self, letter: &str, flags: &[Flag], received_unix_s: i64) {
        let inbox = self.store.mailbox_by_name(self.alice, "INBOX").await.unwrap();
        let letter = Letter::parse(letter.to_owned().into());
        let (flags, received) = (Flags::new(flags), Some(received_unix_s));
        self.store.append(self.alice, inbox.id, letter, flags, received).await.unwrap();
    }

    /// Three letters: read, not read, flagged.
    pub(crate) async fn deliver_letters(&self) {
        self.deliver(PLAIN, &[Flag::Seen], NOW_UNIX_S - 3600).await;
        self.deliver(MIXED, &[], NOW_UNIX_S - 86_400).await;
        self.deliver(NESTED, &[Flag::Seen, Flag::Flagged], NOW_UNIX_S - 2 * 86_400).await;
    }

    pub(crate) fn connect(&self) -> Client {
        self.connect_as(Peer::LOCAL)
    }

    pub(crate) fn connect_as(&self, peer: Peer) -> Client {
        let (ours, theirs) = tokio::io::duplex(256 * 1024);
        let writes = Arc::new(AtomicUsize::new(0));
        let counted = CountWrites { stream: theirs, writes: writes.clone() };
        tokio::spawn(self.service.clone().run(counted, peer, self.stop.subscribe()));
        Client { stream: BufReader::new(ours), writes }
    }

    /// A client that is logged in and has INBOX selected.
    pub(crate) async fn select(&self) -> Client {
        let mut client = self.connect();
        client.line().await;
        client.ok("LOGIN alice@example.test secret").await;
        client.ok("SELECT INBOX").await;
        client
    }
}

/// Computed once: it takes long.
fn secret() -> &'static str {
    static SECRET: OnceLock<String> = OnceLock::new();
    SECRET.get_or_init(|| auth::hash_password(b"secret").unwrap())
}

pub(crate) struct Client {
    pub(crate) stream: BufReader<DuplexStream>,
    writes: Arc<AtomicUsize>,
}

impl Client {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        // The server may have hung up; what it said last is still there to read.
        let sent = tokio::time::timeout(Duration::from_secs(10), self.stream.write_all(bytes));
        drop(sent.await.expect("the server stopped reading"));
    }

    /// The next line without its end; `(closed)` when the server has hung up.
    pub(crate) async fn line(&mut self) -> String {
        let mut line = Vec::new();
        let read = self.stream.read_until(b'\n', &mut line);
        tokio::time::timeout(Duration::from_secs(10), read).await.expect("no answer").unwrap();
        if line.is_empty() {
            return "(closed)".to_owned();
        }
        let line = String::from_utf8_lossy(&line).into_owned();
        line.strip_suffix("\r\n").unwrap_or(&line).to_owned()
    }

    /// Everything until the server hangs up.
    pub(crate) async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        let read = self.stream.read_to_end(&mut rest);
        drop(tokio::time::timeout(Duration::from_secs(10), read).await.expect("still open"));
        String::from_utf8_lossy(&rest).into_owned()
    }

    /// Nothing more comes for a while, but maybe the end.
    pub(crate) async fn silence(&mut self) {
        let mut byte = [0];
        let read = self.stream.read(&mut byte);
        let read = tokio::time::timeout(Duration::from_millis(50), read).await;
        if matches!(read, Ok(Ok(1))) {
            panic!("something came: {}{}", char::from(byte[0]), self.line().await);
        }
    }

    /// Sends a command, gives back the lines before the tagged one, and that one.
    pub(crate) async fn ask(&mut self, command: &str) -> (Vec<String>, String) {
        self.send(format!("t {command}\r\n").as_bytes()).await;
        self.answer("t").await
    }

    pub(crate) async fn answer(&mut self, tag: &str) -> (Vec<String>, String) {
        let mut lines = Vec::new();
        loop {
            let line = self.line().await;
            if let Some(status) = line.strip_prefix(tag).and_then(|l| l.strip_prefix(' ')) {
                return (lines, status.to_owned());
            }
            assert!(line != "(closed)", "closed after {lines:?}");
            lines.push(line);
        }
    }

    pub(crate) async fn ok(&mut self, command: &str) -> Vec<String> {
        let (lines, status) = self.ask(command).await;
        assert!(status.starts_with("OK"), "{command}: {status}");
        lines
    }

    /// How often the server wrote to the connection.
    pub(crate) fn writes(&self) -> usize {
        self.writes.load(Ordering::Relaxed)
    }
}

/// Counts what would be system calls.
struct CountWrites {
    stream: DuplexStream,
    writes: Arc<AtomicUsize>,
}

impl AsyncRead for CountWrites {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for CountWrites {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        if written.is_ready() {
            self.writes.fetch_add(1, Ordering::Relaxed);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
