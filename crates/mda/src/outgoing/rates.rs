//! How much one account may send: letters in an hour, recipients in a day. A stolen password is then worth little.
//! Counted in memory; a restart forgets.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use types::AccountId;

/// Accounts that are counted at a time, 100 bytes each. When so many sent in one day, one is forgotten for each that
/// comes: better than to refuse people, or to grow.
const ACCOUNTS: usize = 500_000;

/// A limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMuch {
    pub what: What,
    pub limit: u32,
    /// Then there is room again.
    pub again_in_s: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Letters,
    Recipients,
}

impl fmt::Display for TooMuch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let may = match self.what {
            What::Letters => format!("send {} letters in one hour", self.limit),
            What::Recipients => format!("write to {} recipients in one day", self.limit),
        };
        let minutes = (self.again_in_s + 59) / 60;
        let hours = (minutes + 59) / 60;
        write!(f, "you may {may}, and have; try again in ").and_then(|()| match minutes {
            0..=90 => write!(f, "{minutes} min"),
            _ => write!(f, "{hours} h"),
        })
    }
}

pub(crate) struct Rates {
    letters_per_hour: u32,
    recipients_per_day: u32,
    accounts: Mutex<HashMap<AccountId, Counts>>,
}

#[derive(Default)]
struct Counts {
    letters: Window<6, 600>,
    recipients: Window<8, 10_800>,
}

/// The last `SLOTS * SLOT_S` seconds, in slots: what is counted leaves the window a slot at a time.
struct Window<const SLOTS: usize, const SLOT_S: i64> {
    counts: [u32; SLOTS],
    /// The number of the newest slot, since 1970.
    newest: i64,
}

impl<const SLOTS: usize, const SLOT_S: i64> Default for Window<SLOTS, SLOT_S> {
    fn default() -> Self {
        Self { counts: [0; SLOTS], newest: 0 }
    }
}

impl<const SLOTS: usize, const SLOT_S: i64> Window<SLOTS, SLOT_S> {
    fn advance(&mut self, now_unix_s: i64) {
        let slot = now_unix_s.div_euclid(SLOT_S);
        // A clock that was set back counts into the newest slot.
        let steps = usize::try_from(slot - self.newest).unwrap_or(0).min(SLOTS);
        self.counts.rotate_left(steps);
        for count in self.counts.iter_mut().rev().take(steps) {
            *count = 0;
        }
        self.newest = self.newest.max(slot);
    }

    fn total(&self) -> u64 {
        self.counts.iter().map(|count| u64::from(*count)).sum()
    }

    /// When `more` fit under the limit: now, or in so many seconds.
    fn wait_s(&self, more: u32, limit: u32, now_unix_s: i64) -> Option<i64> {
        let mut total = self.total() + u64::from(more);
        if total <= u64::from(limit) {
            return None;
        }
        let oldest = self.newest - i64::try_from(SLOTS).unwrap_or(0) + 1;
        for (slot, count) in (oldest..).zip(&self.counts) {
            total -= u64::from(*count);
            if total <= u64::from(limit) {
                let leaves = (slot + i64::try_from(SLOTS).unwrap_or(0)) * SLOT_S;
                return Some((leaves - now_unix_s).max(1));
            }
        }
        // More at once than may be sent in all.
        Some(i64::try_from(SLOTS).unwrap_or(1) * SLOT_S)
    }

    fn add(&mut self, more: u32) {
        if let Some(newest) = self.counts.last_mut() {
            *newest = newest.saturating_add(more);
        }
    }

    fn take_back(&mut self, less: u32) {
        if let Some(newest) = self.counts.last_mut() {
            *newest = newest.saturating_sub(less);
        }
    }
}

impl Rates {
    pub(crate) fn new(letters_per_hour: u32, recipients_per_day: u32) -> Self {
        Self { letters_per_hour, recipients_per_day, accounts: Mutex::default() }
    }

    /// Whether another letter to so many recipients may be sent now.
    pub(crate) fn room(&self, id: AccountId, recipients: u32, now_s: i64) -> Result<(), TooMuch> {
        match self.lock().get_mut(&id) {
            Some(counts) => self.fits(counts, recipients, now_s),
            None => self.fits(&mut Counts::default(), recipients, now_s),
        }
    }

    /// The same, and it is counted.
    pub(crate) fn take(&self, id: AccountId, recipients: u32, now_s: i64) -> Result<(), TooMuch> {
        if self.letters_per_hour == 0 && self.recipients_per_day == 0 {
            return Ok(());
        }
        let mut accounts = self.lock();
        if accounts.len() >= ACCOUNTS && !accounts.contains_key(&id) {
            make_room(&mut accounts, now_s);
        }
        let counts = accounts.entry(id).or_default();
        self.fits(counts, recipients, now_s)?;
        counts.letters.add(1);
        counts.recipients.add(recipients);
        Ok(())
    }

    /// The letter was not taken after all.
    pub(crate) fn give_back(&self, id: AccountId, recipients: u32) {
        if let Some(counts) = self.lock().get_mut(&id) {
            counts.letters.take_back(1);
            counts.recipients.take_back(recipients);
        }
    }

    fn fits(&self, counts: &mut Counts, recipients: u32, now_s: i64) -> Result<(), TooMuch> {
        counts.letters.advance(now_s);
        counts.recipients.advance(now_s);
        let (hour, day) = (self.letters_per_hour, self.recipients_per_day);
        let letters = counts.letters.wait_s(1, hour, now_s).map(|s| (What::Letters, hour, s));
        let people =
            counts.recipients.wait_s(recipients, day, now_s).map(|s| (What::Recipients, day, s));
        match letters.into_iter().chain(people).find(|(_, limit, _)| *limit > 0) {
            Some((what, limit, again_in_s)) => Err(TooMuch { what, limit, again_in_s }),
            None => Ok(()),
        }
    }

    /// A panic while it was held can have left a count too low, nothing worse.
    fn lock(&self) -> MutexGuard<'_, HashMap<AccountId, Counts>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who sent nothing for a day goes; if that is nobody, anybody does.
fn make_room(accounts: &mut HashMap<AccountId, Counts>, now_s: i64) {
    accounts.retain(|_, counts| {
        counts.recipients.advance(now_s);
        counts.recipients.total() > 0
    });
    if accounts.len() >= ACCOUNTS
        && let Some(id) = accounts.keys().next().copied()
    {
        accounts.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_795_370_400;
    const ALA: AccountId = AccountId(1);

    #[test]
    fn letters_in_an_hour() {
        let rates = Rates::new(3, 0);
        for minute in [0, 12, 24] {
            assert_eq!(rates.take(ALA, 1, START + minute * 60), Ok(()));
        }
        let full = rates.take(ALA, 1, START + 25 * 60).unwrap_err();
        assert_eq!((full.what, full.limit, full.again_in_s), (What::Letters, 3, 35 * 60));
        assert_eq!(rates.room(ALA, 1, START + 25 * 60), Err(full));
        assert_eq!(
            full.to_string(),
            "you may send 3 letters in one hour, and have; try again in 35 min"
        );
        assert_eq!(rates.take(AccountId(2), 1, START + 25 * 60), Ok(()));
        assert_eq!(rates.take(ALA, 1, START + 25 * 60 + full.again_in_s), Ok(()));
        assert!(rates.take(ALA, 1, START + 61 * 60).is_err());
        // Two hours of silence, then all over again.
        for _ in 0..3 {
            assert_eq!(rates.take(ALA, 1, START + 10_000), Ok(()));
        }
        assert!(rates.take(ALA, 1, START + 10_000).is_err());
    }

    #[test]
    fn recipients_in_a_day() {
        let rates = Rates::new(0, 100);
        assert_eq!(rates.take(ALA, 60, START), Ok(()));
        let full = rates.take(ALA, 41, START).unwrap_err();
        assert_eq!((full.what, full.limit), (What::Recipients, 100));
        assert!((75_600..=86_400).contains(&full.again_in_s), "{full:?}");
        assert!(
            full.to_string().ends_with("try again in 24 h") || full.to_string().ends_with(" h")
        );
        assert_eq!(rates.take(ALA, 40, START), Ok(()));
        assert_eq!(rates.room(ALA, 0, START), Ok(()));
        assert!(rates.room(ALA, 1, START).is_err());
        rates.give_back(ALA, 40);
        assert_eq!(rates.take(ALA, 40, START), Ok(()));
        assert_eq!(rates.take(ALA, 100, START + full.again_in_s), Ok(()));
        assert_eq!(rates.room(AccountId(2), 101, START).unwrap_err().again_in_s, 86_400);
    }

    #[test]
    fn no_limits_and_no_memory() {
        let rates = Rates::new(0, 0);
        for _ in 0..1000 {
            assert_eq!(rates.take(ALA, u32::MAX, START), Ok(()));
        }
        assert!(rates.lock().is_empty());
    }

    #[test]
    fn a_clock_that_goes_back() {
        let rates = Rates::new(2, 0);
        assert_eq!(rates.take(ALA, 1, START), Ok(()));
        assert_eq!(rates.take(ALA, 1, START - 100_000), Ok(()));
        assert!(rates.take(ALA, 1, START - 100_000).is_err());
        assert_eq!(rates.take(ALA, 1, START + 3600), Ok(()));
    }

    #[test]
    fn who_sent_nothing_for_a_day_is_forgotten() {
        let mut accounts: HashMap<AccountId, Counts> = HashMap::new();
        for id in 0..10 {
            let mut counts = Counts::default();
            counts.recipients.advance(START + id * 50_000);
            counts.recipients.add(1);
            accounts.insert(AccountId(u64::try_from(id).unwrap()), counts);
        }
        make_room(&mut accounts, START + 9 * 50_000);
        assert!((1..=2).contains(&accounts.len()), "{}", accounts.len());
        assert!(accounts.contains_key(&AccountId(9)));
    }
}
