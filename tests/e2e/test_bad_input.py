"""What strangers send by mistake or on purpose, over real sockets."""

import base64
import imaplib
import os
import statistics
import subprocess
import time
import unittest

from harness import PASSWORD, Folder, Server, Talk, deliver, lmtp, split_trace, user

HEAD = b"From: x@example.test\r\nSubject: s\r\n\r\n"


def inbox(server, name="alice"):
    """All letters of an inbox, without our trace."""
    with imaplib.IMAP4("127.0.0.1", server.port("imap")) as imap:
        imap.login(user(name), PASSWORD)
        letters = []
        for box in ("INBOX", "Junk"):
            _, [count] = imap.select(box, readonly=True)
            if int(count):
                _, rows = imap.fetch("1:*", "(BODY.PEEK[])")
                letters += [split_trace(row[1])[1] for row in rows if isinstance(row, tuple)]
        return letters


def at_data(server, kind):
    """A session of that kind which may send the letter now."""
    talk = Talk(server.port(kind))
    talk.reply()
    hello = "LHLO" if kind == "lmtp" else "EHLO"
    for line in (f"{hello} x.example.test", "MAIL FROM:<x@example.test>", f"RCPT TO:<{user('alice')}>"):
        assert talk.ask(line).startswith("250"), line
    assert talk.ask("DATA").startswith("354")
    return talk


class Passwords(unittest.TestCase):
    def test_wrong_password_and_unknown_user_look_the_same(self):
        with Server("--users", "4") as server:
            texts, took = {}, {"wrong": [], "unknown": []}
            # Under the number of failures that slows a stranger down.
            for number in range(12):
                for kind in took:
                    name = f"u000{number % 4}" if kind == "wrong" else f"nobody{number % 4}"
                    with Talk(server.port("imap")) as imap:
                        imap.until("* OK")
                        began = time.monotonic()
                        imap.send(f"a LOGIN {user(name)} wrong\r\n")
                        answer = imap.until("a ")[-1]
                        took[kind].append(time.monotonic() - began)
                        texts.setdefault(kind, set()).add(answer)
            self.assertEqual(texts["wrong"], texts["unknown"])
            self.assertEqual(len(texts["wrong"]), 1, texts)
            self.assertTrue(texts["wrong"].pop().startswith("a NO [AUTHENTICATIONFAILED]"))
            wrong, unknown = (statistics.median(took[kind]) * 1000 for kind in ("wrong", "unknown"))
            print(f"passwords: wrong {wrong:.1f} ms, unknown user {unknown:.1f} ms (medians of 12)")
            self.assertLess(max(wrong, unknown), 2 * min(wrong, unknown))

    def test_the_same_for_pop3_and_submission(self):
        with Server() as server:
            answers = set()
            for name in ("alice", "nobody"):
                with Talk(server.port("pop3")) as pop3:
                    pop3.line()
                    pop3.send(f"USER {user(name)}\r\n")
                    self.assertTrue(pop3.line().startswith("+OK"))
                    pop3.send("PASS wrong\r\n")
                    answers.add(("pop3", pop3.line()))
                with Talk(server.port("submission")) as smtp:
                    smtp.reply()
                    smtp.ask("EHLO x.example.test")
                    token = base64.b64encode(f"\0{user(name)}\0wrong".encode()).decode()
                    answers.add(("submission", smtp.ask(f"AUTH PLAIN {token}")))
            self.assertEqual(len(answers), 2, answers)
            for kind, answer in answers:
                self.assertTrue(answer.startswith("-ERR [AUTH]" if kind == "pop3" else "535 5.7.8"), answer)

    def test_guessing_gets_slow_or_is_thrown_out(self):
        with Server() as server:
            began = time.monotonic()
            for _ in range(12):
                with Talk(server.port("imap")) as imap:
                    imap.until("* OK")
                    imap.send(f"a LOGIN {user('bob')} guess\r\n")
                    answer = imap.until("a ")[-1]
                    if time.monotonic() - began > 2 or not answer.startswith("a NO [AUTHENTICATIONFAILED]"):
                        return
            self.fail("twelve guesses in no time")


class Envelope(unittest.TestCase):
    def test_recipients_we_do_not_take(self):
        rows = [
            ("RCPT TO:<nobody@example.test>", "550 5.1.1"),
            ("RCPT TO:<alice@elsewhere.example.test>", "55"),
            ("RCPT TO:<alice%elsewhere.example.test@example.test>", "550"),
            ("RCPT TO:<@example.test:alice@elsewhere.example.test>", "55"),
            ("RCPT TO:<|sh@example.test>", "55"),
            ("RCPT TO:<../../etc@example.test>", "55"),
            ("RCPT TO:<" + "a" * 65 + "@example.test>", "5"),
            ("RCPT TO:<>", "5"),
        ]
        with Server() as server:
            for kind, hello in (("smtp", "EHLO"), ("lmtp", "LHLO")):
                with Talk(server.port(kind)) as talk:
                    talk.reply()
                    talk.ask(f"{hello} x.example.test")
                    self.assertTrue(talk.ask("MAIL FROM:<x@example.test>").startswith("250"))
                    for line, answer in rows:
                        with self.subTest(kind=kind, line=line[:60]):
                            self.assertTrue(talk.ask(line).startswith(answer), line)
                    self.assertTrue(talk.ask("DATA").startswith("5"))

    def test_too_large(self):
        limit = 50 * 1024 * 1024
        with Server() as server:
            for kind, hello in (("smtp", "EHLO"), ("lmtp", "LHLO")):
                with self.subTest(kind=kind), Talk(server.port(kind), timeout_s=60) as talk:
                    talk.reply()
                    talk.ask(f"{hello} x.example.test")
                    answer = talk.ask(f"MAIL FROM:<x@example.test> SIZE={limit + 1}")
                    self.assertTrue(answer.startswith("552 5.3.4"), answer)
                    # One who does not say it, but sends it: all of it is read, none of it stored.
                    talk.ask("MAIL FROM:<x@example.test>")
                    talk.ask(f"RCPT TO:<{user('alice')}>")
                    self.assertTrue(talk.ask("DATA").startswith("354"))
                    line = b"x" * 998 + b"\r\n"
                    for _ in range(limit // (64 * 1000) + 10):
                        talk.send(line * 64)
                    talk.send(".\r\n")
                    answer = talk.reply()
                    self.assertTrue(answer.startswith("552 5.3.4"), answer)
                    self.assertTrue(talk.ask("NOOP").startswith("250"))
            self.assertEqual(inbox(server), [])

    def test_lines_without_end(self):
        with Server() as server:
            for kind, hello in (("smtp", b"EHLO"), ("lmtp", b"LHLO")):
                with self.subTest(kind=kind), Talk(server.port(kind)) as talk:
                    talk.reply()
                    answer = talk.ask(hello + b" " + b"x" * 100_000)
                    self.assertTrue(answer.startswith("500 5."), answer)
            for kind in ("imap", "pop3"):
                with self.subTest(kind=kind), Talk(server.port(kind)) as talk:
                    self.assertTrue(talk.line())
                    try:
                        talk.send(b"a " + b"x" * 1_000_000 + b"\r\n")
                        answer = talk.line()
                        self.assertTrue(answer == "" or answer.startswith(("* BYE", "a BAD", "* BAD", "-ERR")), answer)
                    except (ConnectionResetError, BrokenPipeError):
                        pass  # closed before it was all said
            self.still_well(server)

    def still_well(self, server):
        with imaplib.IMAP4("127.0.0.1", server.port("imap")) as imap:
            imap.login(user("alice"), PASSWORD)


class Smuggling(unittest.TestCase):
    # What other servers have taken for the end of DATA.
    ENDS = [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\n.\r", b"\r.\n", b"\n.\r\r\n",
            b"\r\n\0.\r\n", b"\r\n.\0\r\n"]
    SECOND = b"MAIL FROM:<evil@example.test>\r\nRCPT TO:<" + user("bob").encode() + b">\r\nDATA\r\nSubject: evil\r\n\r\nevil"

    def test_smtp_refuses_and_stays_one_transaction(self):
        with Server() as server:
            for end in self.ENDS:
                with self.subTest(end=end), at_data(server, "smtp") as talk:
                    talk.send(HEAD + b"body" + end + self.SECOND + b"\r\n.\r\nNOOP\r\n")
                    answer = talk.reply()
                    self.assertTrue(answer.startswith("550 5.6.0"), answer)
                    self.assertTrue(talk.reply().startswith("250"), "the answer to NOOP")
                    self.assertTrue(talk.ask("QUIT").startswith("221"))
            self.assertEqual(inbox(server, "bob"), [])
            self.assertEqual(inbox(server), [])

    def test_lmtp_stores_one_letter_unchanged(self):
        with Server() as server:
            sent = []
            for number, end in enumerate(self.ENDS):
                with self.subTest(end=end), at_data(server, "lmtp") as talk:
                    letter = b"X-Number: %d\r\n" % number + HEAD + b"body" + end + self.SECOND + b"\r\n"
                    talk.send(letter + b".\r\nNOOP\r\n")
                    self.assertTrue(talk.reply().startswith("250"))
                    self.assertTrue(talk.reply().startswith("250"), "the answer to NOOP")
                    # A dot that begins a line is the sender's stuffing (RFC 5321 §4.5.2), whatever follows.
                    sent.append(letter.replace(b"\r\n.", b"\r\n"))
            self.assertEqual(inbox(server, "bob"), [])
            self.assertEqual(sorted(inbox(server)), sorted(sent))

    def test_pipelined_after_the_dot_is_a_command(self):
        with Server() as server, at_data(server, "lmtp") as talk:
            talk.send(HEAD + b"..\r\n..dots\r\n.\r\nRSET\r\nQUIT\r\nNOOP\r\n")
            self.assertTrue(talk.reply().startswith("250"))
            self.assertTrue(talk.reply().startswith("250"))
            self.assertTrue(talk.reply().startswith("221"))
            self.assertTrue(talk.closed())
            self.assertEqual(inbox(server), [HEAD + b".\r\n.dots\r\n"])


class Imap(unittest.TestCase):
    def test_literals_and_nesting(self):
        with Server() as server:
            with Talk(server.port("imap")) as imap:
                imap.until("* OK")
                imap.send("a LOGIN {4294967295}\r\n")
                answer = imap.line()
                self.assertFalse(answer.startswith("+"), answer)
            with Talk(server.port("imap")) as imap:
                imap.until("* OK")
                imap.send(f"a LOGIN {user('alice')} {PASSWORD}\r\n")
                imap.until("a OK")
                imap.send(f"b APPEND INBOX {{{1 << 31}}}\r\n")
                answer = imap.line()
                self.assertTrue(answer.startswith("b NO [TOOBIG]"), answer)
                imap.send("c SELECT INBOX\r\n")
                imap.until("c OK")
                began = time.monotonic()
                for tag, command in [
                    ("d", "SEARCH " + "(" * 30_000),
                    ("e", "SEARCH " + "NOT " * 15_000 + "ALL"),
                    ("f", "FETCH 1 BODY[" + "1." * 20_000 + "1]"),
                    ("g", "UID SEARCH UID 18446744073709551616"),
                    ("h", 'LIST "" "' + "*a" * 400 + 'b"'),
                ]:
                    imap.send(f"{tag} {command}\r\n")
                    answer = imap.until(f"{tag} ")[-1]
                    # A pattern that would take long may be matched in time, or be refused.
                    expect = ("h OK", "h NO [LIMIT]") if tag == "h" else f"{tag} BAD"
                    self.assertTrue(answer.startswith(expect), answer[:200])
                self.assertLess(time.monotonic() - began, 2)

    def test_nested_mail_does_not_hurt(self):
        deep = b"".join(
            b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(5000)
        )
        wide = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + b"--x\r\n\r\nhi\r\n" * 100_000
        rfc822 = b"Content-Type: message/rfc822\r\n\r\n" * 5000
        with Server() as server:
            with lmtp(server) as sender:
                for letter in (deep, wide, rfc822):
                    head = b"From: x@example.test\r\nMIME-Version: 1.0\r\n"
                    code, text = deliver(sender, "x@example.test", [user("alice")], head + letter)[0]
                    self.assertEqual(code, 250, text)
            with imaplib.IMAP4("127.0.0.1", server.port("imap")) as imap:
                imap.login(user("alice"), PASSWORD)
                for box in ("INBOX", "Junk"):
                    _, [count] = imap.select(box, readonly=True)
                    began = time.monotonic()
                    if int(count):
                        status, _ = imap.fetch("1:*", "(ENVELOPE BODYSTRUCTURE)")
                        self.assertEqual(status, "OK")
                    self.assertLess(time.monotonic() - began, 3)


class DiskFull(unittest.TestCase):
    def test_full_disk_refuses_and_loses_nothing(self):
        with Folder() as folder:
            disk = folder / "disk"
            disk.mkdir()
            # The store keeps 32 MB in reserve, so that deletes still work.
            mounted = subprocess.run(
                ["mount", "-t", "tmpfs", "-o", "size=64m", "openpoczta-e2e", disk], capture_output=True, text=True
            )
            if mounted.returncode != 0:
                self.skipTest(f"no small disk can be mounted here: {mounted.stderr.strip()}")
            try:
                self.fill(disk)
            finally:
                subprocess.run(["umount", "--lazy", disk], check=True)

    def fill(self, disk):
        filler = disk / "filler"
        filler.write_bytes(bytes(16 << 20))
        taken = []
        with Server(data=disk / "mail") as server:
            with lmtp(server) as sender:
                answer = self.send_until_refused(sender, taken)
            self.assertEqual(answer[0], 452, answer)
            self.assertTrue(answer[1].startswith(b"4.3.1"), answer)
            self.assertEqual(sorted(inbox(server)), sorted(taken))
            self.check_health(server, 503)
            filler.unlink()
            self.check_health(server, 200)
            with lmtp(server) as sender:
                taken.append(self.letter(len(taken)))
                self.assertEqual(deliver(sender, "x@example.test", [user("alice")], taken[-1])[0][0], 250)
            # To the last byte, by somebody else, while it runs.
            filler.write_bytes(b"")
            with open(filler, "ab", buffering=0) as file:
                try:
                    while file.write(os.urandom(1 << 16)) == 1 << 16:
                        pass
                except OSError:
                    pass
            with lmtp(server) as sender:
                answer = self.send_until_refused(sender, taken)
            self.assertEqual(answer[0], 452, answer)
            self.assertEqual(sorted(inbox(server)), sorted(taken))
            server.stop()
        filler.unlink()
        with Server(data=disk / "mail") as server:
            self.assertEqual(sorted(inbox(server)), sorted(taken))
            with lmtp(server) as sender:
                taken.append(self.letter(len(taken)))
                self.assertEqual(deliver(sender, "x@example.test", [user("alice")], taken[-1])[0][0], 250)
            self.assertEqual(sorted(inbox(server)), sorted(taken))
        print(f"disk full: {len(taken)} letters taken, all there")

    def letter(self, number):
        return b"X-Number: %d\r\n" % number + HEAD + (b"%d " % number * 70 + b"\r\n") * 1000

    def send_until_refused(self, sender, taken):
        for _ in range(2000):
            letter = self.letter(len(taken))
            answer = deliver(sender, "x@example.test", [user("alice")], letter)[0]
            if answer[0] != 250:
                return answer
            taken.append(letter)
        self.fail("the disk never got full")

    def check_health(self, server, expect):
        import http.client

        connection = http.client.HTTPConnection("127.0.0.1", server.port("http"), timeout=20)
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        body = answer.read()
        self.assertEqual(answer.status, expect, body)
        connection.close()
