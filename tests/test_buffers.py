"""Options of sockets, headers and the client's side of a response."""

import contextlib
import ctypes
import http.client
import os
import signal
import socket
import time

import pytest

from client import read_to_end, stalled
from httpd import IS_ROOT, MODULES_DIR
from load import timed
from made import made, part_content

SYSCALL = ctypes.CDLL(None, use_errno=True).syscall
SYS_PIDFD_GETFD = 438

needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root can take another process's descriptors")

# Together with "X-Long: " and the end of the line.
AROUND_LONG = len("X-Long: \r\n")


# -- header-buffer-size ------------------------------------------------------------------------------


@pytest.mark.parametrize("option, limit", [("header-buffer-size=8192", 8192), ("", 32768),
                                           ("header-buffer-size=0", 32768)])
@pytest.mark.check
def test_a_header_line_has_a_limit(daemon, option, limit):
    httpd = daemon(f"threads=1 {option}")
    fits = limit - AROUND_LONG
    assert httpd.get(f"/long_header?{fits}").header("X-Long") == "y" * fits
    assert not httpd.log.matching(":error")
    httpd.log.expect("header.*(too long|longer)")
    refused = httpd.get(f"/long_header?{fits + 1}")
    assert (refused.status, refused.header("X-Long")) == (500, None)
    assert httpd.get("/hello").status == 200


@pytest.mark.ours("the original names neither header nor limit")
@pytest.mark.check
def test_the_line_of_a_header_that_is_too_long(daemon):
    httpd = daemon("threads=1 header-buffer-size=9000")
    httpd.log.expect("WSGI0144: Response header line too long from daemon process 'app': " r'process \d+ sent a response header "X-Long" of 9011 '
                     r"bytes; header-buffer-size=9000 .*the client gets 500")
    assert httpd.get("/long_header?9001").status == 500


@pytest.mark.check
def test_what_follows_a_header_that_is_too_long_is_no_later_response(daemon):
    httpd = daemon("threads=1 header-buffer-size=8192")
    httpd.log.expect("header")
    # The original's process writes that someone has gone.
    httpd.log.allow("(?i)write|connection|broken pipe")
    for size in (10, 5_000_000):
        assert httpd.get(f"/long_header?9000,{size}").status == 500
        assert timed(httpd, "/hello").body == b"Hello, world!\n"


# -- response-socket-timeout -------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["response-socket-timeout=1", "socket-timeout=1"])
def test_a_client_that_takes_nothing_is_dropped(daemon, option):
    httpd = daemon(f"threads=2 {option}", "Timeout 60")
    httpd.log.allow("(?i)WSGI01|WSGI0024|timed? ?out|failed to write")
    size = 20_000_000
    with stalled(httpd, made(parts=[size // 20] * 20)) as sock:
        httpd.log.wait_for(f"{option}; the rest is dropped|WSGI0118|WSGI0119|WSGI0120", timeout=20)
        assert len(read_to_end(sock)) < size
    assert httpd.get("/hello").status == 200


@pytest.mark.ours("it names option and request")
def test_the_line_of_a_client_that_takes_nothing(daemon):
    httpd = daemon("response-socket-timeout=1 socket-timeout=30")
    with stalled(httpd, made(parts=[20_000_000])):
        httpd.log.wait_for(r'wsgi:info.*process group "app": the client took nothing of the response to GET /made '
                           "within response-socket-timeout=1; the rest is dropped", timeout=20)


@pytest.mark.mpms("event", "prefork")
def test_httpds_own_timeout_holds_again_after_the_response(daemon):
    httpd = daemon("response-socket-timeout=1 threads=2", "Timeout 60")
    with httpd.connect() as sock:
        for _ in range(2):
            sock.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
            # Longer than the option: nobody may notice.
            time.sleep(1.5)
            sock.sendall(b"67890")
            answer = http.client.HTTPResponse(sock)
            answer.begin()
            assert (answer.status, answer.read()) == (200, b"1234567890")


# -- response-buffer-size ----------------------------------------------------------------------------

DEFLATE = f'LoadModule deflate_module "{MODULES_DIR}/mod_deflate.so"\nSetOutputFilter DEFLATE'


@pytest.mark.parametrize("option, is_flushed", [("response-buffer-size=65536", True), ("", False)])
def test_much_without_a_pause_is_flushed(daemon, option, is_flushed):
    """Parts of 20 KB, each after a pause that is too short to count. What is compressed is kept until a flush."""
    httpd = daemon(f"threads=2 {option} response-flush-delay=4000", DEFLATE)
    path = made(parts=[20_000] * 40, pause=0.05)
    with httpd.connect() as sock:
        begun = time.monotonic()
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n".encode())
        sock.recv(1)
        seconds = time.monotonic() - begun
        read_to_end(sock)
        whole = time.monotonic() - begun
    assert (seconds < whole - 1) is is_flushed, (seconds, whole)


# -- send-buffer-size, receive-buffer-size, connect-timeout -------------------------------------------


@pytest.mark.ours("the original sets those of a listening socket")
@pytest.mark.mpms("event", "prefork")
@pytest.mark.check
def test_sockets_have_the_sizes_that_were_asked_for(daemon):
    httpd = daemon("threads=2 send-buffer-size=20000 receive-buffer-size=30000")
    sizes = httpd.json("/sockets")
    # The system doubles what is asked for (socket(7)).
    assert sizes and all(one == [40_000, 60_000] for one in sizes), sizes


@pytest.mark.parametrize("size", [512, 4096, 65536])
def test_bodies_pass_through_sockets_of_any_size(daemon, size):
    httpd = daemon(f"threads=2 send-buffer-size={size} receive-buffer-size={size}")
    for length in (0, 100, 600, 5_000, 15_900, 17_000, 300_000, 2_000_000):
        body = part_content(length)
        assert httpd.post("/echo", body).body == body
        assert httpd.get(made(parts=[length])).body == body


def fill(pid):
    """Fills the socket over which the child `pid` hands connections to the supervisor."""
    pidfd = os.pidfd_open(pid)
    try:
        for number in map(int, os.listdir(f"/proc/{pid}/fd")):
            taken = SYSCALL(SYS_PIDFD_GETFD, pidfd, number, 0)
            if not is_datagram(taken):
                os.close(taken)
                continue
            with socket.socket(fileno=taken) as dispatch, contextlib.suppress(BlockingIOError):
                while True:
                    dispatch.send(b"x", socket.MSG_DONTWAIT)
    finally:
        os.close(pidfd)


def is_datagram(number):
    try:
        with socket.socket(fileno=os.dup(number)) as one:
            return (one.family, one.type) == (socket.AF_UNIX, socket.SOCK_DGRAM)
    except OSError:
        return False


@needs_root
@pytest.mark.ours("it has a supervisor")
@pytest.mark.mpms("event", "prefork")
def test_a_supervisor_that_takes_no_connections_is_a_503_when_connect_timeout_is_over(daemon):
    httpd = daemon("connect-timeout=1")
    httpd.log.expect("no connection to a daemon process for GET /hello within connect-timeout=1.*the client gets 503")
    httpd.log.wait_for("is ready after")
    supervisor = httpd.supervisor().pid
    os.kill(supervisor, signal.SIGSTOP)
    try:
        fill(httpd.children()[0].pid)
        begun = time.monotonic()
        answer = httpd.get("/hello")
        assert (answer.status, answer.header("Retry-After")) == (503, "1")
        assert time.monotonic() - begun > 0.9
    finally:
        os.kill(supervisor, signal.SIGCONT)
    assert httpd.get("/hello").status == 200
