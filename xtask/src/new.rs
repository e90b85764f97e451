//! `cargo xtask new command imap REPLACE`: placeholder until crates/imap has its shape.

use anyhow::{Result, bail};

pub(crate) fn run(_: &[String]) -> Result<()> {
    bail!("not yet")
}
