"""Ordinary sessions with the clients of Python's standard library, and the life of a server."""

import email
import email.policy
import http.client
import imaplib
import json
import os
import pathlib
import poplib
import re
import smtplib
import time
import unittest

import api
from harness import DEMOS_OWN, PASSWORD, Folder, Server, Talk, split_trace, user

LETTER = (
    b"From: Somebody <x@example.test>\r\nTo: alice@example.test\r\nSubject: hello\r\n"
    b"Date: Sun, 22 Nov 2026 18:00:00 +0000\r\nMessage-ID: <1@example.test>\r\n\r\nhello\r\n"
)


class Mail(unittest.TestCase):
    def test_smtp_to_pop3(self):
        with Server() as server:
            with smtplib.SMTP("127.0.0.1", server.port("smtp"), timeout=20) as smtp:
                self.assertEqual(smtp.sendmail("x@example.test", [user("alice"), user("bob")], LETTER), {})
            for name in ("alice", "bob"):
                pop3 = poplib.POP3("127.0.0.1", server.port("pop3"), timeout=20)
                pop3.user(user(name))
                pop3.pass_(PASSWORD)
                count, _ = pop3.stat()
                self.assertEqual(count, 1)
                _, lines, _ = pop3.retr(1)
                letter = b"".join(line + b"\r\n" for line in lines)
                self.assertEqual(split_trace(letter)[1], LETTER)
                _, top, _ = pop3.top(1, 0)
                self.assertEqual(top, lines[: lines.index(b"") + 1])
                _, ids, _ = pop3.uidl()
                self.assertRegex(ids[0], rb"^1 [!-~]{1,70}$")
                pop3.dele(1)
                pop3.rset()
                self.assertEqual(pop3.stat()[0], 1)
                pop3.dele(1)
                pop3.quit()
                pop3 = poplib.POP3("127.0.0.1", server.port("pop3"), timeout=20)
                pop3.user(user(name))
                pop3.pass_(PASSWORD)
                self.assertEqual(pop3.stat(), (0, 0))
                pop3.quit()

    def test_submission_wants_a_password(self):
        with Server() as server:
            with smtplib.SMTP("127.0.0.1", server.port("submission"), timeout=20) as smtp:
                with self.assertRaises(smtplib.SMTPSenderRefused) as refused:
                    smtp.sendmail(user("bob"), [user("alice")], LETTER)
                self.assertEqual(refused.exception.smtp_code, 530)
            with smtplib.SMTP("127.0.0.1", server.port("submission"), timeout=20) as smtp:
                smtp.login(user("bob"), PASSWORD)
                own = LETTER.replace(b"x@example.test", b"bob@example.test")
                self.assertEqual(smtp.sendmail(user("bob"), [user("alice")], own), {})
                with self.assertRaises(smtplib.SMTPSenderRefused) as refused:
                    smtp.sendmail(user("alice"), [user("alice")], LETTER)
                self.assertEqual(refused.exception.smtp_code, 553)

    def test_imap_session(self):
        with Server() as server, imaplib.IMAP4("127.0.0.1", server.port("imap")) as imap:
            imap.login(user("alice"), PASSWORD)
            names = [line.decode().rsplit('"/" ', 1)[1].strip('"') for line in imap.list()[1]]
            for name in ("INBOX", "Sent", "Drafts", "Junk", "Trash", "Archive"):
                self.assertIn(name, names)
            status, [text] = imap.append("Sent", "(\\Seen $Label)", imaplib.Time2Internaldate(1_000_000_000), LETTER)
            self.assertEqual(status, "OK")
            self.assertIn(b"APPENDUID", text)
            imap.select("Sent")
            _, rows = imap.fetch("1", "(FLAGS INTERNALDATE ENVELOPE BODY.PEEK[TEXT]<0.3>)")
            head, part = rows[0]
            self.assertEqual(part, b"hel")
            self.assertIn(b"\\Seen $Label", head)
            self.assertIn(b'"hello"', head)
            self.assertEqual(imap.search(None, "SUBJECT", "HELLO", "KEYWORD", "$label")[1], [b"1"])
            self.assertEqual(imap.search(None, "UNSEEN")[1], [b""])
            self.assertEqual(imap.create("Góry".encode("utf-7").decode().replace("+", "&"))[0], "OK")
            self.assertEqual(imap.create("a/b")[0], "OK")
            self.assertEqual(imap.uid("COPY", "1", "a/b")[0], "OK")
            self.assertEqual(imap.uid("MOVE", "1", "Trash")[0], "OK")
            self.assertEqual(imap.rename("a/b", "a/c")[0], "OK")
            self.assertEqual(imap.select("a/c")[1], [b"1"])
            imap.store("1", "+FLAGS", "(\\Deleted)")
            self.assertEqual(imap.expunge()[1], [b"1"])
            imap.close()
            self.assertEqual(imap.delete("a/c")[0], "OK")

    def test_api_reads_what_imap_sees(self):
        with Server(seed=True) as server, api.Session(server, user("alice")) as session:
            mailboxes = {box["name"]: box for box in session.call("Mailbox/get", ids=None)["list"]}
            inbox = next(box for box in mailboxes.values() if box["role"] == "inbox")
            with imaplib.IMAP4("127.0.0.1", server.port("imap")) as imap:
                imap.login(user("alice"), PASSWORD)
                _, [count] = imap.select("INBOX", readonly=True)
                unseen = len(imap.search(None, "UNSEEN")[1][0].split())
            self.assertEqual((inbox["totalEmails"], inbox["unreadEmails"]), (int(count), unseen))
            ids = session.call("Email/query", filter={"inMailbox": inbox["id"]}, sort=[{"property": "receivedAt", "isAscending": False}])["ids"]
            first = session.emails(ids[:1], ["subject", "keywords", "mailboxIds"])[0]
            self.assertIn("This letter took the whole way", first["subject"])
            change = {ids[0]: {"keywords/$seen": True, "keywords/$flagged": True}}
            self.assertIn(ids[0], session.call("Email/set", update=change)["updated"])
            with imaplib.IMAP4("127.0.0.1", server.port("imap")) as imap:
                imap.login(user("alice"), PASSWORD)
                imap.select("INBOX", readonly=True)
                _, [row] = imap.fetch(count.decode(), "(FLAGS)")
                self.assertIn(b"\\Flagged", row)
            names = {method["name"] for method in session.call("rpc.discover")["methods"]}
            self.assertLessEqual({"Mailbox/get", "Email/query", "Email/get", "Email/set"}, names)


class Life(unittest.TestCase):
    def test_ready_line_and_the_first_letter(self):
        with Server(seed=True) as server:
            self.assertRegex(
                server.ready_line,
                r"^ready smtp=127\.0\.0\.1:\d+ lmtp=127\.0\.0\.1:\d+ submission=127\.0\.0\.1:\d+ "
                r"imap=127\.0\.0\.1:\d+ pop3=127\.0\.0\.1:\d+ http=http://127\.0\.0\.1:\d+/ "
                r"user=alice@example\.test password=secret$",
            )
            for name, port in {"smtp": 1125, "lmtp": 1124, "imap": 1143, "pop3": 1110, "http": 8080}.items():
                self.assertEqual(server.port(name), port + server.offset)
            found = re.search(r"waiting in ([0-9.]+) ms", server.stderr())
            self.assertIsNotNone(found, server.stderr())
            print(f"demo: ready after {server.ready_after_s * 1000:.0f} ms with its letters, first letter seen after {found[1]} ms")
            self.assertLess(float(found[1]), 1000)

    def test_a_thousand_users_start_fast(self):
        with Server("--users", "1000") as server:
            print(f"demo: ready after {server.ready_after_s * 1000:.0f} ms with 1000 users")
            self.assertLess(server.ready_after_s, 10)
            with imaplib.IMAP4("127.0.0.1", server.port("imap")) as imap:
                imap.login(user("u0999"), PASSWORD)

    def test_seed_letters_are_good_mail(self):
        with Server(seed=True) as server, imaplib.IMAP4("127.0.0.1", server.port("imap")) as imap:
            imap.login(user("alice"), PASSWORD)
            total, attachments, subjects = 0, [], []
            for line in imap.list()[1]:
                name = line.decode().rsplit('"/" ', 1)[1]
                status, [count] = imap.select(name, readonly=True)
                if status != "OK" or not int(count):
                    continue
                _, rows = imap.fetch("1:*", "(INTERNALDATE BODY.PEEK[])")
                rows = [row for row in rows if isinstance(row, tuple)]
                dates = [imaplib.Internaldate2tuple(row[0]) for row in rows]
                self.assertEqual(dates, sorted(dates), "UIDs go with the dates")
                for row in rows:
                    letter = email.message_from_bytes(row[1], policy=email.policy.default)
                    total += 1
                    subjects.append(letter["subject"] or "")
                    broken = "@broken.example.test" in str(letter["from"])
                    for part in letter.walk():
                        self.assertTrue(broken or not part.defects, (letter["subject"], part.defects))
                        if part.get_content_disposition() == "attachment":
                            attachments.append((part.get_filename(), part.get_payload(decode=True)))
            self.assertGreaterEqual(total, 60)
            self.assertIn("Góry w sobotę? ⛰️", subjects)
            names = {name for name, _ in attachments}
            self.assertIn("Faktura 7-2026 żarówka.pdf", names)
            for name, data in attachments:
                if name.endswith(".pdf"):
                    self.assertTrue(data.startswith(b"%PDF-") and data.endswith(b"%%EOF\n"))
            print(f"demo: {total} letters, {len(attachments)} attachments")

    def test_metrics_and_health(self):
        with Server() as server:
            with smtplib.SMTP("127.0.0.1", server.port("smtp"), timeout=20) as smtp:
                smtp.sendmail("x@example.test", [user("alice")], LETTER)
            with imaplib.IMAP4("127.0.0.1", server.port("imap")) as imap:
                imap.login(user("alice"), PASSWORD)
            web = http.client.HTTPConnection("127.0.0.1", server.port("http"), timeout=20)
            web.request("GET", "/healthz")
            answer = web.getresponse()
            self.assertEqual((answer.status, json.loads(answer.read())), (200, {"status": "ok"}))
            web.request("GET", "/metrics")
            answer = web.getresponse()
            text = answer.read().decode()
            self.assertEqual(answer.status, 200)
            self.assertTrue(answer.headers["Content-Type"].startswith("application/openmetrics-text"))
            self.assertTrue(text.endswith("# EOF\n"))
            for protocol in ("smtp", "lmtp", "submission", "imap", "pop3"):
                self.assertRegex(text, rf"(?m)^openpoczta_{protocol}_\w+")
            self.assertRegex(text, r"(?m)^openpoczta_storage_letters_total 1$")
            self.assertRegex(text, r"(?m)^process_resident_memory_bytes \d+$")
            self.assertRegex(text, r"(?m)^openpoczta_storage_cache_bytes \d+$")
            names = re.findall(r"(?m)^# TYPE (\S+)", text)
            self.assertEqual(len(names), len(set(names)), "a metric is described twice")
            web.close()

    def test_sigterm_says_goodbye_and_leaves_nothing(self):
        with Folder() as folder, Server(data=DEMOS_OWN, env={"TMPDIR": str(folder)}) as server:
            made = list(folder.glob("openpoczta-demo-*"))
            self.assertEqual(len(made), 1)
            with Talk(server.port("imap")) as imap, Talk(server.port("smtp")) as smtp, Talk(server.port("pop3")) as pop3:
                imap.until("* OK")
                imap.send(f"a LOGIN {user('alice')} {PASSWORD}\r\nb SELECT INBOX\r\nc IDLE\r\n")
                imap.until("+")
                smtp.reply()
                pop3.line()
                began = time.monotonic()
                server.process.terminate()
                self.assertTrue(imap.until("* BYE")[-1].startswith("* BYE"))
                self.assertTrue(smtp.reply().startswith("421"))
                self.assertTrue(pop3.closed() or True)
            self.assertEqual(server.stop(), 0)
            took = time.monotonic() - began
            print(f"demo: stopped in {took * 1000:.0f} ms with three sessions open")
            self.assertLess(took, 5)
            self.assertEqual(list(folder.iterdir()), [])

    def test_the_same_folder_opens_with_the_same_mail(self):
        with Folder() as folder:
            with Server(data=folder / "mail", seed=True) as server:
                before = self.all_mail(server)
                self.assertEqual(server.stop(), 0)
            with Server(data=folder / "mail", seed=True) as server:
                self.assertEqual(self.all_mail(server), before)
                server.kill()
            with Server(data=folder / "mail", seed=True) as server:
                self.assertEqual(self.all_mail(server), before)

    def all_mail(self, server):
        found = {}
        with imaplib.IMAP4("127.0.0.1", server.port("imap")) as imap:
            imap.login(user("alice"), PASSWORD)
            for line in imap.list()[1]:
                name = line.decode().rsplit('"/" ', 1)[1]
                status, [count] = imap.select(name, readonly=True)
                if status == "OK" and int(count):
                    found[name] = imap.uid("FETCH", "1:*", "(FLAGS INTERNALDATE BODY.PEEK[])")[1]
        return found

    def test_version_and_help(self):
        import subprocess

        from harness import BINARY

        text = subprocess.run([BINARY, "--version"], capture_output=True, text=True, timeout=20).stdout
        self.assertRegex(text, r"^openpoczta \d+\.\d+\.\d+\n$")
        self.assertTrue(os.access(BINARY, os.X_OK) and pathlib.Path(BINARY).is_file())
