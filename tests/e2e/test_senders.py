"""Who a letter is from: SPF, DKIM, DMARC, ARC and lists, with a real name server; letters are signed by dkimpy, which shares
nothing with us. Strangers come through a front that says who they are (XCLIENT)."""

import contextlib
import imaplib
import json
import re
import smtplib
import socket
import subprocess
import time
import unittest

from harness import PASSWORD, ROOT, Folder, openssl, user
from nameserver import NameServer
from test_mx import FRONT, serving

HOST = "mx.example.test"

# Signs a letter with dkimpy: as DKIM with a key, or as a forwarder with ARC.
SIGN = """
import dkim, json, sys
what = json.loads(sys.argv[1])
letter = sys.stdin.buffer.read()
key = open(what["key"], "rb").read()
if what["how"] == "arc":
    fields = dkim.arc_sign(letter, b"s1", what["domain"].encode(), key, what["domain"].encode())
    signed = b"".join(fields) + letter
else:
    form = what["form"].encode()
    signed = dkim.sign(letter, b"s1", what["domain"].encode(), key, canonicalize=tuple(form.split(b"/"))) + letter
sys.stdout.buffer.write(signed)
"""

ZONE = """
good.test.       TXT "v=spf1 ip4:192.0.2.0/28 -all"
sends.test.      TXT "v=spf1 -all"
soft.test.       TXT "v=spf1 ~all"
outer.test.      TXT "v=spf1 include:soft.test include:good.test -all"
moved.test.      TXT "v=spf1 redirect=good.test"
hosts.test.      TXT "v=spf1 a:far.test mx -all"
hosts.test.      MX 10 far.test.
hosts.test.      MX 20 client.test.
far.test.        A 192.0.2.200
client.test.     A 192.0.2.7
names.test.      TXT "v=spf1 ptr:client.test -all"
macros.test.     TXT "v=spf1 exists:%{ir}.%{l}.%{d} -all"
7.2.0.192.ala.macros.test. A 127.0.0.2
two.test.        TXT "v=spf1 -all"
two.test.        TXT "v=spf1 +all"
wrong.test.      TXT "v=spf1 ip4:300.0.0.1 -all"
self.test.       TXT "v=spf1 include:self.test -all"
void.test.       TXT "v=spf1 a:a.nowhere.test a:b.nowhere.test a:c.nowhere.test +all"
circle.test.     CNAME circle2.test.
circle2.test.    CNAME circle.test.
giant.test.      TXT GIANT
_dmarc.sends.test. TXT "v=DMARC1; p=reject"
_dmarc.good.test.  TXT "v=DMARC1; p=quarantine; sp=reject; adkim=s"
_dmarc.author.test. TXT "v=DMARC1; p=reject"
_dmarc.list.test. TXT "v=DMARC1; p=none"
7.2.0.192.bl.test. A 127.0.0.3
9.2.0.192.bl.test. A 127.255.255.254
spam-shop.test.dbl.test. A 127.0.1.2
"""

# Domain of the sender, and what SPF says of a client at 192.0.2.7.
SPF = [
    ("good.test", "pass"),
    ("sends.test", "fail"),
    ("soft.test", "softfail"),
    ("outer.test", "pass"),
    ("moved.test", "pass"),
    ("hosts.test", "pass"),
    ("names.test", "pass"),
    ("macros.test", "pass"),
    ("two.test", "permerror"),
    ("wrong.test", "permerror"),
    ("self.test", "permerror"),
    ("void.test", "permerror"),
    ("nothing.test", "none"),
    ("circle.test", "temperror"),
    ("broken.test", "temperror"),
    ("giant.test", "none"),
]


def quoted(text):
    """A TXT record in pieces that fit."""
    return " ".join(f'"{text[at:at + 200]}"' for at in range(0, len(text), 200))


def letter(sender, body="Hello", more=""):
    return (
        f"From: <{sender}>\r\nTo: <{user('alice')}>\r\nSubject: Lunch\r\nDate: Mon, 23 Nov 2026 12:00:00 +0000\r\n"
        f"Message-ID: <{time.monotonic_ns()}@else.test>\r\n{more}\r\n{body}\r\n"
    ).encode()


def sign(raw, key, domain, how="dkim", form="relaxed/relaxed"):
    what = json.dumps({"key": str(key), "domain": domain, "how": how, "form": form})
    command = [str(ROOT / ".venv/bin/python"), "-c", SIGN, what]
    return subprocess.run(command, input=raw, capture_output=True, check=True, timeout=60).stdout


def results(raw):
    """The results of our field: `{"spf": "fail", "dkim": ["pass"]}`, and the whole field."""
    header = re.sub(r"\r\n[ \t]+", " ", raw.decode().split("\r\n\r\n")[0])
    fields = re.findall(rf"^Authentication-Results: {HOST}; (.*)$", header, re.MULTILINE)
    assert len(fields) == 1, header
    found = {}
    for one in fields[0].split("; "):
        method, outcome = re.match(r"(\w+)=(\w+)", one).groups()
        found.setdefault(method, []).append(outcome)
    return found, fields[0], header


class Senders(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = cls.enterClassContext(Folder())
        cls.key = cls.folder / "signer.pem"
        openssl("genrsa", "-traditional", "-out", cls.key, "2048")
        public = subprocess.run(["openssl", "rsa", "-in", str(cls.key), "-pubout"], capture_output=True, check=True, text=True)
        public = "".join(line for line in public.stdout.splitlines() if "-" not in line)
        record = quoted(f"v=DKIM1; k=rsa; p={public}")
        keys = "".join(f"s1._domainkey.{domain}. TXT {record}\n" for domain in ("author.test", "good.test", "sub.good.test", "list.test"))
        zone = ZONE.replace("GIANT", quoted("v=spf1 " + "ip4:192.0.2.0/24 " * 3000)) + keys
        cls.names = cls.enterClassContext(NameServer(cls.folder, zone, reverse="7 PTR client.test.\n8 PTR client.test.\n"))
        lists = (
            "[{ symbol = 'LISTED_CLIENT', zone = 'bl.test', of = 'clients', points = 1.5, answers = '127.0.0.0/24' }, "
            "{ symbol = 'LISTED_LINK', zone = 'dbl.test', of = 'domains', points = 2.5 }]"
        )
        more = {"check_senders": "true", "lists": lists, "trusted_sealers": "['list.test']"}
        cls.server = cls.enterClassContext(serving(cls.folder, spam=more, dns={"servers": f"['{cls.names.address}']"}))

    def send(self, raw, sender="x@nothing.test", ip="192.0.2.7", server=None):
        return send(server or self.server, raw, sender, ip)

    def test_spf(self):
        for domain, expect in SPF:
            with self.subTest(domain):
                found, field, _ = results(self.send(letter("x@nothing.test"), f"ala@{domain}"))
                self.assertEqual(found["spf"], [expect], field)
        found, field, _ = results(self.send(letter("x@nothing.test"), "ala@good.test", ip="2001:db8::1"))
        self.assertEqual(found["spf"], ["fail"], field)
        # A bounce: HELO counts.
        found, field, _ = results(self.send(letter("x@nothing.test"), "", ip="192.0.2.7"))
        self.assertEqual((found["spf"], "smtp.helo=good.test" in field), (["pass"], True), field)

    def test_dkim_and_dmarc(self):
        good = sign(letter("ala@author.test"), self.key, "author.test")
        found, field, header = results(self.send(good, "x@sends.test"))
        self.assertEqual((found["dkim"], found["spf"], found["dmarc"]), (["pass"], ["fail"], ["pass"]), field)
        self.assertIn("header.d=author.test header.s=s1", field)
        self.assertIn("DMARC_PASS", header)
        simple = sign(letter("ala@author.test", body="A  b \r\n\r\n"), self.key, "author.test", form="simple/simple")
        self.assertEqual(results(self.send(simple))[0]["dkim"], ["pass"])
        for changed in (good.replace(b"Hello", b"Help!"), good.replace(b"Lunch", b"Dinner")):
            found, field, header = results(self.send(changed, "x@sends.test"))
            self.assertEqual((found["dkim"], found["dmarc"]), (["fail"], ["fail"]), field)
            self.assertIn("DMARC_REJECT", header)
        # Signed by somebody else, and by a subdomain where only the domain itself counts.
        for raw in (sign(letter("ala@author.test"), self.key, "good.test"), sign(letter("ala@good.test"), self.key, "sub.good.test")):
            found, field, _ = results(self.send(raw))
            self.assertEqual((found["dkim"], found["dmarc"]), (["pass"], ["fail"]), field)
        # SPF alone is enough, when it is of the author's domain.
        found, field, _ = results(self.send(letter("ala@good.test"), "bounces@good.test"))
        self.assertEqual((found["dkim"], found["dmarc"]), (["none"], ["pass"]), field)
        # Nobody vouches for two authors.
        two = sign(letter("ala@author.test"), self.key, "author.test") .replace(b"Subject:", b"From: <boss@bank.test>\r\nSubject:")
        self.assertEqual(results(self.send(two))[0]["dmarc"], ["permerror"])

    def test_arc(self):
        first = sign(letter("ala@author.test"), self.key, "author.test")
        seen = b"Authentication-Results: list.test; dkim=pass header.d=author.test; dmarc=pass header.from=author.test\r\n"
        changed = seen + first.replace(b"Hello", b"Hello\r\n-- \r\nYour list")
        once = sign(changed, self.key, "list.test", how="arc")
        found, field, header = results(self.send(once, "list@list.test"))
        self.assertEqual((found["dkim"], found["dmarc"], found["arc"]), (["fail"], ["fail"], ["pass"]), field)
        self.assertIn("header.oldest-pass=1", field)
        self.assertNotIn("DMARC_REJECT", header)
        broken = once.replace(b"Your list", b"Your bank")
        found, field, header = results(self.send(broken, "list@list.test"))
        self.assertEqual((found["arc"], "DMARC_REJECT" in header), (["fail"], True), field)
        # Anybody can be a forwarder: only the word of those we trust counts.
        stranger = sign(changed.replace(b"list.test;", b"good.test;"), self.key, "good.test", how="arc")
        found, field, header = results(self.send(stranger, "x@good.test"))
        self.assertEqual((found["arc"], "DMARC_REJECT" in header), (["pass"], True), field)

    def test_names_and_lists(self):
        found, field, header = results(self.send(letter("x@nothing.test")))
        self.assertIn("policy.iprev=client.test", field)
        self.assertIn("LISTED_CLIENT", header)
        # Its name leads elsewhere; and an answer that says that the list does not serve us is none.
        for ip in ("192.0.2.8", "192.0.2.9"):
            found, field, header = results(self.send(letter("x@nothing.test"), ip=ip))
            self.assertNotIn("iprev", field)
            self.assertNotIn("LISTED_CLIENT", header)
        for body in ("see http://www.spam-shop.test/offer", "https://SPAM-SHOP.test."):
            self.assertIn("LISTED_LINK", results(self.send(letter("x@nothing.test", body), ip="192.0.2.8"))[2])
        self.assertIn("LISTED_LINK", results(self.send(letter("x@spam-shop.test"), ip="192.0.2.8"))[2])

    def test_results_of_strangers(self):
        more = f"Authentication-Results: {HOST}; dmarc=pass header.from=bank.test\r\nAuthentication-Results: other.test; spf=pass\r\n"
        raw = self.send(letter("x@nothing.test", more=more))
        found, _, header = results(raw)
        self.assertEqual(found["dmarc"], ["none"])
        self.assertIn("Authentication-Results: other.test; spf=pass", header)
        self.assertNotIn("bank.test", header)

    def test_ten_thousand_signatures(self):
        one = "DKIM-Signature: v=1; a=rsa-sha256; d=author.test; s=s1; h=from; bh=AAAA; b=AAAA\r\n"
        found, _, _ = results(self.send(letter("x@nothing.test", more=one * 5_000)))
        self.assertEqual(found["dkim"], ["fail"] * 10)

    def test_our_own_machine(self):
        """Letters from here are not asked about; those of the own network say nothing about SPF."""
        with smtplib.SMTP("127.0.0.1", self.server.port("smtp"), timeout=60) as session:
            session.sendmail("x@sends.test", [user("alice")], letter("x@sends.test"))
        self.assertNotIn(b"Authentication-Results", newest(self.server))
        found, field, header = results(self.send(letter("x@sends.test"), "x@sends.test", ip="10.1.2.3"))
        self.assertEqual((found.get("spf"), found["dmarc"]), (None, ["temperror"]), field)
        self.assertNotIn("DMARC_REJECT", header)


class Silence(unittest.TestCase):
    """A resolver that takes questions and never answers."""

    def test_letters_are_not_held_up(self):
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(Folder())
            silent = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            silent.bind(("127.0.0.1", 0))
            servers = f"['127.0.0.1:{silent.getsockname()[1]}']"
            server = stack.enter_context(serving(folder, spam={"check_senders": "true"}, dns={"servers": servers}))
            took = []
            for _ in range(5):
                began = time.monotonic()
                found, field, header = results(send(server, letter("x@sends.test"), "x@sends.test", "192.0.2.7"))
                took.append(time.monotonic() - began)
                self.assertEqual((found["spf"], found["dmarc"]), (["temperror"], ["temperror"]), field)
                self.assertNotIn("DMARC", header)
            # A tenth of what a stub resolver waits for; the deadline is 0.3 s.
            self.assertLess(min(took), 3)


class Strangers(unittest.TestCase):
    """Who is known to whom, and who is asked to come again."""

    @contextlib.contextmanager
    def serving(self, **spam):
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(Folder())
            names = stack.enter_context(NameServer(folder, ZONE.replace("GIANT", '"x"')))
            lists = "[{ symbol = 'LISTED_CLIENT', zone = 'bl.test', of = 'clients', points = 1.5, answers = '127.0.0.0/24' }]"
            more = {"check_senders": "true", "lists": lists} | spam
            yield stack.enter_context(serving(folder, spam=more, dns={"servers": f"['{names.address}']"}))

    def box(self, server, name, raw, sender):
        """The mailbox it went to."""
        before = {box: count(server, name, box) for box in ("INBOX", "Junk")}
        bring(server, raw, sender, "192.0.2.7", to=(name,))
        [grown] = [box for box in before if count(server, name, box) > before[box]]
        return grown

    def test_people_one_wrote_to(self):
        with self.serving(junk_points=1.0) as server:
            friend = "ala@good.test"
            self.assertEqual(self.box(server, "alice", letter(friend), friend), "Junk")
            with smtplib.SMTP("localhost", server.port("submission"), timeout=60) as session:
                session.starttls(context=server.certificate.client())
                session.login(user("alice"), PASSWORD)
                session.sendmail(user("alice"), ["Ala@good.test"], letter(user("alice")))
            end = time.monotonic() + 20
            while (box := self.box(server, "alice", letter(friend), friend)) != "INBOX" and time.monotonic() < end:
                time.sleep(0.2)
            self.assertEqual(box, "INBOX")
            # Nobody else knows her, and nobody else may speak for her.
            self.assertEqual(self.box(server, "bob", letter(friend), friend), "Junk")
            self.assertEqual(self.box(server, "alice", letter(friend), "x@nothing.test"), "Junk")
            self.assertEqual(self.box(server, "alice", letter("eve@good.test"), friend), "Junk")

    def test_come_again(self):
        with self.serving(greylist_points=1.0, greylist_wait_s=1) as server:
            raw = letter("x@nothing.test")
            for _ in range(2):
                with self.assertRaises(smtplib.SMTPDataError) as error:
                    bring(server, raw, "x@nothing.test", "192.0.2.7")
                self.assertEqual((error.exception.smtp_code, error.exception.smtp_error[:5]), (451, b"4.7.1"))
            time.sleep(1.1)
            bring(server, raw, "x@nothing.test", "192.0.2.7")
            bring(server, letter("other@nothing.test"), "other@nothing.test", "192.0.2.7")
            # Who is not doubtful, and who is of this machine, is not asked.
            bring(server, letter("x@nothing.test"), "x@nothing.test", "192.0.9.9")
            with smtplib.SMTP("127.0.0.1", server.port("smtp"), timeout=60) as session:
                session.sendmail("x@sends.test", [user("alice")], letter("x@sends.test"))
            self.assertEqual(count(server, "alice", "INBOX"), 4)


def count(server, name, box):
    with imaplib.IMAP4("127.0.0.1", server.port("imap")) as imap:
        imap.login(user(name), PASSWORD)
        return int(imap.select(box, readonly=True)[1][0])


def bring(server, raw, sender, ip, to=("alice",)):
    """Through the front."""
    with smtplib.SMTP("127.0.0.1", server.port("smtp"), timeout=60, source_address=(FRONT, 0), local_hostname="front.test") as session:
        session.ehlo()
        address = ip if "." in ip else f"IPV6:{ip}"
        code, said = session.docmd("XCLIENT", f"ADDR={address} NAME=[UNAVAILABLE]")
        assert code == 220, (code, said)
        session.ehlo("good.test")
        session.sendmail(sender, [user(name) for name in to], raw)


def send(server, raw, sender, ip):
    """Through the front, and back the way a reader gets it."""
    bring(server, raw, sender, ip)
    return newest(server)


def newest(server):
    """The letter that came last, from INBOX or Junk."""
    imap = imaplib.IMAP4("127.0.0.1", server.port("imap"))
    imap.login(user("alice"), PASSWORD)
    letters = []
    for mailbox in ("INBOX", "Junk"):
        imap.select(mailbox)
        for number in imap.search(None, "ALL")[1][0].split():
            letters.append(imap.fetch(number, "(BODY.PEEK[])")[1][0][1])
            imap.store(number, "+FLAGS", r"(\Deleted)")
        imap.expunge()
    imap.logout()
    assert len(letters) == 1, len(letters)
    return letters[0]


if __name__ == "__main__":
    unittest.main()
