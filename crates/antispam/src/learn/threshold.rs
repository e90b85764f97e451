//! From which score on a letter is spam: so that of a thousand others one is taken for it.
//!
//! Only scores of letters that were not spam are needed, each from before it was learned. The upper end of their
//! distribution falls about exponentially: the mean of the top 2 % beyond the score where these begin tells how fast.

use std::collections::VecDeque;

/// Scores that are remembered: as mail changes, so does the threshold.
const SCORES: usize = 10_000;
/// Fewer tell nothing.
const ENOUGH: usize = 50;
const TAIL: f64 = 0.02;
const TAIL_LEAST: usize = 8;
/// The tail is lighter than exponential: aimed at so much more, the wish is met.
const AIM: f64 = 1.5;

#[derive(Debug, Clone, Default)]
pub(super) struct HamScores {
    by_age: VecDeque<f32>,
    sorted: Vec<f32>,
}

impl HamScores {
    pub(super) fn add(&mut self, score: f32) {
        if !score.is_finite() {
            return;
        }
        if self.by_age.len() >= SCORES
            && let Some(oldest) = self.by_age.pop_front()
        {
            let at = self.sorted.partition_point(|other| *other < oldest);
            self.sorted.remove(at.min(self.sorted.len() - 1));
        }
        self.by_age.push_back(score);
        let at = self.sorted.partition_point(|other| *other < score);
        self.sorted.insert(at, score);
    }

    /// Above this is spam, for a wanted share of false alarms. `None`: too few are known.
    #[expect(clippy::cast_precision_loss, reason = "at most SCORES")]
    pub(super) fn threshold(&self, false_positives: f64) -> Option<f32> {
        let count = self.sorted.len();
        if count < ENOUGH {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of count"
        )]
        let tail = ((TAIL * count as f64) as usize).max(TAIL_LEAST);
        let begin = f64::from(*self.sorted.get(count - 1 - tail)?);
        let top = self.sorted.get(count - tail..)?.iter();
        let mean = top.map(|score| f64::from(*score) - begin).sum::<f64>() / tail as f64;
        let share = tail as f64 / count as f64;
        #[expect(clippy::cast_possible_truncation, reason = "a few digits matter")]
        let threshold = (begin + mean * (share / (AIM * false_positives)).ln()) as f32;
        Some(threshold)
    }

    /// The oldest first.
    pub(super) fn scores(&self) -> impl ExactSizeIterator<Item = f32> {
        self.by_age.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_exponential_tail_few_are_above() {
        let mut hams = HamScores::default();
        assert_eq!(hams.threshold(0.001), None);
        let mut state = 1_u64;
        let mut draw = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let uniform =
                (f32::from(u16::try_from(state >> 48).unwrap()) * 256.0 + 0.5) / 16_777_216.0;
            -uniform.ln()
        };
        for _ in 0..30_000 {
            hams.add(draw());
        }
        assert_eq!(hams.sorted.len(), SCORES);
        let threshold = hams.threshold(0.001).unwrap();
        let above = (0..100_000).filter(|_| draw() > threshold).count();
        assert!((60..300).contains(&above), "{above} of 100,000 above {threshold}");
        hams.add(f32::NAN);
        assert!(hams.sorted.is_sorted() && hams.sorted.len() == hams.by_age.len());
    }
}
