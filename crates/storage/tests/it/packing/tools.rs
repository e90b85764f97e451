//! What the operator's tools make of a store with packs: the same as of one without.
#![expect(clippy::indexing_slicing, reason = "a test that cannot go on should stop")]

use super::{Box, Dice, attachment, files, open, remove_index, text};
use crate::{NOW_UNIX_S, copy_folder};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use storage::tools::{
    Form, Report, backup, export, fsck, inspect_folder, inspect_letter, inspect_segment, restore,
    silent,
};
use storage::{Error, Options, Store};
use types::{Flag, FlagChange, Flags, ManualClock, Uid, UidSet};

fn clock() -> ManualClock {
    ManualClock::at_unix_s(NOW_UNIX_S)
}

fn check(folder: &Path, repair: bool) -> Report {
    fsck(&Options::in_folder(folder), repair, &clock(), &silent).unwrap()
}

#[track_caller]
fn fine(folder: &Path, when: &str) -> Report {
    let report = check(folder, false);
    assert!(report.is_fine(), "{when}: {:#?}", report.findings);
    report
}

impl Box {
    /// Letters with and without attachments, flags, copies, removals.
    async fn live(&self, dice: &mut Dice, letters: Range<u64>) {
        for n in letters {
            let raw = if n % 20 == 7 { attachment(n, n % 3) } else { text(dice, n) };
            self.deliver(raw).await;
            let uid = UidSet::one(Uid::new(u32::try_from(dice.roll(n + 1) + 1).unwrap()).unwrap());
            let (store, alice, inbox) = (&self.store, self.alice, self.inbox);
            match n % 6 {
                0 => {
                    let flag = FlagChange::Add(Flags::new(&[Flag::Flagged]));
                    store.store_flags(alice, inbox, uid, flag, None).await.unwrap();
                }
                1 => drop(store.copy(alice, inbox, uid, self.other).await.unwrap()),
                2 => drop(store.remove(alice, inbox, uid).await.unwrap()),
                _ => {}
            }
        }
    }

    /// Removes most of what is there.
    async fn thin(&self) {
        let rows = self.store.messages(self.alice, self.inbox, &UidSet::all()).await.unwrap();
        let uids = rows.iter().map(|row| row.uid).filter(|uid| uid.get() % 4 != 1).collect();
        self.store.remove(self.alice, self.inbox, uids).await.unwrap();
        self.seen().await;
    }

    /// The same mailboxes in another folder.
    async fn seen_in(&self, folder: &Path) -> Result<Vec<String>, Error> {
        let options = Options { pack: false, ..Options::in_folder(folder) };
        let other = Self {
            folder: tempfile::tempdir().unwrap(),
            store: Store::open(&options, Arc::new(clock()))?,
            options,
            ..*self
        };
        let seen = other.seen().await;
        other.store.close().await;
        Ok(seen)
    }
}

#[tokio::test]
async fn every_tool_reads_packs() {
    let mut this = Box::new().await;
    this.live(&mut Dice(1), 0..90).await;
    this.pack().await;
    this.live(&mut Dice(2), 90..150).await;
    this.thin().await;
    let packed = this.pack().await;
    assert!(packed.collected > 1, "{packed:?}");
    let before = this.seen().await;
    let folder = this.folder.path().to_owned();
    // While the server runs, and after.
    for _ in 0..2 {
        let report = fine(&folder, "packed");
        assert_eq!((report.packs, report.compared), (packed.packs, true));
        assert_eq!(report.letter_bytes, report.live_bytes + report.dead_bytes);
        assert!(report.given_up_bytes > 0 && report.given_up_bytes <= report.dead_bytes);
        assert_eq!(report.packed_bytes, packed.raw_bytes);
        this.shut().await;
    }
    let overview = inspect_folder(&folder, &silent).unwrap();
    assert_eq!(overview.problems, Vec::<String>::new());
    let packs: Vec<_> = overview.segments.iter().filter_map(|line| line.pack.clone()).collect();
    assert_eq!(packs.len() as u64, packed.packs);
    assert!(packs.iter().any(|pack| pack.generation == 2 && pack.gone_letters > 0));
    assert!(packs.iter().any(|pack| pack.shared_bodies == 1));
    let (mut lsn, mut gone) = (0, 0);
    for line in &overview.segments {
        inspect_segment(&folder, line.id, |line| {
            lsn += 1;
            gone += u64::from(line.gone);
            assert_eq!((line.lsn, line.damaged), (lsn, false));
        })
        .unwrap();
    }
    assert_eq!(gone, packs.iter().map(|pack| pack.gone_letters).sum::<u64>());
    let mut shown = 0;
    for id in 1..=150 {
        match inspect_letter(&folder, id, &silent) {
            Ok(sheet) => shown += sheet.bytes.map(|bytes| u64::from(!bytes.is_empty())).unwrap(),
            Err(error) => assert!(matches!(error, Error::NoMessage), "{id}: {error}"),
        }
    }
    let live: u64 = overview.segments.iter().map(|line| line.live_letters).sum();
    assert_eq!(shown, live);
    let out = tempfile::tempdir().unwrap();
    let exported = export(&folder, out.path(), Form::Maildir, &[], &silent).unwrap();
    assert_eq!(exported.skipped, Vec::<String>::new());
    assert_eq!(exported.accounts[0].2, before.len() as u64 - 2);
    // A repair that only has to build the index.
    remove_index(&folder);
    check(&folder, true);
    fine(&folder, "index built by fsck");
    assert!(this.seen_in(&folder).await.unwrap() == before);
}

#[tokio::test]
async fn a_backup_of_any_mixture_restores() {
    let this = Box::new().await;
    let (every, target) = (tempfile::tempdir().unwrap(), |n: usize| format!("{n}"));
    let mut dice = Dice(3);
    let mut was = Vec::new();
    for step in 0..9_usize {
        let n = step as u64 * 30;
        match step % 3 {
            0 => this.live(&mut dice, n..n + 30).await,
            1 => drop(this.pack().await),
            _ => {
                this.live(&mut dice, n..n + 30).await;
                this.thin().await;
                assert!(this.pack().await.collected > 0, "{step}");
            }
        }
        was.push(this.seen().await);
        // Begun at each step, and carried on at all later ones.
        for begun in 0..=step {
            let to = every.path().join(target(begun));
            let backed = backup(this.folder.path(), &to, &clock(), &silent).unwrap();
            assert_eq!(backed.problems, Vec::<String>::new());
            if begun % 2 == 0 {
                continue;
            }
            let data = tempfile::tempdir().unwrap();
            let restored = restore(&to, data.path(), None, None, &silent).unwrap();
            assert_eq!(restored.problems, Vec::<String>::new(), "{begun} to {step}");
            let report = check(data.path(), false);
            let codes: Vec<_> = report.problems().map(|f| f.code).collect();
            assert_eq!(codes, ["index-missing"], "{begun} to {step}: {:#?}", report.findings);
            let seen = this.seen_in(data.path()).await.unwrap();
            assert!(seen == was[step], "{begun} to {step}");
            fine(data.path(), "restored");
        }
    }
    // What a backup had before the packer gave it up stays in it.
    let gone = |folder: &Path| fine_but_index(folder).given_up_bytes;
    assert!(gone(&every.path().join("0")) < gone(this.folder.path()));
    let alone = tempfile::tempdir().unwrap();
    let to = alone.path().join("alice");
    let from = every.path().join("8");
    restore(&from, &to, Some("alice@example.test"), None, &silent).unwrap();
    let letters = |seen: Vec<String>| seen.len();
    assert_eq!(letters(this.seen_in(&to).await.unwrap()), letters(was.pop().unwrap()));
    assert!(fine(&to, "one account").given_up_bytes > 0);
    // The store after it was put back and has lived on is another one.
    let elsewhere = tempfile::tempdir().unwrap();
    restore(&from, elsewhere.path(), None, None, &silent).unwrap();
    let other = Box {
        store: open(&Options::in_folder(elsewhere.path())),
        options: Options::in_folder(elsewhere.path()),
        folder: elsewhere,
        ..this
    };
    other.live(&mut dice, 900..940).await;
    this.live(&mut dice, 700..740).await;
    this.pack().await;
    let mixed = backup(this.folder.path(), &from, &clock(), &silent);
    assert!(mixed.is_ok(), "{mixed:?}");
    let mixed = backup(other.folder.path(), &from, &clock(), &silent);
    assert!(mixed.is_err_and(|e| e.to_string().contains("another mail store")));
}

/// Of a folder that may have no index.
fn fine_but_index(folder: &Path) -> Report {
    let report = check(folder, false);
    assert!(report.problems().all(|f| f.code == "index-missing"), "{:#?}", report.findings);
    report
}

/// A packed store to do harm to, its mail, a pack with a dictionary and a body.
async fn home() -> (Box, Vec<String>, PathBuf, PathBuf) {
    let mut this = Box::new().await;
    this.options.segment_bytes = 400_000;
    this.reopen(false).await;
    let mut dice = Dice(4);
    for n in 0..170 {
        this.deliver(text(&mut dice, n)).await;
    }
    this.live(&mut dice, 170..200).await;
    this.pack().await;
    let before = this.seen().await;
    this.shut().await;
    let name = |path: &Path| path.strip_prefix(this.folder.path()).unwrap().to_owned();
    let (pack, part) = (name(&this.files(".pack")[0]), {
        name(&files(&this.folder.path().join("log/parts"), ".part")[0])
    });
    (this, before, pack, part)
}

/// Where the pieces of a pack lie, read as docs/format/pack.md says.
fn places(pack: &[u8]) -> Vec<(&'static str, Range<usize>)> {
    let number = |at: usize, n: usize| {
        let bytes = pack[at..at + n].iter().rev();
        bytes.fold(0_usize, |sum, byte| (sum << 8) | usize::from(*byte))
    };
    let trailer = pack.len() - 64;
    let (table, stored) = (number(trailer + 8, 8), number(trailer + 16, 4));
    let raw =
        zstd::bulk::decompress(&pack[table..table + stored], number(trailer + 20, 4)).unwrap();
    // One dictionary, how many chunks and which are the rest; then of the first chunk: how it is stored, its bytes.
    let mut input = raw.iter().copied();
    let mut leb = || {
        let (mut value, mut shift) = (0_usize, 0);
        loop {
            let byte = input.next().unwrap();
            value |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return value;
            }
        }
    };
    let [dictionary, _chunks, _rest, _codec, bytes] = std::array::from_fn(|_| leb());
    assert_eq!(dictionary, 1);
    let dictionary = 64..64 + bytes;
    let mut places = Vec::new();
    places.extend([
        ("magic", 0..4),
        ("version", 4..8),
        ("segment", 8..16),
        ("generation", 16..20),
        ("zero", 20..24),
        ("length", 24..32),
        ("hash of the header", 48..64),
        ("dictionary", dictionary.clone()),
        ("first letter", dictionary.end..dictionary.end + 40),
        ("a later letter", table / 2..table / 2 + 40),
        ("the rest", table - 40..table),
        ("table", table..table + stored),
        ("magic of the trailer", trailer..trailer + 4),
        ("place of the table", trailer + 8..trailer + 16),
        ("length of the table", trailer + 16..trailer + 24),
        ("hash of the table", trailer + 24..trailer + 40),
        ("hash of the trailer", trailer + 48..trailer + 64),
    ]);
    places
}

#[tokio::test]
async fn a_flipped_bit_in_any_field_of_a_pack_is_named_and_put_right() {
    let (this, before, pack, part) = home().await;
    let good = std::fs::read(this.folder.path().join(&pack)).unwrap();
    let body = std::fs::read(this.folder.path().join(&part)).unwrap();
    let of_pack = places(&good).into_iter().map(|(name, range)| (name, range, &pack, &good));
    let end = body.len();
    let of_part = [("header of a body", 0..64), ("a body", 64..99), ("its trailer", end - 64..end)]
        .map(|(name, range)| (name, range, &part, &body));
    let mut dice = Dice(11);
    for (name, range, file, good) in of_pack.chain(of_part) {
        for _ in 0..2 {
            let folder = tempfile::tempdir().unwrap();
            copy_folder(this.folder.path(), folder.path());
            let mut bad = good.clone();
            let at = range.start + usize::try_from(dice.roll(range.len() as u64)).unwrap();
            bad[at] ^= 1 << dice.roll(8);
            let path = folder.path().join(file);
            std::fs::write(&path, &bad).unwrap();
            never_served(&this, folder.path(), &before, &path, name).await;
            let report = check(folder.path(), false);
            let path = path.display().to_string();
            // A stored body longer than is tried bit by bit is damage.
            let codes = ["bit-flipped", "pack-damaged"];
            let named =
                report.problems().any(|f| codes.contains(&f.code) && f.what.contains(&path));
            assert!(named, "{name}, byte {at}: {:#?}", report.findings);
            let lost = report.problems().any(|f| f.code == "pack-damaged");
            let repaired = check(folder.path(), true).repaired;
            fine(folder.path(), &format!("{name}, byte {at}: {repaired:#?}"));
            let after = this.seen_in(folder.path()).await.unwrap();
            assert!(lost || after == before, "{name}, byte {at}: {repaired:#?}");
            assert!(letters(&after).iter().all(|mail| before.contains(mail)), "{name}");
        }
    }
}

fn letters(seen: &[String]) -> Vec<String> {
    seen.iter().filter(|line| line.starts_with("MailboxId")).cloned().collect()
}

/// A store with damage either does not open and says where it is, or opens and gives no wrong byte.
async fn never_served(this: &Box, folder: &Path, before: &[String], path: &Path, name: &str) {
    let options = Options { pack: false, ..Options::in_folder(folder) };
    for without_index in [false, true] {
        let copy = tempfile::tempdir().unwrap();
        copy_folder(folder, copy.path());
        if without_index {
            remove_index(copy.path());
        }
        let options = Options { folder: copy.path().to_owned(), ..options.clone() };
        let store = match Store::open(&options, Arc::new(clock())) {
            Ok(store) => store,
            Err(error) => {
                let text = error.to_string();
                let end = path.strip_prefix(folder).unwrap().display().to_string();
                assert!(matches!(error, Error::Corrupt(_)), "{name}: {text}");
                assert!(text.contains("openpoczta fsck") && text.contains(&end), "{name}: {text}");
                assert!(text.contains("byte "), "{name}: {text}");
                continue;
            }
        };
        assert!(!without_index, "{name}: replay reads every byte");
        let mut whole = 0;
        for row in store.messages(this.alice, this.inbox, &UidSet::all()).await.unwrap() {
            let email = store.emails(this.alice, &[row.email]).await;
            let read = match email {
                Ok(mut emails) => store.bytes(&emails.pop().unwrap()).await,
                Err(error) => Err(error),
            };
            match read {
                Ok(bytes) => {
                    let sum = super::blake3_of(&bytes);
                    assert!(before.iter().any(|line| line.contains(&sum)), "{name}: {}", row.uid);
                    whole += 1;
                }
                Err(error) => {
                    let text = error.to_string();
                    assert!(matches!(error, Error::Corrupt(_)), "{name}: {text}");
                    assert!(text.contains("openpoczta fsck") && text.contains("log/"), "{text}");
                }
            }
        }
        assert!(whole > 0, "{name}");
        store.close().await;
    }
}

/// A way to do more harm than a bit, and what fsck calls it.
type Harm = (&'static str, fn(&Path, &Path), &'static str);

fn spoil(path: &Path, at: impl Fn(usize) -> Range<usize>) {
    let mut bytes = std::fs::read(path).unwrap();
    let range = at(bytes.len());
    bytes[range].iter_mut().for_each(|byte| *byte ^= 0x5a);
    std::fs::write(path, bytes).unwrap();
}

const HARMS: &[Harm] = &[
    ("a header", |pack, _| spoil(pack, |_| 0..64), "bit-flipped"),
    ("a dictionary", |pack, _| spoil(pack, |_| 80..90), "pack-damaged"),
    ("letters", |pack, _| spoil(pack, |n| n / 2..n / 2 + 5000), "pack-damaged"),
    ("a table", |pack, _| spoil(pack, |n| n - 300..n - 200), "header-damaged"),
    ("a trailer", |pack, _| spoil(pack, |n| n - 64..n), "header-damaged"),
    ("half a pack", |pack, _| spoil_length(pack), "header-damaged"),
    ("no pack", |pack, _| std::fs::remove_file(pack).unwrap(), "segment-missing"),
    ("a body", |_, part| spoil(part, |n| n / 2..n / 2 + 9), "pack-damaged"),
    ("no body", |_, part| std::fs::remove_file(part).unwrap(), "pack-damaged"),
];

fn spoil_length(path: &Path) {
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
}

#[tokio::test]
async fn harm_to_a_pack_is_named_and_the_rest_goes_on() {
    let (this, before, pack, part) = home().await;
    let all = letters(&before);
    for (name, harm, code) in HARMS {
        let folder = tempfile::tempdir().unwrap();
        copy_folder(this.folder.path(), folder.path());
        let path = folder.path().join(if name.contains("body") { &part } else { &pack });
        harm(&folder.path().join(&pack), &folder.path().join(&part));
        if path.exists() {
            never_served(&this, folder.path(), &before, &path, name).await;
        }
        let report = check(folder.path(), false);
        let named = report.problems().any(|f| f.code == *code);
        assert!(named, "{name}: {:#?}", report.findings);
        let repaired = check(folder.path(), true).repaired;
        fine(folder.path(), &format!("{name}: {repaired:#?}"));
        let after = letters(&this.seen_in(folder.path()).await.unwrap());
        assert!(!after.is_empty(), "{name}: {repaired:#?}");
        assert!(after.iter().all(|mail| all.contains(mail)), "{name}: {repaired:#?}");
        fine(folder.path(), name);
        if *name == "a header" {
            assert_eq!(after, all);
        }
    }
}
