"""mod_wsgi.request_metrics() and process_metrics(), in both modes."""

import pytest

from conftest import mode_directives
from load import Background
from processes import wait_until

APP = """
import json, os, time, mod_wsgi

BEFORE = [mod_wsgi.request_metrics(), mod_wsgi.process_metrics()]
STARTED = None if os.environ.get("LATE") else [mod_wsgi.start_recording_metrics() for _ in range(2)]

def application(environ, start_response):
    path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
    told = b"x" * 100
    if path == "/start":
        mod_wsgi.start_recording_metrics()
    if path == "/requests":
        told = json.dumps(mod_wsgi.request_metrics()).encode()
    if path == "/process":
        told = json.dumps(mod_wsgi.process_metrics()).encode()
    if path == "/before":
        told = json.dumps([BEFORE, STARTED]).encode()
    if path == "/busy":
        end = time.thread_time() + 0.05
        while time.thread_time() < end:
            pass
    if path == "/raises":
        raise ValueError("on purpose")
    if path == "/held":
        mark, _, release = query.partition(",")
        open(mark, "w").close()
        while not os.path.exists(release):
            time.sleep(0.01)
    environ["wsgi.input"].read()
    start_response(query.replace("%20", " ") if path == "/status" else "200 OK", [])
    return [told]
"""

PHASES = ["server_time", "queue_time", "daemon_time", "application_time", "request_time", "gil_wait_time",
          "input_read_time", "output_write_time"]
OF_THREADS = {f"request_threads_{name}" for name in (
    "completed", "buckets", "busy_time", "cpu_time", "current_elapsed", "max_duration")}
REQUESTS = {
    "pid", "start_time", "stop_time", "sample_period", "cpu_user_utilization", "cpu_system_utilization",
    "cpu_utilization", "cpu_user_time", "cpu_system_time", "cpu_time", "memory_rss", "memory_max_rss",
    "request_threads_maximum", "request_threads_started", "request_threads_active", "capacity_utilization",
    "request_count", "request_throughput", "input_bytes", "input_reads", "output_bytes", "output_writes",
    "gil_wait_count",
} | {f"status_{digit}xx" for digit in range(1, 6)} | OF_THREADS | {
    phase + end for phase in PHASES for end in ("", "_min_us", "_max_us", "_buckets")}
PROCESS = {
    "pid", "request_count", "request_busy_time", "memory_rss", "memory_max_rss", "cpu_user_time", "cpu_system_time",
    "cpu_time", "restart_time", "current_time", "running_time", "request_threads", "active_requests", "threads",
}


def start(httpd, mode, threads=3, directives="", **env):
    httpd.env.update(env)
    script = httpd.write("apps/metrics.wsgi", APP)
    httpd.start(f"{mode_directives(mode, threads=threads)}{directives}"
                f"WSGIScriptAlias / {script} application-group=%{{GLOBAL}}")


@pytest.mark.mpms("event", "prefork")
@pytest.mark.check
def test_the_keys_are_those_of_mod_wsgi(httpd, mode, mpm):
    # One child, so that all requests come to one process.
    directives = "StartServers 1\nMinSpareServers 1\nMaxSpareServers 1\nMaxRequestWorkers 1\n" if mpm == "prefork" else ""
    start(httpd, mode, directives=directives)
    assert httpd.json("/before") == [[None, None], [None, None]]
    first = httpd.json("/requests")
    assert set(first) == REQUESTS
    threads = 3 if mode == "daemon" else {"event": 25, "prefork": 1}[mpm]
    assert first["request_threads_maximum"] == threads
    assert {len(first[name]) for name in OF_THREADS} == {threads}
    assert {len(first[f"{phase}_buckets"]) for phase in PHASES} == {65}
    found = httpd.json("/process")
    assert set(found) == PROCESS
    assert found["request_threads"] == len(found["threads"]) <= threads
    assert sum(thread["request_count"] for thread in found["threads"]) == 3
    assert (found["request_count"], found["active_requests"]) == (2, 1)
    assert found["restart_time"] < found["current_time"] and found["pid"] == first["pid"]
    assert found["memory_rss"] > 1 << 20 < found["memory_max_rss"]
    assert found["cpu_time"] == pytest.approx(found["cpu_user_time"] + found["cpu_system_time"])


@pytest.mark.mpms("event")
@pytest.mark.check
def test_a_call_tells_what_was_since_the_last_one(httpd, mode, ours):
    start(httpd, mode)
    httpd.log.allow("ValueError|Traceback|metrics.wsgi|raise ")
    httpd.json("/requests")
    httpd.post("/", b"y" * 50_000)
    httpd.get("/busy")
    for status in (301, 404, 503):
        httpd.get(f"/status?{status}%20x")
    httpd.get("/raises")
    found = httpd.json("/requests")
    # The request that has asked before is among them, this one is not.
    assert found["request_count"] == 7
    assert [found[f"status_{digit}xx"] for digit in range(1, 6)] == [0, 3, 1, 1, 2]
    assert found["input_bytes"] == 50_000 and found["input_reads"] >= 1
    assert found["output_bytes"] > 500 and found["output_writes"] >= 6
    assert found["gil_wait_count"] > 0
    assert sum(found["request_threads_completed"]) == 7 == sum(found["application_time_buckets"])
    assert found["request_threads_completed"] == found["request_threads_buckets"]
    assert 1 <= found["request_threads_active"] <= found["request_threads_started"]
    assert max(found["request_threads_cpu_time"]) >= 0.05 <= max(found["request_threads_max_duration"])
    assert found["application_time_max_us"] >= 50_000
    assert found["application_time_min_us"] <= found["application_time"] * 1e6 <= found["application_time_max_us"]
    assert found["request_time"] >= found["application_time"]
    assert sum(found["application_time_buckets"][22:]) >= 1, "50 ms are in the range of 48 ms or a later one"
    assert found["cpu_utilization"] == pytest.approx(found["cpu_user_utilization"] + found["cpu_system_utilization"])
    assert 0 < found["capacity_utilization"] <= 1
    assert found["request_throughput"] == pytest.approx(7 / found["sample_period"])
    if mode == "embedded":
        assert [found[name] for name in ("queue_time", "daemon_time", "queue_time_min_us")] == [None] * 3
        assert sum(found["queue_time_buckets"]) == 0
    else:
        assert found["queue_time"] >= 0 and sum(found["daemon_time_buckets"]) == 7
    if ours:
        assert found["stop_time"] - found["start_time"] == pytest.approx(found["sample_period"], abs=0.01)
    again = httpd.json("/requests")
    assert again["request_count"] == 1
    if ours:
        assert again["start_time"] == found["stop_time"]


@pytest.mark.mpms("event")
def test_a_request_that_runs_is_seen(httpd, mode):
    start(httpd, mode)
    folder = httpd.root / "told"
    folder.mkdir()
    folder.chmod(0o777)
    mark, release = folder / "mark", folder / "release"
    with Background(httpd, f"/held?{mark},{release}") as running:
        wait_until(mark.exists, 20, "it is executed")
        httpd.json("/requests")
        found, process = httpd.json("/requests"), httpd.json("/process")
        release.write_text("")
    assert running.outcomes()[0].result == 200
    # That one, and the one that asks.
    assert sum(seconds > 0 for seconds in found["request_threads_current_elapsed"]) == 2
    assert found["request_count"] == 1 and found["request_threads_active"] >= 2
    assert process["active_requests"] == 2


@pytest.mark.mpms("event")
def test_nothing_is_told_before_it_is_asked_for(httpd, mode, ours):
    start(httpd, mode, LATE="1")
    assert [httpd.json(path) for path in ("/requests", "/process")] == [None, None]
    httpd.get("/start")
    httpd.get("/")
    # The original also counts the request that has switched it on, and for process_metrics() all since its start.
    assert httpd.json("/requests")["request_count"] == (1 if ours else 2)
    assert httpd.json("/process")["request_count"] == (2 if ours else 5)


PUBLIC = {
    "FileWrapper", "LogHandler", "RequestTimeout", "active_requests", "application_group", "event_callbacks",
    "maximum_processes", "process_group", "process_metrics", "request_data", "request_metrics", "server_metrics",
    "shutdown_callbacks", "signal_callbacks", "start_recording_metrics", "subscribe_events", "subscribe_shutdown",
    "subscribe_signals", "threads_per_process", "version",
}


@pytest.mark.mpms("event")
@pytest.mark.check
def test_the_module_has_all_names_and_no_others(httpd, mode):
    code = """
import json, mod_wsgi
def application(environ, start_response):
    start_response("200 OK", [])
    return [json.dumps([name for name in dir(mod_wsgi) if name[0] != "_"]).encode()]
"""
    script = httpd.write("apps/names.wsgi", code)
    httpd.start(f"{mode_directives(mode)}WSGIScriptAlias / {script}")
    assert set(httpd.json("/")) == PUBLIC
