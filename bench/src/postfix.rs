//! A private Postfix: its own folder, queue and port on 127.0.0.1, that hands every letter for `example.test` to an LMTP
//! server. Only root can start one: Postfix changes users.

use crate::peer::free_port;
use crate::tree::wait;
use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where Debian puts its daemons.
const DAEMONS: &str = "/usr/lib/postfix/sbin";
const START_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// Until everything that was taken is handed over.
const EMPTY_TIMEOUT: Duration = Duration::from_mins(3);
/// Folders of the queue in which letters are.
const WITH_LETTERS: [&str; 5] = ["maildrop", "incoming", "active", "deferred", "hold"];

pub(crate) struct Postfix {
    child: Child,
    pub(crate) smtp: SocketAddr,
    queue: PathBuf,
}

impl Postfix {
    pub(crate) fn start(folder: &Path, lmtp: SocketAddr) -> Result<Self> {
        ensure!(
            Path::new(DAEMONS).join("master").exists(),
            "there is no {DAEMONS}/master: install the Debian package postfix"
        );
        ensure!(geteuid().is_root(), "only root can start a Postfix of its own");
        let smtp = free_port()?;
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        // Its processes work in the queue's folder.
        let folder = &folder.canonicalize()?;
        let (config, queue, data) = (folder.join("etc"), folder.join("queue"), folder.join("data"));
        for path in [&config, &queue, &data] {
            std::fs::create_dir_all(path)
                .with_context(|| format!("cannot make {}", path.display()))?;
        }
        chown(&data, Some(user_id("postfix")?), None)?;
        std::fs::write(config.join("main.cf"), main(folder, lmtp)?)?;
        std::fs::write(config.join("master.cf"), services(smtp))?;
        let checked = Command::new("postfix").arg("-c").arg(&config).arg("check").output()?;
        ensure!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        let mut command = Command::new(Path::new(DAEMONS).join("master"));
        command.arg("-c").arg(&config).arg("-d");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
        let child = command.spawn().context("cannot start Postfix")?;
        let mut server = Self { child, smtp, queue };
        let until = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(smtp).is_err() {
            if let Some(status) = server.child.try_wait()? {
                bail!("Postfix ended: {status}");
            }
            ensure!(Instant::now() < until, "Postfix was not ready within {START_TIMEOUT:?}");
            wait(Duration::from_millis(50));
        }
        Ok(server)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until all letters are handed over.
    pub(crate) fn wait_empty(&self) -> Result<()> {
        let until = Instant::now() + EMPTY_TIMEOUT;
        while self.holds_letters()? {
            ensure!(Instant::now() < until, "Postfix does not get rid of its letters");
            wait(Duration::from_millis(20));
        }
        Ok(())
    }

    fn holds_letters(&self) -> Result<bool> {
        for name in WITH_LETTERS {
            if has_files(&self.queue.join(name))? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Files here or below; folders come and go meanwhile.
fn has_files(folder: &Path) -> Result<bool> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(false) };
    for entry in entries {
        let entry = entry?;
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if !is_folder || has_files(&entry.path())? {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        let asked = pid.is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok());
        let until = Instant::now() + STOP_TIMEOUT;
        while asked && Instant::now() < until {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            wait(Duration::from_millis(20));
        }
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("could not end Postfix: {error}");
        }
    }
}

fn user_id(name: &str) -> Result<u32> {
    let text = std::fs::read_to_string("/etc/passwd")?;
    let line = text.lines().find(|line| line.split(':').next() == Some(name));
    let id = line.and_then(|line| line.split(':').nth(2)?.parse().ok());
    id.with_context(|| format!("there is no user {name}"))
}

/// Its defaults but for places, and for limits that slow down one client that sends much.
fn main(folder: &Path, lmtp: SocketAddr) -> Result<String> {
    let folder = folder.canonicalize()?;
    let folder = folder.to_str().context("the folder's name is not UTF-8")?;
    let lmtp = format!("{}:{}", lmtp.ip(), lmtp.port());
    Ok(format!(
        "compatibility_level = 3.6
myhostname = mx.example.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = {DAEMONS}
mail_owner = postfix
setgid_group = postdrop
maillog_file = {folder}/postfix.log
maillog_file_prefixes = {folder}
alias_maps =
alias_database =
local_recipient_maps =
virtual_mailbox_domains = example.test
virtual_transport = lmtp:inet:{lmtp}
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
"
    ))
}

/// What Debian's master.cf has, without chroot.
fn services(smtp: SocketAddr) -> String {
    format!(
        "127.0.0.1:{} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
",
        smtp.port()
    )
}
