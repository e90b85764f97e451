"""Every value of Message, Part, Headers and Address, on letters that are not easy."""

import base64
from datetime import datetime, timedelta, timezone

import pytest

from letters import PNG, POLISH, SIMPLE
from libop import mparser
from libop.mparser import Address


def letter(text: str) -> mparser.Message:
    return mparser.parse(text.encode())


def test_the_polish_letter():
    m = mparser.parse(POLISH)
    assert m.subject == "Zażółć gęślą"
    assert [(a.name, a.address) for a in m.from_] == [("Zofia Gałązka", "zofia@example.test")]
    assert [str(a) for a in m.to] == ['"Kowalski, Jan" <jan@example.test>', "a@example.test", "b@example.test"]
    assert str(m.cc[0]) == "Łódź <lodz@example.test>"
    assert (m.cc[0].local, m.cc[0].domain) == ("lodz", "example.test")
    assert [m.reply_to[0].address, m.sender[0].address, m.bcc[0].address] == [
        "odp@example.test",
        "sekretariat@example.test",
        "ukryty@example.test",
    ]
    assert m.date == datetime(2026, 6, 1, 10, tzinfo=timezone(timedelta(hours=2)))
    assert m.date.utcoffset() == timedelta(hours=2)
    assert m.message_id == "id.1@example.test"
    assert m.in_reply_to == ["id.0@example.test"]
    assert m.references == ["root@example.test", "id.0@example.test"]
    assert m.text == "Dzień dobry\r\n" and m.html == "<p>Dzień dobry</p>"
    assert m.preview == "Dzień dobry"
    assert (m.size, m.lines, m.flags) == (len(POLISH), POLISH.count(b"\n"), None)
    assert m.defects == [] and m.ambiguity == ()
    assert [p.path for p in m.attachments] == ["2", "3"]


def test_its_parts():
    m = mparser.parse(POLISH)
    tree = [(p.path, p.content_type, p.is_multipart, p.is_attachment) for p in m.walk()]
    assert tree == [
        ("", "multipart/mixed", True, False),
        ("1", "multipart/alternative", True, False),
        ("1.1", "text/plain", False, False),
        ("1.2", "text/html", False, False),
        ("2", "image/png", False, True),
        ("3", "message/rfc822", False, True),
        ("3.1", "text/plain", False, False),
    ]
    assert [p.path for p in m.parts] == [p.path for p in m.walk()]
    for path, *_ in tree:
        assert m.part(path).path == path
    for path in ("4", "1.3", "3.2", "x", "1.", "0"):
        with pytest.raises(KeyError):
            m.part(path)
    png = m.part("2")
    assert (png.maintype, png.subtype, png.encoding, png.disposition) == ("image", "png", "base64", "attachment")
    assert (png.filename, png.content_id, png.charset) == ("żółw.png", "<obraz@example.test>", None)
    assert png.content == PNG and png.text is None and not png.is_text
    assert png.param("name") == "zly.png" and png.param("none") is None
    assert bytes(png.raw) == bytes(png.raw_header) + bytes(png.raw_body)
    assert png.size == len(png.raw_body) and png.lines == bytes(png.raw_body).count(b"\n") + (
        not bytes(png.raw_body).endswith(b"\n")
    )
    assert png.parent.path == "" and m.part("").parent is None and png.root.size == m.size
    assert [p.path for p in m.part("1").parts] == ["1.1", "1.2"]
    plain = m.part("1.1")
    assert (plain.charset, plain.text, plain.content) == ("iso-8859-2", "Dzień dobry\r\n", b"Dzie\xf1 dobry\r\n")
    inner = m.part("3").message()
    assert (inner.subject, inner.text, inner.from_[0].address) == ("inside", "nested", "in@example.test")
    assert inner.raw.obj is m.raw.obj and png.message() is None


def test_paths_of_letters_in_letters():
    inner = 'Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b\n\ny\n--b--\n'
    m = letter("Content-Type: message/rfc822\n\n" + inner)
    assert [p.path for p in m.walk()] == ["", "1.TEXT", "1.1", "1.2"]
    m = letter("Subject: alone\n\nx")
    assert m.part("1").path == "" and m.part("1").text == "x"


def test_headers():
    h = mparser.parse(POLISH).headers
    assert h["subject"] == h["SUBJECT"] == "Zażółć gęślą"
    assert h.get("X-None") is None and h.get("X-None", 3) == 3
    with pytest.raises(KeyError):
        h["X-None"]
    assert h.get_all("received") == ["one", "two"] and h.get_all("X-None") == []
    assert "to" in h and "X-None" not in h and len(h) == 15
    assert list(h) == h.keys() == [name for name, _ in h.items()]
    assert h.values() == [value for _, value in h.items()]
    assert h.keys()[:3] == ["Date", "From", "To"]
    assert bytes(h.raw("References")) == b"References: <root@example.test>\r\n <id.0@example.test>\r\n"
    assert h.raw("X-None") is None
    assert b"".join(bytes(f) for f in h.raw_items()) + b"\r\n" == bytes(mparser.parse(POLISH).part("").raw_header)
    part = mparser.parse(POLISH).part("2").headers
    assert part.keys() == ["Content-Type", "Content-Disposition", "Content-ID", "Content-Transfer-Encoding"]


def check(raw: str | bytes, **expect):
    m = mparser.parse(raw.encode() if isinstance(raw, str) else raw)
    for name, value in expect.items():
        assert getattr(m, name) == value, name


def test_hard_values():
    check("Subject: a\n b\tc\n\n", subject="a b c")
    check("Subject:\n\n", subject="")
    check("X: y\n\n", subject=None, message_id=None, date=None, text="", html=None, from_=[])
    check("Subject: first\nSubject: second\n\n", subject="first")
    check(b"Subject: \xb1\xb6\nContent-Type: text/plain; charset=iso-8859-2\n\n", subject="ąś")
    check("Date: Mon, 31 Feb 2026 10:00:00 +0000\n\n", date=None)
    check("Date: 1 Jan 0000 10:00:00 +0000\n\n", date=None)
    check("Date: 1 Jan 2026 23:59:60 -0330\n\n", date=datetime(2026, 1, 1, 23, 59, 59, tzinfo=timezone(-timedelta(hours=3, minutes=30))))
    check("Message-ID: x@y\n\n", message_id="x@y")
    check("Content-Type: text/html\n\n<b>x</b>", html="<b>x</b>", text=None, preview="x")
    check("Content-Type: text/plain; charset=utf-7\n\n+AUI-", text="ł")
    check(b"Content-Type: text/plain; charset=nonsense\n\n\xc5\x82", text="ł")
    check("Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\nSGk=\nSGk!!=", text="HiHi")
    check("Subject : odd\n\n", subject="odd")


def test_damage_is_told():
    m = letter("Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n")
    assert {d.kind for d in m.defects} >= {"missing_date", "missing_from", "missing_close_boundary"}
    assert "missing_close" in m.ambiguity
    breach = next(b for b in m.check() if b.rule == "date_once")
    assert (breach.rfc, breach.section, breach.offset) == (5322, "3.6", 0) and "Date" in breach.sentence
    assert repr(breach) == "Breach(rule='date_once', rfc=5322, section='3.6', offset=0)"


def test_addresses_are_values():
    a, b = letter("From: A <a@example.test>\nTo: A <a@example.test>, B <a@example.test>\n\n").from_[0], None
    to = letter("To: A <a@example.test>, B <a@example.test>\n\n").to
    assert a == to[0] and hash(a) == hash(to[0]) and a != to[1] and a != b and a != "a@example.test"
    match to[1]:
        case Address(name, address):
            assert (name, address) == ("B", "a@example.test")
    assert repr(a) == "Address(name='A', address='a@example.test')"
    with pytest.raises(AttributeError):
        a.name = "C"
    root = letter("From: root\n\n").from_[0]
    assert (root.name, root.address, root.local, root.domain, str(root)) == (None, "root", "root", "", "root")
    quoted = letter('From: "a \\"b\\", c" <x@example.test>\n\n').from_[0]
    assert str(quoted) == '"a \\"b\\", c" <x@example.test>'


def test_files_inside_parts():
    m = letter("\nhi\nbegin 644 u.bin\n%:&5L;&\\\n`\nend\n=ybegin line=128 size=3 name=y.bin\n" + "\x7e\x7e\x7e".replace("\x7e", "k") + "\n=yend size=3\n")
    files = m.embedded_files()
    assert [(f.filename, f.wrapping, f.content_type) for f in files] == [
        ("u.bin", "uuencode", None),
        ("y.bin", "yenc", None),
    ]
    assert files[0].content == b"hello" and files[1].content == b"AAA"
    assert "u.bin" in repr(files[0]) and m.part("").embedded_files()[0].content == b"hello"
    # TNEF: signature, key, then attachment attributes (level, id, length, data, checksum).
    def attribute(number: int, data: bytes) -> bytes:
        return b"\x02" + number.to_bytes(4, "little") + len(data).to_bytes(4, "little") + data + (sum(data) % 65536).to_bytes(2, "little")
    tnef = b"\x78\x9f\x3e\x22\x01\x00" + attribute(0x00069002, bytes(14)) + attribute(0x00018010, b"a.txt\0") + attribute(0x0006800F, b"hi")
    m = mparser.parse(b"Content-Type: application/ms-tnef; name=winmail.dat\nContent-Transfer-Encoding: base64\n\n" + base64.encodebytes(tnef))
    assert [(f.filename, f.content, f.wrapping) for f in m.part("1").embedded_files()] == [("a.txt", b"hi", "tnef")]


def test_encoded_letters_open_when_asked():
    raw = b"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n" + base64.encodebytes(SIMPLE)
    assert mparser.parse(raw).part("1").message().subject == "hi"


def test_extract():
    d = mparser.extract(POLISH, headers=True)
    m = mparser.parse(POLISH)
    assert (d["subject"], d["from"], d["to"], d["cc"]) == (m.subject, m.from_, m.to, m.cc)
    assert (d["date"], d["message_id"], d["text"], d["html"]) == (m.date, m.message_id, m.text, m.html)
    assert d["headers"] == m.headers.items()
    leaves = [p for p in m.walk() if not p.is_multipart and p.content_type != "message/rfc822"]
    assert d["parts"] == [(p.content_type, p.filename, p.text if p.is_text else p.content) for p in leaves]
    assert "headers" not in mparser.extract(SIMPLE) and "flags" not in d
    assert mparser.extract(b"")["subject"] is None


def test_parse_header_reads_the_header_alone():
    m = mparser.parse_header(POLISH)
    assert m.subject == "Zażółć gęślą" and m.headers["to"] == mparser.parse(POLISH).headers["to"]
    assert len(m.parts) == 1
