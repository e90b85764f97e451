//! Bytes of one command to values: a cursor that every verb's parser moves.
//!
//! Pure and bounded: no clock, no socket; what a stranger sends can cost linear time, [`limits`] of list
//! entries and [`limits::DEPTH`] levels of recursion, and nothing else. Lenient where clients are known to
//! be sloppy: more than one space, spaces at the end of a line or inside parentheses, 8-bit text in quoted
//! strings and names. Knows nothing about what a command means.

mod date;
mod flags;
pub(crate) mod limits;
mod set;
mod text;

pub(crate) use set::{Bound, Set};
pub(crate) use text::{LITERAL_BYTES, LiteralHeader};

use std::fmt;

pub(crate) type Parsed<T> = Result<T, Syntax>;

/// What the parser wanted to see, and where it saw something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Syntax {
    /// Bytes from the start of the command.
    pub at: usize,
    pub expected: &'static str,
}

impl fmt::Display for Syntax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {} at byte {}", self.expected, self.at)
    }
}

impl std::error::Error for Syntax {}

/// A cursor over one command. The literals stand in it as they came: `{3}` CRLF and three bytes.
#[derive(Debug, Clone)]
pub(crate) struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    /// The command began with `UID`: its numbers are UIDs.
    pub(crate) by_uid: bool,
    /// The client writes mailbox names in UTF-8 alone.
    pub(crate) utf8: bool,
}

impl<'a> Parser<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, depth: 0, by_uid: false, utf8: false }
    }

    pub(crate) fn wanted<T>(&self, expected: &'static str) -> Parsed<T> {
        Err(Syntax { at: self.at, expected })
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Takes one byte if it is that one.
    pub(crate) fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    pub(crate) fn need(&mut self, byte: u8, expected: &'static str) -> Parsed<()> {
        if self.take(byte) { Ok(()) } else { self.wanted(expected) }
    }

    /// Takes the bytes at the front that `accept` likes; may be none.
    fn take_while(&mut self, accept: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.rest();
        let length = rest.iter().position(|b| !accept(*b)).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    /// `SP`, or several of them (Outlook).
    pub(crate) fn sp(&mut self) -> Parsed<()> {
        if self.skip_spaces() { Ok(()) } else { self.wanted("a space") }
    }

    pub(crate) fn skip_spaces(&mut self) -> bool {
        !self.take_while(|b| b == b' ').is_empty()
    }

    /// Spaces that something follows on: `true` when the command goes on after them.
    pub(crate) fn more(&mut self) -> bool {
        self.skip_spaces() && self.at < self.bytes.len()
    }

    /// Leaves what is left unread.
    pub(crate) fn skip_rest(&mut self) {
        self.at = self.bytes.len();
    }

    pub(crate) fn at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// Nothing but spaces is left.
    pub(crate) fn end(&mut self) -> Parsed<()> {
        self.skip_spaces();
        if self.at_end() { Ok(()) } else { self.wanted("the end of the command") }
    }

    /// Takes a word when it stands here, in any case and not as the beginning of a longer one.
    pub(crate) fn word(&mut self, word: &str) -> bool {
        let mut ahead = self.clone();
        let found = ahead.take_while(is_word_char).eq_ignore_ascii_case(word.as_bytes());
        if found {
            self.at = ahead.at;
        }
        found
    }

    /// One of several words; gives back its place among them.
    pub(crate) fn one_of(&mut self, words: &[&str], expected: &'static str) -> Parsed<usize> {
        match words.iter().position(|word| self.word(word)) {
            Some(which) => Ok(which),
            None => self.wanted(expected),
        }
    }

    /// A verb, item or key: letters, digits, dots, hyphens.
    pub(crate) fn name(&mut self, expected: &'static str) -> Parsed<&'a [u8]> {
        let name = self.take_while(is_word_char);
        if name.is_empty() { self.wanted(expected) } else { Ok(name) }
    }

    /// ```text
    /// tag = 1*<any ASTRING-CHAR except "+">
    /// ```
    pub(crate) fn tag(&mut self) -> Parsed<&'a str> {
        let tag = self.take_while(|b| text::is_astring_char(b) && b != b'+');
        if tag.is_empty() || tag.len() > limits::TAG_BYTES {
            return self.wanted("a tag");
        }
        std::str::from_utf8(tag).or_else(|_| self.wanted("a tag"))
    }

    /// ```text
    /// number = 1*DIGIT    ; 0 <= n < 4,294,967,296
    /// ```
    pub(crate) fn number(&mut self) -> Parsed<u32> {
        u32::try_from(self.number64()?).or_else(|_| self.wanted("a number below 4294967296"))
    }

    /// ```text
    /// number64 = 1*DIGIT    ; 0 <= n <= 9,223,372,036,854,775,807
    /// ```
    pub(crate) fn number64(&mut self) -> Parsed<u64> {
        let digits = self.take_while(|b| b.is_ascii_digit());
        if digits.is_empty() {
            return self.wanted("a number");
        }
        let value = digits
            .iter()
            .try_fold(0_i64, |n, digit| n.checked_mul(10)?.checked_add(i64::from(digit - b'0')));
        match value {
            Some(n) => Ok(n.unsigned_abs()),
            None => self.wanted("a smaller number"),
        }
    }

    /// `(` SP-separated items `)`, at most `most` of them; may be empty. One level of [`limits::DEPTH`].
    pub(crate) fn list<T>(
        &mut self,
        most: usize,
        mut item: impl FnMut(&mut Self) -> Parsed<T>,
    ) -> Parsed<Vec<T>> {
        self.need(b'(', "an opening parenthesis")?;
        let items = self.deeper(|p| {
            let mut items = Vec::new();
            p.skip_spaces();
            while p.peek() != Some(b')') {
                if items.len() >= most {
                    return p.wanted("a shorter list");
                }
                items.push(item(p)?);
                if !p.skip_spaces() && p.peek() != Some(b')') {
                    return p.wanted("a space or a closing parenthesis");
                }
            }
            Ok(items)
        })?;
        self.need(b')', "a closing parenthesis")?;
        Ok(items)
    }

    /// Runs a parser one level deeper; too deep is an error, not a stack overflow.
    pub(crate) fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= limits::DEPTH {
            return self.wanted("fewer levels of nesting");
        }
        self.depth += 1;
        let value = inner(self)?;
        self.depth -= 1;
        Ok(value)
    }
}

fn is_word_char(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'=')
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Runs one parser over a whole text.
    pub(crate) fn whole<'a, T>(
        text: &'a [u8],
        parse: impl FnOnce(&mut Parser<'a>) -> Parsed<T>,
    ) -> Parsed<T> {
        let mut p = Parser::new(text);
        let value = parse(&mut p)?;
        p.end()?;
        Ok(value)
    }

    #[test]
    fn numbers() {
        #[track_caller]
        fn check(text: &str, expect: Option<u32>) {
            assert_eq!(whole(text.as_bytes(), Parser::number).ok(), expect, "{text}");
        }
        check("0", Some(0));
        check("007", Some(7));
        check("4294967295", Some(u32::MAX));
        check("4294967296", None);
        check("99999999999999999999999999", None);
        check("-1", None);
        check("", None);
        check("1x", None);
        check("1  ", Some(1));
    }

    #[test]
    fn words_and_lists() {
        #[track_caller]
        fn check(text: &str, expect: Option<usize>) {
            let parse = |p: &mut Parser<'_>| p.list(3, |p| p.one_of(&["a", "bc"], "a or bc"));
            assert_eq!(whole(text.as_bytes(), parse).ok().map(|l| l.len()), expect, "{text}");
        }
        check("()", Some(0));
        check("( )", Some(0));
        check("(A)", Some(1));
        check("( a   BC a ) ", Some(3));
        check("(a a a a)", None);
        check("(ab)", None);
        check("(a", None);
        check("a", None);
        check("((a))", None);
    }

    #[test]
    fn depth_has_an_end() {
        fn nested(p: &mut Parser<'_>) -> Parsed<usize> {
            if p.peek() == Some(b'(') {
                return Ok(p.list(1, nested)?.first().map_or(0, |depth| depth + 1));
            }
            Ok(0)
        }
        let text = |depth: usize| [vec![b'('; depth], vec![b')'; depth]].concat();
        assert!(whole(&text(limits::DEPTH), nested).is_ok());
        assert!(whole(&text(limits::DEPTH + 1), nested).is_err());
        assert!(whole(&text(60_000), nested).is_err());
    }
}
