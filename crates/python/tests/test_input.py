"""What may be parsed, that it is never copied, and how long it is kept."""

import array
import gc
import mmap

import pytest

from letters import POLISH, SIMPLE
from libop import mparser


def kinds(tmp_path):
    path = tmp_path / "letter.eml"
    path.write_bytes(POLISH)
    with open(path, "r+b") as file:
        writable = mmap.mmap(file.fileno(), 0)
        readable = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    padded = bytearray(b"xx" + POLISH + b"yy")
    return {
        "bytes": POLISH,
        "bytearray": bytearray(POLISH),
        "memoryview": memoryview(POLISH),
        "writable memoryview": memoryview(bytearray(POLISH)),
        "slice of a memoryview": memoryview(padded)[2:-2],
        "mmap": writable,
        "read-only mmap": readable,
        "array": array.array("B", POLISH),
    }


def values(letter):
    return (
        letter.subject,
        [str(a) for a in letter.from_ + letter.to + letter.cc + letter.bcc],
        letter.date,
        letter.text,
        letter.html,
        letter.headers.items(),
        [(p.path, p.content_type, p.filename, p.content, bytes(p.raw)) for p in letter.walk()],
        [(d.kind, d.offset) for d in letter.defects],
        [(b.rule, b.offset) for b in letter.check()],
        letter.ambiguity,
        letter.preview,
        bytes(letter),
    )


def test_all_kinds_read_the_same(tmp_path):
    expect = values(mparser.parse(POLISH))
    whole = mparser.extract(POLISH, headers=True)
    for name, data in kinds(tmp_path).items():
        assert values(mparser.parse(data)) == expect, name
        assert mparser.extract(data, headers=True) == whole, name
        assert mparser.parse_header(data).subject == expect[0], name


def test_nothing_is_copied(tmp_path):
    for name, data in kinds(tmp_path).items():
        letter = mparser.parse(data)
        owner = data.obj if isinstance(data, memoryview) else data
        spans = [letter.raw, letter.part("2").raw_body, letter.part("1.1").raw_header, letter.headers.raw("To")]
        for span in spans:
            assert isinstance(span, memoryview), name
            assert span.obj is owner, name
        assert letter.raw == POLISH, name


def test_wider_items_are_read_as_bytes():
    data = array.array("I", SIMPLE + b"\n" * (-len(SIMPLE) % 4))
    letter = mparser.parse(data)
    assert letter.subject == "hi"
    assert bytes(letter.part("1").raw_body).startswith(b"Hello")


def test_spans_outlive_the_letter():
    data = bytes(bytearray(POLISH))  # nobody else holds it
    letter = mparser.parse(data)
    body, header = letter.part("1.1").raw_body, letter.headers.raw("Message-ID")
    part = letter.part("2")
    del letter, data
    gc.collect()
    junk = [bytes(len(POLISH)) for _ in range(50)]
    assert bytes(body) == b"Dzie=F1 dobry\r\n"
    assert bytes(header) == b"Message-ID: <id.1@example.test>\r\n"
    assert part.filename == "żółw.png"
    assert len(junk) == 50


def test_a_bytearray_keeps_its_size_while_it_is_parsed():
    data = bytearray(SIMPLE)
    letter = mparser.parse(data)
    with pytest.raises(BufferError):
        data.extend(b"more")
    body = letter.part("1").raw_body
    del letter
    with pytest.raises(BufferError):
        data.clear()
    del body
    data.extend(b"more")
    assert data.endswith(b"more")


def test_a_changed_letter_gives_odd_text_and_nothing_worse():
    for fill in (0, 10, 45, 58, 61, 255):
        data = bytearray(POLISH)
        letter = mparser.parse(data)
        parts, headers = letter.parts, letter.headers
        data[:] = bytes([fill]) * len(data)
        assert isinstance(values(letter), tuple)
        assert len(headers.items()) == len(headers)
        for part in parts:
            assert len(part.content) <= len(data) * 4 and part.content_type
            assert part.message() is None or part.message().size <= len(data)


@pytest.mark.parametrize("call", [mparser.parse, mparser.parse_header, mparser.extract])
def test_wrong_types_are_named(call):
    for data, kind in [("text", "str"), (None, "NoneType"), (3, "int"), ([SIMPLE], "list")]:
        message = f"{call.__name__}() argument 'data' must be bytes, bytearray, memoryview or mmap, not {kind}"
        with pytest.raises(TypeError) as error:
            call(data)
        assert str(error.value) == message
    with pytest.raises(BufferError, match="argument 'data' cannot be read: the memoryview is not contiguous"):
        call(memoryview(SIMPLE)[::2])
    with pytest.raises(TypeError):
        call()


def test_decode_into():
    part = mparser.parse(POLISH).part("2")
    target = bytearray(20_000)
    count = part.decode_into(target)
    assert target[:count] == part.content and not any(target[count:])
    with pytest.raises(ValueError, match=f"too small: the content has {count} bytes"):
        part.decode_into(bytearray(count - 1))
    assert part.decode_into(bytearray(count)) == count
    with pytest.raises(BufferError, match="writable"):
        part.decode_into(bytes(20_000))
    with pytest.raises(TypeError, match="argument 'buffer' must be a writable buffer"):
        part.decode_into("x")
    # Into the very memory the letter lies in.
    data = bytearray(POLISH)
    part = mparser.parse(data).part("2")
    expect = part.content
    assert data[: part.decode_into(data)] == expect


def test_empty_and_odd_letters():
    for data in (b"", b"\n", b"\r\n\r\n", b":", b"\x00" * 10, b"Subject:", b"From nobody\n\n"):
        letter = mparser.parse(data)
        assert len(letter) == len(data) and letter and bytes(letter) == data
        assert letter.parts[0].path == "" and letter.from_ == []
        assert mparser.parse(bytearray(data)).parts[0].content == letter.parts[0].content
        assert repr(letter) and repr(letter.parts) and repr(letter.headers)
