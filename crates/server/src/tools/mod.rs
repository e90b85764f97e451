//! The commands of an operator: `fsck`, `inspect`, `backup`, `restore`, `export`, `import`, `pack`, `queue`, `spam`. What they do is in
//! `storage::tools`; here they get their folder, a progress bar, and words.

pub(crate) mod backup;
mod bar;
pub(crate) mod export;
pub(crate) mod fsck;
pub(crate) mod import;
pub(crate) mod inspect;
pub(crate) mod pack;
pub(crate) mod queue;
pub(crate) mod spam;

use crate::cli::say;
use crate::config;
use anyhow::{Result, anyhow, bail};
use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;
use storage::Options;
use storage::tools::Form;
use types::Address;

/// Which data folder.
#[derive(clap::Args)]
pub(crate) struct FolderArguments {
    /// The configuration file of the server
    #[arg(long, value_name = "FILE", required_unless_present = "data")]
    config: Option<PathBuf>,
    /// Its data folder, when there is no configuration file
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    data: Option<PathBuf>,
}

impl FolderArguments {
    /// For a command that reads the files of a data folder.
    fn of_folder(&self) -> Result<Options> {
        let options = self.options()?;
        match &self.config {
            Some(file) if options.index.starts_with("postgres") => {
                Err(NoFolder(file.clone()).into())
            }
            _ => Ok(options),
        }
    }

    /// What the file says; without one what is meant by default.
    fn config(&self) -> Result<config::Config> {
        match &self.config {
            Some(file) => Ok(config::load(file)?),
            None => Ok(config::Config::default()),
        }
    }

    /// For a command that opens the store.
    fn options(&self) -> Result<Options> {
        match (&self.config, &self.data) {
            (Some(file), _) => Ok(config::load(file)?.storage_options()),
            (None, Some(folder)) => Ok(Options::in_folder(folder)),
            (None, None) => bail!("give --config FILE or --data DIR"),
        }
    }
}

/// The key of an account, from its address.
fn account_key(text: &str) -> Result<String> {
    let address: Result<Address, _> = text.parse();
    let address = address.map_err(|e| anyhow!("{text} is no address: {e}; write name@domain"))?;
    Ok(address.account_key())
}

/// Which of the two was given.
fn form<'a>(
    maildir: Option<&'a PathBuf>,
    mbox: Option<&'a PathBuf>,
) -> Result<(Form, &'a PathBuf)> {
    match (maildir, mbox) {
        (Some(path), _) => Ok((Form::Maildir, path)),
        (None, Some(path)) => Ok((Form::Mbox, path)),
        (None, None) => bail!("give --maildir or --mbox"),
    }
}

/// Names what was left out: the first hundred, and how many more.
fn skipped(lines: &[String], what: &str) {
    const SHOWN: usize = 100;
    for line in lines.iter().take(SHOWN) {
        say(&format!("passed over: {line}"));
    }
    if lines.len() > SHOWN {
        say(&format!("passed over: and {} more", lines.len() - SHOWN));
    }
    say(&format!("{} {what}.", lines.len()));
}

/// All was said already; the exit code is 1.
#[derive(Debug)]
pub(crate) struct Said;

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("see above")
    }
}

impl std::error::Error for Said {}

/// The mail of this configuration is in a database.
#[derive(Debug)]
struct NoFolder(PathBuf);

impl fmt::Display for NoFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.0.display();
        write!(
            f,
            "{file} keeps the mail in PostgreSQL (data.store): there is no data folder that this command could \
             read, and nothing was done. Use the tools of the database, for a backup pg_dump; see \
             docs/ops/postgres.md. For a data folder of before give --data DIR"
        )
    }
}

impl std::error::Error for NoFolder {}

/// 2: the command does not fit the store and nothing was done; 1: anything else.
pub(crate) fn exit_code(error: &anyhow::Error) -> ExitCode {
    if error.is::<NoFolder>() { ExitCode::from(2) } else { ExitCode::FAILURE }
}

/// `1,234,567`
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `12.3 MB`
fn size(bytes: u64) -> String {
    let units = [("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)];
    for (name, one) in units {
        if bytes >= one {
            let tenths = bytes / (one / 10);
            return format!("{}.{} {name}", grouped(tenths / 10), tenths % 10);
        }
    }
    format!("{bytes} B")
}

/// `1 letter`, `2 letters`
fn count(n: u64, what: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{} {what}{plural}", grouped(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_for_people() {
        #[track_caller]
        fn check(bytes: u64, expect: &str) {
            assert_eq!(size(bytes), expect);
        }
        check(0, "0 B");
        check(1023, "1023 B");
        check(1 << 10, "1.0 KB");
        check(1_610_613, "1.5 MB");
        check(5 << 40, "5,120.0 GB");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(count(1, "letter"), "1 letter");
        assert_eq!(count(1000, "change"), "1,000 changes");
    }

    #[test]
    fn a_store_without_a_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let arguments = |store: &str| {
            let file = folder.path().join("openpoczta.toml");
            std::fs::write(&file, format!("[data]\nfolder = \"mail\"\n{store}\n")).unwrap();
            FolderArguments { config: Some(file), data: None }
        };
        assert!(arguments("").of_folder().is_ok());
        let database = arguments("store = \"postgres://op:secret@db.example.test/op\"");
        let refused = database.of_folder().unwrap_err();
        let text = refused.to_string();
        assert!(text.contains("pg_dump") && text.contains("docs/ops/postgres.md"), "{text}");
        assert!(!text.contains("secret"), "{text}");
        assert_eq!(exit_code(&refused), ExitCode::from(2));
        assert!(database.options().is_ok(), "import writes to any store");
    }

    #[test]
    fn exit_codes() {
        #[track_caller]
        fn check(error: storage::Error, expect: u8) {
            let error = anyhow::Error::from(error);
            assert_eq!(exit_code(&error.context("no backup was made")), ExitCode::from(expect));
        }
        check(storage::Error::NoAccount, 1);
        check(storage::Error::DiskFull, 1);
    }
}
