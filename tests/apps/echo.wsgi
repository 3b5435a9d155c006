"""Sends the request body back, and its digest."""
import hashlib


def application(environ, start_response):
    body = environ["wsgi.input"].read()
    start_response("200 OK", [
        ("Content-Type", "application/octet-stream"),
        ("X-Digest", hashlib.sha256(body).hexdigest()),
        ("X-Length", environ.get("CONTENT_LENGTH", "none")),
    ])
    return [body]
