//! What connections cost that wait, and how soon they hear: 2,000 in IDLE on one mailbox, the server's memory for each,
//! and the time from the first byte of a new letter to each one's `EXISTS`, the sync of the disk in between included.
//! Then a mailbox of 100,000 messages: SELECT with nothing of the index in memory, and changing one flag beside the
//! same in a mailbox of 10,000.
//!
//! The clients run in one thread of this process, on the same cores as the server.

use crate::args::Args;
use crate::baseline::{self, Row};
use crate::figures::Spread;
use crate::imap::Imap;
use crate::letters::Pool;
use crate::server::Server;
use crate::{cpu, lmtp, reads};
use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

const IDLERS: usize = 2_000;
/// Sockets at both ends, and files.
const FILES: u64 = 10_000;
const LETTER_BYTES: usize = 1_000;
const SEED: u64 = 1;
/// A mailbox is filled with so many letters, which are then copied.
const LETTERS: u64 = 1_000;
/// In thousands.
const LARGE: usize = 100;
const SMALL: usize = 10;
const STORES: usize = 100;
const WAITED: &str = "u0000@example.test";
const LARGE_USER: &str = "u0001@example.test";
const SMALL_USER: &str = "u0002@example.test";

/// The bars we hold ourselves to.
const PSS_KIB: f64 = 32.0;
const NOTICE_MS: f64 = 20.0;
const SELECT_MS: f64 = 5.0;

pub(crate) fn run(args: &Args) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("opbench-").tempdir_in(&args.folder);
    let folder = folder.with_context(|| format!("cannot write in {}", args.folder.display()))?;
    let data = folder.path().join("data");
    allow_files()?;
    let busy = cpu::busy();
    let mut rows = waiting(args, &data)?;
    rows.extend(large(args, &data)?);
    println!("\n{} rounds, {}", args.rounds, cpu::machine());
    println!("{:<52} {:<28} of its bar", "", "median (smallest..largest)");
    for Row { figure, value, unit, ratio, .. } in &rows {
        println!("{figure:<52} {:<28} {ratio}", format!("{value} {unit}"));
    }
    if let Some(busy) = busy {
        println!("{busy}");
    }
    if args.save {
        let path = baseline::save(&rows)?;
        println!("Saved {} rows in {}", rows.len(), path.display());
    }
    Ok(())
}

/// The server inherits it.
fn allow_files() -> Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= FILES) {
        return Ok(());
    }
    let wanted = Rlimit { current: Some(FILES), maximum };
    setrlimit(Resource::Nofile, wanted)
        .with_context(|| format!("{FILES} open files are needed; raise `ulimit -n`"))
}

fn against(figure: &str, unit: &'static str, bar: f64, values: Vec<f64>) -> Result<Row> {
    let value = Spread::of(values).context("nothing was measured")?;
    let Spread { median, min, max } = value;
    let ratio = Spread { median: median / bar, min: min / bar, max: max / bar };
    Ok(Row { figure: format!("imap {figure}"), value, unit, ratio, against: "its bar" })
}

fn ms(from: Instant) -> f64 {
    from.elapsed().as_secs_f64() * 1000.0
}

// --- connections that wait

fn waiting(args: &Args, data: &Path) -> Result<Vec<Row>> {
    let server = Server::start(&args.server, data)?;
    let pool = Pool::new(LETTER_BYTES, SEED);
    let mut sender = Imap::open(server.imap, WAITED)?;
    append(&mut sender, &pool)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // What the first connection alone makes the server take is not counted.
    let before = pss_kib(server.pid())?;
    let (told, mut heard) = mpsc::unbounded_channel();
    runtime.block_on(async {
        for _ in 0..IDLERS {
            let idler = idler(server.imap).await?;
            tokio::spawn(listen(idler, told.clone()));
        }
        anyhow::Ok(())
    })?;
    lmtp::settle();
    let idlers = crate::storage::exact(IDLERS);
    let of_each = |after: f64| (after - before) / idlers;
    let pss = of_each(pss_kib(server.pid())?);
    let (mut medians, mut lasts) = (Vec::new(), Vec::new());
    for _ in 0..=args.rounds {
        let (median, last) = notice(&runtime, &mut heard, &mut sender, &pool)?;
        medians.push(median);
        lasts.push(last);
    }
    // The first one finds memory and threads not made yet.
    let (_, medians) = medians.split_first().context("no round")?;
    let (_, lasts) = lasts.split_first().context("no round")?;
    lmtp::settle();
    let after = of_each(pss_kib(server.pid())?);
    drop(runtime);
    server.stop()?;
    Ok(vec![
        against("PSS of one of 2,000 that wait", "KiB", PSS_KIB, vec![pss])?,
        against("PSS of one of 2,000, after news", "KiB", PSS_KIB, vec![after])?,
        against("news to 2,000 in IDLE, median of them", "ms", NOTICE_MS, medians.to_vec())?,
        against("news to 2,000 in IDLE, the last", "ms", NOTICE_MS, lasts.to_vec())?,
    ])
}

fn append(sender: &mut Imap, pool: &Pool) -> Result<()> {
    sender.run_with("APPEND INBOX", &pool.letter(1, WAITED))
}

/// From the start of the APPEND until half of them heard, and until all did.
fn notice(
    runtime: &tokio::runtime::Runtime,
    heard: &mut mpsc::UnboundedReceiver<Result<Instant>>,
    sender: &mut Imap,
    pool: &Pool,
) -> Result<(f64, f64)> {
    let began = Instant::now();
    // It waits in a thread of its own: this one reads what the others are told.
    let times = std::thread::scope(|scope| {
        let sending = scope.spawn(|| append(sender, pool));
        let mut times = runtime.block_on(async {
            let mut times = Vec::with_capacity(IDLERS);
            while times.len() < IDLERS {
                let at = heard.recv().await.context("nobody listens any more")??;
                times.push(at.duration_since(began).as_secs_f64() * 1000.0);
            }
            anyhow::Ok(times)
        })?;
        match sending.join() {
            Ok(done) => done?,
            Err(_) => bail!("the sender panicked"),
        }
        times.sort_by(f64::total_cmp);
        anyhow::Ok(times)
    })?;
    lmtp::settle();
    let median = times.get(IDLERS / 2).context("too few heard")?;
    Ok((*median, *times.last().context("nobody heard")?))
}

async fn idler(address: SocketAddr) -> Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let mut stream = BufReader::with_capacity(1024, stream);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    for (command, answer) in [
        (format!("a LOGIN {WAITED} secret\r\n"), "a OK"),
        ("b SELECT INBOX\r\n".to_owned(), "b OK"),
        // What its reader knows of is read: who waits has looked.
        ("c FETCH 1:* FLAGS\r\n".to_owned(), "c OK"),
        ("d IDLE\r\n".to_owned(), "+"),
    ] {
        stream.get_mut().write_all(command.as_bytes()).await?;
        loop {
            line.clear();
            ensure!(stream.read_line(&mut line).await? > 0, "the server hung up at {command}");
            if line.starts_with(answer) {
                break;
            }
            ensure!(line.starts_with('*'), "the answer to {command} is {line}");
        }
    }
    Ok(stream)
}

/// Tells when each `EXISTS` came.
async fn listen(mut stream: BufReader<TcpStream>, told: mpsc::UnboundedSender<Result<Instant>>) {
    let mut line = String::new();
    loop {
        line.clear();
        let at = match stream.read_line(&mut line).await {
            Ok(0) => Err(anyhow::anyhow!("the server hung up")),
            Ok(_) if line.ends_with(" EXISTS\r\n") => Ok(Instant::now()),
            Ok(_) => continue,
            Err(error) => Err(error.into()),
        };
        let ended = at.is_err();
        if told.send(at).is_err() || ended {
            return;
        }
    }
}

/// Memory of the process, what it shares with others counted in part.
fn pss_kib(pid: u32) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.context("no Pss in smaps_rollup")?.parse().context("Pss is no number")
}

// --- a large mailbox

fn large(args: &Args, data: &Path) -> Result<Vec<Row>> {
    let server = Server::start(&args.server, data)?;
    for (user, thousands) in [(LARGE_USER, LARGE), (SMALL_USER, SMALL)] {
        let pool = Pool::new(LETTER_BYTES, SEED);
        lmtp::deliver_to(server.lmtp, user, &pool, LETTERS)?;
        let mut imap = Imap::open(server.imap, user)?;
        for _ in 1..thousands {
            imap.run(&format!("COPY 1:{LETTERS} INBOX"))?;
        }
    }
    server.stop()?;
    let (mut cold, mut first) = (Vec::new(), Vec::new());
    let (mut large_ms, mut small_ms) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds {
        lmtp::settle();
        reads::forget(data)?;
        let server = Server::start(&args.server, data)?;
        // What is in memory of a server that runs: its program, and an account somebody else uses.
        let mut small = Imap::open(server.imap, SMALL_USER)?;
        let mut large = Imap::log_in(server.imap, LARGE_USER)?;
        let from = Instant::now();
        large.run("SELECT INBOX")?;
        cold.push(ms(from));
        ensure!(large.exists == LARGE as u64 * LETTERS, "{} messages", large.exists);
        let from = Instant::now();
        large.run("FETCH * UID")?;
        first.push(ms(from));
        let (of_large, of_small) = stores(&mut large, &mut small)?;
        large_ms.push(of_large);
        small_ms.push(of_small);
        server.stop()?;
    }
    let ratio = Spread::of_ratios(&large_ms, &small_ms).context("no round")?;
    let beside = Spread::of_ratios(&first, &cold).context("no round")?;
    Ok(vec![
        against("SELECT of 100,000, cold", "ms", SELECT_MS, cold)?,
        Row {
            figure: "imap the first FETCH after it".to_owned(),
            value: Spread::of(first).context("no round")?,
            unit: "ms",
            ratio: beside,
            against: "SELECT before it",
        },
        Row {
            figure: "imap STORE of one flag in 100,000".to_owned(),
            value: Spread::of(large_ms).context("no round")?,
            unit: "ms",
            ratio,
            against: "the same in 10,000",
        },
    ])
}

/// Median of one STORE in each of the two, which take turns.
fn stores(large: &mut Imap, small: &mut Imap) -> Result<(f64, f64)> {
    let (mut of_large, mut of_small) = (Vec::new(), Vec::new());
    for number in 1..=STORES {
        for (imap, values) in [(&mut *large, &mut of_large), (&mut *small, &mut of_small)] {
            let from = Instant::now();
            let sign = if number % 2 == 0 { '-' } else { '+' };
            imap.run(&format!("STORE {} {sign}FLAGS (\\Flagged)", number.div_ceil(2)))?;
            values.push(ms(from));
        }
    }
    let median = |values| Spread::of(values).map(|spread: Spread| spread.median);
    median(of_large).zip(median(of_small)).context("nothing was stored")
}
