//! Making, renaming, deleting and subscribing mailboxes.

use crate::{EVERY, Scene, letter};
use storage::Error;
use types::SpecialUse;

async fn names(scene: &Scene) -> Vec<String> {
    let rows = scene.store.mailboxes(scene.alice).await.unwrap();
    rows.into_iter().filter(|row| row.special_use.is_none()).map(|row| row.name).collect()
}

#[tokio::test]
async fn create_makes_what_is_missing_above() {
    for index in EVERY {
        let scene = Scene::on(index).await;
        let create = |name: &'static str| scene.store.create_mailbox(scene.alice, name, None);
        let made = create("Praca/Żółte/2026").await.unwrap();
        assert!(made.subscribed);
        assert_eq!(names(&scene).await, ["Praca", "Praca/Żółte", "Praca/Żółte/2026"]);
        assert!(matches!(create("Praca").await, Err(Error::MailboxExists)));
        assert!(matches!(create("inbox").await, Err(Error::MailboxExists)));
        assert!(matches!(create("a//b").await, Err(Error::MailboxName(_))));
        let second = scene.store.create_mailbox(scene.alice, "Spam", Some(SpecialUse::Junk)).await;
        assert!(matches!(second, Err(Error::MailboxFixed(_))));
        let under = create("inbox/sub").await.unwrap();
        assert_eq!(under.name, "INBOX/sub");
    }
}

#[tokio::test]
async fn uid_validity_is_never_given_twice() {
    for index in EVERY {
        let scene = Scene::on(index).await;
        let create = || scene.store.create_mailbox(scene.alice, "Work", None);
        let first = create().await.unwrap();
        scene.store.delete_mailbox(scene.alice, first.id).await.unwrap();
        let second = create().await.unwrap();
        assert!(second.uid_validity > first.uid_validity);
        assert_ne!(second.id, first.id);
        // Also when the clock has gone back, and the one that had it was renamed.
        scene.clock.advance_ms(-100_000_000);
        scene.store.rename_mailbox(scene.alice, second.id, "Other").await.unwrap();
        let third = create().await.unwrap();
        assert!(third.uid_validity > second.uid_validity);
        let scene = scene.reopen().await;
        let fourth = scene.store.create_mailbox(scene.alice, "More", None).await.unwrap();
        assert!(fourth.uid_validity > third.uid_validity);
    }
}

#[tokio::test]
async fn rename_takes_what_is_below_along() {
    for index in EVERY {
        let scene = Scene::on(index).await;
        let (alice, store) = (scene.alice, &scene.store);
        store.create_mailbox(alice, "a/b/c", None).await.unwrap();
        store.create_mailbox(alice, "ab", None).await.unwrap();
        let a = scene.named("a").await;
        assert!(matches!(
            store.rename_mailbox(alice, a.id, "a/x").await,
            Err(Error::MailboxFixed(_))
        ));
        assert!(matches!(store.rename_mailbox(alice, a.id, "ab").await, Err(Error::MailboxExists)));
        store.rename_mailbox(alice, a.id, "z").await.unwrap();
        assert_eq!(names(&scene).await, ["ab", "z", "z/b", "z/b/c"]);
        let scene = scene.reopen().await;
        assert_eq!(names(&scene).await, ["ab", "z", "z/b", "z/b/c"]);
        assert_eq!(scene.named("z").await.id, a.id);
    }
}

#[tokio::test]
async fn renaming_the_inbox_moves_its_letters_and_keeps_it() {
    for index in EVERY {
        let scene = Scene::on(index).await;
        scene.deliver(&letter(1)).await;
        let inbox = scene.inbox().await;
        scene.store.rename_mailbox(scene.alice, inbox.id, "Old").await.unwrap();
        assert_eq!(scene.shown("INBOX").await, "");
        assert_eq!(scene.shown("Old").await, "1:");
        assert_eq!(scene.deliver(&letter(2)).await.uid.get(), 2);
        // What lies below the inbox stays where it is (RFC 9051 §6.3.6); levels above the new name are made.
        let below = scene.store.create_mailbox(scene.alice, "inbox/sub", None).await.unwrap();
        scene.store.rename_mailbox(scene.alice, inbox.id, "Very/Old").await.unwrap();
        assert_eq!(scene.named("INBOX/sub").await.id, below.id);
        assert_eq!(names(&scene).await, ["INBOX/sub", "Old", "Very", "Very/Old"]);
        assert_eq!(scene.shown("Very/Old").await, "1:");
        let again = scene.inbox().await;
        assert_eq!((again.id, again.uid_validity), (inbox.id, inbox.uid_validity));
        scene.check_counters().await;
    }
}

#[tokio::test]
async fn delete_takes_the_letters_but_no_children() {
    for index in EVERY {
        let scene = Scene::on(index).await;
        let (alice, store) = (scene.alice, &scene.store);
        let inbox = scene.inbox().await.id;
        store.create_mailbox(alice, "a/b", None).await.unwrap();
        let (a, b) = (scene.named("a").await.id, scene.named("a/b").await.id);
        assert!(matches!(store.delete_mailbox(alice, inbox).await, Err(Error::MailboxFixed(_))));
        assert!(matches!(store.delete_mailbox(alice, a).await, Err(Error::MailboxFixed(_))));
        let email = scene.deliver(&letter(1)).await.email;
        store.move_messages(alice, inbox, crate::uids(&[1]), b).await.unwrap();
        store.delete_mailbox(alice, b).await.unwrap();
        assert!(store.emails(alice, &[email]).await.unwrap().is_empty());
        assert!(matches!(store.delete_mailbox(alice, b).await, Err(Error::NoMailbox)));
        store.delete_mailbox(alice, a).await.unwrap();
        assert!(names(&scene).await.is_empty());
    }
}

#[tokio::test]
async fn subscriptions_last() {
    for index in EVERY {
        let scene = Scene::on(index).await;
        let junk = scene.named("Junk").await;
        scene.store.subscribe_mailbox(scene.alice, junk.id, false).await.unwrap();
        let scene = scene.reopen().await;
        assert!(!scene.named("Junk").await.subscribed);
        assert!(scene.named("Trash").await.subscribed);
    }
}
