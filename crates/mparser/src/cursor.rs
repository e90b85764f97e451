//! A place in a letter that moves line by line, or at once to the next line that may be a delimiter. Each byte is
//! looked at once, 64 of them at a time; what line ends, NULs and long lines tell is noted on the way.

use crate::headers::is_continuation;
use crate::limits;
use crate::lines::Line;
use crate::simd::{self, BATCH, BLOCK_BYTES, Batch, Level, Lines, Masks, Seen};

/// Where things were first seen that the standards forbid.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) nul: Option<usize>,
    pub(crate) bare_cr: Option<usize>,
    pub(crate) bare_lf: Option<usize>,
    /// The start of a line longer than [`limits::LINE_BYTES`].
    pub(crate) long_line: Option<usize>,
}

/// Lines longer than [`limits::LINE_BYTES`] leave this many blocks of a batch without a line end.
const BLOCKS_OF_A_LONG_LINE: usize = limits::LINE_BYTES / BLOCK_BYTES - 1;

/// What goes on from block to block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Survey {
    facts: Facts,
    /// Some byte is over 127.
    high: bool,
    /// The last byte of the block ends a line; is a CR.
    after_end: bool,
    after_cr: bool,
    /// Start of the line that goes on over the blocks read.
    line_start: usize,
}

impl Survey {
    /// Puts the line ends of some blocks, and the dashes at their line starts, into the batch. `masks` are of the
    /// blocks from `from` on. Inlined into code for a processor feature.
    ///
    /// Nearly all letters have neither CR without LF nor long lines: for these the masks are line ends as they are.
    #[inline(always)]
    pub(crate) fn read(
        &mut self,
        raw: &[u8],
        from: usize,
        masks: &[Masks],
        seen: Seen,
        batch: &mut Batch,
    ) {
        let (mut after_end, mut after_cr) = (u64::from(self.after_end), u64::from(self.after_cr));
        let (mut lone_cr, mut bare_lf) = (0, 0);
        let (mut dashes, mut lines, mut without) = (0, 0, 0);
        let slots = batch.blocks.get_mut(batch.count..).unwrap_or_default();
        for (slot, masks) in slots.iter_mut().zip(masks) {
            let (starts, behind_cr) = (masks.lf << 1 | after_end, masks.cr << 1 | after_cr);
            lone_cr |= behind_cr & !masks.lf;
            bare_lf |= masks.lf & !behind_cr;
            *slot = Lines { ends: masks.lf, dashes: starts & masks.dash };
            dashes |= slot.dashes;
            lines += masks.lf.count_ones();
            without += usize::from(masks.lf == 0);
            (after_end, after_cr) = (masks.lf >> 63, masks.cr >> 63);
        }
        let end = from + masks.len() * BLOCK_BYTES;
        let mut unusual = lone_cr != 0 || (after_cr != 0 && raw.get(end) != Some(&b'\n'));
        let has_end = |masks: &Masks| masks.lf != 0;
        let mut line_start = self.line_start;
        if let Some(first) = masks.iter().position(has_end)
            && let Some(last) = masks.iter().rposition(has_end)
        {
            let bit = |at: usize, bit: fn(u64) -> u32| masks.get(at).map_or(0, |m| bit(m.lf));
            let first_end = from + first * BLOCK_BYTES + bit(first, u64::trailing_zeros) as usize;
            unusual |= first_end - line_start >= limits::LINE_BYTES;
            unusual |= without >= BLOCKS_OF_A_LONG_LINE;
            let unused = bit(last, u64::leading_zeros) as usize;
            line_start = from + (last + 1) * BLOCK_BYTES - unused;
        }
        if bare_lf != 0 && self.facts.bare_lf.is_none() {
            self.facts.bare_lf = first_bare_lf(raw, from);
        }
        if seen.nul && self.facts.nul.is_none() {
            self.facts.nul = raw.get(from..).and_then(|r| Some(from + memchr::memchr(0, r)?));
        }
        self.high |= seen.high;
        if unusual {
            (dashes, lines) = self.read_slowly(raw, from, masks, slots);
        } else {
            (self.after_end, self.after_cr) = (after_end != 0, after_cr != 0);
            self.line_start = line_start;
        }
        batch.count += masks.len();
        batch.dashes |= dashes;
        batch.lines += lines;
    }

    /// The same, block by block. Gives the dashes of all blocks together, and how many lines end.
    #[cold]
    fn read_slowly(
        &mut self,
        raw: &[u8],
        from: usize,
        masks: &[Masks],
        slots: &mut [Lines],
    ) -> (u64, u32) {
        let (mut dashes, mut lines) = (0, 0);
        for (number, (slot, masks)) in slots.iter_mut().zip(masks).enumerate() {
            *slot = self.block(raw, from + number * BLOCK_BYTES, *masks);
            dashes |= slot.dashes;
            lines += slot.ends.count_ones();
        }
        (dashes, lines)
    }

    /// Line ends, and dashes at line starts, of the block at `at`.
    fn block(&mut self, raw: &[u8], at: usize, masks: Masks) -> Lines {
        let lone = masks.cr & !(masks.lf >> 1);
        let ends = masks.lf | if lone == 0 { 0 } else { self.lone_cr(raw, at, lone) };
        let starts = ends << 1 | u64::from(self.after_end);
        if ends != 0 {
            let next = at + ends.trailing_zeros() as usize + 1;
            if next - self.line_start > limits::LINE_BYTES {
                self.long_line(raw, next);
            }
            self.line_start = at + BLOCK_BYTES - ends.leading_zeros() as usize;
        }
        self.after_end = ends >> 63 == 1;
        self.after_cr = masks.cr >> 63 == 1;
        Lines { ends, dashes: starts & masks.dash }
    }

    /// The CRs of the block that end a line alone. CR CR LF is one end.
    fn lone_cr(&mut self, raw: &[u8], block_at: usize, lone: u64) -> u64 {
        let mut rest = lone;
        // The first byte of the next block is in no mask of this one.
        if lone >> 63 == 1 && raw.get(block_at + BLOCK_BYTES) == Some(&b'\n') {
            rest &= !(1 << 63);
        }
        let mut ends = 0;
        while rest != 0 {
            let bit = rest.trailing_zeros();
            rest &= rest - 1;
            let at = block_at + bit as usize;
            self.facts.bare_cr.get_or_insert(at);
            if !raw.get(at + 1..).is_some_and(|after| after.starts_with(b"\r\n")) {
                ends |= 1 << bit;
            }
        }
        ends
    }

    fn long_line(&mut self, raw: &[u8], next: usize) {
        if end_before(raw, self.line_start, next) - self.line_start > limits::LINE_BYTES {
            self.facts.long_line.get_or_insert(self.line_start);
        }
    }

    /// The last line has no end.
    fn finish(&mut self, raw: &[u8]) {
        if raw.len().saturating_sub(self.line_start) > limits::LINE_BYTES {
            self.facts.long_line.get_or_insert(self.line_start);
        }
    }
}

/// The first LF from here on without CR in front of it.
#[cold]
fn first_bare_lf(raw: &[u8], from: usize) -> Option<usize> {
    let mut found = memchr::memchr_iter(b'\n', raw.get(from..)?).map(|at| from + at);
    found.find(|at| at.checked_sub(1).is_none_or(|before| raw.get(before) != Some(&b'\r')))
}

/// Blocks read behind a jump: as many as the header of a part has.
const AHEAD_OF_A_JUMP: usize = 4;

pub(crate) struct Cursor<'a> {
    raw: &'a [u8],
    level: Level,
    /// Where the next line starts.
    at: usize,
    /// Lines in front of `at`.
    lines: u32,
    survey: Survey,
    batch: Batch,
    next_in_batch: usize,
    /// Blocks to be read next.
    ahead: usize,
    /// The block being looked at, and where its line ends and the dashes at its line starts are that lie at or
    /// behind `at`.
    block_at: usize,
    ends: u64,
    dashes: u64,
    /// Where the next block begins.
    next_block: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(raw: &'a [u8]) -> Self {
        let mut cursor = Self {
            raw,
            level: Level::find(),
            at: 0,
            lines: 0,
            survey: Survey { after_end: true, ..Survey::default() },
            batch: Batch::default(),
            next_in_batch: 0,
            ahead: BATCH,
            block_at: 0,
            ends: 0,
            dashes: 0,
            next_block: 0,
        };
        cursor.block();
        cursor
    }

    /// Where the next line starts.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Lines taken so far.
    pub(crate) fn lines(&self) -> u32 {
        self.lines
    }

    /// Complete when the end was reached.
    pub(crate) fn facts(&self) -> Facts {
        self.survey.facts
    }

    /// Takes the next line.
    #[inline]
    pub(crate) fn take(&mut self) -> Option<Line> {
        if self.at >= self.raw.len() {
            return None;
        }
        let start = self.at;
        self.lines += 1;
        while self.ends == 0 {
            if !self.block() {
                self.at = self.raw.len();
                self.dashes = 0;
                return Some(Line { start, end: self.at, next: self.at });
            }
        }
        let bit = self.ends.trailing_zeros();
        self.ends &= self.ends - 1;
        // Dashes before this line's end are at the start of this line or of lines taken.
        self.dashes &= !(u64::MAX >> (63 - bit));
        self.at = self.block_at + bit as usize + 1;
        Some(Line { start, end: end_before(self.raw, start, self.at), next: self.at })
    }

    /// Takes a line and those behind it that begin with a blank; gives where the text of the last one ends.
    #[inline]
    pub(crate) fn take_folded(&mut self) -> usize {
        loop {
            while self.ends == 0 {
                if !self.block() {
                    self.lines += u32::from(self.at < self.raw.len());
                    self.at = self.raw.len();
                    self.dashes = 0;
                    return self.at;
                }
            }
            let bit = self.ends.trailing_zeros();
            self.ends &= self.ends - 1;
            self.lines += 1;
            let start = self.at;
            self.at = self.block_at + bit as usize + 1;
            if !is_continuation(self.raw, self.at) {
                self.dashes &= !(u64::MAX >> (63 - bit));
                return end_before(self.raw, start, self.at);
            }
        }
    }

    /// Goes on at this start of a line. What was passed over is in neither the number of lines nor the facts.
    pub(crate) fn jump(&mut self, to: usize) {
        (self.at, self.next_block) = (to, to);
        (self.ends, self.dashes) = (0, 0);
        (self.batch.count, self.next_in_batch) = (0, 0);
        self.ahead = AHEAD_OF_A_JUMP;
        (self.survey.after_end, self.survey.after_cr, self.survey.line_start) = (true, false, to);
    }

    /// Whether any byte so far is over 127. Looks ahead a little: `true` may be of a byte behind `at`.
    pub(crate) fn maybe_high(&self) -> bool {
        self.survey.high
    }

    /// Passes over lines that do not begin with `-`, and gives the start of the first one that does: the next to be
    /// taken.
    pub(crate) fn skip_to_dash(&mut self) -> Option<usize> {
        loop {
            if self.dashes != 0 {
                let bit = self.dashes.trailing_zeros();
                let before = self.ends & !(u64::MAX << bit);
                self.lines += before.count_ones();
                self.ends &= u64::MAX << bit;
                self.at = self.block_at + bit as usize;
                return Some(self.at);
            }
            if self.ends != 0 {
                self.lines += self.ends.count_ones();
                self.at = self.block_at + 64 - self.ends.leading_zeros() as usize;
                self.ends = 0;
            }
            self.skip_batches();
            if !self.block() {
                if self.at < self.raw.len() {
                    self.lines += 1;
                    self.at = self.raw.len();
                }
                return None;
            }
        }
    }

    /// Passes over batches without a dash at a line start.
    fn skip_batches(&mut self) {
        while self.next_in_batch == self.batch.count && self.read_batch() && self.batch.dashes == 0
        {
            self.lines += self.batch.lines;
            if self.batch.lines > 0 {
                self.at = self.survey.line_start;
            }
            self.next_block += self.batch.count * BLOCK_BYTES;
            self.next_in_batch = self.batch.count;
        }
    }

    /// `false`: there is nothing more.
    fn read_batch(&mut self) -> bool {
        let (from, most) = (self.next_block, self.ahead);
        simd::fill(self.level, self.raw, from, most, &mut self.survey, &mut self.batch);
        self.ahead = BATCH;
        self.next_in_batch = 0;
        self.batch.count > 0
    }

    /// Looks at the next block. `false`: there is none.
    #[inline]
    fn block(&mut self) -> bool {
        if self.next_in_batch == self.batch.count && !self.read_batch() {
            self.survey.finish(self.raw);
            return false;
        }
        let Some(&lines) = self.batch.blocks.get(self.next_in_batch) else {
            return false;
        };
        self.next_in_batch += 1;
        self.block_at = self.next_block;
        self.next_block += BLOCK_BYTES;
        (self.ends, self.dashes) = (lines.ends, lines.dashes);
        true
    }
}

/// Where the text of the line `start..next` ends: in front of its line end.
#[inline]
fn end_before(raw: &[u8], start: usize, next: usize) -> usize {
    let width = match raw.get(start..next).unwrap_or_default() {
        [.., b'\r', b'\r', b'\n'] => 3,
        [.., b'\r', b'\n'] => 2,
        [.., b'\r' | b'\n'] => 1,
        _ => 0,
    };
    next - width
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lines::line_at;

    /// Letters made of what matters; each must give the lines that `line_at` gives.
    #[test]
    fn lines_and_dashes_as_line_at_gives_them() {
        let mut seed = 7_u32;
        let mut next = |count: u32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) % count
        };
        for round in 0..3000 {
            let length = next(300) as usize;
            let alphabet: &[u8] = if round % 2 == 0 { b"\r\n-a" } else { b"abcdefghi-\n\rjklmn" };
            let count = u32::try_from(alphabet.len()).unwrap();
            let raw: Vec<u8> = (0..length).map(|_| alphabet[next(count) as usize]).collect();
            let mut expect = Vec::new();
            let mut at = 0;
            while at < raw.len() {
                expect.push(line_at(&raw, at));
                at = expect[expect.len() - 1].next;
            }
            let mut cursor = Cursor::new(&raw);
            let found: Vec<Line> = std::iter::from_fn(|| cursor.take()).collect();
            assert_eq!(found, expect, "{:?}", raw.escape_ascii().to_string());
            assert_eq!(cursor.lines() as usize, expect.len());
            let mut cursor = Cursor::new(&raw);
            for (number, line) in expect.iter().enumerate() {
                if !raw[line.start..].starts_with(b"-") {
                    continue;
                }
                assert_eq!(cursor.skip_to_dash(), Some(line.start));
                assert_eq!(cursor.lines() as usize, number);
                assert_eq!(cursor.take(), Some(*line));
            }
            assert_eq!(cursor.skip_to_dash(), None);
            assert_eq!(cursor.lines() as usize, expect.len());
        }
    }
}
