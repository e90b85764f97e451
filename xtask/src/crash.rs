//! `cargo xtask crash`: a mail store killed with signal 9 in the middle of its work, again and again.
//!
//! The same loop that runs 20 rounds in `./test.sh`, `crates/storage/tests/it/kill.rs`. It says every ten rounds how
//! far it is, and a failing round by its seed; then the folder is kept. `docs/ops/durability.md` has the last long run.

use crate::spawn;
use anyhow::{Context as _, Result, bail};

const ROUNDS: u64 = 500;
const TEST: &str = "kill::killed_again_and_again_nothing_acknowledged_is_lost";

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let (rounds, seed) = parse(arguments)?;
    let mut cargo = spawn::cargo();
    cargo.args(["test", "--quiet", "-p", "storage", "--test", "it", "--"]);
    cargo.args(["--exact", TEST, "--nocapture"]);
    cargo.env("CRASH_ROUNDS", rounds.to_string()).env("CRASH_SEED", seed.to_string());
    spawn::run("the kill loop", &mut cargo)
}

/// Rounds and the first seed.
fn parse(arguments: &[String]) -> Result<(u64, u64)> {
    let (mut rounds, mut seed) = (ROUNDS, 1);
    for pair in arguments.chunks(2) {
        let number = pair.get(1).and_then(|text| text.parse().ok()).filter(|number| *number > 0);
        match (pair.first().map(String::as_str), number) {
            (Some("--rounds"), Some(number)) => rounds = number,
            (Some("--seed"), Some(number)) => seed = number,
            _ => bail!("write `cargo xtask crash [--rounds {ROUNDS}] [--seed 1]`"),
        }
    }
    seed.checked_add(rounds).context("these are more rounds than there are seeds")?;
    Ok((rounds, seed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_and_seed() {
        let check = |text: &str, expect: Option<(u64, u64)>| {
            let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            assert_eq!(parse(&words).ok(), expect, "{text}");
        };
        check("", Some((500, 1)));
        check("--rounds 20", Some((20, 1)));
        check("--seed 7 --rounds 3", Some((3, 7)));
        for bad in ["20", "--rounds", "--rounds 0", "--rounds x", "--round 5"] {
            check(bad, None);
        }
        check(&format!("--seed {}", u64::MAX), None);
    }
}
