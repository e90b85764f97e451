//! What local rules look at in a letter, gathered once for all of them, and how each decides.
//!
//! Names are compared as the DNS has them, so that a domain matches in either spelling: `żółw.test` is `xn--w-uga1v8h.test`.

use crate::dkim::tags::is_name;
use crate::facts::Facts;
use crate::links::hosts_in;
use crate::local::{Fault, When};
use crate::spf::is_in;
use regex::{Regex, RegexBuilder};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

const PATTERN_BYTES: usize = 1_000;
/// What a compiled pattern may take: a repeated `\w` is large, as Unicode has many letters.
const COMPILED_BYTES: usize = 1024 * 1024;
/// What matching may remember of a pattern on each thread; most need a hundredth. With an eighth of this `[a-z].{400}x` takes
/// 500 times as long.
const CACHE_BYTES: usize = 2 * 1024 * 1024;
/// Names of one rule.
const NAMES: usize = 10_000;
/// A host of more labels is known by the last ones, and as a whole.
const LABELS: usize = 10;
const DOMAIN_BYTES: usize = 253;
/// Header fields that are looked at; real letters have some fifty.
const FIELDS: usize = 1_000;
/// Of one header field so much.
const FIELD_BYTES: usize = 16 * 1024;
/// Of the text so much: spam is short, and an operator may have a thousand patterns.
const BODY_BYTES: usize = 256 * 1024;
/// Addresses in From and hosts in links that are looked at.
const LETTER_NAMES: usize = 1_000;

/// One kind of [`When`], ready to use.
#[derive(Debug)]
pub(crate) enum Condition {
    Header {
        /// Lower case.
        name: String,
        pattern: Regex,
    },
    Body(Regex),
    UrlHost(HashSet<String>),
    Sender(HashSet<String>),
    Client(Vec<(IpAddr, u8)>),
    /// Lower case.
    Attachment(Vec<String>),
}

impl Condition {
    /// `None`: it looks at symbols, not at the letter.
    pub(crate) fn compile(when: &When) -> Result<Option<Self>, Fault> {
        Ok(Some(match when {
            When::Header { name, matches } => {
                let is_of_name = |b: u8| b.is_ascii_graphic() && b != b':';
                if name.is_empty() || !name.bytes().all(is_of_name) {
                    return Err(Fault::FieldName(name.clone()));
                }
                Self::Header { name: name.to_ascii_lowercase(), pattern: pattern(matches)? }
            }
            When::Body { matches } => Self::Body(pattern(matches)?),
            When::UrlHost { domains } => Self::UrlHost(all(domains, |name| {
                domain(name).ok_or_else(|| Fault::Domain(name.to_owned()))
            })?),
            When::Sender { matches } => Self::Sender(all(matches, |name| {
                sender(name).ok_or_else(|| Fault::Sender(name.to_owned()))
            })?),
            When::Client { networks } => Self::Client(all(networks, |name| {
                network(name).ok_or_else(|| Fault::Network(name.to_owned()))
            })?),
            When::Attachment { names } => Self::Attachment(all(names, |name| {
                let is_good = !name.trim().is_empty() && !name.contains(char::is_control);
                is_good.then(|| name.to_lowercase()).ok_or_else(|| Fault::FileName(name.to_owned()))
            })?),
            When::Symbols { .. } => return Ok(None),
        }))
    }

    /// The header field it asks for, lower case.
    pub(crate) fn field(&self) -> Option<&str> {
        if let Self::Header { name, .. } = self { Some(name) } else { None }
    }

    pub(crate) fn holds(&self, seen: &Seen<'_>) -> bool {
        match self {
            Self::Header { name, pattern } => {
                let values = seen.fields.get(name.as_str());
                values.is_some_and(|values| values.iter().any(|value| pattern.is_match(value)))
            }
            Self::Body(pattern) => pattern.is_match(seen.body),
            Self::UrlHost(domains) => !seen.hosts.is_disjoint(domains),
            Self::Sender(names) => !seen.senders.is_disjoint(names),
            Self::Client(networks) => seen.client_ip.is_some_and(|ip| {
                networks.iter().any(|(network, bits)| is_in(ip, *network, *bits))
            }),
            Self::Attachment(ends) => {
                seen.files.iter().any(|file| ends.iter().any(|end| file.ends_with(end.as_str())))
            }
        }
    }
}

/// What conditions ask about.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    /// By name in lower case, decoded; only those that some rule asks for.
    fields: HashMap<&'a str, Vec<String>>,
    body: &'a str,
    /// Hosts of links, and all that they are below.
    hosts: HashSet<String>,
    /// Of each sender `a@b.test`, `@b.test`, `.test`.
    senders: HashSet<String>,
    client_ip: Option<IpAddr>,
    files: Vec<&'a str>,
}

impl<'a> Seen<'a> {
    pub(crate) fn gather(facts: &'a Facts<'_>, asked: &'a HashSet<String>) -> Self {
        let words = &facts.words;
        // Windows takes no notice of dots and blanks at the end of a name.
        let plain =
            |name: &'a String| name.trim_end_matches(|c: char| c == '.' || c.is_whitespace());
        Self {
            fields: fields(facts, asked),
            body: words.get(..words.floor_char_boundary(BODY_BYTES)).unwrap_or_default(),
            hosts: hosts(facts),
            senders: senders(facts),
            client_ip: facts.evidence.client_ip,
            files: facts.files.iter().map(plain).collect(),
        }
    }
}

fn fields<'a>(facts: &Facts<'_>, asked: &'a HashSet<String>) -> HashMap<&'a str, Vec<String>> {
    let mut fields: HashMap<&str, Vec<String>> = HashMap::new();
    if asked.is_empty() {
        return fields;
    }
    for header in facts.message.headers().take(FIELDS) {
        let name = String::from_utf8_lossy(header.name).to_ascii_lowercase();
        if let Some(name) = asked.get(&name) {
            let value = header.value.get(..header.value.len().min(FIELD_BYTES));
            let text = mparser::decode_header_text(value.unwrap_or_default());
            fields.entry(name).or_default().push(text.trim().to_owned());
        }
    }
    fields
}

fn hosts(facts: &Facts<'_>) -> HashSet<String> {
    let linked = facts.page.links.iter().map(|link| link.host.as_str());
    let mut hosts = HashSet::new();
    for host in linked.chain(hosts_in(&facts.words)).take(LETTER_NAMES) {
        let host = ascii(host);
        hosts.extend(above(&host).map(str::to_owned));
        hosts.insert(host);
    }
    hosts
}

fn senders(facts: &Facts<'_>) -> HashSet<String> {
    let envelope = facts.evidence.sender;
    let envelope = envelope.map(|sender| (sender.local(), sender.domain()));
    let authors = facts.from.iter().filter_map(|from| from.address.rsplit_once('@'));
    let mut senders = HashSet::new();
    for (local, domain) in envelope.into_iter().chain(authors.take(LETTER_NAMES)) {
        let domain = ascii(domain);
        senders.extend(above(&domain).map(|above| format!(".{above}")));
        senders.insert(format!("@{domain}"));
        senders.insert(format!("{}@{domain}", local.to_lowercase()));
    }
    senders
}

/// The domains that a host is below: `b.test` and `test` of `a.b.test`.
fn above(host: &str) -> impl Iterator<Item = &str> {
    host.rmatch_indices('.').take(LABELS).filter_map(|(dot, _)| host.get(dot + 1..))
}

/// As the DNS has it, as far as it can be had so. Lower case.
fn ascii(domain: &str) -> String {
    let domain = domain.trim_end_matches('.');
    let known = (domain.len() <= DOMAIN_BYTES).then(|| idna::domain_to_ascii(domain).ok());
    known.flatten().unwrap_or_else(|| domain.to_lowercase())
}

fn all<T, C: FromIterator<T>>(
    names: &[String],
    read: impl Fn(&str) -> Result<T, Fault>,
) -> Result<C, Fault> {
    if names.is_empty() {
        return Err(Fault::NoNames);
    }
    if names.len() > NAMES {
        return Err(Fault::ManyNames(NAMES));
    }
    names.iter().map(|name| read(name)).collect()
}

fn pattern(text: &str) -> Result<Regex, Fault> {
    if text.is_empty() || text.len() > PATTERN_BYTES {
        return Err(Fault::PatternLength(PATTERN_BYTES));
    }
    let built = RegexBuilder::new(text)
        .case_insensitive(true)
        .size_limit(COMPILED_BYTES)
        .dfa_size_limit(CACHE_BYTES)
        .build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => Fault::PatternBig,
        other => {
            // Its first lines show the pattern; the last one says what is wrong with it.
            let shown = other.to_string();
            let last = shown.lines().last().unwrap_or_default();
            Fault::Pattern(last.trim_start_matches("error: ").to_owned())
        }
    })
}

fn domain(text: &str) -> Option<String> {
    let name = ascii(text);
    (is_name(&name) && name.split('.').count() <= LABELS).then_some(name)
}

/// `user@domain`, `@domain` or `.domain`.
fn sender(text: &str) -> Option<String> {
    if let Some(above) = text.strip_prefix('.') {
        return domain(above).map(|domain| format!(".{domain}"));
    }
    let (local, host) = text.rsplit_once('@')?;
    let is_local = !local.contains(|c: char| c.is_whitespace() || c.is_control());
    let domain = domain(host).filter(|_| is_local)?;
    Some(format!("{}@{domain}", local.to_lowercase()))
}

/// An address, or `address/bits`.
fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (ip, bits) = match text.split_once('/') {
        Some((ip, bits)) => (ip, Some(bits)),
        None => (text, None),
    };
    let ip: IpAddr = ip.parse().ok()?;
    let most = if ip.is_ipv4() { 32 } else { 128 };
    let Some(bits) = bits else {
        let ip = ip.to_canonical();
        return Some((ip, if ip.is_ipv4() { 32 } else { 128 }));
    };
    // `::ffff:192.0.2.0/120` is IPv4 for a client, and would match none.
    let is_number = bits.bytes().all(|b| b.is_ascii_digit()) && ip.to_canonical() == ip;
    let bits = bits.parse().ok().filter(|bits| is_number && *bits <= most)?;
    Some((ip, bits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Evidence;
    use mparser::Message;

    /// A letter with a bit of everything; `\n` for line ends.
    const LETTER: &str = "From: Ala <Ala@News.Example.TEST>\nSubject: =?utf-8?q?Za=C5=BC=C3=B3=C5=82=C4=87?=\n gęś\n\
        X-Tag: first\nX-Tag: second\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n\
        --b\nContent-Type: text/html; charset=utf-8\n\n\
        <p>Cheap\n <b>pi</b>lls</p><a href=\"https://A.Shop.Example.TEST:99/x\">x</a> see http://b\u{17c}.test/y\n\
        --b\nContent-Type: application/octet-stream\nContent-Disposition: attachment; filename=\"Invoice.ISO. \"\n\nx\n--b--\n";

    fn is_met(when: &When, letter: &str) -> bool {
        let condition = Condition::compile(when).unwrap().unwrap();
        let raw = letter.replace('\n', "\r\n");
        let message = Message::parse(raw.as_bytes());
        let sender = "Bounce+1@Mail.Sender.TEST".parse().unwrap();
        let evidence = Evidence {
            client_ip: Some("::ffff:192.0.2.77".parse().unwrap()),
            sender: Some(&sender),
            ..Evidence::default()
        };
        let facts = Facts::gather(&message, &evidence);
        let asked = condition.field().map(str::to_owned).into_iter().collect();
        condition.holds(&Seen::gather(&facts, &asked))
    }

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|one| (*one).to_owned()).collect()
    }

    #[test]
    fn header_fields() {
        #[track_caller]
        fn check(name: &str, matches: &str, expect: bool) {
            let when = When::Header { name: name.into(), matches: matches.into() };
            assert_eq!(is_met(&when, LETTER), expect, "{name}: {matches}");
        }
        check("Subject", "^ZAŻÓŁĆ GĘŚ$", true);
        check("Subject", "(?-i)ZAŻÓŁĆ", false);
        check("subject", r"\s", true);
        check("SUBJECT", "utf-8", false);
        check("X-Tag", "^first$", true);
        check("X-Tag", "^second$", true);
        check("X-Tag", "first second", false);
        check("X-Other", ".", false);
        // Those of parts are not those of the letter.
        check("Content-Disposition", ".", false);
    }

    #[test]
    fn bodies() {
        #[track_caller]
        fn check(matches: &str, expect: bool) {
            let when = When::Body { matches: matches.into() };
            assert_eq!(is_met(&when, LETTER), expect, "{matches}");
        }
        check("Cheap pills", true);
        check(r"cheap\s+PILLS\b", true);
        check("(?-i)Cheap", false);
        check("<b>", false);
        check("zażółć", false);
        check(r"^cheap", true);
    }

    #[test]
    fn hosts_of_links() {
        #[track_caller]
        fn check(domains: &[&str], expect: bool) {
            let when = When::UrlHost { domains: strings(domains) };
            assert_eq!(is_met(&when, LETTER), expect, "{domains:?}");
        }
        check(&["a.shop.example.test"], true);
        check(&["Shop.Example.test."], true);
        check(&["test"], true);
        check(&["other.test", "example.test"], true);
        check(&["hop.example.test"], false);
        check(&["x.a.shop.example.test"], false);
        check(&["b\u{17c}.test"], true);
        check(&["xn--b-poa.test"], true);
        check(&["news.example.test"], false);
    }

    #[test]
    fn senders_of_both_kinds() {
        #[track_caller]
        fn check(matches: &str, expect: bool) {
            let when = When::Sender { matches: strings(&["x@y.test", matches]) };
            assert_eq!(is_met(&when, LETTER), expect, "{matches}");
        }
        check("ala@news.example.test", true);
        check("ALA@NEWS.EXAMPLE.TEST", true);
        check("la@news.example.test", false);
        check("@news.example.test", true);
        check("@example.test", false);
        check(".example.test", true);
        check(".news.example.test", false);
        check(".test", true);
        check("bounce+1@mail.sender.test", true);
        check("@mail.sender.test", true);
        check(".sender.test", true);
        check("@sender.test", false);
    }

    #[test]
    fn clients() {
        #[track_caller]
        fn check(network: &str, expect: bool) {
            let when = When::Client { networks: strings(&["198.51.100.1", network]) };
            assert_eq!(is_met(&when, LETTER), expect, "{network}");
        }
        check("192.0.2.77", true);
        check("192.0.2.78", false);
        check("192.0.2.0/24", true);
        check("192.0.2.64/26", true);
        check("192.0.2.0/26", false);
        check("0.0.0.0/0", true);
        check("::ffff:192.0.2.77", true);
        check("::/0", false);
        check("2001:db8::/32", false);
    }

    #[test]
    fn attachments() {
        #[track_caller]
        fn check(name: &str, expect: bool) {
            let when = When::Attachment { names: strings(&[".nothing", name]) };
            assert_eq!(is_met(&when, LETTER), expect, "{name}");
        }
        check(".iso", true);
        check(".ISO", true);
        check("invoice.iso", true);
        check(".is", false);
        check("x-invoice.iso", false);
    }

    #[test]
    fn the_way_out_of_a_large_pattern() {
        assert!(is_met(&When::Body { matches: r"(?-u:\w){3,900}".into() }, LETTER));
    }

    #[test]
    fn mistakes() {
        #[track_caller]
        fn check(when: &When, expect: &Fault) {
            assert_eq!(Condition::compile(when).unwrap_err(), *expect);
        }
        let body = |text: &str| When::Body { matches: text.into() };
        check(&body("a("), &Fault::Pattern("unclosed group".into()));
        check(&body("(a)\\1"), &Fault::Pattern("backreferences are not supported".into()));
        check(&body(""), &Fault::PatternLength(PATTERN_BYTES));
        check(&body(&"x".repeat(1_001)), &Fault::PatternLength(PATTERN_BYTES));
        check(&body(r"\w{999}"), &Fault::PatternBig);
        for name in ["", "Sub ject", "Subject:", "Zażółć"] {
            let when = When::Header { name: name.into(), matches: "x".into() };
            check(&when, &Fault::FieldName(name.into()));
        }
        for name in ["", ".a.test", "a..test", "http://a.test", "a test", "*.test"] {
            check(&When::UrlHost { domains: strings(&[name]) }, &Fault::Domain(name.into()));
        }
        for name in ["", ".", "@", "a.test", "a@", "*@a.test\n", "a b@c.test", "..test"] {
            check(&When::Sender { matches: strings(&[name]) }, &Fault::Sender(name.into()));
        }
        for name in [
            "",
            "a.test",
            "192.0.2.0/33",
            "192.0.2.0/",
            "192.0.2.0/+8",
            "::/129",
            "::ffff:1.2.3.4/99",
        ] {
            check(&When::Client { networks: strings(&[name]) }, &Fault::Network(name.into()));
        }
        for name in ["", " ", ".i\nso"] {
            check(&When::Attachment { names: strings(&[name]) }, &Fault::FileName(name.into()));
        }
        check(&When::UrlHost { domains: Vec::new() }, &Fault::NoNames);
        let many = vec![".iso".to_owned(); NAMES + 1];
        check(&When::Attachment { names: many }, &Fault::ManyNames(NAMES));
    }
}
