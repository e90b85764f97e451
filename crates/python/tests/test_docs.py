"""The examples of the guide, the README and the module run."""

import doctest
import re
from pathlib import Path

import pytest

from libop import mparser

HERE = Path(__file__).parent
PAGES = [HERE / "../README.md", HERE / "../../../docs/howto/python.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages(page, capsys):
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)
    assert blocks
    exec(compile("\n".join(blocks), str(page), "exec"), {})
    printed = capsys.readouterr().out
    for line in printed.splitlines():
        # What a block prints stands behind it as a comment, if anything does.
        assert f"# {line}" in page.read_text() or page.name == "README.md", line


def test_the_module():
    failed, tried = doctest.testmod(mparser)
    assert tried and not failed
