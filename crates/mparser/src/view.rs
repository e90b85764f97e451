//! A letter read lazily: one pass finds its parts, each value is decoded when it is asked for.

mod more;

pub use more::Outline;

use crate::charset::header_bytes;
use crate::decode::Encoding;
use crate::headers::{Field, unfold};
use crate::index::message_ids;
use crate::media::Known;
use crate::message::slice;
use crate::scan::{self, NO_PARENT, Record, Scan, Shape, default_type, head, split_type};
use crate::{
    NamedAddress, PartKind, address, decode_charset, decode_header_text, limits, params,
    parse_date, quick, simd,
};
use std::borrow::Cow;
use types::Date;

/// A letter over its bytes. What it tells is what [`crate::Index`] tells, without keeping it: for programs that want a few
/// values of a letter once. Building one reads every byte once and decodes none.
///
/// ```
/// let raw = b"From: Ala <ala@example.test>\nSubject: =?utf-8?Q?Cze=C5=9B=C4=87?=\n\nDzien dobry\n";
/// let letter = mparser::View::parse(raw);
/// assert_eq!(letter.subject(), "Cześć");
/// assert_eq!(letter.from()[0].address, "ala@example.test");
/// let text: Vec<_> = letter.parts().map(|part| part.text()).collect();
/// assert_eq!(text, ["Dzien dobry\n"]);
/// ```
#[derive(Debug, Clone)]
pub struct View<'a> {
    raw: &'a [u8],
    scan: Cow<'a, Scan>,
}

impl<'a> View<'a> {
    /// Reads any bytes as a letter, in linear time, without recursion.
    pub fn parse(raw: &'a [u8]) -> Self {
        Self { raw, scan: Cow::Owned(scan::scan(raw)) }
    }

    /// Reads the tree of parts, and of the bodies only what may change it: a letter of one part is done after its header.
    /// Tells all that [`View::parse`] does but numbers of lines, which are 0.
    ///
    /// ```
    /// let raw = b"Content-Type: multipart/mixed; boundary=x\n\n--x\n\nDzien dobry\n--x--\n";
    /// let tree = mparser::View::parse_tree(raw);
    /// assert_eq!(tree.parts().len(), 2);
    /// assert_eq!(tree.part(1).unwrap().body(), b"Dzien dobry");
    /// ```
    pub fn parse_tree(raw: &'a [u8]) -> Self {
        Self { raw, scan: Cow::Owned(scan::scan_tree(raw)) }
    }

    /// Reads the letter's own header and not one byte behind it; the letter then seems to have one part.
    pub fn parse_header(raw: &'a [u8]) -> Self {
        Self { raw, scan: Cow::Owned(scan::scan_header(raw)) }
    }

    /// The bytes it was made from.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Lines of the letter; a last line without an end counts.
    pub fn lines(&self) -> u32 {
        self.scan.lines
    }

    /// The letter itself and its parts, in order; a part stands after the one it lies in.
    pub fn parts(&self) -> impl ExactSizeIterator<Item = PartView<'_, 'a>> {
        self.scan.records.iter().map(|record| PartView { view: self, record })
    }

    /// The part of this number; 0 is the letter.
    pub fn part(&self, number: usize) -> Option<PartView<'_, 'a>> {
        self.scan.records.get(number).map(|record| PartView { view: self, record })
    }

    /// The subject, decoded; empty when there is none.
    pub fn subject(&self) -> Cow<'a, str> {
        let Some(raw) = self.value(Field::Subject) else {
            return Cow::Borrowed("");
        };
        match quick::text(raw) {
            Some(text) => Cow::Borrowed(text),
            None => Cow::Owned(decode_header_text(self.text(raw).as_bytes())),
        }
    }

    /// The addresses in From, decoded, groups as their members.
    pub fn from(&self) -> Vec<NamedAddress> {
        self.addresses(Field::From)
    }

    /// The addresses in To, decoded, groups as their members.
    pub fn to(&self) -> Vec<NamedAddress> {
        self.addresses(Field::To)
    }

    /// The addresses in Cc, decoded, groups as their members.
    pub fn cc(&self) -> Vec<NamedAddress> {
        self.addresses(Field::Cc)
    }

    /// The date in the letter's header, if it can be read.
    pub fn date(&self) -> Option<Date> {
        let raw = self.value(Field::Date)?;
        match quick::text(raw) {
            Some(text) => quick::date(text).or_else(|| parse_date(text.as_bytes())),
            None => parse_date(self.text(raw).as_bytes()),
        }
    }

    /// The letter's own id, without `<>`.
    pub fn message_id(&self) -> Option<Cow<'a, str>> {
        let raw = self.value(Field::MessageId)?;
        if let Some(id) = quick::text(raw).and_then(simple_id) {
            return Some(Cow::Borrowed(id));
        }
        message_ids(&self.text(raw), 1).pop().map(Cow::Owned)
    }

    fn value(&self, field: Field) -> Option<&'a [u8]> {
        self.scan.value(self.raw, self.scan.records.first()?, field)
    }

    /// A value on one line, as UTF-8.
    fn text(&self, raw: &[u8]) -> String {
        let line = unfold(raw);
        let charset = if line.is_ascii() { None } else { self.charset() };
        header_bytes(&line, charset.as_deref())
    }

    fn addresses(&self, field: Field) -> Vec<NamedAddress> {
        let Some(raw) = self.value(field) else {
            return Vec::new();
        };
        if let Some(list) = quick::mailboxes(raw) {
            return list;
        }
        let charset = if raw.is_ascii() { None } else { self.charset() };
        let mut left = limits::addresses(self.raw.len());
        let (list, _) = address::parse_list(raw, charset.as_deref(), &mut left);
        NamedAddress::list(&list)
    }

    /// Of the first text part that names one: what bytes of headers are in that are not UTF-8.
    fn charset(&self) -> Option<Cow<'a, str>> {
        self.parts().find_map(|part| part.charset().filter(|_| part.record.is_text))
    }
}

/// `<id>` and nothing else.
fn simple_id(text: &str) -> Option<&str> {
    let id = text.strip_prefix('<')?.strip_suffix('>')?;
    // It is printable, as all simple text.
    (memchr::memchr3(b'<', b'>', b' ', id.as_bytes()).is_none() && !id.is_empty()).then_some(id)
}

/// A part of a [`View`].
#[derive(Debug, Clone, Copy)]
pub struct PartView<'v, 'a> {
    view: &'v View<'a>,
    record: &'v Record,
}

impl<'a> PartView<'_, 'a> {
    /// Number of the multipart or letter it lies in.
    pub fn parent(&self) -> Option<u32> {
        Some(self.record.parent).filter(|parent| *parent != NO_PARENT)
    }

    /// Leaf, multipart or letter.
    pub fn kind(&self) -> PartKind {
        match self.record.shape {
            Shape::Multipart => PartKind::Multipart,
            Shape::Message => PartKind::Message,
            Shape::Leaf | Shape::Opaque | Shape::Text => PartKind::Leaf,
        }
    }

    /// Type and subtype, lower case, as [`crate::Part`] has them.
    pub fn media_type(&self) -> (Cow<'a, str>, Cow<'a, str>) {
        match self.record.shape {
            Shape::Opaque => (Cow::Borrowed("application"), Cow::Borrowed("octet-stream")),
            Shape::Text => (Cow::Borrowed("text"), Cow::Borrowed("plain")),
            Shape::Leaf | Shape::Multipart | Shape::Message => self.declared_type(),
        }
    }

    /// Whether its content is text.
    pub fn is_text(&self) -> bool {
        match self.record.shape {
            Shape::Text => true,
            Shape::Opaque => false,
            Shape::Leaf | Shape::Multipart | Shape::Message => self.record.is_text,
        }
    }

    /// Type and subtype in one, lower case, when it is one of those that nearly all parts have; and its number, less
    /// than [`crate::KNOWN_TYPES`], for who keeps something for each.
    pub fn known_type(&self) -> Option<(usize, &'static str)> {
        match self.record.shape {
            Shape::Opaque => Known::OCTETS,
            Shape::Text => Known::PLAIN,
            Shape::Leaf | Shape::Multipart | Shape::Message => self.record.known,
        }
        .numbered()
    }

    fn declared_type(&self) -> (Cow<'a, str>, Cow<'a, str>) {
        if let Some((media_type, subtype)) = self.record.known.pair() {
            return (Cow::Borrowed(media_type), Cow::Borrowed(subtype));
        }
        let default = default_type(self.record.in_digest);
        let raw = self.value(Field::ContentType);
        if let Some((media_type, subtype)) = raw.and_then(quick::media_type) {
            return (lower(media_type), lower(subtype));
        }
        let both = match raw.map(head) {
            None => None,
            Some(Cow::Borrowed(head)) => split_type(head).map(|(t, s)| (lower(t), lower(s))),
            Some(Cow::Owned(head)) => {
                split_type(&head).map(|(t, s)| (Cow::Owned(t.to_owned()), Cow::Owned(s.to_owned())))
            }
        };
        both.unwrap_or((Cow::Borrowed(default.0), Cow::Borrowed(default.1)))
    }

    /// Content-Transfer-Encoding.
    pub fn encoding(&self) -> Encoding {
        self.value(Field::ContentTransferEncoding).map(scan::encoding).unwrap_or_default()
    }

    /// Lines of the body; a last line without an end counts.
    pub fn lines(&self) -> u32 {
        self.record.lines
    }

    /// The body as it stands in the letter.
    pub fn body(&self) -> &'a [u8] {
        slice(self.view.raw, self.record.body.0..self.record.body.1)
    }

    /// The header as it stands in the letter, with the empty line that ends it.
    pub fn header(&self) -> &'a [u8] {
        slice(self.view.raw, self.record.header.0..self.record.header.1)
    }

    /// The content: the body with the transfer encoding undone. Multiparts and letters have none to undo.
    pub fn bytes(&self) -> Cow<'a, [u8]> {
        let body = self.body();
        if self.kind() != PartKind::Leaf {
            return Cow::Borrowed(body);
        }
        self.encoding().undo(body).map_or(Cow::Borrowed(body), Cow::Owned)
    }

    /// The content, decoded into `buffer` when it must be: for many parts one after the other without new memory.
    pub fn bytes_in<'b>(&self, buffer: &'b mut Vec<u8>) -> &'b [u8]
    where
        'a: 'b,
    {
        let body = self.body();
        if self.kind() == PartKind::Leaf && self.encoding().undo_into(body, buffer) {
            buffer
        } else {
            body
        }
    }

    /// The content as UTF-8, read in the charset it names. Line ends stay as they are.
    pub fn text(&self) -> Cow<'a, str> {
        let charset = self.charset();
        let label = charset.as_deref();
        match self.bytes() {
            Cow::Borrowed(bytes) => as_text(bytes, label),
            Cow::Owned(bytes) if is_utf8_as_it_stands(&bytes, label) => {
                Cow::Owned(simd::utf8(bytes).unwrap_or_else(|bytes| decode_charset(&bytes, label)))
            }
            Cow::Owned(bytes) => Cow::Owned(decode_charset(&bytes, label)),
        }
    }

    /// The same, with `buffer` for what must be decoded.
    pub fn text_in<'b>(&self, buffer: &'b mut Vec<u8>) -> Cow<'b, str>
    where
        'a: 'b,
    {
        let charset = self.charset();
        as_text(self.bytes_in(buffer), charset.as_deref())
    }

    /// The charset that Content-Type names.
    pub fn charset(&self) -> Option<Cow<'a, str>> {
        let raw = self.value(Field::ContentType)?;
        match self.record.known.param(raw, b"charset") {
            Some(value) => value.and_then(simd::printable).map(Cow::Borrowed),
            None => param(&params::parse_value(raw, None).params, "charset").map(Cow::Owned),
        }
    }

    /// The file name, decoded, without folders: from Content-Disposition, else from Content-Type.
    pub fn filename(&self) -> Option<String> {
        let given = self.name(Field::ContentDisposition, "filename");
        let name = given.or_else(|| self.name(Field::ContentType, "name"))?;
        crate::index::clean_filename(&name)
    }

    fn name(&self, field: Field, name: &str) -> Option<Cow<'a, str>> {
        let range = self.view.scan.range(self.record, field)?;
        // `name`, `filename`, `name*`, `filename*0*`: most types have none of them.
        let place = range.start as usize..range.end as usize;
        if !quick::may_have_name(self.view.raw, place) {
            return None;
        }
        let raw = slice(self.view.raw, range);
        let known = if field == Field::ContentType { self.record.known } else { Known::default() };
        if let Some(value) = known.param(raw, name.as_bytes()) {
            return value.and_then(simd::printable).map(Cow::Borrowed);
        }
        let charset = if raw.is_ascii() { None } else { self.view.charset() };
        let value = params::parse_value(raw, charset.as_deref());
        param(&value.params, name).map(Cow::Owned)
    }

    fn value(&self, field: Field) -> Option<&'a [u8]> {
        self.view.scan.value(self.view.raw, self.record, field)
    }
}

fn param(params: &[(String, String)], name: &str) -> Option<String> {
    params.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone())
}

fn lower(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    }
}

fn as_text<'b>(bytes: &'b [u8], label: Option<&str>) -> Cow<'b, str> {
    let text = Some(bytes).filter(|bytes| is_utf8_as_it_stands(bytes, label));
    match text.and_then(|bytes| simdutf8::basic::from_utf8(bytes).ok()) {
        Some(text) => Cow::Borrowed(text),
        None => Cow::Owned(decode_charset(bytes, label)),
    }
}

/// Whether bytes of this charset are their own UTF-8, if they are UTF-8 at all.
fn is_utf8_as_it_stands(bytes: &[u8], label: Option<&str>) -> bool {
    let Some(label) = label else {
        return true;
    };
    if ["us-ascii", "utf-8"].iter().any(|l| l.eq_ignore_ascii_case(label)) {
        return !bytes.starts_with(b"\xef\xbb\xbf");
    }
    let begins = |prefix: &str| {
        label.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    (begins("iso-8859-") || begins("windows-125")) && bytes.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Message;

    /// A view tells what the index tells.
    #[test]
    fn as_the_index() {
        let letters: &[&[u8]] = &[
            b"",
            b"Subject: a\tb\n c\n\nx",
            b"From: \"A, B\" <a@example.test>, c@example.test\nMessage-ID:\n <a@b> (c)\nDate: 1 Jun 2026 10:00 (x) +0200\n\n",
            b"From: A B <a.b@example.test>\nDate: Mon, 01 Jun 2026 10:00:00 +0200\nMessage-Id: <a@b>\n\n",
            b"From: a@example.test (A)\nMessage-Id: a@b\n\n",
            b"From: <a@example.test>\n\n",
            b"From: root\n\n",
            b"From: A.B <a@example.test>\n\n",
            b"From: A  B <a@example.test> x\n\n",
            b"From: \xb1 <a@example.test>\nSubject: \xb1\nContent-Type: text/plain; charset=iso-8859-2\n\n\xb1",
            b"From: =?utf-8?Q?=C4=85?= <a@example.test>\nSubject: =?utf-8?Q?=C4=85?=\n\n",
            b"Content-Type: TEXT/Html; charset=utf-8\nContent-Transfer-Encoding: base64\n\n77u/xIU=\n",
            b"Content-Type: text/plain; charset=us-ascii\n\n\xef\xbb\xbfx\xff",
            b"Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: a/b; name=a.txt\nContent-Disposition: x; filename=\"c/b c.txt\"\n\nx\n--x\nContent-Type: text/plain (c); name*=utf-8''%C4%85\nContent-Transfer-Encoding: QUOTED-printable\n\n=C4=85\n--x\nContent-Type: message/rfc822\n\nSubject: in\n\ny\n--x--\n",
            b"Content-Type: multipart/digest; boundary=x\n\n--x\n\nSubject: in\n\ny\n--x\nContent-Type: bad\n\nz",
            b"Content-Type: multipart/mixed; boundary=x\n\nnever",
            b"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nQQ==",
        ];
        for raw in letters {
            let (letter, view) = (Message::parse(raw), View::parse(raw));
            let (index, header) = (letter.index(), View::parse_header(raw));
            let shown = raw.escape_ascii();
            let tree = View::parse_tree(raw);
            for view in [&view, &header, &tree] {
                assert_eq!(view.subject(), index.subject(), "{shown}");
                assert_eq!(view.from(), index.from_(), "{shown}");
                assert_eq!(view.date(), index.date(), "{shown}");
                assert_eq!(view.message_id().as_deref(), index.message_id().as_deref(), "{shown}");
            }
            assert_eq!(view.lines(), index.lines);
            assert_eq!(view.parts().len(), index.parts.len(), "{shown}");
            for (number, (part, expect)) in view.parts().zip(&index.parts).enumerate() {
                assert_eq!(part.kind(), expect.kind, "{shown}");
                let (media_type, subtype) = part.media_type();
                assert_eq!((&*media_type, &*subtype), (&*expect.media_type, &*expect.subtype));
                assert_eq!(part.is_text(), expect.media_type == "text", "{shown}");
                let both = format!("{media_type}/{subtype}");
                assert!(part.known_type().is_none_or(|(_, known)| known == both), "{shown}");
                assert_eq!(part.encoding(), expect.encoding);
                let in_tree = tree.part(number).unwrap();
                assert_eq!((in_tree.spans(), in_tree.lines()), (part.spans(), 0), "{shown}");
                assert_eq!((part.parent(), part.lines()), (expect.parent, expect.lines));
                assert_eq!(part.filename(), expect.filename(), "{shown}");
                assert_eq!(part.body(), letter.body(number));
                assert_eq!(part.bytes(), letter.bytes(number));
                assert_eq!(part.text(), letter.text(number), "{shown}");
                assert_eq!(part.bytes_in(&mut b"old".to_vec()), &*letter.bytes(number));
                assert_eq!(part.text_in(&mut b"old".to_vec()), letter.text(number), "{shown}");
            }
        }
    }
}
