"""Answers that do not need the body: a client that waits for "100 Continue" sends nothing of it, others get the answer whole."""

import re
import subprocess

import pytest

import processes
from client import read_to_end
from conftest import finish
from httpd import Httpd
from secure import start_secure
from test_tls_http2 import NEEDS

LARGE, SMALLER = 64 << 20, 3 << 20
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
ahead = pytest.mark.ours("in daemon mode the whole body is read before the application is called")


def head(path, length, **headers):
    fields = {"Host": "x", "Content-Length": str(length), "Expect": "100-continue", "Connection": "close", **headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode()


@ahead
@pytest.mark.check
def test_a_large_body_is_refused_before_100_continue(site):
    with site.connect() as sock:
        sock.sendall(head("/refuses", LARGE))
        answer = read_to_end(sock)
    assert answer.startswith(b"HTTP/1.1 413 ") and CONTINUE not in answer and answer.endswith(b"\r\n\r\nat most 4 MiB\n")


@pytest.mark.parametrize("path, told", [("/refuses", b"%d bytes\n" % SMALLER), ("/refuses/lines", b"1 lines\n")])
@pytest.mark.check
def test_a_body_that_the_application_reads_is_asked_for(site, path, told):
    """It is larger than request-buffer."""
    with site.connect() as sock:
        sock.sendall(head(path, SMALLER))
        assert sock.recv(65536) == CONTINUE
        sock.sendall(b"x" * SMALLER)
        answer = read_to_end(sock)
    assert answer.startswith(b"HTTP/1.1 200 ") and CONTINUE not in answer and answer.endswith(told)


@ahead
def test_a_body_that_is_read_when_the_response_has_begun_is_not_asked_for(site):
    """A client that has a final answer gets no "100 Continue" any more; if it sends the body, the application gets it."""
    with site.connect() as sock:
        sock.sendall(head("/refuses/late", SMALLER))
        answer = b""
        while b"begun\n" not in answer:
            answer += sock.recv(65536)
        sock.sendall(b"x" * SMALLER)
        answer += read_to_end(sock)
    assert answer.startswith(b"HTTP/1.1 200 ") and b"100 Continue" not in answer
    assert b"%d bytes\n" % SMALLER in answer


def test_a_body_that_comes_uninvited_is_read(site):
    with site.connect() as sock:
        sock.sendall(head("/refuses", SMALLER) + b"x" * SMALLER)
        assert read_to_end(sock).endswith(b"%d bytes\n" % SMALLER)


@pytest.mark.ours("request-buffer is ours")
@pytest.mark.modes("daemon")
@pytest.mark.parametrize("size", [10, SMALLER])
def test_without_a_buffer_every_body_is_asked_for(daemon, httpd, size):
    daemon("threads=2 request-buffer=0")
    with httpd.connect() as sock:
        sock.sendall(head("/refuses", size))
        assert sock.recv(65536) == CONTINUE
        sock.sendall(b"x" * size)
        assert read_to_end(sock).endswith(b"%d bytes\n" % size)


@pytest.mark.ours("request-buffer is ours")
@pytest.mark.modes("daemon")
def test_a_chunked_body_without_a_buffer_is_asked_for(daemon, httpd):
    daemon("threads=2 request-buffer=0", "WSGIChunkedRequest On\n")
    request = head("/refuses", 0, **{"Transfer-Encoding": "chunked"}).replace(b"Content-Length: 0\r\n", b"")
    with httpd.connect() as sock:
        sock.sendall(request)
        assert sock.recv(65536) == CONTINUE
        sock.sendall(b"5\r\nhello\r\n0\r\n\r\n")
        assert read_to_end(sock).endswith(b"5 bytes\n")


def test_a_client_that_sends_all_the_same_gets_the_whole_answer(site, tmp_path):
    """It waits for nothing, and httpd reads the body so that no reset takes the answer from it."""
    body = tmp_path / "body"
    with body.open("wb") as file:
        file.truncate(LARGE)
    for _ in range(3):
        done = subprocess.run(["curl", "-s", "-w", "%{http_code}", "-H", "Expect:", "--data-binary", f"@{body}",
                               f"http://127.0.0.1:{site.port}/refuses"], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout) == (0, "at most 4 MiB\n413")
    for process in site.processes():
        peak = re.search(r"VmHWM:\s+(\d+) kB", processes.read_proc(process.pid, "status").decode())
        if peak:
            assert int(peak[1]) < 150_000 or "asan" in str(site.env), process


@pytest.fixture(scope="module")
def secure_httpd(request, module, mpm, mode):
    server = Httpd(module, mpm)
    yield start_secure(server, mode, threads=3)
    finish(server, request.config.getoption("keep"))


@NEEDS
@pytest.mark.ours("a response over HTTP/2 may be lost if nobody reads the body")
@pytest.mark.parametrize("protocol", ["h2", "https"])
def test_the_same_over_tls_and_http2(secure_httpd, tmp_path, protocol):
    """curl waits for "100 Continue" as long as it must. (Over HTTP/2 httpd has to read the body before it ends the stream.)"""
    secure_httpd.log.begin()
    body = tmp_path / "body"
    for size, code, told in ((LARGE, 413, "at most 4 MiB\n"), (SMALLER, 200, f"{SMALLER} bytes\n")):
        with body.open("wb") as file:
            file.truncate(size)
        done = subprocess.run(
            ["curl", "-sk", "--http2" if protocol == "h2" else "--http1.1", "--expect100-timeout", "30", "-w",
             "%{http_code}", "-H", "Expect: 100-continue", "--data-binary", f"@{body}",
             f"https://127.0.0.1:{secure_httpd.tls}/refuses"], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout) == (0, f"{told}{code}")
    assert not secure_httpd.log.problems()
