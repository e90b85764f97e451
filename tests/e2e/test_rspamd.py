"""The filter as programs see it that ask an Rspamd."""

import http.client
import json
import pathlib
import random
import subprocess
import unittest

from harness import BINARY, PASSWORD, Folder, Server, free_offset, user
from test_spam import copy, letter

TEST_STRING = "XJS*OPENPOCZTA-TEST-STRING-THAT-EVERY-FILTER-REFUSES-AND-NOBODY-WRITES*C.34X"


class World:
    def __init__(self, folder):
        self.port = 11333 + free_offset()
        self.config = pathlib.Path(folder, "openpoczta.toml")
        off = "".join(f"[{name}]\nlisten = []\n" for name in ("smtp", "lmtp", "submission", "pop3", "http"))
        self.config.write_text(
            f"hostname = 'mx.example.test'\n[data]\nfolder = '{folder}/mail'\n{off}"
            f"[imap]\nlisten = ['127.0.0.1:0']\n[rspamd]\nlisten = ['127.0.0.1:{self.port}']\n"
        )
        command = [BINARY, "account", "add", user("alice"), "--config", self.config]
        subprocess.run(command, input=f"{PASSWORD}\n", text=True, check=True, capture_output=True)

    def ask(self, method, path, body=b"", **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, names)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, text if path == "/ping" else json.loads(text)


class Rspamd(unittest.TestCase):
    def test_verdicts_and_lessons(self):
        with Folder() as folder:
            world = World(folder)
            rng = random.Random(5)
            with Server(config=world.config):
                self.assertEqual(world.ask("GET", "/ping"), (200, b"pong\r\n"))
                envelope = {"IP": "192.0.2.7", "Helo": "mail.else.test", "From": "<x@else.test>", "Rcpt": user("alice"), "Queue_Id": "Q1"}
                status, plain = world.ask("POST", "/checkv2", letter(1, False, rng), **envelope)
                self.assertEqual((status, plain["action"], plain["is_skipped"]), (200, "no action", False))
                refused = world.ask("POST", "/checkv2", b"Subject: x\r\n\r\n" + TEST_STRING.encode() + b"\r\n", **envelope)[1]
                self.assertEqual(refused["action"], "reject")
                symbol = refused["symbols"]["TEST_STRING"]
                self.assertTrue(symbol["score"] >= 15 and symbol["description"].endswith("."), symbol)
                self.assertIn("tests=TEST_STRING", refused["milter"]["add_headers"]["X-Spam-Status"]["value"])

                self.assertEqual(world.ask("POST", "/learnspam", copy(rng))[:2], (200, {"success": True}))
                self.assertEqual(world.ask("GET", "/stat")[1]["learned"], 1)
                caught = sum(world.ask("POST", "/checkv2", copy(rng), **envelope)[1]["action"] == "add header" for _ in range(20))
                self.assertGreaterEqual(caught, 19, "the operator's word counts for all")
                same = letter(2, True, rng)
                self.assertEqual(world.ask("POST", "/learnspam", same, Deliver_To="carol@else.test")[0], 200)
                status, said = world.ask("POST", "/learnspam", same, Deliver_To="Carol@else.test")
                self.assertEqual(status, 208, said)
                self.assertEqual(world.ask("POST", "/learnham", same, Deliver_To="carol@else.test")[0], 200)

                status, said = world.ask("POST", "/learnspam", same, Origin="http://evil.test")
                self.assertEqual((status, said), (403, {"error": "this is not for browsers"}))
                self.assertEqual(world.ask("POST", "/checkv2", same, Compression="zstd")[0], 415)
                # The id of the queue in front leads to the verdict.
                explain = [BINARY, "spam", "explain", "Q1", "--json", "--config", world.config]
                said = json.loads(subprocess.run(explain, capture_output=True, text=True, check=True, timeout=60).stdout)
                self.assertEqual((said["id"], said["client"]), ("Q1", "192.0.2.7"))
            with Server(config=world.config):
                self.assertEqual(world.ask("POST", "/checkv2", copy(rng))[1]["action"], "add header")


if __name__ == "__main__":
    unittest.main()
