"""wsgi.input: reading by every method, chunked and large uploads, bodies that nobody reads."""

import hashlib
import os
import threading
from urllib.parse import quote_plus

import pytest

from client import ended_cleanly, read_to_end
from conftest import mode_directives

DIRECTIVES = "WSGIChunkedRequest On"
LINES = b"first line\nsecond\n\nlast without end"


def results(site, calls, body=LINES, **more):
    return site.post(f"/input?{quote_plus(repr(calls))}", body, **more).json()


@pytest.mark.parametrize("call", [
    "i.read()", "i.read(-1)", "b''.join(i)", "b''.join(i.readlines())"])
def test_the_whole_body(site, call):
    assert results(site, [call, "i.read()"]) == [repr(LINES), "b''"]


def test_read_by_size(site):
    assert results(site, ["i.read(0)", "i.read(5)", "i.read(6)", "i.read(1000)", "i.read(1)"]) == [
        "b''", "b'first'", r"b' line\n'", repr(LINES[11:]), "b''"]


def test_readline(site):
    assert results(site, ["i.readline()"] * 5) == [
        r"b'first line\n'", r"b'second\n'", r"b'\n'", "b'last without end'", "b''"]


def test_readline_by_size(site):
    calls = ["i.readline(5)", "i.readline(0)", "i.readline(100)", "i.readline(-1)"]
    assert results(site, calls) == [
        "b'first'", "b''", r"b' line\n'", r"b'second\n'"]


def test_readlines(site):
    assert results(site, ["i.readlines()", "i.readlines()"]) == [
        repr(LINES.splitlines(keepends=True)), "[]"]


def test_readlines_with_a_hint_stops_after_that_many_bytes(site):
    assert results(site, ["i.readlines(12)", "i.read()"]) == [
        r"[b'first line\n', b'second\n']", repr(LINES[18:])]


def test_iteration_yields_lines(site):
    assert results(site, ["list(i)"]) == [repr(LINES.splitlines(keepends=True))]


def test_methods_may_be_mixed(site):
    assert results(site, ["i.readline()", "i.read(3)", "next(i)", "i.readlines()"]) == [
        r"b'first line\n'", "b'sec'", r"b'ond\n'", r"[b'\n', b'last without end']"]


def test_an_empty_body_is_at_its_end(site):
    calls = ["i.read()", "i.read(10)", "i.readline()", "i.readlines()", "list(i)"]
    assert results(site, calls, b"") == ["b''", "b''", "b''", "[]", "[]"]


def test_a_get_has_no_body(site):
    assert site.get("/input?" + quote_plus("['i.read()']")).json() == ["b''"]


def test_a_wrong_argument_raises(site):
    told = results(site, ["i.read('x')", "i.readline('x')", "i.read()"])
    assert told == ["TypeError", "TypeError", repr(LINES)]


@pytest.mark.parametrize("size", [1, 8191, 8192, 65537, 1024 * 1024 + 1, 20 * 1024 * 1024])
def test_a_body_makes_the_round_trip(site, size):
    body = os.urandom(1024) * (size // 1024) + os.urandom(size % 1024)
    response = site.post("/echo", body)
    assert response.header("X-Digest") == hashlib.sha256(body).hexdigest()
    assert response.body == body and response.header("X-Length") == str(size)


@pytest.mark.parametrize("count", [0, 1, 500])
def test_a_chunked_body_makes_the_round_trip(site, count):
    parts = [os.urandom(n % 7000 + 1) for n in range(count)]
    response = site.post("/echo", iter(parts), chunked=True,
                         headers={"Transfer-Encoding": "chunked"})
    assert response.body == b"".join(parts) and response.header("X-Length") == "none"


def test_a_chunked_body_is_refused_unless_configured(httpd, mode):
    httpd.start(f"{mode_directives(mode)}WSGIScriptAlias / {httpd.app('echo')}")
    httpd.log.allow("chunked")
    response = httpd.post("/", iter([b"x"]), chunked=True, headers={"Transfer-Encoding": "chunked"})
    assert response.status == 411


def test_a_client_that_waits_for_100_continue_gets_it(site):
    with site.connect() as sock:
        sock.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
                     b"Expect: 100-continue\r\nConnection: close\r\n\r\n")
        assert sock.recv(1000).startswith(b"HTTP/1.1 100 Continue")
        sock.sendall(b"body")
        assert b"\nbody\r\n" in read_to_end(sock) + b"\r\n"


def test_a_body_that_nobody_reads_does_no_harm(site):
    connection = site.connection()
    for _ in range(3):
        connection.request("POST", "/hello", b"x" * 200_000)
        assert connection.getresponse().read() == b"Hello, world!\n"
    connection.close()


def test_a_body_sent_slowly_arrives_whole(site):
    with site.connect() as sock:
        sock.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n"
                     b"Connection: close\r\n\r\n")
        for number in range(10):
            threading.Event().wait(0.02)
            sock.sendall(b"%03d" % number)
        expected = b"".join(b"%03d" % n for n in range(10))
        assert expected in read_to_end(sock)


def test_a_client_that_goes_away_while_sending_harms_no_other_request(site, mode):
    site.log.allow(r"request data|Traceback|File|OSError|client|body|mod_wsgi|connection")
    with site.connect() as sock:
        sock.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nonly this")
    assert site.get("/hello").status == 200


@pytest.mark.ours("the original takes the whole body before it sends any of the response")
def test_upload_and_download_at_the_same_time(site):
    size = 100 * 1024 * 1024
    with site.connect() as sock:
        sock.sendall(b"POST /streaming/count HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n"
                     b"Connection: close\r\n\r\n" % size)
        sender = threading.Thread(target=send_all, args=(sock, size))
        sender.start()
        answer = read_to_end(sock)
        sender.join()
    assert str(size).encode() in answer


@pytest.mark.ours("the original takes the whole body before it sends any of the response")
def test_an_answer_before_the_upload_is_read(site):
    size = 100 * 1024 * 1024
    with site.connect() as sock:
        sock.sendall(b"POST /streaming/ignore HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n"
                     b"Connection: close\r\n\r\n" % size)
        sender = threading.Thread(target=send_all, args=(sock, size))
        sender.start()
        answer = read_to_end(sock)
        sender.join()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert body.count(b"x") == 64 * 65536 and ended_cleanly(head.decode(), body)


def send_all(sock, size):
    block = b"b" * 65536
    try:
        for _ in range(size // len(block)):
            sock.sendall(block)
    except OSError:
        pass
