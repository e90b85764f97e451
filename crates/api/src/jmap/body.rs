//! Which parts of a letter are its text, which its HTML, which are attached (RFC 8621 §4.1.4).

use super::ids::{self, Blob};
use crate::Result;
use bytes::Bytes;
use mparser::{DefectKind, Encoding, FileInside, Index, Message, Part, PartKind, Wrapping};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use storage::{Email, Store};
use types::EmailId;

/// The part table as a tree. Made once in O(parts); depth is bounded by `mparser::limits::DEPTH`.
pub(crate) struct Tree<'a> {
    pub(crate) index: &'a Index,
    children: Vec<Vec<usize>>,
}

/// Indices into the part table.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) text: Vec<usize>,
    pub(crate) html: Vec<usize>,
    pub(crate) attachments: Vec<usize>,
}

impl<'a> Tree<'a> {
    pub(crate) fn of(index: &'a Index) -> Self {
        let mut children = vec![Vec::new(); index.parts.len()];
        for (at, part) in index.parts.iter().enumerate() {
            let parent = part.parent.and_then(|p| usize::try_from(p).ok());
            // A parent always stands before its children; anything else would be a loop.
            if let Some(list) = parent.filter(|p| *p < at).and_then(|p| children.get_mut(p)) {
                list.push(at);
            }
        }
        Self { index, children }
    }

    pub(crate) fn children(&self, part: usize) -> &[usize] {
        self.children.get(part).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn part(&self, at: usize) -> Option<&'a Part> {
        self.index.parts.get(at)
    }

    /// The shape of the letter whose root is this part: 0, or the child of a `Message`.
    pub(crate) fn shape(&self, root: usize) -> Shape {
        let mut shape = Shape::default();
        self.walk(&[root], "mixed", false, (true, true), &mut shape);
        shape
    }

    /// The algorithm of RFC 8621 §4.1.4, its `null` lists as flags.
    fn walk(
        &self,
        parts: &[usize],
        multipart: &str,
        in_alternative: bool,
        (mut to_text, mut to_html): (bool, bool),
        shape: &mut Shape,
    ) {
        let (text_before, html_before) = (shape.text.len(), shape.html.len());
        for (position, &at) in parts.iter().enumerate() {
            let Some(part) = self.part(at) else { continue };
            if part.kind == PartKind::Multipart {
                let inner = part.subtype.as_str();
                let alternative = in_alternative || inner == "alternative";
                let flags = (to_text, to_html);
                self.walk(self.children(at), inner, alternative, flags, shape);
                continue;
            }
            if !self.is_inline(at, part, position, multipart) {
                shape.attachments.push(at);
                continue;
            }
            let (plain, html) = (is(part, "text", "plain"), is(part, "text", "html"));
            if multipart == "alternative" {
                match (plain && to_text, html && to_html) {
                    (true, _) => shape.text.push(at),
                    (_, true) => shape.html.push(at),
                    _ => shape.attachments.push(at),
                }
                continue;
            }
            if in_alternative {
                to_html &= !plain;
                to_text &= !html;
            }
            if to_text {
                shape.text.push(at);
            }
            if to_html {
                shape.html.push(at);
            }
            if !(to_text && to_html) && is_media(part) {
                shape.attachments.push(at);
            }
        }
        if multipart == "alternative" && to_text && to_html {
            fill_the_other(shape, text_before, html_before);
        }
    }

    fn is_inline(&self, at: usize, part: &Part, position: usize, multipart: &str) -> bool {
        let attached = matches!(&part.disposition, Some((kind, _)) if kind == "attachment");
        let shown = is(part, "text", "plain") || is(part, "text", "html") || is_media(part);
        let first = position == 0;
        let unnamed = || is_media(part) || self.index.filename(at).is_none();
        part.kind == PartKind::Leaf
            && !attached
            && shown
            && (first || (multipart != "related" && unnamed()))
    }
}

/// An alternative with only one of the two forms gives it for both.
fn fill_the_other(shape: &mut Shape, text_before: usize, html_before: usize) {
    let no_text = shape.text.len() == text_before;
    let no_html = shape.html.len() == html_before;
    if no_text && !no_html {
        let html = shape.html.get(html_before..).unwrap_or_default();
        shape.text.extend_from_slice(html);
    } else if no_html && !no_text {
        let text = shape.text.get(text_before..).unwrap_or_default();
        shape.html.extend_from_slice(text);
    }
}

pub(crate) fn is(part: &Part, media_type: &str, subtype: &str) -> bool {
    part.media_type == media_type && part.subtype == subtype
}

fn is_media(part: &Part) -> bool {
    matches!(part.media_type.as_str(), "image" | "audio" | "video")
}

/// Without the `<>` around it.
pub(crate) fn content_id(part: &Part) -> Option<&str> {
    let id = part.id.as_deref()?.trim();
    let inner = id.strip_prefix('<').unwrap_or(id);
    Some(inner.strip_suffix('>').unwrap_or(inner))
}

/// Names of the properties of a body part (RFC 8621 §4.1.4).
pub(crate) const PART_PROPERTIES: [&str; 11] = [
    "blobId",
    "charset",
    "cid",
    "disposition",
    "language",
    "location",
    "name",
    "partId",
    "size",
    "subParts",
    "type",
];

/// What Email/get gives when `bodyProperties` is absent (RFC 8621 §4.2).
pub(crate) const DEFAULT_PART_PROPERTIES: [&str; 10] = [
    "partId",
    "blobId",
    "size",
    "name",
    "type",
    "charset",
    "disposition",
    "cid",
    "language",
    "location",
];

/// One part as an `EmailBodyPart`, without its sub-parts.
pub(crate) fn part_object(tree: &Tree<'_>, email: EmailId, at: usize, wanted: &[String]) -> Value {
    let Some(part) = tree.part(at) else {
        return Value::Null;
    };
    let multipart = part.kind == PartKind::Multipart;
    let mut object = Map::new();
    for name in wanted {
        let value = match name.as_str() {
            "partId" | "blobId" if multipart => Value::Null,
            "partId" => at.to_string().into(),
            "blobId" => ids::of_blob(email, Blob::Part(at)).into(),
            "size" => decoded_bytes(part).into(),
            "name" => tree.index.filename(at).into(),
            "type" => format!("{}/{}", part.media_type, part.subtype).into(),
            "charset" => charset(part),
            "disposition" => part.disposition.as_ref().map(|(kind, _)| kind.clone()).into(),
            "cid" => content_id(part).into(),
            "language" => languages(part),
            "location" => part.location.clone().into(),
            _ => continue,
        };
        object.insert(name.clone(), value);
    }
    Value::Object(object)
}

/// The attachments of a letter as `EmailBodyPart`s: parts, and the files inside them. What Outlook wraps in a
/// `winmail.dat` stands in its place; such a file has no part of its own, so its `partId` is `null`.
pub(crate) fn attachments(
    tree: &Tree<'_>,
    shape: &Shape,
    email: EmailId,
    wanted: &[String],
) -> Value {
    let files = &tree.index.files;
    let inside = |at: usize| files.iter().filter(move |f| f.part as usize == at).enumerate();
    let object =
        |(at, number): (usize, usize), file| file_object(email, (at, number), file, wanted);
    let mut list = Vec::new();
    for &at in &shape.attachments {
        if inside(at).all(|(_, file)| file.wrapping != Wrapping::Tnef) {
            list.push(part_object(tree, email, at, wanted));
        }
        list.extend(inside(at).map(|(number, file)| object((at, number), file)));
    }
    let shown: BTreeSet<usize> = shape.text.iter().chain(&shape.html).copied().collect();
    for at in shown.into_iter().filter(|at| !shape.attachments.contains(at)) {
        list.extend(inside(at).map(|(number, file)| object((at, number), file)));
    }
    list.into()
}

fn file_object(
    email: EmailId,
    (at, number): (usize, usize),
    file: &FileInside,
    wanted: &[String],
) -> Value {
    let mut object = Map::new();
    for name in wanted {
        let value = match name.as_str() {
            "blobId" => ids::of_blob(email, Blob::File(at, number)).into(),
            "size" => file.size.into(),
            "name" => Some(&*file.name).filter(|name| !name.is_empty()).into(),
            "type" => file.media_type.as_deref().unwrap_or("application/octet-stream").into(),
            "disposition" => "attachment".into(),
            "partId" | "charset" | "cid" | "language" | "location" => Value::Null,
            _ => continue,
        };
        object.insert(name.clone(), value);
    }
    Value::Object(object)
}

fn languages(part: &Part) -> Value {
    if part.language.is_empty() { Value::Null } else { json!(part.language) }
}

fn charset(part: &Part) -> Value {
    let implicit = (part.media_type == "text").then_some("us-ascii");
    part.param("charset").or(implicit).into()
}

/// `bodyStructure`: the part with all below it.
pub(crate) fn structure(tree: &Tree<'_>, email: EmailId, at: usize, wanted: &[String]) -> Value {
    let mut object = part_object(tree, email, at, wanted);
    let multipart = tree.part(at).is_some_and(|part| part.kind == PartKind::Multipart);
    if multipart && let Value::Object(object) = &mut object {
        let inner = tree.children(at).iter();
        let parts = inner.map(|&child| structure(tree, email, child, wanted));
        object.insert("subParts".to_owned(), parts.collect());
    }
    object
}

/// Bytes after decoding, told from the part table without reading the body: exact for what is not encoded,
/// at most 2 too many for base64, the encoded size for the rest.
fn decoded_bytes(part: &Part) -> u32 {
    let raw = part.body_bytes();
    if part.kind == PartKind::Leaf && part.encoding == Encoding::Base64 {
        // The line end before a boundary belongs to the boundary (RFC 2046 §5.1.1).
        let line_ends = part.lines.saturating_sub(u32::from(part.parent.is_some()));
        let digits = raw.saturating_sub(line_ends.saturating_mul(2));
        return digits / 4 * 3 + (digits % 4).saturating_sub(1);
    }
    raw
}

/// The decoded text of a part with LF line ends, at most `most_bytes` long, and whether it was cut. Only as
/// much is read as that can need.
pub(crate) async fn text(
    store: &Store,
    email: &Email,
    part: &Part,
    most_bytes: usize,
) -> Result<(String, bool)> {
    // Quoted-printable takes 3 bytes for one, charsets of 4 bytes give at least one.
    let raw_bytes = u32::try_from(most_bytes.saturating_mul(4)).unwrap_or(u32::MAX);
    let end = part.body.end.min(part.body.start.saturating_add(raw_bytes));
    let raw = store.range(email, part.body.start..end).await?;
    let mut text = decoded(part, &raw, |letter| letter.text(0)).replace("\r\n", "\n");
    let cut = text.len() > most_bytes || end < part.body.end;
    text.truncate(text.floor_char_boundary(most_bytes));
    Ok((text, cut))
}

/// The decoded bytes of a part.
pub(crate) async fn bytes(store: &Store, email: &Email, part: &Part) -> Result<Bytes> {
    let raw = store.range(email, part.body.clone()).await?;
    let same = matches!(part.encoding, Encoding::SevenBit | Encoding::EightBit | Encoding::Binary);
    if part.kind == PartKind::Message || same {
        return Ok(raw);
    }
    Ok(decoded(part, &raw, |letter| Bytes::from(letter.bytes(0).into_owned())))
}

/// A file inside a part, by its number in that part.
pub(crate) async fn file(
    store: &Store,
    email: &Email,
    part: &Part,
    number: usize,
) -> Result<Option<Bytes>> {
    let raw = store.range(email, part.body.clone()).await?;
    let files = decoded(part, &raw, |letter| letter.embedded(0));
    Ok(files.into_iter().nth(number).map(|file| Bytes::from(file.content)))
}

/// Decodes a part read alone: a letter of one part that has no header.
fn decoded<T>(part: &Part, raw: &[u8], read: impl FnOnce(&Message<'_>) -> T) -> T {
    let size = u32::try_from(raw.len()).unwrap_or(u32::MAX);
    let alone = Part { parent: None, header: 0..0, body: 0..size, ..part.clone() };
    let index = Index { size, parts: vec![alone], ..Index::default() };
    read(&Message::with_index(raw, index))
}

/// A charset or transfer encoding that could not be undone cleanly.
pub(crate) fn has_encoding_problem(index: &Index, part: &Part) -> bool {
    let bad = |kind| {
        matches!(kind, DefectKind::BadBase64 | DefectKind::BadEncoding | DefectKind::UnknownCharset)
    };
    let inside = part.header.start..part.body.end;
    let mut defects = index.defects.iter();
    defects.any(|d| bad(d.kind) && inside.contains(&d.offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(kind: &str, parent: Option<u32>) -> Part {
        let (media_type, rest) = kind.split_once('/').unwrap();
        let (subtype, flags) = rest.split_once(' ').unwrap_or((rest, ""));
        Part {
            parent,
            kind: match kind {
                k if k.starts_with("multipart/") => PartKind::Multipart,
                k if k.starts_with("message/") => PartKind::Message,
                _ => PartKind::Leaf,
            },
            media_type: media_type.to_owned(),
            subtype: subtype.to_owned(),
            disposition: (!flags.is_empty()).then(|| (flags.to_owned(), Vec::new())),
            ..Part::default()
        }
    }

    #[track_caller]
    fn check(parts: &[(&str, Option<u32>)], text: &[usize], html: &[usize], attached: &[usize]) {
        let index = Index {
            parts: parts.iter().map(|&(kind, up)| part(kind, up)).collect(),
            ..Index::default()
        };
        let shape = Tree::of(&index).shape(0);
        let expect =
            Shape { text: text.to_vec(), html: html.to_vec(), attachments: attached.to_vec() };
        assert_eq!(shape, expect);
    }

    #[test]
    fn shapes() {
        check(&[("text/plain", None)], &[0], &[0], &[]);
        check(&[("text/html", None)], &[0], &[0], &[]);
        check(&[("application/pdf", None)], &[], &[], &[0]);
        check(&[("message/rfc822", None)], &[], &[], &[0]);
        let alternative =
            [("multipart/alternative", None), ("text/plain", Some(0)), ("text/html", Some(0))];
        check(&alternative, &[1], &[2], &[]);
        let only_html = [("multipart/alternative", None), ("text/html", Some(0))];
        check(&only_html, &[1], &[1], &[]);
        let mixed = [
            ("multipart/mixed", None),
            ("text/plain", Some(0)),
            ("image/png", Some(0)),
            ("text/plain attachment", Some(0)),
            ("text/plain", Some(0)),
        ];
        check(&mixed, &[1, 2, 4], &[1, 2, 4], &[3]);
    }

    /// The example of RFC 8621 §4.1.4.
    #[test]
    fn the_example_of_the_rfc() {
        let parts = [
            ("multipart/mixed", None),
            ("text/plain inline", Some(0)),     // A
            ("multipart/mixed", Some(0)),       // 2
            ("multipart/alternative", Some(2)), // 3
            ("multipart/mixed", Some(3)),       // 4
            ("text/plain inline", Some(4)),     // B
            ("image/jpeg inline", Some(4)),     // C
            ("text/plain inline", Some(4)),     // D
            ("multipart/related", Some(3)),     // 8
            ("text/html", Some(8)),             // E
            ("image/jpeg", Some(8)),            // F
            ("image/jpeg attachment", Some(2)), // G
            ("application/x-excel", Some(2)),   // H
            ("message/rfc822", Some(2)),        // J
            ("text/plain inline", Some(0)),     // K
        ];
        check(&parts, &[1, 5, 6, 7, 14], &[1, 9, 14], &[6, 10, 11, 12, 13]);
    }

    #[test]
    fn a_loop_of_parents_ends() {
        let index = Index {
            parts: vec![part("multipart/mixed", Some(1)), part("multipart/mixed", Some(0))],
            ..Index::default()
        };
        assert_eq!(Tree::of(&index).shape(0), Shape::default());
    }
}
