//! Reads a log frame by frame, past damage: what [`crate::log::replay`] refuses to do.
//!
//! Never changes a file. Behind a bad frame the next good one is found by its magic and its keyed hash; a
//! single flipped bit, the commonest damage of all, is found by trying each one. A segment is read from its own
//! file or from the pack that stands in for it, and nobody above sees which.

use super::{Doing, Progress};
use crate::log::{Frame, blob_hash, is_gone};
use crate::pack::{Fault, Pack, PackHeader, pack_name, pack_names, pack_path};
use crate::{Error, Result};
use db::{BlobRef, Location, Position};
use memchr::memmem;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

pub(crate) const HEADER_BYTES: u64 = 128;
const FRAME_HEADER: usize = 64;
/// Letters and ops up to here are searched for one flipped bit: the time grows with the square, 32 KiB take
/// about five seconds.
const CORRECT_BYTES: usize = 32 << 10;
/// Read at once when looking for the next good frame.
const WINDOW_BYTES: usize = 1 << 20;
/// A server that packs meanwhile takes a file away between two looks; more often than this it does not.
const TRIES: usize = 5;

/// What stands in the first 128 bytes of a segment.
#[derive(Debug, Clone)]
pub(crate) struct Header {
    pub(crate) first_lsn: u64,
    pub(crate) created_unix_ms: i64,
    pub(crate) key: [u8; 32],
    pub(crate) bytes: [u8; 128],
}

/// A segment, read as it is.
pub(crate) struct Segment {
    pub(crate) id: u64,
    /// Of its file, or of the pack.
    pub(crate) path: PathBuf,
    /// Of the segment, also where a pack of it is shorter.
    pub(crate) length: u64,
    pub(crate) header: Header,
    /// The header was put right in memory: a flipped bit, or damage beside the key.
    pub(crate) header_corrected: bool,
    bytes: Bytes,
}

/// Where the bytes of a segment come from.
enum Bytes {
    File(File),
    Pack(Box<Pack>),
}

/// How a frame that is handed out has fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Good,
    /// One bit was wrong; this is how it was written.
    Corrected,
    /// The ops are good, the letter is not.
    LetterDamaged,
}

/// A frame whose ops can be trusted.
pub(crate) struct Found<'a> {
    pub(crate) frame: Frame,
    pub(crate) at: Location,
    pub(crate) after: Position,
    pub(crate) blob: Option<BlobRef>,
    pub(crate) letter: &'a [u8],
    pub(crate) ops: &'a [u8],
    /// The letter was given up: nobody had it any more, and its mark stands in its place.
    pub(crate) gone: bool,
    pub(crate) state: State,
    pub(crate) segment: &'a Segment,
}

impl Found<'_> {
    /// The frame as its writer wrote it.
    pub(crate) fn raw(&self) -> Vec<u8> {
        let header = self.frame.header(self.ops, &self.segment.header.key);
        [&header[..], self.letter, self.ops].concat()
    }

    /// When it was written; of the first builds, when its segment was made.
    pub(crate) fn unix_s(&self) -> i64 {
        let made_s = self.segment.header.created_unix_ms.div_euclid(1000);
        made_s.saturating_add(self.frame.after_s.into())
    }

    pub(crate) fn ops(&self) -> Result<Vec<db::Op>> {
        decode_ops(self.ops)
            .map_err(|e| Error::Corrupt(format!("frame {} of the log: {e}", self.frame.lsn)))
    }
}

pub(crate) fn decode_ops(mut bytes: &[u8]) -> std::result::Result<Vec<db::Op>, db::DecodeError> {
    let mut ops = Vec::new();
    while !bytes.is_empty() {
        ops.push(db::Op::decode(&mut bytes)?);
    }
    Ok(ops)
}

/// Bytes of a segment that are not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Damage {
    pub(crate) segment: u64,
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// Frames that cannot be read; none when the second is below the first.
    pub(crate) lost: (u64, u64),
    /// The frame is handed out next, put right or with its letter marked as damaged.
    pub(crate) state: Option<State>,
}

/// What a scan comes across, in the order of the log.
pub(crate) enum Event<'a> {
    Frame(Found<'a>),
    Damage(Damage),
    /// Bytes at the end that nobody was told are safe, as a power cut leaves them.
    Torn {
        at: Location,
        bytes: u64,
    },
    /// These segments are not there.
    Missing {
        first: u64,
        last: u64,
    },
    /// The header of a segment is damaged; without it none of its frames can be checked.
    Unreadable {
        id: u64,
        path: PathBuf,
        bytes: u64,
    },
    /// The header of a segment was wrong, and what it was is known.
    HeaderCorrected {
        id: u64,
    },
    /// Bytes of a pack are not those that were written. What that does to frames and letters is told too.
    Pack {
        segment: u64,
        fault: Fault,
    },
}

/// What to do after an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    On,
    Stop,
}

type Visit<'v> = dyn FnMut(Event<'_>) -> Result<Flow> + 'v;

/// The numbers of the segments in a log folder, packed ones too, ascending.
pub(crate) fn segment_ids(log: &Path) -> Result<Vec<u64>> {
    let failed = |e: std::io::Error| io_error("could not list the log folder", log, &e);
    let mut ids = BTreeSet::new();
    for entry in std::fs::read_dir(log).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let Some(name) = name.to_str() else { continue };
        let id = name.strip_suffix(".seg").filter(|id| id.len() == 16);
        ids.extend(id.and_then(|id| u64::from_str_radix(id, 16).ok()));
        ids.extend(pack_name(name).map(|(id, _)| id));
    }
    Ok(ids.into_iter().collect())
}

pub(crate) fn segment_path(log: &Path, id: u64) -> PathBuf {
    log.join(format!("{id:016x}.seg"))
}

pub(crate) fn io_error(what: &'static str, path: &Path, error: &std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Error::DiskFull,
        _ => Error::Io { what, path: path.to_owned(), reason: error.to_string() },
    }
}

/// Bytes of all segments together, as they are when unpacked.
pub(crate) fn log_bytes(log: &Path) -> Result<u64> {
    segment_ids(log)?.into_iter().map(|id| segment_bytes(log, id)).sum()
}

/// Length of a segment, also of a packed one; 0 when nobody can say.
pub(crate) fn segment_bytes(log: &Path, id: u64) -> Result<u64> {
    let path = segment_path(log, id);
    match std::fs::metadata(&path) {
        Ok(metadata) => return Ok(metadata.len()),
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(e) => return Err(io_error("could not look at", &path, &e)),
    }
    let mut head = [0; 64];
    for generation in packs_of(log, id)? {
        let read = File::open(pack_path(log, id, generation))
            .and_then(|file| file.read_exact_at(&mut head, 0));
        if let Some(header) = PackHeader::decode(&head).filter(|_| read.is_ok()) {
            return Ok(header.raw_bytes);
        }
    }
    Ok(0)
}

fn packs_of(log: &Path, id: u64) -> Result<Vec<u32>> {
    pack_names(log, id).map_err(|e| io_error("could not list the log folder", log, &e))
}

/// All files there are of a segment: its own, and its packs.
pub(crate) fn files_of(log: &Path, id: u64) -> Result<Vec<PathBuf>> {
    let mut files: Vec<_> =
        packs_of(log, id)?.into_iter().map(|generation| pack_path(log, id, generation)).collect();
    files.push(segment_path(log, id));
    files.retain(|path| path.exists());
    Ok(files)
}

/// Goes through all segments of a log. `durable_lsn`: a frame up to this one had been durable, whatever the
/// log itself proves. Gives back the position after the last frame handed out.
pub(crate) fn scan(
    log: &Path,
    durable_lsn: u64,
    progress: Progress<'_>,
    visit: &mut Visit<'_>,
) -> Result<Option<Position>> {
    let ids = segment_ids(log)?;
    let total = log_bytes(log)?;
    let (mut done, mut next_lsn, mut end) = (0, 1, None);
    let mut expected = 1;
    for (n, id) in ids.iter().copied().enumerate() {
        let last = n + 1 == ids.len();
        if id != expected && visit(Event::Missing { first: expected, last: id - 1 })? == Flow::Stop
        {
            return Ok(end);
        }
        expected = id + 1;
        let Some(segment) = Segment::find(log, id)? else {
            let path = files_of(log, id)?.into_iter().next();
            let path = path.unwrap_or_else(|| segment_path(log, id));
            let bytes = std::fs::metadata(&path).map_or(0, |m| m.len());
            // What a crash leaves that came before the header was durable.
            let event = if last && bytes <= HEADER_BYTES {
                Event::Torn { at: Location { segment: id, offset: 0 }, bytes }
            } else {
                Event::Unreadable { id, path, bytes }
            };
            if visit(event)? == Flow::Stop {
                return Ok(end);
            }
            done += bytes;
            continue;
        };
        if segment.header_corrected && visit(Event::HeaderCorrected { id })? == Flow::Stop {
            return Ok(end);
        }
        let first = segment.header.first_lsn;
        if next_lsn < first {
            let (segment, lost) = (id, (next_lsn, first - 1));
            let gap = Damage { segment, from: HEADER_BYTES, to: HEADER_BYTES, lost, state: None };
            if visit(Event::Damage(gap))? == Flow::Stop {
                return Ok(end);
            }
        }
        // A pack is whole to its last byte: it has no end that could be torn.
        let last = last && segment.pack().is_none();
        let before = done;
        let mut tell = |offset: u64| progress(Doing::Reading, before + offset, total);
        let mut walk =
            Walk { segment: &segment, last, durable_lsn, next_lsn: first, end: None, visit };
        let flow = walk.run(&mut tell)?;
        (next_lsn, end) = (walk.next_lsn, walk.end.or(end));
        if flow == Flow::Stop {
            return Ok(end);
        }
        done += segment.length;
    }
    progress(Doing::Reading, total, total);
    Ok(end)
}

/// Goes through one segment. `last`: its end may be torn.
pub(crate) fn scan_segment(
    segment: &Segment,
    last: bool,
    visit: &mut Visit<'_>,
) -> Result<Option<Position>> {
    let next_lsn = segment.header.first_lsn;
    let mut walk = Walk { segment, last, durable_lsn: 0, next_lsn, end: None, visit };
    walk.run(&mut |_| {})?;
    Ok(walk.end)
}

impl Segment {
    /// The pack of a segment when there is one that is whole, else its own file, else a damaged pack. `None`: its
    /// header, or the table of its pack, is damaged beyond one bit.
    pub(crate) fn find(log: &Path, id: u64) -> Result<Option<Self>> {
        let mut tries = 0;
        loop {
            tries += 1;
            match Self::find_now(log, id) {
                // A server that runs has packed it, or packed it again, since the folder was listed.
                Err(Error::Io { .. }) if tries < TRIES => {}
                found => return found,
            }
        }
    }

    fn find_now(log: &Path, id: u64) -> Result<Option<Self>> {
        let packs = packs_of(log, id)?;
        let plain = segment_path(log, id);
        for generation in &packs {
            match Pack::open(&pack_path(log, id, *generation)) {
                Ok(pack) => return Self::of_pack(pack.leniently(), id),
                Err(Error::Corrupt(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let Some(newest) = packs.first().filter(|_| !plain.exists()) else {
            return Self::open(&plain, id);
        };
        match Pack::open_leniently(&pack_path(log, id, *newest))? {
            Some(pack) => Self::of_pack(pack, id),
            None => Ok(None),
        }
    }

    /// A file of a segment, or a pack, whatever its name. `None`: as in [`Segment::find`].
    pub(crate) fn open(path: &Path, id: u64) -> Result<Option<Self>> {
        let failed = |e: std::io::Error| io_error("could not open", path, &e);
        let file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        Self::with(Bytes::File(file), path.to_owned(), length, id)
    }

    pub(crate) fn of_pack(pack: Pack, id: u64) -> Result<Option<Self>> {
        let (path, length) = (pack.path().to_owned(), pack.table.raw_bytes);
        Self::with(Bytes::Pack(Box::new(pack)), path, length, id)
    }

    fn with(source: Bytes, path: PathBuf, length: u64, id: u64) -> Result<Option<Self>> {
        let mut bytes = [0; 128];
        if !source.read(&mut bytes, 0, &path)? {
            return Ok(None);
        }
        let whole = Header::parse(&bytes, id);
        let header_corrected = whole.is_none();
        let fits = |bytes: &[u8]| {
            bytes.first_chunk().is_some_and(|bytes| Header::parse(bytes, id).is_some())
        };
        let trusted = whole.is_some() || correct_one_bit(&mut bytes, 0..128, fits);
        let header = Header::parse(&bytes, id).unwrap_or_else(|| Header::guess(&bytes));
        let mut segment = Self { id, path, length, header, header_corrected, bytes: source };
        if trusted {
            return Ok(Some(segment));
        }
        // Damage beside the key: the first frame, which is checked with the key, tells.
        let Look::Good(frame) = look(&segment, HEADER_BYTES, &mut Vec::new())? else {
            return Ok(None);
        };
        segment.header.first_lsn = frame.lsn;
        segment.header.write(id);
        Ok(Some(segment))
    }

    /// Its file, or that of its pack.
    pub(crate) fn file(&self) -> &File {
        match &self.bytes {
            Bytes::File(file) => file,
            Bytes::Pack(pack) => pack.file(),
        }
    }

    pub(crate) fn pack(&self) -> Option<&Pack> {
        match &self.bytes {
            Bytes::File(_) => None,
            Bytes::Pack(pack) => Some(pack),
        }
    }

    /// Fills `bytes` from `offset` on; `false` when the segment ends before.
    pub(crate) fn read(&self, bytes: &mut [u8], offset: u64) -> Result<bool> {
        self.bytes.read(bytes, offset, &self.path)
    }
}

impl Bytes {
    fn read(&self, bytes: &mut [u8], offset: u64, path: &Path) -> Result<bool> {
        let file = match self {
            Self::File(file) => file,
            Self::Pack(pack) => return pack.read(bytes, offset),
        };
        match file.read_exact_at(bytes, offset) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => Ok(false),
            Err(e) => Err(io_error("could not read", path, &e)),
        }
    }
}

impl Header {
    fn parse(bytes: &[u8; 128], id: u64) -> Option<Self> {
        let number = |at: usize| bytes.get(at..)?.first_chunk().map(|b| u64::from_le_bytes(*b));
        let whole = bytes[..4] == *b"OPSG"
            && blob_hash(&bytes[..64]) == bytes[64..80]
            && bytes[80..] == [0; 48];
        (whole && number(8)? == id).then_some(Self {
            first_lsn: number(16)?,
            created_unix_ms: number(24)?.cast_signed(),
            key: *bytes.get(32..)?.first_chunk()?,
            bytes: *bytes,
        })
    }
}

impl Header {
    /// Of a header whose hash does not fit: its key may still be right.
    fn guess(bytes: &[u8; 128]) -> Self {
        let created = bytes.get(24..).and_then(|b| b.first_chunk()).map(|b| i64::from_le_bytes(*b));
        let key = bytes.get(32..).and_then(|b| b.first_chunk()).copied().unwrap_or_default();
        Self { first_lsn: 0, created_unix_ms: created.unwrap_or(0), key, bytes: *bytes }
    }

    /// Makes the bytes say what the fields do.
    pub(crate) fn write(&mut self, id: u64) {
        let bytes = &mut self.bytes;
        *bytes = [0; 128];
        bytes[0..4].copy_from_slice(b"OPSG");
        bytes[4..8].copy_from_slice(&1_u32.to_le_bytes());
        bytes[8..16].copy_from_slice(&id.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first_lsn.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.created_unix_ms.to_le_bytes());
        bytes[32..64].copy_from_slice(&self.key);
        let hash = blob_hash(&bytes[..64]);
        bytes[64..80].copy_from_slice(&hash);
    }
}

/// Tries each bit in `range` of `bytes` until `fits`; leaves the bytes as they were when none does.
fn correct_one_bit(
    bytes: &mut [u8],
    range: std::ops::Range<usize>,
    fits: impl Fn(&[u8]) -> bool,
) -> bool {
    for at in range {
        for bit in 0..8 {
            let flip = |bytes: &mut [u8]| {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            };
            flip(bytes);
            if fits(bytes) {
                return true;
            }
            flip(bytes);
        }
    }
    false
}

/// What lies at an offset.
enum Look {
    Good(Frame),
    LetterDamaged(Frame),
    Bad,
}

/// One walk through a segment.
struct Walk<'a, 'v, 'w> {
    segment: &'a Segment,
    last: bool,
    durable_lsn: u64,
    next_lsn: u64,
    end: Option<Position>,
    visit: &'v mut Visit<'w>,
}

impl Walk<'_, '_, '_> {
    fn run(&mut self, tell: &mut dyn FnMut(u64)) -> Result<Flow> {
        let (mut at, mut body) = (HEADER_BYTES, Vec::new());
        self.end = Some(self.position(at));
        while at < self.segment.length {
            tell(at);
            let seen = look(self.segment, at, &mut body)?;
            if self.faults()? == Flow::Stop {
                return Ok(Flow::Stop);
            }
            let flow = match seen {
                Look::Good(frame) if frame.lsn >= self.next_lsn => {
                    self.gap(at, frame.lsn)?;
                    let flow = self.hand_out(frame, at, &body, State::Good)?;
                    at += frame.total_bytes();
                    flow
                }
                // An older frame again: bytes of another place in the log.
                Look::Good(frame) => {
                    let to = at + frame.total_bytes();
                    let flow = self.damage(at, to, (self.next_lsn, self.next_lsn - 1), None)?;
                    at = to;
                    flow
                }
                Look::LetterDamaged(frame) if frame.lsn == self.next_lsn => {
                    // In a pack single bits are put right where they lie.
                    let plain = self.segment.pack().is_none();
                    let corrected = plain && correct_letter(frame, &mut body);
                    let to = at + frame.total_bytes();
                    if !corrected && !self.was_durable(at)? {
                        return self.torn(at);
                    }
                    let state = if corrected { State::Corrected } else { State::LetterDamaged };
                    self.damage(at, to, (1, 0), Some(state))?;
                    let flow = self.hand_out(frame, at, &body, state)?;
                    at = to;
                    flow
                }
                Look::LetterDamaged(_) | Look::Bad => {
                    let Some((to, flow)) = self.past(at)? else {
                        return self.torn(at);
                    };
                    at = to;
                    flow
                }
            };
            if flow == Flow::Stop {
                return Ok(Flow::Stop);
            }
        }
        self.faults()
    }

    /// What was found bad in the pack by the way.
    fn faults(&mut self) -> Result<Flow> {
        let segment = self.segment.id;
        for fault in self.segment.pack().map(Pack::faults).unwrap_or_default() {
            if (self.visit)(Event::Pack { segment, fault })? == Flow::Stop {
                return Ok(Flow::Stop);
            }
        }
        Ok(Flow::On)
    }

    fn position(&self, offset: u64) -> Position {
        let end = Location { segment: self.segment.id, offset };
        Position { lsn: self.next_lsn.saturating_sub(1), end }
    }

    fn hand_out(&mut self, frame: Frame, at: u64, body: &[u8], state: State) -> Result<Flow> {
        self.next_lsn = frame.lsn + 1;
        let after = self.position(at + frame.total_bytes());
        self.end = Some(after);
        let split = usize::try_from(frame.blob_bytes).unwrap_or(usize::MAX);
        let (letter, ops) = body.split_at_checked(split).unwrap_or((&[], &[]));
        let at = Location { segment: self.segment.id, offset: at };
        let blob = (frame.blob_hash != [0; 16]).then(|| BlobRef {
            location: Location { offset: at.offset + Frame::HEADER_BYTES, ..at },
            size_bytes: frame.blob_bytes,
            hash: frame.blob_hash,
        });
        let segment = self.segment;
        let gone = is_gone(letter, &frame.blob_hash, &segment.header.key);
        let found = Found { frame, at, after, blob, letter, ops, gone, state, segment };
        (self.visit)(Event::Frame(found))
    }

    fn damage(
        &mut self,
        from: u64,
        to: u64,
        lost: (u64, u64),
        state: Option<State>,
    ) -> Result<Flow> {
        let segment = self.segment.id;
        (self.visit)(Event::Damage(Damage { segment, from, to, lost, state }))
    }

    /// Frames are missing before a good one, and no bytes.
    fn gap(&mut self, at: u64, lsn: u64) -> Result<()> {
        if lsn > self.next_lsn {
            self.damage(at, at, (self.next_lsn, lsn - 1), None)?;
        }
        Ok(())
    }

    fn torn(&mut self, at: u64) -> Result<Flow> {
        let bytes = self.segment.length - at;
        let at = Location { segment: self.segment.id, offset: at };
        (self.visit)(Event::Torn { at, bytes })
    }

    /// Past a bad frame: to the next good one, or the end. `None`: the end is torn.
    fn past(&mut self, at: u64) -> Result<Option<(u64, Flow)>> {
        let next = self.next_good(at + 1, |frame| frame.lsn > self.next_lsn)?;
        let to = next.map_or(self.segment.length, |(to, _)| to);
        if let Some((frame, body)) = self.correct_frame(at, to)? {
            self.damage(at, to, (1, 0), Some(State::Corrected))?;
            return Ok(Some((to, self.hand_out(frame, at, &body, State::Corrected)?)));
        }
        if !self.was_durable(at)? {
            return Ok(None);
        }
        // Behind the last good frame of a segment the next segment says how many are lost.
        let Some((_, frame)) = next else {
            return Ok(Some((to, self.damage(at, to, (1, 0), None)?)));
        };
        let flow = self.damage(at, to, (self.next_lsn, frame.lsn - 1), None)?;
        self.next_lsn = frame.lsn;
        Ok(Some((to, flow)))
    }

    /// Whether the frame at `at` had been durable, so that it is damaged and not torn.
    fn was_durable(&self, at: u64) -> Result<bool> {
        if !self.last || self.next_lsn <= self.durable_lsn {
            return Ok(true);
        }
        Ok(self.next_good(at + 1, |frame| frame.synced_lsn >= self.next_lsn)?.is_some())
    }

    /// The first good frame from `from` on that is `wanted`.
    fn next_good(
        &self,
        from: u64,
        wanted: impl Fn(&Frame) -> bool,
    ) -> Result<Option<(u64, Frame)>> {
        let (mut start, mut body) = (from, Vec::new());
        let mut window = vec![0; WINDOW_BYTES];
        while start < self.segment.length {
            let rest = usize::try_from(self.segment.length - start).unwrap_or(usize::MAX);
            window.truncate(rest);
            if !self.segment.read(&mut window, start)? {
                return Ok(None);
            }
            for found in memmem::find_iter(&window, &Frame::MAGIC) {
                let at = start + found as u64;
                if let Look::Good(frame) | Look::LetterDamaged(frame) =
                    look(self.segment, at, &mut body)?
                    && wanted(&frame)
                {
                    return Ok(Some((at, frame)));
                }
            }
            // A magic may lie across two windows.
            start += (window.len() as u64).saturating_sub(3).max(1);
            if window.len() == rest {
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// The one frame that fills `from..to`, when a single bit of its header or ops is wrong.
    fn correct_frame(&self, from: u64, to: u64) -> Result<Option<(Frame, Vec<u8>)>> {
        let bytes = to - from;
        if self.segment.pack().is_some() {
            return Ok(None);
        }
        if !(Frame::HEADER_BYTES..=Frame::HEADER_BYTES + (64 << 20)).contains(&bytes) {
            return Ok(None);
        }
        let mut whole = vec![0; usize::try_from(bytes).unwrap_or(0)];
        if !self.segment.read(&mut whole, from)? {
            return Ok(None);
        }
        let (key, lsn) = (&self.segment.header.key, self.next_lsn);
        let fits = |whole: &[u8]| verified(whole, key).is_some_and(|frame| frame.lsn == lsn);
        let end = whole.len();
        let mut done = correct_one_bit(&mut whole, 0..FRAME_HEADER, fits);
        if !done && let Some(frame) = whole.first_chunk().and_then(Frame::parse) {
            let ops = usize::try_from(frame.ops_bytes).unwrap_or(usize::MAX);
            done = ops <= CORRECT_BYTES
                && frame.total_bytes() == bytes
                && correct_one_bit(&mut whole, end - ops..end, fits);
        }
        let frame = whole.first_chunk().and_then(Frame::parse);
        Ok(frame.filter(|_| done).map(|frame| (frame, whole.split_off(FRAME_HEADER))))
    }
}

/// The frame that `whole` is from first to last byte, when all its hashes fit.
fn verified(whole: &[u8], key: &[u8; 32]) -> Option<Frame> {
    let (header, body) = whole.split_first_chunk::<FRAME_HEADER>()?;
    let frame = Frame::parse(header)?;
    if frame.total_bytes() != whole.len() as u64 {
        return None;
    }
    let (letter, ops) = body.split_at_checked(usize::try_from(frame.blob_bytes).ok()?)?;
    (frame.header(ops, key) == *header && letter_fits(&frame, letter, key)).then_some(frame)
}

fn letter_fits(frame: &Frame, letter: &[u8], key: &[u8; 32]) -> bool {
    letter.is_empty() && frame.blob_hash == [0; 16]
        || blob_hash(letter) == frame.blob_hash
        || is_gone(letter, &frame.blob_hash, key)
}

/// Letter and ops of the frame at `at` go to `body`.
fn look(segment: &Segment, at: u64, body: &mut Vec<u8>) -> Result<Look> {
    let mut header = [0; FRAME_HEADER];
    if !segment.read(&mut header, at)? {
        return Ok(Look::Bad);
    }
    let Some(frame) = Frame::parse(&header) else {
        return Ok(Look::Bad);
    };
    if at + frame.total_bytes() > segment.length {
        return Ok(Look::Bad);
    }
    body.resize(usize::try_from(frame.total_bytes() - Frame::HEADER_BYTES).unwrap_or(0), 0);
    if !segment.read(body, at + Frame::HEADER_BYTES)? {
        return Ok(Look::Bad);
    }
    let split = usize::try_from(frame.blob_bytes).unwrap_or(usize::MAX);
    let Some((letter, ops)) = body.split_at_checked(split) else {
        return Ok(Look::Bad);
    };
    if frame.header(ops, &segment.header.key) != header {
        return Ok(Look::Bad);
    }
    let fits = letter_fits(&frame, letter, &segment.header.key);
    Ok(if fits { Look::Good(frame) } else { Look::LetterDamaged(frame) })
}

fn correct_letter(frame: Frame, body: &mut [u8]) -> bool {
    let length = usize::try_from(frame.blob_bytes).unwrap_or(usize::MAX);
    let Some(letter) = body.get_mut(..length).filter(|letter| letter.len() <= CORRECT_BYTES) else {
        return false;
    };
    correct_one_bit(letter, 0..length, |letter| blob_hash(letter) == frame.blob_hash)
}
