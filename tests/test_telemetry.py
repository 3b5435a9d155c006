"""Telemetry: what processes report to another program (WSGITelemetryService), in both modes, and that program itself."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

import pythons
from conftest import mode_directives
from httpd import IS_ROOT, Ports
from load import Background
from processes import process, wait_until
from telemetry import FIELDS, PHASES, Receiver

APP = """
import ctypes, gc, json, os, time, mod_wsgi

if os.environ.get("SLOW_TO_FAIL"):
    with open(os.environ["SLOW_TO_FAIL"]):
        pass
    raise ValueError("on purpose")

def application(environ, start_response):
    path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
    told = b"x" * 100
    if path == "/metrics":
        mod_wsgi.start_recording_metrics()
        told = json.dumps([mod_wsgi.request_metrics(), mod_wsgi.process_metrics()]).encode()
    if path == "/collect":
        gc.collect()
    if path.startswith("/held"):
        # Until somebody writes to the pipe.
        with open(query):
            pass
    if path == "/kept":
        # The same, with the GIL.
        ctypes.PyDLL(None).open(query.encode(), 0)
    if path == "/fork":
        pid = os.fork()
        if not pid:
            gc.collect()
            with open(query):
                pass
            os._exit(0)
        told = str(pid).encode()
    environ["wsgi.input"].read()
    start_response(query.replace("%20", " ") if path == "/status" else "200 OK", [])
    return [told]
"""

IDENTITY = {"hostname", "process_group"}
WHOLE = IDENTITY | {"mod_wsgi_version", "python_version", "apache_version", "mpm_name", "parent_pid", "switch_interval"}
OF_QUEUE = {f"{phase}_{end}" for phase in ("queue", "daemon") for end in ("time", "min", "max", "buckets")}
REQUEST = WHOLE | {
    "sample_period", "telemetry_interval", "slow_requests_threshold", "request_count", "request_throughput",
    "capacity_utilization", "cpu_user_utilization", "cpu_system_utilization", "cpu_utilization", "memory_rss",
    "memory_max_rss", "request_threads_maximum", "request_threads_started", "request_threads_active", "input_bytes",
    "input_reads", "output_bytes", "output_writes", "slot_completed", "slot_busy_time", "slot_cpu_time",
    "slot_current_elapsed", "slot_max_duration",
} | {f"status_{digit}xx" for digit in range(1, 6)} | {
    f"{phase}_{end}" for phase in PHASES for end in ("time", "min", "max", "buckets")}
# Of a script at /, without a User-Agent.
SLOW = {name for number, name in FIELDS.items() if 200 <= number < 300} - {"user_agent", "script_name"}
SNAPSHOT = {name for number, name in FIELDS.items() if 300 <= number < 320}
EVENT = {name for number, name in FIELDS.items() if 320 <= number}
# Types by number, where it is no unsigned integer.
BYTES = {1, 2, 3, 4, 5, 6, 204, *range(210, 218), 130}
NUMBERS = {*range(10, 14), 21, 22, *range(30, 33), *range(60, 90), 131, 201, 202, *range(220, 225), 234, 235, 250, 251, 320, 321}
INTEGERS, ARRAYS = {*range(90, 98), 110}, set(range(111, 115))


def type_of(number):
    kinds = ((BYTES, 4), (NUMBERS, 2), (INTEGERS, 5), (ARRAYS, 6))
    return next((kind for numbers, kind in kinds if number in numbers), 1)


@pytest.fixture
def folder(httpd):
    """Where sockets and pipes are that the server's user may use."""
    path = httpd.root / "told"
    path.mkdir()
    path.chmod(0o777)
    return path


def pipe(folder, name):
    path = folder / name
    os.mkfifo(path)
    path.chmod(0o666)
    return path


def release(path):
    path.open("w").close()


def start(httpd, mode, target, directives="", application=APP, **options):
    """One process that reports, but for httpd's other children of the original."""
    script = httpd.write("apps/telemetry.wsgi", application)
    restricted = "WSGIRestrictEmbedded On\n" if mode == "daemon" else ""
    httpd.start(f"{restricted}{mode_directives(mode, **{'threads': 3, **options})}"
                f"WSGITelemetryService unix:{target} interval=0.5\n{directives}"
                f"WSGIScriptAlias / {script} application-group=%{{GLOBAL}}")


def of_mode(mode, names, only_daemons):
    return names - only_daemons if mode == "embedded" else names


def total(reports, name):
    return sum(report[name] for report in reports)


@pytest.mark.mpms("event")
@pytest.mark.check
def test_a_process_reports_from_its_start_to_its_end(httpd, mode, folder):
    with Receiver(folder / "socket") as receiver:
        start(httpd, mode, folder / "socket")
        httpd.post("/", b"y" * 50_000)
        for status in (301, 404, 503):
            httpd.get(f"/status?{status}%20x")
        httpd.get("/collect")
        wait_until(lambda: total(receiver.of("REQUEST"), "request_count") == 5, 20, "all requests are reported")
        receiver.wait_for("GC_EVENT", event_generation=2)
        httpd.stop()
        receiver.wait_for("STOPPED")
    reports = receiver.reports
    assert len({report.pid for report in reports}) == 1
    assert [report.seq for report in reports] == list(range(1, len(reports) + 1))
    assert reports[0].kind == "STARTED" and reports[-1].kind == "STOPPED"
    for report in reports:
        assert {number: kind for number, kind in report.types.items() if kind != type_of(number)} == {}
        assert abs(report.stamp - time.time()) < 120
    started = reports[0].fields
    assert set(started) == of_mode(mode, WHOLE, {"process_group"})
    assert (started["mpm_name"], started["hostname"]) == ("event", socket.gethostname())
    assert started["apache_version"].startswith("Apache/2.4.") and started["python_version"].startswith("3.")
    assert started["parent_pid"] in {p for line in httpd.log.matching("resuming normal operations")
                                     for p in [int(line.partition("[pid ")[2].partition(":")[0])]}
    check_figures(receiver, mode)
    check_collections(receiver)
    check_end(receiver, mode)


def check_figures(receiver, mode):
    reports = receiver.of("REQUEST")
    busy = [report for report in reports if report["request_count"]]
    idle = [report for report in reports if not report["request_count"]]
    extremes = {f"{phase}_{end}" for phase in PHASES for end in ("min", "max")}
    assert set(busy[0].fields) == of_mode(mode, REQUEST, OF_QUEUE | {"process_group"})
    assert set(idle[-1].fields) == of_mode(mode, REQUEST, {"process_group"}) - extremes - OF_QUEUE
    assert [total(reports, f"status_{digit}xx") for digit in range(1, 6)] == [0, 2, 1, 1, 1]
    assert total(reports, "input_bytes") == 50_000 and total(reports, "input_reads") >= 1
    assert total(reports, "output_bytes") >= 500 and total(reports, "output_writes") >= 5
    threads = 3 if mode == "daemon" else 25
    for report in busy:
        assert report["request_threads_maximum"] == threads == len(report["slot_max_duration"])
        assert sum(report["slot_completed"]) == report["request_count"] == sum(report["application_buckets"])
        assert len(report["request_buckets"]) == 65
        assert report["application_min"] <= report["application_time"] <= report["application_max"]
        assert report["request_throughput"] == pytest.approx(report["request_count"] / report["sample_period"])
        assert report["memory_rss"] > 1 << 20 < report["memory_max_rss"]
        assert (report["telemetry_interval"], report["slow_requests_threshold"]) == (0.5, 0)


def check_collections(receiver):
    snapshot = receiver.of("GC_SNAPSHOT")[-1]
    assert set(snapshot.fields) == SNAPSHOT
    assert (snapshot["gc_enabled"], snapshot["gc_dropped"]) == (1, 0)
    assert snapshot["gc_threshold_0"] > 0 and snapshot["gc_collections_2"] >= 1
    event = receiver.of("GC_EVENT", event_generation=2)[0]
    assert set(event.fields) == EVENT
    assert abs(event["event_start"] - event.stamp) < 60 and 0 < event["event_duration"] < 60


def check_end(receiver, mode):
    stopping, stopped = receiver.of("STOPPING")[0], receiver.of("STOPPED")[0]
    reason = {"shutdown_reason"} if mode == "daemon" else set()
    identity = of_mode(mode, IDENTITY, {"process_group"})
    assert set(stopping.fields) == identity | reason | {"active_at_decision"}
    assert set(stopped.fields) == identity | reason | {"uptime", "lifetime_count", "active_at_exit", "graceful_drain"}
    if mode == "daemon":
        assert stopping["shutdown_reason"] == stopped["shutdown_reason"] == "shutdown_signal"
    assert (stopped["lifetime_count"], stopped["active_at_exit"], stopped["graceful_drain"]) == (5, 0, 1)
    assert stopped["uptime"] > 0


@pytest.mark.mpms("event", "prefork")
@pytest.mark.check
def test_a_slow_request_is_reported_while_it_runs_and_when_it_has_ended(httpd, mode, mpm, folder, ours):
    if not ours and (mode, mpm) == ("embedded", "prefork"):
        pytest.skip("the original reports none where a child has one thread")
    gate, long_path = pipe(folder, "gate"), "/held/" + "p" * 600
    agent = {"User-Agent": "tester/1.0", "Host": "example.test:99"}
    with Receiver(folder / "socket") as receiver:
        start(httpd, mode, folder / "socket", "WSGISlowRequests 0.2\nWSGITelemetryOptions +CaptureUserAgent\n")
        with Background(httpd, "/held?" + str(gate)):
            running = receiver.wait_for("SLOW_REQUEST", state=0)
            later = receiver.wait_for("SLOW_REQUEST", lambda report: report["duration"] > running["duration"], state=0)
            release(gate)
        over = receiver.wait_for("SLOW_REQUEST", state=1)
        assert set(running.fields) == set(over.fields) == SLOW
        assert running["log_id"] == later["log_id"] == over["log_id"] != ""
        assert [over[name] for name in ("method", "scheme", "host", "path_info", "protocol", "peer_ip")] \
            == ["GET", "http", "127.0.0.1", "/held", "HTTP/1.1", "127.0.0.1"]
        assert 0 < running["phase_application"] < over["phase_application"] <= over["duration"] + 0.1
        assert (running["status"], over["status"], over["io_232"], over["io_233"]) == (0, 200, 100, 1)
        assert (running["active_at_start"], running["active_at_completion"]) == (1, 0)
        assert over["active_at_completion"] == 1 and over["gil_wait_count"] >= 1
        assert (over["thread"] == 0) == (mode == "embedded" and mpm == "prefork")
        assert process(over["server_pid"]) and (over["server_pid"] == over.pid) == (mode == "embedded")
        assert (over["phase_queue"] > 0) == (mode == "daemon")
        other = pipe(folder, "other")
        with Background(Named(httpd, agent), f"{long_path}?{other}"):
            wait_until(lambda: receiver.of("SLOW_REQUEST", user_agent="tester/1.0"), 20, "its User-Agent")
            release(other)
        found = receiver.wait_for("SLOW_REQUEST", state=1, user_agent="tester/1.0")
        assert (found["host"], found["path_info"]) == ("example.test", long_path[:508] + "...")


class Named:
    """A client that sends further headers."""

    def __init__(self, client, headers):
        self.client, self.headers = client, headers

    def get(self, path):
        return self.client.get(path, headers=self.headers)


@pytest.mark.mpms("event")
def test_a_script_that_takes_long_to_load_is_a_slow_request(httpd, mode, folder, ours):
    gate = pipe(folder, "gate")
    httpd.log.allow("ValueError|Traceback|telemetry.wsgi|raise |on purpose|exec|File|WSGI0")
    # The script is not the only one of its group, so a request loads it.
    other = httpd.write("apps/other.wsgi", APP)
    with Receiver(folder / "socket") as receiver:
        httpd.env["SLOW_TO_FAIL"] = str(gate)
        start(httpd, mode, folder / "socket", f"WSGISlowRequests 0.2\nWSGIScriptAlias /other {other}\n")
        with Background(httpd, "/held") as slow:
            found = receiver.wait_for("SLOW_REQUEST", state=0)
            assert (found["phase_application"], found["path_info"]) == (0, "/held")
            release(gate)
        assert slow.outcomes()[0].result == 500
        assert receiver.wait_for("SLOW_REQUEST", state=1)["phase_application"] == 0
        wait_until(lambda: total(receiver.of("REQUEST"), "request_count") == 1, 20, "it is counted")
        # The original counts it with no status.
        assert total(receiver.of("REQUEST"), "status_5xx") == (1 if ours else 0)


@pytest.mark.mpms("event")
def test_user_agents_are_reported_only_if_that_is_asked_for(httpd, folder):
    gate = pipe(folder, "gate")
    with Receiver(folder / "socket") as receiver:
        start(httpd, "daemon", folder / "socket", "WSGISlowRequests 0.2\nWSGITelemetryOptions All\nWSGITelemetryOptions None\n")
        with Background(Named(httpd, {"User-Agent": "tester/1.0"}), f"/held?{gate}"):
            assert "user_agent" not in receiver.wait_for("SLOW_REQUEST", state=0)
            release(gate)


@pytest.mark.mpms("event")
@pytest.mark.check
def test_metrics_belong_to_telemetry_where_it_is_on(httpd, mode, folder):
    start(httpd, mode, folder / "socket")
    assert [httpd.json("/metrics"), httpd.json("/metrics")] == [[None, None]] * 2


@pytest.mark.mpms("event")
def test_the_program_may_come_and_go(httpd, mode, folder):
    start(httpd, mode, folder / "socket")
    pids = set()
    for _ in range(2):
        assert httpd.get("/").status == 200
        with Receiver(folder / "socket") as receiver:
            pids.add(receiver.wait_for("REQUEST").pid)
            httpd.get("/")
            receiver.wait_for("REQUEST", lambda report: report["request_count"] == 1)
    assert len(pids) == 1


@pytest.mark.mpms("event")
def test_a_program_that_receives_nothing_holds_up_nobody(httpd, mode, folder, ours):
    if not ours:
        # The original waits for it, and httpd has to kill its children.
        httpd.log.allow("AH00046: child process .* still did not exit")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as full:
        full.bind(str(folder / "socket"))
        (folder / "socket").chmod(0o666)
        start(httpd, mode, folder / "socket", "WSGISlowRequests 0.0001\n")
        ended = time.monotonic() + 3
        while time.monotonic() < ended:
            assert httpd.get("/").status == 200
        httpd.stop()


@pytest.mark.ours("the original tells nobody")
@pytest.mark.skipif(not IS_ROOT, reason="only root can keep the server's user out")
@pytest.mark.mpms("event")
@pytest.mark.check
def test_a_socket_that_lets_nobody_in_is_told_once(httpd, mode, folder):
    who = 'process group "app"' if mode == "daemon" else "embedded mode"
    line = f"{who}: telemetry to {folder}/socket: process .* may not write to the socket .permission denied for uid"
    httpd.log.expect(line)
    with Receiver(folder / "socket", 0o600) as receiver:
        start(httpd, mode, folder / "socket")
        httpd.get("/")
        httpd.log.wait_for(line)
        (folder / "socket").chmod(0o666)
        receiver.wait_for("REQUEST")
    assert len(httpd.log.matching(line)) == 1


@pytest.mark.mpms("event")
@pytest.mark.check
def test_a_path_that_is_too_long_is_told_and_the_server_serves(httpd, mode, ours):
    target = "/" + "x" * 120
    line = f"telemetry to {target}: the socket cannot be opened: .*; this process reports nothing" if ours else "WSGI0132"
    httpd.log.expect(line)
    start(httpd, mode, target)
    assert httpd.get("/").status == 200
    httpd.log.wait_for(line)
    assert len(httpd.log.matching(line)) == 1


@pytest.mark.mpms("event")
def test_a_process_that_the_application_forks_reports_nothing(httpd, mode, folder, ours):
    gate = pipe(folder, "gate")
    with Receiver(folder / "socket") as receiver:
        start(httpd, mode, folder / "socket")
        forked = int(httpd.get(f"/fork?{gate}").text)
        seen = len(receiver.of("REQUEST"))
        wait_until(lambda: len(receiver.of("REQUEST")) >= seen + 3, 20, "three more reports")
        assert process(forked) and forked not in {report.pid for report in receiver.reports}
        if ours and mode == "daemon":
            files = [os.readlink(file) for file in Path(f"/proc/{forked}/fd").iterdir()]
            assert not [file for file in files if file.startswith("socket:")]
        release(gate)
        wait_until(lambda: not process(forked), 20, "it ends")


@pytest.mark.ours("the original reports when it has got the GIL")
@pytest.mark.mpms("event")
def test_reports_come_while_the_gil_is_kept(httpd, mode, folder):
    gate = pipe(folder, "gate")
    with Receiver(folder / "socket") as receiver:
        start(httpd, mode, folder / "socket", "WSGISlowRequests 0.2\n")
        httpd.get("/")
        with Background(httpd, f"/kept?{gate}"):
            first = receiver.wait_for("SLOW_REQUEST", state=0)
            receiver.wait_for("SLOW_REQUEST", lambda report: report.stamp > first.stamp + 0.9, state=0)
            assert max(receiver.of("REQUEST")[-1]["slot_current_elapsed"]) > 0.5
            release(gate)


@pytest.mark.mpms("event")
def test_a_process_that_is_cut_off_says_so(httpd, folder, ours):
    httpd.log.allow("WSGI0147|cut off|did not end|shutdown-timeout|lost|held|is gone|502")
    gate = pipe(folder, "gate")
    with Receiver(folder / "socket") as receiver:
        start(httpd, "daemon", folder / "socket", shutdown_timeout=1)
        with Background(httpd, f"/held?{gate}"):
            pid = receiver.wait_for("REQUEST", lambda report: any(report["slot_current_elapsed"])).pid
            os.kill(pid, signal.SIGTERM)
            stopping = receiver.wait_for("STOPPING")
            stopped = receiver.wait_for("STOPPED")
    assert (stopping.pid, stopping["active_at_decision"], stopped["active_at_exit"]) == (pid, 1, 1)
    assert (stopped["graceful_drain"], stopped["shutdown_reason"]) == (0, "shutdown_signal")


@pytest.mark.mpms("event")
def test_the_end_of_a_process_has_its_reason(httpd, folder):
    with Receiver(folder / "socket") as receiver:
        start(httpd, "daemon", folder / "socket", maximum_requests=2)
        for _ in range(2):
            httpd.get("/")
        stopped = receiver.wait_for("STOPPED")
        assert (stopped["shutdown_reason"], stopped["lifetime_count"]) == ("maximum_requests", 2)
        wait_until(lambda: len(receiver.of("STARTED")) == 2, 20, "another process")


@pytest.mark.mpms("event")
def test_a_process_without_request_threads_reports_nothing(httpd, folder):
    mark = folder / "mark"
    script = httpd.write("apps/service.py", f"import time\nopen({str(mark)!r}, 'w').close()\ntime.sleep(60)\n")
    service = (f"WSGIDaemonProcess service threads=0\n"
               f"WSGIImportScript {script} process-group=service application-group=%{{GLOBAL}}\n")
    with Receiver(folder / "socket") as receiver:
        start(httpd, "daemon", folder / "socket", service)
        wait_until(mark.exists, 20, "it runs")
        seen = len(receiver.reports)
        wait_until(lambda: len(receiver.reports) >= seen + 6, 20, "the other one reports")
        assert {report.fields.get("process_group", "app") for report in receiver.reports} == {"app"}


@pytest.mark.parametrize("version", pythons.other_versions() or [None])
@pytest.mark.ours("the original has one Python")
@pytest.mark.mpms("event")
def test_reports_of_another_python(httpd, mode, folder, version):
    python = pythons.other_python(version)
    with Receiver(folder / "socket") as receiver:
        script = httpd.write("apps/telemetry.wsgi", APP)
        # In daemon mode the application has an interpreter of its own.
        group = "application-group=%{GLOBAL}" if mode == "embedded" else "application-group=named"
        httpd.start(f"{pythons.directives(python, mode)}WSGITelemetryService unix:{folder}/socket interval=0.5\n"
                    f"WSGIScriptAlias / {script} {group}\nWSGIScriptAlias /other {script} application-group=other")
        httpd.get("/collect")
        receiver.wait_for("REQUEST", lambda report: report["request_count"] == 1)
        assert receiver.of("STARTED")[0]["python_version"].startswith(version)
        snapshot = receiver.wait_for("GC_SNAPSHOT", lambda report: mode == "daemon" or report["gc_collections_2"])
        assert set(snapshot.fields) == SNAPSHOT and snapshot["gc_threshold_0"] > 0
        httpd.stop()
        assert receiver.wait_for("STOPPED")["lifetime_count"] == 1


# -- the program ------------------------------------------------------------------------------------

PROGRAM = Path(sys.executable).parent / "mod_wsgi-telemetry"
GUIDE = (Path(__file__).resolve().parent.parent / "docs/guide.md").read_text()


def example():
    """The directives of the guide's section."""
    section = GUIDE.partition("\n## Telemetry\n")[2].partition("\n## ")[0]
    return section.partition("```apache\n")[2].partition("```")[0]


class Program:
    """mod_wsgi-telemetry, which receives at a socket and shows what it has received at a port."""

    def __init__(self, path):
        self.port = Ports.free()
        arguments = ["--listen", f"unix:{path}", "--socket-mode", "0666", "--http-port", str(self.port)]
        self.process = subprocess.Popen([PROGRAM, "serve", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def state(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/state", timeout=20) as answer:
            return json.load(answer)

    def view(self, name):
        """What `top` shows once; it needs a moment to get something."""
        command = [PROGRAM, "top", "--once", "--once-timeout", "20", "--no-color", "--view", name,
                   "--url", f"ws://127.0.0.1:{self.port}/ws"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, (done.stdout, done.stderr)
        return done.stdout

    def is_there(self):
        try:
            return self.state()
        except OSError:
            return None

    def __enter__(self):
        wait_until(self.is_there, 30, "the program serves")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(20)


@pytest.mark.ours("with a named interpreter the program shows nothing of the original")
@pytest.mark.mpms("event")
@pytest.mark.check
def test_the_program_shows_the_server(httpd, folder):
    gate = pipe(folder, "gate")
    directives = example().replace("/run/mod_wsgi-telemetry/socket", f"{folder}/socket").replace("Requests 2", "Requests 0.2")
    assert f"unix:{folder}/socket interval=1\nWSGISlowRequests 0.2" in directives
    with Program(folder / "socket") as program:
        script = httpd.write("apps/telemetry.wsgi", APP)
        httpd.start(f"WSGIRestrictEmbedded On\n{mode_directives('daemon', processes=2)}{directives}"
                    f"WSGIScriptAlias /named {script} application-group=named\n"
                    f"WSGIScriptAlias / {script} application-group=%{{GLOBAL}}")
        for _ in range(20):
            httpd.get("/fast")
        # The program shows nothing any more when it has heard of the garbage collection of such an interpreter.
        httpd.get("/named/collect")
        with Background(httpd, f"/held?{gate}"):
            wait_until(lambda: held(program.state()), 20, "a slow request")
            release(gate)
        state = wait_until(lambda: complete(program.state()), 20, "all requests in its state")
        pids = {found["pid"] for found in state["processes"]}
        assert len(pids) == 2 and all(found["process_group"] == "app" for found in state["processes"])
        assert state["decode_errors"] == 0
        entry = held(state)
        assert (entry["script_name"], entry["status"], entry["method"]) == ("", 200, "GET")
        assert any(found["gc_snapshots"] for found in state["processes"])
        for name in ("overview", "processes", "workers", "latency", "slow"):
            shown = program.view(name)
            assert "group=app" in shown and all(str(pid) in shown for pid in pids), shown
            assert re.search(r"slow: .* [1-9]\d* total", shown), shown
        httpd.stop()
        wait_until(lambda: ended(program.state()) == pids, 20, "the end of both processes")


def held(state):
    """The slow request. (A machine that is busy may have others.)"""
    entries = (found["entry"] for found in state["slow_requests"])
    return next((entry for entry in entries if entry["path_info"] == "/held"), None)


def complete(state):
    """The state, if all requests are in it and the slow one has ended."""
    counts = [sample["fields"]["request_count"] for found in state["processes"] for sample in found["samples"]]
    return state if sum(counts) == 22 and held(state)["state"] == 1 else None


def ended(state):
    return {event["pid"] for event in state["lifecycle_events"] if event["kind"] == "process_stopped"}
