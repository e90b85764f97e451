"""Debian's Postfix in front of us, as docs/howto/postfix.md shows it: recipients and passwords are asked of us, letters
come over LMTP, and nothing is lost or doubled, also when we are killed in between."""

import base64
import collections
import concurrent.futures
import contextlib
import imaplib
import os
import re
import smtplib
import socket
import ssl
import subprocess
import time
import unittest

import postfix
from harness import BINARY, PASSWORD, Certificate, Folder, Server, user
from test_sasl import Scram, as_text

NAME = "mail.example.test"
LETTERS, USERS = 1000, 50
PEOPLE = [f"user{number:02}" for number in range(USERS)]
SENDER = "sender@elsewhere.test"
OURS = ("127.0.0.1:24", "127.0.0.1:10023", "127.0.0.1:10024")


class World:
    """Accounts, a configuration of ours, and Postfix in front: ports stay the same when we start again."""

    def __init__(self, stack, names, unix=False):
        self.folder = stack.enter_context(Folder())
        certificate = Certificate(self.folder, NAME, NAME)
        ports = {place: f"127.0.0.1:{postfix.free_port()}" for place in OURS}
        toml = postfix.snippets(postfix.HOWTO, "OpenPoczta")["/etc/openpoczta.toml"]
        toml = postfix.replaced(toml, ports)
        more = ""
        if unix:
            page = postfix.snippets(postfix.HOWTO, "Unix sockets")
            path = str(self.folder / "postfix/queue")
            in_unix = page["/etc/openpoczta.toml"].replace("/var/spool/postfix", path)
            # Those three sections are instead of the first ones; what comes later in main.cf holds.
            toml = re.sub(r"\[(lmtp|socketmap|sasl)\]\nlisten = .*\n", "", toml) + in_unix
            more = page["/etc/postfix/main.cf"]
        self.config = self.folder / "openpoczta.toml"
        others = "".join(f"[{name}]\nlisten = ['127.0.0.1:0']\n" for name in ("imap", "http"))
        off = "[pop3]\nlisten = []\n"
        self.config.write_text(f"{toml}\n[data]\nfolder = '{self.folder}/mail'\n{others}{off}")
        self.postfix = postfix.Postfix(self.folder, certificate, ports, more)
        for name in names:
            self.tool("account", "add", user(name), stdin=f"{PASSWORD}\n")
        self.stack = stack
        self.server = None

    def tool(self, *arguments, stdin=None):
        command = [BINARY, *arguments, "--config", self.config]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, input=stdin)
        if done.returncode != 0:
            raise RuntimeError(f"{arguments}: {done.stderr}")

    def start(self):
        """Ours; the one before was killed, or there was none."""
        self.server = self.stack.enter_context(Server(config=self.config))

    def __enter__(self):
        self.start()
        self.stack.enter_context(self.postfix)
        return self

    def __exit__(self, *_):
        pass

    def client(self, port=None, source="127.0.0.1", tls=False):
        smtp = smtplib.SMTP("127.0.0.1", port or self.postfix.smtp, local_hostname="e2e.test",
                            timeout=60, source_address=(source, 0))
        if tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            smtp.starttls(context=context)
        smtp.ehlo()
        return smtp

    def submission(self, source="127.0.0.1"):
        return self.client(self.postfix.submission, source, tls=True)

    def box(self, name, mailbox="INBOX"):
        """Message-IDs in a mailbox, each as often as it is there."""
        with imaplib.IMAP4("127.0.0.1", self.server.port("imap")) as imap:
            imap.login(user(name), PASSWORD)
            _, [count] = imap.select(mailbox, readonly=True)
            if not int(count):
                return []
            _, rows = imap.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")
            return [re.search(rb"<(.*)>", row[1])[1].decode() for row in rows if isinstance(row, tuple)]

    def all_letters(self, names):
        """How often each letter is in the mailboxes of each."""
        return collections.Counter((name, one) for name in names for box in ("INBOX", "Junk") for one in self.box(name, box))

    def until_empty(self, patience_s=120):
        """Postfix has handed over all it took."""
        end = time.monotonic() + patience_s
        while self.postfix.waiting():
            if time.monotonic() > end:
                raise AssertionError(f"{self.postfix.waiting()} letters are still in Postfix: {self.postfix.said()[-2000:]}")
            time.sleep(0.2)


@contextlib.contextmanager
def world(names, unix=False):
    with contextlib.ExitStack() as stack, World(stack, names, unix) as one:
        yield one


def recipients(number):
    """One of the fifty in turn; every tenth letter goes to three."""
    step = (1, 7, 19) if number % 10 == 0 else (1,)
    return [PEOPLE[number * one % USERS] for one in step]


def letter(identity, size=3000):
    return (f"From: {SENDER}\r\nTo: all@example.test\r\nSubject: {identity}\r\nMessage-ID: <{identity}>\r\n"
            f"Date: Mon, 23 Nov 2026 12:00:00 +0000\r\n\r\n" + "A quite ordinary line of text.\r\n" * (size // 32))


def send(at, numbers, run):
    """As another mail server does it: what is not taken for now is tried again. Gives back what was taken."""
    sent = collections.Counter()
    smtp = at.client()
    for number in numbers:
        identity = f"{run}-{number}@elsewhere.test"
        names = sorted(set(recipients(number)))
        end = time.monotonic() + 90
        later = [user(name) for name in names]
        while True:
            try:
                # Gives back those that were refused, of whom others were taken.
                refused = smtp.sendmail(SENDER, later, letter(identity))
            except smtplib.SMTPRecipientsRefused as error:
                refused = error.recipients
            except smtplib.SMTPResponseException as error:
                refused = dict.fromkeys(later, (error.smtp_code, error.smtp_error))
            assert all(400 <= code < 500 for code, _ in refused.values()), refused
            later = list(refused)
            if not later:
                break
            assert time.monotonic() < end, f"{identity} was not taken in 90 s: {refused}"
            # In one session Postfix keeps in mind what it could not look up.
            smtp.quit()
            time.sleep(0.2)
            smtp = at.client()
        sent.update((name, identity) for name in names)
    smtp.quit()
    return sent


def send_all(at, run, count=LETTERS):
    lanes = 8
    with concurrent.futures.ThreadPoolExecutor(lanes) as pool:
        jobs = [pool.submit(send, at, range(lane, count, lanes), run) for lane in range(lanes)]
        return sum((job.result() for job in jobs), collections.Counter())


@unittest.skipIf(os.geteuid() != 0, "Postfix starts as root only")
class Postfix(unittest.TestCase):
    def compare(self, at, sent):
        at.until_empty()
        found = at.all_letters(PEOPLE)
        self.assertEqual(sent - found, collections.Counter(), "lost")
        self.assertEqual(found.keys() - sent.keys(), set(), "nobody sent these")
        return found - sent

    def test_a_thousand_letters(self):
        for unix in (False, True):
            with self.subTest(unix=unix), world(PEOPLE, unix) as at:
                began = time.monotonic()
                sent = send_all(at, "calm")
                self.assertEqual(len({identity for _, identity in sent}), LETTERS)
                self.assertEqual(self.compare(at, sent), collections.Counter(), "doubled")
                way = "unix" if unix else "inet"
                print(f"     {LETTERS} letters, {sent.total()} deliveries over lmtp:{way} in {time.monotonic() - began:.1f} s")
                # All came by the way the page shows, and nothing by another.
                handed = re.findall(r"postfix/lmtp\[\d+\]: .* relay=(\S+), .* status=sent", at.postfix.said())
                self.assertEqual(len(handed), sent.total())
                self.assertTrue(all(("lmtp]" in one) == unix for one in handed), set(handed))
                with at.submission() as smtp:
                    self.assertEqual(smtp.login(user(PEOPLE[0]), PASSWORD)[0], 235)
                with at.client() as smtp:
                    smtp.mail(SENDER)
                    self.assertEqual(smtp.rcpt(user("nobody"))[0], 550)

    def test_killed_in_the_middle(self):
        with world(PEOPLE) as at:
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                sending = pool.submit(send_all, at, "killed")
                for wanted in (150, 500):
                    while at.postfix.said().count("status=sent") < wanted and not sending.done():
                        time.sleep(0.02)
                    self.assertFalse(sending.done(), "all was sent before the kill")
                    at.server.kill()
                    time.sleep(1)
                    at.start()
                sent = sending.result(timeout=300)
            doubled = self.compare(at, sent)
            said = at.postfix.said()
            self.assertIn("status=deferred", said)
            # Only where Postfix did not hear our answer may a letter be there twice, and Postfix says which.
            unsure = set(re.findall(r"(\w+): .*lost connection with \S+ while sending end of data", said))
            unsure |= set(re.findall(r"(\w+): .*status=deferred \(lost connection", said))
            identities = dict(re.findall(r"cleanup\[\d+\]: (\w+): message-id=<(.*)>", said))
            may = {identities[one] for one in unsure if one in identities}
            print(f"     killed twice: {doubled.total()} of {sent.total()} doubled, {len(may)} whose answer was lost")
            self.assertLessEqual({identity for _, identity in doubled}, may)
            self.assertTrue(all(count == 1 for count in doubled.values()), doubled)

    def test_recipients_are_refused_at_once(self):
        with contextlib.ExitStack() as stack:
            at = World(stack, ["alice", "bob"])
            at.tool("alias", "add", user("sales"), user("alice"), user("bob"))
            with at, at.client() as smtp:
                self.assertEqual(smtp.mail(SENDER)[0], 250)
                for address, code, text in (
                    (user("alice"), 250, ""),
                    (user("Alice+news"), 250, ""),
                    (user("sales"), 250, ""),
                    (user("nobody"), 550, "5.1.1"),
                    (user("nobody+alice"), 550, "5.1.1"),
                    ('"a b"@example.test', 550, "5.1.1"),
                    (user("x" * 64), 550, "5.1.1"),
                    (user("`id`--'*"), 550, "5.1.1"),
                    (user("alice%other.test"), 554, "5.7.1"),
                    ("alice@other.test", 554, "5.7.1"),
                    ("alice@sub.example.test", 554, "5.7.1"),
                ):
                    found, said = smtp.rcpt(address)
                    self.assertEqual((found, text in said.decode()), (code, True), (address, said))
                # Unknown users do not become known while we are away, nor known ones unknown.
                at.server.kill()
                for name in ("bob", "someone"):
                    found, said = smtp.rcpt(user(name))
                    self.assertEqual(found, 451, said)
                at.start()
                self.assertEqual(smtp.rcpt(user("bob+later"))[0], 250)
                self.assertEqual(smtp.data(letter("after@elsewhere.test"))[0], 250)
                at.until_empty()
                # Three of the recipients lead to alice: those are three deliveries, of which one by the alias.
                self.assertEqual(set(at.box("alice")), {"after@elsewhere.test"})
                self.assertIn("after@elsewhere.test", at.box("bob"))

    def test_a_full_mailbox_does_not_hold_up_others(self):
        with contextlib.ExitStack() as stack:
            at = World(stack, ["alice", "bob", "carol"])
            at.tool("account", "quota", user("carol"), "--messages", "1")
            everybody = [user(name) for name in ("alice", "bob", "carol")]
            with at:
                with at.client() as smtp:
                    smtp.sendmail(SENDER, [user("carol")], letter("first@elsewhere.test"))
                    at.until_empty()
                    self.assertEqual(smtp.sendmail(SENDER, everybody, letter("second@elsewhere.test")), {})
                end = time.monotonic() + 30
                while "status=deferred" not in at.postfix.said() and time.monotonic() < end:
                    time.sleep(0.1)
                deferred = re.findall(r"to=<(\S+)>, .*status=deferred \((.*)\)", at.postfix.said())
                self.assertEqual({to for to, _ in deferred}, {user("carol")})
                self.assertIn("452 4.2.2", deferred[0][1])
                self.assertEqual([at.box(name) for name in ("alice", "bob", "carol")],
                                 [["second@elsewhere.test"], ["second@elsewhere.test"], ["first@elsewhere.test"]])
                with imaplib.IMAP4("127.0.0.1", at.server.port("imap")) as imap:
                    imap.login(user("carol"), PASSWORD)
                    imap.select("INBOX")
                    imap.store("1", "+FLAGS", r"(\Deleted)")
                    imap.expunge()
                at.postfix.flush()
                at.until_empty()
                self.assertEqual([at.box(name) for name in ("alice", "bob", "carol")], [["second@elsewhere.test"]] * 3)

    def test_submission(self):
        with contextlib.ExitStack() as stack:
            at = World(stack, ["alice", "bob", "carol"])
            at.tool("alias", "add", user("sales"), user("alice"))
            with at:
                with at.client(at.postfix.submission) as smtp:
                    self.assertNotIn("auth", smtp.esmtp_features, "before STARTTLS")
                with at.submission() as smtp:
                    self.assertEqual(set(smtp.esmtp_features["auth"].split()), {"LOGIN", "PLAIN", "SCRAM-SHA-256"})
                    self.assertEqual(smtp.mail(user("alice"))[0], 250)
                    self.assertEqual(smtp.rcpt(user("bob"))[0], 554, "nobody has logged in")
                ways = {
                    "PLAIN": lambda smtp: smtp.auth("PLAIN", lambda _=None: f"\0{user('alice')}\0{PASSWORD}"),
                    "LOGIN": lambda smtp: smtp.auth("LOGIN", smtp.auth_login, initial_response_ok=False),
                    "SCRAM-SHA-256": self.scram,
                }
                for number, (way, login) in enumerate(ways.items()):
                    with self.subTest(way=way), at.submission() as smtp:
                        smtp.user, smtp.password = user("alice"), PASSWORD
                        self.assertEqual(login(smtp)[0], 235)
                        for sender in (user("alice"), user("alice+tag"), user("sales")):
                            identity = f"{number}-{sender}"
                            self.assertEqual(smtp.sendmail(sender, [user("bob")], letter(identity)), {})
                        for sender in (user("bob"), user("nobody"), "alice@other.test"):
                            smtp.mail(sender)
                            code, said = smtp.rcpt(user("bob"))
                            self.assertEqual((code, said[:5]), (553, b"5.7.1"), (sender, said))
                            smtp.rset()
                at.until_empty()
                self.assertEqual(len(at.box("bob")), 9)

    def scram(self, smtp, password=PASSWORD):
        scram = Scram(user("alice"), password)
        reply = smtp.auth("SCRAM-SHA-256", lambda challenge=None: as_text(scram, challenge))
        self.assertTrue(scram.verified, "the server proved that it knows the password too")
        return reply

    def test_wrong_passwords(self):
        with world(["alice", "bob"]) as at:
            def plain(smtp, password):
                said = base64.b64encode(f"\0{user('bob')}\0{password}".encode()).decode()
                return smtp.docmd("AUTH", f"PLAIN {said}")

            with at.submission() as smtp:
                with self.assertRaises(smtplib.SMTPAuthenticationError) as error:
                    self.scram(smtp, "wrong")
                self.assertEqual(error.exception.smtp_code, 535)
                for line, code in (
                    ("PLAIN !!!!", 535),
                    ("PLAIN AAAA", 535),
                    ("XOAUTH2 " + base64.b64encode(b"user=x\1auth=Bearer y\1\1").decode(), 535),
                    ("PLAIN " + "A" * 8000, 535),
                ):
                    found, said = smtp.docmd("AUTH", line)
                    self.assertIn(found, (code, 501, 500), (line[:20], said))
            # Who guesses waits where it is, and its neighbours do not.
            with at.submission("127.0.0.5") as smtp:
                replies = [plain(smtp, "wrong") for _ in range(8)]
                self.assertTrue(all(code == 535 and b"wrong user name" in text for code, text in replies[:5]), replies)
                code, text = plain(smtp, PASSWORD)
                # Postfix 3.7 has no other code for what we call temporary.
                self.assertIn(code, (454, 535))
                self.assertIn(b"too many wrong passwords", text)
            with at.submission("127.0.0.6") as smtp:
                self.assertEqual(plain(smtp, PASSWORD)[0], 235)
            at.server.kill()
            try:
                with at.submission("127.0.0.6") as smtp:
                    # Not "wrong password": mail programs would ask for a new one.
                    self.assertNotIn(plain(smtp, PASSWORD)[0], (235, 535))
            except (smtplib.SMTPServerDisconnected, smtplib.SMTPConnectError):
                # A process of Postfix that is new asks for the mechanisms first, and ends without them.
                pass
            at.start()


class Listeners(unittest.TestCase):
    """The two listeners over real sockets, without Postfix: what strangers try, and many at once."""

    @contextlib.contextmanager
    def serving(self):
        with Folder() as folder:
            config = folder / "openpoczta.toml"
            self.sockets = {name: folder / f"{name}.sock" for name in ("socketmap", "sasl")}
            listen = "".join(f"[{name}]\nlisten = ['unix:{path}', '127.0.0.1:0']\n" for name, path in self.sockets.items())
            off = "".join(f"[{name}]\nlisten = []\n" for name in ("smtp", "submission", "imap", "pop3"))
            rest = "[lmtp]\nlisten = ['127.0.0.1:0']\n[http]\nlisten = ['127.0.0.1:0']\n"
            config.write_text(f"domains = ['example.test']\n[data]\nfolder = '{folder}/mail'\n{listen}{off}{rest}")
            command = [BINARY, "account", "add", user("alice"), "--config", config]
            subprocess.run(command, check=True, capture_output=True, text=True, input=f"{PASSWORD}\n", timeout=60)
            with Server(config=config) as server:
                yield server

    def open(self, name, unix=True, port=None):
        if unix:
            talk = socket.socket(socket.AF_UNIX)
            talk.settimeout(20)
            talk.connect(str(self.sockets[name]))
            return talk
        return socket.create_connection(("127.0.0.1", port), 20)

    def ask(self, talk, request):
        """One question to a table."""
        data = request if isinstance(request, bytes) else request.encode()
        talk.sendall(b"%d:%s," % (len(data), data))
        heard = b""
        while not heard.endswith(b","):
            more = talk.recv(65536)
            if not more:
                return None
            heard += more
        return heard.partition(b":")[2][:-1].decode()

    def test_tables(self):
        with self.serving() as server:
            # `port` is that of the address named last.
            for unix in (True, False):
                with self.open("socketmap", unix, None if unix else server.port("socketmap")) as talk:
                    for request, expect in (
                        ("mailbox alice@example.test", "OK alice@example.test"),
                        ("mailbox nobody@example.test", "NOTFOUND "),
                        ("domain example.test", "OK example.test"),
                        (b"mailbox \xff\xfe@example.test", "NOTFOUND "),
                        (b"mailbox alice\0@example.test", "NOTFOUND "),
                        ("mailbox " + "a" * 9000 + "@example.test", "NOTFOUND "),
                        ("mailbox " + "@" * 9000, "NOTFOUND "),
                        ("mailbox " + '"' * 9000, "NOTFOUND "),
                    ):
                        self.assertEqual(self.ask(talk, request), expect, request[:40])
            for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"99999999999999999999:x", b"10001:", b"-1:,", b"5:abcdefgh,", b"\0" * 5000):
                with self.open("socketmap") as talk:
                    talk.sendall(garbage)
                    self.assertEqual(self.rest(talk), b"", garbage[:20])
            # Slow and silent ones do not keep others waiting.
            with contextlib.ExitStack() as stack:
                for _ in range(200):
                    stack.enter_context(self.open("socketmap")).sendall(b"50:mailbox")
                began = time.monotonic()
                with self.open("socketmap") as talk:
                    self.assertEqual(self.ask(talk, "mailbox alice@example.test"), "OK alice@example.test")
                self.assertLess(time.monotonic() - began, 1)

    def rest(self, talk):
        """All that comes until the end."""
        heard = b""
        with contextlib.suppress(ConnectionResetError):
            while more := talk.recv(65536):
                heard += more
        return heard

    def test_passwords(self):
        right = base64.b64encode(f"\0{user('alice')}\0{PASSWORD}".encode()).decode()
        with self.serving():
            with self.open("sasl") as talk, talk.makefile("rb") as lines:
                greeting = [next(lines).decode().rstrip("\n")]
                while greeting[-1] != "DONE":
                    greeting.append(next(lines).decode().rstrip("\n"))
                self.assertEqual(greeting[0].split("\t")[:2], ["VERSION", "1"])
                # Many exchanges under way at once, each by its number.
                talk.sendall(b"VERSION\t1\t2\nCPID\t1\n" + b"".join(b"AUTH\t%d\tPLAIN\tservice=smtp\n" % n for n in range(1, 101)))
                self.assertEqual([next(lines) for _ in range(100)], [b"CONT\t%d\t\n" % n for n in range(1, 101)])
                talk.sendall(b"".join(f"CONT\t{n}\t{right}\n".encode() for n in range(100, 0, -1)))
                self.assertEqual([next(lines) for _ in range(100)], [f"OK\t{n}\tuser={user('alice')}\n".encode() for n in range(100, 0, -1)])
                # Those never ended have a limit, and what follows them is still answered.
                talk.sendall(b"".join(b"AUTH\t%d\tLOGIN\tservice=smtp\n" % n for n in range(1, 401)))
                answers = [next(lines) for _ in range(400)]
                self.assertTrue(all(one.startswith(b"CONT\t") for one in answers[:200]))
                self.assertTrue(answers[-1].startswith(b"FAIL\t400\t") and b"\ttemp" in answers[-1], answers[-1])
            for garbage in (b"VERSION\t9\t0\n", b"AUTH\n", b"\xff\xfe\n", b"A" * 100_000, b"GET / HTTP/1.1\r\n\r\n"):
                with self.open("sasl") as talk:
                    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                        talk.sendall(garbage)
                    self.assertRegex(self.rest(talk), rb"\A(VERSION\t1\t1\n.*DONE\n)?\Z".replace(b".*", rb"[\s\S]*"), garbage[:20])


if __name__ == "__main__":
    unittest.main()
