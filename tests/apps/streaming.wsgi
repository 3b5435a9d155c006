"""Answers a large upload without reading it, or piece by piece; PATH_INFO: ignore, count."""


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/ignore":
        return [b"x" * 65536 for _ in range(64)]
    return count(environ["wsgi.input"])


def count(stream):
    total = 0
    while True:
        block = stream.read(65536)
        if not block:
            break
        total += len(block)
        yield b"."
    yield f" {total}".encode()
