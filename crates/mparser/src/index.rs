//! The owned result of a parse: a flat table of parts, the envelope, a preview. Stored beside the letter.

use crate::charset::{self, header_line};
use crate::headers::{Field, find, header_fields};
use crate::message::{slice, small};
use crate::params::parse_value;
use crate::{
    Defect, DefectKind, Encoding, IndexError, Mailbox, NamedAddress, Wrapping, codec,
    decode_header_text, fill, html, limits, parse_date, scan,
};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::Range;
use types::Date;

/// All that is worth knowing of a letter without reading it again.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Index {
    /// Bytes of the letter.
    pub size: u32,
    /// Lines of the letter; a last line without an end counts.
    pub lines: u32,
    /// Fields in the letter's own header.
    pub header_fields: u32,
    /// The letter begins with a header field, so that others can be put in front of it.
    pub begins_with_field: bool,
    /// In the order of the letter; a part stands after its parent. Never empty.
    pub parts: Vec<Part>,
    /// Of the letter itself.
    pub envelope: Envelope,
    /// Text of the first text part, at most 256 characters, without HTML, one line.
    pub preview: String,
    /// What is wrong, in the order of the letter.
    pub defects: Vec<Defect>,
    /// Files that are inside parts, in the order of the letter: what [`crate::Message::all_embedded`] opens.
    pub files: Vec<FileInside>,
}

/// A file inside a part: in its text, or in the TNEF stream of Outlook (`winmail.dat`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileInside {
    /// Number of the part.
    pub part: u32,
    /// How it was wrapped.
    pub wrapping: Wrapping,
    /// Its name without folders; empty when it has none.
    pub name: String,
    /// `type/subtype` when the wrapping names one.
    pub media_type: Option<String>,
    /// Bytes of the file itself.
    pub size: u32,
}

/// What a part is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PartKind {
    /// Text, an image, anything without parts of its own.
    #[default]
    Leaf,
    /// `multipart/*` with at least one part. Exactly the parts whose media type is `multipart`.
    Multipart,
    /// `message/rfc822` or `message/global`; its one child is the root part of the letter inside.
    Message,
}

/// One body part, or the letter itself (part 0). Ranges are bytes from the start of the outermost letter.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Part {
    /// Index of the multipart or message it lies in; always less than its own.
    pub parent: Option<u32>,
    /// Leaf, multipart or letter.
    pub kind: PartKind,
    /// With the empty line that ends it.
    pub header: Range<u32>,
    /// What the parts around it leave to it; the line end before a delimiter is not in it.
    pub body: Range<u32>,
    /// Lines of the body; a last line without an end counts.
    pub lines: u32,
    /// Lower case, as is `subtype`. An opaque multipart or message counts as `application/octet-stream`,
    /// a multipart without parts as `text/plain`, so that the type always fits `kind`.
    pub media_type: String,
    /// Behind the slash of Content-Type.
    pub subtype: String,
    /// Parameters of Content-Type; names in lower case, values decoded (RFC 2231, RFC 2047).
    pub params: Vec<(String, String)>,
    /// Content-Transfer-Encoding.
    pub encoding: Encoding,
    /// Content-ID as written, with `<>`.
    pub id: Option<String>,
    /// Content-Description as written, unfolded.
    pub description: Option<String>,
    /// Content-Disposition: type in lower case, parameters as `params`.
    pub disposition: Option<(String, Vec<(String, String)>)>,
    /// Content-MD5 as written.
    pub md5: Option<String>,
    /// Content-Language (RFC 3282).
    pub language: Vec<String>,
    /// Content-Location (RFC 2557).
    pub location: Option<String>,
    /// Of the letter inside, on a part of kind `Message`.
    pub envelope: Option<Box<Envelope>>,
}

/// The fields IMAP's ENVELOPE and the threads need. Values are unfolded, RFC 2047 words left as they are;
/// bytes that are not UTF-8 are read in the letter's charset.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Envelope {
    /// Date
    pub date: Option<String>,
    /// Subject
    pub subject: Option<String>,
    /// From
    pub from: Vec<Mailbox>,
    /// Sender
    pub sender: Vec<Mailbox>,
    /// Reply-To
    pub reply_to: Vec<Mailbox>,
    /// To
    pub to: Vec<Mailbox>,
    /// Cc
    pub cc: Vec<Mailbox>,
    /// Bcc
    pub bcc: Vec<Mailbox>,
    /// In-Reply-To
    pub in_reply_to: Option<String>,
    /// Message-ID
    pub message_id: Option<String>,
    /// References, without `<>`.
    pub references: Vec<String>,
}

impl Index {
    /// Parses any bytes as a letter.
    pub fn of(raw: &[u8]) -> Self {
        fill::fill(
            raw.get(..raw.len().min(limits::MESSAGE_BYTES)).unwrap_or_default(),
            scan::scan(raw),
        )
    }

    /// The stored form: versioned, checksummed, a few hundred bytes.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// What `encode` made; other bytes are an error.
    pub fn decode(bytes: &[u8]) -> Result<Self, IndexError> {
        codec::decode(bytes)
    }

    /// The index of the same letter with whole header fields put in front. `false`, and nothing changed, when
    /// that cannot be told without the bytes (the letter does not begin with a field, or the prefix has a field
    /// that this index holds): then parse the new letter.
    #[must_use = "false: the new letter must be parsed"]
    pub fn prepend(&mut self, prefix: &[u8]) -> bool {
        let Some(added) = Prefix::read(prefix) else {
            return false;
        };
        let fits =
            self.size.checked_add(added.size).is_some_and(|s| s as usize <= limits::MESSAGE_BYTES);
        let few = (self.header_fields + added.fields) as usize <= limits::HEADERS;
        if !self.begins_with_field || !fits || !few {
            return false;
        }
        let shift =
            |range: &mut Range<u32>| *range = range.start + added.size..range.end + added.size;
        for part in &mut self.parts {
            shift(&mut part.header);
            shift(&mut part.body);
        }
        if let Some(root) = self.parts.first_mut() {
            root.header.start = 0;
        }
        for defect in &mut self.defects {
            // What is missing is missing at the start.
            if !matches!(defect.kind, DefectKind::MissingDate | DefectKind::MissingFrom) {
                defect.offset += added.size;
            }
        }
        self.size += added.size;
        self.lines += added.lines;
        self.header_fields += added.fields;
        true
    }

    /// The part an IMAP section number names (RFC 9051 §6.4.5): `[1, 2]` for `1.2`; `[]` is the letter.
    /// A letter that is no multipart has one part, 1, its body; a part that is a letter has the parts of that letter.
    pub fn section(&self, numbers: &[u32]) -> Option<usize> {
        let mut at = 0;
        // The letter's own parts, then those of each letter inside a letter.
        let mut letter = Some(0);
        for number in numbers {
            let nth = usize::try_from(number.checked_sub(1)?).ok()?;
            let root = letter.unwrap_or(at);
            at = if self.parts.get(root)?.kind == PartKind::Multipart {
                self.children(root).nth(nth)?
            } else {
                (letter.is_some() && nth == 0).then_some(root)?
            };
            letter = match self.parts.get(at)?.kind {
                PartKind::Message => self.children(at).next(),
                _ => None,
            };
        }
        Some(at)
    }

    /// The parts directly inside a multipart or message, in order.
    pub fn children(&self, part: usize) -> impl Iterator<Item = usize> + '_ {
        let parent = u32::try_from(part).ok();
        self.parts
            .iter()
            .enumerate()
            .skip(part.saturating_add(1))
            // What lies inside a part stands right behind it.
            .take_while(move |(_, p)| p.parent >= parent)
            .filter(move |(_, p)| p.parent == parent)
            .map(|(i, _)| i)
    }

    /// The subject, decoded; empty when there is none.
    pub fn subject(&self) -> String {
        self.envelope
            .subject
            .as_deref()
            .map(|s| decode_header_text(s.as_bytes()))
            .unwrap_or_default()
    }

    /// The date in the letter's header, if it can be read.
    pub fn date(&self) -> Option<Date> {
        parse_date(self.envelope.date.as_deref()?.as_bytes())
    }

    /// The addresses in From, decoded, groups as their members.
    pub fn from_(&self) -> Vec<NamedAddress> {
        NamedAddress::list(&self.envelope.from)
    }

    /// The addresses in Sender, decoded, groups as their members.
    pub fn sender_(&self) -> Vec<NamedAddress> {
        NamedAddress::list(&self.envelope.sender)
    }

    /// The addresses in Reply-To, decoded, groups as their members.
    pub fn reply_to_(&self) -> Vec<NamedAddress> {
        NamedAddress::list(&self.envelope.reply_to)
    }

    /// The addresses in To, decoded, groups as their members.
    pub fn to_(&self) -> Vec<NamedAddress> {
        NamedAddress::list(&self.envelope.to)
    }

    /// The addresses in Cc, decoded, groups as their members.
    pub fn cc_(&self) -> Vec<NamedAddress> {
        NamedAddress::list(&self.envelope.cc)
    }

    /// The addresses in Bcc, decoded, groups as their members.
    pub fn bcc_(&self) -> Vec<NamedAddress> {
        NamedAddress::list(&self.envelope.bcc)
    }

    /// The letter's own id, without `<>`.
    pub fn message_id(&self) -> Option<String> {
        message_ids(self.envelope.message_id.as_deref()?, 1).pop()
    }

    /// Ids in In-Reply-To, without `<>`. Old programs write prose there: only what stands in brackets counts.
    pub fn in_reply_to(&self) -> Vec<String> {
        let text = self.envelope.in_reply_to.as_deref().unwrap_or_default();
        message_ids(text, limits::REFERENCES)
    }

    /// Own Message-ID, In-Reply-To, References, each once, without `<>`: letters that share one are a thread.
    pub fn thread_ids(&self) -> Vec<String> {
        let mut ids: Vec<String> = self.message_id().into_iter().collect();
        ids.extend(self.in_reply_to());
        ids.extend(self.envelope.references.iter().cloned());
        let mut seen = std::collections::HashSet::new();
        ids.retain(|id| seen.insert(id.clone()));
        ids
    }

    /// Parts that a reader would save: not the text that is shown, not images shown inside it, and of a letter
    /// inside this one the whole, not its parts.
    pub fn attachments(&self) -> Vec<usize> {
        let shown = [self.text_part(), self.html_part()];
        let own = self.own_parts().filter(|(number, part)| {
            part.kind != PartKind::Multipart
                && !shown.contains(&Some(*number))
                && self.is_saved(part)
        });
        own.map(|(number, _)| number).collect()
    }

    /// Whether there is anything a reader would save: a part, or a file inside one.
    pub fn has_attachments(&self) -> bool {
        !self.files.is_empty() || !self.attachments().is_empty()
    }

    fn is_saved(&self, part: &Part) -> bool {
        let disposition = part.disposition.as_ref().map(|(kind, _)| kind.as_str());
        let in_related =
            part.parent.and_then(|parent| self.parts.get(parent as usize)).is_some_and(|parent| {
                parent.subtype == "related" && parent.kind == PartKind::Multipart
            });
        let shown_inside = part.media_type == "image"
            && part.id.is_some()
            && (in_related || disposition == Some("inline"));
        let more_text = part.media_type == "text"
            && matches!(&*part.subtype, "plain" | "html")
            && part.filename().is_none();
        disposition == Some("attachment") || !(shown_inside || more_text)
    }

    /// The parts of this letter, not those of letters inside it.
    fn own_parts(&self) -> impl Iterator<Item = (usize, &Part)> {
        let mut inside_until = 0;
        self.parts.iter().enumerate().filter(move |(_, part)| {
            let own = part.header.start >= inside_until;
            if own && part.kind == PartKind::Message {
                inside_until = part.body.end.max(part.body.start + 1);
            }
            own
        })
    }

    /// The file name of a part, decoded, without folders.
    pub fn filename(&self, part: usize) -> Option<String> {
        self.parts.get(part)?.filename()
    }

    /// The first inline `text/plain` part.
    pub fn text_part(&self) -> Option<usize> {
        self.shown_part("plain")
    }

    /// The first inline `text/html` part.
    pub fn html_part(&self) -> Option<usize> {
        self.shown_part("html")
    }

    fn shown_part(&self, subtype: &str) -> Option<usize> {
        let found = self.own_parts().find(|(_, part)| {
            let saved = part.disposition.as_ref().is_some_and(|(kind, _)| kind == "attachment");
            part.kind == PartKind::Leaf
                && part.media_type == "text"
                && part.subtype == subtype
                && !saved
        });
        found.map(|(number, _)| number)
    }
}

impl Part {
    /// The first parameter of Content-Type of this name (lower case).
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Bytes of the body as it stands in the letter.
    pub fn body_bytes(&self) -> u32 {
        self.body.end.saturating_sub(self.body.start)
    }

    /// The file name, decoded, without folders: from Content-Disposition, else from Content-Type.
    pub fn filename(&self) -> Option<String> {
        let given = self
            .disposition
            .as_ref()
            .and_then(|(_, params)| params.iter().find(|(n, _)| n == "filename"));
        let name = given.map(|(_, v)| v.as_str()).or_else(|| self.param("name"))?;
        clean_filename(name)
    }
}

/// Without folders and control characters; `None` when nothing is left.
pub(crate) fn clean_filename(name: &str) -> Option<String> {
    let is_clean = |b: u8| matches!(b, b' '..=b'~') && !matches!(b, b'/' | b'\\');
    let clean = if name.bytes().all(is_clean) {
        Cow::Borrowed(name)
    } else {
        let last = name.rsplit(['/', '\\']).next().unwrap_or(name);
        last.chars().filter(|c| !c.is_control()).collect()
    };
    Some(clean.trim().to_owned()).filter(|n| !n.is_empty() && !matches!(&**n, "." | ".."))
}

/// Header fields that are put in front of a letter.
struct Prefix {
    size: u32,
    lines: u32,
    fields: u32,
}

impl Prefix {
    /// `None` unless it is whole fields with CRLF, in ASCII, of names that an index holds nothing of.
    fn read(prefix: &[u8]) -> Option<Self> {
        let size = u32::try_from(prefix.len()).ok()?;
        let (mut fields, mut end) = (0, 0);
        for field in header_fields(prefix, 0..size) {
            let adjoins = field.offset == end;
            if !adjoins || find(field.name).is_some() || !field.raw.ends_with(b"\r\n") {
                return None;
            }
            end = field.offset + small(field.raw.len());
            fields += 1;
        }
        let lines = prefix.split_inclusive(|b| *b == b'\n');
        let clean = lines.clone().all(|line| {
            let text = line.strip_suffix(b"\r\n").unwrap_or(line);
            text.len() <= limits::LINE_BYTES
                && text.iter().all(|b| b.is_ascii() && !b"\r\n\0".contains(b))
        });
        (clean && end == size).then(|| Self { size, lines: small(lines.count()), fields })
    }
}

/// The Content-* fields of a part, but for its type and encoding. `true`: there were more languages than are kept.
pub(crate) fn fill_content_fields<'a>(
    part: &mut Part,
    charset: Option<&str>,
    value: impl Fn(Field) -> Option<&'a [u8]>,
) -> bool {
    let text = |field| value(field).map(|raw| header_line(raw, charset)).filter(|t| !t.is_empty());
    part.id = text(Field::ContentId);
    part.description = text(Field::ContentDescription);
    part.md5 = text(Field::ContentMd5);
    part.location = text(Field::ContentLocation);
    part.disposition = value(Field::ContentDisposition).map(|raw| {
        let value = parse_value(raw, charset);
        (value.head, value.params)
    });
    let tags = text(Field::ContentLanguage).unwrap_or_default();
    let mut tags = tags.split(',').map(str::trim).filter(|t| !t.is_empty());
    part.language = tags.by_ref().take(limits::LANGUAGES).map(str::to_owned).collect();
    tags.next().is_some()
}

/// The envelope without its addresses; `text` gives a field's value, unfolded.
pub(crate) fn envelope_texts(text: impl Fn(Field) -> Option<String>) -> Envelope {
    let references = text(Field::References).unwrap_or_default();
    Envelope {
        date: text(Field::Date),
        subject: text(Field::Subject),
        in_reply_to: text(Field::InReplyTo),
        message_id: text(Field::MessageId),
        references: message_ids(&references, limits::REFERENCES),
        ..Envelope::default()
    }
}

/// Ids between `<` and `>`; without any bracket, the words. Of too many, the first and the last ones are kept.
pub(crate) fn message_ids(text: &str, most: usize) -> Vec<String> {
    let tidy = |id: &str| {
        if id.bytes().all(|b| b.is_ascii_graphic()) {
            return id.to_owned();
        }
        id.chars().filter(|c| !c.is_whitespace()).collect::<String>()
    };
    let (mut first, mut last) = (None, VecDeque::new());
    let mut keep = |id: String| {
        if id.is_empty() {
            return;
        }
        if first.is_none() {
            first = Some(id);
            return;
        }
        last.push_back(id);
        if last.len() >= most {
            last.pop_front();
        }
    };
    if text.contains('<') {
        let pieces = text.split('<').skip(1);
        pieces.filter_map(|piece| piece.split_once('>')).for_each(|(id, _)| keep(tidy(id)));
    } else {
        text.split_whitespace().filter(|word| word.contains('@')).for_each(|id| keep(tidy(id)));
    }
    first.into_iter().chain(last).collect()
}

/// The beginning of what a reader sees.
pub(crate) fn preview(index: &Index, raw: &[u8]) -> String {
    let plain = index.text_part().map(|number| preview_of(index, raw, number));
    if let Some(text) = plain.filter(|text| !text.is_empty()) {
        return text;
    }
    index.html_part().map(|number| preview_of(index, raw, number)).unwrap_or_default()
}

fn preview_of(index: &Index, raw: &[u8], number: usize) -> String {
    let Some(part) = index.parts.get(number) else {
        return String::new();
    };
    let body = slice(raw, part.body.clone());
    let body = body.get(..body.len().min(limits::PREVIEW_BYTES)).unwrap_or_default();
    let beginning = |content: &[u8]| {
        let text = charset::decoded(content, part.param("charset"));
        if part.subtype == "html" {
            html::beginning_of_html(&text, limits::PREVIEW_CHARS)
        } else {
            html::beginning_of_text(&text, limits::PREVIEW_CHARS)
        }
    };
    if let Some(content) = first_content(part, body)
        && let (text, true) = beginning(&content)
    {
        return text;
    }
    let content = part.encoding.undo(body);
    beginning(content.as_deref().unwrap_or(body)).0
}

/// Enough for the preview of most letters, plain text and HTML.
const FIRST_BYTES: (usize, usize) = (1024, 4096);

/// The first bytes of a long body, decoded, if what follows cannot change how they read.
fn first_content<'a>(part: &Part, body: &'a [u8]) -> Option<Cow<'a, [u8]>> {
    let length = if part.subtype == "html" { FIRST_BYTES.1 } else { FIRST_BYTES.0 };
    let first = body.get(..length).filter(|_| body.len() > length)?;
    let content = match part.encoding {
        Encoding::SevenBit | Encoding::EightBit | Encoding::Binary => Cow::Borrowed(first),
        Encoding::Base64 => Cow::Owned(part.encoding.undo(first)?),
        // Each line for itself.
        Encoding::QuotedPrintable => {
            let lines = first.get(..=memchr::memrchr(b'\n', first)?)?;
            Cow::Owned(part.encoding.undo(lines)?)
        }
        Encoding::UuEncode | Encoding::Other(_) => return None,
    };
    let whole = content.iter().rposition(u8::is_ascii)? + 1;
    let content = match content {
        Cow::Borrowed(content) => Cow::Borrowed(content.get(..whole)?),
        Cow::Owned(mut content) => {
            content.truncate(whole);
            Cow::Owned(content)
        }
    };
    charset::is_final(&content, part.param("charset")).then_some(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode_base64;

    /// Of too many ids the first and the last ones stay, in order.
    #[test]
    fn ids_beyond_the_limit() {
        let check = |text: &str, most, expect: &str| {
            assert_eq!(message_ids(text, most).join(" "), expect, "{text:?} {most}");
        };
        check("<a> <b> <c> <d>", 4, "a b c d");
        check("<a> <b> <c> <d>", 3, "a c d");
        check("<a> <> <b> <c> <d>", 2, "a d");
        check("<a> <b>", 1, "a");
        check("a@b c d@e f@g", 2, "a@b f@g");
        check("", 3, "");
    }

    /// The preview from the first bytes of a long body is that from all of it.
    #[test]
    fn previews_from_the_beginning() {
        let bodies: [Vec<u8>; 7] = [
            b"Dzien dobry, Alu!\r\n".repeat(500),
            "Zażółć gęślą jaźń, ".repeat(500).into_bytes(),
            [b"plain ".repeat(900), b"then \xb1\xe6".to_vec()].concat(),
            [b"plain ".repeat(900), "then ą".as_bytes().to_vec()].concat(),
            b"za\xbf\xf3\xb3\xe6 ".repeat(900),
            [&b"\xff\xfea\0b\0"[..], &b"c\0 \0".repeat(2000)].concat(),
            [&b"<style>p{}</style>a&amp;<b>\xb1</b>"[..], &b"<p>&#324; x</p>\n".repeat(600)]
                .concat(),
        ];
        let types = ["plain", "html", "plain; charset=utf-8", "html; charset=iso-8859-2"];
        let more = ["plain; charset=utf-16", "plain; charset=us-ascii", "plain; charset=gb2312"];
        for body in &bodies {
            for content_type in types.iter().chain(&more).chain(&["plain; charset=utf-7"]) {
                for encoding in ["8bit", "quoted-printable", "base64"] {
                    let head = format!(
                        "Content-Type: text/{content_type}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
                    );
                    let sent = match encoding {
                        "base64" => encode_base64(body).into_bytes(),
                        _ => body.clone(),
                    };
                    let raw = [head.as_bytes(), &sent].concat();
                    let index = Index::of(&raw);
                    let read = sent.get(..sent.len().min(limits::PREVIEW_BYTES)).unwrap();
                    let content = index.parts[0].encoding.undo(read);
                    let content = content.as_deref().unwrap_or(read);
                    let text = charset::decoded(content, index.parts[0].param("charset"));
                    let expect = match content_type.split(';').next() {
                        Some("html") => html::html_to_text(&text, limits::PREVIEW_CHARS),
                        _ => html::beginning_of_text(&text, limits::PREVIEW_CHARS).0,
                    };
                    assert_eq!(index.preview, expect, "{content_type} {encoding}");
                }
            }
        }
    }
}
