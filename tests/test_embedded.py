"""Embedded mode: main interpreter and sub-interpreters under every MPM, through restarts."""

import time

import pytest

from load import Background, Load, at_once
from processes import wait_until
from pythons import static_python, venv

pytestmark = pytest.mark.mpms("event", "prefork", "worker")
GROUPS = ("main", "one", "two")


MEETING = """
import os
import tempfile
import time


def application(environ, start_response):
    folder, end = environ['QUERY_STRING'], time.monotonic() + 20
    os.close(tempfile.mkstemp(dir=folder)[0])
    while len(os.listdir(folder)) < 4 and time.monotonic() < end:
        time.sleep(0.01)
    start_response('200 OK', [])
    return [b'all here' if len(os.listdir(folder)) == 4 else b'alone']
"""


def start(httpd):
    script = httpd.app("where")
    sleeping = httpd.app("sleep")
    httpd.start(
        f"WSGIScriptAlias /main {script} application-group=%{{GLOBAL}}\n"
        f"WSGIScriptAlias /one {script} application-group=one\n"
        f"WSGIScriptAlias /two {script} application-group=two\n"
        f"WSGIScriptAlias /sleep {sleeping} application-group=one\n"
        f"WSGIScriptAlias /meeting {httpd.write('apps/meeting.wsgi', MEETING)} application-group=one\n"
    )
    return httpd


@pytest.mark.check
def test_main_and_named_interpreters_serve(httpd):
    start(httpd)
    for _ in range(3):
        told = {group: httpd.json(f"/{group}") for group in GROUPS}
        assert [told[g]["main_interpreter"] for g in GROUPS] == [True, False, False]
        assert [told[g]["application_group"] for g in GROUPS] == ["", "one", "two"]


def test_the_process_is_a_child_of_httpd(httpd):
    start(httpd)
    told = httpd.json("/main")
    assert told["ppid"] == httpd.pid and told["process_group"] == ""


@pytest.mark.check
def test_many_requests_at_once(httpd):
    start(httpd)
    outcomes = at_once(httpd, [f"/{GROUPS[n % 3]}" for n in range(24)])
    assert {o.result for o in outcomes} == {200}


def test_requests_run_side_by_side(httpd):
    """Each waits until all are there, so none of them can come after another."""
    marks = httpd.root / "marks"
    marks.mkdir()
    marks.chmod(0o777)
    start(httpd)
    outcomes = at_once(httpd, [f"/meeting?{marks}"] * 4)
    assert [o.body for o in outcomes] == [b"all here"] * 4


def test_graceful_under_load_fails_no_request(httpd):
    start(httpd)
    with Load(httpd, "/one", clients=4) as load:
        for _ in range(3):
            httpd.graceful()
            load.more(30)
    assert set(load.results()) == {200}, load.results()


def test_restart_brings_new_processes(httpd):
    start(httpd)
    before = httpd.json("/main")["pid"]
    httpd.restart()
    assert httpd.json("/main")["pid"] != before


@pytest.mark.ours("the original waits until httpd kills the child")
@pytest.mark.mpms("prefork")
def test_a_prefork_child_that_is_busy_in_python_ends_with_restart(httpd):
    httpd.start(f"WSGIScriptAlias /busy {httpd.app('busy')}\nWSGIScriptAlias /main {httpd.app('where')}")
    mark = httpd.root / "tmp/busy"
    with Background(httpd, f"/busy?{mark},30") as request:
        wait_until(lambda: mark.exists() and mark.read_text(), 10, "the application computes")
        begun = time.monotonic()
        httpd.restart()
        assert time.monotonic() - begun < 2
        assert request.outcomes()[0].result != 200
    mark.unlink()
    assert httpd.json("/main")["ppid"] == httpd.pid


@pytest.mark.mpms("event")
@pytest.mark.check
def test_python_path_comes_first(httpd):
    (httpd.root / "modules").mkdir()
    httpd.start(f"WSGIPythonPath {httpd.root}/modules\nWSGIScriptAlias / {httpd.app('where')}")
    assert httpd.json("/")["path"].index(f"{httpd.root}/modules") < 2


@pytest.mark.mpms("event")
def test_python_home_is_a_virtual_environment(httpd):
    home = venv("plain")
    httpd.start(f"WSGIPythonHome {home}\nWSGIScriptAlias / {httpd.app('where')}")
    assert httpd.json("/")["prefix"] == str(home)


@pytest.mark.mpms("event")
@pytest.mark.ours("the original is built for one libpython")
@pytest.mark.check
def test_a_python_without_shared_library_is_named_with_the_way_out(httpd):
    home = static_python(httpd.root / "static-python")
    httpd.log.expect(r"static-python.*daemon mode|daemon mode.*static-python")
    httpd.log.allow("(?i)python|daemon mode")
    httpd.start(f"WSGIPythonHome {home}\nWSGIScriptAlias / {httpd.app('hello')}")
    assert httpd.get("/").status in (500, 503)
