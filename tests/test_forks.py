"""Processes that applications fork are ordinary processes, and have no part in the server."""

import json
import re
import threading

import pytest

import processes
import pythons
from conftest import mode_directives
from processes import wait_until

APP = "/children"
WAYS = {"fork": 0, "known": 0, "forkserver": 0, "spawn": 0, "pool": [1, 2, 3], "executor": [1, 2, 3], "terminated": -15,
        "pty": 7, "shell": 3, "preexec": 4}


@pytest.mark.parametrize("way", WAYS)
def test_an_application_starts_processes(site, way):
    site.log.allow("asks for the thread")
    assert site.json(f"{APP}/{way}") == WAYS[way]


@pytest.mark.ours("in the original a forked process answers the client")
@pytest.mark.parametrize("how, status", [("return", 0), ("exit", 3), ("text", 1), ("raises", 1), ("signal", -15),
                                         ("iterator", 0)])
def test_a_forked_process_that_comes_back_ends_with_its_own_status(site, mode, how, status):
    if how == "raises":
        site.log.expect(r"Exception occurred in process \d+, which the application has forked; it ends with status 1")
        site.log.expect("ValueError: of the forked process")
        site.log.allow(r"Traceback|  File|    (return|raise) |\^\^")
    if how == "text":
        site.log.expect("a reason to leave")
    if how not in ("iterator", "signal"):
        site.log.expect("last words of a forked process, without an end")
    site.log.allow("last words")
    before = site.json(f"{APP}/pid")
    for _ in range(3):
        assert site.json(f"{APP}/back/{how}") == status
    if mode == "daemon":
        # One process serves, and it is still the same.
        assert site.json(f"{APP}/pid") == before
    if how == "raises":
        line = site.log.matching("Exception occurred in process")[0]
        assert int(re.search(r"process (\d+)", line)[1]) != before


@pytest.mark.ours("as above")
def test_a_forked_process_that_comes_back_from_close_ends(site, tmp_path):
    told = site.root / "closed.json"
    site.own(site.root)
    assert site.get(f"{APP}/back/close?{told}").status == 200
    wait_until(told.exists, 10, "the process that serves has seen the end of the other")
    wait_until(lambda: told.read_text(), 10, "its status")
    assert json.loads(told.read_text()) == 0


@pytest.mark.ours("in the original a forked process reads and writes")
def test_the_request_is_closed_in_a_forked_process(site):
    for answer in (site.json(f"{APP}/closed"), site.post(f"{APP}/closed", b"a body\n" * 100_000).json()):
        assert answer == ["RuntimeError"] * 5


@pytest.mark.ours("the original's processes are forks of httpd")
@pytest.mark.modes("daemon")
def test_a_forked_process_has_no_descriptor_of_the_server(site):
    served, forked = site.json(f"{APP}/descriptors")
    own = {name for _, name in served}
    assert {"anon_inode:[eventpoll]", "anon_inode:[eventfd]"} <= own
    left = {name for _, name in forked}
    assert not [name for name in left if re.match("socket:|anon_inode:|/memfd:|/dev/shm", name)], left
    gone = [name for _, name in served if name.startswith("pipe:") and name not in left]
    assert len(gone) == 2 and len(set(gone)) == 1, "the pipe of the signal handler"


def lines_of(log, pattern):
    return [re.search(pattern, line) for line in log.matching(pattern)]


@pytest.mark.ours("the original writes half lines, and into other requests")
def test_each_line_of_forked_processes_is_in_the_log_whole(site):
    """While others answer large bodies: nothing of the lines gets there."""
    site.log.allow("stderr|errors|logger|unfinished|half")
    ended = []

    def others():
        while not ended:
            found.add(site.get(f"{APP}/large").body == b"x" * 3_000_000)

    found = set()
    thread = threading.Thread(target=others)
    thread.start()
    try:
        assert site.json(f"{APP}/talks") == [0] * 4
    finally:
        ended.append(True)
        thread.join()
    assert found == {True}
    wait_until(lambda: len(site.log.matching("unfinished")) == 5, 10, "the last lines")
    for stream, length in ("stderr", 100), ("errors", 3000), ("logger", 100):
        seen = [(int(m[1]), int(m[2])) for m in lines_of(site.log, rf"\] {stream} (\d) (\d+) x{{{length}}}$")]
        assert sorted(seen) == [(number, at) for number in range(5) for at in range(100)], stream
    assert len(site.log.matching("half of the line of this process, and the other half$")) == 1
    assert len(site.log.matching("half of the line")) == 1


IMPORT = """
import multiprocessing, os, sys

if os.fork() == 0:
    print("a forked process of the script", file=sys.stderr)
    sys.exit(0)

def task(number):
    print("task", number, file=sys.stderr)
    return number

pool = multiprocessing.get_context("fork").Pool(2)

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["QUERY_STRING"] == "end":
        pool.terminate()
        pool.join()
        return [b"ended"]
    return [str(sum(pool.map(task, range(50), 1))).encode()]
"""


@pytest.mark.ours("the original's forked process goes on as the server")
def test_a_script_forks_while_it_is_imported(httpd, mode):
    httpd.log.allow(r"task \d+")
    httpd.log.expect("a forked process of the script")
    script = httpd.write("apps/imports.wsgi", IMPORT)
    httpd.start(f"{mode_directives(mode)}WSGIScriptAlias / {script} application-group=%{{GLOBAL}}")
    for count in 1, 2:
        assert httpd.get("/").text == "1225"
        wait_until(lambda: len(httpd.log.matching(r"task \d+$")) == 50 * count, 10, "each task's line")
    assert httpd.get("/?end").text == "ended"


NAMED = """
import json, multiprocessing, os, subprocess, sys, pty

def error_of(call):
    try:
        return call()
    except RuntimeError as error:
        return "RuntimeError: %s" % error

def process(method):
    it = multiprocessing.get_context(method).Process(target=int)
    it.start()
    it.join(20)
    return it.exitcode

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    ways = [os.fork, pty.fork, lambda: process("fork"), lambda: process("spawn"),
            lambda: subprocess.run(["sh", "-c", "exit 3"]).returncode,
            lambda: subprocess.run(["sh", "-c", "exit 3"], preexec_fn=int).returncode]
    return [json.dumps([os.getpid(), *map(error_of, ways)]).encode()]
"""


@pytest.mark.ours("in the original CPython ends the forked process by a fatal error")
def test_a_fork_in_a_sub_interpreter_is_refused_before(httpd, mode):
    script = httpd.write("apps/named.wsgi", NAMED)
    other = httpd.write("apps/other.wsgi", NAMED)
    httpd.start(f"{mode_directives(mode)}WSGIScriptAlias /named {script}\nWSGIScriptAlias /other {other}")
    pid, fork, terminal, process, spawn, shell, prepared = httpd.json("/named")
    for text in fork, process:
        assert text.startswith("RuntimeError: os.fork() is not possible") and "WSGIApplicationGroup %{GLOBAL}" in text
    assert terminal.startswith("RuntimeError: os.forkpty() is not possible")
    assert prepared.startswith("RuntimeError: ")
    assert (spawn, shell) == (0, 3)
    assert processes.process(pid)
    assert "Z" not in [it.state for it in processes.descendants(pid)]


@pytest.mark.ours("the original is built for one Python")
@pytest.mark.parametrize("version", pythons.other_versions() or [None])
def test_an_application_starts_processes_in_every_python(httpd, version):
    """In the main interpreter; in a sub-interpreter a fork is refused."""
    httpd.log.allow("asks for the thread")
    main, named = httpd.app("children"), httpd.write("apps/named.wsgi", NAMED)
    httpd.start(f"WSGIDaemonProcess app threads=3 python={pythons.other_python(version)}\nWSGIProcessGroup app\n"
                f"WSGIScriptAlias /children {main} application-group=%{{GLOBAL}}\nWSGIScriptAlias /named {named}")
    assert {way: httpd.json(f"{APP}/{way}") for way in WAYS} == WAYS
    pid, fork, terminal, process, spawn, shell, prepared = httpd.json("/named")
    assert [text.partition(":")[0] for text in (fork, terminal, process, prepared)] == ["RuntimeError"] * 4
    assert (spawn, shell) == (0, 3)
    assert httpd.json("/named")[0] == pid


STAYS = """
import os, time

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    pid = os.fork()
    if pid == 0:
        while True:
            time.sleep(60)
    return [str(pid).encode()]
"""


@pytest.mark.ours("in the original a forked process keeps the port")
def test_a_process_that_an_embedded_application_forks_holds_no_socket_of_the_server(httpd):
    script = httpd.write("apps/stays.wsgi", STAYS)
    httpd.start(f"WSGIDaemonProcess app\nWSGIScriptAlias /app {httpd.app('hello')} process-group=app\n"
                f"WSGIScriptAlias / {script} application-group=%{{GLOBAL}}\n"
                "StartServers 1\nMaxRequestWorkers 25\nMinSpareThreads 1\nMaxSpareThreads 100")
    assert httpd.get("/app").text == "Hello, world!\n"
    forked = int(httpd.get("/").text)
    try:
        child = next(p for p in httpd.children() if p.pid == processes.process(forked).ppid)
        unix = processes.unix_sockets(child.pid)
        assert unix
        # The answer may come before the forked process has run at all.
        wait_until(lambda: not unix & processes.unix_sockets(forked), 20, "its copies are closed")
        httpd.stop()
        assert processes.process(forked), "it lives on"
        httpd.start()
        httpd.stop()
    finally:
        processes.kill([forked])
