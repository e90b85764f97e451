//! Aliases: facts that are nobody's, kept like all others.

use crate::{EVERY, Folder, Scene, letter};
use std::path::Path;
use storage::tools::{backup, fsck, restore, silent};
use storage::{ALIAS_TARGETS, Error, Options, Store};
use types::ManualClock;

async fn put(store: &Store, key: &str, targets: &[&str]) {
    let targets: Vec<String> = targets.iter().map(|target| (*target).to_owned()).collect();
    store.put_alias(key, &targets).await.unwrap();
}

async fn shown(store: &Store) -> String {
    let line = |row: &storage::Alias| format!("{}={}", row.key, row.targets.join(","));
    store.aliases().await.unwrap().iter().map(line).collect::<Vec<_>>().join(" ")
}

/// The same of a folder that nobody has open.
async fn shown_in(folder: &Path, clock: &std::sync::Arc<ManualClock>) -> String {
    let store = Store::open(&Options::in_folder(folder), clock.clone()).unwrap();
    let shown = shown(&store).await;
    store.close().await;
    shown
}

const ALL: &str = "@example.test=alice@example.test sales@example.test=b@b.test,a@a.test";

async fn live(store: &Store) {
    put(store, "Sales@Example.test", &["alice@example.test"]).await;
    put(store, "sales@example.test", &["b@b.test", "a@a.test"]).await;
    put(store, "@example.test", &["alice@example.test"]).await;
    put(store, "gone@example.test", &["alice@example.test"]).await;
    put(store, "gone@example.test", &[]).await;
}

#[tokio::test]
async fn aliases_are_put_looked_up_and_survive() {
    for index in EVERY {
        let mut scene = Scene::on(index).await;
        live(&scene.store).await;
        // Letters and aliases do not get into each other's way.
        scene.deliver(&letter(1)).await;
        for _ in 0..2 {
            assert_eq!(shown(&scene.store).await, ALL, "{index}");
            let ask = |key: &str, aliases: &[&str]| {
                (key.to_owned(), aliases.iter().map(|a| (*a).to_owned()).collect())
            };
            let wanted = vec![
                ask("alice@example.test", &["alice@example.test", "@example.test"]),
                ask("sales@example.test", &["sales@example.test"]),
                ask("ghost@other.test", &[]),
            ];
            let found = scene.store.look_up(wanted).await.unwrap();
            let found: Vec<_> = found
                .iter()
                .map(|(a, rows)| (a.is_some(), rows.iter().map(|r| &r.key[..]).collect::<Vec<_>>()))
                .collect();
            let expect = [
                (true, vec!["@example.test"]),
                (false, vec!["sales@example.test"]),
                (false, vec![]),
            ];
            assert_eq!(found, expect, "{index}");
            scene = scene.reopen().await;
        }
        let many: Vec<String> = (0..=ALIAS_TARGETS).map(|n| format!("u{n}@b.test")).collect();
        let refused = scene.store.put_alias("many@example.test", &many).await;
        assert!(matches!(refused, Err(Error::Alias(_))), "{refused:?}");
        assert_eq!(shown(&scene.store).await, ALL);
    }
}

#[tokio::test]
async fn the_same_again_writes_nothing() {
    let scene = Scene::new().await;
    live(&scene.store).await;
    let length = || std::fs::metadata(scene.log()).unwrap().len();
    let before = length();
    put(&scene.store, "SALES@example.test", &["b@b.test", "a@a.test", "b@B.test"]).await;
    put(&scene.store, "never@example.test", &[]).await;
    assert_eq!(length(), before);
    put(&scene.store, "sales@example.test", &["a@a.test", "b@b.test"]).await;
    assert!(length() > before);
}

#[tokio::test]
async fn an_index_made_again_has_them() {
    let scene = Scene::new().await;
    live(&scene.store).await;
    scene.store.close().await;
    drop(scene.store);
    std::fs::remove_file(scene.folder.path().join("index.sqlite")).unwrap();
    assert_eq!(shown_in(scene.folder.path(), &scene.clock).await, ALL);
}

#[tokio::test]
async fn a_backup_has_all_and_one_account_has_none() {
    let scene = Scene::new().await;
    live(&scene.store).await;
    scene.deliver(&letter(1)).await;
    put(&scene.store, "late@example.test", &["alice@example.test"]).await;
    let target = tempfile::tempdir().unwrap();
    backup(scene.folder.path(), target.path(), &*scene.clock, &silent).unwrap();
    let all = format!(
        "@example.test=alice@example.test late@example.test=alice@example.test sales@{}",
        "example.test=b@b.test,a@a.test"
    );
    for (account, expect) in [(None, all.as_str()), (Some("alice@example.test"), "")] {
        let data = Folder::new();
        let restored = restore(target.path(), data.path(), account, None, &silent).unwrap();
        assert_eq!((restored.letters, restored.problems.len()), (1, 0));
        assert_eq!(shown_in(data.path(), &scene.clock).await, expect);
        let store = Store::open(&Options::in_folder(data.path()), scene.clock.clone()).unwrap();
        let alice = store.account_by_key("alice@example.test").await.unwrap().unwrap().id;
        assert_eq!(store.mailbox_by_name(alice, "INBOX").await.unwrap().total, 1);
        store.close().await;
    }
    // Of an account there is not, nothing is restored, though there are aliases.
    let data = tempfile::tempdir().unwrap();
    let refused = restore(target.path(), data.path(), Some("ghost@example.test"), None, &silent);
    assert!(matches!(refused, Err(Error::NoAccount)), "{refused:?}");
}

#[tokio::test]
async fn fsck_sees_what_is_wrong_and_puts_it_right() {
    let scene = Scene::new().await;
    live(&scene.store).await;
    scene.store.close().await;
    drop(scene.store);
    let folder = scene.folder.unchecked();
    let sql = |sql: &str| {
        let index = rusqlite::Connection::open(folder.path().join("index.sqlite")).unwrap();
        index.execute_batch(sql).unwrap();
    };
    let options = Options::in_folder(folder.path());
    for (harm, says) in [
        (
            "DELETE FROM alias WHERE key LIKE 'sales@%'",
            "alias sales@example.test is missing from the index",
        ),
        (
            "UPDATE alias SET target = 'x@b.test' WHERE key LIKE 'sales@%' AND place = 1",
            "alias sales@example.test leads to b@b.test, x@b.test in the index, by the log to b@b.test, a@a.test",
        ),
        (
            "INSERT INTO alias VALUES ('x@b.test', 0, 'y@b.test')",
            "alias x@b.test is in the index and not in the log",
        ),
    ] {
        sql(harm);
        let report = fsck(&options, false, &*scene.clock, &silent).unwrap();
        assert!(report.problems().any(|f| f.what.contains(says)), "{:#?}", report.findings);
        let repaired = fsck(&options, true, &*scene.clock, &silent).unwrap().repaired;
        let report = fsck(&options, false, &*scene.clock, &silent).unwrap();
        assert!(report.is_fine(), "{repaired:#?} {:#?}", report.findings);
        assert_eq!(shown_in(folder.path(), &scene.clock).await, ALL);
    }
    // The frames that made them cannot be read: the index remembers.
    let log = folder.path().join("log").join("0000000000000001.seg");
    let mut bytes = std::fs::read(&log).unwrap();
    let from = bytes.windows(18).position(|at| at == b"sales@example.test").unwrap();
    bytes[from..from + 18].fill(0);
    std::fs::write(&log, bytes).unwrap();
    let report = fsck(&options, false, &*scene.clock, &silent).unwrap();
    assert!(!report.is_fine());
    fsck(&options, true, &*scene.clock, &silent).unwrap();
    assert_eq!(shown_in(folder.path(), &scene.clock).await, ALL);
}
