"""100 MB up and 100 MB down in one request, to an application that does not read, and to one that echoes."""

import subprocess
import threading
import time

import pytest

from client import ended_cleanly, read_to_end
from conftest import aliases, mode_directives
from made import made

pytestmark = pytest.mark.timeout(60)
TIMEOUT = 5
MEGA = 1_000_000
STREAM = made(parts=[MEGA] * 100)


@pytest.fixture
def serve(httpd, mode):
    (httpd.root / "marks").mkdir()
    (httpd.root / "marks").chmod(0o777)
    group = mode_directives(mode, threads=1)
    return httpd.start(f"{group}Timeout {TIMEOUT}\nWSGIChunkedRequest On\n{aliases(httpd)}")


def head_of(path, size):
    return (f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n"
            "Connection: close\r\n\r\n").encode()


def send(sock, size, done):
    block = b"u" * MEGA
    try:
        for _ in range(size // MEGA):
            sock.sendall(block)
        done.append(size)
    except OSError:
        pass


def exchange(server, path, size):
    """Sends while it reads; returns head and body, and whether all was sent."""
    done = []
    with server.connect() as sock:
        sock.sendall(head_of(path, size))
        sender = threading.Thread(target=send, args=(sock, size, done))
        sender.start()
        answer = read_to_end(sock)
        sender.join()
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.decode(), body, bool(done)


def unchunked(body):
    parts, at = [], 0
    while at < len(body):
        begin = body.index(b"\r\n", at) + 2
        size = int(body[at:begin], 16)
        parts.append(body[begin:begin + size])
        at = begin + size + 2
    return b"".join(parts)


def content(head, body):
    return unchunked(body) if "chunked" in head.lower() else body


def still_serves(server):
    begun = time.monotonic()
    assert server.get("/hello").body == b"Hello, world!\n"
    assert time.monotonic() - begun < 1


@pytest.mark.ours("the original takes the whole body before it sends any of the response")
def test_a_client_that_reads_while_it_sends_gets_everything(serve):
    head, body, _ = exchange(serve, STREAM, 100 * MEGA)
    assert head.startswith("HTTP/1.1 200") and ended_cleanly(head, body)
    assert len(content(head, body)) == 100 * MEGA
    still_serves(serve)


@pytest.mark.ours("the original takes the whole body before it sends any of the response")
def test_an_application_that_echoes_while_it_reads(serve):
    mark = serve.root / "marks/echo"
    path = "/watch?" + made(mark=str(mark), do="echo").partition("?")[2]
    head, body, sent = exchange(serve, path, 100 * MEGA)
    assert sent and ended_cleanly(head, body)
    assert content(head, body) == b"u" * 100 * MEGA and "echoed all" in mark.read_text()
    still_serves(serve)


@pytest.mark.ours("the original takes the whole body before it sends any of the response")
def test_a_client_that_sends_everything_before_it_reads(serve):
    """It gets the answer, or a connection that ends: never one that hangs."""
    done = []
    begun = time.monotonic()
    with serve.connect(4 * TIMEOUT) as sock:
        sock.sendall(head_of(STREAM, 100 * MEGA))
        send(sock, 100 * MEGA, done)
        answer = read_to_end(sock)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert time.monotonic() - begun < 3 * TIMEOUT
    assert head == b"" or len(content(head.decode(), body)) == 100 * MEGA or \
        not ended_cleanly(head.decode(), body)
    still_serves(serve)


@pytest.mark.ours("the original takes the whole body before it sends any of the response")
@pytest.mark.parametrize("how", [["-T", "FILE", "-X", "POST"], ["--data-binary", "@FILE"],
                                 ["-T", "FILE", "-X", "POST", "-H", "Transfer-Encoding: chunked"]])
def test_curl_in_both_directions(serve, how):
    upload = serve.root / "upload"
    upload.write_bytes(b"u" * 100 * MEGA)
    options = [word.replace("FILE", str(upload)) for word in how]
    command = ["curl", "-sS", "--http1.1", "-H", "Expect:", "-o", serve.root / "answer", "-w",
               "%{http_code} %{size_download}", *options, f"http://127.0.0.1:{serve.port}{STREAM}"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert (told.returncode, told.stdout) == (0, f"200 {100 * MEGA}"), told.stderr
    still_serves(serve)


@pytest.mark.parametrize("size", [MEGA, 20 * MEGA])
@pytest.mark.check
def test_a_large_upload_and_a_large_answer_after_it(serve, size):
    head, body, sent = exchange(serve, made(parts=[MEGA] * 20, read=True), size)
    assert sent and f"X-Read: {size}" in head and ended_cleanly(head, body)
    assert len(content(head, body)) == 20 * MEGA
    still_serves(serve)
