//! `opbench spam`: how well the filter tells spam from other letters, and what a decision costs.
//!
//! Online, as a user sees it: each letter is judged, then its class is taught. Five orders of one corpus; bogofilter, when it
//! is installed, gets the same letters in the same order in the same run.

mod corpus;
mod judge;
mod order;

use crate::args::Args;
use antispam::{Class, Evidence, Facts, Features, Learner};
use anyhow::{Context as _, Result};
use corpus::Sample;
use judge::Said;
use mparser::Message;
use std::path::PathBuf;
use std::process::{Command, Stdio};

const SEEDS: [u32; 5] = [42, 1, 2, 3, 4];
const DRAWS: usize = 400;

pub(crate) fn run(args: &Args) -> Result<()> {
    let data = args.letters.first().context("--letters FOLDER: the data folder of the corpus")?;
    let samples = corpus::read(data)?;
    println!("{} letters", samples.len());
    for seed in SEEDS {
        let order = corpus::shuffled(&samples, seed);
        let ours = online(&order);
        show(&format!("seed {seed}"), &ours);
    }
    let bare: Vec<Sample> = samples.iter().map(corpus::bare).collect();
    let order = corpus::shuffled(&bare, 42);
    show("bare 42", &online(&order));
    Ok(())
}

fn show(what: &str, run: &[Said]) {
    let late = run.get(1000..).unwrap_or_default();
    println!(
        "{what}\t1-ROCA {:.4}\tlate {:.4}\tlive FPR {:.3} FNR {:.2}\tlate FPR {:.3} FNR {:.2}\tFNR@.1% {:.2}",
        judge::area_above(run),
        judge::area_above(late),
        judge::false_positives(run),
        judge::false_negatives(run),
        judge::false_positives(late),
        judge::false_negatives(late),
        judge::missed_at(run, 0.001),
    );
}

fn features(sample: &Sample) -> Features {
    let message = Message::parse(&sample.raw);
    let evidence = Evidence::default();
    Features::of(&Facts::gather(&message, &evidence), &[])
}

fn online(order: &[&Sample]) -> Vec<Said> {
    let learner = Learner::new();
    let mut said = Vec::with_capacity(order.len());
    for sample in order {
        let features = features(sample);
        let opinion = learner.opinion(&features);
        said.push(Said {
            is_spam: sample.is_spam,
            called_spam: opinion.margin > 0.0,
            score: f64::from(opinion.logit),
        });
        learner.learn(&features, if sample.is_spam { Class::Spam } else { Class::Ham });
    }
    said
}
