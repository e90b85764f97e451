//! Mailbox names as Maildir++ folders: modified UTF-7 (RFC 3501 §5.1.3), as Dovecot and Courier read them.
//!
//! `Projects/Góry` is the folder `.Projects.G&APM-ry`. A `.` inside a level is written `&AC4-`, since Maildir++
//! keeps the dot for itself.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

/// One level of a name.
pub(super) fn encode(level: &str) -> String {
    let plain = |c: char| matches!(c, ' '..='~') && c != '.';
    let mut out = String::with_capacity(level.len());
    let mut rest = level;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| plain(c) != plain(first)).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        if plain(first) {
            out.push_str(&run.replace('&', "&-"));
        } else {
            out.push('&');
            base64(run, &mut out);
            out.push('-');
        }
        rest = after;
    }
    out
}

fn base64(run: &str, out: &mut String) {
    let (mut bits, mut have) = (0_u32, 0);
    let mut push = |six: u32| {
        out.extend(ALPHABET.get((six & 63) as usize).map(|b| char::from(*b)));
    };
    for unit in run.encode_utf16() {
        bits = bits << 16 | u32::from(unit);
        have += 16;
        while have >= 6 {
            have -= 6;
            push(bits >> have);
        }
        bits &= 0xff;
    }
    if have > 0 {
        push(bits << (6 - have));
    }
}

/// `None`: no modified UTF-7; the name is then what it is.
pub(super) fn decode(level: &str) -> Option<String> {
    let mut out = String::with_capacity(level.len());
    let mut rest = level;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let (shifted, after) = after.split_once('-')?;
        if shifted.is_empty() {
            out.push('&');
        } else {
            let (mut bits, mut have, mut units) = (0_u32, 0, Vec::new());
            for byte in shifted.bytes() {
                let six = ALPHABET.iter().position(|b| *b == byte)?;
                bits = bits << 6 | u32::try_from(six).ok()?;
                have += 6;
                if have >= 16 {
                    have -= 16;
                    units.push(u16::try_from(bits >> have & 0xffff).ok()?);
                }
                bits &= 0xffff;
            }
            out.push_str(&String::from_utf16(&units).ok()?);
        }
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        #[track_caller]
        fn check(level: &str, folder: &str) {
            assert_eq!(encode(level), folder);
            assert_eq!(decode(folder).as_deref(), Some(level));
        }
        check("Sent", "Sent");
        check("R&D", "R&-D");
        check("Zażółć", "Za&AXwA8wFCAQc-");
        check("台北日本語", "&U,BTF2XlZyyKng-");
        check("📧", "&2D3c5w-");
        check("v1.2", "v1&AC4-2");
        check("", "");
        assert_eq!(decode("a&b"), None);
        assert_eq!(decode("a&!-"), None);
        assert_eq!(decode("&2D0-"), None, "half of a pair");
    }
}
