"""httpd's parent: no Python in it, no thread, nothing that grows."""

import shutil
import subprocess

import pytest

import processes
from conftest import mode_directives
from httpd import HTTPD
from processes import wait_until

BOTH = "WSGIDaemonProcess app processes=2 threads=2\n" \
       "WSGIScriptAlias /daemon {0} process-group=app\nWSGIScriptAlias /embedded {0}\n"


def start(httpd):
    httpd.start(BOTH.format(httpd.app("hello")))
    assert httpd.get("/daemon").status == httpd.get("/embedded").status == 200
    return httpd


@pytest.mark.ours("the original is linked with libpython")
@pytest.mark.mpms("event", "prefork", "worker")
def test_the_parent_has_no_python_and_no_thread(httpd):
    start(httpd)
    httpd.graceful()
    mapped = [path for path in processes.maps(httpd.pid) if "libpython" in path]
    assert mapped == [] and processes.threads(httpd.pid) == 1


@pytest.mark.ours("the original initialises Python in every child")
@pytest.mark.check
def test_a_child_has_no_python_until_an_embedded_request(httpd):
    httpd.start(BOTH.format(httpd.app("hello")))
    assert httpd.get("/daemon").status == 200
    mapped = {path for child in httpd.children() for path in processes.maps(child.pid)}
    assert not [path for path in mapped if "libpython" in path]


def graceful_to_the_end(httpd):
    """A graceful restart; returns when the children of before are gone."""
    old = [child.pid for child in httpd.children()]
    httpd.graceful()
    wait_until(lambda: not any(map(processes.process, old)), 20, "the old children end")


def test_repeated_gracefuls_leak_no_descriptor_and_no_process(httpd):
    start(httpd)
    graceful_to_the_end(httpd)
    count, held = len(httpd.processes()), len(processes.descriptors(httpd.pid))
    for _ in range(20):
        httpd.graceful()
    graceful_to_the_end(httpd)
    assert httpd.get("/daemon").status == httpd.get("/embedded").status == 200
    wait_until(lambda: len(httpd.processes()) < count + 10, 20, "the old processes end")
    after = processes.descriptors(httpd.pid)
    assert len(after) <= held, sorted(after.values())


@pytest.mark.ours("the original has no supervisor")
def test_repeated_gracefuls_leak_no_descriptor_in_the_supervisor(httpd):
    start(httpd)
    graceful_to_the_end(httpd)
    assert httpd.get("/daemon").status == 200
    supervisor = httpd.supervisor().pid
    before = len(processes.descriptors(supervisor))
    for _ in range(10):
        httpd.graceful()
    assert httpd.get("/daemon").status == 200
    wait_until(lambda: len(processes.descriptors(supervisor)) <= before, 20,
               "the supervisor's descriptors are as before")


def test_repeated_restarts_leak_no_descriptor(httpd):
    start(httpd)
    httpd.restart()
    before = len(processes.descriptors(httpd.pid))
    for _ in range(5):
        httpd.restart()
        assert httpd.get("/daemon").status == httpd.get("/embedded").status == 200
    assert len(processes.descriptors(httpd.pid)) <= before


@pytest.mark.check
def test_configtest_leaves_nothing(httpd):
    assert httpd.configtest(BOTH.format(httpd.app("hello"))), httpd.control_output
    assert "Syntax OK" in httpd.control_output
    assert not httpd.processes()


def test_a_running_server_survives_a_configtest(httpd):
    start(httpd)
    before = {p.pid for p in httpd.processes()}
    assert httpd.configtest()
    assert before <= {p.pid for p in httpd.processes()}
    assert httpd.get("/daemon").status == 200


@pytest.mark.check
def test_a_broken_configuration_leaves_the_running_server_alone(httpd):
    start(httpd)
    valid = httpd.conf_file.read_text()
    httpd.conf_file.write_text(f"{valid}\nWSGINoSuchDirective\n")
    assert httpd.control("-k", "graceful") != 0
    httpd.conf_file.write_text(valid)
    assert httpd.get("/daemon").status == httpd.get("/embedded").status == 200


@pytest.mark.mpms("event", "prefork", "worker")
def test_start_and_stop_without_any_request(httpd, mode):
    httpd.start(f"{mode_directives(mode)}WSGIScriptAlias / {httpd.app('hello')}")
    httpd.stop()
    wait_until(lambda: not httpd.processes(), 10, "all processes end")


@pytest.mark.check
def test_a_server_that_uses_nothing_of_ours_starts_nothing_of_ours(httpd):
    httpd.start("")
    assert httpd.get("/index.html").text == "static page\n"
    assert {p.comm for p in httpd.processes()} == {"apache2"}


@pytest.mark.ours("the original has no supervisor")
def test_the_supervisor_gives_up_root_when_no_group_needs_it(httpd):
    start(httpd)
    wait_until(lambda: httpd.supervisor(), 5, "the supervisor")
    assert httpd.supervisor().uid == httpd.children()[0].uid


@pytest.mark.ours("the original is one file")
def test_the_module_may_stand_where_httpds_user_cannot_enter(httpd):
    closed = httpd.root / "closed"
    closed.mkdir(mode=0o700)
    for name in ("libmod_wsgi.so", "libwsgi_engine.so", "wsgi-supervisor"):
        shutil.copy(httpd.module.parent / name, closed)
    httpd.module = closed / "libmod_wsgi.so"
    start(httpd)


@pytest.mark.ours("the original leaves its socket behind")
@pytest.mark.mpms("event", "prefork")
def test_the_single_process_has_daemon_processes_too(httpd):
    """`httpd -X`, where httpd's parent serves itself."""
    httpd.configure(BOTH.format(httpd.app("hello")))
    terminal = subprocess.Popen([HTTPD, "-f", httpd.conf_file, "-X"], env=httpd.env, cwd="/")
    try:
        wait_until(httpd.accepts, 20, "httpd accepts")
        assert httpd.get("/daemon").status == httpd.get("/embedded").status == 200
    finally:
        terminal.terminate()
        terminal.wait(20)
        httpd.pid_file.unlink(missing_ok=True)  # A single process leaves it behind.
