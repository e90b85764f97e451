//! What people say by moving letters into Junk and out of it.

use crate::{EVERY, Scene, letter, uids};
use storage::{Click, Patch};
use tokio::sync::mpsc::Receiver;
use types::{FlagChange, Flags};

fn heard(clicks: &mut Receiver<Click>) -> Vec<Click> {
    std::iter::from_fn(|| clicks.try_recv().ok()).collect()
}

#[tokio::test]
async fn moves_into_junk_and_out_of_it_are_told() {
    for index in EVERY {
        let scene = Scene::on(index).await;
        let (alice, store) = (scene.alice, &scene.store);
        let mut clicks = store.clicks().unwrap();
        assert!(store.clicks().is_none(), "one listens");
        let inbox = scene.inbox().await.id;
        let (junk, trash) = (scene.named("Junk").await.id, scene.named("Trash").await.id);
        let first = scene.deliver(&letter(1)).await.email;
        let second = scene.deliver(&letter(2)).await.email;
        let click = |email, spam| Click { account: alice, email, spam };

        store.move_messages(alice, inbox, uids(&[1, 2]), junk).await.unwrap();
        assert_eq!(heard(&mut clicks), [click(first, true), click(second, true)], "{index}");
        store.move_messages(alice, junk, uids(&[1]), trash).await.unwrap();
        assert_eq!(heard(&mut clicks), [], "throwing away is not rescuing");
        store.move_messages(alice, junk, uids(&[2]), inbox).await.unwrap();
        assert_eq!(heard(&mut clicks), [click(second, false)]);
        store.copy(alice, inbox, uids(&[3]), trash).await.unwrap();
        assert_eq!(heard(&mut clicks), []);

        let to_junk = Patch { flags: None, mailboxes: Some(vec![junk]) };
        store.patch_email(alice, second, to_junk).await.unwrap();
        assert_eq!(heard(&mut clicks), [click(second, true)]);
        let back = Patch { flags: None, mailboxes: Some(vec![inbox]) };
        store.patch_email(alice, second, back).await.unwrap();
        assert_eq!(heard(&mut clicks), [click(second, false)]);

        let mut flags = Flags::default();
        assert!(flags.insert_name("$Junk"));
        let uid = scene.rows("INBOX").await[0].uid.get();
        let change = FlagChange::Add(flags);
        store.store_flags(alice, inbox, uids(&[uid]), change.clone(), None).await.unwrap();
        assert_eq!(heard(&mut clicks), [click(second, true)]);
        store.store_flags(alice, inbox, uids(&[uid]), change, None).await.unwrap();
        assert_eq!(heard(&mut clicks), [], "it was said already");
    }
}
