//! What people, clients, other programs and disks do that they should not.

use crate::{EVERY, Scene, copy_folder, figure, fsck_finds_nothing, letter, uids};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use storage::{Error, Letter, Options, Patch, Query, Store, Target};
use types::{
    AccountId, EmailId, FlagChange, Flags, MailboxId, ManualClock, ModSeq, ThreadId, UidSet,
};

/// A folder as it lies there: every file with its bytes and the time of its last change.
fn as_it_lies(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, std::time::SystemTime)> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(as_it_lies(&path));
        } else {
            let changed = std::fs::metadata(&path).unwrap().modified().unwrap();
            files.insert(path.clone(), (std::fs::read(&path).unwrap(), changed));
        }
    }
    files
}

#[tokio::test]
async fn names_of_mailboxes() {
    let long = "x".repeat(5_000);
    let deep = vec!["a"; 500].join("/");
    let wide = "ż".repeat(128);
    let refused = [
        "",
        "/",
        "//",
        "/a",
        "a//b",
        "a/b//",
        ".",
        "..",
        "../x",
        "a/../b",
        "a/..",
        "./a",
        "a/.",
        "a\0b",
        "\0",
        "a\nb",
        "a\r\nb",
        "a\tb",
        "\u{7f}",
        "\u{85}",
        "a\u{1b}[31m",
        "a\u{fffd}b",
        "inbox//x",
        "INBOX/../x",
        &long,
        &deep,
        &wide,
    ];
    let taken = [
        ("inbox/Work", "INBOX/Work"),
        ("InBoX/Home", "INBOX/Home"),
        ("Trailing/", "Trailing"),
        ("inboxes", "inboxes"),
        ("a/INBOX", "a/INBOX"),
        ("&AOk-", "&AOk-"),
        ("caf\u{e9}", "caf\u{e9}"),
        ("Z\u{307}o\u{301}łte", "Żółte"),
        ("...", "..."),
        ("a\\b:*?\"<>|%", "a\\b:*?\"<>|%"),
        ("日本語/受信", "日本語/受信"),
        (" ", " "),
    ];
    for index in EVERY {
        let scene = Scene::on(index).await;
        let files = paths(scene.folder.path());
        are_refused(&scene, &refused).await;
        are_taken(&scene, &taken).await;
        assert_eq!(paths(scene.folder.path()), files, "a name is never a path");
    }
}

async fn are_refused(scene: &Scene, names: &[&str]) {
    let (alice, store) = (scene.alice, &scene.store);
    let work = store.create_mailbox(alice, "Other", None).await.unwrap().id;
    let state = store.state(alice).await.unwrap();
    for name in names {
        let made = store.create_mailbox(alice, name, None).await;
        assert!(matches!(made, Err(Error::MailboxName(_))), "{name:?}: {made:?}");
        let renamed = store.rename_mailbox(alice, work, name).await;
        assert!(matches!(renamed, Err(Error::MailboxName(_))), "{name:?}: {renamed:?}");
        let found = store.mailbox_by_name(alice, name).await;
        assert!(matches!(found, Err(Error::NoMailbox)), "{name:?}: {found:?}");
    }
    for name in ["inbox", "INBOX", "iNbOx/", "INBOX/"] {
        let made = store.create_mailbox(alice, name, None).await;
        assert!(matches!(made, Err(Error::MailboxExists)), "{name:?}: {made:?}");
    }
    assert_eq!(store.state(alice).await.unwrap(), state, "nothing was changed");
}

/// Each name and what it is stored as.
async fn are_taken(scene: &Scene, names: &[(&str, &str)]) {
    let (alice, store) = (scene.alice, &scene.store);
    for (name, stored) in names {
        let made = store.create_mailbox(alice, name, None).await.unwrap();
        assert_eq!(made.name, *stored, "{name:?}");
        assert_eq!(store.mailbox_by_name(alice, name).await.unwrap().id, made.id);
        let again = store.create_mailbox(alice, name, None).await;
        assert!(matches!(again, Err(Error::MailboxExists)), "{name:?}: {again:?}");
    }
    // Composed and decomposed are one name.
    let other = store.mailbox_by_name(alice, "cafe\u{301}").await.unwrap();
    assert_eq!(other.name, "caf\u{e9}");
}

/// Files and folders, without those that SQLite makes and removes.
fn paths(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = as_it_lies(folder).into_keys().collect();
    paths.retain(|path| !path.to_string_lossy().ends_with("-wal"));
    paths.retain(|path| !path.to_string_lossy().ends_with("-shm"));
    paths
}

#[tokio::test]
async fn as_deep_and_as_many_as_allowed() {
    let scene = Scene::new().await;
    let (alice, store) = (scene.alice, &scene.store);
    let deep = vec!["level"; 20].join("/");
    let made = store.create_mailbox(alice, &deep, None).await.unwrap();
    assert_eq!(store.mailboxes(alice).await.unwrap().len(), 6 + 20);
    let below = store.create_mailbox(alice, &format!("{deep}/x"), None).await;
    assert!(matches!(below, Err(Error::MailboxName(_))));
    // Renamed so that what is below would lie too deep: nothing is renamed.
    let top = scene.named("level").await;
    let renamed = store.rename_mailbox(alice, top.id, "a/b").await;
    assert!(matches!(renamed, Err(Error::MailboxName(_))), "{renamed:?}");
    assert_eq!(store.mailbox(alice, made.id).await.unwrap().name, deep);
    assert!(store.mailbox_by_name(alice, "a").await.is_err());
    store.rename_mailbox(alice, top.id, "other").await.unwrap();
    assert!(store.mailbox(alice, made.id).await.unwrap().name.starts_with("other/level/"));
}

/// What a call on something unknown came to.
fn word<T>(outcome: Result<T, Error>) -> String {
    match outcome {
        Ok(_) => "nothing to do".to_owned(),
        Err(Error::NoAccount) => "no account".to_owned(),
        Err(Error::NoMailbox) => "no mailbox".to_owned(),
        Err(Error::NoMessage) => "no message".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// Every call that takes an id, with the owner, mailbox and email given.
async fn every_call(
    store: &Store,
    account: AccountId,
    mailbox: MailboxId,
    email: EmailId,
) -> Vec<(&'static str, String)> {
    let seen = || FlagChange::Add(Flags::new(&[types::Flag::Seen]));
    let patch = || Patch { flags: Some(seen()), mailboxes: None };
    let into = || Patch { flags: None, mailboxes: Some(vec![mailbox]) };
    let one = || uids(&[1]);
    let raw = || Letter::parse(letter(9).into());
    let inbox = MailboxId(1);
    let delivered = store.deliver(raw(), vec![Target::inbox(account)]).await.unwrap().remove(0);
    vec![
        ("account", word(store.account(account).await)),
        ("set_quota", word(store.set_quota(account, storage::Amount::default()).await)),
        ("deliver", word(delivered)),
        ("append", word(store.append(account, mailbox, raw(), Flags::default(), None).await)),
        ("store_flags", word(store.store_flags(account, mailbox, one(), seen(), None).await)),
        ("copy from", word(store.copy(account, mailbox, one(), inbox).await)),
        ("copy to", word(store.copy(account, inbox, one(), mailbox).await)),
        ("move from", word(store.move_messages(account, mailbox, one(), inbox).await)),
        ("move to", word(store.move_messages(account, inbox, one(), mailbox).await)),
        ("expunge", word(store.expunge(account, mailbox, one()).await)),
        ("remove", word(store.remove(account, mailbox, one()).await)),
        ("patch_email", word(store.patch_email(account, email, patch()).await)),
        ("patch into", word(store.patch_email(account, email, into()).await)),
        ("destroy_email", word(store.destroy_email(account, email).await)),
        ("create_mailbox", word(store.create_mailbox(account, "New/One", None).await)),
        ("rename_mailbox", word(store.rename_mailbox(account, mailbox, "Renamed").await)),
        ("delete_mailbox", word(store.delete_mailbox(account, mailbox).await)),
        ("subscribe", word(store.subscribe_mailbox(account, mailbox, false).await)),
        ("mailboxes", word(store.mailboxes(account).await)),
        ("mailbox", word(store.mailbox(account, mailbox).await)),
        ("mailbox_by_name", word(store.mailbox_by_name(account, "Nowhere").await)),
        ("snapshot", word(store.snapshot(account, mailbox).await)),
        ("messages", word(store.messages(account, mailbox, &UidSet::all()).await.map(empty))),
        ("emails", word(store.emails(account, &[email]).await.map(empty))),
        ("homes", word(store.homes(account, email).await.map(empty))),
        ("thread", word(store.thread(account, ThreadId(email.0)).await.map(empty))),
        ("search", word(store.search(account, mailbox, Query::All).await.map(empty))),
        ("state", word(store.state(account).await)),
        ("changes", word(store.changes(account, ModSeq(0), 9).await)),
    ]
}

#[expect(clippy::needless_pass_by_value, reason = "taken out of a result")]
fn empty<T: std::fmt::Debug>(rows: Vec<T>) {
    assert!(rows.is_empty(), "{rows:?}");
}

#[tokio::test]
async fn unknown_ids() {
    for index in EVERY {
        let scene = Scene::on(index).await;
        let bob = scene.store.put_account("bob@example.test", "").await.unwrap();
        let bobs = scene.store.deliver(Letter::parse(letter(1).into()), vec![Target::inbox(bob)]);
        let bobs = bobs.await.unwrap().remove(0).unwrap();
        let states =
            (scene.store.state(scene.alice).await.unwrap(), scene.store.state(bob).await.unwrap());
        let letters = figure(&scene.store, "storage_letters_total");

        let nobody = AccountId(99);
        for (call, outcome) in every_call(&scene.store, nobody, MailboxId(1), bobs.email).await {
            let expect = match call {
                "account" | "set_quota" | "deliver" | "append" | "create_mailbox" | "state"
                | "changes" => "no account",
                "mailboxes" | "messages" | "emails" | "homes" | "thread" => "nothing to do",
                "patch_email" | "patch into" | "destroy_email" => "no message",
                _ => "no mailbox",
            };
            assert_eq!(outcome, expect, "{index} {call} of account 99");
        }
        assert_eq!(figure(&scene.store, "storage_letters_total"), letters);

        // An account that is there, a mailbox that is not, and a letter of somebody else.
        let carol = scene.store.put_account("carol@example.test", "").await.unwrap();
        for mailbox in [MailboxId(0), MailboxId(77), MailboxId(u32::MAX)] {
            for (call, outcome) in every_call_on_mailbox(&scene.store, carol, mailbox).await {
                let expect = if call == "messages" { "nothing to do" } else { "no mailbox" };
                assert_eq!(outcome, expect, "{index} {call} in mailbox {mailbox}");
            }
        }
        for email in [bobs.email, EmailId(0), EmailId(u64::MAX)] {
            for (call, outcome) in every_call_on_email(&scene.store, carol, email).await {
                let reads = ["emails", "homes", "thread"].contains(&call);
                let expect = if reads { "nothing to do" } else { "no message" };
                assert_eq!(outcome, expect, "{index} {call} of email {email}");
            }
        }
        assert_eq!(scene.store.state(scene.alice).await.unwrap(), states.0);
        assert_eq!(scene.store.state(bob).await.unwrap(), states.1);
        let left = scene.store.homes(bob, bobs.email).await.unwrap();
        assert_eq!(left.len(), 1, "bob's letter is still there");
    }
}

async fn every_call_on_mailbox(
    store: &Store,
    account: AccountId,
    mailbox: MailboxId,
) -> Vec<(&'static str, String)> {
    let mut calls = every_call(store, account, mailbox, EmailId(u64::MAX)).await;
    store.remove(account, MailboxId(1), UidSet::all()).await.unwrap();
    let made = store.mailbox_by_name(account, "New").await.unwrap().id;
    let below = store.mailbox_by_name(account, "New/One").await.unwrap().id;
    store.delete_mailbox(account, below).await.unwrap();
    store.delete_mailbox(account, made).await.unwrap();
    calls.retain(|(call, _)| {
        [
            "append",
            "store_flags",
            "copy from",
            "copy to",
            "move from",
            "move to",
            "expunge",
            "remove",
            "rename_mailbox",
            "delete_mailbox",
            "subscribe",
            "mailbox",
            "snapshot",
            "messages",
            "search",
        ]
        .contains(call)
    });
    assert_eq!(calls.len(), 15);
    calls
}

async fn every_call_on_email(
    store: &Store,
    account: AccountId,
    email: EmailId,
) -> Vec<(&'static str, String)> {
    let patch = Patch { flags: None, mailboxes: Some(vec![MailboxId(1)]) };
    vec![
        ("patch_email", word(store.patch_email(account, email, patch).await)),
        ("destroy_email", word(store.destroy_email(account, email).await)),
        ("emails", word(store.emails(account, &[email]).await.map(empty))),
        ("homes", word(store.homes(account, email).await.map(empty))),
        ("thread", word(store.thread(account, ThreadId(email.0)).await.map(empty))),
    ]
}

// --- the data folder

/// The folder that [`opens_a_folder`] opens when it runs as a second process.
const FOLDER: &str = "OPENPOCZTA_TEST_FOLDER";

#[test]
#[ignore = "the second process of the test below"]
fn opens_a_folder() {
    let folder = std::env::var_os(FOLDER).unwrap();
    let clock = Arc::new(ManualClock::at_unix_s(0));
    let refused = Store::open(&Options::in_folder(PathBuf::from(folder)), clock).err().unwrap();
    assert!(matches!(refused, Error::InUse { .. }));
    panic!("refused: {refused}");
}

#[tokio::test]
async fn a_folder_opened_twice_names_the_first() {
    let scene = Scene::new().await;
    scene.deliver(&letter(1)).await;
    let expect = format!(
        "the data folder {} is in use by process {}; stop that one first",
        scene.folder.path().display(),
        std::process::id()
    );
    for _ in 0..2 {
        let refused = Store::open(&scene.options, scene.clock.clone()).err().unwrap();
        assert_eq!(refused.to_string(), expect);
    }
    let second = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "bad_input::opens_a_folder", "--ignored", "--nocapture"])
        .env(FOLDER, scene.folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(!second.status.success());
    assert!(said.contains(&format!("refused: {expect}")), "{said}");
    // The first did not notice.
    scene.deliver(&letter(2)).await;
    assert_eq!(scene.shown("INBOX").await, "1: 2:");
    let scene = scene.reopen().await;
    assert_eq!(scene.shown("INBOX").await, "1: 2:");
}

/// A store with a letter, in which a newer version has been.
async fn newer(change: impl Fn(&Path)) -> Error {
    let scene = Scene::new().await;
    scene.deliver(&letter(1)).await;
    scene.store.close().await;
    let Scene { folder, options, clock, store, .. } = scene;
    drop(store);
    // The last thread that has the index open takes these away.
    while folder.path().join("index.sqlite-wal").exists() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let copy = tempfile::tempdir().unwrap();
    copy_folder(folder.path(), copy.path());
    // Another process was here last: our number in it would be a change.
    std::fs::write(copy.path().join("lock"), "1\n").unwrap();
    change(copy.path());
    let before = as_it_lies(copy.path());
    let options = Options { folder: copy.path().to_owned(), ..options };
    let refused = Store::open(&options, clock.clone()).err().unwrap();
    assert!(as_it_lies(copy.path()) == before, "the folder was changed: {refused}");
    refused
}

#[tokio::test]
async fn a_folder_of_a_newer_version_is_refused_and_left_as_it_is() {
    for text in ["openpoczta 3\n", "openpoczta 99", "openpoczta x", "something else", "7"] {
        let refused = newer(|folder| std::fs::write(folder.join("FORMAT"), text).unwrap()).await;
        assert!(matches!(refused, Error::Newer { .. }), "{text:?}: {refused}");
    }
    let segment = newer(|folder| {
        let path = folder.join("log/0000000000000001.seg");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[4] = 2;
        let hash = blake3::hash(&bytes[..64]);
        bytes[64..80].copy_from_slice(&hash.as_bytes()[..16]);
        std::fs::write(&path, bytes).unwrap();
    });
    let refused = segment.await;
    assert!(
        matches!(&refused, Error::Newer { found, .. } if found.starts_with("2 of segment")),
        "{refused}"
    );
    let index = newer(|folder| {
        let path = folder.join("index.sqlite");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[60..64].copy_from_slice(&99_u32.to_be_bytes());
        std::fs::write(&path, bytes).unwrap();
    });
    let refused = index.await;
    assert!(refused.to_string().contains("newer version (format 99"), "{refused}");
}

#[tokio::test]
async fn a_folder_of_an_older_format_is_taken_over() {
    for text in ["openpoczta 1\n", ""] {
        let scene = Scene::new().await;
        scene.deliver(&letter(1)).await;
        scene.store.close().await;
        let Scene { folder, options, clock, store, alice } = scene;
        drop(store);
        std::fs::write(folder.path().join("FORMAT"), text).unwrap();
        let store = Store::open(&options, clock.clone()).unwrap();
        let scene = Scene { folder, options, clock, store, alice };
        assert_eq!(scene.shown("INBOX").await, "1:");
        let format = std::fs::read_to_string(scene.folder.path().join("FORMAT")).unwrap();
        assert_eq!(format, "openpoczta 2\n");
    }
}

// --- a full disk

/// A disk of its own, small, for as long as it lives.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None`: this user may not mount one.
    fn new(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(folder.path());
        let done = mount.output().is_ok_and(|done| done.status.success());
        done.then_some(Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let gone = Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(gone.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

fn large(n: u32) -> Letter {
    Letter::parse(format!("{}{}", letter(n), "a line of a long letter\r\n".repeat(8_000)).into())
}

#[tokio::test]
#[expect(clippy::print_stderr, reason = "whoever reads the log must see that it was not run")]
async fn a_disk_that_is_really_full() {
    let Some(disk) = SmallDisk::new("24m") else {
        eprintln!("SKIPPED: a_disk_that_is_really_full needs the right to mount a tmpfs");
        return;
    };
    let options =
        Options { reserve_bytes: 6 << 20, ..Options::in_folder(disk.0.path().join("mail")) };
    let clock = Arc::new(ManualClock::at_unix_s(crate::NOW_UNIX_S));
    let store = Store::open(&options, clock.clone()).unwrap();
    let alice = store.put_account("alice@example.test", "").await.unwrap();
    let inbox = store.mailbox_by_name(alice, "INBOX").await.unwrap().id;
    // Somebody else's file takes a part of it.
    let other = disk.0.path().join("other");
    std::fs::write(&other, vec![7; 6 << 20]).unwrap();
    let mut taken = 0;
    let refused = loop {
        match store.deliver(large(taken), vec![Target::inbox(alice)]).await {
            Ok(outcomes) => drop(outcomes.into_iter().next().unwrap().unwrap()),
            Err(error) => break error,
        }
        taken += 1;
        assert!(taken < 200, "it never gets full");
    };
    assert!(matches!(refused, Error::DiskFull), "{refused}");
    assert!(matches!(store.health().await, Err(Error::DiskFull)));
    assert!(taken > 10, "{taken} letters");
    // What makes no letter goes on: flags, folders, moves, deletes.
    let seen = FlagChange::Add(Flags::new(&[types::Flag::Seen]));
    store.store_flags(alice, inbox, UidSet::all(), seen, None).await.unwrap();
    let work = store.create_mailbox(alice, "Work", None).await.unwrap().id;
    store.move_messages(alice, inbox, uids(&[1, 2]), work).await.unwrap();
    store.remove(alice, inbox, uids(&[3, 4, 5])).await.unwrap();
    let again = store.deliver(large(999), vec![Target::inbox(alice)]).await;
    assert!(matches!(again, Err(Error::DiskFull)));
    // Room again: it goes on by itself.
    std::fs::remove_file(&other).unwrap();
    store.health().await.unwrap();
    let arrived = store.deliver(large(1000), vec![Target::inbox(alice)]).await.unwrap().remove(0);
    assert_eq!(arrived.unwrap().uid.get(), taken + 1);
    store.close().await;
    drop(store);
    fsck_finds_nothing(&options.folder);
    let store = Store::open(&options, clock.clone()).unwrap();
    let rows = store.messages(alice, inbox, &UidSet::all()).await.unwrap();
    assert_eq!(rows.len(), taken as usize - 5 + 1);
    assert_eq!(store.messages(alice, work, &UidSet::all()).await.unwrap().len(), 2);
    for row in &rows {
        let email = store.emails(alice, &[row.email]).await.unwrap().remove(0);
        assert_eq!(store.bytes(&email).await.unwrap().len(), row.size_bytes as usize);
    }
    store.close().await;
}

/// Without a reserve the disk gets full to the last byte, in the middle of a letter.
#[tokio::test]
#[expect(clippy::print_stderr, reason = "whoever reads the log must see that it was not run")]
async fn a_disk_that_is_full_to_the_last_byte() {
    let Some(disk) = SmallDisk::new("24m") else {
        eprintln!("SKIPPED: a_disk_that_is_full_to_the_last_byte needs the right to mount a tmpfs");
        return;
    };
    let options = Options { reserve_bytes: 0, ..Options::in_folder(disk.0.path().join("mail")) };
    let clock = Arc::new(ManualClock::at_unix_s(crate::NOW_UNIX_S));
    let store = Store::open(&options, clock.clone()).unwrap();
    let alice = store.put_account("alice@example.test", "").await.unwrap();
    let inbox = store.mailbox_by_name(alice, "INBOX").await.unwrap().id;
    let other = disk.0.path().join("other");
    std::fs::write(&other, vec![7; 4 << 20]).unwrap();
    let mut taken = Vec::new();
    let refused = loop {
        let n = u32::try_from(taken.len()).unwrap();
        match store.deliver(large(n), vec![Target::inbox(alice)]).await {
            Ok(outcomes) => taken.push(outcomes.into_iter().next().unwrap().unwrap().uid),
            Err(error) => break error,
        }
        assert!(taken.len() < 200, "it never gets full");
    };
    assert!(matches!(refused, Error::DiskFull | Error::Poisoned(_)), "{refused}");
    std::fs::remove_file(&other).unwrap();
    // Either it goes on by itself, or, when it could not know what is on the disk, after a restart.
    let store = if matches!(refused, Error::DiskFull) {
        store
    } else {
        store.close().await;
        drop(store);
        Store::open(&options, clock.clone()).unwrap()
    };
    let arrived = store.deliver(large(1000), vec![Target::inbox(alice)]).await.unwrap().remove(0);
    taken.push(arrived.unwrap().uid);
    store.close().await;
    drop(store);
    fsck_finds_nothing(&options.folder);
    let store = Store::open(&options, clock).unwrap();
    let rows = store.messages(alice, inbox, &UidSet::all()).await.unwrap();
    let there: Vec<_> = rows.iter().map(|row| row.uid).collect();
    assert_eq!(there, taken, "all that was acknowledged and nothing else");
    store.close().await;
}
