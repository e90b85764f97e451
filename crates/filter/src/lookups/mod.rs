//! What others know about who brings a letter: the DNS, asked within a deadline. What nobody answers in time is unknown, and
//! the answer is there for the next letter.
//!
//! | file | holds |
//! |---|---|
//! | `asker` | questions: asked once, remembered, never waited for longer than the deadline |
//! | `lists` | lists of addresses and domains (DNSBL, RFC 5782) |
//! | `spf` | which hosts may send for a domain (RFC 7208) |

mod asker;
mod lists;
mod spf;

pub use asker::{Asking, Found, Kind, Missing, Record, Resolve};
pub use lists::{List, ListOf};

use crate::Connection;
use antispam::{Answer, Authentication, Claims, Listed, Outcome, Spf};
use asker::Asker;
use mparser::Message;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// All questions about one letter are given up after this.
pub const DEADLINE: Duration = Duration::from_millis(300);
/// Letters from here on are read by a thread that may take its time.
const LARGE_BYTES: usize = 256 * 1024;
/// Names of the client's address that are followed back to it.
const NAMES: usize = 3;

/// How senders are looked at.
#[derive(Clone)]
pub struct Senders {
    pub resolver: Arc<dyn Resolve>,
    pub lists: Vec<List>,
    /// Domains of forwarders whose word about earlier checks is taken (ARC). Lower case.
    pub trusted_sealers: Vec<String>,
    pub deadline: Duration,
}

impl fmt::Debug for Senders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Senders").field("lists", &self.lists).finish_non_exhaustive()
    }
}

/// Asks about senders; cheap to share.
pub(crate) struct Lookups {
    senders: Senders,
    asker: Asker,
}

/// How far away a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Distance {
    /// This machine: nobody is asked.
    Here,
    /// Our own network: it says nothing about where a letter comes from.
    Near,
    Far,
}

impl Lookups {
    pub(crate) fn new(senders: Senders) -> Self {
        let asker = Asker::new(senders.resolver.clone());
        Self { senders, asker }
    }

    /// `None`: the letter is of this machine itself.
    pub(crate) async fn look(
        &self,
        connection: &Connection<'_>,
        letter: &[u8],
        now_unix_s: i64,
    ) -> (Option<Authentication>, Vec<Listed>) {
        let distance = distance(connection.client_ip);
        if distance == Distance::Here {
            return (None, Vec::new());
        }
        let until = Instant::now() + self.senders.deadline;
        let with_domains = self.senders.lists.iter().any(|list| list.of == ListOf::Domains);
        let (claims, domains) = read(letter, now_unix_s, with_domains).await;
        let far = distance == Distance::Far;
        let (answers, spf, client_name, listed) = tokio::join!(
            self.texts(&claims, until),
            self.spf(connection, far, until),
            self.client_name(connection.client_ip, far, until),
            lists::ask(
                &self.asker,
                &self.senders.lists,
                (connection.client_ip, far),
                &domains,
                until
            ),
        );
        let mut authentication = claims.check(&answers, spf);
        authentication.client_name = client_name;
        let arc = &mut authentication.arc;
        arc.passed_before &= self.senders.trusted_sealers.contains(&arc.sealer);
        (Some(authentication), listed)
    }

    /// All at once: the answers come in the time of the slowest.
    async fn texts(&self, claims: &Claims, until: Instant) -> Vec<Answer> {
        let questions = claims.questions();
        let asked: Vec<_> =
            questions.iter().map(|name| self.asker.start(name, Kind::Text)).collect();
        let mut answers = Vec::with_capacity(asked.len());
        for pending in asked {
            answers.push(match pending.answer(until).await {
                Ok(records) => Answer::Found(records.iter().filter_map(Record::text).collect()),
                Err(Missing::Nothing) => Answer::Nothing,
                Err(Missing::Failed) => Answer::Unknown,
            });
        }
        answers
    }

    async fn spf(&self, connection: &Connection<'_>, far: bool, until: Instant) -> Spf {
        if far { spf::check(&self.asker, connection, until).await } else { Spf::default() }
    }

    /// RFC 8601 §2.7.3
    async fn client_name(&self, ip: IpAddr, far: bool, until: Instant) -> Option<String> {
        if !far {
            return None;
        }
        for name in names_of(&self.asker, ip, until).await.ok()?.into_iter().take(NAMES) {
            if leads_to(&self.asker, &name, ip, until).await {
                return Some(name);
            }
        }
        None
    }
}

async fn read(letter: &[u8], now_unix_s: i64, with_domains: bool) -> (Claims, Vec<String>) {
    let read = move |letter: &[u8]| {
        let message = Message::parse(letter);
        let domains = if with_domains {
            antispam::domains_to_ask_about(&message, lists::DOMAINS)
        } else {
            Vec::new()
        };
        (Claims::read(&message, now_unix_s), domains)
    };
    if letter.len() < LARGE_BYTES {
        return read(letter);
    }
    let letter = letter.to_vec();
    tokio::task::spawn_blocking(move || read(&letter)).await.unwrap_or_default()
}

/// What the DNS calls an address.
async fn names_of(asker: &Asker, ip: IpAddr, until: Instant) -> Result<Vec<String>, Missing> {
    let zone = if ip.to_canonical().is_ipv4() { "in-addr.arpa" } else { "ip6.arpa" };
    let name = format!("{}.{zone}", antispam::spf::reversed(ip));
    let records = asker.start(&name, Kind::Names).answer(until).await?;
    Ok(records.iter().filter_map(Record::host).collect())
}

/// Whether a name is one of this address.
async fn leads_to(asker: &Asker, name: &str, ip: IpAddr, until: Instant) -> bool {
    let ip = ip.to_canonical();
    let kind = if ip.is_ipv4() { Kind::V4 } else { Kind::V6 };
    let found = asker.start(name, kind).answer(until).await;
    found.is_ok_and(|records| records.iter().any(|record| record.address() == Some(ip)))
}

pub(crate) fn distance(ip: IpAddr) -> Distance {
    let is_near = |ip| match ip {
        IpAddr::V4(v4) => v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local(),
    };
    match ip.to_canonical() {
        ip if ip.is_loopback() || ip.is_unspecified() => Distance::Here,
        ip if is_near(ip) => Distance::Near,
        _ => Distance::Far,
    }
}

/// A domain that has no record; a null sender is that of HELO.
pub(crate) fn no_outcome(domain: &str, of_helo: bool) -> Spf {
    Spf { outcome: Outcome::None, domain: domain.to_lowercase(), of_helo }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        #[track_caller]
        fn check(ip: &str, expect: Distance) {
            assert_eq!(distance(ip.parse().unwrap()), expect, "{ip}");
        }
        check("127.0.0.1", Distance::Here);
        check("::1", Distance::Here);
        check("::ffff:127.0.0.9", Distance::Here);
        check("10.1.2.3", Distance::Near);
        check("fd00::1", Distance::Near);
        check("::ffff:192.168.1.1", Distance::Near);
        check("192.0.2.7", Distance::Far);
        check("2001:db8::1", Distance::Far);
    }
}
