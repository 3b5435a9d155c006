"""A log that nobody reads: the limits of a daemon process hold all the same, and nothing outlives httpd because of it."""

import os
import signal

import pytest

import processes
from load import timed
from processes import wait_until

pytestmark = pytest.mark.ours("the original has no supervisor")

# More than a pipe holds, from a thread of the application. It waits for room for ever.
APP = """
import os, sys, threading, time

def fill():
    for _ in range(300):
        os.write(2, b"x" * 1000 + b"\\n")

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/fill":
        threading.Thread(target=fill, daemon=True).start()
    elif path == "/hang":
        time.sleep(120)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % os.getpid()]
"""
FILLED = "pipe_write"  # Where the kernel lets a writer wait (proc(5), wchan).


@pytest.fixture
def site(httpd):
    script = httpd.write("apps/fill.wsgi", APP)
    httpd.start("WSGIDaemonProcess app processes=1 threads=2 request-timeout=1 shutdown-timeout=2 graceful-timeout=2\n"
                f"WSGIScriptAlias / {script} process-group=app application-group=%{{GLOBAL}}")
    httpd.log.allow("xxx|process group|Thread|  |supervisor|was lost|$")
    return httpd


def waits_for_room(pid):
    """Whether a thread of the process waits in a write to a full pipe."""
    tasks = os.listdir(f"/proc/{pid}/task")
    return any(processes.read_proc(f"{pid}/task/{task}", "wchan").decode().endswith(FILLED) for task in tasks)


def fill(httpd):
    """Stops the supervisor and fills the pipe; the daemon process."""
    pid = int(httpd.get("/").body)
    os.kill(httpd.supervisor().pid, signal.SIGSTOP)
    assert httpd.get("/fill").status == 200
    wait_until(lambda: waits_for_room(pid), 15, "the pipe is full")
    return pid


def test_timers_fire_while_nobody_reads_the_log(site):
    supervisor = site.supervisor().pid
    pid = fill(site)
    assert timed(site, "/hang").result == 504
    wait_until(lambda: not processes.process(pid), 20, "the process that has overrun ends")
    os.kill(supervisor, signal.SIGCONT)
    wait_until(lambda: timed(site, "/").result == 200, 20, "another one serves")


def test_lines_about_limits_are_written_when_the_log_is_read_again(site):
    supervisor = site.supervisor().pid
    fill(site)
    assert timed(site, "/hang").result == 504
    os.kill(supervisor, signal.SIGCONT)
    site.log.wait_for("GET /hang on request thread . has run for .* longer than request-timeout=1", 20)


@pytest.mark.parametrize("lost", ["parent", "parent and supervisor"])
def test_no_process_outlives_httpd_with_a_full_log(site, lost):
    supervisor = site.supervisor().pid
    pid = fill(site)
    os.kill(site.pid, signal.SIGKILL)
    if lost != "parent":
        os.kill(supervisor, signal.SIGKILL)
    wait_until(lambda: not processes.process(pid), 25, "the daemon process ends")
    # The children of a parent that was killed live on, and so does a supervisor that is stopped.
    processes.kill(p.pid for p in site.processes())
    site.pid_file.unlink()


def test_no_process_can_read_its_own_log(site):
    """Else the pipe never breaks, and whoever waits for room in it waits for ever."""
    pid = int(site.get("/").body)
    for fd in 1, 2:
        flags = processes.read_proc(pid, f"fdinfo/{fd}").decode().split("flags:")[1].split()[0]
        assert int(flags, 8) & os.O_ACCMODE == os.O_WRONLY, flags
