"""Responses among httpd's own features: HEAD, conditions, ranges, filters, error documents, connections."""

import email
import gzip
import socket
import time
import zlib

import pytest

from conftest import aliases, mode_directives
from httpd import MODULES_DIR
from made import HTML, TEXT, curl, file_content, made, part_content

BROTLI = (MODULES_DIR / "mod_brotli.so").exists()
DIRECTIVES = f"""
LoadModule filter_module {MODULES_DIR}/mod_filter.so
LoadModule deflate_module {MODULES_DIR}/mod_deflate.so
LoadModule ratelimit_module {MODULES_DIR}/mod_ratelimit.so
{f"LoadModule brotli_module {MODULES_DIR}/mod_brotli.so" if BROTLI else ""}
<Location /made/deflated>
    SetOutputFilter DEFLATE
</Location>
<Location /made/brotli>
    SetOutputFilter BROTLI_COMPRESS
</Location>
<Location /made/html>
    AddOutputFilterByType DEFLATE text/html
</Location>
<Location /made/limited>
    SetOutputFilter RATE_LIMIT
    SetEnv rate-limit 400
</Location>
<Location /made/headers>
    Header set X-Added added
    Header append Vary appended
    Header unset X-Gone
    Header edit X-Edited one two
    Header always set X-Always yes
</Location>
<Location /made/get>
    WSGIMapHEADToGET On
</Location>
<Location /made/head>
    WSGIMapHEADToGET Off
    SetOutputFilter DEFLATE
</Location>
<Location /failing>
    Header always set X-Always yes
</Location>
RequestHeader set X-Told by-httpd
ErrorDocument 500 "own page for 500"
ErrorDocument 404 "own page for 404"
"""
TRACEBACK = r"WSGI01(0[5-9]|1[02]|3\d|4\d|7[45])|Traceback|File \"|Error|raise |\^\^|    "
GZIP = {"Accept-Encoding": "gzip"}
TAG = ("ETag", '"tag"')
DATE = ("Last-Modified", "Sat, 01 Jan 2022 00:00:00 GMT")
WHOLE = file_content(1000)


# -- HEAD ------------------------------------------------------------------------------------------


def raw_head(site, path, **headers):
    """Head and body of the answer to HEAD; the next request on the connection must be right."""
    lines = "".join(f"{name.replace('_', '-')}: {text}\r\n" for name, text in headers.items())
    raw = site.raw(f"HEAD {path} HTTP/1.1\r\nHost: x\r\n{lines}\r\n"
                   "GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    head, _, rest = raw.partition(b"\r\n\r\n")
    assert rest.startswith(b"HTTP/1.1 200 OK\r\n") and b"Hello, world!\n" in rest
    return head.decode("latin-1")


@pytest.mark.parametrize("path, method", [
    ("/made", "HEAD"), ("/made/deflated", "GET"), ("/made/get", "GET"), ("/made/head", "HEAD"),
    ("/made/html", "GET"), ("/made/headers", "GET"),
])
def test_what_the_application_sees_of_head(site, path, method):
    assert f"X-Method: {method}\r\n" in raw_head(site, path + "?{}", Accept_Encoding="gzip") + "\r\n"


@pytest.mark.parametrize("response", [
    {"headers": [TEXT, ("Content-Length", "4")]}, {"headers": [TEXT, ("Content-Length", "4")],
                                                   "whole": []},
    {"headers": [TEXT, ("Content-Length", "12345678")], "whole": []},
])
def test_head_keeps_the_declared_length(site, response):
    length = dict(response["headers"])["Content-Length"]
    assert f"\r\nContent-Length: {length}\r\n" in raw_head(site, made(**response)) + "\r\n"


@pytest.mark.parametrize("response", [
    {"parts": [10, 20]}, {"parts": [10, 20], "pause": 0.02}, {"whole": [10, 20]}, {"parts": []},
    {"parts": [100_000] * 20}, {"file": 1000}, {"file": 100_000}, {"file": 0},
    {"status": "404 Not Found"}, {"status": "204 No Content", "whole": []},
    {"status": "304 Not Modified", "headers": [TAG], "whole": []},
])
@pytest.mark.parametrize("path", ["/made", "/made/deflated"])
def test_head_sends_no_body_whatever_the_application_sends(site, path, response):
    status = response.get("status", "200 OK")
    assert raw_head(site, made(path, **response)).startswith(f"HTTP/1.1 {status}")


def test_head_of_a_file_tells_its_size(site):
    assert "\r\nContent-Length: 1000\r\n" in raw_head(site, made(file=1000)) + "\r\n"
    assert "\r\nContent-Length: 3000000\r\n" in raw_head(site, made(file=3_000_000)) + "\r\n"


# -- status and headers ----------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
@pytest.mark.parametrize("body", [[], [b"not allowed"], [b"not", b"allowed"]])
def test_what_has_no_body_sends_none_and_keeps_the_connection(site, status, body):
    headers = [TEXT, ("Content-Length", "11"), TAG, ("Set-Cookie", "a=b")]
    connection = site.connection()
    for _ in range(2):
        connection.request("GET", made(status=status, headers=headers, parts=body))
        response = connection.getresponse()
        assert f"{response.status} {response.reason}" == status and response.read() == b""
        assert response.getheader("Transfer-Encoding") is response.getheader("Content-Type") is None
        assert response.getheader("ETag") == '"tag"'
        connection.request("GET", "/hello")
        assert connection.getresponse().read() == b"Hello, world!\n"
    connection.close()


def test_repeated_headers_stay_what_they_are(site, mode, ours):
    pairs = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("WWW-Authenticate", "Basic realm=x"),
             ("WWW-Authenticate", "Digest realm=y"), ("X-Two", "1"), ("X-Two", "2"),
             ("Link", "</a>"), ("Link", "</b>")]
    response = site.get(made(headers=[TEXT, *pairs]))
    for name in ("Set-Cookie", "WWW-Authenticate"):
        assert response.all(name) == [value for key, value in pairs if key == name]
    joined = not ours and mode == "daemon"
    assert response.all("X-Two") == (["1, 2"] if joined else ["1", "2"])
    assert response.all("Link") == (["</a>, </b>"] if joined else ["</a>", "</b>"])


@pytest.mark.parametrize("size", [7_000, 30_000])
def test_a_long_header_of_a_response(site, size):
    """Both modes carry what httpd and the client can; header-buffer-size limits the original."""
    response = site.get(f"/long_header?{size}")
    assert (response.status, response.header("X-Long")) == (200, "y" * size)


def test_headers_that_belong_to_httpd(site):
    response = site.get(made(headers=[TEXT, ("Date", "never"), ("Server", "mine")]))
    assert response.all("Date") != ["never"] and len(response.all("Date")) == 1
    assert len(response.all("Server")) == 1 and "mod_wsgi" in response.header("Server")


def test_a_response_without_content_type_has_none(site):
    assert site.get(made(headers=[])).header("Content-Type") is None


def test_cookies_of_an_error_status_arrive(site):
    headers = [TEXT, ("Set-Cookie", "a=1"), ("X-Own", "x"), ("Cache-Control", "no-store")]
    response = site.get(made(status="503 Busy", headers=headers))
    assert (response.status, response.body) == (503, b"body")
    assert (response.header("Set-Cookie"), response.header("X-Own")) == ("a=1", "x")
    assert response.header("Cache-Control") == "no-store"


def test_a_redirect_of_the_application(site):
    response = site.get(made(status="302 Found", headers=[TEXT, ("Location", "/other?x=%20")]))
    assert (response.status, response.header("Location")) == (302, "/other?x=%20")
    assert response.body == b"body"


# -- error documents -------------------------------------------------------------------------------


def test_an_error_document_for_an_application_that_failed(site):
    site.log.allow(TRACEBACK)
    response = site.get("/failing/before")
    assert (response.status, response.body) == (500, b"own page for 500")
    assert response.header("X-Always") == "yes"


@pytest.mark.parametrize("status", ["500 Own", "404 Own"])
def test_no_error_document_for_what_the_application_answers_itself(site, status):
    response = site.get(made(status=status))
    assert (response.status, response.body) == (int(status[:3]), b"body")


def test_error_documents_for_scripts_that_are_missing_or_do_not_load(httpd, mode):
    httpd.log.allow(TRACEBACK + "|nowhere|missing|not today|exist|cannot be loaded")
    httpd.write("htdocs/sorry.txt", "sorry")
    httpd.start(f"{mode_directives(mode)}ErrorDocument 404 /sorry.txt\nErrorDocument 500 /sorry.txt\n"
                f"WSGIScriptAlias /nowhere {httpd.root}/apps/nowhere.wsgi\n{aliases(httpd)}")
    for path, status in (("/nowhere", 404), ("/import_error", 500), ("/syntax_error", 500)):
        response = httpd.get(path)
        assert (response.status, response.body) == (status, b"sorry")


# -- conditions ------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [
    {"If-None-Match": '"tag"'}, {"If-None-Match": "*"}, {"If-Match": '"other"'},
    {"If-Modified-Since": DATE[1]}, {"If-Unmodified-Since": "Fri, 01 Jan 2021 00:00:00 GMT"},
])
def test_conditions_are_the_applications_to_judge(site, headers):
    response = site.get(made(headers=[TEXT, TAG, DATE]), headers=headers)
    assert (response.status, response.body) == (200, b"body")
    assert (response.header("ETag"), response.header("Last-Modified")) == ('"tag"', DATE[1])


# -- ranges ----------------------------------------------------------------------------------------

RANGES = [("bytes=0-9", 0, 10), ("bytes=-5", -5, None), ("bytes=990-", 990, None),
          ("bytes=0-99999999", 0, None)]


@pytest.fixture
def ranges(mode, ours):
    if not ours and mode == "daemon":
        pytest.skip("the original's daemon mode knows no ranges of files")


@pytest.mark.parametrize("size", [1000, 100_000, 3_000_000])
@pytest.mark.parametrize("range_, begin, end", RANGES)
def test_a_range_of_a_file(site, ranges, size, range_, begin, end):
    content = file_content(size)
    response = site.get(made(file=size, headers=[TEXT, TAG]), headers={"Range": range_})
    part = content[begin:end]
    first = begin % size
    assert (response.status, response.body) == (206, part)
    assert response.header("Content-Range") == f"bytes {first}-{first + len(part) - 1}/{size}"
    assert (response.header("Content-Length"), response.header("ETag")) == (str(len(part)), '"tag"')


@pytest.mark.parametrize("size", [1000, 100_000])
def test_several_ranges_of_a_file(site, ranges, size):
    response = site.get(made(file=size), headers={"Range": "bytes=0-1,500-509,-1"})
    kind = response.header("Content-Type")
    assert response.status == 206 and kind.startswith("multipart/byteranges; boundary=")
    message = email.message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + response.body)
    shown = [(p["Content-Range"], p.get_payload(decode=True)) for p in message.get_payload()]
    content = file_content(size)
    assert shown == [(f"bytes 0-1/{size}", content[:2]), (f"bytes 500-509/{size}", content[500:510]),
                     (f"bytes {size - 1}-{size - 1}/{size}", content[-1:])]


@pytest.mark.parametrize("size", [1000, 100_000])
def test_a_range_beyond_a_file(site, ranges, ours, size):
    if not ours:
        site.log.allow("OSError")
    response = site.get(made(file=size), headers={"Range": "bytes=9999999-"})
    assert response.status == 416 and content_is_not_a_file(response)


def content_is_not_a_file(response):
    return b"0123456789abcdef" not in response.body


@pytest.mark.parametrize("size", [1000, 100_000])
@pytest.mark.parametrize("condition, status", [('"tag"', 206), ('"other"', 200), (DATE[1], 206),
                                               ("Fri, 01 Jan 2021 00:00:00 GMT", 200)])
def test_a_range_if_the_file_is_still_the_same(site, ranges, size, condition, status):
    headers = {"Range": "bytes=0-9", "If-Range": condition}
    response = site.get(made(file=size, headers=[TEXT, TAG, DATE]), headers=headers)
    assert (response.status, len(response.body)) == (status, 10 if status == 206 else size)


def test_a_range_that_the_application_made_itself_is_left_alone(site):
    headers = [TEXT, ("Content-Range", "bytes 0-3/10"), ("Content-Length", "4")]
    response = site.get(made(status="206 Partial Content", headers=headers),
                        headers={"Range": "bytes=0-3"})
    assert (response.status, response.body) == (206, b"body")
    assert response.all("Content-Range") == ["bytes 0-3/10"]


def test_a_body_that_the_application_makes_is_sent_whole(site):
    response = site.get(made(whole=[1000]), headers={"Range": "bytes=10-19"})
    assert (response.status, response.body) == (200, part_content(1000))


@pytest.mark.parametrize("response", [
    {"parts": [1000]}, {"parts": [500, 500]}, {"parts": []}, {"parts": [40_000, 40_000]},
    {"whole": [1000]}, {"whole": [500, 500]}, {"whole": []}, {"file": 1000}, {"file": 100_000},
    {"parts": [1000], "headers": [TEXT, ("Content-Length", "1000")]},
])
@pytest.mark.parametrize("range_", [None, "bytes=0-9"])
def test_the_form_of_a_response_does_not_depend_on_timing(site, response, range_):
    """Length, framing and answer to a range: the same for the same application."""
    headers = {"Range": range_} if range_ else {}
    seen = set()
    for _ in range(30):
        shown = site.get(made(**response), headers=headers)
        seen.add((shown.status, shown.header("Content-Length"), shown.header("Transfer-Encoding")))
    assert len(seen) == 1


# -- output filters --------------------------------------------------------------------------------

BODIES = [
    ({"parts": [4000]}, part_content(4000)), ({"parts": [b"one " * 50, b"two"]}, b"one " * 50 + b"two"),
    ({"whole": [4000]}, part_content(4000)), ({"file": 100_000}, file_content(100_000)),
    ({"file": 3_000_000}, file_content(3_000_000)),
    ({"parts": [b"one " * 50, b"two"], "pause": 0.02}, b"one " * 50 + b"two"),
    ({"parts": [4000], "headers": [TEXT, ("Content-Length", "4000")]}, part_content(4000)),
    ({"parts": [100_000] * 30}, part_content(100_000) * 30),
]


@pytest.mark.parametrize("response, body", BODIES)
def test_a_body_through_mod_deflate(site, response, body):
    shown = site.get(made("/made/deflated", **response), headers=GZIP)
    assert shown.header("Content-Encoding") == "gzip" and shown.header("Vary") == "Accept-Encoding"
    assert gzip.decompress(shown.body) == body
    plain = site.get(made("/made/deflated", **response))
    assert plain.header("Content-Encoding") is None and plain.body == body


@pytest.mark.skipif(not BROTLI, reason="mod_brotli is missing")
@pytest.mark.parametrize("response, body", BODIES)
def test_a_body_through_mod_brotli(site, response, body):
    url = f"http://127.0.0.1:{site.port}{made('/made/brotli', **response)}"
    status, shown, _ = curl("-H", "Accept-Encoding: br", "--compressed", url)
    assert (status, shown) == (0, body)
    assert site.get(made("/made/brotli", **response),
                    headers={"Accept-Encoding": "br"}).header("Content-Encoding") == "br"


def test_a_filter_by_type(site):
    html = site.get(made("/made/html", headers=[HTML], parts=[4000]), headers=GZIP)
    text = site.get(made("/made/html", headers=[TEXT], parts=[4000]), headers=GZIP)
    assert gzip.decompress(html.body) == text.body == part_content(4000)
    assert (html.header("Content-Encoding"), text.header("Content-Encoding")) == ("gzip", None)


def test_what_the_application_compressed_is_not_compressed_again(site):
    packed = gzip.compress(b"once")
    headers = [TEXT, ("Content-Encoding", "gzip")]
    shown = site.get(made("/made/deflated", headers=headers, parts=[packed]), headers=GZIP)
    assert shown.body == packed and shown.all("Content-Encoding") == ["gzip"]


@pytest.mark.parametrize("response", [{"parts": [100_000, 100_000]}, {"file": 200_000}])
def test_mod_ratelimit_slows_but_loses_nothing(site, response):
    begun = time.monotonic()
    shown = site.get(made("/made/limited", **response))
    whole = file_content(200_000) if "file" in response else part_content(100_000) * 2
    assert shown.body == whole and time.monotonic() - begun > 0.2


def test_mod_headers_changes_responses_and_requests(site):
    given = [TEXT, ("X-Gone", "1"), ("X-Edited", "one"), ("Vary", "own")]
    response = site.get(made("/made/headers", headers=given))
    assert (response.header("X-Added"), response.header("X-Edited")) == ("added", "two")
    assert response.header("X-Gone") is None and response.header("X-Always") == "yes"
    assert "".join(response.all("Vary")).replace(" ", "") in ("own,appended", "ownappended")
    assert site.json("/environ")["HTTP_X_TOLD"] == ["str", "by-httpd"]


# -- events ----------------------------------------------------------------------------------------

EVENTS = {"headers": [("Content-Type", "text/event-stream")],
          "parts": [b"data: 1\n\n", b"data: 2\n\n"], "pause": 3}


def first_event(site, path, headers="", decode=lambda data: data):
    """Seconds until the first event is there; the second one must not be."""
    with site.connect(2) as sock:
        begun = time.monotonic()
        sock.sendall(f"GET {made(path, **EVENTS)} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode())
        seen = b""
        while b"data: 1\n\n" not in decode(seen):
            block = sock.recv(65536)
            assert block, seen
            seen += block
        taken = time.monotonic() - begun
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            sock.recv(1)
        assert b"data: 2" not in decode(seen)
        return taken


@pytest.mark.mpms("event", "prefork")
def test_an_event_arrives_when_it_is_sent(site):
    assert first_event(site, "/made") < 0.5


def test_an_event_arrives_through_mod_deflate(site):
    def decode(data):
        _, _, body = data.partition(b"\r\n\r\n")
        unpacked, inflate = b"", zlib.decompressobj(31)
        while body:
            size, _, body = body.partition(b"\r\n")
            unpacked += inflate.decompress(body[:int(size, 16)])
            body = body[int(size, 16) + 2:]
        return unpacked
    assert first_event(site, "/made/deflated", "Accept-Encoding: gzip\r\n", decode) < 0.5


def test_the_head_arrives_with_the_first_write_of_nothing_but_waiting(site):
    """An application that is slow with its first part has not sent anything."""
    with site.connect(5) as sock:
        sock.sendall(f"GET {made(parts=[b'', b'late'], pause=0.3)} HTTP/1.1\r\nHost: x\r\n"
                     "Connection: close\r\n\r\n".encode())
        begun = time.monotonic()
        assert sock.recv(65536) and time.monotonic() - begun > 0.25


# -- connections -----------------------------------------------------------------------------------


def test_one_connection_serves_every_kind_of_response(site):
    connection = site.connection()
    connection.connect()
    sock = connection.sock
    for response, body in [*BODIES[:7], ({"parts": []}, b""), ({"whole": []}, b""),
                           ({"file": 0}, b""), ({"status": "404 No"}, b"body")] * 3:
        connection.request("GET", made(**response))
        assert connection.getresponse().read() == body
        connection.request("GET", made("/made/deflated", **response), headers=GZIP)
        answer = connection.getresponse()
        packed = answer.read()
        compressed = answer.getheader("Content-Encoding") == "gzip"
        assert (gzip.decompress(packed) if compressed else packed) == body
        assert connection.sock is sock, "the connection was kept"
    connection.close()


@pytest.mark.parametrize("response, body", BODIES)
def test_http_1_0_gets_a_body_without_chunks(site, response, body):
    head, shown = site.raw_get(made(**response), version="1.0")
    assert shown == body and "chunked" not in head.lower()


def test_http_1_0_keeps_a_connection_when_the_length_is_known(site):
    with site.connect() as sock:
        url = made(headers=[TEXT, ("Content-Length", "4")])
        for _ in range(3):
            sock.sendall(f"GET {url} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".encode())
            seen = b""
            while not seen.endswith(b"\r\n\r\nbody"):
                seen += sock.recv(65536)
            assert b"Connection: Keep-Alive" in seen


def test_a_client_that_reads_byte_by_byte(site):
    with site.connect() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        sock.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        seen = b"".join(iter(lambda: sock.recv(1), b""))
    assert seen.endswith(b"\r\n\r\nHello, world!\n")
