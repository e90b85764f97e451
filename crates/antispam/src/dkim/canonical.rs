//! The two forms of header fields and bodies that are signed (RFC 6376 §3.4), and where the fields of a letter are.
//! Everything is one pass over the bytes. Only CRLF ends a line; a CR or LF alone is text.

use memchr::memchr;
use ring::digest::{Context, Digest, SHA256};

/// How much may change on the way without harm to a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Nothing, but for empty lines at the end of the body.
    Simple,
    /// Blanks, folding, and the case of names.
    Relaxed,
}

/// A field as it stands in the letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    /// The whole of it.
    pub(crate) raw: &'a [u8],
    /// Without blanks before the colon.
    pub(crate) name: &'a [u8],
    /// After the colon, folded, with its line end.
    pub(crate) value: &'a [u8],
}

/// The fields of a header, top down. Lines that are no field are passed over.
pub(crate) struct Fields<'a>(&'a [u8]);

/// The header's fields and the body.
pub(crate) fn split(letter: &[u8]) -> (Fields<'_>, &[u8]) {
    let end = header_end(letter);
    let (header, rest) = letter.split_at_checked(end).unwrap_or((letter, &[]));
    (Fields(header), rest.strip_prefix(b"\r\n").unwrap_or(rest))
}

/// Where the first empty line begins, or the end of the letter.
fn header_end(letter: &[u8]) -> usize {
    let mut at = 0;
    loop {
        let rest = letter.get(at..).unwrap_or_default();
        if rest.is_empty() || rest.starts_with(b"\r\n") {
            return at;
        }
        at += line_length(rest);
    }
}

/// Of the first line, with its CRLF.
fn line_length(text: &[u8]) -> usize {
    let mut from = 0;
    while let Some(found) = text.get(from..).and_then(|rest| memchr(b'\n', rest)) {
        let at = from + found;
        if at > 0 && text.get(at - 1) == Some(&b'\r') {
            return at + 1;
        }
        from = at + 1;
    }
    text.len()
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        loop {
            if self.0.is_empty() {
                return None;
            }
            let mut length = line_length(self.0);
            while self.0.get(length).is_some_and(|b| is_blank(*b)) {
                length += line_length(self.0.get(length..)?);
            }
            let (field, rest) = self.0.split_at_checked(length)?;
            self.0 = rest;
            if let Some(colon) = memchr(b':', field) {
                let name = without_blanks_behind(field.get(..colon)?);
                if !name.is_empty() && name.iter().all(u8::is_ascii_graphic) {
                    return Some(Field { raw: field, name, value: field.get(colon + 1..)? });
                }
            }
        }
    }
}

/// The field and CRLF, in a form (RFC 6376 §3.4.1, §3.4.2).
pub(crate) fn header_in(form: Form, out: &mut Vec<u8>, field: Field<'_>) {
    match form {
        Form::Relaxed => header(out, field),
        Form::Simple => {
            out.extend_from_slice(field.raw.strip_suffix(b"\r\n").unwrap_or(field.raw));
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// The hash of the body in a form (RFC 6376 §3.4.3, §3.4.4).
pub(crate) fn body_hash_in(form: Form, body: &[u8]) -> Digest {
    match form {
        Form::Relaxed => body_hash(body),
        Form::Simple => {
            let mut text = body;
            while let Some(shorter) = text.strip_suffix(b"\r\n") {
                text = shorter;
            }
            let mut context = Context::new(&SHA256);
            context.update(text);
            context.update(b"\r\n");
            context.finish()
        }
    }
}

/// `name:value` and CRLF, in the `relaxed` form (RFC 6376 §3.4.2).
pub(crate) fn header(out: &mut Vec<u8>, field: Field<'_>) {
    out.extend(field.name.iter().map(u8::to_ascii_lowercase));
    out.push(b':');
    // No blanks around the colon: as if one stood there already.
    let mut blank = true;
    for &byte in field.value {
        match byte {
            // Unfolding: a CRLF inside of a field always has a blank behind it.
            b'\r' | b'\n' | b' ' | b'\t' => {
                if !blank {
                    out.push(b' ');
                }
                blank = true;
            }
            _ => {
                out.push(byte);
                blank = false;
            }
        }
    }
    if out.last() == Some(&b' ') {
        out.pop();
    }
    out.extend_from_slice(b"\r\n");
}

/// The hash of the body in the `relaxed` form (RFC 6376 §3.4.4).
pub(crate) fn body_hash(body: &[u8]) -> Digest {
    let mut sink =
        Sink { context: Context::new(&SHA256), waiting: Vec::with_capacity(CHUNK_BYTES) };
    let mut rest = body;
    // Empty lines count only when something comes behind them.
    let mut empty_lines = 0_usize;
    while !rest.is_empty() {
        let (line, next) = rest.split_at_checked(line_length(rest)).unwrap_or((rest, &[]));
        rest = next;
        let line = without_blanks_behind(line.strip_suffix(b"\r\n").unwrap_or(line));
        if line.is_empty() {
            empty_lines += 1;
            continue;
        }
        for _ in 0..std::mem::take(&mut empty_lines) {
            sink.write(b"\r\n");
        }
        relaxed_line(&mut sink, line);
        sink.write(b"\r\n");
    }
    sink.finish()
}

/// Runs of blanks become one space.
fn relaxed_line(sink: &mut Sink, mut line: &[u8]) {
    while !line.is_empty() {
        let word = memchr::memchr2(b' ', b'\t', line).unwrap_or(line.len());
        let (text, rest) = line.split_at_checked(word).unwrap_or((line, &[]));
        sink.write(text);
        let blanks = rest.iter().take_while(|b| is_blank(**b)).count();
        if blanks > 0 {
            sink.write(b" ");
        }
        line = rest.get(blanks..).unwrap_or_default();
    }
}

/// Words are short: they are hashed many at a time.
struct Sink {
    context: Context,
    waiting: Vec<u8>,
}

const CHUNK_BYTES: usize = 4096;

impl Sink {
    fn write(&mut self, bytes: &[u8]) {
        if self.waiting.len() + bytes.len() > CHUNK_BYTES {
            self.context.update(&self.waiting);
            self.waiting.clear();
            if bytes.len() > CHUNK_BYTES {
                self.context.update(bytes);
                return;
            }
        }
        self.waiting.extend_from_slice(bytes);
    }

    fn finish(mut self) -> Digest {
        self.context.update(&self.waiting);
        self.context.finish()
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn without_blanks_behind(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|b| !is_blank(*b)).map_or(0, |at| at + 1);
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64ct::{Base64, Encoding as _};

    #[test]
    fn fields_and_body() {
        #[track_caller]
        fn check(letter: &str, names: &[&str], body: &str) {
            let (fields, found) = split(letter.as_bytes());
            let found_names: Vec<String> =
                fields.map(|f| String::from_utf8_lossy(f.name).into_owned()).collect();
            assert_eq!(found_names, names);
            assert_eq!(found, body.as_bytes());
        }
        check("", &[], "");
        check("\r\nbody", &[], "body");
        check("A: b\r\nC:d\r\n\r\n\r\nE: f\r\n", &["A", "C"], "\r\nE: f\r\n");
        check("A : b\r\n c\r\n\td\r\nB:", &["A", "B"], "");
        check("A: b\r\nno field\r\nC: d\r\n\r\n", &["A", "C"], "");
        check(" goes on\r\nA: b\r\n", &["A"], "");
        check("A: b\nB: c\r\n\r\n", &["A"], "");
        check("A: b\n\nB: c\r\n\r\nx", &["A"], "x");
        check("\n\r\n\r\n", &[], "");
        check(": x\r\nA b: c\r\n\u{17c}: d\r\n", &[], "");
    }

    /// RFC 6376 §3.4.3, §3.4.5
    #[test]
    fn simple_forms() {
        #[track_caller]
        fn check(body: &str, canonical: &str) {
            let expect = ring::digest::digest(&SHA256, canonical.as_bytes());
            let found = body_hash_in(Form::Simple, body.as_bytes());
            assert_eq!(found.as_ref(), expect.as_ref(), "{body:?}");
        }
        check(" C \r\nD \t E\r\n\r\n\r\n", " C \r\nD \t E\r\n");
        check("", "\r\n");
        check("a", "a\r\n");
        check("\r\n\r\na\n\r\n", "\r\n\r\na\n\r\n");
        let (mut fields, _) = split(b"B : Y\t\r\n\tZ  \r\n\r\n");
        let mut out = Vec::new();
        header_in(Form::Simple, &mut out, fields.next().unwrap());
        assert_eq!(out, b"B : Y\t\r\n\tZ  \r\n");
    }

    /// The example of RFC 6376 §3.4.5, and its corners.
    #[test]
    fn header_form() {
        #[track_caller]
        fn check(field: &str, expect: &str) {
            let (mut fields, _) = split(field.as_bytes());
            let mut out = Vec::new();
            header(&mut out, fields.next().unwrap());
            assert_eq!(String::from_utf8(out).unwrap(), expect);
        }
        check("A: X\r\n", "a:X\r\n");
        check("B : Y\t\r\n\tZ  \r\n", "b:Y Z\r\n");
        check("SUBJect: AbC\r\n", "subject:AbC\r\n");
        check("Subject \t:\t a \t b\t\r\n", "subject:a b\r\n");
        check("X:\r\n", "x:\r\n");
        check("X:\r\n \r\n\ty\r\n", "x:y\r\n");
        check("X: a", "x:a\r\n");
    }

    #[test]
    fn body_form() {
        #[track_caller]
        fn check(body: &str, canonical: &str) {
            let expect = ring::digest::digest(&SHA256, canonical.as_bytes());
            assert_eq!(body_hash(body.as_bytes()).as_ref(), expect.as_ref(), "{body:?}");
        }
        // RFC 6376 §3.4.5
        check(" C \r\nD \t E\r\n\r\n\r\n", " C\r\nD E\r\n");
        check("", "");
        check("\r\n", "");
        check("\r\n \t\r\n\r\n", "");
        check("a", "a\r\n");
        check("a\r\n\r\n b\t\t\r\n\r\n", "a\r\n\r\n b\r\n");
        check("a \r\n \r\nb", "a\r\n\r\nb\r\n");
        check("a\nb\r \n\r\n", "a\nb\r \n\r\n");
        check("a \nb", "a \nb\r\n");
        let long = format!("{} \t {}\r\n", "x".repeat(9000), "y ".repeat(5000));
        let joined = format!("{} {}\r\n", "x".repeat(9000), "y ".repeat(5000).trim_end());
        check(&long, &joined);
        // RFC 6376 §3.4.4: the hash of nothing.
        let nothing = Base64::encode_string(body_hash(b"\r\n").as_ref());
        assert_eq!(nothing, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    }
}
