//! The filter on real stores: several servers that learn at once, damaged letters, a start after a crash.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

#[path = "../../../db/tests/postgres/mod.rs"]
mod postgres;

use antispam::{Action, Class};
use filter::{Connection, Filter, Journal, Looked, Options, Taught};
use mparser::Message;
use postgres::Database;
use std::sync::Arc;
use storage::Store;
use types::ManualClock;

const NOW_UNIX_S: i64 = 1_795_370_400;

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at_unix_s(NOW_UNIX_S))
}

fn on_database(database: &Database) -> (Store, Filter) {
    let options = storage::Options {
        index: database.url.clone(),
        ..storage::Options::in_folder("/nonexistent/folder")
    };
    let store = Store::open(&options, clock()).unwrap();
    (store.clone(), Filter::on(store, Options::default(), clock()))
}

fn letter(n: u32, spam: bool) -> Vec<u8> {
    let (from, words) = if spam {
        (
            "deals@offers.test",
            "cheap replica watches and diplomas without examination for everybody",
        )
    } else {
        (
            "ala@home.test",
            "the minutes of the meeting about the garden and the bench near the river",
        )
    };
    format!(
        "From: <{from}>\r\nTo: <alice@example.test>\r\nDate: Sun, 22 Nov 2026 18:00:00 +0100\r\nMessage-ID: <{n}@x.test>\r\n\
         Subject: number {n}\r\n\r\nThis is number {n}: {words}, {n} times, as we wrote before.\r\n"
    )
    .into_bytes()
}

fn action(filter: &Filter, raw: &[u8]) -> Action {
    let connection = Connection {
        id: "1",
        client_ip: [127, 0, 0, 1].into(),
        helo: "mail.home.test",
        sender: None,
        recipients: &[],
        accounts: &[],
        tls: false,
        is_known: false,
    };
    filter.judge(&connection, &Looked::default(), &Message::parse(raw)).verdict.action
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_servers_learn_at_once() {
    let database = Database::new();
    let servers = [on_database(&database), on_database(&database)];
    let mut accounts = Vec::new();
    for name in ["ala", "bob", "cyd", "dan", "ewa"] {
        let key = format!("{name}@example.test");
        accounts.push(servers[0].0.put_account(&key, "").await.unwrap());
    }
    let tasks: Vec<_> = (0..2_u32)
        .map(|server| {
            let (filter, accounts) = (servers[server as usize].1.clone(), accounts.clone());
            tokio::spawn(async move {
                for n in 0..40 {
                    let (number, spam) = (server * 1000 + n, n % 2 == 0);
                    let class = if spam { Class::Spam } else { Class::Ham };
                    let account = Some(accounts[n as usize % 5]);
                    let taught = filter.learn(account, &letter(number, spam), class).await;
                    assert_eq!(taught.unwrap(), Taught::Learned);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let states: Vec<_> = servers.iter().map(|(_, filter)| filter.clone()).collect();
    for filter in &states {
        filter.restore().await.unwrap();
    }
    assert!(
        states[0].model().save() == states[1].model().save(),
        "the same lessons in the same order"
    );
    assert_eq!(states[0].model().learner.lessons(), 80);
    let third = on_database(&database);
    third.1.restore().await.unwrap();
    assert!(third.1.model().save() == states[0].model().save());
    assert_eq!(action(&third.1, &letter(7777, true)), Action::Junk);
    assert_eq!(action(&third.1, &letter(7778, false)), Action::Accept);
}

#[tokio::test]
async fn damage_is_learned_and_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&storage::Options::in_folder(folder.path()), clock()).unwrap();
    let filter = Filter::on(store.clone(), Options::default(), clock());
    filter.restore().await.unwrap();
    let whole = letter(1, true);
    for end in (0..whole.len()).step_by(11) {
        filter.learn(None, &whole[..end], Class::Spam).await.unwrap();
    }
    let bomb = format!(
        "Content-Type: text/html\r\n\r\n{}",
        "<div><a href='http://x.test/'>".repeat(20_000)
    );
    filter.learn(None, bomb.as_bytes(), Class::Spam).await.unwrap();
    filter.learn(None, &[0, 255, 10, 13].repeat(50_000), Class::Ham).await.unwrap();
    let before = filter.model().save();
    // A lesson that is none, as a disk or another version may leave it.
    Journal::new(store.clone()).append(b"\x09no lesson").await.unwrap();
    assert_eq!(filter.learn(None, &whole, Class::Spam).await.unwrap(), Taught::Learned);
    assert_eq!(filter.learn(None, &whole, Class::Spam).await.unwrap(), Taught::Already);
    assert_eq!(filter.learn(None, &whole, Class::Ham).await.unwrap(), Taught::Corrected);
    assert!(filter.model().save() != before);
    let again = Filter::on(store.clone(), Options::default(), clock());
    again.restore().await.unwrap();
    assert!(again.model().save() == filter.model().save(), "a restart knows what was learned");
    store.close().await;
}

#[tokio::test]
async fn a_state_takes_the_place_of_old_lessons() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&storage::Options::in_folder(folder.path()), clock()).unwrap();
    let filter = Filter::on(store.clone(), Options::default(), clock());
    for n in 0..1_005 {
        let class = if n % 2 == 0 { Class::Spam } else { Class::Ham };
        filter.learn(None, &letter(n, n % 2 == 0), class).await.unwrap();
    }
    assert!(Journal::new(store.clone()).state().await.unwrap().is_some());
    let again = Filter::on(store.clone(), Options::default(), clock());
    again.restore().await.unwrap();
    assert!(again.model().save() == filter.model().save());
    store.close().await;
}
