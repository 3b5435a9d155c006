"""A response as the query describes it (a Python literal, a dict).

status, headers: those of the response; parts: a list of bytes, or of sizes, that a generator yields;
whole: such a list, returned as a list; file: the size of a file that is sent by wsgi.file_wrapper;
pause: seconds between the parts; read: whether the body is read first (X-Read tells its length).
"""
import ast
import tempfile
import time
from urllib.parse import unquote_plus

TEXT = ("Content-Type", "text/plain")


def application(environ, start_response):
    given = ast.literal_eval(unquote_plus(environ["QUERY_STRING"]) or "{}")
    headers = list(given.get("headers", [TEXT]))
    if given.get("read"):
        headers.append(("X-Read", str(len(environ["wsgi.input"].read()))))
    headers.append(("X-Method", environ["REQUEST_METHOD"]))
    start_response(given.get("status", "200 OK"), headers)
    if "file" in given:
        return environ["wsgi.file_wrapper"](made(given["file"]))
    if "whole" in given:
        return list(parts(given["whole"], 0))
    return parts(given.get("parts", [b"body"]), given.get("pause", 0))


def made(size):
    file = tempfile.TemporaryFile()
    file.write((b"0123456789abcdef" * (size // 16 + 1))[:size])
    file.seek(0)
    return file


def parts(given, pause):
    for number, part in enumerate(given):
        if pause and number:
            time.sleep(pause)
        yield part if isinstance(part, bytes) else (b"0123456789" * (part // 10 + 1))[:part]
