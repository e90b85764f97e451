"""`cargo xtask bench python`: libop beside other Python parsers of mail, in one process, rows interleaved per round.

    python main.py [--rounds N] PACK...

A pack is repeat(length as 4 bytes little endian, letter); its file name is the corpus. Prints lines of fields between
tabs, the first word says which: corpus, row, ratio, agree, bar, note. One thread is measured by the CPU time of the
process, batches by the clock on the wall. The slow rows are so slow that a corpus is sampled; all rows see the same.
"""

import argparse
import gc
import hashlib
import os
import pathlib
import statistics
import struct
import sys
import threading
import time
import warnings

import agree
import rows

# Every so many letters: the standard library would take minutes for all.
EVERY = {"sa_dev": 4, "portal": 2}
# A row that refuses a greater share of the letters measures nothing.
MOST_REFUSED = 0.05
# A row runs so long at least in each round, over and over the letters: the clock and the caches are then at rest.
LEAST_S = 0.1
# The row beside parse_many, and how many MB it hashes: as long as a row takes.
CONTROL = "control: sha256, 2 threads against 1"
CONTROL_BLOCKS = 96


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("packs", nargs="+")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # the standard library warns of odd letters on standard error
    busy()
    measured, controls, agreed = {}, {}, True
    for path in options.packs:
        corpus = pathlib.Path(path).stem
        if not os.path.exists(path):
            say("note", f"the corpus {corpus} is missing: its rows and bars are not measured")
            continue
        measured[corpus], alike, controls[corpus] = measure(corpus, load(path), options.rounds)
        agreed = agreed and alike
    bars(measured, controls)
    return 0 if agreed else 1


def measure(corpus, letters, rounds):
    table, many = rows.single(), rows.batches()
    sample = letters[:: EVERY.get(corpus, 1)]
    sample, alike = first_pass(corpus, table, sample)
    size = sum(map(len, sample))
    say("corpus", corpus, f"{len(sample)} of {len(letters)} letters", f"{size / 1e6:.1f} MB")
    for _ in range(rounds):
        for row in table:
            row.seconds.append(timed(row, sample))
    accepted = [letter for letter in letters if not refused(table[2].run, letter)]
    if many:
        rows.ours.maildir(accepted)  # its files are written before the clock runs
    control = []
    for _ in range(rounds if many else 0):
        control.append(shared_nothing())
        for row in many:
            row.seconds.append(timed_batch(row, accepted))
    for group, count, size in ((table, len(sample), size), (many, len(accepted), sum(map(len, accepted)))):
        for row in group:
            middle = statistics.median(row.seconds)
            say("row", corpus, row.task, row.parser, f"{size / middle / 1e6:.2f}", f"{count / middle:.0f}", row.does)
    for row in table + many:
        mine = row_of(table + many, row.task, rows.US[row.task])
        if mine and mine is not row:
            say("ratio", corpus, row.task, row.parser, *(f"{value:.3f}" for value in ratio(mine, row)))
    if control:
        say("row", corpus, "many", CONTROL, "-", "-", "no mail: as much faster as two threads are than one when they share nothing; no more can be asked of parse_many")
        say("ratio", corpus, "many", CONTROL, *(f"{value:.3f}" for value in (statistics.median(control), min(control), max(control))))
    return table + many, alike, control


def first_pass(corpus, table, letters):
    """Results of all rows compared, letters that one of them refuses left out for all, and how long each row takes."""
    results = {}
    for row in table:
        start, results[row.task, row.parser] = time.process_time(), []
        for letter in letters:
            try:
                found = row.run(letter)
                results[row.task, row.parser].append(agree.summary(found) if row.task == "full" else found)
            except Exception as error:  # whatever a parser throws, the bench goes on without the letter
                results[row.task, row.parser].append(error)
        row.passes = max(1, round(LEAST_S / max(time.process_time() - start, 1e-6)))
    refusals = {name: sum(isinstance(one, Exception) for one in all) for name, all in results.items()}
    for (task, parser), count in refusals.items():
        if count:
            kinds = {type(one).__name__ for one in results[task, parser] if isinstance(one, Exception)}
            say("note", f"{parser} ({task}) refused {count} letters of {corpus} ({', '.join(sorted(kinds))}): left out for all rows")
    most = max(refusals.values())
    if most > MOST_REFUSED * len(letters):
        sys.exit(f"a row refused {most} of {len(letters)} letters of {corpus}: that is no odd letter, the row is broken")
    kept = [n for n in range(len(letters)) if not any(isinstance(all[n], Exception) for all in results.values())]
    alike = True
    mine = results.get(("full", rows.US["full"]))
    for (task, parser), theirs in results.items() if mine else ():
        if task != "full" or theirs is mine:
            continue
        shares, total = agree.compare([mine[n] for n in kept], [theirs[n] for n in kept])
        good = agree.alike(corpus, parser, shares)
        alike = alike and good
        say("agree", corpus, parser, *(f"{share:.1f}" for share in shares), f"{total:.3f}", "alike" if good else "DIFFERS")
    return [letters[n] for n in kept], alike


def refused(run, letter):
    try:
        run(letter)
    except Exception:
        return True
    return False


def timed(row, letters):
    """Seconds of CPU for the letters once."""
    gc.collect()
    run = row.run
    start = time.process_time()
    for _ in range(row.passes):
        for letter in letters:
            run(letter)
    return (time.process_time() - start) / row.passes


def timed_batch(row, letters):
    """Seconds on the wall for all letters once."""
    gc.collect()
    passes, start = 0, time.perf_counter()
    while passes == 0 or time.perf_counter() - start < LEAST_S:
        row.run(letters)
        passes += 1
    return (time.perf_counter() - start) / passes


def ratio(mine, theirs):
    """How many times as fast: median, least and most over the rounds, each round by itself; and our MB/s is the row's."""
    ratios = [other / one for one, other in zip(mine.seconds, theirs.seconds)]
    return statistics.median(ratios), min(ratios), max(ratios)


def row_of(table, task, parser):
    return next((row for row in table if row.task == task and row.parser == parser), None)


def bars(measured, controls):
    for task, corpus, least, ours, theirs in rows.BARS:
        table = measured.get(corpus, [])
        mine, other = row_of(table, task, ours), row_of(table, task, theirs)
        if not (mine and other):
            say("bar", corpus, task, ours, theirs, f"{least}x", "-", "not measured")
            continue
        found, beside = ratio(mine, other)[0], ""
        if task == "many":
            beside = f" (control {statistics.median(controls[corpus]):.2f}x)"
        say("bar", corpus, task, ours, theirs, f"{least}x", f"{found:.2f}x{beside}", "reached" if found >= least else "MISSED")


def load(path):
    data, letters, place = pathlib.Path(path).read_bytes(), [], 0
    while place + 4 <= len(data):
        (length,) = struct.unpack_from("<I", data, place)
        letters.append(data[place + 4 : place + 4 + length])
        place += 4 + length
    return letters


def busy():
    load, cores = os.getloadavg()[0], os.cpu_count()
    if load >= 1.0:
        say("note", f"the machine is busy with something else (load {load:.1f} on {cores} cores): two threads have no two cores")


def shared_nothing():
    """What this machine gives two threads just now: work that shares nothing, so two idle cores take it twice as fast."""
    block = b"x" * (1 << 20)

    def work(blocks):
        for _ in range(blocks):
            hashlib.sha256(block).digest()

    start = time.perf_counter()
    work(CONTROL_BLOCKS)
    middle = time.perf_counter()
    other = threading.Thread(target=work, args=(CONTROL_BLOCKS // 2,))
    other.start()
    work(CONTROL_BLOCKS // 2)
    other.join()
    return (middle - start) / (time.perf_counter() - middle)


def say(*fields):
    print(*fields, sep="\t", flush=True)


if __name__ == "__main__":
    sys.exit(main())
