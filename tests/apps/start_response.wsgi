"""Calls start_response with the arguments in the query (a Python literal); tells what it raised."""
import ast
from urllib.parse import unquote_plus


def application(environ, start_response):
    arguments = ast.literal_eval(unquote_plus(environ["QUERY_STRING"]))
    told = "accepted"
    try:
        start_response(*arguments)
    except BaseException as error:
        told = f"{type(error).__name__}: {error}"
        start_response("200 OK", [("Content-Type", "text/plain")])
    return [told.encode()]
