//! Words of a letter, cut in two ways.

use super::features::Page;
use super::hash::{hash, mix};

/// Of one header field and of the text so many words are looked at.
const FIELD_WORDS: usize = 200;
const TEXT_WORDS: usize = 1_500;
/// A longer one is cut into pieces of so many bytes.
const WORD_BYTES: usize = 40;
/// Bytes of a tag that are looked through for its end.
const TAG_BYTES: usize = 600;

/// Words of a field carry its name; `Received` its number from the top, too.
pub(super) fn words(page: &Page<'_>, put: &mut impl FnMut(u64)) {
    let mut received = 0;
    for (name, value) in &page.fields {
        let mut seed = hash(5, name);
        if name == b"received" {
            received += 1;
            seed = seed.wrapping_add(received.min(3));
        }
        put(seed);
        cut(value, seed, FIELD_WORDS, put);
    }
    for part in &page.parts {
        put(hash(77, part));
    }
    cut(page.text, 0, TEXT_WORDS, put);
}

fn cut(text: &[u8], seed: u64, most: usize, put: &mut impl FnMut(u64)) {
    let mut left = most;
    let mut at = 0;
    while left > 0 {
        let Some(byte) = text.get(at) else { return };
        if !is_word(*byte) {
            if matches!(byte, b'<' | b'/' | b'=' | b'?') {
                put(mix(seed ^ u64::from(*byte)));
                left -= 1;
            }
            at += 1;
            continue;
        }
        let rest = text.get(at..).unwrap_or_default();
        let end = rest.iter().take(WORD_BYTES).position(|byte| !is_word(*byte));
        let end = end.unwrap_or(rest.len().min(WORD_BYTES));
        let word = without(rest.get(..end).unwrap_or_default(), b"", b".-'");
        if !word.is_empty() {
            put(hash(seed, word));
            left -= 1;
        }
        at += end;
    }
}

fn is_word(byte: u8) -> bool {
    WORD.get(usize::from(byte)).copied().unwrap_or_default()
}

/// Where a word of [`tokens`] stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Text,
    Subject,
    From,
    To,
    ReturnPath,
    Received,
    Mime,
    Head,
    /// A network, part of an IP address.
    Network,
}

impl Place {
    fn of_field(name: &[u8]) -> Self {
        match name {
            b"subject" => Self::Subject,
            b"from" => Self::From,
            b"to" | b"cc" => Self::To,
            b"return-path" => Self::ReturnPath,
            b"received" => Self::Received,
            _ if name.starts_with(b"content-") => Self::Mime,
            _ => Self::Head,
        }
    }

    /// As people read it before the word.
    pub(super) fn shown(self) -> &'static str {
        match self {
            Self::Text => "",
            Self::Subject => "Subject: ",
            Self::From => "From: ",
            Self::To => "To: ",
            Self::ReturnPath => "Return-Path: ",
            Self::Received => "Received: ",
            Self::Mime => "type: ",
            Self::Head => "header: ",
            Self::Network => "network: ",
        }
    }
}

pub(super) fn token(place: Place, word: &[u8]) -> u64 {
    hash(4242 + place as u64, word)
}

/// Words of three to thirty bytes that are no numbers, with their place; of HTML the text, links, images and fonts.
pub(super) fn tokens(page: &Page<'_>, put: &mut impl FnMut(Place, &[u8])) {
    for (name, value) in &page.fields {
        let place = Place::of_field(name);
        split(name, place, put);
        split(value, place, put);
    }
    for part in &page.parts {
        split(part, Place::Mime, put);
    }
    split(&without_tags(page.text), Place::Text, put);
}

fn split(text: &[u8], place: Place, put: &mut impl FnMut(Place, &[u8])) {
    for word in text.split(|byte| is_delimiter(*byte)) {
        let word = without(word, b".-'!_", b".-'_");
        if (3..=30).contains(&word.len()) && !word.iter().all(u8::is_ascii_digit) {
            put(place, word);
        }
        if is_ip(word) {
            let mut network = word;
            while let Some(dot) = network.iter().rposition(|byte| *byte == b'.') {
                put(Place::Network, network);
                network = network.get(..dot).unwrap_or_default();
            }
        }
    }
}

/// One look for each byte: half of a decision was spent on asking whether it ends a word.
type Bytes = [bool; 256];

#[expect(
    clippy::indexing_slicing,
    reason = "worked out at compile time, where a panic is an error"
)]
const fn table(listed: &[u8], controls: bool, letters: bool) -> Bytes {
    let mut table = [false; 256];
    let mut byte: u8 = 0;
    loop {
        let at = byte as usize;
        table[at] =
            controls && byte <= b' ' || letters && (byte.is_ascii_alphanumeric() || byte >= 128);
        let mut place = 0;
        while place < listed.len() {
            table[at] |= listed[place] == byte;
            place += 1;
        }
        if byte == u8::MAX {
            return table;
        }
        byte += 1;
    }
}

static DELIMITERS: Bytes = table(b"<>;=():&%#@+|/\\{}^\"?*,[]~`", true, false);
static WORD: Bytes = table(b"-_$'.@!", false, true);

fn is_delimiter(byte: u8) -> bool {
    DELIMITERS.get(usize::from(byte)).copied().unwrap_or_default()
}

fn is_ip(word: &[u8]) -> bool {
    (7..=15).contains(&word.len())
        && word.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
        && memchr::memchr_iter(b'.', word).count() == 3
}

fn without<'a>(mut word: &'a [u8], front: &[u8], back: &[u8]) -> &'a [u8] {
    while let Some((first, rest)) = word.split_first().filter(|(first, _)| front.contains(first)) {
        debug_assert!(front.contains(first));
        word = rest;
    }
    while let Some((last, rest)) = word.split_last().filter(|(last, _)| back.contains(last)) {
        debug_assert!(back.contains(last));
        word = rest;
    }
    word
}

/// Comments go, and tags but those of links, images and fonts, which keep what is in them.
fn without_tags(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = memchr::memchr(b'<', rest) {
        let (before, tag) = rest.split_at_checked(start).unwrap_or((rest, &[]));
        out.extend_from_slice(before);
        if let Some(comment) = tag.strip_prefix(b"<!--") {
            let end = memchr::memmem::find(comment, b"-->").map_or(comment.len(), |end| end + 3);
            rest = comment.get(end..).unwrap_or_default();
            continue;
        }
        let window = tag.get(..TAG_BYTES).unwrap_or(tag);
        let Some(end) = memchr::memchr(b'>', window) else {
            out.push(b'<');
            rest = tag.get(1..).unwrap_or_default();
            continue;
        };
        let inside = tag.get(1..end).unwrap_or_default();
        if is_kept(inside) {
            out.push(b' ');
            out.extend_from_slice(inside);
            out.push(b' ');
        }
        rest = tag.get(end + 1..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out
}

fn is_kept(tag: &[u8]) -> bool {
    let Some(start) = tag.first_chunk::<2>() else { return false };
    matches!(&start.map(|byte| byte.to_ascii_lowercase()), b"a " | b"a\n" | b"a\r" | b"im" | b"fo")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page<'a>(name: &str, value: &'a str, text: &'a str) -> Page<'a> {
        Page {
            fields: vec![(name.as_bytes().to_vec(), value.as_bytes())],
            text: text.as_bytes(),
            parts: Vec::new(),
        }
    }

    #[test]
    fn tokens_have_their_place() {
        #[track_caller]
        fn check(name: &str, value: &str, text: &str, expect: &str) {
            let mut found = Vec::new();
            tokens(&page(name, value, text), &mut |place, word| {
                found.push(format!("{}{}", place.shown(), String::from_utf8_lossy(word)));
            });
            assert_eq!(found.join("|"), expect);
        }
        check(
            "subject",
            "Cheap $$$ pills!",
            "",
            "Subject: subject|Subject: Cheap|Subject: $$$|Subject: pills!",
        );
        check("x", "it is 12345", "", "");
        check(
            "x",
            "[192.0.2.7]",
            "",
            "header: 192.0.2.7|network: 192.0.2.7|network: 192.0.2|network: 192.0",
        );
        let html = "V<!-- no -->iagra <b>now</b> <a href=\"http://evil.test/x\">here</a>";
        check("x", "", html, "Viagra|now|href|http|evil.test|here");
        check("x", "", "a < b <unclosed word", "unclosed|word");
    }

    #[test]
    fn words_are_bounded() {
        let mut count = 0;
        words(&page("to", &"a ".repeat(10_000), &"b ".repeat(10_000)), &mut |_| count += 1);
        assert_eq!(count, 1 + FIELD_WORDS + TEXT_WORDS);
        let mut count = 0;
        words(&page("x", "", &"y".repeat(30_000)), &mut |_| count += 1);
        assert_eq!(count, 1 + 750, "a long one is many");
    }
}
