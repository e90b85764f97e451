"""libop doing the same as peers.py."""

import os
import tempfile
from collections import deque

from libop import mparser

parse, extract, overview = mparser.parse, mparser.extract, mparser.overview


def full_extract(letter):
    found = extract(letter, headers=False)
    return (found["subject"], found["from"], found["to"], found["message_id"], found["date"], found["parts"])


def full_message(letter):
    message = parse(letter)
    leaves = [
        (part.content_type, part.filename, part.text if part.is_text else part.content)
        for part in message.walk()
        if not part.is_multipart and part.content_type != "message/rfc822"
    ]
    return (message.subject, message.from_, message.to, message.message_id, message.date, leaves)


def lazy_message(letter):
    message = parse(letter)
    return (
        message.subject,
        message.from_,
        message.to,
        message.message_id,
        message.date,
        [(part.content_type, part.filename, None) for part in message.walk()],
    )


def lazy_overview(letter):
    found = overview(letter)
    return (found.subject, found.from_, found.to, found.message_id, found.date, found.parts)


def many_decoded(letters, threads):
    """Every value decoded by the threads; let go one after the other, as a program does that cannot keep a mailbox in memory."""
    deque(mparser.parse_many(letters, threads=threads, full=True), maxlen=0)


def many_maildir(letters, threads):
    """The same out of files, written once."""
    deque(mparser.parse_many(maildir(letters), threads=threads, full=True), maxlen=0)


FOLDERS = {}


def maildir(letters):
    key = len(letters), sum(map(len, letters))
    if key not in FOLDERS:
        FOLDERS[key] = tempfile.TemporaryDirectory(prefix="bench-python-")
        for name in ("new", "cur", "tmp"):
            os.mkdir(os.path.join(FOLDERS[key].name, name))
        for number, letter in enumerate(letters):
            with open(os.path.join(FOLDERS[key].name, "cur", f"{number:06}.bench:2,S"), "wb") as file:
                file.write(letter)
    return FOLDERS[key].name


def many_read(letters, threads):
    """The same, and every value read as a Python object by the thread that iterates."""
    for message in mparser.parse_many(letters, threads=threads, full=True):
        message.to_dict()
