"""Bodies and heads of many megabytes, and the memory that they take."""

import hashlib
import os
import socket

import pytest

from client import read_to_end
from conftest import aliases, mode_directives
from made import made

MIB = 1 << 20


def private_kib(pid):
    """What a process has of memory for itself."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("Private_"))


def digest_of(httpd, body):
    answer = httpd.post("/echo", body)
    return answer.status, answer.header("X-Digest")


# -- request-buffer ----------------------------------------------------------------------------------


def test_a_body_of_any_size_is_read_ahead_if_request_buffer_allows_it(daemon):
    httpd = daemon("threads=1 request-buffer=67108864")
    for size in (MIB - 1, MIB + 1, 16 * MIB - 1, 16 * MIB, 16 * MIB + 1, 40 * MIB):
        body = os.urandom(size)
        assert digest_of(httpd, body) == (200, hashlib.sha256(body).hexdigest()), size


@pytest.mark.parametrize("buffer", [0, 4096, 65_536, 65_537])
def test_what_is_not_read_ahead_follows_it(daemon, buffer):
    httpd = daemon(f"threads=1 request-buffer={buffer}")
    for size in (1, 4095, 4096, 4097, 65_535, 65_536, 65_537, 131_072, 300_000):
        body = os.urandom(size)
        assert digest_of(httpd, body) == (200, hashlib.sha256(body).hexdigest()), size


# -- heads -------------------------------------------------------------------------------------------

MANY_FIELDS = "LimitRequestFieldSize 16380\nLimitRequestFields 0"


def fields(count, size):
    return b"".join(b"X-%d: %s\r\n" % (number, b"z" * (size - len(str(number)) - 6)) for number in range(count))


def status_and_body(httpd, path, more):
    with httpd.connect() as sock:
        sock.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n" % (path.encode(), more))
        head, _, body = read_to_end(sock).partition(b"\r\n\r\n")
    return int(head.split()[1]), body


COUNTED = "/evaluate?[k+for+k+in+environ+if+k.startswith('HTTP_X_')].__len__()"


def started(httpd, mode, extra=""):
    return httpd.start(f"{mode_directives(mode)}{MANY_FIELDS}\n{extra}\n{aliases(httpd)}")


def test_every_field_of_a_request_is_a_variable_however_many_there_are(httpd, mode):
    started(httpd, mode)
    assert status_and_body(httpd, COUNTED, fields(70_000, 20)) == (200, b"70000")
    assert status_and_body(httpd, COUNTED, fields(900, 16_000)) == (200, b"900")


def test_a_request_whose_variables_are_too_long_is_told_the_limit(httpd, mode):
    started(httpd, mode)
    httpd.log.expect(r"the request's variables take 17\d+ bytes, and an application gets at most 16777216; "
                     "the client gets 500")
    assert status_and_body(httpd, "/hello", fields(1100, 16_000))[0] == 500
    assert httpd.get("/hello").status == 200


def test_a_response_may_have_any_number_of_headers(httpd, mode):
    httpd.write("many.wsgi", """\
def application(environ, start_response):
    start_response("200 OK", [("X-%d" % n, "v") for n in range(70000)])
    return [b"body"]
""")
    started(httpd, mode, f'WSGIScriptAlias /many "{httpd.root}/many.wsgi"')
    status, body = status_and_body(httpd, "/many", b"")
    assert (status, body) == (200, b"body")


def test_a_response_head_that_is_too_long_is_told_the_limit(httpd, mode):
    httpd.write("long.wsgi", """\
def application(environ, start_response):
    count = int(environ["QUERY_STRING"])
    start_response("200 OK", [("X-%d" % n, "x" * 8000) for n in range(count)])
    return [b"body"]
""")
    started(httpd, mode, f'WSGIScriptAlias /long "{httpd.root}/long.wsgi"')
    httpd.log.expect("ValueError: status and headers are longer than 16777152 bytes, the most that mod_wsgi takes")
    httpd.log.allow("Exception occurred|WSGI0174|Traceback|File|start_response")
    assert status_and_body(httpd, "/long?2500", b"")[0] == 500
    assert status_and_body(httpd, "/long?1800", b"") == (200, b"body")


# -- a length that was only announced ----------------------------------------------------------------

READING = """\
import os

def application(environ, start_response):
    stream, call = environ["wsgi.input"], environ["QUERY_STRING"]
    if not call:
        start_response("200 OK", [])
        return [b"%d" % os.getpid()]
    return [eval(call)]
"""


def peak_kib(pid):
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))


@pytest.mark.parametrize("call", ["stream.read()", "stream.read(1<<30)", "stream.readline()", "stream.readlines()",
                                  "stream.readline(1<<30)", "list(stream)"])
def test_memory_grows_with_what_arrives(httpd, mode, call):
    script = httpd.write("reading.wsgi", READING)
    httpd.start(f"{mode_directives(mode)}LimitRequestBody 0\nWSGIApplicationGroup %{{GLOBAL}}\nWSGIScriptAlias / {script}")
    httpd.log.allow("Exception occurred|Traceback|File|return|request data read error|client")
    pid = int(httpd.get("/").body)
    before = peak_kib(pid)
    sent = 2 * MIB
    with httpd.connect() as sock:
        sock.sendall(b"POST /?%s HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\n" % call.encode() + b"x" * sent)
        sock.shutdown(socket.SHUT_WR)
        httpd.log.wait_for("request data read error")
    assert peak_kib(pid) - before < 64 * 1024


@pytest.mark.parametrize("call", ["stream.read()", "stream.read(40<<20)", "stream.read(1<<30)", "b''.join(stream)"])
@pytest.mark.parametrize("size", [100, MIB, 30 * MIB + 1])
def test_a_large_body_is_read_in_one_call(httpd, mode, call, size):
    script = httpd.write("whole.wsgi", """\
import hashlib

def application(environ, start_response):
    stream = environ["wsgi.input"]
    start_response("200 OK", [])
    data = eval(environ["QUERY_STRING"])
    return [hashlib.sha256(data).hexdigest().encode(), b" ", repr(stream.read()).encode()]
""")
    httpd.start(f"{mode_directives(mode)}WSGIChunkedRequest On\nWSGIApplicationGroup %{{GLOBAL}}\nWSGIScriptAlias / {script}")
    body = os.urandom(size)
    expected = hashlib.sha256(body).hexdigest().encode() + b" b''"
    assert httpd.post(f"/?{call}", body).body == expected
    parts = (body[at:at + 50_000] for at in range(0, size, 50_000))
    assert httpd.post(f"/?{call}", parts, chunked=True, headers={"Transfer-Encoding": "chunked"}).body == expected


# -- memory that is kept -----------------------------------------------------------------------------


@pytest.mark.ours("it is its own memory")
@pytest.mark.mpms("event")
def test_uploads_and_downloads_leave_no_memory_behind(httpd, mode):
    """With many threads in httpd's child: what each of them kept would show."""
    httpd.start(f"{mode_directives(mode)}{aliases(httpd)}")
    body = b"u" * (4 * MIB)

    def round_trip():
        assert httpd.post("/streaming/count", body).body.endswith(b" %d" % len(body))
        # (In embedded mode what the application makes is this child's memory.)
        if mode == "daemon":
            assert len(httpd.get(made(whole=[4 * MIB])).body) == 4 * MIB

    for _ in range(3):
        round_trip()
    pids = [child.pid for child in httpd.children()]
    before = [private_kib(pid) for pid in pids]
    for _ in range(60):
        round_trip()
    grown = [private_kib(pid) - kib for pid, kib in zip(pids, before)]
    assert sum(grown) < 12 * 1024, grown
