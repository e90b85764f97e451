"""A real clamd on loopback: Debian's, with a folder, a configuration and one signature of its own; nothing is downloaded.

    with Folder() as folder, Clamd(folder) as clamd:
        ... f"[antivirus]\nclamd = 'unix:{clamd.socket}'"
"""

import pathlib
import shutil
import signal
import socket
import subprocess
import time

# What every scanner calls a virus, and nobody else. In pieces: scanners of those who check this out would find it here.
EICAR = "X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + "EICAR-STANDARD-" + "ANTIVIRUS-TEST-FILE!$H+H*"
NAME = "Test.Eicar"

CONFIG = """Foreground yes
DatabaseDirectory {folder}/signatures
TemporaryDirectory {folder}
LogFile {folder}/clamd.log
LocalSocket {folder}/clamd.ctl
TCPSocket {port}
TCPAddr 127.0.0.1
StreamMaxLength 1M
MaxThreads 4
"""


class Clamd:
    def __init__(self, folder):
        program = shutil.which("clamd") or shutil.which("clamd", path="/usr/sbin:/usr/local/sbin")
        if program is None:
            raise RuntimeError("clamd is missing; ./test.sh installs it")
        # It gives up root, and becomes nobody we know.
        self.folder = pathlib.Path(folder, "clamav")
        (self.folder / "signatures").mkdir(parents=True)
        (self.folder / "signatures/test.ndb").write_text(f"{NAME}:0:*:{EICAR.encode().hex()}\n")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.socket = self.folder / "clamd.ctl"
        config = self.folder / "clamd.conf"
        config.write_text(CONFIG.format(folder=self.folder, port=self.port))
        self.process = subprocess.Popen(
            [program, "--config-file", config], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        try:
            self._until_ready()
        except RuntimeError:
            self.stop()
            raise

    def _until_ready(self, patience_s=60):
        end = time.monotonic() + patience_s
        while self._ask(b"zPING\0") != b"PONG\0":
            if self.process.poll() is not None or time.monotonic() > end:
                log = self.folder / "clamd.log"
                raise RuntimeError(f"clamd does not answer: {log.read_text() if log.exists() else 'no log'}")
            time.sleep(0.05)

    def _ask(self, command):
        with socket.socket(socket.AF_UNIX) as talk:
            talk.settimeout(10)
            try:
                talk.connect(str(self.socket))
                talk.sendall(command)
                return talk.recv(100)
            except OSError:
                return b""

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def stop(self):
        self.go_on()
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.stop()
