"""No letter raises, no letter takes long, nothing leaks."""

import gc
import random
import resource
import time

from letters import POLISH, SIMPLE
from libop import mparser


def read_all(data):
    m = mparser.parse(data)
    for name in ("subject from_ to cc bcc reply_to sender date message_id in_reply_to references text html preview "
                 "attachments defects ambiguity lines size flags").split():
        getattr(m, name)
    m.check()
    m.headers.items()
    m.embedded_files()
    for p in m.walk():
        for name in ("content_type charset filename content_id disposition encoding raw raw_header raw_body content "
                     "text is_attachment is_multipart path size lines parts").split():
            getattr(p, name)
        p.headers.items()
    view = m.as_email_message()
    for part in view.walk():
        part.get_content_charset(), part.get_filename(), part.is_attachment(), part.get_payload(decode=True)
    view.get_body()
    list(view.iter_attachments())
    mparser.extract(data, headers=True)
    repr(m)


def test_random_bytes_never_raise():
    random.seed(20260601)
    words = [b"\r\n", b"\n", b"--out", b"--alt--", b"Content-Type: ", b"multipart/mixed; boundary=", b"=?utf-8?Q?=C5?=",
             b"From: ", b"<", b">", b'"', b"\x00", b"\xff", b"base64", b"Content-Transfer-Encoding: ", b"message/rfc822\n\n"]
    for _ in range(400):
        data = bytearray(random.choice([POLISH, SIMPLE, b""]))
        for _ in range(random.randrange(1, 30)):
            at = random.randrange(len(data) + 1)
            match random.randrange(3):
                case 0:
                    data[at:at] = random.choice(words)
                case 1:
                    data[at : at + random.randrange(40)] = random.randbytes(random.randrange(20))
                case 2:
                    del data[at : at + random.randrange(100)]
        read_all(bytes(data))
        read_all(data)


BOMBS = {
    "nested": b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(5_000)),
    "parts": b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 50_000,
    "addresses": b"To: " + b"a@example.test, " * 20_000 + b"\n\n",
    "words": b"Subject: " + b"=?utf-8?Q?=C5=82?= " * 20_000 + b"\n\n",
    "parameters": b"Content-Type: text/plain" + b"".join(b"; name*%d=x" % n for n in range(10_000)) + b"\n\n",
    "headers": b"X: y\n" * 100_000 + b"\n",
    "colons": b":" * 99_999,
    "letters": b"Content-Type: message/rfc822\n\n" * 5_000,
    "semicolons": b"Content-Type: text/plain" + b";" * 200_000 + b"\n\n",
    "quoted": b"\n" + b">From x\n" * 100_000,
}


def test_bombs():
    for name, bomb in BOMBS.items():
        started = time.process_time()
        m = mparser.parse(bomb)
        m.subject, m.to, m.text, m.preview, m.defects, m.attachments, m.headers.keys()
        [(p.content_type, p.filename, p.path, p.is_attachment) for p in m.walk()]
        mparser.extract(bomb)
        list(mparser.parse_many(bomb, full=True))
        # The dev build is several times slower than the wheel.
        assert time.process_time() - started < 5, name


def test_a_big_letter():
    body = b"0123456789" * 7 + b"\r\n"
    raw = SIMPLE.replace(b"\n\n", b"\n\n" + body * 500_000)
    m = mparser.parse(raw)
    assert (m.size, m.lines) == (len(raw), 500_000 + SIMPLE.count(b"\n"))
    assert len(m.text) == len(raw) - len(m.part("").raw_header) and m.raw.obj is raw


def test_nothing_leaks():
    def resident() -> int:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize()

    def rounds(count: int) -> None:
        for _ in range(count):
            m = mparser.parse(bytearray(POLISH))
            m.headers.items(), m.part("1.1").text, m.defects, m.part("3").message(), m.as_email_message().get_body()
            mparser.extract(POLISH, headers=True)
            try:
                mparser.parse("wrong")
            except TypeError:
                pass
        for _ in range(count // 100):
            list(mparser.parse_many([POLISH] * 50, threads=2, full=True))

    rounds(2_000)
    gc.collect()
    before = resident()
    rounds(10_000)
    gc.collect()
    # One letter is 14 KB: 10,000 lost ones would be 140 MB.
    assert resident() - before < 8_000_000
