//! Writing a pack: two passes over its segment, then a third that compares what was written.

use super::chunks::{Squeezer, short_hash};
use super::file::{Pack, failed};
use super::table::{Chunk, Codec, HEADER_BYTES, Header, Letter, Piece, Table, Trailer};
use super::{CHUNK_BYTES, SHARED_BYTES, pack_path, part_path, parts_folder};
use crate::log::{AppendFile, Disk, SegmentFile, blob_hash, gone_letter, is_gone, walk};
use crate::{Error, Result};
use db::Op;
use std::collections::HashSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Letters below this are compressed with the dictionary.
const SMALL_BYTES: usize = 32 << 10;
/// Fewer small letters than this teach a dictionary nothing.
const TEACHERS: usize = 100;
/// Letters a dictionary is trained on, spread over the segment, and what is taken of each.
const SAMPLES: usize = 4000;
const SAMPLE_BYTES: usize = 4096;
const DICTIONARY_BYTES: usize = 64 << 10;
/// Written to the file at once.
const BUFFER_BYTES: usize = 1 << 20;
/// Synced at once: a sync of the writer may have to wait for this one.
const SYNC_BYTES: usize = 4 << 20;

/// What a segment holds: the letters and whose they are.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    pub(crate) letters: Vec<Letter>,
    pub(crate) samples: Vec<Vec<u8>>,
    pub(crate) small: usize,
}

/// One pack to be made.
pub(crate) struct Work<'a> {
    pub(crate) disk: &'a dyn Disk,
    pub(crate) log: &'a Path,
    pub(crate) id: u64,
    pub(crate) generation: u32,
    pub(crate) source: &'a SegmentFile,
    /// Starts of letters nobody has any more.
    pub(crate) dead: HashSet<u64>,
    pub(crate) pace: Pace,
}

/// Tells how much the writer has written.
pub(crate) type Written = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Keeps the packer at half of one processor, and at a fifth while the writer is at work.
pub(crate) struct Pace {
    slow: bool,
    since: Instant,
    stop: Arc<AtomicBool>,
    written: Option<Written>,
    seen: u64,
}

impl Pace {
    pub(crate) fn new(slow: bool, stop: &Arc<AtomicBool>, written: Option<Written>) -> Self {
        let seen = written.as_ref().map_or(0, |written| written());
        Self { slow, since: Instant::now(), stop: stop.clone(), written, seen }
    }

    /// Called after each bit of work, some milliseconds at most. Ends the work when the store closes.
    pub(crate) fn breathe(&mut self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Error::Closed);
        }
        let worked = self.since.elapsed();
        if worked >= Duration::from_millis(10) {
            if self.slow {
                let written = self.written.as_ref().map_or(0, |written| written());
                let times = if written == self.seen { 1 } else { 4 };
                self.seen = written;
                std::thread::park_timeout((worked * times).min(Duration::from_millis(200)));
            }
            self.since = Instant::now();
        }
        Ok(())
    }
}

/// Reads a segment through; an error when it is not whole from first to last byte.
pub(crate) fn survey(source: &SegmentFile, id: u64, pace: &mut Pace) -> Result<Survey> {
    let mut found = Survey::default();
    let mut before = 0;
    let whole = walk(source, id, |frame, read, letter| {
        pace.breathe()?;
        let Some(blob) = read.blob else { return Ok(()) };
        let emails = email_adds(&read.ops)?.into_iter().map(|(email, ..)| email).collect();
        let gone = is_gone(letter, &frame.blob_hash, &source.key);
        let (start, bytes) = (blob.location.offset, blob.size_bytes);
        found.letters.push(Letter { start, bytes, before, gone, pieces: Vec::new(), emails });
        before += u64::from(bytes);
        if !gone && (64..SMALL_BYTES).contains(&letter.len()) {
            found.sample(letter);
        }
        Ok(())
    })?;
    if whole { Ok(found) } else { Err(damaged(id)) }
}

impl Survey {
    /// Keeps a spread of the letters: when there are too many, every second one is let go.
    fn sample(&mut self, letter: &[u8]) {
        let step = (self.small / SAMPLES).next_power_of_two();
        if self.small.is_multiple_of(step) {
            self.samples.push(letter.get(..SAMPLE_BYTES).unwrap_or(letter).to_vec());
        }
        self.small += 1;
    }

    fn dictionary(&self) -> Option<Vec<u8>> {
        if self.samples.len() < TEACHERS {
            return None;
        }
        // Samples that are all alike can fail to train; then there is nothing to gain either.
        zstd::dict::from_samples(&self.samples, DICTIONARY_BYTES).ok()
    }
}

/// Makes the pack, durable under its name. On an error nothing of it is left.
pub(crate) fn write(work: &mut Work<'_>, survey: Survey) -> Result<Pack> {
    let path = pack_path(work.log, work.id, work.generation);
    let temporary = path.with_extension("pack.tmp");
    let made = write_temporary(work, survey, &temporary)
        .and_then(|()| compare(work, &temporary))
        .and_then(|()| {
            let renamed = work.disk.rename(&temporary, &path);
            renamed
                .and_then(|()| work.disk.sync_folder(work.log))
                .map_err(|e| failed("could not name", &path, &e))
        });
    if made.is_err() && std::fs::remove_file(&temporary).is_err() {
        tracing::debug!(path = %temporary.display(), "no half-made pack to remove");
    }
    made?;
    Pack::open(&path)
}

fn write_temporary(work: &mut Work<'_>, mut survey: Survey, path: &Path) -> Result<()> {
    let raw_bytes = work.source.length()?;
    let header = Header { segment: work.id, generation: work.generation, raw_bytes };
    let dictionary = survey.dictionary();
    survey.samples = Vec::new();
    let mut squeezer = squeezer(dictionary.as_deref(), path)?;
    let mut out = Output::begin(work.disk, path, header)?;
    if let Some(dictionary) = &dictionary {
        let (codec, stored) = squeezer.squeeze(dictionary, false).map_err(|e| unable(path, &e))?;
        out.chunk(codec, dictionary.len(), &stored)?;
    }
    let mut letters = survey.letters.into_iter();
    let mut rest = Rest::default();
    let mut head = [0; 128];
    work.source.read(&mut head, 0)?;
    rest.add(&head, &mut squeezer, path)?;
    let (source, id, log) = (work.source, work.id, work.log);
    let mut done = Vec::new();
    let mut shared = false;
    let whole = walk(source, id, |frame, read, bytes| {
        work.pace.breathe()?;
        let mut header = [0; 64];
        source.read(&mut header, read.after.end.offset - frame.total_bytes())?;
        rest.add(&header, &mut squeezer, path)?;
        rest.add(&read.ops, &mut squeezer, path)?;
        if read.blob.is_none() {
            return Ok(());
        }
        let mut letter = letters.next().ok_or_else(|| damaged(id))?;
        let given_up;
        let mut bytes = bytes;
        if work.dead.contains(&letter.start)
            && !letter.gone
            && let Some(mark) = gone_letter(bytes.len(), &frame.blob_hash, &source.key)
        {
            given_up = mark;
            bytes = &given_up;
            letter.gone = true;
        }
        let ranges = if letter.gone { Vec::new() } else { bodies(&read.ops, bytes.len())? };
        let mut at = 0;
        let end = bytes.len()..bytes.len();
        for body in ranges.into_iter().chain(std::iter::once(end)) {
            let between = bytes.get(at..body.start).unwrap_or_default();
            let small = bytes.len() < SMALL_BYTES;
            out.pieces(between, small, &mut squeezer, &mut letter.pieces, &mut work.pace)?;
            let part = bytes.get(body.clone()).unwrap_or_default();
            if !part.is_empty() {
                letter.pieces.push(share(work.disk, log, part, &mut work.pace)?);
                shared = true;
            }
            at = body.end;
        }
        done.push(letter);
        Ok(())
    })?;
    if !whole {
        return Err(damaged(id));
    }
    if shared {
        let parts = parts_folder(log);
        let synced = work.disk.sync_folder(&parts);
        synced.map_err(|e| failed("could not sync", &parts, &e))?;
    }
    let first_rest = u32::try_from(out.chunks.len()).unwrap_or(u32::MAX);
    for (codec, raw, stored) in rest.finish(&mut squeezer, path)? {
        out.chunk(codec, raw, &stored)?;
    }
    out.finish(raw_bytes, dictionary.is_some(), first_rest, done)
}

/// Reads the pack just written back from the disk and compares it with what it replaces.
fn compare(work: &mut Work<'_>, path: &Path) -> Result<()> {
    let wrong = |what: Error| match what {
        Error::Corrupt(what) => {
            Error::Corrupt(format!("the pack just written, {}: {what}", path.display()))
        }
        other => other,
    };
    let pack = Pack::open(path).map_err(wrong)?;
    // What is only in memory proves nothing. Where this is not heeded, nothing is lost but the proof.
    if rustix::fs::fadvise(pack.file(), 0, None, rustix::fs::Advice::DontNeed).is_err() {
        tracing::debug!("the pack is read back from memory");
    }
    let pack = SegmentFile::over(pack, work.id)?;
    same(&pack, work.source, work.id, &mut work.pace).map_err(wrong)
}

/// Whether every frame of a pack is good, and every byte that of `source`, but for letters that were given up.
pub(crate) fn same(
    pack: &SegmentFile,
    source: &SegmentFile,
    id: u64,
    pace: &mut Pace,
) -> Result<()> {
    let differs = || Error::Corrupt(format!("segment {id:x} and its pack, which differ,"));
    let length = source.length()?;
    if pack.length()? != length || !walk(pack, id, |_, _, _| pace.breathe())? {
        return Err(differs());
    }
    let letters = pack.pack().map_or(&[][..], |pack| &pack.table.letters);
    let given_up = |letter: &&Letter| letter.gone;
    let mut given_up = letters.iter().filter(given_up).peekable();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < length {
        pace.breathe()?;
        if let Some(letter) = given_up.next_if(|letter| letter.start == at) {
            at += u64::from(letter.bytes);
            continue;
        }
        let stop = given_up.peek().map_or(length, |letter| letter.start);
        let count = usize::try_from(stop - at).unwrap_or(usize::MAX).min(BUFFER_BYTES);
        ours.resize(count, 0);
        theirs.resize(count, 0);
        let read = pack.read(&mut ours, at)? && source.read(&mut theirs, at)?;
        if !read || ours != theirs {
            return Err(differs());
        }
        at += count as u64;
    }
    Ok(())
}

/// Keeps the body of a part in its own file, if it is not there yet.
fn share(disk: &dyn Disk, log: &Path, body: &[u8], pace: &mut Pace) -> Result<Piece> {
    let folder = parts_folder(log);
    let hash = *blake3::hash(body).as_bytes();
    let bytes = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let path = part_path(&folder, &hash);
    // One that is damaged is written again: all letters that have it are whole then.
    if path.exists() && is_body(&path, body) {
        return Ok(Piece::Part(hash, bytes));
    }
    disk.make_folder(&folder)
        .and_then(|()| disk.sync_folder(log))
        .map_err(|e| failed("could not make", &folder, &e))?;
    let temporary = path.with_extension("part.tmp");
    let header = Header { segment: 0, generation: 0, raw_bytes: bytes.into() };
    let made = Output::begin(disk, &temporary, header).and_then(|mut out| {
        let mut letter = Letter { bytes, ..Letter::default() };
        let mut squeezer = squeezer(None, &temporary)?;
        out.pieces(body, false, &mut squeezer, &mut letter.pieces, pace)?;
        let first_rest = u32::try_from(out.chunks.len()).unwrap_or(u32::MAX);
        out.finish(bytes.into(), false, first_rest, vec![letter])?;
        disk.rename(&temporary, &path).map_err(|e| failed("could not name", &path, &e))
    });
    if made.is_err() && std::fs::remove_file(&temporary).is_err() {
        tracing::debug!(path = %temporary.display(), "no half-made part to remove");
    }
    made.map(|()| Piece::Part(hash, bytes))
}

fn is_body(path: &Path, body: &[u8]) -> bool {
    let mut found = vec![0; body.len()];
    let read = Pack::open(path).and_then(|part| part.read(&mut found, 0));
    matches!(read, Ok(true)) && found == body
}

/// The large bodies in a letter, ascending, without overlap.
fn bodies(ops: &[u8], length: usize) -> Result<Vec<Range<usize>>> {
    let mut tables = email_adds(ops)?;
    // Copies of one letter have the same table; letters that came together each have their own.
    tables.dedup_by_key(|(_, start, _)| *start);
    let mut found: Vec<Range<usize>> = tables
        .iter()
        .filter_map(|(_, start, table)| Some((*start, mparser::Index::decode(table).ok()?)))
        .flat_map(|(start, index)| index.parts.into_iter().map(move |part| (start, part)))
        .filter(|(_, part)| part.kind == mparser::PartKind::Leaf)
        .filter(|(_, part)| part.body.end.saturating_sub(part.body.start) >= SHARED_BYTES)
        .map(|(start, part)| start + part.body.start as usize..start + part.body.end as usize)
        .filter(|body| body.end <= length)
        .collect();
    found.sort_unstable_by_key(|body| body.start);
    let mut end = 0;
    found.retain(|body| {
        let free = body.start >= end;
        end = if free { body.end } else { end };
        free
    });
    Ok(found)
}

/// Of each email of a frame: its id, where in the frame's letter it begins, its part table.
fn email_adds(mut ops: &[u8]) -> Result<Vec<(u64, usize, Vec<u8>)>> {
    let mut found = Vec::new();
    while !ops.is_empty() {
        let op =
            Op::decode(&mut ops).map_err(|e| Error::Corrupt(format!("ops of a frame: {e}")))?;
        if let Op::EmailAdd { email, index, part, .. } = op {
            let start = part.map_or(0, |part| part.offset_bytes as usize);
            found.push((email.0, start, index));
        }
    }
    Ok(found)
}

/// What is not letters, compressed in chunks of one length.
#[derive(Default)]
struct Rest {
    open: Vec<u8>,
    chunks: Vec<(Codec, usize, Vec<u8>)>,
}

impl Rest {
    fn add(&mut self, bytes: &[u8], squeezer: &mut Squeezer, path: &Path) -> Result<()> {
        self.open.extend_from_slice(bytes);
        while self.open.len() >= CHUNK_BYTES {
            let later = self.open.split_off(CHUNK_BYTES);
            let full = std::mem::replace(&mut self.open, later);
            let (codec, stored) = squeezer.squeeze(&full, false).map_err(|e| unable(path, &e))?;
            self.chunks.push((codec, full.len(), stored));
        }
        Ok(())
    }

    fn finish(
        mut self,
        squeezer: &mut Squeezer,
        path: &Path,
    ) -> Result<Vec<(Codec, usize, Vec<u8>)>> {
        if !self.open.is_empty() {
            let last = squeezer.squeeze(&self.open, false).map_err(|e| unable(path, &e))?;
            self.chunks.push((last.0, self.open.len(), last.1));
        }
        Ok(self.chunks)
    }
}

/// A pack being written.
struct Output {
    file: Box<dyn AppendFile>,
    path: PathBuf,
    header: [u8; 64],
    buffer: Vec<u8>,
    unsynced: usize,
    offset: u64,
    chunks: Vec<Chunk>,
}

impl Output {
    fn begin(disk: &dyn Disk, path: &Path, header: Header) -> Result<Self> {
        // What an earlier try left.
        if path.exists() {
            disk.remove(path).map_err(|e| failed("could not remove", path, &e))?;
        }
        let file = disk.create(path).map_err(|e| failed("could not make", path, &e))?;
        let header = header.encode();
        let (path, buffer) = (path.to_owned(), header.to_vec());
        let (offset, chunks) = (HEADER_BYTES, Vec::new());
        Ok(Self { file, path, header, buffer, unsynced: 0, offset, chunks })
    }

    fn pieces(
        &mut self,
        bytes: &[u8],
        small: bool,
        squeezer: &mut Squeezer,
        pieces: &mut Vec<Piece>,
        pace: &mut Pace,
    ) -> Result<()> {
        for raw in bytes.chunks(CHUNK_BYTES) {
            pace.breathe()?;
            let (codec, stored) =
                squeezer.squeeze(raw, small).map_err(|e| unable(&self.path, &e))?;
            pieces.push(Piece::Chunk(self.chunk(codec, raw.len(), &stored)?));
        }
        Ok(())
    }

    fn chunk(&mut self, codec: Codec, raw: usize, stored: &[u8]) -> Result<u32> {
        let short = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let at = short(self.chunks.len());
        self.chunks.push(Chunk {
            codec,
            offset: self.offset,
            stored_bytes: short(stored.len()),
            raw_bytes: short(raw),
            hash: short_hash(stored),
        });
        self.offset += stored.len() as u64;
        self.buffer.extend_from_slice(stored);
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        Ok(at)
    }

    fn flush(&mut self) -> Result<()> {
        let written = self.file.append(&self.buffer);
        self.unsynced += self.buffer.len();
        self.buffer.clear();
        written.map_err(|e| failed("could not write", &self.path, &e))?;
        if self.unsynced >= SYNC_BYTES {
            self.sync()?;
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        self.unsynced = 0;
        self.file.sync().map_err(|e| failed("could not sync", &self.path, &e))
    }

    fn finish(
        mut self,
        raw_bytes: u64,
        has_dictionary: bool,
        first_rest: u32,
        letters: Vec<Letter>,
    ) -> Result<()> {
        let chunks = std::mem::take(&mut self.chunks);
        let raw = Table { raw_bytes, has_dictionary, chunks, first_rest, letters }.encode();
        let stored = zstd::bulk::compress(&raw, 3).map_err(|e| unable(&self.path, &e))?;
        let trailer = Trailer {
            table_offset: self.offset,
            stored_bytes: u32::try_from(stored.len()).unwrap_or(u32::MAX),
            raw_bytes: u32::try_from(raw.len()).unwrap_or(u32::MAX),
            table_hash: blob_hash(&stored),
        };
        self.buffer.extend_from_slice(&stored);
        self.buffer.extend_from_slice(&trailer.encode(&self.header));
        self.flush()?;
        self.sync()
    }
}

fn squeezer(dictionary: Option<&[u8]>, path: &Path) -> Result<Squeezer> {
    Squeezer::new(dictionary).map_err(|e| unable(path, &e))
}

fn unable(path: &Path, error: &std::io::Error) -> Error {
    failed("could not compress for", path, error)
}

fn damaged(id: u64) -> Error {
    Error::Corrupt(format!("segment {id:x} of the log, which was to be packed"))
}
