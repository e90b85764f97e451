//! Transfer encodings.

/// Content-Transfer-Encoding (RFC 2045 §6).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Encoding {
    #[default]
    SevenBit,
    EightBit,
    Binary,
    Base64,
    QuotedPrintable,
    UuEncode,
    /// One nobody knows, in lower case; the bytes stay as they are.
    Other(String),
}

/// A transfer encoding: its name, what it is, how it is undone.
pub struct Decoder {
    pub name: &'static str,
    pub encoding: Encoding,
    pub decode: fn(&[u8]) -> Vec<u8>,
    pub spec: &'static str,
}

pub static DECODERS: &[Decoder] = &[];

pub fn decode_base64(raw: &[u8]) -> Vec<u8> {
    raw.to_vec()
}
pub fn decode_quoted_printable(raw: &[u8]) -> Vec<u8> {
    raw.to_vec()
}
pub fn decode_uuencode(raw: &[u8]) -> Vec<u8> {
    raw.to_vec()
}
