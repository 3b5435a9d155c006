"""Ends its process without a word; PATH_INFO: before, after (some output), length (announced before)."""
import os


def application(environ, start_response):
    case = environ["PATH_INFO"].strip("/")
    if case == "before":
        os._exit(3)
    headers = [("Content-Type", "text/plain")]
    if case == "length":
        headers.append(("Content-Length", "300000"))
    start_response("200 OK", headers)
    yield b"x" * 100_000
    yield b"y" * 100_000
    os._exit(3)
