//! Files that are in a letter without being parts of it: uuencode and yEnc in the middle of text, attachments
//! wrapped in `winmail.dat`, and letters that were encoded although RFC 2045 §6.4 forbids it.
//!
//! They are looked for in the decoded content of one part; the table of parts stays what IMAP shows, and the index
//! says in [`Index::files`] what was found.
//!
//! ```
//! let raw = b"Subject: s\r\n\r\nhi\r\nbegin 644 u.bin\r\n%:&5L;&\\\r\n`\r\nend\r\n";
//! let letter = mparser::Message::parse(raw);
//! let files = letter.embedded(0);
//! assert_eq!((&*files[0].name, &*files[0].content), ("u.bin", &b"hello"[..]));
//! ```

use crate::charset::header_bytes;
use crate::lines::{line_at, trim_end_blanks};
use crate::message::small;
use crate::{Encoding, FileInside, Index, Message, Part, PartKind, decode_uuencode, limits, tnef};

/// How a file lies in the content of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrapping {
    /// `begin 644 name` … `end` in text.
    Uuencode,
    /// `=ybegin` … `=yend` in text.
    YEnc,
    /// An attachment in a TNEF stream (MS-OXTNEF).
    Tnef,
}

/// A file found inside a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddedFile {
    /// How it was wrapped.
    pub wrapping: Wrapping,
    /// Its name without folders; empty when it has none.
    pub name: String,
    /// `type/subtype` when the wrapping names one.
    pub media_type: Option<String>,
    /// The file itself.
    pub content: Vec<u8>,
    /// Where it lies in the part's decoded content, its first and last line included; of TNEF, the whole stream.
    pub range: std::ops::Range<usize>,
}

impl Message<'_> {
    /// The files inside a part's content, at most [`limits::EMBEDDED_FILES`]: of text, those encoded in it; of
    /// `application/ms-tnef`, or a file named `winmail.dat`, its attachments.
    pub fn embedded(&self, part: usize) -> Vec<EmbeddedFile> {
        let Some(p) = self.index().parts.get(part).filter(|p| p.kind == PartKind::Leaf) else {
            return Vec::new();
        };
        match &*p.media_type {
            "text" if p.subtype == "plain" && may_have_files(p, self.body(part)) => {
                files_in_text(&self.bytes(part), p.param("charset"))
            }
            "application" if is_tnef(p) => files_in_tnef(&self.bytes(part)),
            _ => Vec::new(),
        }
    }

    /// The files inside all parts, each with the number of its part.
    pub fn all_embedded(&self) -> Vec<(usize, EmbeddedFile)> {
        let parts = 0..self.index().parts.len();
        let files = parts.flat_map(|n| self.embedded(n).into_iter().map(move |file| (n, file)));
        files.take(limits::EMBEDDED_FILES).collect()
    }

    /// The text of a part without the files inside it.
    pub fn text_without_files(&self, part: usize) -> String {
        let files = self.embedded(part);
        let charset = self.index().parts.get(part).and_then(|p| p.param("charset"));
        let content = self.bytes(part);
        let (mut kept, mut from) = (Vec::with_capacity(content.len()), 0);
        for file in files.iter().filter(|file| file.wrapping != Wrapping::Tnef) {
            kept.extend_from_slice(content.get(from..file.range.start).unwrap_or_default());
            from = file.range.end;
        }
        kept.extend_from_slice(content.get(from..).unwrap_or_default());
        crate::decode_charset(&kept, charset)
    }

    /// The bytes of a letter that was encoded although it may not be (RFC 2045 §6.4): base64, quoted-printable or
    /// uuencode around `message/rfc822` or `message/global`. Parse them as a letter of their own.
    ///
    /// `depth` is how many such letters the caller has opened around this one; at [`limits::ENCODED_DEPTH`] the
    /// answer is `None`, so that a small letter cannot unfold without end.
    pub fn encoded_letter(&self, part: usize, depth: usize) -> Option<Vec<u8>> {
        let p = self.index().parts.get(part)?;
        let raw_type = self
            .part_headers(part)
            .find(|h| h.name.eq_ignore_ascii_case(b"Content-Type"))
            .map(|h| crate::params::parse_value(h.value, None).head)?;
        let is_letter = matches!(&*raw_type, "message/rfc822" | "message/global");
        if p.kind != PartKind::Leaf || !is_letter || depth >= limits::ENCODED_DEPTH {
            return None;
        }
        p.encoding.undo(self.body(part))
    }
}

/// The index with what [`Message::all_embedded`] finds.
pub(crate) fn note_files(raw: &[u8], index: Index) -> Index {
    let letter = Message::with_index(raw, index);
    let files = letter.all_embedded().into_iter().map(|(part, file)| FileInside {
        part: small(part),
        wrapping: file.wrapping,
        name: file.name,
        media_type: file.media_type,
        size: small(file.content.len()),
    });
    let files = files.collect();
    Index { files, ..letter.into_index() }
}

/// Whether the text, still encoded, has the word that a file begins with. Quoted-printable leaves letters as they are.
fn may_have_files(part: &Part, body: &[u8]) -> bool {
    part.encoding == Encoding::Base64 || memchr::memmem::find(body, b"begin ").is_some()
}

fn is_tnef(part: &Part) -> bool {
    let by_name = || part.filename().is_some_and(|n| n.eq_ignore_ascii_case("winmail.dat"));
    matches!(&*part.subtype, "ms-tnef" | "vnd.ms-tnef") || by_name()
}

fn files_in_tnef(stream: &[u8]) -> Vec<EmbeddedFile> {
    let files = tnef::attachments(stream).into_iter().map(|file| EmbeddedFile {
        wrapping: Wrapping::Tnef,
        name: plain_name(&file.name.unwrap_or_default()),
        media_type: file.media_type,
        content: file.content.to_vec(),
        range: 0..stream.len(),
    });
    files.collect()
}

/// One pass: a file that begins but does not end where it must is text, and reading goes on behind its first line.
fn files_in_text(text: &[u8], charset: Option<&str>) -> Vec<EmbeddedFile> {
    let mut files = Vec::new();
    let mut at = 0;
    // Behind this place no uuencoded file ends: a letter of `begin` lines is not searched again for each.
    let mut ends_known = Ends::default();
    while at < text.len() && files.len() < limits::EMBEDDED_FILES {
        let line = line_at(text, at);
        let first = text.get(line.start..line.end).unwrap_or_default();
        let found = match first {
            [b'b', b'e', b'g', b'i', b'n', b' ', rest @ ..] => {
                uu_file(text, line.start, line.next, rest, charset, &mut ends_known)
            }
            [b'=', b'y', b'b', b'e', b'g', b'i', b'n', b' ', rest @ ..] => {
                yenc_file(text, line.start, line.next, rest, charset, &mut ends_known)
            }
            _ => None,
        };
        match found {
            Some(file) => {
                at = file.range.end;
                files.push(file);
            }
            None => at = line.next,
        }
    }
    files
}

/// Where the lines that end a file stand, each searched for once.
#[derive(Default)]
struct Ends {
    no_uu: bool,
    no_yenc: bool,
}

/// `begin mode name`, lines of 1 to 61 characters behind their length, `end`.
fn uu_file(
    text: &[u8],
    start: usize,
    body: usize,
    rest: &[u8],
    charset: Option<&str>,
    ends: &mut Ends,
) -> Option<EmbeddedFile> {
    let space = rest.iter().position(|b| *b == b' ')?;
    let (mode, name) = rest.split_at(space);
    let is_mode = (3..=6).contains(&mode.len()) && mode.iter().all(|b| matches!(b, b'0'..=b'7'));
    let name = plain_name(&header_bytes(name, charset));
    if !is_mode || name.is_empty() || ends.no_uu {
        return None;
    }
    let mut at = body;
    while at < text.len() {
        let line = line_at(text, at);
        let content = trim_end_blanks(text.get(line.start..line.end).unwrap_or_default());
        if content == b"end" {
            let content = decode_uuencode(text.get(start..line.end).unwrap_or_default());
            let wrapping = Wrapping::Uuencode;
            return Some(EmbeddedFile {
                wrapping,
                name,
                media_type: None,
                content,
                range: start..line.next,
            });
        }
        if !is_uu_line(content) {
            return None;
        }
        at = line.next;
    }
    ends.no_uu = true;
    None
}

/// Whether a line can be one of uuencode: its first character is the count of bytes, as many as its others hold.
/// Some programs leave blanks away at the end, some add a checksum character.
fn is_uu_line(line: &[u8]) -> bool {
    let Some((length, characters)) = line.split_first() else {
        return true;
    };
    let most = usize::from(length.wrapping_sub(b' ') & 63).div_ceil(3) * 4 + 1;
    (b' '..=b'`').contains(length)
        && characters.len() <= most
        && characters.iter().all(|b| (b' '..=b'`').contains(b))
}

/// `=ybegin line=128 size=5 name=y.bin`, perhaps `=ypart`, the bytes plus 42, `=yend`.
fn yenc_file(
    text: &[u8],
    start: usize,
    body: usize,
    rest: &[u8],
    charset: Option<&str>,
    ends: &mut Ends,
) -> Option<EmbeddedFile> {
    // The name is the last value and may hold blanks.
    let name_at = memchr::memmem::find(rest, b"name=")?;
    let name = plain_name(&header_bytes(rest.get(name_at + 5..)?, charset));
    if name.is_empty() || ends.no_yenc {
        return None;
    }
    let mut content = Vec::new();
    let mut at = body;
    while at < text.len() {
        let line = line_at(text, at);
        let bytes = text.get(line.start..line.end).unwrap_or_default();
        at = line.next;
        if bytes.starts_with(b"=yend") {
            let wrapping = Wrapping::YEnc;
            return Some(EmbeddedFile {
                wrapping,
                name,
                media_type: None,
                content,
                range: start..at,
            });
        }
        if !(line.start == body && bytes.starts_with(b"=ypart ")) {
            push_yenc(&mut content, bytes);
        }
    }
    ends.no_yenc = true;
    None
}

/// Each byte is 42 more than it was; behind `=` it is 64 more again (the yEnc draft 1.3).
fn push_yenc(out: &mut Vec<u8>, line: &[u8]) {
    // Articles double a dot at the start of a line; letters do not, and a first `..` of a file is rare.
    let mut bytes = line.iter();
    while let Some(&byte) = bytes.next() {
        let shifted = match byte {
            b'=' => match bytes.next() {
                Some(escaped) => escaped.wrapping_sub(64),
                None => break,
            },
            plain => plain,
        };
        out.push(shifted.wrapping_sub(42));
    }
}

/// A name without folders, control characters and blanks around.
fn plain_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or(name);
    let clean: String = last.chars().filter(|c| !c.is_control()).collect();
    let clean = clean.trim().trim_matches('"');
    if matches!(clean, "." | "..") { String::new() } else { clean.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(raw: &[u8], expect: &[(&str, &str)], text_left: &str) {
        let message = Message::parse(raw);
        let files = message.all_embedded();
        let stored = Index::decode(&message.index().encode()).unwrap();
        let noted = stored.files.iter().map(|f| (f.part as usize, &*f.name, f.size as usize));
        let found = files.iter().map(|(part, f)| (*part, &*f.name, f.content.len()));
        assert!(noted.eq(found), "{stored:?}");
        let files: Vec<(&str, String)> = files
            .iter()
            .map(|(_, f)| (&*f.name, String::from_utf8_lossy(&f.content).into_owned()))
            .collect();
        let files: Vec<(&str, &str)> = files.iter().map(|(n, c)| (*n, &**c)).collect();
        assert_eq!(files, expect, "{:?}", String::from_utf8_lossy(raw));
        assert_eq!(message.text_without_files(0), text_left);
    }

    #[test]
    fn uuencode_in_text() {
        check(
            b"\r\nhi\r\nbegin 644 u.bin\r\n%:&5L;&\\\r\n`\r\nend\r\nbye",
            &[("u.bin", "hello")],
            "hi\r\nbye",
        );
        check(
            b"\nbegin 644 a\n%:&5L;&\\\n`\nend\nbegin 0755 ../b c\n%:&5L;&\\\n\nend\n",
            &[("a", "hello"), ("b c", "hello")],
            "",
        );
        check(
            b"\n\nbegin 644 u\nno code here, friends\nend\n",
            &[],
            "\nbegin 644 u\nno code here, friends\nend\n",
        );
        check(b"\n\nbegin with a word\nend\n", &[], "\nbegin with a word\nend\n");
        check(b"\n\nbegin 644 u\n%:&5L;&\\\n", &[], "\nbegin 644 u\n%:&5L;&\\\n");
    }

    #[test]
    fn yenc_in_text() {
        check(
            b"Subject: s\r\n\r\n=ybegin line=128 size=5 name=y.bin\r\n\x92\x8f\x96\x96\x99\r\n=yend size=5\r\n",
            &[("y.bin", "hello")],
            "",
        );
        check(
            b"\n\n=ybegin part=1 line=128 size=3 name=a b.bin\n=ypart begin=1 end=3\n=\x7d\x8b\x8c\n=yend size=3\n",
            &[("a b.bin", "\u{13}ab")],
            "\n",
        );
        check(
            b"\n\n=ybegin line=128 size=5 name=y\nabc\n",
            &[],
            "\n=ybegin line=128 size=5 name=y\nabc\n",
        );
    }

    #[test]
    fn tnef_by_type_and_by_name() {
        use crate::tnef::tests::{attribute, stream};
        let tnef = stream(&[
            attribute(0x0006_9002, &[0; 14]),
            attribute(0x0001_8010, b"a.txt\0"),
            attribute(0x0006_800f, b"hi"),
        ]);
        let body = crate::encode_base64(&tnef);
        for head in ["application/ms-tnef", "application/octet-stream; name=WINMAIL.DAT"] {
            let raw =
                format!("Content-Type: {head}\r\nContent-Transfer-Encoding: base64\r\n\r\n{body}");
            let files = Message::parse(raw.as_bytes()).embedded(0);
            assert_eq!(
                (files.len(), &*files[0].name, &*files[0].content),
                (1, "a.txt", &b"hi"[..])
            );
        }
    }

    #[test]
    fn encoded_letters_open_three_times() {
        let mut raw = "Subject: inner\r\n\r\nx".to_owned();
        for _ in 0..5 {
            let body = crate::encode_base64(raw.as_bytes());
            raw = format!(
                "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n{body}"
            );
        }
        let mut depth = 0;
        let mut bytes = raw.into_bytes();
        while let Some(inner) = Message::parse(&bytes).encoded_letter(0, depth) {
            bytes = inner;
            depth += 1;
        }
        assert_eq!(depth, limits::ENCODED_DEPTH);
        assert_eq!(
            Message::parse(b"Content-Type: message/rfc822\r\n\r\nx").encoded_letter(0, 0),
            None
        );
    }
}
