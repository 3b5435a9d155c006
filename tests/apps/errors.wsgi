"""Writes to wsgi.errors, stdout and stderr; PATH_INFO names where."""
import sys


def application(environ, start_response):
    case = environ["PATH_INFO"].strip("/")
    errors = environ["wsgi.errors"]
    if case == "errors":
        errors.write("a line to wsgi.errors\n")
        errors.writelines(["second line\n", "third line\n"])
        errors.flush()
    elif case == "print":
        print("a printed line, h\u00e9 \u20ac")
    elif case == "stderr":
        print("a line to stderr", file=sys.stderr)
    elif case == "partial":
        errors.write("half ")
        errors.write("and half\n")
    elif case == "percent":
        print("100%s %n %d sure", file=errors)
    elif case == "unfinished":
        errors.write("a line without end")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"done"]
