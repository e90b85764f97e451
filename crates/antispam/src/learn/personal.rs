//! What one person taught for himself: a small table beside the large one, which only learns what that one did not know.

use super::features::{SHAPE, TOKENS};
use super::linear::share;
use super::{Class, Features, back, temper};

const BITS: u32 = 12;
const SLOTS: usize = 1 << BITS;
const RATE: f32 = 0.3;
const EPSILON: f32 = 1e-5;
/// As the large learner's.
const PART: f32 = 8.0;
const MOST: f32 = 4.0;
/// With so many lessons it counts 0.7 of what it will.
const TEMPER: f32 = 8.0;
const MAGIC: &[u8] = b"OPOWN1";

/// 32 KB for each account that teaches.
#[derive(Debug, Clone, PartialEq)]
pub struct Personal {
    weights: Vec<f32>,
    squares: Vec<f32>,
    lessons: u32,
}

impl Default for Personal {
    fn default() -> Self {
        Self::new()
    }
}

impl Personal {
    pub fn new() -> Self {
        Self { weights: vec![0.0; SLOTS], squares: vec![0.0; SLOTS], lessons: 0 }
    }

    pub fn lessons(&self) -> u32 {
        self.lessons
    }

    /// To be added to [`super::Opinion::logit`].
    pub fn opinion(&self, features: &Features) -> f32 {
        (self.score(features) / PART).clamp(-MOST, MOST) * temper(self.lessons, TEMPER)
    }

    fn score(&self, features: &Features) -> f32 {
        let weight = |slot: &u32| self.weights.get(small(*slot)).copied().unwrap_or_default();
        views(features).map(|view| share(view) * view.iter().map(weight).sum::<f32>()).sum()
    }

    /// `known` is what the large learner thought: the less it knew, the more is learned here.
    pub fn learn(&mut self, features: &Features, class: Class, known: f32) {
        let sign = if class == Class::Spam { 1.0 } else { -1.0 };
        let score = self.score(features) + known * PART;
        self.push(features, sign / (1.0 + (sign * score).exp()));
        self.lessons = self.lessons.saturating_add(1);
    }

    pub fn unlearn(&mut self, features: &Features, class: Class) {
        self.push(features, back(class));
        self.lessons = self.lessons.saturating_sub(1);
    }

    fn push(&mut self, features: &Features, gradient: f32) {
        for view in views(features) {
            let gradient = gradient * share(view);
            for slot in view.iter().map(|slot| small(*slot)) {
                if let (Some(weight), Some(square)) =
                    (self.weights.get_mut(slot), self.squares.get_mut(slot))
                {
                    *square += gradient * gradient;
                    *weight += RATE * gradient / (square.sqrt() + EPSILON);
                }
            }
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&self.lessons.to_le_bytes());
        for number in self.weights.iter().chain(&self.squares) {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out
    }

    /// `None`: damaged.
    pub fn decode(saved: &[u8]) -> Option<Self> {
        let (lessons, numbers) = saved.strip_prefix(MAGIC)?.split_first_chunk::<4>()?;
        let (numbers, rest) = numbers.as_chunks::<4>();
        let numbers: Vec<f32> = numbers.iter().map(|number| f32::from_le_bytes(*number)).collect();
        let sound = rest.is_empty()
            && numbers.len() == 2 * SLOTS
            && numbers.iter().all(|number| number.is_finite());
        let (weights, squares) = sound.then(|| numbers.split_at(SLOTS))?;
        Some(Self {
            weights: weights.to_vec(),
            squares: squares.iter().map(|square| square.max(0.0)).collect(),
            lessons: u32::from_le_bytes(*lessons),
        })
    }
}

/// Bytes that follow each other are too many for so small a table.
fn views(features: &Features) -> impl Iterator<Item = &Vec<u32>> {
    features.views.iter().skip(1).take(TOKENS - 1)
}

const _: () = assert!(SHAPE < TOKENS, "words and shape come before the tokens");

fn small(slot: u32) -> usize {
    (slot >> (super::hash::BITS - BITS)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_lesson_moves_the_same_letter_most() {
        let features = |text: &str| {
            let raw = format!("From: news@shop.test\r\nSubject: {text}\r\n\r\n{text}\r\n");
            Features::of_letter(&mparser::Message::parse(raw.as_bytes()))
        };
        let mut own = Personal::new();
        let (spam, other) = (features("offers of the week"), features("a quite different story"));
        own.learn(&spam, Class::Spam, -1.0);
        let taught = own.opinion(&spam);
        assert!(own.opinion(&spam) > 0.05 && own.opinion(&other) < own.opinion(&spam));
        let saved = own.encode();
        assert!(saved.len() < 48 * 1024);
        assert_eq!(Personal::decode(&saved).as_ref(), Some(&own));
        for damaged in [&saved[..saved.len() - 1], &saved[..20], &saved[1..], &[]] {
            assert!(Personal::decode(damaged).is_none());
        }
        own.unlearn(&spam, Class::Spam);
        own.learn(&spam, Class::Ham, -1.0);
        assert!(own.opinion(&spam) < taught / 2.0);
    }
}
