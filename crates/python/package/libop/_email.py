"""The ways over to the standard library: a real EmailMessage, and a look-alike that only reads."""

from __future__ import annotations

import email.message
import email.policy
from collections.abc import Iterator, Sequence
from email.parser import BytesParser
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._libop.mparser import Message, Part

_PARSER = BytesParser(policy=email.policy.default)

# What may be the body, or hold it; everything else at its level is an attachment.
_BODIES = {"text/plain", "text/html", "multipart/related", "multipart/alternative"}


def to_email_message(raw: bytes) -> email.message.EmailMessage:
    """The letter as the standard library reads it, with its default policy."""
    message = _PARSER.parsebytes(raw)
    assert isinstance(message, email.message.EmailMessage)
    return message


class EmailView:
    """A letter or one of its parts with the methods of email.message.EmailMessage that read.

    Values come from our own parser; on damaged letters they are what it finds there, where EmailMessage may raise.
    """

    __slots__ = ("_part",)

    def __init__(self, part: Part) -> None:
        self._part = part

    @property
    def part(self) -> Part:
        """The part behind it."""
        return self._part

    @property
    def message(self) -> Message:
        """The letter it belongs to."""
        return self._part.root

    # The header, as a mapping. Names are compared without case; a missing one is None, as EmailMessage has it.

    def __len__(self) -> int:
        return len(self._part.headers)

    def __contains__(self, name: str) -> bool:
        return name in self._part.headers

    def __iter__(self) -> Iterator[str]:
        return iter(self._part.headers)

    def __getitem__(self, name: str) -> str | None:
        return self._part.headers.get(name)

    def keys(self) -> list[str]:
        return self._part.headers.keys()

    def values(self) -> list[str]:
        return self._part.headers.values()

    def items(self) -> list[tuple[str, str]]:
        return self._part.headers.items()

    def get(self, name: str, failobj: Any = None) -> Any:
        return self._part.headers.get(name, failobj)

    def get_all(self, name: str, failobj: Any = None) -> Any:
        return self._part.headers.get_all(name) or failobj

    # What kind of part it is.

    def get_content_type(self) -> str:
        return self._part.content_type

    def get_content_maintype(self) -> str:
        return self._part.maintype

    def get_content_subtype(self) -> str:
        return self._part.subtype

    def get_default_type(self) -> str:
        parent = self._part.parent
        digest = parent is not None and parent.content_type == "multipart/digest"
        return "message/rfc822" if digest else "text/plain"

    def get_content_charset(self, failobj: Any = None) -> Any:
        charset = self._part.charset
        return failobj if charset is None else charset.lower()

    def get_charsets(self, failobj: Any = None) -> list[Any]:
        return [part.get_content_charset(failobj) for part in self.walk()]

    def get_content_disposition(self) -> str | None:
        return self._part.disposition

    def get_filename(self, failobj: Any = None) -> Any:
        name = self._part.filename
        return failobj if name is None else name

    def get_boundary(self, failobj: Any = None) -> Any:
        boundary = self._part.param("boundary")
        return failobj if boundary is None else boundary

    def get_param(
        self, param: str, failobj: Any = None, header: str = "content-type", unquote: bool = True
    ) -> Any:
        if header.lower() == "content-type":
            value = self._part.param(param)
            return failobj if value is None else value
        # Fields that the parser has no table of parameters for.
        text = self.get(header)
        if text is None:
            return failobj
        other = email.message.Message()
        other[header] = text
        return other.get_param(param, failobj, header, unquote)

    def is_multipart(self) -> bool:
        """Whether its payload is a list; so it is for a letter inside a letter, too."""
        return bool(self._part.parts)

    def is_attachment(self) -> bool:
        return self._part.disposition == "attachment"

    # What is in it.

    def walk(self) -> Iterator[EmailView]:
        todo = [self]
        while todo:
            part = todo.pop()
            yield part
            todo.extend(reversed(list(part.iter_parts())))

    def iter_parts(self) -> Iterator[EmailView]:
        return map(EmailView, self._part.parts)

    def iter_attachments(self) -> Iterator[EmailView]:
        kind = self.get_content_type()
        if not kind.startswith("multipart/") or kind == "multipart/alternative":
            return
        parts = list(self.iter_parts())
        if kind == "multipart/related":
            start = self._start(parts)
            yield from (part for part in parts if part is not start)
            return
        seen = set()
        for part in parts:
            kind = part.get_content_type()
            if kind in _BODIES and kind not in seen and not part.is_attachment():
                seen.add(kind)
            else:
                yield part

    def get_body(
        self, preferencelist: Sequence[str] = ("related", "html", "plain")
    ) -> EmailView | None:
        """The part that is most like the body, the kinds of the list tried in its order."""
        best, found = len(preferencelist), None
        for rank, part in self._bodies(preferencelist):
            if rank < best:
                best, found = rank, part
        return found

    def _bodies(self, wanted: Sequence[str]) -> Iterator[tuple[int, EmailView]]:
        todo = [self]
        while todo:
            part = todo.pop()
            if part.is_attachment():
                continue
            maintype, subtype = part.get_content_maintype(), part.get_content_subtype()
            if maintype == "text" or (maintype, subtype) == ("multipart", "related"):
                if subtype in wanted:
                    yield wanted.index(subtype), part
            if maintype != "multipart":
                continue
            parts = list(part.iter_parts())
            if subtype == "related":
                start = part._start(parts)
                parts = [start] if start else []
            todo.extend(reversed(parts))

    def _start(self, parts: list[EmailView]) -> EmailView | None:
        """The part of a multipart/related that the others belong to."""
        start = self._part.param("start")
        named = (part for part in parts if start and part["content-id"] == start)
        return next(named, parts[0] if parts else None)

    def get_content(self) -> Any:
        """str for text, bytes for other content, an EmailView for a letter inside. A multipart has none: KeyError."""
        part = self._part
        text = part.text
        if text is not None:
            return text
        inside = part.parts
        if part.is_multipart:
            raise KeyError(part.content_type)
        return EmailView(inside[0]) if inside else part.content

    def get_payload(self, i: int | None = None, decode: bool = False) -> Any:
        """The parts inside, or one of them; of a part without parts its content as bytes, or as it stands as str."""
        inside = self._part.parts
        if inside:
            if decode:
                return None
            return EmailView(inside[i]) if i is not None else [EmailView(part) for part in inside]
        if i is not None:
            raise TypeError(f"Expected list, got {type(self).__name__} without parts")
        if decode:
            return self._part.content
        return bytes(self._part.raw_body).decode("ascii", "surrogateescape")

    @property
    def defects(self) -> list[Any]:
        """What is wrong with the whole letter."""
        return self._part.root.defects

    def as_bytes(self) -> bytes:
        """The part as it stands in the letter: nothing is written anew."""
        return bytes(self._part.raw)

    def as_string(self) -> str:
        """The same as text; bytes over 127 are kept as surrogates."""
        return self.as_bytes().decode("ascii", "surrogateescape")

    def __bytes__(self) -> bytes:
        return self.as_bytes()

    def __str__(self) -> str:
        return self.as_string()

    def __repr__(self) -> str:
        return f"<libop.mparser.EmailView of {self._part!r}>"
