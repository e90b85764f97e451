//! What can be typed after `openpoczta`, and how it ends: 0 well, 1 it could not, 2 it was asked wrongly.

use crate::logs::Format;
use crate::tls::Tls;
use crate::{account, alias, app, config, deliver, demo, dkim, logs, rules, tools};
use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use tracing::Level;

#[derive(Parser)]
#[command(name = "openpoczta", version, about = "A mail platform in one binary")]
struct Arguments {
    /// error, warn, info, debug or trace; without it what the configuration says, or warn in the demo
    #[arg(long, global = true, value_name = "LEVEL")]
    log: Option<Level>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A working server with a filled mailbox on this machine only, to look around
    Demo(DemoArguments),
    /// The server, as the configuration file says
    Serve {
        /// The configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// The configuration file: is it right, what can stand in it
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Accounts of a server that is not running
    #[command(subcommand)]
    Account(AccountCommand),
    /// Addresses that stand for others, here or elsewhere; for a server that is not running
    #[command(subcommand)]
    Alias(alias::AliasCommand),
    /// Copy the mail to another folder while the server runs; each time only what is new
    Backup(tools::backup::BackupArguments),
    /// Take a letter from standard input, as a mail server's pipe calls it; the server must be running
    Deliver(deliver::DeliverArguments),
    /// The keys that sign letters: what goes into DNS, a new key
    #[command(subcommand)]
    Dkim(DkimCommand),
    /// Write accounts as Maildir or mbox; the server may run
    Export(tools::export::ExportArguments),
    /// Check a data folder: every letter, every row of the index; and repair it
    Fsck(tools::fsck::FsckArguments),
    /// Take letters of a Maildir or of mbox files into an account; the server must be stopped
    Import(tools::import::ImportArguments),
    /// Look into a data folder: its segments, one segment, one letter
    Inspect(tools::inspect::InspectArguments),
    /// Compress all mail now and give up what was deleted, not in the background; the server must be stopped
    Pack(tools::pack::PackArguments),
    /// Letters that wait to be sent: list them, look, try again, take back; the server may run
    #[command(subcommand)]
    Queue(tools::queue::QueueCommand),
    /// Make a data folder from a backup: all, one account, or as it was at some time
    Restore(tools::backup::RestoreArguments),
    /// Why a letter was taken for spam, what the verdict on a file would be, teaching from files; the server may run
    #[command(subcommand)]
    Spam(tools::spam::SpamCommand),
}

#[derive(clap::Args)]
pub(crate) struct DemoArguments {
    /// Keep the mail in this folder; without it: a temporary one, removed at the end
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Keep the mail in this database: postgres://USER:PASSWORD@HOST:PORT/DATABASE
    #[arg(long, value_name = "URL", conflicts_with = "data")]
    pub(crate) store: Option<String>,
    /// Add accounts u0000@example.test, u0001@example.test and so on
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=100_000))]
    pub(crate) users: u32,
    /// Begin with empty mailboxes
    #[arg(long)]
    pub(crate) no_seed: bool,
    /// Add this to every port, so that several demos can run side by side
    #[arg(long, value_name = "K", default_value_t = 0)]
    pub(crate) base_port_offset: u16,
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Say what is wrong with a file, if anything
    Check {
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Print a file with every key, its default and what it is for
    Describe,
}

#[derive(Subcommand)]
enum DkimCommand {
    /// Print the TXT record of each key of the configuration, as lines of a zone file
    Show {
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Make an Ed25519 key in a new file; `openssl genpkey` makes RSA keys
    Make {
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
}

#[derive(Subcommand)]
enum AccountCommand {
    /// Make an account; the password is asked, or read from standard input
    Add(AccountArguments),
    /// Give an account a new password
    Passwd(AccountArguments),
    /// Say or set how much an account may hold
    Quota(QuotaArguments),
}

#[derive(clap::Args)]
pub(crate) struct QuotaArguments {
    #[command(flatten)]
    pub(crate) account: AccountArguments,
    /// Bytes of all its messages, such as 500M or 2G; 0: no limit
    #[arg(long, value_name = "SIZE", value_parser = account::bytes)]
    pub(crate) size: Option<u64>,
    /// Messages, counted in every mailbox they are in; 0: no limit
    #[arg(long, value_name = "N")]
    pub(crate) messages: Option<u64>,
}

#[derive(clap::Args)]
pub(crate) struct AccountArguments {
    /// such as alice@example.test
    pub(crate) address: String,
    /// The configuration file of the server
    #[arg(long, value_name = "FILE", required_unless_present = "data")]
    pub(crate) config: Option<PathBuf>,
    /// Its data folder, when there is no configuration file
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pub(crate) data: Option<PathBuf>,
}

pub(crate) fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let exit = deliver::usage_exit(std::env::args_os()).filter(|_| error.use_stderr());
            let Some(exit) = exit else { error.exit() };
            drop(error.print());
            return ExitCode::from(exit);
        }
    };
    match arguments.command.run(arguments.log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<config::Problems>() => {
            say(&format!("{error}"));
            ExitCode::from(2)
        }
        Err(error) if error.is::<deliver::Failure>() => {
            say(&error.to_string());
            ExitCode::from(deliver::code(&error))
        }
        Err(error) if error.is::<tools::Said>() => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("openpoczta: {error:#}"));
            tools::exit_code(&error)
        }
    }
}

impl Command {
    fn run(self, level: Option<Level>) -> Result<()> {
        match self {
            Self::Demo(arguments) => {
                logs::start(level.unwrap_or(Level::WARN), Format::Text);
                runtime()?.block_on(demo::run(&arguments))
            }
            Self::Serve { config: file } => {
                let config = config::load(&file)?;
                logs::start(level.unwrap_or(config.log_level), config.log_format);
                runtime()?.block_on(app::serve(&config, &file))
            }
            Self::Config(ConfigCommand::Check { config: file }) => {
                let config = config::load(&file)?;
                let (_, warnings) = Tls::open(&config, &file, Arc::new(types::SystemClock))?;
                dkim::signer(&config, &file)?;
                rules::load(&config)?;
                for warning in warnings {
                    say(&format!("warning: {warning}"));
                }
                print(&format!("{} is fine\n", file.display()))
            }
            Self::Config(ConfigCommand::Describe) => {
                print(&config::describe(&config::Config::default()))
            }
            Self::Account(AccountCommand::Add(arguments)) => {
                runtime()?.block_on(account::add(&arguments))
            }
            Self::Account(AccountCommand::Passwd(arguments)) => {
                runtime()?.block_on(account::passwd(&arguments))
            }
            Self::Account(AccountCommand::Quota(arguments)) => {
                runtime()?.block_on(account::quota(&arguments))
            }
            Self::Dkim(DkimCommand::Show { config: file }) => {
                dkim::show(&config::load(&file)?, &file)
            }
            Self::Dkim(DkimCommand::Make { file }) => dkim::make(&file),
            Self::Alias(command) => runtime()?.block_on(alias::run(&command)),
            Self::Deliver(arguments) => Ok(deliver::run(&arguments)?),
            Self::Backup(arguments) => tools::backup::run_backup(&arguments),
            Self::Queue(command) => runtime()?.block_on(tools::queue::run(&command)),
            Self::Spam(command) => runtime()?.block_on(tools::spam::run(&command)),
            Self::Restore(arguments) => tools::backup::run_restore(&arguments),
            Self::Export(arguments) => tools::export::run(&arguments),
            Self::Import(arguments) => {
                logs::start(level.unwrap_or(Level::WARN), Format::Text);
                runtime()?.block_on(tools::import::run(&arguments))
            }
            Self::Fsck(arguments) => tools::fsck::run(&arguments),
            Self::Inspect(arguments) => tools::inspect::run(&arguments),
            Self::Pack(arguments) => {
                logs::start(level.unwrap_or(Level::INFO), Format::Text);
                runtime()?.block_on(tools::pack::run(&arguments))
            }
        }
    }
}

/// To standard output, for programs and people who asked.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("standard output is closed")
}

/// A line for people, beside what programs read. Nobody reading it is no reason to stop.
pub(crate) fn say(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().build().context("the threads of the server could not be started")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn arguments_fit_together() {
        Arguments::command().debug_assert();
        let demo = Arguments::try_parse_from(["openpoczta", "demo", "--users", "3"]).unwrap();
        assert!(matches!(demo.command, Command::Demo(DemoArguments { users: 3, .. })));
    }
}
