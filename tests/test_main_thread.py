"""The main thread of `threading` is the process's, in every interpreter, and never one that executes requests."""

import threading

import pytest

import pythons
from conftest import mode_directives

differs = pytest.mark.ours("the first thread that imports `threading` in a sub-interpreter, a request thread, is the main one")
INTERPRETERS = {"named": "named", "main": "%{GLOBAL}"}


def serve(httpd, group, application_group, preload):
    script = httpd.app("main_thread")
    # Another mount, so that the application is not alone in its process, which would give it the main interpreter.
    httpd.start(f"{group}WSGIRestrictSignal Off\nWSGIScriptAlias /other {httpd.app('hello')}\n"
                f"WSGIScriptAlias / {script} application-group={application_group}\n"
                + (f"WSGIImportScript {script} process-group={preload} application-group={application_group}\n" if preload else ""))


def ask_at_once(httpd, path, count=6):
    told = []
    clients = [threading.Thread(target=lambda: told.append(httpd.json(path))) for _ in range(count)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert len(told) == count
    return told


def check(told):
    assert told["class"] == "_DummyThread" and not told["is_main"]
    assert told["main_is_the_process"] and told["main_lives"] and told["refused"]


@differs
@pytest.mark.mpms("event", "prefork")
@pytest.mark.parametrize("preload", [False, True], ids=["first request", "preloaded"])
@pytest.mark.parametrize("application_group", INTERPRETERS.values(), ids=INTERPRETERS)
@pytest.mark.check
def test_no_request_thread_is_the_main_thread(httpd, mode, application_group, preload):
    where = "%{GLOBAL}" if mode == "embedded" else "app"
    serve(httpd, mode_directives(mode, threads=4), application_group, where if preload else None)
    for told in ask_at_once(httpd, "/"):
        check(told)
    for told in ask_at_once(httpd, "/?run"):
        check(told)
        assert told["run"] == ["42", 0]


@differs
@pytest.mark.parametrize("application_group", INTERPRETERS.values(), ids=INTERPRETERS)
@pytest.mark.parametrize("version", pythons.other_versions() or [None])
def test_the_main_thread_of_other_pythons(httpd, mode, version, application_group):
    """They differ in how the interpreter waits for its threads when it ends, which the error log would tell."""
    other = pythons.other_python(version)
    serve(httpd, pythons.directives(other, mode), application_group, None)
    for told in ask_at_once(httpd, "/") + ask_at_once(httpd, "/?run"):
        check(told)
        assert told["version"] == version
    httpd.stop()
    assert not httpd.log.matching(r"killed|AssertionError|does not end")


@pytest.mark.ours("the original does not wait for the thread")
def test_an_interpreter_ends_as_usual(httpd, mode):
    """Python waits for threads that are no daemons and then runs atexit functions."""
    script = httpd.write("apps/ends.wsgi", """
import atexit, sys, threading, time
def wait():
    threading.main_thread().is_alive()
    time.sleep(0.2)
    print("thread is over", file=sys.stderr)
def application(environ, start_response):
    threading.Thread(target=wait, daemon=False).start()
    start_response("200 OK", [])
    return [b"started"]
atexit.register(lambda: print("atexit function", file=sys.stderr))
""")
    httpd.start(f"{mode_directives(mode)}WSGIScriptAlias /other {httpd.app('hello')}\n"
                f"WSGIScriptAlias / {script} application-group=named\n")
    assert httpd.get("/").body == b"started"
    httpd.log.expect("thread is over")
    httpd.log.expect("atexit function")
    httpd.stop()
    lines = httpd.log.matching("thread is over|atexit function")
    assert ["atexit" in line for line in lines] == [False, True]
