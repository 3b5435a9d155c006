"""Answers with the whole environ as JSON: {key: [type, value]}."""
import json


def application(environ, start_response):
    plain = (str, int, float, bool, tuple, type(None))
    shown = {
        key: [type(value).__name__, value if isinstance(value, plain) else repr(value)]
        for key, value in environ.items()
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(shown).encode()]
