//! Naive Bayes over words, combined as Robinson and Fisher did: how often a word stood in spam and in other letters
//! gives a probability; those that say something are combined with chi-square.

use super::Class;
use super::hash::SLOTS;
use std::sync::atomic::{AtomicU32, Ordering};

/// How much a word that was never seen is believed, and how it leans.
const STRENGTH: f32 = 0.0178;
const LEANING: f32 = 0.52;
/// Words nearer to 0.5 say nothing.
const DEVIATION: f32 = 0.46;
/// From so many letters of a class on all counts are halved: what is long ago counts less, and 16 bits are enough.
const LETTERS: u32 = 60_000;

/// For each slot the letters it was in: other ones in the upper 16 bits, spam in the lower.
pub(super) struct Bayes {
    counts: Vec<AtomicU32>,
    /// Letters, by class.
    letters: [AtomicU32; 2],
}

impl Bayes {
    pub(super) fn new() -> Self {
        let counts = std::iter::repeat_with(AtomicU32::default).take(SLOTS).collect();
        Self { counts, letters: Default::default() }
    }

    fn letters(&self, class: Class) -> f32 {
        let [ham, spam] = &self.letters;
        let letters = if class == Class::Spam { spam } else { ham };
        // Below 2^24, so exact.
        #[expect(clippy::cast_precision_loss, reason = "at most LETTERS")]
        let letters = letters.load(Ordering::Relaxed) as f32;
        letters.max(1.0)
    }

    /// How much the word leans to spam, 0 to 1; `None`: it was never seen.
    pub(super) fn word(&self, slot: u32) -> Option<f32> {
        let count = self.counts.get(slot as usize)?.load(Ordering::Relaxed);
        lean(count, self.letters(Class::Ham), self.letters(Class::Spam))
    }

    /// From -2.4, not spam, to 2.4.
    pub(super) fn score<'a>(&self, slots: impl Iterator<Item = &'a u32>) -> f32 {
        let (hams, spams) = (self.letters(Class::Ham), self.letters(Class::Spam));
        let (mut ham, mut spam, mut words) = (0.0_f64, 0.0_f64, 0.0_f64);
        for slot in slots {
            let Some(count) = self.counts.get(*slot as usize) else { continue };
            let Some(lean) = lean(count.load(Ordering::Relaxed), hams, spams) else { continue };
            if (lean - 0.5).abs() >= DEVIATION {
                spam += f64::from(lean).ln();
                ham += f64::from(1.0 - lean).ln();
                words += 1.0;
            }
        }
        if words == 0.0 {
            return 0.0;
        }
        let (spam, ham) = (deviate(-2.0 * spam, 2.0 * words), deviate(-2.0 * ham, 2.0 * words));
        let further = ((ham - spam) * 0.7).clamp(-20.0, 20.0);
        // Past what a probability can tell apart, the deviates still can.
        #[expect(clippy::cast_possible_truncation, reason = "of -2.4 to 2.4 a few digits matter")]
        let score = (2.0 * (upper_tail(spam) - upper_tail(ham)) + 0.02 * further) as f32;
        score
    }

    pub(super) fn learn<'a>(&self, slots: impl Iterator<Item = &'a u32>, class: Class) {
        let one = one(class);
        for slot in slots {
            if let Some(count) = self.counts.get(*slot as usize) {
                count.fetch_add(one, Ordering::Relaxed);
            }
        }
        let [ham, spam] = &self.letters;
        let letters = if class == Class::Spam { spam } else { ham };
        if letters.fetch_add(1, Ordering::Relaxed) + 1 >= LETTERS {
            self.halve();
        }
    }

    /// What was learned of this letter is taken back.
    pub(super) fn unlearn<'a>(&self, slots: impl Iterator<Item = &'a u32>, class: Class) {
        let one = one(class);
        let is_there =
            |count: u32| if class == Class::Spam { count & 0xffff != 0 } else { count >> 16 != 0 };
        for slot in slots {
            if let Some(count) = self.counts.get(*slot as usize)
                && is_there(count.load(Ordering::Relaxed))
            {
                count.fetch_sub(one, Ordering::Relaxed);
            }
        }
        let [ham, spam] = &self.letters;
        let letters = if class == Class::Spam { spam } else { ham };
        if letters.load(Ordering::Relaxed) > 0 {
            letters.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn halve(&self) {
        for count in &self.counts {
            let old = count.load(Ordering::Relaxed);
            count.store((old >> 1) & 0x7fff_7fff, Ordering::Relaxed);
        }
        for letters in &self.letters {
            letters.store(letters.load(Ordering::Relaxed) / 2, Ordering::Relaxed);
        }
    }

    pub(super) fn numbers(&self) -> impl Iterator<Item = &AtomicU32> {
        self.letters.iter().chain(&self.counts)
    }
}

fn one(class: Class) -> u32 {
    if class == Class::Spam { 1 } else { 1 << 16 }
}

fn lean(count: u32, hams: f32, spams: f32) -> Option<f32> {
    if count == 0 {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "16 bits each")]
    let (ham, spam) = ((count >> 16) as f32, (count & 0xffff) as f32);
    let (in_ham, in_spam) = (ham / hams, spam / spams);
    let seen = ham + spam;
    Some((STRENGTH * LEANING + seen * in_spam / (in_spam + in_ham)) / (STRENGTH + seen))
}

/// How far a sum of squares is out, in standard deviations (Wilson and Hilferty, 1931).
fn deviate(chi_square: f64, freedom: f64) -> f64 {
    let ninth = 2.0 / (9.0 * freedom);
    ((chi_square / freedom).cbrt() - (1.0 - ninth)) / ninth.sqrt()
}

/// Of the normal distribution (Abramowitz and Stegun, 26.2.17).
fn upper_tail(deviate: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * deviate.abs());
    let polynomial = t
        * (0.319_381_53
            + t * (-0.356_563_782
                + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    let tail = 0.398_942_280_4 * (-deviate * deviate / 2.0).exp() * polynomial;
    if deviate >= 0.0 { tail } else { 1.0 - tail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn learns_and_forgets() {
        let bayes = Bayes::new();
        let (spam, ham, both) = ([1, 2, 3], [4, 5, 6], [7]);
        for _ in 0..20 {
            bayes.learn(spam.iter().chain(&both), Class::Spam);
            bayes.learn(ham.iter().chain(&both), Class::Ham);
        }
        assert!(bayes.score(spam.iter()) > 1.5 && bayes.score(ham.iter()) < -1.5);
        assert!(bayes.score(both.iter()) == 0.0 && bayes.score([9].iter()) == 0.0);
        for _ in 0..20 {
            bayes.unlearn(spam.iter().chain(&both), Class::Spam);
            bayes.unlearn(ham.iter().chain(&both), Class::Ham);
        }
        assert!(bayes.numbers().all(|number| number.load(Ordering::Relaxed) == 0));
        bayes.unlearn(spam.iter(), Class::Spam);
        assert!(bayes.numbers().all(|number| number.load(Ordering::Relaxed) == 0));
    }

    #[test]
    fn counts_never_overflow() {
        let bayes = Bayes::new();
        for _ in 0..LETTERS + 5 {
            bayes.learn([1].iter(), Class::Spam);
        }
        assert_eq!(bayes.counts[1].load(Ordering::Relaxed), LETTERS / 2 + 5);
        assert!(bayes.score([1].iter()) > 1.0);
    }

    #[test]
    fn distributions() {
        assert!((upper_tail(0.0) - 0.5).abs() < 1e-6 && (upper_tail(1.96) - 0.025).abs() < 1e-4);
        // The 95 % point of chi-square with 10 degrees of freedom is 18.307.
        assert!((upper_tail(deviate(18.307, 10.0)) - 0.05).abs() < 2e-3);
    }
}
