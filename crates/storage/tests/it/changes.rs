//! The end of the change log, and of what leads to threads.

use crate::{EVERY, Scene, letter, uids};
use storage::{ChangeKind, Error};
use types::{Flag, FlagChange, Flags, ModSeq, UidSet};

/// Messages of the mailbox whose flags are changed again and again.
const MESSAGES: u32 = 1_000;
/// Times the flags of all are changed: 120,000 entries.
const ROUNDS: u32 = 120;

#[tokio::test]
async fn the_newest_100_000_entries_are_kept() {
    for index in EVERY {
        let scene = Scene::on(index).await;
        let (alice, inbox) = (scene.alice, scene.inbox().await.id);
        let first = scene.deliver(&letter(0)).await;
        let archive = scene.named("Archive").await.id;
        scene.store.move_messages(alice, inbox, uids(&[1]), archive).await.unwrap();
        // Copies of one letter are quicker made than letters.
        scene.store.copy(alice, archive, UidSet::all(), inbox).await.unwrap();
        for n in 1..MESSAGES {
            let one = uids(&[n + 1]);
            scene.store.copy(alice, inbox, one, inbox).await.unwrap();
        }
        let mut states = Vec::new();
        let seen = Flags::new(&[Flag::Seen]);
        for round in 0..ROUNDS {
            let change = if round % 2 == 0 {
                FlagChange::Add(seen.clone())
            } else {
                FlagChange::Remove(seen.clone())
            };
            scene.store.store_flags(alice, inbox, UidSet::all(), change, None).await.unwrap();
            states.push(scene.store.state(alice).await.unwrap());
        }
        let floor = scene.store.account(alice).await.unwrap().changes_floor;
        assert!(floor > first.modseq, "{index}: {floor}");
        // At least 100 rounds are known to the end, and not many more.
        let known = states.iter().filter(|state| **state >= floor).count();
        assert!((100..=112).contains(&known), "{index}: {known} rounds are known");
        check(&scene, &states, floor).await;
        let mut scene = scene.reopen().await;
        check(&scene, &states, floor).await;
        if index == "sqlite:" {
            scene = without_index(scene).await;
            check(&scene, &states, floor).await;
        }
        // Gone before the floor and told after it: a client above it hears of it once.
        let before = scene.store.state(alice).await.unwrap();
        scene.store.remove(alice, archive, UidSet::all()).await.unwrap();
        let told = scene.store.changes(alice, before, 10).await.unwrap();
        let kinds: Vec<ChangeKind> = told.changes.iter().map(|change| change.kind).collect();
        assert_eq!(kinds, [ChangeKind::MessageGone], "{index}");
        scene.check_counters().await;
    }
}

/// From the floor on everything is told, below it nothing.
async fn check(scene: &Scene, states: &[ModSeq], floor: ModSeq) {
    let now = states.last().copied().unwrap();
    let all = scene.store.changes(scene.alice, floor, 1_000_000).await.unwrap();
    assert!(!all.more);
    assert_eq!(all.state, now);
    let rounds = now.0 - floor.0;
    assert_eq!(all.changes.len() as u64, rounds * u64::from(MESSAGES));
    for below in [0, floor.0 - 1] {
        let told = scene.store.changes(scene.alice, ModSeq(below), 10).await;
        assert!(matches!(told, Err(Error::TooOld)), "{below} of {floor}");
    }
    assert!(scene.store.changes(scene.alice, now, 10).await.unwrap().changes.is_empty());
    let account = scene.store.account(scene.alice).await.unwrap();
    assert_eq!(account.changes_floor, floor, "the same after each start");
}

async fn without_index(scene: Scene) -> Scene {
    scene.store.close().await;
    let Scene { folder, options, clock, store, alice } = scene;
    drop(store);
    for suffix in ["", "-wal", "-shm"] {
        let file = folder.path().join(format!("index.sqlite{suffix}"));
        std::fs::remove_file(file).ok();
    }
    let store = storage::Store::open(&options, clock.clone()).unwrap();
    Scene { folder, options, clock, store, alice }
}

fn answer(n: u32, to: u32) -> String {
    format!("Message-ID: <{n}@example.test>\r\nIn-Reply-To: <{to}@example.test>\r\n\r\nyes\r\n")
}

#[tokio::test]
async fn message_ids_of_a_thread_are_forgotten_with_its_last_email() {
    for index in EVERY {
        let scene = Scene::on(index).await;
        let (alice, inbox) = (scene.alice, scene.inbox().await.id);
        let remove = |n: u32| scene.store.remove(alice, inbox, uids(&[n]));
        let first = scene.deliver(&letter(1)).await;
        let second = scene.deliver(&answer(2, 1)).await;
        assert_eq!(first.thread, second.thread);
        remove(1).await.unwrap();
        let third = scene.deliver(&answer(3, 1)).await;
        assert_eq!(third.thread, first.thread, "{index}: an answer still knows the first");
        remove(2).await.unwrap();
        remove(3).await.unwrap();
        let late = scene.deliver(&answer(4, 1)).await;
        assert_ne!(late.thread, first.thread, "{index}: nobody is left who knew it");
        let again = scene.deliver(&letter(1)).await;
        assert_eq!(again.thread, late.thread);
        let scene = scene.reopen().await;
        assert_eq!(scene.deliver(&answer(5, 4)).await.thread, late.thread);
    }
}
