"""overview: the same values as Message and Part give, in one call."""

import mmap
import pickle
import tempfile
from datetime import datetime, timedelta, timezone

import pytest

from letters import POLISH, SIMPLE
from libop import mparser


def values(data):
    """What overview shows, read from a Message."""
    m = mparser.parse(data)
    index = {part.path: number for number, part in enumerate(m.walk())}
    parts = [
        (p.content_type, p.filename, None if p.parent is None else index[p.parent.path], p.size) for p in m.walk()
    ]
    return m.subject, m.from_, m.to, m.date, m.message_id, parts


LETTERS = [
    POLISH,
    SIMPLE,
    b"",
    b"\n\nno header",
    b"Subject:\n\n",
    b"Subject: \xb1\xe6\n\n",
    b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/x; NAME=a.txt\n\nx\n--b--\n",
    b"Content-Type: application/x-name; filename=no\nContent-Disposition: attachment; FileName*=utf-8''%C4%85\n\nx",
    b"Date: Sat, 31 Dec 2016 23:59:60 +0000\n\n",
    b"Date: Thu, 29 Feb 2024 00:00:00 -0330\n\n",
    b"Date: Wed, 30 Feb 2022 00:00:00 +0000\n\n",
]


@pytest.mark.parametrize("raw", LETTERS)
def test_it_shows_what_a_message_shows(raw):
    o = mparser.overview(raw)
    assert (o.subject, o.from_, o.to, o.date, o.message_id, o.parts) == values(raw)


def test_the_polish_letter():
    o = mparser.overview(POLISH)
    assert (o.subject, o.message_id) == ("Zażółć gęślą", "id.1@example.test")
    assert [(kind, parent) for kind, _, parent, _ in o.parts] == [
        ("multipart/mixed", None),
        ("multipart/alternative", 0),
        ("text/plain", 1),
        ("text/html", 1),
        ("image/png", 0),
        ("message/rfc822", 0),
        ("text/plain", 5),
    ]
    assert o.parts[4][1] == "żółw.png"
    assert repr(o) == "<libop.mparser.Overview subject='Zażółć gęślą' 7 parts>"


def test_any_bytes_like_object():
    with tempfile.TemporaryFile() as file:
        file.write(POLISH)
        file.flush()
        with mmap.mmap(file.fileno(), 0) as mapped:
            for data in (bytearray(POLISH), memoryview(POLISH), mapped):
                assert mparser.overview(data).parts == mparser.overview(POLISH).parts
    with pytest.raises(TypeError, match=r"overview\(\).*data"):
        mparser.overview("text")


def test_dates_are_like_any_other():
    """They are made in the form pickle writes: that must give the same as eight numbers."""
    date = mparser.overview(b"Date: Thu, 29 Feb 2024 12:34:56 -0330\n\n").date
    same = datetime(2024, 2, 29, 12, 34, 56, tzinfo=timezone(timedelta(hours=-3, minutes=-30)))
    assert date == same and (date.fold, date.microsecond) == (0, 0)
    assert repr(date) == repr(same) and pickle.loads(pickle.dumps(date)) == same
    leap = mparser.overview(b"Date: Sat, 31 Dec 2016 23:59:60 +0000\n\n").date
    assert leap == datetime(2016, 12, 31, 23, 59, 59, tzinfo=timezone.utc)
    first = mparser.overview(b"Date: Mon, 1 Jan 1 00:00:00 +0000\n\n").date
    assert first is None or first.year >= 1
