//! The server under test: a child process on ports and in a folder of its own.

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead as _, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Accounts `u0000@example.test` and on.
pub(crate) const USERS: u64 = 200;

/// LMTP of `openpoczta demo` without an offset.
const LMTP_PORT: u16 = 1124;
const IMAP_PORT: u16 = 1143;
const SMTP_PORT: u16 = 1125;
const POP3_PORT: u16 = 1110;
/// All ports of the demo; the offset is chosen so that none is taken.
const PORTS: &[u16] = &[POP3_PORT, LMTP_PORT, SMTP_PORT, IMAP_PORT, 1190, 1587, 8080];

/// Making the accounts takes a password hash; a slow disk some syncs.
const START_TIMEOUT: Duration = Duration::from_mins(1);
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) struct Server {
    child: Child,
    /// Lines of its output; closed when it has ended.
    lines: Receiver<String>,
    pub(crate) lmtp: SocketAddr,
    pub(crate) imap: SocketAddr,
    pub(crate) smtp: SocketAddr,
    pub(crate) pop3: SocketAddr,
}

impl Server {
    /// Starts it with empty mailboxes in `folder` and waits until it is ready.
    pub(crate) fn start(binary: &Path, folder: &Path) -> Result<Self> {
        let offset = free_offset().context("no range of free ports on 127.0.0.1")?;
        let mut command = Command::new(binary);
        command.args(["demo", "--no-seed", "--users"]).arg(USERS.to_string());
        command.arg("--data").arg(folder).arg("--base-port-offset").arg(offset.to_string());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {}; is it built?", binary.display()))?;
        let lines = lines_of(child.stdout.take().context("the server has no output")?);
        let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port + offset));
        let (lmtp, imap, smtp, pop3) = (at(LMTP_PORT), at(IMAP_PORT), at(SMTP_PORT), at(POP3_PORT));
        let mut server = Self { child, lines, lmtp, imap, smtp, pop3 };
        server.wait_ready()?;
        Ok(server)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end and waits until it has.
    pub(crate) fn stop(mut self) -> Result<()> {
        let pid =
            i32::try_from(self.pid()).ok().and_then(Pid::from_raw).context("a strange PID")?;
        kill_process(pid, Signal::TERM).context("cannot send SIGTERM to the server")?;
        let until = Instant::now() + STOP_TIMEOUT;
        // The lines end when the process does.
        while self.lines.recv_timeout(until.saturating_duration_since(Instant::now())).is_ok() {}
        match self.child.try_wait()? {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!("the server ended badly after SIGTERM: {status}"),
            None if Instant::now() < until => {
                let status = self.child.wait()?;
                anyhow::ensure!(status.success(), "the server ended badly: {status}");
                Ok(())
            }
            None => bail!("the server did not end within {STOP_TIMEOUT:?} after SIGTERM"),
        }
    }

    fn wait_ready(&mut self) -> Result<()> {
        let until = Instant::now() + START_TIMEOUT;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if line.starts_with("ready") => return Ok(()),
                Ok(_) => {}
                // Its output ends a moment before itself does.
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("the server ended before it was ready: {}", self.child.wait()?)
                }
                Err(RecvTimeoutError::Timeout) => {
                    bail!("the server was not ready within {START_TIMEOUT:?}")
                }
            }
        }
    }
}

/// However we leave, no server stays behind.
impl Drop for Server {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let killed = self.child.kill().and_then(|()| self.child.wait());
            if let Err(error) = killed {
                eprintln!("could not end the server: {error}");
            }
        }
    }
}

/// Reads the output to its end, so that the server never waits for us.
fn lines_of(output: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            // Nobody listening is fine: reading on is what counts.
            sender.send(line).unwrap_or_default();
        }
    });
    lines
}

fn free_offset() -> Option<u16> {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    (20_000..40_000)
        .step_by(100)
        .find(|offset| PORTS.iter().all(|port| is_free(port.saturating_add(*offset))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;

    /// A shell script in the server's place.
    fn check(script: &str, expect: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server");
        let mut file = std::fs::File::create(&path).unwrap();
        writeln!(file, "#!/bin/sh\n{script}").unwrap();
        file.set_permissions(std::fs::Permissions::from_mode(0o755)).unwrap();
        drop(file);
        let outcome = Server::start(&path, folder.path()).and_then(Server::stop);
        let said = outcome.err().map(|error| format!("{error:#}")).unwrap_or_default();
        assert!(said.contains(expect) && said.is_empty() == expect.is_empty(), "{script}: {said}");
    }

    #[test]
    fn it_is_started_awaited_and_stopped() {
        check(
            "trap 'exit 0' TERM; echo hello; echo 'ready in 1 ms'; while :; do sleep 0.05; done",
            "",
        );
        check("echo 'not yet'; exit 3", "ended before it was ready: exit status: 3");
        check("trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done", "ended badly");
        let error = Server::start(Path::new("/nonexistent"), Path::new("/tmp")).err().unwrap();
        assert!(error.to_string().contains("is it built?"), "{error}");
    }

    #[test]
    fn it_is_told_what_to_do() {
        let expect = "--no-seed --users 200 --data";
        let script = format!("case \"$*\" in \"demo {expect} \"*) ;; *) exit 9;; esac; exit 4");
        check(&script, "exit status: 4");
    }
}
