//! `cargo xtask fuzz NAME SECONDS [--save]`: one target of `fuzz/` for a limited time; `all` runs one after the other.
//!
//! `fuzz/` is a workspace of its own: the sanitizers need nightly Rust, nothing else here does. `--save` writes what
//! came out to the table in `docs/fuzz.md`, a row for each target.

use crate::{hard_cases, spawn};
use anyhow::{Context as _, Result, bail, ensure};
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

/// The row of a target stands between these lines.
const BEGIN: &str = "<!-- written by `cargo xtask fuzz … --save`: begin -->";
const END: &str = "<!-- end -->";
const HEAD: &str =
    "| target | inputs | seconds | inputs kept | found | when, where |\n|---|---|---|---|---|---|";

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let (save, arguments) = match arguments {
        [rest @ .., last] if last == "--save" => (true, rest),
        all => (false, all),
    };
    let known = targets()?;
    let [name, seconds] = arguments else {
        bail!(
            "write `cargo xtask fuzz NAME SECONDS [--save]`; targets: {}, or all",
            known.join(", ")
        );
    };
    let seconds = parse_seconds(seconds)?;
    ensure!(
        name == "all" || known.contains(name),
        "there is no fuzz target `{name}` in fuzz/fuzz_targets; there is: {}",
        known.join(", ")
    );
    ensure!(
        spawn::works(spawn::program("cargo").args(["+nightly", "--version"])),
        "fuzzing needs nightly Rust beside the stable one; `rustup toolchain install nightly` brings it"
    );
    ensure!(
        spawn::works(spawn::program("cargo").args(["+nightly", "fuzz", "--version"])),
        "cargo-fuzz is missing; `cargo install cargo-fuzz --locked` brings it"
    );
    let wanted = known.iter().filter(|target| name == "all" || *target == name);
    let mut broken = Vec::new();
    for target in wanted {
        let outcome = fuzz(target, seconds)?;
        println!("{HEAD}\n{}", outcome.row(target));
        if save {
            save_row(target, &outcome.row(target))?;
        }
        if !outcome.clean {
            broken.push(target.as_str());
        }
    }
    ensure!(
        broken.is_empty(),
        "the fuzzer found something in {}; the input lies in fuzz/artifacts, what it broke stands above",
        broken.join(", ")
    );
    Ok(())
}

/// What a run came to.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    inputs: u64,
    seconds: u64,
    /// Inputs that reach something no other does.
    kept: u64,
    clean: bool,
}

impl Outcome {
    fn row(&self, target: &str) -> String {
        let Self { inputs, seconds, kept, clean } = self;
        let found = if *clean { "nothing" } else { "**a finding**" };
        format!(
            "| {target} | {inputs} | {seconds} | {kept} | {found} | {} |",
            hard_cases::machine()
        )
    }

    /// Takes what a line of libFuzzer says: `#123 NEW … corp: 45/6Kb …`, `Done 123 runs in 45 second(s)`.
    fn read(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |text: &&str| text.parse().ok();
        match words.as_slice() {
            ["Done", runs, "runs", "in", seconds, ..] => {
                self.inputs = number(runs).unwrap_or(self.inputs);
                self.seconds = number(seconds).unwrap_or_default();
            }
            [count, ..] if count.starts_with('#') => {
                self.inputs = count.trim_start_matches('#').parse().unwrap_or(self.inputs);
                let corpus = words.iter().skip_while(|word| **word != "corp:").nth(1);
                let kept = corpus.and_then(|size| size.split('/').next()?.parse().ok());
                self.kept = kept.unwrap_or(self.kept);
            }
            _ => {}
        }
    }
}

fn fuzz(name: &str, seconds: u32) -> Result<Outcome> {
    // The rustup proxy `cargo`, not the cargo that started us: only the proxy knows `+nightly`.
    let mut cargo = spawn::program("cargo");
    cargo.env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN");
    // New inputs go to the first folder; the second holds those worth starting from.
    let (corpus, seeds) = (format!("fuzz/corpus/{name}"), format!("fuzz/seeds/{name}"));
    let root = crate::root()?;
    std::fs::create_dir_all(root.join(&corpus)).context("cannot make the folder of the corpus")?;
    cargo.args(["+nightly", "fuzz", "run", name, &corpus]);
    cargo.args(root.join(&seeds).is_dir().then_some(seeds)).arg("--");
    cargo.args([&format!("-max_total_time={seconds}"), "-rss_limit_mb=2048", "-timeout=25"]);
    let mut child = cargo.stderr(Stdio::piped()).spawn().context("cannot start cargo")?;
    let mut outcome = Outcome::default();
    let said = child.stderr.take().context("cargo has no standard error")?;
    for line in BufReader::new(said).split(b'\n') {
        let line = line.context("cannot read what the fuzzer says")?;
        let line = String::from_utf8_lossy(&line);
        eprintln!("{line}");
        outcome.read(&line);
    }
    outcome.clean = child.wait().context("cannot wait for the fuzzer")?.success();
    ensure!(
        outcome.clean || outcome.inputs > 0,
        "{name} could not be built or started; what cargo said is above"
    );
    Ok(outcome)
}

fn save_row(target: &str, row: &str) -> Result<()> {
    let path = crate::root()?.join("docs/fuzz.md");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let text = with_row(&text, target, row)
        .with_context(|| format!("{} has lost its lines `{BEGIN}` and `{END}`", path.display()))?;
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// The page with this row in the place of the one the target had.
fn with_row(page: &str, target: &str, row: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (table, after) = rest.split_once(END)?;
    let own = format!("| {target} |");
    let old = table.lines().filter(|line| line.starts_with("| ") && !line.starts_with(&own));
    let mut rows: Vec<&str> = old.filter(|line| !line.starts_with("| target |")).collect();
    rows.push(row);
    rows.sort_unstable();
    Some(format!("{before}{BEGIN}\n\n{HEAD}\n{}\n\n{END}{after}", rows.join("\n")))
}

/// `60` or `60s`.
fn parse_seconds(text: &str) -> Result<u32> {
    text.trim_end_matches('s')
        .parse()
        .with_context(|| format!("`{text}` is not a number of seconds, such as 60"))
}

fn targets() -> Result<Vec<String>> {
    let folder = crate::root()?.join("fuzz/fuzz_targets");
    let entries =
        folder.read_dir().with_context(|| format!("there is no folder {}", folder.display()))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".rs").map(String::from))
        .collect();
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_with_and_without_unit() {
        assert_eq!(parse_seconds("60").unwrap(), 60);
        assert_eq!(parse_seconds("5s").unwrap(), 5);
        for bad in ["", "s", "-1", "1m"] {
            assert!(parse_seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lines_of_the_fuzzer() {
        let mut outcome = Outcome::default();
        outcome.read("#15186\tREDUCE cov: 5593 ft: 26054 corp: 5578/1262Kb lim: 4071 exec/s: 1393");
        assert_eq!((outcome.inputs, outcome.kept), (15186, 5578));
        outcome.read("INFO: seed corpus: files: 15168 min: 1b");
        outcome.read("Done 79750 runs in 61 second(s)");
        assert_eq!((outcome.inputs, outcome.seconds, outcome.kept), (79750, 61, 5578));
    }

    #[test]
    fn a_row_takes_the_place_of_the_one_before() {
        let page = format!("a\n{BEGIN}\n\n{HEAD}\n| index | 1 |\n| view | 2 |\n\n{END}\nb\n");
        let once = with_row(&page, "index", "| index | 3 |").unwrap();
        assert_eq!(once, page.replace("| index | 1 |", "| index | 3 |"));
        let more = with_row(&once, "charset", "| charset | 4 |").unwrap();
        assert!(more.contains("| charset | 4 |\n| index | 3 |\n| view | 2 |"), "{more}");
        assert_eq!(with_row("nothing", "index", ""), None);
    }
}
