//! Notes about mailboxes and accounts, and what others than the owner have read.

use crate::{EVERY, Scene, letter, uids};
use storage::{Error, NOTE_BYTES, NOTES};
use types::{Flag, FlagChange, Flags, MailboxId};

fn put(name: &str, value: &str) -> (String, Option<Vec<u8>>) {
    (name.to_owned(), Some(value.as_bytes().to_vec()))
}

async fn shown(scene: &Scene, mailbox: Option<MailboxId>) -> String {
    let notes = scene.store.notes(scene.alice, mailbox).await.unwrap();
    let line = |note: &storage::Note| {
        format!("{}={}", note.name, String::from_utf8(note.value.clone()).unwrap())
    };
    notes.iter().map(line).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn notes_are_put_together_told_and_survive() {
    for index in EVERY {
        let scene = Scene::on(index).await;
        let (store, alice) = (&scene.store, scene.alice);
        let inbox = scene.inbox().await.id;
        let mut watch = store.watch(alice);
        let before = store.state(alice).await.unwrap();
        let of_inbox = Some(inbox);
        let notes = vec![put("/shared/comment", "ours"), put("acl/bob@example.test", "lr")];
        let after = store.put_notes(alice, of_inbox, notes.clone()).await.unwrap();
        assert_eq!((after, watch.seen()), (before.next(), after));
        // The same again changes nothing.
        assert_eq!(store.put_notes(alice, of_inbox, notes).await.unwrap(), after);
        store.put_notes(alice, None, vec![put("a", "1"), put("b", "2")]).await.unwrap();
        store.put_notes(alice, None, vec![("a".to_owned(), None), put("b", "3")]).await.unwrap();
        let named = store.notes_named("acl/bob@example.test").await.unwrap();
        assert_eq!(named.iter().map(|(of, _)| *of).collect::<Vec<_>>(), [alice]);
        assert_eq!(named[0].1.mailbox, of_inbox);
        assert!(store.notes_named("acl/carol@example.test").await.unwrap().is_empty());
        store
            .rename_mailbox(alice, store.create_mailbox(alice, "A", None).await.unwrap().id, "B")
            .await
            .unwrap();
        let other = store.mailbox_by_name(alice, "B").await.unwrap().id;
        store.put_notes(alice, Some(other), vec![put("x", "y")]).await.unwrap();
        store.rename_mailbox(alice, other, "C").await.unwrap();
        let scene = scene.reopen().await;
        assert_eq!(shown(&scene, of_inbox).await, "/shared/comment=ours acl/bob@example.test=lr");
        assert_eq!(shown(&scene, None).await, "b=3");
        assert_eq!(shown(&scene, Some(other)).await, "x=y");
        scene.store.delete_mailbox(scene.alice, other).await.unwrap();
        let gone = scene.store.notes(scene.alice, Some(other)).await.unwrap();
        assert!(gone.is_empty());
    }
}

#[tokio::test]
async fn what_is_too_much_is_refused_and_changes_nothing() {
    for index in EVERY {
        let scene = Scene::on(index).await;
        let (store, alice) = (&scene.store, scene.alice);
        let refused =
            async |mailbox, notes| store.put_notes(alice, mailbox, notes).await.unwrap_err();
        let large = put("large", &"x".repeat(NOTE_BYTES + 1));
        let error = refused(None, vec![put("small", "x"), large]).await;
        assert!(matches!(error, Error::NoteTooLarge), "{error}");
        assert!(matches!(refused(None, vec![put("seen/1", "x")]).await, Error::NoteTooLarge));
        let many = |kind: &str, n: usize| {
            (0..n).map(|n| put(&format!("{kind}/{n}"), "x")).collect::<Vec<_>>()
        };
        assert!(matches!(refused(None, many("a", NOTES + 1)).await, Error::TooManyNotes));
        // Who fills the room of one kind takes nothing of the others'.
        let inbox = scene.inbox().await.id;
        store.put_notes(alice, Some(inbox), many("/private7", NOTES)).await.unwrap();
        let more = vec![put("/private7/more", "x")];
        assert!(matches!(refused(Some(inbox), more).await, Error::TooManyNotes));
        store.put_notes(alice, Some(inbox), vec![put("acl/bob@example.test", "lr")]).await.unwrap();
        let acl = store.notes_under(alice, Some(inbox), "acl/").await.unwrap();
        assert_eq!(acl.len(), 1);
        let nowhere = Some(MailboxId(77));
        assert!(matches!(refused(nowhere, vec![put("a", "x")]).await, Error::NoMailbox));
        assert_eq!(shown(&scene, None).await, "");
    }
}

#[tokio::test]
async fn each_has_read_what_they_have_read() {
    for index in EVERY {
        let scene = Scene::on(index).await;
        let (store, alice) = (&scene.store, scene.alice);
        let bob = store.put_account("bob2@example.test", "").await.unwrap();
        for n in 1..=3 {
            scene.deliver(&letter(n)).await;
        }
        let inbox = scene.inbox().await.id;
        let flags = |flags: &[Flag]| Flags::new(flags);
        let both = FlagChange::Add(flags(&[Flag::Seen, Flag::Flagged]));
        let stored = store.store_flags_for(bob, alice, inbox, uids(&[1, 2]), both, None).await;
        let stored = stored.unwrap();
        assert!(stored.rows.iter().all(|row| row.flags.contains(Flag::Seen)));
        assert_eq!(stored.after, stored.before.next());
        assert_eq!(scene.shown("INBOX").await, "1:\\Flagged 2:\\Flagged 3:");
        let seen = async || store.seen_by(alice, inbox, bob).await.unwrap().to_string();
        assert_eq!(seen().await, "1:2");
        // What the owner reads is not read by others, and the other way round.
        let read = FlagChange::Add(flags(&[Flag::Seen]));
        store.store_flags(alice, inbox, uids(&[3]), read, None).await.unwrap();
        let replace = FlagChange::Replace(flags(&[Flag::Answered]));
        let stored = store.store_flags_for(bob, alice, inbox, uids(&[2, 3]), replace, None).await;
        assert!(stored.unwrap().rows.iter().all(|row| row.flags == flags(&[Flag::Answered])));
        assert_eq!(seen().await, "1");
        let expect = "1:\\Flagged 2:\\Answered 3:\\Answered \\Seen";
        assert_eq!(scene.shown("INBOX").await, expect);
        // The same again changes nothing; a change of \\Seen alone is told.
        let before = store.state(alice).await.unwrap();
        let read = || FlagChange::Add(flags(&[Flag::Seen]));
        store.store_flags_for(bob, alice, inbox, uids(&[1]), read(), None).await.unwrap();
        assert_eq!(store.state(alice).await.unwrap(), before);
        let stored = store.store_flags_for(bob, alice, inbox, uids(&[2]), read(), None).await;
        let stored = stored.unwrap();
        assert_eq!(stored.rows[0].modseq, before.next());
        let told = store.changes(alice, before, 10).await.unwrap().changes;
        assert_eq!(told.iter().filter(|change| change.mailbox == inbox).count(), 1);
        scene.check_counters().await;
        let scene = scene.reopen().await;
        let seen = scene.store.seen_by(alice, inbox, bob).await.unwrap();
        assert_eq!(
            (seen.to_string().as_str(), scene.shown("INBOX").await.as_str()),
            ("1:2", expect)
        );
        scene.check_counters().await;
    }
}
