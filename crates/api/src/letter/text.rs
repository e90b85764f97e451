//! Plain text as HTML: quotes as levels, addresses as links, flowed lines put together (RFC 3676).

use super::clean::link;
use crate::limits;

/// Quotes shown inside each other; deeper ones look like the last.
const QUOTE_LEVELS: usize = 12;
/// Where the page ends: hostile text takes 25 bytes of markup for one.
const HTML_BYTES: usize = 4 * limits::PAGE_BYTES;

/// A line without its quote marks.
struct Line {
    depth: usize,
    text: String,
}

/// Text as HTML that needs no cleaning: all of it is escaped.
pub(super) fn html(text: &str, flowed: bool, delsp: bool) -> String {
    let text = text.trim_end();
    let lines =
        if flowed { flowed_lines(text, delsp) } else { text.split('\n').map(fixed_line).collect() };
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let (mut depth, mut fresh, mut signed) = (0, true, false);
    out.push_str("<div class=\"text\">");
    for line in &lines {
        if out.len() > HTML_BYTES {
            break;
        }
        if line.depth != depth {
            out.push_str("</div>");
            (line.depth..depth).for_each(|_| out.push_str("</blockquote>"));
            (depth..line.depth).for_each(|_| out.push_str("<blockquote>"));
            out.push_str("<div class=\"text\">");
            (depth, fresh) = (line.depth, true);
        }
        if !std::mem::take(&mut fresh) {
            out.push('\n');
        }
        // RFC 3676 §4.3: what follows this line is a signature.
        if depth == 0 && line.text == "-- " && !signed {
            signed = true;
            out.push_str("</div><div class=\"text signature\">");
        }
        linked(&line.text, &mut out);
    }
    out.push_str("</div>");
    (0..depth).for_each(|_| out.push_str("</blockquote>"));
    out
}

/// `> > text` and `>> text`
fn fixed_line(line: &str) -> Line {
    let mut rest = line.strip_suffix('\r').unwrap_or(line);
    let mut depth = 0;
    while let Some(tail) = rest.strip_prefix('>') {
        depth += 1;
        rest = match tail.strip_prefix(' ') {
            Some(inner) if inner.starts_with('>') => inner,
            _ => tail,
        };
    }
    if depth > 0 {
        rest = rest.strip_prefix(' ').unwrap_or(rest);
    }
    Line { depth: depth.min(QUOTE_LEVELS), text: rest.to_owned() }
}

/// RFC 3676 §4.4: a line that ends in a space goes on in the next one of the same depth.
fn flowed_lines(text: &str, delsp: bool) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let mut open = false;
    for raw in text.split('\n') {
        let raw = raw.strip_suffix('\r').unwrap_or(raw);
        let rest = raw.trim_start_matches('>');
        let depth = (raw.len() - rest.len()).min(QUOTE_LEVELS);
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        let flows = rest.ends_with(' ') && rest != "-- ";
        let piece = match rest.strip_suffix(' ') {
            Some(shorter) if flows && delsp => shorter,
            _ => rest,
        };
        match lines.last_mut() {
            Some(line) if open && line.depth == depth && rest != "-- " => line.text.push_str(piece),
            _ => lines.push(Line { depth, text: piece.to_owned() }),
        }
        open = flows;
    }
    lines
}

/// Escapes a line; addresses of pages and letters become links. One pass over its words.
fn linked(line: &str, out: &mut String) {
    let mut rest = line;
    loop {
        let gap = |c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"');
        let end = rest.find(gap).unwrap_or(rest.len());
        let (word, tail) = rest.split_at_checked(end).unwrap_or((rest, ""));
        linked_word(word, out);
        let Some(mark) = tail.chars().next() else {
            return;
        };
        escape(tail.get(..mark.len_utf8()).unwrap_or_default(), out);
        rest = tail.get(mark.len_utf8()..).unwrap_or_default();
    }
}

fn linked_word(word: &str, out: &mut String) {
    let start = ["http://", "https://", "mailto:"]
        .iter()
        .filter_map(|scheme| find_scheme(word, scheme))
        .min();
    let Some((before, address)) = start.and_then(|at| word.split_at_checked(at)) else {
        escape(word, out);
        return;
    };
    let address = address.get(..address_bytes(address)).unwrap_or_default();
    let after = word.get(before.len() + address.len()..).unwrap_or_default();
    match link(address) {
        Some(href) => {
            escape(before, out);
            out.push_str("<a href=\"");
            escape(&href, out);
            out.push_str("\" target=\"_blank\" rel=\"noopener noreferrer nofollow\">");
            escape(address, out);
            out.push_str("</a>");
            escape(after, out);
        }
        None => escape(word, out),
    }
}

fn find_scheme(word: &str, scheme: &str) -> Option<usize> {
    let bytes = word.as_bytes();
    let colon = memchr::memmem::find(bytes, b":")?;
    let letters = scheme.find(':')?;
    let at = colon.checked_sub(letters)?;
    let same = bytes.get(at..at + scheme.len())?.eq_ignore_ascii_case(scheme.as_bytes());
    let fresh = at == 0 || bytes.get(at - 1).is_some_and(|b| !b.is_ascii_alphanumeric());
    (same && fresh && bytes.len() > at + scheme.len()).then_some(at)
}

/// How much of a word is the address: not the punctuation after it, nor a bracket it did not open.
fn address_bytes(word: &str) -> usize {
    let count = |mark: char| word.matches(mark).count();
    let mut open = [count('(').cast_signed(), count('[').cast_signed()];
    let mut close = [count(')').cast_signed(), count(']').cast_signed()];
    let mut end = word.len();
    for c in word.chars().rev() {
        let [round, square] = [close[0] > open[0], close[1] > open[1]];
        let loose = match c {
            ')' if round => {
                close[0] -= 1;
                true
            }
            ']' if square => {
                close[1] -= 1;
                true
            }
            '(' => {
                open[0] -= 1;
                false
            }
            '.' | ',' | ';' | ':' | '!' | '?' | '\'' | '*' | '_' | '”' | '»' => true,
            _ => false,
        };
        if !loose {
            break;
        }
        end -= c.len_utf8();
    }
    end
}

pub(super) fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() && c != '\t' && c != '\n' => {}
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a(href: &str, text: &str) -> String {
        format!(
            "<a href=\"{href}\" target=\"_blank\" rel=\"noopener noreferrer nofollow\">{text}</a>"
        )
    }

    #[test]
    fn links() {
        #[track_caller]
        fn check(line: &str, expect: &str) {
            let mut out = String::new();
            linked(line, &mut out);
            assert_eq!(out, expect);
        }
        check("a<b> & \"c'", "a&lt;b&gt; &amp; &quot;c&#39;");
        check(
            "see https://x.test/a?b=1&c=2.",
            &format!("see {}.", a("https://x.test/a?b=1&amp;c=2", "https://x.test/a?b=1&amp;c=2")),
        );
        check("<http://x.test>", &format!("&lt;{}&gt;", a("http://x.test", "http://x.test")));
        check(
            "(HTTPS://x.test/a_(b))",
            &format!("({})", a("HTTPS://x.test/a_(b)", "HTTPS://x.test/a_(b)")),
        );
        check("mailto:a@x.test,", &format!("{},", a("mailto:a@x.test", "mailto:a@x.test")));
        check(
            "javascript:alert(1) xhttp://x http:// : data:x",
            "javascript:alert(1) xhttp://x http:// : data:x",
        );
    }

    #[test]
    fn quotes() {
        #[track_caller]
        fn check(text: &str, expect: &str) {
            let plain = html(text, false, false).replace("<div class=\"text\">", "[");
            assert_eq!(plain.replace("</div>", "]"), expect);
        }
        check("", "[]");
        check("a\nb\n\n", "[a\nb]");
        check(
            "a\n> b\n> > c\n>> d\ne",
            "[a]<blockquote>[b]<blockquote>[c\nd]</blockquote></blockquote>[e]",
        );
        check("x\n-- \nme", "[x\n]<div class=\"text signature\">-- \nme]");
    }

    #[test]
    fn flowed() {
        #[track_caller]
        fn check(text: &str, delsp: bool, expect: &str) {
            let lines = flowed_lines(text, delsp);
            let shown: Vec<String> =
                lines.iter().map(|l| format!("{}{}", l.depth, l.text)).collect();
            assert_eq!(shown.join("|"), expect);
        }
        check("a \nb\nc", false, "0a b|0c");
        check("a \nb", true, "0ab");
        check(">a \n>b\n> c \nd", false, "1a b|1c |0d");
        check(" >not \n -- \n-- \nme", false, "0>not |0-- |0-- |0me");
        check("a \n-- \nb", false, "0a |0-- |0b");
    }

    #[test]
    fn hostile_text_is_quick() {
        for text in [
            ">".repeat(1_000_000),
            "http://".repeat(150_000),
            "> ".repeat(500_000),
            format!("http://x{}", ")".repeat(1_000_000)),
            ">\n".repeat(500_000),
            format!("{}\n\n", ">".repeat(50)).repeat(20_000),
            "a \n".repeat(300_000),
        ] {
            let begin = std::time::Instant::now();
            for flowed in [false, true] {
                let page = html(&text, flowed, true);
                assert!(page.len() < 2 * HTML_BYTES);
            }
            assert!(begin.elapsed().as_secs() < 5);
        }
    }
}
