"""Writes its process id to the file MARK, answers once the file RELEASE is there: query = mark,release."""
import os
import time


def application(environ, start_response):
    mark, release = environ["QUERY_STRING"].split(",")
    with open(mark, "w") as file:
        file.write(str(os.getpid()))
    while not os.path.exists(release):
        time.sleep(0.01)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
