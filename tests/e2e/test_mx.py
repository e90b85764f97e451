"""Mail from other servers: who may come in, what servers in front may say, and what strangers try, over real sockets.

Where each kind of bad input is tested (`it`: crates/smtp/tests/it, with a real store behind an in-memory pipe):

| input | it | here or in another file |
| --- | --- | --- |
| the nine smuggled ends of data, and two more | smuggling | test_bad_input.Smuggling |
| bare line ends in BDAT | smuggling | - |
| STARTTLS injection | starttls | test_tls.StartTls |
| pipelined garbage, before EHLO, after QUIT | mx, abuse | Lines |
| input before the greeting | guard | Strangers |
| a line of 100 kB, without end, not text | abuse | Lines, test_bad_input.Envelope |
| 3,000 recipients, guessed recipients | abuse, guard | Recipients, Strangers |
| hostile addresses, open relay forms | abuse | Recipients |
| 6 MB of header, a line of 8 MB, NUL | abuse | Letters |
| declared or real size over the limit | mx, chunking | test_bad_input.Envelope |
| nested parts, 100,000 parts | - | test_bad_input.Letters |
| BDAT: huge, negative, no size, before MAIL, with DATA | chunking | Chunks |
| slow peers: silence, a letter by drops, the whole session | mx, guard, wire | Strangers |
| AUTH: no base64, 12 kB, 60 kB, cancelled | submission | Lines |
| parameters of MAIL and RCPT | submission, params | - |
| XCLIENT, XFORWARD from anybody | fronts | Fronts |
| PROXY headers that are none | server/src/proxy.rs | Fronts |
"""

import contextlib
import imaplib
import os
import pathlib
import socket
import struct
import subprocess
import threading
import time
import unittest

import test_postfix
from harness import BINARY, PASSWORD, Certificate, Folder, Server, Talk, split_trace, user

NAME = "mx.example.test"
LISTENERS = ("smtp", "lmtp", "submission", "imap", "pop3", "http", "imaps", "submissions")
# Addresses of this machine, so that one can be a proxy and another a mail server in front.
PROXY, FRONT = "127.0.0.2", "127.0.0.3"
STRANGER = "192.0.2.7"


@contextlib.contextmanager
def serving(folder, socket_path=None, room_bytes=None, **sections):
    """A server with certificates; `smtp={"greeting_delay_ms": 0}` and the like are keys of a section. `room_bytes`: what
    alice's mailbox holds."""
    certificate = Certificate(folder, NAME, NAME, "localhost")
    keys = {name: {"listen": "['127.0.0.1:0']"} for name in LISTENERS}
    keys["smtp"] |= {"xclient_from": f"['{FRONT}']", "greeting_delay_ms": 0}
    # Strangers come from addresses that nobody has: the resolver of this machine is not asked about them.
    keys["spam"] = {"check_senders": "false"}
    keys["proxy"] = {"from": f"['{PROXY}']"}
    if socket_path:
        keys["lmtp"]["listen"] = f"['127.0.0.1:0', 'unix:{socket_path}']"
    for name, more in sections.items():
        keys.setdefault(name, {}).update(more)
    text = "".join(
        f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in section.items())
        for name, section in keys.items()
    )
    file = folder / "openpoczta.toml"
    file.write_text(
        f"hostname = '{NAME}'\n[data]\nfolder = '{folder}/mail'\n[tls]\ncertificates = [{certificate.toml()}]\n{text}"
    )
    commands = [("add", user(name)) for name in ("alice", "bob")]
    if room_bytes is not None:
        commands.append(("quota", user("alice"), "--size", room_bytes))
    for words in commands:
        command = [str(part) for part in (BINARY, "account", *words, "--config", file)]
        subprocess.run(command, check=True, capture_output=True, text=True, input=f"{PASSWORD}\n", timeout=60)
    with Server(config=file) as server:
        server.certificate = certificate
        yield server


class From(Talk):
    """A conversation from one of our addresses; `header` goes before everything."""

    def __init__(self, server, kind, source="127.0.0.1", header=b"", timeout_s=20):
        address = ("127.0.0.1", server.port(kind))
        self.socket = socket.create_connection(address, timeout_s, source_address=(source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")
        self.send(header)


def v1(client=STRANGER):
    return f"PROXY TCP4 {client} 127.0.0.1 4000 25\r\n".encode()


def v2(client=STRANGER, command=0x21, tlv=b""):
    block = socket.inet_aton(client) + socket.inet_aton("127.0.0.1") + struct.pack("!HH", 4000, 25) + tlv
    return b"\r\n\r\n\0\r\nQUIT\n" + struct.pack("!BBH", command, 0x11, len(block)) + block


def stranger(server, kind="smtp", client=STRANGER):
    return From(server, kind, PROXY, v1(client))


def letters(server, name="alice"):
    """What is in Inbox and Junk."""
    with imaplib.IMAP4("127.0.0.1", server.port("imap")) as imap:
        imap.login(user(name), PASSWORD)
        found = []
        for box in ("INBOX", "Junk"):
            _, [count] = imap.select(box, readonly=True)
            if int(count):
                _, rows = imap.fetch("1:*", "(BODY.PEEK[])")
                found += [row[1] for row in rows if isinstance(row, tuple)]
        return found


def begin(talk, kind="smtp", to="alice"):
    """Up to DATA, without it."""
    assert talk.reply().startswith("220"), kind
    hello = "LHLO" if kind == "lmtp" else "EHLO"
    for line in (f"{hello} x.example.test", "MAIL FROM:<x@other.test>", f"RCPT TO:<{user(to)}>"):
        reply = talk.ask(line)
        assert reply.startswith("250"), (line, reply)
    return talk


def swaks(server, *arguments, to="alice", kind="smtp", source="127.0.0.1"):
    command = ["swaks", "--server", "127.0.0.1", "--port", str(server.port(kind)), "--to", user(to), "--from", "x@other.test",
               "--helo", "swaks.other.test", "--local-interface", source, *arguments]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


class Lines(unittest.TestCase):
    def test_before_and_after(self):
        with Server() as server:
            with Talk(server.port("smtp")) as talk:
                talk.reply()
                for line, expect in (
                    ("MAIL FROM:<x@other.test>", "503 5.5.1"),
                    ("RCPT TO:<alice@example.test>", "503 5.5.1"),
                    ("DATA", "503 5.5.1"),
                    ("STARTTLS now", "501"),
                    (b"\x80\xff\xfe", "500 5.5.2"),
                    (b"NO\0OP", "501 5.5.2"),
                    ("GET / HTTP/1.1", "500 5.5.1"),
                    ("", "500 5.5.1"),
                    ("EHLO", "501 5.5.4"),
                    ("AUTH PLAIN", "502 5.5.1"),
                    ("XCLIENT ADDR=127.0.0.1", "550 5.7.0"),
                    ("XFORWARD ADDR=127.0.0.1", "550 5.7.0"),
                ):
                    with self.subTest(line=line):
                        self.assertTrue((reply := talk.ask(line)).startswith(expect), reply)
                talk.send("NOOP\r\nQUIT\r\nMAIL FROM:<late@other.test>\r\nNOOP\r\n")
                self.assertTrue(talk.reply().startswith("250"))
                self.assertTrue(talk.reply().startswith("221"))
                self.assertTrue(talk.closed())

    def test_pipelined_garbage(self):
        with Server() as server, Talk(server.port("smtp")) as talk:
            talk.reply()
            talk.send(b"EHLO x\r\n" + b"\x00\xffgarbage\r\n" * 20 + b"MAIL FROM:<x@other.test>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\n")
            talk.reply()
            for _ in range(20):
                self.assertTrue((reply := talk.reply()).startswith("50"), reply)
            self.assertTrue(talk.reply().startswith("250 2.1.0"))
            self.assertTrue(talk.reply().startswith("250 2.1.5"))
            self.assertTrue(talk.reply().startswith("354"))
            talk.send("x\r\n.\r\n")
            self.assertTrue(talk.reply().startswith("250"))
            # Only garbage: an end is put to it.
            talk.send(b"\xff\r\n" * 200)
            replies = [talk.reply() for _ in range(100)]
            self.assertTrue(replies[-1].startswith("421 4.7.0"), replies[-1])
            self.assertTrue(talk.closed())

    def test_lines_of_100_kb(self):
        with Server() as server, Talk(server.port("smtp")) as talk:
            talk.reply()
            self.assertTrue(talk.ask("NOOP " + "x" * 100_000).startswith("500 5.5.2"))
            self.assertTrue(talk.ask("NOOP").startswith("250"))
            talk.send("x" * 2_000_000)
            self.assertTrue(talk.reply().startswith("500 5.5.2"))
            self.assertTrue(talk.closed())

    def test_auth_lines(self):
        with Server() as server, Talk(server.port("submission")) as talk:
            talk.reply()
            talk.ask("EHLO x")
            for line, expect in (
                ("AUTH PLAIN " + "A" * 12_277, "501"),
                ("AUTH PLAIN " + "A" * 12_278, "500"),
                ("AUTH PLAIN " + "A" * 60_000, "500"),
                ("AUTH PLAIN !!", "501"),
                ("AUTH PLAIN =", "501"),
                ("AUTH NONE", "504 5.5.4"),
            ):
                with self.subTest(line=line[:20], length=len(line)):
                    self.assertTrue((reply := talk.ask(line)).startswith(expect), reply)
            self.assertTrue(talk.ask("AUTH LOGIN").startswith("334"))
            self.assertTrue(talk.ask("*").startswith("501 5.7.0"))


class Recipients(unittest.TestCase):
    def test_hostile_addresses_and_relays(self):
        rows = [
            ("<|/bin/sh@example.test>", "550 5.1.1"),
            ("<`id`@example.test>", "550 5.1.1"),
            ("<$(id)@example.test>", "553"),
            ("<../../etc/passwd@example.test>", "553"),
            ("<%n%n%s@example.test>", "550 5.1.1"),
            ("<\"' OR 1=1 --\"@example.test>", "550 5.1.1"),
            ("<'; DROP TABLE accounts; --@example.test>", "553"),
            ("<" + "a" * 65 + "@example.test>", "553"),
            ("<alice@" + "abcdefghi." * 30 + "test>", "553"),
            ("<>", "501 5.1.3"),
            ("<victim@other.test>", "554 5.7.1"),
            ("<victim%other.test@example.test>", "550 5.1.1"),
            ("<@example.test:victim@other.test>", "554 5.7.1"),
            ("<other.test!victim>", "553"),
            ("<other.test!victim@example.test>", "550 5.1.1"),
            ("<\"victim@other.test\"@example.test>", "550 5.1.1"),
            ("<victim@[127.0.0.1]>", "554 5.7.1"),
            ("<victim@[192.0.2.1]>", "554 5.7.1"),
            ("<alice@example.test", "501"),
        ]
        with Server() as server:
            # Whoever the sender is: none, another, our own.
            for sender in ("<>", "<x@other.test>", "<alice@example.test>", "<postmaster@[127.0.0.1]>"):
                with Talk(server.port("smtp")) as talk:
                    talk.reply()
                    talk.ask("EHLO x")
                    self.assertTrue(talk.ask(f"MAIL FROM:{sender}").startswith("250"))
                    for recipient, expect in rows:
                        with self.subTest(sender=sender, recipient=recipient[:60]):
                            reply = talk.ask(f"RCPT TO:{recipient}")
                            self.assertTrue(reply.startswith(expect), reply)
                    self.assertTrue(talk.ask("DATA").startswith("503"))
            code, said = swaks(server, to="ghost")
            self.assertEqual(code, 24, said)
            self.assertIn("550 5.1.1", said)

    def test_three_thousand(self):
        with Server() as server, Talk(server.port("smtp"), timeout_s=60) as talk:
            talk.reply()
            talk.ask("EHLO x")
            talk.ask("MAIL FROM:<x@other.test>")
            sending = threading.Thread(target=lambda: send_quietly(talk, b"".join(
                b"RCPT TO:<alice+%d@example.test>\r\n" % n for n in range(3000))))
            sending.start()
            replies = [talk.reply() for _ in range(2001)]
            sending.join()
            self.assertTrue(all(reply.startswith("250 2.1.5") for reply in replies[:1000]))
            self.assertTrue(all(reply.startswith("452 4.5.3") for reply in replies[1000:2000]))
            self.assertTrue(replies[2000].startswith("421 4.5.3"), replies[2000])

    def test_full_mailbox_is_told_at_rcpt(self):
        with Folder() as folder, serving(folder, room_bytes=1000) as server:
            for kind, hello in (("smtp", "EHLO"), ("lmtp", "LHLO")):
                with self.subTest(kind=kind), From(server, kind) as talk:
                    talk.reply()
                    talk.ask(f"{hello} x")
                    self.assertTrue(talk.ask("MAIL FROM:<x@other.test> SIZE=2000").startswith("250"))
                    reply = talk.ask(f"RCPT TO:<{user('alice')}>")
                    self.assertTrue(reply.startswith("452 4.2.2"), reply)
                    self.assertTrue(talk.ask(f"RCPT TO:<{user('bob')}>").startswith("250"))


def send_quietly(talk, data):
    with contextlib.suppress(OSError):
        talk.send(data)


class Letters(unittest.TestCase):
    def test_large_headers_long_lines_and_nul(self):
        header = b"X-Long: " + b"a " * (3 << 20) + b"\r\n\r\nbody\r\n"
        line = b"Subject: x\r\n\r\n" + b"b" * (8 << 20) + b"\r\n"
        nul = b"Subject: a\0b\r\n\r\nc\0d\r\n"
        with Server() as server:
            for letter in (header, line, nul):
                with begin(Talk(server.port("smtp"), timeout_s=60)) as talk:
                    self.assertTrue(talk.ask("DATA").startswith("354"))
                    began = time.monotonic()
                    talk.send(letter + b".\r\n")
                    self.assertTrue((reply := talk.reply()).startswith("250"), reply)
                    self.assertLess(time.monotonic() - began, 10)
            stored = [split_trace(one)[1] for one in letters(server)]
            self.assertEqual(sorted(map(len, stored)), sorted(map(len, (header, line, nul))))
            self.assertTrue(all(one in stored for one in (header, line, nul)))

    def test_what_is_refused_has_its_name_and_no_bounce(self):
        spam = (b"From: x@other.test\r\nSubject: x\r\n\r\n"
                b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\n.\r\n")
        with Server() as server:
            with Talk(server.port("smtp")) as talk:
                talk.reply()
                talk.ask("EHLO x")
                # Forged: who is named as the sender must hear nothing of it.
                talk.ask(f"MAIL FROM:<{user('bob')}>")
                talk.ask(f"RCPT TO:<{user('alice')}>")
                talk.ask("DATA")
                talk.send(spam)
                reply = talk.reply()
                self.assertRegex(reply, r"^550 5\.7\.1 the letter looks like spam \([0-9A-Z]{12}\)$")
            self.assertEqual(letters(server), [])
            with begin(Talk(server.port("lmtp")), "lmtp") as talk:
                talk.ask("DATA")
                talk.send(spam)
                self.assertTrue((reply := talk.reply()).startswith("250 2.1.5"), reply)
            self.assertIn(b"X-Spam-Status: Yes", letters(server)[0])
            self.assertEqual(letters(server, "bob"), [])


class Chunks(unittest.TestCase):
    def test_sizes_and_order(self):
        with Server() as server:
            for size in ("", "-1", "x", "99999999999999999999", "1 2", "0x10", "1 FIRST"):
                with self.subTest(size=size), begin(Talk(server.port("smtp"))) as talk:
                    self.assertTrue((reply := talk.ask(f"BDAT {size}")).startswith("501 5.5.4"), reply)
                    self.assertTrue(talk.closed())
            with begin(Talk(server.port("smtp"))) as talk:
                self.assertTrue(talk.ask("BDAT 18446744073709551615").startswith("552 5.3.4"))
                self.assertTrue(talk.closed())
            with Talk(server.port("smtp")) as talk:
                talk.reply()
                # Before EHLO and before MAIL; its bytes are no commands.
                self.assertTrue(talk.ask(b"BDAT 6\r\nQUIT").startswith("503"))
                talk.ask("EHLO x")
                self.assertTrue(talk.ask(b"BDAT 6 LAST\r\nQUIT").startswith("503"))
                for line in ("MAIL FROM:<x@other.test>", f"RCPT TO:<{user('alice')}>"):
                    self.assertTrue(talk.ask(line).startswith("250"))
                talk.send(b"BDAT 1\r\nx")
                self.assertTrue(talk.reply().startswith("250"))
                self.assertTrue(talk.ask("DATA").startswith("503"))
                talk.send(b"BDAT 1 LAST\r\ny")
                self.assertTrue(talk.reply().startswith("250"))
            self.assertEqual([split_trace(one)[1] for one in letters(server)], [b"xy"])


class Fronts(unittest.TestCase):
    def setUp(self):
        self.folder = self.enterContext(Folder())

    def test_proxy_header(self):
        with serving(self.folder) as server:
            for header in (v1(), v2(), v2(tlv=b"\x04\0\x02ab")):
                with From(server, "smtp", PROXY, header) as talk:
                    begin(talk)
                    self.assertTrue(talk.ask("DATA").startswith("354"))
                    talk.send("Subject: x\r\n\r\n.\r\n")
                    self.assertTrue(talk.reply().startswith("250"))
            found = letters(server)
            self.assertEqual(len(found), 3)
            for letter in found:
                self.assertIn(b"from x.example.test ([192.0.2.7])", letter)
            # The proxy looks whether we are alive, or does not know for whom it speaks.
            for header in (v2(command=0x20), b"PROXY UNKNOWN\r\n"):
                with From(server, "smtp", PROXY, header) as talk:
                    self.assertTrue(talk.reply().startswith("220"))
            # No header where it belongs, a wrong one, one from somebody else.
            for header in (b"EHLO x.example.test\r\n", v1("192.0.2.700"), b"PROXY " + b"x" * 200, v2()[:13] + b"\x11\xff\xff",
                           v1().replace(b"\r", b"")):
                with From(server, "smtp", PROXY, header) as talk:
                    # It may be closed already.
                    with contextlib.suppress(OSError):
                        talk.socket.shutdown(socket.SHUT_WR)
                    self.assertTrue(talk.closed(), header)
            with From(server, "smtp", "127.0.0.1", v1()) as talk:
                self.assertTrue(talk.reply().startswith("220"))
                self.assertTrue(talk.reply().startswith("500"))

    def test_proxy_header_on_every_listener_and_before_tls(self):
        with serving(self.folder) as server:
            for kind, greeting in (("smtp", "220 "), ("lmtp", "220 "), ("submission", "220 "), ("imap", "* OK"), ("pop3", "+OK")):
                with self.subTest(kind=kind), From(server, kind, PROXY, v2()) as talk:
                    self.assertTrue((line := talk.line()).startswith(greeting), line)
            with From(server, "imap", PROXY, v1()) as talk:
                # From far away there is no password in clear, though the proxy is near.
                self.assertIn("LOGINDISABLED", talk.line())
            tls = b"\x20\0\x05\x01\0\0\0\0"
            with From(server, "imap", PROXY, v2(tlv=tls)) as talk:
                self.assertNotIn("LOGINDISABLED", talk.line(), "the proxy has TLS with its client")
                talk.send(f"a LOGIN {user('alice')} {PASSWORD}\r\n")
                self.assertTrue(talk.until("a ")[-1].startswith("a OK"))
            with From(server, "imaps", PROXY, v1()) as talk:
                talk.encrypt(server.certificate.client(), NAME)
                self.assertTrue(talk.line().startswith("* OK"))
                talk.send(f"a LOGIN {user('alice')} {PASSWORD}\r\n")
                self.assertTrue(talk.until("a ")[-1].startswith("a OK"))
            for path, expect in (("/", "200"), ("/metrics", "404")):
                with From(server, "http", PROXY, v1()) as talk:
                    talk.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                    self.assertIn(expect, talk.line())

    def test_xclient_by_swaks(self):
        with serving(self.folder) as server:
            code, said = swaks(server, "--xclient-addr", "192.0.2.9", "--xclient-name", "spike.other.test",
                               "--xclient-helo", "old.other.test", "--xclient-proto", "ESMTP", source=FRONT)
            self.assertEqual(code, 0, said)
            self.assertIn("XCLIENT NAME ADDR PORT PROTO HELO LOGIN", said)
            code, said = swaks(server, "--xclient-addr", "IPV6:2001:db8::9", source=FRONT)
            self.assertEqual(code, 0, said)
            found = letters(server)
            self.assertEqual(len(found), 2)
            self.assertIn(b"([192.0.2.9])", found[0])
            self.assertIn(b"([IPv6:2001:db8::9])", found[1])
            # From anybody else.
            code, said = swaks(server, "--xclient-addr", "192.0.2.9", "--xclient-optional")
            self.assertNotIn("XCLIENT NAME", said)

    def test_lmtp_on_a_unix_socket(self):
        path = self.folder / "run" / "lmtp"
        path.parent.mkdir()
        with serving(self.folder, socket_path=path, lmtp={"socket_mode": "'0640'"}) as server:
            self.assertIn(f"lmtp=unix:{path}", server.ready_line)
            self.assertEqual(path.stat().st_mode & 0o777, 0o640)
            command = ["swaks", "--socket", path, "--protocol", "LMTP", "--to", user("alice"), "--from", "x@other.test"]
            done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertIn("250 2.1.5 <alice@example.test>", done.stdout)
            self.assertIn(b"with LMTP id", letters(server)[0])
            # A second server does not take it away; one that was killed leaves it, and it is replaced.
            second = self.folder / "second.toml"
            second.write_text(f"[data]\nfolder = '{self.folder}/other'\n[lmtp]\nlisten = ['unix:{path}']\n"
                              + "".join(f"[{name}]\nlisten = []\n" for name in ("smtp", "submission", "imap", "pop3", "http")))
            done = subprocess.run([BINARY, "serve", "--config", second], capture_output=True, text=True, timeout=60)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("another program listens there", done.stderr)
            server.kill()
            self.assertTrue(path.is_socket(), "killed, it cannot tidy up")
            with Server(config=second) as again:
                self.assertIn(f"lmtp=unix:{path}", again.ready_line)
            self.assertFalse(path.exists(), "it tidies up")


@unittest.skipIf(os.geteuid() != 0, "Postfix starts as root only")
class Behind(unittest.TestCase):
    def test_postfix_says_where_letters_come_from_and_leaves_reports_to_us(self):
        with contextlib.ExitStack() as stack:
            at = test_postfix.World(stack, ["alice", "bob"])
            config = at.config.read_text()
            self.assertIn("[smtp]\n", config)
            at.config.write_text(config.replace("[smtp]\n", "[smtp]\nfronts = ['127.0.0.1']\n"))
            with (at.postfix.config / "main.cf").open("a") as main:
                main.write("lmtp_send_xforward_command = yes\n")
            stack.enter_context(at)
            smtp = at.client(source="127.0.0.2")
            smtp.docmd("EHLO", "client.other.test")
            # One of Postfix's networks: it may ask for reports.
            smtp.sendmail(user("bob"), [user("alice")], f"From: {user('bob')}\r\nSubject: hello\r\n\r\nsecret words\r\n",
                          mail_options=["ENVID=QQ+2B1", "RET=HDRS"], rcpt_options=["NOTIFY=SUCCESS,FAILURE"])
            smtp.quit()
            at.until_empty()
            end = time.monotonic() + 20
            while not (reports := letters(at.server, "bob")):
                self.assertLess(time.monotonic(), end, "no report came")
                time.sleep(0.1)
            self.assertEqual(len(reports), 1, "one report, by us or by Postfix")
            for line in (b"Action: delivered", b"Original-Envelope-Id: QQ+1", b"Final-Recipient: rfc822; alice@example.test",
                         b"Reporting-MTA: dns; mail.example.test"):
                self.assertIn(line, reports[0])
            self.assertNotIn(b"secret words", reports[0])
            self.assertEqual(len(letters(at.server)), 1)
            log = at.server.stderr()
            self.assertRegex(log, r'letter kind="lmtp" ip=127\.0\.0\.2 .*front_id="[0-9A-Z]+"')


class Strangers(unittest.TestCase):
    def setUp(self):
        self.folder = self.enterContext(Folder())

    def test_greeting_delay_and_early_talkers(self):
        with serving(self.folder, smtp={"greeting_delay_ms": 400}) as server:
            with From(server, "smtp", PROXY, v1() + b"EHLO spam.test\r\nMAIL FROM:<x@y.test>\r\n") as talk:
                self.assertTrue((reply := talk.reply()).startswith("554 5.5.1"), reply)
                self.assertTrue(talk.closed())
            began = time.monotonic()
            with stranger(server) as talk:
                self.assertTrue(talk.reply().startswith("220"))
            self.assertGreater(time.monotonic() - began, 0.39)
            # Neither this machine nor a server in front waits.
            began = time.monotonic()
            for source in ("127.0.0.1", FRONT):
                with From(server, "smtp", source, b"EHLO x\r\n") as talk:
                    self.assertTrue(talk.reply().startswith("220"))
            self.assertLess(time.monotonic() - began, 0.39)

    def test_connections_and_rates(self):
        smtp = {"address_sessions": 3, "network_sessions": 5, "address_rate": 10, "network_rate": 1000}
        with serving(self.folder, smtp=smtp) as server, contextlib.ExitStack() as stack:
            def greeting(client):
                return stack.enter_context(stranger(server, client=client)).reply()

            self.assertEqual({greeting("192.0.2.1")[:3] for _ in range(3)}, {"220"})
            self.assertTrue(greeting("192.0.2.1").startswith("421 4.7.0 too many connections"))
            self.assertEqual({greeting("192.0.2.2")[:3] for _ in range(2)}, {"220"})
            self.assertTrue(greeting("192.0.2.3").startswith("421 4.7.0"), "the network is full")
            self.assertTrue(greeting("198.51.100.1").startswith("220"))
            relay = [stack.enter_context(From(server, "smtp")) for _ in range(60)]
            for talk in relay:
                self.assertTrue(talk.reply().startswith("220"), "a relay on this machine is not hindered")
            seen = []
            for _ in range(12):
                with stranger(server, client="203.0.113.1") as talk:
                    seen.append(talk.reply()[:3])
            # A minute may end in between.
            self.assertIn("421", seen + [greeting("203.0.113.1")[:3] for _ in range(12)])
            self.assertEqual(seen[0], "220")

    def test_guessed_recipients(self):
        with serving(self.folder, smtp={"unknown_recipients": 5}) as server:
            with stranger(server) as talk:
                talk.reply()
                talk.ask("EHLO x")
                talk.ask("MAIL FROM:<x@other.test>")
                replies = [talk.ask(f"RCPT TO:<guess{n}@example.test>") for n in range(5)]
                self.assertEqual({reply[:9] for reply in replies[:4]}, {"550 5.1.1"})
                self.assertTrue(replies[4].startswith("421 4.7.0 too many unknown"), replies[4])
                self.assertTrue(talk.closed())

    def test_slow_senders_are_cut_off_and_cost_nothing(self):
        with serving(self.folder, smtp={"session_timeout_ms": 3000, "address_sessions": 0, "network_sessions": 0},
                     limits={"idle_timeout_ms": 60_000}) as server, contextlib.ExitStack() as stack:
            def rss_kib():
                status = pathlib.Path(f"/proc/{server.pid()}/status").read_text()
                return int(status.split("VmRSS:")[1].split()[0])

            before = rss_kib()
            slow = []
            for _ in range(100):
                talk = begin(stack.enter_context(stranger(server)))
                self.assertTrue(talk.ask("DATA").startswith("354"))
                slow.append(talk)
            deadline = time.monotonic() + 6
            while time.monotonic() < deadline:
                for talk in slow:
                    send_quietly(talk, b"drop by drop\r\n")
                # Others are served meanwhile.
                began = time.monotonic()
                with From(server, "smtp") as other:
                    self.assertTrue(other.reply().startswith("220"))
                self.assertLess(time.monotonic() - began, 1)
                time.sleep(0.2)
            grown = rss_kib() - before
            ends = []
            for talk in slow:
                with contextlib.suppress(OSError):
                    ends.append(talk.reply())
            told = [end for end in ends if end.startswith("421 4.4.2")]
            self.assertGreater(len(told), 50, ends[:3])
            self.assertLess(grown, 40 * 1024, "100 slow senders")
            self.assertEqual(letters(server), [])
            print(f"slow senders: {grown / 100:.0f} KiB each, {len(told)} of 100 heard why")

    def test_silence(self):
        with serving(self.folder, limits={"idle_timeout_ms": 1000}) as server, stranger(server) as talk:
            talk.reply()
            began = time.monotonic()
            self.assertTrue((reply := talk.reply()).startswith("421 4.4.2"), reply)
            self.assertLess(time.monotonic() - began, 5)


if __name__ == "__main__":
    unittest.main()
