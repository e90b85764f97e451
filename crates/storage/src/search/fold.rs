//! Text in the form in which it is compared (RFC 5051, `i;unicode-casemap`): without case, characters with marks
//! taken apart. Two texts are the same when their folded forms are; one is in the other when its form is.
//!
//! Each character goes to upper and back to lower case where that is one character (so that σ, ς and Σ are one),
//! then into its parts. `ß` stays `ß`; `ö` in a text is also found by `o`.

use std::sync::LazyLock;
use unicode_normalization::char::decompose_compatible;

/// Characters below this have their form in a table: Latin, Greek, Cyrillic, typographic signs.
const TABLE_END: u32 = 0x2100;
const TABLE_START: u32 = 0x80;
/// Of a form in the table; the few longer ones are made anew.
const FORM_BYTES: usize = 7;
const TOO_LONG: u8 = u8::MAX;

/// A form and its length.
type Form = ([u8; FORM_BYTES + 1], u8);

static TABLE: LazyLock<Vec<Form>> = LazyLock::new(|| {
    let forms = (TABLE_START..TABLE_END).map(|code| {
        let mut form = Vec::new();
        match char::from_u32(code) {
            Some(c) => push_form(c, &mut form),
            None => return ([0; FORM_BYTES + 1], TOO_LONG),
        }
        let mut bytes = [0; FORM_BYTES + 1];
        match (bytes.get_mut(..form.len()), u8::try_from(form.len())) {
            (Some(start), Ok(length)) if form.len() <= FORM_BYTES => {
                start.copy_from_slice(&form);
                (bytes, length)
            }
            _ => (bytes, TOO_LONG),
        }
    });
    forms.collect()
});

/// The folded form of a text.
pub(crate) fn fold(text: &str) -> Vec<u8> {
    let mut form = Vec::new();
    fold_into(text, &mut form);
    form
}

/// The same behind what `out` holds.
pub(crate) fn fold_into(text: &str, out: &mut Vec<u8>) {
    let start = out.len();
    if text.is_ascii() {
        out.extend_from_slice(text.as_bytes());
        out.get_mut(start..).unwrap_or_default().make_ascii_lowercase();
        return;
    }
    // Marks stand apart in the form.
    out.reserve(text.len() + text.len() / 4 + 8);
    let table = &**TABLE;
    let mut at = 0;
    while let Some(rest) = text.as_bytes().get(at..).filter(|rest| !rest.is_empty()) {
        let plain = fold_ascii(rest, out);
        at += plain;
        if let Some(&[first, second]) = rest.get(plain..plain + 2)
            && (0xc2..0xe0).contains(&first)
        {
            // Most that is not ASCII takes two bytes.
            let code = u32::from(first & 0x1f) << 6 | u32::from(second & 0x3f);
            push_from(table, code, out);
            at += 2;
        } else if let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
            push_from(table, u32::from(c), out);
            at += c.len_utf8();
        }
    }
}

/// The form of a character beyond ASCII, where the table has it.
pub(crate) fn form_of(c: char) -> Option<&'static [u8]> {
    let place = u32::from(c).checked_sub(TABLE_START)? as usize;
    let (bytes, length) = TABLE.get(place)?;
    bytes.get(..usize::from(*length))
}

/// Characters beyond ASCII whose form has a byte of ASCII by itself, not as a letter with a mark behind it: `ﬁ` has
/// an `f` and an `i`, `…` has dots, `ö` has no `o`.
pub(crate) struct Makers {
    /// One bit for each character of the table.
    bits: Vec<u64>,
}

impl Makers {
    /// Of a character of ASCII that is printed.
    pub(crate) fn of(byte: u8) -> Self {
        let mut bits = vec![0_u64; (TABLE_END as usize).div_ceil(64)];
        let table = &**TABLE;
        for (code, (bytes, length)) in (TABLE_START..).zip(table) {
            // One that is too long for the table is taken for one.
            let makes = bytes.get(..usize::from(*length)).is_none_or(|form| {
                let next = form.iter().skip(1).map(Some).chain([None]);
                form.iter().zip(next).any(|(b, next)| *b == byte && next.is_none_or(u8::is_ascii))
            });
            if let Some(word) = bits.get_mut(code as usize / 64) {
                *word |= u64::from(makes) << (code % 64);
            }
        }
        Self { bits }
    }

    /// `false`: surely not.
    pub(crate) fn has(&self, c: char) -> bool {
        let code = u32::from(c);
        match self.bits.get(code as usize / 64) {
            Some(word) => word >> (code % 64) & 1 == 1,
            // Kana, ideographs, Hangul, pictures.
            None => {
                !matches!(code, 0x3040..=0x30ff | 0x3400..=0x9fff | 0xac00..=0xd7a3 | 0x1f300..=0x1faff)
            }
        }
    }
}

/// Lower case of the ASCII that `bytes` begin with; gives its length.
fn fold_ascii(bytes: &[u8], out: &mut Vec<u8>) -> usize {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let mut at = 0;
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        let high = word & HIGH;
        // 8 when all are ASCII.
        let plain = (high.trailing_zeros() / 8) as usize;
        out.extend_from_slice(&lower(word & !HIGH).to_le_bytes());
        at += plain;
        if high != 0 {
            out.truncate(out.len() - 8 + plain);
            return at;
        }
    }
    let rest = bytes.get(at..).unwrap_or_default();
    let plain = rest.iter().take_while(|b| b.is_ascii());
    out.extend(plain.clone().map(u8::to_ascii_lowercase));
    at + plain.count()
}

/// Eight ASCII characters at once.
fn lower(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let from_a = word + EACH * u64::from(0x80 - b'A');
    let over_z = word + EACH * u64::from(0x80 - b'Z' - 1);
    let upper = from_a & !over_z & (EACH << 7);
    word | upper >> 2
}

fn push_from(table: &[Form], code: u32, out: &mut Vec<u8>) {
    let place = code.wrapping_sub(TABLE_START) as usize;
    match (table.get(place), char::from_u32(code)) {
        (Some((bytes, length)), _) if *length != TOO_LONG => {
            out.extend_from_slice(bytes);
            out.truncate(out.len() - bytes.len() + usize::from(*length));
        }
        (_, Some(c)) => push_form(c, out),
        (_, None) => {}
    }
}

fn push_form(c: char, out: &mut Vec<u8>) {
    let mut push = |c: char| out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    // Ideographs have neither case nor parts.
    if matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}') {
        return push(c);
    }
    decompose_compatible(without_case(c), |part| push(without_case(part)));
}

fn without_case(c: char) -> char {
    let upper = one_of(c.to_uppercase()).unwrap_or(c);
    one_of(upper.to_lowercase()).unwrap_or(upper)
}

fn one_of(mut mapped: impl Iterator<Item = char>) -> Option<char> {
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => Some(one),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_are_the_same() {
        #[track_caller]
        fn check(one: &str, other: &str) {
            assert_eq!(fold(one), fold(other), "{one} {other}");
        }
        check("", "");
        check("Hello, World @[`{ 0129", "hELLO, wORLD @[`{ 0129");
        check("ZAŻÓŁĆ GĘŚLĄ JAŹŃ", "zażółć gęślą jaźń");
        check("ΟΔΥΣΣΕΥΣ Ήταν", "οδυσσευς ήταν");
        check("ПРИВЕТ Ёж Їжак", "привет ёж їжак");
        check("ÀÉÎÕÜÝ Æ Ø Ð Þ Œ Ÿ", "àéîõüý æ ø ð þ œ ÿ");
        check("Straẞe", "straße");
        check("é", "e\u{301}");
        check("Ａｂｃ", "abc");
        check("\u{212a}elvin \u{212b}", "kelvin å");
        check("ﬁn …", "fin ...");
        check("日本 한글 が", "日本 한글 か\u{3099}");
        check("Ǆ ǅ", "dž dž");
    }

    #[test]
    fn texts_that_are_not() {
        #[track_caller]
        fn check(one: &str, other: &str) {
            assert_ne!(fold(one), fold(other), "{one} {other}");
        }
        check("ł", "l");
        check("ż", "ź");
        check("ss", "ß");
        check("[", "{");
        check("@", "`");
    }

    /// The quick way gives what one character after the other gives, wherever it stands.
    #[test]
    fn every_character_at_every_place() {
        let mut longest = 0;
        for code in 0..=u32::from(char::MAX) {
            let Some(c) = char::from_u32(code) else { continue };
            let mut form = Vec::new();
            push_form(c, &mut form);
            longest = longest.max(form.len());
            for before in if code < 0x3000 { &[0, 3, 7, 8][..] } else { &[0][..] } {
                let text = format!("{}{c}Za", "A".repeat(*before));
                let expect = [&b"aaaaaaaa"[..*before], &form, b"za"].concat();
                assert_eq!(fold(&text), expect, "{code:x}");
            }
        }
        assert!(longest <= super::super::needles::FORM_BYTES_MAX, "{longest}");
    }
}
