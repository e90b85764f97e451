//! Our learner and our whole filter over the letters of a corpus.

use super::corpus::Sample;
use super::judge::Said;
use antispam::{
    Action, Class, Evidence, Facts, Features, Learner, Lesson, Model, Opinion, Thresholds,
};
use mparser::Message;

/// Of letters of which only some are labelled, each fifth is: 20 %.
pub(super) const LABELLED: usize = 5;
/// Parts in which the corpus is cut for the test of letters that were never seen, when all others were.
pub(super) const FOLDS: usize = 10;
/// A lesson a minute, from some day on.
const FIRST_LESSON_UNIX_S: i64 = 1_795_370_400;

/// What the learner sees of a letter; taken once for all orders.
pub(super) struct Seen {
    pub(super) is_spam: bool,
    features: Features,
}

/// Which classes the learner is taught.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Labels {
    All,
    Fifth,
    /// Of the others it teaches itself those which it takes for spam, or for none, with these probabilities of spam.
    Sure {
        spam: f32,
        ham: f32,
    },
}

impl Labels {
    fn class(self, place: usize, is_spam: bool, opinion: &Opinion) -> Option<Class> {
        let spam_at = match self {
            Self::All => return Some(class(is_spam)),
            _ if place.is_multiple_of(LABELLED) => return Some(class(is_spam)),
            Self::Fifth => return None,
            Self::Sure { ham, .. } if opinion.probability <= ham => return Some(Class::Ham),
            Self::Sure { spam, .. } => spam,
        };
        (opinion.probability >= spam_at).then_some(Class::Spam)
    }
}

fn class(is_spam: bool) -> Class {
    if is_spam { Class::Spam } else { Class::Ham }
}

/// `rules`: their symbols are features, too, as in the server.
pub(super) fn see(samples: &[Sample], rules: bool) -> Vec<Seen> {
    let see = |sample: &Sample| {
        let message = Message::parse(&sample.raw);
        let evidence = Evidence::default();
        let facts = Facts::gather(&message, &evidence);
        let none = if rules { None } else { Some(&[][..]) };
        Seen { is_spam: sample.is_spam, features: antispam::lesson_features(&facts, none) }
    };
    samples.iter().map(see).collect()
}

fn said(is_spam: bool, opinion: &Opinion) -> Said {
    Said { is_spam, called_spam: opinion.margin > 0.0, score: f64::from(opinion.logit) }
}

/// Each letter is judged, then taught.
pub(super) fn online(order: &[&Seen], labels: Labels) -> Vec<Said> {
    let learner = Learner::new();
    let judge = |(place, seen): (usize, &&Seen)| {
        let opinion = learner.opinion(&seen.features);
        if let Some(class) = labels.class(place, seen.is_spam, &opinion) {
            learner.learn(&seen.features, class);
        }
        said(seen.is_spam, &opinion)
    };
    order.iter().enumerate().map(judge).collect()
}

/// Each tenth is judged by a learner that was taught all the others.
pub(super) fn folds(order: &[&Seen]) -> Vec<Said> {
    let mut run = Vec::with_capacity(order.len());
    for fold in 0..FOLDS {
        let learner = Learner::new();
        for (place, seen) in order.iter().enumerate() {
            if place % FOLDS != fold {
                learner.learn(&seen.features, class(seen.is_spam));
            }
        }
        let judged = order.iter().skip(fold).step_by(FOLDS);
        run.extend(judged.map(|seen| said(seen.is_spam, &learner.opinion(&seen.features))));
    }
    run
}

/// The whole filter: rules, learner and campaigns; Junk is what it does by default.
pub(super) fn whole(order: &[&Sample]) -> (Model, Vec<Said>) {
    let model = Model::new();
    let thresholds = Thresholds::default();
    let mut run = Vec::with_capacity(order.len());
    for (letter, sample) in (0_u64..).zip(order) {
        let now_unix_s = FIRST_LESSON_UNIX_S + i64::try_from(letter).unwrap_or_default() * 60;
        let message = Message::parse(&sample.raw);
        let evidence = Evidence { now_unix_s, ..Evidence::default() };
        let judged = model.judge(&Facts::gather(&message, &evidence), &thresholds);
        let verdict = judged.verdict(&thresholds);
        run.push(Said {
            is_spam: sample.is_spam,
            called_spam: verdict.action != Action::Accept,
            score: f64::from(verdict.score),
        });
        let lesson = Lesson {
            letter,
            account: 0,
            class: Some(class(sample.is_spam)),
            at_unix_s: now_unix_s,
            features: judged.features,
            sketch: judged.sketch,
        };
        model.apply(&lesson);
    }
    (model, run)
}
