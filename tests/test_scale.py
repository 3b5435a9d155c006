"""Groups that grow under load and shrink when they are idle."""

import os
import signal

import pytest

from load import Load, at_once
from processes import wait_until

pytestmark = pytest.mark.ours("the original has a fixed number of processes")


def size(httpd):
    """Daemon processes that exist."""
    return len([p for p in httpd.processes() if p.ppid == httpd.supervisor().pid])


def sized(httpd, count, timeout=60):
    wait_until(lambda: size(httpd) == count, timeout, f"{count} processes")


@pytest.mark.check
def test_a_group_grows_under_load_and_shrinks_when_idle(daemon, httpd):
    daemon("processes=1 max-processes=3 threads=1 idle-timeout=1")
    sized(httpd, 1)
    with Load(httpd, "/sleep?0.1", clients=6) as load:
        sized(httpd, 3)
        wait_until(lambda: len({o.body for o in load.outcomes[-30:]}) == 3, 60, "three processes answer")
    assert set(load.results()) == {200}
    assert httpd.log.matching("1 of 1 request threads are busy, .* waiting; the group gets 1 more process .max-processes=3")
    sized(httpd, 1)
    assert len(httpd.log.matching("is draining .*: idle-timeout=1 s is over")) == 2
    assert httpd.get("/hello").status == 200


def test_a_group_is_empty_until_a_request_comes_and_again_when_idle(daemon, httpd):
    daemon("min-processes=0 max-processes=2 threads=2 idle-timeout=1")
    assert size(httpd) == 0
    for _ in range(2):
        outcomes = at_once(httpd, ["/sleep?0.05"] * 4)
        assert {outcome.result for outcome in outcomes} == {200}
        sized(httpd, 0)


def test_a_process_that_executes_a_request_is_not_idle(daemon, httpd):
    daemon("min-processes=0 max-processes=1 threads=1 idle-timeout=0 graceful-timeout=1")
    assert httpd.get("/sleep?3").status == 200
    sized(httpd, 0)
    assert not httpd.log.matching("still executes")


def test_a_graceful_restart_keeps_the_size(daemon, httpd):
    daemon("processes=1 max-processes=3 threads=1 idle-timeout=600")
    with Load(httpd, "/sleep?0.1", clients=6) as load:
        httpd.log.wait_for("is ready after", 60, count=3)
        before = {p.pid for p in httpd.processes()}
        httpd.graceful()
        httpd.log.wait_for("is ready after", 60, count=6)
        wait_until(lambda: size(httpd) == 3 and len({p.pid for p in httpd.processes()} & before) <= 3, 60, "new ones")
        load.more(20)
    assert set(load.results()) == {200}


def test_the_loss_of_the_supervisor_keeps_the_size(daemon, httpd):
    daemon("min-processes=0 max-processes=3 threads=1 idle-timeout=3")
    httpd.log.expect("supervisor .* was lost")
    with Load(httpd, "/sleep?0.1", clients=6) as load:
        httpd.log.wait_for("is ready after", 60, count=3)
        grown = lambda: len(httpd.log.matching("more process.* .max-processes=3"))  # noqa: E731
        before = grown()
        os.kill(httpd.supervisor().pid, signal.SIGKILL)
        httpd.log.wait_for("is gone .its supervisor was lost", 60, count=3)
        load.more(20)
    assert set(load.results()) == {200}
    assert grown() == before > 0
    sized(httpd, 0)


def test_an_empty_group_survives_gracefuls(daemon, httpd):
    daemon("min-processes=0 max-processes=1 threads=2 idle-timeout=1")
    for _ in range(2):
        httpd.graceful()
        assert httpd.get("/hello").status == 200
        sized(httpd, 0)


@pytest.mark.check
def test_applications_are_told_the_most_processes(daemon, httpd):
    daemon("min-processes=0 max-processes=3 threads=1")
    assert httpd.json("/where")["multiprocess"] is True
    assert httpd.json("/evaluate?__import__('mod_wsgi').maximum_processes") == 3
