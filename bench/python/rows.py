"""The tables: which rows are measured, what each of them does, and what must hold between them."""

from dataclasses import dataclass, field
from typing import Callable

import peers

try:
    import ours
except ImportError as error:  # the peers alone can still be looked at
    ours, WITHOUT_US = None, error


@dataclass
class Row:
    task: str
    parser: str
    does: str
    run: Callable
    passes: int = 1
    seconds: list = field(default_factory=list)


US = {"full": "libop extract", "lazy": "libop overview", "many": "libop parse_many, 2 threads"}


def single():
    """One letter after the other, one thread."""
    rows = [
        Row("full", "stdlib policy.default", "get_content() of each leaf, addresses and date as objects", peers.full_default),
        Row("full", "stdlib compat32", "get_payload(decode=True), charset decoded, encoded words by make_header", peers.full_compat32),
        Row("full", "fast-mail-parser", "parse_email: text as str, the rest as bytes, date_parsed, id out of its headers", peers.full_fast),
        Row("full", "fast-mail-parser tree", "parse_email_tree: text stays bytes, addresses and date stay strings", peers.tree_fast),
        Row("lazy", "stdlib compat32", "the same parse; the five fields, type and name of each part", peers.lazy_compat32),
        Row("lazy", "fast-mail-parser metadata", "mode=metadata: the five fields; type and name of attachments alone", peers.metadata_fast),
    ]
    if ours:
        rows += [
            Row("full", "libop extract", "extract(headers=False): one call, plain Python objects", ours.full_extract),
            Row("full", "libop parse", "the same values read one by one from a Message and its Parts", ours.full_message),
            Row("lazy", "libop overview", "overview: one call, the fields and a row for each part", ours.lazy_overview),
            Row("lazy", "libop parse", "the five fields, type and name of each part, read one by one", ours.lazy_message),
        ]
    return rows


def batches():
    """All letters in one call; threads, so the clock on the wall."""
    if not hasattr(ours, "many_decoded") or not hasattr(ours.mparser, "parse_many"):
        return []
    return [
        Row("many", f"{name}, {threads} thread{'s' * (threads > 1)}", does, lambda letters, n=threads, run=run: run(letters, n))
        for name, does, run in (
            ("libop parse_many", "parse_many(full=True): a Message each, its values decoded by the threads; a Python object of a value is made when it is read", ours.many_decoded),
            ("libop parse_many, all read", "the same, and every value of every letter read as a Python object (to_dict), by the one thread that iterates", ours.many_read),
            ("libop parse_many, Maildir", "the first again, each letter in a file of a Maildir", ours.many_maildir),
            ("fast-mail-parser parse_many", "parse_many: as parse_email", peers.many_fast),
        )
        for threads in (1, 2)
    ]


# corpus, task, how many times as fast at least, ours, theirs
BARS = [
    *(("full", corpus, least, "libop extract", "stdlib policy.default") for corpus, least in (("sa_dev", 100), ("fix_dev", 100), ("portal", 30))),
    *(("full", corpus, 20, "libop extract", "stdlib compat32") for corpus in ("sa_dev", "fix_dev", "portal")),
    *(("full", corpus, least, "libop extract", "fast-mail-parser") for corpus, least in (("sa_dev", 3), ("portal", 1.3))),
    *(("lazy", corpus, least, "libop overview", "stdlib compat32") for corpus, least in (("sa_dev", 50), ("fix_dev", 100), ("portal", 100))),
    *(("many", corpus, 1.7, "libop parse_many, 2 threads", "libop parse_many, 1 thread") for corpus in ("sa_dev", "fix_dev", "portal")),
]
