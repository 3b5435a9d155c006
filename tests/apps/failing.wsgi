"""Raises; PATH_INFO says when and what."""
import sys


def application(environ, start_response):
    case = environ["PATH_INFO"].strip("/")
    if case == "before":
        raise ValueError("raised before start_response")
    if case == "system-exit":
        sys.exit(3)
    if case == "keyboard-interrupt":
        raise KeyboardInterrupt("pressed by nobody")
    headers = [("Content-Type", "text/plain")]
    if case == "with-length":
        headers.append(("Content-Length", "1000"))
    start_response("200 OK", headers)
    if case == "after-start-response":
        raise ValueError("raised before any output")
    return body(case)


def body(case):
    if case == "first-item":
        raise ValueError("raised by the first item")
    yield b"x" * 100
    raise ValueError("raised after output")
