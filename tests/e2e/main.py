"""Runs the tests of this folder and ends with `N passed, N failed`.

    python3 main.py                 all
    python3 main.py crash browser   those whose name holds one of the words
"""

import pathlib
import subprocess
import sys
import time
import unittest

import harness

HERE = pathlib.Path(__file__).resolve().parent


class Report(unittest.TestResult):
    """A line for each test as it ends."""

    def __init__(self):
        super().__init__()
        self.passed = self.failed = 0

    def startTest(self, test):
        super().startTest(test)
        self.began = time.monotonic()

    def _line(self, word, test, more=""):
        name = test.id().removeprefix("test_")
        print(f"{word} {name} ({time.monotonic() - self.began:.1f} s){more}", flush=True)

    def addSuccess(self, test):
        self.passed += 1
        self._line("ok  ", test)

    def addSkip(self, test, reason):
        self._line("skip", test, f": {reason}")

    def addError(self, test, error):
        self.failed += 1
        self._line("FAIL", test, "\n" + self._exc_info_to_string(error, test))

    addFailure = addError

    def addSubTest(self, test, subtest, error):
        if error is not None:
            self.addError(subtest, error)


def browser(report):
    """The browser test counts for itself: lines that begin with `ok` or `FAIL`."""
    process = subprocess.Popen(["node", HERE / "browser.mjs"], stdout=subprocess.PIPE, text=True)
    failed_before = report.failed
    for line in process.stdout:
        print(line, end="", flush=True)
        report.passed += line.startswith("ok ")
        report.failed += line.startswith("FAIL")
    if process.wait() != 0 and report.failed == failed_before:
        report.failed += 1
        print(f"FAIL browser.mjs ended with {process.returncode}", flush=True)


def chosen(suite, words):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from chosen(test, words)
        elif not words or any(word in test.id() for word in words):
            yield test


def main():
    words = sys.argv[1:]
    sys.path.insert(0, str(HERE))
    began = time.monotonic()
    report = Report()
    suite = unittest.defaultTestLoader.discover(str(HERE), pattern="test_*.py")
    unittest.TestSuite(chosen(suite, words)).run(report)
    if not words or any("browser".startswith(word) for word in words):
        browser(report)
    checked = harness.Server.checked
    print(f"fsck: {checked} folders looked through in {harness.Server.checked_s:.0f} s, nothing found")
    print(f"e2e: {time.monotonic() - began:.0f} s")
    print(f"{report.passed} passed, {report.failed} failed", flush=True)
    return 1 if report.failed or not report.passed else 0


if __name__ == "__main__":
    sys.exit(main())
