"""Real letters in over 8 LMTP connections, and back by every reading protocol: not a byte differs."""

import collections
import imaplib
import os
import poplib
import queue
import threading
import time
import unittest

import api
from harness import PASSWORD, Server, corpus, deliver, lmtp, split_trace, user

LETTERS = int(os.environ.get("E2E_LETTERS", "2500"))
CONNECTIONS = 8
# poplib refuses lines that real letters have.
poplib._MAXLINE = 1 << 20


# A program that calls itself a document: goes to Junk, where it must be found just as it was sent.
JUNK = [
    b"From: x@corpus.example.test\r\nSubject: invoice %d\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=invoice.pdf.exe\r\n"
    b"\r\nMZ\r\n" % number
    for number in range(10)
]


class Corpus(unittest.TestCase):
    def test_every_byte_comes_back(self):
        letters = corpus(LETTERS) + JUNK
        self.assertGreaterEqual(len(letters), 1000 + len(JUNK))
        with Server() as server:
            began = time.monotonic()
            self.send(server, letters)
            took = time.monotonic() - began
            print(f"corpus: {len(letters)} letters in over {CONNECTIONS} LMTP connections in {took:.1f} s")
            inbox = self.by_imap(server, "INBOX")
            junk = self.by_imap(server, "Junk")
            self.compare("IMAP", letters, inbox + junk)
            print(f"corpus: {len(inbox)} in INBOX, {len(junk)} in Junk")
            self.assertGreaterEqual(len(junk), len(JUNK))
            for letter in junk:
                self.assertEqual(split_trace(letter)[0]["junk"], b"Yes")
            # POP3 sees the inbox only.
            by_pop3 = self.by_pop3(server)
            self.assertEqual(collections.Counter(by_pop3), collections.Counter(inbox))
            print(f"corpus: POP3 0 of {len(by_pop3)} differ from IMAP's INBOX")
            self.compare("API", letters, self.by_api(server))

    def send(self, server, letters):
        waiting = queue.SimpleQueue()
        for number, letter in enumerate(letters):
            waiting.put((number, letter))
        refused = []

        def sender():
            try:
                send_all()
            except Exception as error:
                refused.append(repr(error))

        def send_all():
            with lmtp(server) as session:
                while True:
                    try:
                        number, letter = waiting.get_nowait()
                    except queue.Empty:
                        return
                    answers = deliver(session, f"letter-{number}@corpus.example.test", [user("alice")], letter)
                    refused.extend((number, answer) for answer in answers if answer[0] != 250)

        threads = [threading.Thread(target=sender) for _ in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(refused, [])
        self.assertTrue(waiting.empty())

    def compare(self, how, letters, stored):
        """The sender's address names the letter; our trace block is taken off; the rest must be equal."""
        found = {}
        for letter in stored:
            trace, sent = split_trace(letter)
            sender = trace["sender"].decode()
            self.assertNotIn(sender, found, "delivered twice")
            found[sender] = sent
        differ = [n for n, letter in enumerate(letters) if found.get(f"letter-{n}@corpus.example.test") != letter]
        self.assertEqual(differ, [], f"{how}: these differ")
        self.assertEqual(len(found), len(letters))
        print(f"corpus: {how} {len(differ)} of {len(letters)} differ")

    def by_imap(self, server, mailbox):
        with imaplib.IMAP4("127.0.0.1", server.port("imap")) as imap:
            imap.login(user("alice"), PASSWORD)
            _, [count] = imap.select(mailbox, readonly=True)
            letters = []
            for first in range(1, int(count) + 1, 200):
                last = min(first + 199, int(count))
                status, rows = imap.fetch(f"{first}:{last}", "(UID RFC822.SIZE BODY.PEEK[])")
                self.assertEqual(status, "OK")
                rows = [row for row in rows if isinstance(row, tuple)]
                for head, letter in rows:
                    self.assertIn(b"RFC822.SIZE %d " % len(letter), head + b" ")
                    letters.append(letter)
            self.assertEqual(len(letters), int(count))
            return letters

    def by_pop3(self, server):
        pop3 = poplib.POP3("127.0.0.1", server.port("pop3"), timeout=60)
        pop3.user(user("alice"))
        pop3.pass_(PASSWORD)
        count, size = pop3.stat()
        letters = []
        for number in range(1, count + 1):
            _, lines, _ = pop3.retr(number)
            letters.append(b"".join(line + b"\r\n" for line in lines))
        self.assertEqual(sum(map(len, letters)), size)
        pop3.quit()
        return letters

    def by_api(self, server):
        with api.Session(server, user("alice")) as session:
            ids = session.all_email_ids()
            return [session.blob(email["blobId"]) for email in session.emails(ids, ["id", "blobId", "size"])]
