"""Sends requests to other URLs of the server: to itself, or, from /long, to a page, with a long body to be dropped."""
ended = []


def long_body():
    for _ in range(100):
        yield b"x" * 65536
    ended.append(1)


def application(environ, start_response):
    case = environ["PATH_INFO"]
    if case == "/ended":
        start_response("200 OK", [])
        return [str(len(ended)).encode()]
    start_response("200 OK", [("Location", "/index.html" if case == "/long" else "/circle")])
    return long_body() if case == "/long" else [b""]
