"""Answers with the status in the query, and a body."""
from urllib.parse import unquote_plus


def application(environ, start_response):
    status = unquote_plus(environ["QUERY_STRING"])
    start_response(status, [("Content-Type", "text/plain"), ("X-Kept", "yes")])
    return [] if status[:3] in ("204", "304") else [b"the body"]
