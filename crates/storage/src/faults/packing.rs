//! Disk errors and power cuts while segments are packed and deleted letters given up: at each call of a scripted workload, or
//! at one picked by the seed. No letter is lost, none is there twice, and packing goes on afterwards.
//!
//! `PACK_CUT_SEED=N` runs that seed alone, `PACK_CUT_ROUNDS=N` more of them.

use super::power::{Dice, PowerDisk};
use super::{Fault, FaultyDisk, Shared};
use crate::log::Disk;
use crate::{Error, Letter, Options, Store, Target, tools};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use types::{AccountId, Flags, MailboxId, ManualClock, Uid, UidSet};

const INBOX: MailboxId = MailboxId(1);

/// Small letters, and some with one of two large bodies.
fn raw(n: u32) -> Vec<u8> {
    if n % 5 != 3 {
        return format!("Subject: {n}\r\n\r\n{}\r\n", "word ".repeat(100)).into_bytes();
    }
    let mut body = String::new();
    for line in 0..900 {
        let sum = blake3::hash(format!("{line} {}", n % 2).as_bytes());
        body.push_str(&sum.to_hex());
        body.push_str("\r\n");
    }
    let raw = format!(
        "Subject: {n}\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
         --b\r\n\r\ntext {n}\r\n--b\r\nContent-Type: text/x-log\r\n\r\n{body}\r\n--b--\r\n"
    );
    raw.into_bytes()
}

#[derive(Debug, Default)]
struct Told {
    letters: BTreeMap<Uid, u32>,
    removed: BTreeSet<Uid>,
    /// Asked for and refused: may have happened.
    unsure: BTreeSet<Uid>,
    packed: u64,
    collected: u64,
    refused: u64,
    poisoned: bool,
}

impl Told {
    fn refuse(&mut self, error: &Error) {
        self.refused += 1;
        self.poisoned |= matches!(error, Error::Poisoned(_));
    }
}

async fn workload(store: &Store, alice: AccountId) -> Told {
    let mut told = Told::default();
    for n in 0..18_u32 {
        let letter = Letter::parse(raw(n).into());
        match n % 3 {
            0 => match store.deliver(letter, vec![Target::inbox(alice)]).await {
                Ok(arrived) => drop(told.letters.insert(arrived[0].as_ref().unwrap().uid, n)),
                Err(error) => told.refuse(&error),
            },
            // The next one comes with it.
            1 => {
                let two = [letter, Letter::parse(raw(n + 1).into())];
                let two = two.map(|letter| (letter, Flags::default(), None));
                match store.append_all(alice, INBOX, two.into()).await {
                    Ok(both) => {
                        told.letters.extend(both.iter().zip(n..).map(|(new, n)| (new.uid, n)));
                    }
                    Err(error) => told.refuse(&error),
                }
            }
            _ => {}
        }
        if n % 6 != 5 {
            continue;
        }
        // Most of what is there goes, so that the next look has something to give up.
        let uids: Vec<Uid> = told.letters.keys().copied().filter(|u| u.get() % 4 != 1).collect();
        for uid in uids.into_iter().filter(|_| n > 5) {
            if told.removed.contains(&uid) {
                continue;
            }
            match store.remove(alice, INBOX, UidSet::one(uid)).await {
                Ok(_) => drop(told.removed.insert(uid)),
                Err(error) => {
                    told.unsure.insert(uid);
                    told.refuse(&error);
                }
            }
        }
        // Whoever reads waits until the index has all of it.
        if let Err(error) = store.mailbox(alice, INBOX).await {
            told.refuse(&error);
        }
        match store.pack().await {
            Ok(packed) => {
                let packed = packed.unwrap();
                told.packed += packed.written;
                told.collected += packed.collected;
            }
            Err(error) => told.refuse(&error),
        }
    }
    told
}

/// Everything that was acknowledged is there, once, and nothing else.
async fn check(store: &Store, alice: AccountId, told: &Told, when: &str) {
    let inbox = store.mailbox(alice, INBOX).await.unwrap();
    let rows = store.messages(alice, INBOX, &UidSet::all()).await.unwrap();
    assert_eq!(inbox.total, rows.len() as u64, "{when}");
    for row in &rows {
        assert!(!told.removed.contains(&row.uid), "{when}: {} is back", row.uid);
        let email = store.emails(alice, &[row.email]).await.unwrap().pop().unwrap();
        let bytes = store.bytes(&email).await.unwrap_or_else(|e| panic!("{when}: {e}"));
        let sent = (0..18).find(|n| bytes == raw(*n)).unwrap_or_else(|| panic!("{when}: not sent"));
        assert!(told.letters.get(&row.uid).is_none_or(|n| *n == sent), "{when}: {}", row.uid);
    }
    for uid in told.letters.keys() {
        let there = rows.iter().any(|row| row.uid == *uid);
        let may_lack = told.removed.contains(uid) || told.unsure.contains(uid);
        assert!(there || may_lack, "{when}: {uid} is lost");
    }
}

/// A folder with an account, and the disk it is opened on.
struct Scene {
    folder: tempfile::TempDir,
    options: Options,
    clock: Arc<ManualClock>,
    alice: AccountId,
}

async fn scene() -> Scene {
    let folder = tempfile::tempdir().unwrap();
    let options =
        Options { segment_bytes: 5_000, pack: false, ..Options::in_folder(folder.path()) };
    let clock = Arc::new(ManualClock::at_unix_s(1_795_370_400));
    let store = Store::open(&options, clock.clone()).unwrap();
    let alice = store.put_account("alice@example.test", "").await.unwrap();
    store.close().await;
    Scene { folder, options, clock, alice }
}

impl Scene {
    async fn run(&self, disk: Arc<dyn Disk>) -> Told {
        match Store::open_on(&self.options, self.clock.clone(), disk) {
            Ok(store) => {
                let told = workload(&store, self.alice).await;
                store.close().await;
                told
            }
            Err(_) => Told::default(),
        }
    }

    /// Opens, packs and opens without an index: whole each time.
    async fn check(&self, told: &Told, when: &str) {
        for round in ["opened", "packed", "index built"] {
            let when = format!("{when}, {round}");
            let store = Store::open(&self.options, self.clock.clone())
                .unwrap_or_else(|error| panic!("{when}: does not open: {error}"));
            check(&store, self.alice, told, &when).await;
            if round == "packed" {
                store.pack().await.unwrap_or_else(|error| panic!("{when}: {error}"));
                check(&store, self.alice, told, &when).await;
            }
            store.close().await;
            drop(store);
            let report = tools::fsck(&self.options, false, &*self.clock, &tools::silent).unwrap();
            assert!(report.is_fine(), "{when}: {:#?}", report.findings);
            if round == "packed" {
                let left = half_made(&self.folder.path().join("log"));
                assert_eq!(left, Vec::<String>::new(), "{when}");
                for name in ["index.sqlite", "index.sqlite-wal", "index.sqlite-shm"] {
                    std::fs::remove_file(self.folder.path().join(name)).unwrap_or_default();
                }
            }
        }
    }
}

/// What must not be left: half made files, and segments beside their packs.
fn half_made(log: &Path) -> Vec<String> {
    let mut left = Vec::new();
    let mut ids = BTreeSet::new();
    for folder in [log.to_owned(), log.join("parts")] {
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        for entry in entries {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let end = name.rsplit('.').next().unwrap().to_owned();
            let double = ["seg", "pack"].contains(&&*end) && !ids.insert(name[..16].to_owned());
            if double || end == "tmp" {
                left.push(name);
            }
        }
    }
    left
}

#[tokio::test]
async fn an_error_at_any_call_of_packing_loses_nothing() {
    for fault in [Fault::Io, Fault::Full] {
        let (mut fails_at, mut in_packing) = (1, 0);
        loop {
            let scene = scene().await;
            let calls = Arc::new(AtomicU64::new(0));
            let disk = FaultyDisk { fault, calls: calls.clone(), fails_at };
            let told = scene.run(Arc::new(Shared(Arc::new(disk)))).await;
            if calls.load(Ordering::SeqCst) < fails_at {
                assert!(told.packed > 3 && told.collected > 1, "{told:?}");
                break;
            }
            // An error of the packer is its own: letters come and go, and the next look packs.
            if told.refused == 1 && !told.poisoned && told.packed > 0 {
                in_packing += 1;
            }
            scene.check(&told, &format!("{fault:?} at call {fails_at}")).await;
            fails_at += 1;
        }
        assert!(in_packing > 20, "{fault:?}: only {in_packing} of {fails_at} were in packing");
    }
}

async fn power_cut(seed: u64) -> u64 {
    let mut dice = Dice::new(seed);
    let scene = scene().await;
    let disk = PowerDisk::new(4 + dice.below(170));
    let told = scene.run(Arc::new(disk.clone())).await;
    disk.cut(&mut dice);
    if dice.below(3) == 0 {
        for name in ["index.sqlite", "index.sqlite-wal", "index.sqlite-shm"] {
            std::fs::remove_file(scene.folder.path().join(name)).unwrap_or_default();
        }
    }
    scene.check(&told, &format!("seed {seed}")).await;
    told.packed
}

#[tokio::test]
async fn a_power_cut_while_packing_loses_nothing() {
    if let Ok(seed) = std::env::var("PACK_CUT_SEED") {
        power_cut(seed.parse().unwrap()).await;
        return;
    }
    let rounds = std::env::var("PACK_CUT_ROUNDS").ok().and_then(|n| n.parse().ok());
    let mut packed = 0;
    for seed in 1..=rounds.unwrap_or(60) {
        packed += power_cut(seed).await;
    }
    assert!(packed > 60, "{packed}");
}
