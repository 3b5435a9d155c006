"""TLS and HTTP/2 (over TLS and in clear text), with curl: the same answers, the same endings."""

import hashlib
import http.client
import json
import os
import signal
import ssl
import subprocess
import threading
import time

import pytest

from conftest import finish
from httpd import MODULES_DIR, Httpd
from made import curl, file_content, made, part_content
from processes import wait_until
from secure import PROTOCOLS, Over, expect_mark, feed, read_exactly, start_secure

TRACEBACK = r"WSGI01(0[5-9]|1[02]|3\d|4\d|7[45])|Traceback|File \"|Error|raise |\^\^|    "
CURL = subprocess.run(["curl", "-V"], capture_output=True, text=True).stdout
NEEDS = pytest.mark.skipif(
    not all((MODULES_DIR / f"mod_{name}.so").exists() for name in ("ssl", "http2"))
    or "HTTP2" not in CURL,
    reason="mod_ssl, mod_http2 or a curl that speaks HTTP/2 is missing",
)
pytestmark = [NEEDS, pytest.mark.timeout(40)]


@pytest.fixture(scope="module")
def secure_httpd(request, module, mpm, mode):
    server = Httpd(module, mpm)
    yield start_secure(server, mode, threads=3)
    finish(server, request.config.getoption("keep"))


@pytest.fixture(params=PROTOCOLS)
def over(request, secure_httpd):
    """Requests over one of the protocols; the log guard looks at this test's stretch of the log."""
    secure_httpd.log.begin()
    yield Over(secure_httpd, request.param)
    problems = secure_httpd.log.problems()
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


# -- environ ---------------------------------------------------------------------------------------


def test_the_scheme_is_told_and_the_variable_is_not(over):
    env = over.environ()
    scheme = "https" if over.is_tls else "http"
    assert env["wsgi.url_scheme"] == env["REQUEST_SCHEME"] == scheme and "HTTPS" not in env
    assert env["SERVER_PORT"] == str(over.server.tls if over.is_tls else over.server.port)
    assert env["SERVER_PROTOCOL"] == ("HTTP/1.1" if over.protocol == "https" else "HTTP/2.0")
    assert env["HTTP_HOST"] == over.base.partition("//")[2]
    assert not [key for key in env if key.startswith("SSL_") and key != "SSL_TLS_SNI"]


def test_variables_of_mod_ssl_when_configured(over):
    env = over.environ("/environ/std")
    if not over.is_tls:
        assert not [key for key in env if key.startswith("SSL_")]
        return
    assert env["SSL_PROTOCOL"].startswith("TLSv1.") and env["SSL_CIPHER"]
    assert env["SSL_SERVER_S_DN_CN"] == "secure.example" and "HTTPS" not in env
    assert env["SSL_SERVER_CERT"].startswith("-----BEGIN CERTIFICATE-----\n")
    assert env["wsgi.url_scheme"] == "https"


def test_header_names_and_cookies_of_http2(over):
    shown = json.loads(over.get("/environ", "-H", "X-Some: thing", "-H", "Cookie: a=1; b=2"))
    assert shown["HTTP_X_SOME"] == ["str", "thing"] and shown["HTTP_COOKIE"] == ["str", "a=1; b=2"]


# -- bodies ----------------------------------------------------------------------------------------


def test_responses_small_and_large(over):
    assert over.get("/hello") == b"Hello, world!\n"
    assert over.get("/hello", "-w", " %{http_version}").endswith(
        b" 1.1" if over.protocol == "https" else b" 2")
    for kind in ("big", "one-big"):
        body = over.get(f"/response/{kind}")
        assert body == bytes(range(256)) * 256 * 320


@pytest.mark.parametrize("size", [0, 1024, 3_000_000])
def test_uploads(over, size):
    content = os.urandom(size)
    path = over.server.root / "upload"
    path.write_bytes(content)
    assert over.get("/echo", "--data-binary", f"@{path}") == content
    head = over.get("/echo", "--data-binary", f"@{path}", "-D", "-", "-o", "/dev/null")
    assert hashlib.sha256(content).hexdigest().encode() in head


@pytest.mark.parametrize("size", [1024, 3_000_000])
def test_an_upload_that_nobody_reads(over, ours, size):
    if not ours and over.protocol != "https":
        pytest.skip("the original resets the stream, or waits")
    path = over.server.root / "upload"
    path.write_bytes(bytes(size))
    told = over.get("/hello", "--max-time", "10", "--data-binary", f"@{path}")
    assert told == b"Hello, world!\n"


@pytest.mark.parametrize("size", [0, 1000, 3_000_000])
def test_files(over, size):
    assert over.get(made(file=size)) == file_content(size)


@pytest.mark.parametrize("size", [0, 1000, 3_000_000])
def test_head_of_files(over, ours, size):
    if not ours and over.protocol != "https":
        pytest.skip("the original takes the missing body for an error")
    head = over.get(made(file=size), "-I").lower().replace(b" \r\n", b"\r\n")
    assert head.startswith(b"http/1.1 200 ok" if over.protocol == "https" else b"http/2 200")
    assert b"content-length: %d\r\n" % size in head or size == 0


@pytest.mark.parametrize("size", [1000, 3_000_000])
def test_ranges_of_files(over, mode, ours, size):
    if not ours and mode == "daemon":
        pytest.skip("the original's daemon mode knows no ranges of files")
    body = over.get(made(file=size), "-r", "10-19", "-w", " %{http_code}")
    assert body == file_content(size)[10:20] + b" 206"


@pytest.mark.parametrize("over", ["https", "h2"], indirect=True)  # curl does not take up a clear text connection again
def test_several_requests_on_one_connection(over):
    urls = [over.base + path for path in ("/hello", made(parts=[10, 20]), "/hello")]
    status, body, _ = curl(*over.options, "-w", "%{num_connects}", *urls)
    assert (status, body) == (0, b"Hello, world!\n1" + part_content(10) + part_content(20)
                              + b"0Hello, world!\n0")


def test_several_streams_at_once(over):
    urls = [over.base + made(parts=[10, 10], pause=0.3) for _ in range(3)]
    begun = time.monotonic()
    status, body, _ = curl(*over.options, "--parallel", "--parallel-immediate", *urls)
    assert (status, len(body)) == (0, 60) and time.monotonic() - begun < 0.85


def test_a_part_arrives_when_it_is_sent(over):
    with over.begin(made(parts=[b"first", b"second"], pause=3)) as client:
        begun = time.monotonic()
        assert read_exactly(client.stdout, 5) == b"first"
        taken = time.monotonic() - begun
        client.kill()
    assert taken < 1


def test_an_upload_and_a_download_at_once(over, mode, ours):
    if not ours and mode == "daemon":
        pytest.skip("the original takes the whole body before it sends any of the response")
    if not ours:
        over.log.allow(TRACEBACK)
    url, mark = over.mark("echo")
    with over.begin(url, "-T", ".", "-X", "POST", "-H", "Expect:", stdin=subprocess.PIPE) as client:
        sender = threading.Thread(target=feed, args=(client.stdin, 2_000_000))
        sender.start()
        assert read_exactly(client.stdout, 1_000_000) == b"x" * 1_000_000
        client.kill()
        sender.join()
    expect_mark(mark, "closed")


@pytest.mark.parametrize("over", ["https"], indirect=True)
@pytest.mark.parametrize("around", [16_384, 65_536, 1_048_576, 2_097_152])
def test_uploads_around_the_sizes_of_buffers(over, around):
    """What TLS or HTTP/2 has already taken from the socket must not be waited for there."""
    connection = http.client.HTTPSConnection(
        "127.0.0.1", over.server.tls, context=ssl._create_unverified_context(), timeout=10)
    for more in (-8193, -8192, -1, 0, 1, 100, 8191, 8192, 8193, 16_383, 16_384, 16_385, 40_000):
        content = os.urandom(around + more)
        connection.request("POST", "/echo", content)
        assert connection.getresponse().read() == content
    connection.close()


@pytest.mark.ours("the original takes the whole body before it sends any of the response")
def test_100_mb_in_both_directions(over):
    path = over.server.root / "upload"
    path.write_bytes(b"u" * 100_000_000)
    url, mark = over.mark("echo")
    shown = over.get(url, "-T", path, "-X", "POST", "-o", over.server.root / "answer", "-w",
                     "%{http_code} %{size_download}")
    assert shown == b"200 100000000"
    expect_mark(mark, "echoed all")


# -- endings ---------------------------------------------------------------------------------------


@pytest.fixture
def visible(over, mode, ours):
    if not ours and (mode == "daemon" or over.protocol != "https"):
        pytest.skip("the original ends a truncated body as if complete")


def test_an_application_that_fails_after_output_is_visibly_cut_off(over, visible):
    over.log.expect("raised after output")
    over.log.allow(TRACEBACK)
    status, body = over.run("/failing/after")
    # The reset of an HTTP/2 stream may overtake what came before it.
    assert status != 0 and (b"x" * 100).startswith(body) and (body or over.protocol != "https")


def test_the_next_request_after_a_truncated_one(over, visible):
    over.log.allow(TRACEBACK)
    over.run("/failing/after")
    assert over.get("/hello") == b"Hello, world!\n"


@pytest.mark.ours("the original's daemon mode ends a truncated body as if complete")
@pytest.mark.modes("daemon")
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_process_that_dies_after_output_is_visible(httpd, mode, protocol):
    httpd.log.allow("wsgi|process|app")
    over = Over(start_secure(httpd, mode), protocol)
    status, body = over.run("/crash/after")
    assert status != 0 and len(body) <= 200_000
    wait_until(lambda: over.run("/hello") == (0, b"Hello, world!\n"), 15, "it serves again")
    status, body = over.run("/dies/after?exit,0")
    assert status != 0 and len(body) <= 200_000


@pytest.mark.ours("the original's daemon mode ends a truncated body as if complete")
@pytest.mark.modes("daemon")
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_process_that_is_killed_in_the_middle_is_visible(httpd, mode, protocol):
    httpd.log.allow("wsgi|process|app")
    over = Over(start_secure(httpd, mode), protocol)
    url, mark = over.mark("stream", size=1000, pause=0.05)
    with over.begin(url) as client:
        assert read_exactly(client.stdout, 1000) == b"b" * 1000
        os.kill(int(mark.read_text().split()[1]), signal.SIGKILL)
        assert client.wait(10) != 0
    wait_until(lambda: over.run("/hello") == (0, b"Hello, world!\n"), 15, "it serves again")


def test_a_client_that_leaves_a_download(over):
    url, mark = over.mark("stream", size=100_000, pause=0.01)
    with over.begin(url) as client:
        assert read_exactly(client.stdout, 100_000)
        client.kill()
    expect_mark(mark, "closed")
    assert over.get("/hello") == b"Hello, world!\n"


def test_a_client_that_leaves_an_upload(over, mode, ours):
    if not ours and mode == "daemon" and over.protocol != "https":
        pytest.skip("the original waits for the whole body")
    if not ours:
        over.log.allow(TRACEBACK)
    url, mark = over.mark("read")
    with over.begin(url, "-T", ".", "-X", "POST", "-H", "Expect:", stdin=subprocess.PIPE) as client:
        sender = threading.Thread(target=feed, args=(client.stdin, 2_000_000))
        sender.start()
        expect_mark(mark, "reading")
        client.kill()
        sender.join()
    expect_mark(mark, "OSError")
    assert over.get("/hello") == b"Hello, world!\n"
