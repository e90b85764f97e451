//! To whom an account wrote, and whose letters it took out of Junk: what they send it is hardly ever spam.

/// The ones met last; 16 KB.
const MOST: usize = 2_000;
const MAGIC: &[u8] = b"OPKNOW1";

/// Addresses, hashed; those met last at the end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Correspondents(Vec<u64>);

impl Correspondents {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn knows(&self, address: &str) -> bool {
        self.0.contains(&hash(address))
    }

    /// Whether something changed.
    pub(crate) fn meet(&mut self, address: &str) -> bool {
        let hash = hash(address);
        if self.0.contains(&hash) {
            return false;
        }
        if self.0.len() >= MOST {
            self.0.remove(0);
        }
        self.0.push(hash);
        true
    }

    /// Whether something changed.
    pub(crate) fn forget(&mut self, address: &str) -> bool {
        let (hash, before) = (hash(address), self.0.len());
        self.0.retain(|known| *known != hash);
        self.0.len() < before
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let numbers = self.0.iter().flat_map(|hash| hash.to_le_bytes());
        MAGIC.iter().copied().chain(numbers).collect()
    }

    /// `None`: damaged.
    pub(crate) fn decode(saved: &[u8]) -> Option<Self> {
        let (numbers, rest) = saved.strip_prefix(MAGIC)?.as_chunks::<8>();
        let fits = rest.is_empty() && numbers.len() <= MOST;
        fits.then(|| Self(numbers.iter().map(|number| u64::from_le_bytes(*number)).collect()))
    }
}

fn hash(address: &str) -> u64 {
    crate::short_hash(address.to_lowercase().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ones_met_last_are_kept() {
        let mut knows = Correspondents::default();
        assert!(knows.meet("Ala@Example.test") && !knows.meet("ala@example.test"));
        assert!(knows.knows("ALA@example.test") && !knows.knows("bob@example.test"));
        for number in 0..MOST {
            knows.meet(&format!("x{number}@example.test"));
        }
        assert!(!knows.knows("ala@example.test") && knows.knows("x0@example.test"));
        assert!(knows.forget("x0@example.test") && !knows.forget("x0@example.test"));
        let saved = knows.encode();
        assert!(saved.len() < 16 * 1024);
        assert_eq!(Correspondents::decode(&saved), Some(knows));
        for damaged in [&saved[..saved.len() - 1], &saved[1..], &[]] {
            assert_eq!(Correspondents::decode(damaged), None);
        }
        assert_eq!(Correspondents::decode(&[MAGIC, &[0; 8 * MOST + 8]].concat()), None);
    }
}
