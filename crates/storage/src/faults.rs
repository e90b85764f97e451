//! Disk errors at every call of a scripted workload: what was acknowledged is there afterwards.

mod crowd;
mod packing;
mod power;

use crate::log::{AppendFile, Disk, RealDisk};
use crate::writer::{Facts, Intent};
use crate::{Error, Letter, Options, Result, Store, Target};
use db::Op;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use types::{AccountId, Flag, FlagChange, Flags, MailboxId, ManualClock, Uid, UidSet};

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// EIO: nothing is known any more.
    Io,
    /// ENOSPC, once; a write leaves half of its bytes behind.
    Full,
}

/// The real disk, but one call fails.
struct FaultyDisk {
    fault: Fault,
    calls: Arc<AtomicU64>,
    fails_at: u64,
}

impl FaultyDisk {
    fn call(&self) -> io::Result<()> {
        if self.calls.fetch_add(1, Ordering::SeqCst) + 1 == self.fails_at {
            return Err(match self.fault {
                Fault::Io => io::Error::from_raw_os_error(5),
                Fault::Full => ErrorKind::StorageFull.into(),
            });
        }
        Ok(())
    }
}

struct FaultyFile {
    disk: Arc<FaultyDisk>,
    file: Box<dyn AppendFile>,
}

impl AppendFile for FaultyFile {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.disk.call() {
            self.file.append(&bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        self.file.append(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.call()?;
        self.file.sync()
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.disk.call()?;
        self.file.truncate(length)
    }
}

/// The trait needs a shared handle to hand on to files.
struct Shared(Arc<FaultyDisk>);

impl Disk for Shared {
    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        self.0.call()?;
        Ok(Box::new(FaultyFile { disk: self.0.clone(), file: RealDisk.create(path)? }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        self.0.call()?;
        Ok(Box::new(FaultyFile { disk: self.0.clone(), file: RealDisk.open(path)? }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.call()?;
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.call()?;
        RealDisk.remove(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.0.call()?;
        RealDisk.sync_folder(folder)
    }

    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        RealDisk.free_bytes(folder)
    }
}

/// What the workload was told is safe.
#[derive(Debug, Default)]
struct Acknowledged {
    letters: Vec<(u32, Uid)>,
    flagged: Vec<Uid>,
    removed: Vec<Uid>,
    refused: Vec<Error>,
}

fn raw(n: u32) -> String {
    format!("Subject: {n}\r\n\r\n{}\r\n", "x".repeat(500))
}

async fn workload(store: &Store, alice: AccountId) -> Acknowledged {
    let mut told = Acknowledged::default();
    let inbox = store.mailbox_by_name(alice, "INBOX").await.unwrap().id;
    for n in 0..8 {
        let letter = Letter::parse(raw(n).into());
        match store.append(alice, inbox, letter, Flags::default(), None).await {
            Ok(arrived) => told.letters.push((n, arrived.uid)),
            Err(error) => told.refused.push(error),
        }
        if n % 3 == 2 {
            append_three(store, alice, inbox, n, &mut told).await;
        }
        let Some((_, uid)) = told.letters.last().copied().filter(|_| n % 3 == 1) else { continue };
        let flag = FlagChange::Add(Flags::new(&[Flag::Flagged]));
        match store.store_flags(alice, inbox, UidSet::one(uid), flag, None).await {
            Ok(_) => told.flagged.push(uid),
            Err(error) => told.refused.push(error),
        }
        let first = told.letters[0].1;
        match store.remove(alice, inbox, UidSet::one(first)).await {
            Ok(gone) if !gone.is_empty() => told.removed.push(first),
            Ok(_) => {}
            Err(error) => told.refused.push(error),
        }
    }
    told
}

/// Numbers 100 and up, told of together or not at all.
async fn append_three(
    store: &Store,
    alice: AccountId,
    inbox: MailboxId,
    n: u32,
    told: &mut Acknowledged,
) {
    let numbers = [0, 1, 2].map(|at| 100 + n * 10 + at);
    let three = numbers.map(|n| (Letter::parse(raw(n).into()), Flags::default(), None));
    match store.append_all(alice, inbox, three.into()).await {
        Ok(all) => told.letters.extend(numbers.into_iter().zip(all.iter().map(|new| new.uid))),
        Err(error) => told.refused.push(error),
    }
}

/// Runs the workload with a fault at call `fails_at`; `false` when it ends before that call.
async fn round(fault: Fault, fails_at: u64) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { segment_bytes: 2_000, ..Options::in_folder(folder.path()) };
    let clock = Arc::new(ManualClock::at_unix_s(1_795_370_400));
    let store = Store::open(&options, clock.clone()).unwrap();
    let alice = store.put_account("alice@example.test", "").await.unwrap();
    store.close().await;
    drop(store);

    let calls = Arc::new(AtomicU64::new(0));
    let disk = Shared(Arc::new(FaultyDisk { fault, calls: calls.clone(), fails_at }));
    let told = match Store::open_on(&options, clock.clone(), Arc::new(disk)) {
        Ok(store) => {
            let told = workload(&store, alice).await;
            store.close().await;
            told
        }
        Err(_) => Acknowledged::default(),
    };
    let poisoned = told.refused.iter().any(|e| matches!(e, Error::Poisoned(_)));
    // One full disk is got over; a second refusal means that writing had to stop.
    if fault == Fault::Full && told.refused.len() > 1 {
        assert!(poisoned, "{:?}", told.refused);
    }
    if let Some(first) = told.refused.iter().position(|e| matches!(e, Error::Poisoned(_))) {
        let rest = &told.refused[first..];
        assert!(rest.iter().all(|e| matches!(e, Error::Poisoned(_))), "{rest:?}");
    }
    check_after(&options, clock, alice, &told, fails_at).await;
    calls.load(Ordering::SeqCst) >= fails_at
}

async fn check_after(
    options: &Options,
    clock: Arc<ManualClock>,
    alice: AccountId,
    told: &Acknowledged,
    fails_at: u64,
) {
    let store = Store::open(options, clock).unwrap();
    let inbox = store.mailbox_by_name(alice, "INBOX").await.unwrap();
    let rows = store.messages(alice, inbox.id, &UidSet::all()).await.unwrap();
    assert_eq!(inbox.total, rows.len() as u64);
    for (n, uid) in &told.letters {
        let row = rows.iter().find(|row| row.uid == *uid);
        if told.removed.contains(uid) {
            assert!(row.is_none(), "call {fails_at}: {uid} is back");
            continue;
        }
        let Some(row) = row else {
            // A removal that failed after its frame reached the disk may have happened.
            let refused = !told.refused.is_empty() && *uid == told.letters[0].1;
            assert!(refused, "call {fails_at}: letter {n} is lost");
            continue;
        };
        let email = store.emails(alice, &[row.email]).await.unwrap().pop().unwrap();
        assert!(store.bytes(&email).await.unwrap() == raw(*n).as_bytes());
        assert!(
            !told.flagged.contains(uid) || row.flags.contains(Flag::Flagged),
            "call {fails_at}"
        );
    }
    let mut three = [0; 8];
    for row in &rows {
        let email = store.emails(alice, &[row.email]).await.unwrap().pop().unwrap();
        let bytes = store.bytes(&email).await.unwrap();
        if let Some(n) = (100..180).find(|n| bytes == raw(*n).as_bytes()) {
            three[(n as usize - 100) / 10] += 1;
        }
    }
    let whole = three.iter().all(|count| [0, 3].contains(count));
    assert!(whole, "call {fails_at}: a part of what came at once: {three:?}");
    let letter = Letter::parse(raw(99).into());
    let outcomes = store.deliver(letter, vec![Target::inbox(alice)]).await.unwrap();
    let uid = outcomes[0].as_ref().unwrap().uid;
    assert!(rows.iter().all(|row| row.uid < uid), "a UID was given again");
}

#[tokio::test]
async fn an_error_at_any_call_loses_nothing_acknowledged() {
    for fault in [Fault::Io, Fault::Full] {
        let mut fails_at = 1;
        while round(fault, fails_at).await {
            fails_at += 1;
        }
        assert!(fails_at > 30, "the workload made only {fails_at} calls");
    }
}

/// Puts a fact and then fails: no operation of ours does that, but one with a mistake might.
struct Breaks {
    account: AccountId,
    panics: bool,
    /// Resolved ahead of the index, as deliveries are.
    ahead: bool,
}

impl Intent for Breaks {
    type Outcome = ();

    fn accounts(&self) -> Vec<AccountId> {
        vec![self.account]
    }

    fn is_delivery(&self) -> bool {
        self.ahead
    }

    fn resolve(&self, facts: &mut Facts<'_>) -> Result<()> {
        let (account, mailbox) = (self.account, MailboxId(1));
        let modseq = facts.next_modseq(account)?;
        if self.ahead {
            let uid = facts.txn.mailbox(account, mailbox)?.and_then(|row| row.uid_next).unwrap();
            let row = db::MessageRow {
                uid,
                email: types::EmailId(1),
                modseq,
                flags: Flags::default(),
                received_unix_s: 0,
                saved_unix_s: 0,
                size_bytes: 1,
            };
            facts.put(&Op::MessageAdd { account, mailbox, row })?;
        } else {
            facts.put(&Op::MessageGone { account, mailbox, modseq, uids: UidSet::all() })?;
        }
        assert!(!self.panics, "as the test wants");
        Err(Error::NoMessage)
    }
}

/// A change that must be undone takes nothing with it that was acknowledged before, committed or not.
#[tokio::test]
async fn what_is_undone_leaves_what_was_acknowledged() {
    let cases = ["sqlite:", "memory:"].into_iter().flat_map(|index| {
        [(false, false), (false, true), (true, false), (true, true)].map(|(a, p)| (index, a, p))
    });
    for (index, ahead, panics) in cases {
        let folder = tempfile::tempdir().unwrap();
        let options = Options {
            index: index.to_owned(),
            segment_bytes: 3_000,
            ..Options::in_folder(folder.path())
        };
        let clock = Arc::new(ManualClock::at_unix_s(1_795_370_400));
        let store = Store::open(&options, clock.clone()).unwrap();
        let account = store.put_account("alice@example.test", "").await.unwrap();
        let count = async |store: &Store| {
            let rows = store.messages(account, MailboxId(1), &UidSet::all()).await.unwrap();
            let inbox = store.mailbox(account, MailboxId(1)).await.unwrap();
            assert_eq!(inbox.total, rows.len() as u64);
            rows.len()
        };
        let deliver = async |n| {
            store.deliver(Letter::parse(raw(n).into()), vec![Target::inbox(account)]).await
        };
        for n in 0..10 {
            deliver(n).await.unwrap();
        }
        let broken = store.change(Breaks { account, panics, ahead }).await.unwrap_err();
        assert_eq!(matches!(broken, Error::Poisoned(_)), panics, "{broken}");
        assert_eq!(count(&store).await, 10, "{index}");
        let next = deliver(11).await;
        assert_eq!(next.is_err(), panics);
        if let Ok(next) = next {
            assert_eq!(next[0].as_ref().unwrap().uid.get(), 11, "what failed took a UID with it");
        }
        let expect = if panics { 10 } else { 11 };
        assert_eq!(count(&store).await, expect);
        store.close().await;
        drop(store);
        assert_eq!(count(&Store::open(&options, clock).unwrap()).await, expect);
    }
}

/// Nobody is shown less than was acknowledged to him: when the disk fails, too.
#[tokio::test]
async fn a_poisoned_store_still_shows_what_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::in_folder(folder.path());
    let clock = Arc::new(ManualClock::at_unix_s(1_795_370_400));
    let store = Store::open(&options, clock.clone()).unwrap();
    let account = store.put_account("alice@example.test", "").await.unwrap();
    store.close().await;
    drop(store);
    // Each letter is a write and a sync; the second call of the seventh fails.
    let calls = Arc::new(AtomicU64::new(0));
    let fails_at = 18;
    let disk = Shared(Arc::new(FaultyDisk { fault: Fault::Io, calls, fails_at }));
    let store = Store::open_on(&options, clock, Arc::new(disk)).unwrap();
    let mut acknowledged = 0;
    for n in 0..20 {
        let letter = Letter::parse(raw(n).into());
        let done = store.deliver(letter, vec![Target::inbox(account)]).await;
        acknowledged += u64::from(done.is_ok());
    }
    assert!((1..20).contains(&acknowledged), "{acknowledged}");
    assert!(matches!(store.health().await, Err(Error::Poisoned(_))));
    let inbox = store.mailbox_by_name(account, "INBOX").await.unwrap();
    assert_eq!(inbox.total, acknowledged);
}
