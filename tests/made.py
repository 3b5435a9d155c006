"""Requests for responses that the query describes: see apps/made.wsgi."""

import subprocess
from urllib.parse import quote_plus

TEXT = ("Content-Type", "text/plain")
HTML = ("Content-Type", "text/html")


def made(path="/made", **response):
    """The URL of such a response."""
    return f"{path}?{quote_plus(repr(response))}"


def file_content(size):
    """What a response with file=size contains."""
    return (b"0123456789abcdef" * (size // 16 + 1))[:size]


def part_content(size):
    """What a part of that size contains."""
    return (b"0123456789" * (size // 10 + 1))[:size]


def curl(*arguments, timeout=60):
    """Runs curl; returns its exit status, what it printed and its complaint."""
    command = ["curl", "-sS", "--max-time", str(timeout), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, timeout=timeout + 10)
    return done.returncode, done.stdout, done.stderr.decode()
