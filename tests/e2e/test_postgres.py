"""Mail in a PostgreSQL database: delivered, read, there after a restart, shared by two servers."""

import imaplib
import os
import pathlib
import smtplib
import subprocess
import tempfile
import unittest

from harness import PASSWORD, ROOT, Folder, Server, free_offset, split_trace, user
from test_basics import LETTER

CLUSTER = ROOT / "tests/postgres/cluster.sh"


def database():
    """The address of an empty database; its server ends with this process."""
    return subprocess.run([CLUSTER, str(os.getpid())], check=True, capture_output=True, text=True).stdout.strip()


def deliver(server, letter=LETTER, name="alice"):
    with smtplib.LMTP("127.0.0.1", server.port("lmtp"), timeout=20) as lmtp:
        refused = lmtp.sendmail("x@example.test", [user(name)], letter)
        assert refused == {}, refused


def inbox(server, name="alice"):
    """UIDVALIDITY and (UID, flags, letter) of all messages."""
    imap = imaplib.IMAP4("127.0.0.1", server.port("imap"), timeout=20)
    imap.login(user(name), PASSWORD)
    imap.select("INBOX", readonly=True)
    validity = imap.response("UIDVALIDITY")[1][0]
    _, rows = imap.fetch("1:*", "(UID FLAGS BODY.PEEK[])")
    rows = [(row[0].split(b"BODY[]")[0], row[1]) for row in rows if isinstance(row, tuple)]
    imap.logout()
    return validity, rows


class Postgres(unittest.TestCase):
    def test_mail_is_there_after_a_restart_and_a_kill(self):
        store = database()
        with Server("--store", store) as server:
            for n in range(20):
                deliver(server, LETTER.replace(b"hello", b"letter %d" % n))
            before = inbox(server)
            self.assertEqual(len(before[1]), 20)
            self.assertEqual(split_trace(before[1][3][1])[1], LETTER.replace(b"hello", b"letter 3"))
            self.assertEqual(server.stop(), 0)
        with Server("--store", store) as server:
            self.assertEqual(inbox(server), before)
            deliver(server)
            with imaplib.IMAP4("127.0.0.1", server.port("imap"), timeout=20) as imap:
                imap.login(user("alice"), PASSWORD)
                imap.select("INBOX")
                imap.store("1:5", "+FLAGS", r"(\Deleted)")
                imap.expunge()
            server.kill()
        with Server("--store", store) as server:
            validity, rows = inbox(server)
            self.assertEqual(validity, before[0])
            self.assertEqual(rows[:15][0][1], before[1][5][1])
            self.assertEqual(len(rows), 16)

    def test_two_servers_share_a_database(self):
        store = database()
        with Server("--store", store) as one, Server("--store", store) as two:
            imap = imaplib.IMAP4("127.0.0.1", two.port("imap"), timeout=20)
            imap.login(user("bob"), PASSWORD)
            imap.select("INBOX")
            for n in range(10):
                deliver(one if n % 2 else two, name="bob")
            imap.noop()
            self.assertEqual(imap.search(None, "ALL")[1], [b"1 2 3 4 5 6 7 8 9 10"])
            imap.logout()
            self.assertEqual(inbox(one, "bob"), inbox(two, "bob"))

    def test_an_address_that_leads_nowhere_is_named_without_its_password(self):
        with tempfile.TemporaryFile() as said:
            command = [os.environ["OPENPOCZTA"], "demo", "--base-port-offset", str(free_offset())]
            command += ["--store", "postgres://mail:s3cret@127.0.0.1:9/mail"]
            code = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=said, timeout=60).returncode
            said.seek(0)
            text = said.read().decode()
        self.assertEqual(code, 1)
        self.assertIn("postgres://mail@127.0.0.1:9/mail", text)
        self.assertNotIn("s3cret", text)

    def test_serve_reads_the_address_from_its_file(self):
        store = database()
        with Folder() as folder:
            config = pathlib.Path(folder, "openpoczta.toml")
            port = 1143 + free_offset()
            listeners = "".join(f"[{name}]\nlisten = []\n" for name in ("smtp", "lmtp", "submission", "pop3", "http"))
            config.write_text(
                f"[data]\nfolder = '{folder}/none'\nstore = '{store}'\n{listeners}[imap]\nlisten = ['127.0.0.1:{port}']\n"
            )
            binary = os.environ["OPENPOCZTA"]
            added = subprocess.run(
                [binary, "account", "add", user("carol"), "--config", config], input="secret\n", text=True, timeout=60
            )
            self.assertEqual(added.returncode, 0)
            with Server(config=config) as server:
                self.assertEqual(inbox(server, "carol")[1], [])
            # What leaves and what was judged is kept by each server; mail is not.
            kept = {path.name for path in pathlib.Path(folder, "none").iterdir()}
            self.assertLessEqual(kept, {"queue", "spam"})


if __name__ == "__main__":
    unittest.main()
