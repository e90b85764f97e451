//! Greylisting (RFC 6647): a letter that is not quite trusted is asked to come again in some minutes. Real servers do; many
//! programs that send spam never do.
//!
//! Only in memory: after a restart, or at another server, a letter may be asked once more; none is lost by it.

use crate::Connection;
use antispam::Authentication;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// A letter that comes again later than this is new.
const AGAIN_WITHIN_S: i64 = 2 * 86_400;
/// Who came again once is not asked for so long after his last letter.
const TRUSTED_S: i64 = 36 * 86_400;
/// Of each generation; both together take some 10 MB.
const ROWS: usize = 100_000;

/// What is greylisted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Greylisting {
    /// Letters of strangers with so many points that are not for Junk.
    pub points: f32,
    /// After so long a letter that comes again is taken.
    pub wait_s: u32,
}

/// Who was asked to come again, and who did.
pub(crate) struct Greylist {
    pub(crate) greylisting: Greylisting,
    asked: Mutex<Generations>,
    trusted: Mutex<Generations>,
}

impl Greylist {
    pub(crate) fn new(greylisting: Greylisting) -> Self {
        Self { greylisting, asked: Mutex::default(), trusted: Mutex::default() }
    }

    /// Whether this letter has to wait.
    pub(crate) fn must_wait(
        &self,
        connection: &Connection<'_>,
        authentication: Option<&Authentication>,
        now_unix_s: i64,
    ) -> bool {
        let who = who(connection, authentication);
        let mut trusted = self.trusted.lock().unwrap_or_else(PoisonError::into_inner);
        if trusted.get(key(&[&who])).is_some_and(|last| now_unix_s - last < TRUSTED_S) {
            trusted.put(key(&[&who]), now_unix_s);
            return false;
        }
        let sender = connection.sender.map(ToString::to_string).unwrap_or_default();
        let recipient = connection.recipients.first().map(ToString::to_string).unwrap_or_default();
        let letter = key(&[&who, &sender, &recipient]);
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let since = asked.get(letter).filter(|since| now_unix_s - since < AGAIN_WITHIN_S);
        match since {
            Some(since) if now_unix_s - since >= self.greylisting.wait_s.into() => {
                trusted.put(key(&[&who]), now_unix_s);
                false
            }
            Some(_) => true,
            None => {
                asked.put(letter, now_unix_s);
                true
            }
        }
    }
}

/// Large senders try again from another address: a domain that vouches for the letter is the same one then. Else the
/// client's network.
fn who(connection: &Connection<'_>, authentication: Option<&Authentication>) -> String {
    let proven = authentication.map(Authentication::proven_domains).unwrap_or_default();
    if let Some(domain) = proven.first() {
        return (*domain).to_owned();
    }
    match connection.client_ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            format!("{a}.{b}.{c}")
        }
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}")
        }
    }
}

fn key(parts: &[&str]) -> u64 {
    crate::short_hash(parts.join("\0").to_lowercase().as_bytes())
}

/// When one generation is full the one before it is forgotten.
#[derive(Default)]
struct Generations {
    young: HashMap<u64, i64>,
    old: HashMap<u64, i64>,
}

impl Generations {
    fn get(&self, key: u64) -> Option<i64> {
        self.young.get(&key).or_else(|| self.old.get(&key)).copied()
    }

    fn put(&mut self, key: u64, at_unix_s: i64) {
        if self.young.len() >= ROWS {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, at_unix_s);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use antispam::{Outcome, Spf};
    use types::Address;

    struct Letter {
        ip: &'static str,
        sender: &'static str,
        /// Whose SPF passes.
        proven: &'static str,
    }

    fn must_wait(list: &Greylist, letter: &Letter, now_unix_s: i64) -> bool {
        let sender: Option<Address> = letter.sender.parse().ok();
        let recipients = ["alice@example.test".parse().unwrap()];
        let connection = Connection {
            id: "1",
            client_ip: letter.ip.parse().unwrap(),
            helo: "x",
            sender: sender.as_ref(),
            recipients: &recipients,
            accounts: &[],
            tls: false,
            is_known: false,
        };
        let outcome = if letter.proven.is_empty() { Outcome::None } else { Outcome::Pass };
        let spf = Spf { outcome, domain: letter.proven.to_owned(), of_helo: false };
        let authentication = Authentication { spf, ..Authentication::default() };
        list.must_wait(&connection, Some(&authentication), now_unix_s)
    }

    const WAIT_S: i64 = 120;

    #[test]
    fn who_comes_again_is_let_in() {
        let list = Greylist::new(Greylisting { points: 1.0, wait_s: 120 });
        let letter = Letter { ip: "192.0.2.7", sender: "x@a.test", proven: "" };
        assert!(must_wait(&list, &letter, 1000));
        assert!(must_wait(&list, &letter, 1000 + WAIT_S - 1));
        assert!(must_wait(&list, &Letter { sender: "y@a.test", ..letter }, 1000 + WAIT_S));
        assert!(must_wait(&list, &Letter { ip: "192.0.3.7", ..letter }, 1000 + WAIT_S));
        assert!(!must_wait(&list, &Letter { ip: "192.0.2.9", ..letter }, 1000 + WAIT_S));
        assert!(!must_wait(&list, &Letter { sender: "z@z.test", ..letter }, 1001 + WAIT_S));
        let long_after = 1001 + WAIT_S + TRUSTED_S;
        assert!(must_wait(&list, &letter, long_after));
        assert!(must_wait(&list, &letter, long_after + AGAIN_WITHIN_S));
    }

    #[test]
    fn a_domain_that_vouches_may_come_from_elsewhere() {
        let list = Greylist::new(Greylisting { points: 1.0, wait_s: 120 });
        let letter = Letter { ip: "192.0.2.7", sender: "x@a.test", proven: "a.test" };
        assert!(must_wait(&list, &letter, 1000));
        assert!(!must_wait(&list, &Letter { ip: "2001:db8::1", ..letter }, 1000 + WAIT_S));
    }

    #[test]
    fn memory_has_an_end() {
        let mut rows = Generations::default();
        for key in 0..3 * ROWS as u64 {
            rows.put(key, 1);
        }
        assert!(rows.young.len() + rows.old.len() <= 2 * ROWS);
        assert!(rows.get(3 * ROWS as u64 - 1).is_some() && rows.get(0).is_none());
    }
}
