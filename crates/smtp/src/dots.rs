//! Where DATA ends (RFC 5321 §4.1.1.4, §4.5.2).
//!
//! Only CRLF `.` CRLF ends it, and only after CRLF is a dot special. Whatever else looks like an end to some
//! other server (`LF.LF`, `CR.CR`, a NUL beside the dot) is text, so nobody can hide a second letter in a first
//! one. Bare CR and LF are noted, and the dialogue decides what they are worth.
//!
//! ```text
//! data = *( ["."] text CRLF ) "." CRLF
//! ```

use memchr::memchr2;

/// A letter as it arrives. Grows with what has come, never with what was promised.
#[derive(Debug, Default)]
pub(crate) struct Body {
    bytes: Vec<u8>,
    /// Of all that came, also past the limit.
    size_bytes: u64,
    limit_bytes: u64,
}

/// What may be set aside before the first byte came: a promise in SIZE costs us no more than this.
const PROMISED_BYTES: u64 = 64 * 1024;

impl Body {
    pub(crate) fn new(limit_bytes: u64, promised_bytes: Option<u64>) -> Self {
        let promised = promised_bytes.unwrap_or(0).min(PROMISED_BYTES);
        Self {
            bytes: Vec::with_capacity(usize::try_from(promised).unwrap_or(0)),
            size_bytes: 0,
            limit_bytes,
        }
    }

    /// Past the limit, everything is let go.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.size_bytes = self.size_bytes.saturating_add(bytes.len() as u64);
        if self.is_over() {
            self.bytes = Vec::new();
        } else {
            self.bytes.extend_from_slice(bytes);
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.size_bytes > self.limit_bytes
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Where in a line we are, between two reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// After CRLF, or before the first byte.
    #[default]
    LineStart,
    Text,
    /// After CR inside text.
    Cr,
    /// After a dot at the start of a line; it is not part of the letter.
    Dot,
    /// After CR behind such a dot.
    DotCr,
}

/// Undoes dot-stuffing and finds the end, whatever the pieces.
#[derive(Debug, Default)]
pub(crate) struct Dots {
    state: State,
    /// There was a CR without LF or an LF without CR.
    bare: bool,
}

impl Dots {
    pub(crate) fn has_bare(&self) -> bool {
        self.bare
    }

    /// Takes the next piece; gives back how much of it was used, and whether the data ended there.
    pub(crate) fn feed(&mut self, input: &[u8], body: &mut Body) -> (usize, bool) {
        // `from..at` is text that is looked at and not yet handed on.
        let (mut from, mut at) = (0, 0);
        let text = |from: usize, at: usize| input.get(from..at).unwrap_or_default();
        while let Some(&byte) = input.get(at) {
            match (self.state, byte) {
                (State::LineStart, b'.') => {
                    body.push(text(from, at));
                    at += 1;
                    from = at;
                    self.state = State::Dot;
                }
                (State::Dot, b'\r') => {
                    at += 1;
                    from = at;
                    self.state = State::DotCr;
                }
                (State::DotCr, b'\n') => return (at + 1, true),
                (State::DotCr, _) => {
                    // The CR came to nothing: it is text, and was left out so far.
                    body.push(b"\r");
                    self.bare = true;
                    self.state = State::Text;
                }
                (State::Cr, b'\n') => {
                    at += 1;
                    self.state = State::LineStart;
                }
                (State::Cr, _) => {
                    self.bare = true;
                    self.state = State::Text;
                }
                (State::LineStart | State::Dot | State::Text, _) => {
                    at = self.text_run(input, at);
                }
            }
        }
        body.push(text(from, at));
        (at, false)
    }

    /// Passes over text up to and with the next CR or LF.
    fn text_run(&mut self, input: &[u8], at: usize) -> usize {
        let rest = input.get(at..).unwrap_or_default();
        let Some(length) = memchr2(b'\r', b'\n', rest) else {
            self.state = State::Text;
            return input.len();
        };
        if rest.get(length) == Some(&b'\r') {
            self.state = State::Cr;
        } else {
            self.state = State::Text;
            self.bare = true;
        }
        at + length + 1
    }
}

/// Whether there is a CR without LF or an LF without CR.
pub(crate) fn has_bare(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(at) = memchr2(b'\r', b'\n', rest) {
        match rest.get(at..) {
            Some([b'\r', b'\n', after @ ..]) => rest = after,
            _ => return true,
        }
    }
    false
}

/// Whether a line has only NULs, with or without a dot, its stuffing undone: a server that drops NULs could see the end
/// of the data there.
pub(crate) fn has_hidden_end(bytes: &[u8]) -> bool {
    memchr::memchr_iter(0, bytes).any(|at| {
        // From the NUL to both ends of its line, as long as there is nothing else in it.
        let odd = |byte: &u8| matches!(byte, 0 | b'.');
        let (before, after) = bytes.split_at(at);
        let head = before.iter().rev().take(LINE_BYTES).take_while(|b| odd(b)).count();
        let tail = after.iter().take(LINE_BYTES).take_while(|b| odd(b)).count();
        let begins =
            before.len() == head || before.get(..at - head).is_some_and(|b| b.ends_with(b"\r\n"));
        let ends = after.get(tail..).is_some_and(|rest| rest.starts_with(b"\r\n"));
        let line = bytes.get(at - head..at + tail).unwrap_or_default();
        begins && ends && memchr::memchr_iter(b'.', line).count() <= 1
    })
}

/// Of a line of NULs this much is looked at, so that a letter of nothing else takes no quadratic time.
const LINE_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds in pieces of every size; the outcome must be the same.
    #[track_caller]
    fn check(input: &[u8], expect: Option<(&[u8], &[u8])>, bare: bool) {
        for piece in (1..=input.len()).chain([usize::MAX]) {
            let (mut dots, mut body) = (Dots::default(), Body::new(1 << 20, None));
            let (mut used, mut done) = (0, false);
            while !done && used < input.len() {
                let end = used.saturating_add(piece).min(input.len());
                let (n, ended) = dots.feed(&input[used..end], &mut body);
                assert!(n > 0);
                (used, done) = (used + n, ended);
            }
            let show = String::from_utf8_lossy(input);
            assert_eq!(dots.has_bare(), bare, "{show:?} by {piece}");
            let found = done.then(|| (body.bytes(), &input[used..]));
            assert_eq!(found, expect, "{show:?} by {piece}");
            if done && !bare {
                assert!(!has_bare(body.bytes()));
            }
        }
    }

    #[test]
    fn the_end_and_the_dots() {
        check(b".\r\n", Some((b"", b"")), false);
        check(b"a\r\n.\r\nQUIT\r\n", Some((b"a\r\n", b"QUIT\r\n")), false);
        check(b"\r\n.\r\n", Some((b"\r\n", b"")), false);
        check(b"..\r\n.\r\n", Some((b".\r\n", b"")), false);
        check(b"..a\r\n...\r\n.\r\n", Some((b".a\r\n..\r\n", b"")), false);
        check(b".a\r\n.\r\n", Some((b"a\r\n", b"")), false);
        check(b"a.\r\n.\r\n", Some((b"a.\r\n", b"")), false);
        check(b"a\r\n. \r\n.\r\n", Some((b"a\r\n \r\n", b"")), false);
        check(b"a\r\n", None, false);
        check(b"a\r\n.\r", None, false);
    }

    #[test]
    fn what_only_looks_like_an_end() {
        let end = b"x\r\n.\r\n";
        for (form, text) in [
            (&b"\n.\n"[..], &b"\n.\n"[..]),
            (b"\n.\r\n", b"\n.\r\n"),
            (b"\r\n.\n", b"\r\n\n"),
            (b"\r.\r", b"\r.\r"),
            (b"\r\n.\r", b"\r\n\r"),
            (b"\r.\r\n", b"\r.\r\n"),
            (b"\n.\r\r\n", b"\n.\r\r\n"),
            (b"\r\n.\r\r\n", b"\r\n\r\r\n"),
            (b"\r\r\n.\r\r\n", b"\r\r\n\r\r\n"),
            (b"\r\n.\r\r\r\n", b"\r\n\r\r\r\n"),
        ] {
            let input = [b"a", form, end].concat();
            let body = [b"a", text, b"x\r\n"].concat();
            check(&input, Some((&body, b"")), true);
        }
        for (form, text) in
            [(&b"\r\n\0.\r\n"[..], &b"\r\n\0.\r\n"[..]), (b"\r\n.\0\r\n", b"\r\n\0\r\n")]
        {
            let input = [b"a", form, end].concat();
            let body = [b"a", text, b"x\r\n"].concat();
            check(&input, Some((&body, b"")), false);
        }
    }

    #[test]
    fn bare_ends() {
        for (bytes, expect) in [
            (&b""[..], false),
            (b"a\r\nb\r\n\r\n", false),
            (b"a", false),
            (b"\r", true),
            (b"\n", true),
            (b"a\r\n\n", true),
            (b"a\r\r\n", true),
            (b"\n\r", true),
        ] {
            assert_eq!(has_bare(bytes), expect, "{bytes:?}");
        }
    }

    #[test]
    fn hidden_ends() {
        for (bytes, expect) in [
            (&b"a\r\n\0.\r\nb"[..], true),
            (b"a\r\n\0\r\nb", true),
            (b"\0\0.\0\r\n", true),
            (b"a\0\r\n", false),
            (b"\0a\r\n", false),
            (b"a\r\n\0..\r\n", false),
            (b"a\n\0.\n", false),
            (b"a\r\n\0.", false),
            (b"a\r\n.\r\n", false),
            (b"", false),
        ] {
            assert_eq!(has_hidden_end(bytes), expect, "{bytes:?}");
        }
        let nulls = vec![0; 4 << 20];
        assert!(!has_hidden_end(&nulls), "and it takes no time");
    }

    #[test]
    fn past_the_limit_nothing_is_kept() {
        let mut body = Body::new(10, Some(u64::MAX));
        assert!(body.bytes.capacity() <= 64 * 1024);
        body.push(b"0123456789");
        assert!(!body.is_over());
        body.push(b"x");
        assert!(body.is_over() && body.bytes.capacity() == 0);
        body.push(&[0; 1000]);
        assert_eq!((body.size_bytes(), body.bytes().len()), (1011, 0));
    }
}
