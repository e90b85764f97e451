//! Charsets.
/// Bytes in a charset as UTF-8.
pub fn decode_charset(bytes: &[u8], label: Option<&str>) -> String {
    let _ = label;
    String::from_utf8_lossy(bytes).into_owned()
}
