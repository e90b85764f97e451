"""Virus scanners: a real clamd, and programs of the operator that answer HTTP."""

import base64
import contextlib
import http.server
import io
import json
import re
import smtplib
import subprocess
import threading
import time
import unittest
import urllib.request
import zipfile

from clamav import EICAR, NAME, Clamd
from harness import BINARY, Folder, user
from test_mx import letters, serving

HEADER = f"From: <x@else.test>\r\nTo: <{user('alice')}>\r\nDate: Mon, 23 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@else.test>\r\n"


def attached(content, name, subject="The file", mime="MIME-Version: 1.0\r\n", first=""):
    packed = base64.encodebytes(content).decode().replace("\n", "\r\n")
    return (
        f'{first}{HEADER}Subject: {subject}\r\n{mime}Content-Type: multipart/mixed; boundary="b"\r\n\r\n'
        f"--b\r\nContent-Type: text/plain\r\n\r\nSee the file.\r\n"
        f'--b\r\nContent-Type: application/octet-stream\r\nContent-Disposition: attachment; filename="{name}"\r\n'
        f"Content-Transfer-Encoding: base64\r\n\r\n{packed}--b--\r\n"
    ).encode()


def zipped(content, depth=1):
    for _ in range(depth):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("notes.txt", content)
        content = file.getvalue()
    return content


VIRUS = EICAR.encode()
INFECTED = {
    "plain": attached(VIRUS, "notes.txt"),
    "in a zip": attached(zipped(VIRUS), "notes.zip"),
    "in a zip in a zip": attached(zipped(VIRUS, 3), "notes.zip"),
    # What begins with a field that ClamAV does not know is no letter for it, and stays packed.
    "behind an unknown field": attached(VIRUS, "notes.txt", mime="", first="X-Anything: 1\r\n"),
    "in the text": f"{HEADER}Subject: Hi\r\n\r\n{EICAR}\r\n".encode(),
}


def send(server, raw):
    """The code and text of the answer."""
    with smtplib.SMTP("127.0.0.1", server.port("smtp"), timeout=60) as session:
        try:
            session.sendmail("x@else.test", [user("alice")], raw)
        except smtplib.SMTPDataError as error:
            return error.smtp_code, error.smtp_error.decode()
    return 250, ""


def scans(server):
    """`{("clamd", "clean"): 3}`"""
    with urllib.request.urlopen(server.url + "metrics", timeout=20) as page:
        rows = re.findall(r'openpoczta_filter_antivirus_scans_total\{scanner="(\w+)",outcome="(\w+)"\} (\d+)', page.read().decode())
    return {(scanner, outcome): int(count) for scanner, outcome, count in rows}


class ClamAv(unittest.TestCase):
    def test_what_it_knows_is_refused(self):
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(Folder())
            clamd = stack.enter_context(Clamd(folder))
            for name, place in (("unix", f"unix:{clamd.socket}"), ("tcp", f"127.0.0.1:{clamd.port}")):
                (folder / name).mkdir()
                with serving(folder / name, antivirus={"clamd": f"'{place}'"}) as server:
                    for what, raw in INFECTED.items():
                        with self.subTest(what, place=place):
                            code, said = send(server, raw)
                            self.assertEqual((code, said[:5]), (550, "5.7.1"), said)
                    self.assertEqual(send(server, attached(zipped(b"Nothing to see"), "notes.zip"))[0], 250)
                    self.assertEqual(len(letters(server)), 1)
                    self.assertEqual(scans(server), {("clamd", "virus"): len(INFECTED), ("clamd", "clean"): 1})
                    self.assertIn(f'virus="{NAME}.UNOFFICIAL"', server.stderr())

    def test_why(self):
        with Folder() as folder, Clamd(folder) as clamd, serving(folder, antivirus={"clamd": f"'unix:{clamd.socket}'"}) as server:
            file = folder / "letter.eml"
            file.write_bytes(INFECTED["plain"])
            done = subprocess.run(
                [BINARY, "spam", "explain", file, "--config", folder / "openpoczta.toml"], capture_output=True, text=True, timeout=60)
            self.assertIn("A virus scanner knows something in the letter.", done.stdout, done)
            del server

    def test_mail_flows_without_it(self):
        with Folder() as folder, Clamd(folder) as clamd:
            keys = {"clamd": f"'unix:{clamd.socket}'", "timeout_ms": "500"}
            with serving(folder, antivirus=keys) as server:
                # Larger than it takes: clean or not, nobody knows.
                large = attached(b"large" * 300_000, "large.bin", subject="large")
                self.assertEqual(send(server, large)[0], 250)
                clamd.pause()
                began = time.monotonic()
                self.assertEqual(send(server, attached(b"x", "x.txt", subject="paused"))[0], 250)
                self.assertGreaterEqual(time.monotonic() - began, 0.5)
                clamd.go_on()
                self.assertEqual(send(server, INFECTED["plain"])[0], 550)
                clamd.stop()
                for number in range(3):
                    self.assertEqual(send(server, attached(b"x", "x.txt", subject=f"gone {number}"))[0], 250)
                self.assertEqual(scans(server), {("clamd", "unknown"): 5, ("clamd", "virus"): 1})
                self.assertEqual(len(letters(server)), 5)
                said = [line for line in server.stderr().splitlines() if "without being scanned" in line]
                self.assertEqual(len(said), 1, said)
                self.assertIn("size limit exceeded", said[0])


class Program(http.server.BaseHTTPRequestHandler):
    """A scanner that knows one word; `says` is what it answers then."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        letter = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((self.path, self.headers["Content-Type"], letter))
        status, body, headers = self.server.says(letter)
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def program(says):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Program)
    server.says, server.seen = says, []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class Hook(unittest.TestCase):
    def test_a_program_decides(self):
        def says(letter):
            return 200, json.dumps({"virus": "Bad.Word" if b"notorious" in letter else None}).encode(), {}

        with program(says) as scanner, Folder() as folder:
            keys = {"hook": f"'http://127.0.0.1:{scanner.server_port}/scan?for=us'"}
            with serving(folder, antivirus=keys) as server:
                self.assertEqual(send(server, f"{HEADER}Subject: a\r\n\r\nfine\r\n".encode())[0], 250)
                self.assertEqual(send(server, f"{HEADER}Subject: b\r\n\r\nnotorious\r\n".encode())[0], 550)
                self.assertEqual(send(server, attached(b"x" * 3_000_000, "x.bin"))[0], 250)
                self.assertEqual(scans(server), {("hook", "clean"): 2, ("hook", "virus"): 1})
            self.assertEqual({(path, kind) for path, kind, _ in scanner.seen}, {("/scan?for=us", "message/rfc822")})
            self.assertTrue(scanner.seen[0][2].endswith(b"Subject: a\r\n\r\nfine\r\n"))

    def test_no_answer_is_none(self):
        virus = b'{"virus": "X"}'
        answers = [
            (500, virus, {}),
            (302, virus, {"Location": "http://127.0.0.1:1/"}),
            (200, b"", {}),
            (200, b"[" * 50_000, {}),
            (200, b" " * 200_000 + virus, {}),
            (200, virus, {"Content-Length": "9" * 19}),
            (200, b'{"virus": 7}', {}),
            (200, b'{"verdict": "X"}', {}),
            (200, virus, {"Content-Length": None, "Transfer-Encoding": "chunked"}),
        ]
        queue = list(answers)
        with program(lambda _: queue.pop(0)) as scanner, Folder() as folder:
            keys = {"hook": f"'http://127.0.0.1:{scanner.server_port}'", "timeout_ms": "1000"}
            with serving(folder, antivirus=keys) as server:
                for number, answer in enumerate(answers):
                    with self.subTest(answer=str(answer)[:80]):
                        self.assertEqual(send(server, f"{HEADER}Subject: {number}\r\n\r\nx\r\n".encode())[0], 250)
                self.assertEqual(scans(server), {("hook", "unknown"): len(answers)})

    def test_both(self):
        """What one of them knows is enough, whatever becomes of the other."""
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(Folder())
            clamd = stack.enter_context(Clamd(folder))
            scanner = stack.enter_context(program(lambda _: (200, b"no JSON", {})))
            keys = {"clamd": f"'unix:{clamd.socket}'", "hook": f"'http://127.0.0.1:{scanner.server_port}/'"}
            server = stack.enter_context(serving(folder, antivirus=keys))
            self.assertEqual(send(server, INFECTED["in a zip"])[0], 550)
            self.assertEqual(scans(server), {("clamd", "virus"): 1, ("hook", "unknown"): 1})


if __name__ == "__main__":
    unittest.main()
