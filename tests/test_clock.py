"""The wall clock is put forwards and back: no request suffers, limits count the time that passes, lines have httpd's time.

A preloaded library (clock_step.c) changes what httpd, the supervisor and the daemon processes take for the time of day.
"""

import re
import shutil
import subprocess
import time
from collections import Counter
from datetime import datetime

import pytest

import processes
from httpd import TESTS
from load import Background, Load, busy, timed
from processes import wait_until

HOUR = 3600
STEPS = pytest.mark.parametrize("step", [HOUR, -2 * HOUR], ids=["forwards", "back"])


class Clock:
    """The time of day of a server that is not started yet, and of its processes."""

    def __init__(self, httpd, ours):
        compiler = shutil.which("cc")
        assert compiler, "a C compiler (cc) is needed to put the clock of a test"
        self.httpd = httpd
        self.file, self.library = httpd.root / "clock", httpd.root / "clock_step.so"
        self.step(0)
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", self.library, TESTS / "clock_step.c"], check=True)
        variables = {"LD_PRELOAD": str(self.library), "CLOCK_STEP": str(self.file)}
        httpd.env.update(variables)
        # Our daemon processes have an environment of their own.
        self.options = " ".join(f"env={name}={value}" for name, value in variables.items()) if ours else ""

    def step(self, seconds):
        """From now on their clocks are so many seconds ahead of the right time."""
        self.offset = seconds
        with open(self.file, "r+b" if self.file.exists() else "wb") as file:
            file.write(seconds.to_bytes(8, "little", signed=True))

    def is_right(self, seconds, tolerance=60):
        return abs(seconds - self.offset - time.time()) < tolerance


@pytest.fixture
def clock(httpd, ours):
    return Clock(httpd, ours)


def start(clock, options="", extra="", apps=("hello", "marked_sleep", "evaluate", "echo", "stuck")):
    """One process group `app`, or embedded mode without options."""
    group = f"WSGIDaemonProcess app {clock.options} {options}\nWSGIProcessGroup app\n" if options else ""
    aliases = "\n".join(f"WSGIScriptAlias /{app} {clock.httpd.app(app)}" for app in apps)
    return clock.httpd.start(f"{group}WSGIApplicationGroup %{{GLOBAL}}\n{extra}\n{aliases}")


def daemons(httpd):
    return {p.pid for p in httpd.processes() if p.ppid == httpd.supervisor().pid}


def written_at(line):
    """A log line's time, in seconds since the epoch."""
    return datetime.strptime(re.match(r"\[(.*?)\]", line)[1], "%a %b %d %H:%M:%S.%f %Y").timestamp()


# -- requests --------------------------------------------------------------------------------------------

LIMITS = ("request-timeout=20 interrupt-timeout=5 startup-timeout=30 deadlock-timeout=30 socket-timeout=20 "
          "inactivity-timeout=300 restart-interval=600 graceful-timeout=10")
# With queue-timeout the original answers 504 to what is on its way when the clock is put forwards.
OURS = "queue-timeout=20 min-processes=2 idle-timeout=300"


@pytest.mark.mpms("event", "prefork")
@pytest.mark.modes("daemon", "embedded")
def test_no_request_fails_and_no_process_goes(httpd, clock, ours, mode):
    start(clock, f"processes=2 threads=3 {LIMITS} {OURS if ours else ''}" if mode == "daemon" else "")
    httpd.get("/hello")
    wait_until(lambda: not ours or mode == "embedded" or len(httpd.log.matching("is ready after")) == 2, 20, "all are ready")
    before = daemons(httpd) if ours and mode == "daemon" else None
    with Load(httpd, "/hello") as load:
        for offset in (HOUR, -HOUR, 0):
            clock.step(offset)
            load.more(150)
            assert clock.is_right(httpd.json("/evaluate?__import__('time').time()")), "the step has arrived in Python"
            assert clock.is_right(float(httpd.json("/evaluate?environ['mod_wsgi.request_start']"))), "and in httpd"
    assert set(load.results()) == {200}
    assert load.slowest() < 5
    if before:
        assert daemons(httpd) == before
        assert not httpd.log.matching("timeout|is to be replaced|draining|did not run")


@pytest.mark.ours("the original has httpd write them")
@pytest.mark.check
def test_lines_have_the_time_that_httpd_s_lines_have(httpd, clock):
    start(clock, "threads=2")
    for offset in (HOUR, -HOUR, 0):
        clock.step(offset)
        # The supervisor writes what comes from standard output, httpd what is said by the request.
        httpd.log.allow("logged|written")
        httpd.get(f"/evaluate?(os.write(1,b'written{offset}.\\n'),environ['wsgi.errors'].write('logged{offset}.\\n'))")
        for line in (httpd.log.wait_for(f"written{offset}\\."), httpd.log.wait_for(f"logged{offset}\\.")):
            assert clock.is_right(written_at(line)), (offset, line)


# -- limits ----------------------------------------------------------------------------------------------


@STEPS
@pytest.mark.ours("the original looks when a thread is free")
def test_requests_that_wait_get_their_504_when_it_is_due(httpd, clock, step):
    start(clock, "threads=1 queue-timeout=4 listen-backlog=3 socket-timeout=30")
    httpd.get("/hello")
    httpd.log.expect("no request thread was free for GET /hello within queue-timeout=4")
    httpd.log.expect("too many requests wait: .*listen-backlog=3")
    with busy(httpd, 9) as running, Background(httpd, *["/hello"] * 5) as waiting:
        wait_until(lambda: sum(future.done() for future in waiting.futures) == 2, 3, "two found no place, so three wait")
        clock.step(step)
        outcomes = waiting.outcomes()
        assert [outcome.result for outcome in running.outcomes()] == [200]
    assert Counter(outcome.result for outcome in outcomes) == {503: 2, 504: 3}
    assert all(3.5 < outcome.seconds < 8 for outcome in outcomes if outcome.result == 504), outcomes


@STEPS
@pytest.mark.ours("the original holds a thread while it reads the body")
def test_a_body_that_is_read_meanwhile_costs_no_time(httpd, clock, step):
    """The request waits for its client first, and then for a thread."""
    start(clock, "threads=1 queue-timeout=10")
    httpd.get("/hello")
    with httpd.connect() as sock:
        head = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
        sock.sendall(head)
        # It comes when the body is asked for.
        assert sock.recv(100).startswith(b"HTTP/1.1 100")
        sock.sendall(b"12345")
        clock.step(step)
        with busy(httpd, 3):
            sock.sendall(b"67890")
            assert sock.recv(12) == b"HTTP/1.1 200"


@STEPS
@pytest.mark.ours("the original kills its process")
def test_a_stuck_request_is_given_up_when_it_is_due(httpd, clock, step):
    start(clock, "threads=1 request-timeout=3 interrupt-timeout=10")
    httpd.log.expect("GET /stuck/nap on request thread 1 has run for 3.* longer than request-timeout=3;")
    httpd.log.allow(r"\[wsgi:\w+\] \[pid \d+:tid \d+\] ((WSGI\d+: )?process group|Thread|Current thread|  |$)")
    httpd.get("/hello")
    before, mark = daemons(httpd), httpd.root / "tmp/mark"
    with Background(httpd, f"/stuck/nap?{mark}") as running:
        wait_until(mark.exists, 10, "it is executed")
        mark.unlink()
        clock.step(step)
        [outcome] = running.outcomes()
    assert outcome.result == 504 and 2.5 < outcome.seconds < 8
    assert timed(httpd, "/hello").result == 200 and daemons(httpd) == before


# -- starts ----------------------------------------------------------------------------------------------

SLOW = """\
import time
with open({mark!r}, "w"):
    pass
time.sleep({seconds})
def application(environ, start_response):
    start_response("200 OK", [])
    return [b"ready"]
"""


def starts(clock, seconds, options):
    """A process that loads its script for so long, and has begun to."""
    httpd, mark = clock.httpd, clock.httpd.root / "tmp/mark"
    script = httpd.write("apps/slow.wsgi", SLOW.format(mark=str(mark), seconds=seconds))
    httpd.start(f"WSGIDaemonProcess app {clock.options} {options}\nWSGIProcessGroup app\n"
                f"WSGIApplicationGroup %{{GLOBAL}}\nWSGIScriptAlias / {script}")
    wait_until(mark.exists, 15, "the script is loaded")
    mark.unlink()


@STEPS
@pytest.mark.ours("the original loads scripts when requests come")
def test_a_slow_start_is_not_given_up(httpd, clock, step):
    starts(clock, 3, "startup-timeout=60")
    clock.step(step)
    assert timed(httpd, "/").body == b"ready"
    assert len(httpd.log.matching(r"process \d+ started")) == 1


@STEPS
@pytest.mark.ours("the original loads scripts when requests come")
def test_a_start_that_hangs_is_given_up_when_it_is_due(httpd, clock, step):
    httpd.log.expect("cannot start .* is not ready after 4(\\.[0-4])? s when startup-timeout=4 s is over")
    httpd.log.allow(r"\] $|Thread 0x|File |Current thread|stack|<no Python frame>|no process could be started|shutdown-timeout=1")
    starts(clock, 600, "startup-timeout=4 shutdown-timeout=1")
    begun = time.monotonic()
    clock.step(step)
    httpd.log.wait_for("startup-timeout=4 s is over", 30)
    assert 1 < time.monotonic() - begun < 10
    pid = int(re.search(r"process (\d+) is not ready", httpd.log.text())[1])
    wait_until(lambda: not processes.process(pid), 15, "it is killed")
    # The next attempt may have come as far.
    httpd.stop()
    (httpd.root / "tmp/mark").unlink(missing_ok=True)
