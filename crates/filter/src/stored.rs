//! A letter as it came, out of one as it is stored: without the fields that this server put before it, and with what they
//! know about who brought it. A filter that learned from its own verdict would learn nothing else.

use std::net::IpAddr;
use types::Address;

/// Fields of ours that are looked at: there are nine.
const FIELDS: usize = 12;

/// What is before the letter, and the letter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stored<'a> {
    /// The letter as its sender wrote it.
    pub original: &'a [u8],
    pub client_ip: Option<IpAddr>,
    pub helo: Option<&'a str>,
    pub sender: Option<Address>,
    /// The rules that hit when it came; `None`: it did not come by mail.
    pub symbols: Option<Vec<&'a str>>,
    /// Domains that vouched for it: `dkim=pass header.d=`, `spf=pass smtp.mailfrom=`.
    pub proven: Vec<&'a str>,
}

/// Reads the fields that a server of this name puts before a letter, in their order. A letter without them is as it came.
pub fn as_it_came<'a>(raw: &'a [u8], hostname: &str) -> Stored<'a> {
    let unknown = Stored { original: raw, ..Stored::default() };
    let mut stored = Stored::default();
    let (mut rest, mut is_ours) = (raw, false);
    for _ in 0..FIELDS {
        let Some((name, value, after)) = field(rest) else { break };
        match name {
            "Return-Path" if !is_ours && rest.len() == raw.len() => {
                stored.sender = value.trim().trim_matches(['<', '>']).parse().ok();
            }
            "Received" if !is_ours && rest.len() < raw.len() => {
                if !is_received_by(value, hostname) {
                    return unknown;
                }
                is_ours = true;
                (stored.helo, stored.client_ip) = client(value);
            }
            "Authentication-Results" if is_ours && stored.symbols.is_none() => {
                stored.proven = proven(value);
            }
            "X-Spam-Status" if is_ours && stored.symbols.is_none() => {
                stored.symbols = Some(symbols(value));
            }
            _ if stored.symbols.is_some() && is_status_field(name) => {}
            "X-Defect" if stored.symbols.is_some() => {
                rest = after;
                break;
            }
            _ => break,
        }
        rest = after;
    }
    if !is_ours {
        return unknown;
    }
    stored.original = rest;
    stored
}

fn is_status_field(name: &str) -> bool {
    antispam::STATUS_FIELDS.iter().any(|field| field.name == name)
}

/// The first field, its value unfolded only in that its line ends are still there, and what comes after it.
fn field(raw: &[u8]) -> Option<(&str, &str, &[u8])> {
    let mut end = 0;
    loop {
        let line = raw.get(end..)?;
        let length = line.iter().position(|b| *b == b'\n')? + 1;
        end += length;
        if !matches!(raw.get(end), Some(b' ' | b'\t')) {
            break;
        }
    }
    let (field, after) = raw.split_at_checked(end)?;
    let (name, value) = std::str::from_utf8(field).ok()?.split_once(':')?;
    Some((name, value, after))
}

fn is_received_by(value: &str, hostname: &str) -> bool {
    let mut words = value.split_whitespace().skip_while(|word| *word != "by");
    words.nth(1).is_some_and(|host| host.eq_ignore_ascii_case(hostname))
}

/// `from HELO ([IP])`
fn client(value: &str) -> (Option<&str>, Option<IpAddr>) {
    let mut words = value.split_whitespace();
    if words.next() != Some("from") {
        return (None, None);
    }
    let helo = words.next();
    let literal = words.next().unwrap_or_default().trim_matches(['(', ')', '[', ']']);
    (helo, literal.strip_prefix("IPv6:").unwrap_or(literal).parse().ok())
}

/// `Yes, score=7.0 required=6.0 tests=A,B`
fn symbols(value: &str) -> Vec<&str> {
    let tests = value.split_once("tests=").map_or("", |(_, tests)| tests);
    let is_symbol = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    tests.split(|c: char| !is_symbol(c)).filter(|symbol| !symbol.is_empty()).collect()
}

/// Domains behind `dkim=pass` and `spf=pass` (RFC 8601 §2.2).
fn proven(value: &str) -> Vec<&str> {
    let mut domains = Vec::new();
    for result in value.split(';') {
        let mut words = result.split_whitespace();
        let key = match words.next() {
            Some("dkim=pass") => ["header.d=", "header.i="],
            Some("spf=pass") => ["smtp.mailfrom=", "smtp.helo="],
            _ => continue,
        };
        let found = words.find_map(|word| key.iter().find_map(|key| word.strip_prefix(key)));
        domains.extend(found.map(|at| at.rsplit('@').next().unwrap_or(at)));
    }
    domains
}

#[cfg(test)]
mod tests {
    use super::*;

    const LETTER: &str = "Subject: hello\r\nX-Spam-Status: No, tests=FORGED\r\n\r\nText\r\n";

    #[test]
    fn our_own_fields() {
        let raw = format!(
            "Return-Path: <ala@else.test>\r\nReceived: from mail.else.test ([192.0.2.7])\r\n\tby mx.example.test with ESMTP id 4K7Q\r\n\t\
             for <bob@example.test>;\r\n\tSun, 22 Nov 2026 18:00:00 +0000\r\n\
             Authentication-Results: mx.example.test; dkim=pass header.d=else.test\r\n\theader.s=s1; dkim=fail header.d=bad.test;\r\n\
             \tspf=pass smtp.mailfrom=ala@else.test\r\n\
             X-Spam-Status: Yes, score=7.0 required=6.0 tests=SPF_PASS,\r\n\tTEST_JUNK\r\nX-Spam-Flag: YES\r\nX-Spam-Score: 7.0\r\n{LETTER}"
        );
        let stored = as_it_came(raw.as_bytes(), "mx.example.test");
        assert_eq!(std::str::from_utf8(stored.original).unwrap(), LETTER);
        assert_eq!(stored.client_ip, Some([192, 0, 2, 7].into()));
        assert_eq!(stored.helo, Some("mail.else.test"));
        assert_eq!(stored.sender.unwrap().to_string(), "ala@else.test");
        assert_eq!(stored.symbols.unwrap(), ["SPF_PASS", "TEST_JUNK"]);
        assert_eq!(stored.proven, ["else.test", "else.test"]);
    }

    #[test]
    fn letters_of_others_are_as_they_came() {
        #[track_caller]
        fn check(raw: &str) {
            let stored = as_it_came(raw.as_bytes(), "mx.example.test");
            let expect = Stored { original: raw.as_bytes(), ..Stored::default() };
            assert_eq!(stored, expect, "{raw:?}");
        }
        check("");
        check("no field");
        check(LETTER);
        check(&format!("X-Spam-Status: No, tests=A\r\n{LETTER}"));
        check(&format!("Return-Path: <a@b.test>\r\n{LETTER}"));
        let elsewhere = "Return-Path: <a@b.test>\r\nReceived: from x ([192.0.2.7])\r\n\tby mx.else.test with ESMTP id 1;\r\n\tdate\r\n";
        check(&format!("{elsewhere}{LETTER}"));
    }

    #[test]
    fn a_letter_that_goes_on_with_our_field_has_a_shield() {
        let raw = "Return-Path: <>\r\nReceived: from x ([IPv6:2001:db8::1])\r\n\tby mx.example.test with LMTP id 1;\r\n\tdate\r\n\
            X-Spam-Status: No, score=0.0 required=6.0 tests=none\r\nX-Defect: the letter begins in the middle of a field\r\n more\r\n\r\nText";
        let stored = as_it_came(raw.as_bytes(), "mx.example.test");
        // The field takes the blanks in: the letter is what comes after them.
        assert_eq!(stored.original, b"\r\nText");
        assert_eq!(stored.client_ip, "2001:db8::1".parse().ok());
        assert_eq!(stored.symbols.unwrap(), [] as [&str; 0]);
    }
}
