"""Where the GIL matters: the path says what to do."""
import mmap
import os
import sys
import time


def meet(environ):
    """
    Waits for the same request in another interpreter without ever letting go of the GIL. Under one GIL that one never comes.
    query = file of two bytes, own place in it
    """
    path, place = environ["QUERY_STRING"].split(",")
    place = int(place)
    sys.setswitchinterval(1000)
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 2) as shared:
        shared[place] = 1
        while not shared[1 - place]:
            pass
    return "met"


def evaluate(environ):
    """query = an expression"""
    from urllib.parse import unquote_plus

    return repr(eval(unquote_plus(environ["QUERY_STRING"])))


def spin(environ):
    """Computes until it is interrupted; query = file that says that it has begun."""
    open(environ["QUERY_STRING"], "w").close()
    while True:
        pass


def keep(environ):
    """Keeps the GIL in C code; query = file that says that it has begun."""
    open(environ["QUERY_STRING"], "w").close()
    sum(range(10 ** 11))


def fork(environ):
    child = os.fork()
    if child == 0:
        os._exit(0)
    return str(os.waitpid(child, 0)[1])


def sleep(environ):
    time.sleep(float(environ["QUERY_STRING"]))
    return "slept"


def application(environ, start_response):
    text = globals()[environ["PATH_INFO"].strip("/")](environ)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [text.encode()]
