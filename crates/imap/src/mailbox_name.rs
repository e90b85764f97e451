//! Mailbox names on the wire: modified UTF-7 (RFC 3501 §5.1.3) to UTF-8 and back.
//!
//! ```text
//! Zażółć  <->  Za&AXwA8wFCAQc-
//! R&D     <->  R&-D
//! ```
//! One name has one form: what would not come back the same is refused, so that nobody can make two
//! mailboxes that look alike or hide a `/`, a NUL or an ASCII letter in base64. A name with 8-bit bytes is
//! taken as UTF-8 as it is, `&` and all: some clients send names so without asking.

use crate::base64;

/// `None`: neither canonical modified UTF-7 nor UTF-8, or with control characters.
pub(crate) fn decode(wire: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(wire).ok()?;
    let name = if text.is_ascii() { decode_utf7(text)? } else { text.to_owned() };
    (!name.chars().any(char::is_control)).then_some(name)
}

/// A name from a client that writes names in UTF-8 alone (RFC 9051 §5.1): `&` stands for itself.
pub(crate) fn decode_utf8(wire: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(wire).ok()?;
    (!name.chars().any(char::is_control)).then(|| name.to_owned())
}

fn decode_utf7(text: &str) -> Option<String> {
    let mut name = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        name.push_str(before);
        let (shifted, after) = after.split_once('-')?;
        if shifted.is_empty() {
            name.push('&');
        } else {
            let bytes = base64::decode(shifted.as_bytes())?;
            let (pairs, []) = bytes.as_chunks::<2>() else { return None };
            let units = pairs.iter().map(|pair| u16::from_be_bytes(*pair));
            for unit in char::decode_utf16(units) {
                name.push(unit.ok()?);
            }
        }
        rest = after;
    }
    name.push_str(rest);
    (encode(&name) == text).then_some(name)
}

/// Always possible; ASCII without `&` stays as it is.
pub(crate) fn encode(name: &str) -> String {
    let plain = |c: char| matches!(c, ' '..='~');
    let mut wire = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| plain(c) != plain(first)).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        if plain(first) {
            wire.push_str(&run.replace('&', "&-"));
        } else {
            let units: Vec<u8> = run.encode_utf16().flat_map(u16::to_be_bytes).collect();
            wire.push('&');
            base64::encode(&units, &mut wire);
            wire.push('-');
        }
        rest = after;
    }
    wire
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        #[track_caller]
        fn check(name: &str, wire: &str) {
            assert_eq!(encode(name), wire);
            assert_eq!(decode(wire.as_bytes()).as_deref(), Some(name));
            assert_eq!(decode(name.as_bytes()).is_some(), !name.contains('&'), "{name}");
        }
        check("INBOX", "INBOX");
        check("", "");
        check("Za\u{17c}\u{f3}\u{142}\u{107}", "Za&AXwA8wFCAQc-");
        check("R&D", "R&-D");
        check("&", "&-");
        check(
            "~peter/mail/\u{53f0}\u{5317}/\u{65e5}\u{672c}\u{8a9e}",
            "~peter/mail/&U,BTFw-/&ZeVnLIqe-",
        );
        check("\u{53f0}\u{5317}\u{65e5}\u{672c}\u{8a9e}", "&U,BTF2XlZyyKng-");
        check("\u{1f4e7}", "&2D3c5w-");
    }

    #[test]
    fn eight_bit_names_are_utf8() {
        assert_eq!(decode("a&b \u{17c}".as_bytes()).as_deref(), Some("a&b \u{17c}"));
        assert_eq!(decode(b"\xC0\xAF"), None, "overlong");
        assert_eq!(decode(b"\xED\xA0\x80"), None, "surrogate");
        assert_eq!(decode("a\u{85}".as_bytes()), None, "control");
        assert_eq!(decode_utf8(b"R&D &AXw-").as_deref(), Some("R&D &AXw-"));
        assert_eq!(decode_utf8(b"a\0"), None);
        assert_eq!(decode_utf8(b"\xFF"), None);
    }

    #[test]
    fn refused() {
        for bad in [
            "&AXw",               // not ended
            "a&",                 // not ended
            "&AC8-",              // an encoded slash
            "&AEE-",              // an encoded letter
            "&AAA-",              // NUL
            "&AAo-",              // line feed
            "&2D0-",              // half of a pair
            "&3Oc-",              // the other half
            "&AXx-",              // bits left over
            "&AX-",               // half a unit
            "&AXw-&APM-",         // two runs where one would do
            "&AXw=-",             // padding
            "&AX/-",              // standard base64
            "&U,BTFw-&ZeVnLIqe-", // the RFC's own example of it
            "a\0b",
            "a\tb",
        ] {
            assert_eq!(decode(bad.as_bytes()), None, "{bad}");
        }
    }
}
