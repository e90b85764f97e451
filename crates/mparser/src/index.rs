//! The owned result of a parse: a flat table of parts, the envelope, a preview. Stored beside the letter.

use crate::IndexError;
use crate::{Defect, Encoding, Mailbox, NamedAddress, codec, decode_header_text, parse_date, scan};
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
    pub envelope: Envelope,
    /// Text of the first text part, at most 256 characters, without HTML, one line.
    pub preview: String,
    pub defects: Vec<Defect>,
}

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
    pub kind: PartKind,
    /// With the empty line that ends it.
    pub header: Range<u32>,
    pub body: Range<u32>,
    /// Lines of the body; a last line without an end counts.
    pub lines: u32,
    /// Lower case, as is `subtype`. An opaque multipart or message counts as `application/octet-stream`,
    /// a multipart without parts as `text/plain`, so that the type always fits `kind`.
    pub media_type: String,
    pub subtype: String,
    /// Parameters of Content-Type; names in lower case, values decoded (RFC 2231, RFC 2047).
    pub params: Vec<(String, String)>,
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
    pub date: Option<String>,
    pub subject: Option<String>,
    pub from: Vec<Mailbox>,
    pub sender: Vec<Mailbox>,
    pub reply_to: Vec<Mailbox>,
    pub to: Vec<Mailbox>,
    pub cc: Vec<Mailbox>,
    pub bcc: Vec<Mailbox>,
    pub in_reply_to: Option<String>,
    pub message_id: Option<String>,
    /// Without `<>`.
    pub references: Vec<String>,
}

impl Index {
    /// Parses any bytes as a letter.
    pub fn of(raw: &[u8]) -> Self {
        scan::scan(raw)
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
        let _ = prefix;
        false
    }

    /// The part an IMAP section number names (RFC 9051 §6.4.5): `[1, 2]` for `1.2`; `[]` is the letter.
    pub fn section(&self, numbers: &[u32]) -> Option<usize> {
        let _ = numbers;
        None
    }

    /// The parts directly inside a multipart or message, in order.
    pub fn children(&self, part: usize) -> impl Iterator<Item = usize> + '_ {
        let parent = u32::try_from(part).ok();
        self.parts
            .iter()
            .enumerate()
            .skip(part.saturating_add(1))
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

    pub fn from_(&self) -> Vec<NamedAddress> {
        NamedAddress::list(&self.envelope.from)
    }

    pub fn sender_(&self) -> Vec<NamedAddress> {
        NamedAddress::list(&self.envelope.sender)
    }

    pub fn reply_to_(&self) -> Vec<NamedAddress> {
        NamedAddress::list(&self.envelope.reply_to)
    }

    pub fn to_(&self) -> Vec<NamedAddress> {
        NamedAddress::list(&self.envelope.to)
    }

    pub fn cc_(&self) -> Vec<NamedAddress> {
        NamedAddress::list(&self.envelope.cc)
    }

    pub fn bcc_(&self) -> Vec<NamedAddress> {
        NamedAddress::list(&self.envelope.bcc)
    }

    /// The letter's own id, without `<>`.
    pub fn message_id(&self) -> Option<String> {
        None
    }

    /// Ids in In-Reply-To, without `<>`.
    pub fn in_reply_to(&self) -> Vec<String> {
        Vec::new()
    }

    /// Own Message-ID, In-Reply-To, References, each once, without `<>`: letters that share one are a thread.
    pub fn thread_ids(&self) -> Vec<String> {
        Vec::new()
    }

    /// Leaves and letters that a reader would save: not the text shown, not images shown inside it.
    pub fn attachments(&self) -> Vec<usize> {
        Vec::new()
    }

    /// The file name of a part, decoded, without folders.
    pub fn filename(&self, part: usize) -> Option<String> {
        let _ = part;
        None
    }

    /// The first inline `text/plain` part.
    pub fn text_part(&self) -> Option<usize> {
        None
    }

    /// The first inline `text/html` part.
    pub fn html_part(&self) -> Option<usize> {
        None
    }
}

impl Part {
    /// The first parameter of Content-Type of this name (lower case).
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }

    /// Bytes of the body as it stands in the letter.
    pub fn body_bytes(&self) -> u32 {
        self.body.end.saturating_sub(self.body.start)
    }
}
