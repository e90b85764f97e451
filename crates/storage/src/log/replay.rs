//! Reading the log from a position to its end, at open.
//!
//! The end of a log may be torn: bytes that were never synced, so nobody was told they are safe. They
//! are cut off. A bad frame that had been synced is damage: the log is left alone and not opened.

use super::Frame;
use super::segments::{SegmentFile, Segments};
use crate::{Error, Result};
use db::{BlobRef, Location, Position};
use memchr::memmem;

/// A frame that was read and checked.
pub(crate) struct Read {
    pub(crate) blob: Option<BlobRef>,
    pub(crate) ops: Vec<u8>,
    /// The log's position after it.
    pub(crate) after: Position,
}

/// Calls `visit` for each frame after `from`, cuts off a torn end, and gives back where the log ends:
/// `None` when there is no log yet.
pub(crate) fn replay(
    segments: &Segments,
    from: Option<Position>,
    mut visit: impl FnMut(Read) -> Result<()>,
) -> Result<Option<Position>> {
    let mut ids = segments.ids()?;
    drop_unfinished(segments, from, &mut ids)?;
    let Some(&first) = ids.first() else {
        return match from {
            None => Ok(None),
            Some(_) => Err(Error::Corrupt("the log is gone, the index is there".to_owned())),
        };
    };
    let mut position = match from {
        Some(position) => position,
        None => start_of(segments, first)?,
    };
    let last = ids.last().copied().unwrap_or(first);
    let start = position.end.segment;
    if !ids.contains(&start) {
        // Its name was durable before the index could hear of it.
        return Err(missing(segments, start));
    }
    for id in ids.into_iter().filter(|id| *id >= start) {
        let segment = segments.segment(id)?;
        if id != position.end.segment {
            position = next_segment(segments, &segment, id, position)?;
        }
        position = replay_segment(&segment, position, u64::MAX, &mut visit)?;
        let length = segment.length()?;
        if position.end.offset > length {
            let (file, offset) = (segment.path().display(), position.end.offset);
            let what =
                format!("{file} ends at byte {length}, the index has seen it up to {offset}");
            return Err(Error::Corrupt(what));
        }
        if position.end.offset < length {
            let durable = id != last || proves(&segment, position, length)?;
            if durable {
                return Err(damage(&segment, position.end.offset));
            }
            tracing::warn!(
                segment = id,
                bytes = length - position.end.offset,
                "cut off a torn end"
            );
            segments.truncate(id, position.end.offset)?;
        }
    }
    Ok(Some(position))
}

/// Calls `visit` for each frame after `from` up to `until`, which this process has written and synced.
pub(crate) fn reread(
    segments: &Segments,
    from: Option<Position>,
    until: Position,
    mut visit: impl FnMut(Read) -> Result<()>,
) -> Result<()> {
    let mut position = match from {
        Some(position) => position,
        None => start_of(segments, segments.ids()?.first().copied().unwrap_or(1))?,
    };
    while position.lsn < until.lsn {
        let id = position.end.segment;
        let segment = segments.segment(id)?;
        let end = replay_segment(&segment, position, until.lsn, &mut visit)?;
        position = end;
        if position.lsn < until.lsn {
            if id >= until.end.segment {
                return Err(damage(&segment, position.end.offset));
            }
            let next = segments.segment(id + 1)?;
            position = next_segment(segments, &next, id + 1, position)?;
        }
    }
    Ok(())
}

/// Calls `visit` with each frame of a segment and its letter; `false`: it is not good to its last byte.
pub(crate) fn walk(
    segment: &SegmentFile,
    id: u64,
    mut visit: impl FnMut(&Frame, &Read, &[u8]) -> Result<()>,
) -> Result<bool> {
    let length = segment.length()?;
    let lsn = segment.first_lsn.saturating_sub(1);
    let start = Location { segment: id, offset: SegmentFile::HEADER_BYTES };
    let mut position = Position { lsn, end: start };
    let mut scratch = Vec::new();
    while position.end.offset < length {
        let found = read_frame(segment, position, length, &mut scratch)?;
        let Some((frame, read)) = found.filter(|(frame, _)| frame.lsn == position.lsn + 1) else {
            return Ok(false);
        };
        position = read.after;
        visit(&frame, &read, scratch.get(..frame.blob_bytes as usize).unwrap_or_default())?;
    }
    Ok(true)
}

fn damage(segment: &SegmentFile, offset: u64) -> Error {
    Error::Corrupt(format!("{} at byte {offset}", segment.path().display()))
}

fn missing(segments: &Segments, id: u64) -> Error {
    Error::Corrupt(format!("{} is missing", segments.path(id).display()))
}

/// A last segment whose header never became durable holds nothing. One that the index has seen was durable.
fn drop_unfinished(segments: &Segments, from: Option<Position>, ids: &mut Vec<u64>) -> Result<()> {
    let seen = from.map_or(0, |position| position.end.segment);
    let Some(&last) = ids.last().filter(|last| **last > seen) else {
        return Ok(());
    };
    let path = segments.path(last);
    let short = std::fs::metadata(path).is_ok_and(|m| m.len() <= SegmentFile::HEADER_BYTES);
    if short && segments.segment(last).is_err() {
        segments.remove(last)?;
        ids.pop();
    }
    Ok(())
}

fn start_of(segments: &Segments, id: u64) -> Result<Position> {
    let lsn = segments.segment(id)?.first_lsn.saturating_sub(1);
    Ok(Position { lsn, end: Location { segment: id, offset: SegmentFile::HEADER_BYTES } })
}

fn next_segment(
    segments: &Segments,
    segment: &SegmentFile,
    id: u64,
    before: Position,
) -> Result<Position> {
    if id != before.end.segment + 1 {
        return Err(missing(segments, before.end.segment + 1));
    }
    if segment.first_lsn != before.lsn + 1 {
        let (file, first, expect) = (segment.path().display(), segment.first_lsn, before.lsn + 1);
        let what = format!("{file} at byte 16: it begins with change {first}, not {expect}");
        return Err(Error::Corrupt(what));
    }
    Ok(Position { end: Location { segment: id, offset: SegmentFile::HEADER_BYTES }, ..before })
}

/// Visits good frames up to LSN `last`, until the first that is not good; gives back the position before it.
fn replay_segment(
    segment: &SegmentFile,
    mut position: Position,
    last: u64,
    visit: &mut impl FnMut(Read) -> Result<()>,
) -> Result<Position> {
    let length = segment.length()?;
    let mut scratch = Vec::new();
    while position.lsn < last
        && let Some((frame, read)) = read_frame(segment, position, length, &mut scratch)?
    {
        if frame.lsn != position.lsn + 1 {
            break;
        }
        position = read.after;
        visit(read)?;
    }
    Ok(position)
}

/// The frame at `at.end`, if it is whole and its hashes fit.
fn read_frame(
    segment: &SegmentFile,
    at: Position,
    length: u64,
    scratch: &mut Vec<u8>,
) -> Result<Option<(Frame, Read)>> {
    let start = at.end.offset;
    let mut header = [0; 64];
    if !segment.read(&mut header, start)? {
        return Ok(None);
    }
    let Some(frame) = Frame::parse(&header) else {
        return Ok(None);
    };
    if start + frame.total_bytes() > length {
        return Ok(None);
    }
    let body_bytes = usize::try_from(frame.total_bytes() - Frame::HEADER_BYTES).unwrap_or(0);
    scratch.resize(body_bytes, 0);
    if !segment.read(scratch, start + Frame::HEADER_BYTES)? {
        return Ok(None);
    }
    let split = usize::try_from(frame.blob_bytes).unwrap_or(0);
    let Some((blob, ops)) = scratch.split_at_checked(split) else {
        return Ok(None);
    };
    if !Frame::verify(&header, blob, ops, &segment.key) {
        return Ok(None);
    }
    let place = |offset| Location { segment: at.end.segment, offset };
    // An empty letter is a letter too: its hash is not zero.
    let blob = (frame.blob_hash != [0; 16]).then(|| BlobRef {
        location: place(start + Frame::HEADER_BYTES),
        size_bytes: frame.blob_bytes,
        hash: frame.blob_hash,
    });
    let after = Position { lsn: frame.lsn, end: place(start + frame.total_bytes()) };
    Ok(Some((frame, Read { blob, ops: ops.to_vec(), after })))
}

/// Whether a good frame after the bad one at `bad` says that the bad one had been durable.
fn proves(segment: &SegmentFile, bad: Position, length: u64) -> Result<bool> {
    let rest_bytes = usize::try_from(length - bad.end.offset).unwrap_or(0);
    let mut rest = vec![0; rest_bytes];
    segment.read(&mut rest, bad.end.offset)?;
    let mut scratch = Vec::new();
    for at in memmem::find_iter(&rest, &Frame::MAGIC) {
        let mut candidate = bad;
        candidate.end.offset += at as u64;
        if let Some((frame, _)) = read_frame(segment, candidate, length, &mut scratch)?
            && frame.synced_lsn > bad.lsn
        {
            return Ok(true);
        }
    }
    Ok(false)
}
