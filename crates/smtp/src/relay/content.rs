//! A letter as it goes out: what it needs of a server, and its bytes for DATA and BDAT.
//!
//! No bare CR or LF ever leaves: with them, a server that takes them for line ends could be made to see a second
//! letter in the first. LF alone becomes CRLF, which is how everybody reads it anyway; CR alone becomes a blank, so
//! that no line, and no header field, begins where none was read before. Refusing instead would lose letters of
//! senders who cannot change them.

use bytes::Bytes;
use memchr::{memchr, memchr2, memmem};
use queue::Body;

/// RFC 5321 §4.5.3.1.6, without CRLF. Matters only where a server has no BINARYMIME.
const LINE_BYTES: usize = 998;

/// Looked at once for each attempt.
#[derive(Debug, Clone)]
pub(super) struct Content {
    /// Every line ends with CRLF, unless `is_binary`.
    bytes: Bytes,
    pub(super) is_eight_bit: bool,
    /// Only BDAT carries it (RFC 3030 §3).
    pub(super) is_binary: bool,
    /// The header has characters outside ASCII (RFC 6532).
    pub(super) has_utf8_header: bool,
}

impl Content {
    /// `body` is what the sender said of it.
    pub(super) fn new(letter: &Bytes, body: Body) -> Self {
        let is_binary = body == Body::Binary && needs_binary(letter);
        let bytes = if is_binary { letter.clone() } else { normal(letter) };
        let header = memmem::find(&bytes, b"\r\n\r\n").and_then(|end| bytes.get(..end));
        Self {
            is_eight_bit: !bytes.is_ascii(),
            is_binary,
            has_utf8_header: !header.unwrap_or(&bytes).is_ascii(),
            bytes,
        }
    }

    /// As SIZE counts it: without the dots of DATA (RFC 1870 §5).
    pub(super) fn size_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// For BDAT.
    pub(super) fn raw(&self) -> &[u8] {
        &self.bytes
    }

    /// For DATA: dots at the start of lines doubled, with the end (RFC 5321 §4.5.2).
    pub(super) fn stuffed(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes.len() + self.bytes.len() / 64 + 8);
        let mut rest: &[u8] = &self.bytes;
        while !rest.is_empty() {
            if rest.first() == Some(&b'.') {
                out.push(b'.');
            }
            // Only CRLF is left, so LF is the end of a line.
            let end = memmem::find(rest, b"\n.").map_or(rest.len(), |at| at + 1);
            let (lines, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            out.extend_from_slice(lines);
            rest = after;
        }
        if !out.is_empty() && !out.ends_with(b"\r\n") {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
        out
    }
}

fn needs_binary(letter: &[u8]) -> bool {
    let long = letter.split(|byte| *byte == b'\n').any(|line| line.len() > LINE_BYTES + 1);
    long || memchr(0, letter).is_some() || crate::dots::has_bare(letter)
}

/// The same letter where nothing has to be changed; else a copy with CRLF only.
fn normal(letter: &Bytes) -> Bytes {
    if !crate::dots::has_bare(letter) {
        return letter.clone();
    }
    let mut out = Vec::with_capacity(letter.len() + letter.len() / 32);
    let mut rest: &[u8] = letter;
    while let Some(at) = memchr2(b'\r', b'\n', rest) {
        let (text, from) = rest.split_at_checked(at).unwrap_or((rest, &[]));
        out.extend_from_slice(text);
        rest = match from {
            [b'\r', b'\n', after @ ..] | [b'\n', after @ ..] => {
                out.extend_from_slice(b"\r\n");
                after
            }
            [_, after @ ..] => {
                out.push(b' ');
                after
            }
            [] => &[],
        };
    }
    out.extend_from_slice(rest);
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dots::{self, Dots};

    #[test]
    fn what_leaves_has_no_bare_line_end() {
        #[track_caller]
        fn check(letter: &[u8], expect: &[u8]) {
            let content = Content::new(&Bytes::copy_from_slice(letter), Body::EightBit);
            let stuffed = content.stuffed();
            let show = String::from_utf8_lossy(letter).into_owned();
            assert_eq!(stuffed, expect, "{show:?}: {:?}", String::from_utf8_lossy(&stuffed));
            assert!(!dots::has_bare(&stuffed));
            // Our own server finds the one end, and the letter before it.
            let (mut dots, mut body) = (Dots::default(), dots::Body::new(1 << 20, None));
            assert_eq!(dots.feed(&stuffed, &mut body), (stuffed.len(), true), "{show:?}");
            let read = body.bytes();
            assert!(read == content.raw() || read == [content.raw(), b"\r\n"].concat());
        }
        check(b"", b".\r\n");
        check(b"a\r\n", b"a\r\n.\r\n");
        check(b"a", b"a\r\n.\r\n");
        check(b".", b"..\r\n.\r\n");
        check(b".\r\n", b"..\r\n.\r\n");
        check(b".a\r\n..b\r\nc.\r\n.", b"..a\r\n...b\r\nc.\r\n..\r\n.\r\n");
        check(b"a\nb", b"a\r\nb\r\n.\r\n");
        check(b"a\rb", b"a b\r\n.\r\n");
        check(b"a\r", b"a \r\n.\r\n");
        check(b"\n.\n", b"\r\n..\r\n.\r\n");
        // All forms that look like an end to somebody.
        check(b"a\n.\nMAIL", b"a\r\n..\r\nMAIL\r\n.\r\n");
        check(b"a\n.\r\nMAIL", b"a\r\n..\r\nMAIL\r\n.\r\n");
        check(b"a\r\n.\nMAIL", b"a\r\n..\r\nMAIL\r\n.\r\n");
        check(b"a\r.\rMAIL", b"a . MAIL\r\n.\r\n");
        check(b"a\r\n.\rMAIL", b"a\r\n.. MAIL\r\n.\r\n");
        check(b"a\r.\r\nMAIL", b"a .\r\nMAIL\r\n.\r\n");
        check(b"a\n.\r\r\nMAIL", b"a\r\n.. \r\nMAIL\r\n.\r\n");
        check(b"a\r\n\0.\r\nMAIL", b"a\r\n\0.\r\nMAIL\r\n.\r\n");
        check(b"a\r\r\n.\r\r\n", b"a \r\n.. \r\n.\r\n");
    }

    #[test]
    fn what_a_letter_needs() {
        #[track_caller]
        fn check(letter: &[u8], body: Body, eight: bool, binary: bool, utf8: bool) {
            let content = Content::new(&Bytes::copy_from_slice(letter), body);
            let found = (content.is_eight_bit, content.is_binary, content.has_utf8_header);
            assert_eq!(found, (eight, binary, utf8), "{:?}", String::from_utf8_lossy(letter));
        }
        let utf8 = "A: ż\r\n\r\nb\r\n".as_bytes();
        check(b"A: a\r\n\r\nb\r\n", Body::EightBit, false, false, false);
        check(b"A: a\r\n\r\n\xff\r\n", Body::SevenBit, true, false, false);
        check(utf8, Body::EightBit, true, false, true);
        check(b"A: a\r\n\r\nb\0\r\n", Body::Binary, false, true, false);
        check(b"A: a\r\n\r\nb\n", Body::Binary, false, true, false);
        check(b"A: a\r\n\r\nb\n", Body::EightBit, false, false, false);
        check(b"A: a\r\n\r\n\xff\r\n", Body::Binary, true, false, false);
        let long = [&b"A: a\r\n\r\n"[..], &[b'x'; 998], b"\r\n"].concat();
        check(&long, Body::Binary, false, false, false);
        let longer = [&b"A: a\r\n\r\n"[..], &[b'x'; 999], b"\r\n"].concat();
        check(&longer, Body::Binary, false, true, false);
    }
}
