//! `BODY[...]<a.b>` and `BINARY[...]<a.b>`: which bytes of the letter it names. Found in the part table, never by
//! parsing again.

use crate::parse::{Parsed, Parser, limits};
use crate::reply::Error;
use bytes::Bytes;
use mparser::{Encoding, Index, PartKind};
use std::ops::Range;
use std::sync::Arc;
use storage::{Email, Store};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Section {
    /// Numbers of nested parts; empty is the letter itself.
    part: Vec<u32>,
    what: What,
    pub(crate) form: Form,
    /// First byte and number of bytes.
    partial: Option<(u64, u64)>,
    /// Reading it does not set `\Seen`.
    pub(crate) peek: bool,
    /// How the answer names it, `BODY[1.MIME]<0>`.
    pub(crate) label: String,
}

/// How the bytes are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// BODY: as they stand in the letter.
    Stored,
    /// BINARY: without their transfer encoding (RFC 9051 §6.4.5.1).
    Decoded,
    /// BINARY.SIZE: how many they are then.
    DecodedSize,
}

/// The items with brackets: name, form, name in the answer, whether it peeks.
static FORMS: &[(&str, Form, &str, bool)] = &[
    ("BINARY", Form::Decoded, "BINARY[", false),
    ("BINARY.PEEK", Form::Decoded, "BINARY[", true),
    ("BINARY.SIZE", Form::DecodedSize, "BINARY.SIZE[", true),
    ("BODY", Form::Stored, "BODY[", false),
    ("BODY.PEEK", Form::Stored, "BODY[", true),
];

/// What a section turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// The letter has no such part.
    Missing,
    Bytes(Bytes),
    /// Of [`Form::DecodedSize`].
    Size(u64),
}

/// Parts larger than this are decoded beside the runtime's threads; it takes about a millisecond.
const DECODE_ASIDE_BYTES: usize = 1024 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Whole,
    Header,
    Text,
    Mime,
    /// Some fields of the header: names in lower case, sorted; or all but those.
    Fields {
        names: Vec<String>,
        not: bool,
    },
}

/// The forms of RFC 3501 without brackets: name, what it stands for, whether it peeks.
const OLD_FORMS: [(&str, What, bool); 3] = [
    ("RFC822", What::Whole, false),
    ("RFC822.HEADER", What::Header, true),
    ("RFC822.TEXT", What::Text, false),
];

impl Section {
    /// `None`, and nothing taken, when no section stands here.
    pub(crate) fn parse(p: &mut Parser<'_>) -> Parsed<Option<Self>> {
        for (name, what, peek) in OLD_FORMS {
            if p.word(name) {
                let (part, form, partial) = (Vec::new(), Form::Stored, None);
                return Ok(Some(Self { part, what, form, partial, peek, label: name.to_owned() }));
            }
        }
        let mut ahead = p.clone();
        let form = FORMS.iter().find(|(name, ..)| ahead.word(name));
        let Some((_, form, label, peek)) = form.filter(|_| ahead.take(b'[')) else {
            return Ok(None);
        };
        *p = ahead;
        Self::in_brackets(p, *form, label, *peek).map(Some)
    }

    /// ```text
    /// section      = "[" [section-spec] "]"
    /// section-spec = section-msgtext / (section-part ["." section-text])
    /// section-part = nz-number *("." nz-number)
    /// section-text = section-msgtext / "MIME"
    ///
    /// section-binary = "[" [section-part] "]"
    /// ```
    fn in_brackets(p: &mut Parser<'_>, form: Form, label: &str, peek: bool) -> Parsed<Self> {
        let mut part = Vec::new();
        let mut label = label.to_owned();
        let mut text_follows = p.peek() != Some(b']');
        while text_follows && p.peek().is_some_and(|b| b.is_ascii_digit()) {
            if part.len() >= limits::SECTION_NUMBERS {
                return p.wanted("a section of fewer parts");
            }
            match p.number()? {
                0 => return p.wanted("a part number from 1"),
                n => part.push(n),
            }
            text_follows = p.take(b'.');
        }
        label.push_str(&part.iter().map(u32::to_string).collect::<Vec<_>>().join("."));
        let mut what = What::Whole;
        if text_follows && form != Form::Stored {
            return p.wanted("the number of a part");
        } else if text_follows {
            let dot = if part.is_empty() { "" } else { "." };
            what = section_text(p, !part.is_empty(), dot, &mut label)?;
        }
        p.need(b']', "the closing bracket")?;
        label.push(']');
        let partial = if form == Form::DecodedSize { None } else { partial(p)? };
        if let Some((first, _)) = partial {
            label.push('<');
            label.push_str(&first.to_string());
            label.push('>');
        }
        Ok(Self { part, what, form, partial, peek, label })
    }

    /// The bytes it lies in. `None`: the letter has no such part.
    fn span(&self, index: &Index) -> Option<Range<u32>> {
        if self.part.is_empty() && self.what == What::Whole {
            return Some(0..index.size);
        }
        let at = index.section(&self.part)?;
        let part = index.parts.get(at)?;
        match self.what {
            What::Whole => Some(part.body.clone()),
            What::Mime => Some(part.header.clone()),
            What::Header | What::Text | What::Fields { .. } => {
                let letter = match (self.part.as_slice(), part.kind) {
                    ([], _) => part,
                    (_, PartKind::Message) => index.parts.get(index.children(at).next()?)?,
                    _ => return None,
                };
                let header = self.what != What::Text;
                Some(if header { letter.header.clone() } else { letter.body.clone() })
            }
        }
    }

    /// How its bytes must be decoded. `None`: they are what they are.
    fn encoding<'a>(&self, index: &'a Index) -> Option<&'a Encoding> {
        if self.form == Form::Stored || self.part.is_empty() {
            return None;
        }
        // Parts of parts have their own encodings; around them there is none (RFC 2045 §6.4).
        let part = index.parts.get(index.section(&self.part)?)?;
        let plain =
            matches!(part.encoding, Encoding::SevenBit | Encoding::EightBit | Encoding::Binary);
        (part.kind == PartKind::Leaf && !plain).then_some(&part.encoding)
    }

    /// The bytes to read for it: those of the span that the partial form leaves.
    fn range(&self, index: &Index) -> Option<Range<u32>> {
        let span = self.span(index)?;
        match self.partial {
            // Fields are picked first, and parts decoded, then cut.
            Some((first, length)) if !self.cuts_late(index) => {
                let to_u32 = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
                let start = span.start.saturating_add(to_u32(first)).min(span.end);
                Some(start..start.saturating_add(to_u32(length)).min(span.end))
            }
            // Their number is known.
            _ if self.form == Form::DecodedSize && self.encoding(index).is_none() => {
                Some(span.start..span.start)
            }
            _ => Some(span),
        }
    }

    fn cuts_late(&self, index: &Index) -> bool {
        matches!(self.what, What::Fields { .. }) || self.encoding(index).is_some()
    }

    /// What the bytes that were read for it are. A part that is asked for often is decoded once, into `decoded`, so
    /// that all of them together take no more memory than the letter.
    async fn finish(
        &self,
        index: &Index,
        bytes: Bytes,
        decoded: &mut Vec<(Vec<u32>, Bytes)>,
    ) -> Result<Piece, Error> {
        let bytes = match (&self.what, self.encoding(index)) {
            (What::Fields { names, not }, _) => Bytes::from(pick_fields(&bytes, names, *not)),
            (_, Some(encoding)) => {
                if let Some((_, bytes)) = decoded.iter().find(|(part, _)| *part == self.part) {
                    bytes.clone()
                } else {
                    let bytes = decode(encoding, bytes).await?;
                    decoded.push((self.part.clone(), bytes.clone()));
                    bytes
                }
            }
            (_, None) if self.form == Form::DecodedSize => {
                let length = self.span(index).map_or(0, |span| span.end - span.start);
                return Ok(Piece::Size(length.into()));
            }
            (_, None) => return Ok(Piece::Bytes(bytes)),
        };
        if self.form == Form::DecodedSize {
            return Ok(Piece::Size(bytes.len() as u64));
        }
        let Some((first, length)) = self.partial else { return Ok(Piece::Bytes(bytes)) };
        let to_usize = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let start = to_usize(first).min(bytes.len());
        let end = start.saturating_add(to_usize(length)).min(bytes.len());
        Ok(Piece::Bytes(bytes.slice(start..end)))
    }
}

async fn decode(encoding: &Encoding, bytes: Bytes) -> Result<Bytes, Error> {
    let unknown = || Error::no("UNKNOWN-CTE", "a part is encoded in a way that is not known here");
    if bytes.len() <= DECODE_ASIDE_BYTES {
        return encoding.undo(&bytes).map(Bytes::from).ok_or_else(unknown);
    }
    let encoding = encoding.clone();
    let decoded = tokio::task::spawn_blocking(move || encoding.undo(&bytes)).await;
    let decoded = decoded.map_err(|_| Error::no("SERVERBUG", "decoding was interrupted"))?;
    decoded.map(Bytes::from).ok_or_else(unknown)
}

/// What is to be read of one letter.
pub(crate) struct Wanted {
    email: Arc<Email>,
    /// For each section; `None`: the letter has no such part.
    ranges: Vec<Option<Range<u32>>>,
    pub(crate) bytes: u64,
}

impl Wanted {
    pub(crate) fn of(email: &Arc<Email>, sections: &[&Section]) -> Self {
        let ranges: Vec<_> = sections.iter().map(|s| s.range(&email.index)).collect();
        let bytes = ranges.iter().flatten().map(|r| u64::from(r.end - r.start)).sum();
        Self { email: email.clone(), ranges, bytes }
    }

    /// Then it is read once.
    fn is_most(&self) -> bool {
        self.bytes * 2 > u64::from(self.email.size_bytes)
    }

    fn reads(&self) -> impl Iterator<Item = (Arc<Email>, Range<u32>)> {
        let most = self.is_most();
        let whole = most.then(|| 0..self.email.size_bytes);
        let pieces = self.ranges.iter().flatten().filter(move |r| !most && !r.is_empty()).cloned();
        whole.into_iter().chain(pieces).map(|range| (self.email.clone(), range))
    }

    /// The sections out of what was read for [`Self::reads`].
    async fn finish(
        &self,
        sections: &[&Section],
        read: Vec<storage::Result<Bytes>>,
    ) -> Result<Vec<Piece>, Error> {
        let mut read = read.into_iter();
        let mut next = || read.next().unwrap_or_else(|| Ok(Bytes::new()));
        let whole = if self.is_most() { Some(next()?) } else { None };
        let (mut found, mut decoded) = (Vec::with_capacity(sections.len()), Vec::new());
        for (section, range) in sections.iter().zip(&self.ranges) {
            let bytes = match (range, &whole) {
                (None, _) => {
                    found.push(Piece::Missing);
                    continue;
                }
                (Some(range), _) if range.is_empty() => Bytes::new(),
                (Some(range), Some(whole)) => cut(whole, range),
                (Some(_), None) => next()?,
            };
            found.push(section.finish(&self.email.index, bytes, &mut decoded).await?);
        }
        Ok(found)
    }
}

/// Reads the sections of letters, all with one call. A damaged letter does not keep the others back, nor one that is
/// encoded in an unknown way.
pub(crate) async fn read(
    store: &Store,
    wanted: &[Wanted],
    sections: &[&Section],
) -> storage::Result<Vec<Result<Vec<Piece>, Error>>> {
    let mut read = store.ranges(wanted.iter().flat_map(Wanted::reads).collect()).await?.into_iter();
    let mut letters = Vec::with_capacity(wanted.len());
    for wanted in wanted {
        let read = read.by_ref().take(wanted.reads().count()).collect();
        letters.push(wanted.finish(sections, read).await);
    }
    Ok(letters)
}

fn cut(bytes: &Bytes, range: &Range<u32>) -> Bytes {
    let to_usize = |n: u32| usize::try_from(n).unwrap_or(usize::MAX).min(bytes.len());
    let (start, end) = (to_usize(range.start), to_usize(range.end));
    bytes.slice(start..end.max(start))
}

/// ```text
/// section-msgtext = "HEADER" / "HEADER.FIELDS" [".NOT"] SP header-list / "TEXT"
/// header-list     = "(" header-fld-name *(SP header-fld-name) ")"
/// ```
fn section_text(p: &mut Parser<'_>, in_part: bool, dot: &str, label: &mut String) -> Parsed<What> {
    let words = ["HEADER", "TEXT", "HEADER.FIELDS", "HEADER.FIELDS.NOT", "MIME"];
    let words = words.get(..if in_part { 5 } else { 4 }).unwrap_or_default();
    let which = p.one_of(words, "HEADER, HEADER.FIELDS, TEXT or MIME of a part")?;
    label.push_str(dot);
    label.push_str(words.get(which).unwrap_or(&""));
    let not = match which {
        0 => return Ok(What::Header),
        1 => return Ok(What::Text),
        4 => return Ok(What::Mime),
        which => which == 3,
    };
    p.sp()?;
    let mut names = p.list(limits::FIELD_NAMES, Parser::astring_utf8)?;
    // A name with a line end would break our answer's line.
    let fit = |name: &String| name.bytes().all(|b| b.is_ascii_graphic() && b != b':');
    if names.is_empty() || !names.iter().all(fit) {
        return p.wanted("names of header fields");
    }
    let mut quoted = Vec::new();
    for (i, name) in names.iter().enumerate() {
        quoted.extend_from_slice(if i > 0 { b" " } else { b" (" });
        let bare = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if bare {
            quoted.extend_from_slice(name.as_bytes());
        } else {
            crate::encode::string(&mut quoted, name);
        }
    }
    quoted.push(b')');
    label.push_str(&String::from_utf8_lossy(&quoted));
    for name in &mut names {
        name.make_ascii_lowercase();
    }
    names.sort_unstable();
    Ok(What::Fields { names, not })
}

/// ```text
/// partial = "<" number64 "." nz-number64 ">"
/// ```
fn partial(p: &mut Parser<'_>) -> Parsed<Option<(u64, u64)>> {
    if !p.take(b'<') {
        return Ok(None);
    }
    let first = p.number64()?;
    p.need(b'.', "a dot")?;
    let length = p.number64()?;
    if length == 0 {
        return p.wanted("a length from 1");
    }
    p.need(b'>', "the closing angle bracket")?;
    Ok(Some((first, length)))
}

/// The fields of a header that are (or, with `not`, are not) named, in the header's order, with the
/// empty line at the end. `names` in lower case, sorted.
fn pick_fields(header: &[u8], names: &[String], not: bool) -> Vec<u8> {
    let mut picked = Vec::new();
    let mut keep = false;
    for line in header.split_inclusive(|b| *b == b'\n') {
        if matches!(line, b"\r\n" | b"\n") {
            break;
        }
        if !line.starts_with(b" ") && !line.starts_with(b"\t") {
            let colon = line.iter().position(|b| *b == b':').unwrap_or(0);
            let name = line.get(..colon).unwrap_or_default().trim_ascii_end();
            let lower = name.iter().map(u8::to_ascii_lowercase);
            let named = names.binary_search_by(|n| n.bytes().cmp(lower.clone())).is_ok();
            keep = colon > 0 && named != not;
        }
        if keep {
            picked.extend_from_slice(line);
        }
    }
    // A header at the very end of a letter may lack the line end.
    if !picked.is_empty() && !picked.ends_with(b"\n") {
        picked.extend_from_slice(b"\r\n");
    }
    picked.extend_from_slice(b"\r\n");
    picked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::tests::whole;

    fn section(text: &str) -> Option<Section> {
        whole(text.as_bytes(), Section::parse).ok().flatten()
    }

    #[test]
    fn sections() {
        #[track_caller]
        fn check(text: &str, expect: Option<(&str, bool)>) {
            let found = section(text);
            let found = found.as_ref().map(|s| (s.label.as_str(), s.peek));
            assert_eq!(found, expect, "{text}");
        }
        check("BODY[]", Some(("BODY[]", false)));
        check("body.peek[]", Some(("BODY[]", true)));
        check("BODY[TEXT]<5.10>", Some(("BODY[TEXT]<5>", false)));
        check("BODY[1.2.MIME]", Some(("BODY[1.2.MIME]", false)));
        check("BODY[1.header]", Some(("BODY[1.HEADER]", false)));
        check("BODY[12]<0.4294967295>", Some(("BODY[12]<0>", false)));
        check(
            "BODY.PEEK[HEADER.FIELDS (From  \"X-A\" \"a b\")]",
            None, // no field has a name with a space
        );
        check(
            "BODY.PEEK[1.HEADER.FIELDS.NOT (From \"x(y\" )]<0.9>",
            Some(("BODY[1.HEADER.FIELDS.NOT (From \"x(y\")]<0>", true)),
        );
        check("RFC822", Some(("RFC822", false)));
        check("rfc822.header", Some(("RFC822.HEADER", true)));
        check("RFC822.TEXT", Some(("RFC822.TEXT", false)));
        check("RFC822.SIZE", None);
        check("BODY", None);
        check("BODYSTRUCTURE", None);
        check("BODY[MIME]", None);
        check("BODY[0]", None);
        check("BODY[1.]", None);
        check("BODY[.1]", None);
        check("BODY[1", None);
        check("BODY[HEADER.FIELDS ()]", None);
        check("BODY[HEADER.FIELDS (\"a\rb\")]", None);
        check("BINARY[1.2]<3.4>", Some(("BINARY[1.2]<3>", false)));
        check("binary.peek[]", Some(("BINARY[]", true)));
        check("BINARY.SIZE[1]", Some(("BINARY.SIZE[1]", true)));
        check("BINARY.SIZE[1]<0.1>", None);
        check("BINARY[TEXT]", None);
        check("BINARY[1.MIME]", None);
        check("BINARY[1.]", None);
        check("BINARY", None);
        check("BODY[]<5>", None);
        check("BODY[]<0.0>", None);
        check("BODY[]<-1.5>", None);
        check(&format!("BODY[{}1]", "1.".repeat(100)), None);
    }

    #[test]
    fn fields() {
        #[track_caller]
        fn check(header: &str, names: &[&str], not: bool, expect: &str) {
            let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
            let picked = pick_fields(header.as_bytes(), &names, not);
            assert_eq!(String::from_utf8(picked).unwrap(), expect);
        }
        let header = "From: a\r\nSUBJECT : b\r\n c\r\n\td\r\nTo:e\r\nno field\r\nto: f\r\n\r\n";
        check(header, &["subject"], false, "SUBJECT : b\r\n c\r\n\td\r\n\r\n");
        check(header, &["from", "to"], false, "From: a\r\nTo:e\r\nto: f\r\n\r\n");
        check(header, &["from", "to"], true, "SUBJECT : b\r\n c\r\n\td\r\n\r\n");
        check(header, &["x"], false, "\r\n");
        check("From: a", &["from"], false, "From: a\r\n\r\n");
        check("", &["from"], false, "\r\n");
        check(" folded first\r\nFrom: a\r\n", &["from"], false, "From: a\r\n\r\n");
    }

    /// What it gives of a letter; sizes as text.
    async fn check(index: &Index, letter: &[u8], text: &str, expect: Option<&str>) {
        let section = section(text).unwrap();
        let piece = match section.range(index) {
            None => Ok(Piece::Missing),
            Some(range) => {
                let bytes = cut(&Bytes::copy_from_slice(letter), &range);
                section.finish(index, bytes, &mut Vec::new()).await
            }
        };
        let found = match piece {
            Ok(Piece::Missing) => None,
            Ok(Piece::Bytes(bytes)) => Some(String::from_utf8(bytes.to_vec()).unwrap()),
            Ok(Piece::Size(size)) => Some(size.to_string()),
            Err(error) => Some(error.to_string()),
        };
        assert_eq!(found.as_deref(), expect, "{text}");
    }

    #[tokio::test]
    async fn ranges() {
        let letter = b"Subject: x\r\n\r\nhello world\r\n";
        let index = Index::of(letter);
        check(&index, letter, "BODY[]", Some("Subject: x\r\n\r\nhello world\r\n")).await;
        check(&index, letter, "BODY[]<0.3>", Some("Sub")).await;
        check(&index, letter, "BODY[TEXT]<6.5>", Some("world")).await;
        check(&index, letter, "BODY[TEXT]<11.9>", Some("\r\n")).await;
        check(&index, letter, "BODY[TEXT]<99.9>", Some("")).await;
        check(&index, letter, "BODY[TEXT]<4294967295.4294967295>", Some("")).await;
        check(&index, letter, "BODY[HEADER]", Some("Subject: x\r\n\r\n")).await;
        check(&index, letter, "BODY[HEADER.FIELDS (Subject)]<1.4>", Some("ubje")).await;
        check(&index, letter, "BODY[1]", Some("hello world\r\n")).await;
        check(&index, letter, "BODY[1.MIME]", Some("Subject: x\r\n\r\n")).await;
        check(&index, letter, "BODY[2]", None).await;
        check(&index, letter, "BODY[1.HEADER]", None).await;
        check(&index, letter, "BODY[1.1]", None).await;
    }
    #[tokio::test]
    async fn decoded() {
        let letter = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\
            Content-Transfer-Encoding: base64\r\n\r\naGVsbG8g\r\nd29ybGQ=\r\n--b\r\n\
            Content-Transfer-Encoding: quoted-printable\r\n\r\na=3D=\r\nb\r\n--b\r\n\
            Content-Transfer-Encoding: x-own\r\n\r\n???\r\n--b\r\n\
            \r\nplain\r\n--b--\r\n";
        let index = Index::of(letter);
        let check = async |text: &str, expect| check(&index, letter, text, expect).await;
        check("BINARY[1]", Some("hello world")).await;
        check("BINARY[1]<6.3>", Some("wor")).await;
        check("BINARY[1]<99.3>", Some("")).await;
        check("BINARY.SIZE[1]", Some("11")).await;
        check("BINARY[2]", Some("a=b")).await;
        check("BINARY.SIZE[2]", Some("3")).await;
        check("BINARY[3]", Some("a part is encoded in a way that is not known here")).await;
        check("BODY[3]", Some("???")).await;
        check("BINARY[4]<1.3>", Some("lai")).await;
        check("BINARY.SIZE[4]", Some("5")).await;
        check("BINARY[5]", None).await;
        check("BINARY.SIZE[]", Some("236")).await;
        check("BINARY[]", Some(std::str::from_utf8(letter).unwrap())).await;
    }

    #[tokio::test]
    async fn a_part_is_decoded_once() {
        let letter = b"Content-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n";
        let index = Index::of(letter);
        let mut decoded = Vec::new();
        for text in ["BINARY[1]<1.3>", "BINARY[1]", "BINARY.SIZE[1]", "BINARY[1]<0.1>"] {
            let section = section(text).unwrap();
            let bytes = cut(&Bytes::from_static(letter), &section.range(&index).unwrap());
            section.finish(&index, bytes, &mut decoded).await.unwrap();
            assert_eq!(decoded, [(vec![1], Bytes::from_static(b"hello"))], "{text}");
        }
    }
}
