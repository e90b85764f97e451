//! Mail in and POP3 beside Debian's Postfix and Dovecot: CPU of all processes for one letter, from the client's
//! connection to the mailbox, and for one POP3 session.
//!
//! Rounds take turns, and a ratio is taken inside a round. A load is a row in [`TASKS`].

use crate::args::Args;
use crate::baseline::{self, Row};
use crate::figures::Spread;
use crate::letters::Pool;
use crate::lmtp::{Connection, deliver, deliver_to, settle};
use crate::load::{Done, Load};
use crate::peer::Dovecot;
use crate::postfix::Postfix;
use crate::server::{Server, USERS};
use crate::{cpu, tree};
use anyhow::{Context as _, Result, ensure};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

const SEED: u64 = 1;
const LETTER_BYTES: usize = 5000;
const CONNECTIONS: usize = 8;
/// Accounts that POP3 sessions read; nothing else is delivered to them.
const READ: u64 = 20;
const RETRS: u64 = 20;
const WARM_UP: Duration = Duration::from_secs(1);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

struct Task {
    name: &'static str,
    what: What,
    /// Ours to theirs, at most.
    bar: f64,
    theirs: &'static str,
}

#[derive(Clone, Copy)]
enum What {
    Lmtp,
    Smtp,
    Pop3,
}

// unsorted: mail in, the short way and the long, then out
static TASKS: &[Task] = &[
    Task {
        name: "LMTP in, 5 KB, 8 connections",
        what: What::Lmtp,
        bar: 1.0 / 3.0,
        theirs: "Dovecot LMTP",
    },
    Task {
        name: "SMTP in to the mailbox, 5 KB, 8 connections",
        what: What::Smtp,
        bar: 1.0 / 8.0,
        theirs: "Postfix and Dovecot LMTP",
    },
    Task {
        name: "POP3 session of 20 RETR",
        what: What::Pop3,
        bar: 1.0 / 3.0,
        theirs: "Dovecot, processes that stay",
    },
];

/// One server, or two in a row: their processes and doors.
struct Side<'a> {
    pids: Vec<u32>,
    lmtp: SocketAddr,
    smtp: SocketAddr,
    pop3: SocketAddr,
    /// Letters may still be on their way when the client has its answer.
    postfix: Option<&'a Postfix>,
}

/// What the rounds gave for one task and side.
#[derive(Default, Clone)]
struct Measured {
    cpu_ms: Vec<f64>,
    per_s: Vec<f64>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("opbench-").tempdir_in(&args.folder);
    let folder = folder.with_context(|| format!("cannot write in {}", args.folder.display()))?;
    // Dovecot and Postfix run as somebody else.
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
    let busy = cpu::busy();
    let dovecot = Dovecot::start(&folder.path().join("dovecot"), "optimized")?;
    let postfix = Postfix::start(&folder.path().join("postfix"), dovecot.lmtp)?;
    let ours = Server::start(&args.server, &folder.path().join("data"))?;
    let sides = [
        Side {
            pids: vec![ours.pid()],
            lmtp: ours.lmtp,
            smtp: ours.smtp,
            pop3: ours.pop3,
            postfix: None,
        },
        Side {
            pids: vec![dovecot.pid(), postfix.pid()],
            lmtp: dovecot.lmtp,
            smtp: postfix.smtp,
            pop3: dovecot.pop3,
            postfix: Some(&postfix),
        },
    ];
    let pool = Pool::new(LETTER_BYTES, SEED);
    for side in &sides {
        for number in 0..READ {
            deliver_to(side.lmtp, &reader(number), &pool, 1)?;
            deliver_to(side.lmtp, &reader(number), &pool, RETRS - 1)?;
        }
    }
    let measured = rounds(args, &sides, &pool)?;
    print(args, &measured);
    ours.stop()?;
    if let Some(busy) = busy {
        println!("{busy}");
    }
    if args.save {
        let rows = rows(&measured);
        let path = baseline::save(&rows)?;
        println!("Saved {} rows in {}", rows.len(), path.display());
    }
    Ok(())
}

/// The last accounts; the loads of mail in leave them alone.
fn reader(number: u64) -> String {
    format!("u{:04}@example.test", USERS - 1 - number % READ)
}

fn rounds(args: &Args, sides: &[Side<'_>; 2], pool: &Pool) -> Result<Vec<[Measured; 2]>> {
    let mut all = vec![<[Measured; 2]>::default(); TASKS.len()];
    for round in 0..=args.rounds {
        for (task, measured) in TASKS.iter().zip(&mut all) {
            eprintln!("round {round} of {}: {}", args.rounds, task.name);
            for (side, measured) in sides.iter().zip(measured) {
                let time = if round == 0 { WARM_UP } else { args.seconds };
                settle();
                let before = side.used_ms()?;
                let done = task.work(side, pool, time).with_context(|| task.name.to_owned())?;
                let cpu_ms = side.used_ms()? - before;
                ensure!(done.count > 0, "nothing was done in the time given");
                if round > 0 {
                    measured.cpu_ms.push(cpu_ms / done.exact_count());
                    measured.per_s.push(done.per_second());
                }
            }
        }
    }
    Ok(all)
}

impl Side<'_> {
    fn used_ms(&self) -> Result<f64> {
        self.pids.iter().map(|pid| Ok(tree::used(*pid)?.cpu_ms)).sum()
    }
}

impl Task {
    fn work(&self, side: &Side<'_>, pool: &Pool, time: Duration) -> Result<Done> {
        let load = Load { connections: CONNECTIONS, time };
        match self.what {
            What::Lmtp => deliver(&load, pool, side.lmtp),
            What::Smtp => {
                let done = load.run(|_| {
                    let mut connection = Connection::open_with(side.smtp, "EHLO")?;
                    Ok(move |number: u64| {
                        let to = format!("u{:04}@example.test", number % (USERS - READ));
                        connection.deliver(&to, pool.letter(number, &to))
                    })
                })?;
                if let Some(postfix) = side.postfix {
                    postfix.wait_empty()?;
                }
                Ok(done)
            }
            What::Pop3 => load.run(|_| Ok(|number| session(side.pop3, &reader(number)))),
        }
    }
}

/// Each account has one session at a time: who finds it taken comes again.
fn session(address: SocketAddr, account: &str) -> Result<()> {
    loop {
        let mut pop3 = Pop3::open(address)?;
        pop3.run(&format!("USER {account}"), false)?;
        if !pop3.try_run("PASS secret")? {
            continue;
        }
        pop3.run("STAT", false)?;
        for number in 1..=RETRS {
            pop3.run(&format!("RETR {number}"), true)?;
        }
        return pop3.run("QUIT", false);
    }
}

struct Pop3 {
    stream: BufReader<TcpStream>,
    line: Vec<u8>,
}

impl Pop3 {
    fn open(address: SocketAddr) -> Result<Self> {
        let stream =
            TcpStream::connect(address).with_context(|| format!("cannot reach {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        let mut pop3 =
            Self { stream: BufReader::with_capacity(16 << 10, stream), line: Vec::new() };
        pop3.read_line()?;
        Ok(pop3)
    }

    fn run(&mut self, command: &str, has_text: bool) -> Result<()> {
        let ok = self.try_run(command)?;
        let word = command.split(' ').next().unwrap_or_default();
        ensure!(ok, "the answer to {word} is {:?}", String::from_utf8_lossy(&self.line));
        if !has_text {
            return Ok(());
        }
        loop {
            self.read_line()?;
            if self.line == b".\r\n" {
                return Ok(());
            }
        }
    }

    /// `false`: refused.
    fn try_run(&mut self, command: &str) -> Result<bool> {
        self.stream.get_mut().write_all(format!("{command}\r\n").as_bytes())?;
        self.read_line()?;
        Ok(self.line.starts_with(b"+OK"))
    }

    fn read_line(&mut self) -> Result<()> {
        self.line.clear();
        let bytes = self.stream.read_until(b'\n', &mut self.line).context("no answer")?;
        ensure!(bytes > 0, "the server closed the connection");
        Ok(())
    }
}

fn print(args: &Args, measured: &[[Measured; 2]]) {
    println!(
        "\nBeside Postfix and Dovecot {} (sdbox, processes that stay), {} rounds of {} s, {}\n\
         Median of the rounds (smallest..largest). A ratio is taken inside each round.\n",
        Dovecot::version(),
        args.rounds,
        args.seconds.as_secs(),
        cpu::machine(),
    );
    println!(
        "{:<44} {:<22} {:<22} {:<18} {:<6} {:<20} a second, theirs",
        "", "CPU ms, ours", "CPU ms, theirs", "ours to theirs", "bar", "a second, ours"
    );
    let shown = |values: &[f64]| {
        let spread = Spread::of(values.iter().copied());
        spread.map(|s| format!("{:.3} ({:.3}..{:.3})", s.median, s.min, s.max)).unwrap_or_default()
    };
    let rate = |values: &[f64]| {
        Spread::of(values.iter().copied()).map(|s| s.to_string()).unwrap_or_default()
    };
    for (task, [ours, theirs]) in TASKS.iter().zip(measured) {
        let ratio = Spread::of_ratios(&ours.cpu_ms, &theirs.cpu_ms);
        let verdict = if ratio.is_some_and(|r| r.median <= task.bar) { "" } else { "  MISSED" };
        println!(
            "{:<44} {:<22} {:<22} {:<18} {:<6.3} {:<20} {}{verdict}",
            task.name,
            shown(&ours.cpu_ms),
            shown(&theirs.cpu_ms),
            ratio.map(|ratio| ratio.to_string()).unwrap_or_default(),
            task.bar,
            rate(&ours.per_s),
            rate(&theirs.per_s),
        );
    }
}

fn rows(measured: &[[Measured; 2]]) -> Vec<Row> {
    let row = |(task, [ours, theirs]): (&Task, &[Measured; 2])| {
        let value = Spread::of(ours.cpu_ms.iter().copied())?;
        let ratio = Spread::of_ratios(&ours.cpu_ms, &theirs.cpu_ms)?;
        let figure = format!("{}: server CPU", task.name);
        Some(Row { figure, value, unit: "ms", ratio, against: task.theirs })
    };
    TASKS.iter().zip(measured).filter_map(row).collect()
}
