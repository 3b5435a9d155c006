"""The orders in which start_response may and may not be called; PATH_INFO names the case."""
import sys

HEADERS = [("Content-Type", "text/plain")]


def raise_inside(start_response, status):
    try:
        raise KeyError("first")
    except KeyError:
        start_response(status, HEADERS, sys.exc_info())


def application(environ, start_response):
    case = environ["PATH_INFO"].strip("/")
    if case == "twice-before-output":
        start_response("200 OK", HEADERS + [("X-First", "1")])
        start_response("201 Created", HEADERS + [("X-Second", "2")])
        return [b"body"]
    if case == "exc-info-before-output":
        start_response("200 OK", HEADERS + [("X-First", "1")])
        raise_inside(start_response, "503 Replaced")
        return [b"replaced"]
    if case == "exc-info-first":
        raise_inside(start_response, "202 Accepted")
        return [b"accepted"]
    if case == "never":
        return [b"body"]
    if case == "late":
        return late(start_response)
    if case == "late-on-empty":
        return late_on_empty(start_response)
    return after_output(case, start_response)


def late(start_response):
    start_response("200 OK", HEADERS)
    yield b"late"


def late_on_empty(start_response):
    yield b""
    start_response("200 OK", HEADERS)
    yield b"after empty"


def after_output(case, start_response):
    start_response("200 OK", HEADERS)(b"begun ")
    try:
        if case == "twice-after-output":
            start_response("201 Created", HEADERS)
        if case == "exc-info-after-output":
            raise_inside(start_response, "500 Too Late")
    except BaseException as error:
        return [f"{type(error).__name__}: {error}".encode()]
    return [b"unknown case"]
