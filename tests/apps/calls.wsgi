"""Runs the code in the request's body, which tells by `attempt` what functions return or raise; `kept` outlives it."""
import io
import sys

kept = {}


def application(environ, start_response):
    code = environ["wsgi.input"].read().decode()
    told = []

    def attempt(function, *args, **keywords):
        try:
            told.append(repr(function(*args, **keywords)))
        except BaseException as error:
            told.append(f"{type(error).__name__}: {error}")

    scope = {
        "attempt": attempt, "kept": kept, "environ": environ, "start_response": start_response, "io": io, "sys": sys,
        "input": environ["wsgi.input"], "errors": environ["wsgi.errors"], "FileWrapper": environ["wsgi.file_wrapper"],
    }
    exec(code, scope)
    if not scope.get("written"):
        start_response("200 OK", [("Content-Type", "text/plain")])
    return ["\n".join(told).encode()]
