//! How much an account may hold.

use crate::{EVERY, Scene, counters_agree, letter, uids};
use storage::{Amount, Error, Into, Letter, Patch, Target};
use types::{AccountId, ErrorClass, FlagChange, Flags, SpecialUse, UidSet};

const MESSAGES_3: Amount = Amount { size_bytes: 0, messages: 3 };

async fn used(scene: &Scene) -> (u64, u64) {
    let row = scene.store.account(scene.alice).await.unwrap();
    (row.used.messages, row.used.size_bytes)
}

/// Delivers, and says whether there was room.
async fn fits(scene: &Scene, raw: &str) -> bool {
    let (letter, targets) =
        (Letter::parse(raw.to_owned().into()), vec![Target::inbox(scene.alice)]);
    match scene.store.deliver(letter, targets).await.unwrap().pop().unwrap() {
        Ok(_) => true,
        Err(error) => {
            assert!(matches!(error, Error::OverQuota), "{error}");
            assert_eq!(error.class(), ErrorClass::Full);
            false
        }
    }
}

/// What is held is what the rows say, in this index and in one made again from the log.
async fn check_used(scene: Scene) -> Scene {
    let mut held = (0, 0);
    for mailbox in scene.store.mailboxes(scene.alice).await.unwrap() {
        held = (held.0 + mailbox.total, held.1 + mailbox.size_bytes);
    }
    assert_eq!(used(&scene).await, held);
    counters_agree(&scene.store, scene.alice).await;
    let scene = scene.reopen().await;
    assert_eq!(used(&scene).await, held);
    scene
}

#[tokio::test]
async fn up_to_the_last_byte() {
    for index in EVERY {
        let scene = Scene::on(index).await;
        let limit = Amount { size_bytes: 1000, messages: 0 };
        scene.store.set_quota(scene.alice, limit).await.unwrap();
        assert!(fits(&scene, &"x".repeat(400)).await);
        assert!(!fits(&scene, &"x".repeat(601)).await, "too large by one byte");
        assert!(fits(&scene, &"x".repeat(600)).await, "and now it is exactly full");
        assert!(!fits(&scene, "x").await);
        assert_eq!(used(&scene).await, (2, 1000));
        let scene = check_used(scene).await;
        assert_eq!(scene.store.account(scene.alice).await.unwrap().limit, limit);
        assert!(!fits(&scene, "x").await, "also after a restart");
        scene.store.set_quota(scene.alice, Amount::default()).await.unwrap();
        assert!(fits(&scene, "x").await, "without a limit");
    }
}

#[tokio::test]
async fn what_is_refused_and_what_never_is() {
    for index in EVERY {
        let scene = Scene::on(index).await;
        let (alice, store) = (scene.alice, &scene.store);
        for n in 1..=3 {
            scene.deliver(&letter(n)).await;
        }
        store.set_quota(alice, MESSAGES_3).await.unwrap();
        let (inbox, archive) = (scene.inbox().await.id, scene.named("Archive").await.id);
        let state = store.state(alice).await.unwrap();
        assert!(!fits(&scene, &letter(4)).await);
        let raw = Letter::parse(letter(4).into());
        let appended = store.append(alice, archive, raw, Flags::default(), None).await;
        assert!(matches!(appended, Err(Error::OverQuota)));
        let copied = store.copy(alice, inbox, uids(&[1]), archive).await;
        assert!(matches!(copied, Err(Error::OverQuota)));
        let email = scene.rows("INBOX").await[0].email;
        let both = Patch { mailboxes: Some(vec![inbox, archive]), flags: None };
        assert!(matches!(store.patch_email(alice, email, both).await, Err(Error::OverQuota)));
        assert_eq!(store.state(alice).await.unwrap(), state, "nothing was changed");
        // In place of another mailbox it is no more than before.
        let other = Patch { mailboxes: Some(vec![archive]), flags: None };
        store.patch_email(alice, email, other).await.unwrap();
        store.move_messages(alice, inbox, uids(&[2]), archive).await.unwrap();
        let seen = FlagChange::Add(Flags::new(&[types::Flag::Seen]));
        store.store_flags(alice, archive, UidSet::all(), seen, None).await.unwrap();
        store.create_mailbox(alice, "New", None).await.unwrap();
        store.rename_mailbox(alice, inbox, "Old").await.unwrap();
        assert_eq!(store.copy(alice, inbox, uids(&[77]), archive).await.unwrap().uids, []);
        let scene = check_used(scene).await;
        // Lowered below what is there: only what comes in is refused.
        scene.store.set_quota(alice, Amount { size_bytes: 1, messages: 1 }).await.unwrap();
        assert!(!fits(&scene, "").await);
        assert_eq!(scene.store.remove(alice, archive, uids(&[1])).await.unwrap().to_string(), "1");
        let old = scene.named("Old").await.id;
        scene.store.move_messages(alice, old, UidSet::all(), archive).await.unwrap();
        scene.store.delete_mailbox(alice, old).await.unwrap();
        assert!(!fits(&scene, "").await);
        scene.store.remove(alice, archive, UidSet::all()).await.unwrap();
        assert_eq!(used(&scene).await, (0, 0));
        assert!(fits(&scene, "1").await, "room again");
        check_used(scene).await;
    }
}

#[tokio::test]
async fn one_who_is_full_does_not_hinder_the_others() {
    for index in EVERY {
        let scene = Scene::on(index).await;
        let bob = scene.store.put_account("bob@example.test", "").await.unwrap();
        scene.store.set_quota(scene.alice, Amount { size_bytes: 0, messages: 1 }).await.unwrap();
        let into =
            |account| Target { into: Into::Use(SpecialUse::Archive), ..Target::inbox(account) };
        // Twice to alice: the second does not fit any more.
        let targets = vec![into(scene.alice), into(bob), into(scene.alice), into(AccountId(99))];
        let raw = Letter::parse(letter(1).into());
        let outcomes = scene.store.deliver(raw, targets).await.unwrap();
        let shown: Vec<&str> = outcomes
            .iter()
            .map(|outcome| match outcome {
                Ok(_) => "ok",
                Err(Error::OverQuota) => "full",
                Err(Error::NoAccount) => "unknown",
                Err(_) => "other",
            })
            .collect();
        assert_eq!(shown, ["ok", "ok", "full", "unknown"]);
        check_used(scene).await;
    }
}

#[tokio::test]
async fn many_at_once_do_not_get_past_the_limit() {
    for index in EVERY {
        let scene = std::sync::Arc::new(Scene::on(index).await);
        let limit = Amount { size_bytes: 0, messages: 10 };
        scene.store.set_quota(scene.alice, limit).await.unwrap();
        let tasks: Vec<_> = (0..50)
            .map(|n| {
                let scene = scene.clone();
                tokio::spawn(async move { fits(&scene, &letter(n)).await })
            })
            .collect();
        let mut taken = 0;
        for task in tasks {
            taken += u32::from(task.await.unwrap());
        }
        assert_eq!(taken, 10);
        assert_eq!(used(&scene).await.0, 10);
    }
}

#[tokio::test]
async fn a_limit_for_nobody_is_refused() {
    let scene = Scene::new().await;
    let refused = scene.store.set_quota(AccountId(9), MESSAGES_3).await;
    assert!(matches!(refused, Err(Error::NoAccount)));
    // A new password leaves it alone.
    scene.store.set_quota(scene.alice, MESSAGES_3).await.unwrap();
    scene.store.put_account("alice@example.test", "new").await.unwrap();
    assert_eq!(scene.store.account(scene.alice).await.unwrap().limit, MESSAGES_3);
}
