"""Clients that close, reset or half-close in the middle: who learns of it, and who is free again at once."""

import socket
import struct
import threading
import time
from urllib.parse import quote_plus

import pytest

from client import read_to_end
from conftest import aliases, finish, mode_directives
from httpd import APPS, Httpd
from made import made
from processes import wait_until

pytestmark = pytest.mark.timeout(40)
FREE = 1.0


@pytest.fixture(scope="module")
def narrow_httpd(request, module, mpm, mode):
    """A server whose process group has one request thread."""
    server = Httpd(module, mpm)
    (server.root / "marks").mkdir()
    (server.root / "marks").chmod(0o777)
    group = mode_directives(mode, threads=1)
    server.start(f"{group}WSGIChunkedRequest On\n{aliases(server)}")
    yield server
    finish(server, request.config.getoption("keep"))


@pytest.fixture
def narrow(narrow_httpd, ours):
    """The original logs an error for what the client did; ours must not."""
    narrow_httpd.log.begin()
    if not ours:
        narrow_httpd.log.allow(".")
    yield narrow_httpd
    problems = narrow_httpd.log.problems()
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


class Watched:
    """A URL of watch.wsgi, and what the application told there."""

    def __init__(self, server, do, **given):
        self.mark = server.root / "marks" / f"{do}-{time.monotonic_ns()}"
        self.url = "/watch?" + quote_plus(repr({"mark": str(self.mark), "do": do, **given}))

    def text(self):
        return self.mark.read_text() if self.mark.exists() else ""

    def wait_for(self, word, within=FREE):
        wait_until(lambda: word in self.text(), within, f"{word!r} told; there is {self.text()!r}")


def leave(sock, how):
    if how == "half":
        sock.shutdown(socket.SHUT_WR)
        return
    if how == "reset":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def is_free(server):
    begun = time.monotonic()
    assert server.get("/hello").body == b"Hello, world!\n"
    assert time.monotonic() - begun < FREE


def post(url, *fields):
    return "\r\n".join([f"POST {url} HTTP/1.1", "Host: x", *fields, "", ""]).encode()


def get(url):
    return f"GET {url} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


# -- during the upload -----------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "reset", "half"])
@pytest.mark.parametrize("sent", [0, 1000, 100_000])
def test_an_upload_that_ends_early(narrow, how, sent):
    """While httpd may still hold the body back; if the application was called it learns of it."""
    watched = Watched(narrow, "read")
    with narrow.connect() as sock:
        sock.sendall(post(watched.url, "Content-Length: 10000000") + b"b" * sent)
        leave(sock, how)
        is_free(narrow)
        if how == "half":
            assert b"HTTP/1.1 200" not in read_to_end(sock)
    wait_until(lambda: "begun" not in watched.text() or "OSError" in watched.text(), FREE)
    assert "\nread " not in watched.text()


@pytest.mark.parametrize("how", ["close", "reset", "half"])
def test_an_upload_that_ends_in_the_middle(narrow, how):
    watched = Watched(narrow, "read")
    with narrow.connect() as sock:
        sock.sendall(post(watched.url, "Content-Length: 10000000") + b"b" * 3_000_000)
        watched.wait_for("reading", 5)
        leave(sock, how)
        watched.wait_for("OSError")
        is_free(narrow)
        if how == "half":
            assert b"HTTP/1.1 200" not in read_to_end(sock)
    assert "\nread " not in watched.text()


@pytest.mark.parametrize("how", ["close", "reset", "half"])
def test_a_chunked_upload_that_ends_in_the_middle(narrow, how):
    watched = Watched(narrow, "read")
    with narrow.connect() as sock:
        sock.sendall(post(watched.url, "Transfer-Encoding: chunked")
                     + (b"%x\r\n" % 1_500_000 + b"b" * 1_500_000 + b"\r\n") * 2)
        watched.wait_for("reading", 5)
        leave(sock, how)
        watched.wait_for("OSError")
        is_free(narrow)
    assert "\nread " not in watched.text()


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_leaves_an_application_that_does_not_read(narrow, how):
    watched = Watched(narrow, "late", pause=0.3)
    with narrow.connect() as sock:
        sock.sendall(post(watched.url, "Content-Length: 10000000") + b"b" * 3_000_000)
        watched.wait_for("begun", 5)
        leave(sock, how)
    watched.wait_for("answered", 2)
    is_free(narrow)


@pytest.mark.ours("the original takes the whole body before it sends any of the response")
@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_leaves_while_both_directions_run(narrow, how):
    watched = Watched(narrow, "echo")
    with narrow.connect() as sock:
        sock.sendall(post(watched.url, "Content-Length: 100000000"))
        sender = threading.Thread(target=send_quietly, args=(sock, 4_000_000))
        sender.start()
        total = 0
        while total < 3_000_000:
            total += len(sock.recv(65536))
        sender.join()
        leave(sock, how)
    watched.wait_for("closed")
    is_free(narrow)


def send_quietly(sock, size):
    try:
        sock.sendall(b"b" * size)
    except OSError:
        pass


# -- during the download ---------------------------------------------------------------------------


@pytest.mark.mpms("event", "prefork")
@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("do, size, pause, word", [
    ("stream", 1000, 0.1, "closed"), ("stream", 200_000, 0.001, "closed"),
    ("write", 1000, 0.1, "OSError"), ("write", 200_000, 0.001, "OSError"),
])
def test_a_client_that_leaves_a_download(narrow, how, do, size, pause, word):
    watched = Watched(narrow, do, size=size, pause=pause)
    with narrow.connect() as sock:
        sock.sendall(get(watched.url))
        assert sock.recv(65536)
        leave(sock, how)
    watched.wait_for(word)
    if do == "stream":
        assert "GeneratorExit" in watched.text()
    is_free(narrow)


@pytest.mark.parametrize("do, word", [("stream", "closed"), ("write", "OSError")])
def test_a_client_that_stopped_reading_long_ago(narrow, do, word):
    watched = Watched(narrow, do, size=200_000, pause=0.001)
    with narrow.connect() as sock:
        sock.sendall(get(watched.url))
        assert sock.recv(1000)
        threading.Event().wait(0.5)
        leave(sock, "reset")
    watched.wait_for(word)
    is_free(narrow)


def test_a_half_closed_client_gets_the_whole_answer(narrow):
    with narrow.connect() as sock:
        sock.sendall(get(made(parts=[50_000] * 10, pause=0.02)).replace(
            b"Host: x", b"Host: x\r\nConnection: close"))
        leave(sock, "half")
        answer = read_to_end(sock)
    assert answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"\r\n0\r\n\r\n")
    is_free(narrow)


def test_a_half_closed_client_gets_the_answer_to_its_upload(narrow):
    with narrow.connect() as sock:
        sock.sendall(post("/echo", "Content-Length: 4", "Connection: close") + b"body")
        leave(sock, "half")
        assert b"body" in read_to_end(sock)


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_leaves_before_the_answer_begins(narrow, how):
    watched = Watched(narrow, "late", pause=0.3)
    with narrow.connect() as sock:
        sock.sendall(get(watched.url))
        watched.wait_for("begun", 5)
        leave(sock, how)
    watched.wait_for("answered", 2)
    is_free(narrow)


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_leaves_a_file(narrow, how):
    with narrow.connect() as sock:
        sock.sendall(get(made(file=30_000_000)))
        assert sock.recv(65536)
        leave(sock, how)
    is_free(narrow)


def test_many_clients_that_leave_leave_nothing_behind(narrow):
    for number in range(60):
        watched = Watched(narrow, "stream", size=50_000, pause=0.001)
        with narrow.connect() as sock:
            sock.sendall(get(watched.url))
            assert sock.recv(65536)
            leave(sock, ("close", "reset")[number % 2])
        watched.wait_for("closed")
    is_free(narrow)


@pytest.mark.ours("the original transfers the body first")
def test_clients_that_reset_before_their_request_is_taken_cost_no_request_thread(httpd):
    """Their process was asked whether it takes the request, and waits for a body that will not come."""
    slow = httpd.write("apps/loads_slowly.wsgi", "import time\ntime.sleep(1)\n" + (APPS / "echo.wsgi").read_text())
    httpd.log.allow("wsgi")
    httpd.start("WSGIDaemonProcess app processes=1 threads=2 socket-timeout=10\nWSGIProcessGroup app\n"
                f"WSGIScriptAliasMatch ^/(loads_slowly)$ {slow.parent}/$1.wsgi\n"
                f"WSGIScriptAlias /hello {httpd.app('hello')}")
    assert httpd.get("/hello").status == 200
    socks = [httpd.connect() for _ in range(2)]
    for sock in socks:
        sock.sendall(b"POST /loads_slowly HTTP/1.1\r\nHost: x\r\nContent-Length: 30000\r\n\r\n" + b"b" * 30_000)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
    for _ in range(4):
        assert httpd.get("/hello").status == 200


@pytest.mark.ours("needs socket-timeout to be short")
def test_a_process_that_is_slow_to_take_a_request_keeps_no_thread(httpd):
    slow = httpd.write("apps/loads_slowly.wsgi", "import time\ntime.sleep(3)\n" + (APPS / "echo.wsgi").read_text())
    httpd.log.allow("wsgi")
    httpd.start("WSGIDaemonProcess app processes=1 threads=1 socket-timeout=1 queue-timeout=15\nWSGIProcessGroup app\n"
                f"WSGIScriptAliasMatch ^/(loads_slowly)$ {slow.parent}/$1.wsgi\n"
                f"WSGIScriptAlias /hello {httpd.app('hello')}")
    assert httpd.get("/hello").status == 200
    assert httpd.post("/loads_slowly", b"b" * 30_000).status == 504
    assert httpd.get("/hello").status == 200


@pytest.mark.parametrize("request_", [
    b"GET /slow_stream?3,0.3 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /slow_stream?3,0.3 HTTP/1.1\r\nHost: x\r\n\r\nGET /hello HTTP/1.1\r\nHost: x\r\n\r\n",
])
def test_a_client_that_only_ends_its_own_side_gets_everything(httpd, mode, request_):
    httpd.start(f"{mode_directives(mode)}{aliases(httpd)}")
    with httpd.connect() as sock:
        sock.sendall(request_)
        sock.shutdown(socket.SHUT_WR)
        answer = read_to_end(sock)
    assert b"part 2\n" in answer and answer.count(b"HTTP/1.1 200") == request_.count(b"GET")
