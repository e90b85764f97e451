//! A letter over its raw bytes.

use crate::{Defect, Header, Headers, Index, PartKind, decode_charset, header_fields};
use std::borrow::Cow;

/// A parsed letter. Parsing never fails; what is wrong is in [`Message::defects`].
#[derive(Debug, Clone)]
pub struct Message<'a> {
    raw: &'a [u8],
    index: Index,
}

impl<'a> Message<'a> {
    /// Reads any bytes as a letter, in linear time, without recursion.
    pub fn parse(raw: &'a [u8]) -> Self {
        Self { raw, index: Index::of(raw) }
    }

    /// A letter whose index is known already. The index must be of these bytes; another one gives odd text, never a panic.
    pub fn with_index(raw: &'a [u8], index: Index) -> Self {
        Self { raw, index }
    }

    /// The bytes it was made from.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// What was found.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// What was found, to keep.
    pub fn into_index(self) -> Index {
        self.index
    }

    /// What is wrong, in the order of the letter.
    pub fn defects(&self) -> &[Defect] {
        &self.index.defects
    }

    /// The fields of the letter's own header, in order.
    pub fn headers(&self) -> Headers<'a> {
        self.part_headers(0)
    }

    /// The fields of a part's header, in order; of a part that is not there, none.
    pub fn part_headers(&self, part: usize) -> Headers<'a> {
        let range = self.index.parts.get(part).map(|p| p.header.clone()).unwrap_or_default();
        header_fields(self.raw, range)
    }

    /// The first field of this name in the letter's own header. Names are compared without case.
    pub fn header(&self, name: &str) -> Option<Header<'a>> {
        self.headers().find(|h| h.name.eq_ignore_ascii_case(name.as_bytes()))
    }

    /// A part's body as it stands in the letter.
    pub fn body(&self, part: usize) -> &'a [u8] {
        let range = self.index.parts.get(part).map(|p| p.body.clone()).unwrap_or_default();
        slice(self.raw, range)
    }

    /// A part's content: its body with the transfer encoding undone. Multiparts and letters have none to undo.
    pub fn bytes(&self, part: usize) -> Cow<'a, [u8]> {
        let body = self.body(part);
        match self.index.parts.get(part) {
            Some(p) if p.kind == PartKind::Leaf => {
                p.encoding.undo(body).map_or(Cow::Borrowed(body), Cow::Owned)
            }
            _ => Cow::Borrowed(body),
        }
    }

    /// A part's content as UTF-8, read in the charset it names. Line ends stay as they are.
    pub fn text(&self, part: usize) -> String {
        let charset = self.index.parts.get(part).and_then(|p| p.param("charset"));
        decode_charset(&self.bytes(part), charset)
    }
}

/// The bytes of a range that may lie outside.
pub(crate) fn slice(raw: &[u8], range: std::ops::Range<u32>) -> &[u8] {
    raw.get(range.start as usize..range.end as usize).unwrap_or_default()
}

/// A length or offset in 32 bits. The scan reads no further than that.
pub(crate) fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
