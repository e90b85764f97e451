//! Segment files: their names, headers, and reading bytes out of them.

use super::disk::{AppendFile, Disk};
use crate::pack::{Pack, pack_name, pack_path};
use crate::{Error, Result};
use db::Location;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

const MAGIC: [u8; 4] = *b"OPSG";
const VERSION: u32 = 1;
const HEADER_BYTES: u64 = 128;
/// Files kept open for reading; of more the one goes that was not asked for the longest.
const OPEN_FILES: usize = 256;
/// Packs among them: each keeps its table, some hundred KB, and its dictionary.
const OPEN_PACKS: usize = 32;

/// Large letters remembered as whole; then the memory begins anew.
const WHOLE_LETTERS: usize = 4096;

/// The segments of one log folder.
pub(crate) struct Segments {
    folder: PathBuf,
    disk: Arc<dyn Disk>,
    open: Mutex<Kept<Arc<SegmentFile>>>,
    /// Generation of the pack that stands in for a segment.
    packs: Mutex<HashMap<u64, u32>>,
    /// The segment being written shall be closed.
    seal: AtomicBool,
    /// Letters that were read whole and had the right hash.
    whole: Mutex<HashSet<Location>>,
}

/// What is kept open, and when it was asked for.
struct Kept<T> {
    files: HashMap<u64, KeptFile<T>>,
    asked: u64,
}

struct KeptFile<T> {
    file: T,
    is_pack: bool,
    asked: u64,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { files: HashMap::new(), asked: 0 }
    }
}

impl<T: Clone> Kept<T> {
    fn get(&mut self, id: u64) -> Option<T> {
        self.asked += 1;
        let kept = self.files.get_mut(&id)?;
        kept.asked = self.asked;
        Some(kept.file.clone())
    }

    fn put(&mut self, id: u64, file: T, is_pack: bool) {
        let packs = self.files.values().filter(|kept| kept.is_pack).count();
        let packs_full = is_pack && packs >= OPEN_PACKS;
        if packs_full || self.files.len() >= OPEN_FILES {
            let in_the_way = self.files.iter().filter(|(_, kept)| kept.is_pack || !packs_full);
            let longest_ago = in_the_way.min_by_key(|(_, kept)| kept.asked).map(|(id, _)| *id);
            longest_ago.and_then(|id| self.files.remove(&id));
        }
        self.asked += 1;
        self.files.insert(id, KeptFile { file, is_pack, asked: self.asked });
    }
}

/// A segment open for reading.
pub(crate) struct SegmentFile {
    bytes: Bytes,
    path: PathBuf,
    pub(crate) first_lsn: u64,
    pub(crate) created_unix_ms: i64,
    pub(crate) key: [u8; 32],
}

/// Where the bytes of a segment come from.
enum Bytes {
    File(File),
    Pack(Box<Pack>),
}

/// The segment that is being written.
pub(crate) struct SegmentWriter {
    end: Arc<SegmentEnd>,
    pub(crate) created_unix_ms: i64,
    key: [u8; 32],
}

/// Its file. Shared with whoever syncs it, while more is written.
pub(crate) struct SegmentEnd {
    file: Box<dyn AppendFile>,
    path: PathBuf,
}

impl SegmentEnd {
    /// A failed sync says nothing about what is on the disk, whatever its error: the log is done with.
    pub(crate) fn sync(&self) -> Result<()> {
        let path = self.path.display();
        self.file.sync().map_err(|e| Error::Poisoned(format!("could not sync {path}: {e}")))
    }
}

impl Segments {
    /// Makes the folder when it is not there.
    pub(crate) fn open(folder: &Path, disk: Arc<dyn Disk>) -> Result<Self> {
        let made = disk.make_folder(folder);
        made.map_err(|e| failed("could not make the log folder", folder, &e))?;
        if let Some(parent) = folder.parent() {
            let synced = disk.sync_folder(parent);
            synced.map_err(|e| failed("could not sync the data folder", parent, &e))?;
        }
        let (open, packs) = (Mutex::default(), Mutex::default());
        let seal = AtomicBool::new(false);
        let whole = Mutex::default();
        let segments = Self { folder: folder.to_owned(), disk, open, packs, seal, whole };
        segments.ids()?;
        Ok(segments)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    /// Ids of the segments there are, ascending.
    pub(crate) fn ids(&self) -> Result<Vec<u64>> {
        let (mut ids, packs) = names(&self.folder)?;
        let mut newest = HashMap::new();
        for (id, generation) in packs {
            let known = newest.entry(id).or_insert(generation);
            *known = generation.max(*known);
            ids.push(id);
        }
        *self.packs.lock().unwrap_or_else(PoisonError::into_inner) = newest;
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    /// Asks for the next segment to begin with the next batch.
    pub(crate) fn seal(&self) {
        self.seal.store(true, Ordering::SeqCst);
    }

    /// Whether somebody has asked since [`Segments::end_seal`].
    pub(crate) fn wants_seal(&self) -> bool {
        self.seal.load(Ordering::SeqCst)
    }

    pub(crate) fn end_seal(&self) {
        self.seal.store(false, Ordering::SeqCst);
    }

    /// A pack has taken the place of a segment or of its last pack.
    pub(crate) fn replaced(&self, id: u64, generation: u32) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        self.packs.lock().unwrap_or_else(PoisonError::into_inner).insert(id, generation);
        open.files.remove(&id);
    }

    /// A pack was taken away again.
    pub(crate) fn forget(&self, id: u64) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        self.packs.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        open.files.remove(&id);
    }

    /// Files that a pack stands in for, with the number of their segment.
    pub(crate) fn stale(&self) -> Result<Vec<(u64, PathBuf)>> {
        let ids = self.ids()?;
        let newest = self.packs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (segments, packs) = names(&self.folder)?;
        let mut stale = Vec::new();
        for id in ids {
            let Some(generation) = newest.get(&id).copied() else { continue };
            let older = packs.iter().filter(|(of, old)| *of == id && *old < generation);
            let mut old: Vec<_> = older.map(|(_, old)| pack_path(&self.folder, id, *old)).collect();
            old.extend(segments.contains(&id).then(|| self.path(id)));
            if !old.is_empty() && Pack::open(&pack_path(&self.folder, id, generation)).is_ok() {
                stale.extend(old.into_iter().map(|path| (id, path)));
            }
        }
        Ok(stale)
    }

    /// A file that [`Segments::stale`] named.
    #[expect(clippy::unused_self, reason = "files of a log are opened through it")]
    pub(crate) fn older(&self, id: u64, path: &Path) -> Result<SegmentFile> {
        if path.extension().is_some_and(|end| end == "pack") {
            return SegmentFile::open_pack(path, id);
        }
        SegmentFile::open(path, id)
    }

    pub(crate) fn path(&self, id: u64) -> PathBuf {
        self.folder.join(format!("{id:016x}.seg"))
    }

    /// Whether a piece of the letter there can be served without the rest: the chunks of a pack are checked as they
    /// are read, a letter in a segment must have been found whole before.
    pub(crate) fn is_whole(&self, letter: Location) -> bool {
        let whole = self.whole.lock().unwrap_or_else(PoisonError::into_inner);
        whole.contains(&letter) || self.segment(letter.segment).is_ok_and(|s| s.pack().is_some())
    }

    /// The letter there was read and has the right hash.
    pub(crate) fn found_whole(&self, letter: Location) {
        let mut whole = self.whole.lock().unwrap_or_else(PoisonError::into_inner);
        if whole.len() >= WHOLE_LETTERS {
            whole.clear();
        }
        whole.insert(letter);
    }

    /// `FILE at byte N`, for people who look for damage.
    pub(crate) fn place(&self, at: Location) -> String {
        let file = match self.segment(at.segment) {
            Ok(segment) => segment.path().to_owned(),
            Err(_) => self.path(at.segment),
        };
        format!("{} at byte {}", file.display(), at.offset)
    }

    /// Starts a segment: durable with its header and its name when this returns.
    pub(crate) fn create(
        &self,
        id: u64,
        first_lsn: u64,
        now_unix_ms: i64,
    ) -> Result<SegmentWriter> {
        let path = self.path(id);
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|e| Error::Io {
            what: "the kernel gave no random bytes for",
            path: path.clone(),
            reason: e.to_string(),
        })?;
        let header = header(id, first_lsn, now_unix_ms, &key);
        let made = self.disk.create(&path).and_then(|file| {
            file.append(&header)?;
            file.sync()?;
            self.disk.sync_folder(&self.folder)?;
            Ok(file)
        });
        match made {
            Ok(file) => {
                let end = Arc::new(SegmentEnd { file, path });
                Ok(SegmentWriter { end, created_unix_ms: now_unix_ms, key })
            }
            Err(error) => {
                // A half-made segment holds nothing; without it the next try can use its name.
                if self.disk.remove(&path).is_err() {
                    tracing::debug!(path = %path.display(), "no half-made segment to remove");
                }
                Err(failed("could not start a segment", &path, &error))
            }
        }
    }

    pub(crate) fn append_to(&self, id: u64) -> Result<SegmentWriter> {
        let path = self.path(id);
        let segment = self.segment(id)?;
        let (created_unix_ms, key) = (segment.created_unix_ms, segment.key);
        match self.disk.open(&path) {
            Ok(file) => {
                Ok(SegmentWriter { end: Arc::new(SegmentEnd { file, path }), created_unix_ms, key })
            }
            Err(error) => Err(failed("could not open for writing", &path, &error)),
        }
    }

    /// A segment, open for reading; its header is checked.
    pub(crate) fn segment(&self, id: u64) -> Result<Arc<SegmentFile>> {
        let lock = || self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(segment) = lock().get(id) {
            return Ok(segment);
        }
        // A pack takes some milliseconds to open: others read on meanwhile.
        let segment = match self.open_segment(id) {
            // Another process may have packed it since the folder was listed.
            Err(Error::Io { .. }) => {
                self.ids()?;
                Arc::new(self.open_segment(id)?)
            }
            segment => Arc::new(segment?),
        };
        let mut open = lock();
        let newest = self.packs.lock().unwrap_or_else(PoisonError::into_inner).get(&id).copied();
        // Packed, or packed again, since it was opened: good for this call alone.
        if segment.pack().map(|pack| pack.header.generation) != newest {
            return Ok(segment);
        }
        open.put(id, segment.clone(), segment.pack().is_some());
        Ok(segment)
    }

    /// The pack when there is one that is whole, else the segment.
    fn open_segment(&self, id: u64) -> Result<SegmentFile> {
        let packs = self.packs.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = packs.get(&id).copied();
        drop(packs);
        let Some(generation) = generation else {
            return SegmentFile::open(&self.path(id), id);
        };
        let path = pack_path(&self.folder, id, generation);
        let pack = SegmentFile::open_pack(&path, id);
        let plain = self.path(id);
        if pack.is_err() && plain.exists() { SegmentFile::open(&plain, id) } else { pack }
    }

    /// Cuts a torn end off a segment and makes that durable.
    pub(crate) fn truncate(&self, id: u64, length: u64) -> Result<()> {
        let path = self.path(id);
        let cut = self.disk.open(&path).and_then(|file| file.truncate(length));
        cut.map_err(|e| failed("could not cut the torn end off", &path, &e))
    }

    /// Removes a segment that was never finished.
    pub(crate) fn remove(&self, id: u64) -> Result<()> {
        let path = self.path(id);
        self.disk.remove(&path).map_err(|e| failed("could not remove", &path, &e))
    }

    pub(crate) fn free_bytes(&self) -> Result<u64> {
        let free = self.disk.free_bytes(&self.folder);
        free.map_err(|e| failed("could not ask for free space of", &self.folder, &e))
    }
}

impl SegmentFile {
    pub(crate) const HEADER_BYTES: u64 = HEADER_BYTES;

    fn open(path: &Path, id: u64) -> Result<Self> {
        let file = File::open(path).map_err(|e| failed("could not open", path, &e))?;
        Self::with(Bytes::File(file), path, id)
    }

    fn open_pack(path: &Path, id: u64) -> Result<Self> {
        Self::over(Pack::open(path)?, id)
    }

    /// Reads a segment out of a pack.
    pub(crate) fn over(pack: Pack, id: u64) -> Result<Self> {
        let path = pack.path().to_owned();
        Self::with(Bytes::Pack(Box::new(pack)), &path, id)
    }

    fn with(bytes: Bytes, path: &Path, id: u64) -> Result<Self> {
        let path = path.to_owned();
        let mut file = Self { bytes, path, first_lsn: 0, created_unix_ms: 0, key: [0; 32] };
        let mut head = [0; 128];
        let read = file.read(&mut head, 0)?;
        let Some(header) = parse_header(&head, id).filter(|_| read) else {
            let what = format!("{} at byte 0, its header", file.path.display());
            return Err(Error::Corrupt(what));
        };
        (file.first_lsn, file.created_unix_ms, file.key) = header;
        Ok(file)
    }

    /// The pack it is read from, if it is packed.
    pub(crate) fn pack(&self) -> Option<&Pack> {
        match &self.bytes {
            Bytes::File(_) => None,
            Bytes::Pack(pack) => Some(pack),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn length(&self) -> Result<u64> {
        let metadata = match &self.bytes {
            Bytes::File(file) => file.metadata(),
            Bytes::Pack(pack) => return Ok(pack.table.raw_bytes),
        };
        metadata
            .map(|m| m.len())
            .map_err(|e| failed("could not ask for the length of", &self.path, &e))
    }

    /// Fills `bytes` from `offset` on; `false` when the file ends before.
    pub(crate) fn read(&self, bytes: &mut [u8], offset: u64) -> Result<bool> {
        let file = match &self.bytes {
            Bytes::File(file) => file,
            Bytes::Pack(pack) => return pack.read(bytes, offset),
        };
        match file.read_exact_at(bytes, offset) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => Ok(false),
            Err(e) => Err(failed("could not read", &self.path, &e)),
        }
    }
}

impl SegmentWriter {
    #[expect(clippy::unused_self, reason = "a later format may have another length")]
    pub(crate) fn header_bytes(&self) -> u64 {
        HEADER_BYTES
    }

    pub(crate) fn key(&self) -> &[u8; 32] {
        &self.key
    }

    pub(crate) fn append(&self, bytes: &[u8]) -> io::Result<()> {
        self.end.file.append(bytes)
    }

    pub(crate) fn end(&self) -> Arc<SegmentEnd> {
        self.end.clone()
    }

    /// Takes back what was written since the last sync.
    pub(crate) fn take_back(&self, length: u64) -> Result<()> {
        let path = self.end.path.display();
        self.end.file.truncate(length).map_err(|e| {
            Error::Poisoned(format!("could not take back what was written to {path}: {e}"))
        })
    }

    /// After a failed write: takes back what was written since the last sync. A full disk that lets us do
    /// that is the only failure after which the file can be trusted.
    pub(crate) fn cut_back(&self, length: u64, error: &io::Error) -> Error {
        let full = matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
        if full && self.end.file.truncate(length).is_ok() {
            return Error::DiskFull;
        }
        match failed("could not write", &self.end.path, error) {
            Error::DiskFull => Error::Poisoned("the disk is full and the log cannot be cut".into()),
            other => other,
        }
    }
}

type Names = (Vec<u64>, Vec<(u64, u32)>);

/// Numbers of the segments in a folder; segment and generation of the packs.
fn names(folder: &Path) -> Result<Names> {
    let listed = |e: &io::Error| failed("could not list the log folder", folder, e);
    let (mut ids, mut packs) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(folder).map_err(|e| listed(&e))? {
        let name = entry.map_err(|e| listed(&e))?.file_name();
        let Some(name) = name.to_str() else { continue };
        let id = name.strip_suffix(".seg").and_then(|id| u64::from_str_radix(id, 16).ok());
        ids.extend(id);
        packs.extend(pack_name(name));
    }
    Ok((ids, packs))
}

pub(super) fn header(id: u64, first_lsn: u64, now_unix_ms: i64, key: &[u8; 32]) -> [u8; 128] {
    let mut header = [0; 128];
    header[0..4].copy_from_slice(&MAGIC);
    header[4..8].copy_from_slice(&VERSION.to_le_bytes());
    header[8..16].copy_from_slice(&id.to_le_bytes());
    header[16..24].copy_from_slice(&first_lsn.to_le_bytes());
    header[24..32].copy_from_slice(&now_unix_ms.to_le_bytes());
    header[32..64].copy_from_slice(key);
    let hash = super::frame::blob_hash(&header[..64]);
    header[64..80].copy_from_slice(&hash);
    header
}

/// First LSN, time and key of a header that is whole and says `id`.
fn parse_header(header: &[u8; 128], id: u64) -> Option<(u64, i64, [u8; 32])> {
    let number = |at: usize| header.get(at..)?.first_chunk().map(|b| u64::from_le_bytes(*b));
    let whole = header[..4] == MAGIC
        && header[4..8] == VERSION.to_le_bytes()
        && super::frame::blob_hash(&header[..64]) == header[64..80]
        && header[80..] == [0; 48]
        && number(8)? == id;
    let key = *header.get(32..)?.first_chunk()?;
    if whole { Some((number(16)?, number(24)?.cast_signed(), key)) } else { None }
}

fn failed(what: &'static str, path: &Path, error: &io::Error) -> Error {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Error::DiskFull,
        _ => Error::Io { what, path: path.to_owned(), reason: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_stays_open() {
        // Which of so many packs and then two old ones, read in turn, have to be opened again.
        #[track_caller]
        fn check(packs: u64, expect: u64) {
            let mut kept = Kept::default();
            let mut opened = 0;
            let mut ask = |id| {
                if kept.get(id).is_none() {
                    opened += 1;
                    kept.put(id, (), true);
                }
            };
            (100..100 + packs).for_each(&mut ask);
            for _ in 0..50 {
                ask(1);
                ask(2);
            }
            assert_eq!(opened, packs + expect);
            assert!(kept.files.len() <= OPEN_PACKS);
        }
        check(3, 2);
        check(OPEN_PACKS as u64, 2);
        check(OPEN_PACKS as u64 * 3, 2);

        // Packs do not push plain segments out, nor those packs before there are too many files.
        let mut kept = Kept::default();
        (0..OPEN_FILES as u64 + 9).for_each(|id| kept.put(id, (), id % 2 == 0 && id < 20));
        assert_eq!(kept.files.len(), OPEN_FILES);
        assert!(kept.get(8).is_none() && kept.get(9).is_some());
    }
}
