"""Subscribes to everything and writes what it hears to the file events.txt, a JSON line each. The path says what to do."""
import json
import os
import sys
import threading
import time

import mod_wsgi

TOLD = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "told", "events.txt")


def shown(value):
    """What JSON can hold of a value."""
    if isinstance(value, (str, int, float, type(None))):
        return value
    if isinstance(value, (list, tuple)):
        return [shown(item) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: shown(item) for key, item in value.items()}
    if isinstance(value, BaseException):
        return repr(value)
    return type(value).__name__


def tell(name, **event):
    environ = event.pop("request_environ", None)
    if environ is not None:
        event["request_environ"] = {key: environ[key] for key in ("PATH_INFO", "mod_wsgi.application_start") if key in environ}
    thread = threading.current_thread() is threading.main_thread()
    line = json.dumps({"name": name, "pid": os.getpid(), "group": mod_wsgi.application_group, "is_main": thread, **shown(event)})
    fd = os.open(TOLD, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(fd, line.encode() + b"\n")
    os.close(fd)


def first(name, **event):
    """A subscriber that changes the event for those behind it, and fails where it is asked to."""
    if name == "request_started":
        path = event["request_environ"]["PATH_INFO"]
        event["request_data"]["path"] = path
        if path == "/replaced":
            return {"application_object": replacement, "added": "by the first"}
        if path == "/refused":
            return {"application_object": None}
        if path == "/fails":
            raise ValueError("a subscriber fails")
        if path == "/stuck":
            while True:
                time.sleep(0.01)
        if path == "/exits":
            sys.exit(3)
        if path == "/subscribes":
            mod_wsgi.event_callbacks.append(late)
        if path == "/unsubscribes":
            mod_wsgi.event_callbacks.remove(late)
        return {"added": path}


def late(name, **event):
    tell("late " + name)


class Closing:
    def __init__(self, parts):
        self.parts = parts

    def __iter__(self):
        return iter(self.parts)

    def close(self):
        mod_wsgi.request_data()["closed"] = True


def replacement(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"replaced"]


def application(environ, start_response):
    path = environ["PATH_INFO"]
    data = mod_wsgi.request_data()
    data["seen"] = path
    if path == "/raises":
        raise KeyError("the application fails")
    if path == "/silent":
        return []
    if path == "/invalid":
        start_response("nonsense", [])
    write = start_response("201 Made", [("Content-Type", "text/plain")])
    if path == "/again":
        try:
            raise OSError("once more")
        except OSError:
            start_response("500 Again", [("Content-Type", "text/plain")], sys.exc_info())
    if path == "/twice":
        start_response("202 Twice", [("Content-Type", "text/plain")])
    if path == "/late":
        def parts():
            yield b"some"
            raise LookupError("in the middle")
        return parts()
    if path == "/read":
        body = environ["wsgi.input"].read(3) + environ["wsgi.input"].readline() + environ["wsgi.input"].read()
        write(b"written ")
        return Closing([b"read ", str(len(body)).encode()])
    if path == "/active":
        request = environ.get("mod_wsgi.request_id")
        told = {"id": request, "is_data": mod_wsgi.active_requests.get(request) is data, "count": len(mod_wsgi.active_requests),
                "thread": in_another_thread()}
        return [json.dumps(told).encode()]
    return [b"made"]


def without_a_request():
    try:
        mod_wsgi.request_data()
    except RuntimeError as error:
        return str(error)


def in_another_thread():
    answers = []
    thread = threading.Thread(target=lambda: answers.append(without_a_request()))
    thread.start()
    thread.join()
    return answers[0]


mod_wsgi.subscribe_events(first)
assert mod_wsgi.subscribe_events(tell) is tell
mod_wsgi.subscribe_shutdown(tell)
