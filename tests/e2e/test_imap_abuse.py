"""IMAP under people who mean harm or are very slow: others are served as before, and memory stays small."""

import contextlib
import time
import unittest

from harness import PASSWORD, Server, Talk, median, user

ROWS = 10_000


def rss_kib(server):
    with open(f"/proc/{server.pid()}/status") as status:
        return int(next(line for line in status if line.startswith("VmRSS")).split()[1])


def opened(server, name="alice"):
    talk = Talk(server.port("imap"))
    talk.until("* OK")
    talk.send(f"a LOGIN {user(name)} {PASSWORD}\r\nb SELECT INBOX\r\n")
    assert "b OK" in talk.until("b ")[-1]
    return talk


class Abuse(unittest.TestCase):
    def test_a_pattern_of_many_stars_is_quick(self):
        with Server() as server, opened(server) as talk:
            talk.send("c CREATE " + "a" * 200 + "\r\n")
            self.assertIn("c OK", talk.until("c ")[-1])
            began = time.monotonic()
            talk.send('d LIST "" "' + "*a" * 60 + '*b"\r\n')
            answer = talk.until("d ")
            self.assertLess(time.monotonic() - began, 1)
            self.assertEqual(len(answer), 1, answer[:2])
            self.assertRegex(answer[0], r"^d (OK|BAD|NO)")

    def test_a_peer_that_does_not_read_slows_nobody(self):
        letter = b"From: bob@example.test\r\nSubject: s\r\n\r\nhello\r\n"
        with Server() as server, opened(server) as sloth, opened(server, "bob") as other:
            one = b"{%d+}\r\n%b" % (len(letter), letter)
            for _ in range(ROWS // 500):
                sloth.send(b"c APPEND INBOX " + one + b"\r\n")
                self.assertIn("c OK", sloth.until("c ")[-1])
            sloth.send("d SELECT INBOX\r\n")
            sloth.until("d OK")
            # Copies into itself double the mailbox, up to what we want.
            have = ROWS // 500
            while have < ROWS:
                more = min(have, ROWS - have)
                sloth.send(f"e COPY 1:{more} INBOX\r\n")
                self.assertIn("e OK", sloth.until("e ")[-1])
                have += more
            before = rss_kib(server)
            took_ms = {"alone": [], "beside it": []}
            for when in took_ms:
                for _ in range(40):
                    began = time.monotonic()
                    other.send("f NOOP\r\n")
                    self.assertIn("f OK", other.until("f ")[-1])
                    took_ms[when].append((time.monotonic() - began) * 1000)
                if when == "alone":
                    for number in range(4):
                        sloth.send(f"g{number} FETCH 1:* (UID FLAGS ENVELOPE BODYSTRUCTURE)\r\n")
                    time.sleep(1)
            # The same account too: a second session of its owner.
            began = time.monotonic()
            with opened(server) as again:
                again.send("h STORE 1 +FLAGS (\\Flagged)\r\n")
                self.assertIn("h OK", again.until("h ")[-1])
            own_ms = (time.monotonic() - began) * 1000
            grown = rss_kib(server) - before
            alone, beside = (median(took_ms[when]) for when in took_ms)
            print(f"slow reader: NOOP of another {alone:.2f} ms alone, {beside:.2f} ms beside it; "
                  f"own second session {own_ms:.0f} ms; {grown} KiB more memory")
            self.assertLess(max(took_ms["beside it"]), 1000)
            self.assertLess(own_ms, 3000)
            self.assertLess(grown, 48 * 1024)
            # All of it was still to come.
            for number in range(4):
                rows = sum(line.startswith("* ") for line in sloth.until(f"g{number} OK"))
                self.assertGreaterEqual(rows, ROWS)

    def test_many_idle_and_half_open_connections(self):
        with Server() as server, contextlib.ExitStack() as stack:
            # The first check of a password takes memory for good.
            opened(server).close()
            before = rss_kib(server)
            for number in range(200):
                talk = stack.enter_context(Talk(server.port("imap")))
                # A line that never ends, and one that says nothing.
                talk.send("a LOGIN al" if number % 2 else "")
            began = time.monotonic()
            with opened(server) as talk:
                talk.send("c NOOP\r\n")
                self.assertIn("c OK", talk.until("c ")[-1])
            self.assertLess(time.monotonic() - began, 1)
            self.assertLess(rss_kib(server) - before, 200 * 64)

    def test_guessing_does_not_lock_the_owner_out(self):
        with Server() as server:
            said_bye = False
            with Talk(server.port("imap")) as guesser:
                guesser.until("* OK")
                for number in range(12):
                    guesser.send(f"a{number} LOGIN {user('bob')} guess\r\n")
                    answer = guesser.until(f"a{number} ")
                    if not answer[-1] or any(line.startswith("* BYE") for line in answer):
                        said_bye = True
                        break
                    self.assertIn("NO [", answer[-1])
            self.assertTrue(said_bye, "twelve guesses on one connection")
            # Somebody else at the same address, who knows the password.
            with opened(server) as talk:
                talk.send("c NOOP\r\n")
                self.assertIn("c OK", talk.until("c ")[-1])
