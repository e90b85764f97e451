//! Values to wire text: strings, sets of numbers.

use types::Uid;

/// A quoted string longer than this is harder on clients than a literal.
const QUOTED_BYTES: usize = 1024;

/// ```text
/// nstring = string / nil
/// ```
pub(crate) fn nstring(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => string(out, text),
        None => out.extend_from_slice(b"NIL"),
    }
}

/// ```text
/// string = quoted / literal
/// ```
/// Quoted when it can be; 8-bit text and line ends make it a literal.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    string_as(out, text, false);
}

/// The same; 8-bit text is quoted too for who takes `utf8` (RFC 9051 §4.3).
fn string_as(out: &mut Vec<u8>, text: &str, utf8: bool) {
    let kinds = kinds(text);
    let unfit = CONTROL | if utf8 { 0 } else { EIGHT_BIT };
    if text.len() > QUOTED_BYTES || kinds & unfit != 0 {
        // NUL may stand in no string at all.
        let text = text.replace('\0', " ");
        literal_header(out, text.len());
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.reserve(text.len() + 2);
    out.push(b'"');
    if kinds & ESCAPED == 0 {
        out.extend_from_slice(text.as_bytes());
    } else {
        for b in text.bytes() {
            if matches!(b, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(b);
        }
    }
    out.push(b'"');
}

/// Whether it is printable ASCII and tabs.
pub(crate) fn is_plain(text: &str) -> bool {
    kinds(text) & (CONTROL | EIGHT_BIT) == 0
}

/// Quote and backslash.
const ESCAPED: u8 = 1;
const CONTROL: u8 = 2;
const EIGHT_BIT: u8 = 4;

#[expect(clippy::indexing_slicing, reason = "a constant: the compiler would stop")]
static KINDS: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0_u8;
    loop {
        table[byte as usize] = match byte {
            b'"' | b'\\' => ESCAPED,
            b'\t' | b' '..=b'~' => 0,
            0x80.. => EIGHT_BIT,
            _ => CONTROL,
        };
        if byte == u8::MAX {
            break table;
        }
        byte += 1;
    }
};

/// The kinds of its bytes that a quoted string has to look at.
#[expect(clippy::indexing_slicing, reason = "a byte is always inside a table of 256")]
fn kinds(text: &str) -> u8 {
    text.bytes().fold(0, |kinds, byte| kinds | KINDS[usize::from(byte)])
}

/// `{3}` CRLF
/// Bare where it can be, else a string (RFC 9051 §9 `astring`).
pub(crate) fn astring(out: &mut Vec<u8>, text: &str) {
    let bare = |b: u8| b.is_ascii_graphic() && !b"(){%*\"\\".contains(&b);
    if !text.is_empty() && text.bytes().all(bare) {
        out.extend_from_slice(text.as_bytes());
    } else {
        string(out, text);
    }
}

/// Bytes of any kind; those with a NUL make a literal8 (RFC 3516 §4.4).
pub(crate) fn bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes.map(|bytes| (bytes, str::from_utf8(bytes).ok())) {
        None => out.extend_from_slice(b"NIL"),
        Some((bytes, Some(text))) if !bytes.contains(&0) => string(out, text),
        Some((bytes, _)) => {
            if bytes.contains(&0) {
                out.push(b'~');
            }
            literal_header(out, bytes.len());
            out.extend_from_slice(bytes);
        }
    }
}

pub(crate) fn literal_header(out: &mut Vec<u8>, size_bytes: usize) {
    out.push(b'{');
    number(out, size_bytes as u64);
    out.extend_from_slice(b"}\r\n");
}

pub(crate) fn number(out: &mut Vec<u8>, mut n: u64) {
    let mut digits = [0_u8; 20];
    let mut from = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(n % 10).unwrap_or(0);
        from -= 1;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(from..).unwrap_or_default());
}

/// A mailbox name: modified UTF-7, bare when it can be an atom; for who takes `utf8`, that (RFC 9051 §5.1).
pub(crate) fn mailbox(out: &mut Vec<u8>, name: &str, utf8: bool) {
    let wire = if utf8 { name.into() } else { crate::mailbox_name::encode(name) };
    let bare = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.' | b'&');
    if !wire.is_empty() && wire.bytes().all(bare) && !wire.eq_ignore_ascii_case("NIL") {
        out.extend_from_slice(wire.as_bytes());
    } else {
        string_as(out, &wire, utf8);
    }
}

/// `1:3,9`: runs of ascending numbers in the order given, so that two sets can be read side by side
/// (COPYUID, RFC 4315 §3).
pub(crate) fn runs(numbers: impl IntoIterator<Item = u32>) -> String {
    let mut text = String::new();
    let mut run: Option<(u32, u32)> = None;
    let mut close = |run: Option<(u32, u32)>| {
        let Some((first, last)) = run else { return };
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&first.to_string());
        if last != first {
            text.push(':');
            text.push_str(&last.to_string());
        }
    };
    for n in numbers {
        run = match run {
            Some((first, last)) if last.checked_add(1) == Some(n) => Some((first, n)),
            done => {
                close(done);
                Some((n, n))
            }
        };
    }
    close(run);
    text
}

pub(crate) fn uid_runs(uids: impl IntoIterator<Item = Uid>) -> String {
    runs(uids.into_iter().map(Uid::get))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings() {
        #[track_caller]
        fn check(text: Option<&str>, expect: &str) {
            let mut out = Vec::new();
            nstring(&mut out, text);
            assert_eq!(String::from_utf8(out).unwrap(), expect);
        }
        check(None, "NIL");
        check(Some(""), "\"\"");
        check(Some("NIL"), "\"NIL\"");
        check(Some("a \"b\" \\"), "\"a \\\"b\\\" \\\\\"");
        check(Some("a\r\nb"), "{4}\r\na\r\nb");
        check(Some("ż"), "{2}\r\nż");
        check(Some("a\0b"), "{3}\r\na b");
        check(Some(&"x".repeat(1025)), &format!("{{1025}}\r\n{}", "x".repeat(1025)));
    }

    #[test]
    fn numbers() {
        for n in [0, 7, 10, 4294967295, u64::MAX] {
            let mut out = Vec::new();
            number(&mut out, n);
            assert_eq!(String::from_utf8(out).unwrap(), n.to_string());
        }
        assert_eq!(runs([1, 2, 3, 9, 8, 9]), "1:3,9,8:9");
        assert_eq!(runs([u32::MAX]), "4294967295");
        assert_eq!(runs([]), "");
    }

    #[test]
    fn mailboxes() {
        #[track_caller]
        fn check(name: &str, utf7: &str, utf8: &str) {
            for (expect, is_utf8) in [(utf7, false), (utf8, true)] {
                let mut out = Vec::new();
                mailbox(&mut out, name, is_utf8);
                assert_eq!(String::from_utf8(out).unwrap(), expect);
            }
        }
        check("INBOX", "INBOX", "INBOX");
        check("Work/2026", "Work/2026", "Work/2026");
        check("My mail", "\"My mail\"", "\"My mail\"");
        check("ż", "&AXw-", "\"ż\"");
        check("R&D", "R&-D", "R&D");
        check("a\"b", "\"a\\\"b\"", "\"a\\\"b\"");
        check("nil", "\"nil\"", "\"nil\"");
    }
}
