//! `openpoczta alias`: addresses that stand for others. While no server runs on the folder; with a database at any time.

use crate::cli::{print, say};
use crate::config;
use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::sync::Arc;
use storage::{Alias, Options, Store};
use types::{Address, SystemClock};

#[derive(Subcommand)]
pub(crate) enum AliasCommand {
    /// Mail for ADDRESS goes to these too; @DOMAIN is every address of a domain that is nothing else
    Add(AddArguments),
    /// All aliases, or those of one address or domain
    List(ListArguments),
    /// Mail for ADDRESS goes to these no longer; without a target: it is no alias any more
    Remove(RemoveArguments),
}

#[derive(Args)]
pub(crate) struct AddArguments {
    /// such as sales@example.test, or @old.test for all of a domain
    address: String,
    /// An address here or elsewhere; of @old.test also @new.test: the same name there
    #[arg(required = true, value_name = "TARGET")]
    targets: Vec<String>,
    #[command(flatten)]
    place: PlaceArguments,
}

#[derive(Args)]
pub(crate) struct RemoveArguments {
    address: String,
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    #[command(flatten)]
    place: PlaceArguments,
}

#[derive(Args)]
pub(crate) struct ListArguments {
    /// An address, or @DOMAIN
    address: Option<String>,
    #[command(flatten)]
    place: PlaceArguments,
}

#[derive(Args)]
struct PlaceArguments {
    /// The configuration file of the server
    #[arg(long, value_name = "FILE", required_unless_present = "data")]
    config: Option<PathBuf>,
    /// Its data folder, when there is no configuration file
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    data: Option<PathBuf>,
}

/// The store, and the domains of the configuration: none where all domains of accounts are taken.
struct Open {
    store: Store,
    domains: Vec<String>,
}

impl PlaceArguments {
    fn open(&self) -> Result<Open> {
        let (options, domains) = match (&self.config, &self.data) {
            (Some(file), _) => {
                let config = config::load(file)?;
                (config.storage_options(), config.domains)
            }
            (None, Some(folder)) => (Options::in_folder(folder), Vec::new()),
            (None, None) => bail!("give --config FILE or --data DIR"),
        };
        Ok(Open { store: Store::open(&options, Arc::new(SystemClock))?, domains })
    }
}

pub(crate) async fn run(command: &AliasCommand) -> Result<()> {
    match command {
        AliasCommand::Add(arguments) => {
            let open = arguments.place.open()?;
            let mut targets = targets_of(&open.store, &arguments.address).await?;
            targets.extend(arguments.targets.iter().cloned());
            open.put(&arguments.address, &targets).await
        }
        AliasCommand::Remove(arguments) => {
            let open = arguments.place.open()?;
            let mut targets = targets_of(&open.store, &arguments.address).await?;
            if targets.is_empty() {
                bail!("{} is no alias; `openpoczta alias list` shows all", arguments.address);
            }
            for gone in &arguments.targets {
                let before = targets.len();
                targets.retain(|target| !target.eq_ignore_ascii_case(gone));
                if targets.len() == before {
                    bail!("{} does not lead to {gone}; nothing was changed", arguments.address);
                }
            }
            if arguments.targets.is_empty() {
                targets.clear();
            }
            open.put(&arguments.address, &targets).await
        }
        AliasCommand::List(arguments) => {
            let open = arguments.place.open()?;
            let wanted = arguments.address.as_deref().map(key);
            let rows = open.store.aliases().await?;
            open.store.close().await;
            let shown: String = rows
                .iter()
                .filter(|row| wanted.as_deref().is_none_or(|wanted| is_in(&row.key, wanted)))
                .map(line)
                .collect();
            print(if shown.is_empty() { "there is no such alias\n" } else { &shown })
        }
    }
}

/// `sales@example.test -> alice@example.test, x@other.test`
fn line(alias: &Alias) -> String {
    format!("{} -> {}\n", alias.key, alias.targets.join(", "))
}

/// As storage keeps it.
fn key(text: &str) -> String {
    let unquoted = |address: Address| format!("{}@{}", address.local(), address.domain());
    text.parse().map_or_else(|_| text.to_owned(), unquoted).to_lowercase()
}

/// Asked for a domain, all of it is meant.
fn is_in(key: &str, wanted: &str) -> bool {
    key == wanted || wanted.starts_with('@') && key.ends_with(wanted)
}

async fn targets_of(store: &Store, address: &str) -> Result<Vec<String>> {
    let wanted = key(address);
    let rows = store.aliases().await?;
    Ok(rows.into_iter().find(|row| row.key == wanted).map(|row| row.targets).unwrap_or_default())
}

impl Open {
    /// Writes it, says what holds then, and what is probably not meant so.
    async fn put(&self, address: &str, targets: &[String]) -> Result<()> {
        self.store.put_alias(address, targets).await?;
        let rows = self.store.aliases().await?;
        let key = key(address);
        let alias = rows.iter().find(|row| row.key == key);
        let said = alias.map_or_else(|| format!("{key}: no alias any more\n"), line);
        if let Some(alias) = alias {
            for doubt in self.doubts(alias, &rows).await? {
                say(&format!("warning: {doubt}"));
            }
        }
        self.store.close().await;
        print(&said)
    }

    async fn doubts(&self, alias: &Alias, all: &[Alias]) -> Result<Vec<String>> {
        let mut doubts = Vec::new();
        let domain = alias.key.rsplit_once('@').map_or("", |(_, domain)| domain);
        if !self.domains.is_empty() && !self.is_ours(domain) {
            doubts.push(format!(
                "no mail for {domain} is taken: add it to domains in the configuration file"
            ));
        }
        let to_itself = |target: &String| key(target) == alias.key;
        if self.store.account_by_key(&alias.key).await?.is_some()
            && !alias.targets.iter().any(to_itself)
        {
            doubts.push(format!(
                "{0} has a mailbox: mail for it comes there no longer; with {0} as a target it keeps a copy",
                alias.key
            ));
        }
        for target in &alias.targets {
            let Ok(address) = target.parse::<Address>() else { continue };
            let known = [key(target), address.account_key(), format!("@{}", address.domain())];
            let is_alias = all.iter().any(|row| known.contains(&row.key));
            if self.is_ours(address.domain())
                && !is_alias
                && self.store.account_by_key(&address.account_key()).await?.is_none()
            {
                doubts.push(format!("there is no {target} here: nobody gets that mail"));
            }
        }
        Ok(doubts)
    }

    fn is_ours(&self, domain: &str) -> bool {
        self.domains.iter().any(|ours| ours.eq_ignore_ascii_case(domain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        #[track_caller]
        fn check(text: &str, expect: &str) {
            assert_eq!(key(text), expect);
        }
        check("Sales+x@Example.test", "sales+x@example.test");
        check("@Old.Test", "@old.test");
        check("\"a b\"@example.test", "a b@example.test");
    }

    #[test]
    fn what_is_listed() {
        #[track_caller]
        fn check(key: &str, wanted: &str, expect: bool) {
            assert_eq!(is_in(key, wanted), expect, "{key} {wanted}");
        }
        check("a@old.test", "@old.test", true);
        check("@old.test", "@old.test", true);
        check("a@very.old.test", "@old.test", false);
        check("a@old.test", "a@old.test", true);
        check("b@old.test", "a@old.test", false);
    }
}
