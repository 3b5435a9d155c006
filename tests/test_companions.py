"""The files beside the module, the supervisor and the engine: missing, unusable, or of another build. That stops a
start, and never a running httpd."""

import os
import re
import shutil
import signal

import pytest

import processes
from processes import wait_until

pytestmark = pytest.mark.ours("the original is one file")

ENGINE, SUPERVISOR = "libwsgi_engine.so", "wsgi-supervisor"
BUILD = re.compile(rb"mod_wsgi-build: [0-9.]+ \(protocol \d+, build ([0-9a-f]{16})\);")
OTHER = b"0123456789abcdef"


def replace(path, content, mode=0o755):
    """Puts another file in its place, as packages do it."""
    new = path.with_name("new")
    new.write_bytes(content)
    new.chmod(mode)
    new.rename(path)


def other_build(content):
    assert BUILD.search(content), "the file does not say its build"
    return BUILD.sub(lambda found: found[0].replace(found[1], OTHER), content)


def not_executable(path):
    replace(path, path.read_bytes(), 0o644)


def other_machine(path):
    content = bytearray(path.read_bytes())
    content[18:20] = (0xF3 if content[18] != 0xF3 else 0xB7).to_bytes(2, "little")  # RISC-V, else AArch64
    replace(path, content)


FAULTS = {
    "missing": (lambda path: path.unlink(), "is missing; tried {path}, "),
    "garbage": (lambda path: replace(path, b"#!/bin/sh\n"), "{path} is unusable: it is neither a program nor a library"),
    "another file": (lambda path: replace(path, open("/bin/sh", "rb").read()),
                     "{path} is unusable: it is not a file of mod_wsgi"),
    "other machine": (other_machine, "{path} is unusable: it is made for "),
    "other build": (lambda path: replace(path, other_build(path.read_bytes())),
                    r"{path} is unusable: it belongs to mod_wsgi [0-9.]+ \(protocol \d+, build " + OTHER.decode() + r"\), and the "
                    r"module to mod_wsgi [0-9.]+ \(protocol \d+, build [0-9a-f]{{16}}\); "),
}
CASES = [pytest.param(name, what, id=f"{name}-{what}") for name in (ENGINE, SUPERVISOR) for what in FAULTS]
CASES.append(pytest.param(SUPERVISOR, "not executable", id="supervisor-not executable"))
FAULTS["not executable"] = (not_executable, "{path} cannot be executed: Permission denied")


@pytest.fixture
def installed(httpd):
    """A folder with the three files, from which the server loads."""
    folder = httpd.root / "modules"
    folder.mkdir()
    for name in (httpd.module.name, ENGINE, SUPERVISOR):
        shutil.copy(httpd.module.parent / name, folder / name)
    httpd.module = folder / httpd.module.name
    return folder


@pytest.fixture
def spoil(installed):
    """Makes a file unusable; returns the pattern of what is said about it."""
    def make(name, what):
        path = installed / name
        act, told = FAULTS[what]
        act(path)
        return told.format(path=re.escape(str(path)))
    return make


def config(httpd, groups=1):
    script = httpd.app("where")
    lines = [f"WSGIDaemonProcess group{n} threads=2\nWSGIScriptAlias /group{n} {script} process-group=group{n}"
             for n in range(groups)]
    return "\n".join([*lines, f"WSGIScriptAlias /embedded {script} application-group=%{{GLOBAL}}"])


# -- a start ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, what", CASES)
def test_configtest_and_start_fail_and_the_terminal_says_why(httpd, spoil, name, what):
    told = spoil(name, what)
    httpd.configure(config(httpd))
    for arguments in (["-t"], ["-k", "start"]):
        assert httpd.control(*arguments) == 1
        assert re.search(told, httpd.control_output), httpd.control_output
        assert "Syntax OK" not in httpd.control_output
    assert not httpd.pid and not httpd.processes()


# -- a running server ------------------------------------------------------------------------------


@pytest.mark.parametrize("name, what", CASES)
def test_graceful_goes_on_with_what_it_has(httpd, spoil, name, what):
    httpd.start(config(httpd))
    supervisor = httpd.supervisor().pid
    before = httpd.json("/group0")["pid"]
    told = spoil(name, what)
    httpd.log.expect(rf"\[wsgi:error\].*{told}.*; httpd goes on with the files that it opened before")
    httpd.graceful()
    # The configuration is taken over, with new processes.
    wait_until(lambda: httpd.json("/group0")["pid"] != before, 20, "a new process")
    assert httpd.supervisor().pid == supervisor
    assert httpd.get("/embedded").status == 200
    assert httpd.get("/index.html").text == "static page\n"


@pytest.mark.parametrize("name", [ENGINE, SUPERVISOR])
def test_restart_starts_the_files_that_it_has_opened(httpd, spoil, name):
    httpd.start(config(httpd))
    supervisor, group = httpd.supervisor().pid, httpd.json("/group0")["pid"]
    told = spoil(name, "missing")
    httpd.log.expect(rf"\[wsgi:error\].*{told}.*; httpd goes on with the files that it opened before")
    httpd.restart()
    assert httpd.json("/group0")["pid"] != group
    assert httpd.get("/embedded").status == httpd.get("/index.html").status == 200
    wait_until(lambda: not processes.process(supervisor), 15, "the old supervisor ends")
    assert httpd.supervisor()


def test_a_lost_supervisor_is_replaced_by_the_file_that_was_opened(httpd, spoil):
    httpd.start(config(httpd))
    spoil(SUPERVISOR, "missing")
    first = httpd.supervisor().pid
    httpd.log.allow("was lost")
    os.kill(first, signal.SIGKILL)
    httpd.wait_for_other_supervisor(first, 15)
    wait_until(lambda: httpd.get("/group0").status == 200, 15, "it serves")


def in_place(path, content):
    """Writes into the file that others have opened: of another length it would take them down."""
    assert len(content) == path.stat().st_size
    with path.open("r+b") as file:
        file.write(content)


@pytest.fixture
def rewritten(installed):
    """Writes another build into the engine's own file, and back."""
    engine = installed / ENGINE
    content = engine.read_bytes()

    def write(fits):
        in_place(engine, content if fits else other_build(content))
    return write


@pytest.mark.parametrize("action", ["graceful", "restart"])
def test_without_any_usable_file_the_supervisor_that_runs_goes_on(httpd, rewritten, action):
    httpd.start(config(httpd))
    supervisor = httpd.supervisor().pid
    rewritten(fits=False)
    httpd.log.expect(r"\[wsgi:crit\].*it belongs to mod_wsgi .*; httpd goes on, and so do a running supervisor and its processes")
    getattr(httpd, action)()
    for _ in range(3):
        assert httpd.get("/group0").status == 200
    assert httpd.get("/index.html").text == "static page\n"
    assert httpd.supervisor().pid == supervisor
    httpd.log.expect(r"it belongs to mod_wsgi .*; the client gets 500")
    assert httpd.get("/embedded").status == 500
    rewritten(fits=True)
    httpd.graceful()
    wait_until(lambda: httpd.get("/embedded").status == 200, 15, "embedded mode is back")
    assert httpd.get("/group0").status == 200


def test_without_any_file_and_any_supervisor_requests_get_503_until_there_is_one(httpd, rewritten):
    httpd.start(config(httpd, groups=0))
    rewritten(fits=False)
    httpd.log.expect(r"\[wsgi:crit\].*it belongs to mod_wsgi .*; httpd goes on")
    httpd.log.expect(r"\[wsgi:crit\].*it belongs to mod_wsgi .*; nobody watches the daemon processes until a supervisor has started")
    httpd.log.expect(r'process group "group0": it has no process, and for .* no process could be started.*it belongs to mod_wsgi')
    text = httpd.conf_file.read_text()
    httpd.configure(config(httpd))
    assert httpd.conf_file.read_text() != text
    httpd.graceful()
    wait_until(lambda: httpd.get("/group0").status == 503, 10, "the new configuration")
    assert httpd.get("/index.html").text == "static page\n"
    httpd.log.expect("it takes requests again; .* got 503")
    rewritten(fits=True)
    # Without another word to httpd.
    wait_until(lambda: httpd.get("/group0").status == 200, 30, "a supervisor is started")


def test_a_server_whose_files_are_gone_can_be_stopped(httpd, spoil):
    httpd.start(config(httpd))
    spoil(ENGINE, "missing")
    spoil(SUPERVISOR, "missing")
    httpd.stop()
