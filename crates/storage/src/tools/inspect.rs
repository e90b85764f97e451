//! `inspect`: what is in a data folder, in a segment, in one letter. Changes nothing; secrets are not shown.

use super::offline::Offline;
use super::scan::{Event, Flow, Segment, decode_ops, scan_segment, segment_ids, segment_path};
use super::{Progress, words};
use crate::pack::{Pack, Piece};
use crate::{Error, Result};
use bytes::Bytes;
use db::Op;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use types::EmailId;

/// A data folder.
#[derive(Debug, Clone)]
pub struct Overview {
    pub segments: Vec<SegmentLine>,
    /// Key, mailboxes, messages, bytes.
    pub accounts: Vec<(String, u64, u64, u64)>,
    /// What could not be read; `fsck` says more.
    pub problems: Vec<String>,
}

/// A segment in the overview.
#[derive(Debug, Clone)]
pub struct SegmentLine {
    pub id: u64,
    pub bytes: u64,
    pub created: String,
    pub first_lsn: u64,
    pub last_lsn: u64,
    pub letters: u64,
    pub letter_bytes: u64,
    /// Letters that are still in a mailbox.
    pub live_letters: u64,
    pub live_bytes: u64,
    pub pack: Option<PackLine>,
}

/// The pack that stands in for a segment.
#[derive(Debug, Clone)]
pub struct PackLine {
    /// How often it was written; from the second on deleted letters were given up.
    pub generation: u32,
    pub file_bytes: u64,
    pub chunks: u64,
    /// Length of the dictionary that small letters are compressed with; 0 without one.
    pub dictionary_bytes: u32,
    pub gone_letters: u64,
    pub gone_bytes: u64,
    /// Large bodies that lie in files of their own, and their bytes.
    pub shared_bodies: u64,
    pub shared_bytes: u64,
}

/// A frame of a segment.
#[derive(Debug, Clone)]
pub struct FrameLine {
    pub lsn: u64,
    pub offset: u64,
    pub bytes: u64,
    pub letter_bytes: Option<u32>,
    /// The letter was given up by the packer.
    pub gone: bool,
    pub subject: Option<String>,
    /// What it says, one op each; for damage what is wrong.
    pub says: Vec<String>,
    pub damaged: bool,
}

/// One letter.
#[derive(Debug, Clone)]
pub struct LetterSheet {
    pub id: u64,
    pub account: String,
    pub segment: u64,
    pub offset: u64,
    pub size_bytes: u32,
    pub received: String,
    pub thread: u64,
    pub subject: String,
    pub from: String,
    pub message_id: Option<String>,
    /// Mailbox, UID, flags, MODSEQ.
    pub homes: Vec<(String, u32, String, u64)>,
    pub parts: Vec<PartLine>,
    /// What is wrong with the letter as its sender wrote it.
    pub defects: Vec<String>,
    /// The bytes, or why they cannot be read.
    pub bytes: std::result::Result<Bytes, String>,
}

/// A body part.
#[derive(Debug, Clone)]
pub struct PartLine {
    pub depth: u32,
    /// As IMAP numbers it; empty for the letter itself.
    pub section: String,
    pub media_type: String,
    pub size_bytes: u32,
    pub filename: Option<String>,
}

/// Segments with what lives in them, accounts with their sizes.
pub fn inspect_folder(data: &Path, progress: Progress<'_>) -> Result<Overview> {
    let offline = Offline::open(data, progress)?;
    let log = data.join("log");
    let mut segments = BTreeMap::new();
    let mut problems = offline.problems.clone();
    for id in segment_ids(&log)? {
        match Segment::find(&log, id)? {
            Some(segment) => drop(segments.insert(id, segment_line(&segment)?)),
            None => problems.push(format!("the header of segment {id:x} is damaged")),
        }
    }
    let read = offline.read()?;
    let mut seen = BTreeSet::new();
    for id in (1..=read.last_ids()?.1.0).map(EmailId) {
        let Some(row) = read.email(id)? else { continue };
        // A letter for several accounts is stored once.
        if seen.insert(row.blob.location)
            && let Some(line) = segments.get_mut(&row.blob.location.segment)
        {
            line.live_letters += 1;
            line.live_bytes += u64::from(row.blob.size_bytes);
        }
    }
    let mut accounts = Vec::new();
    for row in read.accounts()? {
        let mailboxes = read.mailboxes(row.id)?;
        let (total, bytes) = mailboxes
            .iter()
            .fold((0, 0), |(total, bytes), m| (total + m.total, bytes + m.size_bytes));
        accounts.push((row.key, mailboxes.len() as u64, total, bytes));
    }
    problems.dedup();
    Ok(Overview { segments: segments.into_values().collect(), accounts, problems })
}

fn segment_line(segment: &Segment) -> Result<SegmentLine> {
    let mut line = SegmentLine {
        id: segment.id,
        bytes: segment.length,
        created: words::when(segment.header.created_unix_ms.div_euclid(1000)),
        first_lsn: segment.header.first_lsn,
        last_lsn: segment.header.first_lsn.saturating_sub(1),
        letters: 0,
        letter_bytes: 0,
        live_letters: 0,
        live_bytes: 0,
        pack: segment.pack().map(pack_line),
    };
    scan_segment(segment, true, &mut |event| {
        if let Event::Frame(found) = event {
            line.last_lsn = found.frame.lsn;
            line.letters += u64::from(found.blob.is_some());
            line.letter_bytes += found.blob.map_or(0, |blob| u64::from(blob.size_bytes));
        }
        Ok(Flow::On)
    })?;
    Ok(line)
}

fn pack_line(pack: &Pack) -> PackLine {
    let letters = &pack.table.letters;
    let gone = || letters.iter().filter(|letter| letter.gone);
    let shared = letters.iter().flat_map(|letter| &letter.pieces).filter_map(|piece| match piece {
        Piece::Part(hash, bytes) => Some((hash, *bytes)),
        Piece::Chunk(_) => None,
    });
    let shared: BTreeMap<_, _> = shared.collect();
    let dictionary = pack.table.chunks.first().filter(|_| pack.table.has_dictionary);
    PackLine {
        generation: pack.header.generation,
        file_bytes: pack.file_bytes,
        chunks: pack.table.chunks.len() as u64,
        dictionary_bytes: dictionary.map_or(0, |chunk| chunk.raw_bytes),
        gone_letters: gone().count() as u64,
        gone_bytes: gone().map(|letter| u64::from(letter.bytes)).sum(),
        shared_bodies: shared.len() as u64,
        shared_bytes: shared.values().map(|bytes| u64::from(*bytes)).sum(),
    }
}

/// Hands every frame of a segment to `line`, in order.
pub fn inspect_segment(data: &Path, id: u64, mut line: impl FnMut(FrameLine)) -> Result<()> {
    let log = data.join("log");
    let last = segment_ids(&log)?.last() == Some(&id);
    let path = segment_path(&log, id);
    let Some(segment) = Segment::find(&log, id)? else {
        return Err(Error::Corrupt(format!("the header of {}", path.display())));
    };
    let last = last && segment.pack().is_none();
    scan_segment(&segment, last, &mut |event| {
        match event {
            Event::Frame(found) => {
                let ops = decode_ops(found.ops).unwrap_or_default();
                let subject = ops.iter().find_map(|op| match op {
                    Op::EmailAdd { index, .. } => {
                        mparser::Index::decode(index).ok().map(|i| words::printable(&i.subject()))
                    }
                    _ => None,
                });
                line(FrameLine {
                    lsn: found.frame.lsn,
                    offset: found.at.offset,
                    bytes: found.frame.total_bytes(),
                    letter_bytes: found.blob.map(|blob| blob.size_bytes),
                    gone: found.gone,
                    subject,
                    says: ops.iter().map(words::op).collect(),
                    damaged: found.state != super::scan::State::Good,
                });
            }
            other => {
                let (offset, bytes) = match &other {
                    Event::Damage(damage) => (damage.from, damage.to - damage.from),
                    Event::Torn { at, bytes } => (at.offset, *bytes),
                    _ => (0, 0),
                };
                let says = words::event(&other).map(|(_, what)| what).into_iter().collect();
                let (letter_bytes, subject, gone, damaged) = (None, None, false, true);
                let lsn = 0;
                line(FrameLine { lsn, offset, bytes, letter_bytes, gone, subject, says, damaged });
            }
        }
        Ok(Flow::On)
    })?;
    Ok(())
}

/// Everything about one letter; [`Error::NoMessage`] when no mailbox has it.
pub fn inspect_letter(data: &Path, id: u64, progress: Progress<'_>) -> Result<LetterSheet> {
    let offline = Offline::open(data, progress)?;
    let read = offline.read()?;
    let row = read.email(EmailId(id))?.ok_or(Error::NoMessage)?;
    let bytes = offline.letter(row.blob).map_err(|error| error.to_string());
    let index = match (mparser::Index::decode(&row.index), &bytes) {
        (Ok(index), _) => index,
        (Err(_), Ok(bytes)) => mparser::Index::of(bytes),
        (Err(_), Err(why)) => return Err(Error::Corrupt(why.clone())),
    };
    let mut homes = Vec::new();
    for (mailbox, message) in read.homes(row.account, row.id)? {
        let name = words::mailbox(&*read, row.account, mailbox);
        homes.push((name, message.uid.get(), message.flags.to_string(), message.modseq.0));
    }
    let from: Vec<String> = index
        .from_()
        .iter()
        .map(|a| format!("{} <{}>", a.name.as_deref().unwrap_or_default(), a.address))
        .map(|from| words::printable(from.trim_start()))
        .collect();
    Ok(LetterSheet {
        id,
        account: words::account(&*read, row.account),
        segment: row.blob.location.segment,
        offset: row.blob.location.offset,
        size_bytes: row.blob.size_bytes,
        received: words::when(row.received_unix_s),
        thread: row.thread.0,
        subject: words::printable(&index.subject()),
        from: from.join(", "),
        message_id: index.message_id().map(|id| words::printable(&id)),
        homes,
        parts: parts(&index),
        defects: index
            .defects
            .iter()
            .map(|defect| format!("{} at byte {}", defect.kind.name(), defect.offset))
            .collect(),
        bytes,
    })
}

/// The part tree, a line each, with IMAP's section numbers (RFC 9051 §6.4.5).
fn parts(index: &mparser::Index) -> Vec<PartLine> {
    let mut lines: Vec<PartLine> = Vec::with_capacity(index.parts.len());
    let mut children = vec![0_u32; index.parts.len()];
    for (n, part) in index.parts.iter().enumerate() {
        let parent = part.parent.and_then(|p| usize::try_from(p).ok());
        let above = parent.and_then(|p| lines.get(p));
        let in_message = parent
            .and_then(|p| index.parts.get(p))
            .is_some_and(|p| p.kind == mparser::PartKind::Message);
        let (depth, section) = match above {
            None => (0, String::new()),
            // The root of a letter inside has no number of its own.
            Some(above) if in_message => (above.depth + 1, above.section.clone()),
            Some(above) => {
                let number = parent.and_then(|p| children.get_mut(p)).map_or(0, |count| {
                    *count += 1;
                    *count
                });
                let dot = if above.section.is_empty() { "" } else { "." };
                (above.depth + 1, format!("{}{dot}{number}", above.section))
            }
        };
        lines.push(PartLine {
            depth,
            section,
            media_type: words::printable(&format!("{}/{}", part.media_type, part.subtype)),
            size_bytes: part.body_bytes(),
            filename: index.filename(n).map(|name| words::printable(&name)),
        });
    }
    lines
}
