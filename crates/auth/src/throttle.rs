//! Growing delays after wrong passwords: for one account from one network, and for a network as a whole.
//!
//! The account alone is never delayed, so a stranger cannot lock out an owner who comes from elsewhere. Names
//! without an account count as well: a delay does not tell that an account exists.

use std::collections::HashMap;
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
const FIRST_WAIT_MS: i64 = 1_000;
/// Failures are forgotten when none came for so long.
const MEMORY_MS: i64 = 60 * 60 * 1000;
/// Entries kept, about 4 MB; past that the oldest half goes.
const ENTRIES: usize = 65_536;

/// Where a peer comes from: one IPv4 address, or the /64 one IPv6 customer gets at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Network(IpAddr);

impl Network {
    pub(crate) fn of(ip: IpAddr) -> Self {
        Self(match ip.to_canonical() {
            IpAddr::V6(v6) => {
                let network = u128::from(v6) & !u128::from(u64::MAX);
                IpAddr::V6(Ipv6Addr::from(network))
            }
            v4 @ IpAddr::V4(_) => v4,
        })
    }
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
    hasher: RandomState,
}

impl Throttle {
    /// How long until this try may be judged; 0: now.
    pub(crate) fn wait_ms(&self, account: &str, network: Network, now_ms: i64) -> u64 {
        self.keys(account, network)
            .into_iter()
            .filter_map(|(key, _)| self.entries.get(&key))
            .map(|entry| entry.open_again_ms.saturating_sub(now_ms))
            .max()
            .and_then(|wait| u64::try_from(wait).ok())
            .unwrap_or(0)
    }

    pub(crate) fn failed(&mut self, account: &str, network: Network, now_ms: i64) {
        for (key, policy) in self.keys(account, network) {
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

    /// Forgets the account's failures from there. Those of the network stay: the owner of one account must not
    /// buy free guesses at others with it.
    pub(crate) fn succeeded(&mut self, account: &str, network: Network) {
        let [(key, _), _] = self.keys(account, network);
        self.entries.remove(&key);
    }

    fn keys(&self, account: &str, network: Network) -> [(u64, &'static Policy); 2] {
        [
            (self.hasher.hash_one((account, network)), &ACCOUNT),
            (self.hasher.hash_one(network), &NETWORK),
        ]
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
        let keys = throttle.keys("alice", last).map(|(key, _)| key);
        assert!(keys.iter().all(|key| throttle.entries.contains_key(key)));
    }
}
