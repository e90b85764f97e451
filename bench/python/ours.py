"""libop doing the same as peers.py."""

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


def many_read(letters, threads):
    """The same, and every value read as a Python object by the thread that iterates."""
    for message in mparser.parse_many(letters, threads=threads, full=True):
        message.to_dict()
