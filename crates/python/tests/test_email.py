"""The way over to the standard library: what our look-alike tells is what EmailMessage tells."""

import email.message
import email.policy
from email.message import EmailMessage

import pytest

from letters import PNG, POLISH, SIMPLE
from libop import mparser


def letter(attach: bool, html: bool, images: bool) -> bytes:
    m = EmailMessage()
    m["From"] = "Zażółć <z@example.test>"
    m["To"] = "a@example.test, B <b@example.test>"
    m["Subject"] = "Gęślą jaźń, a subject that is long enough to be folded over two lines at least"
    m["X-Two"] = "1"
    m["X-Two"] = "2"
    m.set_content("Dzień dobry\n")
    if html:
        m.add_alternative("<p>Dzień dobry</p>\n", subtype="html")
    if images:
        m.get_payload()[1].add_related(PNG, "image", "png", cid="<i@example.test>")
    if attach:
        m.add_attachment(PNG, maintype="application", subtype="pdf", filename="zażółć.pdf")
        m.add_attachment("text\n", filename="a.txt")
        inner = EmailMessage()
        inner["Subject"] = "inside"
        inner.set_content("in\n")
        m.add_attachment(inner)
    return m.as_bytes(policy=email.policy.SMTP)


LETTERS = [
    SIMPLE,
    POLISH,
    letter(False, False, False),
    letter(False, True, False),
    letter(False, True, True),
    letter(True, False, False),
    letter(True, True, True),
]


def described(part) -> dict:
    content = None
    if not part.is_multipart():
        content = part.get_content()
    return {
        "type": (part.get_content_type(), part.get_content_maintype(), part.get_content_subtype()),
        "filename": part.get_filename(),
        "disposition": part.get_content_disposition(),
        "charset": part.get_content_charset(),
        "flags": (part.is_multipart(), part.is_attachment(), len(part)),
        "headers": [(name, str(value)) for name, value in part.items() if not name.startswith("Content-")],
        "names": list(part) == part.keys(),
        "boundary": part.get_boundary(),
        "params": (part.get_param("charset"), part.get_param("none", 3)),
        "payload": None if part.is_multipart() else part.get_payload(decode=True),
        "content": content,
    }


@pytest.mark.parametrize("raw", LETTERS, ids=range(len(LETTERS)))
def test_as_the_standard_library(raw):
    ours, theirs = mparser.parse(raw).as_email_message(), mparser.parse(raw).to_email_message()
    assert isinstance(theirs, EmailMessage)
    assert [described(p) for p in ours.walk()] == [described(p) for p in theirs.walk()]
    for wanted in [("related", "html", "plain"), ("plain", "html"), ("html",), ("plain",), ()]:
        a, b = ours.get_body(wanted), theirs.get_body(wanted)
        assert (a and described(a)) == (b and described(b)), wanted
    assert [described(p) for p in ours.iter_attachments()] == [described(p) for p in theirs.iter_attachments()]
    assert [p.get_content_type() for p in ours.iter_parts()] == [p.get_content_type() for p in theirs.iter_parts()]
    assert ours.get_charsets() == theirs.get_charsets()
    for name in ("subject", "X-Two", "X-None"):
        assert ours[name] == theirs[name] and (name in ours) == (name in theirs)
        assert ours.get(name, "d") == theirs.get(name, "d")
        assert ours.get_all(name, []) == theirs.get_all(name, [])
    assert ours.as_bytes() == bytes(ours) == raw
    assert ours.as_string().encode("ascii", "surrogateescape") == raw and str(ours) == ours.as_string()


def test_payloads():
    view = mparser.parse(POLISH).as_email_message()
    assert [p.get_content_type() for p in view.get_payload()] == ["multipart/alternative", "image/png", "message/rfc822"]
    assert view.get_payload(1).get_filename() == "żółw.png" and view.get_payload(decode=True) is None
    assert view.get_payload(2).get_content()["Subject"] == "inside"
    with pytest.raises(KeyError):
        view.get_content()
    simple = mparser.parse(SIMPLE).as_email_message()
    assert simple.get_payload() == "Hello\n"
    with pytest.raises(TypeError):
        simple.get_payload(0)
    assert simple.part.path == "" and simple.message.subject == "hi" and simple.defects[0].kind == "bare_lf"
    assert simple.get_param("x", 1, header="X-None") == 1
    other = mparser.parse(b"X-Y: a; b=c\n\n").as_email_message()
    assert other.get_param("b", header="X-Y") == "c" and "EmailView" in repr(other)


def test_mutable_letters_go_over_too():
    assert mparser.parse(bytearray(SIMPLE)).to_email_message()["Subject"] == "hi"
