"""Clients that stop in the middle, and the request threads that must not wait for them."""

import os
import socket
import subprocess
import time

import pytest

import processes
from client import ended_cleanly, read_to_end
from conftest import aliases, mode_directives
from httpd import IS_ROOT, MODULES_DIR
from made import made
from processes import wait_until

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
@pytest.mark.check
def test_a_client_that_leaves_keeps_its_request_thread_taken(daemon):
    httpd = daemon("processes=2 threads=1")
    # The child gives the thread back when the process has ended the exchange. At a stop it may end before that.
    httpd.log.allow(r"is gone \(httpd stops or restarts\): .*, 1 request in flight \(GET /busy_after")
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
@pytest.mark.check
def test_an_early_answer_reaches_a_client_that_goes_on_later(httpd, mode):
    httpd.start(f"{mode_directives(mode)}WSGIScriptAlias /hello {httpd.app('hello')}")
    with httpd.connect() as sock:
        sock.settimeout(5)
        sock.sendall(UPLOAD + b"b" * 2_000_000)
        receive_until(sock, b"Hello, world!")


@pytest.mark.check
def test_a_body_that_nobody_reads_spoils_no_later_request(daemon):
    httpd = daemon("processes=1 threads=2")
    connection = httpd.connection()
    for size in (0, 100, 17_000, 60_000, 200_000, 1_500_000) * 20:
        connection.request("POST", "/hello", b"b" * size)
        assert connection.getresponse().read() == b"Hello, world!\n"
        connection.request("GET", "/hello")
        assert connection.getresponse().read() == b"Hello, world!\n"
    connection.close()


# -- responses that their clients do not take ------------------------------------------------------

SIZE = 5_000_000
CONTENT = (b"0123456789" * (SIZE // 10 + 1))[:SIZE]
DOWNLOAD = made(parts=[100_000] * 50)
FILE = made(file=SIZE)


class Slow:
    """A client with little room that has asked for something and reads nothing yet."""

    def __init__(self, httpd, request):
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        self.sock.settimeout(30)
        self.sock.connect(("127.0.0.1", httpd.port))
        self.sock.sendall(request)

    def begun(self):
        """Waits for the start of the response."""
        assert self.sock.recv(1, socket.MSG_PEEK)
        return self

    def rest(self, pause=0):
        """Reads all, with a pause after each 64 KB; the body, without the framing of chunks, and whether it looks
        complete."""
        answer = b""
        with self.sock:
            while pause and (part := self.sock.recv(65536)):
                answer += part
                time.sleep(pause)
            head, _, body = (answer + read_to_end(self.sock)).partition(b"\r\n\r\n")
        complete = ended_cleanly(head.decode(), body)
        return (unchunked(body) if b"chunked" in head else body), complete


def slow_gets(httpd, path, count=4):
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    return [Slow(httpd, request).begun() for _ in range(count)]


def unchunked(body):
    parts, at = [], 0
    while at < len(body):
        end = body.index(b"\r\n", at)
        size = int(body[at:end], 16)
        parts.append(body[end + 2:end + 2 + size])
        at = end + 4 + size
    return b"".join(parts)


def spooled(httpd):
    """Descriptors of temporary files that the children have open; they have no name any more."""
    found = []
    for child in httpd.children():
        found += [target for target in processes.descriptors(child.pid).values()
                  if target.startswith(str(httpd.root / "tmp")) and target.endswith("(deleted)")]
    return found


@pytest.mark.ours("the original holds a thread for each client")
@pytest.mark.parametrize("path, body", [(DOWNLOAD, CONTENT[:100_000] * 50), (FILE, None)])
def test_slow_downloads_hold_no_request_thread(daemon, path, body):
    httpd = daemon("processes=1 threads=1")
    clients = slow_gets(httpd, path)
    assert quick(httpd) < 5
    for client in clients:
        got, complete = client.rest()
        assert complete and len(got) == SIZE and got == (body or (b"0123456789abcdef" * SIZE)[:SIZE])


@pytest.mark.ours("the original holds a thread for each client")
@pytest.mark.check
def test_slow_uploads_hold_no_request_thread(daemon):
    httpd = daemon("processes=1 threads=1")
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 100000\r\n\r\n"
    clients = [Slow(httpd, head + b"u" * 50_000) for _ in range(4)]
    assert quick(httpd) < 5
    for client in clients:
        client.sock.sendall(b"u" * 50_000)
        assert client.rest() == (b"u" * 100_000, True)


@pytest.mark.ours("the original has no spool")
def test_what_memory_does_not_hold_is_in_a_file_without_a_name(daemon):
    httpd = daemon("processes=1 threads=1 response-buffer=65536")
    client, = slow_gets(httpd, DOWNLOAD, 1)
    wait_until(lambda: spooled(httpd), 10, "a temporary file")
    assert not list((httpd.root / "tmp").iterdir())
    assert quick(httpd) < 5
    assert client.rest() == (CONTENT[:100_000] * 50, True)
    wait_until(lambda: not spooled(httpd), 10, "no temporary file")


@pytest.mark.ours("the original has no spool")
@pytest.mark.parametrize("options", ["response-spool=0", "response-buffer=4096 response-spool=65536"])
def test_a_full_spool_holds_the_application_back_and_loses_nothing(daemon, options):
    httpd = daemon(f"processes=1 threads=2 {options}")
    client, = slow_gets(httpd, DOWNLOAD, 1)
    assert quick(httpd) < 5
    assert client.rest() == (CONTENT[:100_000] * 50, True)


@pytest.mark.ours("the original has no spool")
def test_a_spool_that_cannot_be_written_is_told_once_and_loses_nothing(daemon, httpd):
    if not IS_ROOT:
        pytest.skip("the server runs as who owns the directory")
    (httpd.root / "closed").mkdir(mode=0o755)
    httpd.log.expect(f"spool-directory={httpd.root}/closed: Permission denied")
    daemon(f"processes=1 threads=3 response-buffer=65536 spool-directory={httpd.root}/closed")
    clients = slow_gets(httpd, DOWNLOAD, 2)
    assert quick(httpd) < 5
    for client in clients:
        assert client.rest(pause=0.005) == (CONTENT[:100_000] * 50, True)
    assert len(httpd.log.matching("spool-directory=")) <= len(httpd.children())


@pytest.mark.ours("the original has no spool")
def test_a_full_disk_loses_nothing(daemon, httpd):
    disk = httpd.root / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k,mode=1777", "none", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("cannot mount a small disk")
    try:
        httpd.log.expect("No space left on device")
        daemon(f"processes=1 threads=3 response-buffer=65536 spool-directory={disk}")
        clients = slow_gets(httpd, DOWNLOAD, 2)
        assert quick(httpd) < 5
        for client in clients:
            assert client.rest(pause=0.005) == (CONTENT[:100_000] * 50, True)
        httpd.stop()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.ours("the original holds a thread for each client")
def test_slow_http2_clients_hold_no_request_thread(httpd):
    if not (MODULES_DIR / "mod_http2.so").exists():
        pytest.skip("mod_http2 is missing")
    httpd.start("WSGIDaemonProcess app processes=1 threads=1\nWSGIProcessGroup app\nProtocols h2c http/1.1\n"
                + aliases(httpd), ["http2"])
    url = f"http://127.0.0.1:{httpd.port}{DOWNLOAD}"
    command = ["curl", "-sS", "-g", "--http2-prior-knowledge", "--limit-rate", "1M", "-o", "/dev/null",
               "-w", "%{http_version} %{size_download}", url]
    clients = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    try:
        assert quick(httpd, 20) < 5
        assert all(client.poll() is None for client in clients)
    finally:
        told = [client.communicate(timeout=60)[0] for client in clients]
    assert told == [f"2 {SIZE}"] * 4


@pytest.mark.parametrize("headers, body", [
    ({}, (b"0123456789abcdef" * SIZE)[:SIZE]), ({"Range": "bytes=16-31"}, b"0123456789abcdef"),
])
def test_sendfile_sends_the_same(httpd, mode, ours, headers, body):
    httpd.start(f"{mode_directives(mode)}EnableSendfile On\nWSGIEnableSendfile On\n{aliases(httpd)}")
    if not ours and mode == "daemon" and headers:
        headers, body = {}, (b"0123456789abcdef" * SIZE)[:SIZE]
    for _ in range(2):
        assert httpd.get(FILE, headers=headers).body == body
    client, = slow_gets(httpd, FILE, 1)
    assert client.rest()[1]


def test_a_file_that_becomes_shorter_is_visibly_truncated(httpd, mode):
    """The client has the first part; the rest is gone before it is sent."""
    path = httpd.write("shrinking", "x" * 50_000_000)
    script = httpd.write("apps/shrinking.wsgi", f"""
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return environ['wsgi.file_wrapper'](open({str(path)!r}, 'rb'))
""")
    httpd.log.allow("shorter|Exception|Traceback|File|Error|declared a Content-Length")
    httpd.start(f"{mode_directives(mode)}WSGIScriptAlias / {script}")
    client, = slow_gets(httpd, "/", 1)
    children = {child.pid for child in httpd.children()}
    os.truncate(path, 0)
    body, complete = client.rest()
    assert not complete and len(body) < 50_000_000
    assert children <= {child.pid for child in httpd.children()}
