"""POP3 with Python's poplib: names that stay, deletes at QUIT and only there, and no letter taken for another."""

import poplib
import unittest

from harness import PASSWORD, Folder, Server, deliver, lmtp, user


def session(server, name="alice"):
    pop = poplib.POP3("127.0.0.1", server.port("pop3"), timeout=20)
    pop.user(user(name))
    pop.pass_(PASSWORD)
    return pop


def send(server, letters, name="alice"):
    with lmtp(server) as sender:
        for letter in letters:
            answers = deliver(sender, "bob@example.test", [user(name)], letter)
            assert answers[0][0] == 250, answers


def letter(number, message_id=None):
    message_id = message_id or f"<{number}@example.test>"
    return (
        f"From: bob@example.test\r\nMessage-ID: {message_id}\r\nSubject: {number}\r\n\r\nletter {number}\r\n.dot\r\n"
    ).encode()


def names(pop):
    return [line.split()[1] for line in pop.uidl()[1]]


class Pop3(unittest.TestCase):
    def test_two_letters_with_one_message_id_are_two(self):
        with Server() as server:
            send(server, [letter(1, "<same@example.test>"), letter(2, "<same@example.test>")])
            pop = session(server)
            self.assertEqual(pop.stat()[0], 2)
            texts = [b"\n".join(pop.retr(number)[1]) for number in (1, 2)]
            self.assertTrue(texts[0].endswith(b"letter 1\n.dot"), texts[0])
            self.assertTrue(texts[1].endswith(b"letter 2\n.dot"), texts[1])
            pop.quit()

    def test_names_stay_and_letters_go_at_quit(self):
        with Folder() as folder:
            data = folder / "mail"
            with Server(data=data) as server:
                send(server, [letter(number) for number in range(5)])
                pop = session(server)
                first = names(pop)
                self.assertEqual(len(set(first)), 5)
                pop.dele(1)
                pop.dele(3)
                # Broken off: nothing goes.
                pop.sock.close()
                pop.file.close()
            with Server(data=data) as server:
                pop = session(server)
                self.assertEqual(names(pop), first)
                self.assertRaisesRegex(poplib.error_proto, "IN-USE", session, server)
                pop.dele(1)
                pop.dele(3)
                pop.quit()
                server.kill()
            with Server(data=data) as server:
                pop = session(server)
                self.assertEqual(names(pop), [first[1], first[3], first[4]])
                send(server, [letter(6)])
                # A session has what was there at its login.
                self.assertEqual(pop.stat()[0], 3)
                pop.quit()
                pop = session(server)
                self.assertEqual(names(pop)[:3], [first[1], first[3], first[4]])
                self.assertNotIn(names(pop)[3], first)
                self.assertEqual(pop.top(1, 0)[1][-1], b"")
                pop.quit()

    def test_what_it_can(self):
        with Server() as server:
            pop = poplib.POP3("127.0.0.1", server.port("pop3"), timeout=20)
            can = pop.capa()
            self.assertEqual(can["EXPIRE"], ["NEVER"])
            self.assertEqual(can["UTF8"], ["USER"])
            for name in ("TOP", "UIDL", "USER", "PIPELINING", "RESP-CODES", "AUTH-RESP-CODE", "SASL"):
                self.assertIn(name, can)
            self.assertTrue(pop.utf8().startswith(b"+OK"))
            pop.quit()


if __name__ == "__main__":
    unittest.main()
