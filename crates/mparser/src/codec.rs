//! The stored form of an [`Index`].
//!
//! ```text
//! index   = version length checksum body      ; 1, 4 and 4 bytes, little endian
//! number  = 7 bits a byte, the lowest first, the top bit set but in the last byte
//! string  = number (even: length / 2 in bytes, then the bytes; odd: a place in the table of words)
//! list    = number *item
//! option  = 0 / 1 item
//! ```
//! Version 2 is version 1 with the list of files inside parts at its end; a letter without them is stored as version 1.
//!
//! Offsets are stored as distances, so that an ordinary letter takes a few hundred bytes. Reading believes
//! nothing: every length is held against what is left before memory is taken for it.

use crate::{
    Defect, DefectKind, Encoding, Envelope, FileInside, Index, Mailbox, MailboxKind, Part,
    PartKind, Wrapping, limits,
};
use std::ops::Range;

/// Without files inside parts.
const VERSION: u8 = 1;
/// The same, with them.
const VERSION_WITH_FILES: u8 = 2;
const HEAD_BYTES: usize = 9;

/// Why bytes are no index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexError {
    /// Written by a later version: parse the letter again.
    Version,
    /// Cut off, changed, or never an index.
    Damaged,
}

impl IndexError {
    /// Who must act.
    pub fn class(self) -> types::ErrorClass {
        types::ErrorClass::Corrupt
    }
}

impl std::fmt::Display for IndexError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Version => "the index of the letter was written by another version",
            Self::Damaged => "the index of the letter is damaged",
        })
    }
}

impl std::error::Error for IndexError {}

/// Words that nearly every letter has. Only ever add at the end: their places are stored.
const WORDS: &[&str] = &[
    "",
    "text",
    "plain",
    "html",
    "multipart",
    "mixed",
    "alternative",
    "related",
    "signed",
    "report",
    "digest",
    "application",
    "octet-stream",
    "pdf",
    "image",
    "png",
    "jpeg",
    "gif",
    "message",
    "rfc822",
    "delivery-status",
    "charset",
    "utf-8",
    "UTF-8",
    "us-ascii",
    "US-ASCII",
    "iso-8859-1",
    "iso-8859-2",
    "ISO-8859-1",
    "ISO-8859-2",
    "windows-1250",
    "boundary",
    "name",
    "filename",
    "format",
    "flowed",
    "delsp",
    "yes",
    "type",
    "text/html",
    "attachment",
    "inline",
    "size",
    "protocol",
    "micalg",
    "pgp-sha256",
    "application/pgp-signature",
    "pgp-signature",
    "audio",
    "video",
    "zip",
    "msword",
    "calendar",
    "method",
    "csv",
    "xml",
    "7bit",
    "8bit",
    "base64",
    "quoted-printable",
];

/// Places in [`WORDS`] of the words of each length, [`NO_PLACE`] behind the last.
static PLACES: [[u8; MOST_OF_A_LENGTH]; LONGEST_WORD + 1] = places();
const LONGEST_WORD: usize = 25;
const MOST_OF_A_LENGTH: usize = 12;
const NO_PLACE: u8 = u8::MAX;

#[expect(
    clippy::indexing_slicing,
    reason = "done by the compiler: what does not fit does not compile"
)]
#[expect(clippy::cast_possible_truncation, reason = "there are fewer than 255 words")]
const fn places() -> [[u8; MOST_OF_A_LENGTH]; LONGEST_WORD + 1] {
    let mut places = [[NO_PLACE; MOST_OF_A_LENGTH]; LONGEST_WORD + 1];
    let mut counts = [0; LONGEST_WORD + 1];
    let mut at = 0;
    while at < WORDS.len() {
        let length = WORDS[at].len();
        places[length][counts[length]] = at as u8;
        counts[length] += 1;
        at += 1;
    }
    places
}

/// Where a word stands in [`WORDS`]. A letter has some twenty short strings, so it matters how they are found.
fn place_of(text: &str) -> Option<usize> {
    let places = PLACES.get(text.len())?.iter().map(|place| usize::from(*place));
    places.take_while(|place| *place < WORDS.len()).find(|place| WORDS.get(*place) == Some(&text))
}

pub(crate) fn encode(index: &Index) -> Vec<u8> {
    let mut out = Writer(Vec::with_capacity(512));
    out.0.resize(HEAD_BYTES, 0);
    out.number(index.size);
    out.number(index.lines);
    out.number(index.header_fields);
    out.number(u32::from(index.begins_with_field));
    out.list(&index.parts, Writer::part);
    out.envelope(&index.envelope);
    out.string(&index.preview);
    out.list(&index.defects, |out, defect| {
        out.0.push(defect.kind.number());
        out.number(defect.offset);
    });
    if !index.files.is_empty() {
        out.list(&index.files, Writer::file);
    }
    let version = if index.files.is_empty() { VERSION } else { VERSION_WITH_FILES };
    let mut bytes = out.0;
    if let Some((head, body)) = bytes.split_at_mut_checked(HEAD_BYTES) {
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
        let checksum = checksum(body).to_le_bytes();
        let fields = [version].into_iter().chain(length).chain(checksum);
        head.iter_mut().zip(fields).for_each(|(slot, byte)| *slot = byte);
    }
    bytes
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Index, IndexError> {
    let mut reader = Reader { rest: body_of(bytes)?, keep: true };
    let with_files = bytes.first() == Some(&VERSION_WITH_FILES);
    reader.index(with_files).filter(|_| reader.rest.is_empty()).ok_or(IndexError::Damaged)
}

impl Index {
    /// What of [`Index::decode`] tells where text stands in the letter and how it is written: size and lines, and of
    /// the parts their places, types, parameters and encodings. All else is left empty, and costs nothing.
    pub fn decode_places(bytes: &[u8]) -> Result<Self, IndexError> {
        let mut reader = Reader { rest: body_of(bytes)?, keep: false };
        reader.beginning().ok_or(IndexError::Damaged)
    }

    /// What of [`Index::decode`] tells of the header: the letter's own envelope, and the defects. The parts and the
    /// preview are left empty.
    pub fn decode_header(bytes: &[u8]) -> Result<Self, IndexError> {
        let mut reader = Reader { rest: body_of(bytes)?, keep: false };
        let with_files = bytes.first() == Some(&VERSION_WITH_FILES);
        reader.header(with_files).filter(|_| reader.rest.is_empty()).ok_or(IndexError::Damaged)
    }
}

/// What stands behind the head, if it is what was written.
fn body_of(bytes: &[u8]) -> Result<&[u8], IndexError> {
    match bytes.first() {
        None => return Err(IndexError::Damaged),
        Some(version) if !matches!(*version, VERSION | VERSION_WITH_FILES) => {
            return Err(IndexError::Version);
        }
        Some(_) => {}
    }
    let (head, body) = bytes.split_at_checked(HEAD_BYTES).ok_or(IndexError::Damaged)?;
    let word =
        |at: usize| head.get(at..at + 4).and_then(|w| w.try_into().ok()).map(u32::from_le_bytes);
    if word(1).map(|length| length as usize) != Some(body.len()) || word(5) != Some(checksum(body))
    {
        return Err(IndexError::Damaged);
    }
    Ok(body)
}

/// FNV-1a: finds bytes that were cut or changed by accident, not on purpose.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, number: u32) {
        let mut rest = number;
        while rest >= 0x80 {
            self.0.push(rest.to_le_bytes()[0] | 0x80);
            rest >>= 7;
        }
        self.0.push(rest.to_le_bytes()[0]);
    }

    fn length(&mut self, length: usize) {
        self.number(u32::try_from(length).unwrap_or(u32::MAX));
    }

    fn string(&mut self, text: &str) {
        if let Some(place) = place_of(text) {
            return self.length(place * 2 + 1);
        }
        // 2 GiB of text cannot come out of a letter of 4 GiB and its limits; if it did, it would be cut here.
        let text = text.get(..text.len().min(u32::MAX as usize / 4)).unwrap_or_default();
        self.length(text.len() * 2);
        self.0.extend_from_slice(text.as_bytes());
    }

    fn list<T>(&mut self, items: &[T], write: impl Fn(&mut Self, &T)) {
        self.length(items.len());
        for item in items {
            write(self, item);
        }
    }

    fn option<T>(&mut self, item: Option<&T>, write: impl Fn(&mut Self, &T)) {
        self.0.push(u8::from(item.is_some()));
        if let Some(item) = item {
            write(self, item);
        }
    }

    fn text(&mut self, text: Option<&String>) {
        self.option(text, |out, text| out.string(text));
    }

    fn params(&mut self, params: &[(String, String)]) {
        self.list(params, |out, (name, value)| {
            out.string(name);
            out.string(value);
        });
    }

    fn part(&mut self, part: &Part) {
        self.number(part.parent.map_or(0, |parent| parent + 1));
        self.0.push(match part.kind {
            PartKind::Leaf => 0,
            PartKind::Multipart => 1,
            PartKind::Message => 2,
        });
        self.number(part.header.start);
        self.number(part.header.end.saturating_sub(part.header.start));
        self.number(part.body.start.saturating_sub(part.header.end));
        self.number(part.body.end.saturating_sub(part.body.start));
        self.number(part.lines);
        self.string(&part.media_type);
        self.string(&part.subtype);
        self.params(&part.params);
        self.string(part.encoding.name());
        self.text(part.id.as_ref());
        self.text(part.description.as_ref());
        self.option(part.disposition.as_ref(), |out, (kind, params)| {
            out.string(kind);
            out.params(params);
        });
        self.text(part.md5.as_ref());
        self.list(&part.language, |out, tag| out.string(tag));
        self.text(part.location.as_ref());
        self.option(part.envelope.as_ref(), |out, envelope| {
            out.envelope(envelope);
        });
    }

    fn file(&mut self, file: &FileInside) {
        self.number(file.part);
        self.0.push(match file.wrapping {
            Wrapping::Uuencode => 0,
            Wrapping::YEnc => 1,
            Wrapping::Tnef => 2,
        });
        self.string(&file.name);
        self.text(file.media_type.as_ref());
        self.number(file.size);
    }

    fn envelope(&mut self, envelope: &Envelope) {
        let Envelope {
            date,
            subject,
            from,
            sender,
            reply_to,
            to,
            cc,
            bcc,
            in_reply_to,
            message_id,
            references,
        } = envelope;
        for text in [date, subject, in_reply_to, message_id] {
            self.text(text.as_ref());
        }
        for list in [from, sender, reply_to, to, cc, bcc] {
            self.list(list, Self::mailbox);
        }
        self.list(references, |out, id| out.string(id));
    }

    fn mailbox(&mut self, mailbox: &Mailbox) {
        self.0.push(match mailbox.kind {
            MailboxKind::Address => 0,
            MailboxKind::GroupStart => 1,
            MailboxKind::GroupEnd => 2,
        });
        self.text(mailbox.name.as_ref());
        self.string(&mailbox.local);
        self.string(&mailbox.domain);
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    /// `false`: strings and lists come out empty, and no memory is taken for them.
    keep: bool,
}

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(byte)
    }

    fn number(&mut self) -> Option<u32> {
        let mut number = 0_u64;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(number).ok();
            }
        }
        None
    }

    fn string(&mut self) -> Option<String> {
        let number = self.number()? as usize;
        if number % 2 == 1 {
            let word = WORDS.get(number / 2)?;
            return Some(if self.keep { (*word).to_owned() } else { String::new() });
        }
        let (text, rest) = self.rest.split_at_checked(number / 2)?;
        self.rest = rest;
        if !self.keep {
            return Some(String::new());
        }
        String::from_utf8(text.to_vec()).ok()
    }

    /// Reads with `keep` as given.
    fn keeping<T>(&mut self, keep: bool, read: impl Fn(&mut Self) -> Option<T>) -> Option<T> {
        let before = std::mem::replace(&mut self.keep, keep);
        let item = read(self);
        self.keep = before;
        item
    }

    /// Every item takes at least a byte, so a count over what is left is a lie.
    fn list<T>(&mut self, read: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.number()? as usize;
        if count > self.rest.len() {
            return None;
        }
        if !self.keep {
            return (0..count).try_for_each(|_| read(self).map(drop)).map(|()| Vec::new());
        }
        // Exact room, where the count can be true of rows that are more than a few bytes.
        let mut items = Vec::with_capacity(count.min(self.rest.len() / 4));
        for _ in 0..count {
            items.push(read(self)?);
        }
        Some(items)
    }

    #[expect(
        clippy::option_option,
        reason = "outside: the bytes are right; inside: the value is there"
    )]
    fn option<T>(&mut self, read: impl Fn(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.byte()? {
            0 => Some(None),
            1 => read(self).map(Some),
            _ => None,
        }
    }

    #[expect(
        clippy::option_option,
        reason = "outside: the bytes are right; inside: the value is there"
    )]
    fn text(&mut self) -> Option<Option<String>> {
        self.option(Self::string)
    }

    fn params(&mut self) -> Option<Vec<(String, String)>> {
        self.list(|reader| Some((reader.string()?, reader.string()?)))
    }

    fn index(&mut self, with_files: bool) -> Option<Index> {
        let beginning = self.beginning()?;
        let envelope = self.envelope()?;
        let preview = self.string()?;
        let defects = self.defects()?;
        let files = if with_files { self.files()? } else { Vec::new() };
        let sound = files.iter().all(|file| (file.part as usize) < beginning.parts.len())
            && files.len() <= limits::EMBEDDED_FILES
            && with_files != files.is_empty();
        sound.then_some(Index { envelope, preview, defects, files, ..beginning })
    }

    fn files(&mut self) -> Option<Vec<FileInside>> {
        self.list(|reader| {
            Some(FileInside {
                part: reader.number()?,
                wrapping: match reader.byte()? {
                    0 => Wrapping::Uuencode,
                    1 => Wrapping::YEnc,
                    2 => Wrapping::Tnef,
                    _ => return None,
                },
                name: reader.string()?,
                media_type: reader.text()?,
                size: reader.number()?,
            })
        })
    }

    fn header(&mut self, with_files: bool) -> Option<Index> {
        let size = self.number()?;
        let (lines, header_fields) = (self.number()?, self.number()?);
        self.number()?;
        self.list(Self::part)?;
        let envelope = self.keeping(true, Self::envelope)?;
        self.string()?;
        let defects = self.keeping(true, Self::defects)?;
        if with_files {
            self.files()?;
        }
        Some(Index { size, lines, header_fields, envelope, defects, ..Index::default() })
    }

    fn defects(&mut self) -> Option<Vec<Defect>> {
        self.list(|reader| {
            let kind = DefectKind::from_number(reader.byte()?)?;
            Some(Defect { kind, offset: reader.number()? })
        })
    }

    /// All up to and with the parts.
    fn beginning(&mut self) -> Option<Index> {
        let size = self.number()?;
        let (lines, header_fields) = (self.number()?, self.number()?);
        let begins_with_field = match self.number()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let parts = self.parts(size)?;
        Some(Index { size, lines, header_fields, begins_with_field, parts, ..Index::default() })
    }

    /// The parts, if they are a tree whose ranges lie inside the letter.
    fn parts(&mut self, size: u32) -> Option<Vec<Part>> {
        let keep = self.keep;
        let part = |reader: &mut Self| reader.keeping(keep, Self::part);
        let parts = self.keeping(true, |reader| reader.list(part))?;
        let sound = |(number, part): (usize, &Part)| {
            let parent = match part.parent {
                None => number == 0,
                Some(parent) => (parent as usize) < number,
            };
            parent && part.body.end <= size
        };
        let count = (1..=limits::PARTS).contains(&parts.len());
        (count && parts.iter().enumerate().all(sound)).then_some(parts)
    }

    /// The range that begins at `start`; its length comes next.
    fn range(&mut self, start: u32) -> Option<Range<u32>> {
        let length = self.number()?;
        Some(start..start.checked_add(length)?)
    }

    fn part(&mut self) -> Option<Part> {
        let parent = self.number()?.checked_sub(1);
        let kind = match self.byte()? {
            0 => PartKind::Leaf,
            1 => PartKind::Multipart,
            2 => PartKind::Message,
            _ => return None,
        };
        let start = self.number()?;
        let header = self.range(start)?;
        let body_start = header.end.checked_add(self.number()?)?;
        Some(Part {
            parent,
            kind,
            header,
            body: self.range(body_start)?,
            lines: self.number()?,
            media_type: self.keeping(true, Self::string)?,
            subtype: self.keeping(true, Self::string)?,
            params: self.keeping(true, Self::params)?,
            encoding: self.encoding()?,
            id: self.text()?,
            description: self.text()?,
            disposition: self.option(|reader| Some((reader.string()?, reader.params()?)))?,
            md5: self.text()?,
            language: self.list(Self::string)?,
            location: self.text()?,
            envelope: self.option(|reader| reader.envelope().map(Box::new))?,
        })
    }

    /// Written as its name.
    fn encoding(&mut self) -> Option<Encoding> {
        let mut ahead = Reader { rest: self.rest, keep: false };
        let place = ahead.number()? as usize;
        if place % 2 == 1
            && let Some(name) = WORDS.get(place / 2)
        {
            self.rest = ahead.rest;
            return Some(Encoding::from_name(name));
        }
        self.keeping(true, Self::string).map(|name| Encoding::from_name(&name))
    }

    fn envelope(&mut self) -> Option<Envelope> {
        let (date, subject) = (self.text()?, self.text()?);
        let (in_reply_to, message_id) = (self.text()?, self.text()?);
        let mut list = || self.list(Self::mailbox);
        let (from, sender, reply_to) = (list()?, list()?, list()?);
        let (to, cc, bcc) = (list()?, list()?, list()?);
        let references = self.list(Self::string)?;
        Some(Envelope {
            date,
            subject,
            from,
            sender,
            reply_to,
            to,
            cc,
            bcc,
            in_reply_to,
            message_id,
            references,
        })
    }

    fn mailbox(&mut self) -> Option<Mailbox> {
        let kind = match self.byte()? {
            0 => MailboxKind::Address,
            1 => MailboxKind::GroupStart,
            2 => MailboxKind::GroupEnd,
            _ => return None,
        };
        Some(Mailbox { kind, name: self.text()?, local: self.string()?, domain: self.string()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LETTER: &[u8] = b"From: Ala <ala@example.test>\r\nTo: a@example.test, F: b@example.test;\r\n\
        Subject: =?utf-8?Q?=C4=85?=\r\nDate: Sun, 22 Nov 2026 18:00:00 +0100\r\nMessage-ID: <1@example.test>\r\n\
        References: <0@example.test>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n\
        --x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nDzie\xc5\x84 dobry\r\n\
        --x\r\nContent-Type: message/rfc822\r\nContent-Description: d\r\n\r\nSubject: in\r\n\r\ninner\r\n\
        --x\r\nContent-Type: application/x-odd\r\nContent-Disposition: attachment; filename=a.odd\r\n\
        Content-Transfer-Encoding: x-odd\r\nContent-Language: pl, en\r\nContent-ID: <c@example.test>\r\n\
        Content-MD5: abc\r\nContent-Location: http://example.test/\r\n\r\nodd\r\n--x--\r\n";

    #[test]
    fn words_have_their_places() {
        for (place, word) in WORDS.iter().enumerate() {
            assert_eq!(place_of(word), Some(place), "{word}");
        }
        for text in ["x", "Text", "texts", "application/pgp-signaturE", &"x".repeat(26)] {
            assert_eq!(place_of(text), None, "{text}");
        }
    }

    #[test]
    fn returns() {
        let index = Index::of(LETTER);
        assert_eq!(index.parts.len(), 5);
        let bytes = index.encode();
        assert!(bytes.len() < 700, "{} bytes", bytes.len());
        assert_eq!(Index::decode(&bytes), Ok(index));
    }

    /// What is read of a part of the bytes is what all of them say.
    #[test]
    fn a_part_of_it() {
        let index = Index::of(LETTER);
        let bytes = index.encode();
        let header = Index::decode_header(&bytes).unwrap();
        assert_eq!((&header.envelope, &header.defects), (&index.envelope, &index.defects));
        assert_eq!((header.parts.len(), header.size), (0, index.size));
        let places = Index::decode_places(&bytes).unwrap();
        let shown = |part: &Part| {
            let types = (part.media_type.clone(), part.subtype.clone(), part.params.clone());
            let ranges = (part.header.clone(), part.body.clone());
            (part.parent, part.kind, ranges, part.lines, types, part.encoding.clone())
        };
        let all = |index: &Index| index.parts.iter().map(shown).collect::<Vec<_>>();
        assert_eq!(all(&places), all(&index));
        assert!(places.parts.iter().all(|part| part.language.is_empty()));
        for end in 0..bytes.len() {
            assert!(Index::decode_places(&bytes[..end]).is_err());
            assert!(Index::decode_header(&bytes[..end]).is_err());
        }
    }

    /// A letter with files inside its text is version 2, any other version 1.
    #[test]
    fn files_inside() {
        let raw = b"Subject: s\n\nhi\nbegin 644 u.bin\n%:&5L;&\\\n`\nend\n";
        let bytes = Index::of(raw).encode();
        assert_eq!(bytes.first(), Some(&VERSION_WITH_FILES));
        let index = Index::decode(&bytes).unwrap();
        let file = index.files.first().unwrap();
        assert_eq!((file.part, &*file.name, file.size), (0, "u.bin", 5));
        assert_eq!(Index::decode_header(&bytes).unwrap().envelope, index.envelope);
        assert_eq!(Index::decode_places(&bytes).unwrap().parts.len(), 1);
        let mut as_old = bytes.clone();
        as_old[0] = VERSION;
        assert_eq!(Index::decode(&as_old), Err(IndexError::Damaged));
        let mut lost = index;
        lost.files[0].part = 1;
        assert_eq!(Index::decode(&lost.encode()), Err(IndexError::Damaged));
        lost.files.clear();
        assert_eq!(lost.encode().first(), Some(&VERSION));
    }

    #[test]
    fn hostile_bytes_are_refused() {
        let bytes = Index::of(LETTER).encode();
        assert_eq!(Index::decode(&[]), Err(IndexError::Damaged));
        assert_eq!(Index::decode(&[VERSION_WITH_FILES + 1]), Err(IndexError::Version));
        for length in 1..bytes.len() {
            assert_eq!(Index::decode(&bytes[..length]), Err(IndexError::Damaged));
        }
        for at in 1..bytes.len() {
            for change in [1, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] ^= change;
                assert_eq!(Index::decode(&changed), Err(IndexError::Damaged), "byte {at}");
            }
        }
    }

    /// With a checksum that fits, so that the reader itself must notice.
    #[test]
    fn hostile_bytes_with_a_good_checksum_never_panic() {
        let bytes = Index::of(LETTER).encode();
        for at in HEAD_BYTES..bytes.len() {
            for value in [0, 1, 2, 0x7f, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] = value;
                let sum = checksum(&changed[HEAD_BYTES..]).to_le_bytes();
                changed[5..9].copy_from_slice(&sum);
                let Ok(index) = Index::decode(&changed) else {
                    continue;
                };
                assert!(
                    index
                        .parts
                        .iter()
                        .all(|p| p.header.start <= p.header.end && p.body.end <= index.size)
                );
                assert_eq!(Index::decode(&index.encode()), Ok(index));
            }
        }
    }
}
