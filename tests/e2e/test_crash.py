"""`kill -9` in the middle of a load, again and again on the same data folder.

What must hold after each round: every letter that got `250` is there exactly once and byte for byte, a
flag or an expunge that got `OK` stays done, UIDs are never given twice, UIDVALIDITY stays, and the server
is ready again within a second.
"""

import imaplib
import os
import random
import re
import smtplib
import threading
import time
import unittest

from harness import PASSWORD, Folder, Server, corpus, deliver, lmtp, median, split_trace, user

ROUNDS = int(os.environ.get("E2E_ROUNDS", "20"))
SEED = int(os.environ.get("E2E_SEED", random.SystemRandom().randrange(1 << 32)))
CONNECTIONS = 8
ACCOUNTS = ["alice", "bob", "u0000", "u0001"]
READY_WITHIN_S = 1.0


class Mailbox:
    """What we know of one inbox over all rounds."""

    def __init__(self, name):
        self.name = name
        self.uid_validity = None
        self.uid_next = 1
        self.tokens = {}  # UID -> token, for every UID ever seen, gone or not
        self.acknowledged = set()  # tokens that got 250
        self.flagged = set()  # UIDs whose \Flagged got OK
        self.maybe_gone = set()  # UIDs we asked to expunge
        self.gone = set()  # UIDs whose EXPUNGE got OK


class Crash(unittest.TestCase):
    def test_kill_9_in_the_middle_of_the_load(self):
        print(f"crash: E2E_SEED={SEED} repeats this run")
        dice = random.Random(SEED)
        letters = corpus(400)
        boxes = [Mailbox(name) for name in ACCOUNTS]
        self.sent = {}  # token -> number of the letter
        ready_s = []
        with Folder() as folder:
            # The first start makes the accounts; what is measured is every start after it.
            with Server("--users", "2", data=folder / "mail"):
                pass
            for number in range(ROUNDS):
                with self.subTest(round=number):
                    with Server("--users", "2", data=folder / "mail") as server:
                        ready_s.append(server.ready_after_s)
                        self.look(server, boxes)
                        self.load(server, boxes, letters, number, dice)
            with Server("--users", "2", data=folder / "mail") as server:
                ready_s.append(server.ready_after_s)
                self.look(server, boxes)
                compared = self.compare_bytes(server, boxes, letters)
        acknowledged = sum(len(box.acknowledged) for box in boxes)
        gone = sum(len(box.gone) for box in boxes)
        print(
            f"crash: {ROUNDS} kills, {acknowledged} letters with 250, {gone} expunged, {compared} compared, 0 lost; "
            f"ready after {median(ready_s) * 1000:.0f} ms in the median, {max(ready_s) * 1000:.0f} ms at worst"
        )
        self.assertGreater(acknowledged, ROUNDS * 10, "the load was too light to mean anything")
        self.assertLess(max(ready_s), READY_WITHIN_S)

    def load(self, server, boxes, letters, round_number, dice):
        """Senders and one who flags and expunges, until the server is killed under them."""
        seeds = [dice.randrange(1 << 32) for _ in range(CONNECTIONS + 1)]
        threads = [
            threading.Thread(target=self.sender, args=(server, boxes, letters, f"{round_number}-{n}", seeds[n]))
            for n in range(CONNECTIONS)
        ]
        threads.append(threading.Thread(target=self.changer, args=(server, boxes[0], seeds[-1])))
        self.killed = threading.Event()
        self.trouble = []
        for thread in threads:
            thread.start()
        time.sleep(dice.uniform(0.15, 1.2))
        self.killed.set()
        server.kill()
        for thread in threads:
            thread.join()
        self.assertEqual(self.trouble, [])

    def ended(self, error):
        """A broken connection is what we are here for, once the server was killed. All else is not."""
        broken = isinstance(error, (OSError, EOFError, smtplib.SMTPServerDisconnected, imaplib.IMAP4.abort))
        if not (broken and self.killed.is_set()):
            self.trouble.append(repr(error))

    def sender(self, server, boxes, letters, name, seed):
        dice = random.Random(seed)
        count = 0
        try:
            with lmtp(server) as session:
                while True:
                    token = f"t-{name}-{count}"
                    count += 1
                    which = dice.randrange(len(letters))
                    to = dice.sample(boxes, dice.choice([1, 1, 2]))
                    self.sent[token] = which
                    recipients = [user(box.name) for box in to]
                    answers = deliver(session, f"{token}@crash.example.test", recipients, letters[which])
                    for box, (code, text) in zip(to, answers):
                        self.assertEqual(code, 250, text)
                        box.acknowledged.add(token)
        except Exception as error:
            self.ended(error)

    def changer(self, server, box, seed):
        dice = random.Random(seed)
        try:
            imap = imaplib.IMAP4("127.0.0.1", server.port("imap"))
            imap.login(user(box.name), PASSWORD)
            imap.select("INBOX")
            known = [uid for uid in box.tokens if uid not in box.maybe_gone]
            for uid in dice.sample(known, min(len(known), 200)):
                if dice.random() < 0.7:
                    status, _ = imap.uid("STORE", str(uid), "+FLAGS.SILENT", "(\\Flagged)")
                    self.assertEqual(status, "OK")
                    box.flagged.add(uid)
                else:
                    # The newest as well: its UID is the one that would be given again.
                    uid = max(known) if dice.random() < 0.3 else uid
                    box.maybe_gone.add(uid)
                    self.assertEqual(imap.uid("STORE", str(uid), "+FLAGS.SILENT", "(\\Deleted)")[0], "OK")
                    self.assertEqual(imap.uid("EXPUNGE", str(uid))[0], "OK")
                    box.gone.add(uid)
        except Exception as error:
            self.ended(error)

    def look(self, server, boxes):
        for box in boxes:
            with imaplib.IMAP4("127.0.0.1", server.port("imap")) as imap:
                imap.login(user(box.name), PASSWORD)
                self.look_at(imap, box)

    def look_at(self, imap, box):
        _, [status] = imap.status("INBOX", "(MESSAGES UIDNEXT UIDVALIDITY)")
        figures = dict(re.findall(r"([A-Z]+) (\d+)", status.decode().rpartition("(")[2]))
        uid_next, uid_validity = int(figures["UIDNEXT"]), int(figures["UIDVALIDITY"])
        self.assertEqual(uid_validity, box.uid_validity or uid_validity)
        self.assertGreaterEqual(uid_next, box.uid_next, "UIDNEXT went back")
        imap.select("INBOX", readonly=True)
        found, flagged = {}, set()
        if int(figures["MESSAGES"]):
            _, rows = imap.uid("FETCH", "1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (RETURN-PATH)])")
            for head, field in (row for row in rows if isinstance(row, tuple)):
                uid = int(re.search(rb"UID (\d+)", head).group(1))
                found[uid] = re.search(rb"<(t-[^@]*)@", field).group(1).decode()
                if b"\\Flagged" in head:
                    flagged.add(uid)
        self.assertEqual(len(found), int(figures["MESSAGES"]))
        for uid, token in found.items():
            self.assertEqual(token, box.tokens.get(uid, token), "a UID was given twice")
            self.assertTrue(uid in box.tokens or uid >= box.uid_next, "a UID under UIDNEXT appeared")
            self.assertLess(uid, uid_next)
            self.assertIn(token, self.sent)
        box.tokens.update(found)
        self.assertEqual(len(set(box.tokens.values())), len(box.tokens), "a letter is there twice")
        for uid in set(box.tokens) - set(found):
            self.assertIn(uid, box.maybe_gone, "a letter nobody expunged is gone")
        self.assertFalse(box.gone & set(found), "an expunged letter came back")
        lost = box.acknowledged - set(box.tokens.values())
        self.assertFalse(lost, f"{box.name} lost letters that got 250")
        self.assertFalse((box.flagged - box.maybe_gone) - flagged, "a flag that got OK is lost")
        box.uid_next, box.uid_validity = uid_next, uid_validity

    def compare_bytes(self, server, boxes, letters):
        compared = 0
        for box in boxes:
            with imaplib.IMAP4("127.0.0.1", server.port("imap")) as imap:
                imap.login(user(box.name), PASSWORD)
                imap.select("INBOX", readonly=True)
                _, rows = imap.fetch("1:*", "(BODY.PEEK[])")
                for _, stored in (row for row in rows if isinstance(row, tuple)):
                    trace, sent = split_trace(stored)
                    token = trace["sender"].decode().removesuffix("@crash.example.test")
                    self.assertEqual(sent, letters[self.sent[token]])
                    compared += 1
        return compared
