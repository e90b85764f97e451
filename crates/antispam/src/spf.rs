//! SPF: which hosts may send for a domain (RFC 7208). The record and its macros, without the questions: `filter` asks those,
//! with the limits of [`LOOKUPS`] and [`VOID_LOOKUPS`].
//!
//! ```text
//! record     = "v=spf1" *( 1*SP ( directive / modifier ) ) *SP        ; RFC 7208 §4.5
//! directive  = [ "+" / "-" / "?" / "~" ] mechanism
//! mechanism  = all / include / a / mx / ptr / ip4 / ip6 / exists
//! ```

use crate::authentication::Outcome;
use crate::dkim::tags::is_name;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Terms of a record and of all it includes that ask the DNS (RFC 7208 §4.6.4).
pub const LOOKUPS: usize = 10;
/// Questions that find nothing (RFC 7208 §4.6.4).
pub const VOID_LOOKUPS: usize = 2;
/// A record is at most so long: what an answer over UDP can hold, and more than anybody writes.
const RECORD_BYTES: usize = 4_096;
/// What macros make of a name before it is cut to that of a question.
const EXPANDED_BYTES: usize = 1_024;

/// What is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    pub ip: IpAddr,
    /// Of the sender; `postmaster` where the sender is null.
    pub local: &'a str,
    /// Of the sender, or HELO where the sender is null.
    pub domain: &'a str,
    pub helo: &'a str,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    pub directives: Vec<Directive>,
    /// Asked when nothing matches; with its macros.
    pub redirect: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// When it matches.
    pub outcome: Outcome,
    pub mechanism: Mechanism,
}

/// Names are as they are written, with their macros; `None`: the domain that is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mechanism {
    All,
    Include(String),
    A(Option<String>, Prefix),
    Mx(Option<String>, Prefix),
    Ptr(Option<String>),
    Ip(IpAddr, u8),
    Exists(String),
}

/// Of an address so many bits count: of version 4, of version 6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    pub v4: u8,
    pub v6: u8,
}

impl Prefix {
    pub fn matches(self, client: IpAddr, found: IpAddr) -> bool {
        let bits = if found.is_ipv4() { self.v4 } else { self.v6 };
        is_in(client, found, bits)
    }
}

/// Whether the first bits are the same. An IPv4 address in IPv6 is one of version 4 (RFC 7208 §5).
pub fn is_in(client: IpAddr, network: IpAddr, bits: u8) -> bool {
    match (client.to_canonical(), network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            let shift = 32_u32.saturating_sub(bits.into());
            u64::from(u32::from(a)) >> shift == u64::from(u32::from(b)) >> shift
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let differ = u128::from(a) ^ u128::from(b);
            differ.leading_zeros() >= u32::from(bits)
        }
        _ => false,
    }
}

/// Whether a TXT record is one of SPF at all (RFC 7208 §4.5).
pub fn is_record(text: &str) -> bool {
    let (version, rest) = text.split_at_checked(6).unwrap_or((text, "x"));
    version.eq_ignore_ascii_case("v=spf1") && (rest.is_empty() || rest.starts_with(' '))
}

/// `None`: there is an error somewhere, which makes all of it one (RFC 7208 §4.6).
pub fn parse(text: &str) -> Option<Record> {
    if !is_record(text) || text.len() > RECORD_BYTES {
        return None;
    }
    let mut record = Record::default();
    let mut is_explained = false;
    for term in text.split(' ').skip(1).filter(|term| !term.is_empty()) {
        let name = term.find(['=', ':', '/']).and_then(|at| term.get(..at)).unwrap_or(term);
        if term.as_bytes().get(name.len()) == Some(&b'=') {
            let value = term.get(name.len() + 1..)?;
            match name.to_ascii_lowercase().as_str() {
                "redirect" if record.redirect.is_none() && !value.is_empty() => {
                    record.redirect = Some(value.to_owned());
                }
                "exp" if !is_explained && !value.is_empty() => is_explained = true,
                "redirect" | "exp" => return None,
                // RFC 7208 §6: others are passed over.
                name if is_modifier(name) => {}
                _ => return None,
            }
        } else {
            record.directives.push(directive(term)?);
        }
    }
    Some(record)
}

fn is_modifier(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn directive(term: &str) -> Option<Directive> {
    let (outcome, rest) = match term.split_at_checked(1)? {
        ("+", rest) => (Outcome::Pass, rest),
        ("-", rest) => (Outcome::Fail, rest),
        ("~", rest) => (Outcome::SoftFail, rest),
        ("?", rest) => (Outcome::Neutral, rest),
        _ => (Outcome::Pass, term),
    };
    let end = rest.find([':', '/']).unwrap_or(rest.len());
    let (name, argument) = rest.split_at_checked(end)?;
    Some(Directive { outcome, mechanism: mechanism(&name.to_ascii_lowercase(), argument)? })
}

fn mechanism(name: &str, argument: &str) -> Option<Mechanism> {
    let value = argument.strip_prefix(':');
    let name_only = || value.filter(|value| !value.is_empty()).map(str::to_owned);
    match name {
        "all" => argument.is_empty().then_some(Mechanism::All),
        "include" => name_only().map(Mechanism::Include),
        "exists" => name_only().map(Mechanism::Exists),
        "ptr" if argument.is_empty() => Some(Mechanism::Ptr(None)),
        "ptr" => name_only().map(|name| Mechanism::Ptr(Some(name))),
        "a" => with_prefix(argument).map(|(name, prefix)| Mechanism::A(name, prefix)),
        "mx" => with_prefix(argument).map(|(name, prefix)| Mechanism::Mx(name, prefix)),
        "ip4" => {
            let (address, bits) = network(value?, 32)?;
            Some(Mechanism::Ip(address.parse::<Ipv4Addr>().ok()?.into(), bits))
        }
        "ip6" => {
            let (address, bits) = network(value?, 128)?;
            Some(Mechanism::Ip(address.parse::<Ipv6Addr>().ok()?.into(), bits))
        }
        _ => None,
    }
}

fn network(text: &str, most: u8) -> Option<(&str, u8)> {
    match text.split_once('/') {
        Some((address, bits)) => Some((address, number(bits, most)?)),
        None => Some((text, most)),
    }
}

/// Digits only, without zeros before them.
fn number(text: &str, most: u8) -> Option<u8> {
    let is_plain =
        text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|bits| is_plain && *bits <= most)
}

/// ```text
/// dual-cidr-length = [ "/" ip4-cidr ] [ "//" ip6-cidr ]              ; RFC 7208 §5.6
/// ```
fn with_prefix(argument: &str) -> Option<(Option<String>, Prefix)> {
    let (mut rest, mut prefix) = (argument, Prefix { v4: 32, v6: 128 });
    // A slash may stand in a macro too: only digits at the end are bits.
    let is_digits = |bits: &str| bits.bytes().all(|b| b.is_ascii_digit());
    if let Some((before, bits)) = rest.rsplit_once("//").filter(|(_, bits)| is_digits(bits)) {
        prefix.v6 = number(bits, 128)?;
        rest = before;
    }
    if let Some((before, bits)) = rest.rsplit_once('/').filter(|(_, bits)| is_digits(bits)) {
        prefix.v4 = number(bits, 32)?;
        rest = before;
    }
    if rest.is_empty() {
        return Some((None, prefix));
    }
    let name = rest.strip_prefix(':').filter(|name| !name.is_empty())?;
    Some((Some(name.to_owned()), prefix))
}

/// The name that a text with macros means for a client (RFC 7208 §7). `None`: it cannot be read, or is no name.
/// `%{p}` is `unknown`: to find it out is slow, and §7.2 tells nobody to use it.
pub fn expand(text: &str, client: &Client<'_>, domain: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let (kind, after) = after.split_at_checked(1)?;
        rest = after;
        match kind {
            "%" => out.push('%'),
            "_" => out.push(' '),
            "-" => out.push_str("%20"),
            "{" => {
                let (body, after) = after.split_once('}')?;
                one_macro(&mut out, body, client, domain)?;
                rest = after;
            }
            _ => return None,
        }
        if out.len() > EXPANDED_BYTES {
            return None;
        }
    }
    out.push_str(rest);
    let mut name = out.trim_end_matches('.');
    // RFC 7208 §7.3: labels from the left go until it is short enough.
    while name.len() > 253 {
        name = name.split_once('.')?.1;
    }
    is_name(name).then(|| name.to_ascii_lowercase())
}

/// ```text
/// macro-expand = "%{" macro-letter transformers *delimiter "}"       ; RFC 7208 §7.1
/// ```
fn one_macro(out: &mut String, body: &str, client: &Client<'_>, domain: &str) -> Option<()> {
    let letter = body.chars().next()?;
    let rest = body.get(letter.len_utf8()..)?;
    let value = match letter.to_ascii_lowercase() {
        's' => format!("{}@{}", client.local, client.domain),
        'l' => client.local.to_owned(),
        'o' => client.domain.to_owned(),
        'd' => domain.to_owned(),
        'i' => dotted(client.ip),
        'h' => client.helo.to_owned(),
        'v' => (if client.ip.to_canonical().is_ipv4() { "in-addr" } else { "ip6" }).to_owned(),
        'p' => "unknown".to_owned(),
        _ => return None,
    };
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (count, rest) = rest.split_at_checked(digits)?;
    let (is_turned, rest) = match rest.strip_prefix(['r', 'R']) {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    if !rest.chars().all(|c| ".-+,/_=".contains(c)) {
        return None;
    }
    let delimiters = if rest.is_empty() { "." } else { rest };
    let mut parts: Vec<&str> = value.split(|c| delimiters.contains(c)).collect();
    if is_turned {
        parts.reverse();
    }
    let count =
        if count.is_empty() { parts.len() } else { count.parse().ok().filter(|n| *n > 0)? };
    let kept = parts.get(parts.len().saturating_sub(count)..)?;
    out.push_str(&kept.join("."));
    Some(())
}

/// `192.0.2.7`, or of version 6 each nibble (RFC 7208 §7.3).
fn dotted(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => {
            let mut out = String::with_capacity(63);
            for byte in v6.octets() {
                let dot = if out.is_empty() { "" } else { "." };
                let _infallible = write!(out, "{dot}{:x}.{:x}", byte >> 4, byte & 15);
            }
            out
        }
    }
}

/// Where the name of an address is asked for, and lists of addresses: `7.2.0.192` and the nibbles of version 6.
pub fn reversed(ip: IpAddr) -> String {
    let text = dotted(ip);
    let mut parts: Vec<&str> = text.split('.').collect();
    parts.reverse();
    parts.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn records() {
        #[track_caller]
        fn check(text: &str, expect: Option<usize>) {
            assert_eq!(parse(text).map(|record| record.directives.len()), expect, "{text}");
        }
        check("v=spf1", Some(0));
        check("V=SPF1  -ALL ", Some(1));
        check("v=spf10 -all", None);
        check(
            "v=spf1 a mx ip4:192.0.2.0/24 ip6:2001:db8::/32 include:a.test ptr exists:%{i}.x ?all",
            Some(8),
        );
        check("v=spf1 a/24 a:x.test/24//64 a//64 mx/0 -all", Some(5));
        check("v=spf1 redirect=_spf.x.test", Some(0));
        check("v=spf1 exp=why.x.test x-other=1 -all", Some(1));
        for bad in [
            "all:x",
            "include",
            "include:",
            "exists",
            "a:",
            "ip4:1.2.3",
            "ip4:1.2.3.4/33",
            "ip4:::1",
            "ip6:1.2.3.4",
            "ip4",
            "a/33",
            "a//129",
            "a/024",
            "ip4:1.2.3.4/",
            "foo",
            "foo:bar",
            "-",
            "redirect=",
            "redirect=a redirect=b",
            "1x=2",
            "mx:",
        ] {
            check(&format!("v=spf1 {bad} -all"), None);
        }
        check(&format!("v=spf1 {}", "a ".repeat(RECORD_BYTES)), None);
        let record = parse("v=spf1 ~a:%{d/}.x.test/24 -all").unwrap();
        let mechanism = Mechanism::A(Some("%{d/}.x.test".into()), Prefix { v4: 24, v6: 128 });
        assert_eq!(record.directives[0], Directive { outcome: Outcome::SoftFail, mechanism });
    }

    #[test]
    fn networks() {
        #[track_caller]
        fn check(client: &str, network: &str, bits: u8, expect: bool) {
            assert_eq!(is_in(ip(client), ip(network), bits), expect, "{client} {network}/{bits}");
        }
        check("192.0.2.7", "192.0.2.0", 24, true);
        check("192.0.3.7", "192.0.2.0", 24, false);
        check("192.0.2.7", "192.0.2.7", 32, true);
        check("192.0.2.7", "10.0.0.0", 0, true);
        check("::ffff:192.0.2.7", "192.0.2.0", 24, true);
        check("2001:db8::1", "2001:db8::", 32, true);
        check("2001:db9::1", "2001:db8::", 32, false);
        check("2001:db8::1", "::", 0, true);
        check("2001:db8::1", "192.0.2.0", 0, false);
    }

    /// The examples of RFC 7208 §7.4.
    #[test]
    fn macros() {
        #[track_caller]
        fn check(text: &str, address: &str, expect: Option<&str>) {
            let client = Client {
                ip: ip(address),
                local: "strong-bad",
                domain: "email.example.com",
                helo: "mx.example.com",
            };
            assert_eq!(expand(text, &client, "email.example.com").as_deref(), expect, "{text}");
        }
        let v4 = "192.0.2.3";
        check("%{o}", v4, Some("email.example.com"));
        check("%{d4}", v4, Some("email.example.com"));
        check("%{d2}.", v4, Some("example.com"));
        check("%{d1}", v4, Some("com"));
        check("%{dr}", v4, Some("com.example.email"));
        check("%{d2r}", v4, Some("example.email"));
        check("%{l-}.x", v4, Some("strong.bad.x"));
        check("%{lr-}.x", v4, Some("bad.strong.x"));
        check("%{ir}.%{v}._spf.%{d2}", v4, Some("3.2.0.192.in-addr._spf.example.com"));
        check("%{lr-}.lp._spf.%{d2}", v4, Some("bad.strong.lp._spf.example.com"));
        check(
            "%{lr-}.lp.%{ir}.%{v}._spf.%{d2}",
            v4,
            Some("bad.strong.lp.3.2.0.192.in-addr._spf.example.com"),
        );
        check(
            "%{d2}.trusted-domains.example.net",
            v4,
            Some("example.com.trusted-domains.example.net"),
        );
        check(
            "%{ir}.%{v}._spf.%{d2}",
            "2001:db8::cb01",
            Some(
                "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com",
            ),
        );
        check("%{p}.%{h}", v4, Some("unknown.mx.example.com"));
        for bad in ["%", "%x", "%{d", "%{}", "%{x}", "%{d0}", "%{d r}", "a%%b.x", "%_", "%{l}%{s}"]
        {
            check(bad, v4, None);
        }
        check(
            &format!("{}%{{d}}", "a.".repeat(150)),
            v4,
            Some(&format!("{}email.example.com", "a.".repeat(118))),
        );
        check(&"%{d}".repeat(1000), v4, None);
    }
}
