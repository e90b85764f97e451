//! The one pass over the bytes: line by line, a stack of what is open instead of recursion.
//!
//! A delimiter line (RFC 2046 §5.1.1) is looked for among all open multiparts, innermost first, so that a
//! multipart whose end is missing ends where the one around it goes on. The line end before a delimiter belongs
//! to the delimiter.

use crate::charset;
use crate::decode::{Encoding, is_clean_base64};
use crate::defects::{DefectKind, Defects};
use crate::headers::{Field, KNOWN, field_start, find, is_continuation, unfold};
use crate::lines::{Line, line_at, trim_end_blanks};
use crate::message::{slice, small};
use crate::params::{Value, parse_value};
use crate::{Envelope, Index, Part, PartKind, address, index, limits};
use memchr::memchr;
use std::ops::Range;

/// Reads any bytes as a letter.
pub(crate) fn scan(raw: &[u8]) -> Index {
    let mut scanner = Scanner::new(raw);
    scanner.begin(None, false);
    while let Some(line) = scanner.next_line() {
        scanner.body_line(line);
    }
    scanner.finish()
}

/// A multipart or message whose end has not come.
struct Open {
    part: usize,
    /// Number of the first line of the body.
    first_line: u32,
    /// Empty for a message.
    boundary: Vec<u8>,
    digest: bool,
    /// Its close delimiter was there; the rest is epilogue.
    closed: bool,
    has_children: bool,
}

struct Scanner<'a> {
    raw: &'a [u8],
    at: usize,
    /// Lines taken so far.
    lines: u32,
    /// Where the text of the last line ends.
    last_end: usize,
    parts: Vec<Part>,
    open: Vec<Open>,
    /// The leaf whose body is being read, and its first line.
    leaf: Option<(usize, u32)>,
    addresses_left: usize,
    root: Block,
    /// Of the first text part that names one.
    charset: Option<String>,
    defects: Defects,
}

/// The fields of one header that we know.
#[derive(Default, Clone)]
struct Block {
    /// By [`Field`]: the value of the first field of that name.
    values: [Option<(u32, u32)>; KNOWN],
    header: Range<usize>,
    count: u32,
    begins_with_field: bool,
}

impl Block {
    fn range(&self, field: Field) -> Option<Range<u32>> {
        let (start, end) = (*self.values.get(field as usize)?)?;
        Some(start..end)
    }

    /// Where a field's value begins; of a field that is not there, where the header does.
    fn offset(&self, field: Field) -> usize {
        self.range(field).map_or(self.header.start, |range| range.start as usize)
    }

    fn value<'a>(&self, raw: &'a [u8], field: Field) -> Option<&'a [u8]> {
        self.range(field).map(|range| slice(raw, range))
    }
}

impl<'a> Scanner<'a> {
    fn new(raw: &'a [u8]) -> Self {
        let mut defects = Defects::default();
        let read = raw.get(..raw.len().min(limits::MESSAGE_BYTES)).unwrap_or_default();
        if read.len() < raw.len() {
            defects.add(DefectKind::TooLarge, read.len());
        }
        if let Some(at) = memchr(0, read) {
            defects.add(DefectKind::NulByte, at);
        }
        Self {
            raw: read,
            at: 0,
            lines: 0,
            last_end: 0,
            parts: Vec::new(),
            open: Vec::new(),
            leaf: None,
            addresses_left: limits::ADDRESSES,
            root: Block::default(),
            charset: None,
            defects,
        }
    }

    fn next_line(&mut self) -> Option<Line> {
        if self.at >= self.raw.len() {
            return None;
        }
        let line = line_at(self.raw, self.at);
        self.take(line);
        Some(line)
    }

    fn take(&mut self, line: Line) {
        self.at = line.next;
        self.lines += 1;
        self.last_end = line.end;
        if line.end - line.start > limits::LINE_BYTES {
            self.defects.add_once(DefectKind::LongLine, line.start);
        }
        match (line.next - line.end, self.raw.get(line.end)) {
            (1, Some(b'\n')) => self.defects.add_once(DefectKind::BareLf, line.end),
            (1 | 3, _) => self.defects.add_once(DefectKind::BareCr, line.end),
            _ => {}
        }
    }

    /// Reads a header and opens what it announces: a leaf, a multipart, or a letter whose header follows.
    fn begin(&mut self, parent: Option<usize>, in_digest: bool) {
        let (mut parent, mut in_digest) = (parent, in_digest);
        loop {
            let block = self.header();
            let number = self.parts.len();
            let (part, value) = self.describe(&block, parent, in_digest);
            if parent.is_none() {
                self.root = block;
            }
            let kind = part.kind;
            in_digest = kind == PartKind::Multipart && part.subtype == "digest";
            self.parts.push(part);
            if let Some(open) = self.open.last_mut().filter(|_| parent.is_some()) {
                open.has_children = true;
            }
            if kind == PartKind::Leaf {
                self.leaf = Some((number, self.lines));
                return;
            }
            self.open.push(Open {
                part: number,
                first_line: self.lines,
                // A letter has none, whatever its type says.
                boundary: value
                    .boundary
                    .filter(|_| kind == PartKind::Multipart)
                    .unwrap_or_default(),
                digest: in_digest,
                closed: false,
                has_children: false,
            });
            if kind == PartKind::Multipart {
                return;
            }
            parent = Some(number);
        }
    }

    /// The fields from here to the empty line, the next delimiter, or what looks like the body.
    fn header(&mut self) -> Block {
        let mut block = Block { header: self.at..self.at, ..Block::default() };
        if self.parts.is_empty() {
            self.skip_leading_blanks();
        }
        while self.at < self.raw.len() {
            let line = line_at(self.raw, self.at);
            if self.delimiter(line).is_some() {
                self.defects.add(DefectKind::MissingBlankLine, line.start);
                break;
            }
            if line.start == line.end {
                self.take(line);
                break;
            }
            let Some((name_end, value)) = field_start(self.raw, line) else {
                if self.junk(line) {
                    continue;
                }
                break;
            };
            block.begins_with_field |= block.header.start == line.start;
            block.count += 1;
            self.take_field(line);
            self.note_field(&mut block, line.start..name_end, value..self.last_end);
        }
        block.header.end = self.at;
        block
    }

    /// Empty lines at the very start, when a field follows them, do not end the header.
    fn skip_leading_blanks(&mut self) {
        let mut blanks = Vec::new();
        let mut line = line_at(self.raw, 0);
        while line.start == line.end && line.next > line.end {
            blanks.push(line);
            line = line_at(self.raw, line.next);
        }
        if !blanks.is_empty() && field_start(self.raw, line).is_some() {
            self.defects.add(DefectKind::LeadingJunk, 0);
            for blank in blanks {
                self.take(blank);
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
            self.defects.add(DefectKind::MissingBlankLine, line.start);
            return false;
        }
        let mbox = self.parts.is_empty() && line.start == 0 && self.raw.starts_with(b"From ");
        let kind = if mbox { DefectKind::LeadingJunk } else { DefectKind::MalformedHeader };
        self.defects.add(kind, line.start);
        self.take(line);
        true
    }

    /// Takes a line and those that continue it.
    fn take_field(&mut self, first: Line) {
        self.take(first);
        while self.at < self.raw.len() && is_continuation(self.raw, self.at) {
            let line = line_at(self.raw, self.at);
            self.take(line);
        }
    }

    fn note_field(&mut self, block: &mut Block, name: Range<usize>, value: Range<usize>) {
        if block.count as usize == limits::HEADERS + 1 {
            self.defects.add(DefectKind::HeadersReached, name.start);
        }
        let bytes = self.raw.get(value.clone()).unwrap_or_default();
        if !bytes.is_ascii() && simdutf8::basic::from_utf8(bytes).is_err() {
            self.defects.add_once(DefectKind::EightBitHeader, name.start);
        }
        let Some(row) = find(self.raw.get(name.clone()).unwrap_or_default()) else {
            return;
        };
        let Some(slot) = block.values.get_mut(row.field as usize) else {
            return;
        };
        if slot.is_none() {
            *slot = Some((small(value.start), small(value.end)));
        } else if row.once {
            self.defects.add(DefectKind::DuplicateHeader, name.start);
        }
    }

    /// A part from its header; what it holds is opened by the caller.
    fn describe(&mut self, block: &Block, parent: Option<usize>, in_digest: bool) -> (Part, Value) {
        let start = block.header.start;
        let type_at = block.offset(Field::ContentType);
        let default = if in_digest { ("message", "rfc822") } else { ("text", "plain") };
        let mut value = Value::default();
        let (mut media_type, mut subtype) = default;
        if let Some(raw) = block.value(self.raw, Field::ContentType) {
            value = parse_value(raw, self.charset.as_deref());
            match split_type(&value.head) {
                Some(both) => (media_type, subtype) = both,
                None => self.defects.add(DefectKind::BadContentType, type_at),
            }
        }
        self.note_value(&value, media_type, type_at);
        let mut part = Part {
            parent: parent.map(small),
            header: small(start)..small(block.header.end),
            body: small(self.at)..small(self.at),
            media_type: media_type.to_owned(),
            subtype: subtype.to_owned(),
            encoding: self.encoding(block),
            ..Part::default()
        };
        let charset =
            value.params.iter().find(|(name, _)| name == "charset").map(|(_, label)| label.clone());
        if media_type == "text" && self.charset.is_none() {
            self.charset.clone_from(&charset);
        }
        index::fill_content_fields(&mut part, self.charset.as_deref(), |field| {
            block.value(self.raw, field)
        });
        self.choose_kind(&mut part, value.boundary.is_some(), block);
        if part.kind == PartKind::Multipart && value.boundary_twice {
            self.defects.add(DefectKind::DuplicateBoundary, type_at);
        }
        part.params = std::mem::take(&mut value.params);
        let parent =
            parent.filter(|p| self.parts.get(*p).is_some_and(|p| p.kind == PartKind::Message));
        if let Some(parent) = parent {
            let envelope = self.envelope(block, charset.as_deref());
            if let Some(parent) = self.parts.get_mut(parent) {
                parent.envelope = Some(Box::new(envelope));
            }
        }
        (part, value)
    }

    fn note_value(&mut self, value: &Value, media_type: &str, offset: usize) {
        if value.cut {
            self.defects.add(DefectKind::ParamsReached, offset);
        }
        let charset = value.params.iter().find(|(name, _)| name == "charset");
        if media_type == "text" && charset.is_some_and(|(_, label)| !charset::is_known(label)) {
            self.defects.add(DefectKind::UnknownCharset, offset);
        }
    }

    fn encoding(&mut self, block: &Block) -> Encoding {
        let Some(raw) = block.value(self.raw, Field::ContentTransferEncoding) else {
            return Encoding::SevenBit;
        };
        let encoding = match &*parse_value(raw, None).head {
            "" => Encoding::SevenBit,
            word => Encoding::from_name(word),
        };
        if matches!(encoding, Encoding::Other(_)) {
            self.defects.add(DefectKind::BadEncoding, block.offset(Field::ContentTransferEncoding));
        }
        encoding
    }

    /// Leaf, multipart or message; what may not be opened becomes opaque.
    fn choose_kind(&mut self, part: &mut Part, has_boundary: bool, block: &Block) {
        let is_multipart = part.media_type == "multipart";
        let is_message =
            part.media_type == "message" && matches!(&*part.subtype, "rfc822" | "global");
        if !is_multipart && !is_message {
            return;
        }
        let encoded =
            !matches!(part.encoding, Encoding::SevenBit | Encoding::EightBit | Encoding::Binary);
        let offset = block.offset(Field::ContentType);
        if encoded {
            self.defects.add(DefectKind::BadEncoding, block.offset(Field::ContentTransferEncoding));
        }
        let refused = if self.open.len() >= limits::DEPTH {
            Some(DefectKind::DepthReached)
        } else if self.parts.len() + 1 >= limits::PARTS {
            Some(DefectKind::PartsReached)
        } else {
            None
        };
        if let Some(kind) = refused {
            self.defects.add(kind, offset);
        }
        if is_multipart && !has_boundary {
            self.defects.add(DefectKind::MissingBoundary, offset);
            set_type(part, "text", "plain");
        } else if refused.is_some() || (is_message && encoded) {
            // RFC 2045 §6.4: a letter may not be encoded; like everything that cannot be read it is just bytes.
            set_type(part, "application", "octet-stream");
        } else {
            part.kind = if is_multipart { PartKind::Multipart } else { PartKind::Message };
        }
    }

    fn envelope(&mut self, block: &Block, charset: Option<&str>) -> Envelope {
        let mut addresses = |field: Field| {
            let Some(range) = block.range(field) else {
                return Vec::new();
            };
            let (start, value) = (range.start, slice(self.raw, range));
            let (list, used_up) = address::parse_list(value, charset, &mut self.addresses_left);
            if used_up {
                self.defects.add(DefectKind::AddressesReached, start as usize);
            }
            list
        };
        Envelope {
            from: addresses(Field::From),
            sender: addresses(Field::Sender),
            reply_to: addresses(Field::ReplyTo),
            to: addresses(Field::To),
            cc: addresses(Field::Cc),
            bcc: addresses(Field::Bcc),
            ..index::envelope_texts(|field| {
                let value = unfold(block.value(self.raw, field)?);
                Some(charset::header_bytes(&value, charset))
            })
        }
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

    fn body_line(&mut self, line: Line) {
        // Nearly every line stops here.
        if !self.raw.get(line.start..).unwrap_or_default().starts_with(b"--") {
            return;
        }
        let Some((depth, close)) = self.delimiter(line) else {
            return;
        };
        if !close && self.parts.len() >= limits::PARTS {
            self.defects.add_once(DefectKind::PartsReached, line.start);
            return;
        }
        self.end_parts(depth + 1, Some(line));
        let Some(open) = self.open.get_mut(depth) else {
            return;
        };
        open.closed = close;
        let (part, digest) = (open.part, open.digest);
        if !close {
            self.begin(Some(part), digest);
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
                self.defects.add(DefectKind::MissingBoundary, offset);
                if let Some(part) = self.parts.get_mut(open.part) {
                    part.kind = PartKind::Leaf;
                    set_type(part, "text", "plain");
                }
            } else if !open.closed {
                self.defects.add(DefectKind::MissingCloseBoundary, offset);
            }
        }
    }

    fn end_part(&mut self, number: usize, first_line: u32, delimiter: Option<Line>) {
        let Some(part) = self.parts.get_mut(number) else {
            return;
        };
        let start = part.body.start as usize;
        // The delimiter is the last line taken.
        let (end, lines_before) = match delimiter {
            Some(line) => {
                (end_before(self.raw, line.start).max(start), self.lines.saturating_sub(1))
            }
            None => (self.raw.len(), self.lines),
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
        part.body.end = end;
        part.lines = lines;
        if part.kind == PartKind::Leaf
            && part.encoding == Encoding::Base64
            && !is_clean_base64(body)
        {
            self.defects.add(DefectKind::BadBase64, start);
        }
        // The empty line that ended the header of a letter inside may be the line end of the delimiter, which is
        // not part of that letter.
        let beyond = self.parts.iter_mut().skip(number + 1).rev().take_while(|p| p.body.end > end);
        for part in beyond {
            for place in [
                &mut part.header.start,
                &mut part.header.end,
                &mut part.body.start,
                &mut part.body.end,
            ] {
                *place = end.min(*place);
            }
        }
    }

    fn finish(mut self) -> Index {
        self.end_parts(0, None);
        let root = std::mem::take(&mut self.root);
        let missing =
            [(Field::Date, DefectKind::MissingDate), (Field::From, DefectKind::MissingFrom)];
        for (field, kind) in missing {
            if root.range(field).is_none() {
                self.defects.add(kind, 0);
            }
        }
        let charset = self.charset.take();
        let envelope = self.envelope(&root, charset.as_deref());
        let mut index = Index {
            size: small(self.raw.len()),
            lines: self.lines,
            header_fields: root.count,
            begins_with_field: root.begins_with_field,
            parts: self.parts,
            envelope,
            preview: String::new(),
            defects: self.defects.into_list(),
        };
        index.preview = index::preview(&index, self.raw);
        index
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

fn set_type(part: &mut Part, media_type: &str, subtype: &str) {
    media_type.clone_into(&mut part.media_type);
    subtype.clone_into(&mut part.subtype);
}

/// `type/subtype`; what stands behind a blank is left out.
fn split_type(head: &str) -> Option<(&str, &str)> {
    let (media_type, subtype) = head.split_once('/')?;
    let subtype = subtype.trim_start().split([' ', '\t', '/']).next()?;
    let media_type = media_type.trim_end();
    let is_token = |t: &str| {
        !t.is_empty()
            && t.bytes().all(|b| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&b))
    };
    (is_token(media_type) && is_token(subtype)).then_some((media_type, subtype))
}
