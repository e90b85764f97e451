//! Which bytes of a letter a search must see, and its text out of them.
//!
//! The text of a header is its fields as people read them: unfolded (RFC 5322 §2.2.3), words of RFC 2047
//! decoded, each `Name: value`, and a text is never found across two of them. The text of the body is that of
//! each text part by itself, transfer encoding and charset undone, HTML without its tags. Line ends of plain
//! text stay: RFC 9051 §6.4.4 wants a substring, so a text is found across the soft line breaks of
//! quoted-printable, not across those the writer made. Parts that are no text are neither read nor searched.

use super::anchor::Kind;
use super::needles::{Needles, Place, Scan};
use crate::Result;
use memchr::{memchr_iter, memchr3};
use mparser::{DefectKind, Encoding, Index, Part, PartKind};
use std::borrow::Cow;
use std::ops::Range;

/// A gap of so many bytes that nobody wants is read over: cheaper than another call.
pub(super) const GAP_BYTES: u32 = 16 * 1024;

/// What the needles of a search make necessary.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// Fields of the letter's own header, by name.
    fields: bool,
    /// The fields of all headers.
    headers: bool,
    body: bool,
}

impl Wanted {
    pub(super) fn by(needles: &Needles) -> Self {
        Self {
            fields: needles.any(|place| matches!(place, Place::Header(_))),
            headers: needles.any(|place| *place == Place::Text),
            body: needles.any(|place| matches!(place, Place::Body | Place::Text)),
        }
    }

    /// Ranges of the letter, ascending and apart.
    pub(super) fn ranges(self, index: &Index, size_bytes: u32) -> Vec<Range<u32>> {
        let mut ranges: Vec<Range<u32>> = Vec::new();
        for (number, part) in index.parts.iter().enumerate() {
            if self.headers || self.fields && number == 0 {
                ranges.push(part.header.clone());
            }
            if self.body && is_text(part) {
                ranges.push(part.body.clone());
            }
        }
        for range in &mut ranges {
            range.end = range.end.min(size_bytes);
        }
        ranges.retain(|range| range.start < range.end);
        ranges.sort_unstable_by_key(|range| range.start);
        ranges.dedup_by(|next, kept| {
            let near = next.start <= kept.end.saturating_add(GAP_BYTES);
            if near {
                kept.end = kept.end.max(next.end);
            }
            near
        });
        ranges
    }

    /// Pushes the letter's text through the scan until all is found.
    pub(super) fn scan(self, index: &Index, bytes: &Pieces<'_>, scan: &mut Scan<'_>) -> Result<()> {
        scan.begin();
        if self.headers || self.fields {
            for (number, part) in index.parts.iter().enumerate() {
                if number == 0 || self.headers {
                    let own = number == 0 && self.fields;
                    header(bytes.get(&part.header), own, self.headers, scan)?;
                }
            }
            scan.end(|place| *place == Place::Text);
        }
        if self.body && !scan.is_done() {
            for part in index.parts.iter().filter(|part| is_text(part)) {
                let text = decoded(part, bytes.get(&part.body));
                let kind = if part.subtype == "html" { Kind::Html } else { Kind::Plain };
                scan.whole(&text, kind, |place| matches!(place, Place::Body | Place::Text))?;
            }
            scan.end(|place| matches!(place, Place::Body | Place::Text));
        }
        Ok(())
    }
}

fn is_text(part: &Part) -> bool {
    part.kind == PartKind::Leaf && part.media_type == "text"
}

fn header(raw: &[u8], own: bool, all: bool, scan: &mut Scan<'_>) -> Result<()> {
    let is: fn(&Place) -> bool = |place| *place == Place::Text;
    let as_it_stands = if raw.is_ascii() { str::from_utf8(raw).ok() } else { None };
    // Then it can only be in fields that must be decoded.
    let only_encoded =
        all && as_it_stands.is_some_and(|text| !scan.may_find(text, Kind::Header, is));
    if !own && only_encoded && !has_words(raw) {
        return Ok(());
    }
    let end = u32::try_from(raw.len()).unwrap_or(u32::MAX);
    for field in mparser::header_fields(raw, 0..end) {
        let all = all && (!only_encoded || has_words(field.raw));
        if !own && !all {
            continue;
        }
        let value = value_of(field.value);
        if own {
            scan.field(field.name, &value);
        }
        if all {
            scan.text(&String::from_utf8_lossy(field.name), is)?;
            scan.text(": ", is)?;
            scan.text(&value, is)?;
            scan.cut();
        }
    }
    Ok(())
}

/// Whether there may be encoded words (RFC 2047).
fn has_words(raw: &[u8]) -> bool {
    memchr_iter(b'=', raw).any(|at| raw.get(at + 1) == Some(&b'?'))
}

/// What [`mparser::decode_header_text`] gives, without a copy where nothing is to be decoded.
fn value_of(raw: &[u8]) -> Cow<'_, str> {
    let text = raw.trim_ascii();
    let plain = text.is_ascii() && memchr3(b'\r', b'\n', b'\t', text).is_none() && !has_words(text);
    match str::from_utf8(text) {
        Ok(text) if plain => Cow::Borrowed(text),
        _ => Cow::Owned(mparser::decode_header_text(raw)),
    }
}

/// A text part as it was written: of HTML, the document.
fn decoded<'a>(part: &Part, body: &'a [u8]) -> Cow<'a, str> {
    let label = part.param("charset");
    match part.encoding {
        Encoding::SevenBit | Encoding::EightBit | Encoding::Binary => as_text(body, label),
        _ => match part.encoding.undo(body) {
            Some(content) => Cow::Owned(as_text(&content, label).into_owned()),
            None => as_text(body, label),
        },
    }
}

/// The bytes themselves where they are their own UTF-8.
fn as_text<'a>(bytes: &'a [u8], label: Option<&str>) -> Cow<'a, str> {
    let own = label.is_none_or(|label| {
        let is = |names: &[&str]| names.iter().any(|name| label.eq_ignore_ascii_case(name));
        let begins = |prefix: &str| {
            label.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        is(&["utf-8", "us-ascii"]) && !bytes.starts_with(b"\xef\xbb\xbf")
            || (begins("iso-8859-") || begins("windows-125")) && bytes.is_ascii()
    });
    match simdutf8::basic::from_utf8(bytes) {
        Ok(text) if own => Cow::Borrowed(text),
        _ => Cow::Owned(mparser::decode_charset(bytes, label)),
    }
}

/// Whether the value of a field `holds` what is looked for, when the part table has that field exactly; `None`
/// when the bytes must tell.
pub(super) fn table_holds(
    index: &Index,
    name: &str,
    holds: impl FnOnce(&str) -> bool,
) -> Option<bool> {
    let envelope = &index.envelope;
    let value = match () {
        () if name.eq_ignore_ascii_case("message-id") => &envelope.message_id,
        () if name.eq_ignore_ascii_case("in-reply-to") => &envelope.in_reply_to,
        () if name.eq_ignore_ascii_case("subject") => &envelope.subject,
        () => return None,
    };
    // Of a field that stands twice the table has the first; bytes that are not UTF-8 may be read otherwise.
    let doubtful = index.defects.iter().any(|defect| {
        matches!(
            defect.kind,
            DefectKind::DuplicateHeader | DefectKind::EightBitHeader | DefectKind::HeadersReached
        )
    });
    (!doubtful).then(|| value.as_deref().is_some_and(holds))
}

/// The pieces of a letter that were read.
pub(super) struct Pieces<'a>(pub(super) Vec<(u32, &'a [u8])>);

impl<'a> Pieces<'a> {
    /// Bytes of a range as far as they were read.
    fn get(&self, range: &Range<u32>) -> &'a [u8] {
        let after = self.0.partition_point(|(start, _)| *start <= range.start);
        let Some((start, bytes)) = after.checked_sub(1).and_then(|at| self.0.get(at)) else {
            return &[];
        };
        let from = (range.start - start) as usize;
        let to = (range.end.saturating_sub(*start) as usize).min(bytes.len());
        bytes.get(from..to).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        for raw in [
            &b" plain"[..],
            b"",
            b" \t ",
            b" a\r\n b",
            b" a\tb ",
            b" =?utf-8?Q?=C4=85?= x",
            b" caf\xe9",
            " ą".as_bytes(),
            b" a\x0b",
        ] {
            assert_eq!(value_of(raw), mparser::decode_header_text(raw), "{}", raw.escape_ascii());
        }
    }

    #[test]
    fn texts_as_the_parser_reads_them() {
        for label in
            ["utf-8", "US-ASCII", "iso-8859-2", "Windows-1250", "utf-16", "koi8-r", "x-odd"]
        {
            for bytes in
                [&b"abc"[..], b"", b"\xef\xbb\xbfa", b"\xb1a", "zażółć".as_bytes(), b"\xff\xfea\0"]
            {
                let expect = mparser::decode_charset(bytes, Some(label));
                assert_eq!(as_text(bytes, Some(label)), expect, "{label} {}", bytes.escape_ascii());
            }
        }
        assert_eq!(as_text(b"caf\xe9", None), "café");
    }

    /// What is not text is not read, and near ranges are read as one.
    #[test]
    fn ranges() {
        let file = "QUJD".repeat(20_000);
        let raw = format!(
            "Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n--b\r\n\
             Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n{file}\r\n--b\r\n\
             Content-Type: text/html\r\n\r\n<p>end\r\n--b--\r\n"
        );
        let index = Index::of(raw.as_bytes());
        let size = u32::try_from(raw.len()).unwrap();
        let check = |fields, headers, body, expect: &[&str]| {
            let ranges = Wanted { fields, headers, body }.ranges(&index, size);
            let shown = ranges.iter().map(|r| &raw[r.start as usize..r.end as usize]);
            let ends: Vec<bool> = shown.zip(expect).map(|(s, e)| s.ends_with(e)).collect();
            assert_eq!(ends, vec![true; expect.len()], "{ranges:?}");
            assert_eq!(ranges.len(), expect.len());
            let bytes: u32 = ranges.iter().map(|r| r.end - r.start).sum();
            assert!(bytes < 1000, "{bytes}");
        };
        check(true, false, false, &["boundary=b\r\n\r\n"]);
        check(false, false, true, &["hello", "<p>end"]);
        check(true, true, true, &["base64\r\n\r\n", "<p>end"]);
        assert!(Wanted { fields: true, headers: true, body: true }.ranges(&index, 0).is_empty());
    }
}
