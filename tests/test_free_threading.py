"""Free-threaded Python and WSGIFreeThreading: requests side by side, what they share, and the engine that this takes.

What needs a free-threaded Python is left out where there is none with its engine (`make engine`), in CI as well."""

import ast
import os
import re
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

import pythons
from conftest import mode_directives
from processes import wait_until

pytestmark = pytest.mark.ours("the original is built for one Python")
free_threaded = pytest.mark.free_threaded


def told(response):
    assert response.status == 200, (response, response.body)
    return ast.literal_eval(response.text)


def serve(httpd, python, mode="daemon", on="On", group="%{GLOBAL}", **options):
    directives = pythons.directives(python, mode, **options) if mode == "embedded" else (
        mode_directives("daemon", python=python, **options))
    script = httpd.app("free")
    says = f"WSGIFreeThreading {on}\n" if on else ""
    httpd.start(f"{says}{directives}WSGIApplicationGroup {group}\nWSGIScriptAlias / {script}\n")
    return script


def at_once(function, *arguments):
    """Calls it in as many threads, each with one of these arguments."""
    with ThreadPoolExecutor(len(arguments)) as pool:
        return list(pool.map(function, arguments))


@free_threaded
@pytest.mark.check
@pytest.mark.parametrize("group", ["%{GLOBAL}", "named"])
def test_requests_run_side_by_side(httpd, free, mode, group):
    serve(httpd, free, mode, group=group)
    assert told(httpd.get("/state")) == (False, tuple(map(int, pythons.version_of(free)[:-1].split("."))), 0,
                                         "" if group == "%{GLOBAL}" else group)
    # Each computes until the other does, which one that has a GIL would keep.
    assert [told(found) for found in at_once(httpd.get, *["/meet?seconds=20"] * 2)] == [True, True]
    assert httpd.log.matching("Python runs without its GIL")


@free_threaded
@pytest.mark.parametrize("on", ["Off", None])
def test_without_the_directive_the_gil_is_on(httpd, free, mode, on):
    serve(httpd, free, mode, on)
    assert told(httpd.get("/state"))[::2] == (True, 1)
    assert [told(found) for found in at_once(httpd.get, *["/meet?seconds=0.5"] * 2)].count(True) < 2
    assert not httpd.log.matching("Python runs without its GIL")


@free_threaded
def test_a_container_chooses_the_process_groups(httpd, free):
    script = httpd.app("free")
    httpd.start(f"WSGIPythonHome {free.parent.parent}\nWSGIDaemonProcess one threads=2\nWSGIDaemonProcess two threads=2\n"
                "WSGIFreeThreading On\n<WSGIInterpreterOptions process-group=two>\nWSGIFreeThreading Off\n</WSGIInterpreterOptions>\n"
                f"WSGIScriptAlias /one {script} process-group=one application-group=%{{GLOBAL}}\n"
                f"WSGIScriptAlias /two {script} process-group=two application-group=%{{GLOBAL}}\n")
    assert [told(httpd.get(f"/{name}/state"))[0] for name in ("one", "two")] == [False, True]


@free_threaded
@pytest.mark.check
def test_many_requests_share_what_the_application_has(httpd, free, mode):
    serve(httpd, free, mode, threads=8)
    found = at_once(lambda _: [told(httpd.get("/add")) for _ in range(25)], *range(8))
    assert max(number for answers in found for number, _ in answers) == 8 * 25 * 100
    assert max(length for answers in found for _, length in answers) == 8 * 25 * 100


@free_threaded
def test_threads_of_a_request_share_its_body_and_its_response(httpd, free, mode):
    serve(httpd, free, mode)
    for _ in range(5):
        whole, errors = told(httpd.post("/readers", b"0123456789" * 10000))
        assert whole and errors in ([], ["another thread is reading from this wsgi.input"])
        lines = httpd.get("/stream").text.split("\n")
        assert lines.pop() == "end"
        assert sorted(lines) == sorted(name * 99 for name in "abcd" for _ in range(50))


@free_threaded
@pytest.mark.check
def test_what_belongs_to_requests_that_are_over_can_be_called_by_any_thread(httpd, free, mode):
    serve(httpd, free, mode, threads=8)
    httpd.log.allow("SystemError|free.wsgi|another thread|called more than once|Traceback|Exception|RuntimeError|File |OSError")
    told(httpd.get("/hold"))

    def others(number):
        if number < 2:
            return set(told(httpd.get("/haunt")))
        for _ in range(40):
            # The threads of the first two may read from it and begin its response.
            assert httpd.post("/hold", b"x" * 1000).status in (200, 500)
        return set()

    said = set().union(*at_once(others, *range(5)))
    assert "read() called on wsgi.input after request completed" in said
    assert told(httpd.get("/state"))[0] is False
    assert not httpd.log.matching("killed by|internal error")


@free_threaded
def test_streams_uploads_and_files(httpd, free, mode):
    scripts = {name: httpd.app(name) for name in ("echo", "response", "file_wrapper")}
    directives = pythons.directives(free, mode)
    httpd.start(f"WSGIFreeThreading On\nWSGIChunkedRequest On\n{directives}WSGIApplicationGroup %{{GLOBAL}}\n"
                + "".join(f"WSGIScriptAlias /{name} {script}\n" for name, script in scripts.items()))
    body = os.urandom(3 << 20)

    def one(number):
        assert httpd.post("/echo", body).body == body
        assert httpd.post("/echo", [body[:100_000], body[100_000:]], chunked=True).body == body
        assert len(httpd.get("/response/generator").body) > 3
        return httpd.get("/file_wrapper/large").body

    found = at_once(one, *range(4))
    assert len(set(found)) == 1 and len(found[0]) > 1 << 16


@free_threaded
def test_an_exception_is_logged_and_costs_its_request(httpd, free, mode):
    serve(httpd, free, mode)
    httpd.log.expect("ValueError: on purpose")
    httpd.log.allow("WSGI0174|Exception occurred processing|Traceback|File .*free.wsgi|on purpose|raise ValueError|free.wsgi\\]  ")
    assert {found.status for found in at_once(httpd.get, *["/fail"] * 8)} == {500}
    assert told(httpd.get("/state"))[0] is False


@free_threaded
def test_a_request_that_takes_too_long_is_interrupted_and_shows_where_it_was(httpd, free):
    serve(httpd, free, threads=2, request_timeout=1)
    httpd.log.allow(r"\[pid \d+:tid \d+\] (WSGI1\d+: )?(process group|Thread|  )|the client gets 50[24]")
    assert [found.status for found in at_once(httpd.get, *["/stuck"] * 2)] == [504, 504]
    httpd.log.wait_for(r"Thread 0x[0-9a-f]+ \(GET /stuck on request thread \d\), most recent call last")
    httpd.log.wait_for(r'File ".*free.wsgi", line \d+, in stuck')
    wait_until(lambda: httpd.get("/state").status == 200, 30, "it serves again")


@free_threaded
def test_request_timeout_is_raised_in_the_requests_that_are_late_and_in_no_other(httpd, free):
    serve(httpd, free, threads=4, request_timeout=3, interrupt_timeout=60)
    httpd.log.allow(r"\[pid \d+:tid \d+\] (WSGI1\d+: )?(process group|Thread|  )")
    before = told(httpd.get("/pid"))
    for _ in range(3):
        found = at_once(httpd.get, "/stuck", "/stuck", *["/add"] * 10)
        assert [response.status for response in found] == [504] * 2 + [200] * 10
    assert told(httpd.get("/pid")) == before
    assert httpd.log.matching("Request interrupted by RequestTimeout")


@free_threaded
def test_processes_can_be_forked_beside_threads_that_compute(httpd, free, mode):
    serve(httpd, free, mode)
    assert told(httpd.get("/fork")) == ([0, 1, 2, 3, 4], "42")
    assert told(httpd.get("/state"))[0] is False


@free_threaded
def test_a_changed_script_is_loaded_again(httpd, free, mode):
    script = serve(httpd, free, mode)
    assert told(httpd.get("/add")) == (100, 100)
    assert told(httpd.get("/add")) == (200, 200)
    script.write_text(script.read_text() + "\n# changed\n")
    os.utime(script, (1, 1))
    assert told(httpd.get("/add")) == (100, 100)
    httpd.graceful()
    assert httpd.get("/state").status == 200


@free_threaded
def test_metrics_count_requests_of_all_threads(httpd, free, mode):
    script = httpd.write("apps/metrics.wsgi", """
import mod_wsgi
import sys
mod_wsgi.start_recording_metrics()
heard = []
mod_wsgi.subscribe_events(lambda name, **event: heard.append(name))

def application(environ, start_response):
    start_response('200 OK', [])
    if environ['PATH_INFO'] == '/look':
        found = mod_wsgi.request_metrics()
        return [repr((found['request_count'], found['gil_wait_time'] >= 0, heard.count('request_finished'))).encode()]
    return [b'served']
""")
    directives = pythons.directives(free, mode)
    httpd.start(f"WSGIFreeThreading On\n{directives}WSGIApplicationGroup %{{GLOBAL}}\nWSGIScriptAlias / {script}\n")
    assert told(httpd.get("/look"))[2] == 0
    at_once(lambda _: [httpd.get("/") for _ in range(20)], *range(4))
    if mode == "daemon":
        # The request that looked is counted as well, when it is over.
        assert told(httpd.get("/look")) == (81, True, 81)
    else:
        # Other children have served some.
        assert told(httpd.get("/look"))[1]


@free_threaded
def test_it_ends_in_order(httpd, free, mode):
    serve(httpd, free, mode)
    at_once(httpd.get, *["/add"] * 4)
    httpd.stop()
    assert not httpd.log.matching("killed by|did not end")


@free_threaded
def test_a_switch_interval_means_nothing_without_a_gil(httpd, free):
    httpd.log.expect(r'WSGI0203: process group "app": WSGISwitchInterval is left out: there is no GIL to switch')
    httpd.log.expect(r"WSGI0205: WSGISwitchInterval is left out for application group 'named': there is no GIL to switch")
    httpd.log.expect(r'WSGI0204: process group "other": switch-interval is left out: there is no GIL to switch')
    script = httpd.app("free")
    httpd.start(f"WSGIFreeThreading On\nWSGISwitchInterval 0.001\nWSGIPythonHome {free.parent.parent}\n"
                "WSGIDaemonProcess app threads=2\nWSGIDaemonProcess other threads=2 switch-interval=0.002\n"
                "<WSGIInterpreterOptions application-group=named>\nWSGISwitchInterval 0.003\n</WSGIInterpreterOptions>\n"
                f"WSGIScriptAlias /other {script} process-group=other application-group=%{{GLOBAL}}\n"
                f"WSGIScriptAlias /main {script} process-group=app application-group=%{{GLOBAL}}\n"
                f"WSGIScriptAlias /named {script} process-group=app application-group=named\n")
    assert [told(httpd.get(f"/{name}/state"))[0] for name in ("main", "named", "other")] == [False] * 3


@free_threaded
@pytest.mark.parametrize("on", ["On", "Off"])
def test_an_interpreter_has_a_gil_of_its_own_where_there_are_gils(httpd, free, on):
    if on == "On":
        httpd.log.expect(r'WSGI0202: process group "app": WSGIPerInterpreterGIL On is left out: .* runs without a GIL')
    script = httpd.app("own_gil")
    httpd.start(f"WSGIFreeThreading {on}\nWSGIPerInterpreterGIL On\n{mode_directives('daemon', python=free, threads=4)}"
                + "".join(f"WSGIScriptAlias /{name} {script} application-group={name}\n" for name in ("one", "two")))
    assert [httpd.get(f"/{name}/sleep?0").text for name in ("one", "two")] == ["slept"] * 2
    shared = httpd.write("tmp/shared", "\0\0")
    httpd.own(shared)
    # Each ends only if both run at the same moment.
    found = at_once(httpd.get, *(f"/{name}/meet?{shared},{place}" for place, name in enumerate(("one", "two"))))
    shared.unlink()
    assert [response.status for response in found] == [200, 200]
    assert len(httpd.log.matching("WSGI0202")) == (on == "On")


@pytest.mark.check
def test_other_pythons_say_that_the_directive_has_no_effect(httpd, mode):
    httpd.log.expect(r"WSGI0200: .*WSGIFreeThreading On has no effect: /usr/bin/python3 \(.*\) is no free-threaded build of Python")
    httpd.start(f"WSGIFreeThreading On\n{mode_directives(mode)}WSGIScriptAlias / {httpd.app('hello')}\n")
    assert httpd.get("/").status == 200


def test_a_container_for_interpreters_cannot_choose(httpd):
    lines = ("<WSGIInterpreterOptions application-group=one>\nWSGIFreeThreading On\n</WSGIInterpreterOptions>\n"
             f"WSGIDaemonProcess app threads=2\nWSGIProcessGroup app\nWSGIScriptAlias / {httpd.app('hello')}\n")
    said = r"<WSGIInterpreterOptions> at .*: WSGIFreeThreading is ignored beside application-group="
    assert httpd.configtest(lines) and re.search(said, httpd.control_output)
    httpd.log.expect("WSGI0201: " + said)
    httpd.start(lines)
    assert httpd.get("/").status == 200


MISSING = r"{python} is free-threaded, and its engine is missing: {engine} has to lie beside libwsgi_engine.so.*builds it"


@free_threaded
@pytest.mark.check
@pytest.mark.parametrize("fault", ["missing", "other build"])
def test_the_engine_that_is_missing_is_named(httpd, free, mode, fault):
    folder = httpd.root / "module"
    folder.mkdir()
    engine = pythons.engine_of(pythons.version_of(free))
    for name in (httpd.module.name, "libwsgi_engine.so", "wsgi-supervisor"):
        shutil.copy(httpd.module.parent / name, folder)
    if fault == "other build":
        (folder / engine).write_bytes(b"not an engine")
    module, httpd.module = httpd.module, folder / httpd.module.name
    said = MISSING.format(python=re.escape(str(free)), engine=engine)
    directives = pythons.directives(free, mode)
    lines = f"{directives}WSGIScriptAlias / {httpd.app('hello')}\n"
    assert httpd.configtest(lines) and re.search(said, httpd.control_output), httpd.control_output
    httpd.log.expect(said if mode == "embedded" else "WSGI1313: " + said)
    httpd.log.allow("'app'|\"app\"|the engine does not fit|end of its output|embedded|client")
    httpd.start()
    assert httpd.get("/").status == (503 if mode == "daemon" else 500)
    # Where it has been installed meanwhile, a restart finds it.
    shutil.copy(module.parent / engine, folder)
    httpd.restart()
    wait_until(lambda: httpd.get("/").status == 200, 30, "it serves")


@free_threaded
def test_a_killed_process_is_replaced_by_another_free_one(httpd, free):
    serve(httpd, free, threads=2)
    httpd.log.allow("killed by SIGKILL|'app'|\"app\"")
    before = told(httpd.get("/state"))
    process = next(p for p in httpd.processes() if "(wsgi:app)" in p.cmdline)
    os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: httpd.get("/state").status == 200, 30, "it serves again")
    assert told(httpd.get("/state")) == before
