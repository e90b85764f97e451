"""Logins without a password on the wire: SCRAM-SHA-256 and -PLUS, and bearer tokens of a token issuer."""

import base64
import hashlib
import hmac
import imaplib
import json
import poplib
import secrets
import smtplib
import subprocess
import time
import unittest

from harness import ROOT, Certificate, Folder, openssl
from test_tls import ALICE, NAME, PASSWORD, serving

ISSUER, AUDIENCE = "https://id.example.test", "mail.example.test"

# A login with the mail client of requirements.txt.
LOGIN = """
import imapclient, ssl, sys
port, certificate, how, user, token = sys.argv[1:]
context = ssl.create_default_context(cafile=certificate)
context.check_hostname = False
with imapclient.IMAPClient("127.0.0.1", int(port), ssl_context=context) as imap:
    try:
        getattr(imap, how)(user, token)
        imap.select_folder("INBOX")
        print("in")
    except imapclient.exceptions.LoginError:
        print("LoginError")
"""


class Scram:
    """The client's half, as a callback for imaplib: it is called with each challenge."""

    def __init__(self, user, password, exporter=None):
        self.bare = f"n={user},r={secrets.token_urlsafe(18)}"
        self.flag = b"p=tls-exporter,," if exporter else b"n,,"
        self.bound = self.flag + (exporter or b"")
        self.password, self.proves, self.said = password, None, None
        self.verified = False

    def __call__(self, challenge):
        if not self.said:
            self.said = True
            return self.flag + self.bare.encode()
        if self.proves:
            self.verified = challenge == self.proves
            return b""
        fields = dict(part.split("=", 1) for part in challenge.decode().split(","))
        salt, count = base64.b64decode(fields["s"]), int(fields["i"])
        salted = hashlib.pbkdf2_hmac("sha256", self.password.encode(), salt, count)

        def mac(key, text):
            return hmac.digest(key, text, "sha256")

        client_key = mac(salted, b"Client Key")
        last = f"c={base64.b64encode(self.bound).decode()},r={fields['r']}"
        message = f"{self.bare},{challenge.decode()},{last}".encode()
        signature = mac(hashlib.sha256(client_key).digest(), message)
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        self.proves = b"v=" + base64.b64encode(mac(mac(salted, b"Server Key"), message))
        return f"{last},p={base64.b64encode(proof).decode()}".encode()


def url64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class TokenIssuer:
    """Signs tokens with an RSA key, and says its public half as a JWK set."""

    def __init__(self, folder, name="issuer"):
        self.key = folder / f"{name}.pem"
        openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", self.key)
        modulus = openssl("rsa", "-in", self.key, "-noout", "-modulus").strip().split("=")[1]
        self.folder = folder
        self.jwk = {"kty": "RSA", "kid": name, "use": "sig", "alg": "RS256",
                    "n": url64(bytes.fromhex(modulus)), "e": url64(b"\x01\x00\x01")}

    def token(self, email=ALICE, header=None, **claims):
        header = {"alg": "RS256", "kid": self.jwk["kid"]} | (header or {})
        claims = {"iss": ISSUER, "aud": AUDIENCE, "exp": int(time.time()) + 300, "email": email} | claims
        signed = ".".join(url64(json.dumps(part).encode()) for part in (header, claims))
        message, signature = self.folder / "signed", self.folder / "signature"
        message.write_text(signed)
        openssl("dgst", "-sha256", "-sign", self.key, "-out", signature, message)
        return f"{signed}.{url64(signature.read_bytes())}"


class Sasl(unittest.TestCase):
    def setUp(self):
        self.folder = self.enterContext(Folder())
        self.certificate = Certificate(self.folder, NAME, NAME, "localhost")

    def serving(self, more=""):
        return serving([self.certificate], self.folder, more)

    def imaps(self, server):
        context = self.certificate.client()
        context.check_hostname = False
        return imaplib.IMAP4_SSL("127.0.0.1", server.port("imaps"), ssl_context=context)

    def test_scram(self):
        with self.serving() as server:
            scram = Scram(ALICE, PASSWORD)
            with imaplib.IMAP4("127.0.0.1", server.port("imap")) as imap:
                self.assertIn("AUTH=SCRAM-SHA-256", imap.capabilities)
                self.assertEqual(imap.authenticate("SCRAM-SHA-256", scram)[0], "OK")
                self.assertEqual(imap.select()[0], "OK")
            self.assertTrue(scram.verified, "the server must prove that it knows the password")
            for wrong in (Scram(ALICE, "Secret"), Scram("ghost@example.test", PASSWORD)):
                with imaplib.IMAP4("127.0.0.1", server.port("imap")) as imap:
                    with self.assertRaisesRegex(imaplib.IMAP4.error, "AUTHENTICATIONFAILED"):
                        imap.authenticate("SCRAM-SHA-256", wrong)
            scram = Scram(ALICE, PASSWORD)
            with smtplib.SMTP("127.0.0.1", server.port("submission")) as smtp:
                smtp.ehlo()
                self.assertIn("SCRAM-SHA-256", smtp.esmtp_features["auth"])
                reply = smtp.auth("SCRAM-SHA-256", lambda challenge=None: as_text(scram, challenge))
                self.assertEqual(reply[0], 235)
            scram = Scram(ALICE, PASSWORD)
            pop = poplib.POP3("127.0.0.1", server.port("pop3"))
            line = pop._shortcmd("AUTH SCRAM-SHA-256")
            while line.startswith(b"+ "):
                answer = scram(base64.b64decode(line[2:]))
                line = pop._shortcmd(base64.b64encode(answer).decode())
            self.assertTrue(line.startswith(b"+OK"), line)
            pop.quit()

    def test_scram_is_bound_to_the_connection(self):
        with self.serving() as server:
            with self.imaps(server) as imap:
                self.assertIn("AUTH=SCRAM-SHA-256-PLUS", imap.capabilities)
                # Somebody in between who has another connection to the server has another binding.
                with self.assertRaisesRegex(imaplib.IMAP4.error, "BAD"):
                    imap.authenticate("SCRAM-SHA-256-PLUS", Scram(ALICE, PASSWORD, exporter=b"x" * 32))
            # Or takes the better mechanism off the list.
            hidden = Scram(ALICE, PASSWORD)
            hidden.flag = hidden.bound = b"y,,"
            with self.imaps(server) as imap:
                with self.assertRaisesRegex(imaplib.IMAP4.error, "BAD"):
                    imap.authenticate("SCRAM-SHA-256", hidden)
            with self.imaps(server) as imap:
                self.assertEqual(imap.authenticate("SCRAM-SHA-256", Scram(ALICE, PASSWORD))[0], "OK")

    def test_tokens(self):
        issuer, stranger = TokenIssuer(self.folder), TokenIssuer(self.folder, "stranger")
        keys = self.folder / "keys.json"
        keys.write_text(json.dumps({"keys": [issuer.jwk]}))
        more = f"[oauth]\nissuer = '{ISSUER}'\naudience = '{AUDIENCE}'\nkeys = '{keys}'\n"
        with self.serving(more) as server:
            with self.imaps(server) as imap:
                self.assertIn("AUTH=OAUTHBEARER", imap.capabilities)

            def login(token, how="oauthbearer_login"):
                """What IMAPClient says."""
                python = ROOT / ".venv/bin/python"
                command = [python, "-c", LOGIN, str(server.port("imaps")), self.certificate.cert, how, ALICE, token]
                return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.strip()

            good = issuer.token()
            self.assertEqual(login(good), "in")
            self.assertEqual(login(good, "oauth2_login"), "in")
            forged = issuer.token(header={"alg": "none"}).rsplit(".", 1)[0] + "."
            for bad in (
                stranger.token(),
                stranger.token(header={"kid": "issuer"}),
                issuer.token(exp=int(time.time()) - 600),
                issuer.token(aud="web.example.test"),
                issuer.token(iss="https://evil.example.test"),
                issuer.token(email="bob@example.test"),
                forged,
                "x",
            ):
                self.assertEqual(login(bad), "LoginError")
                # A good one is taken all the same, and ends the count of the bad ones.
                self.assertEqual(login(good), "in")
            # The keys are changed while the server runs.
            keys.write_text(json.dumps({"keys": [stranger.jwk]}))
            self.assertEqual(login(stranger.token()), "in")
            bearer = f"n,a={ALICE},\x01auth=Bearer {stranger.token()}\x01\x01"
            with smtplib.SMTP("127.0.0.1", server.port("submission")) as smtp:
                smtp.ehlo()
                reply = smtp.auth("OAUTHBEARER", lambda challenge=None: bearer)
                self.assertEqual(reply[0], 235)


def as_text(scram, challenge):
    return scram(challenge or b"").decode()


if __name__ == "__main__":
    unittest.main()
