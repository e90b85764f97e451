//! `backup`: copies the log, segments that are closed once, the end each time; a server may run meanwhile.
//!
//! A backup folder has a folder `log/` as a data folder has, and the list `BACKUP`, written last. What is
//! copied is checked frame by frame, before and after.

use super::export::{sync_folder, write_file};
use super::scan::{
    Event, Flow, Segment, io_error, log_bytes, scan_segment, segment_ids, segment_path,
};
use super::{Doing, Progress, words};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use types::Clock;

const LIST: &str = "BACKUP";
const FIRST_LINE: &str = "openpoczta backup 1";
/// Read and written at once.
const CHUNK_BYTES: usize = 1 << 20;

/// What was done.
#[derive(Debug, Clone, Default)]
pub struct Backed {
    pub copied_segments: u64,
    pub copied_bytes: u64,
    /// Were there already.
    pub kept_segments: u64,
    pub last_lsn: u64,
    pub taken: String,
    /// What could not be copied as it should be, a sentence each.
    pub problems: Vec<String>,
}

/// A segment in the list.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Nothing will be added to it, and all of it is good.
    closed: bool,
    bytes: u64,
    /// BLAKE3 of those bytes.
    hash: String,
}

/// The list of a backup.
#[derive(Debug, Clone, Default)]
pub(super) struct List {
    pub(super) taken: String,
    pub(super) last_lsn: u64,
    pub(super) segments: BTreeMap<u64, Entry>,
}

impl List {
    /// `None`: there is none.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(LIST);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(io_error("could not read", &path, &e)),
        };
        let bad = |reason: &str| Error::Io {
            what: "cannot use the list of the backup",
            path: path.clone(),
            reason: reason.to_owned(),
        };
        let mut lines = text.lines();
        if lines.next() != Some(FIRST_LINE) {
            return Err(bad("it is none, or of a newer version"));
        }
        let mut list = Self::default();
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            match *words.as_slice() {
                ["taken", taken] => taken.clone_into(&mut list.taken),
                ["last-change", lsn] => {
                    list.last_lsn = lsn.parse().map_err(|_| bad("a number is none"))?;
                }
                ["segment", id, state, bytes, hash] => {
                    let id = u64::from_str_radix(id, 16).map_err(|_| bad("a number is none"))?;
                    let bytes = bytes.parse().map_err(|_| bad("a number is none"))?;
                    let (closed, hash) = (state == "closed", hash.to_owned());
                    list.segments.insert(id, Entry { closed, bytes, hash });
                }
                _ => return Err(bad("a line is none of ours")),
            }
        }
        Ok(Some(list))
    }

    fn write(&self, folder: &Path) -> Result<()> {
        let (taken, lsn) = (&self.taken, self.last_lsn);
        let mut text = format!("{FIRST_LINE}\ntaken {taken}\nlast-change {lsn}\n");
        for (id, entry) in &self.segments {
            let state = if entry.closed { "closed" } else { "open" };
            let _ = writeln!(text, "segment {id:016x} {state} {} {}", entry.bytes, entry.hash);
        }
        let part = folder.join("BACKUP.part");
        remove_if_there(&part)?;
        let synced = write_file(&part, text.as_bytes())?.sync_all();
        let renamed = synced.and_then(|()| fs::rename(&part, folder.join(LIST)));
        renamed.map_err(|e| io_error("could not write", &part, &e))?;
        sync_folder(folder)
    }
}

fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(io_error("could not remove", path, &e))
        }
        _ => Ok(()),
    }
}

/// Copies what is new since the last backup into the same folder; makes the folder when it is not there.
pub fn backup(
    data: &Path,
    target: &Path,
    clock: &dyn Clock,
    progress: Progress<'_>,
) -> Result<Backed> {
    let log = data.join("log");
    let ids = segment_ids(&log)?;
    let _lock = take(target)?;
    let old = List::read(target)?;
    let refused = |reason: &str| {
        let (path, reason) = (target.to_owned(), reason.to_owned());
        Error::Io { what: "will not write this backup to", path, reason }
    };
    let copies = target.join("log");
    if old.is_none()
        && copies.exists()
        && !segment_ids(&copies)?.is_empty()
        && !data_begins(&log, &copies)?
    {
        return Err(refused("it holds the log of another mail store; give another folder"));
    }
    let old = old.unwrap_or_default();
    if !old.segments.is_empty() && !ids.iter().any(|id| old.segments.contains_key(id)) {
        return Err(refused("it is the backup of another mail store; give another folder"));
    }
    crate::folder::make_private(&copies).map_err(|e| io_error("could not make", &copies, &e))?;
    let mut work = Work {
        log: &log,
        copies: &copies,
        old,
        new: List::default(),
        backed: Backed::default(),
        progress,
        done: 0,
        total: log_bytes(&log)?,
    };
    for (n, id) in ids.iter().enumerate() {
        work.segment(*id, n + 1 == ids.len())?;
    }
    let format = fs::read(data.join("FORMAT")).unwrap_or_default();
    remove_if_there(&target.join("FORMAT"))?;
    write_file(&target.join("FORMAT"), &format)?;
    work.new.taken = words::when(clock.now_unix_s());
    work.new.last_lsn = work.backed.last_lsn;
    work.backed.taken.clone_from(&work.new.taken);
    work.new.write(target)?;
    Ok(work.backed)
}

/// One backup at a time into one folder.
fn take(target: &Path) -> Result<File> {
    crate::folder::make_private(target).map_err(|e| io_error("could not make", target, &e))?;
    let is_data = target.join("lock").exists() || target.join("index.sqlite").exists();
    let is_backup = target.join(LIST).exists() || target.join("backup.lock").exists();
    let empty = fs::read_dir(target).is_ok_and(|mut entries| entries.next().is_none());
    if is_data || !is_backup && !empty {
        let reason = "it is neither empty nor a backup; give another folder".to_owned();
        return Err(Error::Io {
            what: "will not write a backup to",
            path: target.to_owned(),
            reason,
        });
    }
    let path = target.join("backup.lock");
    let file = File::create(&path).map_err(|e| io_error("could not lock", &path, &e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let reason = "another backup is being written there; wait for it".to_owned();
            Err(Error::Io { what: "cannot use", path: target.to_owned(), reason })
        }
        Err(TryLockError::Error(e)) => Err(io_error("could not lock", &path, &e)),
    }
}

/// Whether copies without a list, as an interrupted first backup leaves them, are of this log.
fn data_begins(log: &Path, copies: &Path) -> Result<bool> {
    for id in segment_ids(copies)? {
        if header(&segment_path(log, id))? != header(&segment_path(copies, id))? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn header(path: &Path) -> Result<Option<[u8; 128]>> {
    let mut bytes = [0; 128];
    match File::open(path).and_then(|file| file.read_exact_at(&mut bytes, 0)) {
        Ok(()) => Ok(Some(bytes)),
        Err(e)
            if matches!(
                e.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::UnexpectedEof
            ) =>
        {
            Ok(None)
        }
        Err(e) => Err(io_error("could not read", path, &e)),
    }
}

struct Work<'a> {
    log: &'a Path,
    copies: &'a Path,
    old: List,
    new: List,
    backed: Backed,
    progress: Progress<'a>,
    done: u64,
    total: u64,
}

impl Work<'_> {
    fn segment(&mut self, id: u64, last: bool) -> Result<()> {
        let (from, to) = (segment_path(self.log, id), segment_path(self.copies, id));
        let length = fs::metadata(&from).map_or(0, |m| m.len());
        (self.progress)(Doing::Copying, self.done, self.total);
        let old = self.old.segments.get(&id).cloned();
        if let (Some(_), Some(ours), Some(theirs)) = (&old, header(&to)?, header(&from)?)
            && ours != theirs
            && Segment::open(&from, id)?.is_some_and(|segment| !segment.header_corrected)
        {
            return Err(self.other_history(id));
        }
        let there =
            fs::metadata(&to).is_ok_and(|m| Some(m.len()) == old.as_ref().map(|old| old.bytes));
        if let Some(old) = old.clone().filter(|old| old.closed && there) {
            self.backed.kept_segments += 1;
            self.new.segments.insert(id, old);
            self.backed.last_lsn = self.backed.last_lsn.max(self.last_lsn_of(&to, id)?);
        } else {
            self.copy(id, last, old)?;
        }
        self.done += length;
        (self.progress)(Doing::Copying, self.done, self.total);
        Ok(())
    }

    fn other_history(&self, id: u64) -> Error {
        Error::Io {
            what: "will not write this backup to",
            path: self.copies.to_owned(),
            reason: format!(
                "segment {id:x} there is of another mail store, or of this one before it was restored to an \
                 earlier time; give another folder"
            ),
        }
    }

    /// The last change of a closed segment that is here: the next one says it, else it is read.
    fn last_lsn_of(&self, path: &Path, id: u64) -> Result<u64> {
        if let Some(next) = Segment::open(&segment_path(self.log, id + 1), id + 1).ok().flatten() {
            return Ok(next.header.first_lsn.saturating_sub(1));
        }
        let Some(segment) = Segment::open(path, id)? else { return Ok(0) };
        Ok(scan_segment(&segment, true, &mut |_| Ok(Flow::On))?.map_or(0, |end| end.lsn))
    }

    fn copy(&mut self, id: u64, last: bool, old: Option<Entry>) -> Result<()> {
        let from = segment_path(self.log, id);
        let Some(segment) = Segment::open(&from, id)? else {
            // A segment that is being made just now has nothing in it.
            if !last || fs::metadata(&from).is_ok_and(|m| m.len() > super::scan::HEADER_BYTES) {
                self.damaged(id, "its header is damaged", old);
            }
            return Ok(());
        };
        // What is whole in the file by now shall be durable in the store too before a backup has it.
        if last {
            segment.file().sync_data().map_err(|e| io_error("could not sync", &from, &e))?;
        }
        let mut damage = Vec::new();
        let end = scan_segment(&segment, last, &mut |event| {
            if !matches!(event, Event::Frame(_) | Event::Torn { .. }) {
                damage.extend(words::event(&event).map(|(_, what)| what));
            }
            Ok(Flow::On)
        })?;
        if segment.header_corrected {
            damage.push(format!("the header of segment {id:x} is damaged"));
        }
        let good = damage.is_empty();
        if !good && old.is_some() {
            self.damaged(id, &damage.join("; "), old);
            return Ok(());
        }
        let end_lsn = end.map_or(0, |end| end.lsn);
        let bytes = end.filter(|_| good && last).map_or(segment.length, |end| end.end.offset);
        let hash = self.write(&segment, bytes, old.as_ref())?;
        if good {
            self.verify(id, bytes, last)?;
        } else {
            self.backed.problems.push(format!(
                "segment {id:x} was copied as it is, damaged: {}; `openpoczta fsck` says more",
                damage.join("; ")
            ));
        }
        let length = segment.file().metadata().map_or(0, |m| m.len());
        if length < bytes {
            return Err(Error::Corrupt(format!(
                "{} became shorter while it was copied",
                from.display()
            )));
        }
        let part = segment_path(self.copies, id).with_extension("part");
        fs::rename(&part, segment_path(self.copies, id))
            .map_err(|e| io_error("could not rename", &part, &e))?;
        sync_folder(self.copies)?;
        self.backed.copied_segments += 1;
        self.backed.copied_bytes += bytes;
        self.backed.last_lsn = self.backed.last_lsn.max(end_lsn);
        self.new.segments.insert(id, Entry { closed: good && !last, bytes, hash });
        Ok(())
    }

    fn damaged(&mut self, id: u64, why: &str, old: Option<Entry>) {
        let kept = match old {
            Some(entry) => {
                let bytes = entry.bytes;
                self.new.segments.insert(id, entry);
                format!("the backup keeps its good copy of the first {bytes} bytes")
            }
            None => "the backup has no copy of it".to_owned(),
        };
        self.backed.problems.push(format!("segment {id:x} of the store: {why}; {kept}"));
    }

    /// Copies the first `bytes` to a file beside the copy; refuses when they do not begin with what was
    /// copied before. Gives back their hash.
    fn write(&self, segment: &Segment, bytes: u64, old: Option<&Entry>) -> Result<String> {
        let part = segment_path(self.copies, segment.id).with_extension("part");
        let failed = |e: std::io::Error| io_error("could not write", &part, &e);
        let mut out = File::create(&part).map_err(failed)?;
        let mut input = File::open(&segment.path)
            .map_err(|e| io_error("could not open", &segment.path, &e))?
            .take(bytes);
        let (mut hasher, mut done, mut chunk) = (blake3::Hasher::new(), 0, vec![0; CHUNK_BYTES]);
        loop {
            // The old end falls between two chunks, so that the hash so far can be compared there.
            let to_old = old.map_or(u64::MAX, |old| old.bytes.saturating_sub(done));
            let want = if to_old == 0 { u64::MAX } else { to_old };
            let want = usize::try_from(want).unwrap_or(usize::MAX).min(CHUNK_BYTES);
            let read = input
                .read(chunk.get_mut(..want).unwrap_or_default())
                .map_err(|e| io_error("could not read", &segment.path, &e))?;
            let Some(bytes) = chunk.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
            hasher.update(bytes);
            out.write_all(bytes).map_err(failed)?;
            done += read as u64;
            if old.is_some_and(|old| {
                old.bytes == done && old.hash != hasher.finalize().to_hex().as_str()
            }) {
                return Err(self.other_history(segment.id));
            }
            (self.progress)(Doing::Copying, self.done + done, self.total);
        }
        if old.is_some_and(|old| old.bytes > done) {
            return Err(self.other_history(segment.id));
        }
        out.sync_all().map_err(failed)?;
        Ok(hasher.finalize().to_hex().to_string())
    }

    /// Reads the copy back: every frame must be there and good.
    fn verify(&self, id: u64, bytes: u64, last: bool) -> Result<()> {
        let part = segment_path(self.copies, id).with_extension("part");
        let bad = || {
            Error::Corrupt(format!("{}: the copy differs from what was written", part.display()))
        };
        let segment = Segment::open(&part, id)?.ok_or_else(bad)?;
        let mut good = segment.length == bytes && !segment.header_corrected;
        let end = scan_segment(&segment, last, &mut |event| {
            good &= matches!(event, Event::Frame(_));
            Ok(Flow::On)
        })?;
        if good && end.is_none_or(|end| end.end.offset == bytes) { Ok(()) } else { Err(bad()) }
    }
}
