"""`openpoczta deliver` as mail servers call it: how it ends, what arrives, and real programs that pipe letters into it."""

import imaplib
import os
import pathlib
import pwd
import shutil
import smtplib
import socket
import subprocess
import textwrap
import time
import unittest

from harness import BINARY, PASSWORD, Folder, Server, split_trace, user

LETTER = b"From: ala@b.test\nTo: alice@example.test\nSubject: pipe\n\nfirst\n.\n..dots\nlast\n"
WIRE = LETTER.replace(b"\n", b"\r\n")
OK, USAGE, DATA, NO_USER, UNAVAILABLE, TEMPORARY, NOT_PERMITTED = 0, 64, 65, 67, 69, 75, 77


def deliver(*arguments, letter=LETTER):
    command = [str(part) for part in (BINARY, "deliver", *arguments)]
    return subprocess.run(command, input=letter, capture_output=True, timeout=120)


def config(folder, more="", lmtp="127.0.0.1:0"):
    file = folder / "openpoczta.toml"
    file.write_text(
        f"hostname = 'mx.example.test'\ndomains = ['example.test']\n[data]\nfolder = '{folder}/mail'\n{more}\n"
        f"[lmtp]\nlisten = ['{lmtp}']\n[imap]\nlisten = ['127.0.0.1:0']\n"
        + "".join(f"[{name}]\nlisten = []\n" for name in ("smtp", "submission", "pop3", "http"))
    )
    for name in ("alice", "bob"):
        command = [BINARY, "account", "add", user(name), "--config", file]
        subprocess.run(command, input=f"{PASSWORD}\n", text=True, check=True, capture_output=True)
    return file


def mail(server, name="alice", mailbox="INBOX"):
    """All letters of a mailbox."""
    imap = imaplib.IMAP4("127.0.0.1", server.port("imap"))
    imap.login(name if "@" in name else user(name), PASSWORD)
    imap.select(mailbox)
    _, data = imap.uid("FETCH", "1:*", "(BODY.PEEK[])")
    imap.logout()
    return [part[1] for part in data if isinstance(part, tuple)]


class Ends(unittest.TestCase):
    """Every exit code, and what Postfix reads from the first word."""

    def check(self, done, code, begins=b""):
        self.assertEqual((done.returncode, done.stdout), (code, b""), done)
        self.assertTrue(done.stderr.startswith(begins), done.stderr)

    def test_each_code(self):
        with Folder() as folder, Server(config=config(folder, "[limits]\nmessage_bytes = 100_000")) as server:
            lmtp = ("--lmtp", f"127.0.0.1:{server.port('lmtp')}")
            alice, ghost = user("alice"), user("ghost")
            self.check(deliver(*lmtp, "-f", "ala@b.test", alice), OK)
            self.check(deliver(*lmtp, "-f", "<>", "--", alice), OK)
            self.check(deliver(*lmtp, "-d", alice, "-a", user("alice+x")), OK)
            self.check(deliver(), USAGE, b"error: ")
            self.check(deliver(*lmtp), USAGE)
            self.check(deliver(*lmtp, "--nonsense", alice), USAGE)
            self.check(deliver(alice), USAGE)
            self.check(deliver(*lmtp, alice, letter=LETTER + b"x" * 200_000), DATA, b"5.3.4 ")
            self.check(deliver(*lmtp, "-f", "no address", alice), DATA, b"5.1.7 ")
            self.check(deliver(*lmtp, ghost), NO_USER, b"5.1.1 ghost@example.test: ")
            self.check(deliver(*lmtp, "alice"), NO_USER, b"5.1.3 ")
            self.check(deliver(*lmtp, "--", "-x; rm"), NO_USER, b"5.1.3 ")
            self.check(deliver(*lmtp, alice, letter=b"Received: x\n" * 51 + LETTER), UNAVAILABLE, b"5.4.6 ")
            self.check(deliver(*lmtp, "x@other.test"), NOT_PERMITTED, b"5.7.1 ")
            self.check(deliver(*lmtp, alice, letter=b""), TEMPORARY, b"4.3.0 nothing came")
            # Of several the worst counts, trying again before all; those who can have the letter have it.
            before = len(mail(server))
            done = deliver(*lmtp, ghost, alice, "x@other.test")
            self.check(done, NOT_PERMITTED, b"5.7.1 x@other.test: ")
            self.assertEqual(sorted(line[:5] for line in done.stderr.splitlines()), [b"5.1.1", b"5.7.1"])
            self.assertEqual(len(mail(server)), before + 1)
            server.stop()
            self.check(deliver(*lmtp, alice), TEMPORARY, b"4.3.0 ")
            file = folder / "broken.toml"
            file.write_text("lmpt.listen = 7\n")
            self.check(deliver("--config", file, alice), TEMPORARY, b"4.3.0 ")
            self.check(deliver("--config", folder / "none.toml", alice), TEMPORARY, b"4.3.0 ")

    def test_a_full_mailbox_is_tried_again(self):
        with Folder() as folder:
            file = config(folder)
            quota = [BINARY, "account", "quota", user("alice"), "--messages", "1", "--config", file]
            subprocess.run(quota, check=True, capture_output=True)
            with Server(config=file) as server:
                lmtp = ("--lmtp", f"127.0.0.1:{server.port('lmtp')}")
                self.check(deliver(*lmtp, user("alice")), OK)
                self.check(deliver(*lmtp, user("alice")), TEMPORARY, b"4.2.2 ")
                self.check(deliver(*lmtp, user("ghost"), user("alice")), TEMPORARY, b"4.2.2 ")

    def test_a_server_that_dies_in_the_middle(self):
        """One that takes all but the last answer, or says what is no LMTP."""
        for script in ([b"220 x\r\n", b"250 x\r\n", b"250 x\r\n", b"250 x\r\n", b"354 x\r\n"], [b"SSH-2.0\r\n"], []):
            with socket.create_server(("127.0.0.1", 0)) as listener:
                port = listener.getsockname()[1]
                command = [str(BINARY), "deliver", "--lmtp", f"127.0.0.1:{port}", user("alice")]
                process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
                process.stdin.write(LETTER)
                process.stdin.close()
                with listener.accept()[0] as client:
                    for answer in script:
                        client.sendall(answer)
                        client.recv(4096)
                self.assertEqual(process.wait(30), TEMPORARY, script)
                self.assertTrue(process.stderr.read().startswith(b"4.3.0 "))
                process.stderr.close()


class Arrives(unittest.TestCase):
    def test_byte_for_byte(self):
        with Folder() as folder:
            file = config(folder, lmtp=f"unix:{folder}/lmtp.sock")
            with Server(config=file) as server:
                from_line = b"From ala@c.test Sun Nov 22 18:00:00 2026\n"
                for letter, sender in (
                    ((LETTER, ("-f", "<ala@b.test>")), b"ala@b.test"),
                    ((WIRE, ("-f", "")), b""),
                    ((from_line + LETTER, ()), b"ala@c.test"),
                    ((from_line + LETTER, ("-f", "MAILER-DAEMON")), b""),
                    ((LETTER[:-1], ("-f", "-dash@b.test")), b"-dash@b.test"),
                ):
                    done = deliver("--config", file, *letter[1], user("alice+tag"), letter=letter[0])
                    self.assertEqual(done.returncode, OK, done)
                    trace, stored = split_trace(mail(server)[-1])
                    self.assertEqual((stored, trace["sender"]), (WIRE, sender))
                # A name without a domain, and the socket given by hand.
                self.assertEqual(deliver("--config", file, "bob").returncode, OK)
                done = deliver("--lmtp", f"unix:{folder}/lmtp.sock", "-a", "b@x.test\nX: y", user("bob"))
                self.assertEqual(done.returncode, OK)
                self.assertEqual(split_trace(mail(server, "bob")[-1])[1], b"X-Original-To: b@x.test?X: y\r\n" + WIRE)

    def test_what_it_says_survives(self):
        with Folder() as folder:
            file = config(folder)
            with Server(config=file) as server:
                done = deliver("--lmtp", f"127.0.0.1:{server.port('lmtp')}", user("alice"))
                server.kill()
                self.assertEqual(done.returncode, OK)
            with Server(config=file) as server:
                self.assertEqual(split_trace(mail(server)[0])[1], WIRE)

    def test_a_large_letter_is_not_held_in_memory(self):
        with Folder() as folder, Server(config=config(folder)) as server:
            def peak_kib(lines):
                # From a file: what we hold ourselves would count as the program's.
                with open(folder / "letter", "w+b") as file:
                    file.write(LETTER)
                    for _ in range(lines):
                        file.write(line)
                    file.seek(0)
                    command = [str(BINARY), "deliver", "--lmtp", f"127.0.0.1:{server.port('lmtp')}", user("alice")]
                    process = subprocess.Popen(command, stdin=file)
                    _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
                self.assertEqual(process.returncode, OK)
                return usage.ru_maxrss

            line = b"0123456789" * 7 + b"\n"
            small, large = peak_kib(0), peak_kib(500_000)
            self.assertLess(large, small + 4096, "35 MB passed through")
            self.assertEqual(len(split_trace(mail(server)[1])[1]), len(WIRE) + 72 * 500_000)


@unittest.skipUnless(os.getuid() == 0 and shutil.which("postfix"), "Postfix runs only for root")
class Postfix(unittest.TestCase):
    """The lines of docs/howto/pipe-delivery.md, in a Postfix of its own."""

    def test_pipe(self):
        with Folder() as folder, Server(config=config(folder)) as server:
            # The pipe runs for somebody who may not look into our folder.
            binary = pathlib.Path("/tmp") / f"openpoczta-pipe-{os.getpid()}"
            shutil.copy(BINARY, binary)
            try:
                with PrivatePostfix(folder, binary, server.port("lmtp")) as postfix:
                    self.pipe(server, postfix)
            finally:
                binary.unlink()

    def pipe(self, server, postfix):
        with smtplib.SMTP("127.0.0.1", postfix.port, timeout=60) as smtp:
            smtp.sendmail("ala@b.test", [user("alice"), user("bob+x")], WIRE)
            smtp.sendmail("", ['"a b"@example.test', user("alice")], WIRE)
            smtp.sendmail(user("bob"), [user("ghost")], WIRE)
        # One for each, the second of alice from nobody, and bob's report of the ghost.
        postfix.wait(lambda: (len(mail(server)), len(mail(server, "bob"))) == (2, 2))
        senders = [split_trace(letter)[0]["sender"] for letter in mail(server)]
        self.assertEqual(sorted(senders), [b"", b"ala@b.test"])
        bounce = next(letter for letter in mail(server, "bob") if b"multipart/report" in letter)
        self.assertIn(b"5.1.1", bounce)
        self.assertIn(b"there is no such user here", bounce)
        # No server: Postfix keeps it, and nobody is told anything.
        lmtp = server.port("lmtp")
        server.stop()
        with smtplib.SMTP("127.0.0.1", postfix.port, timeout=60) as smtp:
            smtp.sendmail("ala@b.test", [user("alice")], WIRE)
        postfix.wait(lambda: b"status=deferred" in postfix.log() and b"cannot be reached" in postfix.log())
        self.assertEqual(postfix.log().count(b"status=bounced"), 2, "the ghost, and the name with a blank")
        self.assertNotIn(b"fatal", postfix.log())
        self.assertTrue(lmtp)


class PrivatePostfix:
    """Postfix in a folder, on a port of loopback."""

    def __init__(self, folder, binary, lmtp):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.home = folder / "postfix"
        owner = pwd.getpwnam("postfix")
        folder.chmod(0o755)
        for name in ("", "etc", "queue", "data"):
            (self.home / name).mkdir()
        os.chown(self.home / "data", owner.pw_uid, owner.pw_gid)
        (self.home / "etc/main.cf").write_text(textwrap.dedent(f"""\
            compatibility_level = 3.6
            queue_directory = {self.home}/queue
            data_directory = {self.home}/data
            maillog_file = {self.home}/log
            maillog_file_prefixes = {self.home}
            command_directory = /usr/sbin
            daemon_directory = /usr/lib/postfix/sbin
            mail_owner = postfix
            setgid_group = postdrop
            inet_interfaces = 127.0.0.1
            inet_protocols = ipv4
            myhostname = front.example.test
            mydestination =
            alias_maps =
            smtpd_relay_restrictions = reject_unauth_destination
            virtual_mailbox_domains = example.test
            virtual_transport = openpoczta
            openpoczta_destination_recipient_limit = 1
            """))
        services = "cleanup unix n - n - 0 cleanup,qmgr unix n - n 300 1 qmgr,rewrite unix - - n - - trivial-rewrite,"
        services += "bounce unix - - n - 0 bounce,defer unix - - n - 0 bounce,trace unix - - n - 0 bounce,"
        services += "flush unix n - n 1000? 0 flush,proxymap unix - - n - - proxymap,error unix - - n - - error,"
        services += "retry unix - - n - - error,anvil unix - - n - 1 anvil,postlog unix-dgram n - n - 1 postlogd"
        (self.home / "etc/master.cf").write_text(
            f"127.0.0.1:{self.port} inet n - n - - smtpd\n" + services.replace(",", "\n") + "\n"
            "openpoczta unix - n n - 10 pipe\n"
            "  flags=q user=nobody\n"
            f"  argv={binary} deliver --lmtp 127.0.0.1:{lmtp} -f ${{sender}} -- ${{recipient}}\n"
        )

    def _run(self, *command):
        subprocess.run(["postfix", "-c", self.home / "etc", *command], check=True, capture_output=True, timeout=60)

    def log(self):
        file = self.home / "log"
        return file.read_bytes() if file.exists() else b""

    def wait(self, true, patience_s=60):
        end = time.monotonic() + patience_s
        while not true():
            if time.monotonic() > end:
                raise AssertionError(self.log().decode())
            time.sleep(0.1)

    def __enter__(self):
        self._run("start")
        self.wait(lambda: (self.home / "queue/pid/master.pid").exists())
        return self

    def __exit__(self, *_):
        self._run("stop")


class Filters(unittest.TestCase):
    """Programs that users have in their .forward: the lines of docs/howto/pipe-delivery.md."""

    def test_procmail(self):
        with Folder() as folder, Server(config=config(folder)) as server:
            recipe = folder / "procmailrc"
            for to, code in (("alice", OK), ("ghost", NO_USER)):
                recipe.write_text(textwrap.dedent(f"""\
                    DEFAULT={folder}/lost
                    :0 wr
                    | {BINARY} deliver --lmtp 127.0.0.1:{server.port('lmtp')} {user(to)}
                    EXITCODE=$?
                    HOST=stop
                    """))
                command = ["procmail", "-f", "ala@b.test", str(recipe)]
                done = subprocess.run(command, input=LETTER, capture_output=True, timeout=60)
                self.assertEqual(done.returncode, code, done)
            self.assertFalse((folder / "lost").exists(), "nothing went into a file")
            trace, stored = split_trace(mail(server)[0])
            self.assertEqual((trace["sender"], stored), (b"ala@b.test", WIRE))

    def test_maildrop(self):
        with Folder() as folder, Server(config=config(folder)) as server:
            rules = folder / "mailfilter"
            for to, code in (("alice", OK), ("ghost", NO_USER)):
                rules.write_text(f'to "| {BINARY} deliver --lmtp 127.0.0.1:{server.port("lmtp")} -f $FROM {user(to)}"\n')
                rules.chmod(0o600)
                command = ["maildrop", "-f", "ala@b.test", str(rules)]
                done = subprocess.run(command, input=LETTER, capture_output=True, timeout=60)
                self.assertEqual(done.returncode, code, done)
            trace, stored = split_trace(mail(server)[0])
            self.assertEqual((trace["sender"], stored), (b"ala@b.test", WIRE))
