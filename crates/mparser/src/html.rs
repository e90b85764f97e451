//! Text out of HTML, for previews and for rules: no document is built, one pass, nothing is trusted. To show HTML
//! safely is another matter and not done here.

use crate::limits;
use memchr::{memchr, memchr2};

/// Elements whose content is no text.
const SILENT: [u64; 8] =
    words(["head", "noembed", "noframes", "script", "style", "template", "title", "xmp"]);

/// Elements that do not part words.
const INLINE: [u64; 28] = words([
    "a", "abbr", "b", "bdi", "bdo", "big", "cite", "code", "em", "font", "i", "ins", "kbd",
    "label", "mark", "q", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "tt",
    "u", "var", "wbr",
]);

/// Names as [`element`] gives them.
#[expect(clippy::indexing_slicing, reason = "a constant: the compiler would stop")]
const fn words<const N: usize>(names: [&str; N]) -> [u64; N] {
    let mut words = [0; N];
    let mut at = 0;
    while at < N {
        let (name, mut end) = (names[at].as_bytes(), names[at].len());
        assert!(end <= 8, "does not fit");
        while end > 0 {
            end -= 1;
            words[at] = words[at] << 8 | name[end] as u64;
        }
        at += 1;
    }
    words
}

/// Named characters that mail has; the rest stay as they are written.
const NAMED: &[(&str, char)] = &[
    ("amp", '&'),
    ("apos", '\''),
    ("auml", 'ä'),
    ("bdquo", '„'),
    ("bull", '•'),
    ("copy", '©'),
    ("eacute", 'é'),
    ("egrave", 'è'),
    ("euro", '€'),
    ("gt", '>'),
    ("hellip", '…'),
    ("laquo", '«'),
    ("ldquo", '“'),
    ("lsquo", '‘'),
    ("lt", '<'),
    ("mdash", '—'),
    ("middot", '·'),
    ("nbsp", ' '),
    ("ndash", '–'),
    ("oacute", 'ó'),
    ("Oacute", 'Ó'),
    ("ouml", 'ö'),
    ("quot", '"'),
    ("raquo", '»'),
    ("rdquo", '”'),
    ("reg", '®'),
    ("rsquo", '’'),
    ("shy", '\u{ad}'),
    ("szlig", 'ß'),
    ("trade", '™'),
    ("uuml", 'ü'),
    ("zwj", '\u{200d}'),
    ("zwnj", '\u{200c}'),
];

/// The longest reference that is looked for: `&#1114111;`.
const REFERENCE_BYTES: usize = 12;

/// The text of an HTML document on one line, at most `max_chars` characters.
pub fn html_to_text(html: &str, max_chars: usize) -> String {
    beginning_of_html(html, max_chars).0
}

/// The same; `true`: whatever follows this piece of a document, its text begins so.
pub(crate) fn beginning_of_html(html: &str, max_chars: usize) -> (String, bool) {
    let mut line = OneLine::new(max_chars);
    let mut rest = html;
    while !line.is_full() && !rest.is_empty() {
        let stop = memchr2(b'<', b'&', rest.as_bytes()).unwrap_or(rest.len());
        let (text, after) = rest.split_at(stop);
        line.push_str(text);
        rest = match after.as_bytes().first() {
            Some(b'<') => skip_tag(after, &mut line),
            Some(_) => take_reference(after, &mut line),
            None => after,
        };
    }
    // A reference at the very end may go on.
    let decided = line.is_full() && rest.len() > REFERENCE_BYTES;
    (line.text, decided)
}

/// Plain text on one line, at most `max_chars` characters.
#[cfg(test)]
fn one_line(text: &str, max_chars: usize) -> String {
    beginning_of_text(text, max_chars).0
}

/// The same; `true`: whatever follows this piece of text, its line begins so.
pub(crate) fn beginning_of_text(text: &str, max_chars: usize) -> (String, bool) {
    let mut line = OneLine::new(max_chars);
    line.push_str(text);
    let decided = line.is_full();
    (line.text, decided)
}

/// Text whose white space is single blanks. Characters without width, with which newsletters pad their first
/// line, are left out.
struct OneLine {
    text: String,
    /// Characters that still fit.
    left: usize,
    /// A blank goes in front of what comes next.
    gap: bool,
}

/// Bytes that [`OneLine`] looks at together.
const WINDOW: usize = 64;

impl OneLine {
    fn new(max_chars: usize) -> Self {
        Self { text: String::new(), left: max_chars, gap: false }
    }

    fn is_full(&self) -> bool {
        self.left == 0
    }

    fn push_str(&mut self, text: &str) {
        // Most of what stands between tags.
        if text.bytes().all(|b| b <= b' ') {
            self.gap |= !text.is_empty() && !self.text.is_empty();
            return;
        }
        if self.push_clean(text) {
            return;
        }
        let mut rest = text;
        while self.left > 0 && !rest.is_empty() {
            let done = self.push_window(rest);
            let mut others = rest.get(done..).unwrap_or_default().chars();
            if done == 0 {
                // Such characters seldom come alone.
                others.by_ref().take(8).for_each(|c| self.push(c));
            }
            rest = others.as_str();
        }
    }

    /// Most text, as it stands, at once. `false`, and nothing pushed: some of it must be looked at closely.
    fn push_clean(&mut self, text: &str) -> bool {
        let inner = text.trim_ascii();
        if text.len() >= self.left || !is_clean(inner) {
            return false;
        }
        let has_text = !self.text.is_empty();
        self.gap |= has_text && text.starts_with(|c: char| c.is_ascii_whitespace());
        if !inner.is_empty() && self.bridge_gap() {
            self.text.push_str(inner);
            self.left -= inner.chars().count();
            self.gap = text.ends_with(|c: char| c.is_ascii_whitespace());
        }
        true
    }

    /// The beginning of the text, up to a character that may be blank, invisible or of control and is not ASCII; no
    /// more than a window and than there is room for. Gives how many bytes are done. All is told by masks: nobody can
    /// foresee where words end.
    fn push_window(&mut self, text: &str) -> usize {
        let mut line = [b' '; WINDOW];
        let length = text.len().min(WINDOW).min(self.left);
        line.iter_mut().zip(text.as_bytes()).for_each(|(slot, byte)| *slot = *byte);
        let blanks = mask(&line, |b| u8::from(b <= b' ') | u8::from(b == 0x7f));
        let length = text.floor_char_boundary(length.min(first(mask(&line, is_odd))));
        let lanes = u64::MAX.checked_shr(u32::try_from(WINDOW - length).unwrap_or(0)).unwrap_or(0);
        let blanks = blanks & lanes;
        if blanks == lanes {
            self.gap |= length > 0 && !self.text.is_empty();
            return length;
        }
        let mut dropped = blanks & (blanks << 1 | u64::from(self.gap || self.text.is_empty()));
        if !self.bridge_gap() {
            return length;
        }
        let starts = mask(&line, |b| u8::from(b & 0xc0 != 0x80)) & lanes & !dropped;
        // Usually all blanks are blanks, and the text can be taken as it stands.
        let is_control = |b: u8| u8::from(b < b' ') | u8::from(b == 0x7f);
        let plain = if line.iter().fold(0, |found, b| found | is_control(*b)) == 0 {
            text.get(..length)
        } else {
            for byte in &mut line {
                *byte = if *byte <= b' ' || *byte == 0x7f { b' ' } else { *byte };
            }
            line.get(..length).and_then(|line| str::from_utf8(line).ok())
        };
        let plain = plain.unwrap_or_default();
        let mut at = 0;
        while dropped != 0 {
            let end = first(dropped);
            self.text.push_str(plain.get(at..end).unwrap_or_default());
            at = end + (dropped >> end).trailing_ones() as usize;
            dropped &= u64::MAX.checked_shl(u32::try_from(at).unwrap_or(0)).unwrap_or(0);
        }
        self.text.push_str(plain.get(at..).unwrap_or_default());
        let mut count = starts.count_ones() as usize;
        if self.text.ends_with(' ') {
            self.text.pop();
            self.gap = true;
            count -= 1;
        }
        if count > self.left {
            // The blank in front took the place of one.
            self.text.pop();
            self.text.truncate(self.text.trim_ascii_end().len());
        }
        self.left = self.left.saturating_sub(count);
        length
    }

    /// The blank that parts words, if one waits. `false`: there is no room for it and a character more.
    fn bridge_gap(&mut self) -> bool {
        // A blank only together with what follows it, so that no text ends with one.
        let gap = std::mem::take(&mut self.gap);
        if self.left <= usize::from(gap) {
            self.left = 0;
            return false;
        }
        if gap {
            self.text.push(' ');
            self.left -= 1;
        } else if self.text.is_empty() {
            self.reserve();
        }
        true
    }

    /// Room for the text. Whoever wants all of it says a very large number.
    fn reserve(&mut self) {
        self.text.reserve(self.left.min(limits::PREVIEW_CHARS));
    }

    fn push(&mut self, c: char) {
        let invisible = matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        if c.is_whitespace() || c.is_control() {
            self.gap = !self.text.is_empty();
        } else if !invisible && self.bridge_gap() {
            self.text.push(c);
            self.left -= 1;
        }
    }
}

/// Whether text holds single blanks and printable characters alone. Told by bytes, without a branch for each.
fn is_clean(text: &str) -> bool {
    let odd = |b: u8| u8::from(b < b' ') | u8::from(b == 0x7f) | is_odd(b);
    let bytes = text.as_bytes();
    let pairs = bytes.iter().zip(bytes.iter().skip(1));
    let double = pairs.fold(0, |found, (a, b)| found | u8::from(*a == b' ') & u8::from(*b == b' '));
    double | bytes.iter().fold(0, |found, b| found | odd(*b)) == 0
}

/// 1: the first byte of characters of which some are blank, invisible or of control.
fn is_odd(byte: u8) -> u8 {
    let lead = u8::from(byte == 0xc2) | u8::from(byte == 0xcd) | u8::from(byte == 0xd8);
    lead | u8::from(byte.wrapping_sub(0xe1) < 3) | u8::from(byte == 0xef)
}

/// One bit for each byte: what `class` says of it, 0 or 1.
#[inline]
fn mask(line: &[u8; WINDOW], class: impl Fn(u8) -> u8) -> u64 {
    let mut classes = [0; WINDOW];
    classes.iter_mut().zip(line).for_each(|(slot, byte)| *slot = class(*byte));
    let words = classes.as_chunks().0.iter().rev();
    // The product has the lowest bits of all eight bytes side by side in its highest byte.
    words.fold(0, |mask, word| {
        mask << 8 | u64::from_le_bytes(*word).wrapping_mul(0x0102_0408_1020_4080) >> 56
    })
}

/// Where the first bit stands.
fn first(mask: u64) -> usize {
    mask.trailing_zeros() as usize
}

/// What stands behind the tag, comment or silent element that begins here.
fn skip_tag<'a>(html: &'a str, line: &mut OneLine) -> &'a str {
    if let Some(comment) = html.strip_prefix("<!--") {
        return comment.find("-->").and_then(|at| comment.get(at + 3..)).unwrap_or_default();
    }
    let inner = html.get(1..).unwrap_or_default();
    if !inner.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '!' | '?')) {
        line.push('<');
        return inner;
    }
    let name = inner.strip_prefix('/').unwrap_or(inner);
    let name =
        name.get(..name.bytes().take_while(u8::is_ascii_alphanumeric).count()).unwrap_or_default();
    let element = element(name);
    if !INLINE.contains(&element) {
        line.push(' ');
    }
    // A tag that is not closed hides the rest, as in a browser.
    let after =
        memchr(b'>', inner.as_bytes()).and_then(|at| inner.get(at + 1..)).unwrap_or_default();
    let silent = SILENT.contains(&element) && !inner.starts_with('/');
    if silent { skip_silent(after, name) } else { after }
}

/// A name of letters and digits as a number, the same for both cases; 0 for names longer than those we know.
fn element(name: &str) -> u64 {
    if name.len() > 8 {
        return 0;
    }
    name.bytes().rev().fold(0, |word, byte| word << 8 | u64::from(byte | 0x20))
}

/// What stands at the end tag of a silent element.
fn skip_silent<'a>(html: &'a str, name: &str) -> &'a str {
    let mut rest = html;
    while let Some(found) = rest.find("</") {
        rest = rest.get(found..).unwrap_or_default();
        let tag = rest.as_bytes().get(2..2 + name.len()).unwrap_or_default();
        if tag.eq_ignore_ascii_case(name.as_bytes()) {
            return rest;
        }
        rest = rest.get(2..).unwrap_or_default();
    }
    ""
}

/// `&amp;`, `&#380;`, `&#x17c;`: the character; anything else is text.
fn take_reference<'a>(html: &'a str, line: &mut OneLine) -> &'a str {
    let window = html.as_bytes().get(..REFERENCE_BYTES.min(html.len())).unwrap_or_default();
    let decoded = memchr(b';', window).and_then(|end| {
        let name = html.get(1..end)?;
        let c = match name.strip_prefix('#') {
            Some(number) => match number.strip_prefix(['x', 'X']) {
                Some(digits) => char::from_u32(u32::from_str_radix(digits, 16).ok()?)?,
                None => char::from_u32(number.parse().ok()?)?,
            },
            None => NAMED.iter().find(|(n, _)| *n == name)?.1,
        };
        Some((c, html.get(end + 1..)?))
    });
    let (c, after) = decoded.unwrap_or(('&', html.get(1..).unwrap_or_default()));
    line.push(c);
    after
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text() {
        #[track_caller]
        fn check(html: &str, expect: &str) {
            assert_eq!(html_to_text(html, 256), expect, "{html:?}");
        }
        check("", "");
        check("<p>Dzie&#324; dobry,<br>Ala &amp; <b>k</b>ot</p>", "Dzień dobry, Ala & kot");
        check("<html><head><title>x</title><style>p{}</style></head><body>a</body></html>", "a");
        check("<STYLE>a{}</Style>b<script>if (1<2) '</p>'</script>c", "b c");
        check("a<!-- <p>hidden -->b", "ab");
        check("a<!-- open", "a");
        check("1 < 2 &c; &#xzz; &", "1 < 2 &c; &#xzz; &");
        check("<td>a</td><td>b</td>", "a b");
        check("&zwnj;&nbsp;&zwnj;&nbsp;Oferta\u{200b}", "Oferta");
        check("a<b", "a");
        check("<style>never closed", "");
        check("&#55296;&#x110000;ż", "&#55296;&#x110000;ż");
    }

    /// Text that is taken many bytes at a time gives what it gives one character after the other.
    #[track_caller]
    fn check_pieces(pieces: &[&str], max_chars: usize) {
        let (mut short, mut long) = (OneLine::new(max_chars), OneLine::new(max_chars));
        for piece in pieces {
            short.push_str(piece);
            for c in piece.chars() {
                if long.left > 0 {
                    long.push(c);
                }
            }
            assert_eq!(short.text, long.text, "{pieces:?} {max_chars}");
            assert_eq!(short.is_full(), long.is_full(), "{pieces:?} {max_chars}");
        }
    }

    #[test]
    fn the_short_way_is_the_long_way() {
        let odd = "\u{a0}\u{ad}\u{85}\u{34f}\u{61c}\u{1680}\u{180e}\u{200b}\u{2028}\u{202f}\u{205f}\u{2060}\u{3000}\u{feff}\x0b\x0c\x7f\x01\t\r\n ";
        for piece in odd.chars().map(String::from).chain(["ą".into(), "„x”".into(), "x  y".into()])
        {
            for text in
                [piece.clone(), format!("a {piece}"), format!("{piece} ą"), format!(" a{piece}b ")]
            {
                for max_chars in 0..12 {
                    for before in ["", "z", "z "] {
                        check_pieces(&[before, &text, "end"], max_chars);
                    }
                }
            }
        }
    }

    #[test]
    fn long_text_is_the_same() {
        let mut seed = 3_u32;
        let mut next = |count: u32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((seed >> 8) % count) as usize
        };
        let parts =
            ["word", "a", " ", "  ", "\r\n", "\t", "\n\n", "ż", "\u{a0}", "\u{200b}", "\x01"];
        for round in 0..3000 {
            // The first ones only, and all text is ASCII.
            let used = if round % 3 == 0 { 7 } else { 11 };
            let pieces: Vec<String> =
                (0..=next(4)).map(|_| (0..next(70)).map(|_| parts[next(used)]).collect()).collect();
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            check_pieces(&pieces, 1 + next(200));
        }
    }

    #[test]
    fn names_of_elements() {
        let check = |html: &str, expect: &str| assert_eq!(html_to_text(html, 99), expect, "{html}");
        for name in ["a", "WBR", "Strong", "strike"] {
            check(&format!("x<{name}>y</{name} b=c>z"), "xyz");
        }
        for name in ["p", "H1", "blockquote", "strongest", "wb", "wbrx", "a1"] {
            check(&format!("x<{name}>y</{name}>z"), "x y z");
        }
        for name in ["noframes", "XMP", "Template"] {
            check(&format!("x<{name}>y</{name}>z"), "x z");
        }
    }

    #[test]
    fn is_cut_at_a_character() {
        assert_eq!(html_to_text("ąąąą bbb", 6), "ąąąą b");
        assert_eq!(html_to_text("ąąąą bbb", 5), "ąąąą");
        assert_eq!(one_line("  a \r\n\t b ", 9), "a b");
        assert_eq!(one_line("a ", usize::MAX), "a");
        assert_eq!(one_line("abc de", 4), "abc");
        assert_eq!(one_line("abc de", 3), "abc");
    }
}
