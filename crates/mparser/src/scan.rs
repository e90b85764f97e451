//! The one pass over the bytes: a stack of what is open instead of recursion, flat records as the result. Values of
//! fields stay as they are in the letter; only what decides how the letter is built is read.
//!
//! A delimiter line (RFC 2046 §5.1.1) is looked for among all open multiparts, innermost first, so that a
//! multipart whose end is missing ends where the one around it goes on. The line end before a delimiter belongs
//! to the delimiter.

use crate::cursor::Cursor;
use crate::decode::Encoding;
use crate::defects::{DefectKind, Defects};
use crate::headers::{Field, field_start, field_start_at, find_at, is_continuation};
use crate::lines::{Line, line_at, trim_end_blanks};
use crate::media::{self, Announced, Known};
use crate::message::{slice, small};
use crate::params::parse_value;
use crate::{dashes, limits, simd};
use memchr::memchr;
use std::borrow::Cow;
use std::ops::Range;

/// What one pass finds.
#[derive(Debug, Default, Clone)]
pub(crate) struct Scan {
    /// In the order of the letter, never empty.
    pub(crate) records: Vec<Record>,
    /// The known fields of all parts, those of one part together.
    pub(crate) fields: Vec<FieldSpan>,
    pub(crate) lines: u32,
    /// Bytes read.
    pub(crate) size: u32,
    /// Of the letter's own header.
    pub(crate) header_fields: u32,
    pub(crate) begins_with_field: bool,
    pub(crate) defects: Defects,
}

/// A part: offsets from the start of the letter. Small, because a hostile letter has thousands.
#[derive(Debug, Clone, Default)]
pub(crate) struct Record {
    pub(crate) header: (u32, u32),
    pub(crate) body: (u32, u32),
    pub(crate) lines: u32,
    /// [`NO_PARENT`] for the letter itself.
    pub(crate) parent: u32,
    first_field: u32,
    fields: u8,
    pub(crate) shape: Shape,
    /// Directly inside `multipart/digest`: `message/rfc822` unless it says otherwise (RFC 2046 §5.1.5).
    pub(crate) in_digest: bool,
    /// Its Content-Type is `text/*`, or missing where that means text.
    pub(crate) is_text: bool,
    /// What its Content-Type says, or being without one.
    pub(crate) known: Known,
}

pub(crate) const NO_PARENT: u32 = u32::MAX;

/// How a part was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Shape {
    #[default]
    Leaf,
    Multipart,
    Message,
    /// A multipart or message that may not be opened: `application/octet-stream`.
    Opaque,
    /// A multipart without boundary or without parts: `text/plain`.
    Text,
}

/// The value of a field: the first of its name in its part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FieldSpan {
    field: Field,
    start: u32,
    end: u32,
}

/// Reads any bytes as a letter.
pub(crate) fn scan(raw: &[u8]) -> Scan {
    let mut scanner = Scanner::new(raw);
    scanner.begin(NO_PARENT, false);
    scanner.body();
    scanner.finish()
}

/// Reads the tree of parts and their fields, as [`scan`] does, but no byte that has no say in it: no lines are counted,
/// and there are no defects to rely on.
pub(crate) fn scan_tree(raw: &[u8]) -> Scan {
    let mut scanner = Scanner::new(raw);
    scanner.begin(NO_PARENT, false);
    scanner.tree();
    scanner.end_parts(0, None);
    scanner.found.records.iter_mut().for_each(|record| record.lines = 0);
    scanner.found
}

/// Reads the letter's own header and nothing behind it: one record whose body is the rest, no defects to rely on.
pub(crate) fn scan_header(raw: &[u8]) -> Scan {
    let mut scanner = Scanner::new(raw);
    let mut record = scanner.header(NO_PARENT, false);
    record.body.1 = small(scanner.raw.len());
    let value = scanner.found.value(raw, &record, Field::ContentType);
    let announced;
    (announced, record.known) = media::announced(value, false);
    record.is_text = announced == Announced::Text;
    scanner.found.records.push(record);
    scanner.found
}

impl Scan {
    /// Where the value of this field of a part stands.
    pub(crate) fn range(&self, part: &Record, field: Field) -> Option<Range<u32>> {
        let first = part.first_field as usize;
        let fields = self.fields.get(first..first + usize::from(part.fields))?;
        fields.iter().find(|span| span.field == field).map(|span| span.start..span.end)
    }

    pub(crate) fn value<'a>(&self, raw: &'a [u8], part: &Record, field: Field) -> Option<&'a [u8]> {
        self.range(part, field).map(|range| slice(raw, range))
    }
}

/// A multipart or message whose end has not come.
struct Open<'a> {
    part: usize,
    /// Number of the first line of the body.
    first_line: u32,
    /// Empty for a message.
    boundary: Cow<'a, [u8]>,
    digest: bool,
    /// Its close delimiter was there; the rest is epilogue.
    closed: bool,
    has_children: bool,
}

struct Scanner<'a> {
    raw: &'a [u8],
    cursor: Cursor<'a>,
    found: Scan,
    open: Vec<Open<'a>>,
    /// The leaf whose body is being read, and its first line.
    leaf: Option<(usize, u32)>,
}

impl<'a> Scanner<'a> {
    fn new(raw: &'a [u8]) -> Self {
        // An ordinary letter has no more.
        let mut found = Scan {
            fields: Vec::with_capacity(32),
            records: Vec::with_capacity(8),
            ..Scan::default()
        };
        let read = raw.get(..raw.len().min(limits::MESSAGE_BYTES)).unwrap_or_default();
        if read.len() < raw.len() {
            found.defects.add(DefectKind::TooLarge, read.len());
        }
        found.size = small(read.len());
        Self { raw: read, cursor: Cursor::new(read), found, open: Vec::new(), leaf: None }
    }

    /// Lines of bodies, from delimiter to delimiter.
    fn body(&mut self) {
        while let Some(start) = self.cursor.skip_to_dash() {
            let Some(line) = self.cursor.take() else {
                break;
            };
            if self.raw.get(start + 1) == Some(&b'-') {
                self.maybe_delimiter(line);
            }
        }
    }

    /// The same without looking at lines that cannot be delimiters. Behind the end of the last multipart there are none.
    fn tree(&mut self) {
        let mut from = self.cursor.at();
        while self.open.iter().any(|open| !open.closed && !open.boundary.is_empty())
            && let Some(start) = dashes::next_line(self.raw, from)
        {
            let line = line_at(self.raw, start);
            from = line.next;
            if let Some((depth, close)) = self.delimiter(line) {
                self.cursor.jump(line.next);
                self.take_delimiter(line, depth, close);
                from = self.cursor.at();
            }
        }
    }

    /// Reads a header and opens what it announces: a leaf, a multipart, or a letter whose header follows.
    fn begin(&mut self, parent: u32, in_digest: bool) {
        let (mut parent, mut in_digest) = (parent, in_digest);
        loop {
            let mut record = self.header(parent, in_digest);
            let number = self.found.records.len();
            let (boundary, digest) = self.open_what(&mut record);
            let shape = record.shape;
            in_digest = digest;
            self.found.records.push(record);
            if let Some(open) = self.open.last_mut().filter(|_| parent != NO_PARENT) {
                open.has_children = true;
            }
            let first_line = self.cursor.lines();
            if !matches!(shape, Shape::Multipart | Shape::Message) {
                self.leaf = Some((number, first_line));
                return;
            }
            let part = number;
            let (closed, has_children) = (false, false);
            self.open.push(Open { part, first_line, boundary, digest, closed, has_children });
            if shape == Shape::Multipart {
                return;
            }
            parent = small(number);
        }
    }

    /// The fields from here to the empty line, the next delimiter, or what looks like the body.
    fn header(&mut self, parent: u32, in_digest: bool) -> Record {
        let start = self.cursor.at();
        let is_root = parent == NO_PARENT;
        if is_root && matches!(self.raw.first(), Some(b'\r' | b'\n')) {
            self.skip_leading_blanks();
        }
        let first_field = self.found.fields.len();
        let (mut seen, mut count) = (0, 0);
        loop {
            let at = self.cursor.at();
            let Some(&byte) = self.raw.get(at) else {
                break;
            };
            if byte == b'-' && self.delimiter(line_at(self.raw, at)).is_some() {
                self.found.defects.add(DefectKind::MissingBlankLine, at);
                break;
            }
            if matches!(byte, b'\r' | b'\n') {
                self.cursor.take();
                break;
            }
            let Some((name_end, value)) = field_start_at(self.raw, at) else {
                if self.junk(line_at(self.raw, at)) {
                    continue;
                }
                break;
            };
            if is_root {
                self.found.begins_with_field |= start == at;
            }
            count += 1;
            let end = self.cursor.take_folded();
            self.note_field(&mut seen, count, at..name_end, value..end);
        }
        if is_root {
            self.found.header_fields = count;
        }
        let end = small(self.cursor.at());
        Record {
            header: (small(start), end),
            body: (end, end),
            parent,
            first_field: small(first_field),
            fields: u8::try_from(self.found.fields.len() - first_field).unwrap_or(u8::MAX),
            in_digest,
            ..Record::default()
        }
    }

    /// Empty lines at the very start, when a field follows them, do not end the header.
    fn skip_leading_blanks(&mut self) {
        let mut blanks = 0;
        let mut line = line_at(self.raw, 0);
        while line.start == line.end && line.next > line.end {
            blanks += 1;
            line = line_at(self.raw, line.next);
        }
        if blanks > 0 && field_start(self.raw, line).is_some() {
            self.found.defects.add(DefectKind::LeadingJunk, 0);
            for _ in 0..blanks {
                self.cursor.take();
            }
        }
    }

    /// A line that is no field. It belongs to the header when a field or the empty line follows; otherwise the
    /// empty line was forgotten and the body begins here.
    fn junk(&mut self, line: Line) -> bool {
        let next = line_at(self.raw, line.next);
        let at_end = next.start >= self.raw.len();
        let goes_on = !at_end
            && (next.start == next.end
                || is_continuation(self.raw, next.start)
                || field_start(self.raw, next).is_some());
        if !goes_on {
            self.found.defects.add(DefectKind::MissingBlankLine, line.start);
            return false;
        }
        let is_root = self.found.records.is_empty();
        let mbox = is_root && line.start == 0 && self.raw.starts_with(b"From ");
        let kind = if mbox { DefectKind::LeadingJunk } else { DefectKind::MalformedHeader };
        self.found.defects.add(kind, line.start);
        self.cursor.take();
        true
    }

    fn note_field(&mut self, seen: &mut u32, count: u32, name: Range<usize>, value: Range<usize>) {
        if count as usize == limits::HEADERS + 1 {
            self.found.defects.add(DefectKind::HeadersReached, name.start);
        }
        let bytes = self.raw.get(value.clone()).unwrap_or_default();
        if self.cursor.maybe_high() && simdutf8::basic::from_utf8(bytes).is_err() {
            self.found.defects.add_once(DefectKind::EightBitHeader, name.start);
        }
        let Some(row) = find_at(self.raw, name.clone()) else {
            return;
        };
        let bit = 1 << row.field as u32;
        if *seen & bit == 0 {
            *seen |= bit;
            let (start, end) = (small(value.start), small(value.end));
            self.found.fields.push(FieldSpan { field: row.field, start, end });
        } else if row.once {
            self.found.defects.add(DefectKind::DuplicateHeader, name.start);
        }
    }

    /// Decides whether a part is opened, and how; what may not be opened becomes opaque. Gives the boundary of a
    /// multipart and whether it is a digest.
    fn open_what(&mut self, record: &mut Record) -> (Cow<'a, [u8]>, bool) {
        let none = (Cow::Borrowed(&b""[..]), false);
        let value = self.found.value(self.raw, record, Field::ContentType);
        let announced;
        (announced, record.known) = media::announced(value, record.in_digest);
        let (is_multipart, digest) = match announced {
            Announced::Text | Announced::Other => {
                record.is_text = matches!(announced, Announced::Text);
                return none;
            }
            Announced::Multipart => (true, false),
            Announced::Digest => (true, true),
            Announced::Message => (false, false),
        };
        let offset = self.found.range(record, Field::ContentType);
        let offset = offset.map_or(record.header.0, |range| range.start) as usize;
        let encoded = self.is_encoded(record);
        let boundary = match value.filter(|_| is_multipart) {
            Some(value) => boundary(value, record.known),
            None => Boundary::None,
        };
        let refused = if self.open.len() >= limits::DEPTH {
            Some(DefectKind::DepthReached)
        } else if self.found.records.len() + 1 >= limits::parts(self.raw.len()) {
            Some(DefectKind::PartsReached)
        } else {
            None
        };
        if let Some(kind) = refused {
            self.found.defects.add(kind, offset);
        }
        if is_multipart && matches!(boundary, Boundary::None) {
            self.found.defects.add(DefectKind::MissingBoundary, offset);
            record.shape = Shape::Text;
            return none;
        }
        if refused.is_some() || (!is_multipart && encoded) {
            // RFC 2045 §6.4: a letter may not be encoded; like everything that cannot be read it is just bytes.
            record.shape = Shape::Opaque;
            return none;
        }
        record.shape = if is_multipart { Shape::Multipart } else { Shape::Message };
        match boundary {
            Boundary::None => none,
            Boundary::Once(text) => (text, digest),
            Boundary::Twice(text) => {
                self.found.defects.add(DefectKind::DuplicateBoundary, offset);
                (text, digest)
            }
        }
    }

    /// Whether a multipart or message is in an encoding that it may not have.
    fn is_encoded(&mut self, record: &Record) -> bool {
        let Some(range) = self.found.range(record, Field::ContentTransferEncoding) else {
            return false;
        };
        let start = range.start as usize;
        let encoding = encoding(slice(self.raw, range));
        let plain = matches!(encoding, Encoding::SevenBit | Encoding::EightBit | Encoding::Binary);
        if !plain {
            self.found.defects.add(DefectKind::BadEncoding, start);
        }
        !plain
    }

    /// The open multipart whose delimiter this line is, and whether it closes it.
    fn delimiter(&self, line: Line) -> Option<(usize, bool)> {
        let text = self.raw.get(line.start..line.end)?.strip_prefix(b"--")?;
        let text = trim_end_blanks(text);
        self.open.iter().enumerate().rev().find_map(|(depth, open)| {
            if open.closed || open.boundary.is_empty() {
                return None;
            }
            match text.strip_prefix(&*open.boundary)? {
                b"" => Some((depth, false)),
                b"--" => Some((depth, true)),
                _ => None,
            }
        })
    }

    /// Takes part in the letter's structure when it is a delimiter. The line is taken already.
    fn maybe_delimiter(&mut self, line: Line) {
        if let Some((depth, close)) = self.delimiter(line) {
            self.take_delimiter(line, depth, close);
        }
    }

    fn take_delimiter(&mut self, line: Line, depth: usize, close: bool) {
        if !close && self.found.records.len() >= limits::parts(self.raw.len()) {
            self.found.defects.add_once(DefectKind::PartsReached, line.start);
            return;
        }
        self.end_parts(depth + 1, Some(line));
        let Some(open) = self.open.get_mut(depth) else {
            return;
        };
        open.closed = close;
        let (part, digest) = (open.part, open.digest);
        if !close {
            self.begin(small(part), digest);
        }
    }

    /// Ends the leaf and everything open from `depth` on, at a delimiter or at the end of the letter.
    fn end_parts(&mut self, depth: usize, delimiter: Option<Line>) {
        if let Some((part, first_line)) = self.leaf.take() {
            self.end_part(part, first_line, delimiter);
        }
        while self.open.len() > depth {
            let Some(open) = self.open.pop() else {
                return;
            };
            self.end_part(open.part, open.first_line, delimiter);
            if open.boundary.is_empty() {
                continue;
            }
            let offset = delimiter.map_or(self.raw.len(), |line| line.start);
            if !open.has_children {
                self.found.defects.add(DefectKind::MissingBoundary, offset);
                if let Some(record) = self.found.records.get_mut(open.part) {
                    record.shape = Shape::Text;
                }
            } else if !open.closed {
                self.found.defects.add(DefectKind::MissingCloseBoundary, offset);
            }
        }
    }

    fn end_part(&mut self, number: usize, first_line: u32, delimiter: Option<Line>) {
        let Some(part) = self.found.records.get_mut(number) else {
            return;
        };
        let start = part.body.0 as usize;
        // The delimiter is the last line taken.
        let (end, lines_before) = match delimiter {
            Some(line) => {
                (end_before(self.raw, line.start).max(start), self.cursor.lines().saturating_sub(1))
            }
            None => (self.raw.len(), self.cursor.lines()),
        };
        let body = self.raw.get(start..end).unwrap_or_default();
        let mut lines = lines_before.saturating_sub(first_line);
        if delimiter.is_some() && matches!(body.last(), None | Some(b'\r' | b'\n')) {
            lines = lines.saturating_sub(1);
        }
        if body.is_empty() {
            lines = 0;
        }
        let end = small(end);
        part.body.1 = end;
        part.lines = lines;
        // The empty line that ended the header of a letter inside may be the line end of the delimiter, which is
        // not part of that letter.
        let inside = self.found.records.iter_mut().skip(number + 1).rev();
        for part in inside.take_while(|part| part.body.1 > end) {
            for place in [&mut part.header, &mut part.body] {
                *place = (end.min(place.0), end.min(place.1));
            }
        }
    }

    fn finish(mut self) -> Scan {
        self.end_parts(0, None);
        let Scan { records, defects, .. } = &mut self.found;
        let facts = self.cursor.facts();
        let noted = [
            (DefectKind::NulByte, facts.nul),
            (DefectKind::BareCr, facts.bare_cr),
            (DefectKind::BareLf, facts.bare_lf),
            (DefectKind::LongLine, facts.long_line),
        ];
        for (kind, at) in noted.into_iter().filter_map(|(kind, at)| Some((kind, at?))) {
            defects.add_once(kind, at);
        }
        let root = records.first().cloned().unwrap_or_default();
        let wanted =
            [(Field::Date, DefectKind::MissingDate), (Field::From, DefectKind::MissingFrom)];
        for (field, kind) in wanted {
            if self.found.range(&root, field).is_none() {
                self.found.defects.add(kind, 0);
            }
        }
        self.found.lines = self.cursor.lines();
        self.found
    }
}

/// Where the text before a line start ends: in front of the line end, if there is one.
fn end_before(raw: &[u8], line_start: usize) -> usize {
    let before = raw.get(..line_start).unwrap_or_default();
    let width = match before {
        [.., b'\r', b'\r', b'\n'] => 3,
        [.., b'\r', b'\n'] => 2,
        [.., b'\r' | b'\n'] => 1,
        _ => 0,
    };
    line_start - width
}

/// RFC 2045 §5.2, RFC 2046 §5.1.5
pub(crate) fn default_type(in_digest: bool) -> (&'static str, &'static str) {
    if in_digest { ("message", "rfc822") } else { ("text", "plain") }
}

/// What stands before the first `;`, comments gone. Case as written.
pub(crate) fn head(raw: &[u8]) -> Cow<'_, str> {
    let end = memchr(b';', raw).unwrap_or(raw.len());
    let text = raw.get(..end).unwrap_or_default().trim_ascii();
    match simd::printable(text) {
        Some(simple) if memchr(b'(', text).is_none() => Cow::Borrowed(simple),
        _ => Cow::Owned(parse_value(raw, None).head),
    }
}

/// The value of Content-Transfer-Encoding.
pub(crate) fn encoding(raw: &[u8]) -> Encoding {
    match &*head(raw) {
        "" => Encoding::SevenBit,
        word => Encoding::from_name(word),
    }
}

/// `type/subtype`; what stands behind a blank is left out.
pub(crate) fn split_type(head: &str) -> Option<(&str, &str)> {
    let (media_type, subtype) = head.split_once('/')?;
    let subtype = subtype.trim_start().split([' ', '\t', '/']).next()?;
    let media_type = media_type.trim_end();
    let is_token = |t: &str| {
        !t.is_empty()
            && t.bytes().all(|b| match b {
                b'(' | b')' | b'<' | b'>' | b'@' | b',' | b';' | b':' | b'\\' | b'"' | b'/'
                | b'[' | b']' | b'?' | b'=' => false,
                b => b.is_ascii_graphic(),
            })
    };
    (is_token(media_type) && is_token(subtype)).then_some((media_type, subtype))
}

enum Boundary<'a> {
    None,
    Once(Cow<'a, [u8]>),
    Twice(Cow<'a, [u8]>),
}

fn boundary(raw: &[u8], known: Known) -> Boundary<'_> {
    if let Some(text) = known.param(raw, b"boundary") {
        return match text.map(<[u8]>::trim_ascii_end) {
            None | Some(b"") => Boundary::None,
            Some(text) => Boundary::Once(Cow::Borrowed(text)),
        };
    }
    let value = parse_value(raw, None);
    match value.boundary {
        None => Boundary::None,
        Some(text) if value.boundary_twice => Boundary::Twice(Cow::Owned(text)),
        Some(text) => Boundary::Once(Cow::Owned(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree alone is the tree, whatever the letter is made of.
    #[test]
    fn the_tree_is_the_same() {
        const PIECES: [&str; 24] = [
            "--x",
            "--x",
            "--y",
            "--y",
            "--x--",
            "--y--",
            "--y-- \t",
            "--",
            "-",
            "--xy",
            "a",
            "A: b",
            " c",
            "\0",
            "\n",
            "\n",
            "\n",
            "\n\n",
            "\n\n",
            "\r\n",
            "\r",
            "\nContent-Type: multipart/mixed; boundary=x\n",
            "\nContent-Type: multipart/digest; boundary=y\n",
            "\nContent-Type: message/rfc822\n",
        ];
        let mut seed = 5_u32;
        let mut next = |count: usize| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as usize % count
        };
        let mut most = 0;
        for round in 0..20_000 {
            let mut raw = String::from("Content-Type: multipart/mixed; boundary=x\n\n");
            raw.truncate(if round % 8 == 0 { 0 } else { raw.len() });
            for _ in 0..next(40) {
                let times = if next(20) == 0 { 100 } else { 1 };
                raw += &PIECES[next(PIECES.len())].repeat(times);
            }
            let (full, tree) = (scan(raw.as_bytes()), scan_tree(raw.as_bytes()));
            let without_lines = |scan: &Scan| {
                let records = scan.records.iter().map(|r| Record { lines: 0, ..r.clone() });
                format!("{:?} {:?}", records.collect::<Vec<_>>(), scan.fields)
            };
            assert_eq!(without_lines(&tree), without_lines(&full), "{raw:?}");
            assert!(tree.records.iter().all(|record| record.lines == 0));
            most = most.max(full.records.len());
        }
        assert!(most > 10, "letters of {most} parts at most test little");
    }

    /// What the scan keeps is at most 8 times the letter and 1 MB more, however many parts and fields it has.
    #[test]
    fn records_stay_small() {
        #[track_caller]
        fn check(head: &str, piece: &str, times: usize) {
            let raw = format!("{head}{}", piece.repeat(times));
            let found = scan(raw.as_bytes());
            let records = found.records.capacity() * size_of::<Record>();
            let bytes = records + found.fields.capacity() * size_of::<FieldSpan>();
            assert!(bytes <= 8 * raw.len() + 1_000_000, "{bytes} for {} bytes", raw.len());
        }
        let head = "Content-Type: multipart/mixed; boundary=x\n\n";
        check(head, "--x\n", limits::PARTS + 10);
        check(head, "--x\nTo:\nCc:\n\n", limits::PARTS + 10);
        check("", "To:\n", 100_000);
        check("", "Content-Type: message/rfc822\n\n", 1000);
    }
}
