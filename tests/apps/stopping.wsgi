"""Writes to the file stopping.txt beside its folder, a JSON line each, what it hears of the process: its end and signals."""
import atexit
import json
import os
import threading
import time

import mod_wsgi

TOLD = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "told", "stopping.txt")


def tell(what, **more):
    main = threading.current_thread() is threading.main_thread()
    line = {"what": what, "pid": os.getpid(), "group": mod_wsgi.application_group, "is_main": main, **more}
    fd = os.open(TOLD, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(fd, json.dumps(line).encode() + b"\n")
    os.close(fd)


def of_events(name, **event):
    if name.startswith("process_"):
        tell("event " + name, **event)
        return {"added": True}


STOPPING = threading.Event()


def of_shutdown(name, **event):
    tell("shutdown " + name, **event)
    STOPPING.set()


def fails(name, **event):
    raise ValueError("a subscriber fails")


def of_signals(name, **event):
    tell("signal " + name, **event)
    if event["signum"] == 12 and os.environ.get("FAILS"):
        raise ValueError("a subscriber fails")


mod_wsgi.subscribe_events(of_events)
mod_wsgi.subscribe_shutdown(of_shutdown)
assert mod_wsgi.subscribe_signals(of_signals) is of_signals
atexit.register(tell, "atexit")


def application(environ, start_response):
    query = environ["QUERY_STRING"]
    if query.startswith("sleep="):
        for _ in range(int(query[6:]) * 50):
            time.sleep(0.02)
    if query == "busy":
        begin = time.process_time()
        while time.process_time() < begin + 3:
            pass
    if query == "until-stopping":
        tell("held")
        STOPPING.wait()
        tell("released")
    if query == "fails":
        mod_wsgi.shutdown_callbacks.insert(0, fails)
    start_response("200 OK", [("Content-Type", "application/json")])
    told = [os.getpid(), len(mod_wsgi.signal_callbacks), len(mod_wsgi.shutdown_callbacks)]
    return [json.dumps(told).encode()]
