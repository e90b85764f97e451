//! Lists of addresses and domains in the DNS (RFC 5782): a name under the list's zone that has an address is listed.

use super::asker::{Asker, Kind, Record};
use antispam::Listed;
use std::net::{IpAddr, Ipv4Addr};
use tokio::time::Instant;

/// Domains of one letter that are asked about.
pub(super) const DOMAINS: usize = 10;

/// A row of the configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct List {
    /// As it stands in the verdict: capitals, digits, `_`.
    pub symbol: String,
    /// `zen.example.test`
    pub zone: String,
    pub of: ListOf,
    pub points: f32,
    /// Answers that mean it, a network and its bits. Others say that the list does not serve us.
    pub answers: (Ipv4Addr, u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListOf {
    /// The address of the client.
    Clients,
    /// Domains in From and in links.
    Domains,
}

/// The clients of our own network are on no list.
pub(super) async fn ask(
    asker: &Asker,
    lists: &[List],
    (ip, far): (IpAddr, bool),
    domains: &[String],
    until: Instant,
) -> Vec<Listed> {
    let mut asked = Vec::new();
    for list in lists {
        let whats: Vec<(String, String)> = match list.of {
            ListOf::Clients if far => vec![(ip.to_string(), antispam::spf::reversed(ip))],
            ListOf::Clients => Vec::new(),
            ListOf::Domains => domains.iter().map(|name| (name.clone(), name.clone())).collect(),
        };
        for (what, name) in whats {
            let pending = asker.start(&format!("{name}.{}", list.zone), Kind::V4);
            asked.push((list, what, pending));
        }
    }
    let mut listed: Vec<Listed> = Vec::new();
    for (list, what, pending) in asked {
        // A list counts once, however many of the letter's domains it knows.
        let is_known = listed.iter().any(|known| known.symbol == list.symbol);
        if !is_known && pending.answer(until).await.is_ok_and(|found| means_it(list, &found)) {
            let symbol = list.symbol.clone();
            listed.push(Listed { symbol, points: list.points, what });
        }
    }
    listed
}

fn means_it(list: &List, found: &[Record]) -> bool {
    let (network, bits) = list.answers;
    let is_answer = |ip| antispam::spf::is_in(ip, network.into(), bits);
    found.iter().filter_map(Record::address).any(is_answer)
}
