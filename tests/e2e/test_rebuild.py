"""The index is deleted: at the next start all of it is made again, and nobody is shown an empty mailbox meanwhile.

Mail programs call while the server is still at it. They may be refused, told to come again, or kept waiting; what
they must never see is a mailbox with less in it than before.
"""

import http.client
import imaplib
import poplib
import re
import threading
import time
import unittest

import api
from harness import PASSWORD, Folder, Server, deliver, free_offset, lmtp, user

LETTERS = 100
DOUBLINGS = 6  # of alice's inbox, so that there is something to wait for
NAMES = ["alice", "bob"]


def fill(server):
    with lmtp(server) as sender:
        for number in range(LETTERS):
            letter = f"From: bob@example.test\r\nMessage-ID: <{number}@example.test>\r\nSubject: {number}\r\n\r\nhello\r\n"
            to = [user("alice")] if number % 4 else [user("alice"), user("bob")]
            for code, text in deliver(sender, "bob@example.test", to, letter.encode()):
                assert code == 250, text
    with imaplib.IMAP4("127.0.0.1", server.port("imap")) as imap:
        imap.login(user("alice"), PASSWORD)
        expect_ok(imap.create('"Work/&AUE-"'))
        expect_ok(imap.create("Gone"))
        expect_ok(imap.select("INBOX"))
        for _ in range(DOUBLINGS):
            expect_ok(imap.copy("1:*", "INBOX"))
        expect_ok(imap.copy("1:50", "Gone"))
        expect_ok(imap.delete("Gone"))
        for flags in ("(\\Seen)", "($Work \\Flagged)", "(\\Answered)"):
            expect_ok(imap.store("1:3000", "+FLAGS.SILENT", flags))
        expect_ok(imap.store("5:9", "-FLAGS.SILENT", "(\\Seen)"))
        expect_ok(imap.uid("MOVE", "20:60", '"Work/&AUE-"'))
        # The newest as well: its UID must not be given again.
        expect_ok(imap.store("*", "+FLAGS.SILENT", "(\\Deleted)"))
        expect_ok(imap.store("100:150", "+FLAGS.SILENT", "(\\Deleted)"))
        expect_ok(imap.expunge())
        expect_ok(imap.unsubscribe('"Work/&AUE-"'))


def expect_ok(answer):
    assert answer[0] == "OK", answer


def by_imap(port, name):
    """All mailboxes: what LIST, LSUB, STATUS and FETCH say of them."""
    with imaplib.IMAP4("127.0.0.1", port, timeout=120) as imap:
        imap.login(user(name), PASSWORD)
        found = {"list": imap.list()[1], "lsub": imap.lsub()[1]}
        for line in found["list"]:
            mailbox = line.decode().split(' "/" ')[1]
            status, [figures] = imap.status(mailbox, "(MESSAGES UNSEEN UIDNEXT UIDVALIDITY)")
            expect_ok((status, figures))
            expect_ok(imap.select(mailbox, readonly=True))
            # UID FETCH of an empty mailbox is an OK without rows.
            status, rows = imap.uid("FETCH", "1:*", "(UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
            expect_ok((status, rows))
            found[mailbox] = (figures, [without_recent(row) for row in rows if row not in (None, b")")])
        return found


def without_recent(row):
    """\\Recent is about the session, not about the letter."""
    head, rest = row if isinstance(row, tuple) else (row, b"")
    return re.sub(rb"\\Recent ?", b"", head).replace(b" )", b")"), rest


def by_pop3(port, name):
    pop3 = poplib.POP3("127.0.0.1", port, timeout=120)
    pop3.user(user(name))
    pop3.pass_(PASSWORD)
    found = (pop3.stat(), pop3.uidl()[1])
    pop3.quit()
    return found


class Port:
    """What `api.Session` wants of a server."""

    def __init__(self, number):
        self.number = number

    def port(self, _):
        return self.number


def by_api(port, name):
    with api.Session(Port(port), user(name)) as session:
        mailboxes = session.call("Mailbox/get", ids=None)
        ids = session.call("Email/query", limit=500, collapseThreads=False)
        emails = session.emails(ids["ids"], ["id", "threadId", "mailboxIds", "keywords", "receivedAt", "size"])
        return mailboxes["list"], mailboxes["state"], ids, emails


ASK = {"imap": by_imap, "pop3": by_pop3, "http": by_api}
PORT = {"imap": 1143, "pop3": 1110, "http": 8080}


def see(server):
    return {
        (protocol, name): ask(server.port(protocol), name)
        for protocol, ask in ASK.items()
        for name in NAMES
    }


class Caller(threading.Thread):
    """Calls again and again until somebody answers; keeps what it was shown and when it was let in."""

    def __init__(self, protocol, name, offset):
        super().__init__()
        self.protocol, self.name_of_user, self.port = protocol, name, PORT[protocol] + offset
        self.refused = 0
        self.shown = self.trouble = self.called_at = self.shown_at = None

    def run(self):
        until = time.monotonic() + 120
        while self.shown is None and self.trouble is None and time.monotonic() < until:
            self.called_at = time.monotonic()
            try:
                self.shown = ASK[self.protocol](self.port, self.name_of_user)
                self.shown_at = time.monotonic()
            except ConnectionRefusedError:
                self.refused += 1
                time.sleep(0.002)
            except (imaplib.IMAP4.error, poplib.error_proto, RuntimeError, http.client.HTTPException) as error:
                # "Come again" is an honest answer; anything else is not.
                if not re.search(r"UNAVAILABLE|SYS/TEMP|serverUnavailable|\b503\b", str(error)):
                    self.trouble = repr(error)
                self.refused += 1
                time.sleep(0.02)
            except Exception as error:
                self.trouble = repr(error)


class Rebuild(unittest.TestCase):
    def test_nobody_is_shown_an_empty_mailbox_while_the_index_is_made_again(self):
        with Folder() as folder:
            data = folder / "mail"
            with Server(data=data) as server:
                fill(server)
                before = see(server)
                self.assertEqual(server.stop(), 0)
            inbox, rows = before["imap", "alice"]["INBOX"]
            self.assertGreater(len(rows), LETTERS * 2**DOUBLINGS - 100, inbox)
            with Server(data=data) as server:
                as_usual_s = server.ready_after_s
                self.assertEqual(see(server), before)
                self.assertEqual(server.stop(), 0)
            self.again(data, before, as_usual_s, "index.sqlite*", "stopped")
            # An administrator in a hurry removes one file of three; the others are of another index then.
            self.again(data, before, as_usual_s, "index.sqlite", "killed")
            self.again(data, before, as_usual_s, "index.sqlite*", "killed")

    def again(self, data, before, as_usual_s, files, ended):
        """Ends a server in some way, deletes files of the index, starts again with everybody calling."""
        with self.subTest(deleted=files, server=ended):
            with Server(data=data) as server:
                # A change that is not in the main file of the index yet.
                with imaplib.IMAP4("127.0.0.1", server.port("imap")) as imap:
                    imap.login(user("alice"), PASSWORD)
                    imap.select("INBOX")
                    for sign in "-+":
                        expect_ok(imap.store("1", f"{sign}FLAGS.SILENT", "($Work)"))
                before = see(server)
                if ended == "killed":
                    server.kill()
                else:
                    self.assertEqual(server.stop(), 0)
            deleted = list(data.glob(files))
            self.assertTrue(deleted)
            for file in deleted:
                file.unlink()
            offset = free_offset()
            # Once each: POP3 opens a mailbox for one session at a time (RFC 1939 §3).
            callers = [Caller(protocol, name, offset) for protocol in ASK for name in NAMES]
            for caller in callers:
                caller.start()
            with Server(data=data, offset=offset) as server:
                ready_at = time.monotonic()
                for caller in callers:
                    caller.join()
                for caller in callers:
                    self.assertIsNone(caller.trouble, caller.protocol)
                    self.assertEqual(caller.shown, before[caller.protocol, caller.name_of_user])
                self.assertEqual(see(server), before)
                waited = [ready_at - caller.called_at for caller in callers if caller.called_at < ready_at]
                # Else nobody called while it was made, and this test has seen nothing.
                self.assertEqual({caller.protocol for caller in callers if caller.called_at < ready_at}, set(ASK))
                print(
                    f"rebuild: {files} deleted, server {ended}: ready after {server.ready_after_s * 1000:.0f} ms "
                    f"(else {as_usual_s * 1000:.0f} ms); {len(waited)} of {len(callers)} callers waited, up to "
                    f"{max(waited) * 1000:.0f} ms, and saw all their mail"
                )


if __name__ == "__main__":
    unittest.main()
