"""A real name server on loopback: Debian's nsd, with one zone that a test writes; the system's resolver is not asked.

    with Folder() as folder, NameServer(folder, "far.test. MX 10 mx.far.test.\nmx.far.test. A 127.0.0.2") as names:
        ... f"[dns]\nservers = ['{names.address}']"

The zone is `test.`, and for `reverse=` that of 192.0.2.0/24: names that are not in them do not exist. `broken.test.` is a zone without a file: SERVFAIL.
"""

import contextlib
import random
import shutil
import socket
import subprocess
import time

HEAD = """$ORIGIN test.
$TTL 60
@ SOA ns.test. postmaster.test. 1 3600 600 86400 5
@ NS ns.test.
ns A 127.0.0.1
broken NS ns.test.
"""

CONFIG = """server:
  ip-address: 127.0.0.1@{port}
  do-ip6: no
  server-count: 1
  username: ""
  chroot: ""
  zonesdir: "{folder}"
  database: ""
  zonelistfile: "{folder}/zones"
  xfrdfile: ""
  xfrdir: "{folder}"
  pidfile: ""
  logfile: "{folder}/nsd.log"
  hide-version: yes
remote-control:
  control-enable: no
zone:
  name: "test."
  zonefile: "{folder}/test.zone"
zone:
  name: "2.0.192.in-addr.arpa."
  zonefile: "{folder}/reverse.zone"
zone:
  name: "broken.test."
  zonefile: "{folder}/there-is-no-such-file"
"""

# test. SOA, as a question: there is an answer when nsd has read its zone.
QUESTION = bytes.fromhex("123400000001000000000000") + b"\x04test\x00" + bytes.fromhex("00060001")


def program():
    """Debian puts it where only root looks."""
    found = shutil.which("nsd") or shutil.which("nsd", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise RuntimeError("nsd is missing; ./test.sh installs it")
    return found


class NameServer:
    def __init__(self, folder, records, reverse=""):
        self.folder = folder / "names"
        self.folder.mkdir()
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        (self.folder / "test.zone").write_text(HEAD + records.strip() + "\n")
        (self.folder / "reverse.zone").write_text(HEAD.split("ns A")[0].replace(" test.", " 2.0.192.in-addr.arpa.") + reverse.strip() + "\n")
        config = self.folder / "nsd.conf"
        config.write_text(CONFIG.format(port=self.port, folder=self.folder))
        command = [program(), "-d", "-c", str(config)]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        if not self._answers():
            self._end()
            log = self.folder / "nsd.log"
            raise RuntimeError(f"nsd does not answer: {log.read_text() if log.exists() else 'no log'}")

    def _answers(self, patience_s=20):
        end = time.monotonic() + patience_s
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(0.3)
            while time.monotonic() < end and self.process.poll() is None:
                asking.sendto(QUESTION, ("127.0.0.1", self.port))
                with contextlib.suppress(OSError):
                    answer = asking.recv(512)
                    if answer[3] & 15 == 0 and answer[7] == 1:
                        return True
                time.sleep(0.05)
        return False

    def _end(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._end()


def free_port():
    """Free for TCP and UDP, under the range of outgoing ports."""
    for _ in range(200):
        port = random.SystemRandom().randrange(10000, 30000)
        with contextlib.suppress(OSError), socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", port))
            udp.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no free port on this machine")
