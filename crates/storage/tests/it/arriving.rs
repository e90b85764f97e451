//! Letters that come together with another change.

use crate::{EVERY, Scene, letter, uid};
use storage::{Amount, Error, Into, Letter, Replaced, Target};

fn parsed(raw: &str) -> Letter {
    Letter::parse(raw.to_owned().into())
}

#[tokio::test]
async fn a_message_is_replaced_in_one_step() {
    for index in EVERY {
        let scene = Scene::on(index).await;
        for n in 1..=3 {
            scene.deliver(&letter(n)).await;
        }
        let (inbox, drafts) = (scene.inbox().await.id, scene.named("Drafts").await.id);
        let old = |n| Replaced { account: scene.alice, mailbox: inbox, uid: uid(n) };
        let to = |mailbox| Target { into: Into::Mailbox(mailbox), ..Target::inbox(scene.alice) };
        let before = scene.store.state(scene.alice).await.unwrap();
        let new = scene.store.replace(parsed("x"), to(inbox), old(2)).await.unwrap();
        assert_eq!((new.uid.get(), new.modseq), (4, before.next()), "one MODSEQ for both");
        assert_eq!(scene.shown("INBOX").await, "1: 3: 4:");
        scene.store.replace(parsed("y"), to(drafts), old(4)).await.unwrap();
        assert_eq!(
            (scene.shown("INBOX").await, scene.shown("Drafts").await),
            ("1: 3:".into(), "1:".into())
        );
        let gone = scene.store.replace(parsed("z"), to(drafts), old(4)).await;
        assert!(matches!(gone, Err(Error::NoMessage)), "{gone:?}");
        let nowhere = scene.store.replace(parsed("z"), to(types::MailboxId(99)), old(1)).await;
        assert!(matches!(nowhere, Err(Error::NoMailbox)), "{nowhere:?}");
        assert_eq!(
            (scene.shown("INBOX").await, scene.shown("Drafts").await),
            ("1: 3:".into(), "1:".into())
        );
        scene.check_counters().await;
        let scene = scene.reopen().await;
        assert_eq!(
            (scene.shown("INBOX").await, scene.shown("Drafts").await),
            ("1: 3:".into(), "1:".into())
        );
        let row = scene.rows("Drafts").await.remove(0);
        assert_eq!(scene.raw(&row).await, b"y");
        scene.check_counters().await;
    }
}

/// RFC 8508 §3.4: the net of both counts.
#[tokio::test]
async fn a_full_account_can_replace_by_something_smaller() {
    for index in EVERY {
        let scene = Scene::on(index).await;
        scene.deliver("0123456789").await;
        let limit = Amount { size_bytes: 10, messages: 1 };
        scene.store.set_quota(scene.alice, limit).await.unwrap();
        let inbox = scene.inbox().await.id;
        for (n, raw, fits) in
            [(1, "0123456789", true), (2, "0123", true), (3, "01234567890", false)]
        {
            let old = Replaced { account: scene.alice, mailbox: inbox, uid: uid(n) };
            let done = scene.store.replace(parsed(raw), Target::inbox(scene.alice), old).await;
            assert!(fits == done.is_ok() && (fits || matches!(done, Err(Error::OverQuota))), "{n}");
        }
        assert_eq!(scene.shown("INBOX").await, "3:");
        scene.check_counters().await;
    }
}
