//! Values with parameters: Content-Type and Content-Disposition (RFC 2045 §5.1, RFC 2183 §2), with the
//! continuations and charsets of RFC 2231.
//!
//! ```text
//! value     = head *(";" parameter)
//! parameter = attribute ["*" section] ["*"] "=" (token / quoted-string)
//! section   = "0" / (%d49-57 *DIGIT)
//! extended  = charset "'" [language] "'" *(char / "%" 2HEXDIG)      ; when the name ends with "*"
//! ```

use crate::charset::{decode_charset, header_bytes};
use crate::decode::push_hex_escapes;
use crate::headers::unfold;
use crate::words::decode_words;
use crate::{limits, quick};
use memchr::memchr;

/// A value taken apart.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Value {
    /// What stands before the first `;`, comments gone, lower case.
    pub(crate) head: String,
    /// Names in lower case, each once, in order of first appearance; values decoded.
    pub(crate) params: Vec<(String, String)>,
    /// The bytes of `boundary`: delimiters are compared with them, so nothing is decoded.
    pub(crate) boundary: Option<Vec<u8>>,
    pub(crate) boundary_twice: bool,
    /// More than [`limits::PARAMS`] pieces.
    pub(crate) cut: bool,
}

/// `attribute*section*=value`
struct Piece {
    name: String,
    section: Option<u32>,
    extended: bool,
    value: Vec<u8>,
}

/// Reads a value; bytes that are not UTF-8 are taken to be in the letter's charset.
pub(crate) fn parse_value(raw: &[u8], charset: Option<&str>) -> Value {
    if let Some((head, params)) = quick::value(raw) {
        let boundary = params.iter().find(|(name, _)| name == "boundary");
        let boundary = boundary.map(|(_, text)| text.as_bytes().trim_ascii_end().to_vec());
        let boundary = boundary.filter(|b| !b.is_empty());
        return Value { head, params, boundary, ..Value::default() };
    }
    parse_any(raw, charset)
}

/// The long way.
pub(crate) fn parse_any(raw: &[u8], charset: Option<&str>) -> Value {
    let text = unfold(raw);
    let mut reader = Reader { text: &text, at: 0, quotes_open: false };
    let head = String::from_utf8_lossy(&reader.token(b";")).trim().to_ascii_lowercase();
    let mut value = Value { head, ..Value::default() };
    let mut pieces = Vec::new();
    while let Some(piece) = reader.piece() {
        if pieces.len() == limits::PARAMS {
            value.cut = true;
            break;
        }
        pieces.push(piece);
    }
    let boundaries = pieces.iter().filter(|p| p.name == "boundary" && p.section.unwrap_or(0) == 0);
    value.boundary_twice = boundaries.count() > 1;
    join(pieces, charset, &mut value);
    value
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    /// No `"` from here on is closed.
    quotes_open: bool,
}

impl Reader<'_> {
    fn rest(&self) -> &[u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The next parameter; pieces without `=` are passed over.
    fn piece(&mut self) -> Option<Piece> {
        loop {
            while matches!(self.rest().first(), Some(b';' | b' ' | b'\t')) {
                self.at += 1;
            }
            if self.rest().is_empty() {
                return None;
            }
            let name = self.token(b";=");
            if self.rest().first() != Some(&b'=') {
                continue;
            }
            self.at += 1;
            let value = self.value();
            if let Some(piece) = named(&name, value) {
                return Some(piece);
            }
        }
    }

    /// Bytes up to one of `stops`, without comments and without blanks around.
    fn token(&mut self, stops: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        while let Some(&byte) = self.rest().first() {
            match byte {
                b'(' => self.skip_comment(),
                byte if stops.contains(&byte) => break,
                byte => {
                    out.push(byte);
                    self.at += 1;
                }
            }
        }
        out.trim_ascii().to_vec()
    }

    fn value(&mut self) -> Vec<u8> {
        while matches!(self.rest().first(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
        if self.rest().first() == Some(&b'"')
            && !self.quotes_open
            && let Some(text) = self.quoted()
        {
            self.token(b";");
            return text;
        }
        // Without quotes a value may not hold blanks or brackets; file names do, and mean them.
        let end = memchr(b';', self.rest()).unwrap_or(self.rest().len());
        let value = self.rest().get(..end).unwrap_or_default().trim_ascii();
        let value = value.strip_prefix(b"\"").unwrap_or(value);
        let value = match value.windows(2).position(|w| w == b" (") {
            Some(comment) if value.ends_with(b")") => {
                value.get(..comment).unwrap_or_default().trim_ascii()
            }
            _ => value,
        };
        let value = value.to_vec();
        self.at += end;
        value
    }

    /// The text between quotes; `None`, and nothing consumed, when they are not closed.
    fn quoted(&mut self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let mut at = self.at + 1;
        loop {
            match self.text.get(at) {
                Some(b'"') => break,
                // Windows programs write paths with single backslashes; only these two are ever escaped.
                Some(b'\\') if matches!(self.text.get(at + 1), Some(b'"' | b'\\')) => {
                    out.extend(self.text.get(at + 1));
                    at += 2;
                }
                Some(byte) => {
                    out.push(*byte);
                    at += 1;
                }
                None => {
                    self.quotes_open = true;
                    return None;
                }
            }
        }
        self.at = at + 1;
        Some(out)
    }

    /// Comments inside a comment belong to it; one that is not closed goes on to the end.
    fn skip_comment(&mut self) {
        let mut depth = 0_usize;
        while let Some(&byte) = self.rest().first() {
            match byte {
                b'\\' => self.at += 1,
                b'(' => depth += 1,
                b')' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                break;
            }
        }
    }
}

fn named(name: &[u8], value: Vec<u8>) -> Option<Piece> {
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    let (name, extended) = name.strip_suffix('*').map_or((&*name, false), |n| (n, true));
    let (name, section) = match name.rsplit_once('*') {
        Some((base, digits)) => (base, Some(digits.parse().ok()?)),
        None => (name, None),
    };
    (!name.is_empty()).then(|| Piece { name: name.to_owned(), section, extended, value })
}

/// Puts sections together and decodes. Of several forms of one name, `name*` wins over `name*0`, and that over
/// `name`; of several of one form, the first.
fn join(pieces: Vec<Piece>, charset: Option<&str>, value: &mut Value) {
    let mut order: Vec<(usize, Piece)> = pieces.into_iter().enumerate().collect();
    let rank = |p: &Piece| match (p.section, p.extended) {
        (None, true) => (0, 0),
        (Some(section), _) => (1, section),
        (None, false) => (2, 0),
    };
    // The place in the field breaks ties, so the first of equals comes first.
    order.sort_by(|(i, a), (j, b)| (&a.name, rank(a), i).cmp(&(&b.name, rank(b), j)));
    let mut joined: Vec<(usize, String, Vec<u8>, String)> = Vec::new();
    for same_name in order.chunk_by(|(_, a), (_, b)| a.name == b.name) {
        let first_place = same_name.iter().map(|(i, _)| *i).min().unwrap_or(0);
        let Some((_, first)) = same_name.first() else {
            continue;
        };
        let (bytes, text) = if first.section == Some(0) {
            join_sections(same_name, charset)
        } else if first.extended {
            let (label, bytes) = extended(&first.value);
            (bytes.clone(), decode_charset(&bytes, label.as_deref()))
        } else if let Some((_, plain)) = same_name.iter().find(|(_, p)| p.section.is_none()) {
            (plain.value.clone(), plain_text(&plain.name, &plain.value, charset))
        } else {
            continue;
        };
        joined.push((first_place, first.name.clone(), bytes, text));
    }
    joined.sort_by_key(|(place, ..)| *place);
    for (_, name, bytes, text) in joined {
        if name == "boundary" {
            let trimmed = bytes.trim_ascii_end();
            value.boundary = Some(trimmed.to_vec()).filter(|b| !b.is_empty());
        }
        value.params.push((name, text));
    }
}

/// `name*0`, `name*1`, …: those without a gap, from 0 on. Characters may be split over sections.
fn join_sections(same_name: &[(usize, Piece)], charset: Option<&str>) -> (Vec<u8>, String) {
    let mut bytes = Vec::new();
    let mut label = None;
    let mut next = 0;
    for (_, piece) in same_name {
        if piece.section != Some(next) {
            continue;
        }
        if next == 0 && piece.extended {
            let (own, first) = extended(&piece.value);
            label = own;
            bytes = first;
        } else if piece.extended {
            push_hex_escapes(&mut bytes, &piece.value, b'%');
        } else {
            bytes.extend_from_slice(&piece.value);
        }
        next += 1;
    }
    let text = match label {
        Some(label) => decode_charset(&bytes, Some(&label)),
        None => decode_words(&header_bytes(&bytes, charset)),
    };
    (bytes, text)
}

/// `charset'language'text`, percent signs undone. Without the two apostrophes it is text alone.
fn extended(value: &[u8]) -> (Option<String>, Vec<u8>) {
    let mut pieces = value.splitn(3, |b| *b == b'\'');
    let (label, text) = match (pieces.next(), pieces.next(), pieces.next()) {
        (Some(label), Some(_), Some(text)) => (label, text),
        _ => (&b"utf-8"[..], value),
    };
    let mut bytes = Vec::with_capacity(text.len());
    push_hex_escapes(&mut bytes, text, b'%');
    (Some(String::from_utf8_lossy(label).into_owned()), bytes)
}

/// RFC 2047 §5 forbids its words in parameters; file names have them all the same.
fn plain_text(name: &str, value: &[u8], charset: Option<&str>) -> String {
    let text = header_bytes(value, charset);
    if matches!(name, "filename" | "name") { decode_words(&text) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(raw: &str, head: &str, expect: &[(&str, &str)]) {
        let value = parse_value(raw.as_bytes(), None);
        let params: Vec<(&str, &str)> =
            value.params.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!((value.head.as_str(), &params[..]), (head, expect), "{raw:?}");
    }

    #[test]
    fn as_the_standards_want() {
        check("", "", &[]);
        check("Text/Plain", "text/plain", &[]);
        check(
            "text/plain; charset=us-ascii (Plain text)",
            "text/plain",
            &[("charset", "us-ascii")],
        );
        check("a/b; X=\"a;\\\"b\\\\\";y=z;", "a/b", &[("x", "a;\"b\\"), ("y", "z")]);
        check("a/b (c; (d=e)); x=y", "a/b", &[("x", "y")]);
        check(
            "a/b;\r\n filename*0*=utf-8''%C4;\r\n filename*1*=%85;\r\n filename*2=\".pdf\"",
            "a/b",
            &[("filename", "ą.pdf")],
        );
        check(
            "a; title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A",
            "a",
            &[("title", "This is ***fun***")],
        );
        check("a; x*=iso-8859-2''%B1", "a", &[("x", "ą")]);
    }

    #[test]
    fn as_mail_has_it() {
        check("a; filename*1=b.pdf; filename*0=a", "a", &[("filename", "ab.pdf")]);
        check("a; filename=\"_.pdf\"; filename*=utf-8''%C4%85.pdf", "a", &[("filename", "ą.pdf")]);
        check("a; filename*=utf-8''O'Brien.pdf", "a", &[("filename", "O'Brien.pdf")]);
        check("a; filename*=%C4%85.pdf", "a", &[("filename", "ą.pdf")]);
        check("a; filename=\"=?utf-8?Q?=C4=85.pdf?=\"", "a", &[("filename", "ą.pdf")]);
        check(
            "a; filename*0=\"=?utf-8?Q?=C4\"; filename*1=\"=85.pdf?=\"",
            "a",
            &[("filename", "ą.pdf")],
        );
        check("a; filename=ą.pdf", "a", &[("filename", "ą.pdf")]);
        check("a; filename=\r\n \"a.pdf\"", "a", &[("filename", "a.pdf")]);
        check(
            "a; filename=my report (2).pdf; x=1",
            "a",
            &[("filename", "my report (2).pdf"), ("x", "1")],
        );
        check("a; filename=\"C:\\temp\\a.pdf\"", "a", &[("filename", "C:\\temp\\a.pdf")]);
        check("a; name=\"a; charset=utf-8", "a", &[("name", "a"), ("charset", "utf-8")]);
        check("a; charset=x; charset=y", "a", &[("charset", "x")]);
        check(";;;; ; =x; y; z=1", "", &[("z", "1")]);
        check("a; n*1=b", "a", &[]);
        check("a; n*x=b; n*0=c; n*2=d", "a", &[("n", "c")]);
        check("(((", "", &[]);
    }

    #[test]
    fn boundaries() {
        #[track_caller]
        fn check(raw: &str, expect: Option<&str>, twice: bool) {
            let value = parse_value(raw.as_bytes(), None);
            let boundary = value.boundary.map(|b| String::from_utf8(b).unwrap());
            assert_eq!((boundary.as_deref(), value.boundary_twice), (expect, twice), "{raw:?}");
        }
        check("multipart/mixed; boundary=\"x\"; boundary=\"y\"", Some("x"), true);
        check("multipart/mixed; boundary*0=\"a\"; boundary*1=\"b\"", Some("ab"), false);
        check("multipart/mixed; boundary=a=b/c:d", Some("a=b/c:d"), false);
        check("multipart/mixed; boundary=\"=_?=utf-8?Q?x?= \"", Some("=_?=utf-8?Q?x?="), false);
        check("multipart/mixed; boundary=\"\"", None, false);
        check("multipart/mixed", None, false);
    }

    #[test]
    fn bombs_are_cut() {
        let bomb: Vec<String> = (0..20_000).map(|i| format!(";\r\n n*{i}*=%41")).collect();
        let value = parse_value(format!("text/plain{}", bomb.concat()).as_bytes(), None);
        assert!(value.cut);
        assert_eq!(value.params[0].1.len(), limits::PARAMS);
        assert!(
            parse_value("a;b=\"".repeat(10_000).as_bytes(), None).params.len() <= limits::PARAMS
        );
    }
}
