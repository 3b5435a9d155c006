"""wsgi.file_wrapper over several kinds of files; PATH_INFO names the kind."""
import io
import os
import tempfile

SIZES = {"small": 10, "large": 3 * 1024 * 1024, "empty": 0}


def made(size):
    file = tempfile.TemporaryFile()
    file.write((b"0123456789abcdef" * (size // 16 + 1))[:size])
    file.seek(0)
    return file


def application(environ, start_response):
    kind = environ["PATH_INFO"].strip("/")
    headers = [("Content-Type", "application/octet-stream")]
    wrapper = environ["wsgi.file_wrapper"]
    if kind == "bytesio":
        body = wrapper(io.BytesIO(b"from memory"), 4)
    elif kind == "seeked":
        file = made(100)
        file.seek(90)
        body = wrapper(file)
    elif kind == "limited":
        headers.append(("Content-Length", "16"))
        body = wrapper(made(100))
    elif kind == "pipe":
        reading, writing = os.pipe()
        os.write(writing, b"through a pipe")
        os.close(writing)
        body = wrapper(os.fdopen(reading, "rb"))
    else:
        body = wrapper(made(SIZES[kind]))
    start_response("200 OK", headers)
    return body
