//! Decides what to pack, gives up what nobody has any more, and clears away what is not needed.

use super::file::failed;
use super::table::Piece;
use super::write::{Pace, Survey, Work, Written, same, survey, write};
use super::{pack_path, parts_folder};
use crate::log::{IDLE_MS, Segments, walk};
use crate::{Error, Result};
use db::Index;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use types::EmailId;

/// A pack with more dead bytes than this of a hundred is written anew without them.
const DEAD_PERCENT: u64 = 40;
/// How often the packer looks for work. Each time it packs what is closed, and asks for one pack whether its
/// letters are still alive.
const EVERY: Duration = Duration::from_secs(30);
/// A segment that could not be packed is tried again after this.
const TRY_AGAIN: Duration = Duration::from_hours(1);

/// What the packed part of a log looks like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Packed {
    /// Segments that are packed.
    pub packs: u64,
    /// What their segments took.
    pub raw_bytes: u64,
    /// What the packs and shared bodies take.
    pub stored_bytes: u64,
    /// Packs written by this look, and those of them that gave up dead letters.
    pub written: u64,
    pub collected: u64,
    /// Bytes of letters nobody has any more that are still there.
    pub dead_bytes: u64,
}

/// What is remembered of a pack between two looks.
#[derive(Debug, Clone, Copy)]
struct Known {
    raw_bytes: u64,
    file_bytes: u64,
    dead_bytes: u64,
    /// The look in which its letters were asked for last.
    asked: u64,
}

/// What is remembered between two looks.
#[derive(Debug, Default)]
struct Memory {
    looks: u64,
    packs: HashMap<u64, Known>,
    failed: HashMap<u64, Instant>,
    /// Bytes of shared bodies; `None`: not counted since they changed.
    shared_bytes: Option<u64>,
    /// What an earlier process left was cleared away.
    cleared: bool,
}

pub(crate) struct Packer {
    segments: Arc<Segments>,
    index: Arc<dyn Index>,
    /// Held while packing: one at a time.
    working: Mutex<Memory>,
    last: Mutex<Packed>,
    stop: Arc<AtomicBool>,
    /// A number that grows whenever the writer writes.
    written: OnceLock<Written>,
    wake: Condvar,
    sleep: Mutex<()>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Packer {
    pub(crate) fn new(segments: Arc<Segments>, index: Arc<dyn Index>) -> Arc<Self> {
        Arc::new(Self {
            segments,
            index,
            working: Mutex::default(),
            last: Mutex::default(),
            stop: Arc::default(),
            written: OnceLock::new(),
            wake: Condvar::new(),
            sleep: Mutex::default(),
            thread: Mutex::default(),
        })
    }

    /// Packs in the background until [`Packer::stop`], and gives way to the writer. `knock` has the writer close a
    /// segment that rests; it goes with the thread.
    pub(crate) fn start(
        self: &Arc<Self>,
        written: Written,
        knock: Box<dyn Fn() + Send>,
    ) -> Result<()> {
        let packer = self.clone();
        let count = written.clone();
        self.written.set(written).unwrap_or_default();
        let started = std::thread::Builder::new().name("packer".to_owned()).spawn(move || {
            be_nice();
            let mut rest = Rest::new(count(), Instant::now());
            packer.run(|| {
                if rest.is_long(count(), Instant::now()) {
                    knock();
                }
            });
        });
        let started =
            started.map_err(|e| Error::Poisoned(format!("the packer did not start: {e}")))?;
        *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(started);
        Ok(())
    }

    /// One look as the background does it, on a thread of its own.
    pub(crate) fn look_aside(
        self: &Arc<Self>,
        written: Written,
    ) -> Result<oneshot::Receiver<Result<Packed>>> {
        let packer = self.clone();
        self.written.set(written).unwrap_or_default();
        let (done, looked) = oneshot::channel();
        let started = std::thread::Builder::new().name("packer".to_owned()).spawn(move || {
            be_nice();
            // Who asked may have gone.
            done.send(packer.look(true)).unwrap_or_default();
        });
        started.map_err(|e| Error::Poisoned(format!("the packer did not start: {e}")))?;
        Ok(looked)
    }

    /// Returns when nothing of the data folder is touched any more.
    pub(crate) fn stop(&self) {
        let sleep = self.sleep.lock().unwrap_or_else(PoisonError::into_inner);
        self.stop.store(true, Ordering::SeqCst);
        self.wake.notify_all();
        drop(sleep);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the packer ended in a panic; no mail is harmed");
        }
        // And whoever packs outside the thread.
        drop(self.working.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// As of the last look.
    pub(crate) fn figures(&self) -> Packed {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, mut before_each: impl FnMut()) {
        loop {
            let sleep = self.sleep.lock().unwrap_or_else(PoisonError::into_inner);
            let stopped = |(): &mut ()| !self.stop.load(Ordering::SeqCst);
            drop(self.wake.wait_timeout_while(sleep, EVERY, stopped).map(drop));
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            before_each();
            match self.look(true) {
                Ok(_) | Err(Error::Closed) => {}
                Err(error) => {
                    tracing::warn!(%error, "packing failed, is tried again later; no mail is harmed");
                }
            }
        }
    }

    /// Packs every closed segment and rewrites packs that are mostly dead. `slow`: leaves time to others, asks
    /// for the dead of one pack only, and does not try again what failed lately.
    pub(crate) fn look(&self, slow: bool) -> Result<Packed> {
        let mut memory = self.working.lock().unwrap_or_else(PoisonError::into_inner);
        memory.looks += 1;
        self.clear(&mut memory, slow)?;
        let ids = self.segments.ids()?;
        let closed = ids.split_last().map_or(&[][..], |(_, closed)| closed);
        memory.packs.retain(|id, _| closed.binary_search(id).is_ok());
        let asked = Self::next_to_ask(&memory, closed);
        let mut seen = Packed::default();
        let mut failure = None;
        for id in closed {
            if self.stop.load(Ordering::SeqCst) {
                break;
            }
            let known = memory.packs.contains_key(id) && asked != Some(*id);
            let failed = memory.failed.get(id).is_some_and(|at| at.elapsed() < TRY_AGAIN);
            if slow && (known || failed) {
                continue;
            }
            let ask = !slow || asked == Some(*id);
            // A damaged segment stays as it is, for fsck; the others are packed all the same.
            if let Err(error) = self.segment(*id, (slow, ask), &mut memory, &mut seen) {
                memory.failed.insert(*id, Instant::now());
                failure = Some(error);
            }
            self.tell(&memory, seen);
        }
        if failure.is_none() && (seen.written > 0 || memory.shared_bytes.is_none()) {
            memory.shared_bytes = Some(self.sweep(seen.collected > 0)?);
        }
        let seen = self.tell(&memory, seen);
        failure.map_or(Ok(seen), Err)
    }

    /// What is packed so far, for whoever looks at the figures.
    fn tell(&self, memory: &Memory, mut seen: Packed) -> Packed {
        for pack in memory.packs.values() {
            seen.packs += 1;
            seen.raw_bytes += pack.raw_bytes;
            seen.stored_bytes += pack.file_bytes;
            seen.dead_bytes += pack.dead_bytes;
        }
        seen.stored_bytes += memory.shared_bytes.unwrap_or(0);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        seen
    }

    /// The pack whose dead were not counted for the longest time. Asking for all of them at each look would
    /// take as long as reading the whole index.
    fn next_to_ask(memory: &Memory, closed: &[u64]) -> Option<u64> {
        closed
            .iter()
            .filter_map(|id| memory.packs.get(id).map(|pack| (pack.asked, *id)))
            .min()
            .map(|(_, id)| id)
    }

    fn pace(&self, slow: bool) -> Pace {
        Pace::new(slow, &self.stop, self.written.get().cloned())
    }

    /// `ask`: whether the letters of a pack are still alive; of a segment it is asked in any case.
    fn segment(
        &self,
        id: u64,
        (slow, ask): (bool, bool),
        memory: &mut Memory,
        seen: &mut Packed,
    ) -> Result<()> {
        let source = self.segments.segment(id)?;
        let mut pace = self.pace(slow);
        if let Some(pack) = source.pack().filter(|_| !ask) {
            let (raw_bytes, file_bytes) = (pack.table.raw_bytes, pack.file_bytes);
            memory.packs.insert(id, Known { raw_bytes, file_bytes, dead_bytes: 0, asked: 0 });
            return Ok(());
        }
        let (found, generation) = match source.pack() {
            Some(pack) => {
                let letters = pack.table.letters.clone();
                (Survey { letters, ..Survey::default() }, pack.header.generation)
            }
            None => (survey(&source, id, &mut pace)?, 0),
        };
        let (dead, dead_bytes, kept_bytes) = self.dead(id, &found, &mut pace)?;
        let collect = dead_bytes * 100 > (dead_bytes + kept_bytes) * DEAD_PERCENT;
        let asked = memory.looks;
        if let Some(pack) = source.pack().filter(|_| !collect) {
            let (raw_bytes, file_bytes) = (pack.table.raw_bytes, pack.file_bytes);
            let known = Known { raw_bytes, file_bytes, dead_bytes, asked };
            memory.packs.insert(id, known);
            return Ok(());
        }
        // The survey of a pack has no samples for a dictionary.
        let found = if generation > 0 { survey(&source, id, &mut pace)? } else { found };
        let dead = if collect { dead } else { HashSet::new() };
        let generation = generation + 1;
        let (disk, log) = (self.segments.disk(), self.segments.folder());
        let mut work = Work { disk, log, id, generation, source: &source, dead, pace };
        let pack = write(&mut work, found)?;
        seen.written += 1;
        seen.collected += u64::from(collect);
        let (raw_bytes, file_bytes) = (pack.table.raw_bytes, pack.file_bytes);
        let dead_bytes = if collect { 0 } else { dead_bytes };
        memory.packs.insert(id, Known { raw_bytes, file_bytes, dead_bytes, asked });
        tracing::info!(segment = id, generation, from = raw_bytes, to = file_bytes, "packed");
        // Written, synced, read back, named, and the name synced: only now may the old file go.
        self.segments.replaced(id, generation);
        let old = match generation {
            1 => self.segments.path(id),
            _ => pack_path(log, id, generation - 1),
        };
        disk.remove(&old).map_err(|e| failed("could not remove", &old, &e))
    }

    /// Starts of letters no account has any more, their bytes, and those of the others. A letter counts as
    /// dead only when the index has come past this segment: before, it may not have been told of it yet.
    fn dead(&self, id: u64, found: &Survey, pace: &mut Pace) -> Result<(HashSet<u64>, u64, u64)> {
        let read = self.index.read()?;
        let settled = read.position()?.is_some_and(|position| position.end.segment > id);
        let (mut dead, mut dead_bytes, mut kept_bytes) = (HashSet::new(), 0, 0);
        for letter in found.letters.iter().filter(|letter| !letter.gone) {
            pace.breathe()?;
            let mut alive = !settled || letter.emails.is_empty();
            for email in &letter.emails {
                alive = alive || read.email(EmailId(*email))?.is_some();
            }
            if alive {
                kept_bytes += u64::from(letter.bytes);
            } else {
                dead_bytes += u64::from(letter.bytes);
                dead.insert(letter.start);
            }
        }
        Ok((dead, dead_bytes, kept_bytes))
    }

    /// Removes what a crash left: files half made, segments and packs that a whole pack stands in for.
    fn clear(&self, memory: &mut Memory, slow: bool) -> Result<()> {
        if memory.cleared {
            return Ok(());
        }
        let log = self.segments.folder();
        for folder in [log.to_owned(), parts_folder(log)] {
            for path in files(&folder)? {
                if path.extension().is_some_and(|end| end == "tmp") {
                    let removed = self.segments.disk().remove(&path);
                    removed.map_err(|e| failed("could not remove", &path, &e))?;
                }
            }
        }
        let stale = self.segments.stale()?;
        if !stale.is_empty() {
            // The name of a pack may not have been durable yet when the crash came.
            let synced = self.segments.disk().sync_folder(log);
            synced.map_err(|e| failed("could not sync", log, &e))?;
        }
        for (id, old) in stale {
            self.clear_old(id, &old, slow)?;
        }
        memory.cleared = true;
        Ok(())
    }

    /// Removes a file that a pack stands in for, or the pack when that is not whole. It was compared before it
    /// got its name; whether the disk kept it is seen here.
    fn clear_old(&self, id: u64, old: &Path, slow: bool) -> Result<()> {
        let source = match self.segments.older(id, old) {
            // Both may be damaged: that is for fsck to say.
            Err(Error::Corrupt(_)) => return Ok(()),
            source => source?,
        };
        let pack = self.segments.segment(id)?;
        let removed = match same(&pack, &source, id, &mut self.pace(slow)) {
            Ok(()) => self.segments.disk().remove(old),
            Err(Error::Corrupt(what)) => {
                if !walk(&source, id, |_, _, _| Ok(())).is_ok_and(|whole| whole) {
                    return Ok(());
                }
                let bad = pack.pack().map(|pack| pack.path().to_owned());
                let bad = bad.unwrap_or_else(|| old.to_owned());
                tracing::error!(%what, pack = %bad.display(), "a pack was damaged by a crash, its segment is whole");
                let removed = self.segments.disk().remove(&bad);
                self.segments.forget(id);
                removed
            }
            Err(error) => return Err(error),
        };
        removed.map_err(|e| failed("could not remove", old, &e))
    }

    /// Removes bodies that no pack refers to when `collected`; gives back the bytes of those there are.
    fn sweep(&self, collected: bool) -> Result<u64> {
        let folder = parts_folder(self.segments.folder());
        let there = files(&folder)?;
        let mut used = HashSet::new();
        if collected {
            // A pack that cannot be read ends this with an error, and nothing is removed.
            for id in self.segments.ids()? {
                let segment = self.segments.segment(id)?;
                let letters = segment.pack().map_or(&[][..], |pack| &pack.table.letters);
                for piece in letters.iter().flat_map(|letter| &letter.pieces) {
                    if let Piece::Part(hash, _) = piece {
                        used.insert(super::part_path(&folder, hash));
                    }
                }
            }
        }
        let mut bytes = 0;
        for path in there {
            if collected && !used.contains(&path) {
                let removed = self.segments.disk().remove(&path);
                removed.map_err(|e| failed("could not remove", &path, &e))?;
            } else {
                bytes += std::fs::metadata(&path).map_or(0, |m| m.len());
            }
        }
        Ok(bytes)
    }
}

/// How long the writer has had nothing to do.
struct Rest {
    written: u64,
    since: Instant,
    told: bool,
}

impl Rest {
    /// A little more than what the log takes for rest: its clock is not this one.
    const LONG: Duration = Duration::from_millis(IDLE_MS.unsigned_abs() + 10_000);

    const fn new(written: u64, now: Instant) -> Self {
        Self { written, since: now, told: false }
    }

    /// `true` once in each rest.
    fn is_long(&mut self, written: u64, now: Instant) -> bool {
        if written != self.written {
            *self = Self::new(written, now);
        }
        let is_long = !self.told && now.duration_since(self.since) >= Self::LONG;
        self.told |= is_long;
        is_long
    }
}

/// Lowers the priority of this thread: on Linux it concerns no other, and that of the disk follows.
fn be_nice() {
    if rustix::process::nice(10).is_err() {
        tracing::debug!("the packer runs at the priority of the server");
    }
}

/// The files in a folder; none when it is not there.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let listed = |e: std::io::Error| failed("could not list", folder, &e);
    let entries = match std::fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(listed)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(listed)?.path();
        if path.is_file() {
            found.push(path);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_is_told_of_once() {
        #[track_caller]
        fn check(rest: &mut Rest, written: u64, now: Instant, expect: bool) {
            assert_eq!(rest.is_long(written, now), expect);
        }
        let start = Instant::now();
        let mut rest = Rest::new(7, start);
        let after = |s| start + Duration::from_secs(s);
        check(&mut rest, 7, after(30), false);
        check(&mut rest, 7, after(609), false);
        check(&mut rest, 7, after(611), true);
        check(&mut rest, 7, after(2_000), false);
        check(&mut rest, 8, after(2_030), false);
        check(&mut rest, 8, after(2_630), false);
        check(&mut rest, 8, after(2_641), true);
        check(&mut rest, 9, after(9_000), false);
    }
}
