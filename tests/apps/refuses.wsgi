"""Refuses large bodies by their Content-Length; reads smaller ones, at once or (/late) when the response has begun."""

LIMIT = 4 * 1024 * 1024


def answer(start_response, status, body):
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def late(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"begun\n"
    yield b"%d bytes\n" % len(environ["wsgi.input"].read())


def application(environ, start_response):
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if length > LIMIT:
        return answer(start_response, "413 Content Too Large", b"at most 4 MiB\n")
    if environ["PATH_INFO"] == "/late":
        return late(environ, start_response)
    if environ["PATH_INFO"] == "/lines":
        return answer(start_response, "200 OK", b"%d lines\n" % len(list(environ["wsgi.input"])))
    return answer(start_response, "200 OK", b"%d bytes\n" % len(environ["wsgi.input"].read()))
