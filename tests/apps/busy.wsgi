"""Writes a file when it begins, then computes without ever waiting: query = file,seconds."""
import os
import time


def application(environ, start_response):
    path, seconds = environ["QUERY_STRING"].split(",")
    end = time.monotonic() + float(seconds)
    with open(path, "w") as mark:
        mark.write(str(os.getpid()))
    while time.monotonic() < end:
        pass
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
