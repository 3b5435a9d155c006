"""More requests than a group can take, processes that are lost, children that are killed: what clients get, and
what the log says."""

import os
import re
import signal
import time
from collections import Counter

import pytest

from client import read_to_end, stalled
from load import Background, at_once, busy, timed
from processes import wait_until

FULL = "process group \"app\": too many requests wait: "


# -- full ----------------------------------------------------------------------------------------------


@pytest.mark.ours("the original retries, and has a line for each request")
@pytest.mark.mpms("event", "prefork")
def test_as_many_wait_as_may_and_the_log_has_one_line(daemon):
    httpd = daemon("threads=1 listen-backlog=3")
    httpd.get("/hello")
    httpd.log.expect(FULL + r"1/1 request threads busy in 1 process, oldest \d+\.\d s in GET /marked_sleep, "
                     r"3 waiting, listen-backlog=3; clients get 503 while this lasts")
    with busy(httpd, 4):
        outcomes = at_once(httpd, ["/hello"] * 20)
    assert Counter(outcome.result for outcome in outcomes) == {200: 3, 503: 17}
    assert max(outcome.seconds for outcome in outcomes if outcome.result == 503) < 3
    assert len(httpd.log.matching(FULL)) == 1


@pytest.mark.ours("the original retries, and has a line for each request")
def test_the_next_episode_tells_how_many_were_refused_before(daemon):
    httpd = daemon("processes=2 threads=1 listen-backlog=1")
    httpd.log.expect(FULL)
    httpd.log.wait_for("is ready after", count=2)
    for episode in range(2):
        with busy(httpd, 3, count=2):
            outcomes = at_once(httpd, ["/hello"] * 11)
        assert Counter(outcome.result for outcome in outcomes) == {200: 1, 503: 10}
        if not episode:
            # No episode is over before nobody was refused for five seconds.
            time.sleep(5.5)
    first, second = httpd.log.matching(FULL)
    assert "2/2 request threads busy in 2 processes" in first and "more did" not in first
    assert re.search(r"while this lasts \(as 9 more did since the last line about this\)$", second), second


@pytest.mark.ours("the original gives no hint when to come back")
@pytest.mark.check
def test_a_group_that_cannot_be_started_says_when_to_come_back(httpd):
    httpd.start(f"WSGIDaemonProcess app python=/bin/false\nWSGIProcessGroup app\nWSGIScriptAlias / {httpd.app('hello')}")
    httpd.log.expect("cannot start|could not be started|exited")
    httpd.log.expect('process group "app": it has no process, and for .* no process could be started .defined at .*httpd.conf:')
    httpd.log.expect('process group "app": the group ends; [2-9] requests? got 503, because for ')
    wait_until(lambda: timed(httpd, "/").result == 503, 10, "it is known that it cannot be started")
    answer = httpd.get("/")
    assert answer.status == 503 and 1 <= int(answer.header("Retry-After")) <= 70


BROKEN_START = {
    "python": r"it ended before it was ready \(exited with status 3\)",
    "home": r"cannot change to the directory .*/home does not exist",
}


@pytest.mark.ours("the original has a line for each attempt of each request")
@pytest.mark.parametrize("broken", BROKEN_START)
def test_a_time_without_processes_has_a_line_at_its_beginning_and_one_at_its_end(httpd, broken):
    python, home = httpd.write("python", "#!/bin/sh\nexit 3\n"), httpd.root / "home"
    python.chmod(0o755)
    option = {"python": f"python={python}", "home": f"home={home}"}[broken]
    httpd.start(f"WSGIDaemonProcess app {option}\nWSGIProcessGroup app\nWSGIScriptAlias / {httpd.app('hello')}")
    httpd.log.expect('wsgi:error.*"app" .*cannot start ')
    httpd.log.allow("the last of its output|-- end of its output")
    httpd.log.wait_for("cannot start ")
    begin = r'wsgi:error.*\[client .*process group "app": it has no process, and for '
    begin += rf"[\d.]+ s no process could be started \(defined at .*httpd.conf:\d+\): {BROKEN_START[broken]}.*; clients get 503 while this lasts, "
    begin += r"this one with Retry-After: \d+"
    httpd.log.expect(begin)
    # Attempts that are made meanwhile, and fail as well, belong to the same time; requests wait for none of them.
    outcomes = at_once(httpd, ["/hello"] * 20)
    httpd.log.wait_for("attempt 2 to start failed as before", 30)
    outcomes += at_once(httpd, ["/hello"] * 20)
    assert {outcome.result for outcome in outcomes} == {503}
    # A new configuration that starts none is no end either.
    count = len(httpd.log.matching("cannot start "))
    httpd.graceful()
    httpd.log.wait_for("cannot start ", 30, count=count + 1)
    assert len(httpd.log.matching("wsgi:error.*no process could be started .defined")) == 1
    assert not httpd.log.matching("got 503, because ")
    # Mended.
    if broken == "python":
        python.write_text('#!/bin/sh\nexec python3 "$@"\n')
    else:
        home.mkdir()
    end = r'wsgi:warn.*process group "app": it takes requests again; 40 requests got 503, because for [\d.]+ s no'
    httpd.log.expect(end)
    httpd.log.wait_for(end, 60)
    assert httpd.get("/hello").status == 200


# -- queue-timeout -------------------------------------------------------------------------------------


@pytest.mark.ours("the original looks when a thread is free")
@pytest.mark.mpms("event", "prefork")
def test_queue_timeout_is_due_for_each_request_and_the_log_has_one_error(daemon):
    httpd = daemon("threads=1 queue-timeout=2 socket-timeout=30")
    httpd.get("/hello")
    error = r"wsgi:error.*WSGI0084: Queue timeout expired for WSGI daemon process 'app': no request thread was free for GET /hello within queue-timeout=2: 1/1 "
    httpd.log.expect(error + r"request threads busy in 1 process, oldest 2\.\d s in GET /marked_sleep, \d+ waiting; "
                     "the client gets 504")
    with busy(httpd, 6):
        outcomes = at_once(httpd, ["/hello"] * 5)
    assert {outcome.result for outcome in outcomes} == {504}
    assert all(1.8 < outcome.seconds < 6 for outcome in outcomes), outcomes
    assert len(httpd.log.matching("wsgi:error.*queue-timeout=2")) == 1
    others = 'wsgi:info.*process group "app": no request thread was free for GET /hello within queue-timeout=2; '
    assert len(httpd.log.matching(others)) == 4


@pytest.mark.ours("the original holds a thread while it reads the body")
def test_the_time_for_a_body_does_not_count(daemon):
    httpd = daemon("threads=1 queue-timeout=2")
    httpd.get("/hello")
    with httpd.connect() as sock:
        sock.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\nConnection: close\r\n\r\n12345")
        time.sleep(3)
        with busy(httpd, 1):
            sock.sendall(b"67890")
            assert sock.recv(12) == b"HTTP/1.1 200"


@pytest.mark.ours("the original has no bound but its listen queue")
def test_without_queue_timeout_a_request_waits_as_long_as_an_answer_may_take(daemon):
    httpd = daemon("threads=1 socket-timeout=2")
    httpd.get("/hello")
    httpd.log.expect(r"no request thread was free for GET /hello within socket-timeout=2: ")
    httpd.log.expect(r"process \d+ sent nothing of the response to GET /marked_sleep within socket-timeout=2; "
                     "the client gets 504")
    with busy(httpd, 5) as slow:
        assert timed(httpd, "/hello").result == 504
        assert [outcome.result for outcome in slow.outcomes()] == [504]


# -- processes that are lost ---------------------------------------------------------------------------


@pytest.mark.ours("the original names no cause")
@pytest.mark.check
def test_each_request_of_a_killed_process_says_how_it_ended(daemon):
    httpd = daemon("processes=1 threads=3")
    httpd.get("/hello")
    with busy(httpd, 20, count=3) as running:
        [pid] = set(running.pids)
        line = (rf"WSGI014[67]: .*aemon process 'app'.*: process {pid} was lost while it executed the request GET "
                "/marked_sleep: killed by SIGKILL; the client gets 502")
        httpd.log.expect(line)
        httpd.log.expect(rf"process {pid} was lost: killed by SIGKILL after .*3 requests in flight")
        os.kill(pid, signal.SIGKILL)
        assert [outcome.result for outcome in running.outcomes()] == [502] * 3
    assert len(httpd.log.matching(line)) == 3


@pytest.mark.ours("the original names no cause")
@pytest.mark.parametrize("how, ended", [("exit", "exited with status 3"), ("kill", "killed by SIGKILL")])
def test_a_response_that_breaks_off_says_how_its_process_ended(daemon, how, ended):
    httpd = daemon("processes=1 threads=2")
    httpd.log.expect(rf"was lost while it executed the request GET /dies/after: {ended}; the response is cut short")
    httpd.log.expect(rf"process \d+ was lost: {ended} after .*1 request in flight")
    assert timed(httpd, f"/dies/after?{how},0.3").result == "truncated"


@pytest.mark.ours("the original names no cause")
def test_a_response_that_waits_for_its_client_says_how_its_process_ended(daemon):
    httpd = daemon("processes=1 threads=2")
    httpd.log.expect("was lost while it executed the request GET /dies/after: killed by SIGKILL; the response is cut short")
    httpd.log.expect(r"process \d+ was lost: killed by SIGKILL after .*1 request in flight")
    with stalled(httpd, "/dies/after?stay,0,4000000") as sock:
        head = sock.recv(4096)
        pid = int(re.search(rb"X-Pid: (\d+)", head).group(1))
        assert httpd.get("/hello").status == 200
        os.kill(pid, signal.SIGKILL)
        httpd.log.wait_for("was lost: killed by SIGKILL")
        body = read_to_end(sock)
    assert 0 < len(body) < 9_000_000 and not body.endswith(b"0\r\n\r\n")


@pytest.mark.ours("the original waits for its socket-timeout")
def test_a_lost_process_is_noticed_although_its_children_live_on(daemon):
    httpd = daemon("processes=1 threads=2 socket-timeout=30")
    httpd.log.expect("was lost while it executed the request GET /forks: killed by SIGKILL; the client gets 502")
    httpd.log.expect("process .* was lost: killed by SIGKILL")
    outcome = timed(httpd, "/forks?6")
    assert outcome.result == 502 and outcome.seconds < 5


# -- children that are killed --------------------------------------------------------------------------


@pytest.mark.ours("the original queues in the kernel")
@pytest.mark.mpms("event", "prefork")
def test_killed_children_give_back_threads_and_places(daemon):
    httpd = daemon("processes=1 threads=2 listen-backlog=4")
    at_once(httpd, ["/hello"] * 2)
    httpd.log.allow(f"AH00052|AH00051|{FULL}")
    httpd.log.expect(FULL + r"2/2 request threads busy.* 4 waiting, listen-backlog=4")
    with busy(httpd, 3, count=2) as running, Background(httpd, *["/hello"] * 12) as waits:
        httpd.log.wait_for(FULL)
        for child in httpd.children():
            os.kill(child.pid, signal.SIGKILL)
        running.outcomes(), waits.outcomes()
    # Two are executed and four wait, or less where there are few children yet: nobody is refused, and all are served.
    wait_until(lambda: {outcome.result for outcome in at_once(httpd, ["/hello"] * 6)} == {200}, 15, "all is given back")


@pytest.mark.ours("the original has no line of its own")
@pytest.mark.mpms("prefork")
@pytest.mark.check
def test_those_who_wait_in_many_children_are_served_in_turn(daemon):
    httpd = daemon("processes=2 threads=2")
    outcomes = at_once(httpd, ["/sleep?0.05"] * 28)
    assert {outcome.result for outcome in outcomes} == {200}
    # Seven turns; nobody is passed over.
    assert max(outcome.seconds for outcome in outcomes) < 4
