"""A response that broke off looks broken off: on the wire, whatever the framing and whatever broke it."""

import os
import re
import signal
import zlib

import pytest

from client import ended_cleanly, read_to_end
from conftest import aliases, mode_directives
from httpd import MODULES_DIR
from processes import wait_until

DIRECTIVES = f"""
LoadModule filter_module {MODULES_DIR}/mod_filter.so
LoadModule deflate_module {MODULES_DIR}/mod_deflate.so
ErrorDocument 500 "page of an error"
ErrorDocument 502 "page of an error"
<LocationMatch "^/dies/.*/packed">
    SetOutputFilter DEFLATE
</LocationMatch>
<Location /dies>
    SetEnvIf Request_URI /packed$ force-gzip
</Location>
"""
TRACEBACK = r"WSGI01(0[5-9]|1[02]|3\d|4\d|7[45])|Traceback|File \"|Error|raise |\^\^|    "
ENDED = r"wsgi|process|app|exit|signal|AH"
pytestmark = pytest.mark.timeout(40)

FORMS = [("after", "1.1"), ("length", "1.1"), ("length", "1.0")]
PAUSES = [0, 0.05]


@pytest.fixture
def visible(mode, ours):
    if not ours and mode == "daemon":
        pytest.skip("the original's daemon mode ends a truncated body as if complete")


@pytest.fixture
def serve(httpd, mode):
    """A server of its own, for what ends a process."""
    httpd.log.allow(ENDED)
    return httpd.start(f"{mode_directives(mode)}{DIRECTIVES}\n{aliases(httpd)}")


@pytest.fixture
def raw_get(ours):
    """Head and body on a connection that the client wants to keep, with a request after it.

    The original keeps such a connection: what follows then looks like the rest.
    """
    return lambda *arguments, **more: raw_exchange(ours, *arguments, **more)


def raw_exchange(keep, server, path, version="1.1", fields=""):
    wish = "keep-alive" if keep else "close"
    request = f"GET {path} HTTP/{version}\r\nHost: x\r\n{fields}Connection: {wish}\r\n\r\n"
    after = "GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with server.connect() as sock:
        sock.sendall((request + (after if keep else "")).encode())
        head, _, body = read_to_end(sock).partition(b"\r\n\r\n")
    return head.decode(), body


def is_truncated(head, body, size=10_000):
    """The head is the application's, the body incomplete; nothing follows, no page, no response."""
    assert head.startswith("HTTP/1.1 200 OK\r\n")
    assert not ended_cleanly(head, body)
    whole = b"x" * size + b"y" * size
    produced = unframed(body) if "chunked" in head.lower() else body
    assert whole.startswith(produced)


def unframed(body):
    """What chunks bring, the last one perhaps in part."""
    parts = []
    while body:
        size, _, rest = body.partition(b"\r\n")
        if not _:
            break
        count = int(size, 16)
        parts.append(rest[:count])
        body = rest[count + 2:]
    return b"".join(parts)


# -- the application raises ------------------------------------------------------------------------


@pytest.mark.mpms("event", "prefork")
@pytest.mark.parametrize("form, version", FORMS)
@pytest.mark.parametrize("pause", PAUSES)
@pytest.mark.parametrize("size", [10_000, 3_000_000])
def test_an_error_of_the_application(site, visible, raw_get, form, version, pause, size):
    site.log.expect("raised in the middle")
    site.log.allow(TRACEBACK)
    head, body = raw_get(site, f"/dies/{form}?raise,{pause},{size}", version)
    is_truncated(head, body, size)
    assert site.get("/hello").status == 200


@pytest.mark.parametrize("pause", PAUSES)
def test_an_error_of_the_application_behind_a_filter(site, visible, raw_get, pause):
    """The compressed stream has no end either."""
    site.log.expect("raised in the middle")
    site.log.allow(TRACEBACK)
    head, body = raw_get(site, f"/dies/after/packed?raise,{pause}", fields="Accept-Encoding: gzip\r\n")
    assert "Content-Encoding: gzip" in head and not ended_cleanly(head, body)
    inflate = zlib.decompressobj(31)
    inflate.decompress(b"".join(re.findall(rb"[0-9a-f]+\r\n(.*?)\r\n(?=[0-9a-f]+\r\n|$)", body, re.S)))
    assert not inflate.eof


def test_an_http_1_0_body_without_length_has_nothing_after_it(site, raw_get):
    """Its end is the connection's: no error page may follow what the application sent."""
    site.log.expect("raised in the middle")
    site.log.allow(TRACEBACK)
    head, body = raw_get(site, "/dies/after?raise,0.05", "1.0")
    assert head.startswith("HTTP/1.1 200 OK\r\n") and "chunked" not in head.lower()
    assert body == b"x" * 10_000 + b"y" * 10_000


@pytest.mark.ours("the original closes the connection as it does after a whole body")
def test_an_http_1_0_body_without_length_ends_by_a_reset(site):
    site.log.allow(TRACEBACK)
    with site.connect() as sock:
        sock.sendall(b"GET /dies/after?raise,0.05 HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            while sock.recv(65536):
                pass


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_an_error_before_output_is_a_page_and_complete(site, version):
    site.log.allow(TRACEBACK)
    head, body = site.raw_get("/dies/before?raise,0", version)
    assert head.startswith("HTTP/1.1 500 ") and body == b"page of an error"


def test_the_same_connection_serves_after_an_error_page(site):
    site.log.allow(TRACEBACK)
    connection = site.connection()
    for _ in range(3):
        connection.request("GET", "/dies/before?raise,0")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (500, b"page of an error")
        connection.request("GET", "/hello")
        assert connection.getresponse().read() == b"Hello, world!\n"
    connection.close()


# -- the process ends ------------------------------------------------------------------------------


def serves_again(server):
    wait_until(lambda: server.get("/hello").status == 200, 15, "it serves again")


@pytest.mark.parametrize("form, version", FORMS)
@pytest.mark.parametrize("how", ["exit", "kill"])
def test_a_process_that_ends(serve, visible, raw_get, form, version, how):
    head, body = raw_get(serve, f"/dies/{form}?{how},0.05", version)
    is_truncated(head, body)
    serves_again(serve)


@pytest.mark.ours("the original's daemon mode ends a truncated body as if complete")
@pytest.mark.modes("daemon")
@pytest.mark.parametrize("form, version", FORMS)
@pytest.mark.parametrize("how", ["exit", "kill"])
def test_a_process_that_ends_at_once(serve, raw_get, form, version, how):
    """Less may arrive than was sent, even nothing; but never something that looks complete."""
    head, body = raw_get(serve, f"/dies/{form}?{how},0", version)
    if head.startswith("HTTP/1.1 502 "):
        assert b"x" not in body
    else:
        is_truncated(head, body)
    serves_again(serve)


@pytest.mark.ours("the original's daemon mode ends a truncated body as if complete")
@pytest.mark.modes("daemon")
@pytest.mark.parametrize("form, version", FORMS)
@pytest.mark.parametrize("size", [1000, 5_000_000])
def test_a_process_that_is_killed(serve, form, version, size):
    request = f"GET /dies/{form}?stay,0,{size} HTTP/{version}\r\nHost: x\r\n\r\n"
    with serve.connect() as sock:
        sock.sendall(request.encode())
        seen, missing = b"", size
        while missing > 0:
            part = sock.recv(65536)
            missing -= part.count(b"y")
            seen += part
        os.kill(int(re.search(rb"X-Pid: (\d+)", seen)[1]), signal.SIGKILL)
        seen += read_to_end(sock)
    head, _, body = seen.partition(b"\r\n\r\n")
    is_truncated(head.decode(), body, size)
    serves_again(serve)


@pytest.mark.modes("daemon")
@pytest.mark.parametrize("how", ["exit", "kill"])
def test_a_process_that_ends_before_the_answer_is_a_502(serve, how):
    head, body = serve.raw_get(f"/dies/before?{how},0")
    assert head.startswith("HTTP/1.1 502 ") and body == b"page of an error"
    serves_again(serve)
