"""The error log of a test's httpd, and the rule that nothing in it goes unnoticed."""

import re
from pathlib import Path

from processes import wait_until

LINE = re.compile(r"^\[[^\]]+\] \[(?P<module>[\w-]*):(?P<level>\w+)\] ")
SEVERE = {"error", "crit", "alert", "emerg"}
# httpd's event MPM, now and then, when a client closes a connection that is kept; with the original module as well.
HTTPDS_OWN = re.compile(r"AH03093: process_socket: apr_pollset_add failure for keep alive$")
# Said of Python 3.12.0 to 3.12.4 wherever there are sub-interpreters (test_python_faults.py).
PYTHONS_OWN = re.compile(r"has a fault in sub-interpreters: .*CPython issue 117482")
# What Python writes below a line of a traceback to mark a part of it; which lines have it depends on the version.
MARKS = re.compile(r"\s[~^]+$")


class ErrorLog:
    """Lines at level error or worse, and warnings of our module, must be declared by the test."""

    # Lines that may appear in every test of a run: conftest.py.
    usual = []

    def __init__(self, path):
        self.path = Path(path)
        self.begin()

    def begin(self):
        """Starts a new stretch of the log: what stands there already is no longer looked at."""
        self.offset = self.path.stat().st_size if self.path.exists() else 0
        self.expected = []
        self.allowed = list(self.usual)

    def text(self):
        if not self.path.exists():
            return ""
        with self.path.open("rb") as log:
            log.seek(self.offset)
            return log.read().decode(errors="replace")

    def lines(self):
        return self.text().splitlines()

    def matching(self, pattern):
        return [line for line in self.lines() if re.search(pattern, line)]

    def expect(self, pattern):
        """Declares that a line like this must appear; any number of them may."""
        self.expected.append(pattern)

    def allow(self, pattern):
        """Declares that lines like this may appear."""
        self.allowed.append(pattern)

    def wait_for(self, pattern, timeout=10.0, count=1):
        """Waits for a line and returns it."""
        found = wait_until(
            lambda: (lambda hits: hits if len(hits) >= count else None)(self.matching(pattern)),
            timeout,
            f"{count} log line(s) like {pattern!r}",
        )
        return found[-1]

    def problems(self, timeout=5.0):
        """Why the test may not pass: lines that are missing, lines nobody declared."""
        return self._missing(timeout) + self._undeclared()

    def _missing(self, timeout):
        try:
            wait_until(lambda: all(map(self.matching, self.expected)), timeout)
        except TimeoutError:
            pass
        return [f"no log line like {p!r}" for p in self.expected if not self.matching(p)]

    def _undeclared(self):
        declared = self.expected + self.allowed
        return [
            f"undeclared log line: {line}"
            for line in self.lines()
            if is_severe(line) and not any(re.search(p, line) for p in declared)
        ]


def is_severe(line):
    if HTTPDS_OWN.search(line) or PYTHONS_OWN.search(line) or MARKS.search(line):
        return False
    found = LINE.match(line)
    if not found:
        return bool(line.strip())
    if found["level"] in SEVERE:
        return True
    return found["level"] == "warn" and found["module"] == "wsgi"
