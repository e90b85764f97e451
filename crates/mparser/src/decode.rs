//! Transfer encodings (RFC 2045 §6): the table of them, and how each is undone. Every decoder takes any bytes and never fails.

use crate::lines::{line_at, trim_end_blanks};
use crate::simd;
use memchr::memchr;

/// Content-Transfer-Encoding (RFC 2045 §6).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Encoding {
    /// The bytes are the content, ASCII.
    #[default]
    SevenBit,
    /// The bytes are the content, in lines.
    EightBit,
    /// The bytes are the content.
    Binary,
    /// RFC 2045 §6.8
    Base64,
    /// RFC 2045 §6.7
    QuotedPrintable,
    /// `begin 644 name` … `end`; older than MIME.
    UuEncode,
    /// One nobody knows, in lower case; the bytes stay as they are.
    Other(String),
}

/// Takes any bytes, never fails.
pub type Undo = fn(&[u8]) -> Vec<u8>;

/// A transfer encoding: its name, what it is, how it is undone (`None`: the bytes are the content).
#[derive(Debug)]
pub struct Decoder {
    /// The word of the header field, lower case.
    pub name: &'static str,
    /// What it means.
    pub encoding: Encoding,
    /// How it is undone.
    pub decode: Option<Undo>,
    /// Where it is said.
    pub spec: &'static str,
}

const fn row(
    name: &'static str,
    encoding: Encoding,
    decode: Option<Undo>,
    spec: &'static str,
) -> Decoder {
    Decoder { name, encoding, decode, spec }
}

/// Sorted by name. The first row of an encoding has its proper name.
pub static DECODERS: &[Decoder] = &[
    row("7bit", Encoding::SevenBit, None, "RFC 2045 §6.2"),
    row("8bit", Encoding::EightBit, None, "RFC 2045 §6.2"),
    row("base64", Encoding::Base64, Some(decode_base64), "RFC 2045 §6.8"),
    row("binary", Encoding::Binary, None, "RFC 2045 §6.2"),
    row(
        "quoted-printable",
        Encoding::QuotedPrintable,
        Some(decode_quoted_printable),
        "RFC 2045 §6.7",
    ),
    row("uuencode", Encoding::UuEncode, Some(decode_uuencode), "IEEE 1003.1 uuencode"),
    row("x-uue", Encoding::UuEncode, Some(decode_uuencode), "IEEE 1003.1 uuencode"),
    row("x-uuencode", Encoding::UuEncode, Some(decode_uuencode), "IEEE 1003.1 uuencode"),
];

impl Encoding {
    /// By the word of the header field.
    pub fn from_name(name: &str) -> Self {
        let row = DECODERS.iter().find(|d| d.name.eq_ignore_ascii_case(name));
        row.map_or_else(|| Self::Other(name.to_ascii_lowercase()), |d| d.encoding.clone())
    }

    /// The word for the header field, lower case.
    pub fn name(&self) -> &str {
        match self {
            Self::Other(name) => name,
            known => DECODERS.iter().find(|d| d.encoding == *known).map_or("7bit", |d| d.name),
        }
    }

    /// The content behind these bytes, written over what `out` holds; `false`, and nothing written, when the bytes
    /// are the content.
    pub(crate) fn undo_into(&self, raw: &[u8], out: &mut Vec<u8>) -> bool {
        out.clear();
        match self {
            Self::Base64 => base64_into(raw, out),
            Self::QuotedPrintable => quoted_printable_into(raw, out),
            Self::SevenBit | Self::EightBit | Self::Binary => return false,
            other => match other.undo(raw) {
                Some(content) => *out = content,
                None => return false,
            },
        }
        true
    }

    /// The content behind these bytes; `None` when the bytes are the content.
    pub fn undo(&self, raw: &[u8]) -> Option<Vec<u8>> {
        let decode = DECODERS.iter().find(|d| d.encoding == *self)?.decode?;
        Some(decode(raw))
    }
}

const SKIP: u8 = 64;
const PAD: u8 = 65;

#[expect(clippy::indexing_slicing, reason = "a constant: the compiler would stop")]
const BASE64: [u8; 256] = {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut table = [SKIP; 256];
    let mut value = 0;
    while value < 64 {
        table[alphabet[value as usize] as usize] = value;
        value += 1;
    }
    table[b'=' as usize] = PAD;
    table
};

#[expect(clippy::indexing_slicing, reason = "a byte is always inside a table of 256")]
fn sextet(byte: u8) -> u8 {
    BASE64[usize::from(byte)]
}

/// base64 (RFC 2045 §6.8). Foreign characters are passed over, padding may be missing, and several padded
/// pieces may follow each other.
pub fn decode_base64(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len() / 4 * 3 + 64);
    base64_into(raw, &mut out);
    out
}

/// The same behind what `out` holds.
pub(crate) fn base64_into(raw: &[u8], out: &mut Vec<u8>) {
    let mut rest = raw;
    let (mut bits, mut held) = (0_u32, 0_u32);
    loop {
        if held == 0 {
            let done = simd::base64(rest, out);
            rest = rest.get(done..).unwrap_or_default();
        }
        // Four good characters at a time while nothing is held back.
        while held == 0
            && let Some((&[a, b, c, d], after)) = rest.split_first_chunk()
        {
            let values = [sextet(a), sextet(b), sextet(c), sextet(d)];
            if values.iter().any(|v| *v >= SKIP) {
                break;
            }
            let bits = values.into_iter().fold(0, |bits, v| bits << 6 | u32::from(v));
            out.extend_from_slice(&bits.to_be_bytes()[1..]);
            rest = after;
        }
        let Some((&byte, after)) = rest.split_first() else {
            break;
        };
        rest = after;
        match sextet(byte) {
            SKIP => {}
            PAD => {
                flush(out, bits, held);
                (bits, held) = (0, 0);
            }
            value => {
                bits = bits << 6 | u32::from(value);
                held += 1;
                if held == 4 {
                    out.extend_from_slice(&bits.to_be_bytes()[1..]);
                    (bits, held) = (0, 0);
                }
            }
        }
    }
    flush(out, bits, held);
}

/// The whole bytes in two or three characters at the end.
fn flush(out: &mut Vec<u8>, bits: u32, held: u32) {
    match held {
        2 => out.extend_from_slice(&[(bits >> 4).to_be_bytes()[3]]),
        3 => out.extend_from_slice(&(bits >> 2).to_be_bytes()[2..]),
        _ => {}
    }
}

/// Whether base64 text is as RFC 2045 §6.8 wants it: only its alphabet and line ends, padding only at the end,
/// a whole number of quanta.
pub(crate) fn is_clean_base64(raw: &[u8]) -> bool {
    let (done, mut characters) = simd::clean_base64(raw);
    let mut padding = 0_usize;
    for &byte in raw.get(done..).unwrap_or_default() {
        match sextet(byte) {
            SKIP if matches!(byte, b'\r' | b'\n' | b' ' | b'\t') => {}
            SKIP => return false,
            PAD => padding += 1,
            _ if padding > 0 => return false,
            _ => characters += 1,
        }
    }
    padding <= 2 && (characters + padding).is_multiple_of(4)
}

/// base64 in lines of 76 characters (RFC 2045 §6.8), each with CRLF.
pub fn encode_base64(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() / 57 * 78 + 80);
    for line in bytes.chunks(57) {
        push_base64(&mut out, line);
        out.push_str("\r\n");
    }
    out
}

/// base64 without line ends.
pub(crate) fn push_base64(out: &mut String, bytes: &[u8]) {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, b| bits << 8 | u32::from(*b))
            << (8 * (3 - group.len()));
        for place in 0..4 {
            let value = (bits >> (18 - 6 * place)) & 63;
            let character = alphabet.get(value as usize).copied().unwrap_or(b'A');
            out.push(if place <= group.len() { char::from(character) } else { '=' });
        }
    }
}

/// quoted-printable (RFC 2045 §6.7). An `=` that begins no pair of hexadecimal digits stands for itself.
pub fn decode_quoted_printable(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len() + 32);
    quoted_printable_into(raw, &mut out);
    out
}

/// The same behind what `out` holds.
pub(crate) fn quoted_printable_into(raw: &[u8], out: &mut Vec<u8>) {
    if !simd::quoted_printable(raw, out) {
        out.extend_from_slice(&quoted_printable_by_lines(raw));
    }
}

/// Line by line, where there is no faster way.
pub(crate) fn quoted_printable_by_lines(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut at = 0;
    while at < raw.len() {
        let line = line_at(raw, at);
        let text = trim_end_blanks(raw.get(line.start..line.end).unwrap_or_default());
        at = line.next;
        if let Some(soft) = text.strip_suffix(b"=") {
            push_hex_escapes(&mut out, soft, b'=');
        } else {
            push_hex_escapes(&mut out, text, b'=');
            out.extend_from_slice(raw.get(line.end..line.next).unwrap_or_default());
        }
    }
    out
}

/// Text with `=C4` or `%C4` undone; a mark without two digits stays.
pub(crate) fn push_hex_escapes(out: &mut Vec<u8>, text: &[u8], mark: u8) {
    let mut rest = text;
    while let Some(found) = memchr(mark, rest) {
        let (plain, escaped) = rest.split_at(found);
        out.extend_from_slice(plain);
        let byte = match escaped {
            [_, high, low, ..] => hex_pair(*high, *low),
            _ => None,
        };
        out.push(byte.unwrap_or(mark));
        rest = escaped.get(if byte.is_some() { 3 } else { 1 }..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}

const NO_HEX: u8 = 0xff;

#[expect(clippy::indexing_slicing, reason = "a constant: the compiler would stop")]
const HEX: [u8; 256] = {
    let mut table = [NO_HEX; 256];
    let mut value = 0;
    while value < 16 {
        table[b"0123456789ABCDEF"[value as usize] as usize] = value;
        table[b"0123456789abcdef"[value as usize] as usize] = value;
        value += 1;
    }
    table
};

/// The byte that two digits write. A table, because nobody can foresee whether a digit or a letter comes next.
#[inline]
#[expect(clippy::indexing_slicing, reason = "a byte is always inside a table of 256")]
pub(crate) fn hex_pair(high: u8, low: u8) -> Option<u8> {
    let (high, low) = (HEX[usize::from(high)], HEX[usize::from(low)]);
    ((high | low) != NO_HEX).then_some(high << 4 | low)
}

/// uuencode: the lines between `begin` and `end`; without `begin`, every line.
pub fn decode_uuencode(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len() / 4 * 3);
    let mut at = find_begin(raw).unwrap_or(0);
    while at < raw.len() {
        let line = line_at(raw, at);
        at = line.next;
        let text = raw.get(line.start..line.end).unwrap_or_default();
        if trim_end_blanks(text) == b"end" {
            break;
        }
        let Some((&length, characters)) = text.split_first() else {
            continue;
        };
        let length = usize::from(length.wrapping_sub(b' ') & 63);
        let start = out.len();
        for group in characters.chunks(4) {
            let bits = (0..4).fold(0_u32, |bits, i| {
                let byte = group.get(i).copied().unwrap_or(b' ');
                bits << 6 | u32::from(byte.wrapping_sub(b' ') & 63)
            });
            out.extend_from_slice(&bits.to_be_bytes()[1..]);
        }
        out.truncate(start + length);
    }
    out
}

/// Where the line after `begin 644 name` starts.
fn find_begin(raw: &[u8]) -> Option<usize> {
    let mut at = 0;
    while at < raw.len() {
        let line = line_at(raw, at);
        if raw.get(line.start..line.end).unwrap_or_default().starts_with(b"begin ") {
            return Some(line.next);
        }
        at = line.next;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_names_return() {
        assert!(DECODERS.is_sorted_by(|a, b| a.name < b.name));
        for row in DECODERS {
            assert_eq!(Encoding::from_name(&row.name.to_uppercase()), row.encoding);
            let name = row.encoding.name();
            assert_eq!(Encoding::from_name(name), row.encoding);
            if let Some(decode) = row.decode {
                assert_eq!(row.encoding.undo(b"aGk=").unwrap(), decode(b"aGk="));
            }
        }
        assert_eq!(Encoding::from_name("X-Odd"), Encoding::Other("x-odd".into()));
        assert_eq!(Encoding::Other("x-odd".into()).undo(b"a"), None);
    }

    #[test]
    fn base64() {
        #[track_caller]
        fn check(raw: &str, expect: &str, clean: bool) {
            assert_eq!(String::from_utf8_lossy(&decode_base64(raw.as_bytes())), expect);
            assert_eq!(is_clean_base64(raw.as_bytes()), clean, "{raw:?}");
        }
        check("", "", true);
        check("aGVsbG8=", "hello", true);
        check("aGVs\r\nbG8=\r\n", "hello", true);
        check("aGVsbG8", "hello", false);
        check("aGVsb", "hel", false);
        check("aGVs\r\n!*bG8=", "hello", false);
        check("aGVs\r\nbA==\r\nbw==", "hello", false);
        check("====", "", false);
        check("a", "", false);
        check("aGVsbG8gd29ybGQgaGVsbG8gd29ybGQ=", "hello world hello world", true);
    }

    /// Long enough for the fast way: the byte that is wrong stands anywhere.
    #[test]
    fn clean_or_not() {
        let good = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2\r\n".repeat(4);
        assert!(is_clean_base64(good.as_bytes()));
        // In the last place a `=` would be right.
        for place in 0..good.len() - 3 {
            for byte in 0..=255 {
                let mut raw = good.clone().into_bytes();
                let was = std::mem::replace(&mut raw[place], byte);
                let in_alphabet = |b: u8| b.is_ascii_alphanumeric() || b"+/".contains(&b);
                let (was, now) = (in_alphabet(was), in_alphabet(byte));
                let blank = b" \t\r\n".contains(&byte);
                let expect = was == now && (now || blank);
                assert_eq!(is_clean_base64(&raw), expect, "{byte} at {place}");
            }
        }
    }

    #[test]
    fn base64_returns() {
        let bytes: Vec<u8> = (0..=255).cycle().take(1000).collect();
        for length in 0..200 {
            let text = encode_base64(&bytes[..length]);
            assert!(text.lines().all(|l| l.len() <= 76));
            assert!(is_clean_base64(text.as_bytes()));
            assert_eq!(decode_base64(text.as_bytes()), bytes[..length]);
        }
    }

    #[test]
    fn quoted_printable() {
        #[track_caller]
        fn check(raw: &str, expect: &str) {
            assert_eq!(String::from_utf8_lossy(&decode_quoted_printable(raw.as_bytes())), expect);
        }
        check("", "");
        check("Za=C5=BC=C3=B3=c5=82=c4=87", "Zażółć");
        check("100%= 5==3D=ZZ x", "100%= 5===ZZ x");
        check("hel=  \r\nlo", "hello");
        check("a=\nb=\r\nc", "abc");
        check("trailing \t\r\nblanks ", "trailing\r\nblanks");
        check("=", "");
        check("=4", "=4");
        check("a\r\n\r\nb\r\n", "a\r\n\r\nb\r\n");
    }

    #[test]
    fn uuencode() {
        #[track_caller]
        fn check(raw: &str, expect: &str) {
            assert_eq!(String::from_utf8_lossy(&decode_uuencode(raw.as_bytes())), expect);
        }
        check("begin 644 u.bin\r\n%:&5L;&\\\r\n`\r\nend\r\ntail", "hello");
        check("note\nbegin 644 u.bin\n%:&5L;&\\\n`\nend\n", "hello");
        check("%:&5L;&\\", "hello");
        check("", "");
        check("begin 644 x\n!80", "a");
    }
}
