"""Answers with the headers in the query (a Python literal, a list of pairs)."""
import ast
from urllib.parse import unquote_plus


def application(environ, start_response):
    headers = ast.literal_eval(unquote_plus(environ["QUERY_STRING"]))
    start_response("200 OK", headers)
    return [b"body"]
