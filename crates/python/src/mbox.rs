//! Letters out of an mbox file (RFC 4155): each begins with a line `From …` that stands at the start or behind an
//! empty line. Lines `>From …` in a letter lose one `>`, as mboxrd wants it.
//!
//! The file is read in pieces, not mapped: a mail program may cut it short meanwhile, which would kill a reader of
//! mapped memory.

use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Range;
use std::path::Path;

/// Bytes read at once: some dozens of letters.
const PIECE_BYTES: usize = 512 * 1024;
/// No letter is longer; a longer one is an error, because memory would be.
const LETTER_BYTES: usize = 1 << 30;

/// An mbox file, in pieces of whole letters.
pub(crate) struct MboxFile {
    file: File,
    /// Read, and not given out.
    held: Vec<u8>,
    at_end: bool,
}

impl MboxFile {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::open(path)?, held: Vec::new(), at_end: false })
    }

    /// The next letters; `None` at the end.
    pub(crate) fn next_piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut wanted = PIECE_BYTES;
        loop {
            if self.held.len() < wanted && !self.at_end {
                let missing = wanted - self.held.len();
                let limit = u64::try_from(missing).unwrap_or(u64::MAX);
                let read = self.file.by_ref().take(limit).read_to_end(&mut self.held)?;
                self.at_end = read < missing;
            }
            if self.at_end {
                let last = std::mem::take(&mut self.held);
                return Ok(Some(last).filter(|piece| !piece.is_empty()));
            }
            if let Some(start) = last_start(&self.held) {
                let rest = self.held.split_off(start);
                return Ok(Some(std::mem::replace(&mut self.held, rest)));
            }
            if wanted >= LETTER_BYTES {
                let text = format!("a letter in the mbox is longer than {LETTER_BYTES} bytes");
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
            }
            // Twice as much each time: a long letter is searched about twice, not once for each piece.
            wanted *= 2;
        }
    }
}

/// Where a piece of whole letters ends in a longer text: near `PIECE_BYTES`, or further when a letter is long.
pub(crate) fn piece_end(text: &[u8]) -> usize {
    let mut wanted = PIECE_BYTES;
    while wanted < text.len() {
        if let Some(start) = last_start(text.get(..wanted).unwrap_or_default()) {
            return start;
        }
        wanted *= 2;
    }
    text.len()
}

/// The last line that begins a letter, but for the first line.
fn last_start(text: &[u8]) -> Option<usize> {
    let mut end = text.len();
    while let Some(newline) = memchr::memmem::rfind(text.get(..end)?, b"\nFrom ") {
        if is_start(text, newline + 1) {
            return Some(newline + 1);
        }
        end = newline + 5;
    }
    None
}

/// Whether a line `From ` at this place stands behind an empty line.
fn is_start(text: &[u8], at: usize) -> bool {
    let before = text.get(..at).unwrap_or_default();
    before.is_empty() || before.ends_with(b"\n\n") || before.ends_with(b"\n\r\n") || before == b"\n"
}

/// The letters in a text, without the line that begins each and the empty line that ends it. Blank lines at the very
/// start belong to no letter.
pub(crate) fn letters(text: &[u8]) -> Vec<Range<usize>> {
    let mut starts = vec![0];
    starts.extend(
        memchr::memmem::find_iter(text, b"\nFrom ").map(|n| n + 1).filter(|at| is_start(text, *at)),
    );
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    let pieces: Vec<Range<usize>> = starts.iter().copied().zip(ends).map(|(s, e)| s..e).collect();
    pieces.into_iter().filter_map(|piece| letter(text, piece)).collect()
}

fn letter(text: &[u8], piece: Range<usize>) -> Option<Range<usize>> {
    let whole = text.get(piece.clone())?;
    if whole.iter().all(|b| matches!(b, b'\r' | b'\n')) {
        return None;
    }
    let start = match whole.strip_prefix(b"From ") {
        Some(rest) => memchr::memchr(b'\n', rest).map_or(whole.len(), |at| at + 6),
        None => 0,
    };
    let content = whole.get(start..)?;
    let kept = match content {
        [before @ .., b'\r', b'\n'] | [before @ .., b'\n'] if before.ends_with(b"\n") => {
            before.len()
        }
        _ => content.len(),
    };
    Some(piece.start + start..piece.start + start + kept)
}

/// The letter with its quoted `From ` lines as they were written; `None` when it has none.
pub(crate) fn unquoted(letter: &[u8]) -> Option<Vec<u8>> {
    let mut copied = 0;
    let mut out = Vec::new();
    for found in memchr::memmem::find_iter(letter, b">From ") {
        let before = letter.get(..found)?;
        let quotes = before.iter().rev().take_while(|b| **b == b'>').count();
        let line = found - quotes;
        if line == 0 || letter.get(line - 1) == Some(&b'\n') {
            if out.is_empty() {
                out.reserve(letter.len());
            }
            out.extend_from_slice(letter.get(copied..line)?);
            copied = line + 1;
        }
    }
    if copied == 0 {
        return None;
    }
    out.extend_from_slice(letter.get(copied..)?);
    Some(out)
}
