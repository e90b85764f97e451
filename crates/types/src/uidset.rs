//! A set of UIDs or message numbers as sorted, disjoint ranges.

use crate::Uid;
use std::fmt;
use std::ops::RangeInclusive;

/// Sorted, disjoint, non-adjacent inclusive ranges. Membership takes O(log ranges).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UidSet(Vec<(Uid, Uid)>);

impl UidSet {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn one(uid: Uid) -> Self {
        Self(vec![(uid, uid)])
    }

    /// All UIDs there can be.
    pub fn all() -> Self {
        Self(vec![(Uid::MIN, Uid::MAX)])
    }

    /// From ranges in any order; the ends of a range may be swapped (RFC 9051 §9 `seq-range`).
    pub fn from_ranges(ranges: impl IntoIterator<Item = (Uid, Uid)>) -> Self {
        let mut ranges: Vec<_> =
            ranges.into_iter().map(|(a, b)| if a <= b { (a, b) } else { (b, a) }).collect();
        ranges.sort_unstable();
        let mut set = Self(Vec::with_capacity(ranges.len()));
        for (first, last) in ranges {
            set.push_range(first, last);
        }
        set
    }

    /// Adds a range whose start is not below the start of any range held.
    fn push_range(&mut self, first: Uid, last: Uid) {
        match self.0.last_mut() {
            Some((_, end)) if first <= *end || end.next() == Some(first) => *end = (*end).max(last),
            _ => self.0.push((first, last)),
        }
    }

    pub fn insert(&mut self, uid: Uid) {
        if self.0.last().is_none_or(|(first, _)| *first <= uid) {
            self.push_range(uid, uid);
        } else if !self.contains(uid) {
            let ranges = std::mem::take(&mut self.0);
            *self = Self::from_ranges(ranges.into_iter().chain([(uid, uid)]));
        }
    }

    pub fn contains(&self, uid: Uid) -> bool {
        let at = self.0.partition_point(|(_, last)| *last < uid);
        self.0.get(at).is_some_and(|(first, _)| *first <= uid)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many UIDs it holds.
    pub fn len(&self) -> u64 {
        self.0.iter().map(|(a, b)| u64::from(b.get() - a.get()) + 1).sum()
    }

    pub fn ranges(&self) -> &[(Uid, Uid)] {
        &self.0
    }

    pub fn last(&self) -> Option<Uid> {
        self.0.last().map(|(_, last)| *last)
    }

    /// All that are in one of the two.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        Self::from_ranges(self.0.iter().chain(&other.0).copied())
    }

    /// All that are not in the other.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut left = Vec::with_capacity(self.0.len());
        let mut cuts = &other.0[..];
        for &(first, last) in &self.0 {
            cuts = cuts.get(cuts.partition_point(|(_, end)| *end < first)..).unwrap_or_default();
            let mut from = Some(first);
            for (cut_first, cut_last) in cuts.iter().take_while(|(start, _)| *start <= last) {
                let before = Uid::new(cut_first.get() - 1);
                left.extend(from.zip(before).filter(|(from, before)| from <= before));
                from = cut_last.next();
            }
            left.extend(from.filter(|from| *from <= last).map(|from| (from, last)));
        }
        Self(left)
    }

    /// Every UID, in ascending order. May be four billion: intersect with what exists first.
    pub fn iter(&self) -> impl Iterator<Item = Uid> + '_ {
        let numbers = |&(a, b): &(Uid, Uid)| -> RangeInclusive<u32> { a.get()..=b.get() };
        self.0.iter().flat_map(numbers).filter_map(Uid::new)
    }
}

impl FromIterator<Uid> for UidSet {
    fn from_iter<I: IntoIterator<Item = Uid>>(uids: I) -> Self {
        let mut uids: Vec<Uid> = uids.into_iter().collect();
        uids.sort_unstable();
        let mut set = Self::default();
        for uid in uids {
            set.push_range(uid, uid);
        }
        set
    }
}

/// `1:3,9`
impl fmt::Display for UidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (first, last)) in self.0.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}:{last}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid(n: u32) -> Uid {
        Uid::new(n).unwrap()
    }

    #[test]
    fn ranges_merge() {
        #[track_caller]
        fn check(ranges: &[(u32, u32)], expect: &str) {
            let set = UidSet::from_ranges(ranges.iter().map(|&(a, b)| (uid(a), uid(b))));
            assert_eq!(set.to_string(), expect);
        }
        check(&[], "");
        check(&[(5, 3), (1, 1), (2, 2)], "1:5");
        check(&[(9, 9), (1, 4), (2, 3)], "1:4,9");
        check(&[(1, u32::MAX), (u32::MAX, 7)], "1:4294967295");
    }

    #[test]
    fn insert_and_contains() {
        let mut set = UidSet::new();
        for n in [9, 1, 3, 2, 3] {
            set.insert(uid(n));
        }
        assert_eq!(set.to_string(), "1:3,9");
        assert_eq!(set.len(), 4);
        assert!(set.contains(uid(2)) && !set.contains(uid(4)) && !set.contains(uid(10)));
        assert_eq!(set.iter().map(Uid::get).collect::<Vec<_>>(), [1, 2, 3, 9]);
        assert!(UidSet::all().contains(Uid::MAX));
    }

    #[test]
    fn with_and_without() {
        #[track_caller]
        fn check(a: &[(u32, u32)], b: &[(u32, u32)], with: &str, without: &str) {
            let set = |ranges: &[(u32, u32)]| {
                let uid = |n| Uid::new(n).unwrap();
                UidSet::from_ranges(ranges.iter().map(|(a, b)| (uid(*a), uid(*b))))
            };
            let (a, b) = (set(a), set(b));
            assert_eq!(a.with(&b).to_string(), with);
            assert_eq!(a.without(&b).to_string(), without);
        }
        check(&[], &[(1, 2)], "1:2", "");
        check(&[(1, 9)], &[], "1:9", "1:9");
        check(&[(1, 9)], &[(3, 4), (7, 7)], "1:9", "1:2,5:6,8:9");
        check(&[(3, 4), (6, 8)], &[(1, 6)], "1:8", "7:8");
        check(&[(2, 3), (5, 6)], &[(1, 9)], "1:9", "");
        check(&[(1, u32::MAX)], &[(5, u32::MAX)], "1:4294967295", "1:4");
        check(&[(4, 4)], &[(3, 3), (5, 5)], "3:5", "4");
    }
}
