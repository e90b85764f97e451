//! Charsets of mail that the WHATWG list leaves out: two tables of one byte a character, and three that shift.
//!
//! Each reader takes any bytes in one pass; what has no character becomes U+FFFD.

use encoding_rs::{EUC_KR, GBK};
use memchr::memchr;

/// A charset of one byte a character, whose lower half is ASCII.
pub(crate) struct Table {
    /// Bytes 128 to 255.
    upper: &'static str,
}

/// IBM code page 850 (Latin-1 under DOS). Source: Unicode Consortium, `MAPPINGS/VENDORS/MICSFT/PC/CP850.TXT`, version 2.00.
pub(crate) const CP850: Table = Table {
    upper: "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜø£Ø×ƒ\
            áíóúñÑªº¿®¬½¼¡«»░▒▓│┤ÁÂÀ©╣║╗╝¢¥┐\
            └┴┬├─┼ãÃ╚╔╩╦╠═╬¤ðÐÊËÈıÍÎÏ┘┌█▄¦Ì▀\
            ÓßÔÒõÕµþÞÚÛÙýÝ¯´\u{ad}±‗¾¶§÷¸°¨·¹³²■\u{a0}",
};

/// Mac OS Central European. Source: Unicode Consortium, `MAPPINGS/VENDORS/MICSFT/MAC/LATIN2.TXT`, version 2.00.
pub(crate) const MAC_CE: Table = Table {
    upper: "ÄĀāÉĄÖÜáąČäčĆćéŹźĎíďĒēĖóėôöõúĚěü\
            †°Ę£§•¶ß®©™ę¨≠ģĮįĪ≤≥īĶ∂∑łĻļĽľĹĺŅ\
            ņŃ¬√ńŇ∆«»…\u{a0}ňŐÕőŌ–—“”‘’÷◊ōŔŕŘ‹›řŖ\
            ŗŠ‚„šŚśÁŤťÍŽžŪÓÔūŮÚůŰűŲųÝýķŻŁżĢˇ",
};

impl Table {
    pub(crate) fn decode(&self, bytes: &[u8]) -> String {
        // Looked up once a call: characters of UTF-8 have no fixed place in the string.
        let upper: Vec<char> = self.upper.chars().collect();
        let text = bytes.iter().map(|byte| match byte.checked_sub(128) {
            None => char::from(*byte),
            Some(place) => upper.get(usize::from(place)).copied().unwrap_or('\u{fffd}'),
        });
        text.collect()
    }
}

/// UTF-7 (RFC 2152). Between `+` and the first character outside base64 stands UTF-16 in base64; `-` behind it
/// belongs to it, and `+-` is a plus. Bytes over 127 are not allowed and become U+FFFD.
pub(crate) fn decode_utf_7(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(plus) = memchr(b'+', rest) {
        let (plain, shifted) = rest.split_at(plus);
        push_ascii(&mut out, plain);
        let shifted = shifted.get(1..).unwrap_or_default();
        let length = shifted.iter().position(|b| sextet(*b).is_none()).unwrap_or(shifted.len());
        let (coded, after) = shifted.split_at(length);
        let closed = after.first() == Some(&b'-');
        if coded.is_empty() {
            out.push('+');
        } else {
            push_utf_16(&mut out, coded);
        }
        rest = after.get(usize::from(closed)..).unwrap_or_default();
    }
    push_ascii(&mut out, rest);
    out
}

fn sextet(byte: u8) -> Option<u32> {
    Some(u32::from(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

/// UTF-16, big end first, in base64 without padding.
fn push_utf_16(out: &mut String, coded: &[u8]) {
    let (mut bits, mut held) = (0_u32, 0);
    let units = coded.iter().filter_map(|byte| sextet(*byte)).filter_map(|value| {
        bits = bits << 6 | value;
        held += 6;
        (held >= 16).then(|| {
            held -= 16;
            let [_, _, high, low] = (bits >> held).to_be_bytes();
            u16::from_be_bytes([high, low])
        })
    });
    out.extend(char::decode_utf16(units).map(|c| c.unwrap_or('\u{fffd}')));
}

fn push_ascii(out: &mut String, bytes: &[u8]) {
    out.extend(bytes.iter().map(|b| if b.is_ascii() { char::from(*b) } else { '\u{fffd}' }));
}

/// HZ (RFC 1843): `~{` begins pairs of GB 2312 with the high bit cleared, `~}` ends them, `~~` is a tilde, and a
/// tilde before a line end joins the lines. Real letters also have raw GBK beside it; it is read as such.
pub(crate) fn decode_hz(bytes: &[u8]) -> String {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    let mut pairs = false;
    loop {
        match rest {
            [] => break,
            [b'~', b'{', after @ ..] if !pairs => (pairs, rest) = (true, after),
            [b'~', b'}', after @ ..] if pairs => (pairs, rest) = (false, after),
            [b'~', b'~', after @ ..] if !pairs => {
                plain.push(b'~');
                rest = after;
            }
            [b'~', b'\r', b'\n', after @ ..] | [b'~', b'\n', after @ ..] if !pairs => rest = after,
            // A line end always goes back to ASCII (RFC 1843 §2).
            [end @ (b'\r' | b'\n'), after @ ..] => {
                plain.push(*end);
                (pairs, rest) = (false, after);
            }
            [high @ 0x21..=0x7d, low @ 0x21..=0x7e, after @ ..] if pairs => {
                plain.extend_from_slice(&[high | 0x80, low | 0x80]);
                rest = after;
            }
            [byte, after @ ..] => {
                plain.push(*byte);
                rest = after;
            }
        }
    }
    GBK.decode_without_bom_handling(&plain).0.into_owned()
}

/// ISO-2022-KR (RFC 1557): between SO and SI stand pairs of KS X 1001 with the high bit cleared; the announcement
/// `ESC $ ) C` stands once at the start, and is passed over wherever it is.
pub(crate) fn decode_iso_2022_kr(bytes: &[u8]) -> String {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    let mut shifted = false;
    loop {
        match rest {
            [] => break,
            [0x1b, b'$', b')', b'C', after @ ..] => rest = after,
            [0x0e, after @ ..] => (shifted, rest) = (true, after),
            [0x0f, after @ ..] => (shifted, rest) = (false, after),
            [end @ (b'\r' | b'\n'), after @ ..] => {
                plain.push(*end);
                (shifted, rest) = (false, after);
            }
            [high @ 0x21..=0x7e, low @ 0x21..=0x7e, after @ ..] if shifted => {
                plain.extend_from_slice(&[high | 0x80, low | 0x80]);
                rest = after;
            }
            [byte, after @ ..] => {
                plain.push(*byte);
                rest = after;
            }
        }
    }
    EUC_KR.decode_without_bom_handling(&plain).0.into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_every_byte_once() {
        for table in [CP850, MAC_CE] {
            let mut upper: Vec<char> = table.upper.chars().collect();
            assert_eq!(upper.len(), 128);
            upper.sort_unstable();
            upper.dedup();
            assert_eq!(upper.len(), 128);
            let ascii: Vec<u8> = (0..128).collect();
            assert_eq!(table.decode(&ascii).as_bytes(), ascii);
        }
        assert_eq!(CP850.decode(b"\x80\xff\x9e"), "Ç\u{a0}×");
        assert_eq!(MAC_CE.decode(b"\x80\xff\xb8\xfc"), "ÄˇłŁ");
    }

    #[test]
    fn shifting() {
        #[track_caller]
        fn check(decode: fn(&[u8]) -> String, bytes: &[u8], expect: &str) {
            assert_eq!(decode(bytes), expect, "{:?}", String::from_utf8_lossy(bytes));
        }
        // The examples of RFC 2152 §"Examples".
        check(decode_utf_7, b"A+ImIDkQ.", "A≢Α.");
        check(decode_utf_7, b"Hi Mom -+Jjo--!", "Hi Mom -☺-!");
        check(decode_utf_7, b"+ZeVnLIqe-", "日本語");
        check(decode_utf_7, b"Item 3 is +AKM-1.", "Item 3 is £1.");
        check(decode_utf_7, b"1 +- 1, +", "1 + 1, +");
        check(decode_utf_7, b"+2D3eAA", "😀");
        check(decode_utf_7, b"+2D0-x \xff", "\u{fffd}x \u{fffd}");
        check(decode_utf_7, b"+A", "");
        check(decode_utf_7, b"", "");
        check(decode_hz, b"a ~~ ~{VPND~} b", "a ~ 中文 b");
        check(decode_hz, b"~{VP\nx~\ny~", "中\nxy~");
        check(decode_hz, b"~{VP~}\xd6\xd0", "中中");
        check(decode_hz, b"~", "~");
        check(decode_iso_2022_kr, b"\x1b$)C\r\na\x0eGQ1[\x0fb", "\r\na한글b");
        check(decode_iso_2022_kr, b"\x0eGQ\n1[", "한\n1[");
        check(decode_iso_2022_kr, b"\x0eG", "G");
        check(decode_iso_2022_kr, b"\x1b", "\x1b");
    }
}
