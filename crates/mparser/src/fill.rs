//! From what the scan found to the owned [`Index`]: every value read, with the defects that values have.

use crate::charset;
use crate::decode::{Encoding, is_clean_base64};
use crate::defects::{DefectKind, Defects};
use crate::headers::Field;
use crate::message::slice;
use crate::params::{Value, parse_value};
use crate::scan::{NO_PARENT, Record, Scan, Shape, default_type, encoding, split_type};
use crate::{Envelope, Index, Part, PartKind, address, embedded, index, limits};

/// The index of a letter that was scanned.
pub(crate) fn fill(raw: &[u8], mut scan: Scan) -> Index {
    let defects = std::mem::take(&mut scan.defects);
    let parts = Vec::with_capacity(scan.records.len());
    let mut filler = Filler {
        raw,
        scan: &scan,
        addresses_left: limits::addresses(raw.len()),
        charset: None,
        defects,
        parts,
    };
    for record in &scan.records {
        filler.part(record);
    }
    let charset = filler.charset.take();
    let envelope = match scan.records.first() {
        Some(root) => filler.envelope(root, charset.as_deref()),
        None => Envelope::default(),
    };
    let mut index = Index {
        size: scan.size,
        lines: scan.lines,
        header_fields: scan.header_fields,
        begins_with_field: scan.begins_with_field,
        parts: filler.parts,
        envelope,
        preview: String::new(),
        defects: filler.defects.into_list(),
        files: Vec::new(),
    };
    index.preview = index::preview(&index, raw);
    embedded::note_files(raw, index)
}

struct Filler<'a> {
    raw: &'a [u8],
    scan: &'a Scan,
    addresses_left: usize,
    /// Of the first text part that names one.
    charset: Option<String>,
    defects: Defects,
    parts: Vec<Part>,
}

impl Filler<'_> {
    fn offset(&self, record: &Record, field: Field) -> usize {
        self.scan.range(record, field).map_or(record.header.0, |range| range.start) as usize
    }

    fn part(&mut self, record: &Record) {
        let type_at = self.offset(record, Field::ContentType);
        let mut value = Value::default();
        let (mut media_type, mut subtype) = default_type(record.in_digest);
        if let Some(raw) = self.scan.value(self.raw, record, Field::ContentType) {
            value = parse_value(raw, self.charset.as_deref());
            match split_type(&value.head) {
                Some(both) => (media_type, subtype) = both,
                None => self.defects.add(DefectKind::BadContentType, type_at),
            }
        }
        self.note_value(&value, media_type, type_at);
        let charset = value.params.iter().find(|(name, _)| name == "charset");
        let charset = charset.map(|(_, label)| label.clone());
        if media_type == "text" && self.charset.is_none() {
            self.charset.clone_from(&charset);
        }
        let (kind, media_type, subtype) = match record.shape {
            Shape::Leaf => (PartKind::Leaf, media_type, subtype),
            Shape::Multipart => (PartKind::Multipart, media_type, subtype),
            Shape::Message => (PartKind::Message, media_type, subtype),
            Shape::Opaque => (PartKind::Leaf, "application", "octet-stream"),
            Shape::Text => (PartKind::Leaf, "text", "plain"),
        };
        let mut part = Part {
            parent: Some(record.parent).filter(|parent| *parent != NO_PARENT),
            kind,
            header: record.header.0..record.header.1,
            body: record.body.0..record.body.1,
            lines: record.lines,
            media_type: media_type.to_owned(),
            subtype: subtype.to_owned(),
            params: std::mem::take(&mut value.params),
            encoding: self.encoding(record),
            ..Part::default()
        };
        let cut = index::fill_content_fields(&mut part, self.charset.as_deref(), |field| {
            self.scan.value(self.raw, record, field)
        });
        if cut {
            let offset = self.offset(record, Field::ContentLanguage);
            self.defects.add(DefectKind::ParamsReached, offset);
        }
        let body = slice(self.raw, part.body.clone());
        if kind == PartKind::Leaf && part.encoding == Encoding::Base64 && !is_clean_base64(body) {
            self.defects.add(DefectKind::BadBase64, part.body.start as usize);
        }
        self.parent_envelope(record, charset.as_deref());
        self.parts.push(part);
    }

    /// A letter inside a letter: its header is that of the part's one child.
    fn parent_envelope(&mut self, record: &Record, charset: Option<&str>) {
        let parent = record.parent as usize;
        if self.parts.get(parent).is_some_and(|parent| parent.kind == PartKind::Message) {
            let envelope = self.envelope(record, charset);
            if let Some(parent) = self.parts.get_mut(parent) {
                parent.envelope = Some(Box::new(envelope));
            }
        }
    }

    fn note_value(&mut self, value: &Value, media_type: &str, offset: usize) {
        if value.cut {
            self.defects.add(DefectKind::ParamsReached, offset);
        }
        let charset = value.params.iter().find(|(name, _)| name == "charset");
        if media_type == "text" && charset.is_some_and(|(_, label)| !charset::is_known(label)) {
            self.defects.add(DefectKind::UnknownCharset, offset);
        }
    }

    fn encoding(&mut self, record: &Record) -> Encoding {
        let value = self.scan.value(self.raw, record, Field::ContentTransferEncoding);
        let encoding = value.map(encoding).unwrap_or_default();
        if matches!(encoding, Encoding::Other(_)) {
            let offset = self.offset(record, Field::ContentTransferEncoding);
            self.defects.add(DefectKind::BadEncoding, offset);
        }
        encoding
    }

    fn envelope(&mut self, record: &Record, charset: Option<&str>) -> Envelope {
        let mut addresses = |field: Field| {
            let Some(range) = self.scan.range(record, field) else {
                return Vec::new();
            };
            let (start, value) = (range.start, slice(self.raw, range));
            let (list, used_up) = address::parse_list(value, charset, &mut self.addresses_left);
            if used_up {
                self.defects.add(DefectKind::AddressesReached, start as usize);
            }
            list
        };
        Envelope {
            from: addresses(Field::From),
            sender: addresses(Field::Sender),
            reply_to: addresses(Field::ReplyTo),
            to: addresses(Field::To),
            cc: addresses(Field::Cc),
            bcc: addresses(Field::Bcc),
            ..index::envelope_texts(|field| {
                let value = self.scan.value(self.raw, record, field)?;
                Some(charset::header_line(value, charset))
            })
        }
    }
}
