//! Text out of HTML, for previews and for rules: no document is built, one pass, nothing is trusted. To show HTML
//! safely is another matter and not done here.

use crate::limits;
use memchr::{memchr, memchr2};

/// Elements whose content is no text.
const SILENT: &[&str] =
    &["head", "noembed", "noframes", "script", "style", "template", "title", "xmp"];

/// Elements that do not part words.
const INLINE: &[&str] = &[
    "a", "abbr", "b", "bdi", "bdo", "big", "cite", "code", "em", "font", "i", "ins", "kbd",
    "label", "mark", "q", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "tt",
    "u", "var", "wbr",
];

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
    left: usize,
    gap: bool,
}

impl OneLine {
    fn new(max_chars: usize) -> Self {
        Self { text: String::new(), left: max_chars, gap: false }
    }

    fn is_full(&self) -> bool {
        self.left == 0
    }

    fn push_str(&mut self, text: &str) {
        if self.push_clean(text) {
            return;
        }
        let mut rest = text;
        while self.left > 0 {
            let plain = rest.bytes().position(|b| !b.is_ascii_graphic()).unwrap_or(rest.len());
            let (word, after) = rest.split_at_checked(plain).unwrap_or_default();
            self.push_word(word);
            let mut others = after.chars();
            match others.next() {
                None => return,
                // All that is left of ASCII is blanks and control characters.
                Some(c) if c.is_ascii() => self.gap = !self.text.is_empty(),
                Some(c) => self.push(c),
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

    /// Printable ASCII without blanks.
    #[inline]
    fn push_word(&mut self, word: &str) {
        if word.is_empty() || !self.bridge_gap() {
            return;
        }
        let kept = word.get(..self.left.min(word.len())).unwrap_or_default();
        self.text.push_str(kept);
        self.left -= kept.len();
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
            // Whoever wants all the text says a very large number.
            self.text.reserve(self.left.min(limits::PREVIEW_CHARS));
        }
        true
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

/// Whether text holds single blanks and printable characters alone. Told by bytes, without a branch for each: of
/// characters that are blank, invisible or of control, no first byte may be there.
fn is_clean(text: &str) -> bool {
    let odd = |b: u8| {
        let control = u8::from(b < b' ') | u8::from(b == 0x7f);
        let lead = u8::from(b == 0xc2) | u8::from(b == 0xcd) | u8::from(b == 0xd8);
        control | lead | u8::from(b.wrapping_sub(0xe1) < 3) | u8::from(b == 0xef)
    };
    let bytes = text.as_bytes();
    let pairs = bytes.iter().zip(bytes.iter().skip(1));
    let double = pairs.fold(0, |found, (a, b)| found | u8::from(*a == b' ') & u8::from(*b == b' '));
    double | bytes.iter().fold(0, |found, b| found | odd(*b)) == 0
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
    let is = |list: &[&str]| list.iter().any(|n| n.eq_ignore_ascii_case(name));
    if !is(INLINE) {
        line.push(' ');
    }
    // A tag that is not closed hides the rest, as in a browser.
    let after =
        memchr(b'>', inner.as_bytes()).and_then(|at| inner.get(at + 1..)).unwrap_or_default();
    if !inner.starts_with('/') && is(SILENT) { skip_silent(after, name) } else { after }
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

    /// Text that is taken as it stands gives what it gives one character after the other.
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
                        let mut short = OneLine::new(max_chars);
                        let mut long = OneLine::new(max_chars);
                        for part in [before, &text, "end"] {
                            short.push_str(part);
                            for c in part.chars() {
                                if long.left > 0 {
                                    long.push(c);
                                }
                            }
                        }
                        assert_eq!(short.text, long.text, "{before:?} {text:?} {max_chars}");
                    }
                }
            }
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
