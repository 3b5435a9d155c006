"""Answers with the value (JSON) of the Python expression in the query; names: environ, os, sys."""
import json
import os
import sys
from urllib.parse import unquote_plus


def application(environ, start_response):
    expression = unquote_plus(environ["QUERY_STRING"])
    value = eval(expression, {"environ": environ, "os": os, "sys": sys})
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(value).encode()]
