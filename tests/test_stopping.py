"""What subscribers hear of their process: that it stops, and why, and signals of daemon processes."""

import json
import os
import signal

import pytest

import pythons
from conftest import mode_directives
from load import Background
from processes import wait_until

ALL = "WSGIApplicationGroup %{GLOBAL}\n"


class Site:
    """The server, and what its application has written."""

    def __init__(self, httpd):
        self.httpd = httpd
        told = httpd.root / "told"
        told.mkdir()
        told.chmod(0o777)
        self.file = told / "stopping.txt"

    def start(self, mode, directives=ALL, **options):
        self.script = self.httpd.app("stopping")
        self.httpd.start(f"{mode_directives(mode, **options)}{directives}WSGIScriptAlias / {self.script}")
        return self.httpd.json("/")[0]

    def told(self, pid):
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        return [told for told in map(json.loads, lines) if told["pid"] == pid]

    def of_end(self, pid):
        """All that the process has told, when it is at its end."""
        wait_until(lambda: "atexit" in [told["what"] for told in self.told(pid)], 40, "it ends")
        return self.told(pid)


@pytest.fixture
def site(httpd):
    return Site(httpd)


STOPPED = ["event process_stopping", "shutdown process_stopping", "atexit"]


def whats(told):
    return [line["what"] for line in told]


@pytest.mark.mpms("event", "prefork")
@pytest.mark.check
def test_subscribers_hear_of_the_end_before_exit_functions_run(site, mode):
    pid = site.start(mode)
    site.httpd.stop()
    told = site.of_end(pid)
    assert whats(told) == STOPPED
    assert told[0]["shutdown_reason"] == ("shutdown_signal" if mode == "daemon" else "")
    assert told[1]["shutdown_reason"] == told[0]["shutdown_reason"]
    # What the first one has returned is a part of the event for those behind it.
    assert told[1]["added"] is True and "added" not in told[0]


@pytest.mark.mpms("event")
def test_each_interpreter_hears_of_the_end_once(site, mode):
    httpd = site.httpd
    script = httpd.app("stopping")
    aliases = "".join(f"WSGIScriptAlias /{group} {script} application-group={group}\n" for group in ("one", "two"))
    httpd.start(f"{mode_directives(mode)}{aliases}WSGIScriptAlias / {script} application-group=%{{GLOBAL}}")
    pid = httpd.json("/")[0]
    assert [httpd.json(f"/{group}")[0] for group in ("one", "two", "one")] == [pid] * 3
    httpd.stop()
    wait_until(lambda: whats(site.told(pid)).count("atexit") == 3, 20, "all interpreters end")
    told = site.told(pid)
    assert len(told) == 9
    for group in ("", "one", "two"):
        assert whats(line for line in told if line["group"] == group) == STOPPED
    # All of them hear of it before the first of them ends.
    assert whats(told).index("atexit") == 6


@pytest.mark.mpms("event")
def test_a_subscriber_that_fails_keeps_nobody_from_ending(site, mode):
    pid = site.start(mode)
    site.httpd.log.expect("ValueError: a subscriber fails")
    site.httpd.log.allow("Traceback|stopping.wsgi|raise ValueError|process_stopping")
    site.httpd.get("/?fails")
    site.httpd.stop()
    assert whats(site.of_end(pid)) == STOPPED


def signalled(number):
    return lambda site, pid: os.kill(pid, number)


def touched(site, pid):
    os.utime(site.script, (1_700_000_000, 1_700_000_000))
    site.httpd.get("/")


def asked(query):
    def ask(site, pid):
        site.httpd.get(query)
    return ask


def nothing(site, pid):
    pass


REASONS = {
    "SIGTERM": ({}, signalled(signal.SIGTERM), "shutdown_signal"),
    "SIGUSR1": ({}, signalled(signal.SIGUSR1), "graceful_signal"),
    "eviction": ({"eviction_timeout": 5}, signalled(signal.SIGUSR1), "eviction_signal"),
    "maximum-requests": ({"maximum_requests": 2}, asked("/"), "maximum_requests"),
    "restart-interval": ({"restart_interval": 1}, nothing, "restart_interval"),
    "inactivity-timeout": ({"inactivity_timeout": 1}, nothing, "inactivity_timeout"),
    "reload": ({}, touched, "script_reload"),
    "cpu-time-limit": ({"cpu_time_limit": 2}, asked("/?busy"), "cpu_time_limit"),
}


@pytest.mark.mpms("event")
@pytest.mark.parametrize("case", REASONS)
def test_subscribers_hear_why_a_process_ends(site, case):
    options, act, reason = REASONS[case]
    site.httpd.log.allow("process|Terminated|cpu")
    pid = site.start("daemon", **options)
    act(site, pid)
    told = site.of_end(pid)
    assert whats(told) == STOPPED
    assert told[0]["shutdown_reason"] == reason


@pytest.mark.mpms("event")
def test_a_request_that_overruns_is_the_reason(site):
    """It has ended when the process does, within graceful-timeout, so exit functions run."""
    site.httpd.log.allow("request-timeout|process|Thread|File|time.sleep|application|for _ in|stack|WSGI")
    pid = site.start("daemon", request_timeout=1, threads=1, shutdown_timeout=10, graceful_timeout=20)
    site.httpd.get("/?sleep=4")
    assert site.of_end(pid)[0]["shutdown_reason"] == "request_timeout"


@pytest.mark.ours("the original's processes are not replaced one after the other")
@pytest.mark.mpms("event")
def test_graceful_is_no_reason_of_the_process(site):
    pid = site.start("daemon")
    site.httpd.graceful()
    assert site.of_end(pid)[0]["shutdown_reason"] == "shutdown_signal"


@pytest.mark.ours("more reasons for which a process is replaced")
@pytest.mark.mpms("event")
def test_subscribers_hear_of_limits_that_the_supervisor_looks_after(site):
    site.httpd.log.allow("maximum-memory")
    pid = site.start("daemon", maximum_memory="1M")
    assert site.of_end(pid)[0]["shutdown_reason"] == "maximum_memory"


@pytest.mark.mpms("event")
def test_a_request_that_runs_hears_that_the_process_stops(site):
    """Subscribers are told at the beginning of the end, so that they can make long requests end."""
    site.httpd.log.allow("process .* was lost")
    pid = site.start("daemon", shutdown_timeout=30)
    with Background(site.httpd, "/?until-stopping") as running:
        wait_until(lambda: "held" in whats(site.told(pid)), 20, "it runs")
        os.kill(pid, signal.SIGTERM)
        told = site.of_end(pid)
    assert running.outcomes()[0].result == 200
    assert whats(told) == ["held", "event process_stopping", "shutdown process_stopping", "released", "atexit"]


@pytest.mark.mpms("event")
@pytest.mark.check
def test_signals_reach_the_subscribers_of_every_interpreter(site):
    httpd = site.httpd
    script = httpd.app("stopping")
    httpd.start(f"{mode_directives('daemon')}WSGIScriptAlias /one {script} application-group=one\n"
                f"WSGIScriptAlias / {script} application-group=%{{GLOBAL}}")
    pid = httpd.json("/")[0]
    assert httpd.json("/one")[0] == pid
    for number, name in ((signal.SIGHUP, "SIGHUP"), (signal.SIGUSR2, "SIGUSR2")):
        before = len(site.told(pid))
        os.kill(pid, number)
        wait_until(lambda: len(site.told(pid)) == before + 4, 20, "they hear of it")
        told = site.told(pid)[before:]
        assert {line["group"] for line in told} == {"", "one"}
        for group in ("", "one"):
            assert whats(line for line in told if line["group"] == group) == [
                "event process_signal", "signal process_signal"]
        for line in told:
            assert (line["signame"], line["signum"]) == (name, number)
    assert not any(line["is_main"] for line in site.told(pid) if line["group"] == "")
    assert httpd.json("/")[0] == pid


@pytest.mark.mpms("event")
@pytest.mark.check
def test_a_subscriber_to_signals_that_fails_is_reported(site):
    site.httpd.log.expect("ValueError: a subscriber fails")
    site.httpd.log.allow("Traceback|stopping.wsgi|raise ValueError|process_signal")
    site.httpd.env["FAILS"] = "1"
    pid = site.start("daemon")
    os.kill(pid, signal.SIGUSR2)
    site.httpd.log.wait_for("ValueError: a subscriber fails")
    os.kill(pid, signal.SIGHUP)
    wait_until(lambda: "SIGHUP" in [line.get("signame") for line in site.told(pid)], 20, "it hears of the next one")


@pytest.mark.mpms("event", "prefork")
@pytest.mark.check
def test_httpds_children_pass_no_signals_on_and_say_so(site):
    pid, signals, shutdown = site.start("embedded") and site.httpd.json("/")
    assert (signals, shutdown) == (0, 1)
    site.httpd.log.wait_for("subscribe_signals")
    assert site.httpd.log.matching("stopping.wsgi.*in <module>")


@pytest.mark.ours("the original is built for one Python")
@pytest.mark.parametrize("version", pythons.other_versions() or [None])
def test_signals_and_the_end_in_another_python(site, version):
    pid = site.start("daemon", directives="WSGIApplicationGroup named\n<WSGIInterpreterOptions application-group=named>\n"
                     "</WSGIInterpreterOptions>\n", python=pythons.other_python(version))
    os.kill(pid, signal.SIGHUP)
    wait_until(lambda: len(site.told(pid)) == 2, 20, "it hears of the signal")
    site.httpd.stop()
    assert whats(site.of_end(pid))[2:] == STOPPED
    assert {line["group"] for line in site.told(pid)} == {"named"}


SERVICE = """
import atexit, os, mod_wsgi, time

def tell(name, **event):
    with open({told!r}, "a") as file:
        file.write("%s %s\\n" % (name, event.get("shutdown_reason", event.get("signame", ""))))

mod_wsgi.subscribe_shutdown(tell)
mod_wsgi.subscribe_signals(tell)
atexit.register(tell, "atexit")
tell("begun %d" % os.getpid())
while True:
    time.sleep(0.05)
"""


@pytest.mark.ours("the original's scripts of such a group do not have the main thread")
@pytest.mark.mpms("event")
def test_a_service_hears_of_signals_and_of_its_end(httpd, site):
    script = httpd.write("apps/service.py", SERVICE.format(told=str(site.file)))
    httpd.start(f"WSGIDaemonProcess jobs threads=0\n"
                f"WSGIImportScript {script} process-group=jobs application-group=%{{GLOBAL}}")
    wait_until(lambda: site.file.exists() and site.file.read_text().endswith("\n"), 20, "it runs")
    pid = int(site.file.read_text().split()[1])
    os.kill(pid, signal.SIGHUP)
    wait_until(lambda: "SIGHUP" in site.file.read_text(), 20, "it hears of the signal")
    httpd.stop()
    lines = site.file.read_text().splitlines()
    assert lines[1:] == ["process_signal SIGHUP", "process_stopping shutdown_signal", "atexit "]
