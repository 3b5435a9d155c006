"""What `make chaos` requests. The body of every response follows from the request's id, so that one that is mixed up or
cut is seen; the id is noted with the process that begins it, before anything else is done.
"""
import hashlib
import os
import time

BEGUN = os.open(os.environ["CHAOS_BEGUN"], os.O_WRONLY | os.O_APPEND)
FILE = os.environ["CHAOS_FILE"]
TEXT = [("Content-Type", "application/octet-stream")]


def blob(name, size):
    """`size` bytes that nothing else than `name` has."""
    seed = hashlib.sha256(name.encode()).hexdigest().encode()
    return (seed * (size // len(seed) + 1))[:size]


def application(environ, start_response):
    name = environ["HTTP_X_ID"]
    os.write(BEGUN, f"{name} {os.getpid()}\n".encode())
    # The request's id stands last, for lines of the error log.
    kind, argument, *_ = [*environ["PATH_INFO"].strip("/").split("/"), ""]
    return globals()[f"do_{kind}"](environ, start_response, name, argument)


def answer(start_response, name, body):
    start_response("200 OK", [*TEXT, ("X-Id", name), ("Content-Length", str(len(body)))])
    return [body]


def do_short(environ, start_response, name, argument):
    return answer(start_response, name, blob(name, 200))


def do_sleep(environ, start_response, name, argument):
    time.sleep(float(argument))
    return answer(start_response, name, blob(name, 200))


def do_big(environ, start_response, name, argument):
    return answer(start_response, name, blob(name, int(argument)))


def do_stream(environ, start_response, name, argument):
    start_response("200 OK", [*TEXT, ("X-Id", name)])
    return stream(blob(name, int(argument)), 10)


def stream(body, parts):
    size = len(body) // parts + 1
    for at in range(0, len(body), size):
        time.sleep(0.05)
        yield body[at:at + size]


def do_upload(environ, start_response, name, argument):
    digest = hashlib.sha256()
    while piece := environ["wsgi.input"].read(65536):
        digest.update(piece)
    return answer(start_response, name, blob(name, 200) + digest.hexdigest().encode())


def do_file(environ, start_response, name, argument):
    file = open(FILE, "rb")
    size = os.fstat(file.fileno()).st_size
    start_response("200 OK", [*TEXT, ("X-Id", name), ("Content-Length", str(size))])
    return environ["wsgi.file_wrapper"](file, 65536)


def do_exit(environ, start_response, name, argument):
    os._exit(9)


def do_abort(environ, start_response, name, argument):
    os.abort()
