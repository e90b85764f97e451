//! `cargo xtask bench lmtp`: build server and load generator in release, run, print a table.
//!
//! What is measured and how stands in `bench/src/main.rs`.

use crate::spawn;
use anyhow::{Result, bail};

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    if arguments.first().map(String::as_str) != Some("lmtp") {
        bail!(
            "write `cargo xtask bench lmtp`, with `--save` to add its rows to bench/baseline.tsv"
        );
    }
    spawn::run(
        "the release build",
        spawn::cargo().args(["build", "--release", "--bin", "openpoczta", "--bin", "opbench"]),
    )?;
    let release = spawn::target_folder()?.join("release");
    let mut opbench = spawn::program(release.join("opbench"));
    opbench.args(arguments).arg("--server").arg(release.join("openpoczta"));
    spawn::run("the benchmark", &mut opbench)
}
