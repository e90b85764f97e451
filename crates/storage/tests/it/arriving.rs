//! Letters that come together with another change.

use crate::{EVERY, Folder, Scene, copy_folder, letter, uid, uids};
use storage::{Amount, Error, Into, Letter, Replaced, Target};
use types::{Flag, Flags};

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

fn many(raws: &[&str]) -> Vec<(Letter, Flags, Option<i64>)> {
    raws.iter().map(|raw| (parsed(raw), Flags::new(&[Flag::Draft]), Some(5))).collect()
}

#[tokio::test]
async fn several_letters_come_all_or_none() {
    for index in EVERY {
        let scene = Scene::on(index).await;
        scene.deliver(&letter(1)).await;
        let inbox = scene.inbox().await.id;
        let append =
            |mailbox, raws: &[&str]| scene.store.append_all(scene.alice, mailbox, many(raws));
        let raws = ["first", "", "Message-ID: <a@x>\r\n\r\nthird", "References: <a@x>\r\n\r\nlast"];
        let arrived = append(inbox, &raws).await.unwrap();
        let given: Vec<u32> = arrived.iter().map(|one| one.uid.get()).collect();
        assert_eq!(given, [2, 3, 4, 5]);
        assert_eq!(arrived[2].thread, arrived[3].thread, "they know each other");
        assert!(arrived.is_sorted_by(|a, b| a.modseq < b.modseq && a.email < b.email));
        let limit = Amount { size_bytes: 0, messages: 7 };
        scene.store.set_quota(scene.alice, limit).await.unwrap();
        let over = append(inbox, &["a", "b", "c"]).await;
        assert!(matches!(over, Err(Error::OverQuota)), "{over:?}");
        let nowhere = append(types::MailboxId(99), &["a", "b"]).await;
        assert!(matches!(nowhere, Err(Error::NoMailbox)), "{nowhere:?}");
        append(inbox, &["6", "7"]).await.unwrap();
        scene.check_counters().await;
        let scene = scene.reopen().await;
        assert_eq!(scene.rows("INBOX").await.len(), 7);
        scene.check_counters().await;
        let expect = ["first", "", raws[2], raws[3], "6", "7"];
        for (row, raw) in scene.rows("INBOX").await.iter().skip(1).zip(expect) {
            assert_eq!(scene.raw(row).await, raw.as_bytes());
            assert_eq!(row.received_unix_s, 5);
        }
        // One of them goes; the others stay as they are.
        scene.store.remove(scene.alice, scene.inbox().await.id, uids(&[2, 4])).await.unwrap();
        let row = scene.rows("INBOX").await.remove(2);
        assert_eq!(scene.raw(&row).await, raws[3].as_bytes());
    }
}

/// One frame holds them: cut off anywhere in it, none is there.
#[tokio::test]
async fn a_torn_frame_takes_all_of_them() {
    let scene = Scene::new().await;
    scene.deliver(&letter(1)).await;
    let log = scene.log();
    let before = std::fs::metadata(&log).unwrap().len();
    let inbox = scene.inbox().await.id;
    scene.store.append_all(scene.alice, inbox, many(&["first", "second", "third"])).await.unwrap();
    let after = std::fs::metadata(&log).unwrap().len();
    scene.store.close().await;
    for end in (before..after).step_by(23).chain([after - 1, after]) {
        let folder = Folder::new();
        copy_folder(scene.folder.path(), folder.path());
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.to_string_lossy().contains("index.sqlite") {
                std::fs::remove_file(path).unwrap();
            }
        }
        let copy = folder.path().join("log").join(log.file_name().unwrap());
        let file = std::fs::OpenOptions::new().write(true).open(copy).unwrap();
        file.set_len(end).unwrap();
        let options = storage::Options::in_folder(folder.path());
        let store = storage::Store::open(&options, scene.clock.clone()).unwrap();
        let rows = store.messages(scene.alice, inbox, &types::UidSet::all()).await.unwrap();
        assert_eq!(rows.len(), if end == after { 4 } else { 1 }, "{end} of {after}");
        store.close().await;
    }
}
