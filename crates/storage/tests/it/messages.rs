//! Flags, copies, moves, removal, threads, the change log.

use crate::{EVERY, Scene, letter, uids};
use storage::ChangeKind::{FlagsChanged, MessageAdded, MessageGone};
use storage::{Error, Patch};
use types::{EmailId, Flag, FlagChange, Flags, Keyword, ModSeq, UidSet};

fn flags(names: &str) -> Flags {
    let mut flags = Flags::default();
    names.split_whitespace().for_each(|name| assert!(flags.insert_name(name)));
    flags
}

#[tokio::test]
async fn flags_change_and_survive() {
    for index in EVERY {
        let scene = Scene::on(index).await;
        for n in 1..=3 {
            scene.deliver(&letter(n)).await;
        }
        let inbox = scene.inbox().await.id;
        let store = |set: &[u32], change| {
            scene.store.store_flags(scene.alice, inbox, uids(set), change, None)
        };
        let before = scene.store.state(scene.alice).await.unwrap();
        let stored = store(&[1, 3, 77], FlagChange::Add(flags("\\Seen $Work"))).await.unwrap();
        assert_eq!((stored.rows.len(), stored.modified.is_empty()), (2, true));
        assert_eq!((stored.before, stored.after), (before, before.next()));
        store(&[3], FlagChange::Remove(flags("\\Seen"))).await.unwrap();
        store(&[2], FlagChange::Replace(flags("\\Deleted \\Flagged"))).await.unwrap();
        assert_eq!(scene.shown("INBOX").await, "1:\\Seen $Work 2:\\Flagged \\Deleted 3:$Work");
        scene.check_counters().await;
        let scene = scene.reopen().await;
        assert_eq!(scene.shown("INBOX").await, "1:\\Seen $Work 2:\\Flagged \\Deleted 3:$Work");
        scene.check_counters().await;
    }
}

#[tokio::test]
async fn unchanged_since_leaves_newer_rows_alone() {
    for index in EVERY {
        let scene = Scene::on(index).await;
        let first = scene.deliver(&letter(1)).await;
        scene.deliver(&letter(2)).await;
        let inbox = scene.inbox().await.id;
        let change = FlagChange::Add(flags("\\Seen"));
        let since = Some(first.modseq);
        let all = uids(&[1, 2]);
        let stored = scene.store.store_flags(scene.alice, inbox, all, change.clone(), since).await;
        let stored = stored.unwrap();
        assert_eq!((stored.rows.len(), stored.modified.to_string().as_str()), (1, "2"));
        assert_eq!(scene.shown("INBOX").await, "1:\\Seen 2:");
        // The same again changes nothing and takes no MODSEQ.
        let before = scene.store.state(scene.alice).await.unwrap();
        let same = scene.store.store_flags(scene.alice, inbox, uids(&[1]), change, None).await;
        let same = same.unwrap();
        assert_eq!((same.before, same.after), (before, before));
        assert_eq!(scene.store.state(scene.alice).await.unwrap(), before);
    }
}

#[tokio::test]
async fn copy_move_expunge() {
    for index in EVERY {
        let scene = Scene::on(index).await;
        for n in 1..=4 {
            scene.deliver(&letter(n)).await;
        }
        let (inbox, trash) = (scene.inbox().await.id, scene.named("Trash").await.id);
        let (alice, store) = (scene.alice, &scene.store);
        let copied = store.copy(alice, inbox, uids(&[2, 3]), trash).await.unwrap();
        let pairs: Vec<_> = copied.uids.iter().map(|(a, b)| (a.get(), b.get())).collect();
        assert_eq!(pairs, [(2, 1), (3, 2)]);
        store.move_messages(alice, inbox, uids(&[1, 2]), trash).await.unwrap();
        assert_eq!(scene.shown("INBOX").await, "3: 4:");
        assert_eq!(scene.shown("Trash").await, "1: 2: 3: 4:");
        let rows = scene.rows("Trash").await;
        assert_eq!(rows[0].email, rows[3].email, "a copy is the same email");
        assert!(scene.raw(&rows[3]).await == letter(2).as_bytes());
        store
            .store_flags(alice, trash, uids(&[1, 2]), FlagChange::Add(flags("\\Deleted")), None)
            .await
            .unwrap();
        let gone = store.expunge(alice, trash, uids(&[2, 3])).await.unwrap();
        assert_eq!(gone.to_string(), "2");
        assert_eq!(store.remove(alice, trash, uids(&[3, 9])).await.unwrap().to_string(), "3");
        assert_eq!(scene.shown("Trash").await, "1:\\Deleted 4:");
        assert!(store.expunge(alice, inbox, UidSet::all()).await.unwrap().is_empty());
        scene.check_counters().await;
        let arrived = scene.deliver(&letter(5)).await;
        assert_eq!(arrived.uid.get(), 5, "UIDs are never given again");
        let refused = store.copy(alice, inbox, uids(&[3]), types::MailboxId(99)).await;
        assert!(matches!(refused, Err(Error::NoMailbox)));
    }
}

#[tokio::test]
async fn an_email_is_patched_wherever_it_is() {
    for index in EVERY {
        let scene = Scene::on(index).await;
        let (alice, store) = (scene.alice, &scene.store);
        let email = scene.deliver(&letter(1)).await.email;
        let (inbox, archive) = (scene.inbox().await.id, scene.named("Archive").await.id);
        let seen = FlagChange::Add(flags("\\Seen"));
        let patch = Patch { flags: Some(seen), mailboxes: Some(vec![inbox, archive]) };
        store.patch_email(alice, email, patch).await.unwrap();
        assert_eq!(scene.shown("INBOX").await, "1:\\Seen");
        assert_eq!(scene.shown("Archive").await, "1:\\Seen");
        let patch = Patch { flags: None, mailboxes: Some(vec![archive]) };
        store.patch_email(alice, email, patch).await.unwrap();
        assert_eq!(scene.shown("INBOX").await, "");
        let nowhere = Patch { flags: None, mailboxes: Some(vec![]) };
        assert!(matches!(
            store.patch_email(alice, email, nowhere).await,
            Err(Error::MailboxFixed(_))
        ));
        let missing = store.patch_email(alice, EmailId(99), Patch::default()).await;
        assert!(matches!(missing, Err(Error::NoMessage)));
        store.destroy_email(alice, email).await.unwrap();
        assert_eq!(scene.shown("Archive").await, "");
        assert!(store.emails(alice, &[email]).await.unwrap().is_empty());
        assert!(matches!(store.destroy_email(alice, email).await, Err(Error::NoMessage)));
        scene.check_counters().await;
    }
}

#[tokio::test]
async fn another_account_cannot_touch_an_email() {
    for index in EVERY {
        let scene = Scene::on(index).await;
        let bob = scene.store.put_account("bob@example.test", "").await.unwrap();
        let email = scene.deliver(&letter(1)).await.email;
        assert!(matches!(scene.store.destroy_email(bob, email).await, Err(Error::NoMessage)));
        assert!(scene.store.homes(bob, email).await.unwrap().is_empty());
        assert_eq!(scene.shown("INBOX").await, "1:");
    }
}

#[tokio::test]
async fn letters_that_refer_to_each_other_are_one_thread() {
    for index in EVERY {
        let scene = Scene::on(index).await;
        let head = |id: &str, extra: &str| {
            format!("Subject: x\r\nMessage-ID: <{id}@example.test>\r\n{extra}\r\n\r\n.\r\n")
        };
        let first = scene.deliver(&head("a", "X: y")).await;
        let other = scene.deliver(&head("z", "X: y")).await;
        let reply = scene.deliver(&head("b", "In-Reply-To: <a@example.test>")).await;
        let third = "References: <unknown@example.test> <b@example.test>";
        let third = scene.deliver(&head("c", third)).await;
        // A letter that came late: others knew of it before it was there.
        let late = scene.deliver(&head("unknown", "X: y")).await;
        assert_eq!(
            (reply.thread, third.thread, late.thread),
            (first.thread, first.thread, first.thread)
        );
        assert_ne!(other.thread, first.thread);
        let thread = scene.store.thread(scene.alice, first.thread).await.unwrap();
        assert_eq!(thread, [first.email, reply.email, third.email, late.email]);
    }
}

#[tokio::test]
async fn the_change_log_tells_everything_in_order() {
    for index in EVERY {
        let scene = Scene::on(index).await;
        let (alice, store) = (scene.alice, &scene.store);
        let start = store.state(alice).await.unwrap();
        for n in 1..=3 {
            scene.deliver(&letter(n)).await;
        }
        let inbox = scene.inbox().await.id;
        let mut keyword = Flags::new(&[Flag::Seen]);
        keyword.insert_keyword(Keyword::new("k").unwrap());
        store
            .store_flags(alice, inbox, uids(&[1, 2]), FlagChange::Add(keyword), None)
            .await
            .unwrap();
        store.remove(alice, inbox, uids(&[3])).await.unwrap();
        let kinds = |changes: &[storage::Change]| {
            changes.iter().map(|c| (c.kind, c.message.map_or(0, |m| m.0.get()))).collect::<Vec<_>>()
        };
        let all = store.changes(alice, start, 100).await.unwrap();
        let expect = [
            (MessageAdded, 1),
            (MessageAdded, 2),
            (MessageAdded, 3),
            (FlagsChanged, 1),
            (FlagsChanged, 2),
            (MessageGone, 3),
        ];
        assert_eq!(kinds(&all.changes), expect);
        assert_eq!((all.state, all.more), (store.state(alice).await.unwrap(), false));
        // One MODSEQ is never cut in two.
        let part = store.changes(alice, start, 4).await.unwrap();
        assert_eq!((kinds(&part.changes), part.more), (expect[..3].to_vec(), true));
        let part = store.changes(alice, part.state, 1).await.unwrap();
        assert_eq!((kinds(&part.changes), part.more), (expect[3..5].to_vec(), true));
        let rest = store.changes(alice, part.state, 1).await.unwrap();
        assert_eq!((kinds(&rest.changes), rest.more), (expect[5..].to_vec(), false));
        assert_eq!(store.changes(alice, rest.state, 9).await.unwrap().changes.len(), 0);
        assert!(rest.state > ModSeq(0));
    }
}

#[tokio::test]
async fn an_answer_that_names_no_letter_is_found_by_its_subject() {
    for index in EVERY {
        let scene = Scene::on(index).await;
        let (alice, store) = (scene.alice, &scene.store);
        let sent = scene.named("Sent").await.id;
        let head = |from: &str, to: &str, subject: &str, more: &str| {
            let head = format!("From: {from}@example.test\r\nTo: {to}@example.test\r\n{more}");
            format!("{head}Subject: {subject}\r\n\r\n.\r\n")
        };
        let raw = head("alice", "bob", "Obiad w =?utf-8?q?pi=C4=85tek?=", "");
        let raw = storage::Letter::parse(raw.into());
        let asked = store.append(alice, sent, raw, Flags::default(), None).await.unwrap();
        let subject = "Odp:  Obiad w =?utf-8?q?pi=C4=85tek?=";
        // What is guessed from is what is committed: a look commits.
        assert_eq!(scene.shown("Sent").await, "1:");
        let answer = scene.deliver(&head("Bob", "alice", subject, "")).await;
        assert_eq!(answer.thread, asked.thread, "{index}");
        assert_eq!(scene.shown("INBOX").await, "1:");
        for (from, subject, more, why) in [
            ("carol", subject, "", "she had no part in it"),
            ("bob", "Obiad w =?utf-8?q?pi=C4=85tek?=", "", "it is no answer"),
            ("bob", "Re: Obiad w sobote", "", "another subject"),
            ("bob", subject, "In-Reply-To: <x@example.test>\r\n", "an answer to another letter"),
        ] {
            let other = scene.deliver(&head(from, "alice", subject, more)).await;
            assert_ne!(other.thread, asked.thread, "{index}: {why}");
            assert!(!scene.shown("INBOX").await.is_empty());
        }
        let again = scene.deliver(&head("bob", "alice", &format!("Re: {subject}"), "")).await;
        let thread = store.thread(alice, again.thread).await.unwrap();
        assert!(thread.contains(&again.email));
        assert_eq!(
            store.thread(alice, asked.thread).await.unwrap()[..2],
            [asked.email, answer.email]
        );
    }
}

#[tokio::test]
async fn a_copy_and_a_move_write_no_bytes_of_letters() {
    let scene = Scene::new().await;
    let (alice, store) = (scene.alice, &scene.store);
    let (inbox, archive) = (scene.inbox().await.id, scene.named("Archive").await.id);
    let size = 3_000_000;
    for n in 1..=5 {
        scene.deliver(&format!("{}{}", letter(n), "x".repeat(size))).await;
    }
    assert_eq!(scene.rows("INBOX").await.len(), 5);
    let written = || {
        let names = ["log/0000000000000001.seg", "index.sqlite", "index.sqlite-wal"];
        let length = |name| std::fs::metadata(scene.folder.path().join(name)).unwrap().len();
        names.map(length).iter().sum::<u64>()
    };
    let before = written();
    store.copy(alice, inbox, UidSet::all(), archive).await.unwrap();
    store.move_messages(alice, inbox, uids(&[1, 2, 3]), archive).await.unwrap();
    let email = scene.rows("Archive").await[0].email;
    let drafts = scene.named("Drafts").await.id;
    let patch = Patch { flags: None, mailboxes: Some(vec![archive, drafts, inbox]) };
    store.patch_email(alice, email, patch).await.unwrap();
    assert_eq!(scene.shown("Archive").await, "1: 2: 3: 4: 5: 6: 7: 8:");
    assert_eq!(scene.shown("INBOX").await, "4: 5: 6:");
    let grown = written() - before;
    assert!(grown < 200_000, "{grown} bytes for copies of letters of {size}");
    assert_eq!(store.homes(alice, email).await.unwrap().len(), 4, "twice in the archive");
    for row in scene.rows("Drafts").await {
        assert_eq!(scene.raw(&row).await.len(), row.size_bytes as usize);
    }
    // The bytes live as long as the last copy.
    store.remove(alice, inbox, UidSet::all()).await.unwrap();
    store.remove(alice, archive, UidSet::all()).await.unwrap();
    assert_eq!(scene.raw(&scene.rows("Drafts").await[0]).await.len(), letter(1).len() + size);
}

#[tokio::test]
async fn keywords_have_no_small_limit() {
    for index in EVERY {
        let scene = Scene::on(index).await;
        let (alice, inbox) = (scene.alice, scene.inbox().await.id);
        // A thousand in the account, a hundred on each letter, all of them on the last.
        let word = |n: u32| Keyword::new(&format!("keyword-{n}-{}", "x".repeat(20))).unwrap();
        let some = |numbers: std::ops::Range<u32>| {
            let mut flags = Flags::default();
            numbers.for_each(|n| flags.insert_keyword(word(n)));
            flags
        };
        for n in 1..=11 {
            scene.deliver(&letter(n)).await;
        }
        for n in 0..10 {
            let change = FlagChange::Add(some(n * 100..(n + 1) * 100));
            scene.store.store_flags(alice, inbox, uids(&[n + 1, 11]), change, None).await.unwrap();
        }
        let check = async |scene: &Scene| {
            let rows = scene.rows("INBOX").await;
            for (row, n) in rows.iter().zip(0..10) {
                assert_eq!(row.flags, some(n * 100..(n + 1) * 100));
            }
            assert_eq!(rows[10].flags.keywords().len(), 1000);
        };
        check(&scene).await;
        let scene = scene.reopen().await;
        check(&scene).await;
        let off = FlagChange::Remove(some(0..999));
        scene.store.store_flags(alice, inbox, uids(&[11]), off, None).await.unwrap();
        assert_eq!(scene.rows("INBOX").await[10].flags, some(999..1000));
    }
}
