//! How long a letter takes when 300 come in every second, for 20 seconds, to 50 mailboxes: until the sender has its
//! answer, and until a client that waits in IDLE sees it.
//!
//! Open loop: each letter has its moment, and is late when the one before it was. So a server that cannot follow shows.

use crate::args::Args;
use crate::baseline::{self, Row};
use crate::cpu;
use crate::figures::Spread;
use crate::letters::Pool;
use crate::lmtp::Connection;
use crate::server::Server;
use crate::tree::wait;
use anyhow::{Context as _, Result, bail, ensure};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::time::{Duration, Instant};

const SEED: u64 = 1;
const LETTER_BYTES: usize = 5000;
const PER_S: u32 = 300;
const SECONDS: u32 = 20;
const MAILBOXES: u64 = 50;
const CONNECTIONS: u32 = 24;
/// Every so many letters one goes to who waits in IDLE.
const WATCHED_EVERY: u64 = 30;
const WATCHED: &str = "alice@example.test";
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The talk's figure, and ours.
const P99_BAR_MS: f64 = 1000.0;
const MEDIAN_BAR_MS: f64 = 20.0;

pub(crate) fn run(args: &Args) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("opbench-").tempdir_in(&args.folder);
    let folder = folder.with_context(|| format!("cannot write in {}", args.folder.display()))?;
    let busy = cpu::busy();
    let pool = Pool::new(LETTER_BYTES, SEED);
    let mut rows = Vec::new();
    println!(
        "\n{PER_S} letters a second for {SECONDS} s to {MAILBOXES} mailboxes, {} rounds, {}\n",
        args.rounds,
        cpu::machine()
    );
    for (name, hello) in [("LMTP", "LHLO"), ("SMTP", "EHLO")] {
        let mut figures: [Vec<f64>; 4] = Default::default();
        for round in 1..=args.rounds {
            eprintln!("{name}: round {round} of {}", args.rounds);
            let data = folder.path().join(format!("{name}-{round}"));
            let server = Server::start(&args.server, &data)?;
            let address = if hello == "LHLO" { server.lmtp } else { server.smtp };
            let (answered, seen) = one_round(address, hello, server.imap, &pool)?;
            server.stop()?;
            for (times, pair) in [answered, seen].into_iter().zip(figures.chunks_mut(2)) {
                let [median, p99] = pair else { bail!("two figures a list") };
                median.push(part(&times, 50)?);
                p99.push(part(&times, 99)?);
            }
        }
        let names =
            ["answered, median", "answered, p99", "seen in IDLE, median", "seen in IDLE, p99"];
        for ((figure, values), is_p99) in names.iter().zip(figures).zip([false, true, false, true])
        {
            let bar = if is_p99 { P99_BAR_MS } else { MEDIAN_BAR_MS };
            let value = Spread::of(values.iter().copied()).context("no rounds")?;
            let ratio = Spread::of(values.iter().map(|ms| ms / bar)).context("no rounds")?;
            let verdict = if value.median <= bar { "" } else { "  MISSED" };
            println!("{name:<6} {figure:<22} {value} ms of {bar}{verdict}");
            let figure = format!("{name} in at 300 a second: {figure}");
            rows.push(Row { figure, value, unit: "ms", ratio, against: "its bar" });
        }
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

/// Milliseconds from each letter's moment to its answer, and to where it was seen.
fn one_round(
    address: SocketAddr,
    hello: &str,
    imap: SocketAddr,
    pool: &Pool,
) -> Result<(Vec<f64>, Vec<f64>)> {
    let letters = u64::from(PER_S * SECONDS);
    let watched: Vec<u64> = (0..letters).filter(|n| n % WATCHED_EVERY == 0).collect();
    let watcher = Watcher::open(imap)?;
    let begin = Instant::now() + Duration::from_millis(200);
    let moment =
        |number: u64| begin + Duration::from_secs(1) * u32::try_from(number).unwrap_or(0) / PER_S;
    let answered = Mutex::new(Vec::new());
    let seen = std::thread::scope(|scope| -> Result<Vec<f64>> {
        let watching = scope.spawn(|| watcher.times(watched.len()));
        let mut senders = Vec::new();
        for at in 0..u64::from(CONNECTIONS) {
            let answered = &answered;
            senders.push(scope.spawn(move || -> Result<()> {
                let mut connection = Connection::open_with(address, hello)?;
                for number in (0..letters).filter(|n| n % u64::from(CONNECTIONS) == at) {
                    let to = match number % WATCHED_EVERY {
                        0 => WATCHED.to_owned(),
                        _ => format!("u{:04}@example.test", number % MAILBOXES),
                    };
                    let letter = pool.letter(number, &to);
                    wait(moment(number).saturating_duration_since(Instant::now()));
                    connection.deliver(&to, letter)?;
                    let ms = moment(number).elapsed().as_secs_f64() * 1000.0;
                    if let Ok(mut answered) = answered.lock() {
                        answered.push(ms);
                    }
                }
                Ok(())
            }));
        }
        for sender in senders {
            sender.join().map_err(|_| anyhow::anyhow!("a sender panicked"))??;
        }
        let times = watching.join().map_err(|_| anyhow::anyhow!("the watcher panicked"))??;
        // The nth letter for alice is there when the mailbox has n: the order among them does not matter.
        let since = |(number, time): (&u64, Instant)| {
            time.saturating_duration_since(moment(*number)).as_secs_f64() * 1000.0
        };
        Ok(watched.iter().zip(times).map(since).collect())
    })?;
    let answered = answered.into_inner().map_err(|_| anyhow::anyhow!("a sender panicked"))?;
    ensure!(answered.len() as u64 == letters, "{} answers, not {letters}", answered.len());
    Ok((answered, seen))
}

/// The value that so many in a hundred do not pass.
fn part(times: &[f64], percent: usize) -> Result<f64> {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(at).copied().context("no times")
}

/// A client in IDLE.
struct Watcher(BufReader<TcpStream>);

impl Watcher {
    fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        let mut watcher = Self(BufReader::new(stream));
        watcher.line()?;
        watcher.0.get_mut().write_all(
            format!("a LOGIN {WATCHED} secret\r\nb SELECT INBOX\r\nc IDLE\r\n").as_bytes(),
        )?;
        while !watcher.line()?.starts_with('+') {}
        Ok(watcher)
    }

    /// When the mailbox had one more letter, so often.
    fn times(mut self, count: usize) -> Result<Vec<Instant>> {
        let mut times = Vec::with_capacity(count);
        while times.len() < count {
            let line = self.line()?;
            let exists = line.trim_end().strip_prefix("* ").and_then(|l| l.strip_suffix(" EXISTS"));
            let Some(exists) = exists.and_then(|number| number.parse::<usize>().ok()) else {
                continue;
            };
            let now = Instant::now();
            while times.len() < exists.min(count) {
                times.push(now);
            }
        }
        Ok(times)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let bytes = self.0.read_line(&mut line).context("no news")?;
        ensure!(bytes > 0, "the server closed the connection");
        Ok(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        let times: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert_eq!(part(&times, 50).unwrap().to_bits(), 100f64.to_bits());
        assert_eq!(part(&times, 99).unwrap().to_bits(), 198f64.to_bits());
        assert!(part(&[], 50).is_err());
    }
}
