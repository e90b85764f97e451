//! `openpoczta account`: makes accounts and sets passwords while no server runs on the folder.

use crate::cli::{AccountArguments, print};
use crate::config;
use anyhow::{Context, Result, bail, ensure};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::{BufRead, IsTerminal, Write};
use std::sync::Arc;
use storage::{Options, Store};
use types::{Address, SystemClock};

pub(crate) async fn add(arguments: &AccountArguments) -> Result<()> {
    put(arguments, false).await
}

pub(crate) async fn passwd(arguments: &AccountArguments) -> Result<()> {
    put(arguments, true).await
}

async fn put(arguments: &AccountArguments, must_exist: bool) -> Result<()> {
    let text = &arguments.address;
    let address: Address = text
        .parse()
        .map_err(|e| anyhow::anyhow!("{text} is no address: {e}; write name@domain"))?;
    let key = address.account_key();
    ensure!(key == address.to_string().to_lowercase(), "{text} is an alias of {key}: use that one");
    let store = Store::open(&options(arguments)?, Arc::new(SystemClock))?;
    let done = match (store.account_by_key(&key).await?, must_exist) {
        (Some(_), false) => {
            bail!("{key} exists already; `openpoczta account passwd {key}` changes its password")
        }
        (None, true) => bail!("there is no {key}; `openpoczta account add {key}` makes it"),
        (Some(_), true) => "password changed",
        (None, false) => "account made",
    };
    let secret = auth::hash_password(password()?.as_bytes())?;
    store.put_account(&key, &secret).await?;
    store.close().await;
    print(&format!("{key}: {done}\n"))
}

fn options(arguments: &AccountArguments) -> Result<Options> {
    match (&arguments.config, &arguments.data) {
        (Some(file), _) => Ok(config::load(file)?.storage_options()),
        (None, Some(folder)) => Ok(Options::in_folder(folder)),
        (None, None) => bail!("give --config FILE or --data DIR"),
    }
}

/// Asked twice at a terminal, without showing it; else the first line of standard input.
fn password() -> Result<String> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return read_line();
    }
    let quiet = Quiet::begin()?;
    let first = ask("password: ")?;
    let again = ask("once more: ")?;
    drop(quiet);
    ensure!(first == again, "the two differ; nothing was changed");
    Ok(first)
}

fn ask(prompt: &str) -> Result<String> {
    let mut terminal = std::io::stderr();
    write!(terminal, "{prompt}")?;
    terminal.flush()?;
    let line = read_line();
    writeln!(terminal)?;
    line
}

fn read_line() -> Result<String> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("the password cannot be read")?;
    let password = line.trim_end_matches(['\r', '\n']);
    ensure!(!password.is_empty(), "an empty password is none; nothing was changed");
    Ok(password.to_owned())
}

/// A terminal that does not show what is typed, until dropped.
struct Quiet(Termios);

impl Quiet {
    fn begin() -> Result<Self> {
        let before = tcgetattr(rustix::stdio::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(rustix::stdio::stdin(), OptionalActions::Flush, &quiet)?;
        Ok(Self(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Flush, &self.0);
    }
}
