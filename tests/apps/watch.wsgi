"""Tells in a file how a request ended for the application; the query is a dict (a Python literal).

mark: the file, one line for each thing that happened; do: read (the body, in blocks), stream (blocks of
`size` until the client is gone, `pause` seconds between), write (the same by the write callable),
echo (stream while the body is read) or late (read nothing, wait `pause`, answer).
"""
import ast
import os
import time
from urllib.parse import unquote_plus


def application(environ, start_response):
    given = ast.literal_eval(unquote_plus(environ["QUERY_STRING"]))
    tell = Teller(given["mark"])
    tell(f"begun {os.getpid()}")
    return globals()[given["do"]](given, tell, environ["wsgi.input"], start_response)


class Teller:
    def __init__(self, path):
        self.path = path

    def __call__(self, text):
        with open(self.path, "a") as mark:
            mark.write(text + "\n")


class Body:
    """An iterable that tells that it was closed."""

    def __init__(self, parts, tell):
        self.parts, self.tell = parts, tell

    def __iter__(self):
        return self.parts

    def close(self):
        self.parts.close()
        self.tell("closed")


def begin(start_response):
    return start_response("200 OK", [("Content-Type", "application/octet-stream")])


def read(given, tell, stream, start_response):
    total = 0
    try:
        while block := stream.read(65536):
            total += len(block)
            if total == len(block):
                tell("reading")
    except OSError as error:
        tell(f"OSError {error}")
        raise
    tell(f"read {total}")
    begin(start_response)
    return [str(total).encode()]


def stream(given, tell, _, start_response):
    begin(start_response)
    return Body(blocks(given, tell), tell)


def blocks(given, tell):
    try:
        while True:
            yield b"b" * given.get("size", 1000)
            time.sleep(given.get("pause", 0.05))
    except GeneratorExit:
        tell("GeneratorExit")
        raise


def write(given, tell, _, start_response):
    out = begin(start_response)
    try:
        while True:
            out(b"b" * given.get("size", 1000))
            time.sleep(given.get("pause", 0.05))
    except OSError as error:
        tell(f"OSError {error}")
        raise


def echo(given, tell, stream, start_response):
    begin(start_response)
    return Body(echoed(tell, stream), tell)


def echoed(tell, stream):
    try:
        while block := stream.read(65536):
            yield block
    except OSError as error:
        tell(f"OSError {error}")
        raise
    tell("echoed all")


def late(given, tell, _, start_response):
    time.sleep(given["pause"])
    begin(start_response)
    tell("answered")
    return [b"late"]
