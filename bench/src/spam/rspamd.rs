//! Debian's Rspamd with a Redis of its own, over the same letters in the same order: `/checkv2`, then `/learnspam` or
//! `/learnham`. Its own rules and its own way to decide what it learns; without the DNS, feeds and other servers.

use super::corpus::Sample;
use super::judge::Said;
use crate::peer::free_port;
use crate::tree::{used, wait};
use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = "rspamd";
const REDIS: &str = "redis-server";
const START_TIMEOUT: Duration = Duration::from_mins(1);
const STOP_TIMEOUT: Duration = Duration::from_secs(15);
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);
/// What ask others: the machine that measures has no network, and neither had the others.
const ASK_OTHERS: &[&str] = &[
    "antivirus",
    "arc",
    "asn",
    "bimi",
    "clickhouse",
    "dcc",
    "dkim",
    "dkim_signing",
    "dmarc",
    "elastic",
    "external_relay",
    "external_services",
    "fuzzy_check",
    "greylist",
    "hfilter",
    "history_redis",
    "mx_check",
    "neural",
    "p0f",
    "phishing",
    "ratelimit",
    "rbl",
    "replies",
    "reputation",
    "rspamd_update",
    "spf",
    "surbl",
    "url_redirector",
];

pub(super) fn is_installed() -> bool {
    let runs = |program: &str| Command::new(program).arg("--version").output();
    [PROGRAM, REDIS].iter().all(|program| runs(program).is_ok_and(|out| out.status.success()))
}

/// A process that ends with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        let asked = pid.is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok());
        let until = Instant::now() + STOP_TIMEOUT;
        while asked && Instant::now() < until {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            wait(Duration::from_millis(20));
        }
        if let Err(error) = self.0.kill().and_then(|()| self.0.wait()) {
            eprintln!("could not end Rspamd or its Redis: {error}");
        }
    }
}

/// What it said, and what that took.
pub(super) struct Run {
    pub(super) said: Vec<Said>,
    /// Of all its processes and its Redis, for one letter.
    pub(super) judge_cpu_ms: f64,
    pub(super) learn_cpu_ms: f64,
    /// Letters that it did not want to learn: it thought so before.
    pub(super) declined: usize,
}

pub(super) struct Rspamd {
    /// Ended before its Redis.
    filter: Running,
    redis: Running,
    checks: Http,
    lessons: Http,
}

impl Rspamd {
    pub(super) fn start(folder: &Path) -> Result<Self> {
        let folder = folder.canonicalize()?;
        let (redis_at, checks_at, lessons_at) = (free_port()?, free_port()?, free_port()?);
        let redis = Command::new(REDIS)
            .args(["--bind", "127.0.0.1", "--port", &redis_at.port().to_string()])
            .args(["--save", "", "--appendonly", "no", "--dir"])
            .arg(&folder)
            .stdout(Stdio::null())
            .spawn();
        let redis = Running(redis.context("cannot start redis-server")?);
        connect(redis_at)?;
        configure(&folder, redis_at, checks_at, lessons_at)?;
        let text = folder.to_str().context("the folder's name is not UTF-8")?;
        let var = |name: &str, value: &str| format!("--var={name}={value}");
        let rspamd = Command::new(PROGRAM)
            .args(["--no-fork", "--insecure", "--config"])
            .arg(folder.join("rspamd.conf"))
            .args([
                var("LOCAL_CONFDIR", text),
                var("DBDIR", text),
                var("RUNDIR", text),
                var("LOGDIR", text),
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let filter = Running(rspamd.context("cannot start rspamd")?);
        let (checks, lessons) = (Http::to(checks_at)?, Http::to(lessons_at)?);
        Ok(Self { filter, redis, checks, lessons })
    }

    /// Each letter is judged, then taught.
    pub(super) fn online(&mut self, order: &[&Sample]) -> Result<Run> {
        let mut run = Run { said: Vec::new(), judge_cpu_ms: 0.0, learn_cpu_ms: 0.0, declined: 0 };
        let mut before = self.used_ms()?;
        for (place, sample) in order.iter().enumerate() {
            if place % 500 == 0 {
                eprintln!("Rspamd: {place} of {} letters", order.len());
            }
            let (_, body) = self.checks.post("/checkv2", &sample.raw)?;
            run.said.push(parse(&body, sample.is_spam)?);
            let between = self.used_ms()?;
            let path = if sample.is_spam { "/learnspam" } else { "/learnham" };
            let (status, _) = self.lessons.post(path, &sample.raw)?;
            // 208 and 204: it thinks so already, or there are too few words.
            run.declined += usize::from(status != 200);
            let after = self.used_ms()?;
            run.judge_cpu_ms += between - before;
            run.learn_cpu_ms += after - between;
            before = after;
        }
        #[expect(clippy::cast_precision_loss, reason = "some thousands")]
        let letters = order.len().max(1) as f64;
        run.judge_cpu_ms /= letters;
        run.learn_cpu_ms /= letters;
        Ok(run)
    }

    fn used_ms(&self) -> Result<f64> {
        Ok(used(self.filter.0.id())?.cpu_ms + used(self.redis.0.id())?.cpu_ms)
    }
}

/// Debian's configuration, with everything in one folder, and without what asks others.
fn configure(
    folder: &Path,
    redis: SocketAddr,
    checks: SocketAddr,
    lessons: SocketAddr,
) -> Result<()> {
    let local = folder.join("local.d");
    std::fs::create_dir_all(&local)?;
    let write = |name: &str, text: &str| std::fs::write(local.join(name), text);
    for module in ASK_OTHERS {
        write(&format!("{module}.conf"), "enabled = false;\n")?;
    }
    write("redis.conf", &format!("servers = \"{redis}\";\n"))?;
    // 200 lessons of each kind by default: of 6,046 letters that would be many without a verdict of the learner.
    write("classifier-bayes.conf", "min_learns = 20;\n")?;
    let conf = format!(
        "options {{\n\
         pidfile = \"$RUNDIR/rspamd.pid\";\n\
         .include \"$CONFDIR/options.inc\"\n\
         dns {{ nameserver = [\"127.0.0.1:1\"]; timeout = 0.01s; retransmits = 0; }}\n\
         }}\n\
         .include \"$CONFDIR/common.conf\"\n\
         logging {{ type = \"file\"; filename = \"$LOGDIR/rspamd.log\"; level = \"error\"; }}\n\
         worker \"normal\" {{ bind_socket = \"{checks}\"; count = 1; }}\n\
         worker \"controller\" {{ bind_socket = \"{lessons}\"; count = 1; secure_ip = \"127.0.0.1\"; }}\n"
    );
    std::fs::write(folder.join("rspamd.conf"), conf)?;
    Ok(())
}

/// The points that lead to Junk in its own configuration.
const JUNK: f64 = 6.0;

/// `"score":7.5` of an answer; nothing else in it has that name before.
fn parse(body: &str, is_spam: bool) -> Result<Said> {
    let score = body.split_once("\"score\":").map(|(_, rest)| rest.trim_start());
    let score = score.and_then(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_digit() && !".-eE+".contains(c));
        rest.get(..end.unwrap_or(rest.len()))?.parse().ok()
    });
    let score: f64 = score.with_context(|| format!("Rspamd said `{body}`"))?;
    Ok(Said { is_spam, called_spam: score >= JUNK, score })
}

fn connect(at: SocketAddr) -> Result<TcpStream> {
    let until = Instant::now() + START_TIMEOUT;
    while Instant::now() < until {
        if let Ok(stream) = TcpStream::connect(at) {
            return Ok(stream);
        }
        wait(Duration::from_millis(50));
    }
    bail!("nobody answers at {at} within {START_TIMEOUT:?}")
}

/// A connection that stays, as long as the other side lets it.
struct Http {
    at: SocketAddr,
    stream: BufReader<TcpStream>,
}

impl Http {
    fn to(at: SocketAddr) -> Result<Self> {
        let stream = connect(at)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Self { at, stream: BufReader::new(stream) })
    }

    /// The status and the body.
    fn post(&mut self, path: &str, letter: &[u8]) -> Result<(u16, String)> {
        // One that was closed meanwhile is opened again.
        if let Ok(answer) = self.try_post(path, letter) {
            return Ok(answer);
        }
        *self = Self::to(self.at)?;
        self.try_post(path, letter).with_context(|| format!("Rspamd does not answer {path}"))
    }

    fn try_post(&mut self, path: &str, letter: &[u8]) -> Result<(u16, String)> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n",
            self.at,
            letter.len()
        );
        let stream = self.stream.get_mut();
        stream.write_all(head.as_bytes())?;
        stream.write_all(letter)?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.with_context(|| format!("no status in `{line}`"))?;
        let (mut length, mut closes) = (0, false);
        loop {
            line.clear();
            ensure!(self.stream.read_line(&mut line)? > 0, "the answer ends in its header");
            let Some((name, value)) = line.split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse()?;
            }
            closes |= name.eq_ignore_ascii_case("connection")
                && value.trim().eq_ignore_ascii_case("close");
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        if closes {
            *self = Self::to(self.at)?;
        }
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_says() {
        #[track_caller]
        fn check(body: &str, expect: Option<(bool, f64)>) {
            let said = parse(body, true).ok().map(|said| (said.called_spam, said.score));
            assert_eq!(said, expect);
        }
        check(r#"{"is_skipped":false,"score":7.5,"symbols":{}}"#, Some((true, 7.5)));
        check(r#"{"score": -1e-1}"#, Some((false, -0.1)));
        check("{}", None);
    }
}
