//! `openpoczta export`

use super::bar::Bar;
use super::{FolderArguments, Said, account_key, count, form, skipped};
use crate::cli::print;
use anyhow::{Context, Result};
use std::path::PathBuf;
use storage::tools::export;

#[derive(clap::Args)]
pub(crate) struct ExportArguments {
    #[command(flatten)]
    folder: FolderArguments,
    /// Write Maildir++ folders, as Dovecot and Courier have them, to DIR/ACCOUNT
    #[arg(long, value_name = "DIR", required_unless_present = "mbox")]
    maildir: Option<PathBuf>,
    /// Write an mbox file for each mailbox to DIR/ACCOUNT
    #[arg(long, value_name = "DIR", conflicts_with = "maildir")]
    mbox: Option<PathBuf>,
    /// Only this account; may be given more than once
    #[arg(long, value_name = "ADDRESS")]
    account: Vec<String>,
}

pub(crate) fn run(arguments: &ExportArguments) -> Result<()> {
    let data = arguments.folder.of_folder()?.folder;
    let (form, target) = form(arguments.maildir.as_ref(), arguments.mbox.as_ref())?;
    let only: Vec<String> =
        arguments.account.iter().map(|text| account_key(text)).collect::<Result<_>>()?;
    let bar = Bar::new();
    let progress = |doing, done, total| bar.at(doing, done, total);
    let exported = export(&data, target, form, &only, &progress)
        .with_context(|| format!("there is no complete export in {}", target.display()))?;
    drop(bar);
    for (account, folder, letters) in &exported.accounts {
        print(&format!(
            "{account}: {} written to {}\n",
            count(*letters, "message"),
            folder.display()
        ))?;
    }
    if exported.skipped.is_empty() {
        return Ok(());
    }
    skipped(&exported.skipped, "were not exported; `openpoczta fsck` says more about damage");
    Err(Said.into())
}
