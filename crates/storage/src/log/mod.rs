//! The log: append-only segments of frames. The only truth; the index is derived from it.
//!
//! Knows nothing about what an op means. `docs/format/segment.md` describes the bytes.

mod disk;
#[cfg(test)]
mod example;
mod frame;
mod replay;
mod segments;

pub(crate) use disk::{AppendFile, Disk, RealDisk};
pub(crate) use frame::{Frame, blob_hash, gone_letter, is_gone};
pub(crate) use replay::{Read, replay, reread, walk};
pub(crate) use segments::{SegmentEnd, SegmentFile, SegmentWriter, Segments};

use crate::Result;
use bytes::Bytes;
use db::{BlobRef, Location, Position};
use std::io;
use std::sync::Arc;

/// A segment is closed after this time, full or not: frames count seconds from its making in 24 bits.
const SEGMENT_DAYS: i64 = 90;

/// After so long without a change a segment of an eighth of the full size is closed too, so that it can be
/// packed; smaller ones stay open, or a quiet server would have a file for every letter.
pub(crate) const IDLE_MS: i64 = 10 * 60_000;

/// Chunks from this size on go to the file without being copied together.
const COPY_BYTES: usize = 64 * 1024;

/// What is pushed is written before the sync from this size on.
const EARLY_BYTES: usize = 128 * 1024;

/// A sync that was asked for: what it makes durable, and where.
pub(crate) struct Syncing {
    file: Arc<SegmentEnd>,
    until: Position,
}

impl Syncing {
    pub(crate) fn sync(&self) -> Result<()> {
        self.file.sync()
    }
}

/// The writing end of the log, used by one thread at a time.
pub(crate) struct Log {
    segments: Arc<Segments>,
    current: SegmentWriter,
    segment_bytes: u64,
    /// The last frame that is durable.
    synced: Position,
    /// The last frame that is pushed.
    pushed: Position,
    /// Seconds from the making of the current segment to the current batch.
    after_s: u32,
    /// When the last batch began.
    last_unix_ms: i64,
    chunks: Vec<Bytes>,
    tail: Vec<u8>,
    /// Frames are written that no sync was asked for yet.
    unsynced: bool,
}

impl Log {
    /// Opens the end of the log for writing; `end` is where [`replay`] stopped.
    pub(crate) fn open(
        segments: Arc<Segments>,
        end: Option<Position>,
        segment_bytes: u64,
        now_unix_ms: i64,
    ) -> Result<Self> {
        let begin = |segment, lsn| {
            let next = segments.create(segment, lsn + 1, now_unix_ms)?;
            let end = Location { segment, offset: next.header_bytes() };
            Ok::<_, crate::Error>((next, Position { lsn, end }))
        };
        let (current, synced) = match end {
            None => begin(1, 0)?,
            // Nothing can be added to a pack; the segment after it was never finished.
            Some(end) if segments.segment(end.end.segment)?.pack().is_some() => {
                begin(end.end.segment + 1, end.lsn)?
            }
            Some(end) => (segments.append_to(end.end.segment)?, end),
        };
        Ok(Self {
            segments,
            current,
            segment_bytes,
            synced,
            pushed: synced,
            after_s: 0,
            last_unix_ms: now_unix_ms,
            chunks: Vec::new(),
            tail: Vec::new(),
            unsynced: false,
        })
    }

    /// Whether the frames that come next belong in the next segment.
    pub(crate) fn is_due(&self, now_unix_ms: i64) -> bool {
        let age_s = self.age_s(now_unix_ms);
        let idle_ms = now_unix_ms.saturating_sub(self.last_unix_ms);
        let offset = self.pushed.end.offset;
        let is_old = age_s > SEGMENT_DAYS * 86_400 && offset > SegmentFile::HEADER_BYTES;
        let is_idle = idle_ms >= IDLE_MS && offset >= self.segment_bytes / 8;
        let is_wanted = self.segments.wants_seal() && offset > SegmentFile::HEADER_BYTES;
        offset >= self.segment_bytes || is_old || is_idle || is_wanted
    }

    fn age_s(&self, now_unix_ms: i64) -> i64 {
        now_unix_ms.saturating_sub(self.current.created_unix_ms) / 1000
    }

    /// What is pushed from now on is of this time. Ask [`Log::is_due`] before.
    pub(crate) fn at(&mut self, now_unix_ms: i64) {
        self.last_unix_ms = now_unix_ms;
        if self.pushed.end.offset <= SegmentFile::HEADER_BYTES {
            // There is nothing to close.
            self.segments.end_seal();
        }
        let age_s = u32::try_from(self.age_s(now_unix_ms).max(0)).unwrap_or(u32::MAX);
        self.after_s = self.after_s.max(age_s).min(Frame::LAST_AFTER_S);
    }

    /// Begins the next segment. All that is pushed must be synced.
    pub(crate) fn begin_segment(&mut self, now_unix_ms: i64) -> Result<()> {
        self.after_s = 0;
        self.segments.end_seal();
        let (segment, lsn) = (self.synced.end.segment + 1, self.synced.lsn + 1);
        self.current = self.segments.create(segment, lsn, now_unix_ms)?;
        self.synced.end = Location { segment, offset: self.current.header_bytes() };
        self.pushed = self.synced;
        Ok(())
    }

    /// Where the bytes of a letter will lie if it is in the next frame pushed.
    pub(crate) fn place(&self, blob: &Bytes, hash: [u8; 16]) -> BlobRef {
        let Location { segment, offset } = self.pushed.end;
        BlobRef {
            location: Location { segment, offset: offset + Frame::HEADER_BYTES },
            size_bytes: u32::try_from(blob.len()).unwrap_or(u32::MAX),
            hash,
        }
    }

    /// Adds a frame to what the next [`Log::sync`] writes.
    pub(crate) fn push(&mut self, blob: Option<(&Bytes, BlobRef)>, ops: &[u8]) {
        let frame = Frame {
            lsn: self.pushed.lsn + 1,
            synced_lsn: self.synced.lsn,
            after_s: self.after_s,
            blob_bytes: blob.map_or(0, |(_, blob)| blob.size_bytes),
            ops_bytes: u32::try_from(ops.len()).unwrap_or(u32::MAX),
            blob_hash: blob.map_or([0; 16], |(_, blob)| blob.hash),
        };
        self.tail.extend_from_slice(&frame.header(ops, self.current.key()));
        match blob {
            Some((bytes, _)) if bytes.len() >= COPY_BYTES => {
                self.chunks.push(std::mem::take(&mut self.tail).into());
                self.chunks.push(bytes.clone());
            }
            Some((bytes, _)) => self.tail.extend_from_slice(bytes),
            None => {}
        }
        self.tail.extend_from_slice(ops);
        self.pushed.lsn = frame.lsn;
        self.pushed.end.offset += frame.total_bytes();
    }

    /// Where the durable log ends.
    pub(crate) fn synced(&self) -> Position {
        self.synced
    }

    /// Where the log ends with what is pushed.
    pub(crate) fn pushed(&self) -> Position {
        self.pushed
    }

    /// Forgets frames that are pushed and not synced; none may be about to be. After an error the log may not be
    /// used any more.
    pub(crate) fn forget(&mut self) -> Result<()> {
        self.chunks.clear();
        self.tail.clear();
        self.pushed = self.synced;
        if std::mem::take(&mut self.unsynced) {
            self.current.take_back(self.synced.end.offset)?;
        }
        Ok(())
    }

    /// After a failed sync: what is pushed counts for nothing, and the file is left as it is.
    pub(crate) fn give_up(&mut self) {
        self.chunks.clear();
        self.tail.clear();
        self.pushed = self.synced;
        self.unsynced = false;
    }

    /// Hands what is pushed to the system, if that is much: copied while others still come, it need not be
    /// copied when all wait.
    pub(crate) fn write_early(&mut self) -> io::Result<()> {
        if self.tail.len() >= EARLY_BYTES { self.write() } else { Ok(()) }
    }

    /// Hands what is pushed to the system. After an error call [`Log::cut_back`].
    pub(crate) fn write(&mut self) -> io::Result<()> {
        if self.tail.is_empty() && self.chunks.is_empty() {
            return Ok(());
        }
        let chunks = std::mem::take(&mut self.chunks);
        let mut tail = std::mem::take(&mut self.tail);
        let written = chunks
            .iter()
            .map(|chunk| &chunk[..])
            .chain([&tail[..]])
            .try_for_each(|bytes| self.current.append(bytes));
        self.unsynced = true;
        written?;
        tail.clear();
        tail.shrink_to(1 << 20);
        self.tail = tail;
        Ok(())
    }

    /// After a write that failed: nothing since the last sync counts. Either the file was cut back to its old end
    /// ([`crate::Error::DiskFull`]), or the log may not be used any more. No sync may be under way.
    pub(crate) fn cut_back(&mut self, error: &io::Error) -> crate::Error {
        self.give_up();
        self.current.cut_back(self.synced.end.offset, error)
    }

    /// What [`Syncing::sync`] is to make durable: all that is written.
    pub(crate) fn begin_sync(&mut self) -> Syncing {
        self.unsynced = false;
        Syncing { file: self.current.end(), until: self.pushed }
    }

    /// Call when it has. More may have been pushed and written meanwhile.
    pub(crate) fn end_sync(&mut self, synced: &Syncing) {
        self.synced = synced.until;
    }

    /// Writes what is pushed and makes it durable. After an error nothing of it counts: either the file was
    /// cut back to its old end ([`crate::Error::DiskFull`]), or the log may not be used any more.
    pub(crate) fn sync(&mut self) -> Result<()> {
        self.write().map_err(|error| self.cut_back(&error))?;
        let syncing = self.begin_sync();
        syncing.sync()?;
        self.end_sync(&syncing);
        Ok(())
    }
}
