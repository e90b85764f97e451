//! The files of the queue: appended, synced, replayed, given up in order.
//!
//! `00000001.queue` and so on in the queue's folder: a header of 64 bytes, then frames (`docs/format/queue.md`). Only
//! the last one grows. The oldest go when no letter waits in them: in order, since what became of a letter stands in a
//! later file than the letter.

use crate::frame::{self, Frame};
use crate::record::Record;
use crate::{Error, Result};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

const HEADER_BYTES: usize = 64;
const MAGIC: [u8; 4] = *b"OPQU";
const VERSION: u8 = 1;
const SUFFIX: &str = "queue";

/// Where a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) segment: u32,
    pub(crate) offset: u64,
    pub(crate) bytes: u32,
}

/// The files, for readers; the writer adds and removes them.
#[derive(Debug)]
pub(crate) struct Files {
    folder: PathBuf,
    open: Mutex<BTreeMap<u32, Arc<Segment>>>,
    _lock: File,
}

#[derive(Debug)]
struct Segment {
    file: File,
    path: PathBuf,
    key: [u8; 32],
}

/// The end of the log, where it grows.
#[derive(Debug)]
pub(crate) struct Tail {
    files: Arc<Files>,
    segment: Arc<Segment>,
    id: u32,
    /// Of the file, all of it good.
    length: u64,
    seq: u64,
    synced: u64,
    segment_bytes: u64,
}

/// What replay hands on, in the order it was written.
pub(crate) type Found<'a> = &'a mut dyn FnMut(Place, Vec<Record>) -> Result<()>;

impl Files {
    /// Takes the folder for this process and reads all there is.
    pub(crate) fn open(folder: &Path, segment_bytes: u64, found: Found<'_>) -> Result<Tail> {
        make_folder(folder)
            .map_err(|e| failed("the folder of the queue could not be made", folder, &e))?;
        let lock = lock(folder)?;
        let files =
            Arc::new(Self { folder: folder.to_owned(), open: Mutex::default(), _lock: lock });
        let ids = files.ids()?;
        let (mut seq, mut length) = (0, 0);
        for (at, id) in ids.iter().enumerate() {
            let Some(segment) = files.load(*id, at + 1 == ids.len())? else { continue };
            let is_last = at + 1 == ids.len();
            length = replay(&segment, *id, is_last, &mut seq, found)?;
            files.put(*id, segment);
        }
        let Some((id, segment)) = files.last() else {
            let id = ids.last().map_or(1, |last| last + 1);
            let segment = files.create(id)?;
            let length = HEADER_BYTES as u64;
            return Ok(Tail { files, segment, id, length, seq, synced: seq, segment_bytes });
        };
        // What was read may be in memory only; from here on it is built upon.
        let synced = segment.file.sync_data();
        synced.map_err(|e| failed("the queue could not be synced", &segment.path, &e))?;
        Ok(Tail { files, segment, id, length, seq, synced: seq, segment_bytes })
    }

    /// The frame there: its records and its letter.
    pub(crate) fn read(&self, place: Place) -> Result<(Vec<Record>, Bytes)> {
        let segment = self.held(|open| open.get(&place.segment).cloned());
        let Some(segment) = segment else {
            return Err(Error::Corrupt(format!("{:08}.{SUFFIX} is gone", place.segment)));
        };
        let mut bytes = vec![0; place.bytes as usize];
        let damaged =
            || Error::Corrupt(format!("{} at byte {}", segment.path.display(), place.offset));
        segment.file.read_exact_at(&mut bytes, place.offset).map_err(|error| {
            match error.kind() {
                io::ErrorKind::UnexpectedEof => damaged(),
                _ => failed("a letter of the queue could not be read", &segment.path, &error),
            }
        })?;
        let (frame, records, _) = Frame::read(&bytes, &segment.key).ok_or_else(damaged)?;
        let records = records_of(records).ok_or_else(damaged)?;
        let letter_at = frame::HEADER_BYTES + frame.records_bytes as usize;
        let letter = Bytes::from(bytes).slice(letter_at..);
        Ok((records, letter))
    }

    /// Bytes of all files.
    pub(crate) fn total_bytes(&self) -> u64 {
        let lengths = |segment: &Arc<Segment>| segment.file.metadata().map_or(0, |m| m.len());
        self.held(|open| open.values().map(lengths).sum())
    }

    pub(crate) fn oldest(&self) -> Option<u32> {
        self.held(|open| open.keys().next().copied())
    }

    fn held<T>(&self, work: impl FnOnce(&mut BTreeMap<u32, Arc<Segment>>) -> T) -> T {
        work(&mut self.open.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put(&self, id: u32, segment: Arc<Segment>) {
        self.held(|open| open.insert(id, segment));
    }

    fn last(&self) -> Option<(u32, Arc<Segment>)> {
        self.held(|open| open.last_key_value().map(|(id, segment)| (*id, segment.clone())))
    }

    fn path(&self, id: u32) -> PathBuf {
        self.folder.join(format!("{id:08}.{SUFFIX}"))
    }

    fn ids(&self) -> Result<Vec<u32>> {
        let listed = std::fs::read_dir(&self.folder)
            .and_then(|names| names.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>());
        let paths = listed
            .map_err(|e| failed("the folder of the queue could not be read", &self.folder, &e))?;
        let id = |path: &PathBuf| {
            (path.extension()? == SUFFIX).then(|| path.file_stem()?.to_str()?.parse().ok())?
        };
        let mut ids: Vec<u32> = paths.iter().filter_map(id).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// `None`: it was being made when the power went, and nothing can be in it.
    fn load(&self, id: u32, is_last: bool) -> Result<Option<Arc<Segment>>> {
        let path = self.path(id);
        let open = OpenOptions::new().read(true).append(true).open(&path);
        let file =
            open.map_err(|e| failed("a file of the queue could not be opened", &path, &e))?;
        let mut header = [0; HEADER_BYTES];
        if file.read_exact_at(&mut header, 0).is_err() || header[..5] == [0; 5] {
            if is_last {
                remove_file(&path)?;
                return Ok(None);
            }
            return Err(Error::Corrupt(format!("{} ends in its header", path.display())));
        }
        let sum = blake3::hash(&header[..48]);
        if header[..4] != MAGIC || header[48..] != sum.as_bytes()[..16] {
            return Err(Error::Corrupt(format!("{} does not begin as it should", path.display())));
        }
        if header[4] != VERSION {
            let what = format!("{} was written by a newer version", path.display());
            return Err(Error::Corrupt(what));
        }
        let key = *header[8..].first_chunk().unwrap_or(&[0; 32]);
        Ok(Some(Arc::new(Segment { file, path, key })))
    }

    /// Its name is durable when this returns.
    fn create(&self, id: u32) -> Result<Arc<Segment>> {
        let path = self.path(id);
        let mut key = [0; 32];
        let random = getrandom::fill(&mut key).map_err(io::Error::other);
        let made = random.and_then(|()| {
            let mut header = [0; HEADER_BYTES];
            header[..4].copy_from_slice(&MAGIC);
            header[4] = VERSION;
            header[8..40].copy_from_slice(&key);
            let sum = blake3::hash(&header[..48]);
            header[48..].copy_from_slice(&sum.as_bytes()[..16]);
            let mut options = OpenOptions::new();
            let mut file = options.read(true).append(true).create_new(true).open(&path)?;
            file.write_all(&header)?;
            file.sync_all()?;
            File::open(&self.folder)?.sync_all()?;
            Ok(file)
        });
        match made {
            Ok(file) => {
                let segment = Arc::new(Segment { file, path, key });
                self.put(id, segment.clone());
                Ok(segment)
            }
            Err(error) => {
                drop(std::fs::remove_file(&path));
                Err(failed("a file of the queue could not be made", &path, &error))
            }
        }
    }
}

impl Tail {
    pub(crate) fn files(&self) -> &Arc<Files> {
        &self.files
    }

    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// The number of the last frame.
    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }

    /// Appends frames in one write. Nothing of them is there when it fails with [`Error::DiskFull`]; after any other
    /// error nobody knows, and nothing may be appended any more.
    pub(crate) fn append(&mut self, parts: &[(Vec<u8>, Bytes)]) -> Result<Vec<Place>> {
        if self.length >= self.segment_bytes {
            self.begin_segment()?;
        }
        let mut bytes = Vec::new();
        let mut places = Vec::with_capacity(parts.len());
        for (seq, (records, letter)) in (self.seq + 1..).zip(parts) {
            let frame = Frame {
                seq,
                synced: self.synced,
                records_bytes: u32::try_from(records.len()).unwrap_or(u32::MAX),
                letter_bytes: u32::try_from(letter.len()).unwrap_or(u32::MAX),
            };
            let offset = self.length + bytes.len() as u64;
            let total = u32::try_from(frame.total_bytes()).unwrap_or(u32::MAX);
            places.push(Place { segment: self.id, offset, bytes: total });
            bytes.extend_from_slice(&frame.header(records, letter, &self.segment.key));
            bytes.extend_from_slice(records);
            bytes.extend_from_slice(letter);
        }
        let mut file = &self.segment.file;
        if let Err(error) = file.write_all(&bytes) {
            return Err(self.take_back(&error));
        }
        self.length += bytes.len() as u64;
        self.seq += parts.len() as u64;
        Ok(places)
    }

    /// All that was appended survives a power cut once this returns.
    pub(crate) fn sync(&mut self) -> Result<()> {
        if self.synced < self.seq {
            let synced = self.segment.file.sync_data();
            synced.map_err(|error| Error::Poisoned(error.to_string()))?;
            self.synced = self.seq;
        }
        Ok(())
    }

    /// Gives up the oldest file; nothing in it may be needed.
    pub(crate) fn remove(&mut self, id: u32) -> Result<()> {
        self.sync()?;
        remove_file(&self.files.path(id))?;
        self.files.held(|open| open.remove(&id));
        Ok(())
    }

    fn begin_segment(&mut self) -> Result<()> {
        self.sync()?;
        let segment = self.files.create(self.id + 1)?;
        self.segment = segment;
        self.id += 1;
        self.length = HEADER_BYTES as u64;
        Ok(())
    }

    /// Cuts off what a failed write left.
    fn take_back(&self, error: &io::Error) -> Error {
        let cut =
            self.segment.file.set_len(self.length).and_then(|()| self.segment.file.sync_all());
        match cut {
            Ok(()) if error.kind() == io::ErrorKind::StorageFull => Error::DiskFull,
            _ => Error::Poisoned(error.to_string()),
        }
    }
}

/// Hands on the frames of one file; gives back its length, cut where a write was torn.
fn replay(
    segment: &Segment,
    id: u32,
    is_last: bool,
    seq: &mut u64,
    found: Found<'_>,
) -> Result<u64> {
    let bytes = std::fs::read(&segment.path)
        .map_err(|e| failed("a file of the queue could not be read", &segment.path, &e))?;
    let mut at = HEADER_BYTES;
    while at < bytes.len() {
        let rest = bytes.get(at..).unwrap_or_default();
        let damaged = || Error::Corrupt(format!("{} at byte {at}", segment.path.display()));
        // The first file that is left begins with any number.
        let fits = |frame: &Frame| *seq == 0 || frame.seq == *seq + 1;
        let Some((frame, records, _)) = Frame::read(rest, &segment.key).filter(|(f, ..)| fits(f))
        else {
            if !is_last || was_durable(&bytes, at, *seq + 1, &segment.key) {
                return Err(damaged());
            }
            let torn = bytes.len() - at;
            tracing::warn!(file = %segment.path.display(), at, bytes = torn, "the end of the queue was torn and is cut off");
            let cut = segment.file.set_len(at as u64).and_then(|()| segment.file.sync_all());
            cut.map_err(|e| {
                failed("the torn end of the queue could not be cut off", &segment.path, &e)
            })?;
            return Ok(at as u64);
        };
        let records = records_of(records).ok_or_else(damaged)?;
        *seq = frame.seq;
        let total = u32::try_from(frame.total_bytes()).unwrap_or(u32::MAX);
        found(Place { segment: id, offset: at as u64, bytes: total }, records)?;
        at += total as usize;
    }
    Ok(at as u64)
}

/// A good frame after the bad one says that the bad one had been durable.
fn was_durable(bytes: &[u8], bad_at: usize, bad_seq: u64, key: &[u8; 32]) -> bool {
    let mut from = bad_at + 1;
    while let Some(at) = frame::next_magic(bytes, from) {
        if let Some((frame, ..)) = bytes.get(at..).and_then(|rest| Frame::read(rest, key))
            && frame.synced >= bad_seq
        {
            return true;
        }
        from = at + 1;
    }
    false
}

fn remove_file(path: &Path) -> Result<()> {
    std::fs::remove_file(path)
        .map_err(|e| failed("a file of the queue could not be removed", path, &e))
}

fn records_of(bytes: &[u8]) -> Option<Vec<Record>> {
    serde_json::from_slice(bytes).ok()
}

fn failed(what: &'static str, path: &Path, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::StorageFull => Error::DiskFull,
        _ => Error::Io { what, path: path.to_owned(), reason: error.to_string() },
    }
}

/// Letters in it are nobody else's business.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    match folder.parent() {
        Some(above) if above.as_os_str().is_empty() => File::open(".")?.sync_all(),
        Some(above) => File::open(above)?.sync_all(),
        None => Ok(()),
    }
}

/// One process at a time; the lock goes with the file.
fn lock(folder: &Path) -> Result<File> {
    let path = folder.join("lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|e| failed("the lock of the queue could not be made", &path, &e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::InUse(folder.to_owned())),
        Err(TryLockError::Error(error)) => {
            Err(failed("the queue could not be locked", &path, &error))
        }
    }
}
