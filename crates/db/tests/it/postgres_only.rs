//! What the PostgreSQL engine must do beside the contract: two servers on one database, versions, refusals.

use crate::postgres::Database;
use crate::{
    ALICE, INBOX, account, apply_all, commit, counters, email, filled, mailbox, message, uid,
};
use db::{Error, Position};
use std::process::Command;
use std::sync::Barrier;
use std::sync::mpsc::channel;
use std::time::Duration;
use types::{EmailId, ErrorClass, UidSet};

fn psql(url: &str, sql: &str) {
    let done =
        Command::new("psql").args(["--quiet", "--no-psqlrc", url, "--command", sql]).status();
    assert!(done.unwrap().success(), "{sql}");
}

#[test]
fn two_servers_share_a_database_and_wait_for_an_account() {
    let database = Database::new();
    let (one, two) = (db::open(&database.url).unwrap(), db::open(&database.url).unwrap());
    filled(&*one);
    let mut first = one.begin().unwrap();
    apply_all(&mut *first, &[email(4, 4), message(1, 4, 4, 6)]);
    // The second wants the same account: it is told of UID 5 only after the first has committed.
    let (tell, told) = channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let txn = two.begin().unwrap();
            let row = txn.mailbox(ALICE, INBOX).unwrap().unwrap();
            tell.send(row.uid_next).unwrap();
        });
        let early = told.recv_timeout(Duration::from_millis(200));
        assert!(early.is_err(), "it did not wait: {early:?}");
        // A reader does.
        assert_eq!(counters(&*two.read().unwrap(), 1).0, 3);
        first.commit(Position { lsn: 4, ..crate::position(4) }).unwrap();
        assert_eq!(told.recv_timeout(Duration::from_secs(9)).unwrap(), Some(uid(5)));
    });
    assert_eq!(counters(&*two.read().unwrap(), 1), (4, 4, 0, 40, Some(uid(5))));
}

#[test]
fn who_waits_for_each_other_is_told_to_try_again() {
    let database = Database::new();
    let (one, two) = (db::open(&database.url).unwrap(), db::open(&database.url).unwrap());
    let bob = types::AccountId(2);
    let second =
        db::Op::AccountPut { account: bob, key: "bob@example.test".into(), secret: String::new() };
    commit(&*one, 1, &[account(), second]);
    let barrier = Barrier::new(2);
    let cross = |index: &dyn db::Index, mine, other| {
        let txn = index.begin().unwrap();
        txn.account(mine).unwrap();
        barrier.wait();
        txn.account(other).map(|_| ())
    };
    let outcomes = std::thread::scope(|scope| {
        let there = scope.spawn(|| cross(&*one, ALICE, bob));
        [cross(&*two, bob, ALICE), there.join().unwrap()]
    });
    let refused: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
    assert!(matches!(refused[..], [Error::Conflict(_)]), "{outcomes:?}");
    assert_eq!(refused[0].class(), ErrorClass::Temporary);
}

#[test]
fn a_newer_database_is_left_alone_and_an_older_one_is_brought_up() {
    let database = Database::new();
    drop(db::open(&database.url).unwrap());
    psql(&database.url, "UPDATE openpoczta SET version = 99");
    let refused = db::open(&database.url).err().unwrap();
    assert!(matches!(refused, Error::Newer { found: 99, .. }), "{refused}");
    let database = Database::new();
    psql(
        &database.url,
        "CREATE TABLE openpoczta (version INTEGER); INSERT INTO openpoczta VALUES (0)",
    );
    // Servers that start together take turns: one makes the tables, the others find them.
    std::thread::scope(|scope| {
        let opened = [1, 2, 3].map(|_| scope.spawn(|| db::open(&database.url).map(|_| ())));
        for one in opened {
            one.join().unwrap().unwrap();
        }
    });
    filled(&*db::open(&database.url).unwrap());
}

#[test]
fn a_server_that_would_lose_or_change_mail_is_refused() {
    let check = |url: &str, class: ErrorClass, words: &[&str]| {
        let error = db::open(url).err().unwrap();
        let text = error.to_string();
        assert_eq!(error.class(), class, "{text}");
        for word in words {
            assert!(text.contains(word), "{word:?} not in {text:?}");
        }
        assert!(!text.contains("s3cret"), "{text}");
    };
    let database = Database::new();
    let at = database.url.rsplit_once('@').unwrap().1;
    let server = at.split_once('/').unwrap().0;
    let unknown = format!("postgres://openpoczta:s3cret@{at}");
    check(&unknown, ErrorClass::Permanent, &["password authentication failed", at]);
    check("postgres://a:s3cret@127.0.0.1:9/x", ErrorClass::Temporary, &["127.0.0.1:9", "running"]);
    check("postgres://a:s3cret@h:port/x", ErrorClass::Permanent, &["postgres://USER"]);
    check(&format!("{}?sslmode=require", database.url), ErrorClass::Permanent, &["sslmode"]);
    psql(&database.url, "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
    let latin = Database { url: database.url.replace(at, &format!("{server}/latin")) };
    check(&latin.url, ErrorClass::Permanent, &["LATIN1", "ENCODING 'UTF8'"]);
}

#[test]
fn after_a_lost_connection_the_next_change_makes_a_new_one() {
    let database = Database::new();
    let index = db::open(&database.url).unwrap();
    filled(&*index);
    assert_eq!(counters(&*index.read().unwrap(), 1).0, 3);
    let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let txn = index.begin().unwrap();
    psql(&database.url, others);
    let lost = txn.messages(ALICE, INBOX, &UidSet::all()).unwrap_err();
    assert_eq!(lost.class(), ErrorClass::Temporary, "{lost}");
    drop(txn);
    commit(&*index, 4, &[email(4, 4), message(1, 4, 4, 6), mailbox(3, 7, "New")]);
    let read = index.read().unwrap();
    assert_eq!((counters(&*read, 1).0, read.last_ids().unwrap().1), (4, EmailId(4)));
}
