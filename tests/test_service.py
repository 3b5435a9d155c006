"""threads=0: a process that runs import scripts and serves nothing."""

import os
import signal

import pytest

import processes
from processes import wait_until

FOREVER = """
import os, sys, time
try:
    print("service", os.getpid(), "runs", file=sys.stderr)
    # A signal that comes right before a system call does not interrupt it.
    while True:
        time.sleep(0.1)
finally:
    print("service", os.getpid(), "cleans up", file=sys.stderr)
"""
RETURNS = """
import os, sys, time
time.sleep({seconds})
print("service", os.getpid(), "returns", file=sys.stderr)
"""


def start(httpd, text, options="", extra=""):
    script = httpd.write("apps/service.py", text)
    httpd.log.allow("service \\d+ ")
    httpd.start(
        f"WSGIDaemonProcess jobs threads=0 {options}\n"
        f"WSGIImportScript {script} process-group=jobs application-group=%{{GLOBAL}}\n{extra}"
    )
    return httpd


def pids(httpd, what):
    return [int(line.split("service ")[1].split()[0]) for line in httpd.log.matching(f"service \\d+ {what}")]


@pytest.mark.check
def test_it_runs_and_is_told_to_stop(httpd):
    start(httpd, FOREVER)
    httpd.log.wait_for("service \\d+ runs")
    httpd.stop()
    httpd.log.wait_for("service \\d+ cleans up")
    assert pids(httpd, "runs") == pids(httpd, "cleans up")


@pytest.mark.check
def test_it_stands_beside_a_group_that_serves(httpd):
    start(httpd, FOREVER, extra=f"WSGIDaemonProcess app threads=2\nWSGIScriptAlias / {httpd.app('hello')} process-group=app")
    httpd.log.wait_for("service \\d+ runs")
    assert httpd.get("/").status == 200


@pytest.mark.ours("the original starts it again at once, however short it lives")
def test_a_script_that_returns_is_run_again_by_a_new_process(httpd):
    httpd.log.allow("process \\d+ was lost: exited with status 0")
    start(httpd, RETURNS.format(seconds=0.1))
    httpd.log.wait_for("service \\d+ returns", 20, count=3)
    assert len(set(pids(httpd, "returns"))) == len(pids(httpd, "returns"))


def test_a_sigterm_from_outside_ends_the_script_and_a_new_one_runs(httpd):
    httpd.log.allow("process \\d+ was lost: exited with status 0")
    start(httpd, FOREVER)
    httpd.log.wait_for("service \\d+ runs")
    os.kill(pids(httpd, "runs")[0], signal.SIGTERM)
    httpd.log.wait_for("service \\d+ runs", 20, count=2)
    assert pids(httpd, "runs")[0] == pids(httpd, "cleans up")[0]


@pytest.mark.ours("the original words it otherwise, and exits with status 0")
@pytest.mark.check
def test_a_script_that_fails_is_told_of_with_its_traceback(httpd):
    httpd.log.expect("RuntimeError: broken")
    httpd.log.expect('process group "jobs": process \\d+ was lost: exited with status 1')
    httpd.log.allow("service.py|Traceback|raise")
    start(httpd, 'raise RuntimeError("broken")')
    httpd.log.wait_for("exited with status 1", 20)


def test_graceful_brings_a_new_one(httpd):
    start(httpd, FOREVER)
    httpd.log.wait_for("service \\d+ runs")
    httpd.graceful()
    httpd.log.wait_for("service \\d+ runs", 20, count=2)
    httpd.log.wait_for("service \\d+ cleans up", 20)
    wait_until(lambda: not processes.process(pids(httpd, "runs")[0]), 20, "the old one ends")
    assert processes.process(pids(httpd, "runs")[1])


@pytest.mark.ours("the original's child waits for a connection until it times out")
@pytest.mark.check
def test_a_request_for_it_is_refused_with_the_reason(httpd):
    httpd.log.expect('process group "jobs" has threads=0')
    start(httpd, FOREVER, extra=f"WSGIScriptAlias / {httpd.app('hello')}\nWSGIProcessGroup jobs")
    assert httpd.get("/").status == 500


def test_several_services_each_have_their_process(httpd):
    start(httpd, FOREVER, "processes=2")
    httpd.log.wait_for("service \\d+ runs", count=2)
    assert len(set(pids(httpd, "runs"))) == 2
