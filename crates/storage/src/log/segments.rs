//! Segment files: their names, headers, and reading bytes out of them.

use super::disk::{AppendFile, Disk};
use crate::{Error, Result};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

const MAGIC: [u8; 4] = *b"OPSG";
const VERSION: u32 = 1;
const HEADER_BYTES: u64 = 128;
/// Files kept open for reading; more are closed, oldest segment first.
const OPEN_FILES: usize = 256;

/// The segments of one log folder.
pub(crate) struct Segments {
    folder: PathBuf,
    disk: Arc<dyn Disk>,
    open: Mutex<HashMap<u64, Arc<SegmentFile>>>,
}

/// A segment open for reading.
pub(crate) struct SegmentFile {
    file: File,
    path: PathBuf,
    pub(crate) first_lsn: u64,
    pub(crate) created_unix_ms: i64,
    pub(crate) key: [u8; 32],
}

/// The segment that is being written.
pub(crate) struct SegmentWriter {
    file: Box<dyn AppendFile>,
    path: PathBuf,
    pub(crate) created_unix_ms: i64,
    key: [u8; 32],
}

impl Segments {
    /// Makes the folder when it is not there.
    pub(crate) fn open(folder: &Path, disk: Arc<dyn Disk>) -> Result<Self> {
        let made = crate::folder::make_private(folder);
        made.map_err(|e| failed("could not make the log folder", folder, &e))?;
        if let Some(parent) = folder.parent() {
            let synced = disk.sync_folder(parent);
            synced.map_err(|e| failed("could not sync the data folder", parent, &e))?;
        }
        Ok(Self { folder: folder.to_owned(), disk, open: Mutex::default() })
    }

    /// Ids of the segments there are, ascending.
    pub(crate) fn ids(&self) -> Result<Vec<u64>> {
        let listed = |e: &io::Error| failed("could not list the log folder", &self.folder, e);
        let mut ids = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(|e| listed(&e))? {
            let name = entry.map_err(|e| listed(&e))?.file_name();
            let id = name.to_str().and_then(|n| n.strip_suffix(".seg"));
            ids.extend(id.and_then(|id| u64::from_str_radix(id, 16).ok()));
        }
        ids.sort_unstable();
        Ok(ids)
    }

    pub(crate) fn path(&self, id: u64) -> PathBuf {
        self.folder.join(format!("{id:016x}.seg"))
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
        let made = self.disk.create(&path).and_then(|mut file| {
            file.append(&header)?;
            file.sync()?;
            self.disk.sync_folder(&self.folder)?;
            Ok(file)
        });
        match made {
            Ok(file) => Ok(SegmentWriter { file, path, created_unix_ms: now_unix_ms, key }),
            Err(error) => {
                // A half-made segment holds nothing; without it the next try can use its name.
                if std::fs::remove_file(&path).is_err() {
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
            Ok(file) => Ok(SegmentWriter { file, path, created_unix_ms, key }),
            Err(error) => Err(failed("could not open for writing", &path, &error)),
        }
    }

    /// A segment, open for reading; its header is checked.
    pub(crate) fn segment(&self, id: u64) -> Result<Arc<SegmentFile>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(segment) = open.get(&id) {
            return Ok(segment.clone());
        }
        let path = self.path(id);
        let file = File::open(&path).map_err(|e| failed("could not open", &path, &e))?;
        let mut bytes = [0; 128];
        let read = file.read_exact_at(&mut bytes, 0);
        let header = read.ok().and_then(|()| parse_header(&bytes, id));
        let Some((first_lsn, created_unix_ms, key)) = header else {
            return Err(Error::Corrupt(format!("the header of segment {}", path.display())));
        };
        let segment = Arc::new(SegmentFile { file, path, first_lsn, created_unix_ms, key });
        if open.len() >= OPEN_FILES
            && let Some(oldest) = open.keys().min().copied()
        {
            open.remove(&oldest);
        }
        open.insert(id, segment.clone());
        Ok(segment)
    }

    /// Cuts a torn end off a segment and makes that durable.
    pub(crate) fn truncate(&self, id: u64, length: u64) -> Result<()> {
        let path = self.path(id);
        let cut = self.disk.open(&path).and_then(|mut file| file.truncate(length));
        cut.map_err(|e| failed("could not cut the torn end off", &path, &e))
    }

    /// Removes a segment that was never finished.
    pub(crate) fn remove(&self, id: u64) -> Result<()> {
        let path = self.path(id);
        std::fs::remove_file(&path).map_err(|e| failed("could not remove", &path, &e))
    }

    pub(crate) fn free_bytes(&self) -> Result<u64> {
        let free = self.disk.free_bytes(&self.folder);
        free.map_err(|e| failed("could not ask for free space of", &self.folder, &e))
    }
}

impl SegmentFile {
    pub(crate) const HEADER_BYTES: u64 = HEADER_BYTES;

    pub(crate) fn length(&self) -> Result<u64> {
        let metadata = self.file.metadata();
        metadata
            .map(|m| m.len())
            .map_err(|e| failed("could not ask for the length of", &self.path, &e))
    }

    /// Fills `bytes` from `offset` on; `false` when the file ends before.
    pub(crate) fn read(&self, bytes: &mut [u8], offset: u64) -> Result<bool> {
        match self.file.read_exact_at(bytes, offset) {
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

    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.append(bytes)
    }

    /// A failed sync says nothing about what is on the disk, whatever its error: the log is done with.
    pub(crate) fn sync(&mut self) -> Result<()> {
        let path = self.path.display();
        self.file.sync().map_err(|e| Error::Poisoned(format!("could not sync {path}: {e}")))
    }

    /// After a failed write: takes back what was written since the last sync. A full disk that lets us do
    /// that is the only failure after which the file can be trusted.
    pub(crate) fn cut_back(&mut self, length: u64, error: &io::Error) -> Error {
        let full = matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
        if full && self.file.truncate(length).is_ok() {
            return Error::DiskFull;
        }
        match failed("could not write", &self.path, error) {
            Error::DiskFull => Error::Poisoned("the disk is full and the log cannot be cut".into()),
            other => other,
        }
    }
}

fn header(id: u64, first_lsn: u64, now_unix_ms: i64, key: &[u8; 32]) -> [u8; 128] {
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
