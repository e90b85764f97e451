//! The changes that listeners asked for last: thousands who wait for one account wake up together and ask the same,
//! and the index is asked once.

use crate::read::Changes;
use crate::watch::Moment;
use std::sync::{Mutex, PoisonError};
use types::{AccountId, ModSeq};

/// Answers kept, one for each account; accounts share the places.
const PLACES: u64 = 256;
/// A longer answer is asked for anew: what is kept stays under a megabyte or two.
const CHANGES: usize = 64;

/// A question for changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asking {
    pub(crate) account: AccountId,
    pub(crate) since: ModSeq,
    pub(crate) limit: usize,
}

type Place = Mutex<Option<(Asking, Moment, Changes)>>;

#[derive(Debug)]
pub(crate) struct Recent(Box<[Place]>);

impl Default for Recent {
    fn default() -> Self {
        Self((0..PLACES).map(|_| Mutex::default()).collect())
    }
}

impl Recent {
    /// The answer, if nothing has changed since. `None` as moment: nobody would know.
    pub(crate) fn get(&self, asked: Asking, moment: Option<Moment>) -> Option<Changes> {
        let place = self.place(asked)?.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, at, changes) = place.as_ref()?;
        (*known == asked && Some(*at) == moment).then(|| changes.clone())
    }

    /// `moment` was taken before the question was asked.
    pub(crate) fn put(&self, asked: Asking, moment: Option<Moment>, found: &Changes) {
        if found.changes.len() <= CHANGES
            && let Some(moment) = moment
            && let Some(place) = self.place(asked)
        {
            let kept = (asked, moment, found.clone());
            *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        }
    }

    fn place(&self, asked: Asking) -> Option<&Place> {
        self.0.get(usize::try_from(asked.account.0 % PLACES).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_lasts_until_something_changes() {
        let recent = Recent::default();
        let asked = Asking { account: AccountId(7), since: ModSeq(3), limit: 10 };
        let found = Changes { changes: Vec::new(), state: ModSeq(5), more: false };
        recent.put(asked, Some(Moment(1)), &found);
        let check = |asked, moment, expect| {
            assert_eq!(recent.get(asked, moment).is_some(), expect, "{asked:?} {moment:?}");
        };
        check(asked, Some(Moment(1)), true);
        check(asked, Some(Moment(2)), false);
        check(asked, None, false);
        check(Asking { since: ModSeq(4), ..asked }, Some(Moment(1)), false);
        check(Asking { account: AccountId(7 + PLACES), ..asked }, Some(Moment(1)), false);
        recent.put(asked, None, &found);
        check(asked, Some(Moment(1)), true);
    }
}
