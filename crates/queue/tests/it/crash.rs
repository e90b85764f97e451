//! The folder opened again: after a close, after files went, in the middle of everything.

use crate::world::{START_UNIX_S, Script, World, later, letter, options, text};
use queue::{Error, Queue};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use types::{ManualClock, SystemClock};

fn files(folder: &std::path::Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = names
        .map(|n| n.unwrap().file_name().into_string().unwrap())
        .filter(|n| n.strip_suffix(".queue").is_some())
        .collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_is_known_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path());
    world.script.answer("c@else.test", [later()]);
    let mut envelope = letter("a@example.test", &["b@else.test", "c@else.test"]);
    envelope.envelope_id = Some("mine".to_owned());
    world.accept("A1", envelope, text(3)).await;
    world.until(|w| w.script.seen().len() == 1).await;
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    let before = world.queue.show("A1").unwrap();
    world.close().await;
    let world = World::with(options(folder.path()), Script::default(), START_UNIX_S);
    assert_eq!(world.queue.show("A1").unwrap(), before);
    world.pass(61).await;
    world.until(|w| w.queue.is_empty()).await;
    let seen = world.script.seen();
    assert_eq!((seen.len(), &seen[0].to[..]), (1, &["c@else.test".to_owned()][..]));
    world.close().await;
}

#[test]
fn a_folder_has_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(SystemClock);
    let _first = Queue::open(options(folder.path()), clock.clone()).unwrap();
    let second = Queue::open(options(folder.path()), clock).err();
    assert!(matches!(second, Some(Error::InUse(_))), "{second:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_without_letters_go_and_letters_that_wait_move_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path());
    options.segment_bytes = 20_000;
    let world = World::with(options.clone(), Script::default(), START_UNIX_S);
    let mut held = letter("a@example.test", &["b@else.test"]);
    held.release_unix_s = Some(START_UNIX_S + 1_000_000);
    world.accept("HELD", held, text(49)).await;
    let before = world.queue.show("HELD").unwrap();
    for n in 0..2000 {
        world.accept(&format!("A{n}"), letter("a@example.test", &["b@else.test"]), text(n)).await;
    }
    world.until(|w| w.queue.len() == 1).await;
    for n in 0..3 {
        world.accept(&format!("B{n}"), letter("a@example.test", &["b@else.test"]), text(n)).await;
    }
    world.until(|w| w.queue.len() == 1).await;
    let names = files(folder.path());
    assert!(names.len() <= 7, "{names:?}");
    assert!(!names.contains(&"00000001.queue".to_owned()), "{names:?}");
    assert_eq!(world.queue.show("HELD").unwrap(), before);
    world.close().await;
    let world = World::with(options, Script::default(), START_UNIX_S);
    assert_eq!(world.queue.show("HELD").unwrap(), before);
    assert_eq!(world.queue.len(), 1);
    world.close().await;
}

/// The log is copied at moments of a busy run, as a power cut that loses nothing written would leave it, and cut at
/// bytes: every letter that was acknowledged before is in the copy or was delivered, and none that was delivered before
/// the copy is sent again, but for those that were on their way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_at_any_moment_opens_and_has_what_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path());
    for n in 0..5 {
        world.script.answer(&format!("u{n}@d{n}.test"), [later(), later()]);
    }
    let mut acknowledged = BTreeSet::new();
    for n in 0..300 {
        let to = format!("u{}@d{}.test", n % 7, n % 7);
        world.accept(&format!("A{n}"), letter("a@example.test", &[&to]), text(n)).await;
        acknowledged.insert(format!("A{n}"));
        if n % 25 == 24 {
            let delivered = delivered(&world);
            let copy = tempfile::tempdir().unwrap();
            for name in files(folder.path()) {
                std::fs::copy(folder.path().join(&name), copy.path().join(&name)).unwrap();
            }
            let clock = Arc::new(ManualClock::at_unix_s(START_UNIX_S));
            let found = Queue::open(options(copy.path()), clock).unwrap();
            let waiting: BTreeSet<String> =
                found.list(None, 0, 1000).unwrap().into_iter().map(|e| e.id).collect();
            let delivered_now = self::delivered(&world);
            for id in &acknowledged {
                assert!(waiting.contains(id) || delivered_now.contains_key(id), "{id} is lost");
            }
            for (id, booked) in delivered {
                assert!(!(booked && waiting.contains(&id)), "{id} would be sent twice");
            }
            found.close().await;
        }
    }
    world.close().await;
}

/// Letters that are gone from the queue, because they were delivered; `true`: that was written.
fn delivered(world: &World) -> BTreeMap<String, bool> {
    let waiting: BTreeSet<String> =
        world.queue.list(None, 0, 1000).unwrap().into_iter().map(|e| e.id).collect();
    world
        .script
        .seen()
        .into_iter()
        .map(|seen| (seen.id.clone(), !waiting.contains(&seen.id)))
        .collect()
}
