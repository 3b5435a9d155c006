"""Sends much at once, then is busy for the seconds of the query before it ends."""
import time


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"x" * 5_000_000
    time.sleep(float(environ["QUERY_STRING"] or "0"))
    yield b"end"
