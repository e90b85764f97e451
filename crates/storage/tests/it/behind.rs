//! Deliveries are answered before the index has them: nobody may notice, whatever else happens at the same time.

use crate::dump::dump;
use crate::{Scene, counters_agree};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use storage::{Arrived, Letter, Store, Target};
use types::{AccountId, Flag, FlagChange, Flags, MailboxId, UidSet};

const INBOX: MailboxId = MailboxId(1);
const TASKS: usize = 12;
const LETTERS: usize = 60;

fn raw(n: usize) -> String {
    let answered = n / 2;
    format!(
        "Subject: {n}\r\nMessage-ID: <{n}@x>\r\nIn-Reply-To: <{answered}@x>\r\n\r\nbody {n}\r\n"
    )
}

/// Delivers to both; now and then looks whether it can see what it was told.
async fn arrive(store: Store, people: [AccountId; 2], number: Arc<AtomicUsize>) -> Vec<Arrived> {
    let mut all = Vec::new();
    for turn in 0..LETTERS {
        let n = number.fetch_add(1, Ordering::Relaxed);
        let letter = Letter::parse(raw(n).into());
        let targets = people.map(Target::inbox).to_vec();
        let arrived = store.deliver(letter, targets).await.unwrap();
        let arrived: Vec<_> = arrived.into_iter().map(|outcome| outcome.unwrap()).collect();
        if turn % 7 == 0 {
            let bob = arrived.last().unwrap();
            let rows = store.messages(people[1], INBOX, &UidSet::one(bob.uid)).await.unwrap();
            assert_eq!(rows.len(), 1, "letter {n} cannot be seen");
            let row = rows.first().unwrap();
            assert_eq!((row.email, row.modseq), (bob.email, bob.modseq));
        }
        all.extend(arrived);
    }
    all
}

/// Flags, removes and moves letters of the first account, and makes mailboxes in it.
async fn change(store: Store, account: AccountId) -> u64 {
    let mut removed = 0_u64;
    for turn in 0..40 {
        let flagged = FlagChange::Add(Flags::new(&[Flag::Flagged]));
        store.store_flags(account, INBOX, UidSet::all(), flagged, None).await.unwrap();
        let rows = store.messages(account, INBOX, &UidSet::all()).await.unwrap();
        let Some(first) = rows.first() else { continue };
        if turn % 3 == 0 {
            removed += store.remove(account, INBOX, UidSet::one(first.uid)).await.unwrap().len();
        } else if turn % 3 == 1 {
            let made = store.create_mailbox(account, &format!("M{turn}"), None).await.unwrap();
            let uids = UidSet::one(first.uid);
            store.move_messages(account, INBOX, uids, made.id).await.unwrap();
            let letter = Letter::parse(raw(100_000 + turn).into());
            store.append(account, made.id, letter, Flags::default(), None).await.unwrap();
        }
    }
    removed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn deliveries_and_changes_at_once_agree() {
    for index in ["sqlite:", "memory:"] {
        let scene = Scene::on(index).await;
        let bob = scene.store.put_account("bob@example.test", "").await.unwrap();
        let people = [scene.alice, bob];
        let number = Arc::<AtomicUsize>::default();
        let changing = tokio::spawn(change(scene.store.clone(), scene.alice));
        let store = &scene.store;
        let arriving: Vec<_> = (0..TASKS)
            .map(|_| tokio::spawn(arrive(store.clone(), people, number.clone())))
            .collect();
        let mut arrived = Vec::new();
        for task in arriving {
            arrived.extend(task.await.unwrap());
        }
        let removed = changing.await.unwrap();

        // Each UID, each email id and each MODSEQ of a delivery was given once.
        let all = TASKS * LETTERS;
        let mut emails: Vec<_> = arrived.iter().map(|a| a.email).collect();
        let mut uids: Vec<_> = arrived.iter().map(|a| (a.uid_validity, a.uid)).collect();
        emails.sort_unstable();
        emails.dedup();
        uids.sort_unstable_by_key(|(validity, uid)| (validity.0, *uid));
        uids.dedup();
        // Both accounts were made in the same second: their inboxes have the same UIDVALIDITY.
        assert_eq!((emails.len(), uids.len()), (2 * all, all));
        for account in people {
            counters_agree(store, account).await;
        }
        let of_bob = store.messages(bob, INBOX, &UidSet::all()).await.unwrap();
        assert_eq!(of_bob.len(), all);
        let total: u64 = store.mailboxes(scene.alice).await.unwrap().iter().map(|m| m.total).sum();
        let appended = (0..40).filter(|turn| turn % 3 == 1).count();
        assert!(total + removed <= (all + appended) as u64);

        // What the log says is what everybody was shown.
        let shown = dump(store).await;
        let scene = scene.reopen().await;
        assert!(shown == dump(&scene.store).await, "{index}: another store after opening again");
        scene.store.close().await;
        let folder = scene.folder.path().to_owned();
        for suffix in ["", "-wal", "-shm"] {
            let file = folder.join(format!("index.sqlite{suffix}"));
            std::fs::remove_file(file).unwrap_or_default();
        }
        let Scene { folder, options, clock, store, .. } = scene;
        drop(store);
        let store = Store::open(&options, clock).unwrap();
        assert!(shown == dump(&store).await, "{index}: another store from the log alone");
        store.close().await;
        drop(folder);
    }
}

/// An account that was changed in the index's transaction is delivered to right before and right after.
#[tokio::test]
async fn changes_between_deliveries_are_seen_by_them() {
    for index in ["sqlite:", "memory:"] {
        let scene = Scene::on(index).await;
        let (store, alice) = (&scene.store, scene.alice);
        let first = scene.deliver("Message-ID: <1@x>\r\n\r\n").await;
        let answer = "In-Reply-To: <1@x>\r\nMessage-ID: <2@x>\r\n\r\n";
        assert_eq!(scene.deliver(answer).await.thread, first.thread, "not applied yet");
        // The mailbox that letters of this use go to is another one from now on.
        let junk = store.mailbox_by_name(alice, "Junk").await.unwrap().id;
        let made = store.create_mailbox(alice, "New", None).await.unwrap();
        let letter = |raw: &str| Letter::parse(raw.to_owned().into());
        let there = store.append(alice, made.id, letter("a: b\r\n\r\n"), Flags::default(), None);
        assert_eq!(there.await.unwrap().mailbox, made.id);
        store.remove(alice, INBOX, UidSet::all()).await.unwrap();
        let again = scene.deliver("In-Reply-To: <1@x>\r\nMessage-ID: <3@x>\r\n\r\n").await;
        assert_ne!(again.thread, first.thread, "nothing of that thread is left");
        assert_eq!(again.uid.get(), 3);
        store.delete_mailbox(alice, made.id).await.unwrap();
        let gone = store.append(alice, made.id, letter("\r\n"), Flags::default(), None).await;
        assert!(matches!(gone, Err(storage::Error::NoMailbox)), "{gone:?}");
        store.delete_mailbox(alice, junk).await.unwrap();
        let into = storage::Into::Use(types::SpecialUse::Junk);
        let target = Target { into, ..Target::inbox(alice) };
        let arrived = store.deliver(letter("\r\n"), vec![target]).await.unwrap();
        assert_eq!(arrived[0].as_ref().unwrap().mailbox, INBOX);
        scene.check_counters().await;
    }
}
