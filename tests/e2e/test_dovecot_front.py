"""Debian's Dovecot in front of us, as docs/howto/dovecot.md shows it: as a proxy for IMAP and POP3, and with our mail as its
storage."""

import contextlib
import imaplib
import os
import poplib
import re
import ssl
import time
import unittest

import dovecot
from harness import PASSWORD, Certificate, Folder, Server, Talk, deliver, lmtp, user
from postfix import free_port
from test_tls import run

NAME = "mail.example.test"
SENDER = "sender@elsewhere.test"


def letter(subject, size=200):
    return (f"From: {SENDER}\r\nTo: {user('alice')}\r\nSubject: {subject}\r\nMessage-ID: <{subject}@elsewhere.test>\r\n\r\n"
            + "ordinary text\r\n" * (size // 15)).encode()


class World:
    """Ours with alice and bob, and Dovecot in front."""

    def __init__(self, stack, name):
        folder = stack.enter_context(Folder())
        certificate = Certificate(folder, NAME, NAME)
        imap, pop3 = free_port(), free_port()
        config = folder / "openpoczta.toml"
        listen = "".join(f"[{key}]\nlisten = ['127.0.0.1:{port}']\n" for key, port in
                         {"imap": imap, "pop3": pop3, "lmtp": 0, "http": 0}.items())
        off = "".join(f"[{key}]\nlisten = []\n" for key in ("smtp", "submission"))
        config.write_text(f"hostname = '{NAME}'\n[data]\nfolder = '{folder}/mail'\n{listen}{off}")
        for person in ("alice", "bob"):
            added = run("account", "add", user(person), "--config", config, stdin=f"{PASSWORD}\n")
            assert added.returncode == 0, added
        self.server = stack.enter_context(Server(config=config))
        if name == "dovecot.conf":
            ports = f"port=%{{if;%s;eq;imap;{imap};{pop3}}}"
            changes = {"host=127.0.0.1": f"host=127.0.0.1 {ports}"}
        else:
            changes = {"imapc_port = 143": f"imapc_port = {imap}", "port=143": f"port={imap}"}
        self.dovecot = stack.enter_context(dovecot.Dovecot(folder, certificate, name, changes))
        self.context = ssl.create_default_context(cafile=str(certificate.cert))
        self.context.check_hostname = False

    def imap(self, person="alice", password=PASSWORD):
        imap = imaplib.IMAP4("127.0.0.1", self.dovecot.imap, timeout=60)
        imap.starttls(self.context)
        imap.login(user(person), password)
        return imap

    def pop3(self, person="alice", password=PASSWORD):
        pop3 = poplib.POP3("127.0.0.1", self.dovecot.pop3, timeout=60)
        pop3.stls(self.context)
        pop3.user(user(person))
        pop3.pass_(password)
        return pop3

    def deliver(self, *letters, to="alice"):
        with lmtp(self.server) as session:
            for one in letters:
                answers = deliver(session, SENDER, [user(to)], one)
                assert [code for code, _ in answers] == [250], answers

    def idling(self):
        """A conversation that waits for news of INBOX."""
        talk = Talk(self.dovecot.imap, timeout_s=60)
        talk.until("* OK")
        talk.send("a STARTTLS\r\n")
        talk.until("a OK")
        talk.encrypt(self.context, NAME)
        for line in (f"b LOGIN {user('alice')} {PASSWORD}", "c SELECT INBOX"):
            talk.send(line + "\r\n")
            answer = talk.until(line[:2])
            assert answer[-1].startswith(f"{line[0]} OK"), answer
        talk.send("d IDLE\r\n")
        assert talk.until("+")[-1].startswith("+")
        return talk


@contextlib.contextmanager
def world(name):
    with contextlib.ExitStack() as stack:
        yield World(stack, name)


class Front:
    """What holds for both ways."""

    file = None

    def world(self):
        return world(self.file)

    def test_mail_is_read_and_changed(self):
        with self.world() as at:
            sent = [letter(f"number-{number}", 200 + 5000 * number) for number in range(5)]
            at.deliver(*sent)
            with at.imap() as imap:
                self.assertEqual(imap.select("INBOX"), ("OK", [b"5"]))
                _, rows = imap.fetch("1:*", "(UID RFC822.SIZE ENVELOPE BODY.PEEK[])")
                bodies = [row[1] for row in rows if isinstance(row, tuple)]
                for one, body in zip(sent, bodies, strict=True):
                    self.assertTrue(body.endswith(one), body[:300])
                sizes = [int(re.search(rb"RFC822.SIZE (\d+)", row[0])[1]) for row in rows if isinstance(row, tuple)]
                self.assertEqual(sizes, [len(body) for body in bodies])
                self.assertEqual(imap.search(None, "SUBJECT", "number-3"), ("OK", [b"4"]))
                self.assertEqual(imap.search(None, "FROM", SENDER)[1], [b"1 2 3 4 5"])
                self.assertEqual(imap.create("Projects")[0], "OK")
                self.assertEqual(imap.copy("2", "Projects")[0], "OK")
                imap.store("1", "+FLAGS", r"(\Flagged)")
                imap.store("2", "+FLAGS", r"(\Deleted)")
                imap.expunge()
                self.assertEqual(imap.append("Projects", r"(\Seen)", None, letter("by-append"))[0], "OK")
            # It is in our store, not in Dovecot's.
            with imaplib.IMAP4("127.0.0.1", at.server.port("imap")) as imap:
                imap.login(user("alice"), PASSWORD)
                self.assertEqual(imap.select("Projects", readonly=True), ("OK", [b"2"]))
                self.assertEqual(imap.search(None, "SEEN")[1], [b"2"])
                self.assertEqual(imap.select("INBOX", readonly=True), ("OK", [b"4"]))
                self.assertEqual(imap.search(None, "FLAGGED")[1], [b"1"])

    def test_idle_tells_at_once(self):
        with self.world() as at:
            with at.idling() as talk:
                for number in (1, 2, 3):
                    began = time.monotonic()
                    at.deliver(letter(f"news-{number}"))
                    self.assertEqual(talk.until(f"* {number} EXISTS")[-1], f"* {number} EXISTS")
                    waited = time.monotonic() - began
                    self.assertLess(waited, 5)
                talk.send("DONE\r\n")
                self.assertTrue(talk.until("d ")[-1].startswith("d OK"))

    def test_pop3(self):
        with self.world() as at:
            sent = [letter(f"pop-{number}", 3000) for number in range(3)]
            at.deliver(*sent)
            pop3 = at.pop3()
            self.assertEqual(pop3.stat()[0], 3)
            for number, one in enumerate(sent, 1):
                _, lines, _ = pop3.retr(number)
                self.assertTrue((b"\r\n".join(lines) + b"\r\n").endswith(one))
            names = [line.split()[1] for line in pop3.uidl()[1]]
            self.assertEqual(len(set(names)), 3)
            pop3.dele(2)
            pop3.quit()
            pop3 = at.pop3()
            self.assertEqual([line.split()[1] for line in pop3.uidl()[1]], [names[0], names[2]])
            pop3.quit()

    def test_passwords_are_ours(self):
        with self.world() as at:
            for person, password in (("alice", "wrong"), ("nobody", PASSWORD), ("alice", "")):
                with self.assertRaises(imaplib.IMAP4.error):
                    at.imap(person, password)
            with self.assertRaises(poplib.error_proto):
                at.pop3("alice", "wrong")
            at.deliver(letter("for-bob"), to="bob")
            for person, count in (("bob", b"1"), ("alice", b"0")):
                with at.imap(person) as imap:
                    self.assertEqual(imap.select("INBOX"), ("OK", [count]))


@unittest.skipIf(os.geteuid() != 0, "Dovecot starts with users of its own as root only")
class Proxy(Front, unittest.TestCase):
    file = "dovecot.conf"

    def test_what_only_we_have_is_there_after_login(self):
        with self.world() as at, at.imap() as imap:
            capabilities = imap.capability()[1][0].split()
            for name in (b"IMAP4rev2", b"OBJECTID", b"UIDONLY", b"REPLACE"):
                self.assertIn(name, capabilities)


@unittest.skipIf(os.geteuid() != 0, "Dovecot starts with users of its own as root only")
class Storage(Front, unittest.TestCase):
    file = "dovecot-imapc.conf"


if __name__ == "__main__":
    unittest.main()
