//! `cargo xtask test`: the tests of the workspace, each in its own process.

use crate::spawn;
use anyhow::{Result, ensure};

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    nextest(arguments, false)
}

/// `bless` sets BLESS=1: a test that compares with a golden file writes it instead.
pub(crate) fn nextest(arguments: &[String], bless: bool) -> Result<()> {
    ensure!(
        spawn::works(spawn::cargo().args(["nextest", "--version"])),
        "cargo-nextest is missing; `cargo install cargo-nextest --locked` brings it"
    );
    let mut cargo = spawn::cargo();
    cargo.args(["nextest", "run"]);
    if !arguments.iter().any(|argument| argument == "-p" || argument == "--package") {
        cargo.arg("--workspace");
    }
    cargo.args(arguments);
    if bless {
        cargo.env("BLESS", "1");
    }
    spawn::run("the tests", &mut cargo)
}
