//! `cargo xtask hard-cases [--save]`: the letters other parsers stumble over, with time and result of each.
//!
//! The cases stand in `crates/mparser/tests/it/hard_cases.rs`; `--save` writes `docs/mime-hard-cases.md` anew.

use crate::spawn;
use anyhow::{Context as _, Result, bail};

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let save = match arguments {
        [] => false,
        [word] if word == "--save" => true,
        _ => bail!("write `cargo xtask hard-cases` or `cargo xtask hard-cases --save`"),
    };
    let mut cargo = spawn::cargo();
    cargo.args(["run", "--quiet", "--release", "-p", "mparser", "--example", "hard_cases"]);
    let table = spawn::output("hard-cases", &mut cargo)?;
    println!("{table}");
    if save {
        let text = format!(
            "# Hard cases\n\nWhat `cargo xtask hard-cases` printed on {}. The time is for parsing, reading every value \
             and decoding every part, the best of three.\n\n{table}",
            machine()
        );
        let path = crate::root()?.join("docs/mime-hard-cases.md");
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Date and machine class, for a report.
pub(crate) fn machine() -> String {
    let date = spawn::output("date", spawn::program("date").arg("+%Y-%m-%d")).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!(
        "{}, {} {}, {cores} cores, shared",
        date.trim(),
        std::env::consts::ARCH,
        std::env::consts::OS
    )
}
