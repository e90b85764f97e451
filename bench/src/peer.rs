//! A private Dovecot: its own folder and ports on 127.0.0.1, sdbox, every account with one password, and
//! nothing of the system's configuration. Started by root, it runs as `nobody`.

use crate::tree::wait;
use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, getgid, getuid, kill_process};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// `nobody` and `nogroup` of Debian.
const NOBODY: u32 = 65534;
const START_TIMEOUT: Duration = Duration::from_secs(20);
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// Where Debian puts it; not in everybody's PATH.
const BINARY: &str = "/usr/sbin/dovecot";

/// Debian's package dovecot-pop3d.
const POP3: &str = "/usr/lib/dovecot/pop3";

#[derive(Clone, Copy)]
struct Ports {
    lmtp: SocketAddr,
    imap: SocketAddr,
    pop3: SocketAddr,
}

pub(crate) struct Dovecot {
    child: Child,
    pub(crate) lmtp: SocketAddr,
    pub(crate) imap: SocketAddr,
    /// Nobody answers there without Debian's dovecot-pop3d.
    pub(crate) pop3: SocketAddr,
    folder: PathBuf,
}

impl Dovecot {
    /// Starts it with empty mailboxes in `folder`; `fsync` is its setting `mail_fsync`.
    pub(crate) fn start(folder: &Path, fsync: &str) -> Result<Self> {
        ensure!(
            Path::new(BINARY).exists(),
            "there is no {BINARY}: install the Debian packages dovecot-core, dovecot-lmtpd and \
             dovecot-imapd, and stop the system's own Dovecot (systemctl disable --now dovecot)"
        );
        let is_root = getuid().is_root();
        let owner = if is_root { (NOBODY, NOBODY) } else { (getuid().as_raw(), getgid().as_raw()) };
        let ports = Ports { lmtp: free_port()?, imap: free_port()?, pop3: free_port()? };
        for part in ["", "run", "state", "mail", "home"] {
            let path = folder.join(part);
            std::fs::create_dir_all(&path)
                .with_context(|| format!("cannot make {}", path.display()))?;
            chown(&path, Some(owner.0), Some(owner.1))?;
        }
        let path = folder.join("dovecot.conf");
        std::fs::write(&path, config(folder, owner, ports, fsync)?)?;
        let mut command = Command::new(BINARY);
        command.arg("-F").arg("-c").arg(&path).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::inherit());
        if is_root {
            command.gid(owner.1).uid(owner.0);
        }
        let child = command.spawn().with_context(|| format!("cannot start {BINARY}"))?;
        let Ports { lmtp, imap, pop3 } = ports;
        let mut server = Self { child, lmtp, imap, pop3, folder: folder.to_owned() };
        server.wait_ready()?;
        Ok(server)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn wait_ready(&mut self) -> Result<()> {
        let until = Instant::now() + START_TIMEOUT;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait()? {
                bail!("Dovecot ended ({status}): {}", self.log());
            }
            if TcpStream::connect(self.lmtp).is_ok() && TcpStream::connect(self.imap).is_ok() {
                return Ok(());
            }
            wait(Duration::from_millis(50));
        }
        bail!("Dovecot was not ready within {START_TIMEOUT:?}: {}", self.log())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("dovecot.log")).unwrap_or_default()
    }

    pub(crate) fn version() -> String {
        let output = Command::new(BINARY).arg("--version").output();
        let text = output.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned());
        text.unwrap_or_default()
    }
}

/// It ends its processes on SIGTERM; however we leave, none stays behind.
impl Drop for Dovecot {
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
            eprintln!("could not end Dovecot: {error}");
        }
    }
}

pub(crate) fn free_port() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no free port on 127.0.0.1")?;
    Ok(listener.local_addr()?)
}

/// Debian's defaults but for places, users, ports, and processes: those of IMAP stay for many sessions, as a large
/// site has it; those of LMTP as they do by default.
#[expect(clippy::too_many_lines, reason = "one file, shown as it is")]
fn config(folder: &Path, (user, group): (u32, u32), ports: Ports, fsync: &str) -> Result<String> {
    let folder = folder.canonicalize()?;
    let folder = folder.to_str().context("the folder's name is not UTF-8")?;
    let (user_name, group_name) = (name("passwd", user)?, name("group", group)?);
    let (lmtp, imap, pop3) = (ports.lmtp.port(), ports.imap.port(), ports.pop3.port());
    let has_pop3 = Path::new(POP3).exists();
    let protocols = if has_pop3 { "imap lmtp pop3" } else { "imap lmtp" };
    Ok(format!(
        "protocols = {protocols}
listen = 127.0.0.1
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain
default_internal_user = {user_name}
default_internal_group = {group_name}
default_login_user = {user_name}
first_valid_uid = 1
default_process_limit = 200
mail_location = sdbox:{folder}/mail/%u
mail_fsync = {fsync}
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={folder}/home/%u allow_all_users=yes
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
service imap-login {{
  chroot =
  service_count = 0
  process_min_avail = 2
  client_limit = 2000
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service imap {{
  service_count = 256
  process_min_avail = 4
}}
service pop3-login {{
  chroot =
  service_count = 0
  process_min_avail = 2
  client_limit = 2000
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
service pop3 {{
  service_count = 256
  process_min_avail = 4
}}
service lmtp {{
  user = {user_name}
  inet_listener lmtp {{
    port = {lmtp}
  }}
}}
namespace inbox {{
  inbox = yes
}}
"
    ))
}

/// The name of a user or group, which Dovecot wants instead of the number.
fn name(table: &str, id: u32) -> Result<String> {
    let text = std::fs::read_to_string(format!("/etc/{table}"))?;
    let id = id.to_string();
    let found = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    });
    found.with_context(|| format!("{id} has no name in /etc/{table}"))
}
