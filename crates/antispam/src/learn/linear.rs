//! Logistic regression with `AdaGrad`: every feature has a weight, and steps that get smaller the more it was seen, so that
//! rare features, which tell most, move far at once (Duchi, Hazan and Singer, 2011).

use super::Class;
use super::features::{Features, TOKENS};
use super::hash::SLOTS;
use std::sync::atomic::{AtomicU32, Ordering};

const RATE: f32 = 0.3;
/// Under the root, so that the first step is bounded; small: rare features take large steps.
const EPSILON: f32 = 1e-5;
/// What the constant feature counts, and its steps.
const BIAS: f32 = 0.3;
const BIAS_STEP: f32 = 0.015;

/// Readers see a weight before or after a step, never half of one; nobody waits.
pub(super) struct Linear {
    weights: Vec<AtomicU32>,
    /// Sums of squared gradients.
    squares: Vec<AtomicU32>,
    bias: AtomicU32,
}

pub(super) fn load(number: &AtomicU32) -> f32 {
    f32::from_bits(number.load(Ordering::Relaxed))
}

pub(super) fn store(number: &AtomicU32, value: f32) {
    number.store(value.to_bits(), Ordering::Relaxed);
}

/// Each view counts as much as another, whatever its size: inputs of unit length.
pub(super) fn share(slots: &[u32]) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let count = slots.len().max(1) as f32;
    1.0 / (3.0 * count).sqrt()
}

impl Linear {
    pub(super) fn new() -> Self {
        let table = || std::iter::repeat_with(AtomicU32::default).take(SLOTS).collect();
        Self { weights: table(), squares: table(), bias: AtomicU32::default() }
    }

    /// The logit; about -40 to 40 for letters like those it has learned.
    pub(super) fn score(&self, features: &Features) -> f32 {
        let views = features.views.iter().take(TOKENS);
        let weight = |slot: &u32| self.weights.get(*slot as usize).map_or(0.0, load);
        let sums = views.map(|view| share(view) * view.iter().map(weight).sum::<f32>());
        sums.sum::<f32>() + BIAS * load(&self.bias)
    }

    /// One step towards the class, the larger the more the score was wrong.
    pub(super) fn step(&self, features: &Features, class: Class) {
        let sign = if class == Class::Spam { 1.0 } else { -1.0 };
        self.push(features, sign / (1.0 + (sign * self.score(features)).exp()));
    }

    /// A step of this size, from -1 to 1.
    pub(super) fn push(&self, features: &Features, gradient: f32) {
        store(&self.bias, load(&self.bias) + BIAS_STEP * gradient);
        for view in features.views.iter().take(TOKENS) {
            let gradient = gradient * share(view);
            for slot in view {
                let slot = *slot as usize;
                if let (Some(weight), Some(square)) =
                    (self.weights.get(slot), self.squares.get(slot))
                {
                    let sum = load(square) + gradient * gradient;
                    store(square, sum);
                    store(weight, load(weight) + RATE * gradient / (sum.sqrt() + EPSILON));
                }
            }
        }
    }

    pub(super) fn numbers(&self) -> impl Iterator<Item = &AtomicU32> {
        std::iter::once(&self.bias).chain(&self.weights).chain(&self.squares)
    }
}
