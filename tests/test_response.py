"""Responses: bodies of every kind, lengths, endings that are never made to look complete."""

import hashlib
import socket
import struct
from urllib.parse import quote_plus

import pytest

from client import ended_cleanly
from processes import wait_until

pytestmark = pytest.mark.mpms("event", "prefork")

BODIES = {
    "list": b"one", "parts": b"one two three", "tuple": b"tuple", "generator": b"generator",
    "iterator": b"it", "with-length": b"with length", "empty-list": b"",
    "empty-item": b"", "empty-generator": b"",
}
BIG = hashlib.sha256(bytes(range(256)) * 256 * 320).hexdigest()
TRACEBACK = r"Exception occurred|Traceback|File \"|Error|raise |\^\^|mod_wsgi|    "


@pytest.mark.parametrize("kind", BODIES)
def test_any_iterable_of_bytes_is_a_body(site, kind):
    response = site.get(f"/response/{kind}")
    assert (response.status, response.body) == (200, BODIES[kind])


@pytest.mark.parametrize("kind", ["list", "generator", "empty-list"])
def test_http_1_0_ends_the_body_by_closing(site, kind):
    head, body = site.raw_get(f"/response/{kind}", version="1.0")
    assert "chunked" not in head.lower() and body == BODIES[kind]


@pytest.mark.parametrize("kind", ["big", "one-big"])
def test_a_big_body_arrives_whole(site, kind):
    response = site.get(f"/response/{kind}")
    assert len(response.body) == 20 * 1024 * 1024
    assert hashlib.sha256(response.body).hexdigest() == BIG


def test_a_body_that_pauses_is_chunked(site):
    head, body = site.raw_get("/response/paused")
    assert "transfer-encoding: chunked" in head.lower()
    assert body == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"


def test_keep_alive_serves_several_requests_on_one_connection(site):
    connection = site.connection()
    for kind in ("list", "generator", "empty-list", "parts"):
        connection.request("GET", f"/response/{kind}")
        assert connection.getresponse().read() == BODIES[kind]
    connection.close()


@pytest.mark.parametrize("kind", ["none", "number", "text"])
def test_what_is_no_iterable_of_bytes_is_an_error(site, kind):
    site.log.expect("TypeError")
    site.log.allow(TRACEBACK)
    assert site.get(f"/response/{kind}").status == 500


def test_a_part_is_sent_when_it_is_produced(site):
    with site.connect() as sock:
        sock.sendall(b"GET /slow_stream?2,3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        sock.settimeout(2.5)
        seen = b""
        while b"part 0\n" not in seen:
            seen += sock.recv(65536)
        assert b"part 1" not in seen


# -- status and headers ----------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["200 OK", "201 Created", "299 Own Words", "404 Not Found",
                                    "418 I'm a teapot", "500 Ours", "503 Busy"])
def test_status_and_reason_are_the_applications(site, status):
    response = site.get(f"/status?{quote_plus(status)}")
    assert f"{response.status} {response.reason}" == status
    assert response.text == "the body" and response.header("X-Kept") == "yes"


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_a_status_without_body_has_none(site, status):
    head, body = site.raw_get(f"/status?{quote_plus(status)}")
    assert status in head and body == b""
    assert "chunked" not in head.lower()


def headers(site, pairs):
    return site.get(f"/headers?{quote_plus(repr(pairs))}")


def test_headers_arrive_as_given(site):
    response = headers(site, [("Content-Type", "text/x-own"), ("X-A", "b"), ("ETag", '"tag"')])
    assert response.header("Content-Type") == "text/x-own"
    assert response.header("X-A") == "b" and response.header("ETag") == '"tag"'


def test_cookies_stay_separate_headers(site):
    response = headers(site, [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2; Path=/")])
    assert response.all("Set-Cookie") == ["a=1", "b=2; Path=/"]


def test_many_headers_arrive(site):
    pairs = [(f"X-Header-{n}", f"value {n}") for n in range(60)]
    response = headers(site, pairs)
    assert [response.header(name) for name, _ in pairs] == [value for _, value in pairs]


def test_a_long_header_arrives(site):
    response = headers(site, [("X-Long", "y" * 4000)])
    assert response.header("X-Long") == "y" * 4000


def test_latin1_headers_keep_their_bytes(site):
    query = quote_plus(repr([("X-Latin", "caf\xe9")]))
    assert "X-Latin: caf\xe9" in site.raw_get(f"/headers?{query}")[0]


def test_an_invalid_content_length_is_an_error(site):
    site.log.expect("Content-Length")
    site.log.allow(TRACEBACK)
    assert headers(site, [("Content-Length", "many")]).status == 500


def test_head_has_the_headers_and_no_body(site):
    raw = site.raw(b"HEAD /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    head, _, body = raw.partition(b"\r\n\r\n")
    assert b"Content-Length: 14" in head and body == b""


# -- Content-Length --------------------------------------------------------------------------------


def test_a_body_of_the_declared_length(site):
    assert site.get("/length/10?4,6").body == b"x" * 10


def test_what_exceeds_the_declared_length_is_cut(site):
    head, body = site.raw_get("/length/10?4,6,5")
    assert "Content-Length: 10" in head and body == b"x" * 10


def test_a_body_shorter_than_declared_is_visibly_cut(site):
    site.log.allow(r"Content-Length|length")
    head, body = site.raw_get("/length/10?4")
    assert "Content-Length: 10" in head and body == b"x" * 4


@pytest.mark.ours("the original keeps the connection: the next response looks like the rest")
def test_a_connection_is_not_kept_after_a_short_body(site):
    site.log.allow(r"Content-Length|length")
    raw = site.raw(b"GET /length/10?4 HTTP/1.1\r\nHost: x\r\n\r\n"
                   b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert raw.endswith(b"xxxx")


# -- exceptions ------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["before", "after-start-response", "first-item"])
def test_an_exception_before_output_is_a_500_and_logged(site, case):
    site.log.expect("ValueError: raised")
    site.log.allow(TRACEBACK)
    response = site.get(f"/failing/{case}")
    assert response.status == 500 and b"ValueError" not in response.body


@pytest.mark.parametrize("case, word", [("system-exit", "SystemExit"),
                                        ("keyboard-interrupt", "KeyboardInterrupt")])
def test_an_application_cannot_end_its_process(site, case, word):
    site.log.expect(word)
    site.log.allow(TRACEBACK)
    before = site.json("/where")["pid"] if site.mpm == "event" else None
    assert site.get(f"/failing/{case}").status == 500
    if before:
        assert site.json("/where")["pid"] == before


def test_an_exception_after_output_truncates_a_body_with_length(site):
    site.log.expect("ValueError: raised after output")
    site.log.allow(TRACEBACK)
    head, body = site.raw_get("/failing/with-length")
    assert "200 OK" in head and not ended_cleanly(head, body)


def test_an_exception_after_output_truncates_a_chunked_body(site, mode, ours):
    if not ours and mode == "daemon":
        pytest.skip("the original's daemon mode ends a truncated body as if complete")
    site.log.expect("ValueError: raised after output")
    site.log.allow(TRACEBACK)
    head, body = site.raw_get("/failing/after")
    assert "200 OK" in head and not ended_cleanly(head, body)


# -- close() ---------------------------------------------------------------------------------------


def closed(site, case):
    return site.json("/close/closed").get(case, 0)


@pytest.mark.mpms("event")
@pytest.mark.parametrize("case", ["normal", "error", "error-first", "close-raises"])
def test_close_is_called_once_however_the_iteration_ends(site, case):
    site.log.allow(TRACEBACK)
    before = closed(site, case)
    site.get(f"/close/{case}")
    wait_until(lambda: closed(site, case) == before + 1, 5, "close() called")


@pytest.mark.mpms("event")
def test_an_exception_in_close_is_logged_and_the_response_stands(site):
    site.log.expect("in close")
    site.log.allow(TRACEBACK)
    response = site.get("/close/close-raises")
    assert (response.status, response.body) == (200, b"partpart")


@pytest.mark.mpms("event")
def test_close_is_called_when_the_client_goes_away(site):
    site.log.allow(TRACEBACK)
    before = closed(site, "disconnect")
    with site.connect() as sock:
        sock.sendall(b"GET /close/disconnect HTTP/1.1\r\nHost: x\r\n\r\n")
        sock.recv(1000)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_until(lambda: closed(site, "disconnect") == before + 1, 15, "close() called")


# -- files -----------------------------------------------------------------------------------------


def pattern(size):
    return (b"0123456789abcdef" * (size // 16 + 1))[:size]


@pytest.mark.parametrize("kind, body", [
    ("small", pattern(10)), ("large", pattern(3 * 1024 * 1024)), ("empty", b""),
    ("bytesio", b"from memory"), ("seeked", pattern(100)[90:]), ("limited", pattern(16)),
    ("pipe", b"through a pipe"),
])
def test_file_wrapper_sends_the_file(site, kind, body):
    response = site.get(f"/file_wrapper/{kind}")
    assert response.status == 200 and response.body == body


def test_head_of_a_file_has_no_body(site):
    response = site.head("/file_wrapper/large")
    assert response.status == 200 and response.body == b""
