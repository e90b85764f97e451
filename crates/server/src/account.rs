//! `openpoczta account`: makes accounts, sets passwords and quotas while no server runs on the folder.

use crate::cli::{AccountArguments, QuotaArguments, print};
use crate::config;
use anyhow::{Context, Result, bail, ensure};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::{BufRead, IsTerminal, Write};
use std::sync::Arc;
use storage::{Amount, Options, Store};
use types::{Address, SystemClock};

pub(crate) async fn add(arguments: &AccountArguments) -> Result<()> {
    put(arguments, false).await
}

pub(crate) async fn passwd(arguments: &AccountArguments) -> Result<()> {
    put(arguments, true).await
}

/// Sets what is given, and says what holds then.
pub(crate) async fn quota(arguments: &QuotaArguments) -> Result<()> {
    let key = key_of(&arguments.account)?;
    let store = Store::open(&options(&arguments.account)?, Arc::new(SystemClock))?;
    let Some(account) = store.account_by_key(&key).await? else {
        bail!("there is no {key}; `openpoczta account add {key}` makes it");
    };
    let limit = Amount {
        size_bytes: arguments.size.unwrap_or(account.limit.size_bytes),
        messages: arguments.messages.unwrap_or(account.limit.messages),
    };
    store.set_quota(account.id, limit).await?;
    let account = store.account(account.id).await?;
    store.close().await;
    print(&format!("{key}: {}\n", holds(account.used, account.limit)))
}

fn holds(used: Amount, limit: Amount) -> String {
    let of = |limit: u64, what: &str| match limit {
        0 => format!("{what}, no limit"),
        limit => format!("of {limit} {what}"),
    };
    let (messages, bytes) = (of(limit.messages, "messages"), of(limit.size_bytes, "bytes"));
    format!("{} {messages}; {} {bytes}", used.messages, used.size_bytes)
}

/// `500M`: a number with K, M, G or T for 1,024 bytes and its powers, as IMAP's quota counts.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let units = [('K', 10), ('M', 20), ('G', 30), ('T', 40)];
    let unit = units.into_iter().find(|(unit, _)| text.to_ascii_uppercase().ends_with(*unit));
    let (digits, shift) = match unit {
        Some((_, shift)) => (text.get(..text.len() - 1).unwrap_or_default(), shift),
        None => (text, 0),
    };
    let number = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(1 << shift));
    number.ok_or_else(|| format!("{text} is no size; write for example 500M or 2G"))
}

fn key_of(arguments: &AccountArguments) -> Result<String> {
    let text = &arguments.address;
    let address: Address = text
        .parse()
        .map_err(|e| anyhow::anyhow!("{text} is no address: {e}; write name@domain"))?;
    let key = address.account_key();
    ensure!(key == address.to_string().to_lowercase(), "{text} is an alias of {key}: use that one");
    Ok(key)
}

async fn put(arguments: &AccountArguments, must_exist: bool) -> Result<()> {
    let key = key_of(arguments)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        #[track_caller]
        fn check(text: &str, expect: Option<u64>) {
            assert_eq!(bytes(text).ok(), expect, "{text:?}");
        }
        check("0", Some(0));
        check("1000", Some(1000));
        check("500M", Some(500 << 20));
        check("2g", Some(2 << 30));
        check("16777216T", None);
        for bad in ["", "M", "-1", "1.5G", "2 G", "2GB", "\u{17f}"] {
            check(bad, None);
        }
    }

    #[test]
    fn what_an_account_holds_in_words() {
        #[track_caller]
        fn check(limit: (u64, u64), expect: &str) {
            let used = Amount { size_bytes: 2048, messages: 3 };
            assert_eq!(holds(used, Amount { size_bytes: limit.0, messages: limit.1 }), expect);
        }
        check((0, 0), "3 messages, no limit; 2048 bytes, no limit");
        check((4096, 10), "3 of 10 messages; 2048 of 4096 bytes");
    }
}
