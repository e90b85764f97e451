//! What a [`View`] tells besides what most programs ask for; and [`Outline`]: a view to keep without its bytes.

use super::{PartView, View, param};
use crate::headers::Field;
use crate::index::message_ids;
use crate::scan::{Scan, head};
use crate::{Header, NamedAddress, PartKind, header_fields, limits, params, quick};
use std::borrow::Cow;

/// What one pass found, without the bytes: for those who keep the bytes elsewhere and cannot borrow them for long.
///
/// ```
/// let raw = b"Subject: hi\n\nx".to_vec();
/// let outline = mparser::View::parse(&raw).into_outline();
/// assert_eq!(outline.view(&raw).subject(), "hi");
/// ```
#[derive(Debug, Clone)]
pub struct Outline(Scan);

impl Outline {
    /// The letter read through these bytes. They must be those it was made from; others give odd text, never a panic.
    pub fn view<'a>(&'a self, raw: &'a [u8]) -> View<'a> {
        View { raw, scan: Cow::Borrowed(&self.0) }
    }

    /// Number of parts, the letter itself included.
    pub fn parts(&self) -> usize {
        self.0.records.len()
    }

    /// Lines of the letter; a last line without an end counts.
    pub fn lines(&self) -> u32 {
        self.0.lines
    }
}

impl<'a> View<'a> {
    /// What was found, to keep.
    pub fn into_outline(self) -> Outline {
        Outline(self.scan.into_owned())
    }

    /// The addresses in Bcc, decoded, groups as their members.
    pub fn bcc(&self) -> Vec<NamedAddress> {
        self.addresses(Field::Bcc)
    }

    /// The addresses in Reply-To, decoded, groups as their members.
    pub fn reply_to(&self) -> Vec<NamedAddress> {
        self.addresses(Field::ReplyTo)
    }

    /// The addresses in Sender, decoded, groups as their members.
    pub fn sender(&self) -> Vec<NamedAddress> {
        self.addresses(Field::Sender)
    }

    /// Whether the letter has a Subject, perhaps an empty one.
    pub fn has_subject(&self) -> bool {
        self.value(Field::Subject).is_some()
    }

    /// Ids in In-Reply-To, without `<>`.
    pub fn in_reply_to(&self) -> Vec<String> {
        self.ids(Field::InReplyTo)
    }

    /// Ids in References, without `<>`.
    pub fn references(&self) -> Vec<String> {
        self.ids(Field::References)
    }

    fn ids(&self, field: Field) -> Vec<String> {
        let text = self.value(field).map(|raw| self.text(raw)).unwrap_or_default();
        message_ids(&text, limits::REFERENCES)
    }

    /// A field's value as people read it: unfolded, RFC 2047 words decoded, other bytes in the letter's charset.
    pub fn header_text(&self, field: &Header<'a>) -> Cow<'a, str> {
        match quick::text(field.value) {
            Some(text) => Cow::Borrowed(text),
            None => Cow::Owned(crate::decode_header_text(self.text(field.value).as_bytes())),
        }
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
            part.kind() == PartKind::Leaf
                && part.is_text()
                && part.media_type().1 == subtype
                && part.disposition().as_deref() != Some("attachment")
        });
        found.map(|(number, _)| number)
    }

    /// The parts of this letter, not those of letters inside it.
    fn own_parts(&self) -> impl Iterator<Item = (usize, PartView<'_, 'a>)> {
        let mut inside_until = 0;
        self.parts().enumerate().filter(move |(_, part)| {
            let own = part.record.header.0 >= inside_until;
            if own && part.kind() == PartKind::Message {
                inside_until = part.record.body.1.max(part.record.body.0 + 1);
            }
            own
        })
    }

    /// Parts that a reader would save: those [`crate::Index::attachments`] gives.
    pub fn attachments(&self) -> Vec<usize> {
        let shown = [self.text_part(), self.html_part()];
        let own = self.own_parts().filter(|(number, part)| {
            part.kind() != PartKind::Multipart
                && !shown.contains(&Some(*number))
                && self.is_saved(part)
        });
        own.map(|(number, _)| number).collect()
    }

    fn is_saved(&self, part: &PartView<'_, 'a>) -> bool {
        let disposition = part.disposition();
        if disposition.as_deref() == Some("attachment") {
            return true;
        }
        let (media_type, subtype) = part.media_type();
        let parent = part.parent().and_then(|parent| self.part(parent as usize));
        let in_related = parent
            .is_some_and(|p| p.kind() == PartKind::Multipart && p.media_type().1 == "related");
        let shown_inside = media_type == "image"
            && part.content_id().is_some()
            && (in_related || disposition.as_deref() == Some("inline"));
        let more_text = media_type == "text"
            && matches!(&*subtype, "plain" | "html")
            && part.filename().is_none();
        !(shown_inside || more_text)
    }
}

impl<'a> PartView<'_, 'a> {
    /// The fields of its header, in order.
    pub fn headers(&self) -> crate::Headers<'a> {
        header_fields(self.view.raw, self.record.header.0..self.record.header.1)
    }

    /// Where its header and its body begin and end, from the start of the letter.
    pub fn spans(&self) -> [u32; 4] {
        let (header, body) = (self.record.header, self.record.body);
        [header.0, header.1, body.0, body.1]
    }

    /// The word of Content-Disposition, lower case.
    pub fn disposition(&self) -> Option<Cow<'a, str>> {
        match head(self.value(Field::ContentDisposition)?) {
            Cow::Borrowed(head) => Some(super::lower(head)),
            Cow::Owned(head) => Some(Cow::Owned(head.to_ascii_lowercase())),
        }
    }

    /// Content-ID as written, with `<>`.
    pub fn content_id(&self) -> Option<String> {
        let id = self.view.text(self.value(Field::ContentId)?);
        (!id.is_empty()).then_some(id)
    }

    /// A parameter of Content-Type, decoded; the name in lower case.
    pub fn type_param(&self, name: &str) -> Option<String> {
        let raw = self.value(Field::ContentType)?;
        param(&params::parse_value(raw, None).params, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Message;

    /// A view tells what the index tells, also through an outline.
    #[track_caller]
    fn check(raw: &[u8]) {
        let letter = Message::parse(raw);
        let index = letter.index();
        let outline = View::parse(raw).into_outline();
        let view = outline.view(raw);
        assert_eq!(view.attachments(), index.attachments());
        assert_eq!((view.text_part(), view.html_part()), (index.text_part(), index.html_part()));
        assert_eq!((view.bcc(), view.reply_to()), (index.bcc_(), index.reply_to_()));
        assert_eq!(view.sender(), index.sender_());
        assert_eq!(view.in_reply_to(), index.in_reply_to());
        assert_eq!(view.references(), index.envelope.references);
        assert_eq!(view.has_subject(), index.envelope.subject.is_some());
        assert_eq!((outline.parts(), outline.lines()), (index.parts.len(), index.lines));
        for (number, (part, expect)) in view.parts().zip(&index.parts).enumerate() {
            let disposition = expect.disposition.as_ref().map(|(kind, _)| kind.as_str());
            assert_eq!(part.disposition().as_deref(), disposition);
            assert_eq!(part.content_id(), expect.id);
            assert_eq!(part.type_param("charset").as_deref(), expect.param("charset"));
            let (header, body) = (&expect.header, &expect.body);
            assert_eq!(part.spans(), [header.start, header.end, body.start, body.end]);
            assert!(part.headers().eq(letter.part_headers(number)));
        }
    }

    #[test]
    fn as_the_index() {
        check(b"");
        check(b"Bcc: a@example.test\nReply-To: B <b@example.test>\nSender: c@example.test\nSubject:\n\n");
        check(b"In-Reply-To: your letter <a@b> (x)\nReferences: <a@b>\n <c@d>\n\n");
        check(b"Content-Type: text/html\nContent-Disposition: ATTACHMENT; filename=a.html\n\nx");
        check(
            b"Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: multipart/related; boundary=y\n\n\
              --y\nContent-Type: text/html\n\n<p>\n--y\nContent-Type: image/png\nContent-ID: <i@x>\n\nx\n--y--\n\
              --x\nContent-Type: image/png\nContent-Disposition: Inline (c); filename=a.png\nContent-ID:\n <j@x>\n\nx\n\
              --x\nContent-Type: message/rfc822\n\nContent-Type: text/plain\n\nin\n\
              --x\nContent-Type: text/plain\n\nmore\n\
              --x\nContent-Type: text/plain; name=a.txt; charset*=utf-8''latin-1\n\nfile\n--x--\n",
        );
    }

    #[test]
    fn header_text() {
        let raw = b"Subject: =?utf-8?Q?=C4=85?= b\nX: a\n b\nContent-Type: text/plain; charset=iso-8859-2\nY: \xb1\n\n";
        let view = View::parse(raw);
        let texts: Vec<_> = view
            .part(0)
            .unwrap()
            .headers()
            .map(|field| view.header_text(&field).into_owned())
            .collect();
        assert_eq!(texts, ["\u{105} b", "a b", "text/plain; charset=iso-8859-2", "\u{105}"]);
    }

    #[test]
    fn other_bytes_do_no_harm() {
        let outline =
            View::parse(b"Subject: x\nContent-Type: text/plain\n\nlong text").into_outline();
        for raw in [&b""[..], b"Subject", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"] {
            let view = outline.view(raw);
            let all: String = view.parts().map(|part| part.text().into_owned()).collect();
            assert!(all.len() <= raw.len() * 3 && view.subject().len() <= raw.len() * 3);
            assert!(view.attachments().is_empty());
        }
    }
}
