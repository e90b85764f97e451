//! Which passwords were found right lately. Holds no password and no hash of one alone: only keyed hashes, made
//! with a key that is drawn at the start and never leaves this process.
//!
//! The fingerprint covers the account's PHC string, so a changed password is forgotten at once, and accounts
//! that share one PHC string share one verification.

use std::collections::HashSet;

/// Entries in one generation; two generations of 32-byte entries take some 5 MB when full.
const ENTRIES: usize = 50_000;
/// An entry that is not used lives for one to two of these.
const GENERATION_MS: i64 = 30 * 60 * 1000;

pub(crate) type Fingerprint = [u8; 32];

/// Two generations: what is used moves into the young one, and the old one is dropped whole.
pub(crate) struct VerifyCache {
    key: Option<[u8; 32]>,
    young: HashSet<Fingerprint>,
    old: HashSet<Fingerprint>,
    young_since_ms: i64,
}

impl VerifyCache {
    pub(crate) fn new() -> Self {
        let mut key = [0; 32];
        Self {
            // Without random bytes the cache stays empty: slower, never weaker.
            key: getrandom::fill(&mut key).ok().map(|()| key),
            young: HashSet::new(),
            old: HashSet::new(),
            young_since_ms: 0,
        }
    }

    pub(crate) fn fingerprint(&self, secret: &str, password: &[u8]) -> Fingerprint {
        let mut hasher = blake3::Hasher::new_keyed(&self.key.unwrap_or_default());
        hasher.update(&(secret.len() as u64).to_le_bytes());
        hasher.update(secret.as_bytes());
        hasher.update(password);
        hasher.finalize().into()
    }

    pub(crate) fn contains(&mut self, fingerprint: &Fingerprint, now_ms: i64) -> bool {
        self.turn(now_ms);
        if self.old.remove(fingerprint) {
            self.young.insert(*fingerprint);
            return true;
        }
        self.young.contains(fingerprint)
    }

    pub(crate) fn insert(&mut self, fingerprint: Fingerprint, now_ms: i64) {
        self.turn(now_ms);
        if self.key.is_some() {
            self.young.insert(fingerprint);
        }
    }

    /// Begins a new generation when the young one is full or of age.
    fn turn(&mut self, now_ms: i64) {
        let age_ms = now_ms.saturating_sub(self.young_since_ms);
        if age_ms >= 2 * GENERATION_MS {
            self.young.clear();
        }
        if age_ms >= GENERATION_MS || self.young.len() >= ENTRIES {
            self.old = std::mem::take(&mut self.young);
            self.young_since_ms = now_ms;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(n: usize) -> Fingerprint {
        let mut fingerprint = [0; 32];
        fingerprint[..8].copy_from_slice(&n.to_le_bytes());
        fingerprint
    }

    #[test]
    fn fingerprints_differ_by_secret_password_and_process() {
        let cache = VerifyCache::new();
        let base = cache.fingerprint("ab", b"cd");
        assert_eq!(base, cache.fingerprint("ab", b"cd"));
        for other in [
            cache.fingerprint("abc", b"d"),
            cache.fingerprint("ab", b"ce"),
            cache.fingerprint("", b"abcd"),
            VerifyCache::new().fingerprint("ab", b"cd"),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn bounded_by_entries_and_by_age() {
        let mut cache = VerifyCache::new();
        let (used, mut now) = (number(0), 1);
        cache.insert(used, now);
        for n in 1..3 * ENTRIES {
            cache.insert(number(n), now);
            if n % 10_000 == 0 {
                assert!(cache.contains(&used, now), "used, so kept");
            }
            assert!(cache.young.len() + cache.old.len() <= 2 * ENTRIES + 1);
        }
        assert!(!cache.contains(&number(1), now), "not used, so pushed out");
        assert!(cache.contains(&used, now));
        now += GENERATION_MS;
        assert!(cache.contains(&used, now));
        now += GENERATION_MS * 2;
        assert!(!cache.contains(&used, now));
        assert!(cache.young.is_empty() && cache.old.is_empty());
    }
}
