"""Answers with a header as long as the query says, and with a body of two parts as long as it says then."""


def application(environ, start_response):
    header, *size = environ["QUERY_STRING"].split(",")
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Long", "y" * int(header))])
    if size:
        return (b"x" * int(one) for one in size * 2)
    return [b"body"]
