//! The store through its door, on every index engine.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod aliases;
mod arriving;
mod at_once;
mod bad_input;
mod behind;
mod bit_flips;
mod changes;
mod clicks;
mod crash;
mod dump;
mod fixtures;
mod kill;
mod mailboxes;
mod messages;
mod notes;
mod packing;
#[path = "../../../db/tests/postgres/mod.rs"]
mod postgres;
mod quota;
mod reading;
mod rebuild;
mod restart;
mod searching;
mod shared;
mod tools;

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;
use storage::tools::{fsck, silent};
use storage::{Arrived, Letter, Mailbox, Message, Options, Store, Target};
use types::{AccountId, Clock, Date, Flag, Flags, ManualClock, SpecialUse, Uid, UidSet};

/// Where the rows are: with a log behind them, or in a database that is the truth itself.
pub(crate) const EVERY: [&str; 3] = ["sqlite:", "memory:", "postgres:"];

/// 2026-11-22 18:00:00 UTC
pub(crate) const NOW_UNIX_S: i64 = 1_795_370_400;

/// A store in a folder of its own with one account, alice.
pub(crate) struct Scene {
    pub(crate) folder: Folder,
    pub(crate) options: Options,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) store: Store,
    pub(crate) alice: AccountId,
}

/// The data folder of a test. When it goes, `fsck` looks into it and must find nothing, whatever the test was about.
pub(crate) struct Folder(Option<tempfile::TempDir>);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(Some(tempfile::tempdir().unwrap()))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.as_ref().unwrap().path()
    }

    /// For a test that damages it and looks for itself.
    pub(crate) fn unchecked(mut self) -> tempfile::TempDir {
        self.0.take().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Some(folder) = &self.0
            && !std::thread::panicking()
        {
            fsck_finds_nothing(folder.path());
        }
    }
}

/// Reads the whole log and compares the index with it. A store may be open there. A folder without a log, of a
/// store in a database, is let pass.
#[track_caller]
pub(crate) fn fsck_finds_nothing(folder: &Path) {
    if !folder.join("log").is_dir() {
        return;
    }
    let mut options = Options::in_folder(folder);
    if !folder.join("index.sqlite").exists() {
        "memory:".clone_into(&mut options.index);
    }
    let report = fsck(&options, false, &ManualClock::at_unix_s(NOW_UNIX_S), &silent).unwrap();
    assert!(report.is_fine(), "fsck of {}: {:#?}", folder.display(), report.findings);
}

thread_local! {
    /// Removed when the test's thread ends.
    static DATABASES: RefCell<Vec<postgres::Database>> = const { RefCell::new(Vec::new()) };
}

/// The address of an empty database for this test.
fn database() -> String {
    let database = postgres::Database::new();
    let url = database.url.clone();
    DATABASES.with_borrow_mut(|databases| databases.push(database));
    url
}

impl Scene {
    pub(crate) async fn new() -> Self {
        Self::on("sqlite:").await
    }

    pub(crate) async fn on(index: &str) -> Self {
        let folder = Folder::new();
        let clock = Arc::new(ManualClock::at_unix_s(NOW_UNIX_S));
        let mut options = Options::in_folder(folder.path());
        options.index = if index == "postgres:" { database() } else { index.to_owned() };
        let store = Store::open(&options, clock.clone()).unwrap();
        let alice = store.put_account("alice@example.test", "").await.unwrap();
        Self { folder, options, clock, store, alice }
    }

    /// Closes the store and opens the same folder again.
    pub(crate) async fn reopen(self) -> Self {
        let Self { folder, options, clock, store, alice } = self;
        store.close().await;
        drop(store);
        let store = Store::open(&options, clock.clone()).unwrap();
        Self { folder, options, clock, store, alice }
    }

    pub(crate) fn log(&self) -> std::path::PathBuf {
        self.folder.path().join("log").join("0000000000000001.seg")
    }

    pub(crate) async fn inbox(&self) -> Mailbox {
        self.store.mailbox_by_name(self.alice, "inbox").await.unwrap()
    }

    pub(crate) async fn named(&self, name: &str) -> Mailbox {
        self.store.mailbox_by_name(self.alice, name).await.unwrap()
    }

    pub(crate) async fn deliver(&self, raw: &str) -> Arrived {
        let letter = Letter::parse(raw.to_owned().into());
        let mut outcomes =
            self.store.deliver(letter, vec![Target::inbox(self.alice)]).await.unwrap();
        outcomes.pop().unwrap().unwrap()
    }

    pub(crate) async fn rows(&self, name: &str) -> Vec<Message> {
        let mailbox = self.named(name).await;
        self.store.messages(self.alice, mailbox.id, &UidSet::all()).await.unwrap()
    }

    /// `1:\Seen 4:` for a mailbox with UID 1, seen, and UID 4.
    pub(crate) async fn shown(&self, name: &str) -> String {
        let rows = self.rows(name).await;
        rows.iter().map(|row| format!("{}:{}", row.uid, row.flags)).collect::<Vec<_>>().join(" ")
    }

    pub(crate) async fn raw(&self, row: &Message) -> Vec<u8> {
        let email = self.store.emails(self.alice, &[row.email]).await.unwrap().pop().unwrap();
        self.store.bytes(&email).await.unwrap().to_vec()
    }

    /// Counters of every mailbox are those of its rows.
    pub(crate) async fn check_counters(&self) {
        counters_agree(&self.store, self.alice).await;
    }
}

pub(crate) async fn counters_agree(store: &Store, account: AccountId) {
    for mailbox in store.mailboxes(account).await.unwrap() {
        let rows = store.messages(account, mailbox.id, &UidSet::all()).await.unwrap();
        let with = |flag| rows.iter().filter(|row| row.flags.contains(flag)).count() as u64;
        assert_eq!(mailbox.total, rows.len() as u64, "{}", mailbox.name);
        assert_eq!(mailbox.unseen, mailbox.total - with(Flag::Seen), "{}", mailbox.name);
        assert_eq!(mailbox.deleted, with(Flag::Deleted), "{}", mailbox.name);
        let bytes: u64 = rows.iter().map(|row| u64::from(row.size_bytes)).sum();
        assert_eq!(mailbox.size_bytes, bytes, "{}", mailbox.name);
        let next = mailbox.uid_next.unwrap();
        assert!(rows.iter().all(|row| row.uid < next), "{}", mailbox.name);
    }
}

pub(crate) fn uid(n: u32) -> Uid {
    Uid::new(n).unwrap()
}

pub(crate) fn uids(list: &[u32]) -> UidSet {
    list.iter().map(|n| uid(*n)).collect()
}

pub(crate) fn letter(n: u32) -> String {
    format!(
        "From: Bob <bob@example.test>\r\nTo: alice@example.test\r\nSubject: letter {n}\r\n\
         Message-ID: <{n}@example.test>\r\nDate: {}\r\n\r\nbody {n}\r\n",
        Date::from_unix_s(NOW_UNIX_S).rfc5322()
    )
}

/// A counter of the store.
pub(crate) fn figure(store: &Store, name: &str) -> u64 {
    let mut registry = prometheus_client::registry::Registry::default();
    store.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

pub(crate) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Waits until the last thread of a store has closed the index: its files then stay what they are.
pub(crate) async fn settled(folder: &Path) {
    for _ in 0..500 {
        if !folder.join("index.sqlite-wal").exists() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_new_account_has_the_standard_mailboxes() {
    for index in EVERY {
        let scene = Scene::on(index).await;
        let rows = scene.store.mailboxes(scene.alice).await.unwrap();
        let shown: Vec<_> = rows.iter().map(|r| (r.name.as_str(), r.special_use)).collect();
        let expect = [
            ("INBOX", Some(SpecialUse::Inbox)),
            ("Archive", Some(SpecialUse::Archive)),
            ("Drafts", Some(SpecialUse::Drafts)),
            ("Junk", Some(SpecialUse::Junk)),
            ("Sent", Some(SpecialUse::Sent)),
            ("Trash", Some(SpecialUse::Trash)),
        ];
        assert_eq!(shown, expect);
        let again = scene.store.put_account("alice@example.test", "new").await.unwrap();
        assert_eq!(again, scene.alice);
        let bob = scene.store.put_account("bob@example.test", "").await.unwrap();
        assert_ne!(bob, scene.alice);
        let row = scene.store.account_by_key("alice@example.test").await.unwrap().unwrap();
        assert_eq!(row.secret, "new");
        assert!(scene.store.account_by_key("carol@example.test").await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_letter_comes_back_byte_for_byte() {
    for index in EVERY {
        let scene = Scene::on(index).await;
        let large = format!("Subject: large\n\n{}\0end without a line end", "x".repeat(3_000_000));
        let raws = [letter(1), String::new(), "no header at all".to_owned(), large];
        for raw in &raws {
            scene.deliver(raw).await;
        }
        let scene = scene.reopen().await;
        let rows = scene.rows("INBOX").await;
        for ((row, raw), n) in rows.iter().zip(&raws).zip(1..) {
            assert_eq!((row.uid, row.size_bytes as usize), (uid(n), raw.len()));
            assert!(scene.raw(row).await == raw.as_bytes(), "letter {n}");
            let email = scene.store.emails(scene.alice, &[row.email]).await.unwrap().pop().unwrap();
            let part = scene.store.range(&email, 3..9).await.unwrap();
            assert_eq!(&part[..], raw.as_bytes().get(3..9).unwrap_or_default());
            assert!(scene.store.range(&email, u32::MAX - 1..u32::MAX).await.unwrap().is_empty());
        }
        scene.check_counters().await;
    }
}

#[tokio::test]
async fn many_at_once_share_syncs_and_get_their_own_uids() {
    for index in EVERY {
        let scene = Arc::new(Scene::on(index).await);
        let tasks: Vec<_> = (0..200)
            .map(|n| {
                let scene = scene.clone();
                tokio::spawn(async move { scene.deliver(&letter(n)).await.uid })
            })
            .collect();
        let mut seen = UidSet::new();
        for task in tasks {
            seen.insert(task.await.unwrap());
        }
        assert_eq!(seen.to_string(), "1:200");
        assert_eq!(figure(&scene.store, "storage_letters_total"), 200);
        let batches = figure(&scene.store, "storage_batches_total");
        assert!(batches < 150, "{batches}");
        scene.check_counters().await;
    }
}

#[tokio::test]
async fn one_letter_for_several_accounts_is_stored_once() {
    let scene = Scene::new().await;
    let bob = scene.store.put_account("bob@example.test", "").await.unwrap();
    let before = std::fs::metadata(scene.log()).unwrap().len();
    let letter = Letter::parse("x".repeat(100_000).into());
    let targets = vec![
        Target::inbox(scene.alice),
        Target::inbox(AccountId(99)),
        Target { flags: Flags::new(&[Flag::Seen]), ..Target::inbox(bob) },
    ];
    let outcomes = scene.store.deliver(letter, targets).await.unwrap();
    let kinds: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
    assert_eq!(kinds, [true, false, true]);
    let grown = std::fs::metadata(scene.log()).unwrap().len() - before;
    assert!(grown < 102_000, "{grown} bytes for one letter of 100,000");
    let (a, b) = (outcomes[0].as_ref().unwrap(), outcomes[2].as_ref().unwrap());
    assert_ne!(a.email, b.email, "an email belongs to one account");
    assert!(scene.store.emails(scene.alice, &[b.email]).await.unwrap().is_empty());
}

#[tokio::test]
async fn listeners_hear_of_their_account_alone() {
    for index in EVERY {
        let scene = Scene::on(index).await;
        let bob = scene.store.put_account("bob@example.test", "").await.unwrap();
        let (mut alice, mut other) = (scene.store.watch(scene.alice), scene.store.watch(bob));
        alice.seen();
        other.seen();
        let arrived = scene.deliver(&letter(1)).await;
        assert!(alice.changed().await);
        assert_eq!(alice.seen(), arrived.modseq);
        let silence = tokio::time::timeout(std::time::Duration::from_millis(50), other.changed());
        assert!(silence.await.is_err());
    }
}

#[tokio::test]
async fn after_closing_changes_are_refused_and_reads_go_on() {
    for index in EVERY {
        let scene = Scene::on(index).await;
        scene.deliver(&letter(1)).await;
        scene.store.close().await;
        let letter = Letter::parse(letter(2).into());
        let refused = scene.store.deliver(letter, vec![Target::inbox(scene.alice)]).await;
        assert!(matches!(refused, Err(storage::Error::Closed)));
        assert_eq!(scene.shown("INBOX").await, "1:");
        assert_eq!(scene.clock.now_unix_s(), NOW_UNIX_S);
    }
}
