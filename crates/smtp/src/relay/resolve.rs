//! Where the mail of a domain goes: its MX hosts in the order they are tried (RFC 5321 §5.1).
//!
//! Knows nothing about DNS messages: who does implements [`Resolve`].

use super::answers;
use queue::Outcome;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// MX hosts of one domain that are looked at; the largest sites have some ten.
const HOSTS: usize = 16;
/// Addresses of one host that are tried.
const ADDRESSES: usize = 8;
/// Names that are remembered; beyond that all are forgotten at once, which costs one question each.
const REMEMBERED: usize = 20_000;
/// An answer is used at least so long, whatever its TTL: a burst of letters asks once.
const SHORTEST: Duration = Duration::from_secs(5);
/// And no longer than this: who moves a mail server should see it.
const LONGEST: Duration = Duration::from_mins(5);
/// That something is not there.
const ABSENT: Duration = Duration::from_secs(30);

/// Questions to the DNS. Ends by itself, in some seconds.
pub trait Resolve: Send + Sync + 'static {
    /// The MX records of the name, following CNAME.
    fn mx<'a>(&'a self, domain: &'a str) -> Looking<'a, Exchange>;

    /// The addresses of the name (A and AAAA), following CNAME, in the order they are to be tried.
    fn addresses<'a>(&'a self, host: &'a str) -> Looking<'a, IpAddr>;
}

pub type Looking<'a, T> = Pin<Box<dyn Future<Output = Result<Found<T>, Missing>> + Send + 'a>>;

/// At least one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<T> {
    pub records: Vec<T>,
    pub ttl: Duration,
}

/// One MX record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// The lowest is tried first.
    pub preference: u16,
    /// Without a dot at the end; empty: the root, "no mail" (RFC 7505).
    pub host: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// There is no such name.
    NoName,
    /// The name exists without such a record.
    NoRecord,
    /// Nobody knows at the moment; why, for people.
    Failed(String),
}

/// Where to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Host(String),
    Address(IpAddr),
}

type Answer<T> = Result<Vec<T>, Missing>;

/// What was asked lately.
struct Memory<T>(Mutex<HashMap<String, (Instant, Answer<T>)>>);

impl<T: Clone> Memory<T> {
    fn get(&self, name: &str) -> Option<Answer<T>> {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, answer) = map.get(name)?;
        (Instant::now() < *until).then(|| answer.clone())
    }

    fn put(&self, name: &str, found: Result<Found<T>, Missing>, most: usize) -> Answer<T> {
        let (time, answer) = match found {
            Ok(Found { mut records, ttl }) => {
                records.truncate(most);
                (ttl.clamp(SHORTEST, LONGEST), Ok(records))
            }
            // The queue waits by itself; the next attempt asks again.
            Err(Missing::Failed(why)) => return Err(Missing::Failed(why)),
            Err(missing) => (ABSENT, Err(missing)),
        };
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if map.len() >= REMEMBERED {
            map.clear();
        }
        map.insert(name.to_owned(), (Instant::now() + time, answer.clone()));
        answer
    }
}

impl<T> Default for Memory<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// [`Resolve`] with a memory.
pub(super) struct Directory {
    resolve: Box<dyn Resolve>,
    exchanges: Memory<Exchange>,
    addresses: Memory<IpAddr>,
}

impl Directory {
    pub(super) fn new(resolve: Box<dyn Resolve>) -> Self {
        Self { resolve, exchanges: Memory::default(), addresses: Memory::default() }
    }

    async fn mx(&self, domain: &str) -> Answer<Exchange> {
        if let Some(answer) = self.exchanges.get(domain) {
            return answer;
        }
        let mut found = self.resolve.mx(domain).await;
        if let Ok(found) = &mut found {
            // The best of many, not any.
            found.records.sort_by_key(|exchange| exchange.preference);
        }
        self.exchanges.put(domain, found, HOSTS)
    }

    pub(super) async fn addresses(&self, host: &str) -> Answer<IpAddr> {
        if let Some(answer) = self.addresses.get(host) {
            return answer;
        }
        let found = self.resolve.addresses(host).await;
        self.addresses.put(host, found, ADDRESSES)
    }

    /// Where mail for this domain is taken, the best first. `ours`: our own name. The error is what that means for
    /// every recipient there.
    pub(super) async fn targets(&self, domain: &str, ours: &str) -> Result<Vec<Target>, Outcome> {
        if let Some(literal) = domain.strip_prefix('[') {
            let address = literal.strip_suffix(']').and_then(literal_address);
            let target = address.map(|address| vec![Target::Address(address)]);
            return target
                .ok_or_else(|| answers::never("5.1.2", "the address in brackets is none"));
        }
        let ascii = idna::domain_to_ascii(domain)
            .map_err(|_| answers::never("5.1.2", "the domain is not one that can exist"))?;
        match self.mx(&ascii).await {
            Ok(exchanges) => in_order(exchanges, &ascii, ours),
            // RFC 5321 §5.1: the implicit MX.
            Err(Missing::NoRecord) => self.implicit(ascii, ours).await,
            Err(Missing::NoName) => {
                Err(answers::never("5.1.2", &format!("the domain {ascii} does not exist")))
            }
            Err(Missing::Failed(why)) => Err(unknown(&ascii, &why)),
        }
    }

    async fn implicit(&self, domain: String, ours: &str) -> Result<Vec<Target>, Outcome> {
        if domain.eq_ignore_ascii_case(ours) {
            return Err(own_loop(&domain));
        }
        match self.addresses(&domain).await {
            Ok(_) => Ok(vec![Target::Host(domain)]),
            Err(Missing::NoName | Missing::NoRecord) => {
                let text = format!("the domain {domain} has no mail server");
                Err(answers::never("5.1.2", &text))
            }
            Err(Missing::Failed(why)) => Err(unknown(&domain, &why)),
        }
    }
}

/// By preference, at random among equals; nothing that is as near to the mail as we are (RFC 5321 §5.1).
fn in_order(exchanges: Vec<Exchange>, domain: &str, ours: &str) -> Result<Vec<Target>, Outcome> {
    let is_ours = |exchange: &&Exchange| exchange.host.eq_ignore_ascii_case(ours);
    let us = exchanges.iter().filter(is_ours).map(|exchange| exchange.preference).min();
    // RFC 7505 §3: only alone does the root mean that there is no mail.
    if exchanges.iter().all(|exchange| exchange.host.is_empty()) {
        let text = format!("the domain {domain} takes no mail, says its null MX");
        return Err(answers::never_as(556, "5.1.10", &text));
    }
    let usable = |e: &Exchange| !e.host.is_empty() && us.is_none_or(|us| e.preference < us);
    let usable = exchanges.into_iter().filter(usable);
    let mut drawn: Vec<(u16, u32, String)> =
        usable.map(|e| (e.preference, getrandom::u32().unwrap_or_default(), e.host)).collect();
    drawn.sort();
    if drawn.is_empty() {
        return Err(own_loop(domain));
    }
    Ok(drawn.into_iter().map(|(_, _, host)| Target::Host(host)).collect())
}

fn own_loop(domain: &str) -> Outcome {
    let text = format!(
        "the DNS says that this server is the one for {domain}, but it is not among our domains"
    );
    answers::never("5.4.6", &text)
}

fn unknown(domain: &str, why: &str) -> Outcome {
    let text = format!("the DNS does not say where {domain} is: {why}");
    Outcome::Later { answer: answers::ours("4.4.3", &text), route_down: true }
}

/// ```text
/// address-literal = "[" ( IPv4-address-literal / "IPv6:" IPv6-addr ) "]"        ; RFC 5321 §4.1.3
/// ```
fn literal_address(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Some(address.into());
    }
    let (tag, address) = text.split_at_checked(5)?;
    let address: Ipv6Addr = address.parse().ok()?;
    tag.eq_ignore_ascii_case("IPv6:").then_some(address.into())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A DNS in a table: rows of name, kind and value.
    #[derive(Default)]
    pub(in crate::relay) struct Table {
        pub(in crate::relay) rows: Vec<(&'static str, Row)>,
        pub(in crate::relay) asked: std::sync::Arc<AtomicUsize>,
    }

    #[derive(Clone)]
    pub(in crate::relay) enum Row {
        Mx(u16, &'static str),
        Ip(&'static str),
        /// Any question fails.
        Broken,
    }

    impl Table {
        pub(in crate::relay) fn of(rows: &[(&'static str, Row)]) -> Self {
            Self { rows: rows.to_vec(), ..Self::default() }
        }

        fn look<T>(
            &self,
            name: &str,
            pick: impl Fn(&Row) -> Option<T>,
        ) -> Result<Found<T>, Missing> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let rows: Vec<&Row> =
                self.rows.iter().filter(|row| row.0 == name).map(|row| &row.1).collect();
            if rows.iter().any(|row| matches!(row, Row::Broken)) {
                return Err(Missing::Failed("SERVFAIL".to_owned()));
            }
            let records: Vec<T> = rows.iter().filter_map(|row| pick(row)).collect();
            match (rows.is_empty(), records.is_empty()) {
                (true, _) => Err(Missing::NoName),
                (_, true) => Err(Missing::NoRecord),
                _ => Ok(Found { records, ttl: Duration::ZERO }),
            }
        }
    }

    impl Resolve for Table {
        fn mx<'a>(&'a self, domain: &'a str) -> Looking<'a, Exchange> {
            let pick = |row: &Row| match row {
                Row::Mx(preference, host) => {
                    Some(Exchange { preference: *preference, host: (*host).to_owned() })
                }
                _ => None,
            };
            let found = self.look(domain, pick);
            Box::pin(async move { found })
        }

        fn addresses<'a>(&'a self, host: &'a str) -> Looking<'a, IpAddr> {
            let pick = |row: &Row| match row {
                Row::Ip(address) => Some(address.parse().unwrap()),
                _ => None,
            };
            let found = self.look(host, pick);
            Box::pin(async move { found })
        }
    }

    const ROWS: &[(&str, Row)] = &[
        ("two.test", Row::Mx(20, "b.two.test")),
        ("two.test", Row::Mx(10, "a.two.test")),
        ("bare.test", Row::Ip("127.0.0.9")),
        ("null.test", Row::Mx(0, "")),
        ("half-null.test", Row::Mx(0, "")),
        ("half-null.test", Row::Mx(5, "a.test")),
        ("backup.test", Row::Mx(10, "first.test")),
        ("backup.test", Row::Mx(20, "US.test")),
        ("backup.test", Row::Mx(20, "same.test")),
        ("backup.test", Row::Mx(30, "third.test")),
        ("loop.test", Row::Mx(10, "us.test")),
        ("loop.test", Row::Mx(10, "other.test")),
        ("us.test", Row::Ip("127.0.0.1")),
        ("broken.test", Row::Broken),
        ("xn--gla-rnaa.test", Row::Mx(1, "a.test")),
        ("empty.test", Row::Mx(1, "x")),
    ];

    #[tokio::test]
    async fn where_mail_goes() {
        let directory = Directory::new(Box::new(Table::of(ROWS)));
        let check = async |domain: &str, expect: Result<&[&str], &str>| {
            let found = directory.targets(domain, "us.test").await;
            let found = match found {
                Ok(targets) => Ok(targets
                    .into_iter()
                    .map(|target| match target {
                        Target::Host(host) => host,
                        Target::Address(address) => address.to_string(),
                    })
                    .collect::<Vec<_>>()),
                Err(Outcome::Never(answer)) => Err(format!("{} {}", answer.code, answer.enhanced)),
                Err(Outcome::Later { answer, route_down }) => {
                    Err(format!("later {} {route_down}", answer.enhanced))
                }
                Err(Outcome::Delivered(_)) => unreachable!(),
            };
            let expect = expect
                .map(|hosts| hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>())
                .map_err(str::to_owned);
            assert_eq!(found, expect, "{domain}");
        };
        check("two.test", Ok(&["a.two.test", "b.two.test"])).await;
        check("bare.test", Ok(&["bare.test"])).await;
        check("null.test", Err("556 5.1.10")).await;
        check("half-null.test", Ok(&["a.test"])).await;
        check("backup.test", Ok(&["first.test"])).await;
        check("loop.test", Err("0 5.4.6")).await;
        check("us.test", Err("0 5.4.6")).await;
        check("nowhere.test", Err("0 5.1.2")).await;
        check("broken.test", Err("later 4.4.3 true")).await;
        check("góła.test", Err("0 5.1.2")).await;
        check("gęsla\u{ad}-.test", Err("0 5.1.2")).await;
        check("[127.0.0.3]", Ok(&["127.0.0.3"])).await;
        check("[ipv6:::1]", Ok(&["::1"])).await;
        check("[::1]", Err("0 5.1.2")).await;
        check("[ip]", Err("0 5.1.2")).await;
    }

    #[tokio::test]
    async fn the_best_of_many() {
        let rows: Vec<(&str, Row)> = (0..60)
            .rev()
            .map(|n| ("many.test", Row::Mx(n, if n == 0 { "best" } else { "other" })))
            .collect();
        let directory = Directory::new(Box::new(Table::of(&rows)));
        let targets = directory.targets("many.test", "us.test").await.unwrap();
        assert_eq!((targets.len(), &targets[0]), (HOSTS, &Target::Host("best".to_owned())));
    }

    #[tokio::test]
    async fn equals_are_drawn() {
        let rows: Vec<(&str, Row)> = ["a", "b", "c", "d"]
            .into_iter()
            .map(|host| ("many.test", Row::Mx(5, host)))
            .chain([("many.test", Row::Mx(4, "first"))])
            .collect();
        let directory = Directory::new(Box::new(Table::of(&rows)));
        let mut second = std::collections::HashSet::new();
        for _ in 0..200 {
            let targets = directory.targets("many.test", "us.test").await.unwrap();
            assert_eq!((targets.len(), &targets[0]), (5, &Target::Host("first".to_owned())));
            let Target::Host(host) = &targets[1] else { unreachable!() };
            second.insert(host.clone());
        }
        assert_eq!(second.len(), 4);
    }

    #[tokio::test]
    async fn asked_once() {
        let table = Table::of(ROWS);
        let asked = table.asked.clone();
        let directory = Directory::new(Box::new(table));
        for _ in 0..3 {
            directory.targets("two.test", "us.test").await.unwrap();
            directory.targets("nowhere.test", "us.test").await.unwrap_err();
            directory.targets("broken.test", "us.test").await.unwrap_err();
        }
        // What failed is asked again each time.
        assert_eq!(asked.load(Ordering::Relaxed), 1 + 1 + 3);
        let memory = Memory::<IpAddr>::default();
        for n in 0..REMEMBERED + 10 {
            let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
            let found = Found { records: vec![address; 1000], ttl: Duration::from_secs(1) };
            assert_eq!(memory.put(&n.to_string(), Ok(found), ADDRESSES).unwrap().len(), ADDRESSES);
        }
        assert!(memory.0.lock().unwrap().len() <= 10);
    }
}
