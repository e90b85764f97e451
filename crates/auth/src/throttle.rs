//! Growing delays after wrong passwords: for one account from one network, for a network as a whole, and for the
//! many networks of one customer.
//!
//! A stranger cannot lock out an owner. The account alone is never delayed, so who comes from elsewhere is not
//! touched; and who logged in from a network before does not wait there for what others do, only for wrong
//! passwords of the same account. Names without an account count as well: a delay does not tell that an account
//! exists.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};

/// How many failures are free, and how long the wait grows after them. The wait doubles with each failure.
struct Policy {
    free_failures: u32,
    longest_wait_ms: i64,
}

/// One account from one network. A phone with an old password must not shut out the owner's other devices for
/// long: half a minute still leaves a guesser only 2,880 tries a day.
const ACCOUNT: Policy = Policy { free_failures: 5, longest_wait_ms: 30_000 };
/// A network, whatever the account. Many people may share an address.
const NETWORK: Policy = Policy { free_failures: 30, longest_wait_ms: 60_000 };
/// What one customer has of IPv6: 256 networks must not be 256 times the guesses.
const CUSTOMER: Policy = Policy { free_failures: 60, longest_wait_ms: 60_000 };
/// What homes get of most providers.
const CUSTOMER_PREFIX_BITS: u32 = 56;
const NETWORK_PREFIX_BITS: u32 = 64;
const FIRST_WAIT_MS: i64 = 1_000;
/// Failures are forgotten when none came for so long.
const MEMORY_MS: i64 = 60 * 60 * 1000;
/// Entries kept, about 4 MB; past that the oldest half goes.
const ENTRIES: usize = 65_536;
/// Pairs of account and network in one generation of those that logged in; two take some 2 MB.
const KNOWN: usize = 65_536;

/// Where a peer comes from: one IPv4 address, or the /64 one IPv6 customer gets at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Network(IpAddr);

impl Network {
    pub(crate) fn of(ip: IpAddr) -> Self {
        Self(match ip.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6(first_bits(v6, NETWORK_PREFIX_BITS)),
            v4 @ IpAddr::V4(_) => v4,
        })
    }

    /// The networks that most likely belong to the same customer. IPv4 has none: one address may be many people.
    fn customer(self) -> Option<Ipv6Addr> {
        match self.0 {
            IpAddr::V6(v6) => Some(first_bits(v6, CUSTOMER_PREFIX_BITS)),
            IpAddr::V4(_) => None,
        }
    }
}

fn first_bits(ip: Ipv6Addr, bits: u32) -> Ipv6Addr {
    let rest = u128::MAX.checked_shr(bits).unwrap_or(0);
    Ipv6Addr::from(u128::from(ip) & !rest)
}

#[derive(Clone, Copy)]
struct Entry {
    failures: u32,
    last_ms: i64,
    open_again_ms: i64,
}

/// Bounded; keys are hashed, so that long names take no more room than short ones.
#[derive(Default)]
pub(crate) struct Throttle {
    entries: HashMap<u64, Entry>,
    /// Accounts with the networks they logged in from: the newer ones, and those before them.
    known: [HashSet<u64>; 2],
    hasher: RandomState,
}

/// What one try counts for.
struct Keys {
    pair: u64,
    network: u64,
    customer: Option<u64>,
}

impl Keys {
    fn shared(&self) -> impl Iterator<Item = (u64, &'static Policy)> {
        let customer = self.customer.map(|key| (key, &CUSTOMER));
        std::iter::once((self.network, &NETWORK)).chain(customer)
    }
}

impl Throttle {
    /// How long until this try may be judged; 0: now.
    pub(crate) fn wait_ms(&self, account: &str, network: Network, now_ms: i64) -> u64 {
        let keys = self.keys(account, network);
        let wait = |key| self.entries.get(&key).map_or(0, |entry| entry.wait_ms(now_ms));
        let shared = keys.shared().map(|(key, _)| wait(key)).max().unwrap_or(0);
        let own = wait(keys.pair);
        if shared > own && !self.is_known(keys.pair) { shared } else { own }
    }

    pub(crate) fn failed(&mut self, account: &str, network: Network, now_ms: i64) {
        let keys = self.keys(account, network);
        for (key, policy) in std::iter::once((keys.pair, &ACCOUNT)).chain(keys.shared()) {
            self.make_room(now_ms);
            let entry = self.entries.entry(key).or_insert(Entry {
                failures: 0,
                last_ms: now_ms,
                open_again_ms: now_ms,
            });
            if now_ms.saturating_sub(entry.last_ms) >= MEMORY_MS {
                entry.failures = 0;
            }
            entry.failures = entry.failures.saturating_add(1);
            entry.last_ms = now_ms;
            entry.open_again_ms = now_ms.saturating_add(policy.wait_ms(entry.failures));
        }
    }

    /// Forgets the account's failures from there, and remembers that it is no stranger there. Failures of the network stay:
    /// the owner of one account must not buy free guesses at others with it.
    pub(crate) fn succeeded(&mut self, account: &str, network: Network) {
        let pair = self.keys(account, network).pair;
        self.entries.remove(&pair);
        let [newer, older] = &mut self.known;
        if newer.insert(pair) && newer.len() >= KNOWN {
            *older = std::mem::take(newer);
        }
    }

    fn is_known(&self, pair: u64) -> bool {
        self.known.iter().any(|generation| generation.contains(&pair))
    }

    fn keys(&self, account: &str, network: Network) -> Keys {
        Keys {
            pair: self.hasher.hash_one((account, network)),
            network: self.hasher.hash_one(network),
            // The bits tell it from the first network of the customer.
            customer: network
                .customer()
                .map(|first| self.hasher.hash_one((first, CUSTOMER_PREFIX_BITS))),
        }
    }

    /// At the bound, drops what is forgotten anyway, and then the older half.
    fn make_room(&mut self, now_ms: i64) {
        if self.entries.len() < ENTRIES {
            return;
        }
        self.entries.retain(|_, entry| now_ms.saturating_sub(entry.last_ms) < MEMORY_MS);
        if self.entries.len() < ENTRIES / 2 {
            return;
        }
        let mut ages: Vec<(i64, u64)> = self.entries.iter().map(|(k, e)| (e.last_ms, *k)).collect();
        let (older, _, _) = ages.select_nth_unstable(ENTRIES / 2);
        for (_, key) in older {
            self.entries.remove(key);
        }
    }
}

impl Entry {
    /// Nothing while the clock stands before the last failure: it was set back, and nobody waits for that.
    fn wait_ms(&self, now_ms: i64) -> u64 {
        let wait = self.open_again_ms.saturating_sub(now_ms);
        if now_ms < self.last_ms { 0 } else { u64::try_from(wait).unwrap_or(0) }
    }
}

impl Policy {
    fn wait_ms(&self, failures: u32) -> i64 {
        let Some(doublings) = failures.checked_sub(self.free_failures) else {
            return 0;
        };
        let wait = FIRST_WAIT_MS.checked_shl(doublings.min(32)).unwrap_or(i64::MAX);
        wait.min(self.longest_wait_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(ip: &str) -> Network {
        Network::of(ip.parse().unwrap())
    }

    #[test]
    fn networks() {
        #[track_caller]
        fn check(a: &str, b: &str, same: bool) {
            assert_eq!(network(a) == network(b), same, "{a} {b}");
        }
        check("192.0.2.1", "192.0.2.1", true);
        check("192.0.2.1", "192.0.2.2", false);
        check("192.0.2.1", "::ffff:192.0.2.1", true);
        check("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", true);
        check("2001:db8:1:2::1", "2001:db8:1:3::1", false);
        check("127.0.0.1", "::1", false);
    }

    #[test]
    fn waits_grow_and_end() {
        let (mut throttle, home, mut now) = (Throttle::default(), network("192.0.2.1"), 0);
        let mut waits = Vec::new();
        for _ in 0..14 {
            throttle.failed("alice", home, now);
            let wait = throttle.wait_ms("alice", home, now);
            waits.push(wait / 1000);
            now += i64::try_from(wait).unwrap();
            assert_eq!(throttle.wait_ms("alice", home, now), 0);
        }
        assert_eq!(waits, [0, 0, 0, 0, 1, 2, 4, 8, 16, 30, 30, 30, 30, 30]);
        throttle.succeeded("alice", home);
        throttle.failed("alice", home, now);
        assert_eq!(throttle.wait_ms("alice", home, now), 0, "a success starts afresh");
        now += MEMORY_MS;
        for _ in 0..4 {
            throttle.failed("alice", home, now);
        }
        assert_eq!(throttle.wait_ms("alice", home, now), 0, "an hour of peace too");
    }

    #[test]
    fn a_network_that_tries_many_names_waits_as_a_whole() {
        let mut throttle = Throttle::default();
        let (home, away) = (network("2001:db8::1"), network("192.0.2.9"));
        for n in 0..40 {
            throttle.failed(&format!("user{n}"), network(&format!("2001:db8::{n}")), 0);
            throttle.succeeded("own", home);
        }
        assert_eq!(throttle.wait_ms("alice", home, 0), 60_000);
        assert_eq!(throttle.wait_ms("user1", away, 0), 0);
    }

    #[test]
    fn the_table_is_bounded_and_keeps_the_newest() {
        let mut throttle = Throttle::default();
        for n in 0..200_000_u32 {
            let ip = Network::of(IpAddr::V4(n.into()));
            throttle.failed("alice", ip, i64::from(n));
            assert!(throttle.entries.len() <= ENTRIES + 1);
        }
        let last = Network::of(IpAddr::V4(199_999.into()));
        let keys = throttle.keys("alice", last);
        assert!(throttle.entries.contains_key(&keys.pair));
        assert!(throttle.entries.contains_key(&keys.network));
        for n in 0..200_000 {
            throttle.succeeded(&format!("user{n}"), last);
            assert!(throttle.known.iter().map(HashSet::len).sum::<usize>() <= 2 * KNOWN);
        }
        let is_known = |name: &str| throttle.is_known(throttle.keys(name, last).pair);
        assert!(is_known("user199999") && is_known("user140000") && !is_known("user0"));
    }

    #[test]
    fn a_stranger_locks_nobody_out() {
        let mut throttle = Throttle::default();
        let (office, home) = (network("192.0.2.1"), network("2001:db8:1:2::1"));
        let (next_room, far) = (network("2001:db8:1:3::1"), network("2001:db8:2:2::1"));
        for place in [office, home] {
            throttle.succeeded("alice", place);
            for n in 0..200 {
                throttle.failed(&format!("guess{n}"), place, 0);
            }
        }
        // From elsewhere somebody tries her very name for hours.
        for n in 0..20_000 {
            throttle.failed("alice", Network::of(IpAddr::V4((0x0a00_0000 + n).into())), 0);
        }
        let wait = |name, place| throttle.wait_ms(name, place, 0);
        assert_eq!((wait("alice", office), wait("alice", home)), (0, 0), "she was here before");
        assert_eq!((wait("bob", office), wait("bob", home)), (60_000, 60_000));
        assert_eq!((wait("alice", far), wait("bob", far)), (0, 0), "elsewhere nobody waits");
        assert_eq!(wait("alice", next_room), 60_000, "here she was not");
        for _ in 0..10 {
            throttle.failed("alice", office, 0);
        }
        assert_eq!(throttle.wait_ms("alice", office, 0), 30_000, "her own name still counts");
    }

    #[test]
    fn many_networks_of_one_customer_are_few_guesses() {
        let mut throttle = Throttle::default();
        let mut judged = 0;
        for n in 0..256 * 100_u64 {
            let place = network(&format!("2001:db8:0:{:x}::1", n % 256));
            if throttle.wait_ms("alice", place, 0) == 0 {
                throttle.failed("alice", place, 0);
                judged += 1;
            }
        }
        assert_eq!(judged, CUSTOMER.free_failures);
        assert_eq!(throttle.wait_ms("alice", network("2001:db8:0:100::1"), 0), 0, "the neighbour");
    }

    #[test]
    fn a_clock_that_was_set_back_shuts_nobody_out() {
        let (mut throttle, home) = (Throttle::default(), network("192.0.2.1"));
        for _ in 0..10 {
            throttle.failed("alice", home, 5_000_000);
        }
        assert_eq!(throttle.wait_ms("alice", home, 5_000_000), 30_000);
        assert_eq!(throttle.wait_ms("alice", home, 1_000_000), 0);
    }
}
