//! Letters into a real mail store.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod aliases;
mod forwards;
mod submit;

use bytes::Bytes;
use mda::{Config, Delivered, Envelope, Mda, Refusal};
use std::sync::Arc;
use storage::tools::{fsck, silent};
use storage::{Options, Store};
use tempfile::TempDir;
use types::{Clock, ManualClock, SystemClock, UidSet};

struct World {
    mda: Arc<Mda>,
    store: Store,
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
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at_unix_s(1_795_370_400));
        let store = Store::open(&Options::in_folder(folder.path()), clock.clone()).unwrap();
        for key in ["alice@example.test", "bob@example.test"] {
            store.put_account(key, "").await.unwrap();
        }
        let config = Config {
            hostname: "mx.example.test".to_owned(),
            domains: vec!["Example.test".to_owned(), "old.test".to_owned()],
            ..Config::default()
        };
        Self { mda: Mda::new(store.clone(), config, clock), store, _folder: Folder(folder) }
    }

    async fn envelope(&self, recipients: &[&str]) -> Arc<Envelope> {
        let mut found = Vec::new();
        for address in recipients {
            found.push(self.mda.recipient(&address.parse().unwrap(), 0).await.unwrap());
        }
        Arc::new(Envelope {
            sender: Some("sender@b.test".parse().unwrap()),
            recipients: found,
            client_ip: std::net::Ipv4Addr::LOCALHOST.into(),
            helo: "c.test".to_owned(),
            protocol: "LMTP",
            id: "ID7".to_owned(),
            origin: None,
            body: queue::Body::EightBit,
            utf8: false,
            require_tls: false,
            may_refuse: true,
        })
    }

    async fn count(&self, key: &str, mailbox: &str) -> u64 {
        let account = self.store.account_by_key(key).await.unwrap().unwrap().id;
        self.store.mailbox_by_name(account, mailbox).await.unwrap().total
    }
}

const LETTER: &str = "From: a@b.test\r\nDate: Sun, 22 Nov 2026 18:00:00 +0000\r\n\r\nhello\r\n";

#[tokio::test]
async fn recipients() {
    let world = World::new().await;
    for (address, expect) in [
        ("alice@example.test", Ok("alice@example.test")),
        ("ALICE+tag+more@EXAMPLE.test", Ok("ALICE+tag+more@example.test")),
        ("ghost@example.test", Err(Refusal::UnknownUser)),
        ("alice@other.test", Err(Refusal::OtherDomain)),
        ("alice@mx.example.test", Err(Refusal::OtherDomain)),
    ] {
        let found = world.mda.recipient(&address.parse().unwrap(), 0).await;
        let found = found.map(|r| r.address.to_string());
        assert_eq!(found, expect.map(str::to_owned), "{address}");
    }
    assert_eq!(world.mda.full_address("postmaster"), "postmaster@Example.test");
    assert_eq!(world.mda.full_address("a@b.test"), "a@b.test");
}

#[tokio::test]
async fn one_copy_for_each_account_and_one_answer_for_each_recipient() {
    let world = World::new().await;
    let to = ["alice+a@example.test", "bob@example.test", "alice+b@example.test"];
    let answers = world.mda.deliver(&world.envelope(&to).await, LETTER.into()).await;
    assert_eq!(answers, [Ok(Delivered::Inbox); 3]);
    assert_eq!(world.count("alice@example.test", "INBOX").await, 1);
    assert_eq!(world.count("bob@example.test", "INBOX").await, 1);
}

#[tokio::test]
async fn refusals_store_nothing() {
    let world = World::new().await;
    let envelope = world.envelope(&["alice@example.test", "bob@example.test"]).await;
    let looping = "Received: from a by b; now\r\n".repeat(51) + LETTER;
    let spam = format!("{LETTER}{}\r\n", mda::TEST_STRING);
    for (letter, refusal) in [(looping, Refusal::Loop), (spam, Refusal::Unwanted)] {
        let answers = world.mda.deliver(&envelope, letter.into()).await;
        assert_eq!(answers, [Err(refusal); 2]);
    }
    for mailbox in ["INBOX", "Junk"] {
        assert_eq!(world.count("alice@example.test", mailbox).await, 0);
    }
    let junk = format!("{LETTER}{}\r\n", mda::JUNK_STRING);
    let answers = world.mda.deliver(&envelope, junk.into()).await;
    assert_eq!(answers, [Ok(Delivered::Junk); 2]);
    assert_eq!(world.count("bob@example.test", "Junk").await, 1);
}

#[tokio::test]
async fn the_index_is_that_of_the_letter_with_its_trace() {
    let world = World::new().await;
    let envelope = world.envelope(&["alice@example.test"]).await;
    let large = format!("{LETTER}{}", "0123456789\r\n".repeat(100_000));
    for letter in [LETTER, &large, "", "\r\nbody\r\n", " folded\r\n", "Subject: only a header"] {
        let answers = world.mda.deliver(&envelope, Bytes::from(letter.to_owned())).await;
        assert_eq!(answers, [Ok(Delivered::Inbox)]);
        let alice = world.store.account_by_key("alice@example.test").await.unwrap().unwrap().id;
        let inbox = world.store.mailbox_by_name(alice, "INBOX").await.unwrap();
        let messages = world.store.messages(alice, inbox.id, &UidSet::all()).await.unwrap();
        let last = messages.last().unwrap();
        let email = world.store.emails(alice, &[last.email]).await.unwrap().remove(0);
        let bytes = world.store.bytes(&email).await.unwrap();
        assert!(bytes.starts_with(b"Return-Path: <sender@b.test>\r\nReceived: "));
        assert!(bytes.ends_with(letter.as_bytes()));
        assert_eq!(*email.index, mparser::Index::of(&bytes), "{letter:.40?}");
    }
}

#[tokio::test]
async fn a_closed_store_is_a_temporary_refusal() {
    let world = World::new().await;
    let envelope = world.envelope(&["alice@example.test", "bob@example.test"]).await;
    world.store.close().await;
    let answers = world.mda.deliver(&envelope, LETTER.into()).await;
    assert_eq!(answers, [Err(Refusal::Unavailable); 2]);
}

#[tokio::test]
async fn what_happened_is_counted() {
    let world = World::new().await;
    let mut registry = prometheus_client::registry::Registry::default();
    world.mda.register(&mut registry);
    let envelope = world.envelope(&["alice@example.test"]).await;
    world.mda.deliver(&envelope, LETTER.into()).await;
    world.mda.deliver(&envelope, mda::TEST_STRING.into()).await;
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    assert!(text.contains("mda_deliveries_total{outcome=\"inbox\"} 1\n"), "{text}");
    assert!(text.contains("mda_deliveries_total{outcome=\"refused\"} 1\n"), "{text}");
}
