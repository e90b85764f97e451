//! The learner: from letters that people called spam or not to an opinion about the next one.
//!
//! Two kinds of learner, of which each errs elsewhere: logistic regression over bytes, words and the shape of a letter
//! ([`linear`]), and naive Bayes over words ([`bayes`]), once with the shape. Their sum is tempered while little is
//! known, and measured against a threshold that follows the mail ([`threshold`]).
//!
//! ```
//! use antispam::{Class, Features, Learner};
//! let learner = Learner::new();
//! let seen = |text: &str| {
//!     let raw = format!("From: a@example.test\r\nSubject: {text}\r\n\r\n{text}\r\n");
//!     Features::of_letter(&mparser::Message::parse(raw.as_bytes()))
//! };
//! for _ in 0..20 {
//!     learner.learn(&seen("cheap pills"), Class::Spam);
//!     learner.learn(&seen("lunch at noon"), Class::Ham);
//! }
//! assert!(learner.opinion(&seen("cheap pills now")).logit > learner.opinion(&seen("lunch")).logit);
//! ```

mod bayes;
mod features;
mod hash;
mod linear;
mod personal;
mod shape;
mod threshold;
mod words;

pub use features::Features;
pub use personal::Personal;

use crate::facts::Facts;
use bayes::Bayes;
use features::{Page, SHAPE, TOKENS};
use linear::{Linear, load, store};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use threshold::HamScores;

/// What a letter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    Ham,
    Spam,
}

impl Class {
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Ham => Self::Spam,
            Self::Spam => Self::Ham,
        }
    }
}

/// The linear learner's logit is taken as an eighth of it, and as no more than this.
const LINEAR_PART: f32 = 8.0;
const LINEAR_MOST: f32 = 4.0;
const BAYES_PART: f32 = 4.0;
/// With so many lessons an opinion counts 0.7 of what it will.
const TEMPER: f32 = 200.0;
/// Letters that are not spam and may be taken for it.
const FALSE_POSITIVES: f64 = 0.001;
/// The threshold before enough is known.
const FIRST_THRESHOLD: f32 = 1.0;
/// How a score becomes a probability at first, and how fast that is corrected.
const FIRST_SLOPE: f32 = 2.0;
const SLOPE_STEP: f32 = 0.01;

/// What the learner thinks.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Opinion {
    /// Higher is more like spam; about -5 to 5.
    pub logit: f32,
    /// Above zero: spam, at one false alarm in a thousand letters.
    pub margin: f32,
    /// That it is spam, among letters like those that people taught.
    pub probability: f32,
    /// Learned so far.
    pub lessons: u32,
}

/// A word of the letter and what it says.
#[derive(Debug, Clone, PartialEq)]
pub struct Word {
    /// With its place: `Subject: cheap`.
    pub text: String,
    /// Logarithm of how many times more often it stood in spam; below zero: in other letters.
    pub weight: f32,
}

/// Everything learned from everybody: tables of a fixed 16 MB. Readers never wait; one learns at a time.
pub struct Learner {
    linear: Linear,
    tokens: Bayes,
    /// Tokens and shape.
    all: Bayes,
    lessons: AtomicU32,
    threshold: AtomicU32,
    /// Score to probability: slope and offset.
    slope: [AtomicU32; 2],
    hams: Mutex<HamScores>,
}

impl Default for Learner {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Learner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Learner").field("lessons", &self.lessons).finish_non_exhaustive()
    }
}

impl Learner {
    pub fn new() -> Self {
        let learner = Self {
            linear: Linear::new(),
            tokens: Bayes::new(),
            all: Bayes::new(),
            lessons: AtomicU32::default(),
            threshold: AtomicU32::default(),
            slope: Default::default(),
            hams: Mutex::default(),
        };
        store(&learner.threshold, FIRST_THRESHOLD);
        let [slope, _] = &learner.slope;
        store(slope, FIRST_SLOPE);
        learner
    }

    pub fn lessons(&self) -> u32 {
        self.lessons.load(Ordering::Relaxed)
    }

    /// Waits for nobody.
    pub fn opinion(&self, features: &Features) -> Opinion {
        let lessons = self.lessons();
        let linear = self.linear.score(features) / LINEAR_PART;
        let bayes = self.tokens.score(tokens(features)) + self.all.score(all(features));
        let fused = linear.clamp(-LINEAR_MOST, LINEAR_MOST) + bayes / BAYES_PART;
        self.about(fused * temper(lessons, TEMPER), lessons)
    }

    /// An opinion that is a sum of more than the tables here.
    pub(super) fn about(&self, logit: f32, lessons: u32) -> Opinion {
        let [slope, offset] = &self.slope;
        let probability = 1.0 / (1.0 + (-load(slope) * logit - load(offset)).exp());
        Opinion { logit, margin: logit - load(&self.threshold), probability, lessons }
    }

    pub fn learn(&self, features: &Features, class: Class) {
        let mut hams = self.hams.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.opinion(features);
        self.linear.step(features, class);
        self.tokens.learn(tokens(features), class);
        self.all.learn(all(features), class);
        self.lessons.fetch_add(1, Ordering::Relaxed);
        self.correct_slope(before, class);
        if class == Class::Ham {
            hams.add(before.logit);
            store(&self.threshold, hams.threshold(FALSE_POSITIVES).unwrap_or(FIRST_THRESHOLD));
        }
    }

    /// Takes back that a letter is of a class. Counts are exact; weights go a step the other way.
    pub fn unlearn(&self, features: &Features, class: Class) {
        let _one = self.hams.lock().unwrap_or_else(PoisonError::into_inner);
        self.linear.push(features, back(class));
        self.tokens.unlearn(tokens(features), class);
        self.all.unlearn(all(features), class);
        let lessons = self.lessons();
        self.lessons.store(lessons.saturating_sub(1), Ordering::Relaxed);
    }

    fn correct_slope(&self, before: Opinion, class: Class) {
        let [slope, offset] = &self.slope;
        let is_spam = if class == Class::Spam { 1.0 } else { 0.0 };
        let error = is_spam - before.probability;
        store(slope, (load(slope) + SLOPE_STEP * error * before.logit).clamp(0.1, 20.0));
        store(offset, (load(offset) + SLOPE_STEP * error).clamp(-10.0, 10.0));
    }

    /// The words that say most, those for spam and those against it, the strongest first.
    pub fn words(&self, facts: &Facts<'_>, most: usize) -> Vec<Word> {
        let page = Page::of(facts);
        let mut found: HashMap<String, f32> = HashMap::new();
        words::tokens(&page, &mut |place, word| {
            let slot = hash::slot(words::token(place, word));
            if let Some(lean) = self.tokens.word(slot).filter(|lean| (lean - 0.5).abs() > 0.3) {
                let text = format!("{}{}", place.shown(), String::from_utf8_lossy(word));
                found.insert(text, (lean / (1.0 - lean)).ln());
            }
        });
        let mut words: Vec<Word> =
            found.into_iter().map(|(text, weight)| Word { text, weight }).collect();
        words.sort_by(|a, b| {
            b.weight.abs().total_cmp(&a.weight.abs()).then_with(|| a.text.cmp(&b.text))
        });
        words.truncate(most);
        words
    }

    /// The tables as they are, 16 MB that compress well. Wait until nobody learns.
    pub fn save(&self) -> Vec<u8> {
        let hams = self.hams.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = Vec::with_capacity(17 << 20);
        out.extend_from_slice(MAGIC);
        for number in self.numbers() {
            out.extend_from_slice(&number.load(Ordering::Relaxed).to_le_bytes());
        }
        for score in hams.scores() {
            out.extend_from_slice(&score.to_le_bytes());
        }
        out
    }

    /// `None`: damaged, or of another version.
    pub fn load(saved: &[u8]) -> Option<Self> {
        let learner = Self::new();
        let mut numbers = saved.strip_prefix(MAGIC)?;
        for number in learner.numbers() {
            let (value, rest) = numbers.split_first_chunk::<4>()?;
            number.store(u32::from_le_bytes(*value), Ordering::Relaxed);
            numbers = rest;
        }
        let (scores, rest) = numbers.as_chunks::<4>();
        if !rest.is_empty() || scores.len() > 10_000 {
            return None;
        }
        let mut hams = HamScores::default();
        for score in scores {
            hams.add(f32::from_le_bytes(*score));
        }
        *learner.hams.lock().unwrap_or_else(PoisonError::into_inner) = hams;
        let floats = learner.linear.numbers().chain(&learner.slope).chain([&learner.threshold]);
        let is_sound = floats.map(load).all(f32::is_finite);
        is_sound.then_some(learner)
    }

    fn numbers(&self) -> impl Iterator<Item = &AtomicU32> {
        let tables = self.linear.numbers().chain(self.tokens.numbers()).chain(self.all.numbers());
        [&self.lessons, &self.threshold].into_iter().chain(&self.slope).chain(tables)
    }
}

const MAGIC: &[u8] = b"OPLEARN1";

/// A step away from a class: how far it had moved is not known any more, so the largest there is.
fn back(class: Class) -> f32 {
    if class == Class::Spam { -1.0 } else { 1.0 }
}

fn tokens(features: &Features) -> impl Iterator<Item = &u32> {
    features.views.iter().skip(TOKENS).take(1).flatten()
}

fn all(features: &Features) -> impl Iterator<Item = &u32> {
    features.views.iter().skip(SHAPE).take(2).flatten()
}

/// What is known little about counts little.
fn temper(lessons: u32, half: f32) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "a count")]
    let lessons = lessons as f32;
    (lessons / (lessons + half)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mparser::Message;

    fn features(text: &str) -> Features {
        let raw = format!("From: a@example.test\r\nSubject: {text}\r\n\r\n{text}\r\n");
        Features::of_letter(&Message::parse(raw.as_bytes()))
    }

    fn taught() -> Learner {
        let learner = Learner::new();
        for n in 0..80 {
            learner.learn(&features(&format!("cheap pills number {n}")), Class::Spam);
            learner.learn(&features(&format!("lunch at noon, table {n}")), Class::Ham);
        }
        learner
    }

    #[test]
    fn learns() {
        let nothing = Learner::new().opinion(&features("cheap pills"));
        assert_eq!((nothing.logit, nothing.lessons), (0.0, 0));
        let learner = taught();
        let spam = learner.opinion(&features("cheap pills for you"));
        let ham = learner.opinion(&features("is lunch at one?"));
        assert!(spam.margin > 0.0 && ham.margin < 0.0, "{spam:?} {ham:?}");
        assert!(spam.probability > 0.8 && ham.probability < 0.2, "{spam:?} {ham:?}");
    }

    #[test]
    fn what_was_taught_wrongly_can_be_taken_back() {
        let learner = taught();
        let mistake = features("minutes of the meeting");
        let before = learner.opinion(&mistake).logit;
        learner.learn(&mistake, Class::Spam);
        let taught = learner.opinion(&mistake).logit;
        learner.unlearn(&mistake, Class::Spam);
        learner.learn(&mistake, Class::Ham);
        let after = learner.opinion(&mistake).logit;
        assert!(taught > before && after < before, "{before} {taught} {after}");
        assert_eq!(learner.lessons(), 161);
    }

    #[test]
    fn the_same_lessons_make_the_same_tables() {
        let (one, two) = (taught(), taught());
        let saved = one.save();
        assert!(saved == two.save());
        let again = Learner::load(&saved).unwrap();
        let letter = features("cheap lunch");
        assert_eq!(one.opinion(&letter), again.opinion(&letter));
        assert!(again.save() == saved);
        for damaged in [&saved[..saved.len() - 2], &saved[..1000], &saved[1..], &[]] {
            assert!(Learner::load(damaged).is_none());
        }
    }

    #[test]
    fn features_are_read_back() {
        let features = features("cheap pills");
        let encoded = features.encode();
        let mut again = Features::decode(&encoded).unwrap();
        assert_eq!(again.encode(), encoded);
        let mut sorted = features;
        sorted.views.iter_mut().for_each(|view| view.sort_unstable());
        again.views.iter_mut().for_each(|view| view.sort_unstable());
        assert_eq!(again, sorted);
        for end in 0..encoded.len() {
            assert!(Features::decode(&encoded[..end]).is_none());
        }
        for (place, bits) in (0..encoded.len()).zip([1, 0x80, 0xff].into_iter().cycle()) {
            let mut damaged = encoded.clone();
            damaged[place] ^= bits;
            if let Some(features) = Features::decode(&damaged) {
                let _any = Learner::new().opinion(&features);
            }
        }
    }

    #[test]
    fn words_say_why() {
        let raw = b"Subject: cheap lunch\r\n\r\ncheap pills\r\n";
        let message = Message::parse(raw);
        let evidence = crate::Evidence::default();
        let words = taught().words(&Facts::gather(&message, &evidence), 8);
        let weight = |text: &str| words.iter().find(|word| word.text == text).unwrap().weight;
        assert!(weight("pills") > 1.0 && weight("Subject: cheap") > 1.0);
        assert!(weight("Subject: lunch") < -1.0);
    }
}
