//! Questions to the DNS, for mail to other servers and about senders: through the resolvers of the system, or those of `dns.servers`.
//!
//! A resolver follows CNAME by itself; where one does not, because it only serves its own zones, the next question
//! is asked here.

use domain::base::iana::Rcode;
use domain::base::{Message, Name, Rtype, ToName};
use domain::rdata::{A, Aaaa, Mx, Ptr, Txt};
use domain::resolv::StubResolver;
use domain::resolv::stub::conf::{ResolvConf, ServerConf, Transport};
use filter::{Asking, Kind};
use smtp::relay::{Exchange, Found, Looking, Missing, Resolve};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// CNAMEs after each other; a chain of more is a mistake or a loop.
const ALIASES: usize = 8;
/// Records of one answer: more than any domain has a use for.
const RECORDS: usize = 64;

pub(crate) struct Dns(StubResolver);

/// One record that was asked for: how long it holds, and what it says.
type Record<T> = (Duration, T);
/// Those of one kind, of the name at the end of the CNAMEs.
type Pick<T> = fn(&Message<bytes::Bytes>, &Name<Vec<u8>>) -> Vec<Record<T>>;

impl Dns {
    /// Without servers those of `/etc/resolv.conf`, as it is now.
    pub(crate) fn new(servers: &[SocketAddr]) -> Self {
        if servers.is_empty() {
            return Self(StubResolver::new());
        }
        let mut conf = ResolvConf::new();
        let server = |at: &SocketAddr| ServerConf::new(*at, Transport::UdpTcp);
        conf.servers = servers.iter().map(server).collect();
        conf.finalize();
        Self(StubResolver::from_conf(conf))
    }

    async fn look<T>(&self, name: &str, kind: Rtype, pick: Pick<T>) -> Result<Found<T>, Missing> {
        // A name that cannot be asked for does not exist.
        let mut name: Name<Vec<u8>> = Name::vec_from_str(name).map_err(|_| Missing::NoName)?;
        for _ in 0..ALIASES {
            let answer = self.0.query((&name, kind)).await;
            let answer = answer.map_err(|error| Missing::Failed(error.to_string()))?.into_message();
            let rcode = answer.header().rcode();
            if !matches!(rcode, Rcode::NOERROR | Rcode::NXDOMAIN) {
                return Err(Missing::Failed(format!("the name server answers {rcode}")));
            }
            let end = answer.canonical_name();
            let end = end.ok_or_else(|| Missing::Failed("its CNAME goes in circles".to_owned()))?;
            let end: Name<Vec<u8>> = end.to_name();
            let found = pick(&answer, &end);
            if let Some(ttl) = found.iter().map(|record| record.0).min() {
                let records = found.into_iter().map(|record| record.1).collect();
                return Ok(Found { records, ttl });
            }
            // RFC 6604 §2.1: the code is about the end of the chain.
            if rcode == Rcode::NXDOMAIN {
                return Err(Missing::NoName);
            }
            if end == name {
                return Err(Missing::NoRecord);
            }
            name = end;
        }
        Err(Missing::Failed("its CNAME leads too far".to_owned()))
    }

    async fn both(&self, host: &str) -> Result<Found<IpAddr>, Missing> {
        // RFC 6761 §6.3: never asked for.
        if host == "localhost" || host.ends_with(".localhost") {
            let records = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
            return Ok(Found { records, ttl: Duration::from_hours(1) });
        }
        let (four, six) = tokio::join!(
            self.look(host, Rtype::A, addresses_v4),
            self.look(host, Rtype::AAAA, addresses_v6),
        );
        match (four, six) {
            (Ok(four), Ok(six)) => {
                let ttl = four.ttl.min(six.ttl);
                Ok(Found { records: in_turn(six.records, four.records), ttl })
            }
            // Some name servers fail on AAAA of names that have none.
            (Ok(found), Err(_)) | (Err(_), Ok(found)) => Ok(found),
            (Err(Missing::Failed(why)), _) | (_, Err(Missing::Failed(why))) => {
                Err(Missing::Failed(why))
            }
            (Err(four), Err(_)) => Err(four),
        }
    }
}

impl Resolve for Dns {
    fn mx<'a>(&'a self, domain: &'a str) -> Looking<'a, Exchange> {
        Box::pin(self.look(domain, Rtype::MX, exchanges))
    }

    fn addresses<'a>(&'a self, host: &'a str) -> Looking<'a, IpAddr> {
        Box::pin(self.both(host))
    }
}

impl filter::Resolve for Dns {
    fn ask<'a>(&'a self, name: &'a str, kind: Kind) -> Asking<'a> {
        Box::pin(async move {
            let found = match kind {
                Kind::Text => {
                    records_of(self.look(name, Rtype::TXT, texts).await, filter::Record::Text)
                }
                Kind::V4 => records_of(
                    self.look(name, Rtype::A, addresses_v4).await,
                    filter::Record::Address,
                ),
                Kind::V6 => records_of(
                    self.look(name, Rtype::AAAA, addresses_v6).await,
                    filter::Record::Address,
                ),
                Kind::Exchanges => {
                    let mut found = self.look(name, Rtype::MX, exchanges).await;
                    if let Ok(found) = &mut found {
                        found.records.sort_by_key(|exchange| exchange.preference);
                    }
                    records_of(found, |exchange| filter::Record::Host(exchange.host))
                }
                Kind::Names => {
                    records_of(self.look(name, Rtype::PTR, names).await, filter::Record::Host)
                }
            };
            found.map_err(|missing| match missing {
                Missing::NoName | Missing::NoRecord => filter::Missing::Nothing,
                Missing::Failed(why) => {
                    tracing::debug!(name, ?kind, why, "a question about a sender has no answer");
                    filter::Missing::Failed
                }
            })
        })
    }
}

fn records_of<T>(
    found: Result<Found<T>, Missing>,
    record: impl Fn(T) -> filter::Record,
) -> Result<filter::Found, Missing> {
    let found = found?;
    let records = found.records.into_iter().map(record).collect();
    Ok(filter::Found { records, ttl: found.ttl })
}

/// IPv6 first, then by turns: where one of them leads nowhere, the other comes soon (RFC 8305 §4).
fn in_turn(six: Vec<IpAddr>, four: Vec<IpAddr>) -> Vec<IpAddr> {
    let most = six.len().max(four.len());
    let (mut six, mut four) = (six.into_iter(), four.into_iter());
    (0..most).flat_map(|_| [six.next(), four.next()]).flatten().collect()
}

macro_rules! records {
    ($answer:expr, $end:expr, $kind:ty) => {
        $answer
            .answer()
            .into_iter()
            .flat_map(|section| section.limit_to::<$kind>())
            .filter_map(|record| record.ok().filter(|record| record.owner() == $end))
            .take(RECORDS)
    };
}

fn exchanges(answer: &Message<bytes::Bytes>, end: &Name<Vec<u8>>) -> Vec<Record<Exchange>> {
    let one = |ttl, preference, host: String| {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        (ttl, Exchange { preference, host })
    };
    records!(answer, end, Mx<_>)
        .map(|record| {
            let mx = record.data();
            one(record.ttl().into_duration(), mx.preference(), mx.exchange().to_string())
        })
        .collect()
}

fn addresses_v4(answer: &Message<bytes::Bytes>, end: &Name<Vec<u8>>) -> Vec<Record<IpAddr>> {
    records!(answer, end, A)
        .map(|record| (record.ttl().into_duration(), record.data().addr().into()))
        .collect()
}

fn addresses_v6(answer: &Message<bytes::Bytes>, end: &Name<Vec<u8>>) -> Vec<Record<IpAddr>> {
    records!(answer, end, Aaaa)
        .map(|record| (record.ttl().into_duration(), record.data().addr().into()))
        .collect()
}

/// The strings of a record joined, as SPF, DKIM and DMARC want them (RFC 7208 §3.3). Bytes over 127 are none of theirs.
fn texts(answer: &Message<bytes::Bytes>, end: &Name<Vec<u8>>) -> Vec<Record<String>> {
    records!(answer, end, Txt<_>)
        .map(|record| {
            let text: Vec<u8> = record.data().text();
            (record.ttl().into_duration(), String::from_utf8_lossy(&text).into_owned())
        })
        .collect()
}

fn names(answer: &Message<bytes::Bytes>, end: &Name<Vec<u8>>) -> Vec<Record<String>> {
    records!(answer, end, Ptr<_>)
        .map(|record| {
            let host = record.data().ptrdname().to_string();
            (record.ttl().into_duration(), host.trim_end_matches('.').to_ascii_lowercase())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_turns() {
        let four = |n| IpAddr::V4(Ipv4Addr::new(127, 0, 0, n));
        let six = IpAddr::V6(Ipv6Addr::LOCALHOST);
        assert_eq!(in_turn(vec![six], vec![four(1), four(2)]), [six, four(1), four(2)]);
        assert_eq!(in_turn(vec![], vec![four(1)]), [four(1)]);
        assert_eq!(in_turn(vec![six, six], vec![]), [six, six]);
    }

    #[tokio::test]
    async fn nobody_answers() {
        // A port that nobody has: taken and given back.
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let nobody = socket.local_addr().unwrap();
        drop(socket);
        let dns = Dns::new(&[nobody]);
        assert!(matches!(dns.mx("example.test").await, Err(Missing::Failed(_))));
        assert!(matches!(dns.addresses("example.test").await, Err(Missing::Failed(_))));
        assert_eq!(dns.mx("a..b").await, Err(Missing::NoName));
        assert_eq!(dns.addresses("mail.localhost").await.unwrap().records.len(), 2);
    }
}
