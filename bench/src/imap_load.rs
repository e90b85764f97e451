//! Ours beside Dovecot over IMAP: sessions, single commands on large mailboxes, and how many write calls an answer of
//! 10,000 rows takes. Dovecot's processes stay for many sessions, as a large site has it (see `peer.rs`).
//!
//! Rounds take turns; the figure is CPU of the server with all its processes, and a ratio is taken inside a round. A
//! load is a row in [`TASKS`].

use crate::args::Args;
use crate::baseline::{self, Row};
use crate::figures::Spread;
use crate::imap::Imap;
use crate::letters::{Pool, Random};
use crate::lmtp::{deliver_to, settle};
use crate::load::Load;
use crate::peer::Dovecot;
use crate::server::Server;
use crate::{cpu, tree};
use anyhow::{Context as _, Result, ensure};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

const SEED: u64 = 1;
const LETTER_BYTES: usize = 5000;
/// Accounts of the sessions, and their letters.
const SMALL: u64 = 20;
const SMALL_LETTERS: u64 = 100;
const LARGE: &str = "alice@example.test";
const LARGE_LETTERS: u64 = 10_000;
/// As many copies of as many letters.
const HUGE: &str = "bob@example.test";
const HUGE_COPIES: u64 = 9;
const HUGE_LETTERS: u64 = LARGE_LETTERS * (HUGE_COPIES + 1);
const SESSIONS_AT_ONCE: usize = 8;
/// Commands of a mixed session between its LOGIN and its LOGOUT.
const MIXED_COMMANDS: usize = 20;
const WARM_UP: Duration = Duration::from_millis(500);

struct Task {
    name: &'static str,
    what: What,
    /// Ours to theirs, at most.
    bar: f64,
}

#[derive(Clone, Copy)]
enum What {
    /// LOGIN, SELECT, LOGOUT.
    Sessions,
    /// The same with [`MIXED_COMMANDS`] in between.
    Mixed,
    /// A command in the mailbox of this account; `N` is the number of some message, `S` plus or minus.
    Command(&'static str, &'static str),
}

// unsorted: from the session to the single command, small before large
static TASKS: &[Task] = &[
    Task { name: "login session", what: What::Sessions, bar: 0.45 },
    Task { name: "mixed, 20 commands a session", what: What::Mixed, bar: 0.5 },
    command("FETCH one body of 10,000", LARGE, "FETCH N (UID BODY.PEEK[])", 0.5),
    command("FETCH FLAGS of 10,000", LARGE, "FETCH 1:* (UID FLAGS)", 0.5),
    command("FETCH ENVELOPE of 10,000", LARGE, "FETCH 1:* (UID FLAGS ENVELOPE)", 0.5),
    command("FETCH BODYSTRUCTURE of 10,000", LARGE, "FETCH 1:* (UID BODYSTRUCTURE)", 0.5),
    command("STORE one flag of 10,000", LARGE, "STORE N SFLAGS (\\Flagged)", 1.0),
    command("STORE one flag of 100,000", HUGE, "STORE N SFLAGS (\\Flagged)", 1.0),
    command("SORT 10,000 by date", LARGE, "SORT (REVERSE DATE) UTF-8 ALL", 1.0),
    command("SORT 10,000 by subject", LARGE, "SORT (SUBJECT) UTF-8 ALL", 1.0),
    command("THREAD 10,000", LARGE, "THREAD REFERENCES UTF-8 ALL", 1.0),
];

const fn command(
    name: &'static str,
    account: &'static str,
    command: &'static str,
    bar: f64,
) -> Task {
    Task { name, what: What::Command(account, command), bar }
}

/// Shares of the commands of a mixed session: a desktop client that keeps what it has read.
static MIX: &[(usize, &str)] = &[
    (14, "FETCH 1:* (UID FLAGS)"),
    (18, "FETCH NEWEST (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)"),
    (10, "FETCH N (UID BODYSTRUCTURE)"),
    (20, "FETCH N (UID BODY.PEEK[])"),
    (12, "STORE N SFLAGS (\\Seen)"),
    (6, "SEARCH UNSEEN"),
    (2, "SEARCH SUBJECT faktura"),
    (4, APPEND),
    (4, IDLE),
    (5, "STATUS INBOX (MESSAGES UNSEEN UIDNEXT)"),
    (5, "NOOP"),
];
const APPEND: &str = "APPEND INBOX (\\Seen)";
const IDLE: &str = "IDLE";

/// One server: its processes and its doors.
struct Side {
    pid: u32,
    lmtp: SocketAddr,
    imap: SocketAddr,
}

/// What the rounds gave for one task and side.
#[derive(Default, Clone)]
struct Measured {
    cpu_ms: Vec<f64>,
    wall_ms: Vec<f64>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("opbench-").tempdir_in(&args.folder);
    let folder = folder.with_context(|| format!("cannot write in {}", args.folder.display()))?;
    // Dovecot may run as somebody else.
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
    let busy = cpu::busy();
    let dovecot = Dovecot::start(&folder.path().join("dovecot"), "optimized")?;
    let ours = Server::start(&args.server, &folder.path().join("data"))?;
    let sides = [
        Side { pid: ours.pid(), lmtp: ours.lmtp, imap: ours.imap },
        Side { pid: dovecot.pid(), lmtp: dovecot.lmtp, imap: dovecot.imap },
    ];
    let pool = Pool::new(LETTER_BYTES, SEED);
    for (side, name) in sides.iter().zip(["ours", "Dovecot"]) {
        eprintln!("{name}: letters for {SMALL} + 2 mailboxes");
        fill(side, &pool).with_context(|| format!("filling {name}"))?;
    }
    let measured = rounds(args, &sides, &pool)?;
    print(args, &measured);
    let writes = write_calls(&sides, folder.path())?;
    ours.stop()?;
    if let Some(busy) = busy {
        println!("{busy}");
    }
    if args.save {
        let mut rows = rows(&measured);
        rows.extend(writes);
        let path = baseline::save(&rows)?;
        println!("Saved {} rows in {}", rows.len(), path.display());
    }
    Ok(())
}

fn fill(side: &Side, pool: &Pool) -> Result<()> {
    let small = (0..SMALL).map(|number| (small(number), SMALL_LETTERS));
    let large = [LARGE, HUGE].map(|account| (account.to_owned(), LARGE_LETTERS));
    for (account, letters) in small.chain(large) {
        // Dovecot makes the mailbox with the first letter, and refuses others that come meanwhile.
        deliver_to(side.lmtp, &account, pool, 1)?;
        deliver_to(side.lmtp, &account, pool, letters - 1)?;
    }
    let mut imap = Imap::open(side.imap, HUGE)?;
    for _ in 0..HUGE_COPIES {
        imap.run(&format!("COPY 1:{LARGE_LETTERS} INBOX"))?;
    }
    imap.run("NOOP")?;
    ensure!(imap.exists == HUGE_LETTERS, "{} letters, not {HUGE_LETTERS}", imap.exists);
    Ok(())
}

fn small(number: u64) -> String {
    format!("u{:04}@example.test", number % SMALL)
}

fn rounds(args: &Args, sides: &[Side; 2], pool: &Pool) -> Result<Vec<[Measured; 2]>> {
    let mut all = vec![<[Measured; 2]>::default(); TASKS.len()];
    for round in 0..=args.rounds {
        for (task, measured) in TASKS.iter().zip(&mut all) {
            eprintln!("round {round} of {}: {}", args.rounds, task.name);
            for (side, measured) in sides.iter().zip(measured) {
                let time = if round == 0 { WARM_UP } else { args.seconds };
                settle();
                let before = tree::used(side.pid)?.cpu_ms;
                let done = task.work(side, pool, time).with_context(|| task.name.to_owned())?;
                let cpu_ms = tree::used(side.pid)?.cpu_ms - before;
                if round > 0 {
                    measured.cpu_ms.push(cpu_ms / done.exact_count());
                    measured.wall_ms.push(done.seconds * 1000.0 / done.exact_count());
                }
            }
        }
    }
    Ok(all)
}

impl Task {
    fn work(&self, side: &Side, pool: &Pool, time: Duration) -> Result<crate::load::Done> {
        let address = side.imap;
        let several = Load { connections: SESSIONS_AT_ONCE, time };
        match self.what {
            What::Sessions => {
                several.run(|_| Ok(|number| Imap::open(address, &small(number))?.run("LOGOUT")))
            }
            What::Mixed => several.run(|_| Ok(|number| mixed(address, number, pool))),
            What::Command(account, command) => Load { connections: 1, time }.run(|_| {
                let mut imap = Imap::open(address, account)?;
                Ok(move |number| {
                    let command = filled(command, &mut Random(number), imap.exists);
                    imap.run(&command)
                })
            }),
        }
    }
}

fn mixed(address: SocketAddr, number: u64, pool: &Pool) -> Result<()> {
    let account = small(number);
    let mut imap = Imap::open(address, &account)?;
    let mut random = Random(number);
    let shares: Vec<&str> =
        MIX.iter().flat_map(|(share, command)| std::iter::repeat_n(*command, *share)).collect();
    for _ in 0..MIXED_COMMANDS {
        match *random.pick(&shares).context("no commands")? {
            IDLE => imap.idle()?,
            APPEND => imap.run_with(APPEND, &pool.letter(random.next() >> 8, &account))?,
            command => {
                let command = filled(command, &mut random, imap.exists);
                imap.run(&command)?;
            }
        }
    }
    imap.run("LOGOUT")
}

/// The command with a message's number, the newest 20, plus or minus in their places.
fn filled(command: &str, random: &mut Random, exists: u64) -> String {
    let one = (random.next() >> 8) % exists.max(1) + 1;
    let sign = if random.next() & 1 == 0 { "+" } else { "-" };
    let newest = exists.saturating_sub(19).max(1);
    command
        .replace(" NEWEST ", &format!(" {newest}:* "))
        .replace(" N ", &format!(" {one} "))
        .replace(" SFLAGS", &format!(" {sign}FLAGS"))
}

fn print(args: &Args, measured: &[[Measured; 2]]) {
    println!(
        "\nIMAP beside Dovecot {} (sdbox, processes that stay), {} rounds of {} s, {}\n\
         Median of the rounds (smallest..largest). A ratio is taken inside each round.\n",
        Dovecot::version(),
        args.rounds,
        args.seconds.as_secs(),
        cpu::machine(),
    );
    println!(
        "{:<30} {:<20} {:<20} {:<20} {:<6} {:<20} wall ms, theirs",
        "", "CPU ms, ours", "CPU ms, theirs", "ours to theirs", "bar", "wall ms, ours"
    );
    for (task, [ours, theirs]) in TASKS.iter().zip(measured) {
        let ratio = Spread::of_ratios(&ours.cpu_ms, &theirs.cpu_ms);
        let verdict = if ratio.is_some_and(|r| r.median <= task.bar) { "" } else { "  MISSED" };
        println!(
            "{:<30} {:<20} {:<20} {:<20} {:<6} {:<20} {}{verdict}",
            task.name,
            shown(&ours.cpu_ms),
            shown(&theirs.cpu_ms),
            ratio.map(|ratio| ratio.to_string()).unwrap_or_default(),
            task.bar,
            shown(&ours.wall_ms),
            shown(&theirs.wall_ms),
        );
    }
}

fn shown(values: &[f64]) -> String {
    let Some(Spread { median, min, max }) = Spread::of(values.iter().copied()) else {
        return String::new();
    };
    format!("{median:.3} ({min:.3}..{max:.3})")
}

fn rows(measured: &[[Measured; 2]]) -> Vec<Row> {
    let row = |(task, [ours, theirs]): (&Task, &[Measured; 2])| {
        let value = Spread::of(ours.cpu_ms.iter().copied())?;
        let ratio = Spread::of_ratios(&ours.cpu_ms, &theirs.cpu_ms)?;
        let figure = format!("IMAP {}: server CPU", task.name);
        Some(Row { figure, value, unit: "ms", ratio, against: "Dovecot, processes that stay" })
    };
    TASKS.iter().zip(measured).filter_map(row).collect()
}

/// Calls that write, for one answer of 10,000 rows.
fn write_calls(sides: &[Side; 2], folder: &Path) -> Result<Option<Row>> {
    let mut found = Vec::new();
    for side in sides {
        let mut imap = Imap::open(side.imap, LARGE)?;
        let calls =
            tree::calls(side.pid, folder, &["write", "writev", "sendto", "sendmsg"], || {
                imap.run("FETCH 1:* (UID FLAGS ENVELOPE)")
            })?;
        found.extend(calls.and_then(|calls| u32::try_from(calls).ok()).map(f64::from));
    }
    let [ours, theirs] = *found.as_slice() else {
        println!("write calls were not counted: there is no strace");
        return Ok(None);
    };
    println!("write calls of a FETCH of {LARGE_LETTERS} rows: {ours} (bar 200), Dovecot {theirs}");
    let same = |value: f64| Spread { median: value, min: value, max: value };
    Ok(Some(Row {
        figure: "IMAP FETCH ENVELOPE of 10,000: write calls".to_owned(),
        value: same(ours),
        unit: "calls",
        ratio: same(ours / 200.0),
        against: "its bar of 200",
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_filled() {
        let check = |command: &str, exists: u64, expect: &[&str]| {
            let found = filled(command, &mut Random(1), exists);
            assert!(expect.contains(&found.as_str()), "{found}");
        };
        check("FETCH 1:* (UID FLAGS)", 9, &["FETCH 1:* (UID FLAGS)"]);
        check("FETCH N (UID)", 1, &["FETCH 1 (UID)"]);
        check("FETCH N (UID)", 0, &["FETCH 1 (UID)"]);
        check("FETCH NEWEST (UID)", 100, &["FETCH 81:* (UID)"]);
        check("FETCH NEWEST (UID)", 5, &["FETCH 1:* (UID)"]);
        let either = ["STORE 1 +FLAGS (\\Seen)", "STORE 1 -FLAGS (\\Seen)"];
        check("STORE N SFLAGS (\\Seen)", 1, &either);
    }

    #[test]
    fn the_mix_is_whole() {
        assert_eq!(MIX.iter().map(|(share, _)| share).sum::<usize>(), 100);
    }
}
