"""What libop is measured beside: the standard library's two policies, and PyPI's fast-mail-parser.

Every `full_…` reads subject, from, to, message id and date, and every leaf decoded with its type and name. It
answers (subject, from, to, message_id, date, leaves), leaves being (type, name, str or bytes); where a parser gives
less or other things, its row in ROWS says so. `lazy_…` reads the same fields, and type and name of every part.
"""

from email import policy
from email.header import decode_header, make_header
from email.parser import BytesParser
from email.utils import getaddresses, parsedate_to_datetime

import fast_mail_parser

DEFAULT = BytesParser(policy=policy.default)
COMPAT32 = BytesParser(policy=policy.compat32)


def full_default(letter):
    message = DEFAULT.parsebytes(letter)
    sender, to, date = message["From"], message["To"], message["Date"]
    leaves = []
    for part in message.walk():
        if part.is_multipart():
            continue
        try:
            content = part.get_content()
        except (KeyError, LookupError, UnicodeError):  # no handler for the type, a charset nobody knows
            content = part.get_payload(decode=True)
        leaves.append((part.get_content_type(), part.get_filename(), content))
    return (
        message["Subject"],
        sender and sender.addresses,
        to and to.addresses,
        message["Message-ID"],
        date and date.datetime,
        leaves,
    )


def full_compat32(letter):
    message = COMPAT32.parsebytes(letter)
    leaves = []
    for part in message.walk():
        if part.is_multipart():
            continue
        content = part.get_payload(decode=True) or b""
        if part.get_content_maintype() == "text":
            try:
                content = content.decode(part.get_content_charset() or "ascii", "replace")
            except LookupError:
                content = content.decode("latin-1")
        leaves.append((part.get_content_type(), part.get_filename(), content))
    return (*_fields(message), leaves)


def lazy_compat32(letter):
    message = COMPAT32.parsebytes(letter)
    return (*_fields(message), [(part.get_content_type(), part.get_filename(), None) for part in message.walk()])


def _fields(message):
    try:
        date = parsedate_to_datetime(message["Date"])
    except (TypeError, ValueError):
        date = None
    return (
        _words(message["Subject"]),
        getaddresses([_words(message["From"]) or ""]),
        getaddresses([_words(message["To"]) or ""]),
        message["Message-ID"],
        date,
    )


def _words(value):
    """compat32 leaves encoded words (RFC 2047) to the caller; this is how its manual says to do it."""
    if value is None:
        return None
    try:
        return str(make_header(decode_header(value)))
    except (LookupError, UnicodeError, ValueError):
        return str(value)


def full_fast(letter):
    mail = fast_mail_parser.parse_email(letter)
    leaves = [("text/plain", None, text) for text in mail.text_plain]
    leaves += [("text/html", None, text) for text in mail.text_html]
    leaves += [(part.mimetype, part.filename, part.content) for part in mail.attachments]
    return (mail.subject, mail.from_, mail.to, _first(mail.headers, "Message-ID"), mail.date_parsed, leaves)


def tree_fast(letter):
    root = fast_mail_parser.parse_email_tree(letter)
    headers = root.headers
    leaves = [
        (part.content_type, part.filename, part.content)
        for part in fast_mail_parser.walk(root)
        if part.content is not None
    ]
    return (
        _first(headers, "Subject"),
        _first(headers, "From"),
        _first(headers, "To"),
        _first(headers, "Message-ID"),
        _first(headers, "Date"),
        leaves,
    )


def metadata_fast(letter):
    mail = fast_mail_parser.parse_email(letter, mode="metadata")
    names = [(part.mimetype, part.filename, None) for part in mail.attachments]
    return (mail.subject, mail.from_, mail.to, _first(mail.headers, "Message-ID"), mail.date_parsed, names)


def _first(headers, name):
    """Its names keep the case the letter has: look under the two common spellings, not under all."""
    values = headers.get(name) or headers.get(name.title())
    return values[0] if values else None


def many_fast(letters, threads):
    return fast_mail_parser.parse_many(letters, threads=threads)
