//! Tells of a text as it stands that something looked for is not in it: neither its tags are taken away nor is it
//! put in the form in which texts are compared. Most texts of most letters are done with that.
//!
//! Of what is looked for, `żółwią łapę`, two characters of ASCII side by side are taken that are rare, `wi`. In a
//! text they stand as they are, in either case, unless a tag, a reference or a character whose form is ASCII
//! (`ﬁ`, `™`) comes between. So one pass over the bytes finds all places where it can stand; around each, one
//! character after the other is compared until one differs, or cannot be told.

use super::fold::{Makers, form_of};
use memchr::memchr;

/// A shorter text is in nearly every letter.
const NEEDLE_BYTES: usize = 3;
/// What texts are made of, the most frequent first, over languages of Europe.
const COMMON: &[u8] = b" eaiotnrszcldwumpykh.,gbfv-jx'q";
/// What means something by itself in HTML or in a header.
const SIGNS: &[u8] = b"<>&;:";
/// Bytes looked at together.
const BLOCK: usize = 64;
/// References in one text that are decoded here; with more, all of the text is.
const REFERENCES: usize = 32;
/// The longest that is one: `&#1114111;`. More than `mparser` takes.
const REFERENCE_BYTES: usize = 16;

/// What a text is, as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    /// Its text is what [`mparser::html_to_text`] makes of it.
    Html,
    /// Header fields in ASCII, without encoded words or as if there were none.
    Header,
}

/// What is known then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    No,
    Perhaps,
    Yes,
}

/// What is looked for, and where in it.
pub(super) struct Anchor {
    folded: Vec<u8>,
    /// The first of the two stands here.
    place: usize,
    /// Both, with the bit set that parts upper from lower case.
    pair: [u8; 2],
    /// Characters whose form holds the first.
    makers: Makers,
}

impl Anchor {
    /// Of a folded text.
    pub(super) fn of(folded: &[u8]) -> Option<Self> {
        if folded.len() < NEEDLE_BYTES {
            return None;
        }
        let rarity = |byte: u8| COMMON.iter().position(|b| *b == byte).unwrap_or(COMMON.len());
        let pairs = folded.iter().zip(folded.iter().skip(1)).enumerate();
        // What follows is ASCII too: so the first is no letter with a mark, taken apart.
        let usable = pairs.filter(|(_, (first, second))| {
            first.is_ascii_graphic()
                && second.is_ascii()
                && !SIGNS.contains(first)
                && !SIGNS.contains(second)
        });
        let (place, (first, second)) =
            usable.max_by_key(|(_, (first, second))| rarity(**first) + rarity(**second))?;
        Some(Self {
            folded: folded.to_vec(),
            place,
            pair: [first | 0x20, second | 0x20],
            makers: Makers::of(*first),
        })
    }

    /// Whether it is in the text that `text` stands for.
    pub(super) fn look(&self, text: &str, kind: Kind) -> Seen {
        let bytes = text.as_bytes();
        let mut effort = Effort { steps: bytes.len(), references: REFERENCES };
        let mut start = 0;
        while let Some(rest) = bytes.get(start..).filter(|rest| !rest.is_empty()) {
            let marks = if let Some(block) = rest.first_chunk::<{ BLOCK + 2 }>() {
                self.marks(block)
            } else {
                let mut block = [0; BLOCK + 2];
                block.iter_mut().zip(rest).for_each(|(slot, byte)| *slot = *byte);
                self.marks(&block)
            };
            if marks.iter().fold(0, |any, mark| any | mark) != 0 {
                match self.look_closely(text, start, &marks, kind, &mut effort) {
                    Seen::No => {}
                    seen => return seen,
                }
            }
            start += BLOCK;
        }
        Seen::No
    }

    /// For each byte of a block: [`PAIR`], [`ODD`], [`AMPERSAND`], mostly none. Without a branch.
    fn marks(&self, block: &[u8; BLOCK + 2]) -> [u8; BLOCK] {
        let [first, second] = self.pair;
        let mut marks = [0; BLOCK];
        let behind = block.iter().skip(1).zip(block.iter().skip(2));
        for (mark, (a, (b, c))) in marks.iter_mut().zip(block.iter().zip(behind)) {
            let bit = |is: bool| u8::from(is);
            // Whatever may hide the second. A blank does not: it is one.
            let hides = bit(*b < b' ') | bit(*b >= 0x7f) | bit(*b == b'<') | bit(*b == b'&');
            let pair = bit(a | 0x20 == first) & (bit(b | 0x20 == second) | hides);
            *mark = (pair * PAIR) | (odd(*a, *b, *c) * ODD) | (bit(*a == b'&') * AMPERSAND);
        }
        marks
    }

    /// What there really is at the marks of the block at `start`.
    fn look_closely(
        &self,
        text: &str,
        start: usize,
        marks: &[u8; BLOCK],
        kind: Kind,
        effort: &mut Effort,
    ) -> Seen {
        for (number, word) in marks.as_chunks::<8>().0.iter().enumerate() {
            let mut word = u64::from_le_bytes(*word);
            while word != 0 {
                let byte = (word.trailing_zeros() / 8) as usize;
                let mark = (word >> (8 * byte)).to_le_bytes()[0];
                word &= !(0xff << (8 * byte));
                let at = start + number * 8 + byte;
                let is_odd = || {
                    let c = text.get(at..).and_then(|rest| rest.chars().next());
                    c.is_some_and(|c| self.makers.has(c))
                };
                if mark & ODD != 0 && is_odd()
                    || mark & AMPERSAND != 0
                        && kind == Kind::Html
                        && self.is_made_by_reference(text, at, effort)
                {
                    return Seen::Perhaps;
                }
                if mark & PAIR != 0 {
                    match self.around(text, at, kind, effort) {
                        Seen::No => {}
                        seen => return seen,
                    }
                }
            }
        }
        Seen::No
    }

    /// Whether all of it stands around its first character.
    fn around(&self, text: &str, at: usize, kind: Kind, effort: &mut Effort) -> Seen {
        let (before, after) = self.folded.split_at(self.place);
        // `@` and `[` have the marks of others.
        let stands = text.as_bytes().get(at).map(u8::to_ascii_lowercase);
        if stands.as_ref() != after.first() {
            return Seen::No;
        }
        let ahead = text.get(at + 1..).unwrap_or_default().chars();
        let mut seen = walk::<true>(ahead, after.get(1..).unwrap_or_default(), kind, effort);
        if seen != Seen::No {
            let back = text.get(..at).unwrap_or_default().chars().rev();
            let other = walk::<false>(back, before, kind, effort);
            seen = if other == Seen::Yes { seen } else { other };
        }
        match seen {
            // It may stand where nobody sees it.
            Seen::Yes if kind != Kind::Plain => Seen::Perhaps,
            seen => seen,
        }
    }

    /// Whether the first character comes out of the reference that begins here.
    fn is_made_by_reference(&self, text: &str, at: usize, effort: &mut Effort) -> bool {
        let rest = text.get(at..).unwrap_or_default();
        if rest.starts_with("&nbsp;") || rest.starts_with("&amp;") {
            return false;
        }
        let window = rest.as_bytes().get(..REFERENCE_BYTES.min(rest.len())).unwrap_or_default();
        let Some(length) = memchr(b';', window) else { return false };
        if effort.references == 0 {
            return true;
        }
        effort.references -= 1;
        let first = self.folded.get(self.place).copied().unwrap_or_default();
        let decoded = mparser::html_to_text(rest.get(..=length).unwrap_or_default(), window.len());
        let is_first = |c: char| c.eq_ignore_ascii_case(&char::from(first));
        decoded.chars().any(|c| is_first(c) || !c.is_ascii() && self.makers.has(c))
    }
}

/// Marks: of a byte.
const PAIR: u8 = 1;
const ODD: u8 = 2;
const AMPERSAND: u8 = 4;

/// What one text may still cost: letters are made by strangers.
struct Effort {
    steps: usize,
    references: usize,
}

/// 1: three bytes that begin with a character whose form has a character of ASCII by itself. A few others are
/// among them.
fn odd(a: u8, b: u8, c: u8) -> u8 {
    let bit = |is: bool| u8::from(is);
    let from = |byte: u8, first: u8, count: u8| bit(byte.wrapping_sub(first) < count);
    // ª ² ³ ¹ º ¼ ½ ¾
    let latin = bit(a == 0xc2) & (bit(b == 0xaa) | from(b, 0xb2, 2) | from(b, 0xb9, 6));
    // ı Ĳ ĳ ŉ ſ
    let extended = bit(a & 0xfe == 0xc4) & (from(b, 0xb1, 3) | bit(b == 0x89) | bit(b == 0xbf));
    // Dashes and quotes are none; dots are.
    let signs = bit(a == 0xe2) & (1 ^ (bit(b == 0x80) & bit(c < 0xa4)));
    latin | extended | from(a, 0xc6, 8) | bit(a == 0xe1) | signs | bit(a >= 0xe3)
}

/// Compares what follows in a text with what is looked for; when not `AHEAD`, both from their ends.
fn walk<const AHEAD: bool>(
    chars: impl Iterator<Item = char>,
    mut needle: &[u8],
    kind: Kind,
    effort: &mut Effort,
) -> Seen {
    let mut in_gap = false;
    for mut c in chars {
        let next = if AHEAD { needle.first() } else { needle.last() };
        let Some(&next) = next else { return Seen::Yes };
        if effort.steps == 0 {
            return Seen::Perhaps;
        }
        effort.steps -= 1;
        if kind == Kind::Html && (c <= ' ' || c == '\x7f') {
            // Any number of them is one blank.
            if in_gap {
                continue;
            }
            (in_gap, c) = (true, ' ');
        } else {
            in_gap = false;
        }
        if cannot_be_told(c, next, kind, AHEAD) {
            return Seen::Perhaps;
        }
        let mut ascii = [0];
        let form = if c.is_ascii() {
            c.to_ascii_lowercase().encode_utf8(&mut ascii).as_bytes()
        } else if let Some(form) = form_of(c) {
            form
        } else {
            return Seen::Perhaps;
        };
        let rest = if AHEAD { needle.strip_prefix(form) } else { needle.strip_suffix(form) };
        let Some(rest) = rest else {
            let ends = if AHEAD { form.starts_with(needle) } else { form.ends_with(needle) };
            return if ends { Seen::Yes } else { Seen::No };
        };
        needle = rest;
    }
    if needle.is_empty() { Seen::Yes } else { Seen::No }
}

/// Whether a character may stand for something else; `next` is what should be there.
fn cannot_be_told(c: char, next: u8, kind: Kind, ahead: bool) -> bool {
    match kind {
        Kind::Plain => false,
        // Beyond ASCII, what has no width or is a blank is neither a letter nor a digit.
        Kind::Html if !c.is_ascii() => !c.is_alphanumeric(),
        // Tags and references, from their beginnings and from their ends.
        Kind::Html if ahead => matches!(c, '<' | '&'),
        Kind::Html => matches!(c, '>' | ';'),
        // Folds; and blanks around the colon are as in `Name: value`, however they were written.
        Kind::Header => {
            let at_colon = matches!(next, b' ' | b':') && matches!(c, ' ' | ':');
            !c.is_ascii() || c < ' ' || at_colon && !(c == ' ' && next == b' ')
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fold::fold;
    use super::*;

    fn is_in(needle: &[u8], text: &str) -> bool {
        let text = fold(text);
        text.windows(needle.len()).any(|part| part == needle)
    }

    /// What is told is so: of a text as it stands, and of the one it stands for.
    #[track_caller]
    fn check(needle: &str, text: &str) -> [Seen; 2] {
        let folded = fold(needle);
        let Some(anchor) = Anchor::of(&folded) else { return [Seen::Perhaps; 2] };
        let plain = anchor.look(text, Kind::Plain);
        let there = is_in(&folded, text);
        assert!(plain == Seen::Perhaps || (plain == Seen::Yes) == there, "{needle:?} {text:?}");
        let html = anchor.look(text, Kind::Html);
        let there = is_in(&folded, &mparser::html_to_text(text, text.len()));
        assert!(html == Seen::Perhaps || html == Seen::No && !there, "{needle:?} {text:?}");
        if text.is_ascii() {
            let header = anchor.look(text, Kind::Header);
            let fields =
                mparser::header_fields(text.as_bytes(), 0..u32::try_from(text.len()).unwrap());
            for field in fields.filter(|field| !field.raw.windows(2).any(|two| two == b"=?")) {
                let name = String::from_utf8_lossy(field.name);
                let shown = format!("{name}: {}", mparser::decode_header_text(field.value));
                assert!(header == Seen::Perhaps || !is_in(&folded, &shown), "{needle:?} {text:?}");
            }
        }
        [plain, html]
    }

    #[test]
    fn what_is_told() {
        use Seen::{No, Perhaps, Yes};
        #[track_caller]
        fn row(needle: &str, text: &str, expect: [Seen; 2]) {
            assert_eq!(check(needle, text), expect, "{needle:?} {text:?}");
            for blanks in [1, 61, 62, 63, 64, 65] {
                let far = format!("{}{text}", " ".repeat(blanks));
                assert_eq!(check(needle, &far), expect, "{needle:?} {text:?} {blanks}");
            }
        }
        row("nowhere", "", [No, No]);
        row("nowhere", "is now here", [No, No]);
        row("nowhere", "it is NoWHERE.", [Yes, Perhaps]);
        row("żółwią łapę", "Jaźń i ŻÓŁWIĄ ŁAPĘ", [Yes, Perhaps]);
        row("żółwią łapę", "zażółć żółwia łapę", [No, No]);
        row("żółwią łapę", "zo\u{301}łwią łapę", [No, Perhaps]);
        row("żółwią łapę", "z\u{307}o\u{301}łwią łapę", [Yes, Perhaps]);
        row("wo", "wo", [Perhaps, Perhaps]);
        row("wor", "wör", [No, No]);
        row("two", "twö", [Yes, Perhaps]);
        row("a b c", "a\r\n b c", [No, Perhaps]);
        row("a b c", "a\u{a0}b c", [Yes, Perhaps]);
        row("no where", "no<p>where", [No, Perhaps]);
        row("nowhere", "no<b>w</b>here", [No, Perhaps]);
        row("nowhere", "no&#119;here", [No, Perhaps]);
        row("nowhere", "no&#x57;here &nbsp; &amp;", [No, Perhaps]);
        row("nowhere", "&#380;&oacute; &nbsp; &amp;", [No, No]);
        row("find", "ﬁnd", [Perhaps, Perhaps]);
        row("atm", "a™", [Perhaps, Perhaps]);
        row("x21", "x²1", [Perhaps, Perhaps]);
        row("nowhere", "日本語 한국어 かな 😀 … € ½ „x” ș", [No, No]);
        row("日本", "日本", [Perhaps, Perhaps]);
    }

    /// No character is overlooked, of any kind and at any place.
    #[test]
    fn characters_with_ascii_in_their_form() {
        let all: Vec<Makers> = (b'!'..=b'~').map(Makers::of).collect();
        for c in (0x80..=u32::from(char::MAX)).filter_map(char::from_u32) {
            let form = fold(c.encode_utf8(&mut [0; 4]));
            let mut bytes = [0; 6];
            c.encode_utf8(&mut bytes);
            let is_odd = odd(bytes[0], bytes[1], bytes[2]) == 1;
            for (at, byte) in form.iter().enumerate().filter(|(_, b)| b.is_ascii_graphic()) {
                if form.get(at + 1).is_none_or(u8::is_ascii) {
                    assert!(all[usize::from(byte - b'!')].has(c) && is_odd, "{c:?} {byte}");
                }
            }
        }
    }

    /// What texts of [`any_text`] are made of.
    const PIECES: &[&str] = &[
        "w",
        "wh",
        "W",
        "here",
        "no",
        "o",
        "ó",
        "O\u{301}",
        " ",
        "  ",
        "\r\n",
        "\r\n ",
        "\t",
        "<b>",
        "</b>",
        "<p class=\"w\">",
        "<",
        ">",
        "&",
        ";",
        "&nbsp;",
        "&#119;",
        "&oacute;",
        "&shy;",
        "\u{ad}",
        "\u{200b}",
        "\u{a0}",
        "ﬁ",
        "™",
        "…",
        "日",
        "😀",
        "ż",
        "ł",
        "ą",
        "ĳ",
        ":",
        ": ",
        " :",
        "X",
        "<!-- w",
        "-->",
        "<style>",
        "</style>",
        "\x7f",
        "=?",
        "a",
        "\x0b",
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "fi",
        "tm",
        "w w",
        "Xw :",
    ];

    /// Pieces of all that matters put together at random.
    #[test]
    fn any_text() {
        let mut seed = 7_u32;
        let mut next = |count: usize| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as usize % count
        };
        let mut told = [0; 3];
        for _ in 0..20_000 {
            let text: String = (0..=next(24)).map(|_| PIECES[next(PIECES.len())]).collect();
            // Often a piece of the text, as it stands or as it is read, is looked for.
            let read = mparser::html_to_text(&text, text.len());
            let from = [&text, &read][next(2)];
            let chars: Vec<char> = from.chars().collect();
            let needle: String = if chars.is_empty() || next(4) == 0 {
                (0..=next(4)).map(|_| PIECES[next(PIECES.len())]).collect()
            } else if next(8) == 0 {
                text.replace(" :", ":").chars().take(3 + next(4)).collect()
            } else {
                let at = next(chars.len());
                chars[at..].iter().take(2 + next(8)).collect()
            };
            told[check(&needle, &text)[0] as usize] += 1;
        }
        assert!(told.iter().all(|count| *count > 500), "{told:?}");
    }

    /// Texts made to take long end as soon as others.
    #[test]
    fn much_of_the_same() {
        let anchor = Anchor::of(&[b'a'; 8000]).unwrap();
        let text = format!("{}b", "a".repeat(7999)).repeat(300);
        assert_eq!(anchor.look(&text, Kind::Plain), Seen::Perhaps);
        let references = "&#380;".repeat(500_000);
        assert_eq!(anchor.look(&references, Kind::Html), Seen::Perhaps);
    }
}
