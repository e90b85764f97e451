"""The stubs tell what the module is, and a program that uses them is well typed."""

import re
import subprocess
import sys

PROGRAM = '''
import mmap
from datetime import datetime
from email.message import EmailMessage
from pathlib import Path

from libop import mparser


def show(path: Path) -> list[str]:
    found: list[str] = []
    for letter in mparser.parse_many(path, threads=2):
        when: datetime | None = letter.date
        found.append(f"{when} {letter.subject or ''} {[a.address for a in letter.from_]}")
        for part in letter.attachments:
            size: int = part.decode_into(bytearray(part.size))
            found.append(f"{part.filename} {size}")
    for whole in mparser.parse_many(path, full=True):
        found.append(whole.subject or "")
        sizes: list[int] = [len(content) for kind, name, content in whole.to_dict(headers=True)["parts"]]
        print(sizes)
    return found


def convert(data: bytes | bytearray | memoryview | mmap.mmap) -> EmailMessage:
    letter = mparser.parse(data)
    body = letter.as_email_message().get_body(("plain",))
    assert body is not None
    header: str | None = letter.headers.get("X-Y")
    number: str | int = letter.headers.get("X-Y", 3)
    print(header, number, mparser.extract(data)["date"])
    return letter.to_email_message()
'''

WRONG = '''
from libop import mparser

mparser.parse("text")
number: int = mparser.parse(b"").subject
mparser.parse(b"").nothing
'''


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True)


def test_the_stubs_are_the_module():
    done = run("mypy.stubtest", "libop")
    assert done.returncode == 0, done.stdout + done.stderr


def test_programs_are_checked(tmp_path):
    good, wrong = tmp_path / "good.py", tmp_path / "wrong.py"
    good.write_text(PROGRAM)
    wrong.write_text(WRONG)
    done = run("mypy", "--strict", str(good))
    assert done.returncode == 0, done.stdout
    done = run("mypy", "--strict", str(wrong))
    assert re.findall(r":(\d+): error", done.stdout) == ["4", "5", "6"], done.stdout


def test_our_own_python_is_well_typed():
    import libop

    done = run("mypy", "--strict", *map(str, libop.__path__))
    assert done.returncode == 0, done.stdout
