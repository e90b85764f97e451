//! Packing and garbage collection: a store that packs is a store that never did, only smaller.

mod tools;

use crate::NOW_UNIX_S;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use storage::{Letter, Options, Packed, Store, Target};
use types::{AccountId, Flag, FlagChange, Flags, MailboxId, ManualClock, UidSet};

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    fn of<'a, T>(&mut self, things: &'a [T]) -> &'a T {
        let at = usize::try_from(self.roll(things.len() as u64)).unwrap();
        things.get(at).unwrap()
    }
}

struct Box {
    folder: tempfile::TempDir,
    options: Options,
    store: Store,
    alice: AccountId,
    inbox: MailboxId,
    other: MailboxId,
}

fn open(options: &Options) -> Store {
    Store::open(options, Arc::new(ManualClock::at_unix_s(NOW_UNIX_S))).unwrap()
}

impl Box {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { segment_bytes: 60_000, ..Options::in_folder(folder.path()) };
        let store = open(&options);
        let alice = store.put_account("alice@example.test", "").await.unwrap();
        let inbox = store.mailbox_by_name(alice, "INBOX").await.unwrap().id;
        let other = store.mailbox_by_name(alice, "Archive").await.unwrap().id;
        Self { folder, options, store, alice, inbox, other }
    }

    async fn reopen(&mut self, without_index: bool) {
        self.shut().await;
        if without_index {
            remove_index(self.folder.path());
        }
        self.store = open(&self.options);
    }

    /// Lets go of the folder: a store elsewhere takes its place.
    async fn shut(&mut self) {
        self.store.close().await;
        let elsewhere = tempfile::tempdir().unwrap();
        self.store = open(&Options::in_folder(elsewhere.path()));
    }

    async fn deliver(&self, raw: Vec<u8>) {
        let letter = Letter::parse(raw.into());
        let done = self.store.deliver(letter, vec![Target::inbox(self.alice)]).await.unwrap();
        assert!(done.iter().all(Result::is_ok));
    }

    /// At once: this letter between two others.
    async fn deliver_three(&self, raw: &[u8], n: u64) {
        let others = [b"Subject: before it\r\n\r\n".to_vec(), attachment(n, 1)];
        let [before, after] = others;
        let raws = [before, raw.to_vec(), after];
        let letters = raws.map(|raw| (Letter::parse(raw.into()), Flags::default(), None));
        let done = self.store.append_all(self.alice, self.inbox, letters.into()).await.unwrap();
        assert_eq!(done.len(), 3);
    }

    /// Everything a client can see.
    async fn seen(&self) -> Vec<String> {
        let mut seen = Vec::new();
        for mailbox in [self.inbox, self.other] {
            let row = self.store.mailbox(self.alice, mailbox).await.unwrap();
            seen.push(format!("{} {:?} {:?}", row.uid_validity, row.uid_next, row.modseq));
            for row in self.store.messages(self.alice, mailbox, &UidSet::all()).await.unwrap() {
                let email =
                    self.store.emails(self.alice, &[row.email]).await.unwrap().pop().unwrap();
                let bytes = self.store.bytes(&email).await.unwrap();
                let hash = blake3_of(&bytes);
                let (uid, email, modseq, flags) = (row.uid, row.email, row.modseq, row.flags);
                let subject = hash + &bytes.len().to_string();
                seen.push(format!("{mailbox:?} {uid:?} {email:?} {modseq:?} {flags:?} {subject}"));
            }
        }
        seen
    }

    async fn pack(&self) -> Packed {
        self.store.pack().await.unwrap().unwrap()
    }

    fn files(&self, end: &str) -> Vec<PathBuf> {
        files(&self.folder.path().join("log"), end)
    }
}

fn remove_index(folder: &Path) {
    for end in ["", "-wal", "-shm"] {
        std::fs::remove_file(folder.join(format!("index.sqlite{end}"))).unwrap_or_default();
    }
}

fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.to_str().unwrap().ends_with(end));
    found.sort();
    found
}

/// Enough to tell letters apart; the store checks them against their own hash.
fn blake3_of(bytes: &[u8]) -> String {
    let sum = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    format!("{sum:016x} ")
}

fn text(dice: &mut Dice, n: u64) -> Vec<u8> {
    let words = ["the", "letter", "of", "yesterday", "came", "late", "poczta", "and", "we", "went"];
    let mut raw =
        format!("From: bob@example.test\r\nSubject: {n}\r\nMessage-ID: <{n}@example.test>\r\n\r\n");
    for _ in 0..20 + dice.roll(900) {
        let word: &&str = dice.of(&words);
        raw.push_str(word);
        raw.push_str(if dice.roll(12) == 0 { "\r\n" } else { " " });
    }
    raw.into_bytes()
}

/// A letter with an attachment of `kind`: the same kind has the same bytes.
fn attachment(n: u64, kind: u64) -> Vec<u8> {
    let mut dice = Dice(kind);
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut raw = format!(
        "Subject: a file {n}\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
         --b\r\n\r\nhere it is, {n}\r\n--b\r\nContent-Type: application/pdf\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n"
    )
    .into_bytes();
    for _ in 0..3000 {
        raw.extend((0..76).map(|_| *dice.of(letters)));
        raw.extend_from_slice(b"\r\n");
    }
    raw.extend_from_slice(b"--b--\r\n");
    raw
}

#[tokio::test]
async fn packing_changes_nothing_but_the_size() {
    for seed in 1..=4 {
        let (mut packing, mut plain) = (Box::new().await, Box::new().await);
        let (mut dice, mut collected) = (Dice(seed), 0);
        for n in 0..260 {
            let step = dice.roll(100);
            let at = u32::try_from(dice.roll(n / 2 + 1) + 1).unwrap();
            let [first, last] = [at, at + 2].map(|at| types::Uid::new(at).unwrap());
            let uids = UidSet::from_ranges([(first, last)]);
            let raw = match step {
                0..60 => text(&mut dice, n),
                _ => attachment(n, dice.roll(3)),
            };
            for this in [&packing, &plain] {
                let (alice, inbox, store) = (this.alice, this.inbox, &this.store);
                match step {
                    0..4 | 60..63 => this.deliver_three(&raw, n).await,
                    0..64 => this.deliver(raw.clone()).await,
                    64..72 => {
                        let flag = FlagChange::Add(Flags::new(&[Flag::Seen]));
                        store.store_flags(alice, inbox, uids.clone(), flag, None).await.unwrap();
                    }
                    72..77 => {
                        drop(store.copy(alice, inbox, uids.clone(), this.other).await.unwrap());
                    }
                    77..97 => drop(store.remove(alice, inbox, uids.clone()).await.unwrap()),
                    _ => {}
                }
            }
            match step {
                97 => packing.reopen(false).await,
                98 => packing.reopen(true).await,
                99 => collected += packing.pack().await.collected,
                _ => {}
            }
        }
        assert_eq!(packing.seen().await, plain.seen().await, "seed {seed}");
        collected += packing.pack().await.collected;
        for without_index in [false, true] {
            packing.reopen(without_index).await;
            assert_eq!(packing.seen().await, plain.seen().await, "seed {seed}, {without_index}");
        }
        plain.reopen(true).await;
        assert!(!packing.files(".pack").is_empty(), "seed {seed}");
        assert!(packing.files(".tmp").is_empty(), "seed {seed}");
        assert!(collected > 0, "seed {seed}");
    }
}

#[tokio::test]
async fn a_body_in_many_letters_is_kept_once_and_as_long_as_one_lives() {
    let mut this = Box::new().await;
    for n in 0..6 {
        this.deliver(attachment(n, 7)).await;
    }
    let before = this.seen().await;
    let packed = this.pack().await;
    let parts = this.folder.path().join("log/parts");
    assert_eq!(files(&parts, ".part").len(), 1);
    assert!(packed.packs >= 5 && packed.stored_bytes < packed.raw_bytes / 4, "{packed:?}");
    this.reopen(true).await;
    assert_eq!(this.seen().await, before);
    // A range in the middle of a packed letter.
    let rows = this.store.messages(this.alice, this.inbox, &UidSet::all()).await.unwrap();
    let email = this.store.emails(this.alice, &[rows[0].email]).await.unwrap().pop().unwrap();
    let (whole, range) = (this.store.bytes(&email).await.unwrap(), 100_000..100_100);
    assert_eq!(this.store.range(&email, range).await.unwrap(), whole[100_000..100_100]);
    // As long as one letter has it the body stays; with the last one it goes.
    for uid in 1..=6_u32 {
        assert_eq!(files(&parts, ".part").len(), 1, "before {uid}");
        let uids = UidSet::one(types::Uid::new(uid).unwrap());
        this.store.remove(this.alice, this.inbox, uids).await.unwrap();
        this.seen().await;
        assert_eq!(this.pack().await.collected, 1, "{uid}");
    }
    assert_eq!(files(&parts, ".part").len(), 0);
    this.reopen(true).await;
    assert_eq!(this.seen().await.len(), 2, "two mailboxes, nothing in them");
}

#[tokio::test]
async fn a_letter_given_up_is_gone_for_who_still_asks() {
    let this = Box::new().await;
    this.deliver(attachment(1, 1)).await;
    this.deliver(attachment(2, 2)).await;
    let rows = this.store.messages(this.alice, this.inbox, &UidSet::all()).await.unwrap();
    let email = this.store.emails(this.alice, &[rows[0].email]).await.unwrap().pop().unwrap();
    this.store.remove(this.alice, this.inbox, UidSet::one(rows[0].uid)).await.unwrap();
    this.seen().await;
    assert_eq!(this.pack().await.collected, 1);
    let asked = this.store.bytes(&email).await;
    assert!(matches!(asked, Err(storage::Error::NoMessage)), "{asked:?}");
}

#[tokio::test]
async fn every_flipped_bit_of_a_pack_is_found() {
    let mut this = Box::new().await;
    let mut dice = Dice(5);
    for n in 0..60 {
        this.deliver(text(&mut dice, n)).await;
    }
    let before = this.seen().await;
    this.pack().await;
    let path = this.files(".pack")[0].clone();
    let good = std::fs::read(&path).unwrap();
    for round in 0..40 {
        let at = usize::try_from(dice.roll(good.len() as u64)).unwrap();
        let mut bad = good.clone();
        bad[at] ^= 1 << dice.roll(8);
        this.shut().await;
        std::fs::write(&path, &bad).unwrap();
        remove_index(this.folder.path());
        // Replay reads every byte: with one bit wrong it must not get through.
        let clock = Arc::new(ManualClock::at_unix_s(NOW_UNIX_S));
        let opened = Store::open(&this.options, clock);
        assert!(matches!(opened, Err(storage::Error::Corrupt(_))), "byte {at}, round {round}");
    }
    std::fs::write(&path, &good).unwrap();
    this.reopen(true).await;
    assert_eq!(this.seen().await, before);
}

#[tokio::test]
async fn what_a_crash_leaves_is_cleared_away() {
    let mut this = Box::new().await;
    let mut dice = Dice(6);
    for n in 0..60 {
        this.deliver(text(&mut dice, n)).await;
    }
    let before = this.seen().await;
    let first = this.files(".seg")[0].clone();
    let bytes = std::fs::read(&first).unwrap();
    this.pack().await;
    let pack = this.files(".pack")[0].clone();
    // A crash before the segment was removed; another half-way in a pack.
    std::fs::write(&first, &bytes).unwrap();
    std::fs::write(pack.with_extension("pack.tmp"), b"OPPK half").unwrap();
    this.reopen(true).await;
    assert_eq!(this.seen().await, before);
    // A pack cut short counts for nothing while its segment is there.
    let whole = std::fs::read(&pack).unwrap();
    std::fs::write(&pack, &whole[..whole.len() / 2]).unwrap();
    this.reopen(true).await;
    assert_eq!(this.seen().await, before);
    std::fs::write(&pack, &whole).unwrap();
    this.reopen(false).await;
    this.pack().await;
    assert!(!first.exists() && this.files(".tmp").is_empty());
    assert_eq!(this.seen().await, before);
}
