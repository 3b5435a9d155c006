"""Faults of processes and of the system: only what a lost process was executing fails; the log says it; it heals."""

import contextlib
import os
import re
import resource
import signal
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

import pytest

import processes
from client import read_to_end
from httpd import IS_ROOT
from load import Background, Load, at_once, busy, timed
from processes import wait_until

GONE = "(?i)process|daemon|supervisor|signal|connection|closed|response|WSGI0"
pytestmark = pytest.mark.timeout(120)
needs_root = pytest.mark.skipif(not IS_ROOT, reason="needs root")
no_supervisor = pytest.mark.ours("the original has no supervisor")


def where(httpd):
    return httpd.json("/where")


def serves(httpd, path="/hello", timeout=20):
    wait_until(lambda: timed(httpd, path).result == 200, timeout, "it serves")


def stopped(pid):
    return (processes.process(pid) or processes.Process(pid, 0, "", "")).state == "T"


SET_LIMIT = """
import resource, sys
pid, what, number = map(int, sys.argv[1:])
before, hard = resource.prlimit(pid, what)
resource.prlimit(pid, what, (number, hard))
print(before)
"""


def set_limit(pid, what, number):
    """Sets a soft limit, as the process's user; returns what it was."""
    owner = os.stat(f"/proc/{pid}")
    who = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if IS_ROOT else {}
    command = ["/usr/bin/python3", "-c", SET_LIMIT, str(pid), str(int(what)), str(number)]
    return int(subprocess.run(command, check=True, capture_output=True, **who).stdout)


@contextlib.contextmanager
def limited(pid, what, number):
    """The process with a soft limit; as it was afterwards."""
    before = set_limit(pid, what, number)
    try:
        yield
    finally:
        if processes.process(pid):
            set_limit(pid, what, before)


@contextlib.contextmanager
def small_disk(httpd, size="1m"):
    """A folder with little room, which belongs to the server's user."""
    folder = httpd.root / "small"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=1777", "tmpfs", folder], capture_output=True)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


# -- a daemon process is lost ----------------------------------------------------------------------


@pytest.mark.ours("the original's line names neither the group nor what was in flight")
@pytest.mark.mpms("event", "prefork")
@pytest.mark.parametrize("fault, ended", [
    ("kill", "killed by SIGKILL"), ("segv", "killed by SIGSEGV"), ("exit", "exited with status 7"),
])
@pytest.mark.check
def test_a_lost_process_costs_what_it_executed_and_one_line(daemon, fault, ended):
    httpd = daemon("processes=1 threads=3")
    httpd.log.allow(GONE)
    with busy(httpd, 60, count=2) as running:
        pid = running.pids[0]
        assert timed(httpd, f"/faults/{fault}").result == 502
        assert [outcome.result for outcome in running.outcomes()] == [502, 502]
    serves(httpd)
    line = httpd.log.wait_for(f"process {pid} was lost: ")
    assert re.search(rf'process group "app": process {pid} was lost: {ended} after [\d.]+ s, 3 requests in flight', line)
    assert len(httpd.log.matching(f"process {pid} was lost: ")) == 1


@pytest.mark.ours("the original's clients may see 502 or 503")
@pytest.mark.mpms("event", "prefork")
@pytest.mark.check
def test_what_the_lost_process_had_not_begun_goes_elsewhere(daemon):
    """A stopped process has unread requests, on kept connections and on new ones; then it is killed."""
    httpd = daemon("processes=2 threads=4")
    httpd.log.allow(GONE)
    assert {outcome.result for outcome in at_once(httpd, ["/sleep?0.2"] * 8)} == {200}
    victim = where(httpd)["pid"]
    os.kill(victim, signal.SIGSTOP)
    wait_until(lambda: stopped(victim), 5, "it is stopped")
    with Background(httpd, *["/sleep?0"] * 7) as waiting:
        # The other one has answered its share; the rest is with the stopped one.
        wait_until(lambda: sum(future.done() for future in waiting.futures) >= 3, 20, "the other one's share")
        os.kill(victim, signal.SIGKILL)
    assert {outcome.result for outcome in waiting.outcomes()} == {200}
    assert str(victim).encode() not in {outcome.body for outcome in waiting.outcomes()}


@pytest.mark.ours("the original's clients may see 502 or 503")
@pytest.mark.parametrize("fault", ["kill", "segv", "exit"])
def test_under_load_a_fault_fails_its_own_requests_only(daemon, fault):
    httpd = daemon("processes=2 threads=4")
    httpd.log.allow(GONE)
    marks = [httpd.root / f"tmp/fault-{n}" for n in range(3)]
    with Load(httpd, "/hello", clients=6) as load:
        for mark in marks:
            load.more(50)
            assert timed(httpd, f"/faults/{fault}?{quote(str(mark))}").result == 502
            mark.unlink()
            load.more(50)
    failed = sum(count for result, count in load.results().items() if result != 200)
    # At most what the process executes beside: threads - 1.
    assert failed <= 3 * 3 and set(load.results()) <= {200, 502}, load.results()


def test_no_memory_is_an_error_of_the_request(daemon):
    httpd = daemon("threads=2")
    httpd.log.expect("MemoryError")
    httpd.log.allow("(?i)exception|traceback|file|bytearray|memory|globals")
    pid = where(httpd)["pid"]
    with limited(pid, resource.RLIMIT_AS, 4 << 30):
        assert timed(httpd, "/faults/memory").result == 500
    assert where(httpd)["pid"] == pid


@pytest.mark.check
def test_an_exception_in_a_thread_is_a_traceback_and_no_more(daemon):
    httpd = daemon("threads=2")
    httpd.log.expect("RuntimeError: raised in a thread")
    httpd.log.allow("(?i)exception|traceback|file|raise|\\^|run|thread|target")
    pid = where(httpd)["pid"]
    assert httpd.get("/faults/thread").text == str(pid)


@pytest.mark.ours("the original accepts no connection then")
def test_a_process_without_descriptors_costs_no_request(daemon):
    """It cannot take new connections; it is replaced, and what was meant for it goes elsewhere."""
    httpd = daemon("processes=2 threads=4")
    # Whatever opens a file fails in it; so the application is one that both processes have loaded. Few connections are made.
    httpd.log.wait_for("is ready", 20, 2)
    # On a busy machine the second request may come when the first one has ended.
    wait_until(lambda: len({outcome.body for outcome in at_once(httpd, ["/sleep?0.5"] * 2)}) == 2, 30, "both have served")
    httpd.log.expect("no descriptor left for a new connection.*the supervisor replaces it")
    pid = int(httpd.get("/faults/descriptors").body)
    outcomes = at_once(httpd, ["/sleep?0.3"] * 24)
    assert {outcome.result for outcome in outcomes} == {200}
    wait_until(lambda: not processes.process(pid), 20, "it is gone")
    httpd.log.wait_for(f"process {pid} is gone .it has no descriptor left")


# -- the supervisor --------------------------------------------------------------------------------


@no_supervisor
def test_a_stopped_supervisor_stops_nobody(daemon):
    """Whoever has a connection goes on; new connections wait until it continues; so does a graceful."""
    httpd = daemon("processes=2 threads=4")
    httpd.log.allow(GONE)
    with Load(httpd, "/hello", clients=2) as load:
        load.more(50)
        supervisor = httpd.supervisor().pid
        begun = time.monotonic()
        os.kill(supervisor, signal.SIGSTOP)
        wait_until(lambda: stopped(supervisor), 5, "it is stopped")
        load.more(20, 4) if httpd.mpm == "event" else None
        # More at once than there are connections.
        with Background(httpd, *["/sleep?0.1"] * 8) as more:
            wait_until(lambda: time.monotonic() > begun + 5, 10)
            os.kill(supervisor, signal.SIGCONT)
        assert {outcome.result for outcome in more.outcomes()} == {200}
        load.more(50)
    assert set(load.results()) == {200}, load.results()
    assert httpd.supervisor().pid == supervisor


@no_supervisor
@pytest.mark.mpms("event", "prefork")
def test_a_graceful_while_the_supervisor_is_stopped(daemon):
    httpd = daemon("processes=1 threads=4")
    httpd.log.allow(GONE)
    before = where(httpd)["pid"]
    supervisor = httpd.supervisor().pid
    os.kill(supervisor, signal.SIGSTOP)
    for _ in range(30):
        httpd.graceful()
    os.kill(supervisor, signal.SIGCONT)
    wait_until(lambda: where(httpd)["pid"] != before, 30, "new processes serve")


@no_supervisor
@pytest.mark.parametrize("action", ["stop", "restart"])
def test_a_stop_while_the_supervisor_is_stopped(daemon, action):
    """It cannot end its processes; they see that httpd is gone."""
    httpd = daemon("processes=2 threads=2 shutdown-timeout=2")
    httpd.log.allow(GONE)
    httpd.get("/hello")
    supervisor = httpd.supervisor().pid
    os.kill(supervisor, signal.SIGSTOP)
    if action == "stop":
        httpd.stop()
    else:
        httpd.restart()
        serves(httpd)
    # httpd's parent looks after what it has every 10 s.
    wait_until(lambda: not processes.process(supervisor), 30, "the stopped supervisor is gone")


@no_supervisor
def test_a_supervisor_without_descriptors_heals(daemon):
    """It can take no connection and start no process; afterwards it can."""
    # Groups that sleep: descriptors that are under way count, too, all that processes of the user have sent.
    more = "".join(f"WSGIDaemonProcess more{n} min-processes=0 max-processes=1 threads=1\n" for n in range(50))
    httpd = daemon("processes=2 threads=4", more)
    httpd.log.allow(GONE + "|descriptor|limit of open files")
    victim = where(httpd)["pid"]
    supervisor = httpd.supervisor().pid
    used = processes.descriptors(supervisor)
    free = next(number for number in range(len(used) + 1) if number not in used)
    # The last ones are spare, for what it receives.
    limit = min(free, max(used) - 3)
    with limited(supervisor, resource.RLIMIT_NOFILE, limit), Load(httpd, "/hello", clients=2) as load:
        load.more(50)
        os.kill(victim, signal.SIGKILL)
        httpd.log.wait_for("raise the limit of open files|limit of open files is reached", 20)
        load.more(50)
    wait_until(lambda: len({where(httpd)["pid"] for _ in range(8)}) == 2 or
               len([p for p in httpd.processes() if p.comm.startswith("python")]) == 2, 40, "two processes")
    assert set(load.results()) <= {200, 502} and load.results()[502] <= 1, load.results()
    assert {outcome.result for outcome in at_once(httpd, ["/sleep?0.1"] * 8)} == {200}


@no_supervisor
@pytest.mark.mpms("event")
def test_a_graceful_that_the_supervisor_has_no_descriptors_for_is_made_up_for(daemon):
    more = "".join(f"WSGIDaemonProcess more{n} threads=1\n" for n in range(8))
    httpd = daemon("processes=1 threads=4", more)
    httpd.log.allow(GONE + "|descriptor|limit of open files")
    before = where(httpd)["pid"]
    supervisor = httpd.supervisor().pid
    lowest = max(processes.descriptors(supervisor)) + 1
    with limited(supervisor, resource.RLIMIT_NOFILE, lowest - 4), Load(httpd, "/hello", clients=2) as load:
        httpd.graceful()
        httpd.log.wait_for("limit of open files is reached", 20)
        load.more(50)
    # httpd's parent looks after its supervisor every 10 s.
    wait_until(lambda: where(httpd)["pid"] != before, 40, "new processes serve")
    assert set(load.results()) == {200}, load.results()


@no_supervisor
@needs_root
@pytest.mark.mpms("event")
@pytest.mark.parametrize("users", ["one", "two"])
def test_fork_that_fails_heals(daemon, httpd, users):
    """RLIMIT_NPROC: fork fails for a supervisor that is www-data; for one that is root, exec as www-data."""
    second = "" if users == "one" else "WSGIDaemonProcess second threads=1 user=nobody home=/"
    daemon("processes=2 threads=4", second)
    httpd.log.allow(GONE + "|cannot start|limit")
    victim = where(httpd)["pid"]
    with limited(httpd.supervisor().pid, resource.RLIMIT_NPROC, 1), Load(httpd, "/hello", clients=2) as load:
        load.more(50)
        os.kill(victim, signal.SIGKILL)
        httpd.log.wait_for("cannot start .*(limit of processes|Resource temporarily unavailable)", 20)
        load.more(50)
    count = 2 if users == "one" else 3
    wait_until(lambda: len([p for p in httpd.processes() if p.comm.startswith("python")]) == count, 40, "all processes")
    assert set(load.results()) <= {200, 502} and load.results()[502] <= 1, load.results()


@no_supervisor
def test_supervisor_and_daemon_processes_killed_at_once(daemon):
    httpd = daemon("processes=2 threads=4")
    httpd.log.allow(GONE)
    httpd.get("/hello")
    with Load(httpd, "/hello", clients=4) as load:
        load.more(50)
        others = [p.pid for p in httpd.processes() if p.comm.startswith("python")]
        processes.kill([httpd.supervisor().pid, *others])
        load.more(50)
    assert set(load.results()) <= {200, 502} and load.results()[502] <= 4, load.results()


def at_work(pid):
    """Request threads of the process with the number of times that each has gone to sleep."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        status = dict(line.split(":", 1) for line in (task / "status").read_text().splitlines())
        if status["Name"].strip().removeprefix("wsgi-").isdigit():
            found[task.name] = int(status["voluntary_ctxt_switches"])
    return found


@pytest.mark.ours("the original's clients get 502")
def test_requests_that_a_killed_process_has_read_but_not_begun_are_served_by_another(daemon, httpd):
    daemon("threads=8 deadlock-timeout=0")
    httpd.log.allow(GONE)
    pid = where(httpd)["pid"]
    mark = httpd.root / "tmp/mark"
    with Background(httpd, f"/stuck/hold?{mark}") as stuck:
        wait_until(mark.exists, 20, "it keeps the GIL")
        mark.unlink()
        before = at_work(pid)
        with Background(httpd, *["/hello"] * 6) as others:
            woken = lambda: sum(1 for task, count in at_work(pid).items() if count > before[task] + 1)  # noqa: E731
            wait_until(lambda: woken() >= 6, 20, "six threads have read a request, and wait for the GIL")
            processes.kill([pid])
            assert [outcome.result for outcome in others.outcomes()] == [200] * 6
        assert [outcome.result for outcome in stuck.outcomes()] == [502]


# -- a child ---------------------------------------------------------------------------------------


@pytest.mark.ours("the original's threads stay busy until the end of the request")
@pytest.mark.mpms("event", "prefork")
def test_what_a_killed_child_held_is_given_back(daemon):
    httpd = daemon("processes=1 threads=2")
    httpd.log.allow(GONE + "|AH00052|AH0005")
    with busy(httpd, 3, count=2) as running:
        children = [child.pid for child in httpd.children()]
        processes.kill(children)
        wait_until(lambda: not any(map(processes.process, children)), 10, "the children are gone")
    assert not {outcome.result for outcome in running.outcomes()} & {200}
    # Both request threads are to be had again.
    wait_until(httpd.accepts, 20, "new children")
    assert {outcome.result for outcome in at_once(httpd, ["/sleep?0.5"] * 4)} == {200}


# -- the system ------------------------------------------------------------------------------------


@pytest.mark.ours("the original loses requests by graceful")
@needs_root
@pytest.mark.check
def test_a_full_log_disk_costs_no_request(daemon, httpd):
    with small_disk(httpd) as folder:
        httpd.log.path = folder / "error.log"
        daemon("processes=2 threads=2", f'ErrorLog "{folder}/error.log"')
        httpd.log.allow(GONE + "|x{40}")
        fill(folder / "full")
        with Load(httpd, "/errors/stderr", clients=2) as load:
            load.more(20)
            os.kill(where(httpd)["pid"], signal.SIGKILL)
            load.more(40)
            old = [p.pid for p in httpd.processes() if p.ppid == httpd.supervisor().pid]
            httpd.control("-k", "graceful")
            load.more(40)
        assert set(load.results()) <= {200, 404, 502} and load.results()[502] <= 1, load.results()
        serves(httpd)
        # One that is draining would not be lost.
        wait_until(lambda: not any(map(processes.process, old)), 30, "the old processes end")
        (folder / "full").unlink()
        before = where(httpd)["pid"]
        os.kill(before, signal.SIGKILL)
        httpd.log.wait_for(f"process {before} was lost: ", 20)
        httpd.log.begin()
        serves(httpd)
        httpd.stop()


def fill(path):
    """Takes all that is left of a file system."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(file, b"x" * 4096)
    except OSError:
        os.close(file)


READER = """#!/bin/sh
echo $$ >> "$1.pid"
exec cat >> "$1"
"""


@pytest.mark.ours("the original loses requests by graceful")
def test_a_log_program_that_is_killed_costs_no_request_and_no_process(daemon, httpd):
    program = httpd.write("reader.sh", READER)
    program.chmod(0o755)
    target = httpd.root / "logs/piped.log"
    httpd.write("logs/error.log", "")
    group = f"""WSGIDaemonProcess app processes=2 threads=2
WSGIProcessGroup app
ErrorLog "|{program} {target}"
WSGIScriptAlias /hello {httpd.app("hello")}
WSGIScriptAlias /where {httpd.app("where")}
"""
    httpd.configure(group)
    assert httpd.control("-k", "start") == 0, httpd.control_output
    httpd.log.path = target
    httpd.log.allow(GONE + "|AH|piped")
    httpd.log.expect(r"warn.* lines could not be written to this error log before: Broken pipe")
    readers = lambda: [int(pid) for pid in target.with_suffix(".log.pid").read_text().split()]  # noqa: E731
    wait_until(httpd.accepts, 20, "httpd accepts")
    serves(httpd)
    with Load(httpd, "/hello", clients=2) as load:
        load.more(20)
        first = readers()
        processes.kill(first)
        wait_until(lambda: not processes.process(first[0]), 10, "the log program is gone")
        load.more(20)
        victim = where(httpd)["pid"]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: not processes.process(victim), 10, "a daemon process is gone")
        load.more(50)
        # httpd starts another log program for an ErrorLog only now.
        assert httpd.control("-k", "graceful") == 0
        wait_until(lambda: len(readers()) > len(first), 20, "another log program")
        load.more(50)
        httpd.log.wait_for("is draining .*graceful restart", 20)
    assert set(load.results()) <= {200, 502} and load.results()[502] <= 1, load.results()
    victim = wait_until(lambda: alone(httpd), 20, "the old processes are gone")
    os.kill(victim, signal.SIGKILL)
    httpd.log.wait_for(f"process {victim} was lost: ", 20)
    serves(httpd)


@pytest.mark.ours("the original's lines are lost")
@pytest.mark.mpms("event")
def test_a_log_program_of_a_virtual_host_that_is_killed_loses_no_line_about_processes(httpd):
    program = httpd.write("reader.sh", READER)
    program.chmod(0o755)
    target = httpd.root / "logs/piped.log"
    script = httpd.app("where")
    httpd.start(f"""<VirtualHost *:{httpd.port}>
ErrorLog "|{program} {target}"
WSGIDaemonProcess app
WSGIScriptAlias /where {script} process-group=app
</VirtualHost>""")
    httpd.log.allow("AH|piped")
    victim = where(httpd)["pid"]
    readers = [int(pid) for pid in target.with_suffix(".log.pid").read_text().split()]
    processes.kill(readers)
    wait_until(lambda: not any(map(processes.process, readers)), 10, "the log program is gone")
    os.kill(victim, signal.SIGKILL)
    httpd.log.expect('warn.*process group "app": the program that its error log is piped to has ended; .*main error log')
    httpd.log.expect(f'error.*process group "app": process {victim} was lost: killed by SIGKILL')
    httpd.log.wait_for("is ready after", 20)
    serves(httpd, "/where")
    httpd.graceful()
    lost = re.compile("warn.* [3-9] lines could not be written to this error log before: Broken pipe")
    wait_until(lambda: lost.search(target.read_text()), 20, "what was lost is told")


def alone(httpd):
    """One of the group's two processes, once there are no others."""
    pids = [p.pid for p in httpd.processes() if p.comm.startswith("python")]
    return len(pids) == 2 and pids[0]
