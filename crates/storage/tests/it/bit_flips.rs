//! One wrong bit anywhere in the log, and an end torn off anywhere: found at opening, at reading, and by fsck; never
//! shown as mail.

#![expect(clippy::indexing_slicing, reason = "a test that cannot go on should stop")]

use crate::dump::{Letters, dump};
use crate::{NOW_UNIX_S, Scene, copy_folder, letter, uids};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use storage::tools::{fsck, silent};
use storage::{Error, Letter, Options, Store, Target};
use types::{Flag, FlagChange, Flags, ManualClock};

const LOG: &str = "log/0000000000000001.seg";

/// A frame as `docs/format/segment.md` has it; read here without the code of the log.
#[derive(Debug, Clone)]
struct Frame {
    all: Range<usize>,
    letter: Range<usize>,
}

fn frames(bytes: &[u8]) -> Vec<Frame> {
    let number = |at: usize| u32::from_le_bytes(*bytes[at..].first_chunk().unwrap()) as usize;
    let (mut at, mut found) = (128, Vec::new());
    while at < bytes.len() {
        assert_eq!(&bytes[at..at + 4], b"OPFR");
        let letter = at + 64..at + 64 + number(at + 24);
        let end = letter.end + number(at + 28);
        found.push(Frame { all: at..end, letter });
        at = end;
    }
    found
}

/// A closed store and what it showed: at the end, and before its last change.
struct Sample {
    /// Changed in a test.
    folder: tempfile::TempDir,
    bytes: Vec<u8>,
    whole: (String, Letters),
    before: String,
}

impl Sample {
    /// Letters, a flag, a move, a removal; the last change is a letter.
    async fn new() -> Self {
        let scene = Scene::new().await;
        for n in 1..=3 {
            scene.deliver(&letter(n)).await;
        }
        let (alice, store, inbox) = (scene.alice, &scene.store, scene.inbox().await.id);
        let flagged = FlagChange::Add(Flags::new(&[Flag::Flagged]));
        store.store_flags(alice, inbox, uids(&[2]), flagged, None).await.unwrap();
        let trash = scene.named("Trash").await.id;
        store.move_messages(alice, inbox, uids(&[1]), trash).await.unwrap();
        store.remove(alice, inbox, uids(&[3])).await.unwrap();
        let before = dump(&scene.store).await.0;
        scene.deliver(&letter(4)).await;
        let whole = dump(&scene.store).await;
        scene.store.close().await;
        let Scene { folder: source, store, .. } = scene;
        drop(store);
        // The files must not change any more when they are copied.
        crate::settled(source.path()).await;
        let folder = tempfile::tempdir().unwrap();
        copy_folder(source.path(), folder.path());
        let bytes = std::fs::read(folder.path().join(LOG)).unwrap();
        Self { folder, bytes, whole, before }
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join(LOG)
    }

    fn options(&self, index: &str) -> Options {
        Options { index: index.to_owned(), ..Options::in_folder(self.folder.path()) }
    }

    fn open(&self, index: &str) -> Result<Store, Error> {
        let clock = Arc::new(ManualClock::at_unix_s(NOW_UNIX_S));
        Store::open(&self.options(index), clock)
    }

    /// With one bit of the byte wrong.
    fn flip(&self, at: usize) {
        let mut bytes = self.bytes.clone();
        bytes[at] ^= 1 << (at % 8);
        std::fs::write(self.log(), bytes).unwrap();
    }

    /// The error says in which file, where, and what to do.
    #[track_caller]
    fn names(&self, error: &Error, place: &str, at: usize) {
        let text = error.to_string();
        let said = matches!(error, Error::Corrupt(_))
            && text.contains(self.log().to_str().unwrap())
            && text.contains(place)
            && text.contains("openpoczta fsck");
        assert!(said, "byte {at}: {text}");
    }
}

/// Without an index everything is read: each flip is found, and only the last change, of which nothing says that it
/// was acknowledged, may pass for a torn end.
#[tokio::test]
async fn every_flipped_bit_is_found_by_a_replay() {
    let sample = Sample::new().await;
    let frames = frames(&sample.bytes);
    let last = frames.last().unwrap().all.start;
    for at in 0..sample.bytes.len() {
        sample.flip(at);
        let opened = sample.open("memory:");
        let Some(frame) = frames.iter().find(|frame| frame.all.contains(&at)) else {
            sample.names(&opened.err().unwrap(), "at byte 0", at);
            continue;
        };
        let start = frame.all.start;
        if start < last {
            sample.names(&opened.err().unwrap(), &format!("at byte {start};"), at);
            let mut there = std::fs::read(sample.log()).unwrap();
            there[at] ^= 1 << (at % 8);
            assert!(there == sample.bytes, "byte {at}: the log was changed");
            continue;
        }
        let store = opened.unwrap();
        assert_eq!(dump(&store).await.0, sample.before, "byte {at}");
        store.close().await;
    }
}

/// With the index nothing is read at opening but the header; what is read later is checked then, and fsck sees all.
#[tokio::test]
async fn every_flipped_bit_is_found_by_a_reader_or_by_fsck() {
    let sample = Sample::new().await;
    let frames = frames(&sample.bytes);
    for at in 0..sample.bytes.len() {
        let frame = frames.iter().find(|frame| frame.all.contains(&at));
        let in_letter = frame.is_some_and(|frame| frame.letter.contains(&at));
        let in_header = at < 128 || frame.is_some_and(|frame| at < frame.letter.start);
        // All fields of the headers; of letters and ops every seventh byte, and their first.
        let first = frame.is_some_and(|f| at == f.letter.start || at == f.letter.end);
        if !in_header && !first && at % 7 > 0 {
            continue;
        }
        sample.flip(at);
        let options = sample.options("sqlite:");
        let report = fsck(&options, false, &ManualClock::at_unix_s(NOW_UNIX_S), &silent).unwrap();
        assert!(!report.is_fine(), "byte {at}: fsck finds nothing");
        if at < 128 {
            sample.names(&sample.open("sqlite:").err().unwrap(), "at byte 0", at);
            continue;
        }
        if in_letter {
            let start = frame.unwrap().letter.start;
            reading_refuses(&sample, &format!("at byte {start}"), at).await;
        }
    }
}

/// Every letter is served as it was sent or not at all, and one of them is not.
async fn reading_refuses(sample: &Sample, place: &str, at: usize) {
    let store = sample.open("sqlite:").unwrap();
    let alice = store.account_by_key("alice@example.test").await.unwrap().unwrap().id;
    let mut refused = 0;
    let mut removed = 0;
    for id in 1..=4 {
        let email = store.emails(alice, &[types::EmailId(id)]).await.unwrap().pop();
        let Some(email) = email else {
            removed += 1;
            continue;
        };
        match store.bytes(&email).await {
            Ok(bytes) => assert!(sample.whole.1.values().any(|sent| bytes == *sent), "byte {at}"),
            Err(error) => {
                sample.names(&error, place, at);
                refused += 1;
            }
        }
        if let Ok(range) = store.range(&email, 10..60).await {
            let sent = &letter(u32::try_from(id).unwrap()).into_bytes()[10..60];
            assert!(range == *sent, "byte {at}");
        }
    }
    // The damage may be in the letter that was removed.
    assert_eq!(removed, 1);
    let gone = &frames(&sample.bytes)[3 + FIRST_LETTER - 1].letter;
    assert_eq!(refused, u32::from(!gone.contains(&at)), "byte {at}");
    store.close().await;
    drop(store);
    crate::settled(sample.folder.path()).await;
}

/// Frames before the first letter: those of the account.
const FIRST_LETTER: usize = 1;

/// A piece of a large letter is read without the rest; a bit flipped in it is found all the same.
#[tokio::test]
async fn a_piece_of_a_large_letter_is_checked_too() {
    let scene = Scene::new().await;
    let raw = format!("Subject: large\r\n\r\n{}", "0123456789abcdef\r\n".repeat(150_000));
    scene.deliver(&raw).await;
    scene.store.close().await;
    let Scene { folder, options, clock, store, alice } = scene;
    drop(store);
    let log = folder.path().join(LOG);
    let bytes = std::fs::read(&log).unwrap();
    let letter = frames(&bytes).last().unwrap().letter.clone();
    let at = letter.start + 1_000_000;
    let mut damaged = bytes.clone();
    damaged[at] ^= 4;
    std::fs::write(&log, &damaged).unwrap();
    crate::settled(folder.path()).await;
    let store = Store::open(&options, clock).unwrap();
    let email = store.emails(alice, &[types::EmailId(1)]).await.unwrap().pop().unwrap();
    let served = store.range(&email, 999_990..1_000_020).await;
    assert!(matches!(served, Err(Error::Corrupt(_))), "a damaged piece was served");
    drop(folder.unchecked());
}

/// An end cut off anywhere is a torn end when nothing says that it was acknowledged; the index says so when it has
/// seen it.
#[tokio::test]
async fn an_end_torn_off_anywhere_is_cut_off_or_missed() {
    let sample = Sample::new().await;
    let last = frames(&sample.bytes).pop().unwrap().all;
    for at in last.clone() {
        std::fs::write(sample.log(), &sample.bytes[..at]).unwrap();
        let seen = sample.open("sqlite:").err().unwrap();
        let place = format!("ends at byte {at}, the index has seen it up to {}", last.end);
        if at > last.start {
            sample.names(&seen, "at byte", at);
        } else {
            sample.names(&seen, &place, at);
        }
        assert_eq!(std::fs::metadata(sample.log()).unwrap().len(), at as u64, "it was changed");

        let store = sample.open("memory:").unwrap();
        assert_eq!(dump(&store).await.0, sample.before, "byte {at}");
        assert_eq!(std::fs::metadata(sample.log()).unwrap().len(), last.start as u64);
        let alice = store.account_by_key("alice@example.test").await.unwrap().unwrap().id;
        let again = Letter::parse(letter(4).into());
        store.deliver(again, vec![Target::inbox(alice)]).await.unwrap();
        assert_eq!(dump(&store).await, sample.whole, "byte {at}");
        store.close().await;
    }
}

/// Bytes that never came, or came as zeros, in front of a good frame: the mark in that frame tells whether they had
/// been durable.
#[tokio::test]
async fn a_hole_before_a_good_frame_is_damage() {
    let sample = Sample::new().await;
    let frames = frames(&sample.bytes);
    for pair in frames.windows(2) {
        let hole = pair[0].all.clone();
        for from in hole.clone().step_by(31) {
            let mut bytes = sample.bytes.clone();
            bytes[from..hole.end].fill(0);
            std::fs::write(sample.log(), &bytes).unwrap();
            let refused = sample.open("memory:").err().unwrap();
            sample.names(&refused, &format!("at byte {}", hole.start), from);
            assert!(std::fs::read(sample.log()).unwrap() == bytes, "the log was changed");
        }
    }
}

/// No segment but the last may end early, at whatever byte.
#[tokio::test]
async fn a_closed_segment_that_ends_early_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        segment_bytes: 1_500,
        index: "memory:".to_owned(),
        ..Options::in_folder(folder.path())
    };
    let clock = Arc::new(ManualClock::at_unix_s(NOW_UNIX_S));
    let store = Store::open(&options, clock.clone()).unwrap();
    let alice = store.put_account("alice@example.test", "").await.unwrap();
    for n in 1..=6 {
        let letter = Letter::parse(letter(n).into());
        store.deliver(letter, vec![Target::inbox(alice)]).await.unwrap();
    }
    store.close().await;
    drop(store);
    let first = folder.path().join("log/0000000000000001.seg");
    let bytes = std::fs::read(&first).unwrap();
    for length in (0..bytes.len()).step_by(3) {
        std::fs::write(&first, &bytes[..length]).unwrap();
        let refused = Store::open(&options, clock.clone()).err().unwrap();
        let text = refused.to_string();
        let whole = frames(&bytes).iter().any(|frame| frame.all.start == length);
        // A segment that ends between two frames looks whole; the next one does not begin where it should.
        let file = if whole { "0000000000000002.seg" } else { "0000000000000001.seg" };
        let named = text.contains(file) && text.contains("at byte") && text.contains("fsck");
        assert!(matches!(refused, Error::Corrupt(_)) && named, "{length} bytes: {text}");
    }
    assert!(all_there(&first, &bytes, &options, clock).await);
}

async fn all_there(first: &Path, bytes: &[u8], options: &Options, clock: Arc<ManualClock>) -> bool {
    std::fs::write(first, bytes).unwrap();
    let store = Store::open(options, clock).unwrap();
    let alice = store.account_by_key("alice@example.test").await.unwrap().unwrap().id;
    store.mailbox_by_name(alice, "INBOX").await.unwrap().total == 6
}
