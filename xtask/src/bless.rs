//! `cargo xtask bless`: accept what the code does now as what golden tests expect.
//!
//! The tests run with the environment variable `BLESS=1`. A test that compares with a file in
//! `testdata/` then writes the file and passes. Nothing is judged: read `git diff testdata` afterwards.

use crate::{spawn, test};
use anyhow::{Result, bail};

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    match arguments {
        [] => test::nextest(&[], true)?,
        [package] => test::nextest(&["-p".to_owned(), package.clone()], true)?,
        _ => bail!("`bless` takes at most one crate: `cargo xtask bless mparser`"),
    }
    spawn::run("git diff", spawn::program("git").args(["diff", "--stat", "--", "testdata"]))
}
