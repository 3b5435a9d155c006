"""Declares one Content-Length (path) and sends parts of other lengths (query: 3,4)."""


def application(environ, start_response):
    declared = environ["PATH_INFO"].strip("/")
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", declared)])
    for size in filter(None, environ["QUERY_STRING"].split(",")):
        yield b"x" * int(size)
