"""Aliases, catch-all, second names of a domain, forwards: made by `openpoczta alias`, seen by mail servers and people."""

import json
import smtplib
import socket
import subprocess
import time
import unittest

from harness import BINARY, PASSWORD, Folder, Server, deliver, lmtp, split_trace, user
from test_deliver import mail

LETTER = b"From: ala@b.test\r\nTo: sales@example.test\r\nSubject: alias\r\n\r\nhello\r\n"


def run(*arguments):
    return subprocess.run([str(part) for part in (BINARY, *arguments)], capture_output=True, text=True, timeout=60)


def config(folder, *aliases, domains="['example.test', 'old.test']", names=("alice", "bob", "postmaster"), smtp=0, relay=9):
    """`sales alice bob`: an alias and where it leads; names without a domain are of `example.test`. What leaves goes to
    the port `relay`, where usually nobody is."""
    file = folder / "openpoczta.toml"
    file.write_text(
        f"hostname = 'mx.example.test'\ndomains = {domains}\n[data]\nfolder = '{folder}/mail'\n"
        + f"[relay]\nhost = '127.0.0.1:{relay}'\n[smtp]\nlisten = ['127.0.0.1:{smtp}']\n"
        + "".join(f"[{name}]\nlisten = ['127.0.0.1:0']\n" for name in ("lmtp", "imap"))
        + "".join(f"[{name}]\nlisten = []\n" for name in ("submission", "pop3", "http"))
    )
    for name in names:
        command = [BINARY, "account", "add", full(name), "--config", file]
        subprocess.run(command, input=f"{PASSWORD}\n", text=True, check=True, capture_output=True)
    for alias in aliases:
        done = run("alias", "add", *(full(name) for name in alias.split()), "--config", file)
        assert done.returncode == 0, done
    return file


def full(name):
    return name if "@" in name else user(name)


def letters(server, name):
    """Those of a mailbox, without our trace."""
    return [split_trace(letter)[1] for letter in mail(server, name)]


class Command(unittest.TestCase):
    def test_add_list_remove(self):
        with Folder() as folder:
            file = config(folder)
            where = ("--config", file)

            def check(command, code, out="", err=""):
                done = run("alias", *command.split(), *where)
                self.assertEqual((done.returncode, done.stdout), (code, out), done)
                self.assertIn(err, done.stderr) if err else self.assertEqual(done.stderr, "")

            check("list", 0, "there is no such alias\n")
            check("add Sales@Example.test alice@example.test", 0, "sales@example.test -> alice@example.test\n")
            both = "sales@example.test -> alice@example.test, x@Other.test".replace("Other", "other")
            check("add sales@example.test x@Other.test alice@example.test", 0, both + "\n")
            check("add @old.test @example.test", 0, "@old.test -> @example.test\n")
            check("list", 0, f"@old.test -> @example.test\n{both}\n")
            check("list @example.test", 0, both + "\n")
            check("list x@old.test", 0, "there is no such alias\n")
            # What is probably not meant is said, and done.
            says = "mail for it comes there no longer"
            check("add alice@example.test bob@example.test", 0, "alice@example.test -> bob@example.test\n", says)
            check("add @far.test bob@example.test", 0, "@far.test -> bob@example.test\n", "add it to domains")
            check("add x@old.test nobody@example.test", 0, "x@old.test -> nobody@example.test\n", "there is no nobody@")
            # What cannot be is refused, and changes nothing.
            check("add nonsense bob@example.test", 1, err="write an address")
            check("add a@example.test |sh", 1, err="a target is an address")
            check("add a@example.test @old.test", 1, err="a target is an address")
            check("add a@example.test", 2, err="required")
            check("remove never@example.test", 1, err="is no alias")
            check("remove sales@example.test y@other.test", 1, err="does not lead to")
            check("remove sales@example.test X@OTHER.test", 0, "sales@example.test -> alice@example.test\n")
            check("remove sales@example.test", 0, "sales@example.test: no alias any more\n")
            with Server(config=file):
                check("list", 1, err="is in use by process")
            self.assertEqual(run("fsck", *where).returncode, 0)


class Recipients(unittest.TestCase):
    def test_whom_mail_reaches(self):
        aliases = ("sales alice bob", "bob@old.test alice", "@old.test @example.test", "@example.test postmaster")
        with Folder() as folder, Server(config=config(folder, *aliases, "alice alice bob")) as server:
            with smtplib.SMTP("127.0.0.1", server.port("smtp"), timeout=20) as smtp:
                smtp.ehlo("c.test")
                for to, code in (
                    ("sales@example.test", 250),
                    ("SALES+x@example.test", 250),
                    ("anybody@example.test", 250),
                    ("anybody@old.test", 250),
                    ("anybody@other.test", 554),
                    ("anybody@mx.example.test", 554),
                ):
                    smtp.rset()
                    smtp.mail("ala@b.test")
                    self.assertEqual(smtp.rcpt(to)[0], code, to)
            for to, who in (
                (["sales@example.test"], "alice bob"),
                (["sales@old.test", "bob@example.test"], "alice bob"),
                (["alice@example.test"], "alice bob"),
                (["bob@old.test"], "alice bob"),
                (["bob+tag@example.test"], "bob"),
                (["nobody@old.test", "nobody@example.test"], "postmaster"),
            ):
                names = ("alice", "bob", "postmaster")
                before = {name: len(letters(server, name)) for name in names}
                with lmtp(server) as session:
                    answers = deliver(session, "ala@b.test", to, LETTER)
                self.assertEqual([code for code, _ in answers], [250] * len(to))
                after = {name: len(letters(server, name)) for name in names}
                self.assertEqual({name: after[name] - before[name] for name in names},
                                 {name: int(name in who.split()) for name in names}, to)
                self.assertEqual(letters(server, who.split()[0])[-1], LETTER)

    def test_without_a_catch_all_strangers_are_refused(self):
        with Folder() as folder, Server(config=config(folder, "a ghost", "b c", "c b", domains="[]")) as server:
            with smtplib.SMTP("127.0.0.1", server.port("smtp"), timeout=20) as smtp:
                smtp.ehlo("c.test")
                smtp.mail("x@b.test")
                for to in ("ghost", "a", "b", "c"):
                    self.assertEqual(smtp.rcpt(user(to)), (550, b"5.1.1 there is no such user here"), to)

    def test_the_domain_of_an_alias_is_ours_where_none_is_named(self):
        with Folder() as folder, Server(config=config(folder, "@old.test alice", domains="[]")) as server:
            with lmtp(server) as session:
                self.assertEqual(deliver(session, "x@b.test", ["y@old.test"], LETTER)[0][0], 250)
            self.assertEqual(letters(server, "alice"), [LETTER])


class Forwards(unittest.TestCase):
    def waiting(self, file):
        done = run("queue", "list", "--json", "--config", file)
        self.assertEqual(done.returncode, 0, done)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def test_what_leaves_is_in_the_queue_before_250(self):
        with Folder() as folder:
            file = config(folder, "sales alice x@other.test", "out y@other.test")
            with Server(config=file) as server:
                with lmtp(server) as session:
                    to = ["Sales@example.test", "out@example.test", "bob@example.test"]
                    answers = deliver(session, "ala@b.test", to, LETTER)
                server.kill()
            self.assertEqual([code for code, _ in answers], [250] * 3)
            with Server(config=file) as server:
                self.assertEqual((letters(server, "alice"), letters(server, "bob")), ([LETTER], [LETTER]))
                waiting = self.waiting(file)
                shown = sorted((one["from"], [to["address"] for to in one["recipients"]]) for one in waiting)
                expect = [("Sales@example.test", ["x@other.test"]), ("out@example.test", ["y@other.test"])]
                self.assertEqual(shown, expect)
                out = next(one for one in waiting if one["from"] == "out@example.test")
                letter = run("queue", "show", out["id"], "--config", file).stdout
                self.assertIn("\nDelivered-To: out@example.test\nReceived: from ", "\n" + letter)
                self.assertIn("\tfor <out@example.test>;", letter)
                self.assertNotIn("Sales", letter.replace("sales", ""))
                self.loop(server, letter[letter.index("Delivered-To"):])

    def loop(self, server, letter):
        """It comes back, through other servers."""
        back = "Received: from a by b; now\r\n" + letter.replace("\n", "\r\n")
        with lmtp(server) as session:
            to = ["out@example.test", "bob@example.test", "sales@example.test"]
            answers = deliver(session, "ala@b.test", to, back.encode())
            self.assertEqual([code for code, _ in answers], [554, 250, 250])
            self.assertTrue(answers[0][1].startswith(b"5.4.6 "), answers)
            many = b"Received: from a by b; now\r\n" * 51 + LETTER
            self.assertEqual(deliver(session, "ala@b.test", to, many)[0][0], 554)

    def test_two_servers_that_forward_to_each_other(self):
        """The letter goes round once; then somebody is told."""
        with Folder() as one, Folder() as other:
            with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
                here, there = first.getsockname()[1], second.getsockname()[1]
            ours = config(one, "out x@other.test", "sales alice y@other.test", smtp=here, relay=there)
            names = ("postmaster@other.test", "y@other.test")
            theirs = config(other, "x@other.test out", domains="['other.test']", names=names, smtp=there, relay=here)
            with Server(config=ours) as server, Server(config=theirs) as far:
                with lmtp(server) as session:
                    answers = deliver(session, "ala@b.test", [user("out"), user("sales")], LETTER)
                    self.assertEqual([code for code, _ in answers], [250, 250])
                end = time.monotonic() + 30
                while time.monotonic() < end and not (mail(far, "y@other.test") and mail(far, "postmaster@other.test")):
                    time.sleep(0.1)
                self.assertEqual(letters(server, "alice"), [LETTER])
                (arrived,), (report,) = mail(far, "y@other.test"), mail(far, "postmaster@other.test")
                self.assertTrue(arrived.startswith(b"Return-Path: <sales@example.test>"), arrived)
                self.assertIn(b"\r\nDelivered-To: sales@example.test\r\n", arrived)
                self.assertTrue(arrived.endswith(LETTER))
                self.assertIn(b"5.4.6", report)
                self.assertIn(b"out@example.test", report)

    def test_a_full_mailbox_of_several_waits_alone(self):
        with Folder() as folder:
            file = config(folder, "staff alice bob")
            where = ("--config", file)
            self.assertEqual(run("account", "quota", user("alice"), "--messages", "1", *where).returncode, 0)
            with Server(config=file) as server:
                with lmtp(server) as session:
                    for to in ("alice", "staff", "bob"):
                        self.assertEqual(deliver(session, "ala@b.test", [user(to)], LETTER)[0][0], 250, to)
                    session.mail("ala@b.test")
                    self.assertEqual(session.rcpt(user("alice"))[0], 452)
                self.assertEqual((len(mail(server, "alice")), len(mail(server, "bob"))), (1, 2))
                (one,) = self.waiting(file)
                self.assertEqual((one["from"], one["recipients"][0]["address"]), (user("staff"), user("alice")))
            self.assertEqual(run("account", "quota", user("alice"), "--messages", "0", *where).returncode, 0)
            with Server(config=file) as server:
                run("queue", "retry", "--all", *where) if self.waiting(file) else None
                end = time.monotonic() + 20
                while self.waiting(file) and time.monotonic() < end:
                    time.sleep(0.1)
                self.assertEqual((self.waiting(file), len(mail(server, "alice"))), ([], 2))
                self.assertEqual(len(mail(server, "bob")), 2)
                self.assertTrue(mail(server, "alice")[-1].endswith(LETTER))
