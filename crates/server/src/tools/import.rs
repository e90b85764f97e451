//! `openpoczta import`

use super::bar::Bar;
use super::{FolderArguments, Said, account_key, count, form, skipped};
use crate::cli::{print, say};
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::sync::Arc;
use storage::Store;
use storage::tools::{ImportFrom, import};
use types::SystemClock;

#[derive(clap::Args)]
pub(crate) struct ImportArguments {
    #[command(flatten)]
    folder: FolderArguments,
    /// The account that gets the letters
    #[arg(long, value_name = "ADDRESS")]
    account: String,
    /// A Maildir, with its folders (Maildir++, or folders in folders)
    #[arg(long, value_name = "DIR", required_unless_present = "mbox")]
    maildir: Option<PathBuf>,
    /// An mbox file, or a folder of them
    #[arg(long, value_name = "PATH", conflicts_with = "maildir")]
    mbox: Option<PathBuf>,
    /// Put everything below this mailbox
    #[arg(long, value_name = "MAILBOX")]
    into: Option<String>,
    /// Leave letters with LF line ends as they are; without it they get CR LF, as mail has
    #[arg(long)]
    keep_line_ends: bool,
}

pub(crate) async fn run(arguments: &ImportArguments) -> Result<()> {
    let (form, path) = form(arguments.maildir.as_ref(), arguments.mbox.as_ref())?;
    let key = account_key(&arguments.account)?;
    let store = Store::open(&arguments.folder.options()?, Arc::new(SystemClock))?;
    let account = store.account_by_key(&key).await?;
    let account = account
        .with_context(|| format!("there is no {key}; `openpoczta account add {key}` makes it"))?;
    let (path, into) = (path.clone(), arguments.into.clone());
    let from = ImportFrom { form, path, into, keep_line_ends: arguments.keep_line_ends };
    let bar = Bar::new();
    let progress = |doing, done, total| bar.at(doing, done, total);
    let imported = import(&store, account.id, &from, &progress).await;
    drop(bar);
    store.close().await;
    let imported = imported?;
    print(&format!(
        "{key}: {} imported, {} there already, {} passed over\n",
        count(imported.letters, "letter"),
        imported.known,
        imported.skipped.len()
    ))?;
    if !imported.made.is_empty() {
        print(&format!("mailboxes made: {}\n", imported.made.join(", ")))?;
    }
    if !imported.skipped.is_empty() {
        skipped(&imported.skipped, "were not imported");
    }
    if let Some(error) = &imported.stopped {
        say(&format!("openpoczta: it stopped early: {error}"));
        say("What was imported is safe. The same command goes on where this one stopped.");
    }
    let all = imported.skipped.is_empty() && imported.stopped.is_none();
    if all { Ok(()) } else { Err(Said.into()) }
}
