//! `restore`: a data folder from a backup; all of it, up to a time, or one account.

use super::backup::List;
use super::export::sync_folder;
use super::rewrite::Rewrite;
use super::scan::{
    Event, Flow, Found, Segment, files_of, io_error, scan, segment_ids, segment_path,
};
use super::{Doing, Progress, words};
use crate::pack::parts_folder;
use crate::{Error, Result, folder};
use db::{Op, Position};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

/// Where a segment of a restored account ends.
const SEGMENT_BYTES: u64 = 64 << 20;
/// The same in time: a frame's time counts from the start of its segment and has little room.
const SEGMENT_AGE_S: i64 = 90 * 86_400;

/// What was restored.
#[derive(Debug, Clone, Default)]
pub struct Restored {
    pub segments: u64,
    pub changes: u64,
    pub letters: u64,
    /// Of the last change that was taken, as far as the log says.
    pub up_to: String,
    /// When the backup was taken.
    pub taken: String,
    /// What is damaged in the backup, a sentence each.
    pub problems: Vec<String>,
}

/// Makes a data folder, which must be empty or not there yet.
pub fn restore(
    backup: &Path,
    data: &Path,
    account: Option<&str>,
    until_unix_s: Option<i64>,
    progress: Progress<'_>,
) -> Result<Restored> {
    let Some(list) = List::read(backup)? else {
        let reason =
            "it has no list BACKUP; give the folder that `openpoczta backup` wrote".to_owned();
        return Err(Error::Io { what: "there is no backup in", path: backup.to_owned(), reason });
    };
    let empty = fs::read_dir(data).map_or(true, |mut entries| entries.next().is_none());
    if !empty {
        let reason = "it is not empty; give a new folder".to_owned();
        return Err(Error::Io { what: "will not restore into", path: data.to_owned(), reason });
    }
    let from = backup.join("log");
    segment_ids(&from)?;
    let _lock = folder::open(data)?;
    let log = data.join("log");
    folder::make_private(&log).map_err(|e| io_error("could not make", &log, &e))?;
    let mut work = Work {
        restored: Restored { taken: list.taken, ..Restored::default() },
        until_unix_s: until_unix_s.unwrap_or(i64::MAX),
        now_unix_s: i64::MIN,
    };
    match account {
        None => {
            let end = work.all(&from, progress)?;
            copy(&from, &log, end, progress)?;
        }
        Some(key) => work.account(&from, &log, key, progress)?,
    }
    let mut restored = work.restored;
    restored.up_to = words::when(work.now_unix_s);
    restored.segments = segment_ids(&log)?.len() as u64;
    Ok(restored)
}

struct Work {
    restored: Restored,
    until_unix_s: i64,
    /// The time of the log where we are: a change was made at this time or later.
    now_unix_s: i64,
}

impl Work {
    /// Whether the frame comes after the time that is wanted.
    fn too_late(&mut self, found: &Found<'_>, ops: &[Op]) -> bool {
        let mut at = found.unix_s().max(self.now_unix_s);
        for op in ops {
            if let Op::MessageAdd { row, .. } = op {
                at = at.max(row.saved_unix_s);
            }
        }
        if at > self.until_unix_s {
            return true;
        }
        self.now_unix_s = at;
        false
    }

    fn problem(&mut self, event: &Event<'_>) {
        if !matches!(event, Event::Torn { .. }) {
            self.restored.problems.extend(words::event(event).map(|(_, what)| what));
        }
    }

    /// Where the log is to end.
    fn all(&mut self, from: &Path, progress: Progress<'_>) -> Result<Position> {
        let mut end = None;
        scan(from, 0, progress, &mut |event| {
            let Event::Frame(found) = event else {
                self.problem(&event);
                return Ok(Flow::On);
            };
            if self.too_late(&found, &found.ops()?) {
                return Ok(Flow::Stop);
            }
            self.restored.changes += 1;
            self.restored.letters += u64::from(found.blob.is_some());
            end = Some(found.after);
            Ok(Flow::On)
        })?;
        end.ok_or_else(too_early)
    }

    /// The changes of one account, in a log of their own.
    fn account(
        &mut self,
        from: &Path,
        log: &Path,
        key: &str,
        progress: Progress<'_>,
    ) -> Result<()> {
        let mut wanted = None;
        let mut out: Option<(u64, Rewrite)> = None;
        scan(from, 0, progress, &mut |event| {
            let Event::Frame(found) = event else {
                self.problem(&event);
                return Ok(Flow::On);
            };
            let all = found.ops()?;
            if self.too_late(&found, &all) {
                return Ok(Flow::Stop);
            }
            let mut ops = Vec::new();
            let mut with_letter = false;
            for op in &all {
                if let Op::AccountPut { account, key: put, .. } = op
                    && put == key
                {
                    wanted = Some(*account);
                }
                // Aliases are nobody's: they stay behind.
                if op.account().is_some_and(|account| Some(account) == wanted) {
                    op.encode(&mut ops);
                    with_letter |= matches!(op, Op::EmailAdd { .. });
                }
            }
            if ops.is_empty() {
                return Ok(Flow::On);
            }
            let (id, mut writer) = match out.take() {
                Some((id, full))
                    if full.length() >= SEGMENT_BYTES
                        || full.age_s(found.unix_s()) >= SEGMENT_AGE_S =>
                {
                    let next = full.next_lsn();
                    full.finish()?;
                    let created = found.segment.header.created_unix_ms;
                    (id + 1, Rewrite::begin_new(log, id + 1, next, created)?)
                }
                Some(open) => open,
                None => (1, Rewrite::begin_new(log, 1, 1, found.segment.header.created_unix_ms)?),
            };
            if with_letter && found.gone {
                let (bytes, hash) = (found.letter.len(), found.frame.blob_hash);
                writer.frame_of_gone(bytes, hash, &ops, found.unix_s())?;
            } else {
                writer.frame(with_letter.then_some(found.letter), &ops, found.unix_s())?;
            }
            out = Some((id, writer));
            self.restored.changes += 1;
            self.restored.letters += u64::from(with_letter);
            Ok(Flow::On)
        })?;
        match out {
            Some((_, writer)) => writer.finish(),
            None => Err(Error::NoAccount),
        }
    }
}

fn too_early() -> Error {
    Error::Io {
        what: "there is nothing to restore from",
        path: "the backup".into(),
        reason: "it has no change up to that time".to_owned(),
    }
}

/// Copies the segments up to `end`, synced: packs with the bodies they need. The last one is unpacked, since
/// the store goes on writing there.
fn copy(from: &Path, log: &Path, end: Position, progress: Progress<'_>) -> Result<()> {
    let ids: Vec<u64> =
        segment_ids(from)?.into_iter().filter(|id| *id <= end.end.segment).collect();
    let total = ids.len() as u64;
    for (done, id) in (0..).zip(&ids) {
        progress(Doing::Copying, done, total);
        let Some(segment) = Segment::find(from, *id)? else {
            // What nobody can read is left for fsck to look at.
            for file in files_of(from, *id)? {
                copy_file(&file, &log.join(file.file_name().unwrap_or_default()))?;
            }
            continue;
        };
        let last = *id == end.end.segment;
        match segment.pack() {
            Some(pack) if !last => {
                for part in pack.parts() {
                    if part.exists() {
                        copy_part(&part, log)?;
                    }
                }
                let name = segment.path.file_name().unwrap_or_default();
                copy_file(&segment.path, &log.join(name))?;
            }
            _ => {
                let length = if last { end.end.offset } else { segment.length };
                write_out(&segment, length, &segment_path(log, *id))?;
            }
        }
    }
    sync_folder(log)
}

fn copy_part(part: &Path, log: &Path) -> Result<()> {
    let folder = parts_folder(log);
    let target = folder.join(part.file_name().unwrap_or_default());
    if target.exists() {
        return Ok(());
    }
    folder::make_private(&folder).map_err(|e| io_error("could not make", &folder, &e))?;
    copy_file(part, &target)?;
    sync_folder(&folder)
}

fn copy_file(from: &Path, to: &Path) -> Result<()> {
    let mut input = File::open(from).map_err(|e| io_error("could not open", from, &e))?;
    let copied = File::create_new(to).and_then(|mut out| {
        std::io::copy(&mut input, &mut out)?;
        out.sync_all()
    });
    copied.map_err(|e| io_error("could not write", to, &e))
}

/// Writes the first `length` bytes of a segment, packed or not, to a file.
fn write_out(segment: &Segment, length: u64, to: &Path) -> Result<()> {
    let failed = |e: std::io::Error| io_error("could not write", to, &e);
    let mut out = File::create_new(to).map_err(failed)?;
    let (mut at, mut chunk) = (0, vec![0; 1 << 20]);
    while at < length {
        let rest = usize::try_from(length - at).unwrap_or(usize::MAX);
        chunk.truncate(rest);
        if !segment.read(&mut chunk, at)? {
            return Err(Error::Corrupt(format!(
                "{}, which ends too early,",
                segment.path.display()
            )));
        }
        out.write_all(&chunk).map_err(failed)?;
        at += chunk.len() as u64;
    }
    out.sync_all().map_err(failed)
}
