//! The short way through a value with parameters, for values as nearly every letter has them. Whatever is unusual
//! is not read here: [`crate::params`] reads it, and both give the same.

use crate::headers::without_blanks;
use crate::{NamedAddress, limits, simd};
use std::ops::Range;
use types::{Date, MONTHS};

/// A parameter's value as it stands in a simple value: `None`, it is not simple; `Some(None)`, it is not there.
///
/// Simple is: ASCII, no comment, no `*`, no backslash, no encoded word, no blank inside a value without quotes, no
/// parameter of this name twice.
#[expect(
    clippy::option_option,
    reason = "outside: the value is simple; inside: the parameter is there"
)]
pub(crate) fn param<'a>(raw: &'a [u8], name: &[u8]) -> Option<Option<&'a [u8]>> {
    param_behind(behind_head(raw)?, name)
}

/// The same of what stands behind the head.
#[expect(clippy::option_option, reason = "as in `param`")]
pub(crate) fn param_behind<'a>(params: &'a [u8], name: &[u8]) -> Option<Option<&'a [u8]>> {
    let mut found = None;
    each_param(params, |own_name, value| {
        if own_name.eq_ignore_ascii_case(name) {
            if found.is_some() {
                return None;
            }
            found = Some(value);
        }
        Some(())
    })?;
    Some(found)
}

/// Whether `name` stands in this range of a letter, in any case; now and then `true` when it only stands behind it.
pub(crate) fn may_have_name(letter: &[u8], range: Range<usize>) -> bool {
    let mut at = range.start;
    while at < range.end {
        let Some(window) = letter.get(at..).and_then(|rest| rest.first_chunk::<NAME_WINDOW>())
        else {
            // The end of the letter.
            let rest = letter.get(at..).unwrap_or_default();
            return rest.windows(NAME.len()).any(|word| word.eq_ignore_ascii_case(NAME));
        };
        if has_name(window) {
            return true;
        }
        at += NAME_STEP;
    }
    false
}

const NAME: &[u8] = b"name";
const NAME_STEP: usize = 32;
const NAME_WINDOW: usize = NAME_STEP + NAME.len() - 1;

/// Numbers, and no way out in the middle: that is done many bytes at a time.
#[inline]
fn has_name(window: &[u8; NAME_WINDOW]) -> bool {
    let is = |byte: u8, letter: u8| u8::from(byte | 0x20 == letter);
    let [_, after_n @ ..] = window;
    let [_, after_a @ ..] = after_n;
    let [_, after_m @ ..] = after_a;
    let words = window.iter().zip(after_n).zip(after_a).zip(after_m);
    let found = words.fold(0, |found, (((n, a), m), e)| {
        found | (is(*n, b'n') & is(*a, b'a') & is(*m, b'm') & is(*e, b'e'))
    });
    found != 0
}

/// Head, and parameters with their values, of a simple value: both as [`crate::params::parse_value`] gives them.
pub(crate) fn value(raw: &[u8]) -> Option<(String, Vec<(String, String)>)> {
    let mut params: Vec<(String, String)> = Vec::new();
    each_param(behind_head(raw)?, |name, value| {
        let name = simd::printable(name)?.to_ascii_lowercase();
        let known = params.iter().any(|(before, _)| *before == name);
        // Of many names each would be held against all others.
        if known || params.len() >= FEW_PARAMS {
            return None;
        }
        params.push((name, simd::printable(value)?.to_owned()));
        Some(())
    })?;
    let end_of_head = memchr::memchr(b';', raw).unwrap_or(raw.len());
    let head = simd::printable(raw.get(..end_of_head)?.trim_ascii())?;
    Some((head.to_ascii_lowercase(), params))
}

/// Real mail has up to about five.
const FEW_PARAMS: usize = 16;

/// The parameters of a value whose head has no comment.
fn behind_head(raw: &[u8]) -> Option<&[u8]> {
    let end_of_head = memchr::memchr(b';', raw).unwrap_or(raw.len());
    let (head, params) = raw.split_at_checked(end_of_head)?;
    memchr::memchr(b'(', head).is_none().then_some(params)
}

/// Calls `take` with name and value of each parameter. `None` when it does so or the value is not simple.
#[inline]
fn each_param<'a>(
    params: &'a [u8],
    mut take: impl FnMut(&'a [u8], &'a [u8]) -> Option<()>,
) -> Option<()> {
    let (mut rest, mut count) = (params, 0);
    loop {
        rest = skip(rest, |b| matches!(b, b';' | b' ' | b'\t' | b'\r' | b'\n'));
        if rest.is_empty() {
            return Some(());
        }
        count += 1;
        let value_at = skip(rest, |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        let name = rest.get(..rest.len() - value_at.len())?;
        rest = value_at.strip_prefix(b"=")?;
        let value;
        (value, rest) = one_value(rest)?;
        take(name, value)?;
        if name.is_empty() || count > limits::PARAMS {
            return None;
        }
    }
}

/// A value and what stands behind it, if that is a `;` or nothing.
fn one_value(raw: &[u8]) -> Option<(&[u8], &[u8])> {
    let (value, rest) = if let Some(text) = raw.strip_prefix(b"\"") {
        let after = skip(text, |b| matches!(b, b' '..=b'~') && !matches!(b, b'"' | b'\\' | b'?'));
        (text.get(..text.len() - after.len())?, after.strip_prefix(b"\"")?)
    } else {
        let plain = |b: u8| !matches!(b, b'"' | b';' | b'(' | b'\\' | b'?');
        let after = skip(raw, |b| b.is_ascii_graphic() && plain(b));
        (raw.get(..raw.len() - after.len())?, after)
    };
    let rest = skip(rest, |b| matches!(b, b' ' | b'\t' | b'\r' | b'\n'));
    matches!(rest.first(), None | Some(b';')).then_some((value, rest))
}

fn skip(raw: &[u8], wanted: impl Fn(u8) -> bool) -> &[u8] {
    let count = raw.iter().position(|b| !wanted(*b)).unwrap_or(raw.len());
    raw.get(count..).unwrap_or_default()
}

/// A value that needs no work to be text: one line, ASCII, no tab, no encoded word.
pub(crate) fn text(raw: &[u8]) -> Option<&str> {
    let text = simd::printable(without_blanks(raw))?;
    // Every encoded word has question marks.
    memchr::memchr(b'?', text.as_bytes()).is_none().then_some(text)
}

/// Name, local part and domain of `Name Name <local@domain>`, `"Name" <local@domain>` or `local@domain`, nothing
/// that needs decoding. Without a name it is empty.
pub(crate) fn address(raw: &[u8]) -> Option<(&str, &str, &str)> {
    let raw = without_blanks(raw);
    let (name, local, domain) = match raw.strip_suffix(b">") {
        Some(raw) => {
            let (place, local, domain) = local_at_domain(raw)?;
            let name = without_blanks(raw.get(..place)?.strip_suffix(b"<")?);
            (simple_name(name)?, local, domain)
        }
        None => match local_at_domain(raw)? {
            (0, local, domain) => (&b""[..], local, domain),
            _ => return None,
        },
    };
    Some((simd::printable(name)?, simd::printable(local)?, simd::printable(domain)?))
}

/// Two dot-atoms (RFC 5322 §3.2.3) with `@` between them, at the end of `raw`, and where they begin.
fn local_at_domain(raw: &[u8]) -> Option<(usize, &[u8], &[u8])> {
    let (mut place, mut at) = (raw.len(), None);
    let mut next_to_dot = true;
    for byte in raw.iter().rev() {
        match byte {
            b'.' if !next_to_dot => next_to_dot = true,
            b'@' if !next_to_dot && at.is_none() => {
                next_to_dot = true;
                at = Some(place - 1);
            }
            byte if is_plain_atom(*byte) => next_to_dot = false,
            _ => break,
        }
        place -= 1;
    }
    let at = at.filter(|_| !next_to_dot)?;
    Some((place, raw.get(place..at)?, raw.get(at + 1..)?))
}

/// A display name that is read as it stands: atoms with one blank between them, or quoted.
fn simple_name(name: &[u8]) -> Option<&[u8]> {
    if let Some(quoted) = name.strip_prefix(b"\"") {
        let quoted = quoted.strip_suffix(b"\"")?;
        let simple = quoted.iter().all(|b| !matches!(b, b'"' | b'\\' | b'?'));
        return (simple && quoted.trim_ascii() == quoted).then_some(quoted);
    }
    let mut after_blank = false;
    let simple = name.iter().all(|byte| {
        let sound = is_plain_atom(*byte) || *byte == b'.' || (*byte == b' ' && !after_blank);
        after_blank = *byte == b' ';
        sound
    });
    simple.then_some(name)
}

/// The same as people read it.
pub(crate) fn mailbox(raw: &[u8]) -> Option<NamedAddress> {
    let (name, local, domain) = address(raw)?;
    let name = Some(name.to_owned()).filter(|name| !name.is_empty());
    Some(NamedAddress { name, address: [local, "@", domain].concat() })
}

/// More than this many addresses are read the long way, which counts them.
const FEW_MAILBOXES: usize = 64;

/// All addresses of a list in which each is simple and no comma stands in a name.
pub(crate) fn mailboxes(raw: &[u8]) -> Option<Vec<NamedAddress>> {
    if let Some(one) = mailbox(raw) {
        return Some(vec![one]);
    }
    let mut list = Vec::new();
    for piece in raw.split(|b| *b == b',') {
        if list.len() == FEW_MAILBOXES {
            return None;
        }
        list.push(mailbox(piece)?);
    }
    Some(list)
}

/// Type and subtype of a Content-Type as nearly all are: two tokens, then `;` or nothing. Case as written.
#[inline]
pub(crate) fn media_type(raw: &[u8]) -> Option<(&str, &str)> {
    let raw = raw.trim_ascii_start();
    let slash = raw.iter().position(|b| !is_token(*b)).filter(|at| *at > 0)?;
    let (media_type, rest) = raw.split_at_checked(slash)?;
    let rest = rest.strip_prefix(b"/")?;
    let end = rest.iter().position(|b| !is_token(*b)).unwrap_or(rest.len());
    let (subtype, rest) = rest.split_at_checked(end)?;
    if subtype.is_empty() || !matches!(rest.first(), None | Some(b';')) {
        return None;
    }
    Some((simd::printable(media_type)?, simd::printable(subtype)?))
}

/// RFC 5322 §3.2.3, but for the question mark: every encoded word has some.
fn is_plain_atom(byte: u8) -> bool {
    class(byte) & ATOM != 0
}

/// RFC 2045 §5.1
fn is_token(byte: u8) -> bool {
    class(byte) & TOKEN != 0
}

const ATOM: u8 = 1;
const TOKEN: u8 = 2;

#[expect(clippy::indexing_slicing, reason = "a constant: the compiler would stop")]
const CLASSES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = b'!';
    while byte <= b'~' {
        table[byte as usize] = match byte {
            b'(' | b')' | b'<' | b'>' | b'@' | b',' | b';' | b':' | b'\\' | b'"' | b'[' | b']'
            | b'?' => 0,
            b'/' | b'=' => ATOM,
            b'.' => TOKEN,
            _ => ATOM | TOKEN,
        };
        byte += 1;
    }
    table
};

#[inline]
#[expect(clippy::indexing_slicing, reason = "a byte is always inside a table of 256")]
fn class(byte: u8) -> u8 {
    CLASSES[usize::from(byte)]
}

/// `Mon, 1 Jun 2026 10:00:00 +0200`, perhaps with a comment behind it, as RFC 5322 §3.3 writes it.
pub(crate) fn date(text: &str) -> Option<Date> {
    let rest = match text.as_bytes() {
        [a, b, c, b',', b' ', rest @ ..] if [a, b, c].into_iter().all(u8::is_ascii_alphabetic) => {
            rest
        }
        rest => rest,
    };
    let (day, rest) = match rest {
        [a, b' ', rest @ ..] => (digits(&[*a])?, rest),
        [a, b, b' ', rest @ ..] => (digits(&[*a, *b])?, rest),
        _ => return None,
    };
    let (month, rest) = rest.split_first_chunk::<3>()?;
    let month = MONTHS.iter().position(|name| name.as_bytes() == month)? + 1;
    let (
        &[
            b' ',
            y1,
            y2,
            y3,
            y4,
            b' ',
            h1,
            h2,
            b':',
            m1,
            m2,
            b':',
            s1,
            s2,
            b' ',
            sign,
            z1,
            z2,
            z3,
            z4,
        ],
        comment,
    ) = rest.split_first_chunk::<20>()?
    else {
        return None;
    };
    if !matches!(comment, [] | [b' ', b'(', .., b')'])
        || comment.get(3..).is_some_and(|c| c.contains(&b'('))
    {
        return None;
    }
    let small = |digits: u16| u8::try_from(digits).ok();
    let minutes = digits(&[z1, z2])? * 60 + digits(&[z3, z4])?;
    if digits(&[z1, z2])? > 14 || digits(&[z3, z4])? > 59 {
        return None;
    }
    let minutes = i16::try_from(minutes).ok()?;
    let date = Date {
        year: digits(&[y1, y2, y3, y4])?,
        month: u8::try_from(month).ok()?,
        day: small(day)?,
        hour: small(digits(&[h1, h2])?)?,
        minute: small(digits(&[m1, m2])?)?,
        second: small(digits(&[s1, s2])?)?,
        offset_minutes: match sign {
            b'+' => minutes,
            b'-' => -minutes,
            _ => return None,
        },
    };
    (date.year >= 1900 && date.is_valid()).then_some(date)
}

fn digits(text: &[u8]) -> Option<u16> {
    text.iter().try_fold(0_u16, |sum, b| b.is_ascii_digit().then(|| sum * 10 + u16::from(b - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address;
    use crate::params::{parse_any, parse_value};

    #[test]
    fn name_in_any_case() {
        let check = |raw: &str, expect: bool| {
            for before in 0..40 {
                for after in [0, 1, 2, 3, 50] {
                    let letter = format!("{}{raw}{}", "-".repeat(before), "+".repeat(after));
                    let range = before..before + raw.len();
                    assert_eq!(may_have_name(letter.as_bytes(), range), expect, "{letter}");
                }
            }
        };
        check("inline; FileName*0*=a", true);
        check("a; nnnname=b", true);
        check("attachment; modification-date=\"Wed, 12 Feb 1997 16:29:51 -0500\"; nAme=a", true);
        check("a; boundary=nam", false);
        check("text/plain; charset=us-ascii; format=flowed; delsp=yes", false);
        check("text/plain", false);
        check("", false);
        assert!(!may_have_name(b"name", 4..4));
    }

    /// What is simple reads as the long way reads it.
    #[test]
    fn as_the_long_way() {
        let rows: &[(&str, bool)] = &[
            ("text/plain", true),
            ("text/plain; charset=utf-8", true),
            (" text/plain ;\r\n\tCHARSET=\"utf-8\" ; format=flowed;", true),
            ("multipart/mixed; boundary=\"a b (c); d=e\"", true),
            ("multipart/mixed; boundary=a=b/c:d", true),
            ("a/b; charset=\"\"; boundary=", true),
            ("a/b; charset=x y", false),
            ("a/b; charset=x; charset=y", false),
            ("a/b (;) ; charset=x", false),
            ("a/b; charset*=utf-8''x", false),
            ("a/b; charset=\"a\\\"b\"", false),
            ("a/b; charset=\"a", false),
            ("a/b; charset = x", false),
            ("a/b; charset=\"x\"y", false),
            ("a/b; charset", false),
            ("a/b; charset==?utf-8?Q?x?=", false),
            ("a/b; charset=\"ż\"", false),
        ];
        for (raw, simple) in rows {
            let long = parse_any(raw.as_bytes(), None);
            assert_eq!(parse_value(raw.as_bytes(), None), long, "{raw}");
            for name in ["charset", "boundary"] {
                let short = param(raw.as_bytes(), name.as_bytes());
                if raw.matches("charset").count() < 2 || name == "charset" {
                    assert_eq!(short.is_some(), *simple, "{raw}");
                }
                let Some(short) = short else {
                    continue;
                };
                let expect = long.params.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
                assert_eq!(short.map(|v| str::from_utf8(v).unwrap()), expect, "{raw}");
            }
        }
    }

    /// What is simple is the same date.
    #[test]
    fn dates_as_the_long_way() {
        let rows: &[(&str, bool)] = &[
            ("Mon, 1 Jun 2026 10:00:00 +0200", true),
            ("01 Jun 2026 10:00:59 -0330", true),
            ("Mon, 01 Jun 2026 10:00:00 +0200 (CEST)", true),
            ("Mon, 31 Jun 2026 10:00:00 +0200", false),
            ("Mon, 01 Jun 2026 25:00:00 +0200", false),
            ("Mon, 01 Jun 26 10:00:00 +0200", false),
            ("Mon, 01 Jun 2026 10:00:00 +9999", false),
            ("Mon, 01 Jun 2026 10:00:00 GMT", false),
            ("Mon, 01 Jun 2026 10:00:00 +0200 x", false),
            ("", false),
        ];
        for (text, simple) in rows {
            let short = date(text);
            assert_eq!(short.is_some(), *simple, "{text}");
            assert!(short.is_none() || short == crate::parse_date(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn mailboxes_as_the_long_way() {
        let rows: &[(&str, bool)] = &[
            ("a@example.test", true),
            (" Ala Kot <a.b@example.test>\r\n", true),
            ("\"Kot, Ala\" <a@example.test>", true),
            ("<a@example.test>", true),
            ("\"\" <a@example.test>", true),
            ("A. Kot <a@example.test>", true),
            ("J.R. Kot Jr. <a@example.test>", true),
            (". <a@example.test>", true),
            (".A <a@example.test>", true),
            ("A..B . <a@example.test>", true),
            ("A .B <a@example.test>", true),
            ("\"A \\\" B\" <a@example.test>", false),
            ("a@example.test, b@example.test", false),
            ("a..b@example.test", false),
            ("a@b@example.test", false),
            ("A  B <a@example.test>", false),
            ("=?utf-8?Q?a?= <a@example.test>", false),
            ("A <a@[192.0.2.1]>", false),
            ("A <.a@example.test>", false),
            ("A <a.@example.test>", false),
            ("a@example.test.", false),
            ("a@.example.test", false),
            ("@example.test", false),
            ("A a@example.test>", false),
            ("A <b> <a@example.test>", false),
            ("a?@example.test", false),
            ("A? <a@example.test>", false),
            ("\" A\" <a@example.test>", false),
            ("a@example.test (A)", false),
            ("g: a@example.test;", false),
        ];
        for (raw, simple) in rows {
            let short = mailbox(raw.as_bytes());
            assert_eq!(short.is_some(), *simple, "{raw}");
            let long = address::parse_any(raw.as_bytes(), None, &mut { 10 }).0;
            let same = address::parse_list(raw.as_bytes(), None, &mut { 10 }).0;
            assert_eq!(same, long, "{raw}");
            let long = NamedAddress::list(&long);
            assert!(short.is_none() || short.as_slice() == long.as_slice(), "{raw}");
        }
    }

    #[test]
    fn lists_of_mailboxes_as_the_long_way() {
        let rows: &[(&str, bool)] = &[
            ("a@example.test, Ala Kot <b@example.test>,\r\n\t\"C\" <c@example.test>", true),
            (" a@example.test ,b@example.test", true),
            ("a@example.test", true),
            ("a@example.test,", false),
            (", a@example.test", false),
            ("\"Kot, Ala\" <a@example.test>, b@example.test", false),
            ("g: a@example.test, b@example.test;", false),
            ("a@example.test, b@example.test (B)", false),
            ("a@example.test, =?utf-8?Q?=C4=85?= <b@example.test>", false),
            ("a, b@example.test", false),
            ("<@x,@y:a@example.test>", false),
        ];
        let many = "a@example.test,".repeat(FEW_MAILBOXES + 1) + "a@example.test";
        for (raw, simple) in rows.iter().chain([&(many.as_str(), false)]) {
            let short = mailboxes(raw.as_bytes());
            assert_eq!(short.is_some(), *simple, "{raw}");
            let long = address::parse_any(raw.as_bytes(), None, &mut { 100 }).0;
            assert!(short.is_none_or(|short| short == NamedAddress::list(&long)), "{raw}");
        }
    }
}
