//! 100,000 letters from our own people to 1,000 other domains: taken by submission, kept in the queue, sent to
//! Postfix's `smtp-sink`, found by MX records of a name server of our own. CPU of the server for one letter, all of it,
//! and its memory on the way.

use crate::args::Args;
use crate::baseline::{self, Row};
use crate::cpu;
use crate::figures::Spread;
use crate::letters::Pool;
use crate::lmtp::{Connection, settle};
use crate::peer::free_port;
use crate::tree::wait;
use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const SEED: u64 = 1;
const LETTER_BYTES: usize = 5000;
const LETTERS: u64 = 100_000;
const DOMAINS: u64 = 1000;
const CONNECTIONS: u64 = 8;
const SINK: &str = "127.0.0.2";
const SENDER: &str = "alice@example.test";
/// `alice@example.test`, `secret`
const PLAIN: &str = "AGFsaWNlQGV4YW1wbGUudGVzdABzZWNyZXQ=";
const START_TIMEOUT: Duration = Duration::from_secs(30);
const SENT_TIMEOUT: Duration = Duration::from_mins(10);
const CPU_BAR_MS: f64 = 0.5;

pub(crate) fn run(args: &Args) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("opbench-").tempdir_in(&args.folder);
    let folder = folder.with_context(|| format!("cannot write in {}", args.folder.display()))?;
    let busy = cpu::busy();
    let pool = Pool::new(LETTER_BYTES, SEED);
    let (dns, sink) = (free_port()?.port(), free_port()?.port());
    let _names = Helper::names(&folder.path().join("dns"), dns)?;
    let _sink = Helper::sink(sink)?;
    let (mut cpu_ms, mut grown) = (Vec::new(), Vec::new());
    for round in 1..=args.rounds.min(3) {
        let data = folder.path().join(format!("round-{round}"));
        let server = Server::start(args, &data, dns, sink)?;
        let found = one_round(&server, &pool)?;
        eprintln!(
            "round {round}: taken at {:.0}/s, all sent after {:.1} s; memory {} MB at the start, {} when half were \
             taken, {} when all were, {} at the end; {} waited at most",
            found.taken_per_s,
            found.seconds,
            found.memory_mb[0],
            found.memory_mb[1],
            found.memory_mb[2],
            found.memory_mb[3],
            found.most_waiting,
        );
        cpu_ms.push(found.cpu_ms);
        grown.push(
            found.memory_mb.iter().copied().max().unwrap_or(0).saturating_sub(found.memory_mb[0]),
        );
        server.stop();
        std::fs::remove_dir_all(&data)?;
    }
    let cpu = Spread::of(cpu_ms.iter().copied()).context("no rounds")?;
    let grown =
        Spread::of(grown.into_iter().map(|mb| f64::from(u32::try_from(mb).unwrap_or(u32::MAX))));
    let grown = grown.context("no rounds")?;
    let verdict = if cpu.median <= CPU_BAR_MS { "" } else { "  MISSED" };
    println!(
        "\n{LETTERS} letters of 5 KB to {DOMAINS} domains, {}\n\
         CPU of the server for one, from AUTH'd submission to smtp-sink: {:.3} ({:.3}..{:.3}) ms of {CPU_BAR_MS}{verdict}\n\
         memory beyond that at the start: {grown} MB at most",
        cpu::machine(),
        cpu.median,
        cpu.min,
        cpu.max,
    );
    if let Some(busy) = busy {
        println!("{busy}");
    }
    if args.save {
        let ratio = Spread {
            median: cpu.median / CPU_BAR_MS,
            min: cpu.min / CPU_BAR_MS,
            max: cpu.max / CPU_BAR_MS,
        };
        let figure = "queue: CPU of one of 100,000 letters to 1,000 domains".to_owned();
        let memory = "queue: memory beyond that at the start, 100,000 letters".to_owned();
        let rows = [
            Row { figure, value: cpu, unit: "ms", ratio, against: "its bar" },
            Row { figure: memory, value: grown, unit: "MB", ratio: grown, against: "1 MB" },
        ];
        let path = baseline::save(&rows)?;
        println!("Saved {} rows in {}", rows.len(), path.display());
    }
    Ok(())
}

struct Found {
    cpu_ms: f64,
    taken_per_s: f64,
    seconds: f64,
    memory_mb: [u64; 4],
    most_waiting: u64,
}

fn one_round(server: &Server, pool: &Pool) -> Result<Found> {
    settle();
    let pid = server.child.id();
    let before = cpu::used_ms(pid)?;
    let mut memory_mb = [memory_mb(pid)?, 0, 0, 0];
    let began = Instant::now();
    let sent = AtomicU64::new(0);
    let taken_s = std::thread::scope(|scope| -> Result<f64> {
        let mut threads = Vec::new();
        for at in 0..CONNECTIONS {
            let sent = &sent;
            threads.push(scope.spawn(move || -> Result<()> {
                let mut connection = Connection::open_with(server.submission, "EHLO")?;
                connection.say(&format!("AUTH PLAIN {PLAIN}"), '2')?;
                for number in (0..LETTERS).filter(|number| number % CONNECTIONS == at) {
                    let to = format!("u{}@d{}.test", number % 7, number % DOMAINS);
                    let letter = own(&pool.letter(number, &to));
                    connection.deliver_from(SENDER, &to, letter)?;
                    sent.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            }));
        }
        while sent.load(Ordering::Relaxed) < LETTERS / 2
            && !threads.iter().any(std::thread::ScopedJoinHandle::is_finished)
        {
            wait(Duration::from_millis(50));
        }
        memory_mb[1] = self::memory_mb(pid)?;
        for thread in threads {
            thread.join().map_err(|_| anyhow::anyhow!("a sender panicked"))??;
        }
        Ok(began.elapsed().as_secs_f64())
    })?;
    memory_mb[2] = self::memory_mb(pid)?;
    let mut most_waiting = 0;
    loop {
        let waiting = server.figure("openpoczta_queue_waiting")?;
        most_waiting = most_waiting.max(waiting);
        if waiting == 0 {
            break;
        }
        ensure!(began.elapsed() < SENT_TIMEOUT, "{waiting} letters still wait");
        wait(Duration::from_millis(200));
    }
    memory_mb[3] = self::memory_mb(pid)?;
    let seconds = began.elapsed().as_secs_f64();
    let gone = server.figure("openpoczta_queue_attempts_total{outcome=\"delivered\"}")?;
    ensure!(gone == LETTERS, "{gone} letters were sent, not {LETTERS}");
    #[expect(clippy::cast_precision_loss, reason = "counts here lie far below 2^52")]
    let letters = LETTERS as f64;
    Ok(Found {
        cpu_ms: (cpu::used_ms(pid)? - before) / letters,
        taken_per_s: letters / taken_s,
        seconds,
        memory_mb,
        most_waiting,
    })
}

/// The pool writes letters from elsewhere; ours are from who sends them.
fn own(letter: &[u8]) -> Vec<u8> {
    let mut out = format!("From: <{SENDER}>\r\n").into_bytes();
    let mut is_head = true;
    for line in letter.split_inclusive(|byte| *byte == b'\n') {
        is_head &= line != b"\r\n";
        if !(is_head && line.starts_with(b"From:")) {
            out.extend_from_slice(line);
        }
    }
    out
}

/// Resident memory of a process.
fn memory_mb(pid: u32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    Ok(kib.context("no VmRSS")? / 1024)
}

/// `openpoczta serve` with one account, and mail for others by MX.
struct Server {
    child: Child,
    submission: SocketAddr,
    http: SocketAddr,
}

impl Server {
    fn start(args: &Args, folder: &Path, dns: u16, sink: u16) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let folder = folder.canonicalize()?;
        let (submission, http) = (free_port()?, free_port()?);
        let config = folder.join("openpoczta.toml");
        std::fs::write(
            &config,
            format!(
                "hostname = \"mail.example.test\"\ndomains = [\"example.test\"]\n\
                 [data]\nfolder = \"{}\"\n[log]\nlevel = \"error\"\n\
                 [dns]\nservers = [\"127.0.0.1:{dns}\"]\n[relay]\nport = {sink}\n\
                 [smtp]\nlisten = []\n[lmtp]\nlisten = []\n[imap]\nlisten = []\n[pop3]\nlisten = []\n\
                 [submission]\nlisten = [\"{submission}\"]\nletters_per_hour = 0\nrecipients_per_day = 0\n\
                 [http]\nlisten = [\"{http}\"]\n",
                folder.join("data").display(),
            ),
        )?;
        let mut account = Command::new(&args.server);
        account.args(["account", "add", SENDER, "--config"]).arg(&config);
        let mut account = account.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        account.stdin.take().context("no input")?.write_all(b"secret\n")?;
        ensure!(account.wait()?.success(), "the account could not be made");
        let mut command = Command::new(&args.server);
        command.args(["serve", "--config"]).arg(&config).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn()?;
        let mut server = Self { child, submission, http };
        let until = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(submission).is_err() || TcpStream::connect(http).is_err() {
            if let Some(status) = server.child.try_wait()? {
                bail!("the server ended: {status}");
            }
            ensure!(Instant::now() < until, "the server was not ready within {START_TIMEOUT:?}");
            wait(Duration::from_millis(50));
        }
        Ok(server)
    }

    /// One of `/metrics`; 0 when it is not there yet.
    fn figure(&self, name: &str) -> Result<u64> {
        let mut stream = TcpStream::connect(self.http)?;
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        ensure!(text.starts_with("HTTP/1.1 200"), "no /metrics");
        Ok(line.and_then(|number| number.trim().parse().ok()).unwrap_or(0))
    }

    fn stop(mut self) {
        end(&mut self.child);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// A program beside the server.
struct Helper(Child);

impl Helper {
    /// A name server (Debian's package nsd) for which every name under `test.` has one mail server.
    fn names(folder: &Path, port: u16) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let folder = folder.canonicalize()?;
        let place = |name: &str| -> PathBuf { folder.join(name) };
        std::fs::write(
            place("test.zone"),
            format!(
                "$ORIGIN test.\n$TTL 3600\n@ SOA ns.test. admin.test. 1 3600 600 86400 60\n@ NS ns.test.\n\
                 ns A 127.0.0.1\nsink A {SINK}\n* MX 5 sink.test.\n"
            ),
        )?;
        std::fs::write(
            place("nsd.conf"),
            format!(
                "server:\n  ip-address: 127.0.0.1@{port}\n  username: \"\"\n  chroot: \"\"\n  server-count: 1\n\
                 \u{20} database: \"\"\n  pidfile: \"{0}/nsd.pid\"\n  xfrdfile: \"{0}/xfrd.state\"\n\
                 \u{20} zonelistfile: \"{0}/zone.list\"\n  xfrdir: \"{0}\"\n  zonesdir: \"{0}\"\n\
                 \u{20} logfile: \"{0}/nsd.log\"\nremote-control:\n  control-enable: no\n\
                 zone:\n  name: \"test\"\n  zonefile: \"test.zone\"\n",
                folder.display()
            ),
        )?;
        let mut command = Command::new("nsd");
        command.args(["-d", "-c"]).arg(place("nsd.conf"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().context("cannot start nsd: is the Debian package there?")?;
        let helper = Self(child);
        let until = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            ensure!(Instant::now() < until, "nsd was not ready within {START_TIMEOUT:?}");
            wait(Duration::from_millis(50));
        }
        Ok(helper)
    }

    /// Postfix's `smtp-sink`: takes everything and keeps nothing.
    fn sink(port: u16) -> Result<Self> {
        let mut command = Command::new("smtp-sink");
        command.args(["-u", "nobody", "-m", "2000"]).arg(format!("{SINK}:{port}")).arg("1000");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child =
            command.spawn().context("cannot start smtp-sink: is the package postfix there?")?;
        let helper = Self(child);
        let until = Instant::now() + START_TIMEOUT;
        while TcpStream::connect((SINK, port)).is_err() {
            ensure!(Instant::now() < until, "smtp-sink was not ready within {START_TIMEOUT:?}");
            wait(Duration::from_millis(50));
        }
        Ok(helper)
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        end(&mut self.0);
    }
}

fn end(child: &mut Child) {
    if !matches!(child.try_wait(), Ok(None)) {
        return;
    }
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let asked = pid.is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok());
    let until = Instant::now() + START_TIMEOUT;
    while asked && Instant::now() < until {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        wait(Duration::from_millis(20));
    }
    if let Err(error) = child.kill().and_then(|()| child.wait()) {
        eprintln!("could not end a program: {error}");
    }
}
