"""wsgiref.validate around an application that uses all that it checks."""
from wsgiref.validate import validator


def inner(environ, start_response):
    case = environ["PATH_INFO"].strip("/")
    stream = environ["wsgi.input"]
    read = {
        "read": lambda: stream.read(-1), "read-size": lambda: stream.read(7),
        "readline": lambda: stream.readline(), "lines": lambda: b"".join(stream.readlines()),
        "iterate": lambda: b"".join(stream),
    }.get(case, lambda: b"")()
    environ["wsgi.errors"].write("")
    environ["wsgi.errors"].flush()
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    if case == "write":
        write(b"written ")
    return [b"read ", read]


checked = validator(inner)


def application(environ, start_response):
    try:
        yield from run(environ, start_response)
    except AssertionError as error:
        start_response("500 Invalid", [("Content-Type", "text/plain")])
        yield f"AssertionError: {error}".encode()


def run(environ, start_response):
    body = checked(environ, start_response)
    try:
        yield from body
    finally:
        body.close()
