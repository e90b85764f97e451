//! Other programs: started in the folder of the checkout, their failures turned into sentences.

use anyhow::{Context as _, Result, bail};
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The cargo that started us, or the one on the PATH.
pub(crate) fn cargo() -> Command {
    program(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// A program that will run in the folder of the checkout.
pub(crate) fn program(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    if let Ok(root) = crate::root() {
        command.current_dir(root);
    }
    command
}

/// Runs it with our own input and output; `what` names the step in the error.
pub(crate) fn run(what: &str, command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| cannot_start(command))?;
    match status.code() {
        Some(0) => Ok(()),
        Some(code) => bail!("{what} failed (exit code {code}); what it said is above"),
        None => bail!("{what} was stopped by a signal ({status})"),
    }
}

/// Runs it and gives back what it printed; its errors stay visible.
pub(crate) fn output(what: &str, command: &mut Command) -> Result<String> {
    let output =
        command.stderr(Stdio::inherit()).output().with_context(|| cannot_start(command))?;
    if !output.status.success() {
        bail!("{what} failed ({}); what it said is above", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("{what} printed something not UTF-8"))
}

/// Whether `command` can be started and succeeds; says nothing.
pub(crate) fn works(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// `cargo metadata` of our own crates.
pub(crate) fn metadata() -> Result<serde_json::Value> {
    let mut cargo = cargo();
    cargo.args(["metadata", "--no-deps", "--format-version", "1"]);
    let text = output("cargo metadata", &mut cargo)?;
    serde_json::from_str(&text).context("cargo metadata printed something that is not JSON")
}

/// Where cargo puts what it builds.
pub(crate) fn target_folder() -> Result<PathBuf> {
    let metadata = metadata()?;
    let folder = metadata
        .get("target_directory")
        .and_then(|folder| folder.as_str())
        .context("cargo metadata does not say where its target folder is")?;
    Ok(folder.into())
}

fn cannot_start(command: &Command) -> String {
    let name = command.get_program().to_string_lossy();
    format!("cannot start `{name}`: is it installed and on the PATH?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_become_sentences() {
        let check = |script: &str, expect: &str| {
            let error = run("the step", Command::new("sh").args(["-c", script])).unwrap_err();
            assert!(format!("{error:#}").contains(expect), "{error:#}");
        };
        check("exit 3", "the step failed (exit code 3)");
        check("kill -9 $$", "the step was stopped by a signal");
        let error = run("the step", &mut Command::new("no-such-program-here")).unwrap_err();
        assert!(format!("{error:#}").contains("cannot start `no-such-program-here`"), "{error:#}");
    }

    #[test]
    fn output_is_what_was_printed() {
        let text = output("echo", Command::new("echo").arg("zażółć")).unwrap();
        assert_eq!(text, "zażółć\n");
        assert!(output("false", &mut Command::new("false")).is_err());
        assert!(works(&mut Command::new("true")) && !works(&mut Command::new("false")));
    }
}
