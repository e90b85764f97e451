//! Where lines end. CRLF is the rule (RFC 5322 §2.1); LF alone, CR alone and CR CR LF are met in real mail.

use memchr::memchr2;

/// One line: `start..end` without its end, `next` where the following one begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) next: usize,
}

/// The line that begins at `start`; past the end of `raw`, an empty one that stays there.
pub(crate) fn line_at(raw: &[u8], start: usize) -> Line {
    let rest = raw.get(start..).unwrap_or_default();
    let Some(found) = memchr2(b'\r', b'\n', rest) else {
        let end = start + rest.len();
        return Line { start, end, next: end };
    };
    // CR CR LF is what a text file becomes when it is converted twice: one end, not an empty line.
    let width = match rest.get(found..).unwrap_or_default() {
        [b'\r', b'\n', ..] => 2,
        [b'\r', b'\r', b'\n', ..] => 3,
        _ => 1,
    };
    let end = start + found;
    Line { start, end, next: end + width }
}

/// The text without blanks and tabs at its end.
pub(crate) fn trim_end_blanks(text: &[u8]) -> &[u8] {
    let kept = text.iter().rposition(|b| !matches!(b, b' ' | b'\t')).map_or(0, |at| at + 1);
    text.get(..kept).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends() {
        #[track_caller]
        fn check(raw: &str, expect: &[&str]) {
            let (mut at, mut lines) = (0, Vec::new());
            while at < raw.len() {
                let line = line_at(raw.as_bytes(), at);
                lines.push(&raw[line.start..line.end]);
                at = line.next;
            }
            assert_eq!(lines, expect, "{raw:?}");
        }
        check("", &[]);
        check("a", &["a"]);
        check("a\r\nb\nc\rd", &["a", "b", "c", "d"]);
        check("a\r\r\nb\r\r\rc\r", &["a", "b", "", "", "c"]);
        check("\r\n\n\r", &["", "", ""]);
    }
}
