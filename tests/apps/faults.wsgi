"""Faults on request. PATH_INFO: kill, segv, exit, memory, thread, descriptors; MARK in the query is written first."""
import os
import signal
import threading


def application(environ, start_response):
    mark = environ["QUERY_STRING"]
    if mark:
        with open(mark, "w") as file:
            file.write(str(os.getpid()))
    fault = environ["PATH_INFO"].strip("/")
    if fault:
        globals()[fault]()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]


def kill():
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


def segv():
    os.kill(os.getpid(), signal.SIGSEGV)
    signal.pause()


def exit():
    os._exit(7)


def memory():
    """As far as RLIMIT_AS goes; what is there is touched, and given back."""
    bytearray(64 << 30)


def thread():
    def run():
        raise RuntimeError("raised in a thread")
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


def descriptors():
    """Takes all that are left, and keeps them."""
    kept = globals().setdefault("KEPT", [])
    try:
        while True:
            kept.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        kept.pop()
