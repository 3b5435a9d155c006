"""Sends a part at a time: query = parts,seconds between."""
import time


def application(environ, start_response):
    parts, pause = environ["QUERY_STRING"].split(",")
    start_response("200 OK", [("Content-Type", "text/plain")])
    for number in range(int(parts)):
        if number:
            time.sleep(float(pause))
        yield b"part %d\n" % number
