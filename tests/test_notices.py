"""Lines at level info, of which an administrator expects that they say what happened, and that they agree with each other."""

import socket

import pytest

from conftest import mode_directives
from processes import wait_until

pytestmark = pytest.mark.ours("the original has other lines")


@pytest.mark.modes("embedded")
@pytest.mark.check
def test_a_child_names_the_python_that_it_has_started(httpd):
    httpd.start(f"WSGIScriptAlias / {httpd.app('where')}")
    assert not httpd.log.matching("embedded mode: Python")
    told = [httpd.json("/") for _ in range(3)][0]
    started = httpd.log.matching(
        rf"wsgi:info.* embedded mode: Python {told['version']}\.\d+ \(/usr/bin/python3; the default.*\) has started in this child; "
        rf"its prefix is {told['prefix']},")
    assert len(started) == len(httpd.log.matching("has started in this child")) <= len(httpd.children())


def test_a_body_that_ends_short_is_told(httpd, mode):
    httpd.start(f"{mode_directives(mode)}WSGIScriptAlias / {httpd.app('echo')}\n")
    with httpd.connect() as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\npart of it")
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(4096).startswith(b"HTTP/1.1 400 ")
    assert httpd.log.matching("wsgi:info.* the client closed the connection while it sent the request's body")


@pytest.mark.modes("daemon")
def test_processes_end_because_httpd_restarts_or_because_it_stops(daemon):
    httpd = daemon("threads=1")
    assert httpd.get("/hello").status == 200
    httpd.restart()
    httpd.log.wait_for(r"stopping all daemon processes: httpd restarts$")
    httpd.log.wait_for(r"is gone \(httpd restarts\): exited with status 0 after [\d.]+ s$")
    wait_until(lambda: httpd.get("/hello").status == 200)
    httpd.stop()
    httpd.log.wait_for(r"stopping all daemon processes: httpd stops$")
    httpd.log.wait_for(r"is gone \(httpd stops\): exited with status 0 after [\d.]+ s$")


@pytest.mark.modes("daemon")
def test_what_is_cut_off_is_not_denied_afterwards(daemon):
    httpd = daemon("threads=1 shutdown-timeout=1")
    httpd.log.expect(r"did not end within shutdown-timeout=1; 1 request is cut off: executing GET /marked_sleep")
    mark = httpd.root / "marks/begun"
    mark.parent.mkdir()
    mark.parent.chmod(0o777)
    with httpd.connect() as sock:
        sock.sendall(f"GET /marked_sleep?{mark},60 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        wait_until(mark.exists, 20, "the request is being executed")
        httpd.stop()
        httpd.log.wait_for("is gone|was lost", 20)
    assert not httpd.log.matching("no request in flight")
