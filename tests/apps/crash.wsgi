"""Ends its process in the middle of a request; PATH_INFO: before, after (some output)."""
import os
import signal


def application(environ, start_response):
    if environ["PATH_INFO"] == "/before":
        os.kill(os.getpid(), signal.SIGKILL)
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"x" * 100000
    yield b"y" * 100000
    os.kill(os.getpid(), signal.SIGKILL)
