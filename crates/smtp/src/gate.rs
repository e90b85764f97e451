//! How many sessions a stranger may have, at once and in a minute, and how many letters; from one address and from its
//! neighbourhood.

use crate::network::Network;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What strangers may do on a listener for anybody. This machine and the servers in front are left alone. 0: no limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// Sessions at once from one address (of IPv6: a /64).
    pub address_sessions: u32,
    /// Sessions at once from the addresses around it (a /24, of IPv6 a /48).
    pub network_sessions: u32,
    /// Sessions begun in a minute by one address.
    pub address_rate: u32,
    pub network_rate: u32,
    /// Letters begun in a minute by one address.
    pub address_letters: u32,
    pub network_letters: u32,
    /// How long the greeting waits; who speaks before it is a program that does not listen.
    pub greeting_delay_ms: u64,
    /// Unknown recipients in one session, where they are more than those known: somebody is guessing.
    pub unknown_recipients: u32,
    /// From the greeting to the end.
    pub session_timeout_ms: u64,
    /// A letter that comes slower than this, after a time of grace, is given up.
    pub slowest_bytes_per_s: u32,
}

impl Guard {
    /// No limits at all.
    pub const OFF: Self = Self {
        address_sessions: 0,
        network_sessions: 0,
        address_rate: 0,
        network_rate: 0,
        address_letters: 0,
        network_letters: 0,
        greeting_delay_ms: 0,
        unknown_recipients: 0,
        session_timeout_ms: 0,
        slowest_bytes_per_s: 0,
    };
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            // What Postfix allows by default.
            address_sessions: 50,
            network_sessions: 200,
            address_rate: 300,
            network_rate: 1200,
            address_letters: 1200,
            network_letters: 6000,
            greeting_delay_ms: 1000,
            unknown_recipients: 20,
            session_timeout_ms: 60 * 60 * 1000,
            slowest_bytes_per_s: 500,
        }
    }
}

/// Networks that are counted. Beyond, there is a flood from everywhere at once, and newcomers have to wait.
const ENTRIES: usize = 200_000;
const MINUTE_MS: i64 = 60_000;

pub(crate) struct Gate {
    guard: Guard,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    of: HashMap<Network, Count>,
    /// The number of entries at which those that mean nothing any more are dropped.
    sweep_at: usize,
    /// The minute in which that was done last.
    swept: i64,
}

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    open: u32,
    /// Begun in `minute`.
    begun: u32,
    letters: u32,
    minute: i64,
}

impl Count {
    fn turn_to(&mut self, minute: i64) {
        if self.minute != minute {
            (self.minute, self.begun, self.letters) = (minute, 0, 0);
        }
    }
}

/// A session that is inside; it is counted until this goes.
pub(crate) struct Pass {
    gate: Arc<Gate>,
    ip: IpAddr,
}

/// Why somebody has to wait outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    Sessions,
    Rate,
    Letters,
}

impl Gate {
    pub(crate) fn new(guard: Guard) -> Arc<Self> {
        Arc::new(Self { guard, counts: Mutex::default() })
    }

    /// Lets a new session in. `again`: it has been inside before, and is only counted.
    pub(crate) fn enter(
        self: &Arc<Self>,
        ip: IpAddr,
        now_unix_ms: i64,
        again: bool,
    ) -> Result<Pass, Full> {
        let minute = now_unix_ms.div_euclid(MINUTE_MS);
        let guard = &self.guard;
        let rows = [
            (Network::host(ip), guard.address_sessions, guard.address_rate),
            (Network::neighbours(ip), guard.network_sessions, guard.network_rate),
        ];
        let mut counts = self.lock();
        counts.sweep(minute);
        let is_new = !counts.of.contains_key(&Network::host(ip));
        if is_new && !again && counts.of.len() >= ENTRIES {
            return Err(Full::Sessions);
        }
        let mut full = None;
        for (network, sessions, rate) in rows {
            let count = counts.of.entry(network).or_default();
            count.turn_to(minute);
            if over(count.open, sessions) {
                full = full.or(Some(Full::Sessions));
            } else if over(count.begun, rate) {
                full = full.or(Some(Full::Rate));
            }
            // Also who is turned away has knocked.
            count.begun = count.begun.saturating_add(u32::from(!again));
        }
        if let Some(full) = full.filter(|_| !again) {
            return Err(full);
        }
        for (network, ..) in rows {
            counts.of.entry(network).or_default().open += 1;
        }
        drop(counts);
        Ok(Pass { gate: Arc::clone(self), ip })
    }

    /// One more letter of a session that is inside.
    pub(crate) fn letter(&self, ip: IpAddr, now_unix_ms: i64) -> Result<(), Full> {
        let minute = now_unix_ms.div_euclid(MINUTE_MS);
        let rows = [
            (Network::host(ip), self.guard.address_letters),
            (Network::neighbours(ip), self.guard.network_letters),
        ];
        let mut counts = self.lock();
        let mut full = Ok(());
        for (network, most) in rows {
            // It has an entry as long as it is inside.
            let Some(count) = counts.of.get_mut(&network) else { continue };
            count.turn_to(minute);
            if over(count.letters, most) {
                full = Err(Full::Letters);
            }
            count.letters = count.letters.saturating_add(1);
        }
        full
    }

    fn leave(&self, ip: IpAddr) {
        let mut counts = self.lock();
        for network in [Network::host(ip), Network::neighbours(ip)] {
            if let Some(count) = counts.of.get_mut(&network) {
                count.open = count.open.saturating_sub(1);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn over(count: u32, limit: u32) -> bool {
    limit > 0 && count >= limit
}

impl Counts {
    /// Drops what is neither open nor of this minute. Seldom: once in a minute, and when there is twice as much as was
    /// left the last time.
    fn sweep(&mut self, minute: i64) {
        const LEAST: usize = 1024;
        if self.of.len() < self.sweep_at.max(LEAST) || self.swept == minute {
            return;
        }
        self.of.retain(|_, count| count.open > 0 || count.minute == minute);
        self.sweep_at = (self.of.len() * 2).min(ENTRIES - 1);
        self.swept = minute;
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.gate.leave(self.ip);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(guard: Guard) -> Arc<Gate> {
        Gate::new(guard)
    }

    fn ip(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn at_once() {
        let gate = gate(Guard { address_sessions: 2, network_sessions: 3, ..Guard::OFF });
        let enter = |last| gate.enter(ip(last), 0, false);
        let (first, _second) = (enter(1).ok().unwrap(), enter(1).ok().unwrap());
        assert_eq!(enter(1).err(), Some(Full::Sessions));
        let _third = enter(2).ok().unwrap();
        assert_eq!(enter(3).err(), Some(Full::Sessions), "the network is full");
        let _elsewhere = gate.enter([198, 51, 100, 1].into(), 0, false).ok().unwrap();
        let again = gate.enter(ip(1), 0, true).ok().unwrap();
        drop((first, again));
        assert!(enter(1).is_ok());
    }

    #[test]
    fn in_a_minute() {
        let gate = gate(Guard { address_rate: 2, network_rate: 3, ..Guard::OFF });
        let enter = |last, ms| gate.enter(ip(last), ms, false).err();
        assert_eq!([enter(1, 0), enter(1, 59_999)], [None, None]);
        assert_eq!(enter(1, 59_999), Some(Full::Rate));
        assert_eq!(enter(2, 59_999), Some(Full::Rate), "all of the network have knocked");
        assert_eq!(enter(1, 60_000), None);
        assert!(gate.enter(ip(1), 60_000, true).is_ok());
    }

    #[test]
    fn letters() {
        let gate = gate(Guard { address_letters: 2, network_letters: 3, ..Guard::OFF });
        let _inside = [1, 2].map(|last| gate.enter(ip(last), 0, false).ok().unwrap());
        let letter = |last, ms| gate.letter(ip(last), ms);
        assert_eq!([letter(1, 0), letter(1, 1), letter(1, 2)][2], Err(Full::Letters));
        assert_eq!(letter(2, 3), Err(Full::Letters), "all of the network have written");
        assert_eq!([letter(2, 60_000), letter(1, 60_000)], [Ok(()), Ok(())]);
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let gate = gate(Guard::default());
        let _open = gate.enter(ip(1), 0, false).ok().unwrap();
        for n in 0..20_000_u32 {
            let minute = i64::from(n / 100) * MINUTE_MS;
            drop(gate.enter((n << 8).to_be_bytes().into(), minute, false));
        }
        assert!(gate.lock().of.len() < 2048, "{}", gate.lock().of.len());
        assert_eq!(gate.lock().of[&Network::host(ip(1))].open, 1);
    }

    #[test]
    fn a_flood_from_everywhere_has_to_wait() {
        let gate = gate(Guard::OFF);
        let mut refused = 0;
        for n in 0..150_000_u32 {
            refused += u32::from(gate.enter((n << 8).to_be_bytes().into(), 0, false).is_err());
        }
        assert!(refused > 0 && gate.lock().of.len() < ENTRIES + 2);
    }
}
