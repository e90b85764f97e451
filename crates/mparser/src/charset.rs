//! Bytes in some charset as UTF-8: the WHATWG list, and what to do when the label is missing, wrong or unknown.

use encoding_rs::{Encoding, REPLACEMENT, UTF_8, WINDOWS_1252};

/// The bytes as UTF-8. Without a label, or with one nobody knows: UTF-8 if they are, else windows-1252, the
/// superset of ASCII that most unlabelled mail is in. Never fails; what has no character becomes U+FFFD.
pub fn decode_charset(bytes: &[u8], label: Option<&str>) -> String {
    match label.and_then(find) {
        Some(encoding) if encoding != UTF_8 => encoding.decode(bytes).0.into_owned(),
        Some(_) => UTF_8.decode(bytes).0.into_owned(),
        None => text_or(bytes, WINDOWS_1252),
    }
}

/// Raw bytes of a header: UTF-8 if they are (RFC 6532 §3.2), else the letter's charset, else windows-1252.
pub(crate) fn header_bytes(bytes: &[u8], letter_charset: Option<&str>) -> String {
    let fallback = letter_charset.and_then(find).filter(|e| *e != UTF_8);
    text_or(bytes, fallback.unwrap_or(WINDOWS_1252))
}

fn text_or(bytes: &[u8], fallback: &'static Encoding) -> String {
    match simdutf8::basic::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => fallback.decode_without_bom_handling(bytes).0.into_owned(),
    }
}

/// Whether a label is one we can decode, or says plain ASCII.
pub(crate) fn is_known(label: &str) -> bool {
    find(label).is_some() || is_ascii_label(label)
}

fn is_ascii_label(label: &str) -> bool {
    ["us-ascii", "ascii", "ansi_x3.4-1968", "unknown-8bit"]
        .iter()
        .any(|l| l.eq_ignore_ascii_case(label.trim()))
}

/// By the labels of the WHATWG list and some that mail adds: `iso8859_2`, `cp-1250`. Text that says it is ASCII
/// and has other bytes is text without a label.
fn find(label: &str) -> Option<&'static Encoding> {
    let label = label.trim();
    if is_ascii_label(label) {
        return None;
    }
    let known = |label: &str| Encoding::for_label(label.as_bytes()).filter(|e| *e != REPLACEMENT);
    known(label).or_else(|| {
        let tidy = label.to_ascii_lowercase().replace('_', "-");
        known(&tidy).or_else(|| known(&tidy.replacen("cp-", "cp", 1)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charsets() {
        #[track_caller]
        fn check(bytes: &[u8], label: &str, expect: &str) {
            assert_eq!(decode_charset(bytes, Some(label)), expect, "{label}");
        }
        check(b"\xb1\xe6\xea\xb3\xf1\xf3\xb6\xbc\xbf", "ISO-8859-2", "ąćęłńóśźż");
        check(b"\xb9\xe6\xea\xb3\xf1\xf3\x9c\x9f\xbf", "windows-1250", "ąćęłńóśźż");
        check(b"\xb9\xbf", "cp1250", "ąż");
        check(b"\xb9\xbf", "CP-1250", "ąż");
        check(b"\xb1\xbf", "iso8859_2", "ąż");
        check(b"\x93\xfa\x96\x7b", "x-sjis", "日本");
        check(b"\x1b$BF|K\\\x1b(B", "iso-2022-jp", "日本");
        check(b"\xc7\xd1\xb1\xdb", "ks_c_5601-1987", "한글");
        check(b"\xd0\xd2\xc9\xd7\xc5\xd4", "koi8-r", "привет");
        check(b"\xff\xfe\x05\x01\x7c\x01", "utf-16", "ąż");
        check("zażółć".as_bytes(), "UTF-8", "zażółć");
        check("zażółć".as_bytes(), "us-ascii", "zażółć");
        check(b"caf\xe9", "us-ascii", "café");
        check(b"abc", "x-user-defined-bogus", "abc");
        check(b"a\xffb", "utf-8", "a\u{fffd}b");
        check(b"~{VPND~}", "hz-gb-2312", "~{VPND~}");
    }

    #[test]
    fn bytes_of_headers() {
        #[track_caller]
        fn check(bytes: &[u8], charset: Option<&str>, expect: &str) {
            assert_eq!(header_bytes(bytes, charset), expect);
        }
        check("zażółć".as_bytes(), Some("iso-8859-2"), "zażółć");
        check(b"za\xbf\xf3\xb3\xe6", Some("iso-8859-2"), "zażółć");
        check(b"caf\xe9", None, "café");
        check(b"caf\xe9", Some("utf-8"), "café");
        check(b"caf\xe9", Some("nobody-knows"), "café");
    }
}
