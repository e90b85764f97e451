//! What a folder is after a crash, a lost index, damage, or a second opener.

use crate::{Folder, Scene, copy_folder, figure, letter, uids};
use std::fs::OpenOptions;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use storage::{Error, Options, Store};
use types::{FlagChange, Flags, ManualClock};

/// A folder with some history, as it lies on disk while the store is still open.
async fn lived_in() -> Scene {
    let scene = Scene::new().await;
    for n in 1..=5 {
        scene.deliver(&letter(n)).await;
    }
    let inbox = scene.inbox().await.id;
    let trash = scene.named("Trash").await.id;
    let flagged = FlagChange::Add(Flags::new(&[types::Flag::Flagged]));
    let (alice, store) = (scene.alice, &scene.store);
    store.store_flags(alice, inbox, uids(&[2, 5]), flagged, None).await.unwrap();
    store.move_messages(alice, inbox, uids(&[3]), trash).await.unwrap();
    store.remove(alice, inbox, uids(&[4])).await.unwrap();
    store.create_mailbox(alice, "Praca", None).await.unwrap();
    scene
}

const INBOX: &str = "1: 2:\\Flagged 5:\\Flagged";

/// Copies the folder of a running store, as a power cut would leave it, and opens the copy.
async fn after_crash(scene: &Scene, change: impl Fn(&Path)) -> Result<Scene, Error> {
    let folder = Folder::new();
    copy_folder(scene.folder.path(), folder.path());
    change(folder.path());
    let options = Options { folder: folder.path().to_owned(), ..scene.options.clone() };
    let store = match Store::open(&options, scene.clock.clone()) {
        Ok(store) => store,
        Err(error) => {
            drop(folder.unchecked());
            return Err(error);
        }
    };
    let alice = store.account_by_key("alice@example.test").await?.unwrap().id;
    Ok(Scene { folder, options, clock: scene.clock.clone(), store, alice })
}

async fn whole(scene: &Scene) {
    assert_eq!(scene.shown("INBOX").await, INBOX);
    assert_eq!(scene.shown("Trash").await, "1:");
    assert_eq!(scene.shown("Praca").await, "");
    for row in scene.rows("INBOX").await {
        assert!(scene.raw(&row).await == letter(row.uid.get()).as_bytes());
    }
    scene.check_counters().await;
    assert_eq!(scene.deliver(&letter(6)).await.uid.get(), 6);
}

fn remove_index(folder: &Path) {
    for name in ["index.sqlite", "index.sqlite-wal", "index.sqlite-shm"] {
        std::fs::remove_file(folder.join(name)).unwrap_or_default();
    }
}

fn log(folder: &Path) -> std::fs::File {
    let path = folder.join("log/0000000000000001.seg");
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

#[tokio::test]
async fn a_crash_loses_nothing() {
    let scene = lived_in().await;
    whole(&after_crash(&scene, |_| {}).await.unwrap()).await;
}

#[tokio::test]
async fn a_lost_or_broken_index_is_built_again() {
    let scene = lived_in().await;
    let before = scene.inbox().await;
    let after = after_crash(&scene, remove_index).await.unwrap();
    assert_eq!(after.inbox().await, before);
    whole(&after).await;
    let broken = |folder: &Path| {
        remove_index(folder);
        std::fs::write(folder.join("index.sqlite"), "this is no database, not even close").unwrap();
    };
    whole(&after_crash(&scene, broken).await.unwrap()).await;
}

#[tokio::test]
async fn a_torn_end_is_cut_off() {
    let scene = lived_in().await;
    let length = std::fs::metadata(scene.log()).unwrap().len();
    let garbage = |folder: &Path| log(folder).write_all_at(&[b'O'; 700], length).unwrap();
    let after = after_crash(&scene, garbage).await.unwrap();
    assert_eq!(std::fs::metadata(after.log()).unwrap().len(), length);
    whole(&after).await;
    // A frame of which only a part reached the disk, its header whole.
    let cut = |folder: &Path| {
        remove_index(folder);
        let extra = scene_log_bytes(folder);
        log(folder).write_all_at(&extra[128..200], length).unwrap();
    };
    whole(&after_crash(&scene, cut).await.unwrap()).await;
}

fn scene_log_bytes(folder: &Path) -> Vec<u8> {
    std::fs::read(folder.join("log/0000000000000001.seg")).unwrap()
}

#[tokio::test]
async fn damage_is_told_from_a_torn_end_and_nothing_is_cut() {
    let scene = lived_in().await;
    let length = std::fs::metadata(scene.log()).unwrap().len();
    for at in [140, 300, length / 2, length - 900] {
        let flip = |folder: &Path| {
            remove_index(folder);
            let mut byte = [0];
            log(folder).read_exact_at(&mut byte, at).unwrap();
            log(folder).write_all_at(&[byte[0] ^ 4], at).unwrap();
        };
        let refused = after_crash(&scene, flip).await.err();
        assert!(matches!(refused, Some(Error::Corrupt(_))), "byte {at}: {refused:?}");
    }
    assert_eq!(std::fs::metadata(scene.log()).unwrap().len(), length);
}

#[tokio::test]
async fn damaged_bytes_are_never_served_as_mail() {
    let scene = lived_in().await;
    let bytes = std::fs::read(scene.log()).unwrap();
    let body = b"body 2";
    let at = bytes.windows(body.len()).position(|w| w == body).unwrap() as u64;
    let after = after_crash(&scene, |folder| log(folder).write_all_at(b"B", at).unwrap());
    let after = after.await.unwrap();
    let rows = after.rows("INBOX").await;
    let email = after.store.emails(after.alice, &[rows[1].email]).await.unwrap().pop().unwrap();
    let served = after.store.bytes(&email).await;
    assert!(matches!(served, Err(Error::Corrupt(_))), "{served:?}");
    drop(after.folder.unchecked());
}

#[tokio::test]
async fn segments_follow_each_other() {
    let folder = Folder::new();
    let options = Options { segment_bytes: 2_000, ..Options::in_folder(folder.path()) };
    let clock = Arc::new(ManualClock::at_unix_s(crate::NOW_UNIX_S));
    let store = Store::open(&options, clock.clone()).unwrap();
    let alice = store.put_account("alice@example.test", "").await.unwrap();
    let scene = Scene { folder, options, clock, store, alice };
    for n in 1..=30 {
        scene.deliver(&letter(n)).await;
    }
    let segments = std::fs::read_dir(scene.folder.path().join("log")).unwrap().count();
    assert!(segments > 5, "{segments}");
    let after = after_crash(&scene, remove_index).await.unwrap();
    let rows = after.rows("INBOX").await;
    assert_eq!(rows.len(), 30);
    for row in rows {
        assert!(after.raw(&row).await == letter(row.uid.get()).as_bytes());
    }
    let missing = |folder: &Path| {
        remove_index(folder);
        std::fs::remove_file(folder.join("log/0000000000000003.seg")).unwrap();
    };
    let refused = after_crash(&scene, missing).await.err();
    assert!(matches!(refused, Some(Error::Corrupt(_))), "{refused:?}");
    // A segment whose header never reached the disk held nothing.
    let next = format!("log/{:016x}.seg", segments + 1);
    let half = |folder: &Path| std::fs::write(folder.join(&next), [0; 60]).unwrap();
    let after = after_crash(&scene, half).await.unwrap();
    assert_eq!(after.deliver(&letter(31)).await.uid.get(), 31);
}

#[tokio::test]
async fn a_second_opener_hears_who_is_first() {
    let scene = Scene::new().await;
    let refused = Store::open(&scene.options, scene.clock.clone()).err().unwrap();
    let text = refused.to_string();
    assert!(text.contains(&std::process::id().to_string()), "{text}");
    scene.reopen().await;
}

#[tokio::test]
async fn only_its_owner_may_look_into_a_new_folder() {
    let scene = Scene::new().await;
    let folder = scene.folder.path().join("new");
    let options = Options { folder: folder.clone(), ..scene.options.clone() };
    let store = Store::open(&options, scene.clock.clone()).unwrap();
    for made in [folder.clone(), folder.join("log")] {
        assert_eq!(std::fs::metadata(made).unwrap().permissions().mode() & 0o777, 0o700);
    }
    store.close().await;
}

#[tokio::test]
async fn a_folder_of_a_newer_version_is_left_alone() {
    let scene = lived_in().await;
    let newer = |folder: &Path| std::fs::write(folder.join("FORMAT"), "openpoczta 99\n").unwrap();
    let refused = after_crash(&scene, newer).await.err().unwrap();
    assert!(matches!(refused, Error::Newer { .. }), "{refused}");
}

#[tokio::test]
async fn a_full_disk_refuses_letters_and_still_takes_deletes() {
    let scene = Scene::new().await;
    scene.deliver(&letter(1)).await;
    let Scene { folder, options, clock, store, alice } = scene;
    store.close().await;
    drop(store);
    let options = Options { reserve_bytes: u64::MAX, ..options };
    let store = Store::open(&options, clock.clone()).unwrap();
    let scene = Scene { folder, options, clock, store, alice };
    let letter = storage::Letter::parse(letter(2).into());
    let refused = scene.store.deliver(letter, vec![storage::Target::inbox(alice)]).await;
    assert!(matches!(refused, Err(Error::DiskFull)), "{refused:?}");
    assert!(matches!(scene.store.health().await, Err(Error::DiskFull)));
    let inbox = scene.inbox().await.id;
    assert_eq!(scene.store.remove(alice, inbox, uids(&[1])).await.unwrap().to_string(), "1");
    assert_eq!(scene.shown("INBOX").await, "");
}

#[tokio::test]
async fn acknowledged_and_not_yet_in_the_index_is_not_lost() {
    let scene = Scene::new().await;
    let inbox = scene.inbox().await.id;
    let commits = figure(&scene.store, "storage_index_commits_total");
    let mut crashed = Vec::new();
    for n in 1..=20 {
        scene.deliver(&letter(n)).await;
        let seen = FlagChange::Add(Flags::new(&[types::Flag::Seen]));
        scene.store.store_flags(scene.alice, inbox, uids(&[n]), seen, None).await.unwrap();
        if n % 7 == 0 {
            let folder = tempfile::tempdir().unwrap();
            copy_folder(scene.folder.path(), folder.path());
            crashed.push((n, folder));
        }
    }
    // A slow machine may have committed meanwhile, but then not once for each letter.
    assert!(figure(&scene.store, "storage_index_commits_total") - commits < 20);
    for (n, folder) in crashed {
        let options = Options { folder: folder.path().to_owned(), ..scene.options.clone() };
        let store = Store::open(&options, scene.clock.clone()).unwrap();
        let rows = store.messages(scene.alice, inbox, &types::UidSet::all()).await.unwrap();
        assert_eq!(rows.len(), n as usize);
        assert!(rows.iter().all(|row| row.flags.contains(types::Flag::Seen)));
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_answered_sees_it_at_once() {
    let scene = Arc::new(Scene::new().await);
    let mut people = vec![scene.alice];
    for n in 1..4 {
        people.push(scene.store.put_account(&format!("{n}@example.test"), "").await.unwrap());
    }
    let tasks: Vec<_> = (0..16_usize)
        .map(|task| {
            let (scene, account) = (scene.clone(), people[task % people.len()]);
            tokio::spawn(async move {
                for n in 0..30_u32 {
                    let letter = storage::Letter::parse(letter(n).into());
                    let to = vec![storage::Target::inbox(account)];
                    let arrived = scene.store.deliver(letter, to).await.unwrap().pop().unwrap();
                    let arrived = arrived.unwrap();
                    let one = types::UidSet::one(arrived.uid);
                    let store = &scene.store;
                    match n % 4 {
                        0 => {
                            let rows = store.messages(account, arrived.mailbox, &one).await;
                            assert_eq!(rows.unwrap().len(), 1);
                        }
                        1 => assert!(store.state(account).await.unwrap() >= arrived.modseq),
                        2 => {
                            let emails = store.emails(account, &[arrived.email]).await.unwrap();
                            assert_eq!(emails.len(), 1);
                        }
                        _ => {}
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    for account in people {
        let inbox = scene.store.mailbox_by_name(account, "INBOX").await.unwrap();
        assert_eq!(inbox.total, 120);
    }
    scene.check_counters().await;
}
