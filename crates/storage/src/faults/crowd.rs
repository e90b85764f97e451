//! More callers than one batch waits for, so that some are synced while others are resolved and written: when the
//! disk fails or loses power in the middle, what was acknowledged is there, and nothing is shown twice.

use super::power::{Dice, PowerDisk};
use super::{Acknowledged, Fault, FaultyDisk, Shared, raw};
use crate::log::{AppendFile, Disk};
use crate::{Error, Letter, Options, Store, Target, tools};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use types::{AccountId, Flag, FlagChange, Flags, MailboxId, ManualClock, Uid, UidSet};

const CALLERS: u32 = 100;
const LETTERS: u32 = 4;
const INBOX: MailboxId = MailboxId(1);
/// As long as a disk takes: the others come meanwhile.
const SYNC: Duration = Duration::from_micros(400);

/// A disk whose syncs take their time.
struct Slow(Arc<dyn Disk>);

struct SlowFile(Box<dyn AppendFile>);

impl AppendFile for SlowFile {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        self.0.append(bytes)
    }

    #[expect(clippy::disallowed_methods, reason = "a thread of its own does this")]
    fn sync(&self) -> io::Result<()> {
        let done = self.0.sync();
        std::thread::sleep(SYNC);
        done
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.0.truncate(length)
    }
}

impl Disk for Slow {
    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        Ok(Box::new(SlowFile(self.0.create(path)?)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        Ok(Box::new(SlowFile(self.0.open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.0.sync_folder(folder)
    }

    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        self.0.free_bytes(folder)
    }
}

/// One of the crowd; some flag a letter in between, which is resolved in the index's transaction.
async fn caller(store: Store, account: AccountId, number: u32) -> Acknowledged {
    let mut told = Acknowledged::default();
    for turn in 0..LETTERS {
        let n = number * LETTERS + turn;
        let targets = vec![Target::inbox(account)];
        match store.deliver(Letter::parse(raw(n).into()), targets).await {
            Ok(outcomes) => {
                let uid = outcomes.into_iter().next().unwrap().unwrap().uid;
                let seen = store.messages(account, INBOX, &UidSet::one(uid)).await;
                assert!(seen.is_err() || seen.unwrap().len() == 1, "letter {n} cannot be seen");
                told.letters.push((n, uid));
            }
            Err(error) => told.refused.push(error),
        }
        if let Some((_, uid)) = told.letters.first().filter(|_| number.is_multiple_of(25)) {
            let flag = FlagChange::Add(Flags::new(&[Flag::Flagged]));
            match store.store_flags(account, INBOX, UidSet::one(*uid), flag, None).await {
                Ok(_) => told.flagged.push(*uid),
                Err(error) => told.refused.push(error),
            }
        }
    }
    told
}

async fn crowd(store: &Store, account: AccountId) -> Acknowledged {
    let tasks = (0..CALLERS).map(|number| tokio::spawn(caller(store.clone(), account, number)));
    let tasks: Vec<_> = tasks.collect();
    let mut all = Acknowledged::default();
    for task in tasks {
        let told = task.await.unwrap();
        all.letters.extend(told.letters);
        all.flagged.extend(told.flagged);
        all.refused.extend(told.refused);
    }
    all
}

/// What is there after opening again is what was acknowledged, and whole.
async fn check_after(store: &Store, account: AccountId, told: &Acknowledged, what: &str) {
    let rows = store.messages(account, INBOX, &UidSet::all()).await.unwrap();
    let inbox = store.mailbox(account, INBOX).await.unwrap();
    assert_eq!(inbox.total, rows.len() as u64, "{what}");
    let by_uid: BTreeMap<Uid, _> = rows.iter().map(|row| (row.uid, row)).collect();
    assert_eq!(by_uid.len(), rows.len(), "{what}: a UID twice");
    for (n, uid) in &told.letters {
        let row = by_uid.get(uid).unwrap_or_else(|| panic!("{what}: letter {n} is lost"));
        let email = store.emails(account, &[row.email]).await.unwrap().pop().unwrap();
        assert!(store.bytes(&email).await.unwrap() == raw(*n).as_bytes(), "{what}: letter {n}");
        let flagged = row.flags.contains(Flag::Flagged);
        assert!(flagged || !told.flagged.contains(uid), "{what}: a flag is lost");
    }
}

/// A fresh store, a crowd on the given disk, what it did to the folder, and the store after that. Gives back how
/// many letters were acknowledged.
async fn round(disk: Arc<dyn Disk>, what: &str, cut: impl FnOnce()) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { segment_bytes: 60_000, ..Options::in_folder(folder.path()) };
    let clock = Arc::new(ManualClock::at_unix_s(1_795_370_400));
    let store = Store::open(&options, clock.clone()).unwrap();
    let account = store.put_account("alice@example.test", "").await.unwrap();
    store.close().await;
    drop(store);

    let told = match Store::open_on(&options, clock.clone(), Arc::new(Slow(disk))) {
        Ok(store) => {
            let told = crowd(&store, account).await;
            let expect = (CALLERS * LETTERS) as usize;
            assert!(told.letters.len() + told.refused.len() >= expect, "{what}: no answer");
            store.close().await;
            told
        }
        Err(_) => Acknowledged::default(),
    };
    cut();
    let store = Store::open(&options, clock.clone())
        .unwrap_or_else(|error| panic!("{what}: does not open: {error}"));
    check_after(&store, account, &told, what).await;
    store.close().await;
    drop(store);
    let report = tools::fsck(&options, false, &*clock, &tools::silent).unwrap();
    assert!(report.is_fine(), "{what}: {:?}", report.findings);
    let known =
        |error: &&Error| matches!(error, Error::Poisoned(_) | Error::Io { .. } | Error::DiskFull);
    assert!(told.refused.iter().all(|error| known(&error)), "{what}: {:?}", told.refused);
    told.letters.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_power_cut_among_many_loses_nothing_acknowledged() {
    let rounds = std::env::var("POWER_CUT_ROUNDS").ok().and_then(|n| n.parse().ok());
    let mut acknowledged = 0;
    for seed in 1..=rounds.unwrap_or(25) {
        let mut dice = Dice::new(seed);
        let disk = PowerDisk::new(2 + dice.below(60));
        let what = format!("seed {seed}");
        acknowledged += round(Arc::new(disk.clone()), &what, || disk.cut(&mut dice)).await;
    }
    assert!(acknowledged > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_error_at_any_call_among_many_loses_nothing_acknowledged() {
    let mut least = usize::MAX;
    for fault in [Fault::Io, Fault::Full] {
        for fails_at in 1..=24 {
            let calls = Arc::<AtomicU64>::default();
            let disk = FaultyDisk { fault, calls: calls.clone(), fails_at };
            let what = format!("{fault:?} at call {fails_at}");
            let told = round(Arc::new(Shared(Arc::new(disk))), &what, || ()).await;
            if calls.load(Ordering::Relaxed) < fails_at {
                break;
            }
            least = least.min(told);
        }
    }
    assert!(least < (CALLERS * LETTERS) as usize, "no fault was met");
}
