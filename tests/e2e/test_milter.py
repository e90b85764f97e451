"""The filter as Postfix's milter, as docs/howto/milter.md shows it, and what strangers try on its port."""

import contextlib
import imaplib
import re
import smtplib
import socket
import struct
import subprocess
import time
import unittest

import postfix
from harness import BINARY, PASSWORD, ROOT, user
from test_postfix import World, letter

TEST_STRING = "XJS*OPENPOCZTA-TEST-STRING-THAT-EVERY-FILTER-REFUSES-AND-NOBODY-WRITES*C.34X"
JUNK_STRING = re.search(r'JUNK_STRING: &str =\s*"(.*?)"', (ROOT / "crates/antispam/src/rules.rs").read_text())[1]
PAGE = postfix.snippets(ROOT / "docs/howto/milter.md")
PLACE = "127.0.0.1:11332"


@contextlib.contextmanager
def world(names=("alice",)):
    with contextlib.ExitStack() as stack:
        at = World(stack, names)
        at.place = f"127.0.0.1:{postfix.free_port()}"
        at.unix = at.folder / "milter.sock"
        ours = postfix.replaced(PAGE["/etc/openpoczta.toml"], {f'"{PLACE}"': f'"{at.place}", "unix:{at.unix}"'})
        theirs = postfix.replaced(PAGE["/etc/postfix/main.cf"], {PLACE: at.place, "= accept": "= tempfail"})
        at.config.write_text(f"{at.config.read_text()}\n{ours}")
        main = at.postfix.config / "main.cf"
        main.write_text(f"{main.read_text()}\n{theirs}")
        stack.enter_context(at)
        yield at


def heads(at, name, mailbox):
    with imaplib.IMAP4("127.0.0.1", at.server.port("imap")) as imap:
        imap.login(user(name), PASSWORD)
        _, [count] = imap.select(mailbox, readonly=True)
        rows = imap.fetch("1:*", "(BODY.PEEK[HEADER])")[1] if int(count) else []
        return [row[1].decode() for row in rows if isinstance(row, tuple)]


def packet(command, data=b""):
    return struct.pack(">I", len(data) + 1) + command + data


def answer(talk):
    """One packet, or b"" at the end."""
    def exactly(count):
        data = b""
        while len(data) < count:
            more = talk.recv(count - len(data))
            if not more:
                return b""
            data += more
        return data
    with contextlib.suppress(ConnectionResetError):
        head = exactly(4)
        return exactly(struct.unpack(">I", head)[0]) if head else b""
    return b""


class Postfix(unittest.TestCase):
    def test_verdicts(self):
        with world() as at:
            with at.client() as smtp:
                smtp.sendmail("sender@elsewhere.test", [user("alice")], "X-Spam: Forged\r\nX-Spam-Status: No, forged\r\nx-spam: Forged\r\n" + letter("plain"))
                smtp.sendmail("sender@elsewhere.test", [user("alice")], f"x-spam: Forged\r\n{letter('junk')}\r\n{JUNK_STRING}\r\n")
                with self.assertRaises(smtplib.SMTPDataError) as error:
                    smtp.sendmail("sender@elsewhere.test", [user("alice")], f"{letter('spam')}\r\n{TEST_STRING}\r\n")
                self.assertEqual((error.exception.smtp_code, error.exception.smtp_error[:5]), (550, b"5.7.1"))
                # The same connection goes on, and what was said of one letter does not stick to the next.
                smtp.sendmail("", [user("alice")], letter("after"))
                smtp.sendmail("sender@elsewhere.test", [user("alice")], letter("large", 900_000))
            at.until_empty()
            plain, after, large = heads(at, "alice", "INBOX")
            [junk] = heads(at, "alice", "Junk")
            # One by Postfix's milter and one by our own delivery.
            for head, said in ((plain, "No"), (after, "No"), (large, "No"), (junk, "Yes")):
                self.assertEqual(re.findall(r"^X-Spam-Status: (\w+), score=", head, re.MULTILINE), [said] * 2, head)
                self.assertNotIn("orged", head)
                self.assertEqual(re.findall(r"(?mi)^X-Spam: (\w+)", head), ["Yes"] if said == "Yes" else [], head)
            # By the name in Postfix's queue.
            queued = re.search(r"(\w+): milter-reject: END-OF-MESSAGE", at.postfix.said())[1]
            self.assertIn("TEST_STRING", explain(at, queued))

    def test_without_us(self):
        with world() as at:
            at.server.kill()
            with at.client() as smtp:
                with self.assertRaises(smtplib.SMTPException) as error:
                    smtp.sendmail("sender@elsewhere.test", [user("alice")], letter("later"))
                self.assertIn("45", str(error.exception))
            at.start()
            with at.client() as smtp:
                smtp.sendmail("sender@elsewhere.test", [user("alice")], letter("later"))
            at.until_empty()
            self.assertEqual(at.box("alice"), ["later"])


def explain(at, identity):
    done = subprocess.run([BINARY, "spam", "explain", identity, "--config", at.config], capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr


class Wire(unittest.TestCase):
    def test_strangers(self):
        options = packet(b"O", struct.pack(">III", 6, 0x1FF, 0x1FFFFF))
        with world() as at:
            host = ("127.0.0.1", int(at.place.rpartition(":")[2]))
            for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\0", b"\xff" * 100, packet(b"O", b"\0"), packet(b"Z"), b"\0\x10\0\x01O"):
                with socket.create_connection(host, 20) as talk:
                    talk.sendall(garbage)
                    self.assertEqual(answer(talk), b"", garbage)
            with contextlib.ExitStack() as stack:
                for _ in range(100):
                    stack.enter_context(socket.create_connection(host, 20)).sendall(options + b"\0\0\xff\xffB half a piece")
                began = time.monotonic()
                with socket.socket(socket.AF_UNIX) as talk:
                    talk.settimeout(20)
                    talk.connect(str(at.unix))
                    talk.sendall(options)
                    self.assertEqual(answer(talk)[:5], b"O\0\0\0\6")
                    # Each after one that was given up.
                    for body, last in ((b"hello\r\n", b"c"), (JUNK_STRING.encode(), b"c"), (TEST_STRING.encode(), b"y")):
                        talk.sendall(packet(b"M", b"<x@else.test>\0") + packet(b"B", TEST_STRING.encode()) + packet(b"A"))
                        talk.sendall(packet(b"M", b"<x@else.test>\0") + packet(b"R", b"<alice@example.test>\0") * 3000)
                        talk.sendall(packet(b"L", b"Subject\0 x\0") + packet(b"N") + packet(b"B", body) + packet(b"E"))
                        heard = []
                        while not heard or heard[-1][:1] in (b"i", b"m"):
                            heard.append(answer(talk))
                        self.assertEqual(heard[-1][:1], last, heard)
                        self.assertEqual(any(b"X-Spam\0 Yes" in one for one in heard), body == JUNK_STRING.encode(), heard)
                self.assertLess(time.monotonic() - began, 10)


if __name__ == "__main__":
    unittest.main()
