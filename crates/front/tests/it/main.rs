//! Conversations with a real mail store behind them, over an in-memory pipe.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should stop")]

use front::{Kind, Service};
use std::sync::Arc;
use std::time::Duration;
use storage::{Options, Store};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::watch;
use types::{Limits, Peer, SystemClock};

struct World {
    _folder: TempDir,
    service: Arc<Service>,
    store: Store,
    stop: watch::Sender<bool>,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(SystemClock);
        let store = Store::open(&Options::in_folder(folder.path()), clock.clone()).unwrap();
        let secret = auth::hash_password(b"secret").unwrap();
        for name in ["alice", "bob"] {
            store.put_account(&format!("{name}@example.test"), &secret).await.unwrap();
        }
        let team = ["alice@example.test".to_owned(), "bob@example.test".to_owned()];
        store.put_alias("team@example.test", &team).await.unwrap();
        let config = mda::Config {
            hostname: "mx.example.test".to_owned(),
            domains: vec!["example.test".to_owned()],
            ..mda::Config::default()
        };
        let mda = mda::Mda::new(store.clone(), config, clock.clone());
        let auth = auth::Auth::new(store.index(), clock);
        let service = Service::new(mda, auth, Limits::default());
        Self { _folder: folder, service, store, stop: watch::channel(false).0 }
    }

    fn connect(&self, kind: Kind, peer: Peer) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        tokio::spawn(self.service.clone().run(kind, theirs, peer, self.stop.subscribe()));
        ours
    }
}

/// Says it and waits until the answer ends so; an empty end: until the connection closes.
async fn talk(stream: &mut DuplexStream, say: &str, end: &str) -> String {
    stream.write_all(say.as_bytes()).await.unwrap();
    let mut heard = String::new();
    let mut more = [0; 4096];
    while end.is_empty() || !heard.ends_with(end) {
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut more)).await;
        let count = read.unwrap_or_else(|_| panic!("no {end:?} came after {heard:?}")).unwrap();
        if count == 0 {
            assert!(end.is_empty(), "closed after {heard:?}");
            break;
        }
        heard.push_str(std::str::from_utf8(more.get(..count).unwrap()).unwrap());
    }
    heard
}

#[tokio::test]
async fn what_stands_in_the_tables() {
    let world = World::new().await;
    let mut stream = world.connect(Kind::Tables, Peer::LOCAL);
    let mut check = async |request: &str, expect: &str| {
        let say = format!("{}:{request},", request.len());
        let heard = talk(&mut stream, &say, ",").await;
        assert_eq!(heard, format!("{}:{expect},", expect.len()), "{request:?}");
    };
    check("domain example.test", "OK example.test").await;
    check("domain EXAMPLE.test", "OK example.test").await;
    check("domain else.test", "NOTFOUND ").await;
    check("domain ", "NOTFOUND ").await;
    check("mailbox alice@example.test", "OK alice@example.test").await;
    check("mailbox Alice+lists@Example.test", "OK alice@example.test").await;
    check("mailbox team@example.test", "OK team@example.test").await;
    check("mailbox ghost@example.test", "NOTFOUND ").await;
    check("mailbox alice@else.test", "NOTFOUND ").await;
    check("mailbox @example.test", "NOTFOUND ").await;
    check("mailbox alice", "NOTFOUND ").await;
    check("mailbox '; DROP TABLE account; --@example.test", "NOTFOUND ").await;
    check("sender alice@example.test", "OK alice@example.test").await;
    check("sender team@example.test", "OK alice@example.test,bob@example.test").await;
    check("sender ghost@example.test", "NOTFOUND ").await;
    let none = "PERM there is no such table; there are domain, mailbox, sender";
    check("aliases alice", none).await;
    check("", none).await;
    // A full mailbox is there all the same.
    let bob = world.store.account_by_key("bob@example.test").await.unwrap().unwrap();
    let one = storage::Amount { size_bytes: 1, messages: 0 };
    world.store.set_quota(bob.id, one).await.unwrap();
    check("mailbox bob@example.test", "OK bob@example.test").await;
}

#[tokio::test]
async fn what_is_no_netstring_is_closed() {
    for say in ["GET / HTTP/1.1\r\n\r\n", "99999:", "3:abcd", ":"] {
        let world = World::new().await;
        let mut stream = world.connect(Kind::Tables, Peer::LOCAL);
        assert_eq!(talk(&mut stream, say, "").await, "", "{say:?}");
    }
}

const HELLO: &str = "VERSION\t1\t1\nCPID\t17\n";

async fn passwords(world: &World) -> DuplexStream {
    let mut stream = world.connect(Kind::Passwords, Peer::LOCAL);
    let greeting = talk(&mut stream, HELLO, "DONE\n").await;
    for line in ["VERSION\t1\t", "MECH\tPLAIN\tplaintext\n", "\nSPID\t", "\nCUID\t", "\nCOOKIE\t"] {
        assert!(greeting.contains(line), "{line:?} is not in {greeting:?}");
    }
    assert!(greeting.contains("MECH\tSCRAM-SHA-256\tmutual-auth\n") && !greeting.contains("PLUS"));
    stream
}

#[tokio::test]
async fn passwords_are_checked() {
    let world = World::new().await;
    let mut stream = passwords(&world).await;
    let mut check = async |say: &str, expect: &str| {
        assert_eq!(talk(&mut stream, say, "\n").await, expect, "{say:?}");
    };
    // alice@example.test, secret; alice, wrong
    let right = "AGFsaWNlQGV4YW1wbGUudGVzdABzZWNyZXQ=";
    let wrong = "AGFsaWNlAHdyb25n";
    let ok = "OK\t1\tuser=alice@example.test\n";
    check(&format!("AUTH\t1\tPLAIN\tservice=smtp\tnologin\trip=192.0.2.1\tresp={right}\n"), ok)
        .await;
    check("AUTH\t2\tPLAIN\tservice=smtp\n", "CONT\t2\t\n").await;
    check(&format!("CONT\t2\t{right}\n"), "OK\t2\tuser=alice@example.test\n").await;
    check("AUTH\t3\tLOGIN\tservice=smtp\n", "CONT\t3\tVXNlcm5hbWU6\n").await;
    check("CONT\t3\tYWxpY2U=\n", "CONT\t3\tUGFzc3dvcmQ6\n").await;
    check("CONT\t3\tc2VjcmV0\n", "OK\t3\tuser=alice@example.test\n").await;
    let no = "FAIL\t4\tuser=alice@example.test\treason=wrong user name or password\n";
    check(&format!("AUTH\t4\tPLAIN\tservice=smtp\tresp={wrong}\n"), no).await;
    let none = "FAIL\t5\treason=there is no such mechanism here\n";
    check("AUTH\t5\tCRAM-MD5\tservice=smtp\n", none).await;
    check("AUTH\t6\tPLAIN\tservice=smtp\tresp=!!!\n", "FAIL\t6\treason=not understood\n").await;
    check("CONT\t9\tAAAA\n", "FAIL\t9\treason=there is no such exchange\n").await;
}

#[tokio::test]
async fn who_guesses_waits_where_they_are_and_nobody_else() {
    let world = World::new().await;
    let mut stream = passwords(&world).await;
    let mut last = String::new();
    for id in 1..=8 {
        let say =
            format!("AUTH\t{id}\tPLAIN\tservice=smtp\trip=192.0.2.1\tresp=AGFsaWNlAHdyb25n\n");
        last = talk(&mut stream, &say, "\n").await;
    }
    assert!(last.contains("\ttemp\t") && last.contains("too many wrong passwords"), "{last}");
    let right = "AGFsaWNlQGV4YW1wbGUudGVzdABzZWNyZXQ=";
    let say = format!("AUTH\t20\tPLAIN\tservice=smtp\trip=192.0.2.2\tresp={right}\n");
    assert_eq!(talk(&mut stream, &say, "\n").await, "OK\t20\tuser=alice@example.test\n");
}

#[tokio::test]
async fn what_is_not_the_protocol_is_closed() {
    let long = "x".repeat(20_000);
    for say in ["VERSION\t2\t0\n", "AUTH\tx\tPLAIN\n", "CONT\t\n", "hello\n", "\0\n", &long] {
        let world = World::new().await;
        let mut stream = passwords(&world).await;
        assert_eq!(talk(&mut stream, say, "").await, "", "{say:?}");
    }
    // Not from another machine, not even a greeting.
    let world = World::new().await;
    let far = Peer::plain("192.0.2.1".parse().unwrap());
    for kind in [Kind::Passwords, Kind::Tables] {
        let mut stream = world.connect(kind, far);
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"");
    }
}
