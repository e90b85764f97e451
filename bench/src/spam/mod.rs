//! `opbench spam`: how well the filter tells spam from other letters, and what a decision costs.
//!
//! Online, as a user sees it: each letter is judged, then its class is taught. Five orders of one corpus; bogofilter and
//! Rspamd, when they are installed, get the same letters in the same order in the same run; Rspamd, which is slow, one order.

mod bogofilter;
mod corpus;
mod cost;
mod judge;
mod order;
mod ours;
mod rspamd;

use crate::args::Args;
use crate::baseline::{self, Row};
use crate::figures::Spread;
use anyhow::{Context as _, Result};
use bogofilter::Letter;
use corpus::Sample;
use cost::Cost;
use judge::Said;
use ours::{FOLDS, LABELLED, Labels};
use std::path::Path;

const SEEDS: [u32; 5] = [42, 1, 2, 3, 4];
const DRAWS: usize = 1_000;
/// Letters after which a filter is no beginner any more.
const LEARNED: usize = 1_000;
/// Of unlabelled letters those are taught to itself which are so sure: probabilities of spam from which, and up to which.
const SELF_TAUGHT: [(&str, f32, f32); 6] = [
    ("both, 0.9", 0.9, 0.1),
    ("both, 0.99", 0.99, 0.01),
    ("both, 0.999", 0.999, 0.001),
    ("spam only, 0.99", 0.99, -1.0),
    ("not spam only, 0.01", 2.0, 0.01),
    ("not spam only, 0.001", 2.0, 0.001),
];

/// What bogofilter said.
struct Peer {
    orders: Vec<Vec<Said>>,
    bare: Vec<Said>,
    fifth: Vec<Said>,
    folds: Vec<Said>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let data = args.letters.first().context("--letters FOLDER: the data folder of the corpus")?;
    let before = cost::memory_mb()?;
    let model = antispam::Model::new();
    let memory_mb = cost::memory_mb()? - before;
    drop(model);
    let samples = corpus::read(data)?;
    let bare: Vec<Sample> = samples.iter().map(corpus::bare).collect();
    println!("{} letters; each is judged, then taught.", samples.len());
    let peer = peer(&samples, &bare, &args.folder)?;
    if peer.is_none() {
        println!(
            "bogofilter is not installed, so nobody stands beside: apt-get install bogofilter"
        );
    }
    let peer = peer.as_ref();
    let rspamd = rspamd(&samples, &args.folder)?;

    let seen = ours::see(&samples, true);
    let runs = SEEDS.map(|seed| ours::online(&corpus::shuffled(&seen, seed), Labels::All));
    accuracy(&runs, peer);
    beside_rspamd(runs.first(), peer, rspamd.as_ref());
    let order = corpus::shuffled(&seen, 42);
    one("10-fold, order 42", &ours::folds(&order), peer.map(|peer| &peer.folds));
    scarce(&seen, peer);
    drop(seen);
    without_rules(&samples);
    let stripped = ours::see(&bare, true);
    let order = corpus::shuffled(&stripped, 42);
    let run = ours::online(&order, Labels::All);
    one("dates, list fields, collector's hops removed, order 42", &run, peer.map(|p| &p.bare));
    drop(stripped);
    let cost = whole(&samples, memory_mb)?;
    throughput(&samples, &cost, rspamd.as_ref(), &args.folder)?;
    if args.save {
        let path = baseline::save(&rows(&runs, peer, &cost, rspamd.as_ref()))?;
        println!("\nThe rows are added to {}.", path.display());
    }
    Ok(())
}

/// `None`: it is not installed.
fn rspamd(samples: &[Sample], folder: &Path) -> Result<Option<rspamd::Run>> {
    if !rspamd::is_installed() {
        println!("Rspamd is not there: apt-get install rspamd redis-server");
        return Ok(None);
    }
    let folder = tempfile::tempdir_in(folder)?;
    let mut rspamd = rspamd::Rspamd::start(folder.path())?;
    rspamd.online(&corpus::shuffled(samples, 42)).map(Some)
}

/// The three of them, order 42.
fn beside_rspamd(ours: Option<&Vec<Said>>, peer: Option<&Peer>, rspamd: Option<&rspamd::Run>) {
    let (Some(ours), Some(rspamd)) = (ours, rspamd) else { return };
    println!("\nOrder 42, all of one run:\n");
    println!(
        "| | 1-ROCA % | FPR | FNR | missed | ours less theirs |\n| --- | --- | --- | --- | --- | --- |"
    );
    println!("| ours, the learner | {} | |", cells(ours));
    if let Some(theirs) = peer.and_then(|peer| peer.orders.first()) {
        println!("| bogofilter | {} | {} |", cells(theirs), paired(ours, theirs));
    }
    println!("| Rspamd | {} | {} |", cells(&rspamd.said), paired(ours, &rspamd.said));
    println!("\nRspamd did not want to learn {} of {} letters.", rspamd.declined, ours.len());
}

/// CPU of a decision; each tool in the way in which it is cheapest: ours in the process, bogofilter all in one process,
/// Rspamd over one connection.
fn throughput(
    samples: &[Sample],
    cost: &Cost,
    rspamd: Option<&rspamd::Run>,
    folder: &Path,
) -> Result<()> {
    let ours_ms = cost.cpu_us / 1000.0 + cost.parse_us / 1000.0;
    println!(
        "\nCPU for a decision, with the parse:\n\n| | ms | times ours | decisions a second on two cores |\n| --- | --- | --- | --- |"
    );
    let line = |name: &str, ms: f64| {
        println!("| {name} | {ms:.3} | {:.1} | {:.0} |", ms / ours_ms, 2000.0 / ms);
    };
    line("ours, the whole filter", ours_ms);
    if bogofilter::is_installed() {
        let folder = tempfile::tempdir_in(folder)?;
        let letters = bogofilter::files(samples, &folder.path().join("letters"))?;
        line(
            "bogofilter, one process for all",
            bogofilter::bulk_cpu_ms(&letters, &folder.path().join("words"))?,
        );
    }
    if let Some(rspamd) = rspamd {
        line("Rspamd with its Redis", rspamd.judge_cpu_ms);
        println!("\nA lesson of Rspamd: {:.2} ms.", rspamd.learn_cpu_ms);
    }
    Ok(())
}

/// `None`: it is not installed. Two threads: it takes minutes.
fn peer(samples: &[Sample], bare: &[Sample], folder: &Path) -> Result<Option<Peer>> {
    if !bogofilter::is_installed() {
        return Ok(None);
    }
    let folder = tempfile::tempdir_in(folder)?;
    let letters = bogofilter::files(samples, &folder.path().join("letters"))?;
    let bare = bogofilter::files(bare, &folder.path().join("bare"))?;
    eprintln!("bogofilter: 100,000 processes, some minutes");
    let online = |letters: &[Letter], seed, name: String, every| {
        let words = folder.path().join(name);
        bogofilter::online(&corpus::shuffled(letters, seed), &words, every)
    };
    std::thread::scope(|scope| {
        let others = scope.spawn(|| -> Result<_> {
            let bare = online(&bare, 42, "words-bare".into(), 1)?;
            let fifth = online(&letters, 42, "words-fifth".into(), LABELLED)?;
            let order = corpus::shuffled(&letters, 42);
            let folds = bogofilter::folds(&order, &folder.path().join("words-folds"), FOLDS)?;
            let last = online(&letters, 4, "words-4".into(), 1)?;
            Ok((bare, fifth, folds, last))
        });
        let first = SEEDS.iter().take(SEEDS.len() - 1);
        let mut orders = first
            .map(|seed| online(&letters, *seed, format!("words-{seed}"), 1))
            .collect::<Result<Vec<_>>>()?;
        let others = others.join().map_err(|_| anyhow::anyhow!("a thread of bogofilter died"))?;
        let (bare, fifth, folds, last) = others?;
        orders.push(last);
        Ok(Some(Peer { orders, bare, fifth, folds }))
    })
}

fn accuracy(runs: &[Vec<Said>], peer: Option<&Peer>) {
    println!(
        "\nFive orders. 1-ROCA % (95 %: letters drawn 1,000 times); after the first 1,000: live"
    );
    println!(
        "false positives and missed spam %; missed at 0.1 % false positives; the same of bogofilter;"
    );
    println!("and the difference of both 1-ROCA, paired.\n");
    println!(
        "| order | 1-ROCA % | FPR | FNR | missed | bogofilter | FPR | FNR | missed | difference |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for (place, (seed, run)) in SEEDS.iter().zip(runs).enumerate() {
        let theirs = peer.and_then(|peer| peer.orders.get(place));
        let difference = theirs.map_or_else(String::new, |theirs| paired(run, theirs));
        let beside = theirs.map_or_else(|| "- | - | - | -".to_owned(), |run| cells(run));
        println!("| {seed} | {} | {beside} | {difference} |", cells(run));
    }
    let mean = |figure: fn(&[Said]) -> f64| {
        judge::mean(&runs.iter().map(|run| figure(run)).collect::<Vec<_>>())
    };
    println!(
        "\nMean: 1-ROCA {:.4} %, worst {:.4}; whole run FPR {:.3} FNR {:.2}; after 1,000 FPR {:.3} FNR {:.2}, 1-ROCA {:.4}.",
        mean(judge::area_above),
        runs.iter().map(|run| judge::area_above(run)).fold(0.0, f64::max),
        mean(judge::false_positives),
        mean(judge::false_negatives),
        mean(|run| judge::false_positives(late(run))),
        mean(|run| judge::false_negatives(late(run))),
        mean(|run| judge::area_above(late(run))),
    );
}

fn late(run: &[Said]) -> &[Said] {
    run.get(LEARNED..).unwrap_or_default()
}

fn cells(run: &[Said]) -> String {
    let (low, high) = judge::interval(&[run], DRAWS, |runs| {
        runs.first().map_or(f64::NAN, |run| judge::area_above(run))
    });
    format!(
        "{:.4} ({low:.3}..{high:.3}) | {:.3} | {:.2} | {:.2}",
        judge::area_above(run),
        judge::false_positives(late(run)),
        judge::false_negatives(late(run)),
        judge::missed_at(run, 0.001),
    )
}

fn paired(ours: &[Said], theirs: &[Said]) -> String {
    let (low, high) = judge::interval(&[ours, theirs], DRAWS, |runs| match runs {
        [ours, theirs] => judge::area_above(ours) - judge::area_above(theirs),
        _ => f64::NAN,
    });
    let difference = judge::area_above(ours) - judge::area_above(theirs);
    format!("{difference:.4} ({low:.3}..{high:.3})")
}

fn one(what: &str, run: &[Said], theirs: Option<&Vec<Said>>) {
    println!("\n{what}: 1-ROCA % | FPR late | FNR late | missed at 0.1 %");
    println!("ours: {}", cells(run));
    if let Some(theirs) = theirs {
        println!("bogofilter: {}; difference {}", cells(theirs), paired(run, theirs));
    }
}

/// Few people say what a letter is.
fn scarce(seen: &[ours::Seen], peer: Option<&Peer>) {
    let order = corpus::shuffled(seen, 42);
    let run = ours::online(&order, Labels::Fifth);
    one("20 % labelled, order 42", &run, peer.map(|peer| &peer.fifth));
    println!("\n20 % labelled, mean of five orders: 1-ROCA % | after 1,000: | FPR | FNR");
    let show = |name: &str, labels| {
        let runs = SEEDS.map(|seed| ours::online(&corpus::shuffled(seen, seed), labels));
        let mean =
            |figure: fn(&[Said]) -> f64| judge::mean(&runs.each_ref().map(|run| figure(run)));
        println!(
            "{name}: {:.4} | {:.4} | {:.3} | {:.2}",
            mean(judge::area_above),
            mean(|run| judge::area_above(late(run))),
            mean(|run| judge::false_positives(late(run))),
            mean(|run| judge::false_negatives(late(run))),
        );
    };
    show("only what is labelled", Labels::Fifth);
    for (name, spam, ham) in SELF_TAUGHT {
        show(&format!("taught itself, {name}"), Labels::Sure { spam, ham });
    }
}

fn without_rules(samples: &[Sample]) {
    let seen = ours::see(samples, false);
    let runs = SEEDS
        .map(|seed| judge::area_above(&ours::online(&corpus::shuffled(&seen, seed), Labels::All)));
    println!(
        "\nWithout symbols of rules, mean of five orders: 1-ROCA {:.4} %.",
        judge::mean(&runs)
    );
}

/// Rules, learner and campaigns together, and what they cost.
fn whole(samples: &[Sample], memory_mb: f64) -> Result<Cost> {
    println!(
        "\nThe whole filter (rules, learner, campaigns): 1-ROCA % | FPR late | FNR late | missed at 0.1 %"
    );
    let mut taught = None;
    for seed in SEEDS {
        let (model, run) = ours::whole(&corpus::shuffled(samples, seed));
        println!("order {seed}: {}", cells(&run));
        taught.get_or_insert(model);
    }
    let model = taught.unwrap_or_default();
    let cost = cost::measure(&model, samples)?;
    println!("\nA decision without the parse, us: median | p99 | most");
    let steps = [
        ("all of it", &cost.decision),
        ("text decoded, facts gathered", &cost.gather),
        ("features taken", &cost.features),
        ("opinion", &cost.opinion),
    ];
    for (name, times) in steps {
        println!("{name}: {:.0} | {:.0} | {:.0}", times.at(500), times.at(990), times.at(1000));
    }
    println!("CPU of the process for a decision, mean: {:.0} us.", cost.cpu_us);
    println!(
        "Memory of an empty model: {memory_mb:.1} MB; the tables, as saved: {:.1} MB.",
        mb(model.save().len())
    );
    if let Some(busy) = crate::cpu::busy() {
        println!("{busy}");
    }
    Ok(cost)
}

#[expect(clippy::cast_precision_loss, reason = "some megabytes")]
fn mb(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn rows(
    runs: &[Vec<Said>],
    peer: Option<&Peer>,
    cost: &Cost,
    rspamd: Option<&rspamd::Run>,
) -> Vec<Row> {
    let figures = |runs: &[Vec<Said>], figure: fn(&[Said]) -> f64| {
        runs.iter().map(|run| figure(run)).collect::<Vec<f64>>()
    };
    let against_bar = |figure: &str, found: &[f64], bar: f64, unit| {
        Some(Row {
            figure: format!("spam: {figure}"),
            value: Spread::of(found.iter().copied())?,
            unit,
            ratio: Spread::of(found.iter().map(|found| found / bar))?,
            against: "its bar",
        })
    };
    let areas = figures(runs, judge::area_above);
    let theirs = peer.map(|peer| figures(&peer.orders, judge::area_above));
    let beside = theirs.and_then(|theirs| {
        Some(Row {
            figure: "spam: 1-ROCA of five orders".to_owned(),
            value: Spread::of(areas.iter().copied())?,
            unit: "%",
            ratio: Spread::of_ratios(&areas, &theirs)?,
            against: "bogofilter 1.2.5",
        })
    });
    let late_fpr = figures(runs, |run| judge::false_positives(late(run)));
    let late_fnr = figures(runs, |run| judge::false_negatives(late(run)));
    let beside_rspamd = rspamd.and_then(|run| {
        let ours_ms = (cost.cpu_us + cost.parse_us) / 1000.0;
        Some(Row {
            figure: "spam: CPU of a decision with the parse".to_owned(),
            value: Spread::of([ours_ms])?,
            unit: "ms",
            ratio: Spread::of([ours_ms / run.judge_cpu_ms])?,
            against: "Rspamd 3.4 with Redis",
        })
    });
    let found = [
        beside,
        beside_rspamd,
        against_bar("false positives after 1,000 letters", &late_fpr, 0.1, "%"),
        against_bar("missed after 1,000 letters", &late_fnr, 5.0, "%"),
        against_bar("a decision, median", &[cost.decision.at(500)], 200.0, "us"),
        against_bar("a decision, p99", &[cost.decision.at(990)], 1000.0, "us"),
    ];
    found.into_iter().flatten().collect()
}
