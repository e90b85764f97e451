//! Encoded words in header fields (RFC 2047), read forgivingly and written strictly.
//!
//! ```text
//! encoded-word = "=?" charset ["*" language] "?" ("B" / "Q") "?" encoded-text "?="     ; RFC 2231 §5
//! ```

use crate::charset::{decode_charset, has_shifts, header_bytes};
use crate::decode::{decode_base64, push_base64, push_hex_escapes};
use crate::headers::unfold;
use memchr::memmem;

/// Longest charset with its language. The longest label in use has 27 characters.
const CHARSET_BYTES: usize = 64;
/// RFC 2047 §2: an encoded word has at most 75 characters.
const WORD_BYTES: usize = 75;
/// RFC 5322 §2.1.1: a line should have at most 78 characters.
const FOLD_BYTES: usize = 76;

/// A field's value as people read it: unfolded, words of RFC 2047 decoded, other bytes read as UTF-8 or else
/// as windows-1252.
pub fn decode_header_text(raw: &[u8]) -> String {
    let mut line = unfold(raw);
    // Folded text often goes on with a tab, which nobody means to be seen.
    line.iter_mut().filter(|b| **b == b'\t').for_each(|b| *b = b' ');
    decode_words(&header_bytes(&line, None))
}

/// Decodes the words in text on one line. A character may be split over words of one charset; blanks between
/// words vanish; a word may be glued to other text and may hold blanks.
pub(crate) fn decode_words(text: &str) -> String {
    let Some(first) = text.find("=?") else {
        return text.to_owned();
    };
    let mut reader =
        Reader { out: String::with_capacity(text.len()), charset: "", bytes: Vec::new() };
    let mut plain_from = 0;
    let mut at = first;
    while let Some(found) = text.get(at..).and_then(|t| t.find("=?")) {
        let start = at + found;
        match parse_word(text, start) {
            Parsed::Word { charset, bytes, end } => {
                reader.plain(text.get(plain_from..start).unwrap_or_default());
                reader.word(charset, &bytes);
                (plain_from, at) = (end, end);
            }
            Parsed::Plain => at = start + 2,
            Parsed::NoMoreWords => break,
        }
    }
    reader.flush();
    reader.out.push_str(text.get(plain_from..).unwrap_or_default());
    reader.out
}

struct Reader<'a> {
    out: String,
    /// Of `bytes`, which wait for the next word: it may hold the rest of a character.
    charset: &'a str,
    bytes: Vec<u8>,
}

impl<'a> Reader<'a> {
    fn plain(&mut self, text: &str) {
        let after_word = !self.charset.is_empty();
        if after_word && text.bytes().all(|b| matches!(b, b' ' | b'\t')) {
            return;
        }
        self.flush();
        self.out.push_str(text);
    }

    fn word(&mut self, charset: &'a str, bytes: &[u8]) {
        // Words with shifts begin and end in ASCII: a character is never split over them.
        let whole = has_shifts(charset);
        if whole || !self.charset.eq_ignore_ascii_case(charset) {
            self.flush();
            self.charset = charset;
        }
        self.bytes.extend_from_slice(bytes);
    }

    fn flush(&mut self) {
        if !self.bytes.is_empty() {
            self.out.push_str(&decode_charset(&self.bytes, Some(self.charset)));
            self.bytes.clear();
        }
        self.charset = "";
    }
}

enum Parsed<'a> {
    Word {
        charset: &'a str,
        bytes: Vec<u8>,
        end: usize,
    },
    /// `=?` that begins no word.
    Plain,
    /// Nothing later can be a word either: there is no `?=`.
    NoMoreWords,
}

/// Reads the word at `=?`. Looks at no byte twice but for the charset, whose length is bounded.
fn parse_word(text: &str, start: usize) -> Parsed<'_> {
    let Some(rest) = text.get(start + 2..) else {
        return Parsed::Plain;
    };
    let window = rest.as_bytes().get(..CHARSET_BYTES.min(rest.len())).unwrap_or_default();
    let Some(mark) = window.iter().position(|b| *b == b'?' || b.is_ascii_whitespace()) else {
        return Parsed::Plain;
    };
    let (Some(label), Some(after)) = (rest.get(..mark), rest.as_bytes().get(mark..)) else {
        return Parsed::Plain;
    };
    let charset = label.split('*').next().unwrap_or_default();
    if charset.is_empty() {
        return Parsed::Plain;
    }
    let base64 = match after {
        [b'?', b'B' | b'b', b'?', ..] => true,
        [b'?', b'Q' | b'q', b'?', ..] => false,
        _ => return Parsed::Plain,
    };
    let content = after.get(3..).unwrap_or_default();
    let Some(length) = memmem::find(content, b"?=") else {
        return Parsed::NoMoreWords;
    };
    let content = content.get(..length).unwrap_or_default();
    let bytes = if base64 { decode_base64(content) } else { decode_q(content) };
    Parsed::Word { charset, bytes, end: start + 2 + mark + 3 + length + 2 }
}

/// The Q encoding (RFC 2047 §4.2).
fn decode_q(content: &[u8]) -> Vec<u8> {
    let blanks: Vec<u8> = content.iter().map(|b| if *b == b'_' { b' ' } else { *b }).collect();
    let mut out = Vec::with_capacity(content.len());
    push_hex_escapes(&mut out, &blanks, b'=');
    out
}

/// Text for an unstructured field or a display name: as it is when plain ASCII, else words of RFC 2047 in UTF-8,
/// folded. Control characters, line ends among them, become blanks, so that no text can add a field; so do byte
/// order marks, which whoever reads the words would swallow.
pub fn encode_header_text(text: &str) -> String {
    let vanishes = |c: char| c.is_control() || c == '\u{feff}';
    let text: String = text.chars().map(|c| if vanishes(c) { ' ' } else { c }).collect();
    let plain = text.is_ascii()
        && !text.contains("=?")
        && text.trim() == text
        && text.split(' ').all(|word| word.len() <= FOLD_BYTES);
    if plain { fold(&text) } else { encode_words(&text) }
}

/// Line ends before blanks, so that no line grows past 76 characters and none is blank.
fn fold(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 32);
    let mut column = 12; // leaves room for the field's name
    for (i, word) in text.split(' ').enumerate() {
        if i > 0 {
            if column + 1 + word.len() > FOLD_BYTES && !word.is_empty() {
                out.push_str("\r\n");
                column = 0;
            }
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += word.len();
    }
    out
}

/// Whole characters in words of at most 75 bytes, in B or Q, whichever is shorter for the whole text.
pub(crate) fn encode_words(text: &str) -> String {
    let escaped = text.bytes().filter(|b| !is_q_safe(*b)).count();
    let q = text.len() + 2 * escaped <= text.len().div_ceil(3) * 4;
    let prefix = if q { "=?utf-8?Q?" } else { "=?utf-8?B?" };
    let room = WORD_BYTES - prefix.len() - 2;
    let width = |c: char| -> usize {
        let mut buffer = [0; 4];
        let bytes = c.encode_utf8(&mut buffer).bytes();
        if q { bytes.map(|b| if is_q_safe(b) { 1 } else { 3 }).sum() } else { c.len_utf8() }
    };
    let limit = if q { room } else { room / 4 * 3 };
    let mut out = String::with_capacity(text.len() * 3);
    // RFC 2047 §2: no line with a word has more than 76 characters, and on the first one stands the field's name.
    let (mut word, mut used) = (String::new(), 12);
    for c in text.chars() {
        if used + width(c) > limit {
            push_word(&mut out, prefix, &word, q);
            out.push_str("\r\n ");
            word.clear();
            used = 0;
        }
        word.push(c);
        used += width(c);
    }
    push_word(&mut out, prefix, &word, q);
    out
}

fn push_word(out: &mut String, prefix: &str, word: &str, q: bool) {
    out.push_str(prefix);
    if q {
        for byte in word.bytes() {
            match byte {
                b' ' => out.push('_'),
                safe if is_q_safe(safe) => out.push(char::from(safe)),
                other => {
                    let digit = |n: u8| char::from_digit(u32::from(n), 16).unwrap_or('0');
                    let (high, low) = (digit(other >> 4), digit(other & 15));
                    out.extend(['=', high.to_ascii_uppercase(), low.to_ascii_uppercase()]);
                }
            }
        }
    } else {
        push_base64(out, word.as_bytes());
    }
    out.push_str("?=");
}

/// What a Q word may hold even in a display name (RFC 2047 §5.3).
fn is_q_safe(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b" !*+-/".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoded() {
        #[track_caller]
        fn check(raw: &str, expect: &str) {
            assert_eq!(decode_header_text(raw.as_bytes()), expect, "{raw:?}");
        }
        check("plain text", "plain text");
        check("  folded\r\n text ", "folded text");
        check("folded\r\n\ttext", "folded text");
        check("=?utf-8?B?xbw=?= =?utf-8?Q?=C3?= =?utf-8?Q?=B3_x?=", "żó x");
        check("=?utf-8?Q?a b c?=", "a b c");
        check("=?utf-8?Q?a?=\r\n =?utf-8?Q?b?=", "ab");
        check("=?utf-8?Q?a?= =?iso-8859-2?q?=B1?=", "aą");
        check("=?utf-8?Q?a?= b =?utf-8?Q?c?=", "a b c");
        check("x=?utf-8?Q?=C4=85?=y", "xąy");
        check("=?utf-8?B?xIU?=", "ą");
        check("=?utf-8*pl?Q?=C4=85?=", "ą");
        check("=?x-unknown?Q?abc?=", "abc");
        check("=?UTF-8?q??=", "");
        check("=?utf-8?X?abc?=", "=?utf-8?X?abc?=");
        check("=?utf-8?Q?abc", "=?utf-8?Q?abc");
        check("=?=?=?=?", "=?=?=?=?");
        check("a =?? ?= b", "a =?? ?= b");
        check("=?", "=?");
        check("\u{17c}\u{f3}", "żó");
        check("a\0b", "a\0b");
        check("=?iso-2022-jp?B?GyRCRnxLXBsoQg==?= =?iso-2022-jp?B?GyRCRnxLXBsoQg==?=", "日本日本");
        check("=?utf-8?Q?Zam=C3=B3wienie_?= =?utf-8?Q?nr_7?=", "Zamówienie nr 7");
    }

    #[test]
    fn raw_bytes_in_a_word_are_in_its_charset() {
        #[track_caller]
        fn check(raw: &[u8], expect: &str) {
            assert_eq!(decode_header_text(raw), expect, "{}", raw.escape_ascii());
        }
        check(b"=?iso-8859-1?Q?Fr\xf6sche?=", "Frösche");
        check(b"=?iso-8859-2?q?\xb1?= \xe9 =?iso-8859-1?Q?\xf6=F6_?= x", "ą é öö  x");
        check(b"=?iso-8859-1?Q?Fr\xf6sche", "=?iso-8859-1?Q?Frösche");
    }

    #[test]
    fn encoded_text_returns() {
        #[track_caller]
        fn check(text: &str) {
            let encoded = encode_header_text(text);
            assert!(encoded.is_ascii());
            assert_eq!(decode_header_text(encoded.as_bytes()), text, "{encoded:?}");
            for line in encoded.split("\r\n") {
                assert!(line.len() <= 78, "{line:?}");
            }
        }
        check("");
        check("Hello");
        check("Zażółć gęślą jaźń");
        check("日本語の件名です、とても長いので折り返しが必要になります。日本語の件名です。");
        check(&"Zażółć gęślą jaźń ".repeat(40));
        check(&"word ".repeat(40));
        check(&"x".repeat(500));
        check("=?utf-8?Q?not a word?=");
        check("two  blanks and a = sign, \"quotes\" (and) <more>");
        check(&"wide   gaps    between     words ".repeat(9));
        check("a_b=c ą");
        assert_eq!(encode_header_text("Hello"), "Hello");
        assert_eq!(encode_header_text("a\r\nBcc: x"), "a  Bcc: x");
        assert_eq!(encode_header_text("\u{feff}b> <c=?u"), "=?utf-8?B?IGI+IDxjPT91?=");
    }
}
