"""Debian's Dovecot as a private instance in front of us: its own folder, configuration and high ports on 127.0.0.1.

What docs/howto/dovecot.md shows is what runs; only ports and paths are changed. Needs root, as Dovecot does for its own users.
"""

import signal
import socket
import subprocess
import time

from harness import ROOT
from postfix import free_port, replaced, snippets

BINARY = "/usr/sbin/dovecot"
HOWTO = ROOT / "docs/howto/dovecot.md"


class Dovecot:
    """`name` is that of the file in the howto; `changes` what replaces what in it. `with Dovecot(...) as dovecot:` ends it."""

    def __init__(self, folder, certificate, name, changes):
        # Dovecot's processes are somebody else's.
        folder.chmod(0o755)
        self.folder = folder / "dovecot"
        self.folder.mkdir()
        self.log = self.folder / "dovecot.log"
        self.imap, self.pop3 = free_port(), free_port()
        text = replaced(snippets(HOWTO)[f"/etc/dovecot/{name}"], changes | {
            "/etc/dovecot/cert.pem": certificate.cert,
            "/etc/dovecot/key.pem": certificate.key,
        })
        if "/var/lib/dovecot" in text:
            text = text.replace("/var/lib/dovecot", str(self.folder))
            home = self.folder / "imapc"
            home.mkdir()
            subprocess.run(["chown", "nobody:nogroup", home], check=True)
        self.config = self.folder / "dovecot.conf"
        self.config.write_text(f"""{text}
listen = 127.0.0.1
base_dir = {self.folder}/run
state_dir = {self.folder}/state
log_path = {self.log}
# Strangers are slowed down by default; the tests are all of them one address.
auth_failure_delay = 0
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = {self.imap}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {self.pop3}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
""")

    def __enter__(self):
        self.process = subprocess.Popen([BINARY, "-F", "-c", self.config], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 30
        for port in (self.imap, self.pop3):
            while not self.answers(port):
                if self.process.poll() is not None or time.monotonic() > end:
                    self.__exit__(RuntimeError, None, None)
                    raise RuntimeError(f"Dovecot did not get ready: {self.said()}")
                time.sleep(0.05)
        return self

    def answers(self, port):
        try:
            with socket.create_connection(("127.0.0.1", port), 10) as probe:
                return probe.recv(3) in (b"* O", b"+OK")
        except OSError:
            return False

    def said(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def __exit__(self, kind, error, trace):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if kind is not None:
            print(f"--- what Dovecot said:\n{self.said()[-4000:]}---", flush=True)
