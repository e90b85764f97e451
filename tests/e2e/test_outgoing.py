"""Letters to other servers: submission, queue, DNS, SMTP; another server at the far end, and no letter lost."""

import collections
import contextlib
import email
import imaplib
import re
import shutil
import smtplib
import socket
import socketserver
import ssl
import subprocess
import threading
import time
import unittest

from harness import Certificate, Folder, Server, openssl
from nameserver import NameServer, free_port
from test_tls import ALICE, NAME, PASSWORD, figures, run, wait_until, write_config

MANY = 60  # MX records: more than fit into one datagram

ZONE = """
two.test.        MX 10 dead.test.
two.test.        MX 20 sink.test.
dead.test.       A 127.0.0.9
sink.test.       A 127.0.0.2
bare.test.       A 127.0.0.2
six.test.        AAAA ::1
null.test.       MX 0 .
alias.test.      CNAME real.test.
real.test.       MX 5 also.real.test.
also.real.test.  CNAME sink.test.
loop.test.       MX 5 mail.example.test.
loop.test.       MX 9 sink.test.
lost.test.       MX 5 nowhere.test.
silent.test.     MX 5 dead.test.
far.test.        MX 5 mx.far.test.
mx.far.test.     A 127.0.0.3
bulk.test.       MX 5 mx.bulk.test.
mx.bulk.test.    A 127.0.0.4
xn--gl-fna8x.test. MX 5 sink.test.
""" + "".join(f"many.test. MX {10 + n} a-very-long-name-so-that-the-answer-is-large-{n}.many.test.\n" for n in range(MANY)) + """
many.test.       MX 5 sink.test.
"""


class Sink:
    """A mail server that keeps what it takes, in the order of its answers."""

    def __init__(self, port, addresses=("127.0.0.2",), pause_s=0.0):
        self.letters, self.pause_s = [], pause_s
        self.lock, self.sessions = threading.Lock(), 0
        sink = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                with contextlib.suppress(OSError):
                    sink.session(self.rfile, self.wfile)

        class Listener(socketserver.ThreadingTCPServer):
            allow_reuse_address = daemon_threads = True
            request_queue_size = 100

        class Listener6(Listener):
            address_family = socket.AF_INET6

        kinds = [Listener6 if ":" in address else Listener for address in addresses]
        self.listeners = [kind((address, port), Handler) for kind, address in zip(kinds, addresses)]
        for listener in self.listeners:
            threading.Thread(target=listener.serve_forever, daemon=True).start()

    def session(self, lines, out):
        def say(text):
            out.write(text.encode() + b"\r\n")

        with self.lock:
            self.sessions += 1
        say("220 sink.test ESMTP")
        sender, to = None, []
        for line in lines:
            verb = line[:4].upper()
            if verb == b"EHLO":
                say("250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 10000000")
            elif verb == b"MAIL":
                sender, to = line.decode().strip(), []
                say("250 2.1.0 ok")
            elif verb == b"RCPT":
                address = re.search(r"<(.*)>", line.decode()).group(1)
                known = not address.startswith("nobody@")
                to += [address] if known else []
                say("250 2.1.5 ok" if known else "550 5.1.1 no such user")
            elif verb == b"DATA" and not to:
                say("554 5.5.1 nobody to send to")
            elif verb == b"DATA":
                say("354 go on")
                letter = b"".join(iter(lines.readline, b".\r\n"))
                time.sleep(self.pause_s)
                with self.lock:
                    self.letters.append((time.monotonic(), sender, tuple(to), letter))
                say("250 2.0.0 taken")
            elif verb == b"QUIT":
                say("221 2.0.0 bye")
                return
            else:
                say("250 2.0.0 ok")

    def found(self, subject):
        with self.lock:
            return [letter for letter in self.letters if f"Subject: {subject}\r\n".encode() in letter[3]]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for listener in self.listeners:
            listener.shutdown()
            listener.server_close()


def config_of(folder, certificate, names, port, more=""):
    text = f"[dns]\nservers = ['{names.address}']\n[relay]\nport = {port}\nauthorities = '{certificate.cert}'\n{more}"
    config = write_config(folder, [certificate], text)
    limits = "[submission]\nletters_per_hour = 0\nrecipients_per_day = 0\n"
    config.write_text(config.read_text().replace("[submission]\n", limits))
    return config


def signed(authority, certificate, name):
    """The same key and name, but by an authority: whoever looks at certificates wants one."""
    request, more = certificate.cert.with_suffix(".csr"), certificate.cert.with_suffix(".ext")
    more.write_text(f"subjectAltName=DNS:{name}\nbasicConstraints=critical,CA:FALSE\n")
    openssl("req", "-new", "-key", certificate.key, "-subj", f"/CN={name}", "-out", request)
    openssl("x509", "-req", "-in", request, "-CA", authority.cert, "-CAkey", authority.key, "-CAcreateserial", "-days", 30,
            "-extfile", more, "-out", certificate.cert)
    return certificate


def letter(subject, to, body="hello\r\n.hidden dot\r\n"):
    head = f"From: {ALICE}\r\nTo: {to}\r\nSubject: {subject}\r\n"
    return (head + "\r\n" + body).encode()


class Outgoing(unittest.TestCase):
    """Our server, a name server, and a sink that takes everything."""

    @classmethod
    def setUpClass(cls):
        cls.folder = cls.enterClassContext(Folder())
        cls.names = cls.enterClassContext(NameServer(cls.folder, ZONE))
        cls.port = free_port()
        cls.sink = cls.enterClassContext(Sink(cls.port, ("127.0.0.2", "::1")))
        cls.certificate = Certificate(cls.folder, "mail", NAME)
        cls.authority = Certificate(cls.folder, "authority", "authority.test")
        cls.far_certificate = signed(cls.authority, Certificate(cls.folder, "far", "mx.far.test"), "mx.far.test")
        cls.config = config_of(cls.folder, cls.authority, cls.names, cls.port)
        added = run("account", "add", ALICE, "--config", cls.config, stdin=f"{PASSWORD}\n")
        assert added.returncode == 0, added
        cls.server = cls.enterClassContext(Server(config=cls.config))

    def submit(self, subject, *to, options=(), text=None):
        with session_of(self.server) as session:
            taken = session.sendmail(ALICE, list(to), text or letter(subject, to[0]), mail_options=options)
            self.assertEqual(taken, {})

    def arrived(self, subject, patience_s=20):
        self.assertTrue(wait_until(lambda: self.sink.found(subject), patience_s), f"{subject} did not come: {self.waiting()}")
        return self.sink.found(subject)

    def waiting(self):
        return run("queue", "list", "--json", "--config", self.config).stdout

    def report_about(self, address, patience_s=20):
        """The report on a failure that alice got."""
        found = []

        def there():
            with imaplib.IMAP4("127.0.0.1", self.server.port("imap")) as imap:
                imap.login(ALICE, PASSWORD)
                imap.select("INBOX", readonly=True)
                numbers = imap.search(None, "TEXT", f'"{address}"')[1][0].split()
                found[:] = [imap.fetch(number, "(BODY.PEEK[])")[1][0][1] for number in numbers]
            return found

        self.assertTrue(wait_until(there, patience_s), f"no report about {address}: {self.waiting()}")
        self.assertEqual(len(found), 1)
        return found[0].decode()

    def test_where_letters_go(self):
        for domain in ("two.test", "bare.test", "six.test", "alias.test", "many.test", "[127.0.0.2]", "gęśl.test"):
            with self.subTest(domain):
                subject, to = f"to {domain.encode().hex()}", f"bob@{domain}"
                options = () if domain.isascii() else ("SMTPUTF8",)
                text = letter(subject, to if domain.isascii() else "bob@xn--gl-fna8x.test")
                self.submit(subject, to, options=options, text=text)
                _, sender, recipients, received = self.arrived(subject)[0]
                self.assertTrue(sender.startswith(f"MAIL FROM:<{ALICE}> SIZE="), sender)
                self.assertEqual(recipients, (to,))
                self.assertTrue(received.endswith(b"hello\r\n..hidden dot\r\n"), received)
                self.assertNotRegex(received, rb"[^\r]\n|\r[^\n]")

    def test_where_they_cannot_go(self):
        rows = [
            ("null.test", "5.1.10", "556"),
            ("does-not-exist.test", "5.1.2", "does not exist"),
            ("loop.test", "5.4.6", "says that this server is the one"),
            ("lost.test", "5.4.4", "does not exist"),
        ]
        for domain, _, _ in rows:
            self.submit(f"lost at {domain}", f"bob@{domain}")
        for domain, status, text in rows:
            with self.subTest(domain):
                report = self.report_about(f"bob@{domain}")
                self.assertIn(f"Status: {status}", report)
                self.assertIn(text, report)
                self.assertIn("Action: failed", report)

    def test_what_has_to_wait(self):
        rows = [("broken.test", "the name server answers SERVFAIL"), ("silent.test", "127.0.0.9")]
        for domain, _ in rows:
            self.submit(f"waits for {domain}", f"bob@{domain}")
        for domain, says in rows:
            with self.subTest(domain):
                there = lambda: any(domain in line and says in line for line in self.waiting().splitlines())
                self.assertTrue(wait_until(there, 20), self.waiting())

    def test_one_of_two_recipients(self):
        self.submit("half", "nobody@bare.test", "somebody@bare.test")
        self.assertEqual(self.arrived("half")[0][2], ("somebody@bare.test",))
        report = self.report_about("nobody@bare.test")
        self.assertIn("Status: 5.1.1", report)
        self.assertIn("550 5.1.1 no such user", report)
        self.assertNotIn("somebody@bare.test", report.split("Action: failed")[1].split("\r\n\r\n")[0])

    def test_connections_are_used_again(self):
        before = self.sink.sessions
        for n in range(10):
            self.submit(f"again {n}", "bob@two.test")
            self.arrived(f"again {n}")
        self.assertLessEqual(self.sink.sessions - before, 2)
        reused = figures(self.server)['openpoczta_relay_connections_total{outcome="reused"}']
        self.assertGreaterEqual(reused, 8)


    def test_over_tls_to_another_of_us(self):
        folder = self.folder / "far"
        folder.mkdir()
        config = folder / "openpoczta.toml"
        config.write_text(
            f"hostname = 'mx.far.test'\n[data]\nfolder = '{folder}/mail'\n"
            f"[tls]\ncertificates = [{self.far_certificate.toml()}]\n"
            f"[smtp]\nlisten = ['127.0.0.3:{self.port}']\n[imap]\nlisten = ['127.0.0.1:0']\n"
            + "".join(f"[{name}]\nlisten = []\n" for name in ("lmtp", "submission", "pop3", "http"))
        )
        added = run("account", "add", "carol@far.test", "--config", config, stdin=f"{PASSWORD}\n")
        self.assertEqual(added.returncode, 0, added)
        with Server(config=config) as far:

            def inbox(subject):
                with imaplib.IMAP4("127.0.0.1", far.port("imap")) as imap:
                    imap.login("carol@far.test", PASSWORD)
                    imap.select("INBOX", readonly=True)
                    numbers = imap.search(None, "SUBJECT", f'"{subject}"')[1][0].split()
                    return [imap.fetch(number, "(BODY.PEEK[])")[1][0][1] for number in numbers]

            # First as it comes; then a letter that must not travel in clear, for which the certificate is looked at: the
            # connection that is still open was made without.
            for subject, options, kind in [("plain", [], "encrypted"), ("guarded", ["REQUIRETLS"], "verified")]:
                self.submit(subject, "carol@far.test", options=options)
                self.assertTrue(wait_until(lambda: inbox(subject), 20), self.waiting())
                arrived = email.message_from_bytes(inbox(subject)[0])
                self.assertRegex(arrived["Received"], r"with (UTF8)?ESMTPS")
                self.assertIn(NAME, arrived["Received"])
                counted = figures(self.server)[f'openpoczta_relay_connections_total{{outcome="{kind}"}}']
                self.assertGreaterEqual(counted, 1)
            self.submit("who", "dave@far.test")
            self.assertIn("Status: 5.1.1", self.report_about("dave@far.test"))
        # A sink without TLS is no place for such a letter, and the sender hears of it at once.
        self.submit("never in clear", "tls@bare.test", options=["REQUIRETLS"])
        self.assertIn("Status: 5.7.", self.report_about("tls@bare.test"))
        self.assertEqual(self.sink.found("never in clear"), [])


class Smarthost(unittest.TestCase):
    def test_routes_and_the_smarthost(self):
        with Folder() as folder, NameServer(folder, ZONE) as names:
            port = free_port()
            certificate = Certificate(folder, "mail", NAME)
            more = (
                f"host = '127.0.0.5:{port}'\n"
                f"routes = [{{ domain = 'two.test', host = '127.0.0.6:{port}' }}]\n"
            )
            config = config_of(folder, certificate, names, port, more)
            added = run("account", "add", ALICE, "--config", config, stdin=f"{PASSWORD}\n")
            self.assertEqual(added.returncode, 0, added)
            with Sink(port, ("127.0.0.5",)) as smart, Sink(port, ("127.0.0.6",)) as route, Server(config=config) as server:
                with session_of(server) as session:
                    to = ["a@two.test", "b@bare.test", "c@does-not-exist.test", "d@far.test"]
                    session.sendmail(ALICE, to, letter("by ways", to[0]))
                self.assertTrue(wait_until(lambda: smart.found("by ways") and route.found("by ways"), 20))
                self.assertEqual([one[2] for one in route.found("by ways")], [("a@two.test",)])
                # One transaction for all that go the same way.
                self.assertEqual([one[2] for one in smart.found("by ways")], [tuple(to[1:])])


class Many(unittest.TestCase):
    """Some hundred letters."""

    def setUp(self):
        self.folder = self.enterContext(Folder())
        self.names = self.enterContext(NameServer(self.folder, ZONE))
        self.port = free_port()
        certificate = Certificate(self.folder, "mail", NAME)
        self.config = config_of(self.folder, certificate, self.names, self.port)
        added = run("account", "add", ALICE, "--config", self.config, stdin=f"{PASSWORD}\n")
        self.assertEqual(added.returncode, 0, added)

    def submit_many(self, server, numbers, domain):
        """Those that were taken."""
        taken, lock = [], threading.Lock()

        def some(mine):
            with contextlib.suppress(OSError, smtplib.SMTPException), session_of(server) as session:
                for n in mine:
                    session.sendmail(ALICE, [f"u{n}@{domain}"], letter(f"number {n};", f"u{n}@{domain}"))
                    with lock:
                        taken.append(n)

        threads = [threading.Thread(target=some, args=(numbers[k::8],)) for k in range(8)]
        for thread in threads:
            thread.start()
        return taken, threads

    def test_to_postfix(self):
        """Postfix's own sink, which writes a file for each letter."""
        program = shutil.which("smtp-sink") or "/usr/sbin/smtp-sink"
        kept = self.folder / "kept"
        kept.mkdir(mode=0o777)
        command = [program, "-u", "root", "-d", f"{kept}/letter.", f"127.0.0.4:{self.port}", "100"]
        sink = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            with Server(config=self.config) as server:
                taken, threads = self.submit_many(server, range(300), "bulk.test")
                for thread in threads:
                    thread.join()
                self.assertEqual(len(taken), 300)
                self.assertTrue(wait_until(lambda: len(list(kept.iterdir())) >= 300, 60), len(list(kept.iterdir())))
                wait_until(lambda: not run("queue", "list", "--json", "--config", self.config).stdout, 20)
            texts = [file.read_bytes() for file in kept.iterdir()]
        finally:
            sink.terminate()
            sink.wait()
        found = collections.Counter(number_of(text) for text in texts)
        self.assertEqual(found, collections.Counter(range(300)))

    def test_kill_while_sending(self):
        """SIGKILL in the middle, twice: whatever was taken arrives. Twice only what was on its way at that moment."""
        count, killed_at = 300, []
        with Sink(self.port, ("127.0.0.4",), pause_s=0.02) as sink:
            taken, begin = set(), 0
            for round_ends_at in (60, 160):
                with Server(config=self.config) as server:
                    numbers = range(begin, begin + count // 2)
                    begin += count // 2
                    some, threads = self.submit_many(server, numbers, "bulk.test")
                    self.assertTrue(wait_until(lambda: len(sink.letters) >= round_ends_at, 60), len(sink.letters))
                    server.kill()
                    killed_at.append(time.monotonic())
                    for thread in threads:
                        thread.join()
                    taken.update(some)
            self.assertGreater(len(taken), 20)
            with Server(config=self.config):
                arrived = lambda: {number_of(one[3]) for one in list(sink.letters)}
                self.assertTrue(wait_until(lambda: taken <= arrived(), 120), sorted(taken - arrived()))
                empty = lambda: not run("queue", "list", "--json", "--config", self.config).stdout
                self.assertTrue(wait_until(empty, 60), "letters still wait")
            times = collections.defaultdict(list)
            for when, _, _, text in sink.letters:
                times[number_of(text)].append(when)
            double = {n: when for n, when in times.items() if len(when) > 1}
            print(f"killed twice: {len(taken)} letters taken, {len(times)} arrived, {len(double)} of them twice", flush=True)
            # Twenty at a time go one way; what was answered just before the end could not be noted any more.
            self.assertLessEqual(len(double), 2 * 20)
            for n, (first, *_) in double.items():
                self.assertTrue(any(-2 < first - at < 5 for at in killed_at), f"{n} came twice for no reason")


def number_of(text):
    return int(re.search(rb"Subject: number (\d+);", text).group(1))


def session_of(server):
    """Logged in as alice."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    session = smtplib.SMTP_SSL("127.0.0.1", server.port("submissions"), timeout=60, context=context)
    session.login(ALICE, PASSWORD)
    return session


if __name__ == "__main__":
    unittest.main()
