"""Reads mail: RFC 5322 and MIME, out of bytes, bytearray, memoryview or mmap, without copying.

>>> from libop import mparser
>>> letter = mparser.parse(b"From: Ala <ala@example.test>\\r\\nSubject: =?utf-8?Q?Cze=C5=9B=C4=87?=\\r\\n\\r\\nHi\\r\\n")
>>> letter.subject, letter.from_[0].address, letter.text
('Cześć', 'ala@example.test', 'Hi\\r\\n')

A damaged letter is read as far as it goes and never raises; ``Message.defects`` says what is wrong.
"""

from ._email import EmailView
from ._libop.mparser import (
    Address,
    Breach,
    Defect,
    EmbeddedFile,
    Headers,
    Message,
    Overview,
    ParseMany,
    Part,
    extract,
    overview,
    parse,
    parse_header,
    parse_many,
)
from ._types import Extracted

__all__ = [
    "Address",
    "Breach",
    "Defect",
    "EmailView",
    "EmbeddedFile",
    "Extracted",
    "Headers",
    "Message",
    "Overview",
    "ParseMany",
    "Part",
    "extract",
    "overview",
    "parse",
    "parse_header",
    "parse_many",
]
