"""Does not end by itself: PATH_INFO tells how. Query: a file to write when it begins, or nothing."""
import ctypes
import socket
import threading
import time

LOCK = threading.Lock()


def spin():
    while True:
        pass


def nap():
    while True:
        time.sleep(0.01)


def stubborn():
    import mod_wsgi

    while True:
        try:
            nap()
        except mod_wsgi.RequestTimeout:
            print("interrupted")


def hold():
    """Keeps the GIL, as a C extension does that waits without letting go of it."""
    ctypes.PyDLL(None).sleep(60)


def wait_for_lock():
    with LOCK, LOCK:
        pass


def keep():
    """Keeps the GIL in a call that no signal ends: it locks what it has locked already."""
    library, mutex, end = ctypes.PyDLL(None), ctypes.create_string_buffer(64), time.time() + 2.5
    library.pthread_mutex_lock(mutex)
    library.pthread_mutex_timedlock(mutex, (ctypes.c_long * 2)(int(end), int(end % 1 * 1e9)))


def receive():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(2.5)
        try:
            ours.recv(1)
        except TimeoutError:
            pass


# Calls of C that end by themselves, some time after the request was interrupted.
ENDS = {"/ends/sleep": lambda: time.sleep(2.5), "/ends/released": lambda: ctypes.CDLL(None).usleep(2_500_000),
        "/ends/kept": keep, "/ends/receive": receive}
WAYS = {**ENDS, "/spin": spin, "/nap": nap, "/stubborn": stubborn, "/hold": hold, "/lock": wait_for_lock,
        "/sleep": lambda: time.sleep(60)}


def stream(way):
    yield b"begun"
    way()


def application(environ, start_response):
    if environ["QUERY_STRING"].startswith("/"):
        with open(environ["QUERY_STRING"], "w") as mark:
            mark.write("begun")
    if environ["PATH_INFO"].startswith("/stream"):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return stream(WAYS[environ["PATH_INFO"].removeprefix("/stream")])
    if environ["PATH_INFO"] == "/body":
        while True:
            environ["wsgi.input"].read(4096)
    WAYS[environ["PATH_INFO"]]()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ended"]
