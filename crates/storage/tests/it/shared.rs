//! Several servers on one database: what each must see of the others, and that none of them loses anything.

use crate::postgres::Database;
use crate::{NOW_UNIX_S, letter};
use std::sync::Arc;
use std::time::Duration;
use storage::{Error, Letter, Options, Store, Target};
use types::{AccountId, Flag, FlagChange, Flags, ManualClock, UidSet};

fn open(database: &Database) -> Store {
    let options =
        Options { index: database.url.clone(), ..Options::in_folder("/nonexistent/folder") };
    Store::open(&options, Arc::new(ManualClock::at_unix_s(NOW_UNIX_S))).unwrap()
}

async fn deliver(store: &Store, accounts: &[AccountId], n: u32) -> storage::Result<u32> {
    let targets = accounts.iter().map(|account| Target::inbox(*account)).collect();
    let arrived = store.deliver(Letter::parse(letter(n).into()), targets).await?;
    Ok(arrived.into_iter().next().unwrap()?.uid.get())
}

/// Letters to one and to both, in either order, from three servers at once: every UID and MODSEQ is given once,
/// counters are those of the rows, everything acknowledged is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn three_servers_deliver_to_the_same_accounts() {
    let database = Database::new();
    let stores = [open(&database), open(&database), open(&database)];
    let alice = stores[0].put_account("alice@example.test", "").await.unwrap();
    let bob = stores[1].put_account("bob@example.test", "").await.unwrap();
    assert_eq!(stores[2].put_account("bob@example.test", "x").await.unwrap(), bob);
    let tasks: Vec<_> = (0..120_u32)
        .map(|n| {
            let store = stores[n as usize % 3].clone();
            let accounts = match n % 4 {
                0 => vec![alice],
                1 => vec![bob],
                2 => vec![alice, bob],
                _ => vec![bob, alice],
            };
            tokio::spawn(async move { deliver(&store, &accounts, n).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    for (account, store) in [(alice, &stores[1]), (bob, &stores[2])] {
        let inbox = store.mailbox_by_name(account, "INBOX").await.unwrap();
        let snapshot = store.snapshot(account, inbox.id).await.unwrap();
        let uids: UidSet = snapshot.messages.iter().map(|row| row.uid).collect();
        assert_eq!((uids.to_string().as_str(), inbox.total), ("1:90", 90));
        let mut modseqs: Vec<_> = snapshot.messages.iter().map(|row| row.modseq).collect();
        let rising = modseqs.is_sorted_by(|a, b| a < b);
        modseqs.sort_unstable();
        modseqs.dedup();
        assert!(rising && modseqs.len() == 90, "{modseqs:?}");
        for row in &snapshot.messages {
            let email = store.emails(account, &[row.email]).await.unwrap().pop().unwrap();
            let bytes = store.bytes(&email).await.unwrap();
            assert!(bytes.starts_with(b"From: Bob"), "{bytes:?}");
        }
    }
}

#[tokio::test]
async fn what_one_server_acknowledges_the_others_see_and_hear_of() {
    let database = Database::new();
    let (one, two) = (open(&database), open(&database));
    let alice = one.put_account("alice@example.test", "").await.unwrap();
    let inbox = two.mailbox_by_name(alice, "INBOX").await.unwrap().id;
    let mut watch = two.watch(alice);
    watch.seen();
    for n in 1..=3 {
        assert_eq!(deliver(&one, &[alice], n).await.unwrap(), n);
        assert_eq!(two.snapshot(alice, inbox).await.unwrap().messages.len(), n as usize);
    }
    let seen = FlagChange::Add(Flags::new(&[Flag::Seen]));
    one.store_flags(alice, inbox, UidSet::all(), seen, None).await.unwrap();
    let state = one.state(alice).await.unwrap();
    let heard = async {
        while watch.seen() < state {
            // The connection for news may come up only now: the next change is heard of.
            let next = tokio::time::timeout(Duration::from_secs(2), watch.changed()).await;
            if next.is_err() {
                let unseen = FlagChange::Remove(Flags::new(&[Flag::Flagged]));
                one.store_flags(alice, inbox, UidSet::all(), unseen, None).await.unwrap();
                deliver(&one, &[alice], 9).await.unwrap();
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), heard).await.unwrap();
    two.close().await;
    assert!(matches!(deliver(&two, &[alice], 9).await, Err(Error::Closed)));
    assert!(!std::path::Path::new("/nonexistent").exists());
}

/// One statement that fails takes down its own change only, not those that came in the same batch.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_fails_does_not_take_others_with_it() {
    let database = Database::new();
    let store = open(&database);
    let alice = store.put_account("alice@example.test", "").await.unwrap();
    let tasks: Vec<_> = (0..60)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move {
                if n % 20 == 7 {
                    // PostgreSQL has no text with a NUL in it.
                    let refused = store.put_account("a\0b@example.test", "").await;
                    assert!(refused.is_err());
                    return 0;
                }
                deliver(&store, &[alice], n).await.unwrap()
            })
        })
        .collect();
    let mut delivered = 0;
    for task in tasks {
        delivered += u32::from(task.await.unwrap() > 0);
    }
    assert_eq!(delivered, 57);
    assert_eq!(store.mailbox_by_name(alice, "INBOX").await.unwrap().total, 57);
}

#[tokio::test]
async fn a_lost_connection_is_an_error_once_and_then_made_again() {
    let database = Database::new();
    let store = open(&database);
    let alice = store.put_account("alice@example.test", "").await.unwrap();
    deliver(&store, &[alice], 1).await.unwrap();
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let done = std::process::Command::new("psql")
        .args(["--quiet", "--no-psqlrc", &database.url, "--command", kill])
        .output();
    assert!(done.unwrap().status.success());
    // The writer finds out by itself: nobody is refused for it.
    assert_eq!(deliver(&store, &[alice], 2).await.unwrap(), 2);
    store.health().await.unwrap();
    assert_eq!(store.mailbox_by_name(alice, "INBOX").await.unwrap().total, 2);
}
