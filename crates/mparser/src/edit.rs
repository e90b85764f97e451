//! Surgical edits: a field is put in front of a letter, replaced or taken out, and no other byte changes, so that
//! signatures over the rest stay good.
//!
//! ```
//! let raw = b"Subject: old\nFrom: a@b.c\n\nbody\r\n";
//! let new = mparser::edit::replace_header(raw, "Subject", "Zażółć");
//! assert_eq!(new, b"Subject: =?utf-8?B?WmHFvMOzxYLEhw==?=\nFrom: a@b.c\n\nbody\r\n");
//! ```

use crate::lines::line_at;
use crate::{Header, Message, encode_header_text};

/// The letter with a field in front of its others (behind an mbox `From ` line or blank lines at the start). A letter without
/// a header gets one. An ASCII value that is folded already stays as it is; other text is encoded (RFC 2047), and
/// no value can add a second field. A name that is none changes nothing.
pub fn prepend(letter: &[u8], name: &str, value: &str) -> Vec<u8> {
    let message = Message::parse(letter);
    let Some(field) = field(name, value, line_end(letter)) else {
        return letter.to_vec();
    };
    match message.headers().next() {
        Some(first) => splice(letter, first.offset as usize, first.offset as usize, &field),
        None => with_header(&message, &field),
    }
}

/// The letter with this value in its first field of this name, in the same place; further fields of that name go.
/// When there is none, the field comes last in the header.
pub fn replace_header(letter: &[u8], name: &str, value: &str) -> Vec<u8> {
    let message = Message::parse(letter);
    let Some(new) = field(name, value, line_end(letter)) else {
        return letter.to_vec();
    };
    let mut same = same_name(&message, name);
    let Some(first) = same.next() else {
        return match message.headers().last() {
            Some(last) => {
                let end = last.offset as usize + last.raw.len();
                // A header that ends with the letter may lack its last line end.
                let open = !last.raw.ends_with(b"\n") && !last.raw.ends_with(b"\r");
                let gap = if open { line_end(letter) } else { "" };
                splice(letter, end, end, &format!("{gap}{new}"))
            }
            None => with_header(&message, &new),
        };
    };
    let from = first.offset as usize;
    let head = splice(
        letter.get(..from + first.raw.len()).unwrap_or_default(),
        from,
        from + first.raw.len(),
        &new,
    );
    let mut out = head;
    let mut at = from + first.raw.len();
    for other in same {
        out.extend_from_slice(letter.get(at..other.offset as usize).unwrap_or_default());
        at = other.offset as usize + other.raw.len();
    }
    out.extend_from_slice(letter.get(at..).unwrap_or_default());
    out
}

/// The letter without its fields of this name.
pub fn remove_header(letter: &[u8], name: &str) -> Vec<u8> {
    let message = Message::parse(letter);
    let mut out = Vec::with_capacity(letter.len());
    let mut at = 0;
    for field in same_name(&message, name) {
        out.extend_from_slice(letter.get(at..field.offset as usize).unwrap_or_default());
        at = field.offset as usize + field.raw.len();
    }
    out.extend_from_slice(letter.get(at..).unwrap_or_default());
    out
}

fn same_name<'a>(message: &Message<'a>, name: &str) -> impl Iterator<Item = Header<'a>> {
    message.headers().filter(move |h| h.name.eq_ignore_ascii_case(name.as_bytes()))
}

fn splice(letter: &[u8], from: usize, to: usize, middle: &str) -> Vec<u8> {
    let head = letter.get(..from).unwrap_or_default();
    [head, middle.as_bytes(), letter.get(to..).unwrap_or_default()].concat()
}

/// A letter that has no field: the field, and the empty line that ends the header, unless it is there. Lines that are
/// no field but belong to the header stay in front, since they may begin with a blank.
fn with_header(message: &Message<'_>, field: &str) -> Vec<u8> {
    let raw = message.raw();
    let header = message.index().parts.first().map(|p| p.header.clone()).unwrap_or_default();
    if header.is_empty() {
        return [field.as_bytes(), line_end(raw).as_bytes(), raw].concat();
    }
    let mut at = header.start as usize;
    while at < header.end as usize {
        let line = line_at(raw, at);
        if line.start == line.end {
            return splice(raw, at, at, field);
        }
        at = line.next;
    }
    // The empty line was forgotten, and the body may begin with a blank.
    let end = line_end(raw);
    splice(raw, at, at, &format!("{field}{end}"))
}

/// LF when the first line of the letter ends so, else CRLF: CR alone would melt with an LF behind it.
fn line_end(letter: &[u8]) -> &'static str {
    let first = memchr::memchr2(b'\r', b'\n', letter).and_then(|at| letter.get(at));
    if first == Some(&b'\n') { "\n" } else { "\r\n" }
}

/// `Name: value` with its line end; `None` when the name is none.
fn field(name: &str, value: &str, end: &str) -> Option<String> {
    let good = |b: u8| b.is_ascii_graphic() && b != b':';
    if name.is_empty() || !name.bytes().all(good) {
        return None;
    }
    let written = if is_written(value) { value.to_owned() } else { encode_header_text(value) };
    Some(format!("{name}: {}{end}", written.replace("\r\n", end)))
}

/// A value that may stand in a header as it is: ASCII without control characters, folded only before text.
fn is_written(value: &str) -> bool {
    let mut lines = value.split("\r\n");
    let plain = |line: &str| {
        line.len() <= crate::limits::LINE_BYTES
            && line.bytes().all(|b| b.is_ascii_graphic() || matches!(b, b' ' | b'\t'))
    };
    lines.next().is_some_and(plain)
        && lines.all(|line| line.starts_with([' ', '\t']) && !line.trim().is_empty() && plain(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_front() {
        #[track_caller]
        fn check(raw: &str, expect: &str) {
            let new = prepend(raw.as_bytes(), "X-A", "1");
            assert_eq!(String::from_utf8_lossy(&new), expect);
            assert_eq!(Message::parse(&new).header("x-a").unwrap().text(), "1");
        }
        check("A: b\r\n\r\nx", "X-A: 1\r\nA: b\r\n\r\nx");
        check("A: b\n\nx", "X-A: 1\nA: b\n\nx");
        check("A: b\r\rx", "X-A: 1\r\nA: b\r\rx");
        check("From x Mon\nA: b\n\nx", "From x Mon\nX-A: 1\nA: b\n\nx");
        check("\r\nA: b\r\n\r\nx", "\r\nX-A: 1\r\nA: b\r\n\r\nx");
        check("", "X-A: 1\r\n\r\n");
        check("\r\nbody", "X-A: 1\r\n\r\nbody");
        check("just text", "X-A: 1\r\n\r\njust text");
        check("A: b", "X-A: 1\r\nA: b");
        check(" junk\r\n\r\nx", " junk\r\nX-A: 1\r\n\r\nx");
        check("junk\r\n more\r\n text", "junk\r\n more\r\nX-A: 1\r\n\r\n text");
        check(" text", "X-A: 1\r\n\r\n text");
    }

    #[test]
    fn replaced() {
        #[track_caller]
        fn check(raw: &str, value: &str, expect: &str) {
            let new = replace_header(raw.as_bytes(), "subject", value);
            assert_eq!(String::from_utf8_lossy(&new), expect);
        }
        check(
            "A: b\r\nSubject: old\r\n more\r\nC: d\r\n\r\nx",
            "new",
            "A: b\r\nsubject: new\r\nC: d\r\n\r\nx",
        );
        check("Subject: 1\nA: b\nSUBJECT : 2\n\nx", "3", "subject: 3\nA: b\n\nx");
        check("A: b\r\n\r\nx", "new", "A: b\r\nsubject: new\r\n\r\nx");
        check("A: b", "new", "A: b\r\nsubject: new\r\n");
        check("just text", "new", "subject: new\r\n\r\njust text");
        check("Subject: x\r\n\r\n", "a\r\nBcc: b", "subject: a  Bcc: b\r\n\r\n");
        check("Subject: x\r\n\r\n", "a\r\n b", "subject: a\r\n b\r\n\r\n");
        check("Subject: x\r\n\r\n", "a\r\n ", "subject: =?utf-8?Q?a___?=\r\n\r\n");
    }

    #[test]
    fn other_bytes_stay() {
        let raw = b"A: \xff\0\r\nSubject: x\r\nB: c\n\n\xfe body\r";
        assert_eq!(
            replace_header(raw, "Subject", "y"),
            b"A: \xff\0\r\nSubject: y\r\nB: c\n\n\xfe body\r"
        );
        assert_eq!(remove_header(raw, "SUBJECT"), b"A: \xff\0\r\nB: c\n\n\xfe body\r");
        assert_eq!(remove_header(raw, "Nobody"), raw);
        assert_eq!(prepend(raw, "bad name", "x"), raw);
        assert_eq!(replace_header(raw, "", "x"), raw);
    }
}
