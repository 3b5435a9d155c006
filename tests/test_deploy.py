"""Deploys: configurations that change under load, and stops, each without a request that fails or waits for Python."""

import contextlib
import os
import signal
import time
from urllib.parse import quote

import pytest

import processes
from client import read_to_end
from load import Background, Load, busy, timed
from processes import wait_until

GONE = "(?i)process|daemon|supervisor|signal|connection|closed|response|WSGI0|AH00046"
IMPORT = 3.0

SLOW_TO_IMPORT = f"""
import os, sys, time
time.sleep({IMPORT})

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
"""

WHO = """
import json, os, sys

def application(environ, start_response):
    print("a line of", os.getpid(), file=sys.stderr, flush=True)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"pid": os.getpid(), "mode": os.environ.get("MODE", "")}).encode()]
"""

# So many that none waits for another one to end.
CHILDREN = "ServerLimit 16\nStartServers 4\nMinSpareThreads 75\nMaxSpareThreads 400\nMaxRequestWorkers 400"

pytestmark = pytest.mark.timeout(240)


@contextlib.contextmanager
def held(httpd, path="/held"):
    """A request that is being executed until the block ends; its outcome is in `running` then."""
    mark, release = httpd.root / "tmp/held", httpd.root / "tmp/release"
    with Background(httpd, f"{path}?{quote(str(mark))},{quote(str(release))}") as running:
        try:
            wait_until(lambda: mark.exists() and mark.read_text(), 20, "it is executed")
            running.pid = int(mark.read_text())
            yield running
        finally:
            release.write_text("")
    outcome, = running.outcomes()
    running.result = (outcome.result, int(outcome.body or 0))
    mark.unlink()
    release.unlink()


def change(httpd, old, new):
    text = httpd.conf_file.read_text()
    assert old in text
    httpd.conf_file.write_text(text.replace(old, new))


def served_by(load, count=30):
    """The processes that answered the next requests."""
    begin = len(load.outcomes)
    load.more(count)
    return {int(outcome.body) for outcome in load.outcomes[begin:] if outcome.result == 200}


# -- graceful --------------------------------------------------------------------------------------


@pytest.mark.ours("the original starts its new processes when the old ones are gone")
@pytest.mark.mpms("event", "prefork")
def test_nobody_waits_for_the_import_of_a_new_process(httpd):
    """Three gracefuls, each to its end; a request that is older than all of them."""
    script = httpd.write("apps/slow_to_import.wsgi", SLOW_TO_IMPORT)
    httpd.start(f"""
{CHILDREN if httpd.mpm == "event" else ""}
WSGIDaemonProcess app processes=2 threads=8 graceful-timeout=120
WSGIScriptAlias /held {httpd.app("held")} process-group=app
WSGIScriptAlias / {script} process-group=app application-group=%{{GLOBAL}}
""")
    assert httpd.get("/").status == 200
    with held(httpd) as running, Load(httpd, "/", clients=8) as load:
        for _ in range(3):
            before = served_by(load)
            httpd.graceful()
            wait_until(lambda: not before & served_by(load), 60, "new processes serve")
        assert processes.process(running.pid)
    assert running.result == (200, running.pid)
    assert set(load.results()) == {200}, load.results()
    assert load.slowest() < IMPORT * 2 / 3
    wait_until(lambda: not processes.process(running.pid), 20, "the oldest process ends")


@pytest.mark.ours("httpd by itself makes the first new child after a second")
@pytest.mark.mpms("event", "worker")
def test_a_graceful_while_every_old_child_has_a_request(daemon):
    """New ones are made at once all the same. (Under prefork there is always an idle one, whose end httpd sees.)"""
    httpd = daemon("threads=8", "ServerLimit 16\nStartServers 1\nMinSpareThreads 1\nMaxSpareThreads 25\nMaxRequestWorkers 400\n")
    seconds = []
    with contextlib.ExitStack() as stack:
        running = []
        for count in range(1, 5):
            running.append(stack.enter_context(busy(httpd, 8)))
            assert len(httpd.children()) == count
            httpd.graceful()
            outcome = timed(httpd, "/hello")
            assert outcome.result == 200
            seconds.append(outcome.seconds)
    assert [outcome.result for one in running for outcome in one.outcomes()] == [200] * 4
    # On a machine that is that busy the signal may come before httpd sleeps.
    assert min(seconds) < 0.5, seconds


def test_new_children_have_no_signal_handler_of_the_parent_s(httpd):
    httpd.start(f"WSGIScriptAlias /evaluate {httpd.app('evaluate')}")
    for _ in range(2):
        assert httpd.json("/evaluate?repr(__import__('signal').getsignal(14))") == "<Handlers.SIG_DFL: 0>"
        httpd.graceful()


@pytest.mark.ours("the original starts its new processes when the old ones are gone")
@pytest.mark.mpms("event", "prefork")
def test_a_graceful_on_top_of_another_one(httpd):
    """The new processes of the first are still importing when the second comes, and the third."""
    script = httpd.write("apps/slow_to_import.wsgi", SLOW_TO_IMPORT)
    httpd.start(f"WSGIDaemonProcess app processes=2 threads=8\nWSGIScriptAlias / {script} process-group=app")
    assert httpd.get("/").status == 200
    with Load(httpd, "/", clients=8) as load:
        # One that is a little later than the other would be taken for a new one.
        before = set()
        wait_until(lambda: before.update(served_by(load)) or len(before) == 2, 60, "both processes serve")
        for _ in range(3):
            httpd.graceful()
            assert served_by(load) <= before
        wait_until(lambda: not before & served_by(load), 60, "new processes serve")
    assert set(load.results()) == {200}, load.results()
    assert load.slowest() < IMPORT * 2 / 3


@pytest.mark.ours("the original's lines are others")
@pytest.mark.check
def test_the_error_log_is_changed_at_once(httpd):
    """As logrotate does it: the file is renamed, httpd opens another one."""
    httpd.log.allow("a line of")
    extra = httpd.root / "logs/group.log"
    httpd.start(f"""
WSGIDaemonProcess app threads=2
WSGIScriptAlias / {httpd.write("apps/who.wsgi", WHO)} process-group=app
Listen {httpd.port + 4000}
<VirtualHost *:{httpd.port + 4000}>
    ErrorLog "{extra}"
    WSGIDaemonProcess own threads=2
    WSGIScriptAlias / {httpd.root}/apps/who.wsgi process-group=own
</VirtualHost>
""")
    first = httpd.json("/")["pid"]
    httpd.log.wait_for(f"a line of {first}")
    for log in (httpd.log.path, extra):
        log.rename(f"{log}.1")
    assert httpd.control("-k", "graceful") == 0
    wait_until(lambda: httpd.json("/")["pid"] != first, 20, "a new process serves")
    httpd.log.wait_for(f"a line of {httpd.json('/')['pid']}")
    wait_until(lambda: not processes.process(first), 20, "the old process ends")
    httpd.log.wait_for(f"process {first} is gone")
    # Nobody holds the old files: what was rotated can be compressed and removed.
    for process in [httpd.supervisor(), *httpd.children()]:
        held_files = processes.descriptors(process.pid).values()
        assert not [name for name in held_files if name.endswith(".log.1")], process
    assert "own" in extra.read_text()


@pytest.mark.ours("the original cuts requests off after 3 s")
def test_groups_come_change_and_go_under_load(httpd):
    """One graceful adds a group, changes the options of a second, and removes a third that is busy."""
    who = httpd.write("apps/who.wsgi", WHO)
    httpd.log.allow("a line of")
    httpd.start(f"""
WSGIDaemonProcess stays processes=2 threads=4 env=MODE=old
WSGIScriptAlias /stays {who} process-group=stays
WSGIDaemonProcess goes threads=2 graceful-timeout=60
WSGIScriptAlias /goes {httpd.app("held")} process-group=goes
""")
    with Load(httpd, "/stays", clients=4) as load:
        load.more(20)
        with held(httpd, "/goes") as running:
            change(httpd, "env=MODE=old", "env=MODE=new home=/")
            change(httpd, "WSGIDaemonProcess goes threads=2 graceful-timeout=60", "WSGIDaemonProcess comes threads=2")
            change(httpd, f"WSGIScriptAlias /goes {httpd.root}/apps/held.wsgi process-group=goes",
                   f"WSGIScriptAlias /comes {who} process-group=comes")
            httpd.graceful()
            assert httpd.get("/comes").status == 200
            assert httpd.get("/goes").status == 404
            wait_until(lambda: httpd.json("/stays")["mode"] == "new", 20, "the changed option")
            load.more(50)
        assert running.result == (200, running.pid)
        wait_until(lambda: not processes.process(running.pid), 30, "the removed group ends")
    assert set(load.results()) == {200}, load.results()


@pytest.mark.ours("the original closes sockets that old children still use")
@pytest.mark.parametrize("becomes", ["same", "other size", "removed"])
def test_an_old_child_that_is_late_reaches_its_application(httpd, becomes):
    """The head of a request arrives in an old child long after the new processes have taken over."""
    who = httpd.write("apps/who.wsgi", WHO)
    httpd.log.allow("a line of")
    httpd.start(f"""
{CHILDREN if httpd.mpm == "event" else ""}
WSGIDaemonProcess app threads=2
WSGIScriptAlias /app {who} process-group=app
WSGIDaemonProcess other threads=2
WSGIScriptAlias /other {who} process-group=other
""")
    before = httpd.json("/app")["pid"]
    other = httpd.json("/other")["pid"]
    children = {child.pid for child in httpd.children()}
    with httpd.connect() as sock:
        sock.sendall(b"GET /app HTTP/1.1\r\nHost: x\r\n")
        # A request behind it has been accepted, so this one has been too.
        assert httpd.get("/other").status == 200
        if becomes == "other size":
            change(httpd, "WSGIDaemonProcess app threads=2", "WSGIDaemonProcess app processes=20 threads=2")
        elif becomes == "removed":
            change(httpd, "WSGIDaemonProcess app threads=2", "")
            change(httpd, f"WSGIScriptAlias /app {who} process-group=app", "")
        httpd.graceful()
        wait_until(lambda: httpd.json("/other")["pid"] != other, 30, "the new configuration serves")
        if becomes == "same":
            wait_until(lambda: not processes.process(before), 20, "the old process ends")
        else:
            outlive_a_group(httpd)
        assert children & {child.pid for child in httpd.children()}, "the old child is there"
        sock.sendall(b"Connection: close\r\n\r\n")
        assert read_to_end(sock).startswith(b"HTTP/1.1 200 ")
    if becomes != "same":
        wait_until(lambda: not processes.process(before), 30, "the old process ends")


def outlive_a_group(httpd):
    """Waits for longer than the supervisor gives to a group that is not configured any more and has no children left."""
    text = httpd.conf_file.read_text()
    script = httpd.app("where")
    change(httpd, "WSGIDaemonProcess other", f"WSGIDaemonProcess brief\nWSGIScriptAlias /brief {script} process-group=brief\n"
           "WSGIDaemonProcess other")
    httpd.graceful()
    brief = httpd.json("/brief")["pid"]
    httpd.conf_file.write_text(text)
    httpd.graceful()
    wait_until(lambda: not processes.process(brief), 60, "the brief group ends")


@pytest.mark.ours("the original has no supervisor")
def test_a_hundred_gracefuls_leave_memory_and_descriptors_as_they_were(httpd):
    who = httpd.write("apps/who.wsgi", WHO)
    httpd.log.allow("a line of")
    httpd.start(f"WSGIDaemonProcess app threads=2\nWSGIScriptAlias / {who} process-group=app")

    def taken():
        """Kilobytes and descriptors of parent and supervisor, when all is quiet."""
        own = {httpd.pid, supervisor}
        others = lambda: {p.pid for p in httpd.processes()} - own - {child.pid for child in httpd.children()}  # noqa: E731
        wait_until(lambda: len(others()) == 1, 30, "one daemon process")
        return [(anonymous_kb(pid), len(processes.descriptors(pid))) for pid in (httpd.pid, supervisor)]

    def gracefuls(count):
        for _ in range(count):
            httpd.graceful()
        assert httpd.get("/").status == 200

    supervisor = httpd.supervisor().pid
    gracefuls(20)
    before = taken()
    gracefuls(100)
    # While an old child is about to end, the supervisor keeps a pipe that tells when it has.
    quiet = lambda: all(files <= was for (_, files), (_, was) in zip(taken(), before))  # noqa: E731
    wait_until(quiet, 30, "no descriptor more than before")
    assert httpd.supervisor().pid == supervisor
    for name, (kb, _), (kb_after, _) in zip(("parent", "supervisor"), before, taken()):
        assert kb_after <= kb + 300, (name, kb, kb_after)


def anonymous_kb(pid):
    """Memory of the process's own."""
    lines = processes.read_proc(pid, "smaps_rollup").decode().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Dirty:", "Swap:")))


# -- restart, stop ---------------------------------------------------------------------------------


def stubborn(httpd):
    """A group with a request that does not end, in a process that ignores what it can."""
    script = httpd.write("apps/stubborn.wsgi", """
import os, signal, threading, time

def application(environ, start_response):
    if environ["QUERY_STRING"]:
        with open(environ["QUERY_STRING"], "w") as mark:
            mark.write(str(os.getpid()))
        while True:
            time.sleep(1)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
""")
    httpd.log.allow(GONE)
    httpd.start(f"WSGIDaemonProcess app threads=4 shutdown-timeout=2\nWSGIScriptAlias / {script} process-group=app")
    marks = [httpd.root / f"tmp/stuck-{number}" for number in range(2)]
    stuck = Background(httpd, *(f"/?{quote(str(mark))}" for mark in marks))
    wait_until(lambda: all(mark.exists() and mark.read_text() for mark in marks), 20, "both are executed")
    stuck.daemon = int(marks[0].read_text())
    for mark in marks:
        mark.unlink()
    return stuck


@pytest.mark.ours("the original's children wait for their daemon processes until httpd kills them")
@pytest.mark.mpms("event", "worker", "prefork")
@pytest.mark.parametrize("action", ["stop", "restart"])
def test_a_request_that_does_not_end_holds_nothing_up(httpd, action):
    with stubborn(httpd) as stuck:
        begun = time.monotonic()
        if action == "stop":
            httpd.stop()
            wait_until(lambda: not httpd.processes(), 8, "all processes end")
        else:
            httpd.restart()
            assert httpd.get("/").status == 200
        took = time.monotonic() - begun
        wait_until(lambda: not processes.process(stuck.daemon), 8, "its process ends")
    # shutdown-timeout=2, and what httpd and this machine need.
    assert took < 2 + 4


@pytest.mark.mpms("event", "prefork")
@pytest.mark.parametrize("action", ["stop", "graceful-stop"])
def test_nothing_is_left_after_a_stop_under_load(httpd, action):
    """Connections with areas, spools and descriptors under way; `httpd` checks what is left."""
    httpd.log.allow(GONE)
    httpd.start(f"""
GracefulShutdownTimeout 10
WSGIDaemonProcess app processes=2 threads=4
WSGIScriptAlias /sequence {httpd.app("sequence")} process-group=app
WSGIScriptAlias /where {httpd.app("where")} process-group=app
""")
    with Load(httpd, "/where", clients=6) as load:
        load.more(60)
        httpd._end(action, 30)
        load.done.set()
    wait_until(lambda: not httpd.processes(), 15, "all processes end")
    if action == "graceful-stop":
        assert set(load.results()) <= {200, "ConnectionRefusedError", "ConnectionResetError"}, load.results()


@pytest.mark.mpms("event", "prefork")
def test_a_graceful_stop_waits_for_requests_in_every_group(httpd):
    held_app = httpd.app("held")
    httpd.start(f"""
GracefulShutdownTimeout 60
WSGIDaemonProcess one threads=2
WSGIDaemonProcess two threads=2
WSGIScriptAlias /one {held_app} process-group=one
WSGIScriptAlias /held {held_app} process-group=two
""")
    with held(httpd) as running:
        parent = httpd.pid
        assert httpd.control("-k", "graceful-stop") == 0
        wait_until(lambda: not httpd.accepts(), 20, "nothing new is accepted")
        assert processes.process(parent) and processes.process(running.pid)
    assert running.result == (200, running.pid)
    wait_until(lambda: not httpd.processes(), 20, "all processes end")
