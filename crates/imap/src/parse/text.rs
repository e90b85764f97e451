//! Atoms, strings, literals and mailbox names.

use super::{Parsed, Parser};
use crate::mailbox_name;
use std::borrow::Cow;

/// What is missing when a command is right so far, but ends in the announcement of a literal.
pub(crate) const LITERAL_BYTES: &str = "the bytes of the literal";

/// The announcement of a literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LiteralHeader {
    pub(crate) size_bytes: u32,
    /// The sender waits for our `+` (`{3}`); otherwise (`{3+}`, RFC 7888) the bytes are already on the way.
    pub(crate) waits: bool,
}

impl LiteralHeader {
    /// The header that a line ends with, if it does. `Some(Err)`: a number that does not fit.
    ///
    /// ```text
    /// literal = "{" number ["+"] "}" CRLF *CHAR8      ; RFC 7888 §8
    /// ```
    pub(crate) fn at_end_of(line: &[u8]) -> Option<Result<Self, ()>> {
        let inside = line.strip_suffix(b"}")?;
        let (inside, waits) = match inside.strip_suffix(b"+") {
            Some(inside) => (inside, false),
            None => (inside, true),
        };
        let digits = inside.iter().rev().take_while(|b| b.is_ascii_digit()).count();
        let (before, number) = inside.split_at(inside.len() - digits);
        if digits == 0 || before.last() != Some(&b'{') {
            return None;
        }
        let size = number
            .iter()
            .try_fold(0_u32, |n, digit| n.checked_mul(10)?.checked_add(u32::from(digit - b'0')));
        Some(size.map(|size_bytes| Self { size_bytes, waits }).ok_or(()))
    }
}

impl<'a> Parser<'a> {
    /// ```text
    /// atom = 1*ATOM-CHAR
    /// ```
    pub(crate) fn atom(&mut self) -> Parsed<&'a str> {
        let atom = self.take_while(is_atom_char);
        match std::str::from_utf8(atom) {
            Ok(atom) if !atom.is_empty() => Ok(atom),
            _ => self.wanted("an atom"),
        }
    }

    /// ```text
    /// astring = 1*ASTRING-CHAR / string
    /// ASTRING-CHAR = ATOM-CHAR / "]"
    /// ```
    /// 8-bit text counts as ASTRING-CHAR: some clients send names so.
    pub(crate) fn astring(&mut self) -> Parsed<Cow<'a, [u8]>> {
        if matches!(self.peek(), Some(b'"' | b'{')) {
            return self.string();
        }
        let atom = self.take_while(|b| is_astring_char(b) || b >= 0x80);
        if atom.is_empty() { self.wanted("a string") } else { Ok(Cow::Borrowed(atom)) }
    }

    /// An `astring` that must be UTF-8.
    pub(crate) fn astring_utf8(&mut self) -> Parsed<String> {
        let bytes = self.astring()?.into_owned();
        String::from_utf8(bytes).or_else(|_| self.wanted("text in UTF-8"))
    }

    /// ```text
    /// string = quoted / literal
    /// ```
    pub(crate) fn string(&mut self) -> Parsed<Cow<'a, [u8]>> {
        match self.peek() {
            Some(b'"') => self.quoted(),
            Some(b'{') => self.literal().map(Cow::Borrowed),
            _ => self.wanted("a string"),
        }
    }

    /// ```text
    /// nstring = string / nil
    /// ```
    pub(crate) fn nstring(&mut self) -> Parsed<Option<Cow<'a, [u8]>>> {
        if self.word("NIL") { Ok(None) } else { self.string().map(Some) }
    }

    /// ```text
    /// nstring / literal8
    /// ```
    /// A literal8 may have any bytes (RFC 3516 §4.4).
    pub(crate) fn nstring8(&mut self) -> Parsed<Option<Cow<'a, [u8]>>> {
        if self.take(b'~') {
            return self.octets().map(|bytes| Some(Cow::Borrowed(bytes)));
        }
        self.nstring()
    }

    /// ```text
    /// quoted = DQUOTE *QUOTED-CHAR DQUOTE
    /// QUOTED-CHAR = <any TEXT-CHAR except quoted-specials> / "\" quoted-specials
    /// ```
    fn quoted(&mut self) -> Parsed<Cow<'a, [u8]>> {
        self.need(b'"', "a quoted string")?;
        let plain = self.take_while(is_quoted_char);
        if self.take(b'"') {
            return Ok(Cow::Borrowed(plain));
        }
        let mut text = plain.to_vec();
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    self.at += 1;
                    match self.peek() {
                        Some(special @ (b'"' | b'\\')) => text.push(special),
                        _ => return self.wanted("\\\" or \\\\ after a backslash"),
                    }
                    self.at += 1;
                }
                Some(b) if is_quoted_char(b) => {
                    text.extend_from_slice(self.take_while(is_quoted_char));
                }
                _ => return self.wanted("the closing quote"),
            }
        }
        self.at += 1;
        Ok(Cow::Owned(text))
    }

    /// A literal with its bytes. NUL is not allowed in one (RFC 9051 §9 `CHAR8`).
    fn literal(&mut self) -> Parsed<&'a [u8]> {
        let mut ahead = self.clone();
        let bytes = ahead.octets()?;
        if bytes.contains(&0) {
            let header = ahead.at - bytes.len();
            self.at = header;
            return self.wanted("a literal without NUL");
        }
        *self = ahead;
        Ok(bytes)
    }

    fn octets(&mut self) -> Parsed<&'a [u8]> {
        let header = self.literal_header()?;
        let size = usize::try_from(header.size_bytes).unwrap_or(usize::MAX);
        let Some(bytes) = self.rest().get(..size) else {
            return self.wanted(LITERAL_BYTES);
        };
        self.at += size;
        Ok(bytes)
    }

    /// `{3}` or `{3+}` and the line end after it.
    pub(crate) fn literal_header(&mut self) -> Parsed<LiteralHeader> {
        let rest = self.rest();
        let Some(length) =
            rest.iter().position(|b| *b == b'\n').filter(|_| self.peek() == Some(b'{'))
        else {
            return self.wanted("a literal");
        };
        let line = rest.get(..length).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // All of the line is the header: "{3}x" or two headers are none.
        let whole = line.iter().skip(1).all(|b| *b != b'{');
        match LiteralHeader::at_end_of(line).filter(|_| whole) {
            Some(Ok(header)) => {
                self.at += length + 1;
                Ok(header)
            }
            Some(Err(())) => self.wanted("a literal of less than 4294967296 bytes"),
            None => self.wanted("a literal"),
        }
    }

    /// ```text
    /// mailbox = "INBOX" / astring
    /// ```
    /// Gives the name in UTF-8; a name in modified UTF-7 must be in its one canonical form.
    pub(crate) fn mailbox(&mut self) -> Parsed<String> {
        let at = self.at;
        let bytes = self.astring()?;
        self.decoded(at, &bytes)
    }

    /// ```text
    /// list-mailbox = 1*list-char / string
    /// list-char = ATOM-CHAR / list-wildcards / resp-specials
    /// ```
    pub(crate) fn list_mailbox(&mut self) -> Parsed<String> {
        let at = self.at;
        let bytes = if matches!(self.peek(), Some(b'"' | b'{')) {
            self.string()?
        } else {
            let accept = |b| is_astring_char(b) || matches!(b, b'%' | b'*') || b >= 0x80;
            Cow::Borrowed(self.take_while(accept))
        };
        self.decoded(at, &bytes)
    }

    fn decoded(&mut self, at: usize, bytes: &[u8]) -> Parsed<String> {
        let decode = if self.utf8 { mailbox_name::decode_utf8 } else { mailbox_name::decode };
        let Some(name) = decode(bytes) else {
            self.at = at;
            return self.wanted(if self.utf8 {
                "a mailbox name in UTF-8"
            } else {
                "a mailbox name in modified UTF-7"
            });
        };
        Ok(name)
    }
}

/// ```text
/// ATOM-CHAR = <any CHAR except atom-specials>
/// atom-specials = "(" / ")" / "{" / SP / CTL / list-wildcards / quoted-specials / resp-specials
/// ```
pub(super) fn is_atom_char(b: u8) -> bool {
    b.is_ascii_graphic() && !matches!(b, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b']')
}

pub(super) fn is_astring_char(b: u8) -> bool {
    is_atom_char(b) || b == b']'
}

fn is_quoted_char(b: u8) -> bool {
    !matches!(b, 0 | b'\r' | b'\n' | b'"' | b'\\')
}

#[cfg(test)]
mod tests {
    use super::super::tests::whole;
    use super::*;

    #[test]
    fn strings() {
        #[track_caller]
        fn check(text: &[u8], expect: Option<&[u8]>) {
            let found = whole(text, Parser::astring).ok().map(Cow::into_owned);
            assert_eq!(found.as_deref(), expect, "{}", text.escape_ascii());
        }
        check(b"abc]", Some(b"abc]"));
        check(b"\"\"", Some(b""));
        check(b"\"a \\\"b\\\\\"", Some(b"a \"b\\"));
        check(b"\"za\xC5\xBC\"", Some(b"za\xC5\xBC"));
        check(b"za\xC5\xBC", Some(b"za\xC5\xBC"));
        check(b"{3}\r\nabc", Some(b"abc"));
        check(b"{3+}\r\na\r\n", Some(b"a\r\n"));
        check(b"{0}\r\n", Some(b""));
        check(b"{3-}\r\nabc", None);
        check(b"{1}x", None);
        check(b"{1}x\r\n", None);
        check(b"{4}\r\nabc", None);
        check(b"{3}\r\na\0c", None);
        check(b"{}\r\n", None);
        check(b"{-1}\r\n", None);
        check(b"{4294967295}\r\nabc", None);
        check(b"{4294967296}\r\nabc", None);
        check(b"{3}{3}\r\nabc", None);
        check(b"\"abc", None);
        check(b"\"a\\b\"", None);
        check(b"\"a\0b\"", None);
        check(b"\"a\rb\"", None);
        check(b"a b", None);
        check(b"", None);
        check(b"(", None);
    }

    #[test]
    fn literal_headers() {
        #[track_caller]
        fn check(line: &str, expect: Option<Result<(u32, bool), ()>>) {
            let found = LiteralHeader::at_end_of(line.as_bytes());
            assert_eq!(found.map(|r| r.map(|h| (h.size_bytes, h.waits))), expect, "{line}");
        }
        check("a APPEND x {12}", Some(Ok((12, true))));
        check("a APPEND x {12+}", Some(Ok((12, false))));
        check("a APPEND x ~{12+}", Some(Ok((12, false))));
        check("{4294967295}", Some(Ok((u32::MAX, true))));
        check("{4294967296}", Some(Err(())));
        check("{99999999999999999999}", Some(Err(())));
        check("{}", None);
        check("{+}", None);
        check("{1-}", None);
        check("{1}x", None);
        check("1}", None);
        check("}", None);
        check("\"{1}\"", None);
    }

    #[test]
    fn mailboxes() {
        #[track_caller]
        fn check(text: &[u8], expect: Option<&str>) {
            let found = whole(text, Parser::mailbox).ok();
            assert_eq!(found.as_deref(), expect, "{}", text.escape_ascii());
        }
        check(b"inbox", Some("inbox"));
        check(b"\"My &AXw-\"", Some("My \u{17c}"));
        check("\"My \u{17c}\"".as_bytes(), Some("My \u{17c}"));
        check(b"&AXw", None);
        check(b"\"\xFF\"", None);
        check(b"\"a\x01b\"", None);
    }
}
