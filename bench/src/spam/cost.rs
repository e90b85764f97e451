//! What a decision takes: time of one letter, and memory of all that was learned.

use super::corpus::Sample;
use antispam::{Evidence, Facts, Features, Model, Thresholds};
use anyhow::{Context as _, Result};
use mparser::Message;
use std::hint::black_box;
use std::time::Instant;

/// Of so many passes over the corpus the fastest counts for each letter: others want the cores, too.
const PASSES: usize = 5;

/// Microseconds of each letter, sorted.
pub(super) struct Times(Vec<f64>);

impl Times {
    fn of(mut fastest: Vec<f64>) -> Self {
        fastest.sort_by(f64::total_cmp);
        Self(fastest)
    }

    /// `share` in thousandths of the letters take less.
    pub(super) fn at(&self, share: usize) -> f64 {
        let place = (self.0.len() * share / 1000).min(self.0.len().saturating_sub(1));
        self.0.get(place).copied().unwrap_or(f64::NAN)
    }
}

/// The parse is done before; the rest in its steps.
pub(super) struct Cost {
    /// Everything: text decoded and gathered, rules, learner, campaigns, the verdict.
    pub(super) decision: Times,
    pub(super) gather: Times,
    pub(super) features: Times,
    pub(super) opinion: Times,
    /// CPU of the process for one decision, on average.
    pub(super) cpu_us: f64,
    /// Of the parse before it.
    pub(super) parse_us: f64,
}

pub(super) fn measure(model: &Model, samples: &[Sample]) -> Result<Cost> {
    let before = crate::cpu::used_ms(std::process::id())?;
    for _ in 0..PASSES {
        for sample in samples {
            drop(black_box(Message::parse(&sample.raw)));
        }
    }
    let parse_ms = crate::cpu::used_ms(std::process::id())? - before;
    let messages: Vec<Message<'_>> =
        samples.iter().map(|sample| Message::parse(&sample.raw)).collect();
    let thresholds = Thresholds::default();
    let evidence = Evidence::default();
    let decision = |message: &Message<'_>| {
        let facts = Facts::gather(message, &evidence);
        black_box(model.judge(&facts, &thresholds).verdict(&thresholds));
    };
    let before = crate::cpu::used_ms(std::process::id())?;
    let all = fastest(&messages, |message| {
        let start = Instant::now();
        decision(message);
        [us(start), 0.0, 0.0]
    });
    let used_ms = crate::cpu::used_ms(std::process::id())? - before;
    let steps = fastest(&messages, |message| {
        let start = Instant::now();
        let facts = black_box(Facts::gather(message, &evidence));
        let gather = us(start);
        let start = Instant::now();
        let features = black_box(Features::of(&facts, &[]));
        let of = us(start);
        let start = Instant::now();
        black_box(model.learner.opinion(&features));
        [gather, of, us(start)]
    });
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let decisions = (messages.len() * PASSES) as f64;
    let column = |rows: &[[f64; 3]], column: fn(&[f64; 3]) -> f64| {
        Times::of(rows.iter().map(column).collect())
    };
    Ok(Cost {
        decision: column(&all, |[first, ..]| *first),
        gather: column(&steps, |[gather, ..]| *gather),
        features: column(&steps, |[_, features, _]| *features),
        opinion: column(&steps, |[.., opinion]| *opinion),
        cpu_us: used_ms * 1000.0 / decisions,
        parse_us: parse_ms * 1000.0 / decisions,
    })
}

fn fastest(
    messages: &[Message<'_>],
    mut run: impl FnMut(&Message<'_>) -> [f64; 3],
) -> Vec<[f64; 3]> {
    let mut rows = vec![[f64::INFINITY; 3]; messages.len()];
    for _ in 0..PASSES {
        for (row, message) in rows.iter_mut().zip(messages) {
            for (least, now) in row.iter_mut().zip(run(message)) {
                *least = least.min(now);
            }
        }
    }
    rows
}

fn us(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e6
}

/// Of this process, in MB.
pub(super) fn memory_mb() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kb = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    Ok(kb.context("no VmRSS in /proc/self/status")? / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        let times = Times::of(vec![3.0, 1.0, 2.0]);
        assert!((times.at(500) - 2.0).abs() < 1e-9 && (times.at(990) - 3.0).abs() < 1e-9);
        assert!(Times::of(Vec::new()).at(500).is_nan());
        assert!(memory_mb().unwrap() > 1.0);
    }
}
