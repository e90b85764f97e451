//! `backup`: copies the log, segments that are closed once, the end each time; a server may run meanwhile.
//!
//! A backup folder has a folder `log/` as a data folder has, and the list `BACKUP`, written last. What is
//! copied is checked frame by frame, before and after. A segment that is here whole is never copied again, also
//! when the store has packed it since, or packed it again without letters that were deleted: what is here has
//! all of that, and more. So any mixture of segments and packs of one store is a backup of it.

use super::export::{sync_folder, write_file};
use super::scan::{
    Event, Flow, Segment, files_of, io_error, log_bytes, scan_segment, segment_bytes, segment_ids,
    segment_path,
};
use super::{Doing, Progress, words};
use crate::pack::{Pack, pack_path, parts_folder};
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use types::Clock;

const LIST: &str = "BACKUP";
const FIRST_LINE: &str = "openpoczta backup 2";
/// A list without packs.
const OLD_FIRST_LINE: &str = "openpoczta backup 1";
/// A server that packs meanwhile may take away what is being copied; it has something better then.
const TRIES: u32 = 5;
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
    /// Of a pack; 0 for a segment as it was written.
    generation: u32,
    /// Of the file.
    bytes: u64,
    /// BLAKE3 of those bytes.
    hash: String,
}

impl Entry {
    fn path(&self, copies: &Path, id: u64) -> PathBuf {
        match self.generation {
            0 => segment_path(copies, id),
            generation => pack_path(copies, id, generation),
        }
    }
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
        if !matches!(lines.next(), Some(FIRST_LINE | OLD_FIRST_LINE)) {
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
                    let (closed, generation, hash) = (state == "closed", 0, hash.to_owned());
                    list.segments.insert(id, Entry { closed, generation, bytes, hash });
                }
                ["pack", id, generation, state, bytes, hash] => {
                    let number = |text| u64::from_str_radix(text, 16).ok();
                    let generation = number(generation).and_then(|n| u32::try_from(n).ok());
                    let numbers = number(id).zip(generation).zip(bytes.parse().ok());
                    let ((id, generation), bytes) =
                        numbers.ok_or_else(|| bad("a number is none"))?;
                    let (closed, hash) = (state == "closed", hash.to_owned());
                    list.segments.insert(id, Entry { closed, generation, bytes, hash });
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
            let (bytes, hash) = (entry.bytes, &entry.hash);
            let _ = match entry.generation {
                0 => writeln!(text, "segment {id:016x} {state} {bytes} {hash}"),
                generation => {
                    writeln!(text, "pack {id:016x} {generation:08x} {state} {bytes} {hash}")
                }
            };
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
        last_kept: None,
        done: 0,
        total: log_bytes(&log)?,
    };
    for (n, id) in ids.iter().enumerate() {
        work.segment(*id, n + 1 == ids.len())?;
    }
    work.missing(&ids);
    if let Some(id) = work.last_kept {
        work.backed.last_lsn = work.backed.last_lsn.max(work.last_lsn_of(id)?);
    }
    let format = fs::read(data.join("FORMAT")).unwrap_or_default();
    remove_if_there(&target.join("FORMAT"))?;
    write_file(&target.join("FORMAT"), &format)?;
    work.new.taken = words::when(clock.now_unix_s());
    work.new.last_lsn = work.backed.last_lsn;
    work.backed.taken.clone_from(&work.new.taken);
    work.new.write(target)?;
    work.tidy()?;
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
        if header(log, id)? != header(copies, id)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The first bytes of a segment, packed or not.
fn header(log: &Path, id: u64) -> Result<Option<[u8; 128]>> {
    let mut bytes = [0; 128];
    for path in files_of(log, id)? {
        let read = if path.extension().is_some_and(|end| end == "pack") {
            Pack::open(&path).is_ok_and(|pack| pack.read(&mut bytes, 0).is_ok_and(|whole| whole))
        } else {
            match File::open(&path).and_then(|file| file.read_exact_at(&mut bytes, 0)) {
                Ok(()) => true,
                Err(e)
                    if matches!(
                        e.kind(),
                        std::io::ErrorKind::NotFound | std::io::ErrorKind::UnexpectedEof
                    ) =>
                {
                    false
                }
                Err(e) => return Err(io_error("could not read", &path, &e)),
            }
        };
        if read {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

struct Work<'a> {
    log: &'a Path,
    copies: &'a Path,
    old: List,
    new: List,
    backed: Backed,
    progress: Progress<'a>,
    /// The last segment that was not copied.
    last_kept: Option<u64>,
    done: u64,
    total: u64,
}

impl Work<'_> {
    fn segment(&mut self, id: u64, last: bool) -> Result<()> {
        let length = segment_bytes(self.log, id)?;
        (self.progress)(Doing::Copying, self.done, self.total);
        let old = self.old.segments.get(&id).cloned();
        if let (Some(_), Some(ours), Some(theirs)) =
            (&old, header(self.copies, id)?, header(self.log, id)?)
            && ours != theirs
            && Segment::find(self.log, id)?.is_some_and(|segment| !segment.header_corrected)
        {
            return Err(self.other_history(id));
        }
        let there = |old: &Entry| {
            fs::metadata(old.path(self.copies, id)).is_ok_and(|m| m.len() == old.bytes)
        };
        // What is written to in the store cannot be closed here, unless a crash has opened it again.
        let open = last && segment_path(self.log, id).exists();
        if let Some(old) = old.clone().filter(|old| old.closed && there(old) && !open) {
            self.backed.kept_segments += 1;
            self.new.segments.insert(id, old);
            self.last_kept = Some(id);
        } else {
            let mut tries = 0;
            loop {
                tries += 1;
                match self.copy(id, last, old.clone()) {
                    Err(Error::Io { path, .. }) if tries < TRIES && !path.exists() => {}
                    done => break done?,
                }
            }
        }
        self.done += length;
        (self.progress)(Doing::Copying, self.done, self.total);
        Ok(())
    }

    /// Segments that are here and no more in the store stay here.
    fn missing(&mut self, ids: &[u64]) {
        for (id, entry) in std::mem::take(&mut self.old.segments) {
            if !ids.contains(&id) {
                self.backed.problems.push(format!(
                    "segment {id:x} is missing from the store; the backup keeps its copy"
                ));
                self.new.segments.insert(id, entry);
            }
        }
    }

    /// Removes files that others of the same segment stand in for, and what runs that were cut off left.
    fn tidy(&self) -> Result<()> {
        let mut replaced = false;
        for (id, entry) in &self.new.segments {
            let kept = entry.path(self.copies, *id);
            for path in files_of(self.copies, *id)?.into_iter().filter(|path| *path != kept) {
                replaced |= path.extension().is_some_and(|end| end == "pack");
                remove_if_there(&path)?;
            }
        }
        let parts = parts_folder(self.copies);
        let mut used = BTreeSet::new();
        if replaced {
            for (id, entry) in self.new.segments.iter().filter(|(_, entry)| entry.generation > 0) {
                used.extend(Pack::open(&entry.path(self.copies, *id))?.parts());
            }
        }
        for folder in [self.copies, &parts] {
            let Ok(entries) = fs::read_dir(folder) else { continue };
            for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
                let half_made = path.extension().is_some_and(|end| end == "tmp");
                let unused = replaced && folder == parts && !used.contains(&path);
                if half_made || unused {
                    remove_if_there(&path)?;
                }
            }
        }
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
    fn last_lsn_of(&self, id: u64) -> Result<u64> {
        if let Some(next) = Segment::find(self.log, id + 1).ok().flatten() {
            return Ok(next.header.first_lsn.saturating_sub(1));
        }
        let Some(segment) = Segment::find(self.copies, id)? else { return Ok(0) };
        Ok(scan_segment(&segment, true, &mut |_| Ok(Flow::On))?.map_or(0, |end| end.lsn))
    }

    fn copy(&mut self, id: u64, last: bool, old: Option<Entry>) -> Result<()> {
        let Some(segment) = Segment::find(self.log, id)? else {
            // A segment that is being made just now has nothing in it.
            let from = segment_path(self.log, id);
            let begun = fs::metadata(&from).is_ok_and(|m| m.len() <= super::scan::HEADER_BYTES);
            if !last || !begun {
                self.damaged(id, "its header is damaged", old);
            }
            return Ok(());
        };
        let from = segment.path.clone();
        let last = last && segment.pack().is_none();
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
        if !good {
            self.backed.problems.push(format!(
                "segment {id:x} was copied as it is, damaged: {}; `openpoczta fsck` says more",
                damage.join("; ")
            ));
        }
        if segment.pack().is_some() || old.as_ref().is_some_and(|old| old.generation > 0) {
            self.follows(&segment)?;
        }
        let mut entry = if let Some(pack) = segment.pack() {
            self.copy_parts(pack, good)?;
            let generation = pack.header.generation;
            Entry { closed: good, generation, bytes: pack.file_bytes, hash: String::new() }
        } else {
            let bytes = end.filter(|_| good && last).map_or(segment.length, |end| end.end.offset);
            Entry { closed: good && !last, generation: 0, bytes, hash: String::new() }
        };
        let target = entry.path(self.copies, id);
        let half = with_tmp(&target);
        let old = old.filter(|old| entry.generation == 0 && old.generation == 0);
        entry.hash = self.write(&segment, entry.bytes, old.as_ref(), &half)?;
        if good {
            verify(&half, id, &entry, last)?;
        }
        let length = segment.file().metadata().map_or(0, |m| m.len());
        if length < entry.bytes {
            return Err(Error::Corrupt(format!(
                "{} became shorter while it was copied",
                from.display()
            )));
        }
        fs::rename(&half, &target).map_err(|e| io_error("could not rename", &half, &e))?;
        sync_folder(self.copies)?;
        self.backed.copied_segments += 1;
        self.backed.copied_bytes += entry.bytes;
        self.backed.last_lsn = self.backed.last_lsn.max(end_lsn);
        self.new.segments.insert(id, entry);
        Ok(())
    }

    /// Refuses a segment that does not begin with what is here of it, but for letters that were given up.
    fn follows(&self, segment: &Segment) -> Result<()> {
        let Ok(Some(old)) = Segment::find(self.copies, segment.id) else { return Ok(()) };
        let packs = [segment.pack(), old.pack()].into_iter().flatten();
        let letters = packs.flat_map(|pack| &pack.table.letters).filter(|letter| letter.gone);
        let given_up: BTreeMap<u64, u64> =
            letters.map(|letter| (letter.start, u64::from(letter.bytes))).collect();
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let mut at = 0;
        while at < old.length {
            if let Some(bytes) = given_up.get(&at) {
                at += bytes;
                continue;
            }
            let stop = given_up.range(at..).next().map_or(old.length, |(start, _)| *start);
            let count = usize::try_from(stop.min(old.length) - at).unwrap_or(usize::MAX);
            ours.resize(count.min(CHUNK_BYTES), 0);
            theirs.resize(count.min(CHUNK_BYTES), 0);
            let read = old.read(&mut ours, at)? && segment.read(&mut theirs, at)?;
            if !read || ours != theirs {
                return Err(self.other_history(segment.id));
            }
            at += ours.len() as u64;
        }
        Ok(())
    }

    /// Copies the bodies of a pack that are not here yet. Their names say what is in them.
    fn copy_parts(&self, pack: &Pack, good: bool) -> Result<()> {
        let folder = parts_folder(self.copies);
        let parts = pack.parts();
        if parts.is_empty() {
            return Ok(());
        }
        crate::folder::make_private(&folder)
            .map_err(|e| io_error("could not make", &folder, &e))?;
        for part in parts {
            let target = folder.join(part.file_name().unwrap_or_default());
            let length = match fs::metadata(&part) {
                Ok(metadata) => metadata.len(),
                // A damaged pack is copied as it is; of a whole one the body has gone since.
                Err(_) if !good || target.exists() => continue,
                Err(e) => return Err(io_error("could not look at", &part, &e)),
            };
            if fs::metadata(&target).is_ok_and(|m| m.len() == length) && Pack::open(&target).is_ok()
            {
                continue;
            }
            let half = with_tmp(&target);
            let copied = fs::copy(&part, &half).and_then(|_| File::open(&half)?.sync_all());
            copied.map_err(|e| io_error("could not copy", &part, &e))?;
            fs::rename(&half, &target).map_err(|e| io_error("could not rename", &half, &e))?;
        }
        sync_folder(&folder)?;
        sync_folder(self.copies)
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

    /// Copies the first `bytes` of the file of a segment; refuses when they do not begin with what was copied
    /// before. Gives back their hash.
    fn write(
        &self,
        segment: &Segment,
        bytes: u64,
        old: Option<&Entry>,
        half: &Path,
    ) -> Result<String> {
        let failed = |e: std::io::Error| io_error("could not write", half, &e);
        let mut out = File::create(half).map_err(failed)?;
        let (mut hasher, mut done, mut chunk) = (blake3::Hasher::new(), 0, vec![0; CHUNK_BYTES]);
        while done < bytes {
            // The old end falls between two chunks, so that the hash so far can be compared there.
            let to_old = old.map_or(u64::MAX, |old| old.bytes.saturating_sub(done));
            let want = if to_old == 0 { u64::MAX } else { to_old }.min(bytes - done);
            let want = usize::try_from(want).unwrap_or(usize::MAX).min(CHUNK_BYTES);
            let read = segment
                .file()
                .read_at(chunk.get_mut(..want).unwrap_or_default(), done)
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
}

fn with_tmp(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    name.into()
}

/// Reads the copy back: every frame must be there and good.
fn verify(half: &Path, id: u64, entry: &Entry, last: bool) -> Result<()> {
    let bad =
        || Error::Corrupt(format!("{}: the copy differs from what was written", half.display()));
    let segment = match entry.generation {
        0 => Segment::open(half, id)?,
        _ => Segment::of_pack(Pack::open(half)?.leniently(), id)?,
    };
    let segment = segment.ok_or_else(bad)?;
    let length = fs::metadata(half).map_or(0, |m| m.len());
    let mut good = length == entry.bytes && !segment.header_corrected;
    let end = scan_segment(&segment, last, &mut |event| {
        good &= matches!(event, Event::Frame(_));
        Ok(Flow::On)
    })?;
    let whole = end.is_none_or(|end| end.end.offset == segment.length);
    if good && whole { Ok(()) } else { Err(bad()) }
}
