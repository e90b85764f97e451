//! Bytes in some charset as UTF-8: the WHATWG list, the charsets of mail that it leaves out, and what to do when
//! the label is missing, wrong or unknown.
//!
//! The others are rows in [`OWN`]; `charset_own` holds their tables and readers.

use crate::charset_own::{CP850, MAC_CE, decode_hz, decode_iso_2022_kr, decode_utf_7};
use crate::headers::{unfold, without_blanks};
use crate::simd;
use encoding_rs::{Encoding, REPLACEMENT, UTF_8, WINDOWS_1252};
use memchr::memmem;
use std::borrow::Cow;

/// A charset that mail has and the WHATWG list has not.
struct Own {
    /// Lower case, with `-` where others write `_` or a blank.
    labels: &'static [&'static str],
    decode: fn(&[u8]) -> String,
}

static OWN: &[Own] = &[
    Own {
        labels: &["utf-7", "unicode-1-1-utf-7", "csunicode11utf7", "x-unicode-2-0-utf-7"],
        decode: decode_utf_7,
    },
    Own { labels: &["hz-gb-2312", "hz"], decode: decode_hz },
    Own { labels: &["iso-2022-kr", "csiso2022kr"], decode: decode_iso_2022_kr },
    Own {
        labels: &["cp850", "cp-850", "ibm850", "ibm-850", "850", "cspc850multilingual"],
        decode: |bytes| CP850.decode(bytes),
    },
    Own {
        labels: &[
            "x-mac-ce",
            "x-mac-centraleurroman",
            "macce",
            "mac-ce",
            "x-mac-latin2",
            "mac-latin2",
            "maclatin2",
        ],
        decode: |bytes| MAC_CE.decode(bytes),
    },
];

/// How a label is decoded.
enum Charset {
    Whatwg(&'static Encoding),
    Own(&'static Own),
}

impl Charset {
    fn decode<'a>(&self, bytes: &'a [u8]) -> Cow<'a, str> {
        match self {
            Self::Whatwg(encoding) => encoding.decode(bytes).0,
            Self::Own(own) => Cow::Owned((own.decode)(bytes)),
        }
    }
}

/// Whether the text of the whole begins with the text of this first piece of it, which ends in ASCII.
pub(crate) fn is_final(piece: &[u8], label: Option<&str>) -> bool {
    let marked = matches!(piece.first(), Some(0xef | 0xfe | 0xff));
    match label.and_then(find) {
        Some(Charset::Whatwg(e)) if e == UTF_8 || e.is_single_byte() => !marked,
        Some(Charset::Whatwg(e)) => e.is_ascii_compatible() && piece.is_ascii(),
        Some(Charset::Own(_)) => false,
        // Bytes further on decide between UTF-8 and windows-1252.
        None => piece.is_ascii(),
    }
}

/// The bytes as UTF-8. Without a label, or with one nobody knows: UTF-8 if they are, else windows-1252, the
/// superset of ASCII that most unlabelled mail is in. Never fails; what has no character becomes U+FFFD.
pub fn decode_charset(bytes: &[u8], label: Option<&str>) -> String {
    decoded(bytes, label).into_owned()
}

/// The same, without a copy of bytes that are UTF-8 already.
pub(crate) fn decoded<'a>(bytes: &'a [u8], label: Option<&str>) -> Cow<'a, str> {
    match label.and_then(find) {
        Some(charset) => charset.decode(bytes),
        None => text_or(bytes, &Charset::Whatwg(WINDOWS_1252)),
    }
}

/// Raw bytes of a header: UTF-8 if they are (RFC 6532 §3.2), else the letter's charset, else windows-1252.
pub(crate) fn header_bytes(bytes: &[u8], letter_charset: Option<&str>) -> String {
    if let Ok(text) = simdutf8::basic::from_utf8(bytes) {
        return text.to_owned();
    }
    let usable = |charset: &Charset| !matches!(charset, Charset::Whatwg(e) if *e == UTF_8);
    let fallback = letter_charset.and_then(find).filter(usable);
    let fallback = fallback.unwrap_or(Charset::Whatwg(WINDOWS_1252));
    text_or(&escape_words(bytes), &fallback).into_owned()
}

/// Raw bytes above 127 inside words of RFC 2047 in Q, written as `=F6`: they are in the word's charset, not in
/// that of the line around it.
fn escape_words(line: &[u8]) -> Cow<'_, [u8]> {
    let mut out = Vec::new();
    let mut done = 0;
    while let Some(rest) = line.get(done..)
        && let Some(start) = rest.windows(3).position(|w| matches!(w, b"?Q?" | b"?q?"))
        && let (Some(before), Some(content)) = (rest.get(..start + 3), rest.get(start + 3..))
        && let Some(length) = memmem::find(content, b"?=")
    {
        out.extend_from_slice(before);
        for byte in content.get(..length).unwrap_or_default() {
            match byte {
                0x80.. => out.extend_from_slice(format!("={byte:02X}").as_bytes()),
                _ => out.push(*byte),
            }
        }
        done += start + 3 + length;
    }
    if done == 0 {
        return Cow::Borrowed(line);
    }
    out.extend_from_slice(line.get(done..).unwrap_or_default());
    Cow::Owned(out)
}

/// The value of a field on one line, as UTF-8.
pub(crate) fn header_line(raw: &[u8], letter_charset: Option<&str>) -> String {
    match simd::printable(without_blanks(raw)) {
        Some(text) => text.to_owned(),
        None => header_bytes(&unfold(raw), letter_charset),
    }
}

fn text_or<'a>(bytes: &'a [u8], fallback: &Charset) -> Cow<'a, str> {
    match (simdutf8::basic::from_utf8(bytes), fallback) {
        (Ok(text), _) => Cow::Borrowed(text),
        (Err(_), Charset::Whatwg(encoding)) => encoding.decode_without_bom_handling(bytes).0,
        (Err(_), own) => own.decode(bytes),
    }
}

/// Whether text of this charset goes back to ASCII at the end of each piece, so that no character is split over
/// encoded words.
pub(crate) fn has_shifts(label: &str) -> bool {
    let begins = |prefix: &str| {
        label.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    begins("iso-2022") || begins("hz") || begins("utf-7") || begins("unicode-1-1-utf-7")
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

/// By the labels of the WHATWG list, by [`OWN`], and by some that mail adds: `iso8859_2`, `cp-1250`. Text that
/// says it is ASCII and has other bytes is text without a label.
fn find(label: &str) -> Option<Charset> {
    let label = label.trim();
    if is_ascii_label(label) {
        return None;
    }
    let known = |label: &str| Encoding::for_label(label.as_bytes()).filter(|e| *e != REPLACEMENT);
    if let Some(encoding) = known(label) {
        return Some(Charset::Whatwg(encoding));
    }
    let tidy = label.to_ascii_lowercase().replace(['_', ' '], "-");
    if let Some(own) = OWN.iter().find(|own| own.labels.contains(&&*tidy)) {
        return Some(Charset::Own(own));
    }
    let without = |prefix: &str| tidy.strip_prefix(prefix).map(|rest| format!("cp{rest}"));
    known(&tidy)
        .or_else(|| known(&without("cp-")?))
        .or_else(|| known(&format!("windows-{}", tidy.strip_prefix("win-")?)))
        .or_else(|| known(tidy.strip_prefix("x-")?))
        .map(Charset::Whatwg)
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
        check(b"~{VPND~}", "hz-gb-2312", "中文");
        check(b"\x1b$)C\x0eGQ1[\x0f", "ISO-2022-KR", "한글");
        check(b"+AQU +AXw-", "utf-7", "ą ż");
        check(b"+AQU-", "UNICODE-1-1-UTF-7", "ą");
        check(b"\x82\x85", "cp-850", "éà");
        check(b"\x82\x85", "IBM850", "éà");
        check(b"\x88\xfd", "x-mac-ce", "ąż");
        check(b"\x93\xfa\x96\x7b", "x_sjis", "日本");
        check(b"abc", "", "abc");
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
        check(b"\x88\xfd", Some("x-mac-ce"), "ąż");
    }
}
