"""Mail programs people use, against a started server: every letter arrives with the bytes it has here, in both directions
where the program goes both ways. mbsync, offlineimap, fetchmail, getmail and mpop come from Debian, imapflow from npm,
IMAPClient from PyPI. A program that is not there fails its test: `./test.sh` installs them, which takes a network.

mbsync and fetchmail do it over TLS as well, and check the certificate; `E2E_CLIENTS_TLS=1` lets offlineimap, IMAPClient
and imapflow use STARTTLS, too.
"""

import collections
import contextlib
import hashlib
import imaplib
import json
import os
import pathlib
import shutil
import subprocess
import unittest

import test_tls
from harness import PASSWORD, ROOT, Certificate, Folder, Server, corpus, deliver, lmtp, user

TLS = os.environ.get("E2E_CLIENTS_TLS") == "1"
LETTERS = 40
ME = user("alice")
CLIENTS = pathlib.Path(__file__).resolve().parent / "clients"
POLISH = "Zażółć"
POLISH_ON_WIRE = "Za&AXwA8wFCAQc-"
LETTER = b"From: bob@example.test\r\nTo: alice@example.test\r\nSubject: from the disk\r\nMessage-ID: <%d@example.test>\r\n\r\n\xc5\xbc %d\r\n"


@contextlib.contextmanager
def serving(tls):
    """A server, with a certificate in `server.certificate` when `tls`."""
    if not tls:
        with Server() as server:
            yield server
        return
    with Folder() as folder:
        # Some programs look for the address among the names.
        certificate = Certificate(folder, test_tls.NAME, test_tls.NAME, "127.0.0.1")
        with test_tls.serving([certificate], folder) as server:
            server.certificate = certificate
            yield server


def program(name):
    path = shutil.which(name)
    if path is None:
        raise AssertionError(f"{name} is not installed: ./test.sh installs it, and needs a network to do so")
    return path


def run(folder, name, *arguments, okay=(0,), **more):
    """A program to its end, with `folder` for its home."""
    env = {"HOME": str(folder), "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "USER": "alice"}
    command = [program(name), *(str(argument) for argument in arguments)]
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, timeout=60, stdin=subprocess.DEVNULL, **more)
    said = (done.stdout + done.stderr).decode("utf-8", "replace")
    assert done.returncode in okay, f"{name} ended with {done.returncode}:\n{said[-3000:]}"
    return said


def private(path, text):
    path.write_text(text)
    path.chmod(0o600)
    return path


class Box:
    """The account as Python's imaplib sees it."""

    def __init__(self, server):
        self.imap = imaplib.IMAP4("127.0.0.1", server.port("imap"), timeout=30)
        self.imap.login(ME, PASSWORD)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.imap.logout()

    def select(self, name="INBOX"):
        code, [count] = self.imap.select(name)
        assert code == "OK", (name, count)
        return int(count)

    def letters(self, name="INBOX"):
        """UID to the bytes."""
        if not self.select(name):
            return {}
        _, rows = self.imap.fetch("1:*", "(UID BODY.PEEK[])")
        return {int(row[0].split(b"UID ")[1].split()[0]): row[1] for row in rows if isinstance(row, tuple)}

    def flags(self, uid):
        return self.imap.uid("FETCH", str(uid), "(FLAGS)")[1][0].decode()

    def folders(self):
        return [row.decode().rsplit(" ", 1)[1].strip('"') for row in self.imap.list()[1]]


def fill(server):
    with lmtp(server) as sender:
        for letter in corpus(LETTERS):
            # The line of the mbox they were kept in is no part of a letter, and programs take it away.
            letter = letter.partition(b"\r\n")[2] if letter.startswith(b"From ") else letter
            assert deliver(sender, "bob@example.test", [ME], letter)[0][0] == 250
    with Box(server) as box:
        # What the filter takes for junk is looked at too: all into the inbox.
        if box.select("Junk"):
            box.imap.uid("MOVE", "1:*", "INBOX")
        assert len(box.letters()) == LETTERS


def crlf(raw):
    return raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def files(maildir):
    """Path to bytes, lines ended as on the wire."""
    found = [path for part in ("cur", "new") for path in (maildir / part).iterdir()]
    return {path: path.read_bytes() for path in found}


class Clients(unittest.TestCase):
    maxDiff = 2000

    def same(self, ours, theirs):
        """The same letters, each as often; the first difference is shown."""
        ours, theirs = collections.Counter(ours), collections.Counter(theirs)
        if ours != theirs:
            one = next(iter(ours - theirs), b"")
            common = lambda other: len(os.path.commonprefix([one, other]))
            other = max(theirs - ours, key=common, default=b"")
            at = common(other)
            self.fail(f"{len(ours - theirs)} letters only on the server, {len(theirs - ours)} only with the client; "
                      f"one at byte {at}: {one[at:at + 300]!r} and {other[at:at + 300]!r}")

    def both_ways(self, server, folder, mail, sync, inbox, adds_headers=False):
        """The common part of the programs that keep a Maildir and the server alike."""
        def without(raw):
            if not adds_headers:
                return raw
            return b"".join(line for line in raw.splitlines(True) if not line.startswith((b"X-TUID:", b"X-OfflineIMAP:")))
        with Box(server) as box:
            sync()
            here = mail / inbox
            self.same(map(crlf, box.letters().values()), [without(crlf(raw)) for raw in files(here).values()])
            self.assertEqual(len(files(here)), LETTERS)
            # A letter and a flag on the disk; a letter, a flag and a deleted one here.
            first = min(files(here), key=lambda path: path.name)
            seen_bytes = without(crlf(first.read_bytes()))
            name = first.name.split(":2,")
            first.rename(here / "cur" / f"{name[0]}:2,FS")
            (here / "new" / "1700000000.1_1.host").write_bytes((LETTER % (1, 1)).replace(b"\r\n", b"\n"))
            uids = sorted(uid for uid, raw in box.letters().items() if crlf(raw) != seen_bytes)
            gone, flagged = uids[0], uids[-1]
            gone_bytes, flagged_bytes = (crlf(box.letters()[uid]) for uid in (gone, flagged))
            box.imap.uid("STORE", str(gone), "+FLAGS", r"(\Deleted)")
            box.imap.expunge()
            box.imap.uid("STORE", str(flagged), "+FLAGS", r"(\Answered)")
            self.assertEqual(box.imap.create(POLISH_ON_WIRE)[0], "OK")
            box.imap.append(POLISH_ON_WIRE, None, None, LETTER % (2, 2))
            sync()
            on_server = box.letters()
            self.assertEqual(len(on_server), LETTERS)
            self.same((without(crlf(raw)) for raw in on_server.values()), [without(crlf(raw)) for raw in files(here).values()])
            self.assertNotIn(gone_bytes, [without(crlf(raw)) for raw in files(here).values()])
            self.assertIn(crlf(LETTER % (1, 1)), [without(raw) for raw in on_server.values()])
            [uid] = [uid for uid, raw in on_server.items() if crlf(raw) == seen_bytes]
            self.assertRegex(box.flags(uid), r"(?=.*\\Seen)(?=.*\\Flagged)")
            [path] = [path for path, raw in files(here).items() if without(crlf(raw)) == flagged_bytes]
            self.assertIn("R", path.name.split(":2,")[1])
            # A deleted one on the disk, and what both had changed is not sent again.
            path.unlink()
            sync()
            sync()
            self.assertEqual(len(box.letters()), LETTERS - 1)
            self.assertNotIn(flagged_bytes, map(crlf, box.letters().values()))
            self.same((without(crlf(raw)) for raw in box.letters().values()), [without(crlf(raw)) for raw in files(here).values()])

    def test_mbsync(self):
        self.mbsync(tls=False, mechanism="LOGIN")

    def test_mbsync_over_tls_with_scram(self):
        self.mbsync(tls=True, mechanism="SCRAM-SHA-256")

    def mbsync(self, tls, mechanism):
        program("mbsync")
        with serving(tls) as server, Folder() as folder:
            fill(server)
            how = f"SSLType STARTTLS\nCertificateFile {server.certificate.cert}" if tls else "SSLType None"
            mail = folder / "mail"
            mail.mkdir()
            config = private(folder / "mbsyncrc", f"""
IMAPAccount server
Host 127.0.0.1
Port {server.port("imap")}
User {ME}
Pass {PASSWORD}
{how}
AuthMechs {mechanism}

IMAPStore far
Account server

MaildirStore near
Path {mail}/
Inbox {mail}/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
SyncState *
""")
            self.both_ways(server, folder, mail, lambda: run(folder, "mbsync", "-c", config, "-a"), "INBOX", adds_headers=True)
            # mbsync keeps the name as it is on the wire, and makes on the server what it finds here.
            self.assertEqual(len(files(mail / POLISH_ON_WIRE)), 1)
            own = "&AUE-owicz"
            for part in ("cur", "new", "tmp"):
                (mail / own / part).mkdir(parents=True)
            (mail / own / "new" / "1700000000.2_1.host").write_bytes(LETTER % (3, 3))
            run(folder, "mbsync", "-c", config, "-a")
            with Box(server) as box:
                self.assertIn(own, box.folders())
                self.assertEqual(len(box.letters(own)), 1)

    def test_offlineimap(self):
        program("offlineimap")
        with serving(TLS) as server, Folder() as folder:
            fill(server)
            mail = folder / "mail"
            der = server.certificate.der if TLS else b""
            config = private(folder / "offlineimaprc", f"""
[general]
accounts = server
metadata = {folder}/state
[Account server]
localrepository = near
remoterepository = far
[Repository near]
type = Maildir
localfolders = {mail}
[Repository far]
type = IMAP
remotehost = 127.0.0.1
remoteport = {server.port("imap")}
remoteuser = {ME}
remotepass = {PASSWORD}
ssl = no
starttls = {"yes" if TLS else "no"}
cert_fingerprint = {hashlib.sha1(der).hexdigest()}
auth_mechanisms = LOGIN
""")
            sync = lambda: run(folder, "offlineimap", "-c", config, "-o", "-u", "quiet")
            self.both_ways(server, folder, mail, sync, "INBOX", adds_headers=True)
            self.assertEqual(len(files(mail / POLISH_ON_WIRE)), 1)
            with Box(server) as box:
                self.assertFalse([raw for raw in box.letters().values() if b"X-OfflineIMAP:" in raw],
                                 "with UIDPLUS it needs no header of its own")

    def fetched(self, name, files_of, config, *arguments, port, told=lambda raw: raw, tls=False):
        """A program that takes letters away once; `port` is the listener it asks. `told`: what of a letter it leaves as it was.
        With `tls` the certificate lies in its folder."""
        program(name)
        with serving(tls) as server, Folder() as folder:
            if tls:
                shutil.copy(server.certificate.cert, folder / "server.pem")
            fill(server)
            for part in ("cur", "new", "tmp"):
                (folder / "mail" / part).mkdir(parents=True)
            with Box(server) as box:
                before = [crlf(raw) for raw in box.letters().values()]
            path = private(folder / "rc", config(server.port(port), folder))
            run(folder, name, *(str(part).replace("RC", str(path)) for part in arguments))
            after = [crlf(raw) for raw in files_of(folder)]
            self.assertEqual(len(after), LETTERS)
            self.same(map(told, before), map(told, after))

    def test_fetchmail_over_imap_and_pop3(self):
        self.fetchmail(tls=False)

    def test_fetchmail_over_tls(self):
        self.fetchmail(tls=True)

    def fetchmail(self, tls):
        for protocol in ("imap", "pop3"):
            with self.subTest(protocol=protocol):
                how = f'sslproto "TLS1.2+" sslcertck sslcertfile server.pem sslcommonname "{test_tls.NAME}"' if tls else 'sslproto ""'
                # The delivery agent: a file for each letter.
                agent = "sh -c 'cat > $(mktemp mail/new/XXXXXXXX)'"
                config = lambda port, folder: (
                    f'set no bouncemail\npoll 127.0.0.1 protocol {protocol} port {port} auth password:\n'
                    f'  user "{ME}" password "{PASSWORD}" {how} mda "{agent}" no rewrite keep fetchall no mimedecode pass8bits\n'
                )
                self.fetched("fetchmail", lambda folder: map(without_fetchmail, files(folder / "mail").values()), config,
                             "--fetchmailrc", "RC", "--invisible", "--nodetach", "--nosyslog", "--pidfile", "pid", port=protocol, tls=tls)

    def test_getmail_over_imap_and_pop3(self):
        for kind, port in (("SimpleIMAPRetriever", "imap"), ("SimplePOP3Retriever", "pop3")):
            with self.subTest(kind=kind):
                config = lambda number, folder: (
                    f"[retriever]\ntype = {kind}\nserver = 127.0.0.1\nport = {number}\nusername = {ME}\npassword = {PASSWORD}\n"
                    # Its own Maildir does not work for root, and CI is often that.
                    f"[destination]\ntype = MDA_external\npath = /bin/sh\narguments = ('-c', 'cat > $(mktemp {folder}/mail/new/XXXXXXXX)')\n"
                    f"allow_root_commands = true\n[options]\ndelivered_to = false\nreceived = false\nverbose = 0\n"
                )
                self.fetched("getmail", lambda folder: files(folder / "mail").values(), config,
                             "--rcfile", "RC", "--getmaildir", ".", port=port, told=tamed)

    def test_mpop(self):
        config = lambda port, folder: (
            f"account default\nhost 127.0.0.1\nport {port}\nuser {ME}\npassword {PASSWORD}\nauth user\ntls off\n"
            f"keep on\ndelivery maildir {folder}/mail\nuidls_file {folder}/uidls\nreceived_header off\n"
        )
        self.fetched("mpop", lambda folder: files(folder / "mail").values(), config, "--file=RC", "-q", port="pop3")

    def test_imapclient(self):
        python = ROOT / ".venv/bin/python"
        self.assertTrue(python.exists(), "./test.sh makes .venv and puts IMAPClient into it")
        with serving(TLS) as server:
            fill(server)
            with Box(server) as box:
                sums = [hashlib.sha256(raw).hexdigest() for _, raw in sorted(box.letters().items())]
            said = json.loads(subprocess.run(
                [python, CLIENTS / "imapclient_run.py", str(server.port("imap")), ME, PASSWORD, "tls" if TLS else "plain"],
                check=True, capture_output=True, timeout=60, text=True).stdout)
            self.assertEqual(said.pop("sums"), sums)
            self.assertEqual(said, {"whole": True, "made": True, "back": True, "left": [], "heard": [],
                                    "flags": ["\\Flagged", "\\Seen", "waga"]})

    def test_imapflow(self):
        with serving(TLS) as server:
            fill(server)
            with Box(server) as box:
                sums = [hashlib.sha256(raw).hexdigest() for _, raw in sorted(box.letters().items())]
            what = json.dumps({"port": server.port("imap"), "tls": TLS, "user": ME, "pass": PASSWORD})
            done = subprocess.run(["node", CLIENTS / "imapflow.mjs", what], capture_output=True, timeout=60, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            said = json.loads(done.stdout)
            self.assertEqual(said["sums"], sums)
            self.assertTrue(said["back"] and said["moved"], said)
            self.assertEqual(said["flags"], ["\\Flagged", "\\Seen"])
            self.assertEqual(said["archive"], 1)
            self.assertIn(said["folder"], said["names"])


def without_fetchmail(raw):
    """fetchmail puts a Received field of its own in front."""
    head = raw.find(b"Return-Path:")
    return raw if head < 0 else raw[head:]


GETMAILS = (b"Return-Path:", b"X-getmail-retrieved-from-mailbox:")


def tamed(raw):
    """getmail takes Return-Path for its own and folds long fields anew: the head without its fields and white space."""
    head, empty, body = raw.partition(b"\r\n\r\n")
    lines = head.splitlines(True)
    return b"".join(b"".join(line for line in lines if not line.startswith(GETMAILS)).split()) + empty + body
