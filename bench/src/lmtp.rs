//! Deliveries over LMTP (RFC 2033): how many a second are durable, and what CPU each costs the server.
//!
//! Each connection sends MAIL, RCPT and DATA together, as Postfix does, and waits for the answer to its
//! letter before the next. The bound is [`crate::bound`] with the same letters on the same disk.

use crate::args::Args;
use crate::baseline::Row;
use crate::figures::Spread;
use crate::letters::Pool;
use crate::load::{Done, Load};
use crate::server::{Server, USERS};
use crate::{baseline, bound, cpu};
use anyhow::{Context as _, Result, bail, ensure};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const LETTER_BYTES: usize = 5000;
/// Connections that fill a mailbox.
const FILLERS: u64 = 16;
const SEED: u64 = 1;
/// Not counted: threads, caches and files of a first moment.
const WARM_UP: Duration = Duration::from_millis(500);
/// The server tidies up its index for a moment after a load.
const SETTLE: Duration = Duration::from_millis(500);
/// No answer for so long is a server that hangs.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// What the rounds gave for one number of connections.
#[derive(Default)]
struct Measured {
    delivered_per_s: Vec<f64>,
    bound_per_s: Vec<f64>,
    cpu_ms: Vec<f64>,
    bound_cpu_ms: Vec<f64>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("opbench-").tempdir_in(&args.folder);
    let folder = folder.with_context(|| format!("cannot write in {}", args.folder.display()))?;
    let pool = Pool::new(LETTER_BYTES, SEED);
    let busy = cpu::busy();
    let server = Server::start(&args.server, &folder.path().join("data"))?;
    let mut all: Vec<(usize, Measured)> =
        args.connections.iter().map(|connections| (*connections, Measured::default())).collect();
    for (connections, _) in &all {
        deliver(&Load { connections: *connections, time: WARM_UP }, &pool, server.lmtp)?;
    }
    for round in 1..=args.rounds {
        for (connections, measured) in &mut all {
            eprintln!("round {round} of {}: {connections} connections", args.rounds);
            let load = Load { connections: *connections, time: args.seconds };
            let (done, cpu_ms) =
                with_cpu(std::process::id(), || bound::run(&load, &pool, folder.path()))?;
            measured.bound_per_s.push(done.per_second());
            measured.bound_cpu_ms.push(cpu_ms / done.exact_count());
            settle();
            let (done, cpu_ms) = with_cpu(server.pid(), || deliver(&load, &pool, server.lmtp))?;
            measured.delivered_per_s.push(done.per_second());
            measured.cpu_ms.push(cpu_ms / done.exact_count());
        }
    }
    server.stop()?;
    let rows: Vec<Row> = all.iter().flat_map(|(n, measured)| measured.rows(*n)).collect();
    ensure!(rows.len() == all.len() * 2, "a round gave nothing to divide by");
    print!("{}", table(args, &all));
    if let Some(busy) = busy {
        println!("{busy}");
    }
    if args.save {
        let path = baseline::save(&rows)?;
        println!("Saved {} rows in {}", rows.len(), path.display());
    }
    Ok(())
}

/// Lets what the last measurement left for the disk be written, so that the next does not pay for it.
#[expect(clippy::disallowed_methods, reason = "there is no executor here that could be blocked")]
pub(crate) fn settle() {
    rustix::fs::sync();
    std::thread::sleep(SETTLE);
    rustix::fs::sync();
}

/// What `work` did, and how much CPU the process used meanwhile.
fn with_cpu(pid: u32, work: impl FnOnce() -> Result<Done>) -> Result<(Done, f64)> {
    let before = cpu::used_ms(pid)?;
    let done = work()?;
    ensure!(done.count > 0, "nothing was done in the time given");
    Ok((done, cpu::used_ms(pid)? - before))
}

pub(crate) fn deliver(load: &Load, pool: &Pool, address: SocketAddr) -> Result<Done> {
    load.run(|_| {
        let mut connection = Connection::open(address)?;
        Ok(move |number| {
            let to = format!("u{:04}@example.test", number % USERS);
            connection.deliver(&to, pool.letter(number, &to))
        })
    })
}

/// Delivers `count` letters to one account.
pub(crate) fn deliver_to(address: SocketAddr, to: &str, pool: &Pool, count: u64) -> Result<()> {
    let each = |at: u64| -> Result<()> {
        let mut connection = Connection::open(address)?;
        (0..count)
            .filter(|number| number % FILLERS == at)
            .try_for_each(|number| connection.deliver(to, pool.letter(number, to)))
    };
    std::thread::scope(|scope| {
        let each = &each;
        let threads: Vec<_> = (0..FILLERS).map(|at| scope.spawn(move || each(at))).collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(done) => done,
            Err(_) => bail!("a thread of the load panicked"),
        })
    })
}

pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    line: String,
}

impl Connection {
    fn open(address: SocketAddr) -> Result<Self> {
        Self::open_with(address, "LHLO")
    }

    /// The same for SMTP, with `EHLO`.
    pub(crate) fn open_with(address: SocketAddr, hello: &str) -> Result<Self> {
        let stream =
            TcpStream::connect(address).with_context(|| format!("cannot reach {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        let mut connection = Self { stream: BufReader::new(stream), line: String::new() };
        connection.expect('2', "the greeting")?;
        connection.send(format!("{hello} load.example.test\r\n").as_bytes())?;
        connection.expect('2', hello)?;
        Ok(connection)
    }

    /// Sends one letter to one recipient; it is durable when this returns.
    pub(crate) fn deliver(&mut self, to: &str, letter: Vec<u8>) -> Result<()> {
        self.deliver_from("s@sender.example.test", to, letter)
    }

    pub(crate) fn deliver_from(&mut self, from: &str, to: &str, mut letter: Vec<u8>) -> Result<()> {
        let envelope = format!("MAIL FROM:<{from}>\r\nRCPT TO:<{to}>\r\nDATA\r\n");
        self.send(envelope.as_bytes())?;
        self.expect('2', "MAIL")?;
        self.expect('2', "RCPT")?;
        self.expect('3', "DATA")?;
        letter.extend_from_slice(b".\r\n");
        self.send(&letter)?;
        self.expect('2', "the letter")
    }

    /// A command and its answer.
    pub(crate) fn say(&mut self, command: &str, class: char) -> Result<()> {
        self.send(format!("{command}\r\n").as_bytes())?;
        self.expect(class, command.split(' ').next().unwrap_or_default())
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.get_mut().write_all(bytes).context("the server closed the connection")
    }

    /// Reads one answer, of several lines if need be; its code must begin with `class`.
    fn expect(&mut self, class: char, what: &str) -> Result<()> {
        loop {
            self.line.clear();
            let read = self.stream.read_line(&mut self.line);
            let bytes = read.with_context(|| format!("no answer to {what}"))?;
            ensure!(bytes > 0, "the server closed the connection instead of answering {what}");
            let line = self.line.trim_end();
            ensure!(line.starts_with(class), "the answer to {what} is {line:?}");
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(());
            }
        }
    }
}

impl Measured {
    /// Two rows of the baseline, if there were rounds.
    fn rows(&self, connections: usize) -> Vec<Row> {
        let row = |figure: &str, unit, against, ours: &[f64], theirs: &[f64]| {
            Some(Row {
                figure: format!("lmtp 5 KB, {connections} connections: {figure}"),
                value: Spread::of(ours.iter().copied())?,
                unit,
                ratio: Spread::of_ratios(ours, theirs)?,
                against,
            })
        };
        let (rate, cpu) = (&self.delivered_per_s, &self.cpu_ms);
        let rate =
            row("durable deliveries", "1/s", "raw append+fdatasync", rate, &self.bound_per_s);
        let cpu = row("server CPU", "ms", "CPU of a raw append", cpu, &self.bound_cpu_ms);
        [rate, cpu].into_iter().flatten().collect()
    }
}

fn table(args: &Args, all: &[(usize, Measured)]) -> String {
    let mut text = format!(
        "\nLMTP delivery, {LETTER_BYTES} byte letters, {USERS} users, {} rounds of {} s, {}\n\
         Median of the rounds (smallest..largest). A ratio is taken inside each round.\n\n\
         {:>5}  {:<20} {:<22} {:<22} {:<20} {:<20}\n",
        args.rounds,
        args.seconds.as_secs(),
        cpu::machine(),
        "conns",
        "of the raw bound",
        "deliveries/s",
        "raw append+fdatasync/s",
        "CPU ms/delivery",
        "CPU ms/raw append",
    );
    for (connections, measured) in all {
        let spread = |values: &[f64]| {
            Spread::of(values.iter().copied()).map(|s| s.to_string()).unwrap_or_default()
        };
        let ratio = Spread::of_ratios(&measured.delivered_per_s, &measured.bound_per_s);
        let line = format!(
            "{connections:>5}  {:<20} {:<22} {:<22} {:<20} {:<20}\n",
            ratio.map(|s| s.to_string()).unwrap_or_default(),
            spread(&measured.delivered_per_s),
            spread(&measured.bound_per_s),
            spread(&measured.cpu_ms),
            spread(&measured.bound_cpu_ms),
        );
        text.push_str(&line);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// A server that says `answers` in turn, one after each of our writes, and gives back what it read.
    fn conversation(answers: &'static [&str]) -> (SocketAddr, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut stream = BufReader::new(stream);
            let mut heard = String::new();
            for (until, answer) in answers.iter().map(|step| step.split_once('|').unwrap()) {
                while !until.is_empty() && !heard.ends_with(until) {
                    assert!(stream.read_line(&mut heard).unwrap() > 0, "{heard}");
                }
                stream.get_mut().write_all(answer.as_bytes()).unwrap();
            }
            heard
        });
        (address, server)
    }

    #[test]
    fn a_letter_is_sent() {
        let (address, server) = conversation(&[
            "|220 hi\r\n",
            "LHLO load.example.test\r\n|250-x\r\n250 PIPELINING\r\n",
            "DATA\r\n|250 ok\r\n250 ok\r\n354 go\r\n",
            "\r\n.\r\n|250 durable\r\n",
        ]);
        let mut connection = Connection::open(address).unwrap();
        connection.deliver("u0001@example.test", b"Subject: x\r\n\r\nhello\r\n".to_vec()).unwrap();
        let heard = server.join().unwrap();
        assert!(
            heard.contains("RCPT TO:<u0001@example.test>\r\nDATA\r\nSubject: x\r\n"),
            "{heard}"
        );
    }

    #[test]
    fn a_refusal_is_told_in_the_servers_words() {
        let check = |answers, expect: &str| {
            let (address, server) = conversation(answers);
            let sent = Connection::open(address)
                .and_then(|mut open| open.deliver("u@example.test", b"x\r\n".to_vec()));
            let error = format!("{:#}", sent.unwrap_err());
            assert!(error.contains(expect), "{error}");
            drop(server);
        };
        check(&["|421 busy\r\n"], "the answer to the greeting is \"421 busy\"");
        check(
            &[
                "|220 hi\r\n",
                "\r\n|250 x\r\n",
                "DATA\r\n|250 ok\r\n550 5.1.1 unknown\r\n503 no\r\n",
            ],
            "the answer to RCPT is \"550 5.1.1 unknown\"",
        );
        check(&["|220 hi\r\n", "\r\n|"], "closed the connection instead of answering LHLO");
    }

    #[test]
    fn rounds_become_rows_and_a_table() {
        let measured = Measured {
            delivered_per_s: vec![50.0, 60.0, 70.0],
            bound_per_s: vec![100.0, 100.0, 100.0],
            cpu_ms: vec![0.2, 0.3, 0.2],
            bound_cpu_ms: vec![0.02, 0.02, 0.02],
        };
        let rows = measured.rows(8);
        assert_eq!(rows.len(), 2);
        let first = rows.first().unwrap();
        assert_eq!(first.ratio, Spread { median: 0.6, min: 0.5, max: 0.7 });
        assert_eq!(first.figure, "lmtp 5 KB, 8 connections: durable deliveries");
        let args = Args::parse(["lmtp".to_owned()].into_iter()).unwrap();
        let text = table(&args, &[(8, measured)]);
        assert!(text.contains("    8  0.60 (0.50..0.70)    60.0 (50.0..70.0)"), "{text}");
        assert!(Measured::default().rows(1).is_empty());
    }
}
