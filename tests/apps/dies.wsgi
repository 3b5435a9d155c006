"""Ends in the middle. PATH_INFO: before, after (some output), length (announced before).

Query: how,pause[,size] - how: raise, exit (os._exit), kill (SIGKILL), stay (until somebody kills it);
pause: seconds before it; size: of each of the two parts, bytes. X-Pid names the process.
"""
import os
import signal
import time


def application(environ, start_response):
    how, pause, *size = environ["QUERY_STRING"].split(",")
    size = int(size[0]) if size else 10_000
    case = environ["PATH_INFO"].strip("/")
    if case == "before":
        end(how, float(pause))
    headers = [("Content-Type", "text/plain"), ("X-Pid", str(os.getpid()))]
    if case == "length":
        headers.append(("Content-Length", str(3 * size)))
    start_response("200 OK", headers)
    return body(how, float(pause), size)


def body(how, pause, size):
    yield b"x" * size
    yield b"y" * size
    end(how, pause)


def end(how, pause):
    time.sleep(pause)
    if how == "exit":
        os._exit(3)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    while how == "stay":
        time.sleep(0.01)
    raise ValueError("raised in the middle")
