//! `cargo xtask check`: fmt, clippy, tidy and the tests, cheapest first, stops at the first that fails.

use crate::{spawn, test, tidy};
use anyhow::{Result, ensure};

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    ensure!(arguments.is_empty(), "`check` takes no arguments");
    println!("== fmt");
    spawn::run(
        "cargo fmt --check (`cargo fmt` mends it)",
        spawn::cargo().args(["fmt", "--all", "--check"]),
    )?;
    println!("== tidy");
    tidy::run(&[])?;
    println!("== clippy");
    spawn::run(
        "clippy",
        spawn::cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    )?;
    println!("== tests");
    test::run(&[])
}
