"""The spam filter as people meet it: they move letters into Junk and out of it, and ask why."""

import imaplib
import json
import pathlib
import random
import re
import subprocess
import time
import unittest

import api
from harness import BINARY, PASSWORD, Folder, Server, deliver, lmtp, user

WORDS = "table garden river window letter summer market paper season village morning engine harbour music".split()
OFFERS = "replica watches diploma casino pharmacy pills discount lottery rolex winner".split()


def letter(number, is_spam, rng):
    words = rng.choices(OFFERS if is_spam else WORDS, k=30)
    sender = f"deals{number}@cheap-offers.test" if is_spam else f"friend{number % 7}@home.test"
    return (
        f"From: <{sender}>\r\nTo: <{user('alice')}>\r\nSubject: {' '.join(words[:3])}\r\n"
        f"Date: Mon, 23 Nov 2026 12:00:00 +0000\r\nMessage-ID: <{number}.{rng.random()}@{sender.split('@')[1]}>\r\n\r\n"
        + "".join(f"{' '.join(words[n:n + 6])}\r\n" for n in range(0, 30, 6))
    ).encode()


def copy(rng):
    """One of many copies: another name, amount, path and subject, sentences in another order, words that mean nothing."""
    sentences = [
        f"Your account was chosen for a payment of {rng.randrange(10**6)} dollars that was never claimed before.",
        "The board of our bank has decided to release the whole sum to the first person who answers.",
        f"Please confirm your name and address within {rng.randrange(72)} hours so that the transfer can begin.",
        "We need a small fee for the courier, which you get back together with the first part.",
        f"Follow this link to begin: http://pay{rng.randrange(9)}.offers.test/{rng.randrange(10**6)}/start",
        "This offer is strictly between us, so do not talk about it with anybody in your office.",
    ]
    rng.shuffle(sentences)
    text = " ".join(sentences).replace("account", rng.choice(["account", "acc\u200bount"]))
    name, sender = rng.choice("Anna John Maria Piotr Susan Karl Ewa".split()), rng.randrange(10**6)
    subject = rng.choice(["Payment", "News for you", "Hello", "Your transfer", "Please read"])
    return (
        f"From: <x{sender}@mail{sender % 7}.test>\r\nTo: <{user('alice')}>\r\nSubject: {subject}\r\n"
        f"Date: Mon, 23 Nov 2026 12:00:00 +0000\r\nMessage-ID: <{rng.random()}@mail.test>\r\nMIME-Version: 1.0\r\n"
        f"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nDear {name},\r\n{text}\r\n"
        f"{rng.choice('lamp river seven orange'.split())} {rng.randrange(10**6)}\r\n"
    ).encode()


def spam(server, *arguments, data):
    command = [str(part) for part in (BINARY, "spam", *arguments, "--data", data)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


class World:
    def __init__(self, server):
        self.server = server
        self.imap = imaplib.IMAP4("127.0.0.1", server.port("imap"))
        self.imap.login(user("alice"), PASSWORD)
        self.rng = random.Random(7)
        self.number = 0

    def deliver(self, is_spam, count=1):
        with lmtp(self.server) as session:
            for _ in range(count):
                self.number += 1
                raw = letter(self.number, is_spam, self.rng)
                deliver(session, "x@else.test", [user("alice")], raw)

    def count(self, mailbox):
        return int(self.imap.select(mailbox)[1][0])

    def move_all(self, source, target):
        self.imap.select(source)
        self.imap.uid("MOVE", "1:*", target)

    def learned(self, count, patience_s=30):
        """Until the server says in its log that so many letters were learned."""
        end = time.monotonic() + patience_s
        while self.server.stderr().count("the spam filter learned") < count:
            said = self.server.stderr()
            known = said.count("the spam filter learned")
            gone = [line for line in said.splitlines() if "spam filter could" in line or "did not learn" in line]
            assert time.monotonic() < end, f"{known} of {count} learned; {gone[:5]}"
            time.sleep(0.05)


class Spam(unittest.TestCase):
    def test_it_learns_from_moves_and_keeps_it(self):
        with Folder() as folder:
            data = pathlib.Path(folder, "mail")
            with Server("--log", "info", data=data) as server:
                world = World(server)
                world.deliver(True, 70)
                world.move_all("INBOX", "Junk")
                world.learned(70)
                world.deliver(False, 70)
                # Whoever taught only spam may find some of these in Junk already.
                marked = world.count("INBOX")
                world.move_all("INBOX", "Junk")
                world.learned(70 + marked)
                world.move_all("Junk", "Archive")
                world.learned(70 + marked + 140)
                self.assertEqual((world.count("INBOX"), world.count("Junk")), (0, 0))
            with Server("--log", "info", data=data) as server:
                world = World(server)
                world.number = 1000
                world.deliver(False, 10)
                self.assertEqual((world.count("INBOX"), world.count("Junk")), (10, 0))
                said = spam(server, "explain", "no-such-id", data=data)
                self.assertEqual(said.returncode, 1)
                self.assertIn("no verdict with the id", said.stderr)

    def test_the_next_one_is_caught_and_explained(self):
        with Folder() as folder:
            data = pathlib.Path(folder, "mail")
            with Server("--log", "info", data=data) as server:
                world = World(server)
                for name, is_spam in (("spam", True), ("ham", False)):
                    place = pathlib.Path(folder, name)
                    place.mkdir()
                    for number in range(120):
                        (place / f"{number}.eml").write_bytes(letter(5000 + number, is_spam, world.rng))
                    said = spam(server, "learn", name, place, data=data)
                    self.assertEqual((said.returncode, said.stdout), (0, "120 of 120 letters were new to the filter\n"), said)
                    said = spam(server, "learn", name, place, data=data)
                    self.assertEqual(said.stdout, "0 of 120 letters were new to the filter\n")
                world.deliver(True, 10)
                world.deliver(False, 10)
                self.assertEqual((world.count("INBOX"), world.count("Junk")), (10, 10))
                world.imap.select("Junk")
                raw = world.imap.fetch("1", "(BODY.PEEK[])")[1][0][1].decode()
                identity = re.search(r"with LMTP id (\S+?);?\s", raw)[1].rstrip(";")
                end = time.monotonic() + 10
                while (said := spam(server, "explain", identity, data=data)).returncode and time.monotonic() < end:
                    time.sleep(0.05)
                self.assertEqual(said.returncode, 0, said.stderr)
                self.assertTrue(said.stdout.startswith("It was taken for spam, and put into Junk: "), said.stdout)
                self.assertIn("(LEARNED)", said.stdout)
                self.assertIn("Words seen in spam before:", said.stdout)
                file = pathlib.Path(folder, "one.eml")
                file.write_bytes(raw.encode())
                asked = json.loads(spam(server, "explain", file, "--json", data=data).stdout)
                self.assertEqual(asked["action"], "junk")
                self.assertGreater(asked["probability"], 0.9)
                scored = spam(server, "score", file, pathlib.Path(folder, "ham", "1.eml"), data=data).stdout.splitlines()
                self.assertTrue(scored[0].startswith("accept") and scored[1].startswith("junk"), scored)
            # No server: the store itself answers, with what was learned.
            scored = spam(None, "score", file, data=data)
            self.assertTrue(scored.stdout.startswith("junk"), scored)
            said = spam(None, "explain", identity, data=data)
            self.assertEqual(said.returncode, 0, said)

    def test_one_click_catches_the_copies(self):
        """Somebody marks one letter; nobody has taught the filter anything before."""
        with Server("--log", "info") as server:
            world = World(server)
            rng = random.Random(11)
            with lmtp(server) as session:
                deliver(session, "x@else.test", [user("alice")], copy(rng))
                self.assertEqual((world.count("INBOX"), world.count("Junk")), (1, 0))
                world.move_all("INBOX", "Junk")
                world.learned(1)
                for _ in range(50):
                    deliver(session, "x@else.test", [user("alice"), user("bob")], copy(rng))
                self.assertGreaterEqual(world.count("Junk"), 1 + 48)
                bob = imaplib.IMAP4("127.0.0.1", server.port("imap"))
                bob.login(user("bob"), PASSWORD)
                self.assertEqual(int(bob.select("INBOX")[1][0]), 50, "one person does not decide for others")
                # She was wrong: what she takes out again comes in again.
                world.move_all("Junk", "INBOX")
                world.learned(1 + int(world.count("INBOX")))
                before = world.count("INBOX")
                for _ in range(10):
                    deliver(session, "x@else.test", [user("alice")], copy(rng))
                self.assertGreaterEqual(world.count("INBOX"), before + 9)

    def test_the_web_page_teaches_too(self):
        with Server("--log", "info") as server:
            world = World(server)
            rng = random.Random(12)
            with lmtp(server) as session:
                deliver(session, "x@else.test", [user("alice")], copy(rng))
                with api.Session(server, user("alice")) as web:
                    boxes = web.call("Mailbox/get", ids=None)["list"]
                    roles = {box["role"]: box["id"] for box in boxes}
                    found = web.all_email_ids()
                    patch = {"mailboxIds": {roles["junk"]: True}}
                    done = web.call("Email/set", update={found[0]: patch})
                    self.assertIn(found[0], done["updated"])
                world.learned(1)
                deliver(session, "x@else.test", [user("alice")], copy(rng))
            self.assertEqual((world.count("INBOX"), world.count("Junk")), (0, 2))

    def test_own_letters_are_evaluated(self):
        with Folder() as folder:
            rng = random.Random(3)
            for name, is_spam in (("spam", True), ("ham", False)):
                place = pathlib.Path(folder, name)
                place.mkdir()
                for number in range(200):
                    (place / f"{number}.eml").write_bytes(letter(number, is_spam, rng))
            command = [BINARY, "spam", "eval", "--ham", f"{folder}/ham", "--spam", f"{folder}/spam"]
            said = subprocess.run(command, capture_output=True, text=True, timeout=120)
            hams, spams = re.findall(r"(\d+) .*?, (\d+) ", said.stdout)[:2]
            self.assertEqual((hams[0], spams[0]), ("200", "200"))
            self.assertLess(int(hams[1]), 5)
            self.assertLess(int(spams[1]), 120)


if __name__ == "__main__":
    unittest.main()
