"""Reads the body by the calls in the query (a Python list of expressions over `i`)."""
import ast
import json
from urllib.parse import unquote_plus


def application(environ, start_response):
    calls = ast.literal_eval(unquote_plus(environ["QUERY_STRING"]))
    names = {"i": environ["wsgi.input"]}
    told = []
    for call in calls:
        try:
            told.append(repr(eval(call, names)))
        except Exception as error:
            told.append(type(error).__name__)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(told).encode()]
