"""fsck, inspect, backup, restore, export, import: the real binary beside and without a running server."""

import imaplib
import json
import mailbox
import os
import signal
import subprocess
import threading
import time
import unittest

from harness import BINARY, PASSWORD, Folder, Server, corpus, deliver, lmtp, user

USERS = ["alice", "bob", "u0000", "u0001"]


def run(*arguments, expect=0, stdin=None):
    """Runs a command; gives back what it printed."""
    done = subprocess.run(
        [str(BINARY), *map(str, arguments)], input=stdin, capture_output=True, timeout=300, text=True
    )
    if done.returncode != expect:
        raise AssertionError(f"{arguments}: exit {done.returncode}, not {expect}\n{done.stdout}\n{done.stderr}")
    return done.stdout + done.stderr


def fetch_all(server):
    """Every message of every user: mailbox, flags, date, bytes."""
    found = []
    for name in USERS:
        with imaplib.IMAP4("127.0.0.1", server.port("imap")) as imap:
            imap.login(user(name), PASSWORD)
            for line in imap.list()[1]:
                folder = line.decode().split(' "/" ')[1]
                status, [count] = imap.select(folder, readonly=True)
                if status != "OK" or count == b"0":
                    continue
                _, rows = imap.fetch("1:*", "(UID FLAGS INTERNALDATE BODY.PEEK[])")
                for row in rows:
                    if isinstance(row, tuple):
                        head = row[0].partition(b"(")[2].replace(b"\\Recent", b"").replace(b"( ", b"(")
                        found.append((name, folder, head, row[1]))
    return found


def fill(server, letters):
    with lmtp(server) as session:
        for number, letter in enumerate(letters):
            to = [user(USERS[number % 4])] if number % 5 else [user(name) for name in USERS[:2]]
            for code, text in deliver(session, "sender@example.test", to, letter):
                assert code == 250, text
    with imaplib.IMAP4("127.0.0.1", server.port("imap")) as imap:
        imap.login(user("alice"), PASSWORD)
        imap.create('"G&APM-ry/v1.2"')
        imap.select("INBOX")
        imap.store("1:9", "+FLAGS", "(\\Flagged $Work)")
        imap.store("4:12", "+FLAGS", "(\\Seen)")
        imap.copy("3:6", '"G&APM-ry/v1.2"')
        imap.store("2", "+FLAGS", "(\\Deleted)")
        imap.expunge()


class Tools(unittest.TestCase):
    def test_a_store_goes_through_all_tools(self):
        letters = corpus(120)
        with Folder() as folder:
            data = folder / "mail"
            with Server("--users", "2", data=data) as server:
                fill(server, letters)
                said = run("fsck", "--data", data)
                self.assertIn(f"process {server.pid()}", said)
                self.assertIn("Everything is fine", said)
                before = fetch_all(server)
                self.assertGreater(len(before), 120)
                # What changes the folder waits for the server to stop, and says whose it is.
                for command in (["fsck", "--repair"], ["import", "--account", user("bob"), "--mbox", folder]):
                    self.assertIn(f"process {server.pid()}", run(*command, "--data", data, expect=1))
                self.backup_under_load(server, data, folder / "backup", letters)
                live = fetch_all(server)
                run("backup", folder / "backup", "--data", data)
                said = run("backup", folder / "backup", "--data", data)
                self.assertIn("copied", said)
                run("export", "--data", data, "--maildir", folder / "out")
                run("export", "--data", data, "--mbox", folder / "mbox")
            self.assertEqual(json.loads(run("fsck", "--json", "--data", data))["fine"], True)
            self.restored(folder, live)
            self.packed(folder / "restored", live)
            self.foreign_readers(folder)
            self.imported(folder, data)
            self.flipped(folder, data, live)

    def backup_under_load(self, server, data, backup, letters):
        sending = threading.Thread(target=fill, args=(server, letters))
        sending.start()
        rounds = 0
        while sending.is_alive() or not rounds:
            self.assertIn("copied", run("backup", backup, "--data", data))
            rounds += 1
        sending.join()
        self.assertIn("Everything is fine", run("fsck", "--data", data))

    def packed(self, data, live):
        """All in packs, and every letter as before; a server that runs keeps its folder."""
        with Server("--users", "2", data=data) as server:
            self.assertIn(f"process {server.pid()}", run("pack", "--data", data, expect=1))
        raw = self.log_bytes(data)
        said = run("pack", "--data", data)
        self.assertRegex(said, r"[1-9]\d* segments? packed now")
        self.assertLess(self.log_bytes(data), raw * 3 // 4)
        self.assertIn("0 segments packed now", run("pack", "--data", data))
        with Server("--users", "2", data=data) as server:
            self.assertEqual(fetch_all(server), live)
        self.assertIn("no mail store", run("pack", "--data", data / "log", expect=1))

    def log_bytes(self, data):
        return sum(file.stat().st_size for file in data.glob("log/**/*") if file.is_file())

    def restored(self, folder, live):
        restored = folder / "restored"
        run("restore", folder / "backup", "--data", restored)
        self.assertIn("not empty", run("restore", folder / "backup", "--data", restored, expect=1))
        with Server("--users", "2", data=restored) as server:
            self.assertEqual(fetch_all(server), live)
        alone = folder / "alone"
        run("restore", folder / "backup", "--account", user("bob"), "--data", alone)
        overview = json.loads(run("inspect", "--json", "--data", alone))
        self.assertEqual([row["account"] for row in overview["accounts"]], [user("bob")])
        bobs = [row for row in live if row[0] == "bob"]
        self.assertEqual(overview["accounts"][0]["messages"], len(bobs))

    def foreign_readers(self, folder):
        """What Python's own readers of Maildir and mbox see."""
        alice = folder / "out" / user("alice")
        maildir = mailbox.Maildir(alice, create=False)
        mbox = mailbox.mbox(folder / "mbox" / user("alice") / "INBOX.mbox", create=False)
        self.assertEqual(len(maildir), len(mbox))
        self.assertIn("G&APM-ry.v1&AC4-2", maildir.list_folders())
        flags = sorted(letter.get_flags() for letter in maildir)
        self.assertTrue(any("F" in text for text in flags))

    def imported(self, folder, data):
        """A fresh account gets an export; killed in the middle, then again: no doubles, nothing missing."""
        target = folder / "fresh"
        run("account", "add", user("carol"), "--data", target, stdin="secret\n")
        source = folder / "out" / user("alice")
        command = ["import", "--account", user("carol"), "--maildir", source, "--data", target]
        total = sum(len(names) for path, _, names in os.walk(source) if path.endswith("cur"))
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        started = subprocess.Popen([str(BINARY), *map(str, command)], **quiet)
        time.sleep(0.05)
        started.send_signal(signal.SIGKILL)
        started.wait()
        run(*command)
        said = run(*command)
        self.assertIn(f": 0 letters imported, {total} there already", said)
        overview = json.loads(run("inspect", "--json", "--data", target))
        self.assertEqual(overview["accounts"][0]["messages"], total)
        run("export", "--data", target, "--maildir", folder / "again")
        first, second = self.tree(source), self.tree(folder / "again" / user("carol"))
        self.assertEqual(first, second)
        self.assertIn("Everything is fine", run("fsck", "--data", target))

    def tree(self, root):
        """Folder, flags, date and bytes of every letter of a Maildir."""
        found = []
        for path in root.glob("**/cur/*"):
            name = path.name
            flags, date = name.rpartition(":2,")[2], int(path.stat().st_mtime)
            found.append((str(path.parent.relative_to(root)), flags, date, path.read_bytes()))
        return sorted(found)

    def flipped(self, folder, data, live):
        """One bit, then three, in a letter: named, repaired, served again or taken out."""
        segment = data / "log/0000000000000001.seg"
        frames = [json.loads(line) for line in run("inspect", "1", "--json", "--data", data).splitlines()]
        frame = next(row for row in frames if 1000 < (row["letterBytes"] or 0) < 20000)
        at = frame["offset"] + 64 + frame["letterBytes"] - 20
        with open(segment, "r+b") as file:
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 16]))
        said = run("fsck", "--data", data, expect=1)
        self.assertIn("bit-flipped", said)
        self.assertIn("INBOX, UID", said)
        self.assertIn("put right", run("fsck", "--repair", "--data", data, expect=1))
        self.assertIn("Everything is fine", run("fsck", "--data", data))
        with Server("--users", "2", data=data) as server:
            self.assertEqual(fetch_all(server), live)
        os.remove(data / "index.sqlite")
        self.assertIn("index-missing", run("fsck", "--data", data, expect=1))
        with Server("--users", "2", data=data) as server:
            self.assertEqual(fetch_all(server), live)

    def test_a_store_that_a_tool_cannot_read_is_named(self):
        with Folder() as folder:
            database = folder / "openpoczta.toml"
            database.write_text('[data]\nstore = "postgres://op:secret@127.0.0.1:1/op"\n')
            for command in (
                ["fsck"],
                ["fsck", "--repair"],
                ["inspect"],
                ["inspect", "1"],
                ["pack"],
                ["backup", folder / "b"],
                ["export", "--mbox", folder / "m"],
            ):
                self.assertIn("pg_dump", run(*command, "--config", database, expect=2))
            self.assertFalse((folder / "b").exists() or (folder / "m").exists())

    def test_wrong_usage_is_named(self):
        with Folder() as folder:
            self.assertIn("there is no mail store", run("fsck", "--data", folder, expect=1))
            self.assertIn("--config", run("fsck", expect=2))
            self.assertIn("no list BACKUP", run("restore", folder, "--data", folder / "x", expect=1))
            self.assertIn("2026-11-22", run("restore", folder, "--data", folder / "x", "--until", "soon", expect=2))
            self.assertIn("no address", run("export", "--data", folder, "--mbox", folder, "--account", "@", expect=1))
