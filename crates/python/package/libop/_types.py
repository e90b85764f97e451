"""Shapes of the plain objects that functions of this package give."""

from datetime import datetime
from typing import TYPE_CHECKING, NotRequired, TypedDict

if TYPE_CHECKING:
    from ._libop.mparser import Address

# One of its keys is a word of Python, so it cannot be written as a class.
Extracted = TypedDict(
    "Extracted",
    {
        "subject": str | None,
        "from": "list[Address]",
        "to": "list[Address]",
        "cc": "list[Address]",
        "date": datetime | None,
        "message_id": str | None,
        "headers": NotRequired[list[tuple[str, str]]],
        "text": str | None,
        "html": str | None,
        "parts": list[tuple[str, str | None, str | bytes]],
        "flags": NotRequired[str],
    },
)
"""A whole letter: what ``mparser.extract`` and ``Message.to_dict`` give.

``parts`` has every part that has no parts of its own, in order, as (content type, file name, content); content is str
for text and bytes for everything else. ``headers`` is there if it was asked for, ``flags`` for a letter of a Maildir.
"""
