"""Answers with a header as long as the query says."""


def application(environ, start_response):
    value = "y" * int(environ["QUERY_STRING"])
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Long", value)])
    return [b"body"]
