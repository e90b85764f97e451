"""Several letters in one APPEND, letters put together here, drafts replaced; with `kill -9` in the middle of them."""

import contextlib
import imaplib
import os
import random
import re
import threading
import unittest

from harness import PASSWORD, Folder, Server, Talk, user

ROUNDS = 8
SEED = int(os.environ.get("E2E_SEED", random.SystemRandom().randrange(1 << 32)))


def letter(token):
    """What a token stands for; some are larger than one write of a socket."""
    lines = sum(token.encode()) % 50 * (40 if token.endswith("7") else 1)
    return f"Subject: {token}\r\n\r\n" + f"{token} and so on\r\n" * lines


def inbox(server, name):
    """UID -> bytes."""
    with imaplib.IMAP4("127.0.0.1", server.port("imap")) as client:
        client.login(user(name), PASSWORD)
        client.select("INBOX")
        rows = client.uid("FETCH", "1:*", "(BODY.PEEK[])")[1]
        rows = [row for row in rows if isinstance(row, tuple)]
        return {int(re.search(rb"UID (\d+)", head)[1]): text for head, text in rows}


class Writer:
    """One who uploads to the inbox of his own, and what should be in it."""

    def __init__(self, name):
        self.name = name
        self.letters = {}  # UID -> token
        self.next = 1  # UIDNEXT
        self.step = None  # under way: UIDs that go, tokens that come
        self.done = self.replaced = self.count = 0

    def run(self, server, dice):
        with contextlib.suppress(OSError), Talk(server.port("imap")) as talk:
            talk.until("* OK")
            talk.send(f"a LOGIN {user(self.name)} {PASSWORD}\r\nb SELECT INBOX\r\n")
            if not talk.until("b ")[-1]:
                return
            while self.change(talk, dice):
                pass

    def change(self, talk, dice):
        """One change; false when the server is gone."""
        self.count += 1
        replace = bool(self.letters) and dice.random() < 0.4
        tokens = [f"{self.name}{self.count}of{n}" for n in range(1 if replace else dice.randint(1, 6))]
        gone = [dice.choice(sorted(self.letters))] if replace else []
        self.step = (gone, tokens)
        texts = [letter(token) for token in tokens]
        literals = "".join(f" (\\Draft) {{{len(text)}+}}\r\n{text}" for text in texts)
        verb = f"UID REPLACE {gone[0]}" if replace else "APPEND"
        talk.send(f"c {verb} INBOX{literals}\r\n")
        lines = talk.until("c ")
        if not lines[-1]:
            return False
        assert lines[-1].startswith("c OK"), lines[-1]
        given = re.search(r"\[APPENDUID \d+ (\d+)(?::(\d+))?\]", "\n".join(lines))
        first, last = int(given[1]), int(given[2] or given[1])
        assert (first, last) == (self.next, self.next + len(tokens) - 1), (lines, self.next)
        self.apply()
        self.done += 1
        self.replaced += replace
        return True

    def apply(self):
        gone, tokens = self.step
        for uid in gone:
            del self.letters[uid]
        for token in tokens:
            self.letters[self.next] = token
            self.next += 1
        self.step = None

    def look(self, server):
        """All that was answered is there; of what was under way all or nothing. True: all of it."""
        found = inbox(server, self.name)
        kept = False
        if self.step and set(found) != set(self.letters):
            self.apply()
            kept = True
        self.step = None
        expect = {uid: letter(token).encode() for uid, token in self.letters.items()}
        assert set(found) == set(expect), (sorted(found), sorted(expect))
        for uid, text in expect.items():
            assert found[uid] == text, (uid, found[uid][:200], text[:200])
        return kept


class Upload(unittest.TestCase):
    def test_kill_9_among_many_letters_at_once_and_replaced_drafts(self):
        print(f"upload: E2E_SEED={SEED} repeats this run")
        dice = random.Random(SEED)
        writers = [Writer(name) for name in ("alice", "bob", "u0000", "u0001")]
        kept = under_way = 0
        with Folder() as folder:
            with Server("--users", "2", data=folder / "mail"):
                pass
            for _ in range(ROUNDS):
                with Server("--users", "2", data=folder / "mail") as server:
                    threads = []
                    for writer in writers:
                        args = (server, random.Random(dice.random()))
                        threads.append(threading.Thread(target=writer.run, args=args))
                    for thread in threads:
                        thread.start()
                    threading.Event().wait(dice.uniform(0.05, 0.4))
                    server.kill()
                    for thread in threads:
                        thread.join()
                under_way += sum(writer.step is not None for writer in writers)
                with Server("--users", "2", data=folder / "mail") as server:
                    kept += sum(writer.look(server) for writer in writers)
        done = sum(writer.done for writer in writers)
        replaced = sum(writer.replaced for writer in writers)
        print(
            f"upload: {ROUNDS} kills, {done} uploads with OK ({replaced} replaced a draft), 0 lost; of {under_way} "
            f"under way {kept} were kept whole, none by half"
        )
        self.assertGreater(replaced, ROUNDS)
        self.assertGreater(done - replaced, ROUNDS)

    def test_a_letter_is_put_together_from_others(self):
        with Server() as server, Talk(server.port("imap")) as talk:
            talk.until("* OK")
            head, body = "Subject: old\r\nX-Kept: yes\r\n\r\n", "the text of it\r\n"
            talk.send(f"a LOGIN {user('alice')} {PASSWORD}\r\n")
            self.assertRegex(talk.until("a ")[-1], r" CATENATE .* MULTIAPPEND .* REPLACE ")
            talk.send(f"b APPEND INBOX {{{len(head + body)}+}}\r\n{head}{body}\r\nc SELECT INBOX\r\n")
            talk.until("c ")
            new = "Subject: new\r\n"
            urls = 'URL "/INBOX/;UID=1/;SECTION=HEADER" URL "/INBOX/;UID=1/;SECTION=TEXT"'
            pieces = f"TEXT {{{len(new)}+}}\r\n{new} {urls}"
            talk.send(f"d UID REPLACE 1 INBOX (\\Seen) CATENATE ({pieces})\r\n")
            lines = talk.until("d ")
            self.assertIn("* 1 EXPUNGE", lines)
            self.assertTrue(lines[-1].startswith("d OK"), lines)
            self.assertEqual(inbox(server, "alice"), {2: (new + head + body).encode()})
            talk.send('f APPEND INBOX CATENATE (URL "/INBOX/;UID=1")\r\n')
            self.assertTrue(talk.until("f ")[-1].startswith("f NO [BADURL /INBOX/;UID=1]"))
