"""Bodies and heads of many megabytes, and the memory that they take."""

import hashlib
import os

import pytest

from conftest import aliases, mode_directives
from made import made

MIB = 1 << 20


def private_kib(pid):
    """What a process has of memory for itself."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("Private_"))


def digest_of(httpd, body):
    answer = httpd.post("/echo", body)
    return answer.status, answer.header("X-Digest")


# -- request-buffer ----------------------------------------------------------------------------------


def test_a_body_of_any_size_is_read_ahead_if_request_buffer_allows_it(daemon):
    httpd = daemon("threads=1 request-buffer=67108864")
    for size in (MIB - 1, MIB + 1, 16 * MIB - 1, 16 * MIB, 16 * MIB + 1, 40 * MIB):
        body = os.urandom(size)
        assert digest_of(httpd, body) == (200, hashlib.sha256(body).hexdigest()), size


@pytest.mark.parametrize("buffer", [0, 4096, 65_536, 65_537])
def test_what_is_not_read_ahead_follows_it(daemon, buffer):
    httpd = daemon(f"threads=1 request-buffer={buffer}")
    for size in (1, 4095, 4096, 4097, 65_535, 65_536, 65_537, 131_072, 300_000):
        body = os.urandom(size)
        assert digest_of(httpd, body) == (200, hashlib.sha256(body).hexdigest()), size


# -- memory that is kept -----------------------------------------------------------------------------


@pytest.mark.ours("it is its own memory")
@pytest.mark.mpms("event")
def test_uploads_and_downloads_leave_no_memory_behind(httpd, mode):
    """With many threads in httpd's child: what each of them kept would show."""
    httpd.start(f"{mode_directives(mode)}{aliases(httpd)}")
    body = b"u" * (4 * MIB)

    def round_trip():
        assert httpd.post("/streaming/count", body).body.endswith(b" %d" % len(body))
        # (In embedded mode what the application makes is this child's memory.)
        if mode == "daemon":
            assert len(httpd.get(made(whole=[4 * MIB])).body) == 4 * MIB

    for _ in range(3):
        round_trip()
    pids = [child.pid for child in httpd.children()]
    before = [private_kib(pid) for pid in pids]
    for _ in range(60):
        round_trip()
    grown = [private_kib(pid) - kib for pid, kib in zip(pids, before)]
    assert sum(grown) < 12 * 1024, grown
