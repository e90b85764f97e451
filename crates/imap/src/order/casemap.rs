//! `i;unicode-casemap` (RFC 5051): the form of a text whose bytes tell how it is sorted.
//!
//! Each character goes to title case where that is one character, then into its parts. `ala`, `Ala` and `ALA`
//! have one form; `ą` stands right behind `a`.

use unicode_normalization::char::decompose_compatible;

pub(crate) fn casemap(text: &str) -> Vec<u8> {
    if text.is_ascii() {
        return text.to_ascii_uppercase().into_bytes();
    }
    let mut form = Vec::with_capacity(text.len() + text.len() / 4);
    for c in text.chars() {
        // Ideographs have neither case nor parts.
        if matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}') {
            form.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        decompose_compatible(title(c), |part| {
            form.extend_from_slice(part.encode_utf8(&mut [0; 4]).as_bytes());
        });
    }
    form
}

/// RFC 5051 §2: the simple mapping. Characters whose upper case is several stay, as `ß` does; a few letters
/// that are drawn as two have a title case of their own.
fn title(c: char) -> char {
    match c {
        '\u{1c4}'..='\u{1c6}' => return '\u{1c5}',
        '\u{1c7}'..='\u{1c9}' => return '\u{1c8}',
        '\u{1ca}'..='\u{1cc}' => return '\u{1cb}',
        '\u{1f1}'..='\u{1f3}' => return '\u{1f2}',
        // Georgian has capitals, but no title case.
        '\u{10d0}'..='\u{10ff}' => return c,
        _ => {}
    }
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        #[track_caller]
        fn check(text: &str, expect: &str) {
            assert_eq!(String::from_utf8(casemap(text)).unwrap(), expect, "{text}");
        }
        check("", "");
        check("Ala ma kota_1", "ALA MA KOTA_1");
        check("żółw", "Z\u{307}O\u{301}ŁW");
        check("ŻÓŁW", "Z\u{307}O\u{301}ŁW");
        check("straße", "STRAßE");
        check("ﬁn", "fiN");
        check("ǆ", "D\u{17d}".replace('\u{17d}', "z\u{30c}").as_str());
        check("中文a", "中文A");
    }

    #[test]
    fn order() {
        let mut words = ["b", "ą", "_", "Az", "a", "B\u{e9}", "Ab"];
        words.sort_by_key(|word| casemap(word));
        assert_eq!(words, ["a", "Ab", "Az", "ą", "b", "B\u{e9}", "_"]);
    }
}
