//! Header fields (RFC 5322 §2.2): finding them, and the table of those this crate knows.
//!
//! ```text
//! field       = field-name *WSP ":" value CRLF     ; *WSP is obsolete syntax (§4.5)
//! field-name  = 1*(%d33-57 / %d59-126)
//! value       = anything, with CRLF only where WSP follows
//! ```

use crate::lines::{Line, line_at};
use crate::message::small;
use crate::simd::{self, NAME_WINDOW};
use std::ops::Range;

/// One field of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// As written.
    pub name: &'a [u8],
    /// As written after the colon, folded, without the last line end.
    pub value: &'a [u8],
    /// The whole field with its line ends.
    pub raw: &'a [u8],
    /// Of the name, from the start of the letter.
    pub offset: u32,
}

impl Header<'_> {
    /// The value as people read it.
    pub fn text(&self) -> String {
        crate::decode_header_text(self.value)
    }
}

/// A header field this crate reads: its name, whether it may stand only once, and where that is said.
#[derive(Debug)]
pub struct HeaderRow {
    /// As standards write it.
    pub name: &'static str,
    /// Its place in the table.
    pub field: Field,
    /// It may stand only once.
    pub once: bool,
    /// Where it is said.
    pub spec: &'static str,
}

/// The number of a row in [`HEADERS`].
#[expect(missing_docs, reason = "each is the field of its name")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Bcc,
    Cc,
    ContentDescription,
    ContentDisposition,
    ContentId,
    ContentLanguage,
    ContentLocation,
    ContentMd5,
    ContentTransferEncoding,
    ContentType,
    Date,
    From,
    InReplyTo,
    MessageId,
    MimeVersion,
    References,
    ReplyTo,
    Sender,
    Subject,
    To,
}

const fn row(name: &'static str, field: Field, once: bool, spec: &'static str) -> HeaderRow {
    HeaderRow { name, field, once, spec }
}

/// Sorted by name; a row's place is its [`Field`].
pub static HEADERS: &[HeaderRow] = &[
    row("Bcc", Field::Bcc, true, "RFC 5322 §3.6.3"),
    row("Cc", Field::Cc, true, "RFC 5322 §3.6.3"),
    row("Content-Description", Field::ContentDescription, false, "RFC 2045 §8"),
    row("Content-Disposition", Field::ContentDisposition, true, "RFC 2183 §2"),
    row("Content-ID", Field::ContentId, true, "RFC 2045 §7"),
    row("Content-Language", Field::ContentLanguage, false, "RFC 3282 §2"),
    row("Content-Location", Field::ContentLocation, false, "RFC 2557 §4.2"),
    row("Content-MD5", Field::ContentMd5, false, "RFC 1864 §2"),
    row("Content-Transfer-Encoding", Field::ContentTransferEncoding, true, "RFC 2045 §6"),
    row("Content-Type", Field::ContentType, true, "RFC 2045 §5"),
    row("Date", Field::Date, true, "RFC 5322 §3.6.1"),
    row("From", Field::From, true, "RFC 5322 §3.6.2"),
    row("In-Reply-To", Field::InReplyTo, true, "RFC 5322 §3.6.4"),
    row("Message-ID", Field::MessageId, true, "RFC 5322 §3.6.4"),
    row("MIME-Version", Field::MimeVersion, true, "RFC 2045 §4"),
    row("References", Field::References, true, "RFC 5322 §3.6.4"),
    row("Reply-To", Field::ReplyTo, true, "RFC 5322 §3.6.2"),
    row("Sender", Field::Sender, true, "RFC 5322 §3.6.2"),
    row("Subject", Field::Subject, true, "RFC 5322 §3.6.5"),
    row("To", Field::To, true, "RFC 5322 §3.6.3"),
];

/// How many fields are known.
const KNOWN: usize = 20;

/// The place in [`SLOTS`] of a name: of its length, its last letter and the one in the middle. All names of the table
/// have places of their own, and most others fall on an empty one or on one of another length.
#[inline]
const fn slot(length: usize, last: u8, middle: u8) -> usize {
    (length + 2 * (last | 0x20) as usize + 9 * (middle | 0x20) as usize) % SLOT_COUNT
}

const SLOT_COUNT: usize = 64;

/// The number of the row whose name may be here; [`KNOWN`] for none.
#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a constant: the compiler would stop, and 20 fits a byte"
)]
static SLOTS: [u8; SLOT_COUNT] = {
    let mut slots = [KNOWN as u8; SLOT_COUNT];
    let mut row = 0;
    while row < KNOWN {
        let name = HEADERS[row].name.as_bytes();
        let place = slot(name.len(), name[name.len() - 1], name[name.len() / 2]);
        assert!(slots[place] == KNOWN as u8, "two names in one place");
        slots[place] = row as u8;
        row += 1;
    }
    slots
};

/// A name in lower case, and ones where it is, for comparing many bytes at a time.
struct Wide {
    name: [u8; NAME_WINDOW],
    mask: [u8; NAME_WINDOW],
}

#[expect(clippy::indexing_slicing, reason = "a constant: the compiler would stop")]
static WIDE: [Wide; KNOWN] = {
    let mut all = [const { Wide { name: [0; NAME_WINDOW], mask: [0; NAME_WINDOW] } }; KNOWN];
    let mut row = 0;
    while row < KNOWN {
        let (name, mut at) = (HEADERS[row].name.as_bytes(), 0);
        while at < name.len() {
            all[row].name[at] = name[at] | 0x20;
            all[row].mask[at] = u8::MAX;
            at += 1;
        }
        row += 1;
    }
    all
};

/// The row that a name may be, told by its length and two of its letters.
#[inline]
fn candidate(name: &[u8]) -> Option<(usize, &'static HeaderRow)> {
    let (last, middle) = (name.last()?, name.get(name.len() / 2)?);
    let number = usize::from(*SLOTS.get(slot(name.len(), *last, *middle))?);
    HEADERS.get(number).filter(|row| row.name.len() == name.len()).map(|row| (number, row))
}

/// The row of a field name, compared without case.
pub(crate) fn find(name: &[u8]) -> Option<&'static HeaderRow> {
    let (_, row) = candidate(name)?;
    same_name(row.name.as_bytes(), name).then_some(row)
}

/// The row of a field name that stands at this place of a letter.
#[inline]
pub(crate) fn find_at(raw: &[u8], name: Range<usize>) -> Option<&'static HeaderRow> {
    let text = raw.get(name.clone())?;
    let (number, row) = candidate(text)?;
    let same = match (raw.get(name.start..)?.first_chunk(), WIDE.get(number)) {
        (Some(window), Some(wide)) => wide.is(window),
        _ => same_name(row.name.as_bytes(), text),
    };
    same.then_some(row)
}

impl Wide {
    /// The same as [`same_name`].
    #[inline]
    fn is(&self, window: &[u8; NAME_WINDOW]) -> bool {
        let both = self.name.iter().zip(&self.mask).zip(window);
        both.fold(0, |found, ((ours, mask), theirs)| found | (((theirs | 0x20) ^ ours) & mask)) == 0
    }
}

/// Whether printable names of one length are the same but for case, eight bytes at a time. Names of the table are
/// letters, digits and hyphens: the bit of the case is all that may differ.
#[inline]
fn same_name(ours: &[u8], theirs: &[u8]) -> bool {
    let lower = |word: &[u8; 8]| u64::from_le_bytes(*word) | 0x2020_2020_2020_2020;
    let ((words, rest), (their_words, their_rest)) = (ours.as_chunks(), theirs.as_chunks());
    words.iter().zip(their_words).all(|(a, b)| lower(a) == lower(b))
        && rest.iter().zip(their_rest).all(|(a, b)| a | 0x20 == b | 0x20)
}

/// Name and colon of the line, if it begins a field; gives the end of the name and where the value begins.
pub(crate) fn field_start(raw: &[u8], line: Line) -> Option<(usize, usize)> {
    field_start_at(raw, line.start)
}

/// The same by the start of the line: neither a name nor the blanks behind it reach over its end.
#[inline]
pub(crate) fn field_start_at(raw: &[u8], start: usize) -> Option<(usize, usize)> {
    let text = raw.get(start..)?;
    if let Some(window) = text.first_chunk() {
        let length = simd::name_length(window);
        if length > 0 && window.get(length) == Some(&b':') {
            return Some((start + length, start + length + 1));
        }
    }
    let stop = text.iter().position(|b| *b == b':' || !(33..=126).contains(b))?;
    let gap = text.get(stop..)?;
    let blanks = gap.iter().position(|b| !matches!(b, b' ' | b'\t'))?;
    let colon = gap.get(blanks) == Some(&b':') && stop > 0;
    colon.then_some((start + stop, start + stop + blanks + 1))
}

/// Whether the line at this place continues the field before it.
pub(crate) fn is_continuation(raw: &[u8], at: usize) -> bool {
    matches!(raw.get(at), Some(b' ' | b'\t'))
}

/// The fields in a range of a letter's bytes, in order. Lines that are no field are passed over.
#[derive(Debug, Clone)]
pub struct Headers<'a> {
    raw: &'a [u8],
    at: usize,
}

/// The fields of the header in this range of the letter.
pub fn header_fields(raw: &[u8], range: Range<u32>) -> Headers<'_> {
    let end = (range.end as usize).min(raw.len());
    Headers { raw: raw.get(..end).unwrap_or_default(), at: range.start as usize }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        while self.at < self.raw.len() {
            let first = line_at(self.raw, self.at);
            let mut last = first;
            while last.next < self.raw.len() && is_continuation(self.raw, last.next) {
                last = line_at(self.raw, last.next);
            }
            self.at = last.next;
            if let Some((name_end, value)) = field_start(self.raw, first) {
                return Some(Header {
                    name: self.raw.get(first.start..name_end)?,
                    value: self.raw.get(value..last.end)?,
                    raw: self.raw.get(first.start..last.next)?,
                    offset: small(first.start),
                });
            }
        }
        None
    }
}

/// A field's value on one line (RFC 5322 §2.2.3): line ends gone, no blanks around.
pub fn unfold(raw: &[u8]) -> Vec<u8> {
    let text = without_blanks(raw);
    if memchr::memchr2(b'\r', b'\n', text).is_none() {
        return text.to_vec();
    }
    let mut line = Vec::with_capacity(text.len());
    text.split(|b| matches!(b, b'\r' | b'\n')).for_each(|piece| line.extend_from_slice(piece));
    line
}

/// Without blanks and line ends around.
pub(crate) fn without_blanks(raw: &[u8]) -> &[u8] {
    let is_text = |b: &u8| !matches!(b, b' ' | b'\t' | b'\r' | b'\n');
    let end = raw.iter().rposition(is_text).map_or(0, |at| at + 1);
    let start = raw.iter().position(is_text).unwrap_or(end);
    raw.get(start..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_its_places_are_the_fields() {
        assert_eq!(HEADERS.len(), KNOWN);
        assert!(HEADERS.is_sorted_by(|a, b| a.name.to_lowercase() < b.name.to_lowercase()));
        for (place, row) in HEADERS.iter().enumerate() {
            assert_eq!(row.field as usize, place, "{}", row.name);
            assert_eq!(find(row.name.to_uppercase().as_bytes()).unwrap().name, row.name);
            assert!(row.spec.starts_with("RFC "), "{}", row.name);
            for end in ["", ":", ": and more bytes than the window has, so that it is used"] {
                for name in [row.name.to_lowercase(), row.name.to_uppercase()] {
                    let (line, length) = (format!("\n{name}{end}"), name.len());
                    let found = find_at(line.as_bytes(), 1..1 + length).unwrap();
                    assert_eq!(found.name, row.name);
                    let other = line.replacen(&name[..1], "!", 1);
                    assert!(find_at(other.as_bytes(), 1..1 + length).is_none(), "{other}");
                    let wrong = find_at(line.as_bytes(), 1..length);
                    assert!(wrong.is_none_or(|found| found.name.len() == length - 1), "{line}");
                }
            }
        }
        assert!(find(b"X-Date").is_none() && find(b"").is_none());
        assert!(find_at(b"", 0..0).is_none() && find_at(b"To", 0..9).is_none());
    }

    #[test]
    fn fields() {
        #[track_caller]
        fn check(raw: &str, expect: &[(&str, &str)]) {
            let end = u32::try_from(raw.len()).unwrap();
            let found: Vec<(String, String)> = header_fields(raw.as_bytes(), 0..end)
                .map(|h| {
                    let text = |b: &[u8]| String::from_utf8(b.to_vec()).unwrap();
                    assert!(raw.as_bytes()[h.offset as usize..].starts_with(h.raw));
                    (text(h.name), text(&unfold(h.value)))
                })
                .collect();
            let found: Vec<(&str, &str)> =
                found.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            assert_eq!(found, expect, "{raw:?}");
        }
        check("", &[]);
        check("A: 1\r\nB:2\r\n\r\n", &[("A", "1"), ("B", "2")]);
        check("A: 1\n 2\n\t3\nB:\n\n", &[("A", "1 2\t3"), ("B", "")]);
        check("A : 1\r\rB: 2", &[("A", "1"), ("B", "2")]);
        check("junk\r\nA: 1\r\n b c: d\r\n: x\r\nB C: 2\r\n", &[("A", "1 b c: d")]);
        check("A: 1\r\n \r\n 2\r\n", &[("A", "1  2")]);
        check("ż: 1\r\nReceived:\r\n\t\r\n", &[("Received", "")]);
        check(":::\r\na:::\r\n", &[("a", "::")]);
    }
}
