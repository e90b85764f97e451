"""parse_many: every source, any number of threads, the same letters in the same order."""

import ctypes
import gc
import mailbox
import threading
from pathlib import Path

import pytest

from letters import POLISH, SIMPLE, many
from libop import mparser

LETTERS = many(300)


def seen(letter):
    return (letter.subject, letter.message_id, bytes(letter), [(p.content_type, p.content) for p in letter.walk()])


EXPECT = [seen(mparser.parse(letter)) for letter in LETTERS]
FULL = [mparser.extract(letter) for letter in LETTERS]


def dicts(letters):
    return [m.to_dict() for m in letters]


def quoted(letter: bytes) -> bytes:
    """As mboxrd writes it: From lines get one > more, and the letter ends with a line end."""
    lines = letter.split(b"\n")
    lines = [b">" + line if line.lstrip(b">").startswith(b"From ") else line for line in lines]
    text = b"\n".join(lines)
    return text if text.endswith(b"\n") else text + b"\n"


def mbox_of(letters) -> bytes:
    return b"".join(b"From x@example.test Mon Jun  1 10:00:00 2026\n" + quoted(letter) + b"\n" for letter in letters)


def with_end(letter: bytes) -> bytes:
    return letter if letter.endswith(b"\n") else letter + b"\n"


@pytest.mark.parametrize("threads", [1, 2, 3, 8, None])
def test_lists(threads):
    assert [seen(m) for m in mparser.parse_many(LETTERS, threads=threads)] == EXPECT
    assert [seen(m) for m in mparser.parse_many(LETTERS, threads=threads, full=True)] == EXPECT
    assert dicts(mparser.parse_many(LETTERS, threads=threads, full=True)) == FULL
    mixed = [bytearray(x) if n % 3 == 0 else memoryview(x) if n % 5 == 0 else x for n, x in enumerate(LETTERS)]
    assert [seen(m) for m in mparser.parse_many(iter(mixed), threads=threads)] == EXPECT
    assert dicts(mparser.parse_many((x for x in mixed), threads=threads, full=True)) == FULL
    assert [seen(m) for m in mparser.parse_many(mixed, threads=threads, full=True)] == EXPECT


def test_lists_are_not_copied_and_headers_come_when_asked():
    for letter, m in zip(LETTERS, mparser.parse_many(LETTERS, threads=2)):
        assert m.raw.obj is letter
    for m, letter in zip(mparser.parse_many(LETTERS, full=True), LETTERS):
        assert m.raw.obj is letter
        assert m.to_dict(headers=True) == mparser.extract(letter, headers=True)


# Each value must be decoded to be read.
ENCODED = (
    b"From: =?utf-8?Q?Zofia_Ga=C5=82=C4=85zka?= <zofia@example.test>\r\nTo: =?utf-8?B?xYE=?= <lodz@example.test>\r\n"
    b"Cc: =?utf-8?B?xYE=?= <cc@example.test>\r\nDate: Mon, 01 Jun 2026 10:00:00 +0200\r\n"
    b"Subject: =?utf-8?Q?Cze=C5=9B=C4=87?=\r\nMessage-ID: (c) <encoded@example.test>\r\n"
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
    b"Content-Type: text/plain; charset=iso-8859-2\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    b"Dzie=F1 dobry\r\n--b\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    b"PHA+RHppZcWEPC9wPg==\r\n--b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n"
    b"Content-Disposition: attachment; filename*=utf-8''um%C3%B3wa.pdf\r\n\r\nJVBERi0=\r\n--b--\r\n"
)


def values_of(m):
    leaves = [p for p in m.walk() if not p.is_multipart]
    names = [(p.filename, p.text if p.is_text else p.content) for p in leaves]
    return m.subject, m.from_, m.to, m.cc, m.date, m.message_id, m.text, m.html, names, m.to_dict()


def wiped(letter, threads, **how):
    """The values read after every byte of the letter was overwritten: memory of bytes, which Python itself never does."""
    copy = bytes(bytearray(letter))
    (m,) = mparser.parse_many([copy], threads=threads, **how)
    found = copy.find(letter[:40])
    address = id(copy) + bytes.__basicsize__ - 1
    assert found == 0 and ctypes.string_at(address, len(copy)) == letter
    ctypes.memset(address, ord("x"), len(copy))
    return values_of(m)


@pytest.mark.parametrize("threads", [1, 2])
def test_full_letters_are_decoded_before_they_are_read(threads):
    expect = values_of(mparser.parse(ENCODED))
    assert expect[0] == "Cześć" and expect[6] == "Dzień dobry" and expect[8][2] == ("umówa.pdf", b"%PDF-")
    assert wiped(ENCODED, threads, full=True) == expect
    # The same trick finds letters that decode on reading.
    assert wiped(ENCODED, threads) != expect
    # Memory that may change: nothing of it is read again, not even what is not encoded.
    for letter in (ENCODED, *LETTERS[:40]):
        memory = bytearray(letter)
        (m,) = mparser.parse_many([memory], threads=threads, full=True)
        memory[:] = b"x" * len(memory)
        assert m.to_dict() == mparser.extract(letter)


def test_letters_may_stay_longer_than_their_iterator():
    kept = list(mparser.parse_many(LETTERS * 3, threads=3, full=True))
    del kept[::2]
    assert len(list(mparser.parse_many(LETTERS, threads=2, full=True))) == len(LETTERS)
    assert dicts(kept) == (FULL * 3)[1::2]


def test_nothing_leaks():
    def pages():
        for _ in range(10):
            for m in mparser.parse_many(LETTERS, threads=2, full=True):
                m.to_dict()
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1])

    before = max(pages() for _ in range(3))
    # 300 letters have 12 MB: one pass that stays would be seen.
    assert pages() - before < 2_000


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_mbox(threads, tmp_path):
    letters = [*LETTERS, SIMPLE + b"\nFrom me\n>From you\n\nFrom nobody\n>>From all\n"]
    expect = [with_end(letter) for letter in letters]
    path = tmp_path / "mbox"
    path.write_bytes(mbox_of(letters))
    sources = [path, str(path), path.read_bytes(), bytearray(path.read_bytes())]
    for source in sources:
        assert [bytes(m) for m in mparser.parse_many(source, threads=threads)] == expect
        full = list(mparser.parse_many(source, threads=threads, full=True))
        assert dicts(full) == [mparser.extract(letter) for letter in expect]
        assert [(bytes(m), bytes(m.raw)) for m in full] == [(letter, letter) for letter in expect]
    stdlib = [m["Message-ID"] for m in mailbox.mbox(path)]
    assert [f"<{m.message_id}>" for m in mparser.parse_many(path, threads=threads)][:300] == stdlib[:300]


def test_odd_mboxes(tmp_path):
    def check(content: bytes, expect: list[bytes]):
        path = tmp_path / "odd"
        path.write_bytes(content)
        for source in (path, content, bytearray(content)):
            assert [bytes(m) for m in mparser.parse_many(source)] == expect

    check(b"", [])
    check(b"\n\n\n", [])
    check(b"From a\n", [b""])
    check(b"From a", [b""])
    check(SIMPLE, [SIMPLE])
    check(b"From a\r\nSubject: x\r\n\r\ny\r\n\r\nFrom b\r\nSubject: z\r\n\r\n", [b"Subject: x\r\n\r\ny\r\n", b"Subject: z\r\n"])
    check(b"From a\nSubject: x\n\nFrom here\nFrom there\n", [b"Subject: x\n", b"From there\n"])
    # Longer than what is read at once.
    big = b"Subject: big\n\n" + b"x" * 76 * 20_000 + b"\n"
    check(b"From a\n" + big + b"\nFrom b\n" + SIMPLE, [big, SIMPLE])
    check(b"From a\n" + big, [big])


def test_maildir(tmp_path):
    folder = tmp_path / "Maildir"
    for name in ("new", "cur", "tmp"):
        (folder / name).mkdir(parents=True)
    (folder / "new" / "1.a.host").write_bytes(LETTERS[1])
    (folder / "cur" / "0.b.host:2,RS").write_bytes(LETTERS[2])
    (folder / "cur" / "2.c.host:2,").write_bytes(POLISH)
    (folder / "cur" / ".hidden").write_bytes(b"")
    (folder / "tmp" / "3.d.host").write_bytes(b"not yet")
    for threads in (1, 2):
        found = [(bytes(m), m.flags) for m in mparser.parse_many(folder, threads=threads)]
        assert found == [(LETTERS[1], ""), (LETTERS[2], "RS"), (POLISH, "")]
        full = list(mparser.parse_many(str(folder), threads=threads, full=True))
        assert [(bytes(m), m.flags) for m in full] == found
        assert [seen(m) for m in full] == [EXPECT[1], EXPECT[2], seen(mparser.parse(POLISH))]
        assert full[2].to_dict() == mparser.extract(POLISH) | {"flags": ""}
        inside = [part.message() for part in full[2].walk() if part.content_type == "message/rfc822"]
        assert [m.subject for m in inside] == ["inside"]
    # Other programs give flags and delete meanwhile.
    letters = mparser.parse_many(folder, threads=1)
    (folder / "new" / "1.a.host").rename(folder / "cur" / "1.a.host:2,S")
    (folder / "cur" / "2.c.host:2,").unlink()
    assert [(bytes(m), m.flags) for m in letters] == [(LETTERS[1], "S"), (LETTERS[2], "RS")]


def test_errors_come_in_their_place(tmp_path):
    found = []
    with pytest.raises(TypeError, match=r"argument 'source\[2\]' must be bytes.*, not str"):
        for m in mparser.parse_many([SIMPLE, SIMPLE, "x", SIMPLE], threads=2):
            found.append(m.subject)
    assert found == ["hi", "hi"]

    def broken():
        yield SIMPLE
        raise LookupError("no more")

    letters = mparser.parse_many(broken())
    assert next(letters).subject == "hi"
    with pytest.raises(LookupError, match="no more"):
        next(letters)
    assert next(letters, None) is None
    with pytest.raises(TypeError, match="argument 'source' must be an iterable"):
        mparser.parse_many(3)
    for threads in (0, 5000):
        with pytest.raises(ValueError, match="argument 'threads' must lie between 1 and"):
            mparser.parse_many([], threads=threads)
    with pytest.raises(FileNotFoundError):
        mparser.parse_many(tmp_path / "none")
    with pytest.raises(ValueError, match="is no Maildir"):
        mparser.parse_many(tmp_path)
    assert list(mparser.parse_many([])) == []


def test_memory_is_bounded():
    taken = 0

    def source():
        nonlocal taken
        for _ in range(100_000):
            taken += 1
            yield SIMPLE

    letters = mparser.parse_many(source(), threads=2)
    for _ in range(10):
        next(letters)
    assert taken < 2_000
    del letters  # its threads end


def test_threads_end_with_the_iterator():
    def count():
        return len(list(Path("/proc/self/task").iterdir()))

    before = count()
    for _ in range(20):
        letters = mparser.parse_many(LETTERS, threads=4)
        next(letters)
        del letters
    assert count() <= before


def test_one_letter_read_by_many_threads():
    m = mparser.parse(POLISH * 1)
    expect, wrong = seen(m), []

    def work():
        for _ in range(100):
            if seen(m) != expect or mparser.extract(POLISH)["text"] != m.text:
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
