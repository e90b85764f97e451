"""Mistakes of an operator are answered with what to do."""

import re
import socket
import subprocess
import unittest

from harness import BINARY, Folder, Server, free_offset


def run(*arguments, stdin=None):
    command = [str(part) for part in (BINARY, *arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, input=stdin)


class Config(unittest.TestCase):
    def test_mistakes_in_the_file(self):
        rows = [
            ("[imap]\n\nlisten_on = ['127.0.0.1:1']\n", 3, "imap.listen_on", "imap.listen"),
            ("hostnam = 'x'\n", 1, "hostnam", "hostname"),
            ("[limits]\nmessage_bytes = 'big'\n", 2, "limits.message_bytes", "whole number"),
            ("[pop3]\nlisten = ['0.0.0.0:110']\n", 2, "pop3.listen", "TLS proxy"),
            ("[data\n", 1, "not TOML", ""),
        ]
        with Folder() as folder:
            file = folder / "openpoczta.toml"
            for text, line, key, fix in rows:
                with self.subTest(text=text):
                    file.write_text(text)
                    for command in (["serve"], ["config", "check"]):
                        ended = run(*command, "--config", file)
                        self.assertEqual(ended.returncode, 2, ended)
                        self.assertIn(f"{file}:{line}: ", ended.stderr)
                        self.assertIn(key, ended.stderr)
                        self.assertIn(fix, ended.stderr)
                        self.assertEqual(ended.stdout, "")
            ended = run("serve", "--config", folder / "none.toml")
            self.assertEqual(ended.returncode, 2)
            self.assertIn("none.toml", ended.stderr)

    def test_describe_prints_a_file_that_is_right(self):
        with Folder() as folder:
            file = folder / "openpoczta.toml"
            file.write_text(run("config", "describe").stdout)
            self.assertEqual(run("config", "check", "--config", file).returncode, 0)

    def test_a_second_server_on_the_folder_is_told_who_holds_it(self):
        with Folder() as folder, Server(data=folder / "mail") as first:
            ended = run("demo", "--data", folder / "mail", "--base-port-offset", free_offset())
            self.assertEqual(ended.returncode, 1)
            self.assertIn(str(first.pid()), ended.stderr)
            self.assertIn("in use", ended.stderr)
            ended = run("account", "add", "carol@example.test", "--data", folder / "mail", stdin="secret\n")
            self.assertEqual(ended.returncode, 1)
            self.assertIn(str(first.pid()), ended.stderr)

    def test_a_port_in_use_is_named(self):
        offset = free_offset()
        with socket.socket() as other:
            other.bind(("127.0.0.1", 1143 + offset))
            other.listen()
            ended = run("demo", "--base-port-offset", offset)
        self.assertEqual(ended.returncode, 1)
        self.assertRegex(ended.stderr, rf"port {1143 + offset} \(imap\) is in use")
        self.assertIn("--base-port-offset", ended.stderr)

    def test_account_and_serve(self):
        offset = free_offset()
        with Folder() as folder:
            file = folder / "openpoczta.toml"
            ports = {"smtp": 1125, "lmtp": 1124, "submission": 1587, "imap": 1143, "pop3": 1110, "http": 8080}
            sections = "".join(f"[{name}]\nlisten = ['127.0.0.1:{port + offset}']\n" for name, port in ports.items())
            jmap = "[jmap]\nsession_url = 'https://mail.example.test/.well-known/jmap'\n"
            file.write_text(f"hostname = 'mail.example.test'\n[data]\nfolder = '{folder}/mail'\n{jmap}{sections}")
            config = ["--config", file]
            ended = run("account", "add", "carol@example.test", *config, stdin="first\n")
            self.assertEqual(ended.returncode, 0, ended)
            ended = run("account", "add", "carol@example.test", *config, stdin="again\n")
            self.assertEqual(ended.returncode, 1)
            self.assertIn("account passwd", ended.stderr)
            ended = run("account", "passwd", "dave@example.test", *config, stdin="x\n")
            self.assertEqual(ended.returncode, 1)
            ended = run("account", "passwd", "carol@example.test", *config, stdin="second\n")
            self.assertEqual(ended.returncode, 0, ended)
            with Server(config=file, offset=offset) as server:
                self.carol_gets_mail(server)
                self.assertEqual(server.stop(), 0)
                self.assertNotRegex(server.stderr(), re.compile("error", re.IGNORECASE))

    def carol_gets_mail(self, server):
        import imaplib

        from harness import deliver, lmtp

        with lmtp(server) as sender:
            answers = deliver(sender, "x@example.test", ["carol@example.test"], b"Subject: hi\r\n\r\nhello\r\n")
            self.assertEqual(answers[0][0], 250)
        with imaplib.IMAP4("127.0.0.1", server.port("imap")) as imap:
            with self.assertRaises(imaplib.IMAP4.error):
                imap.login("carol@example.test", "first")
        with imaplib.IMAP4("127.0.0.1", server.port("imap")) as imap:
            # The one domain of the accounts completes the name.
            imap.login("carol", "second")
            imap.xatom("GETJMAPACCESS")
            _, told = imap.response("JMAPACCESS")
            self.assertEqual(told, [b'"https://mail.example.test/.well-known/jmap"'])
            self.assertIn(b" JMAPACCESS ", imap.capability()[1][0])
            _, [count] = imap.select("INBOX")
            self.assertEqual(count, b"1")
            _, rows = imap.fetch("1", "(BODY.PEEK[])")
            self.assertIn(b"by mail.example.test", rows[0][1])
