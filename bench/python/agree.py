"""Whether all did the same work: nobody may be fast by reading less.

For every letter the subject, the number of leaves and how much was decoded are compared with libop's. Mail in the
wild is broken in ways the standards do not settle, so some letters differ; LEAST says how many must agree.
"""

# Of 100 letters, so many agree at least: subject, leaves, decoded size. What differs is said in docs/bench-python.md.
LEAST = {"sa_dev": (98, 98, 95), "portal": (99, 99, 99), "fix_dev": (80, 70, 70)}
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
