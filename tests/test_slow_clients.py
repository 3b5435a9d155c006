"""Clients that stop in the middle, and the request threads that must not wait for them."""

import time

import pytest

from conftest import mode_directives

UPLOAD = (b"POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n")


def quick(httpd, count=4):
    """How long the slowest of some short requests took."""
    slowest = 0
    for _ in range(count):
        begun = time.monotonic()
        assert httpd.get("/hello").status == 200
        slowest = max(slowest, time.monotonic() - begun)
    return slowest


def receive_until(sock, wanted):
    got = b""
    while wanted not in got:
        block = sock.recv(65536)
        assert block, got
        got += block
    return got


@pytest.mark.ours("the original queues behind the process")
def test_a_client_that_leaves_keeps_its_request_thread_taken(daemon):
    httpd = daemon("processes=2 threads=1")
    assert quick(httpd) < 5
    with httpd.connect() as sock:
        sock.sendall(b"GET /busy_after?3 HTTP/1.1\r\nHost: x\r\n\r\n")
        receive_until(sock, b"xxx")
    assert quick(httpd) < 1.5


@pytest.mark.ours("the original holds a thread for each upload")
def test_stalled_uploads_hold_no_request_thread_that_has_answered(daemon):
    httpd = daemon("processes=2 threads=1")
    assert quick(httpd) < 5
    stalled = [httpd.connect() for _ in range(3)]
    try:
        for sock in stalled:
            sock.sendall(UPLOAD + b"b" * 1_500_000)
            receive_until(sock, b"Hello, world!")
        assert quick(httpd) < 1.5
    finally:
        for sock in stalled:
            sock.close()


@pytest.mark.ours("the original reads the whole body first")
def test_an_early_answer_reaches_a_client_that_goes_on_later(httpd, mode):
    httpd.start(f"{mode_directives(mode)}WSGIScriptAlias /hello {httpd.app('hello')}")
    with httpd.connect() as sock:
        sock.settimeout(5)
        sock.sendall(UPLOAD + b"b" * 2_000_000)
        receive_until(sock, b"Hello, world!")


def test_a_body_that_nobody_reads_spoils_no_later_request(daemon):
    httpd = daemon("processes=1 threads=2")
    connection = httpd.connection()
    for size in (0, 100, 17_000, 60_000, 200_000, 1_500_000) * 20:
        connection.request("POST", "/hello", b"b" * size)
        assert connection.getresponse().read() == b"Hello, world!\n"
        connection.request("GET", "/hello")
        assert connection.getresponse().read() == b"Hello, world!\n"
    connection.close()
