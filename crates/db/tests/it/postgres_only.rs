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
    let encrypted = format!("{}?sslmode=require", database.url);
    check(&encrypted, ErrorClass::Permanent, &["takes no TLS", "ssl = on", "sslmode=disable"]);
    check(&format!("{}?sslmode=allow", database.url), ErrorClass::Permanent, &["verify-full"]);
    psql(&database.url, "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
    let latin = database.url.replace(at, &format!("{server}/latin"));
    check(&latin, ErrorClass::Permanent, &["LATIN1", "ENCODING 'UTF8'"]);
    psql(&database.url, "DROP DATABASE latin WITH (FORCE)");
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

#[test]
fn a_version_1_database_keeps_its_rows() {
    let database = Database::new();
    filled(&*db::open(&database.url).unwrap());
    // What versions 2 to 6 added goes away again.
    psql(
        &database.url,
        "DROP TABLE letter, done, note, alias; DROP SEQUENCE account_id, email_id; DROP INDEX thread_of_thread;
         ALTER TABLE account DROP COLUMN limit_bytes, DROP COLUMN limit_messages,
             DROP COLUMN used_bytes, DROP COLUMN used_messages, DROP COLUMN changes_floor,
             DROP COLUMN new_changes;
         INSERT INTO thread_of VALUES (1, 77, 77); UPDATE openpoczta SET version = 1",
    );
    let index = db::open(&database.url).unwrap();
    let read = index.read().unwrap();
    assert_eq!(counters(&*read, 1), (3, 3, 0, 30, Some(uid(4))));
    let used = read.account(ALICE).unwrap().unwrap().used;
    assert_eq!((used.messages, used.size_bytes), (3, 30));
    let leads = [1, 77].map(|hash| read.thread_of(ALICE, hash).unwrap());
    assert_eq!(leads, [Some(types::ThreadId(1)), None], "one led to nothing any more");
    let txn = index.begin().unwrap();
    assert_eq!((txn.next_account().unwrap().0, txn.next_email().unwrap()), (2, EmailId(4)));
}

#[test]
fn numbers_are_given_once_whoever_asks() {
    let database = Database::new();
    let (one, two) = (db::open(&database.url).unwrap(), db::open(&database.url).unwrap());
    filled(&*one);
    let mut given = std::collections::BTreeSet::from([1, 2, 3]);
    for index in [&one, &two, &one, &two] {
        // Also what an undone transaction had taken is not given again.
        let txn = index.begin().unwrap();
        for _ in 0..50 {
            assert!(given.insert(txn.next_email().unwrap().0));
        }
    }
    let account = one.begin().unwrap().next_account().unwrap();
    assert_ne!(account, two.begin().unwrap().next_account().unwrap());
}

/// Puts a letter for emails with these ids, each in INBOX under that UID.
fn put_letter(index: &dyn db::Index, bytes: &[u8], ids: &[u64]) -> db::Location {
    let mut txn = index.begin().unwrap();
    let location = txn.put_letter(bytes).unwrap();
    let blob = db::BlobRef { location, ..crate::blob(0) };
    for id in ids {
        db::apply(&mut *txn, &email(*id, *id), Some(blob)).unwrap();
        let n = u32::try_from(*id).unwrap();
        db::apply(&mut *txn, &message(1, n, *id, *id + 10), None).unwrap();
        // A question in the middle has what waits written.
        assert!(txn.email(EmailId(*id)).unwrap().is_some());
    }
    txn.commit(Position::NO_LOG).unwrap();
    location
}

#[test]
fn a_letter_lives_as_long_as_its_last_email_and_a_while() {
    let database = Database::new();
    let index = db::open(&database.url).unwrap();
    filled(&*index);
    let letters = index.letters().unwrap();
    let raw: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let both = put_letter(&*index, &raw, &[4, 5]);
    let nobody = put_letter(&*index, b"to nobody", &[]);
    let empty = put_letter(&*index, b"", &[6]);
    let read = |place, range| letters.read(place, range).unwrap();
    assert!(read(both, 0..3_000_000).as_deref() == Some(&raw[..]));
    assert_eq!(read(both, 2_999_990..3_000_000).as_deref(), Some(&raw[2_999_990..]));
    assert_eq!((read(empty, 0..0), read(nobody, 0..9)), (Some(vec![]), None));
    let gone = |n: u32, modseq| db::Op::MessageGone {
        account: ALICE,
        mailbox: INBOX,
        modseq: types::ModSeq(modseq),
        uids: UidSet::one(uid(n)),
    };
    let sweep = || {
        // An hour goes by.
        psql(&database.url, "UPDATE letter SET gone_at = gone_at - interval '61 minutes'");
        index.checkpoint().unwrap();
    };
    commit(&*index, 9, &[gone(4, 20)]);
    sweep();
    assert_eq!(read(both, 1..3).as_deref(), Some(&raw[1..3]));
    commit(&*index, 10, &[gone(5, 21)]);
    index.checkpoint().unwrap();
    assert_eq!(read(both, 1..3).as_deref(), Some(&raw[1..3]), "who reads it may finish");
    sweep();
    assert_eq!((read(both, 1..3), read(empty, 0..0)), (None, Some(vec![])));
}

#[test]
fn servers_hear_of_each_other_and_not_of_themselves() {
    let database = Database::new();
    let (one, two) = (db::open(&database.url).unwrap(), db::open(&database.url).unwrap());
    let (tell, heard) = channel();
    for (name, index) in [("one", &one), ("two", &two)] {
        let tell = tell.clone();
        let tell = Box::new(move |account, modseq| tell.send((name, account, modseq)).unwrap());
        index.letters().unwrap().listen(tell);
    }
    // Until the connections stand, news go nowhere.
    let news = |n: u64| [(ALICE, types::ModSeq(n)), (types::AccountId(7), types::ModSeq(n))];
    let mut n = 0;
    let first = loop {
        n += 1;
        one.letters().unwrap().announce(&news(n));
        if let Ok(first) = heard.recv_timeout(Duration::from_millis(100)) {
            break first;
        }
        assert!(n < 100, "nothing was heard");
    };
    assert_eq!((first.0, first.1), ("two", ALICE));
    // All that follows, thousands at once too, comes in order and to the other only.
    let many: Vec<_> = (0..5000).map(|n| (types::AccountId(n), types::ModSeq(u64::MAX))).collect();
    one.letters().unwrap().announce(&many);
    let told: Vec<_> = std::iter::from_fn(|| heard.recv_timeout(Duration::from_secs(5)).ok())
        .filter(|(_, _, modseq)| modseq.0 == u64::MAX)
        .take(5000)
        .collect();
    assert!(told.iter().all(|(name, ..)| *name == "two"));
    assert!(told.iter().map(|(_, account, _)| account.0).eq(0..5000));
}

#[test]
fn a_commit_whose_answer_is_lost_is_found_out() {
    let database = Database::new();
    let index = db::open(&database.url).unwrap();
    filled(&*index);
    // The server ends the connection in the middle of the commit, before it is one.
    psql(
        &database.url,
        "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END';
         CREATE CONSTRAINT TRIGGER dies AFTER INSERT ON message DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION die()",
    );
    let mut txn = index.begin().unwrap();
    apply_all(&mut *txn, &[email(4, 4), message(1, 4, 4, 6)]);
    let lost = txn.commit(Position::NO_LOG).unwrap_err();
    assert_eq!(lost.class(), ErrorClass::Temporary, "{lost}");
    assert!(!lost.to_string().contains("or not"), "it is known to be undone: {lost}");
    psql(&database.url, "DROP TRIGGER dies ON message");
    assert_eq!(counters(&*index.read().unwrap(), 1).0, 3);
    commit(&*index, 4, &[email(4, 4), message(1, 4, 4, 6)]);
    assert_eq!(counters(&*index.read().unwrap(), 1).0, 4);
}
