"""Answers as the query says (a Python literal: status, headers, parts of the body), in parts."""
import ast
from urllib.parse import unquote_plus


def application(environ, start_response):
    environ["wsgi.input"].read(int(environ.get("HTTP_X_READ", 0)))
    status, headers, parts = ast.literal_eval(unquote_plus(environ["QUERY_STRING"]))
    start_response(status, headers)
    return (part for part in parts)
