"""Debian's Postfix as a private instance: its own folder, configuration, queue and high ports on 127.0.0.1.

What docs/howto/postfix.md shows is what runs; only ports and paths are changed. Needs root, as Postfix does.
"""

import pathlib
import os
import re
import signal
import socket
import subprocess
import time

from harness import ROOT

DAEMONS = pathlib.Path("/usr/lib/postfix/sbin")
HOWTO = ROOT / "docs/howto/postfix.md"

# What Debian's master.cf has, without chroot: the folder has none of the files a chroot needs.
SERVICES = """
cleanup    unix n - n - 0 cleanup
qmgr       unix n - n 300 1 qmgr
tlsmgr     unix - - n 1000? 1 tlsmgr
rewrite    unix - - n - - trivial-rewrite
bounce     unix - - n - 0 bounce
defer      unix - - n - 0 bounce
trace      unix - - n - 0 bounce
verify     unix - - n - 1 verify
flush      unix n - n 1000? 0 flush
proxymap   unix - - n - - proxymap
smtp       unix - - n - - smtp
relay      unix - - n - - smtp
showq      unix n - n - - showq
error      unix - - n - - error
retry      unix - - n - - error
discard    unix - - n - - discard
lmtp       unix - - n - - lmtp
anvil      unix - - n - 1 anvil
scache     unix - - n - 1 scache
postlog    unix-dgram n - n - 1 postlogd
"""


def snippets(howto, heading=None):
    """The blocks of code of a page by the file they name in their first line; those of one section, or all."""
    text = howto.read_text()
    if heading:
        _, _, text = text.partition(f"\n## {heading}\n")
        text = text.partition("\n## ")[0]
    blocks = re.findall(r"^```\w*\n(# (/\S+)\n.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return {path: block for block, path in blocks}


def replaced(text, changes):
    """Each of the changes must apply, or the page no longer says what the test thinks."""
    for old, new in changes.items():
        assert old in text, f"{old} does not stand in the howto:\n{text}"
        text = text.replace(old, str(new))
    return text


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Postfix:
    """`changes` says what replaces what in the howto's main.cf; `more` comes after it. `with Postfix(...) as postfix:` ends it."""

    def __init__(self, folder, certificate, changes, more=""):
        # Postfix runs as somebody else.
        folder.chmod(0o755)
        self.folder = folder / "postfix"
        self.config = self.folder / "etc"
        self.queue = self.folder / "queue"
        self.log = self.folder / "postfix.log"
        for path in (self.folder, self.config, self.queue, self.queue / "openpoczta"):
            path.mkdir()
        self.smtp, self.submission = free_port(), free_port()
        shown = snippets(HOWTO, "Postfix")
        main = replaced(shown["/etc/postfix/main.cf"], changes | {
            "/etc/postfix/key.pem": certificate.key,
            "/etc/postfix/cert.pem": certificate.cert,
        })
        data = self.folder / "data"
        data.mkdir()
        # Postfix wants its own user as the owner.
        uid = int(subprocess.run(["id", "-u", "postfix"], capture_output=True, check=True, text=True).stdout)
        os.chown(data, uid, -1)
        (self.config / "main.cf").write_text(f"""{main}
queue_directory = {self.queue}
data_directory = {data}
command_directory = /usr/sbin
daemon_directory = {DAEMONS}
mail_owner = postfix
setgid_group = postdrop
maillog_file = {self.log}
maillog_file_prefixes = /tmp
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.2/32
alias_maps =
alias_database =
local_recipient_maps =
# A letter that could not be handed over is tried again soon.
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
default_destination_recipient_limit = 50
# Strangers are slowed down by default; the tests are all of them one address.
smtpd_client_connection_rate_limit = 0
smtpd_error_sleep_time = 0s
smtpd_soft_error_limit = 1000
smtpd_hard_error_limit = 1000
{more}
""")
        services = replaced(shown["/etc/postfix/master.cf"], {
            "smtp       inet n - y": f"127.0.0.1:{self.smtp} inet n - n",
            "submission inet n - y": f"127.0.0.1:{self.submission} inet n - n",
        })
        (self.config / "master.cf").write_text(services + SERVICES)

    def command(self, program, *arguments, check=True, **more):
        done = subprocess.run([program, "-c", self.config, *arguments], capture_output=True, text=True, timeout=60, **more)
        if check and done.returncode != 0:
            raise RuntimeError(f"{program} {arguments}: {done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def __enter__(self):
        # Makes the folders of the queue.
        self.command("postfix", "check")
        # A machine under load has been seen to start a Postfix that never greets; the next one does.
        if not self.started(15):
            self.__exit__(RuntimeError, None, None)
            if not self.started(45):
                self.__exit__(RuntimeError, None, None)
                raise RuntimeError(f"Postfix did not get ready: {self.said()}")
        return self

    def started(self, patience_s):
        self.output = (self.folder / "master.log").open("w+")
        self.process = subprocess.Popen(
            [DAEMONS / "master", "-c", self.config, "-d"],
            stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output, start_new_session=True,
        )
        end = time.monotonic() + patience_s
        while self.process.poll() is None and time.monotonic() < end:
            try:
                with socket.create_connection(("127.0.0.1", self.smtp), 10) as probe:
                    if probe.recv(3) == b"220":
                        return True
            except OSError:
                pass
            time.sleep(0.05)
        return False

    def said(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def waiting(self):
        """Letters in the queue."""
        return sum(1 for box in ("maildrop", "incoming", "active", "deferred", "hold")
                   for path in (self.queue / box).rglob("*") if path.is_file())

    def flush(self):
        """All that waits is tried now."""
        self.command("postqueue", "-f", check=False)

    def __exit__(self, kind, error, trace):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            # Its children see that it is gone and end.
            self.process.kill()
            self.process.wait()
        self.output.seek(0)
        output = self.output.read()
        self.output.close()
        if kind is not None:
            print(f"--- what Postfix said:\n{output}{self.said()[-4000:]}---", flush=True)
