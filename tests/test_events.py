"""mod_wsgi.subscribe_events: what subscribers hear of requests, in both modes, and mod_wsgi.request_data."""

import json
import re

import pytest

import pythons
from conftest import mode_directives
from load import Background
from processes import wait_until

TIMES = {"request_start", "queue_start", "daemon_start"}
CPU = {"cpu_user_time", "cpu_system_time", "cpu_time"}
OF_ALL = {"name", "pid", "group", "is_main", "request_id", "request_data"}
STARTED = OF_ALL | TIMES | {"thread_id", "daemon_connects", "daemon_restarts", "server_pid", "application_start",
                            "application_object", "callable_object", "request_environ"}
RESPONDING = OF_ALL | {"response_status", "response_headers", "exception_info"}
RAISED = OF_ALL | {"exception_info"}
FINISHED = OF_ALL | TIMES | CPU | {
    "thread_id", "server_pid", "application_start", "application_finish", "application_time", "input_reads",
    "input_length", "input_time", "output_length", "output_writes", "output_time", "status", "gil_wait_time",
    "gil_wait_count",
}


class Site:
    """The server, and what its applications have heard."""

    def __init__(self, httpd):
        self.httpd = httpd
        self.heard = httpd.root / "told"
        self.heard.mkdir()
        self.heard.chmod(0o777)
        self.file = self.heard / "events.txt"

    def start(self, mode, application_group="%{GLOBAL}", **options):
        script = self.httpd.app("events")
        self.httpd.start(f"{mode_directives(mode, **options)}WSGIApplicationGroup {application_group}\n"
                         f"WSGIScriptAlias / {script}")
        return self

    def events(self):
        return [json.loads(line) for line in self.file.read_text().splitlines()] if self.file.exists() else []

    def of(self, path, method="GET", **more):
        """The response, and the events of its request."""
        before = len(self.events())
        response = self.httpd.request(method, path, **more)
        wait_until(lambda: "request_finished" in [it["name"] for it in self.events()[before:]], 10, "it has finished")
        return response, self.events()[before:]


@pytest.fixture
def site(httpd):
    return Site(httpd)


def names(events):
    return [event["name"] for event in events]


@pytest.mark.mpms("event", "prefork")
@pytest.mark.check
def test_a_request_has_three_events(site, mode, ours):
    response, events = site.start(mode).of("/")
    assert response.status == 201
    started, responding, finished = events
    assert names(events) == ["request_started", "response_started", "request_finished"]
    assert set(started) == STARTED | {"added"}
    assert set(responding) == RESPONDING
    # The original leaves out when the application was called, and the processor time if that is 0.
    assert set(finished) | CPU | {"application_start"} == FINISHED
    assert not ours or "application_start" in finished
    assert len({event["request_id"] for event in events}) == 1 and len(started["request_id"]) > 5
    for event in (started, finished):
        assert event["server_pid"] in [child.pid for child in site.httpd.children()]
        assert (event["queue_start"] > 0, event["daemon_start"] > 0) == ((mode == "daemon"),) * 2
        assert isinstance(event["thread_id"], int)
    assert started["daemon_connects"] == (mode == "daemon") and started["daemon_restarts"] == 0
    assert (started["callable_object"], started["application_object"]) == ("application", "function")
    assert started["request_environ"]["PATH_INFO"] == "/"
    assert started["application_start"] == started["request_environ"]["mod_wsgi.application_start"]
    assert responding["response_status"] == "201 Made" and responding["exception_info"] is None
    assert responding["response_headers"] == [["Content-Type", "text/plain"]]
    assert finished["request_start"] <= started["application_start"] <= finished["application_finish"]
    assert finished["application_time"] == pytest.approx(
        finished["application_finish"] - started["application_start"], abs=1e-4)
    assert (finished["status"], finished["output_length"], finished["input_reads"]) == (201, 4, 0)
    assert finished["request_data"] == {"path": "/", "seen": "/"}


@pytest.mark.mpms("event")
def test_what_is_read_and_written_is_measured(site, mode):
    body = b"abcdef\n" + b"x" * 200_000
    response, events = site.start(mode).of("/read", "POST", body=body)
    assert response.text == "written read 200007"
    finished = events[-1]
    assert finished["input_length"] == len(body) and finished["input_reads"] >= 3 and finished["input_time"] >= 0
    assert finished["output_length"] == len(response.body) and finished["output_writes"] == 3
    assert finished["output_time"] > 0
    assert finished["request_data"]["closed"] is True
    second, events = site.of("/")
    assert (events[-1]["input_length"], events[-1]["output_writes"]) == (0, 1)
    assert events[-1]["gil_wait_count"] >= 1 and events[-1]["gil_wait_time"] >= 0


@pytest.mark.mpms("event")
@pytest.mark.check
def test_a_subscriber_changes_the_event_for_those_behind_it_and_the_application(site, mode):
    response, events = site.start(mode).of("/replaced")
    assert (response.status, response.text) == (200, "replaced")
    assert events[0]["added"] == "by the first"
    response, events = site.of("/plain")
    assert (response.text, events[0]["added"]) == ("made", "/plain")
    site.httpd.log.expect("'NoneType' object is not callable")
    site.httpd.log.allow("processing WSGI script|Traceback")
    assert site.of("/refused")[0].status == 500


@pytest.mark.mpms("event")
@pytest.mark.check
def test_a_subscriber_that_fails_is_reported_and_harms_nobody(site, mode):
    site.start(mode)
    log = site.httpd.log
    log.expect("request_started.*")
    log.expect("ValueError: a subscriber fails")
    log.expect("SystemExit: 3")
    log.allow("Traceback|events.wsgi|raise ValueError|sys.exit|callback|_sitebuiltins")
    for path in ("/fails", "/exits"):
        response, events = site.of(path)
        assert (response.status, names(events)) == (201, ["request_started", "response_started", "request_finished"])
        assert "added" not in events[0]


@pytest.mark.ours("the original logs what interrupts the request, and goes on")
@pytest.mark.mpms("event")
def test_a_subscriber_that_does_not_return_is_interrupted_with_its_request(site):
    site.start("daemon", request_timeout=1, interrupt_timeout=20, threads=1)
    site.httpd.log.allow("request-timeout|stacks|Thread|File|time.sleep|in first|in publish|callback|started")
    response, events = site.of("/stuck")
    assert response.status == 504
    assert names(events)[-1] == "request_finished" and events[-1]["status"] == 504
    pid = events[-1]["pid"]
    assert site.of("/")[1][0]["pid"] == pid


@pytest.mark.mpms("event")
@pytest.mark.parametrize("path, status, raised, told", [
    ("/raises", 500, "KeyError('the application fails')", 500),
    ("/silent", 500, "RuntimeError('start_response() must be called before response content is produced')", 500),
    ("/invalid", 500, "ValueError(\"status code must be a 3 digit integer: b'nonsense'\")", 500),
    ("/late", 201, "LookupError('in the middle')", 201),
])
def test_an_exception_is_an_event(site, mode, path, status, raised, told):
    site.start(mode)
    site.httpd.log.expect(raised.split("(")[0])
    site.httpd.log.allow("Traceback|events.wsgi|raise |yield|start_response|processing")
    response, events = site.of(path)
    assert response.status == status
    found = next(event for event in events if event["name"] == "request_exception")
    assert set(found) == RAISED
    kind, value, trace = found["exception_info"]
    assert (kind, value) == ("type", raised) and trace in ("traceback", None)
    assert found["request_data"]["seen"] == path
    assert (events[-1]["name"], events[-1]["status"]) == ("request_finished", told)


@pytest.mark.mpms("event")
@pytest.mark.parametrize("path, statuses, final", [
    ("/again", ["201 Made", "500 Again"], 500),
    ("/twice", ["201 Made", "202 Twice"], 202),
])
def test_each_start_response_is_an_event(site, mode, path, statuses, final):
    response, events = site.start(mode).of(path)
    assert response.status == final == events[-1]["status"]
    responding = [event for event in events if event["name"] == "response_started"]
    assert [event["response_status"] for event in responding] == statuses
    if path == "/again":
        assert responding[1]["exception_info"] == ["type", "OSError('once more')", "traceback"]


@pytest.mark.mpms("event")
@pytest.mark.check
def test_the_list_of_subscribers_may_change_at_any_time(site, mode):
    site.start(mode)
    _, events = site.of("/subscribes")
    # Not for the event that is being told.
    assert names(events) == ["request_started", "response_started", "late response_started", "request_finished",
                             "late request_finished"]
    _, events = site.of("/unsubscribes")
    assert names(events) == ["request_started", "late request_started", "response_started", "request_finished"]


@pytest.mark.mpms("event")
@pytest.mark.check
def test_the_data_of_a_request_is_that_of_the_thread_that_executes_it(site, mode):
    response, _ = site.start(mode).of("/active")
    told = response.json()
    assert told["id"] and told["is_data"] is True and told["count"] == 1
    assert told["thread"] == "no active request for thread"
    second = site.of("/active")[0].json()
    assert second["count"] == 1 and second["id"] != told["id"]


@pytest.mark.mpms("event")
def test_interpreters_hear_of_their_own_requests(httpd, site, mode):
    script = httpd.app("events")
    httpd.start(f"{mode_directives(mode)}"
                f"WSGIScriptAlias /one {script} application-group=one\n"
                f"WSGIScriptAlias /two {script} application-group=two\n")
    for group in ("one", "two", "one"):
        _, events = site.of(f"/{group}")
        assert {event["group"] for event in events} == {group}
        assert len(events) == 3


@pytest.mark.ours("the original is built for one Python")
@pytest.mark.parametrize("version", pythons.other_versions() or [None])
def test_events_in_another_python(site, version):
    site.start("daemon", application_group="named", python=pythons.other_python(version))
    assert site.of("/")[0].status == 201
    response, events = site.of("/active")
    assert response.json()["is_data"] is True
    assert names(events) == ["request_started", "response_started", "request_finished"]


FINALISER = """
import mod_wsgi
SEEN = []

class Asks:
    def __del__(self):
        try:
            mod_wsgi.request_data()
        except RuntimeError as error:
            SEEN.append(str(error))

def application(environ, start_response):
    mod_wsgi.request_data()["asks"] = Asks()
    start_response("200 OK", [])
    return [repr((SEEN, len(mod_wsgi.active_requests))).encode()]
"""


@pytest.mark.mpms("event")
def test_a_finaliser_finds_no_request_when_its_own_is_over(httpd, mode):
    httpd.start(f"{mode_directives(mode)}WSGIApplicationGroup %{{GLOBAL}}\n"
                f"WSGIScriptAlias / {httpd.write('apps/finaliser.wsgi', FINALISER)}")
    assert httpd.get("/").text == "([], 1)"
    assert httpd.get("/").text == "(['no active request for thread'], 1)"


LOOKS = """
import json, os, sys, time, mod_wsgi

def application(environ, start_response):
    mark, _, release = environ["QUERY_STRING"].partition(",")
    if mark:
        mod_wsgi.request_data()["mark"] = "held"
        open(mark, "w").close()
        while not os.path.exists(release):
            time.sleep(0.01)
    start_response("200 OK", [("Content-Type", "application/json")])
    found = mod_wsgi.active_requests
    return [json.dumps({"own": environ["mod_wsgi.request_id"], "found": found}).encode()]
"""


@pytest.mark.mpms("event")
@pytest.mark.check
def test_requests_that_run_are_found_without_any_subscriber(httpd, mode):
    httpd.start(f"{mode_directives(mode)}WSGIApplicationGroup %{{GLOBAL}}\n"
                f"WSGIScriptAlias / {httpd.write('apps/looks.wsgi', LOOKS)}")
    for _ in range(2):
        told = httpd.json("/")
        assert told["found"] == {told["own"]: {}}
    folder = httpd.root / "told"
    folder.mkdir()
    folder.chmod(0o777)
    mark, release = folder / "mark", folder / "release"
    with Background(httpd, f"/?{mark},{release}") as running:
        wait_until(mark.exists, 20, "it is executed")
        told = httpd.json("/")
        release.write_text("")
    assert running.outcomes()[0].result == 200
    held = {id for id, data in told["found"].items() if data == {"mark": "held"}}
    assert len(held) == 1 and set(told["found"]) == held | {told["own"]}
    told = httpd.json("/")
    assert set(told["found"]) == {told["own"]}


NESTED = """
import mod_wsgi

def application(environ, start_response):
    path = environ["PATH_INFO"]
    data = mod_wsgi.request_data()
    data["path"] = path
    start_response("200 OK", [("Content-Type", "text/html")])
    if path == "/inner":
        print("a line of the inner request")
        return [("inner %d" % len(mod_wsgi.active_requests)).encode()]
    def parts():
        yield b'<!--#include virtual="/outer/inner" --> '
        print("a line of the outer request")
        yield ("%s %s %d" % (mod_wsgi.request_data() is data, data["path"], len(mod_wsgi.active_requests))).encode()
    return parts()
"""


@pytest.mark.ours("in the original the outer request has lost its data")
@pytest.mark.mpms("event", "prefork")
def test_a_request_within_a_request_has_data_of_its_own(httpd, mode):
    """mod_include makes a subrequest while the application writes; in embedded mode on the same thread."""
    httpd.log.expect("a line of the outer request")
    httpd.log.expect("a line of the inner request")
    script = httpd.write("apps/nested.wsgi", NESTED)
    httpd.start(f"{mode_directives(mode)}WSGIApplicationGroup %{{GLOBAL}}\nWSGIScriptAlias /outer {script}\n"
                "<Location /outer>\nOptions +Includes\nSetOutputFilter INCLUDES\n</Location>", ["include"])
    response = httpd.get("/outer/outer")
    # Both have one id, so the second has no entry of its own. In daemon mode the first may end meanwhile, with its entry.
    seen = "inner 1 True /outer 1" if mode == "embedded" else "inner [01] True /outer 1"
    assert re.fullmatch(seen, response.text)
    for who in ("outer", "inner"):
        line = httpd.log.wait_for(f"a line of the {who} request")
        assert "[client 127.0.0.1" in line or "[remote" in line
