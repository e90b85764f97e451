"""Mailboxes shared between accounts, with Python's own IMAP client."""

import contextlib
import imaplib
import random
import threading
import time
import unittest

from harness import PASSWORD, Folder, Server, Talk, deliver, lmtp, user

SHARED = f'"Other Users/{user("alice")}/INBOX"'


def login(server, name):
    client = imaplib.IMAP4("127.0.0.1", server.port("imap"))
    client.login(user(name), PASSWORD)
    return client


class Sharing(unittest.TestCase):
    def check(self, answer, kind="OK"):
        self.assertEqual(answer[0], kind, answer)
        return answer[1]

    def unseen(self, client):
        return self.check(client.search(None, "UNSEEN"))[0].split()

    def test_bob_reads_alices_mailbox_and_she_takes_it_back(self):
        with Folder() as folder:
            data = folder / "mail"
            with Server(data=data) as server:
                with lmtp(server) as sender:
                    for number in (1, 2):
                        letter = f"Subject: {number}\r\n\r\nletter {number}\r\n".encode()
                        deliver(sender, "carol@example.test", [user("alice")], letter)
                alice, bob = login(server, "alice"), login(server, "bob")
                self.assertIn("ACL", bob.capability()[1][0].decode().split())
                self.assertEqual(self.check(bob.list('""', '"Other Users/*"')), [None])
                self.check(bob.select(SHARED), "NO")
                self.check(alice.setacl("INBOX", user("bob"), "lrsw"))
                [acl] = self.check(alice.getacl("INBOX"))
                self.assertIn(b'"bob@example.test" lrsw', acl)
                [listed] = self.check(bob.list('""', '"Other Users/*"'))
                self.assertIn(SHARED.encode(), listed)
                self.assertEqual(self.check(bob.select(SHARED, readonly=False)), [b"2"])
                self.assertEqual(self.check(bob.fetch("2", "(BODY[TEXT])"))[0][1], b"letter 2\r\n")
                self.assertEqual(self.unseen(bob), [b"1"])
                self.check(alice.select("INBOX"))
                self.assertEqual(self.unseen(alice), [b"1", b"2"], "what bob read is not what alice read")
                self.check(bob.store("1", "+FLAGS", "(\\Deleted)"), "NO")
                self.check(bob.copy("1:2", "INBOX"))
                server.kill()
            # Rights and what was read are as durable as letters.
            with Server(data=data) as server:
                alice, bob = login(server, "alice"), login(server, "bob")
                [rights] = self.check(bob.myrights(SHARED))
                self.assertTrue(rights.endswith(b" lrsw"), rights)
                self.check(bob.select(SHARED))
                self.assertEqual(self.unseen(bob), [b"1"])
                self.check(alice.deleteacl("INBOX", user("bob")))
                with self.assertRaises(imaplib.IMAP4.abort):
                    for _ in range(2):
                        bob.noop()
                bob = login(server, "bob")
                self.check(bob.select(SHARED), "NO")
                self.assertEqual(self.check(bob.select("INBOX")), [b"2"], "his copies stay")

    def subjects(self, client, mailbox):
        self.check(client.select(mailbox))
        rows = self.check(client.fetch("1:*", "(BODY[HEADER.FIELDS (SUBJECT)])"))
        return [row[1].split()[1] for row in rows if isinstance(row, tuple)]

    def put(self, server, letters):
        """Letters 0, 1, 2... for alice, all commands in one packet: a client that waits takes 40 ms for each."""
        with Talk(server.port("imap")) as talk:
            talk.until("* OK")
            commands = [f"a LOGIN {user('alice')} {PASSWORD}\r\n"]
            for number in range(letters):
                letter = f"Subject: {number}\r\n\r\nx\r\n"
                commands.append(f"b{number} APPEND INBOX {{{len(letter)}+}}\r\n{letter}\r\n")
            talk.send("".join(commands))
            last = f"b{letters - 1} "
            self.assertIn("OK", talk.until(last)[-1])

    def test_a_crash_while_letters_move_between_accounts_loses_none(self):
        seed = int(time.time())
        pick = random.Random(seed)
        letters, between = 300, 0
        for _ in range(6):
            with Folder() as folder:
                data = folder / "mail"
                with Server(data=data) as server:
                    alice, bob = login(server, "alice"), login(server, "bob")
                    self.put(server, letters)
                    self.check(alice.setacl("INBOX", user("bob"), "lrswite"))
                    self.check(bob.select(SHARED))
                    timer = threading.Timer(pick.uniform(0.005, 0.15), server.kill)
                    timer.start()
                    with contextlib.suppress(imaplib.IMAP4.abort, OSError):
                        bob._simple_command("MOVE", f"1:{letters}", "INBOX")
                    timer.join()
                with Server(data=data) as server:
                    there = self.subjects(login(server, "alice"), "INBOX")
                    moved = self.subjects(login(server, "bob"), "INBOX")
                    self.assertEqual(len(set(there + moved)), letters, f"seed {seed}")
                    self.assertIn(len(there), (0, letters), f"seed {seed}: they go together")
                    between += 0 < len(moved) < letters
        print(f"moves between accounts: {between} of 6 crashes came in the middle, seed {seed}")

    def test_a_team_works_in_one_mailbox(self):
        with Server() as server:
            alice, bob = login(server, "alice"), login(server, "bob")
            self.check(alice.create("Team"))
            self.check(alice.setacl("Team", user("bob"), "lrswikxte"))
            team = f'"Other Users/{user("alice")}/Team"'
            self.check(bob.append(team, "(\\Seen \\Flagged)", None, b"Subject: from bob\r\n\r\nx\r\n"))
            self.check(bob.create(f'"Other Users/{user("alice")}/Team/Done"'))
            self.check(bob.select(team))
            self.check(bob.copy("1", f'"Other Users/{user("alice")}/Team/Done"'))
            self.check(bob.store("1", "+FLAGS", "(\\Deleted)"))
            self.check(bob.expunge())
            self.check(alice.select("Team"))
            self.assertEqual(self.check(alice.search(None, "ALL")), [b""])
            self.check(alice.select("Team/Done"))
            [flags] = self.check(alice.fetch("1", "(FLAGS)"))
            self.assertEqual(flags, b"1 (FLAGS (\\Flagged))")
