"""Whether all did the same work: nobody may be fast by reading less.

For every letter the subject, the number of leaves and how much was decoded are compared with libop's. Mail in the
wild is broken in ways the standards do not settle, so some letters differ; LEAST says how many must agree.
"""

# Of 100 letters, so many agree at least: subject, leaves, decoded size. What differs is said in docs/bench-python.md.
LEAST = {"sa_dev": (98, 98, 98), "portal": (99, 99, 99), "fix_dev": (90, 90, 90)}
# A letter inside a letter is one attachment to them (portal has 4 forwards in 100 letters, fix_dev more), and in the
# tree text stays bytes, of which there are more than characters: its size is not compared.
LEAST_OF = {
    ("portal", "fast-mail-parser"): (99, 94, 94),
    ("portal", "fast-mail-parser tree"): (99, 94, 0),
    ("fix_dev", "fast-mail-parser"): (90, 85, 80),
    ("fix_dev", "fast-mail-parser tree"): (90, 80, 0),
    ("sa_dev", "fast-mail-parser tree"): (98, 98, 0),
}
# Two decoded sizes are the same up to this share: parsers differ in the last line end of a part, and in how many
# replacement characters they write for a bad byte.
SIZE_SHARE = 0.02
SIZE_SLACK = 16


def summary(result):
    """Subject without its blanks, number of leaves, size decoded: characters of text without CR, bytes of the rest."""
    subject, leaves = result[0], result[-1]
    return "".join(str(subject or "").split()), len(leaves), sum(size(content) for _, _, content in leaves)


def size(content):
    if content is None:
        return 0
    if isinstance(content, str):
        return len(content) - content.count("\r")
    if isinstance(content, (bytes, bytearray, memoryview)):
        return len(content) - bytes(content).count(b"\r")
    return len(bytes(content))


def compare(ours, theirs):
    """Shares of 100: subject, leaves, size; and their decoded size over ours, all letters together."""
    equal = [0, 0, 0]
    for mine, other in zip(ours, theirs):
        equal[0] += mine[0] == other[0]
        equal[1] += mine[1] == other[1]
        equal[2] += abs(mine[2] - other[2]) <= max(SIZE_SHARE * mine[2], SIZE_SLACK)
    count = max(len(ours), 1)
    total = sum(other[2] for other in theirs) / max(sum(mine[2] for mine in ours), 1)
    return [100 * share / count for share in equal], total


def alike(corpus, parser, shares):
    least = LEAST_OF.get((corpus, parser)) or LEAST.get(corpus, (0, 0, 0))
    return all(share >= bound for share, bound in zip(shares, least))
