//! Letters that came at once lie in one frame: what the operator's tools make of them, in a segment and in a pack.

#![expect(clippy::panic, reason = "a test that cannot go on should stop")]

use crate::{Folder, NOW_UNIX_S, Scene, copy_folder, fsck_finds_nothing, letter, settled};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use storage::tools::{Form, Report, backup, export, fsck, inspect_letter, restore, silent};
use storage::{Letter, Options, Store};
use types::{Flag, Flags, ManualClock, UidSet};

fn clock() -> ManualClock {
    ManualClock::at_unix_s(NOW_UNIX_S)
}

/// Long enough that one bit of it is not a matter of luck; each with bytes of its own.
fn raws() -> Vec<String> {
    let lines = |n: usize| format!("this is line and letter {n}\r\n").repeat(40 * n);
    (1..=4).map(|n| format!("Subject: at once {n}\r\n\r\n{}", lines(n))).collect()
}

/// A letter before, four at once, a letter after; UIDs 1 to 6. The folder of a store that was closed.
async fn folder(packed: bool) -> tempfile::TempDir {
    let folder = Folder::new();
    let options = Options { segment_bytes: 4_000, ..Options::in_folder(folder.path()) };
    let clock = Arc::new(clock());
    let store = Store::open(&options, clock.clone()).unwrap();
    let alice = store.put_account("alice@example.test", "").await.unwrap();
    let scene = Scene { folder, options, clock, store, alice };
    scene.deliver(&letter(1)).await;
    let inbox = scene.inbox().await.id;
    let parse = |raw: String| (Letter::parse(raw.into()), Flags::new(&[Flag::Seen]), Some(7));
    let all = raws().into_iter().map(parse).collect();
    scene.store.append_all(scene.alice, inbox, all).await.unwrap();
    scene.deliver(&letter(6)).await;
    if packed {
        // Segments that are closed are packed: the next letter begins another one.
        scene.deliver(&letter(7)).await;
        scene.inbox().await;
        assert!(scene.store.pack().await.unwrap().unwrap().written > 0);
    }
    scene.store.close().await;
    drop(scene.store);
    settled(scene.folder.path()).await;
    fsck_finds_nothing(scene.folder.path());
    scene.folder.unchecked()
}

fn look(folder: &Path, repair: bool) -> Report {
    fsck(&Options::in_folder(folder), repair, &clock(), &silent).unwrap()
}

/// UIDs, and the bytes of each.
async fn mail(folder: &Path) -> Vec<(u32, Vec<u8>)> {
    let store = Store::open(&Options::in_folder(folder), Arc::new(clock())).unwrap();
    let alice = store.account_by_key("alice@example.test").await.unwrap().unwrap().id;
    let inbox = store.mailbox_by_name(alice, "INBOX").await.unwrap().id;
    let mut mail = Vec::new();
    for row in store.messages(alice, inbox, &UidSet::all()).await.unwrap() {
        let email = store.emails(alice, &[row.email]).await.unwrap().pop().unwrap();
        let bytes = store.bytes(&email).await.unwrap();
        // A piece is what it is in the whole.
        let piece = store.range(&email, 9..40).await.unwrap();
        assert_eq!(Some(&piece[..]), bytes.get(9..40), "UID {}", row.uid);
        mail.push((row.uid.get(), bytes.to_vec()));
    }
    store.close().await;
    drop(store);
    settled(folder).await;
    mail
}

/// The segment that holds `text`, and where.
fn find(folder: &Path, text: &str) -> (PathBuf, u64) {
    let segments =
        std::fs::read_dir(folder.join("log")).unwrap().map(|entry| entry.unwrap().path());
    for path in segments.filter(|path| path.is_file()) {
        let bytes = std::fs::read(&path).unwrap();
        let at = bytes.windows(text.len()).position(|window| window == text.as_bytes());
        if let Some(at) = at {
            return (path, at as u64);
        }
    }
    panic!("{text} is nowhere");
}

/// Flips one bit in each of these bytes.
fn flip(path: &Path, at: u64, count: u64) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    for at in at..at + count {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 4], at).unwrap();
    }
}

#[tokio::test]
async fn damage_to_one_leaves_the_others() {
    let home = folder(false).await;
    let before = mail(home.path()).await;
    assert_eq!(before.len(), 6);
    for n in 1..=4 {
        for (bytes, lost) in [(1, 0), (5, 1)] {
            let folder = tempfile::tempdir().unwrap();
            copy_folder(home.path(), folder.path());
            let (segment, at) = find(folder.path(), &format!("line and letter {n}"));
            flip(&segment, at, bytes);
            let report = look(folder.path(), false);
            let code = if lost == 0 { "bit-flipped" } else { "letter-damaged" };
            let when = format!("letter {n}, {bytes} bytes");
            assert!(report.problems().any(|f| f.code == code), "{when}: {:#?}", report.findings);
            let repaired = look(folder.path(), true).repaired;
            let left = look(folder.path(), false);
            assert!(left.is_fine(), "{when}: {repaired:#?}: {:#?}", left.findings);
            let mut expect = before.clone();
            expect.retain(|(uid, _)| lost == 0 || *uid != n + 1);
            assert_eq!(mail(folder.path()).await, expect, "{when}: {repaired:#?}");
        }
    }
}

#[tokio::test]
async fn a_backup_an_export_and_a_new_index_have_them_all() {
    for packed in [false, true] {
        let home = folder(packed).await;
        let before = mail(home.path()).await;
        let expect: Vec<_> = raws().into_iter().map(String::into_bytes).collect();
        let at_once = before.iter().skip(1).take(4).map(|(_, bytes)| bytes.clone());
        assert_eq!(at_once.collect::<Vec<_>>(), expect, "packed {packed}");

        let (copy, restored) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        backup(home.path(), copy.path(), &clock(), &silent).unwrap();
        restore(copy.path(), restored.path(), None, None, &silent).unwrap();
        fsck_finds_nothing(restored.path());
        assert_eq!(mail(restored.path()).await, before, "packed {packed}: restored");

        let sheet = inspect_letter(home.path(), 4, &silent).unwrap();
        assert!(format!("{sheet:?}").contains("at once 3"), "packed {packed}: {sheet:?}");
        let exported = tempfile::tempdir().unwrap();
        export(home.path(), exported.path(), Form::Maildir, &[], &silent).unwrap();
        let mut found = Vec::new();
        letters_under(exported.path(), &mut found);
        for raw in &expect {
            assert!(found.contains(raw), "packed {packed}: an export without one of them");
        }

        for name in ["index.sqlite", "index.sqlite-wal", "index.sqlite-shm"] {
            std::fs::remove_file(home.path().join(name)).unwrap_or_default();
        }
        assert_eq!(mail(home.path()).await, before, "packed {packed}: a new index");
        fsck_finds_nothing(home.path());
    }
}

fn letters_under(folder: &Path, found: &mut Vec<Vec<u8>>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            letters_under(&path, found);
        } else {
            found.push(std::fs::read(path).unwrap());
        }
    }
}

/// A pack gives up what has no home; of letters that came at once it does so when the last one goes.
#[tokio::test]
async fn those_that_stay_are_whole_when_others_are_given_up() {
    let home = folder(true).await;
    let before = mail(home.path()).await;
    for gone in [vec![2], vec![3, 5], vec![2, 3, 4], vec![2, 3, 4, 5]] {
        let folder = tempfile::tempdir().unwrap();
        copy_folder(home.path(), folder.path());
        let store = Store::open(&Options::in_folder(folder.path()), Arc::new(clock())).unwrap();
        let alice = store.account_by_key("alice@example.test").await.unwrap().unwrap().id;
        let inbox = store.mailbox_by_name(alice, "INBOX").await.unwrap().id;
        store.remove(alice, inbox, crate::uids(&gone)).await.unwrap();
        store.mailbox(alice, inbox).await.unwrap();
        store.pack().await.unwrap();
        store.close().await;
        drop(store);
        settled(folder.path()).await;
        let mut expect = before.clone();
        expect.retain(|(uid, _)| !gone.contains(uid));
        assert_eq!(mail(folder.path()).await, expect, "{gone:?} gone");
        fsck_finds_nothing(folder.path());
    }
}
