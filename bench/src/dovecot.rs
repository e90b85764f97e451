//! Ours beside Dovecot on the same disk, with the same letters, accounts and load: deliveries over LMTP, and a
//! search over IMAP. Dovecot runs with sdbox twice, with its default `mail_fsync=optimized` and with `always`.
//!
//! Rounds take turns, so that what disturbs a round disturbs all three; ratios are taken inside a round. How
//! many syncs a delivery costs is counted beside the clock, with strace.

use crate::args::Args;
use crate::baseline::{self, Row};
use crate::figures::Spread;
use crate::imap::Imap;
use crate::letters::Pool;
use crate::lmtp::{deliver, settle};
use crate::load::Load;
use crate::peer::Dovecot;
use crate::server::{Server, USERS};
use crate::tree::{self, Used};
use crate::{cpu, storage::exact};
use anyhow::{Context as _, Result, ensure};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

const SIZES: [usize; 2] = [5000, 8000];
const SEED: u64 = 1;
const WARM_UP: Duration = Duration::from_millis(500);
/// strace makes every call slow: so long is enough to count.
const COUNTED: Duration = Duration::from_millis(700);
/// `/proc` counts in steps of 10 ms: so many searches make one figure.
const SEARCHES: usize = 5;
const SEARCHED_LETTERS: u64 = 10_000;
/// An account that the other loads leave alone.
const SEARCHED: &str = "alice@example.test";
/// Nothing in the letters; every byte is looked at.
const CRITERIA: &str = "TEXT \"nowhere to be found\"";

/// One server: its name in the table, its processes, its doors.
struct Side {
    name: &'static str,
    pid: u32,
    lmtp: SocketAddr,
    imap: SocketAddr,
}

/// What the rounds gave for one side, size and number of connections.
#[derive(Default)]
struct Measured {
    per_s: Vec<f64>,
    cpu_ms: Vec<f64>,
    written_bytes: Vec<f64>,
    syncs: Option<f64>,
}

/// All sides under one load, in their order.
struct Case {
    letter_bytes: usize,
    connections: usize,
    sides: Vec<Measured>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("opbench-").tempdir_in(&args.folder);
    let folder = folder.with_context(|| format!("cannot write in {}", args.folder.display()))?;
    // Dovecot may run as somebody else.
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
    let busy = cpu::busy();
    let optimized = Dovecot::start(&folder.path().join("optimized"), "optimized")?;
    let always = Dovecot::start(&folder.path().join("always"), "always")?;
    let ours = Server::start(&args.server, &folder.path().join("data"))?;
    let sides = [
        Side { name: "ours", pid: ours.pid(), lmtp: ours.lmtp, imap: ours.imap },
        Side::of("Dovecot optimized", &optimized),
        Side::of("Dovecot always", &always),
    ];
    println!(
        "\nLMTP beside Dovecot {} (sdbox), {USERS} accounts, {} rounds of {} s, {}\n\
         Median of the rounds (smallest..largest). A ratio is ours to theirs, taken inside each round.\n",
        Dovecot::version(),
        args.rounds,
        args.seconds.as_secs(),
        cpu::machine(),
    );
    let cases = deliveries(args, &sides, folder.path())?;
    let mut rows = Vec::new();
    println!(
        "{:>5} {:>5}  {:<18} {:<20} {:<20} {:<18} {:<20} {:<20} syncs/delivery",
        "bytes",
        "conns",
        "server",
        "deliveries/s",
        "ours to theirs",
        "CPU ms/delivery",
        "theirs to ours",
        "bytes written"
    );
    for case in &cases {
        case.print(&sides);
        rows.extend(case.rows(&sides));
    }
    rows.extend(search(args, &sides)?);
    ours.stop()?;
    if let Some(busy) = busy {
        println!("{busy}");
    }
    if args.save {
        let path = baseline::save(&rows)?;
        println!("Saved {} rows in {}", rows.len(), path.display());
    }
    Ok(())
}

impl Side {
    fn of(name: &'static str, server: &Dovecot) -> Self {
        Self { name, pid: server.pid(), lmtp: server.lmtp, imap: server.imap }
    }
}

fn deliveries(args: &Args, sides: &[Side], folder: &Path) -> Result<Vec<Case>> {
    let pools: Vec<Pool> = SIZES.iter().map(|bytes| Pool::new(*bytes, SEED)).collect();
    let mut cases = Vec::new();
    for letter_bytes in SIZES {
        for connections in &args.connections {
            let measured = sides.iter().map(|_| Measured::default()).collect();
            cases.push(Case { letter_bytes, connections: *connections, sides: measured });
        }
    }
    for round in 0..=args.rounds {
        for case in &mut cases {
            eprintln!(
                "round {round}: {} bytes, {} connections",
                case.letter_bytes, case.connections
            );
            let pool = pools.iter().zip(SIZES).find(|(_, bytes)| *bytes == case.letter_bytes);
            let (pool, _) = pool.context("no letters of this size")?;
            for (side, measured) in sides.iter().zip(&mut case.sides) {
                settle();
                let time = if round == 0 { WARM_UP } else { args.seconds };
                let load = Load { connections: case.connections, time };
                if round == 0 {
                    deliver(&load, pool, side.lmtp)?;
                    measured.syncs = counted_syncs(side, case.connections, pool, folder)?;
                } else {
                    measured.round(side, &load, pool).with_context(|| side.name.to_owned())?;
                }
            }
        }
    }
    Ok(cases)
}

/// Syncs for one delivery.
fn counted_syncs(
    side: &Side,
    connections: usize,
    pool: &Pool,
    folder: &Path,
) -> Result<Option<f64>> {
    let mut count = 0.0;
    let syncs = tree::syncs(side.pid, folder, || {
        let load = Load { connections, time: COUNTED };
        count = deliver(&load, pool, side.lmtp)?.exact_count();
        Ok(())
    })?;
    Ok(syncs.and_then(|syncs| u32::try_from(syncs).ok()).map(|syncs| f64::from(syncs) / count))
}

impl Measured {
    fn round(&mut self, side: &Side, load: &Load, pool: &Pool) -> Result<()> {
        let before = tree::used(side.pid)?;
        let done = deliver(load, pool, side.lmtp)?;
        ensure!(done.count > 0, "nothing was delivered in the time given");
        // What the kernel has not counted yet is what is not written yet.
        rustix::fs::sync();
        let Used { cpu_ms, written_bytes } = tree::used(side.pid)?;
        self.per_s.push(done.per_second());
        self.cpu_ms.push((cpu_ms - before.cpu_ms) / done.exact_count());
        self.written_bytes.push((written_bytes - before.written_bytes) / done.exact_count());
        Ok(())
    }
}

impl Case {
    fn print(&self, sides: &[Side]) {
        let Some(ours) = self.sides.first() else { return };
        for (side, measured) in sides.iter().zip(&self.sides) {
            println!(
                "{:>5} {:>5}  {:<18} {:<20} {:<20} {:<18} {:<20} {:<20} {}",
                self.letter_bytes,
                self.connections,
                side.name,
                shown(Spread::of(measured.per_s.iter().copied())),
                shown(Spread::of_ratios(&ours.per_s, &measured.per_s)),
                shown(Spread::of(measured.cpu_ms.iter().copied())),
                shown(Spread::of_ratios(&measured.cpu_ms, &ours.cpu_ms)),
                shown(Spread::of(measured.written_bytes.iter().copied())),
                measured
                    .syncs
                    .map_or_else(|| "no strace".to_owned(), |syncs| format!("{syncs:.2}")),
            );
        }
    }

    fn rows(&self, sides: &[Side]) -> Vec<Row> {
        let mut rows = Vec::new();
        let mut theirs = sides.iter().zip(&self.sides);
        let Some((_, ours)) = theirs.next() else { return rows };
        for (side, measured) in theirs {
            let figures = [
                ("durable deliveries", "1/s", &ours.per_s, &measured.per_s),
                ("server CPU", "ms", &ours.cpu_ms, &measured.cpu_ms),
                ("bytes written", "B", &ours.written_bytes, &measured.written_bytes),
            ];
            for (figure, unit, ours, theirs) in figures {
                let spread = Spread::of(ours.iter().copied());
                if let (Some(value), Some(ratio)) = (spread, Spread::of_ratios(ours, theirs)) {
                    let figure = format!(
                        "lmtp {} KB beside Dovecot, {} connections: {figure}",
                        self.letter_bytes / 1000,
                        self.connections
                    );
                    rows.push(Row { figure, value, unit, ratio, against: side.name });
                }
            }
        }
        rows
    }
}

/// CPU of one search over IMAP, the mailbox selected and everything read once.
fn search(args: &Args, sides: &[Side]) -> Result<Vec<Row>> {
    let pool = Pool::new(5000, SEED);
    let mut measured: Vec<(Vec<f64>, Vec<f64>)> = vec![Default::default(); sides.len()];
    let mut open = Vec::new();
    for side in sides {
        let messages = fill(side, &pool)?;
        let mut imap = Imap::open(side.imap, SEARCHED)?;
        ensure!(imap.search(CRITERIA)? == 0, "{}: something was found", side.name);
        let all = imap.search("TEXT pozdrawiam")?;
        ensure!(all == messages, "{}: {all} found, not {messages}", side.name);
        open.push(imap);
    }
    for _ in 0..args.rounds {
        for ((side, imap), (cpu, wall)) in sides.iter().zip(&mut open).zip(&mut measured) {
            let (before, from) = (tree::used(side.pid)?.cpu_ms, std::time::Instant::now());
            for _ in 0..SEARCHES {
                imap.search(CRITERIA)?;
            }
            cpu.push((tree::used(side.pid)?.cpu_ms - before) / exact(SEARCHES));
            wall.push(from.elapsed().as_secs_f64() * 1000.0 / exact(SEARCHES));
        }
    }
    println!("\nSEARCH {CRITERIA} in {SEARCHED_LETTERS} letters of 5 KB");
    println!("{:<18} {:<20} {:<20} {:<20}", "server", "CPU ms", "theirs to ours", "wall ms");
    let mut rows = Vec::new();
    let Some((ours, _)) = measured.first() else { return Ok(rows) };
    for (side, (cpu, wall)) in sides.iter().zip(&measured) {
        println!(
            "{:<18} {:<20} {:<20} {:<20}",
            side.name,
            shown(Spread::of(cpu.iter().copied())),
            shown(Spread::of_ratios(cpu, ours)),
            shown(Spread::of(wall.iter().copied())),
        );
        let value = Spread::of(ours.iter().copied()).filter(|_| side.name != "ours");
        if let (Some(value), Some(ratio)) = (value, Spread::of_ratios(ours, cpu)) {
            let figure = "IMAP SEARCH TEXT in 10,000 x 5 KB beside Dovecot".to_owned();
            rows.push(Row { figure, value, unit: "CPU ms", ratio, against: side.name });
        }
    }
    Ok(rows)
}

/// Makes the mailbox as large as it must be; gives how many of its letters are of this pool.
fn fill(side: &Side, pool: &Pool) -> Result<usize> {
    let have = Imap::open(side.imap, SEARCHED)?.search("ALL")?;
    let missing = SEARCHED_LETTERS.saturating_sub(have as u64);
    eprintln!("{}: {missing} letters for the search", side.name);
    crate::lmtp::deliver_to(side.lmtp, SEARCHED, pool, missing)?;
    Imap::open(side.imap, SEARCHED)?.search("TEXT pozdrawiam")
}

fn shown(spread: Option<Spread>) -> String {
    spread.map(|spread| spread.to_string()).unwrap_or_default()
}
