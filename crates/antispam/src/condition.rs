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
/// What matching remembers, for each pattern and each thread that uses it.
const CACHE_BYTES: usize = 256 * 1024;
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
