//! A pack open for reading: gives the bytes of its segment.
//!
//! The store reads strictly: a byte that is not what was written is an error. The tools read on: what cannot be
//! read is looked for in another file of the same segment, put right when one bit is wrong, or given as
//! zeros, and each such place is noted as a [`Fault`].

use super::chunks::{Unpacker, short_hash};
use super::table::{HEADER_BYTES, Header, Letter, Piece, TRAILER_BYTES, Table, Trailer};
use super::{pack_name, pack_names, pack_path, part_path, parts_folder};
use crate::log::blob_hash;
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::ErrorKind;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Stored bytes up to here are searched for one flipped bit: the time grows with the square, 64 KiB take some
/// twenty seconds.
const CORRECT_BYTES: usize = 64 << 10;

/// A place of a pack whose bytes are not those that were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) path: PathBuf,
    /// Of the file.
    pub(crate) bytes: Range<u64>,
    /// `table`, `dictionary`, …
    pub(crate) what: &'static str,
    /// What was written is known all the same.
    pub(crate) put_right: bool,
}

/// A pack whose header, table and trailer are whole.
pub(crate) struct Pack {
    file: File,
    path: PathBuf,
    pub(crate) header: Header,
    pub(crate) table: Table,
    pub(crate) file_bytes: u64,
    unpacker: Unpacker,
    /// The chunks read last, of letters and of the rest: frames and ranges follow each other.
    last: [LastChunk; 2],
    /// The body read last.
    last_part: Mutex<Option<([u8; 32], Arc<Pack>)>>,
    /// `None`: read strictly.
    lenient: Option<Mutex<Lenient>>,
}

type LastChunk = Mutex<Option<(u32, Arc<Vec<u8>>)>>;

/// Of a body.
const MISSING: &str = "all: it is missing";

#[derive(Default)]
struct Lenient {
    /// Not yet asked for.
    faults: Vec<Fault>,
    bad_chunks: BTreeSet<u32>,
    bad_parts: BTreeSet<[u8; 32]>,
    /// A bad place was read since this was last `false`.
    touched: bool,
}

/// What header, table and trailer say.
type Frame = (Header, Table);

impl Pack {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let (file, file_bytes) = open_file(path)?;
        let damaged = |what: &str, at: u64| {
            Error::Corrupt(format!("{} at byte {at} (its {what})", path.display()))
        };
        let (head, trailer_at, tail) = ends(&file, file_bytes, path)?;
        let header = Header::decode(&head).filter(|header| header.fits(path));
        let header = header.ok_or_else(|| damaged("header", 0))?;
        let trailer = Trailer::decode(&tail, &head).filter(|t| t.ends_at(trailer_at));
        let trailer = trailer.ok_or_else(|| damaged("trailer", trailer_at))?;
        let stored = stored_table(&file, &trailer, path)?;
        let table = unpack_table(&stored, &trailer, Some(header.raw_bytes));
        let table = table.ok_or_else(|| damaged("table", trailer.table_offset))?;
        let mut pack = Self::with((file, file_bytes), path, (header, table));
        pack.load_dictionary()?;
        Ok(pack)
    }

    /// For the tools. `None`: header, table and trailer are damaged too much.
    pub(crate) fn open_leniently(path: &Path) -> Result<Option<Self>> {
        let (file, file_bytes) = open_file(path)?;
        let mut faults = Vec::new();
        let frame = match ends(&file, file_bytes, path) {
            Ok(ends) => repaired_frame(&file, ends, path, &mut faults),
            Err(Error::Corrupt(_)) => None,
            Err(error) => return Err(error),
        };
        let Some(frame) = frame else { return Ok(None) };
        let mut pack = Self::with((file, file_bytes), path, frame);
        pack.lenient = Some(Mutex::new(Lenient { faults, ..Lenient::default() }));
        pack.load_dictionary()?;
        Ok(Some(pack))
    }

    /// The same pack, read on past damage.
    pub(crate) fn leniently(self) -> Self {
        Self { lenient: Some(Mutex::default()), last_part: Mutex::default(), ..self }
    }

    fn with((file, file_bytes): (File, u64), path: &Path, (header, table): Frame) -> Self {
        Self {
            file,
            path: path.to_owned(),
            header,
            table,
            file_bytes,
            unpacker: Unpacker::new(None),
            last: Default::default(),
            last_part: Mutex::default(),
            lenient: None,
        }
    }

    fn load_dictionary(&mut self) -> Result<()> {
        if self.table.has_dictionary {
            let dictionary = self.chunk(0)?;
            self.unpacker = Unpacker::new(Some(dictionary.to_vec()));
        }
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// What was found bad since the last call.
    pub(crate) fn faults(&self) -> Vec<Fault> {
        self.lenient().map(|mut lenient| std::mem::take(&mut lenient.faults)).unwrap_or_default()
    }

    /// The files of the bodies its letters have a part in.
    pub(crate) fn parts(&self) -> BTreeSet<PathBuf> {
        let folder = parts_folder(self.log());
        let pieces = self.table.letters.iter().flat_map(|letter| &letter.pieces);
        pieces
            .filter_map(|piece| match piece {
                Piece::Part(hash, _) => Some(part_path(&folder, hash)),
                Piece::Chunk(_) => None,
            })
            .collect()
    }

    /// Fills `bytes` with what stood in the segment from `offset` on; `false` when that ended before.
    pub(crate) fn read(&self, bytes: &mut [u8], offset: u64) -> Result<bool> {
        let end = offset.saturating_add(bytes.len() as u64);
        if end > self.table.raw_bytes {
            return Ok(false);
        }
        let (mut at, mut rest) = (offset, bytes);
        while !rest.is_empty() {
            let next = self.table.letters.partition_point(|l| l.start + u64::from(l.bytes) <= at);
            let letter = self.table.letters.get(next);
            let (before, stop) = match letter {
                Some(letter) if letter.start <= at => {
                    (None, letter.start + u64::from(letter.bytes))
                }
                Some(letter) => (Some(letter.before), letter.start),
                None => {
                    let last = self.table.letters.last();
                    let before = last.map_or(0, |l| l.before + u64::from(l.bytes));
                    (Some(before), self.table.raw_bytes)
                }
            };
            let count = usize::try_from(stop - at).unwrap_or(usize::MAX).min(rest.len());
            let (now, later) = rest.split_at_mut_checked(count).ok_or_else(|| self.damaged())?;
            match (before, letter) {
                (Some(before), _) => self.read_rest(now, at - before)?,
                (None, Some(letter)) => self.read_letter(letter, now, at - letter.start)?,
                (None, None) => return Err(self.damaged()),
            }
            self.fill_from_elsewhere(now, at);
            (at, rest) = (at + count as u64, later);
        }
        Ok(true)
    }

    /// The letter that begins there.
    pub(crate) fn letter_at(&self, offset: u64) -> Option<&Letter> {
        let after = self.table.letters.partition_point(|letter| letter.start < offset);
        self.table.letters.get(after).filter(|letter| letter.start == offset)
    }

    /// Whether the letter there was given up; what is read in its place is no mail.
    pub(crate) fn is_gone(&self, offset: u64) -> bool {
        let after = self.table.letters.partition_point(|letter| letter.start <= offset);
        let letter = after.checked_sub(1).and_then(|at| self.table.letters.get(at));
        letter.is_some_and(|l| l.gone && offset < l.start + u64::from(l.bytes))
    }

    /// Headers and ops of the frames: chunks of one length, but for the last.
    fn read_rest(&self, mut bytes: &mut [u8], mut offset: u64) -> Result<()> {
        while !bytes.is_empty() {
            let number = offset / super::CHUNK_BYTES as u64;
            let chunk = u32::try_from(number).unwrap_or(u32::MAX);
            let raw = self.chunk(self.table.first_rest.saturating_add(chunk))?;
            let from = usize::try_from(offset % super::CHUNK_BYTES as u64).unwrap_or(0);
            let found = raw.get(from..).filter(|f| !f.is_empty()).ok_or_else(|| self.damaged())?;
            let count = copy(found, bytes);
            bytes = bytes.get_mut(count..).unwrap_or_default();
            offset += count as u64;
        }
        Ok(())
    }

    fn read_letter(&self, letter: &Letter, mut bytes: &mut [u8], offset: u64) -> Result<()> {
        let mut skip = offset;
        for piece in &letter.pieces {
            let length = match piece {
                Piece::Chunk(at) => self.table.chunks.get(*at as usize).map_or(0, |c| c.raw_bytes),
                Piece::Part(_, bytes) => *bytes,
            };
            if skip >= u64::from(length) {
                skip -= u64::from(length);
                continue;
            }
            match piece {
                Piece::Chunk(at) => {
                    let raw = self.chunk(*at)?;
                    let from = usize::try_from(skip).unwrap_or(usize::MAX);
                    let count = copy(raw.get(from..).unwrap_or_default(), bytes);
                    bytes = bytes.get_mut(count..).unwrap_or_default();
                }
                Piece::Part(hash, length) => {
                    let count = usize::try_from(u64::from(*length) - skip).unwrap_or(usize::MAX);
                    let count = count.min(bytes.len());
                    let (now, later) =
                        bytes.split_at_mut_checked(count).ok_or_else(|| self.damaged())?;
                    self.read_part(hash, now, skip)?;
                    bytes = later;
                }
            }
            skip = 0;
            if bytes.is_empty() {
                return Ok(());
            }
        }
        Err(self.damaged())
    }

    fn read_part(&self, hash: &[u8; 32], bytes: &mut [u8], offset: u64) -> Result<()> {
        let read = self.part(hash).and_then(|part| {
            let whole = part.read(bytes, offset)?;
            let faults = part.faults();
            let bad = faults.iter().any(|fault| !fault.put_right);
            if let Some(mut lenient) = self.lenient() {
                lenient.touched |= bad || lenient.bad_parts.contains(hash);
                lenient.faults.extend(faults);
                if bad {
                    lenient.bad_parts.insert(*hash);
                }
            }
            if whole { Ok(()) } else { Err(part.damaged()) }
        });
        match (read, self.lenient()) {
            (Err(_), Some(mut lenient)) => {
                bytes.fill(0);
                lenient.touched = true;
                if lenient.bad_parts.insert(*hash) {
                    let path = part_path(&parts_folder(self.log()), hash);
                    let length = std::fs::metadata(&path).map_or(0, |m| m.len());
                    let what = if length == 0 { MISSING } else { "table" };
                    lenient.faults.push(Fault { path, bytes: 0..length, what, put_right: false });
                }
                Ok(())
            }
            (read, _) => read,
        }
    }

    fn part(&self, hash: &[u8; 32]) -> Result<Arc<Self>> {
        let lock = || self.last_part.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, part)) = lock().as_ref().filter(|(last, _)| last == hash) {
            return Ok(part.clone());
        }
        let path = part_path(&parts_folder(self.log()), hash);
        let part = match &self.lenient {
            None => Self::open(&path)?,
            Some(_) => Self::open_leniently(&path)?
                .ok_or_else(|| Error::Corrupt(format!("the table of {}", path.display())))?,
        };
        let part = Arc::new(part);
        *lock() = Some((*hash, part.clone()));
        Ok(part)
    }

    fn chunk(&self, at: u32) -> Result<Arc<Vec<u8>>> {
        let [letters, rest] = &self.last;
        let last = if at < self.table.first_rest { letters } else { rest };
        let lock = || last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut lenient) = self.lenient() {
            lenient.touched |= lenient.bad_chunks.contains(&at);
        }
        if let Some((_, raw)) = lock().as_ref().filter(|(last, _)| *last == at) {
            return Ok(raw.clone());
        }
        let chunk = self.table.chunks.get(at as usize).ok_or_else(|| self.damaged())?;
        let mut stored = vec![0; chunk.stored_bytes as usize];
        let read = self.file.read_exact_at(&mut stored, chunk.offset);
        let read = read.map_err(|e| failed("could not read", &self.path, &e));
        let kept = self.lenient.as_ref().map(|_| stored.clone());
        let raw = read.and_then(|()| {
            self.unpacker.unpack(chunk, stored).ok_or_else(|| {
                Error::Corrupt(format!("{} at byte {}", self.path.display(), chunk.offset))
            })
        });
        let raw = match (raw, kept) {
            (Err(_), Some(kept)) => self.bad_chunk(at, kept),
            (raw, _) => raw?,
        };
        let raw = Arc::new(raw);
        *lock() = Some((at, raw.clone()));
        Ok(raw)
    }

    /// A chunk whose bytes are wrong, for a tool: with one bit put right, or zeros.
    fn bad_chunk(&self, at: u32, mut stored: Vec<u8>) -> Vec<u8> {
        let Some(chunk) = self.table.chunks.get(at as usize) else { return Vec::new() };
        let Some(lenient) = &self.lenient else { return Vec::new() };
        let known = lenient.lock().unwrap_or_else(PoisonError::into_inner).bad_chunks.contains(&at);
        let right = !known && correct_one_bit(&mut stored, |bytes| short_hash(bytes) == chunk.hash);
        let raw = if right { self.unpacker.unpack(chunk, stored) } else { None };
        let mut lenient = lenient.lock().unwrap_or_else(PoisonError::into_inner);
        if !known {
            let what = match at {
                0 if self.table.has_dictionary => "dictionary",
                at if at >= self.table.first_rest => "frame headers and ops",
                _ => "bytes of a letter",
            };
            let bytes = chunk.offset..chunk.offset + u64::from(chunk.stored_bytes);
            let (path, put_right) = (self.path.clone(), raw.is_some());
            lenient.faults.push(Fault { path, bytes, what, put_right });
        }
        raw.unwrap_or_else(|| {
            lenient.touched = true;
            lenient.bad_chunks.insert(at);
            vec![0; chunk.raw_bytes as usize]
        })
    }

    /// Where a bad place was read: the same bytes out of another file of this segment, if there is one. A
    /// body may also have been removed since the pack was opened; then a later pack has taken its place.
    fn fill_from_elsewhere(&self, bytes: &mut [u8], offset: u64) {
        let touched =
            self.lenient().is_some_and(|mut lenient| std::mem::take(&mut lenient.touched));
        if !touched || self.header.segment == 0 {
            return;
        }
        let plain = self.log().join(format!("{:016x}.seg", self.header.segment));
        if File::open(plain).is_ok_and(|file| file.read_exact_at(bytes, offset).is_ok()) {
            return;
        }
        let mut others = pack_names(self.log(), self.header.segment).unwrap_or_default();
        others.retain(|generation| *generation != self.header.generation);
        for generation in others {
            let other = Self::open(&pack_path(self.log(), self.header.segment, generation));
            let mut found = vec![0; bytes.len()];
            if other.is_ok_and(|other| matches!(other.read(&mut found, offset), Ok(true))) {
                bytes.copy_from_slice(&found);
                // No fault of this pack: it was replaced while it was open.
                if let Some(mut lenient) =
                    self.lenient().filter(|_| generation > self.header.generation)
                {
                    lenient.faults.retain(|fault| fault.what != MISSING);
                }
                return;
            }
        }
    }

    fn log(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    fn lenient(&self) -> Option<std::sync::MutexGuard<'_, Lenient>> {
        Some(self.lenient.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn damaged(&self) -> Error {
        Error::Corrupt(format!("the table of {}", self.path.display()))
    }
}

fn open_file(path: &Path) -> Result<(File, u64)> {
    let file = File::open(path).map_err(|e| failed("could not open", path, &e))?;
    let bytes = file.metadata().map_err(|e| failed("could not look at", path, &e))?.len();
    Ok((file, bytes))
}

fn read_at(file: &File, bytes: &mut [u8], offset: u64, path: &Path) -> Result<()> {
    match file.read_exact_at(bytes, offset) {
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => {
            Err(Error::Corrupt(format!("{}, which ends too early,", path.display())))
        }
        done => done.map_err(|e| failed("could not read", path, &e)),
    }
}

/// Header, and trailer with its place.
type Ends = ([u8; 64], u64, [u8; 64]);

fn ends(file: &File, file_bytes: u64, path: &Path) -> Result<Ends> {
    let (mut head, mut tail) = ([0; 64], [0; 64]);
    read_at(file, &mut head, 0, path)?;
    let at = file_bytes.checked_sub(TRAILER_BYTES).filter(|at| *at >= HEADER_BYTES);
    let at =
        at.ok_or_else(|| Error::Corrupt(format!("{}, which ends too early,", path.display())))?;
    read_at(file, &mut tail, at, path)?;
    Ok((head, at, tail))
}

fn stored_table(file: &File, trailer: &Trailer, path: &Path) -> Result<Vec<u8>> {
    let mut stored = vec![0; trailer.stored_bytes as usize];
    read_at(file, &mut stored, trailer.table_offset, path)?;
    Ok(stored)
}

fn unpack_table(stored: &[u8], trailer: &Trailer, raw_bytes: Option<u64>) -> Option<Table> {
    if blob_hash(stored) != trailer.table_hash {
        return None;
    }
    let raw = zstd::bulk::decompress(stored, trailer.raw_bytes as usize).ok()?;
    Table::decode(&raw, raw_bytes, trailer.table_offset)
}

/// Header and table of a pack that may be damaged. Whatever the header says also stands elsewhere; a trailer whose
/// hash of the table fits is right where it matters.
fn repaired_frame(
    file: &File,
    (head, trailer_at, mut tail): Ends,
    path: &Path,
    faults: &mut Vec<Fault>,
) -> Option<Frame> {
    let written = tail;
    let unpack = |tail: &[u8]| -> Option<(Trailer, Table)> {
        let trailer = Trailer::parse(tail.first_chunk()?)?;
        let fits = trailer.ends_at(trailer_at);
        let stored = fits.then(|| stored_table(file, &trailer, path).ok())??;
        Some((trailer, unpack_table(&stored, &trailer, None)?))
    };
    let mut found = unpack(&tail);
    let mut fault = |what, bytes| {
        let path = path.to_owned();
        faults.push(Fault { path, bytes, what, put_right: true });
    };
    let whole = Trailer::decode(&tail, &head).filter(|trailer| trailer.ends_at(trailer_at));
    if found.is_none()
        && let Some(trailer) = whole
    {
        let mut stored = stored_table(file, &trailer, path).ok()?;
        if correct_one_bit(&mut stored, |bytes| blob_hash(bytes) == trailer.table_hash) {
            fault("table", trailer.table_offset..trailer_at);
            found = unpack_table(&stored, &trailer, None).map(|table| (trailer, table));
        }
    } else if found.is_none() && correct_one_bit(&mut tail, |tail| unpack(tail).is_some()) {
        found = unpack(&tail);
    }
    let (trailer, table) = found?;
    let name = path.file_name().and_then(|name| name.to_str()).and_then(pack_name);
    let (segment, generation) = name.unwrap_or_default();
    let header = Header { segment, generation, raw_bytes: table.raw_bytes };
    if header.encode() != head {
        fault("header", 0..HEADER_BYTES);
    }
    if trailer.encode(&header.encode()) != written {
        fault("trailer", trailer_at..trailer_at + TRAILER_BYTES);
    }
    Some((header, table))
}

/// Tries each bit of `bytes` until `fits`; leaves them as they were when none does.
fn correct_one_bit(bytes: &mut [u8], fits: impl Fn(&[u8]) -> bool) -> bool {
    if bytes.len() > CORRECT_BYTES {
        return false;
    }
    for at in 0..bytes.len() {
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

/// Copies what fits; gives back how much that is.
fn copy(from: &[u8], to: &mut [u8]) -> usize {
    let count = from.len().min(to.len());
    to.split_at_mut(count).0.copy_from_slice(from.split_at(count).0);
    count
}

pub(crate) fn failed(what: &'static str, path: &Path, error: &std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Error::DiskFull,
        _ => Error::Io { what, path: path.to_owned(), reason: error.to_string() },
    }
}
