"""Spam rules of the operator's own: the file of docs/howto/local-spam-rules.md, changed while the server runs."""

import re
import signal
import smtplib
import subprocess
import time
import unittest

from harness import BINARY, ROOT, Folder, user
from test_mx import letters, serving

PAGE = ROOT / "docs/howto/local-spam-rules.md"


def example():
    return re.search(r"```toml\n# /etc/openpoczta/rules.toml\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]


def send(server, body, subject="Hi"):
    """The symbols in the header of the letter as it was stored, and what it was worth."""
    raw = (
        f"From: <x@else.test>\r\nTo: <{user('alice')}>\r\nSubject: {subject}\r\nDate: Mon, 23 Nov 2026 12:00:00 +0000\r\n"
        f"Message-ID: <{time.monotonic_ns()}@else.test>\r\n\r\n{body}\r\n"
    )
    with smtplib.SMTP("127.0.0.1", server.port("smtp"), timeout=60) as session:
        session.sendmail("x@else.test", [user("alice")], raw.encode())
    [stored] = [one.decode() for one in letters(server) if body.encode() in one and subject.encode() in one]
    status = re.search(r"X-Spam-Status: \w+, score=(\S+) required=\S+\s+tests=(.*?)\r\n(?![ \t])", stored, re.DOTALL)
    return set(re.findall(r"[A-Z_0-9]+", status[2])), float(status[1])


class Rules(unittest.TestCase):
    def test_the_page_and_changes(self):
        with Folder() as folder:
            file = folder / "rules.toml"
            file.write_text(example().replace(" or LISTED_ZEN", ""))
            with serving(folder, spam={"rules": f"'{file}'", "fields": "['X-Spam-Flag', 'X-Spam-Level']"}) as server:
                config = folder / "openpoczta.toml"
                symbols, score = send(server, "the best CASINO in town")
                self.assertIn("OUR_CASINO", symbols)
                self.assertGreaterEqual(score, 7)
                self.assertIn("OUR_INVOICE", send(server, "see inside", "Faktura 7")[0])

                file.write_text(example().replace(" or LISTED_ZEN", "").replace("casino", "harbour").replace("OUR_CASINO", "OUR_HARBOUR"))
                server.process.send_signal(signal.SIGHUP)
                self.until(server, "were read again")
                self.assertIn("OUR_HARBOUR", send(server, "ships in the harbour")[0])
                self.assertNotIn("OUR_CASINO", send(server, "another casino for you")[0])

                [spam] = [one.decode() for one in letters(server) if b"best CASINO" in one]
                self.assertRegex(spam, r"X-Spam-Flag: YES\r\nX-Spam-Level: \*{7,}\r\n")
                [plain] = [one.decode() for one in letters(server) if b"another casino" in one]
                self.assertNotIn("X-Spam-Flag", plain)

                file.write_text("[[rule]]\nsymbol = 'OUR_BAD'\npoints = 1\nsays = 'x'\nbody = '('\n")
                server.process.send_signal(signal.SIGHUP)
                self.until(server, "those from before stay")
                self.assertIn("OUR_HARBOUR", send(server, "more ships in the harbour")[0])
                checked = subprocess.run([BINARY, "config", "check", "--config", config], capture_output=True, text=True, timeout=60)
                self.assertEqual(checked.returncode, 2)
                self.assertIn(f'{file}:2: the spam rule "OUR_BAD"', checked.stderr)

                letter = folder / "letter.eml"
                letter.write_text("From: a@b.test\n\nships in the harbour\n")
                why = subprocess.run([BINARY, "spam", "explain", letter, "--config", config], capture_output=True, text=True, timeout=60)
                self.assertIn("Casinos write to us every day. (OUR_HARBOUR)", why.stdout)

    def until(self, server, words, patience_s=20):
        end = time.monotonic() + patience_s
        while words not in server.stderr():
            self.assertLess(time.monotonic(), end, server.stderr())
            time.sleep(0.05)


if __name__ == "__main__":
    unittest.main()
