//! A pack open for reading: gives the bytes of its segment.

use super::chunks::Unpacker;
use super::table::{HEADER_BYTES, Header, Letter, Piece, TRAILER_BYTES, Table, Trailer};
use super::{part_path, parts_folder};
use crate::log::blob_hash;
use crate::{Error, Result};
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// A pack whose header, table and trailer are whole.
pub(crate) struct Pack {
    file: File,
    path: PathBuf,
    pub(crate) header: Header,
    pub(crate) table: Table,
    pub(crate) file_bytes: u64,
    unpacker: Unpacker,
    /// The chunk read last: frames and ranges follow each other.
    last: Mutex<Option<(u32, Arc<Vec<u8>>)>>,
}

impl Pack {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| failed("could not open", path, &e))?;
        let file_bytes = file.metadata().map_err(|e| failed("could not look at", path, &e))?.len();
        let damaged = |what: &str| Error::Corrupt(format!("the {what} of {}", path.display()));
        let read = |bytes: &mut [u8], offset: u64| match file.read_exact_at(bytes, offset) {
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => Err(damaged("length")),
            done => done.map_err(|e| failed("could not read", path, &e)),
        };
        let (mut head, mut tail) = ([0; 64], [0; 64]);
        read(&mut head, 0)?;
        let trailer_at = file_bytes.checked_sub(TRAILER_BYTES).filter(|at| *at >= HEADER_BYTES);
        let trailer_at = trailer_at.ok_or_else(|| damaged("length"))?;
        read(&mut tail, trailer_at)?;
        let header = Header::decode(&head).ok_or_else(|| damaged("header"))?;
        let trailer = Trailer::decode(&tail, &head).ok_or_else(|| damaged("trailer"))?;
        if trailer.table_offset.checked_add(trailer.stored_bytes.into()) != Some(trailer_at) {
            return Err(damaged("trailer"));
        }
        let mut stored = vec![0; trailer.stored_bytes as usize];
        read(&mut stored, trailer.table_offset)?;
        let whole = blob_hash(&stored) == trailer.table_hash;
        let raw = zstd::bulk::decompress(&stored, trailer.raw_bytes as usize).ok();
        let table = raw
            .filter(|_| whole)
            .and_then(|raw| Table::decode(&raw, header.raw_bytes, trailer.table_offset))
            .ok_or_else(|| damaged("table"))?;
        let mut pack = Self {
            file,
            path: path.to_owned(),
            header,
            table,
            file_bytes,
            unpacker: Unpacker::new(None),
            last: Mutex::default(),
        };
        if pack.table.has_dictionary {
            let dictionary = pack.chunk(0)?;
            pack.unpacker = Unpacker::new(Some(dictionary.to_vec()));
        }
        Ok(pack)
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
            (at, rest) = (at + count as u64, later);
        }
        Ok(true)
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
        let log = self.path.parent().unwrap_or(Path::new("."));
        let part = Self::open(&part_path(&parts_folder(log), hash))?;
        if part.read(bytes, offset)? { Ok(()) } else { Err(part.damaged()) }
    }

    fn chunk(&self, at: u32) -> Result<Arc<Vec<u8>>> {
        let lock = || self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, raw)) = lock().as_ref().filter(|(last, _)| *last == at) {
            return Ok(raw.clone());
        }
        let chunk = self.table.chunks.get(at as usize).ok_or_else(|| self.damaged())?;
        let mut stored = vec![0; chunk.stored_bytes as usize];
        let read = self.file.read_exact_at(&mut stored, chunk.offset);
        read.map_err(|e| failed("could not read", &self.path, &e))?;
        let raw = self.unpacker.unpack(chunk, stored);
        let raw = Arc::new(raw.ok_or_else(|| {
            Error::Corrupt(format!("{} at byte {}", self.path.display(), chunk.offset))
        })?);
        *lock() = Some((at, raw.clone()));
        Ok(raw)
    }

    fn damaged(&self) -> Error {
        Error::Corrupt(format!("the table of {}", self.path.display()))
    }
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
