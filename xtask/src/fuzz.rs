//! `cargo xtask fuzz NAME SECONDS`: one target of `fuzz/`, for a limited time.
//!
//! `fuzz/` is a workspace of its own: the sanitizers need nightly Rust, nothing else here does.

use crate::spawn;
use anyhow::{Context as _, Result, bail, ensure};

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let [name, seconds] = arguments else {
        bail!("write `cargo xtask fuzz NAME SECONDS`; targets: {}", targets()?.join(", "));
    };
    let seconds = parse_seconds(seconds)?;
    let targets = targets()?;
    ensure!(
        targets.contains(name),
        "there is no fuzz target `{name}` in fuzz/fuzz_targets; there is: {}",
        targets.join(", ")
    );
    ensure!(
        spawn::works(spawn::program("cargo").args(["+nightly", "--version"])),
        "fuzzing needs nightly Rust beside the stable one; `rustup toolchain install nightly` brings it"
    );
    ensure!(
        spawn::works(spawn::program("cargo").args(["+nightly", "fuzz", "--version"])),
        "cargo-fuzz is missing; `cargo install cargo-fuzz --locked` brings it"
    );
    // The rustup proxy `cargo`, not the cargo that started us: only the proxy knows `+nightly`.
    let mut cargo = spawn::program("cargo");
    cargo.env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN");
    // New inputs go to the first folder; the second holds those worth starting from.
    let (corpus, seeds) = (format!("fuzz/corpus/{name}"), format!("fuzz/seeds/{name}"));
    let root = crate::root()?;
    std::fs::create_dir_all(root.join(&corpus)).context("cannot make the folder of the corpus")?;
    cargo.args(["+nightly", "fuzz", "run", name, &corpus]);
    cargo.args(root.join(&seeds).is_dir().then_some(seeds)).arg("--");
    cargo.arg(format!("-max_total_time={seconds}"));
    spawn::run(&format!("fuzzing {name}"), &mut cargo)
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
}
