"""Writes a file when it begins, waits, tells its process: query = file,seconds."""
import os
import time


def application(environ, start_response):
    path, seconds = environ["QUERY_STRING"].split(",")
    with open(path, "w") as mark:
        mark.write(str(os.getpid()))
    time.sleep(float(seconds))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
