//! Who is tried when, and what senders are told.

use crate::world::{
    START_UNIX_S, Script, World, delivered, down, later, letter, never, options, text,
};
use queue::{Error, Notify, Progress};
use std::time::Duration;
use types::AccountId;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_goes_out_as_it_came() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path());
    let raw = text(7);
    world
        .accept(
            "A1",
            letter("a@example.test", &["b@else.test", "c@else.test", "d@third.test"]),
            raw.clone(),
        )
        .await;
    world.until(|w| w.queue.is_empty()).await;
    let mut seen = world.script.seen();
    seen.sort_by_key(|seen| seen.to.clone());
    // One transaction for each route.
    assert_eq!(seen[0].to, ["b@else.test", "c@else.test"]);
    assert_eq!(seen[1].to, ["d@third.test"]);
    assert!(
        seen.iter().all(|s| s.letter == raw
            && s.id == "A1"
            && s.from.as_deref() == Some("a@example.test"))
    );
    world.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_have_it_now_is_tried_again_alone() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path());
    world.script.answer("c@else.test", [later(), later()]);
    world.accept("A1", letter("a@example.test", &["b@else.test", "c@else.test"]), text(1)).await;
    world.until(|w| w.script.delivered_to("c@else.test") == 1).await;
    world.pass(59).await;
    assert_eq!(world.script.delivered_to("c@else.test"), 1, "the first wait is a minute");
    world.pass(2).await;
    world.until(|w| w.script.delivered_to("c@else.test") == 2).await;
    let entry = world.queue.show("A1").unwrap().0;
    assert_eq!(entry.recipients[0], Progress::Delivered);
    assert!(matches!(entry.recipients[1], Progress::Waiting { attempts: 1 | 2, .. }), "{entry:?}");
    world.pass(301).await;
    world.until(|w| w.queue.is_empty()).await;
    assert_eq!(
        (world.script.delivered_to("b@else.test"), world.script.delivered_to("c@else.test")),
        (1, 3)
    );
    world.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_goes_back_to_the_sender_once() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path());
    world.script.answer("b@else.test", [never()]);
    world.accept("A1", letter("a@example.test", &["b@else.test"]), text(1)).await;
    world.until(|w| w.script.delivered_to("a@example.test") == 1 && w.queue.is_empty()).await;
    let report = world.script.seen().into_iter().find(|s| s.to == ["a@example.test"]).unwrap();
    assert_eq!(report.from, None);
    let report = String::from_utf8(report.letter.to_vec()).unwrap();
    assert!(report.contains("Action: failed\r\nStatus: 5.1.1\r\n"), "{report}");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_told_who_did_not_want_to_hear() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path());
    for to in ["b@else.test", "c@else.test"] {
        world.script.answer(to, [never()]);
    }
    let mut quiet = letter("a@example.test", &["b@else.test"]);
    quiet.recipients[0].notify = Notify::NEVER;
    world.accept("A1", quiet, text(1)).await;
    world.accept("A2", letter("", &["c@else.test"]), text(2)).await;
    world.until(|w| w.queue.is_empty()).await;
    assert_eq!(world.script.seen().len(), 2, "no report was made");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delay_is_told_once_and_the_end_after_five_days() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path());
    world.script.answer("b@else.test", std::iter::repeat_with(later).take(1000));
    world.accept("A1", letter("a@example.test", &["b@else.test"]), text(1)).await;
    world.until(|w| w.script.delivered_to("b@else.test") == 1).await;
    let reports = || world.script.delivered_to("a@example.test");
    for hours in [1, 2, 5, 5, 12] {
        world.pass(hours * 3600).await;
    }
    world.until(|_| reports() == 1).await;
    world.pass(24 * 3600).await;
    assert_eq!(reports(), 1, "the delay is told once");
    for _ in 0..4 {
        world.pass(25 * 3600).await;
    }
    world.until(|w| reports() == 2 && w.queue.is_empty()).await;
    let last = world.script.seen().pop().unwrap();
    let last = String::from_utf8(last.letter.to_vec()).unwrap();
    assert!(last.contains("Action: failed\r\nStatus: 5.4.7\r\n"), "{last}");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_route_that_is_down_one_letter_tries() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path());
    options.per_route = 1;
    let world = World::with(options, Script::default(), START_UNIX_S);
    world.script.answer("b@else.test", [down(), down()]);
    for n in 0..20 {
        world.accept(&format!("A{n}"), letter("a@example.test", &["b@else.test"]), text(n)).await;
    }
    world.until(|w| w.script.seen().len() == 1).await;
    world.pass(30).await;
    assert_eq!(world.script.seen().len(), 1, "the others wait with it");
    world.pass(31).await;
    world.until(|w| w.script.seen().len() == 2).await;
    world.pass(125).await;
    world.until(|w| w.queue.len() <= 2).await;
    world.pass(600).await;
    world.until(|w| w.queue.is_empty()).await;
    assert_eq!(world.script.seen().len(), 22);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_that_breaks_under_many_attempts_broke_once() {
    let folder = tempfile::tempdir().unwrap();
    let slow = Script { takes: Some(Duration::from_millis(300)), ..Script::default() };
    let world = World::with(options(folder.path()), slow, START_UNIX_S);
    world.script.answer("b@else.test", std::iter::repeat_with(down).take(10));
    for n in 0..10 {
        world.accept(&format!("A{n}"), letter("a@example.test", &["b@else.test"]), text(n)).await;
    }
    world.until(|w| w.script.seen().len() == 10).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    world.pass(61).await;
    world.until(|w| w.script.seen().len() > 10).await;
    world.until(|w| w.queue.is_empty()).await;
    assert_eq!(world.script.seen().len(), 20);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_nobody_tries_grow_old_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path());
    (options.per_route, options.expire_s, options.delay_report_s) = (1, 600, 300);
    let world = World::with(options, Script::default(), START_UNIX_S);
    world.script.answer("b@else.test", std::iter::repeat_with(down).take(1000));
    for n in 0..5 {
        world.accept(&format!("A{n}"), letter("a@example.test", &["b@else.test"]), text(n)).await;
    }
    world.until(|w| !w.script.seen().is_empty()).await;
    for _ in 0..12 {
        world.pass(70).await;
    }
    world.until(|w| w.queue.is_empty()).await;
    // Each sender heard twice: that it takes long, and that it did not work.
    assert_eq!(world.script.delivered_to("a@example.test"), 10);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_letter_waits_for_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path());
    let mut held = letter("a@example.test", &["b@else.test"]);
    held.release_unix_s = Some(START_UNIX_S + 100);
    world.accept("A1", held, text(1)).await;
    world.pass(98).await;
    assert_eq!(world.script.seen(), []);
    world.pass(2).await;
    world.until(|w| w.queue.is_empty()).await;
    assert_eq!(world.script.seen().len(), 1);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_cancelled_is_never_sent() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path());
    let mut held = letter("a@example.test", &["b@else.test"]);
    held.release_unix_s = Some(START_UNIX_S + 100);
    held.account = Some(AccountId(1));
    world.accept("A1", held, text(1)).await;
    let other = world.queue.cancel("A1", Some(AccountId(2))).await;
    assert!(matches!(other, Err(Error::NotFound)), "{other:?}");
    assert_eq!(world.queue.list(Some(AccountId(2)), 0, 10).unwrap(), []);
    assert_eq!(world.queue.list(Some(AccountId(1)), 0, 10).unwrap().len(), 1);
    world.queue.cancel("A1", Some(AccountId(1))).await.unwrap();
    assert!(matches!(world.queue.cancel("A1", None).await, Err(Error::NotFound)));
    world.close().await;
    let world = World::with(options(folder.path()), Script::default(), START_UNIX_S + 1000);
    assert!(world.queue.is_empty());
    world.pass(1).await;
    assert_eq!(world.script.seen(), []);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_being_sent_cannot_be_cancelled_and_retry_does_not_double_it() {
    let folder = tempfile::tempdir().unwrap();
    let slow = Script { takes: Some(Duration::from_millis(500)), ..Script::default() };
    let world = World::with(options(folder.path()), slow, START_UNIX_S);
    world.accept("A1", letter("a@example.test", &["b@else.test"]), text(1)).await;
    world.until(|w| w.script.most_at_once.lock().unwrap().0 == 1).await;
    assert!(matches!(world.queue.cancel("A1", None).await, Err(Error::TooLate)));
    assert_eq!(world.queue.retry(None).await.unwrap(), 1);
    world.until(|w| w.queue.is_empty()).await;
    assert_eq!(world.script.seen().len(), 1);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retry_tries_now() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path());
    world.script.answer("b@else.test", [down(), later(), delivered("at last")]);
    world.accept("A1", letter("a@example.test", &["b@else.test"]), text(1)).await;
    for tries in 1..=3 {
        world.until(|w| w.script.seen().len() == tries).await;
        tokio::time::sleep(Duration::from_millis(150)).await;
        if tries < 3 {
            assert_eq!(world.queue.retry(Some("A1")).await.unwrap(), 1);
        }
    }
    world.until(|w| w.queue.is_empty()).await;
    assert!(matches!(world.queue.retry(Some("A1")).await, Err(Error::NotFound)));
    world.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_route_has_so_many_attempts_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let slow = Script { takes: Some(Duration::from_millis(30)), ..Script::default() };
    let mut options = options(folder.path());
    options.per_route = 3;
    let world = World::with(options, slow, START_UNIX_S);
    for n in 0..30 {
        world.accept(&format!("A{n}"), letter("a@example.test", &["b@else.test"]), text(n)).await;
    }
    world.until(|w| w.queue.is_empty()).await;
    assert_eq!(world.script.most_at_once.lock().unwrap().1, 3);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_letters_of_one_name_have_two() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path());
    for _ in 0..2 {
        let mut held = letter("a@example.test", &["b@else.test"]);
        held.release_unix_s = Some(START_UNIX_S + 100);
        world.accept("A1", held, text(1)).await;
    }
    let names: Vec<String> =
        world.queue.list(None, 0, 10).unwrap().into_iter().map(|e| e.id).collect();
    assert_eq!(names.len(), 2);
    assert_ne!(names[0], names[1]);
    for name in names {
        world.queue.cancel(&name, None).await.unwrap();
    }
    world.close().await;
}
