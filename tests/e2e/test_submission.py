"""Letters of our own users: who may send as whom, how much, when; what is added; signatures that others verify."""

import collections
import contextlib
import imaplib
import itertools
import json
import os
import random
import re
import smtplib
import socketserver
import subprocess
import threading
import time
import unittest

from harness import ROOT, Certificate, Folder, Server, openssl
from test_tls import ALICE, NAME, PASSWORD, run, wait_until, write_config

BOB, SALES = "bob@example.test", "sales@example.test"

# Says of each signature whether it is good, by the DNS records it is given; dkimpy shares nothing with our signer.
VERIFY = """
import dkim, json, sys
records = {name: text.encode() for name, text in json.loads(sys.argv[1]).items()}
def dns(name, timeout=5):
    return records.get(name.decode().rstrip("."))
letter = sys.stdin.buffer.read()
header = letter.split(b"\\r\\n\\r\\n")[0].lower()
count = (b"\\r\\n" + header).count(b"\\r\\ndkim-signature:")
said = []
for place in range(count):
    try:
        said.append(dkim.DKIM(letter).verify(idx=place, dnsfunc=dns))
    except dkim.DKIMException as error:
        said.append(str(error))
print(json.dumps(said))
"""


class Sender(unittest.TestCase):
    """A server with two keys and an alias."""

    more = config_more = ""

    @classmethod
    def setUpClass(cls):
        cls.folder = cls.enterClassContext(Folder())
        cls.certificate = Certificate(cls.folder, "mail", NAME)
        rsa, ed25519 = cls.folder / "rsa.pem", cls.folder / "ed25519.pem"
        openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", rsa)
        made = run("dkim", "make", "--file", ed25519)
        assert made.returncode == 0, made
        assert ed25519.stat().st_mode & 0o077 == 0, "others can read the key"
        keys = ", ".join(
            f"{{ domain = 'example.test', selector = '{selector}', file = '{file}' }}"
            for selector, file in (("s2026", rsa), ("e2026", ed25519))
        )
        more = f"[dkim]\nkeys = [{keys}]\n{cls.config_more}"
        cls.config = write_config(cls.folder, [cls.certificate], more)
        if cls.more:
            text = cls.config.read_text()
            cls.config.write_text(text.replace("[submission]\n", f"[submission]\n{cls.more}\n"))
        for address in (ALICE, BOB):
            added = run("account", "add", address, "--config", cls.config, stdin=f"{PASSWORD}\n")
            assert added.returncode == 0, added
        added = run("alias", "add", SALES, ALICE, "--config", cls.config)
        assert added.returncode == 0, added
        cls.server = cls.enterClassContext(Server(config=cls.config))

    def session(self, encrypted=True):
        """Logged in as alice, on 465 or after STARTTLS on 587."""
        context = self.certificate.client()
        context.check_hostname = False
        if encrypted:
            port = self.server.port("submissions")
            session = smtplib.SMTP_SSL("127.0.0.1", port, timeout=20, context=context)
        else:
            session = smtplib.SMTP("127.0.0.1", self.server.port("submission"), timeout=20)
            session.starttls(context=context)
        session.login(ALICE, PASSWORD)
        return session

    def letter_with(self, subject, who=BOB, patience_s=10):
        """The letter with this subject as it is in the inbox; `None` when it does not come."""
        found = []

        def there():
            with imaplib.IMAP4("127.0.0.1", self.server.port("imap")) as imap:
                imap.login(who, PASSWORD)
                imap.select("INBOX", readonly=True)
                numbers = imap.search(None, "SUBJECT", f'"{subject}"')[1][0].split()
                found[:] = [imap.fetch(number, "(BODY.PEEK[])")[1][0][1] for number in numbers]
            return found

        wait_until(there, patience_s)
        self.assertLessEqual(len(found), 1, "a letter came twice")
        return found[0] if found else None

    def records(self):
        """What `dkim show` wants in DNS, by name."""
        shown = run("dkim", "show", "--config", self.config)
        self.assertEqual(shown.returncode, 0, shown)
        lines = (line.split(". IN TXT (") for line in shown.stdout.splitlines())
        return {name: "".join(re.findall('"([^"]*)"', texts)) for name, texts in lines}

    def verified(self, letter):
        python = ROOT / ".venv/bin/python"
        command = [str(python), "-c", VERIFY, json.dumps(self.records())]
        done = subprocess.run(command, input=letter, capture_output=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return json.loads(done.stdout)

    def answered(self, code, *lines, letter=None):
        """Says the lines to a logged-in session, then the letter; what is last must be answered so. Gives back the text."""
        with self.session() as session:
            replies = [session.docmd(line) for line in lines]
            if letter is not None:
                replies.append(session.data(letter))
            self.assertTrue(all(reply[0] == 250 for reply in replies[:-1]), replies)
            self.assertEqual(replies[-1][0], code, replies)
            return replies[-1][1].decode()


def fields(letter, name):
    header = letter.split(b"\r\n\r\n")[0]
    found = re.findall(rb"(?mi)^" + name.encode() + rb":(.*(?:\n[ \t].*)*)", header)
    return [value.removesuffix(b"\r") for value in found]


class Signed(Sender):
    def check(self, subject):
        letter = self.letter_with(subject)
        self.assertIsNotNone(letter)
        for name, count in (("Date", 1), ("Message-ID", 1), ("DKIM-Signature", 2), ("Received", 1), ("Bcc", 0)):
            self.assertEqual(len(fields(letter, name)), count, f"{name} in {letter[:2000]}")
        self.assertEqual(self.verified(letter), [True, True])
        return letter

    def test_python(self):
        bodies = {
            "plain": b"hello\r\n",
            "nothing": b"",
            "dots": b".\r\n..\r\n.a\r\n\r\n",
            "blanks": b"a  b\t \r\n\r\n \r\n\r\n",
            "eight bits": "zażółć gęślą\r\n".encode(),
            "no line end": b"the end",
            "large": b"0123456789 " * 6 + b"\r\n" + b"abc " * 18 + b"\r\n" * 50_000,
        }
        for encrypted in (True, False):
            for name, body in bodies.items():
                with self.subTest(name=name, encrypted=encrypted), self.session(encrypted) as session:
                    subject = f"python {name} {encrypted}"
                    letter = f"From: Alice <{ALICE}>\r\nTo: {BOB}\r\nSubject: {subject}\r\nBcc: x@y.test\r\n\r\n"
                    self.assertEqual(session.sendmail(ALICE, [BOB], letter.encode() + body, ["BODY=8BITMIME"]), {})
                    self.check(subject)

    def test_chunks(self):
        letter = f"From: {ALICE}\r\nSubject: in chunks\r\n\r\n".encode() + bytes(range(14, 256)) * 1000
        with self.session() as session:
            session.docmd(f"MAIL FROM:<{ALICE}> BODY=BINARYMIME")
            session.docmd(f"RCPT TO:<{BOB}>")
            for at in range(0, len(letter), 50_000):
                chunk = letter[at:at + 50_000]
                last = " LAST" if at + 50_000 >= len(letter) else ""
                session.send(f"BDAT {len(chunk)}{last}\r\n".encode() + chunk)
                self.assertEqual(session.getreply()[0], 250)
        self.check("in chunks")

    def test_swaks(self):
        for place, listener in (("--tls", "submission"), ("--tlsc", "submissions")):
            subject = f"swaks {listener}"
            command = ["swaks", "--server", f"127.0.0.1:{self.server.port(listener)}", place, "--tls-ca-path",
                       str(self.certificate.cert), "--auth", "PLAIN", "--auth-user", ALICE, "--auth-password",
                       PASSWORD, "--from", ALICE, "--to", BOB, "--header", f"Subject: {subject}", "--timeout", "20"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.check(subject)

    def test_what_is_there_stays(self):
        letter = (
            f"Date: Mon, 1 Jan 2001 00:00:00 +0000\r\nMessage-ID: <mine@example.test>\r\nFROM:  {SALES}\r\n"
            f"Subject: folded\r\n\tand kept\r\nReturn-Path: <x@y.test>\r\nDelivered-To: {BOB}\r\n\r\nhello\r\n"
        )
        with self.session() as session:
            session.sendmail(SALES, [BOB], letter)
        stored = self.check("folded")
        self.assertEqual(fields(stored, "Message-ID"), [b" <mine@example.test>"])
        self.assertEqual(fields(stored, "Return-Path"), [b" <sales@example.test>"])
        self.assertEqual(fields(stored, "Delivered-To"), [])
        self.assertTrue(stored.endswith(letter[letter.index("FROM"):letter.index("Return")].encode() + b"\r\nhello\r\n"))

    def test_what_others_add_or_change_is_seen(self):
        with self.session() as session:
            session.sendmail(ALICE, [BOB], f"From: {ALICE}\r\nSubject: to be changed\r\n\r\nhello\r\n")
        letter = self.check("to be changed")
        self.assertEqual(self.verified(b"X-Other: 1\r\n" + letter), [True, True])
        for changed in (
            letter.replace(b"hello", b"hallo"),
            letter + b"more\r\n",
            letter.replace(b"Subject: to", b"Subject: not to"),
            b"From: boss@example.test\r\n" + letter,
            b"Content-Type: text/html\r\n" + letter,
        ):
            self.assertNotIn(True, self.verified(changed))

    def test_a_key_that_is_wrong_is_named(self):
        bad = self.folder / "bad.toml"
        bad.write_text("[dkim]\nkeys = [{ domain = 'example.test', selector = 'a', file = '/nowhere/a.pem' }]\n")
        for command in (("dkim", "show"), ("config", "check"), ("serve",)):
            done = run(*command, "--config", bad)
            self.assertEqual(done.returncode, 2, done)
            self.assertIn("/nowhere/a.pem cannot be read", done.stderr)
            self.assertIn("openpoczta dkim make", done.stderr)


class Rights(Sender):
    def test_sender_and_author(self):
        text = self.answered(553, f"MAIL FROM:<{BOB}>")
        self.assertRegex(text, f"^5.7.1 {BOB} is not yours.*you are {ALICE}.*alias")
        for other in ("alice@elsewhere.test", "postmaster@example.test", "ghost@example.test"):
            self.answered(553, f"MAIL FROM:<{other}>")
        begin = (f"MAIL FROM:<{ALICE}>", f"RCPT TO:<{BOB}>")
        for header, code, says in (
            (f"From: {BOB}", 550, f"5.7.1 {BOB} is not yours"),
            ("Subject: x", 550, "5.6.0 .*does not say who wrote it"),
            (f"From: {ALICE}\r\nFrom: {BOB}", 550, "5.6.0 .*more than one From"),
            (f"From: {ALICE} <{BOB}>", 550, "5.7.1"),
            (f"From: {BOB}, {ALICE}", 550, "5.6.0 .*Sender"),
            (f"From: {BOB}\r\nResent-From: {ALICE}", 550, "5.7.1"),
            (f"From: {SALES}\r\nSender: {ALICE}", 250, "delivered"),
            ("From: alice+tag@example.test", 250, "delivered"),
        ):
            with self.subTest(header=header):
                text = self.answered(code, *begin, letter=f"{header}\r\n\r\nhello\r\n")
                self.assertRegex(text, says)

    def test_recipients(self):
        self.answered(550, f"MAIL FROM:<{ALICE}>", "RCPT TO:<ghost@example.test>")
        self.answered(554, f"MAIL FROM:<{ALICE}>", "RCPT TO:<friend@localhost>")
        self.answered(250, f"MAIL FROM:<{ALICE}>", "RCPT TO:<friend@elsewhere.test>")

    def test_only_after_login_and_only_in_private(self):
        with smtplib.SMTP("127.0.0.1", self.server.port("submission"), timeout=20) as session:
            session.ehlo()
            self.assertEqual(session.docmd(f"MAIL FROM:<{ALICE}>")[0], 530)

    def test_reports(self):
        """A report of success comes to the sender; the letter goes through the queue and arrives once."""
        with self.session() as session:
            letter = f"From: {ALICE}\r\nSubject: tell me\r\n\r\nhello\r\n"
            session.sendmail(ALICE, [BOB], letter, ["RET=HDRS", "ENVID=me+2B1"], ["NOTIFY=SUCCESS"])
        self.assertIsNotNone(self.letter_with("tell me"))

        def reported():
            with imaplib.IMAP4("127.0.0.1", self.server.port("imap")) as imap:
                imap.login(ALICE, PASSWORD)
                imap.select("INBOX", readonly=True)
                numbers = imap.search(None, "ALL")[1][0].split()
                letters = [imap.fetch(number, "(BODY.PEEK[])")[1][0][1] for number in numbers]
                return [letter for letter in letters if b"\r\nOriginal-Envelope-Id: me+1\r\n" in letter]

        self.assertTrue(wait_until(reported, 10), "no report")
        [report] = reported()
        self.assertIn(b"Return-Path: <>", report)
        self.assertIn(b"Action: delivered", report)
        self.assertIn(f"Final-Recipient: rfc822;{BOB}".encode(), report.replace(b"; ", b";"))


class Held(Sender):
    def hold(self, subject, seconds):
        with self.session() as session:
            session.ehlo("x")
            self.assertTrue(session.has_extn("futurerelease"))
            self.assertEqual(session.mail(ALICE, [f"HOLDFOR={seconds}"])[0], 250)
            self.assertEqual(session.rcpt(BOB)[0], 250)
            code, text = session.data(f"From: {ALICE}\r\nSubject: {subject}\r\n\r\nhello\r\n")
            self.assertEqual(code, 250)
            self.assertRegex(text.decode(), r"^2\.0\.0 \w+ waits until \d{4}-\d\d-\d\dT[\d:]+Z$")
            return text.decode().split()[1]

    def test_not_before_its_time(self):
        start = time.monotonic()
        self.hold("in three seconds", 3)
        time.sleep(1.5)
        self.assertIsNone(self.letter_with("in three seconds", patience_s=0))
        letter = self.letter_with("in three seconds", patience_s=15)
        self.assertIsNotNone(letter)
        self.assertGreater(time.monotonic() - start, 2)
        self.assertEqual(self.verified(letter), [True, True])

    def test_taken_back(self):
        name, other = self.hold("taken back", 4), self.hold("sent all the same", 4)
        listed = run("queue", "list", "--config", self.config)
        self.assertIn(name, listed.stdout, listed)
        done = run("queue", "cancel", name, "--config", self.config)
        self.assertEqual(done.returncode, 0, done)
        self.assertIsNotNone(self.letter_with("sent all the same", patience_s=15), other)
        time.sleep(1)
        self.assertIsNone(self.letter_with("taken back", patience_s=0))
        self.assertNotEqual(run("queue", "cancel", name, "--config", self.config).returncode, 0)

    def test_waits_through_a_crash(self):
        self.hold("through a crash", 5)
        self.server.kill()
        type(self).server = self.enterClassContext(Server(config=self.config))
        self.assertIsNone(self.letter_with("through a crash", patience_s=0))
        self.assertIsNotNone(self.letter_with("through a crash", patience_s=20))


class Limits(Sender):
    more = "hide_client = true\nletters_per_hour = 3\nrecipients_per_day = 5"

    def test_how_much_and_from_where(self):
        letter = f"From: {ALICE}\r\nSubject: number {{}}\r\n\r\nhello\r\n"
        with self.session() as session:
            session.sendmail(ALICE, [BOB, ALICE], letter.format(1))
            session.sendmail(ALICE, [BOB, ALICE], letter.format(2))
            # Refused for another reason: not counted.
            with self.assertRaises(smtplib.SMTPDataError):
                session.sendmail(ALICE, [BOB], "Subject: x\r\n\r\n")
            session.docmd(f"MAIL FROM:<{ALICE}>")
            session.docmd(f"RCPT TO:<{BOB}>")
            code, text = session.docmd(f"RCPT TO:<{ALICE}>")
            self.assertEqual(code, 450)
            self.assertRegex(text.decode(), r"^4\.7\.1 you may write to 5 recipients in one day.*try again in \d+ h$")
            session.rset()
            session.sendmail(ALICE, [BOB], letter.format(3))
            code, text = session.docmd(f"MAIL FROM:<{ALICE}>")
            self.assertEqual(code, 450)
            self.assertRegex(text.decode(), r"^4\.7\.1 you may send 3 letters in one hour.*try again in \d+ min$")
        stored = self.letter_with("number 3")
        [received] = fields(stored, "Received")
        self.assertTrue(received.startswith(b" from localhost\r\n"), received)
        self.assertNotIn(b"127.0.0.1", stored.split(b"\r\n\r\n")[0])


class FarAway(socketserver.ThreadingTCPServer):
    """Another mail server: takes everything and keeps it."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), FarAway.Session)
        self.letters = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *error):
        self.shutdown()
        super().__exit__(*error)

    class Session(socketserver.StreamRequestHandler):
        def handle(self):
            say = lambda text: self.wfile.write(f"{text}\r\n".encode())
            say("220 far.test ESMTP")
            recipients = []
            while line := self.rfile.readline().decode().strip():
                verb = line.split()[0].upper()
                if verb == "EHLO":
                    say("250-far.test\r\n250-8BITMIME\r\n250 PIPELINING")
                elif verb == "RCPT":
                    recipients.append(line.split("<")[1].split(">")[0])
                    say("250 ok")
                elif verb == "DATA":
                    say("354 go")
                    lines = []
                    while (text := self.rfile.readline()) != b".\r\n":
                        lines.append(text.removeprefix(b"."))
                    self.server.letters.append((recipients, b"".join(lines)))
                    recipients = []
                    say("250 taken")
                elif verb == "QUIT":
                    return say("221 bye")
                else:
                    say("250 ok")


class Elsewhere(Sender):
    """What leaves for another server."""

    @classmethod
    def setUpClass(cls):
        cls.far = cls.enterClassContext(FarAway())
        cls.config_more = f"[relay]\nhost = '127.0.0.1:{cls.far.server_address[1]}'\n"
        super().setUpClass()

    def arrived(self, subject, patience_s=10):
        found = []

        def there():
            found[:] = [one for one in self.far.letters if f"Subject: {subject}\r\n".encode() in one[1]]
            return found

        wait_until(there, patience_s)
        self.assertLessEqual(len(found), 1, "a letter came twice")
        return found[0] if found else (None, None)

    def test_here_and_there(self):
        letter = f"From: {ALICE}\r\nTo: x@far.test\r\nBcc: {BOB}\r\nSubject: both\r\n\r\n.a\r\nza\u017c\u00f3\u0142\u0107  \r\n\r\n"
        with self.session() as session:
            refused = session.sendmail(ALICE, [BOB, "x@far.test", "y@far.test"], letter.encode(), ["BODY=8BITMIME"])
            self.assertEqual(refused, {})
        recipients, there = self.arrived("both")
        self.assertEqual(recipients, ["x@far.test", "y@far.test"])
        here = self.letter_with("both")
        for stored in (here, there):
            self.assertEqual(self.verified(stored), [True, True])
            self.assertEqual(fields(stored, "Bcc"), [])
        self.assertEqual(fields(there, "Return-Path"), [])
        self.assertTrue(here.endswith(there), "the same letter, but for what our mailbox puts in front")

    def test_held(self):
        letter = f"From: {ALICE}\r\nSubject: far and later\r\n\r\nhello\r\n"
        with self.session() as session:
            session.sendmail(ALICE, ["x@far.test"], letter, ["HOLDFOR=3"])
        self.assertIsNone(self.arrived("far and later", patience_s=1.5)[1])
        self.assertIsNotNone(self.arrived("far and later", patience_s=15)[1])


class Crash(Sender):
    """`kill -9` while letters come in, at once into mailboxes and through the queue, with reports of success."""

    more = "letters_per_hour = 0\nrecipients_per_day = 0"
    rounds, threads = 6, 8

    def send(self, numbers, acknowledged):
        """Letters, one after the other, until the server is gone."""
        with contextlib.suppress(OSError, smtplib.SMTPException):
            session = smtplib.SMTP("127.0.0.1", self.server.port("submission"), timeout=20)
            session.login(ALICE, PASSWORD)
            while True:
                number = next(numbers)
                wanted = ["NOTIFY=SUCCESS"] if number % 2 else []
                letter = f"From: {ALICE}\r\nSubject: number {number}\r\n\r\nhello\r\n"
                session.sendmail(ALICE, [BOB], letter, [], wanted)
                acknowledged.append(number)

    def counted(self, who, pattern):
        """How often each number is in the inbox."""
        with imaplib.IMAP4("127.0.0.1", self.server.port("imap")) as imap:
            imap.login(who, PASSWORD)
            imap.select("INBOX", readonly=True)
            parts = imap.fetch("1:*", "(BODY.PEEK[])")[1]
            letters = [part[1] for part in parts if isinstance(part, tuple)]
            return collections.Counter(int(re.search(pattern, letter)[1]) for letter in letters)

    def test_none_lost_and_none_twice(self):
        seed = int(os.environ.get("E2E_SEED", time.time_ns()))
        dice, numbers, acknowledged = random.Random(seed), itertools.count(1), []
        for _ in range(self.rounds):
            workers = [threading.Thread(target=self.send, args=(numbers, acknowledged)) for _ in range(self.threads)]
            for worker in workers:
                worker.start()
            time.sleep(dice.uniform(0.3, 1.2))
            self.server.kill()
            for worker in workers:
                worker.join()
            type(self).server = self.enterClassContext(Server(config=self.config))

        def empty():
            return run("queue", "list", "--config", self.config).stdout.count("\n") <= 1

        self.assertTrue(wait_until(empty, 60), run("queue", "list", "--config", self.config).stdout[:2000])
        letters = self.counted(BOB, rb"\nSubject: number (\d+)\r\n")
        reports = self.counted(ALICE, rb"\nSubject: number (\d+)\r\n")
        said = f"E2E_SEED={seed}, {len(acknowledged)} letters"
        self.assertGreater(len(acknowledged), 100, said)
        lost = [number for number in acknowledged if letters[number] == 0]
        twice = [number for number, count in letters.items() if count > 1]
        self.assertEqual((lost, twice), ([], []), said)
        unsaid = [number for number in acknowledged if number % 2 and reports[number] == 0]
        again = [number for number, count in reports.items() if count > 1]
        self.assertEqual((unsaid, again), ([], []), said)
        print(f"submission: {said} acknowledged in {self.rounds} crashes, none lost, none twice")


del Sender

if __name__ == "__main__":
    unittest.main()
