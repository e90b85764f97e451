"""TLS with real clients: STARTTLS and encrypted ports, the right certificate, certificates renewed while people work,
and what strangers try."""

import contextlib
import http.client
import imaplib
import os
import poplib
import re
import signal
import smtplib
import socket
import ssl
import subprocess
import time
import unittest
import zlib

from harness import BINARY, Certificate, Folder, Server, Talk, openssl

NAME = "mail.example.test"
LISTENERS = ("smtp", "lmtp", "submission", "imap", "pop3", "http", "submissions", "imaps", "pop3s", "https")
ALICE = "alice@example.test"
PASSWORD = "secret"


def run(*arguments, stdin=None):
    command = [str(part) for part in (BINARY, *arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, input=stdin)


def write_config(folder, certificates, more="", listeners=LISTENERS):
    file = folder / "openpoczta.toml"
    listen = "".join(f"[{name}]\nlisten = ['127.0.0.1:0']\n" for name in listeners)
    pairs = ", ".join(one.toml() for one in certificates)
    file.write_text(
        f"hostname = '{NAME}'\n[data]\nfolder = '{folder}/mail'\n[tls]\ncertificates = [{pairs}]\n{more}\n{listen}"
    )
    return file


@contextlib.contextmanager
def serving(certificates, folder, more=""):
    file = write_config(folder, certificates, more)
    for address in (ALICE, "bob@example.test"):
        added = run("account", "add", address, "--config", file, stdin=f"{PASSWORD}\n")
        assert added.returncode == 0, added
    with Server(config=file) as server:
        yield server


def shown(port, name, context=None):
    """The certificate that a client gets which asks for this name."""
    context = context or ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), 20) as plain:
        with context.wrap_socket(plain, server_hostname=name) as encrypted:
            return encrypted.getpeercert(binary_form=True)


def figures(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port("http"), timeout=20)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    rows = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in rows}


def wait_until(true, patience_s):
    end = time.monotonic() + patience_s
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


# What is said before STARTTLS, STARTTLS itself, what the answer begins with, what is injected, a question and the
# beginning of its answer.
DIALOGUES = {
    "imap": (None, "a STARTTLS", "a OK", "x NOOP", "b CAPABILITY", "* CAPABILITY"),
    "pop3": (None, "STLS", "+OK", "USER x", "CAPA", "+OK what"),
    "smtp": ("EHLO x", "STARTTLS", "220", "EHLO injected", "MAIL FROM:<a@example.test>", "503"),
    "submission": ("EHLO x", "STARTTLS", "220", "NOOP", "MAIL FROM:<a@example.test>", "503"),
    "lmtp": ("LHLO x", "STARTTLS", "220", "LHLO injected", "MAIL FROM:<a@example.test>", "503"),
}


class Clients(unittest.TestCase):
    """One server with two certificates for all of these."""

    @classmethod
    def setUpClass(cls):
        stack = contextlib.ExitStack()
        cls.addClassCleanup(stack.close)
        folder = stack.enter_context(Folder())
        cls.first = Certificate(folder, "first", NAME)
        cls.second = Certificate(folder, "second", "www.example.test", "*.branch.example.test")
        cls.rsa = Certificate(folder, "rsa", NAME, key=("rsa:2048",))
        cls.server = stack.enter_context(serving([cls.first, cls.second, cls.rsa], folder))
        cls.folder = folder

    def port(self, name):
        return self.server.port(name)

    def context(self):
        """Trusts the first certificate, and its name, while it talks to 127.0.0.1."""
        context = self.first.client()
        wrap = context.wrap_socket
        context.wrap_socket = lambda sock, **more: wrap(sock, **{**more, "server_hostname": NAME})
        return context

    def test_python_clients(self):
        letter = "From: alice@example.test\r\nSubject: {}\r\n\r\nhello\r\n"

        def submit(session, subject):
            session.login(ALICE, PASSWORD)
            self.assertEqual(session.sendmail(ALICE, [ALICE], letter.format(subject)), {})

        with smtplib.SMTP("127.0.0.1", self.port("submission"), timeout=20) as session:
            self.assertEqual(session.starttls(context=self.context())[0], 220)
            session.ehlo("x")
            self.assertFalse(session.has_extn("starttls"))
            submit(session, "starttls")
        with smtplib.SMTP_SSL("127.0.0.1", self.port("submissions"), timeout=20, context=self.context()) as session:
            session.ehlo("x")
            self.assertFalse(session.has_extn("starttls"))
            submit(session, "implicit")
        with smtplib.SMTP("127.0.0.1", self.port("smtp"), timeout=20) as session:
            session.starttls(context=self.context())
            session.sendmail("x@example.org", [ALICE], letter.format("from far").replace("alice", "x"))
        with smtplib.LMTP("127.0.0.1", self.port("lmtp"), timeout=20) as session:
            session.starttls(context=self.context())
            session.sendmail("x@example.org", [ALICE], letter.format("by lmtp"))

        with imaplib.IMAP4("127.0.0.1", self.port("imap")) as imap:
            self.assertIn("STARTTLS", imap.capabilities)
            imap.starttls(self.context())
            self.assertNotIn("STARTTLS", imap.capabilities)
            imap.login(ALICE, PASSWORD)
            self.check_letters(imap)
        with imaplib.IMAP4_SSL("127.0.0.1", self.port("imaps"), ssl_context=self.context()) as imap:
            self.assertNotIn("STARTTLS", imap.capabilities)
            imap.login(ALICE, PASSWORD)
            self.check_letters(imap)
            # Larger than any buffer on the way, in both directions.
            large = b"Subject: large\r\n\r\n" + b"0123456789abcdef" * (1 << 17)
            self.assertEqual(imap.append("INBOX", None, None, large)[0], "OK")
            _, rows = imap.fetch("*", "(BODY.PEEK[])")
            self.assertEqual(rows[0][1], large)
            imap.store("*", "+FLAGS", r"(\Deleted)")
            imap.expunge()

        for implicit in (False, True):
            if implicit:
                pop = poplib.POP3_SSL("127.0.0.1", self.port("pop3s"), timeout=20, context=self.context())
            else:
                pop = poplib.POP3("127.0.0.1", self.port("pop3"), timeout=20)
                self.assertIn("STLS", pop.capa())
                pop.stls(self.context())
            self.assertNotIn("STLS", pop.capa())
            pop.user(ALICE)
            pop.pass_(PASSWORD)
            self.assertEqual(pop.stat()[0], 4)
            pop.quit()

    def check_letters(self, imap):
        _, [count] = imap.select("INBOX")
        self.assertEqual(count, b"4")
        _, rows = imap.fetch("1:4", "(BODY.PEEK[HEADER])")
        found = {}
        for row in (row[1] for row in rows if isinstance(row, tuple)):
            subject = re.search(rb"Subject: (.*)\r\n", row).group(1).decode()
            found[subject] = re.search(rb" with (\w+) ", row).group(1).decode()
        expect = {"starttls": "ESMTPSA", "implicit": "ESMTPSA", "from far": "ESMTPS", "by lmtp": "LMTPS"}
        self.assertEqual(found, expect)

    def test_https(self):
        port = self.port("https")
        done = subprocess.run(
            ["curl", "--silent", "--show-error", "--cacert", self.first.cert, "--resolve", f"{NAME}:{port}:127.0.0.1",
             "--noproxy", "*", "--write-out", "%{http_code} %{http_version}", f"https://{NAME}:{port}/healthz"],
            capture_output=True, text=True, timeout=60,
        )
        self.assertEqual((done.stdout, done.stderr), ('{"status":"ok"}200 1.1', ""))
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=self.context())
        body = f'{{"user":"{ALICE}","password":"{PASSWORD}"}}'
        headers = {"Content-Type": "application/json", "Origin": f"https://{NAME}", "Host": NAME}
        connection.request("POST", "/auth/login", body, headers)
        answer = connection.getresponse()
        self.assertEqual((answer.status, "csrf" in answer.read().decode()), (200, True))
        self.assertRegex(answer.getheader("Set-Cookie"), r"^__Host-op=.*; Secure")
        connection.close()

    def test_s_client(self):
        talks = [
            ("imap", "imap", "a LOGOUT", "BYE"), ("pop3", "pop3", "QUIT", "+OK"), ("smtp", "smtp", "QUIT", "221"),
            ("submission", "smtp", "QUIT", "221"), ("lmtp", "lmtp", "QUIT", "221"),
            ("imaps", None, "a LOGOUT", "BYE"), ("pop3s", None, "QUIT", "+OK"), ("submissions", None, "QUIT", "221"),
        ]
        for listener, starttls, bye, answer in talks:
            for version in ("-tls1_2", "-tls1_3"):
                with self.subTest(listener=listener, version=version):
                    more = ["-starttls", starttls] if starttls else []
                    said = openssl(
                        "s_client", "-connect", f"127.0.0.1:{self.port(listener)}", *more, version, "-servername", NAME,
                        "-CAfile", self.first.cert, "-verify_return_error", "-verify_hostname", NAME, "-crlf",
                        "-ign_eof", stdin=f"{bye}\n",
                    )
                    self.assertIn("Verification: OK", said)
                    self.assertIn(answer, said.split("Verification: OK", 1)[1])
        for version in ("-tls1", "-tls1_1"):
            with self.assertRaisesRegex(RuntimeError, "alert (protocol version|handshake failure)"):
                openssl("s_client", "-connect", f"127.0.0.1:{self.port('imaps')}", version,
                        "-cipher", "ALL:@SECLEVEL=0", "-servername", NAME)

    def test_curl(self):
        letter = self.folder / "letter"
        letter.write_bytes(b"From: alice@example.test\r\nSubject: by curl\r\n\r\nhello\r\n")

        def curl(scheme, listener, path, *more, who=ALICE):
            port = self.port(listener)
            command = ["curl", "--silent", "--show-error", "--ssl-reqd", "--cacert", self.first.cert, "--noproxy", "*",
                       "--resolve", f"{NAME}:{port}:127.0.0.1", "--user", f"{who}:{PASSWORD}", *more,
                       f"{scheme}://{NAME}:{port}/{path}"]
            done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 0, f"{listener}: {done.stderr}")
            return done.stdout

        bob = ["--mail-from", ALICE, "--mail-rcpt", "bob@example.test", "--upload-file", letter]
        for scheme, listener in (("smtp", "submission"), ("smtps", "submissions")):
            curl(scheme, listener, "x.example.test", *bob)
        for scheme, listener in (("imap", "imap"), ("imaps", "imaps")):
            self.assertIn('"/" INBOX', curl(scheme, listener, ""))
        for scheme, listener in (("pop3", "pop3"), ("pop3s", "pop3s")):
            self.assertIn("Subject: by curl", curl(scheme, listener, "1", who="bob@example.test"))

    def test_goodbyes_are_told_in_tls(self):
        """Without `close_notify` nobody knows whether something was cut off (RFC 8446 §6.1)."""
        rows = {"imaps": "a LOGOUT", "pop3s": "QUIT", "submissions": "QUIT",
                "https": f"GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n"}
        for listener, bye in rows.items():
            with self.subTest(listener=listener):
                plain = socket.create_connection(("127.0.0.1", self.port(listener)), 20)
                wrap = self.first.client().wrap_socket
                with wrap(plain, server_hostname=NAME, suppress_ragged_eofs=False) as encrypted:
                    encrypted.sendall(f"{bye}\r\n".encode())
                    heard = b""
                    while more := encrypted.recv(65536):
                        heard += more
                    self.assertTrue(heard)

    def test_clients_that_come_back_skip_the_signature(self):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = self.first.client()
            context.minimum_version = context.maximum_version = version
            session, reused = None, []
            for _ in range(2):
                plain = socket.create_connection(("127.0.0.1", self.port("imaps")), 20)
                with context.wrap_socket(plain, server_hostname=NAME, session=session) as encrypted:
                    self.assertTrue(encrypted.recv(1000).startswith(b"* OK"))
                    reused.append(encrypted.session_reused)
                    session = encrypted.session
            self.assertEqual(reused, [False, True], version)

    def test_the_name_chooses_the_certificate(self):
        rows = [
            (NAME, self.first), ("MAIL.example.TEST", self.first), ("www.example.test", self.second),
            ("a.branch.example.test", self.second), ("a.b.branch.example.test", self.first),
            ("branch.example.test", self.first), ("unknown.example.test", self.first), (None, self.first),
        ]
        for listener in ("imaps", "https"):
            for name, expect in rows:
                with self.subTest(name=name, listener=listener):
                    self.assertEqual(shown(self.port(listener), name), expect.der)
        # A client that knows RSA only gets the certificate for the same name with such a key.
        old = ssl.create_default_context()
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        old.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
        self.assertEqual(shown(self.port("imaps"), NAME, old), self.rsa.der)

    def test_application_protocols(self):
        def check(listener, offered, expect):
            context = self.context()
            if offered:
                context.set_alpn_protocols(offered)
            with socket.create_connection(("127.0.0.1", self.port(listener)), 20) as plain:
                with context.wrap_socket(plain) as encrypted:
                    self.assertEqual(encrypted.selected_alpn_protocol(), expect, (listener, offered))

        check("imaps", None, None)
        check("imaps", ["imap"], "imap")
        check("pop3s", ["pop3"], "pop3")
        check("https", ["h2", "http/1.1"], "http/1.1")
        check("submissions", ["smtp"], None)
        # A browser that is sent to the wrong port by somebody must not talk there (RFC 7301 §3.2).
        for listener in ("imaps", "pop3s"):
            with self.assertRaisesRegex(ssl.SSLError, "(?i)no.application.protocol"):
                check(listener, ["http/1.1"], None)

    def test_what_is_sent_ahead_of_the_handshake_is_forgotten(self):
        for listener, (hello, starttls, begin, injected, question, answer) in DIALOGUES.items():
            # In the same packet as STARTTLS, a whole command and half of one: never answered, nor waited for.
            for rest in (f"{injected}\r\n", f"{injected}\r\n{injected[:3]}"):
                with self.subTest(listener=listener, rest=rest), Talk(self.port(listener)) as talk:
                    talk.line()
                    if hello:
                        talk.ask(hello)
                    talk.send(f"{starttls}\r\n{rest}")
                    self.assertTrue(talk.line().startswith(begin))
                    talk.encrypt(self.context(), NAME)
                    talk.send(f"{question}\r\n")
                    self.assertTrue(talk.line().startswith(answer))
            # Behind the answer: it is no handshake, and the connection ends.
            with self.subTest(listener=listener, rest="after"), Talk(self.port(listener)) as talk:
                talk.line()
                if hello:
                    talk.ask(hello)
                talk.send(f"{starttls}\r\n")
                self.assertTrue(talk.line().startswith(begin))
                talk.send(f"{injected}\r\n{injected}\r\n")
                rest = talk.socket.recv(1000)
                # At most an alert (content type 21).
                self.assertIn(rest[:1], (b"", b"\x15"), rest)
                self.assertTrue(talk.closed())

    def test_starttls_twice_and_inside(self):
        twice = {"imap": ("a BAD", "a STARTTLS"), "pop3": ("-ERR", "STLS"), "submission": ("503", "STARTTLS")}
        for listener, (refused, starttls) in twice.items():
            for implicit in (False, True):
                with self.subTest(listener=listener, implicit=implicit):
                    talk = Talk(self.port(listener + "s" if implicit else listener))
                    with talk:
                        if implicit:
                            talk.encrypt(self.context(), NAME)
                            talk.line()
                        else:
                            hello, command, begin, *_ = DIALOGUES[listener]
                            talk.line()
                            if hello:
                                talk.ask(hello)
                            talk.send(f"{command}\r\n")
                            self.assertTrue(talk.line().startswith(begin))
                            talk.encrypt(self.context(), NAME)
                        if listener == "submission":
                            talk.ask("EHLO x")
                        talk.send(f"{starttls}\r\n")
                        self.assertTrue(talk.line().startswith(refused))

    def test_compress_in_tls(self):
        """A letter of a megabyte there and back, DEFLATE inside TLS, on both listeners; and it ends with UNAUTHENTICATE."""
        letter = b"Subject: long\r\n\r\n" + b"poczta po\xc5\x82udniowa\r\n" * 50_000
        for listener in ("imap", "imaps"):
            with self.subTest(listener=listener), Talk(self.server.port(listener)) as talk:
                if listener == "imap":
                    talk.line()
                    talk.send("a STARTTLS\r\n")
                    self.assertEqual(talk.line()[:5], "a OK ")
                talk.encrypt(self.context(), NAME)
                talk.send(f"b LOGIN {ALICE} {PASSWORD}\r\nc SELECT INBOX\r\n")
                talk.until("c OK ")
                talk.send("d COMPRESS DEFLATE\r\n")
                self.assertEqual(talk.line(), "d OK Compressing")
                out = zlib.compressobj(wbits=-zlib.MAX_WBITS)
                squeeze = lambda data: out.compress(data) + out.flush(zlib.Z_SYNC_FLUSH)
                command = f"e APPEND INBOX {{{len(letter)}+}}\r\n".encode()
                sent = squeeze(command + letter + b"\r\nf FETCH * BODY.PEEK[]\r\ng UID STORE 1:* +FLAGS.SILENT (\\Deleted)\r\n")
                talk.send(sent + squeeze(b"h EXPUNGE\r\n"))
                received, heard = 0, b""
                into = zlib.decompressobj(wbits=-zlib.MAX_WBITS)

                def hear(until):
                    nonlocal received, heard
                    while until not in heard:
                        some = talk.file.read1(1 << 16)
                        self.assertTrue(some, "closed")
                        received += len(some)
                        heard += into.decompress(some)

                hear(b"\r\nh OK ")
                self.assertIn(letter, heard)
                self.assertLess(max(len(sent), received), len(letter) // 20)
                talk.send(squeeze(b"i UNAUTHENTICATE\r\n"))
                hear(b"\r\ni OK ")
                talk.send("j NOOP\r\n")
                self.assertEqual(talk.line(), "j OK Nothing else")

    def test_figures(self):
        before = figures(self.server)

        def more(name):
            return figures(self.server).get(name, 0) - before.get(name, 0)

        pop = poplib.POP3("127.0.0.1", self.port("pop3"), timeout=20)
        pop.stls(self.context())
        pop.quit()
        with smtplib.SMTP("127.0.0.1", self.port("smtp"), timeout=20) as session:
            session.starttls(context=self.context())
        with Talk(self.port("imaps")) as talk:
            talk.send("a LOGIN alice secret\r\n")
            self.assertIn(talk.socket.recv(1000)[:1], (b"", b"\x15"))
            self.assertTrue(talk.closed())
        ended = 'openpoczta_listener_connections{listener="%s"}'
        self.assertTrue(wait_until(lambda: all(figures(self.server)[ended % n] == 0 for n in ("smtp", "pop3")), 10))
        # A session that goes on behind the handshake is one session, on one connection.
        self.assertEqual(more("openpoczta_pop3_sessions_total"), 1)
        self.assertEqual(more("openpoczta_smtp_sessions_total"), 1)
        self.assertEqual(more('openpoczta_listener_connections_opened_total{listener="pop3"}'), 1)
        for name, outcome in (("pop3", "ok"), ("smtp", "ok"), ("imaps", "failed")):
            key = f'openpoczta_tls_handshakes_total{{listener="{name}",outcome="{outcome}"}}'
            self.assertEqual(more(key), 1, key)
        for one in (self.first, self.second):
            days = figures(self.server)[f'openpoczta_tls_certificate_days_left{{certificate="{one.cert}"}}']
            self.assertIn(days, (29, 30))


class Renewal(unittest.TestCase):
    def test_certificates_change_while_people_work(self):
        with Folder() as folder:
            used = Certificate(folder, "used", NAME)
            fixed = Certificate(folder, "fixed", "www.example.test")
            with serving([used, fixed], folder) as server:
                port = server.port("imaps")
                context = used.client()
                talk = Talk(port)
                talk.encrypt(context, NAME)
                talk.line()

                def working():
                    talk.send("a NOOP\r\n")
                    self.assertTrue(talk.line().startswith("a OK"))

                def readings(outcome):
                    return figures(server).get(f'openpoczta_tls_readings_total{{outcome="{outcome}"}}', 0)

                def hang_up():
                    before = readings("ok") + readings("failed")
                    os.kill(server.pid(), signal.SIGHUP)
                    self.assertTrue(wait_until(lambda: readings("ok") + readings("failed") == before + 2, 10))

                working()
                used.replace_with(Certificate(folder, "new", NAME, days=60))
                hang_up()
                self.assertEqual(shown(port, NAME), used.der)
                self.assertEqual(shown(port, "www.example.test"), fixed.der)
                working()

                # What cannot be used is said, and the one before stays; the other is read all the same.
                good = used.cert.read_text(), used.key.read_text()
                for bad in (("broken", good[1]), (good[0], fixed.key.read_text())):
                    used.cert.write_text(bad[0])
                    used.key.write_text(bad[1])
                    hang_up()
                    self.assertEqual(shown(port, NAME), used.der)
                    self.assertEqual(shown(port, "www.example.test"), fixed.der)
                self.assertEqual(readings("failed"), 2)
                said = server.stderr()
                self.assertIn(f"{used.cert}: holds no certificate", said)
                self.assertIn(f"{used.key}: is not the key of {used.cert}", said)

                # Without a signal: noticed by itself, once the files rest.
                used.replace_with(Certificate(folder, "newest", NAME, days=90))
                self.assertTrue(wait_until(lambda: shown(port, NAME) == used.der, 40))
                days = figures(server)[f'openpoczta_tls_certificate_days_left{{certificate="{used.cert}"}}']
                self.assertIn(days, (89, 90))
                working()
                self.assertEqual(figures(server)["openpoczta_imap_connections"], 1)

                # The end is said inside TLS.
                server.process.terminate()
                self.assertTrue(talk.line().startswith("* BYE"))
                self.assertTrue(talk.closed())
                talk.close()
                self.assertEqual(server.stop(), 0)

    def test_a_server_without_certificates_survives_the_signal(self):
        with Folder() as folder:
            file = write_config(folder, [], listeners=("imap", "http"))
            off = "".join(f"[{name}]\nlisten = []\n" for name in ("smtp", "lmtp", "submission", "pop3"))
            file.write_text(file.read_text() + off)
            with Server(config=file) as server:
                os.kill(server.pid(), signal.SIGHUP)
                time.sleep(0.3)
                self.assertIsNone(server.process.poll())
                with Talk(server.port("imap")) as talk:
                    self.assertNotIn("STARTTLS", talk.line())


class Limits(unittest.TestCase):
    def test_a_handshake_that_does_not_end(self):
        more = "[limits]\nconnections = 3\nlogin_timeout_ms = 2000"
        with Folder() as folder, contextlib.ExitStack() as stack:
            certificate = Certificate(folder, "first", NAME)
            server = stack.enter_context(serving([certificate], folder, more))
            port = server.port("imaps")
            began = time.monotonic()
            silent = [stack.enter_context(Talk(port)) for _ in range(3)]
            opened = 'openpoczta_listener_connections{listener="imaps"}'
            self.assertTrue(wait_until(lambda: figures(server)[opened] == 3, 5))
            # Handshakes count as connections: no room for another one.
            with Talk(port) as other:
                self.assertTrue(other.closed())
            self.assertLess(time.monotonic() - began, 2)
            # One that is slow, not silent: bytes do not make the time longer.
            silent[0].send(b"\x16\x03\x01\x02\x00\x01\x00")
            time.sleep(1)
            silent[0].send(b"\x01")
            for talk in silent:
                self.assertTrue(talk.closed())
            self.assertLess(time.monotonic() - began, 6)
            with Talk(server.port("pop3")) as talk:
                talk.line()
                talk.send("STLS\r\n")
                self.assertTrue(talk.line().startswith("+OK"))
                began = time.monotonic()
                self.assertTrue(talk.closed())
                self.assertLess(time.monotonic() - began, 6)
            key = 'openpoczta_tls_handshakes_total{listener="%s",outcome="timeout"}'
            self.assertEqual([figures(server)[key % name] for name in ("imaps", "pop3")], [3, 1])
            # And there is room again.
            with Talk(port) as talk:
                talk.encrypt(certificate.client(), NAME)
                self.assertTrue(talk.line().startswith("* OK"))
            # The end of the server does not wait for those who never finish.
            stack.enter_context(Talk(port))
            self.assertTrue(wait_until(lambda: figures(server)[opened] == 1, 5))
            began = time.monotonic()
            self.assertEqual(server.stop(), 0)
            self.assertLess(time.monotonic() - began, 1.5)


class Check(unittest.TestCase):
    """`openpoczta config check`, and `serve` the same."""

    def check(self, folder, certificates, code, *says, command=("config", "check")):
        file = write_config(folder, certificates, listeners=("imaps",))
        ended = run(*command, "--config", file)
        self.assertEqual(ended.returncode, code, ended)
        for part in says:
            self.assertIn(str(part), ended.stderr)
        if not says:
            self.assertEqual(ended.stderr, "")

    def test_what_can_be_wrong(self):
        with Folder() as folder:
            good, other = Certificate(folder, "good", NAME), Certificate(folder, "other", "other.example.test")
            self.check(folder, [good, other], 0)
            place = f"{folder}/openpoczta.toml: tls.certificates: "

            mixed = Certificate(folder, "mixed", NAME)
            mixed.key.write_text(other.key.read_text())
            mismatch = (f"{place}{mixed.key}: is not the key of {mixed.cert}; give the key",)
            self.check(folder, [mixed], 2, *mismatch)
            self.check(folder, [mixed], 2, *mismatch, command=("serve",))

            mixed.key.unlink()
            good_cert = good.cert.read_bytes()
            good.cert.write_text("no PEM")
            # All at once.
            self.check(folder, [mixed, good], 2, f"{place}{mixed.key}: cannot be read (No such file",
                       "put the file there", f"{place}{good.cert}: holds no certificate")
            good.cert.write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
            self.check(folder, [good], 2, f"{good.cert}: holds something that is no X.509")
            good.cert.write_bytes(good_cert)

            openssl("pkey", "-in", good.key, "-aes128", "-passout", "pass:x", "-out", mixed.key)
            self.check(folder, [mixed], 2, f"{mixed.key}: is locked with a pass phrase", "openssl pkey -in")
            mixed.key.write_bytes(good_cert)
            self.check(folder, [mixed], 2, f"{mixed.key}: holds no private key")

    def test_what_is_odd_but_can_be_used(self):
        with Folder() as folder:
            good = Certificate(folder, "good", NAME)
            good.key.chmod(0o644)
            self.check(folder, [good], 0, f"warning: {good.key}: every user", f"chmod o= {good.key}")
            good.key.chmod(0o640)
            self.check(folder, [good], 0)
            self.check(folder, [Certificate(folder, "soon", NAME, days=5)], 0, "soon.pem: ends on", " days; renew it")
            self.check(folder, [Certificate(folder, "elsewhere", "elsewhere.example.test")], 0,
                       f"hostname is {NAME}", "elsewhere.example.test")
            other = Certificate(folder, "other", NAME)
            good.cert.write_text(good.cert.read_text() + other.cert.read_text())
            self.check(folder, [good], 0, f"{good.cert}: certificate 2 did not sign certificate 1")

            over = Certificate(folder, "over", NAME)
            request = folder / "over.csr"
            openssl("req", "-new", "-key", over.key, "-subj", "/CN=over", "-out", request)
            names = folder / "names"
            names.write_text(f"subjectAltName=DNS:{NAME}\n")
            openssl("x509", "-req", "-in", request, "-signkey", over.key, "-days", "-1", "-extfile", names,
                    "-out", over.cert)
            self.check(folder, [over], 0, f"warning: {over.cert}: has been over since 20", "renew it")


if __name__ == "__main__":
    unittest.main()
