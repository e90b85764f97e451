//! `opbench lmtp`, `opbench storage`: what a delivery costs, beside what the disk allows. Start them as
//! `cargo xtask bench lmtp` and `cargo xtask bench storage`.
//!
//! Every figure is a ratio to a bound measured in the same run: rounds of the bound and of the server take
//! turns, and the median is printed with the smallest and largest. Absolute numbers say more about the
//! machine than about us. A benchmark is a row in [`BENCHES`] and a file.
//!
//! `lmtp` knows the server by its sockets and its process only; `storage` calls the store's door.
#![expect(clippy::print_stdout, reason = "a command line tool talks to the person who started it")]
#![expect(clippy::print_stderr, reason = "progress goes beside the table, not into it")]

mod args;
mod baseline;
mod bound;
mod cpu;
mod dovecot;
mod figures;
mod fronts;
mod idle;
mod imap;
mod imap_load;
mod latency;
mod letters;
mod lmtp;
mod load;
mod outgoing;
mod packing;
mod peer;
mod postfix;
mod reads;
mod search;
mod server;
mod spam;
mod storage;
mod tree;

use crate::args::Args;
use anyhow::{Result, bail};
use std::process::ExitCode;

/// A benchmark: its name, what it measures, who does.
struct Bench {
    name: &'static str,
    about: &'static str,
    run: fn(&Args) -> Result<()>,
}

static BENCHES: &[Bench] = &[
    Bench {
        name: "deliveries",
        about: "Store::deliver beside raw append+fdatasync, the first part of `storage`",
        run: storage::run_alone,
    },
    Bench {
        name: "dovecot",
        about: "LMTP deliveries and an IMAP search beside a private Dovecot",
        run: dovecot::run,
    },
    Bench {
        name: "fill-and-die",
        about: "fills a store and kills itself; `storage` starts it",
        run: reads::fill_and_die,
    },
    Bench {
        name: "fronts",
        about: "LMTP, SMTP and POP3 beside a private Postfix and Dovecot",
        run: fronts::run,
    },
    Bench {
        name: "idle",
        about: "memory and news of 2,000 waiting IMAP connections, SELECT of 100,000 messages",
        run: idle::run,
    },
    Bench {
        name: "imap",
        about: "IMAP sessions and commands beside a private Dovecot",
        run: imap_load::run,
    },
    Bench {
        name: "latency",
        about: "how long a letter takes when 300 come in every second",
        run: latency::run,
    },
    Bench {
        name: "lmtp",
        about: "durable deliveries and their CPU beside raw append+fdatasync",
        run: lmtp::run,
    },
    Bench {
        name: "pack",
        about: "disk that packed letters take, reading them, and deliveries beside the packer",
        run: packing::run,
    },
    Bench {
        name: "queue",
        about: "100,000 letters to 1,000 other domains: CPU and memory",
        run: outgoing::run,
    },
    Bench {
        name: "reads",
        about: "what reading costs: the newest letters of a mailbox, flags, SELECT",
        run: reads::run_alone,
    },
    Bench {
        name: "search",
        about: "CPU of a substring search beside a plain scan of the same bytes",
        run: search::run,
    },
    Bench {
        name: "spam",
        about: "how well spam is told from other letters, beside bogofilter, and what a decision costs",
        run: spam::run,
    },
    Bench {
        name: "storage",
        about: "Store::deliver beside raw append+fdatasync, and what reading costs",
        run: storage::run,
    },
];

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("opbench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: impl Iterator<Item = String>) -> Result<()> {
    let args = Args::parse(arguments)?;
    let Some(bench) = BENCHES.iter().find(|bench| bench.name == args.bench) else {
        let list = BENCHES.iter().map(|bench| format!("{}: {}", bench.name, bench.about));
        bail!("say which benchmark:\n  {}", list.collect::<Vec<_>>().join("\n  "));
    };
    (bench.run)(&args)
}
