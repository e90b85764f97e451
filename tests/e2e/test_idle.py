"""A letter delivered in one session is seen at once by a session that waits in another."""

import time
import unittest

from harness import PASSWORD, Server, Talk, deliver, lmtp, median, user

LETTERS = 50


class Idle(unittest.TestCase):
    def test_a_letter_is_seen_within_100_ms(self):
        with Server() as server, Talk(server.port("imap")) as imap, lmtp(server) as sender:
            imap.until("* OK")
            for tag, command in [("a", f"LOGIN {user('alice')} {PASSWORD}"), ("b", "SELECT INBOX")]:
                imap.send(f"{tag} {command}\r\n")
                self.assertIn(" OK", imap.until(f"{tag} ")[-1])
            imap.send("c IDLE\r\n")
            self.assertTrue(imap.line().startswith("+"))
            took_ms = []
            for number in range(1, LETTERS + 1):
                letter = f"From: bob@example.test\r\nSubject: {number}\r\n\r\nhello\r\n".encode()
                # The watch stops at the waiting session's line, the start is before the letter is sent.
                began = time.monotonic()
                sender.mail("bob@example.test")
                sender.rcpt(user("alice"))
                sender.docmd("DATA")
                sender.send(letter + b".\r\n")
                seen = imap.until(f"* {number} EXISTS")
                took_ms.append((time.monotonic() - began) * 1000)
                self.assertEqual(seen[-1], f"* {number} EXISTS")
                self.assertEqual(sender.getreply()[0], 250)
            imap.send("DONE\r\n")
            self.assertIn("c OK", imap.until("c ")[-1])
            print(f"idle: {LETTERS} letters, LMTP MAIL to EXISTS: median {median(took_ms):.1f} ms, worst {max(took_ms):.1f} ms")
            self.assertLess(median(took_ms), 100)

    def test_flags_and_expunges_are_seen_too(self):
        with Server() as server, Talk(server.port("imap")) as watcher, Talk(server.port("imap")) as changer:
            with lmtp(server) as sender:
                deliver(sender, "bob@example.test", [user("alice")], b"Subject: one\r\n\r\nhello\r\n")
            for talk in (watcher, changer):
                talk.until("* OK")
                talk.send(f"a LOGIN {user('alice')} {PASSWORD}\r\nb SELECT INBOX\r\n")
                self.assertIn("b OK", talk.until("b ")[-1])
            watcher.send("c IDLE\r\n")
            self.assertTrue(watcher.line().startswith("+"))
            changer.send("c STORE 1 +FLAGS (\\Flagged)\r\n")
            changer.until("c OK")
            seen = watcher.line()
            self.assertTrue(seen.startswith("* 1 FETCH"), seen)
            self.assertIn("\\Flagged", seen)
            changer.send("d STORE 1 +FLAGS.SILENT (\\Deleted)\r\ne EXPUNGE\r\n")
            changer.until("e OK")
            seen = watcher.until("* 1 EXPUNGE")[-1]
            self.assertEqual(seen, "* 1 EXPUNGE")
