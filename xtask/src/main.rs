//! `cargo xtask NAME`: everything one does in this checkout besides writing code.
//!
//! `cargo xtask` alone lists the commands, `cargo xtask check` runs what CI runs before the slow tests.
//! A command is a row in [`COMMANDS`] and a file of the same name.
#![expect(clippy::print_stdout, reason = "a command line tool talks to the person who started it")]
#![expect(clippy::print_stderr, reason = "its errors go where a shell expects them")]

mod bench;
mod bench_python;
mod bless;
mod check;
mod crash;
mod demo;
mod differential;
mod fixtures;
mod fuzz;
mod hard_cases;
mod new;
mod spawn;
mod test;
mod tidy;
mod wheel;

use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// One word after `cargo xtask`: how it is written, what it does, who does it.
struct Command {
    name: &'static str,
    arguments: &'static str,
    about: &'static str,
    run: fn(&[String]) -> Result<()>,
}

static COMMANDS: &[Command] = &[
    Command {
        name: "bench",
        arguments: "dovecot | imap | lmtp | search | storage [--save] [--rounds N] [--seconds N] | mime [--save] | python [--save] [--rounds N]",
        about: "build the release binaries and measure them beside a bound; mparser and libop beside other parsers",
        run: bench::run,
    },
    Command {
        name: "bless",
        arguments: "[CRATE]",
        about: "run the tests with BLESS=1: golden files in testdata/ are rewritten, look at the diff",
        run: bless::run,
    },
    Command {
        name: "check",
        arguments: "",
        about: "fmt, clippy, tidy and tests: what must be green before a commit",
        run: check::run,
    },
    Command {
        name: "crash",
        arguments: "[--rounds 500] [--seed 1]",
        about: "kill a working mail store that many times and look whether all that was acknowledged is there",
        run: crash::run,
    },
    Command {
        name: "demo",
        arguments: "[ARGUMENTS]",
        about: "build web UI and server (release) and start the demo; arguments go to it",
        run: demo::release,
    },
    Command {
        name: "dev",
        arguments: "[ARGUMENTS]",
        about: "the demo from a quick debug build",
        run: demo::debug,
    },
    Command {
        name: "differential",
        arguments: "[--save]",
        about: "compare mparser with the crate mail-parser on real letters; fetches both",
        run: differential::run,
    },
    Command {
        name: "fuzz",
        arguments: "NAME|all SECONDS [--save]",
        about: "run a fuzz target, or all, for that long (needs nightly Rust and cargo-fuzz)",
        run: fuzz::run,
    },
    Command {
        name: "hard-cases",
        arguments: "[--save]",
        about: "the letters other parsers stumble over: result and time of each",
        run: hard_cases::run,
    },
    Command {
        name: "new",
        arguments: "command imap NAME",
        about: "lay out the file of a new IMAP command and print the rows to add",
        run: new::run,
    },
    Command {
        name: "test",
        arguments: "[ARGUMENTS]",
        about: "cargo nextest over the workspace; arguments go to it",
        run: test::run,
    },
    Command {
        name: "tidy",
        arguments: "",
        about: "check the rules of the house that a compiler does not know",
        run: tidy::run,
    },
    Command {
        name: "wheel",
        arguments: "[--dev]",
        about: "build the Python package libop as one wheel; --dev compiles quickly and installs into .venv",
        run: wheel::run,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<()> {
    let Some((name, rest)) = arguments.split_first() else {
        println!("{}", help());
        return Ok(());
    };
    if matches!(name.as_str(), "help" | "--help" | "-h") {
        println!("{}", help());
        return Ok(());
    }
    match COMMANDS.iter().find(|command| command.name == name) {
        Some(command) => (command.run)(rest),
        None => bail!("there is no command `{name}`.\n{}", help()),
    }
}

fn help() -> String {
    let mut text = String::from("cargo xtask NAME, where NAME is one of");
    for Command { name, arguments, about, .. } in COMMANDS {
        text.push_str("\n  ");
        text.push_str(format!("{name} {arguments}").trim_end());
        text.push_str("\n      ");
        text.push_str(about);
    }
    text
}

/// The folder of the checkout: the one above this crate.
fn root() -> Result<PathBuf> {
    let here = std::env::var_os("CARGO_MANIFEST_DIR")
        .context("start it as `cargo xtask …`: cargo then says where the checkout is")?;
    let root = Path::new(&here).parent().context("xtask/ has a folder above it")?;
    Ok(root.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_every_row_is_explained() {
        assert!(COMMANDS.is_sorted_by(|a, b| a.name < b.name));
        for command in COMMANDS {
            assert!(!command.about.is_empty() && !command.about.ends_with('.'), "{}", command.name);
            assert!(help().contains(command.about));
        }
    }

    #[test]
    fn an_unknown_word_is_answered_with_the_list() {
        let error = dispatch(&["tidi".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("no command `tidi`") && error.contains("tidy"), "{error}");
    }
}
