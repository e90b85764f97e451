//! How the rules do on folders of letters, one letter a file:
//! `cargo run --release -p antispam --example corpus -- ham/ spam/`. Prints Junk and Refuse of each folder, how often
//! each rule hit, and the time of a letter with and without its parse.
#![expect(clippy::print_stdout, reason = "a report")]

use antispam::{Action, Evidence, RULES, Thresholds, score};
use mparser::Message;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

fn main() -> std::io::Result<()> {
    for folder in std::env::args().skip(1) {
        report(&folder)?;
    }
    Ok(())
}

fn report(folder: &str) -> std::io::Result<()> {
    let (mut letters, mut junk, mut refused) = (0_u32, 0_u32, 0_u32);
    let (mut parsing, mut scoring) = (Duration::ZERO, Duration::ZERO);
    let mut hits: BTreeMap<String, u32> = RULES.iter().map(|r| (r.symbol.to_owned(), 0)).collect();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let raw = std::fs::read(&path)?;
        let start = Instant::now();
        let message = Message::parse(&raw);
        let parsed = Instant::now();
        let verdict = score(&message, &Evidence::default(), &Thresholds::default());
        scoring += parsed.elapsed();
        parsing += parsed - start;
        letters += 1;
        junk += u32::from(verdict.action != Action::Accept);
        refused += u32::from(verdict.action == Action::Refuse);
        if verdict.action != Action::Accept {
            println!("{}: {}", path.display(), verdict.header_value());
        }
        for hit in verdict.symbols {
            *hits.entry(hit.symbol.into_owned()).or_default() += 1;
        }
    }
    let share = |n: u32| f64::from(n) * 100.0 / f64::from(letters.max(1));
    println!(
        "{folder}: {letters} letters, junk {junk} ({:.2} %), of them refused {refused}",
        share(junk)
    );
    println!(
        "  parse {:?}, score {:?} a letter",
        parsing / letters.max(1),
        scoring / letters.max(1)
    );
    for (symbol, count) in hits {
        println!("  {symbol:<24} {count:>6} {:>6.2} %", share(count));
    }
    Ok(())
}
