//! Medians with their spread, and ratios of what was measured in the same round.

use std::fmt;

/// What several rounds gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of the values of all rounds; an even number of them has the lower of the two in the middle.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let median = *sorted.get(sorted.len().checked_sub(1)? / 2)?;
        Some(Self { median, min: *sorted.first()?, max: *sorted.last()? })
    }

    /// `ours` to `theirs`, round by round: what disturbs a round disturbs both.
    pub(crate) fn of_ratios(ours: &[f64], theirs: &[f64]) -> Option<Self> {
        Self::of(ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs))
    }
}

/// `0.43 (0.40..0.51)`, with as many digits as the size deserves.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = match self.median {
            median if median < 10.0 => 2,
            median if median < 100.0 => 1,
            _ => 0,
        };
        let Self { median, min, max } = self;
        f.pad(&format!("{median:.digits$} ({min:.digits$}..{max:.digits$})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads() {
        let check = |values: &[f64], expect: &str| {
            let spread = Spread::of(values.iter().copied());
            assert_eq!(spread.map(|s| s.to_string()).unwrap_or_default(), expect);
        };
        check(&[3.0, 1.0, 2.0], "2.00 (1.00..3.00)");
        check(&[4.0, 1.0, 2.0, 30.0], "2.00 (1.00..30.00)");
        check(&[4100.4], "4100 (4100..4100)");
        check(&[12.34], "12.3 (12.3..12.3)");
        check(&[], "");
    }

    #[test]
    fn ratios_are_taken_in_each_round() {
        let spread = Spread::of_ratios(&[1.0, 20.0, 3.0], &[2.0, 20.0, 4.0]).unwrap();
        assert_eq!(spread, Spread { median: 0.75, min: 0.5, max: 1.0 });
    }
}
