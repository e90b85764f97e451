//! What the operator's tools find, put right, copy and carry over.

use crate::{Folder, NOW_UNIX_S, Scene, copy_folder, letter, uids};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use storage::tools::{
    Form, ImportFrom, Report, backup, export, fsck, import, inspect_folder, inspect_letter,
    inspect_segment, restore, silent,
};
use storage::{Error, Letter, Options, Patch, Store, Target};
use types::{AccountId, Flag, FlagChange, Flags, ManualClock, UidSet};

/// A scene whose segments are small.
async fn scene() -> Scene {
    let folder = Folder::new();
    let options = Options { segment_bytes: 2_600, ..Options::in_folder(folder.path()) };
    let clock = Arc::new(ManualClock::at_unix_s(NOW_UNIX_S));
    let store = Store::open(&options, clock.clone()).unwrap();
    let alice = store.put_account("alice@example.test", "$hash").await.unwrap();
    store.put_account("bob@example.test", "").await.unwrap();
    Scene { folder, options, clock, store, alice }
}

fn flags(names: &str) -> Flags {
    let mut flags = Flags::default();
    names.split(' ').for_each(|name| assert!(flags.insert_name(name), "{name}"));
    flags
}

/// Some of everything that can happen to mail; `after` is called after each step.
async fn live(scene: &Scene, mut after: impl FnMut(&str)) {
    let (store, alice) = (&scene.store, scene.alice);
    for n in 1..=12 {
        scene.deliver(&letter(n)).await;
    }
    after("letters");
    let inbox = scene.inbox().await.id;
    let add = |names| FlagChange::Add(flags(names));
    store.store_flags(alice, inbox, uids(&[2, 5, 9]), add("\\Flagged $Work"), None).await.unwrap();
    store.store_flags(alice, inbox, uids(&[2]), add("\\Seen"), None).await.unwrap();
    after("flags");
    let trash = scene.named("Trash").await.id;
    store.move_messages(alice, inbox, uids(&[3, 4]), trash).await.unwrap();
    store.copy(alice, inbox, uids(&[2, 5]), trash).await.unwrap();
    after("move and copy");
    store.remove(alice, inbox, uids(&[6, 7])).await.unwrap();
    store.store_flags(alice, inbox, uids(&[8]), add("\\Deleted"), None).await.unwrap();
    store.expunge(alice, inbox, UidSet::all()).await.unwrap();
    after("remove and expunge");
    let made = store.create_mailbox(alice, "Praca/Góry v1.2", None).await.unwrap().id;
    store.copy(alice, inbox, uids(&[9, 10]), made).await.unwrap();
    store.rename_mailbox(alice, made, "Praca/Szczyty v1.2").await.unwrap();
    let gone = store.create_mailbox(alice, "Krótko", None).await.unwrap().id;
    store.copy(alice, inbox, uids(&[11]), gone).await.unwrap();
    store.delete_mailbox(alice, gone).await.unwrap();
    store.subscribe_mailbox(alice, trash, false).await.unwrap();
    after("mailboxes");
    let bob = store.account_by_key("bob@example.test").await.unwrap().unwrap().id;
    let both = vec![Target::inbox(alice), Target { flags: flags("$Oboje"), ..Target::inbox(bob) }];
    store.deliver(Letter::parse(letter(13).into()), both).await.unwrap();
    let last = scene.rows("INBOX").await.pop().unwrap();
    let patch = Patch { flags: Some(add("\\Answered")), mailboxes: Some(vec![inbox, made]) };
    store.patch_email(alice, last.email, patch).await.unwrap();
    store.put_account("bob@example.test", "$other").await.unwrap();
    after("two accounts");
}

fn clock() -> ManualClock {
    ManualClock::at_unix_s(NOW_UNIX_S)
}

fn check(folder: &Path) -> Report {
    fsck(&Options::in_folder(folder), false, &clock(), &silent).unwrap()
}

fn repair(folder: &Path) -> Report {
    fsck(&Options::in_folder(folder), true, &clock(), &silent).unwrap()
}

#[track_caller]
fn fine(folder: &Path, when: &str) {
    let report = check(folder);
    assert!(report.is_fine(), "{when}: {:#?}", report.findings);
}

/// The folder of a store that has lived and was closed.
async fn closed() -> tempfile::TempDir {
    let scene = scene().await;
    live(&scene, |_| {}).await;
    scene.store.close().await;
    drop(scene.store);
    settled(scene.folder.path()).await;
    scene.folder.unchecked()
}

/// Waits until the last thread of a store has closed the index: its files then stay what they are.
async fn settled(folder: &Path) {
    for _ in 0..500 {
        if !folder.join("index.sqlite-wal").exists() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// A message without what a new store gives it: mailbox, flags, date, bytes.
type Mail = (String, String, i64, Vec<u8>);

/// All mail of an account, sorted.
async fn mail(store: &Store, key: &str) -> Vec<Mail> {
    let account = store.account_by_key(key).await.unwrap().unwrap().id;
    let mut all = Vec::new();
    for mailbox in store.mailboxes(account).await.unwrap() {
        for row in store.messages(account, mailbox.id, &UidSet::all()).await.unwrap() {
            let email = store.emails(account, &[row.email]).await.unwrap().pop().unwrap();
            let bytes = store.bytes(&email).await.unwrap().to_vec();
            all.push((mailbox.name.clone(), row.flags.to_string(), row.received_unix_s, bytes));
        }
    }
    all.sort();
    all
}

async fn mail_in(folder: &Path) -> Vec<Mail> {
    let store = Store::open(&Options::in_folder(folder), Arc::new(clock())).unwrap();
    let all = mail(&store, "alice@example.test").await;
    store.close().await;
    drop(store);
    settled(folder).await;
    all
}

#[tokio::test]
async fn fsck_finds_nothing_while_a_store_lives_and_after() {
    let scene = scene().await;
    let folder = scene.folder.path().to_owned();
    let mut pids = 0;
    live(&scene, |step| {
        let report = check(&folder);
        assert!(report.is_fine(), "{step}: {:#?}", report.findings);
        pids += u32::from(report.server_pid == Some(std::process::id().to_string()));
    })
    .await;
    assert_eq!(pids, 6);
    let refused = fsck(&scene.options, true, &*scene.clock, &silent);
    assert!(matches!(refused, Err(Error::InUse { .. })), "{refused:?}");
    scene.store.close().await;
    drop(scene.store);
    fine(&folder, "closed");
    let report = check(&folder);
    assert!(report.compared && report.server_pid.is_none() && report.segments > 1);
    assert_eq!((report.letters, report.accounts), (13, 2));
    // What a crash leaves: the tail of the log is ahead of the index, and torn.
    let path = last_segment(&folder);
    let length = std::fs::metadata(&path).unwrap().len();
    write(&path, length, &[b'O'; 300]);
    let report = check(&folder);
    assert!(report.is_fine());
    assert_eq!(report.findings[0].code, "torn-end");
}

fn segment(folder: &Path, id: u64) -> PathBuf {
    folder.join(format!("log/{id:016x}.seg"))
}

fn last_segment(folder: &Path) -> PathBuf {
    (1..1000).map(|id| segment(folder, id)).take_while(|path| path.exists()).last().unwrap()
}

fn write(path: &Path, at: u64, bytes: &[u8]) {
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, at).unwrap();
}

/// Flips one bit in each of `count` bytes.
fn flip(path: &Path, at: u64, count: u64) {
    let bytes = std::fs::read(path).unwrap();
    let (skip, take) = (usize::try_from(at).unwrap(), usize::try_from(count).unwrap());
    for (n, byte) in (0_u64..).zip(bytes).skip(skip).take(take) {
        write(path, n, &[byte ^ (1 << (n % 8))]);
    }
}

/// Where the letter with this subject lies: its segment, its frame, the end of the letter.
fn place(folder: &Path, subject: &str) -> (PathBuf, u64, u64) {
    for id in 1.. {
        let mut found = None;
        inspect_segment(folder, id, |line| {
            if line.subject.as_deref() == Some(subject) {
                found =
                    Some((line.offset, line.offset + 64 + u64::from(line.letter_bytes.unwrap())));
            }
        })
        .unwrap();
        if let Some((frame, end)) = found {
            return (segment(folder, id), frame, end);
        }
    }
    unreachable!()
}

fn sql(folder: &Path, text: &str) {
    let connection = rusqlite::Connection::open(folder.join("index.sqlite")).unwrap();
    connection.execute_batch(text).unwrap();
}

/// A way to harm a folder, what fsck calls it, a word it says of it, letters that repair cannot bring back.
type Harm = (&'static str, fn(&Path), &'static str, &'static str, usize);

const HARMS: &[Harm] = &[
    (
        "a bit of a letter",
        |f| {
            let (s, _, e) = place(f, "letter 2");
            flip(&s, e - 5, 1);
        },
        "bit-flipped",
        "\"letter 2\" of alice@example.test, INBOX, UID 2",
        0,
    ),
    (
        "bits of a letter",
        |f| {
            let (s, _, e) = place(f, "letter 9");
            flip(&s, e - 9, 5);
        },
        "letter-damaged",
        "\"letter 9\" of alice@example.test, INBOX, UID 9",
        2,
    ),
    (
        "the last letter",
        |f| {
            let (s, _, e) = place(f, "letter 13");
            flip(&s, e - 5, 3);
        },
        "letter-damaged",
        "\"letter 13\"",
        2,
    ),
    (
        "a bit of the ops",
        |f| {
            let (s, _, e) = place(f, "letter 5");
            flip(&s, e + 9, 1);
        },
        "bit-flipped",
        "\"letter 5\"",
        0,
    ),
    (
        "bits of the ops",
        |f| {
            let (s, _, e) = place(f, "letter 5");
            flip(&s, e + 9, 4);
        },
        "frame-damaged",
        "\"letter 5\" of alice@example.test",
        0,
    ),
    (
        "a frame's length",
        |f| {
            let (s, a, _) = place(f, "letter 9");
            flip(&s, a + 24, 4);
        },
        "frame-damaged",
        "\"letter 9\"",
        0,
    ),
    (
        "a whole frame",
        |f| {
            let (s, a, _) = place(f, "letter 9");
            flip(&s, a, 400);
        },
        "frame-damaged",
        "\"letter 9\"",
        2,
    ),
    ("the accounts", |f| flip(&segment(f, 1), 140, 9), "frame-damaged", "change 1", 0),
    ("a bit of a header", |f| flip(&segment(f, 2), 40, 1), "bit-flipped", "header", 0),
    ("a header beside the key", |f| flip(&segment(f, 2), 4, 20), "bit-flipped", "header", 0),
    ("a key", |f| flip(&segment(f, 2), 32, 32), "header-damaged", "0000000000000002.seg", 0),
    (
        "the key of the last segment",
        |f| flip(&last_segment(f), 32, 32),
        "header-damaged",
        ".seg",
        0,
    ),
    (
        "a counter",
        |f| sql(f, "UPDATE mailbox SET unseen = unseen + 3 WHERE account = 1 AND id = 1"),
        "index-rule",
        "unread",
        0,
    ),
    (
        "what an account holds",
        |f| sql(f, "UPDATE account SET used_bytes = used_bytes + 7 WHERE id = 1"),
        "index-rule",
        "alice@example.test: counts 15 messages of",
        0,
    ),
    (
        "what it may hold",
        |f| sql(f, "UPDATE account SET limit_messages = 9 WHERE id = 1"),
        "index-differs",
        "the limit is Amount",
        0,
    ),
    (
        "a row",
        |f| sql(f, "DELETE FROM message WHERE account = 1 AND mailbox = 1 AND uid = 5"),
        "index-differs",
        "alice@example.test, INBOX, UID 5 is missing from the index: letter 5 \"letter 5\"",
        0,
    ),
    (
        "a flag",
        |f| sql(f, "UPDATE message SET flags = 31 WHERE account = 1 AND mailbox = 1 AND uid = 1"),
        "index-differs",
        "INBOX, UID 1: flags are",
        0,
    ),
    (
        "a place",
        |f| sql(f, "UPDATE email SET offset = offset + 1 WHERE id = 9"),
        "index-differs",
        "the place of its bytes",
        0,
    ),
    (
        "no index",
        |f| std::fs::remove_file(f.join("index.sqlite")).unwrap(),
        "index-missing",
        "there is no index",
        0,
    ),
    (
        "no database",
        |f| std::fs::write(f.join("index.sqlite"), [7; 5000]).unwrap(),
        "index-damaged",
        "does not open",
        0,
    ),
];

#[tokio::test]
async fn harm_is_named_and_put_right() {
    let home = closed().await;
    let before = mail_in(home.path()).await;
    for (name, harm, code, says, lost) in HARMS {
        let folder = tempfile::tempdir().unwrap();
        copy_folder(home.path(), folder.path());
        harm(folder.path());
        let report = check(folder.path());
        let codes: Vec<_> = report.problems().map(|f| f.code).collect();
        assert!(codes.contains(code), "{name}: {:#?}", report.findings);
        let said = report.problems().any(|f| f.code == *code && f.what.contains(says));
        assert!(said, "{name}: {:#?}", report.findings);
        let repaired = repair(folder.path()).repaired;
        fine(folder.path(), &format!("{name}: {repaired:#?}"));
        let mut after = mail_in(folder.path()).await;
        let whole = after.len();
        after.retain(|mail| before.contains(mail));
        assert_eq!(whole, after.len(), "{name}: mail that was not there: {repaired:#?}");
        assert_eq!(before.len() - whole, *lost, "{name}: {repaired:#?}");
        fine(folder.path(), name);
    }
}

/// A way to lose a part of the log, and what fsck calls it.
type Loss = (&'static str, fn(&Path), &'static str);

#[tokio::test]
async fn a_missing_segment_or_end_is_named_and_gone_on_without() {
    let home = closed().await;
    let before = mail_in(home.path()).await;
    let cases: [Loss; 4] = [
        ("the first", |f| std::fs::remove_file(segment(f, 1)).unwrap(), "segment-missing"),
        ("a middle one", |f| std::fs::remove_file(segment(f, 2)).unwrap(), "segment-missing"),
        ("the last", |f| std::fs::remove_file(last_segment(f)).unwrap(), "index-ahead"),
        (
            "half of one",
            |f| {
                let file = std::fs::OpenOptions::new().write(true).open(segment(f, 2)).unwrap();
                file.set_len(file.metadata().unwrap().len() / 2).unwrap();
            },
            "frame-damaged",
        ),
    ];
    for (name, harm, code) in cases {
        let folder = tempfile::tempdir().unwrap();
        copy_folder(home.path(), folder.path());
        harm(folder.path());
        let report = check(folder.path());
        assert!(report.problems().any(|f| f.code == code), "{name}: {:#?}", report.findings);
        let repaired = repair(folder.path()).repaired;
        fine(folder.path(), &format!("{name}: {repaired:#?}"));
        let after = mail_in(folder.path()).await;
        assert!(!after.is_empty() && after.len() < before.len(), "{name}: {}", after.len());
        assert!(after.iter().all(|mail| before.contains(mail)), "{name}: {repaired:#?}");
    }
}

#[tokio::test]
async fn every_flipped_bit_is_found_and_costs_nothing() {
    let home = closed().await;
    let before = mail_in(home.path()).await;
    let length = std::fs::metadata(segment(home.path(), 1)).unwrap().len();
    let mut at = 3;
    while at < length {
        let folder = tempfile::tempdir().unwrap();
        copy_folder(home.path(), folder.path());
        flip(&segment(folder.path(), 1), at, 1);
        // The zeros behind the header are hashed by nobody and mean nothing.
        if !(80..128).contains(&at) {
            assert!(!check(folder.path()).is_fine(), "byte {at}");
            let repaired = repair(folder.path()).repaired;
            assert!(mail_in(folder.path()).await == before, "byte {at}: {repaired:#?}");
            fine(folder.path(), &format!("byte {at}"));
        }
        at += 83;
    }
}

/// Letters that are hard to carry: bytes, flags, dates.
async fn odd_mail(scene: &Scene) {
    let letters: [&[u8]; 8] = [
        b"",
        b"\n",
        b"Subject: bare\n\nlines\n",
        b"Subject: from\r\n\r\nFrom here\r\n>From there\r\n>>From far\r\n\r\nFrom x Mon Jan  1 00:00:00 2024\r\n",
        b"Subject: no end\r\n\r\nno end",
        b"Subject: \xff\x00\r\n\r\n\0\r\r\n",
        b"\r\n\r\n\r\n",
        b"Subject: twice\r\n\r\ntwice\r\n",
    ];
    let (store, alice) = (&scene.store, scene.alice);
    let inbox = scene.inbox().await.id;
    let long = format!("{}/{}", "d".repeat(200), "\u{142}".repeat(90));
    let other = store.create_mailbox(alice, &long, None).await.unwrap().id;
    for (at, bytes) in letters.iter().chain([&letters[7]]).enumerate() {
        let n = i64::try_from(at).unwrap();
        let words = ["\\Seen", "\\Draft \\Flagged $Work", "\\Deleted \\Answered \\Seen NotJunk"];
        let dates = [0, 1, 951_782_400, NOW_UNIX_S - n];
        let flags = flags(words.iter().cycle().nth(at).unwrap());
        let date = *dates.iter().cycle().nth(at).unwrap();
        let letter = Letter::parse(bytes.to_vec().into());
        let mailbox = if n % 2 == 0 { inbox } else { other };
        store.append(alice, mailbox, letter, flags, Some(date)).await.unwrap();
    }
    for n in 0..40 {
        let letter = Letter::parse(letter(100 + n).into());
        let flags = flags(&format!("k{n} k{}", n / 3));
        store.append(alice, other, letter, flags, Some(NOW_UNIX_S)).await.unwrap();
    }
}

async fn import_all(store: &Store, account: AccountId, form: Form, path: &Path) -> (u64, u64) {
    let (into, path) = (None, path.to_owned());
    let from = ImportFrom { form, path, into, keep_line_ends: false };
    let imported = import(store, account, &from, &silent).await.unwrap();
    assert_eq!(imported.skipped, Vec::<String>::new());
    assert!(imported.stopped.is_none());
    (imported.letters, imported.known)
}

#[tokio::test]
async fn mail_goes_out_and_comes_in_the_same() {
    let scene = scene().await;
    live(&scene, |_| {}).await;
    odd_mail(&scene).await;
    let before = mail(&scene.store, "alice@example.test").await;
    let total = before.len() as u64;
    for form in [Form::Maildir, Form::Mbox] {
        let out = tempfile::tempdir().unwrap();
        // The store is open: a server may run.
        let exported = export(scene.folder.path(), out.path(), form, &[], &silent).unwrap();
        assert_eq!(exported.skipped, Vec::<String>::new());
        let letters: BTreeMap<_, _> =
            exported.accounts.iter().map(|(key, _, n)| (key.as_str(), *n)).collect();
        assert_eq!(letters["alice@example.test"], total);
        let folder = out.path().join("alice@example.test");
        let again = export(scene.folder.path(), out.path(), form, &[], &silent).unwrap();
        assert!(again.accounts.is_empty() && again.skipped[0].contains("is there already"));

        let other = self::scene().await;
        assert_eq!(import_all(&other.store, other.alice, form, &folder).await, (total, 0));
        let after = mail(&other.store, "alice@example.test").await;
        // mbox has no room for the shortest name of a mailbox that is too long for a file.
        assert!(after == before, "{form:?}");
        assert_eq!(import_all(&other.store, other.alice, form, &folder).await, (0, total));
        assert!(mail(&other.store, "alice@example.test").await == before, "{form:?}: doubles");
        fine(other.folder.path(), "after import");
        // Below a mailbox, all of it once more.
        let (into, path) = (Some("Stare/2020".to_owned()), folder.clone());
        let from = ImportFrom { form, path, into, keep_line_ends: false };
        let below = import(&other.store, other.alice, &from, &silent).await.unwrap();
        assert_eq!(below.letters, total);
        assert!(below.made.iter().any(|name| name == "Stare/2020/Praca/Szczyty v1.2"));
    }
}

#[tokio::test]
async fn an_import_that_was_cut_off_goes_on() {
    let source = scene().await;
    for n in 0..600 {
        let letter = Letter::parse(letter(n / 2).into());
        let inbox = Target::inbox(source.alice);
        source.store.deliver(letter, vec![inbox]).await.unwrap();
    }
    let before = mail(&source.store, "alice@example.test").await;
    let out = tempfile::tempdir().unwrap();
    export(source.folder.path(), out.path(), Form::Maildir, &[], &silent).unwrap();
    let path = out.path().join("alice@example.test");
    let from =
        ImportFrom { form: Form::Maildir, path: path.clone(), into: None, keep_line_ends: false };

    let scene = scene().await;
    let seen = AtomicU64::new(0);
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let progress = |_, done: u64, _| {
        seen.store(done, Ordering::Relaxed);
        if done >= 400 {
            stop.send_replace(true);
        }
    };
    tokio::select! {
        biased;
        _ = stopped.changed() => {}
        _ = import(&scene.store, scene.alice, &from, &progress) => {}
    }
    let seen = seen.load(Ordering::Relaxed);
    assert!((400..600).contains(&seen), "it was not cut off: {seen}");
    let scene = scene.reopen().await;
    let there = mail(&scene.store, "alice@example.test").await.len() as u64;
    let again = import_all(&scene.store, scene.alice, Form::Maildir, &path).await;
    assert_eq!(again, (600 - there, there));
    assert!(mail(&scene.store, "alice@example.test").await == before);
    let order: Vec<u32> = scene.rows("INBOX").await.iter().map(|row| row.uid.get()).collect();
    assert_eq!(order, (1..=600).collect::<Vec<_>>());
}

#[tokio::test]
async fn foreign_mailboxes_come_in() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    file("md/cur/1.a.host:2,FS", "Subject: unix\n\nlines\n");
    file("md/cur/2.a.host:2,Ra", "Subject: crlf\r\n\r\nkept\n\r\n");
    file("md/dovecot-keywords", "0 $Label1\n");
    file("md/new/3.b.host", "Subject: new\n\n");
    file("md/tmp/4.c.host", "Subject: half\n");
    file("md/.Sent.2020/cur/1.a.host:2,S", "Subject: sent\n\n");
    file("md/Deep/Below/cur/1.a.host:2,T", "Subject: deep\n\n");
    std::fs::create_dir_all(folder.path().join("md/cur/5.folder:2,")).unwrap();
    let mbox = "From a@example.test Tue Feb 20 10:00:00 2024\nSubject: one\nStatus: RO\n\n>From here\n\n\
                From b@example.test Wed Feb 21 10:00:00 2024\nSubject: two\nX-Keywords: a b\n\nend\n";
    file("mbox/Archive.sbd/Old", mbox);
    file("mbox/Archive.msf", "// no mail");
    let scene = scene().await;
    let run = async |form, name: &str| {
        let (path, into) = (folder.path().join(name), None);
        let from = ImportFrom { form, path, into, keep_line_ends: false };
        import(&scene.store, scene.alice, &from, &silent).await
    };
    let maildir = run(Form::Maildir, "md").await.unwrap();
    assert_eq!((maildir.letters, maildir.skipped.len()), (5, 1), "{maildir:?}");
    assert!(maildir.skipped[0].contains("5.folder"));
    assert_eq!(run(Form::Mbox, "mbox").await.unwrap().letters, 2);
    let all = mail(&scene.store, "alice@example.test").await;
    let shown: Vec<(String, String, String)> = all
        .into_iter()
        .map(|(mailbox, flags, _, bytes)| (mailbox, flags, String::from_utf8(bytes).unwrap()))
        .collect();
    let row = |m: &str, f: &str, b: &str| (m.to_owned(), f.to_owned(), b.to_owned());
    let expect = [
        row("Archive/Old", "\\Seen", "Subject: one\r\nStatus: RO\r\n\r\nFrom here\r\n"),
        row("Archive/Old", "a b", "Subject: two\r\nX-Keywords: a b\r\n\r\nend\r\n"),
        row("Deep/Below", "\\Deleted", "Subject: deep\r\n\r\n"),
        row("INBOX", "", "Subject: new\r\n\r\n"),
        row("INBOX", "\\Answered $Label1", "Subject: crlf\r\n\r\nkept\n\r\n"),
        row("INBOX", "\\Flagged \\Seen", "Subject: unix\r\n\r\nlines\r\n"),
        row("Sent/2020", "\\Seen", "Subject: sent\r\n\r\n"),
    ];
    assert_eq!(shown, expect);
    let nothing = run(Form::Maildir, "mbox").await.err().unwrap().to_string();
    assert!(nothing.contains("no mail to import"), "{nothing}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_while_letters_arrive_restores_them() {
    let scene = Arc::new(scene().await);
    let target = tempfile::tempdir().unwrap();
    let sender = {
        let scene = scene.clone();
        tokio::spawn(async move {
            for n in 1..=300 {
                scene.deliver(&letter(n)).await;
            }
        })
    };
    let run = |to: PathBuf| {
        let (from, clock) = (scene.folder.path().to_owned(), scene.clock.clone());
        tokio::task::spawn_blocking(move || backup(&from, &to, &*clock, &silent))
    };
    let (mut rounds, mut last) = (0, 0_u64);
    while !sender.is_finished() {
        let backed = run(target.path().to_owned()).await.unwrap().unwrap();
        assert_eq!(backed.problems, Vec::<String>::new());
        assert!(backed.last_lsn >= last);
        (last, rounds) = (backed.last_lsn, rounds + 1);
        let data = tempfile::tempdir().unwrap();
        restore(target.path(), data.path(), None, None, &silent).unwrap();
        let found = mail_in(data.path()).await.len() as u64;
        assert_eq!(found, last.saturating_sub(2), "every change but two brought a letter");
    }
    sender.await.unwrap();
    assert!(rounds > 1);
    let backed = run(target.path().to_owned()).await.unwrap().unwrap();
    assert!(backed.kept_segments > 5, "{backed:?}");
    let again = run(target.path().to_owned()).await.unwrap().unwrap();
    assert_eq!((again.copied_segments, again.last_lsn), (1, 302));
    let data = tempfile::tempdir().unwrap();
    let restored = restore(target.path(), data.path(), None, None, &silent).unwrap();
    assert_eq!((restored.letters, restored.problems.len()), (300, 0));
    assert!(mail_in(data.path()).await == mail(&scene.store, "alice@example.test").await);
    fine(data.path(), "restored");

    // Another store, and this one after it was put back and lived on, are not mixed up with it.
    let other = self::scene().await;
    let mixed = backup(other.folder.path(), target.path(), &*other.clock, &silent);
    assert!(mixed.is_err_and(|e| e.to_string().contains("another mail store")));
    let refused = restore(target.path(), data.path(), None, None, &silent);
    assert!(refused.is_err_and(|e| e.to_string().contains("not empty")));
    let refused = backup(scene.folder.path(), data.path(), &*scene.clock, &silent);
    assert!(refused.is_err_and(|e| e.to_string().contains("neither empty nor a backup")));
}

#[tokio::test]
async fn a_backup_keeps_its_good_copy_of_what_is_damaged_now() {
    let home = closed().await;
    let target = tempfile::tempdir().unwrap();
    backup(home.path(), target.path(), &clock(), &silent).unwrap();
    let before = mail_in(home.path()).await;
    let (path, _, end) = place(home.path(), "letter 13");
    flip(&path, end - 9, 5);
    let backed = backup(home.path(), target.path(), &clock(), &silent).unwrap();
    assert!(backed.problems[0].contains("keeps its good copy"), "{:?}", backed.problems);
    let data = tempfile::tempdir().unwrap();
    restore(target.path(), data.path(), None, None, &silent).unwrap();
    assert!(mail_in(data.path()).await == before);
}

#[tokio::test]
async fn a_store_is_restored_to_a_time_and_one_account_alone() {
    let scene = scene().await;
    let minute = || scene.clock.advance_ms(60_000);
    scene.deliver(&letter(1)).await;
    minute();
    let inbox = scene.inbox().await.id;
    let seen = FlagChange::Add(Flags::new(&[Flag::Seen]));
    scene.store.store_flags(scene.alice, inbox, uids(&[1]), seen, None).await.unwrap();
    minute();
    scene.deliver(&letter(2)).await;
    minute();
    scene.store.remove(scene.alice, inbox, UidSet::all()).await.unwrap();
    let bob = scene.store.account_by_key("bob@example.test").await.unwrap().unwrap().id;
    let both = vec![Target::inbox(scene.alice), Target::inbox(bob)];
    scene.store.deliver(Letter::parse(letter(3).into()), both).await.unwrap();
    let target = tempfile::tempdir().unwrap();
    backup(scene.folder.path(), target.path(), &*scene.clock, &silent).unwrap();
    let shown = async |account: Option<&str>, until| {
        let data = tempfile::tempdir().unwrap();
        restore(target.path(), data.path(), account, until, &silent)?;
        repair(data.path());
        fine(data.path(), "restored");
        let clock = scene.clock.clone();
        let store = Store::open(&Options::in_folder(data.path()), clock.clone())?;
        let mut shown = String::new();
        for row in store.index().read()?.accounts()? {
            let inbox = store.mailbox_by_name(row.id, "INBOX").await?;
            let name = row.key.split('@').next().unwrap();
            write!(shown, "{name}={}", inbox.uid_validity).unwrap();
            for row in store.messages(row.id, inbox.id, &UidSet::all()).await? {
                write!(shown, " {}:{}", row.uid, row.flags).unwrap();
            }
            shown.push(';');
        }
        Ok::<_, Error>(shown)
    };
    let v = scene.inbox().await.uid_validity;
    let at = |s| Some(NOW_UNIX_S + s);
    assert_eq!(shown(None, None).await.unwrap(), format!("alice={v} 3:;bob={v} 1:;"));
    assert_eq!(shown(None, at(0)).await.unwrap(), format!("alice={v} 1:;bob={v};"));
    assert_eq!(shown(None, at(59)).await.unwrap(), format!("alice={v} 1:;bob={v};"));
    assert_eq!(shown(None, at(60)).await.unwrap(), format!("alice={v} 1:\\Seen;bob={v};"));
    assert_eq!(shown(None, at(170)).await.unwrap(), format!("alice={v} 1:\\Seen 2:;bob={v};"));
    assert!(shown(None, at(-1)).await.is_err());
    assert_eq!(shown(Some("bob@example.test"), None).await.unwrap(), format!("bob={v} 1:;"));
    let alice = Some("alice@example.test");
    assert_eq!(shown(alice, at(60)).await.unwrap(), format!("alice={v} 1:\\Seen;"));
    assert!(matches!(shown(Some("carol@example.test"), None).await, Err(Error::NoAccount)));
}

#[tokio::test]
async fn inspect_shows_what_is_there_and_no_secret() {
    let home = closed().await;
    let folder = home.path();
    let overview = inspect_folder(folder, &silent).unwrap();
    assert_eq!(overview.problems, Vec::<String>::new());
    let letters: u64 = overview.segments.iter().map(|s| s.letters).sum();
    let live: u64 = overview.segments.iter().map(|s| s.live_letters).sum();
    assert_eq!((letters, live), (13, 10));
    assert!(overview.accounts.iter().any(|(key, ..)| key == "bob@example.test"));
    let mut lines = Vec::new();
    for line in &overview.segments {
        inspect_segment(folder, line.id, |line| lines.push(line)).unwrap();
    }
    assert!(lines.iter().map(|line| line.lsn).eq(1..=lines.len() as u64));
    let text = format!("{lines:?}");
    assert!(text.contains("account 1 is alice@example.test, with a password"));
    assert!(!text.contains("$hash") && !text.contains("$other"), "{text}");
    let sheet = inspect_letter(folder, 2, &silent).unwrap();
    assert_eq!((&*sheet.subject, &*sheet.account), ("letter 2", "alice@example.test"));
    assert_eq!(sheet.bytes.unwrap(), letter(2));
    let homes: Vec<&str> = sheet.homes.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(homes, ["INBOX", "Trash"]);
    assert!(matches!(inspect_letter(folder, 6, &silent), Err(Error::NoMessage)));
    let nowhere = check_error(&folder.join("nowhere"));
    assert!(nowhere.contains("there is no mail store in"), "{nowhere}");
}

fn check_error(folder: &Path) -> String {
    fsck(&Options::in_folder(folder), false, &clock(), &silent).unwrap_err().to_string()
}
