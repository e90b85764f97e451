//! The short way through a value with parameters, for values as nearly every letter has them. Whatever is unusual
//! is not read here: [`crate::params`] reads it, and both give the same.

use crate::{NamedAddress, limits, simd};
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
    let mut found = None;
    each_param(raw, |own_name, value| {
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

/// Whether `raw` has `word`, which is in lower case, in any case.
pub(crate) fn contains(raw: &[u8], word: &[u8]) -> bool {
    let Some((&first, rest)) = word.split_first() else {
        return true;
    };
    memchr::memchr2_iter(first, first.to_ascii_uppercase(), raw).any(|at| {
        raw.get(at + 1..at + word.len()).is_some_and(|found| found.eq_ignore_ascii_case(rest))
    })
}

/// Head, and parameters with their values, of a simple value: both as [`crate::params::parse_value`] gives them.
pub(crate) fn value(raw: &[u8]) -> Option<(String, Vec<(String, String)>)> {
    let mut params: Vec<(String, String)> = Vec::new();
    each_param(raw, |name, value| {
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

/// Calls `take` with name and value of each parameter. `None` when it does so or the value is not simple.
#[inline]
fn each_param<'a>(
    raw: &'a [u8],
    mut take: impl FnMut(&'a [u8], &'a [u8]) -> Option<()>,
) -> Option<()> {
    let end_of_head = memchr::memchr(b';', raw).unwrap_or(raw.len());
    let (head, mut rest) = raw.split_at_checked(end_of_head)?;
    if memchr::memchr(b'(', head).is_some() {
        return None;
    }
    let mut count = 0;
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
        let after = skip(text, |b| matches!(b, b' '..=b'~') && !matches!(b, b'"' | b'\\'));
        (text.get(..text.len() - after.len())?, after.strip_prefix(b"\"")?)
    } else {
        let after = skip(raw, |b| b.is_ascii_graphic() && !matches!(b, b'"' | b';' | b'(' | b'\\'));
        (raw.get(..raw.len() - after.len())?, after)
    };
    let rest = skip(rest, |b| matches!(b, b' ' | b'\t' | b'\r' | b'\n'));
    let simple = memchr::memchr(b'?', value).is_none() && matches!(rest.first(), None | Some(b';'));
    simple.then_some((value, rest))
}

fn skip(raw: &[u8], wanted: impl Fn(u8) -> bool) -> &[u8] {
    let count = raw.iter().position(|b| !wanted(*b)).unwrap_or(raw.len());
    raw.get(count..).unwrap_or_default()
}

/// A value that needs no work to be text: one line, ASCII, no tab, no encoded word.
pub(crate) fn text(raw: &[u8]) -> Option<&str> {
    let text = simd::printable(raw.trim_ascii())?;
    // Every encoded word has question marks.
    memchr::memchr(b'?', text.as_bytes()).is_none().then_some(text)
}

/// Name, local part and domain of `Name Name <local@domain>`, `"Name" <local@domain>` or `local@domain`, nothing
/// that needs decoding. Without a name it is empty.
pub(crate) fn address(raw: &[u8]) -> Option<(&str, &str, &str)> {
    let text = text(raw)?;
    let (name, address) = match text.strip_suffix('>') {
        Some(text) => {
            text.split_once('<').map(|(name, address)| (name.trim_ascii_end(), address))?
        }
        None => ("", text),
    };
    let (local, domain) = address.split_once('@')?;
    let is_dot_atom = |t: &str| {
        let mut after_dot = true;
        let sound = t.bytes().all(|b| {
            let sound = is_atom(b) || (b == b'.' && !after_dot);
            after_dot = b == b'.';
            sound
        });
        sound && !after_dot
    };
    let name = match name.strip_prefix('"') {
        Some(quoted) => {
            quoted.strip_suffix('"').filter(|q| !q.contains(['"', '\\']) && q.trim() == *q)?
        }
        None if name.bytes().all(|b| is_atom(b) || b == b' ') && !name.contains("  ") => name,
        None => return None,
    };
    (is_dot_atom(local) && is_dot_atom(domain)).then_some((name, local, domain))
}

/// The same as people read it.
pub(crate) fn mailbox(raw: &[u8]) -> Option<NamedAddress> {
    let (name, local, domain) = address(raw)?;
    let name = Some(name.to_owned()).filter(|name| !name.is_empty());
    Some(NamedAddress { name, address: [local, "@", domain].concat() })
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

/// RFC 5322 §3.2.3
fn is_atom(byte: u8) -> bool {
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
            b'(' | b')' | b'<' | b'>' | b'@' | b',' | b';' | b':' | b'\\' | b'"' | b'[' | b']' => 0,
            b'/' | b'?' | b'=' => ATOM,
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
    fn words_in_any_case() {
        let check = |raw: &str, word: &str, expect: bool| {
            assert_eq!(contains(raw.as_bytes(), word.as_bytes()), expect, "{word} in {raw}");
        };
        check("inline; FileName*0*=a", "name", true);
        check("a; nnnname=b", "name", true);
        check("a; boundary=nam", "name", false);
        check("text/plain", "name", false);
        check("", "name", false);
        check("", "", true);
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
            ("A. Kot <a@example.test>", false),
            ("\"A \\\" B\" <a@example.test>", false),
            ("a@example.test, b@example.test", false),
            ("a..b@example.test", false),
            ("a@b@example.test", false),
            ("A  B <a@example.test>", false),
            ("=?utf-8?Q?a?= <a@example.test>", false),
            ("A <a@[192.0.2.1]>", false),
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
}
