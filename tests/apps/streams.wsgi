"""What libraries do with text streams; PATH_INFO names the stream, QUERY_STRING the case."""
import io
import json
import sys


def attempt(call):
    try:
        return call()
    except Exception as error:
        return type(error).__name__


def look(stream):
    names = ("encoding", "errors", "name", "mode", "newlines", "line_buffering", "closed")
    told = {name: attempt(lambda name=name: getattr(stream, name)) for name in names}
    for name in ("isatty", "writable", "readable", "seekable", "flush", "read", "tell"):
        told[name] = attempt(getattr(stream, name))
    told["fileno"] = attempt(stream.fileno)
    told["is"] = [isinstance(stream, kind) for kind in (io.IOBase, io.TextIOBase, io.TextIOWrapper)]
    told["buffer is"] = [isinstance(stream.buffer, kind) for kind in (io.IOBase, io.BufferedIOBase)]
    told["repr"] = repr(stream)
    return told


def with_block(stream):
    with stream as same:
        same.write("in a block\n")
    return stream.closed


def reconfigured(stream):
    stream.reconfigure(line_buffering=True, errors="backslashreplace")
    stream.write("one\npart, ")
    stream.write("rest \udc80\n")
    stream.reconfigure(errors="replace")
    return stream.errors


def rewrapped(stream):
    other = io.TextIOWrapper(stream.detach(), encoding="utf-8", line_buffering=True)
    other.write("by another wrapper ä\n")
    stream.write("by the stream\n")
    return None


def buffered(stream):
    stream.buffer.write(b"bytes\n")
    stream.buffer.writelines([b"more ", bytearray(b"bytes\n")])
    stream.buffer.flush()
    return [stream.buffer.writable(), stream.buffer.readable(), stream.buffer.seekable(), stream.buffer.isatty(),
            attempt(lambda: stream.buffer.read())]


CASES = {"look": look, "with": with_block, "reconfigured": reconfigured, "rewrapped": rewrapped, "buffered": buffered}


def application(environ, start_response):
    streams = {"/errors": environ["wsgi.errors"], "/stdout": sys.stdout, "/stderr": sys.stderr}
    told = CASES[environ["QUERY_STRING"]](streams[environ["PATH_INFO"]])
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(told).encode()]
