"""wsgi.input, start_response and write() in the hands of another thread, or of code that runs in the middle of a call."""

import socket

import pytest

import pythons
from conftest import mode_directives
from processes import wait_until

LATE = '''\
import threading

going_on = threading.Event()
told = []
threads = []


class Slow:
    """A size that is known only when its request is long over."""
    def __index__(self):
        going_on.wait(30)
        return 1 << 16


def call(stream, name):
    try:
        told.append(repr(getattr(stream, name)(Slow())))
    except Exception as error:
        told.append(f"{type(error).__name__}: {error}")


def application(environ, start_response):
    if environ["PATH_INFO"] == "/begin":
        for name in "read", "readline", "readlines":
            threads.append(threading.Thread(target=call, args=(environ["wsgi.input"], name)))
            threads[-1].start()
        body = b"begun"
    else:
        going_on.set()
        for thread in threads:
            thread.join()
        body = "\\n".join(sorted(told)).encode() + b"\\n" + environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body]
'''


def test_a_size_is_known_before_the_request_is_looked_for(httpd, mode):
    """The next request of the same thread stands where the one before it stood."""
    script = httpd.write("late.wsgi", LATE)
    httpd.start(f"{mode_directives(mode, threads=1)}WSGIApplicationGroup %{{GLOBAL}}\nWSGIScriptAlias / {script}")
    assert httpd.post("/begin", b"x" * 3000).body == b"begun"
    secret = b"what another client has sent"
    *told, body = httpd.post("/end", secret).body.split(b"\n")
    assert body == secret
    expected = [f"RuntimeError: {name}() called on wsgi.input after request completed" for name in
                ("read", "readline", "readlines")]
    assert [line.decode() for line in told] == expected


DURING = '''\
import threading


class Answering(type):
    """Types whose name, which a message wants, can be asked for once the response has been started."""
    @property
    def __name__(cls):
        cls.start_response("200 OK", [("X-Started", "by the name")])
        return "Status"


class Status(metaclass=Answering):
    pass


def application(environ, start_response):
    Status.start_response = staticmethod(start_response)
    try:
        start_response(Status(), [])
    except TypeError as error:
        return [str(error).encode()]
'''


@pytest.mark.ours("which code runs during a call is its own")
def test_code_that_runs_during_start_response_may_call_it(httpd, mode):
    script = httpd.write("during.wsgi", DURING)
    httpd.start(f"{mode_directives(mode)}WSGIApplicationGroup %{{GLOBAL}}\nWSGIScriptAlias / {script}")
    answer = httpd.get("/")
    assert (answer.header("X-Started"), answer.body) == ("by the name", b"must be str, not Status")


COLLECTED = '''\
import gc
import threading

collecting, going_on = threading.Event(), threading.Event()
told, threads = [], []


class Circle:
    def __init__(self):
        self.itself = self

    def __del__(self):
        if threading.current_thread() in threads:
            told.append("collected")
            collecting.set()
            going_on.wait(30)


def call(stream):
    gc.disable()
    # Python makes the next list of new memory.
    lists = [[] for _ in range(1000)]
    Circle()
    gc.set_threshold(1)
    gc.enable()
    try:
        told.append(repr(stream.readlines()))
    except Exception as error:
        told.append(type(error).__name__)
    finally:
        collecting.set()


def application(environ, start_response):
    if environ["PATH_INFO"] == "/begin":
        threads.append(threading.Thread(target=call, args=(environ["wsgi.input"],)))
        threads[-1].start()
        collecting.wait(30)
        body = b"begun"
    else:
        going_on.set()
        threads[0].join()
        body = "+".join(told).encode() + b" " + environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body]
'''


def test_a_finaliser_that_runs_during_a_call_may_outlive_the_request(daemon, httpd):
    """Before 3.12 Python collects garbage when a list is made. Later versions do it between two instructions only."""
    script = httpd.write("collected.wsgi", COLLECTED)
    is_early = pythons.version_key(pythons.version_of(pythons.SYSTEM_PYTHON)) < (3, 12)
    python = pythons.SYSTEM_PYTHON if is_early else pythons.other_python("3.11")
    daemon(f"threads=2 python={python}", f"WSGIScriptAlias /collected {script}")
    assert httpd.post("/collected/begin", b"x" * 3000).body == b"begun"
    for number in range(20):
        assert httpd.post("/echo", b"%d" % number * 1000).status == 200
    told, _, body = httpd.post("/collected/end", b"another body").body.partition(b" ")
    assert (told.decode(), body) == ("collected+RuntimeError", b"another body")


READS_ON = """
import pathlib, threading, time

folder = pathlib.Path({folder!r})

def application(environ, start_response):
    stream = environ["wsgi.input"]
    begun = threading.Event()

    def reads():
        begun.set()
        try:
            stream.read(10)
        except Exception:
            pass

    def keeps_the_lock():
        while not (folder / "go").exists():
            time.sleep(0.01)
        (folder / "held").touch()
        end = time.monotonic() + 1
        while time.monotonic() < end:
            pass

    for work in reads, keeps_the_lock:
        threading.Thread(target=work, daemon=True).start()
    begun.wait()
    start_response("200 OK", [("Content-Type", "text/plain")])
    (folder / "returns").touch()
    return [b"ok\\n"]
"""


@pytest.mark.modes("embedded")  # In daemon mode the child has read a small body before the application is called.
def test_a_thread_that_reads_beyond_the_end_of_the_request_holds_nothing(httpd, mode):
    """The reading thread gets the lock of Python only after the request thread has begun to wait for it."""
    folder = httpd.root / "marks"
    folder.mkdir()
    folder.chmod(0o777)
    script = httpd.write("apps/reads_on.wsgi", READS_ON.format(folder=str(folder)))
    httpd.start(f"{mode_directives(mode)}WSGIScriptAlias / {script} application-group=%{{GLOBAL}}")
    with socket.create_connection(("127.0.0.1", httpd.port), 20) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 20\r\n\r\n")
        wait_until((folder / "returns").exists, 20, "the application returns")
        (folder / "go").touch()
        wait_until((folder / "held").exists, 20, "another thread keeps the lock")
        client.sendall(b"x" * 20)
        answer = b""
        while part := client.recv(4096):
            answer += part
    assert answer.startswith(b"HTTP/1.1 200") and b"ok\n" in answer
