//! `cargo xtask demo` and `dev`: the web UI if there is Node to build it, the server, and off it goes.

use crate::spawn;
use anyhow::Result;

pub(crate) fn release(arguments: &[String]) -> Result<()> {
    start("release", &["--release"], arguments)
}

pub(crate) fn debug(arguments: &[String]) -> Result<()> {
    start("debug", &[], arguments)
}

fn start(profile: &str, flags: &[&str], arguments: &[String]) -> Result<()> {
    // Before the server: its binary carries the built files.
    spawn::run("building the web UI", &mut spawn::program("scripts/web.sh"))?;
    let mut cargo = spawn::cargo();
    cargo.args(["build", "-p", "server", "--bin", "openpoczta"]).args(flags);
    spawn::run("building the server", &mut cargo)?;
    let binary = spawn::target_folder()?.join(profile).join("openpoczta");
    spawn::run("the demo", spawn::program(binary).arg("demo").args(arguments))
}
