"""What requests may look like: framing of bodies, filters on them, limits, Expect, many on a connection."""

import gzip
import os
from urllib.parse import quote_plus

import pytest

from client import read_to_end
from conftest import aliases, mode_directives
from httpd import MODULES_DIR

DIRECTIVES = f"""
WSGIChunkedRequest On
LoadModule deflate_module {MODULES_DIR}/mod_deflate.so
<LocationMatch "^/(input|echo|environ|made)/inflated">
    SetInputFilter DEFLATE
</LocationMatch>
<LocationMatch "^/[a-z]+/limited">
    LimitRequestBody 1000
</LocationMatch>
"""
LINES = b"first line\nsecond\n\nlast without end"
CHUNKED = {"Transfer-Encoding": "chunked"}
GZIPPED = {"Content-Encoding": "gzip"}
BROKEN = r"AH\d|WSGI01(0[5-9]|1[02]|3\d|4\d|7[45])|Traceback|File \"|Error|\^\^|    "


def results(site, calls, body, path="/input", **more):
    return site.post(f"{path}?{quote_plus(repr(calls))}", body, **more).json()


def post(path, body=b"", version="1.1", **headers):
    """A POST as bytes; a header None is left out."""
    fields = {"Host": "x", "Content-Length": str(len(body)), **headers}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in fields.items() if value]
    return "\r\n".join([f"POST {path} HTTP/{version}", *lines, "", ""]).encode() + body


def get(path, **headers):
    return post(path, **{"Content_Length": None, "Content-Length": None, **headers}).replace(
        b"POST", b"GET", 1)


def answers(raw):
    """The responses in what a connection sent, each (status, body); bodies by their framing."""
    found = []
    while raw:
        head, _, raw = raw.partition(b"\r\n\r\n")
        status = int(head.split()[1])
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        body = b""
        if fields.get(b"transfer-encoding") == b"chunked":
            size = -1
            while size:
                line, _, raw = raw.partition(b"\r\n")
                size = int(line, 16)
                body, raw = body + raw[:size], raw[size + 2:]
        elif status != 100:
            size = int(fields.get(b"content-length", len(raw)))
            body, raw = raw[:size], raw[size:]
        found.append((status, body))
    return found


# -- framing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [
    "i.read()", "b''.join(iter(lambda: i.read(3), b''))", "b''.join(iter(i.readline, b''))",
    "b''.join(i)", "b''.join(i.readlines())"])
def test_chunks_are_no_boundaries(site, call):
    pieces = [LINES[at:at + 4] for at in range(0, len(LINES), 4)]
    told = results(site, [call, "i.read()"], iter(pieces), chunked=True, headers=CHUNKED)
    assert told == [repr(LINES), "b''"]


def test_a_chunked_request_shows_its_framing(site):
    response = site.post("/environ", iter([b"ab"]), chunked=True, headers=CHUNKED)
    env = response.json()
    assert env["HTTP_TRANSFER_ENCODING"] == ["str", "chunked"] and "CONTENT_LENGTH" not in env
    assert env["wsgi.input_terminated"] == ["bool", True]


def test_chunk_extensions_and_trailers_are_no_body(site):
    raw = site.raw(post("/echo", Content_Length=None, **{
        "Content-Length": None, "Transfer-Encoding": "chunked", "Connection": "close"})
        + b"3;ext=1\r\nabc\r\n0\r\nX-Trailer: t\r\n\r\n")
    assert answers(raw) == [(200, b"abc")]


@pytest.mark.parametrize("size", [0, 1])
def test_the_smallest_bodies(site, size):
    response = site.post("/echo", b"x" * size)
    assert (response.body, response.header("X-Length")) == (b"x" * size, str(size))


def test_a_broken_chunk_is_an_error_and_not_an_end(site):
    site.log.allow(BROKEN)
    raw = site.raw(post("/echo", **{"Content-Length": None, "Transfer-Encoding": "chunked"})
                   + b"3\r\nabc\r\nzz\r\n")
    assert raw.startswith(b"HTTP/1.1 400 ") and b"abc" not in raw


def test_length_and_chunked_together_are_read_as_chunked(site):
    raw = site.raw(post("/echo", **{"Content-Length": "100", "Transfer-Encoding": "chunked"})
                   + b"3\r\nabc\r\n0\r\n\r\n")
    assert answers(raw) == [(200, b"abc")]


@pytest.mark.parametrize("length", ["-1", "1x", "99999999999999999999"])
def test_a_bad_content_length_is_a_400(site, length):
    site.log.allow("Content-Length")
    assert answers(site.raw(post("/echo", b"", **{"Content-Length": length})))[0][0] == 400


def test_an_http_1_0_upload(site):
    raw = site.raw(post("/echo", b"old body", version="1.0"))
    assert raw.startswith(b"HTTP/1.1 200 OK\r\n") and raw.endswith(b"\r\n\r\nold body")


# -- input filters ---------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [
    "i.read()", "b''.join(iter(lambda: i.read(3), b''))", "b''.join(iter(i.readline, b''))",
    "b''.join(i)", "i.read(100000)"])
def test_an_inflated_body_is_read_to_its_end(site, call):
    told = results(site, [call, "i.read()"], gzip.compress(LINES), "/input/inflated",
                   headers=GZIPPED)
    assert told == [repr(LINES), "b''"]


@pytest.mark.parametrize("size", [0, 1, 5000, 3_000_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_an_inflated_body_of_any_size(site, size, chunked):
    content = os.urandom(size // 2).hex().encode() + b"x" * (size % 2)
    packed = gzip.compress(content)
    body = iter([packed[:10], packed[10:]]) if chunked else packed
    headers = {**GZIPPED, **CHUNKED} if chunked else GZIPPED
    response = site.post("/echo/inflated", body, chunked=chunked, headers=headers)
    assert response.body == content


@pytest.mark.parametrize("call", ["i.read()", "i.read(-1)", "i.read(5500)", "i.read(6000)",
                                  "i.read(100000)", "b''.join(i.readlines())", "i.readline()"])
def test_content_length_does_not_bound_one_read_of_an_inflated_body(site, call):
    """As long as there is more, read(n) gives n bytes and read() all of them."""
    content = os.urandom(3000).hex().encode()
    told = results(site, [f"len({call})", "len(i.read())"], gzip.compress(content), "/input/inflated",
                   headers=GZIPPED)
    first = 5500 if "5500" in call else 6000
    assert told == [str(first), str(6000 - first)]


def test_what_environ_says_of_an_inflated_body(site):
    packed = gzip.compress(LINES)
    env = site.post("/environ/inflated", packed, headers=GZIPPED).json()
    assert env["CONTENT_LENGTH"] == ["str", str(len(packed))]
    assert env["HTTP_CONTENT_ENCODING"] == ["str", "gzip"]
    assert env["wsgi.input_terminated"] == ["bool", True]


def test_a_body_that_is_no_gzip_is_an_error(site):
    site.log.allow(BROKEN)
    response = site.post("/echo/inflated", b"\x1f\x8b\x08" + os.urandom(50), headers=GZIPPED)
    assert response.status >= 400


# -- limits ----------------------------------------------------------------------------------------


def test_a_body_over_the_limit_by_its_length(site):
    site.log.allow("LimitRequestBody|limit")
    assert site.post("/echo/limited", b"x" * 1000).status == 200
    assert site.post("/echo/limited", b"x" * 1001).status == 413


@pytest.mark.parametrize("size", [3000, 100_000])
def test_a_chunked_body_over_the_limit(site, size):
    site.log.allow(BROKEN)
    ok = site.post("/echo/limited", iter([b"x" * 500]), chunked=True, headers=CHUNKED)
    assert ok.body == b"x" * 500
    response = site.post("/echo/limited", iter([b"x" * 500] * (size // 500)), chunked=True,
                         headers=CHUNKED)
    assert response.status == 413


def test_a_long_query_arrives(site):
    query = "q=" + "x" * 8000
    assert site.json(f"/environ?{query}")["QUERY_STRING"] == ["str", query]


def test_a_request_line_over_the_limit_is_httpds_to_refuse(site):
    site.log.allow("AH|too long")
    assert site.get("/environ?" + "x" * 9000).status == 414


def test_long_request_headers_arrive(httpd, mode):
    httpd.start(f"{mode_directives(mode)}LimitRequestFieldSize 200000\n{aliases(httpd)}")
    env = httpd.json("/environ", headers={"X-Long": "y" * 150_000})
    assert env["HTTP_X_LONG"] == ["str", "y" * 150_000]


def test_many_request_headers_arrive(httpd, mode):
    httpd.start(f"{mode_directives(mode)}LimitRequestFields 0\n{aliases(httpd)}")
    headers = {f"X-Number-{n}": str(n) * 20 for n in range(1000)}
    env = httpd.json("/environ", headers=headers)
    assert all(env[f"HTTP_X_NUMBER_{n}"] == ["str", str(n) * 20] for n in range(1000))


def test_too_many_request_headers_are_httpds_to_refuse(site):
    site.log.allow("AH|LimitRequestFields|number")
    assert site.get("/environ", headers={f"X-{n}": "x" for n in range(120)}).status == 400


# -- Expect: 100-continue --------------------------------------------------------------------------


def test_no_100_continue_when_nobody_asks_for_it(site):
    assert answers(site.raw(post("/echo", b"body", Connection="close"))) == [(200, b"body")]


def test_a_body_that_came_uninvited_is_read_all_the_same(site):
    raw = site.raw(post("/echo", b"body", Expect="100-continue", Connection="close"))
    assert answers(raw)[-1] == (200, b"body")


@pytest.mark.parametrize("path, status", [("/hello", 200), ("/echo", 200), ("/nowhere", 404)])
def test_an_answer_to_expect_ends_in_order(site, path, status):
    """The client sends its body only when told to; it must get one final answer."""
    with site.connect() as sock:
        sock.sendall(post(path, Expect="100-continue", Connection="close",
                          **{"Content-Length": "4"}))
        seen = sock.recv(65536)
        if seen.startswith(b"HTTP/1.1 100 Continue\r\n\r\n"):
            sock.sendall(b"body")
        assert answers(seen + read_to_end(sock))[-1][0] == status


@pytest.mark.modes("embedded")
def test_100_continue_is_sent_when_the_application_begins_to_read(site):
    raw = b""
    with site.connect() as sock:
        sock.sendall(post("/hello", Expect="100-continue", **{"Content-Length": "4"}))
        raw = sock.recv(65536)
    assert raw.startswith(b"HTTP/1.1 200")
    with site.connect() as sock:
        sock.sendall(post("/echo", Expect="100-continue", Connection="close",
                          **{"Content-Length": "4"}))
        assert sock.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"body")
        assert answers(read_to_end(sock)) == [(200, b"body")]


def test_a_body_over_the_limit_is_refused_without_100_continue(site):
    site.log.allow("LimitRequestBody|limit")
    raw = site.raw(post("/echo/limited", Expect="100-continue", Connection="close",
                        **{"Content-Length": "5000"}))
    assert answers(raw)[0][0] == 413


# -- several requests on one connection ------------------------------------------------------------


def test_pipelined_requests_are_answered_in_order(site):
    raw = site.raw(post("/echo", b"one") + get("/hello") + post("/hello", b"unread")
                   + post("/echo", b"two" * 1000) + get("/hello", Connection="close"))
    hello = (200, b"Hello, world!\n")
    assert answers(raw) == [(200, b"one"), hello, hello, (200, b"two" * 1000), hello]


@pytest.mark.parametrize("path, more", [
    ("/echo", {"body": b""}), ("/echo", {"body": b"x"}), ("/hello", {"body": b"x"}),
    ("/echo", {"body": b"x" * 100_000}), ("/hello", {"body": b"x" * 100_000}),
    ("/echo/inflated", {"body": gzip.compress(LINES), "headers": GZIPPED}),
    ("/echo", {"body": [b"ab", b"c"], "headers": CHUNKED, "encode_chunked": True}),
    ("/hello", {"body": [b"ab", b"c"], "headers": CHUNKED, "encode_chunked": True}),
    ("/input?%5B%27i.read%281%29%27%5D", {"body": b"x" * 200_000}),
])
def test_the_next_request_on_the_connection_is_right(site, path, more):
    connection = site.connection()
    for _ in range(3):
        connection.request("POST", path, **more)
        assert connection.getresponse().read() is not None
        sock = connection.sock
        connection.request("GET", "/hello")
        assert connection.getresponse().read() == b"Hello, world!\n"
        assert connection.sock is sock, "the connection was kept"
    connection.close()
