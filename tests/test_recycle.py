"""Processes that are replaced: limits, age, size, signals, stuck starts, crashes."""

import os
import re
import signal

import pytest

from load import Background, Load, busy
from processes import process, wait_until

pytestmark = pytest.mark.ours("the original replaces at once, and has no maximum-memory")
SLOW_IMPORT = """
import os, time
time.sleep(2)
EATEN = []
def application(environ, start_response):
    if environ["PATH_INFO"] == "/eat":
        EATEN.append(b"x" * (int(environ["QUERY_STRING"]) << 20))
    if environ["PATH_INFO"] == "/crash":
        os.kill(os.getpid(), 11)
        time.sleep(60)
    if environ["PATH_INFO"] == "/sleep":
        time.sleep(float(environ["QUERY_STRING"]))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % os.getpid()]
"""


def start(httpd, options, source=SLOW_IMPORT):
    script = httpd.write("apps/app.wsgi", source)
    group = f"WSGIDaemonProcess app threads=4 {options}\nWSGIProcessGroup app\n"
    return httpd.start(f"{group}\nWSGIScriptAlias / {script}")


def pids(load):
    return {outcome.body for outcome in load.outcomes}


def recycled(httpd, options, cause, count=2):
    """A load during which processes are replaced `count` times."""
    start(httpd, options)
    httpd.log.wait_for("is ready after", 30, count=2)
    with Load(httpd, "/", clients=4) as load:
        httpd.log.wait_for(f"is draining up to graceful-timeout=15 s: {cause}", 60, count=count)
        load.more(20)
    assert set(load.results()) == {200}
    assert len(pids(load)) > count
    assert load.slowest() < 1.9, "nobody waited for an import of 2 s"
    assert httpd.log.matching(f"is to be replaced after .*: {cause}; it serves until its replacement is ready")
    assert httpd.log.matching(rf"to replace process \d+ \({re.sub('=[^ ]+( s)?', '', cause)}\)")


def test_maximum_requests_replaces_first(httpd):
    recycled(httpd, "processes=2 maximum-requests=100", "maximum-requests=100 is reached")


def test_restart_interval_replaces_first(httpd):
    recycled(httpd, "processes=2 restart-interval=1", "restart-interval=1 s is over")


@pytest.mark.check
def test_maximum_requests_is_exact_for_one_process(httpd):
    start(httpd, "maximum-requests=5 processes=1", SLOW_IMPORT.replace("sleep(2)", "sleep(0)"))
    first = [httpd.get("/").text for _ in range(5)]
    assert len(set(first)) == 1
    wait_until(lambda: httpd.get("/").text not in first, 30, "another process")
    httpd.log.wait_for(f"process {first[0]} is draining .*: maximum-requests=5 is reached")


def test_a_process_that_grows_too_large_is_replaced_first(httpd):
    start(httpd, "processes=2 maximum-memory=150M")
    httpd.log.wait_for("is ready after", 30, count=2)
    with Load(httpd, "/", clients=2) as load:
        load.more(10)
        eater = httpd.get("/eat?200").text
        httpd.log.wait_for(f"process {eater} has a resident set of .* above maximum-memory=150 MiB", 30)
        httpd.log.wait_for(f"process {eater} is draining .*: maximum-memory is exceeded", 30)
        load.more(10)
    httpd.log.allow("is too small for the application")
    assert set(load.results()) == {200} and load.slowest() < 1.9
    wait_until(lambda: not process(int(eater)), 30, "the end of the large one")


def test_eviction_has_its_own_time_and_names_what_is_cut(httpd):
    start(httpd, "eviction-timeout=1 shutdown-timeout=1")
    old = httpd.get("/").text
    httpd.log.allow("was lost while it executed|WSGI01(19|2\\d|4[5-7])")
    with Background(httpd, "/sleep?60") as running:
        wait_until(lambda: process(int(old)) and httpd.get("/").status == 200, 15, "serving")
        os.kill(int(old), signal.SIGUSR1)
        httpd.log.wait_for(f"process {old} is draining up to eviction-timeout=1 s: it got SIGUSR1", 30)
        httpd.log.wait_for("still executes 1 request .*when eviction-timeout=1 s is over", 30)
        httpd.log.expect("still executes 1 request")
        httpd.log.allow(r"shutdown-timeout=1|is gone \(eviction-timeout\)")
        wait_until(lambda: not process(int(old)), 30, "its end")
        assert httpd.get("/").status == 200
    assert running.outcomes()[0].result == 502
    [line] = httpd.log.matching("shutdown-timeout=1")
    assert "did not end within shutdown-timeout=1; 1 request is cut off: executing GET /sleep " in line


def test_a_start_that_hangs_is_ended_by_startup_timeout(httpd):
    httpd.log.expect("is not ready after .* when startup-timeout=2 s is over, while it loads .*app.wsgi; "
                     "the log gets the stacks of its threads, and the process gets SIGKILL unless it is ready within 1 s;")
    httpd.log.allow(r"\] $|startup-timeout=2|Thread 0x|File |Current thread|Timeout|stack|<no Python frame>|503|WSGI")
    start(httpd, "startup-timeout=2", SLOW_IMPORT.replace("sleep(2)", "sleep(600)"))
    httpd.log.wait_for("cannot start .*startup-timeout=2 s is over", 30)
    httpd.log.wait_for(r"started \(attempt 2\)", 30)
    httpd.write("apps/app.wsgi", SLOW_IMPORT.replace("sleep(2)", "sleep(0)"))
    wait_until(lambda: httpd.get("/").status == 200, 60, "a process that starts")


def test_requests_that_crash_make_no_503_for_others(httpd):
    start(httpd, "processes=1", SLOW_IMPORT.replace("sleep(2)", "sleep(0)"))
    httpd.log.expect(r"process group \"app\": process \d+ was lost: killed by SIGSEGV after .* in flight \(GET /crash for ")
    httpd.log.allow("was lost|WSGI01(19|2\\d|4[5-7])")
    with Load(httpd, "/", clients=2) as load:
        for _ in range(8):
            load.more(3)
            assert httpd.get("/crash").status == 502
    assert set(load.results()) <= {200, 502}, load.results()


@pytest.mark.check
def test_a_lost_process_says_what_it_executed(daemon, httpd):
    daemon("threads=4")
    httpd.log.expect(r"was lost: killed by SIGKILL after .*, 1 request in flight \(GET /marked_sleep for ")
    httpd.log.allow("was lost|WSGI01(19|2\\d|4[5-7])")
    with busy(httpd, 60) as running:
        os.kill(running.pids[0], signal.SIGKILL)
    assert running.outcomes()[0].result == 502
