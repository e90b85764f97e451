//! PostgreSQL goes away and comes back while people work: what was acknowledged stays, nothing comes twice, and nobody
//! has to restart anything here.

use crate::postgres::Database;
use crate::{NOW_UNIX_S, letter};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use storage::{Letter, Options, Store, Target};
use types::{AccountId, ErrorClass, Flag, FlagChange, Flags, MailboxId, ManualClock, UidSet};

const WRITERS: u32 = 12;
const RESTARTS: usize = 3;

/// What a writer was promised: the letter's number and where it is.
type Promised = Vec<(u32, MailboxId, u32)>;

fn open(database: &Database) -> Store {
    let options =
        Options { index: database.url.clone(), ..Options::in_folder("/nonexistent/folder") };
    Store::open(&options, Arc::new(ManualClock::at_unix_s(NOW_UNIX_S))).unwrap()
}

/// Delivers, flags and moves until told to stop. A change that is refused must say that trying again helps.
async fn work(
    store: Store,
    alice: AccountId,
    [inbox, trash]: [MailboxId; 2],
    own: u32,
    stop: Arc<AtomicBool>,
) -> (Promised, usize) {
    let mut promised = Vec::new();
    let mut refused = 0;
    for n in (own..).step_by(WRITERS as usize) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let letter = Letter::parse(letter(n).into());
        let uid = match store.deliver(letter, vec![Target::inbox(alice)]).await {
            Ok(arrived) => arrived.into_iter().next().unwrap().unwrap().uid,
            Err(error) => {
                assert_eq!(error.class(), ErrorClass::Temporary, "{error}");
                refused += 1;
                continue;
            }
        };
        let flagged = FlagChange::Add(Flags::new(&[Flag::Flagged]));
        let flagged = store.store_flags(alice, inbox, UidSet::one(uid), flagged, None).await;
        refused += usize::from(flagged.is_err());
        if n % 3 != 0 || flagged.is_err() {
            promised.push((n, inbox, uid.get()));
            continue;
        }
        match store.move_messages(alice, inbox, UidSet::one(uid), trash).await {
            Ok(moved) => {
                let (from, to) = *moved.uids.first().unwrap();
                assert_eq!((moved.uids.len(), from), (1, uid));
                promised.push((n, trash, to.get()));
            }
            Err(error) => {
                assert_eq!(error.class(), ErrorClass::Temporary, "{error}");
                refused += 1;
            }
        }
    }
    (promised, refused)
}

/// Reads all the time; how often it was refused.
async fn read(store: Store, alice: AccountId, inbox: MailboxId, stop: Arc<AtomicBool>) -> usize {
    let mut refused = 0;
    while !stop.load(Ordering::Relaxed) {
        let seen = store.snapshot(alice, inbox).await;
        if let Err(error) = seen {
            assert_eq!(error.class(), ErrorClass::Temporary, "{error}");
            refused += 1;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    refused
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_database_that_crashes_and_comes_back_loses_and_doubles_nothing() {
    let database = Database::alone();
    let store = open(&database);
    let alice = store.put_account("alice@example.test", "").await.unwrap();
    let inbox = store.mailbox_by_name(alice, "INBOX").await.unwrap().id;
    let trash = store.mailbox_by_name(alice, "Trash").await.unwrap().id;
    let stop = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn(read(store.clone(), alice, inbox, stop.clone()));
    let writers: Vec<_> = (0..WRITERS)
        .map(|own| tokio::spawn(work(store.clone(), alice, [inbox, trash], own, stop.clone())))
        .collect();
    for _ in 0..RESTARTS {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let before = store.state(alice).await.unwrap();
        tokio::task::block_in_place(|| database.cluster(&["restart"]));
        // Writers and readers find back by themselves.
        let goes_on = async {
            while store.state(alice).await.is_ok_and(|now| now <= before) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), goes_on).await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    let mut promised = Promised::new();
    let mut refused = 0;
    for writer in writers {
        let (own, errors) = writer.await.unwrap();
        promised.extend(own);
        refused += errors;
    }
    let unread = reader.await.unwrap();
    assert!(promised.len() > 100, "{} promised", promised.len());
    assert!(unread <= 5 * RESTARTS, "{unread} reads refused");
    assert_eq!(refused, 0, "the database was away for a moment only: writers wait for it");
    check(&store, alice, [inbox, trash], &promised).await;
    // A process that starts now sees the same.
    check(&open(&database), alice, [inbox, trash], &promised).await;
}

/// Each letter is where it was promised, once; numbers rise and counters are those of the rows.
async fn check(store: &Store, alice: AccountId, mailboxes: [MailboxId; 2], promised: &Promised) {
    let mut found = BTreeMap::new();
    for mailbox in mailboxes {
        let row = store.mailbox(alice, mailbox).await.unwrap();
        let snapshot = store.snapshot(alice, mailbox).await.unwrap();
        let uids: BTreeSet<_> = snapshot.messages.iter().map(|row| row.uid).collect();
        assert_eq!((uids.len(), row.total), (snapshot.messages.len(), uids.len() as u64));
        assert!(uids.last().is_none_or(|last| row.uid_next.is_some_and(|next| next > *last)));
        for message in &snapshot.messages {
            let email = store.emails(alice, &[message.email]).await.unwrap().pop().unwrap();
            let bytes = store.bytes(&email).await.unwrap().to_vec();
            let place = (mailbox, message.uid.get());
            let twice = found.insert(bytes, place);
            assert!(twice.is_none(), "{place:?} is also at {twice:?}");
            assert!(message.flags.contains(Flag::Flagged), "{place:?}");
        }
    }
    for (n, mailbox, uid) in promised {
        assert_eq!(found.get(letter(*n).as_bytes()), Some(&(*mailbox, *uid)), "letter {n}");
    }
}
