"""Requests that do not end, a GIL that is kept, scripts that do not load: what is done about it, and what is said."""

import os
import re
import signal
import time

import pytest

import processes
import pythons
from load import Background, Load, busy, timed
from processes import wait_until

pytestmark = pytest.mark.modes("daemon")

# The original says nothing, or something else, at these levels.
ORIGINALS = "WSGI0(084|1[124]\\d)|Timeout|timed out|Truncated|response"


def pid(httpd):
    return httpd.json("/where")["pid"]


def allow_ours(httpd, ours, *patterns):
    """Lines that have to be there, where the module is ours; the original has its own."""
    for pattern in patterns:
        httpd.log.expect(pattern) if ours else None
    # Python's stacks come line by line, some of them empty. The original ends a process that is stuck with an error.
    httpd.log.allow(r"\[wsgi:\w+\] \[pid \d+:tid \d+\] ((WSGI\d+: )?process group|Thread|Current thread|  |$)|process \d+ was lost")
    if not ours:
        httpd.log.allow(ORIGINALS)


def stuck(httpd, path, ours=True, app="stuck"):
    """A request that is being executed when this returns."""
    mark = httpd.root / "tmp" / f"mark{path.replace('/', '-')}"
    running = Background(httpd, f"/{app}{path}?{mark}")
    wait_until(mark.exists, 15, "it is executed")
    mark.unlink()
    return running


def replaced(httpd, first):
    wait_until(lambda: not processes.process(first), 30, "the process ends")
    return wait_until(lambda: timed(httpd, "/hello").result == 200, 20, "another one serves") and pid(httpd)


def stacks(httpd):
    """The lines of the stacks in the log."""
    return [line for line in httpd.log.lines() if re.search(r'File ".*", line \d+', line)]


# -- request-timeout -------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["sleep", "spin", "lock"])
def test_a_stuck_request_is_given_up_and_its_process_replaced(daemon, ours, way):
    httpd = daemon("threads=1 request-timeout=1 shutdown-timeout=1 graceful-timeout=5")
    allow_ours(httpd, ours, rf"GET /stuck/{way} on request thread 1 has run for \d\.\d s, longer than request-timeout=1;")
    first = pid(httpd)
    outcome = timed(httpd, f"/stuck/{way}")
    assert outcome.result == (504 if ours else 502)
    assert replaced(httpd, first) != first


@pytest.mark.ours("the original's lines say less")
def test_the_line_names_request_option_group_and_what_follows(daemon):
    httpd = daemon("threads=1 request-timeout=1 shutdown-timeout=1 graceful-timeout=5")
    allow_ours(httpd, True, r"^.*\[wsgi:error\] \[pid \d+.*process group \"app\": GET /stuck/sleep on request thread 1 has run "
               r"for 1\.\d s, longer than request-timeout=1; the client gets 504 unless its response has begun; the supervisor "
               r"replaces the process, which takes no more requests; the process ends within shutdown-timeout=1$")
    first = pid(httpd)
    assert timed(httpd, "/stuck/sleep?a=secret").result == 504
    httpd.log.wait_for("stuck.wsgi.*line [0-9]+, in <lambda>")
    replaced(httpd, first)
    assert not httpd.log.matching("secret")
    assert len(httpd.log.matching("Python stacks of all threads")) == 1
    assert len(httpd.log.matching("has run for")) == 1


@pytest.mark.ours("the original answers when the process has ended")
def test_the_client_gets_its_504_before_the_process_ends(daemon):
    httpd = daemon("threads=1 request-timeout=1 shutdown-timeout=20")
    allow_ours(httpd, True)
    first = pid(httpd)
    outcome = timed(httpd, "/stuck/sleep")
    assert outcome.result == 504 and outcome.seconds < 15
    assert processes.process(first)
    os.kill(first, signal.SIGKILL)


@pytest.mark.ours("with one process, the original's client waits for the new one")
def test_siblings_end_in_peace(daemon):
    httpd = daemon("processes=1 threads=2 request-timeout=4 shutdown-timeout=1 graceful-timeout=20")
    allow_ours(httpd, True, "longer than request-timeout=4 allows with threads=2 .6.8 s.; .*1 other request may take")
    first = pid(httpd)
    with stuck(httpd, "/sleep") as lost:
        # Time is what is tested: the sibling has to begin so much later that it ends, after the other one was given up,
        # before it is older than request-timeout itself.
        time.sleep(5)
        with busy(httpd, 3.3) as sibling:
            assert [o.result for o in lost.outcomes()] == [504]
            assert processes.process(first), "it waits for the sibling"
            assert [o.result for o in sibling.outcomes()] == [200]
    assert replaced(httpd, first) != first


@pytest.mark.ours("the original's clients get 502 or 503 while a process is replaced")
def test_all_other_requests_are_served_meanwhile(daemon):
    httpd = daemon("processes=1 threads=3 request-timeout=1 shutdown-timeout=1")
    allow_ours(httpd, True)
    first = pid(httpd)
    with Load(httpd, "/hello", clients=4) as load:
        with Background(httpd, "/stuck/sleep", "/stuck/sleep") as lost:
            assert [o.result for o in lost.outcomes()] == [504, 504]
        wait_until(lambda: not processes.process(first), 15, "the process ends")
        load.more(20)
    assert set(load.results()) == {200}, load.results()


def test_the_time_grows_with_the_number_of_threads(daemon, ours):
    httpd = daemon("threads=5 request-timeout=1")
    # 1 + ln 5 = 2.6
    assert timed(httpd, "/sleep?1.8").result == 200
    assert not httpd.log.matching("request-timeout|stack")


def test_a_request_that_ends_in_time_is_left_alone(daemon):
    httpd = daemon("threads=1 request-timeout=2 interrupt-timeout=1")
    first = pid(httpd)
    for _ in range(3):
        assert timed(httpd, "/sleep?1").result == 200
    assert pid(httpd) == first


@pytest.mark.ours("the original's timers need deadlock-timeout or inactivity-timeout")
def test_the_timer_needs_no_other_one(daemon):
    httpd = daemon("threads=1 request-timeout=1 shutdown-timeout=1 deadlock-timeout=0")
    allow_ours(httpd, True)
    first = pid(httpd)
    assert timed(httpd, "/stuck/nap").result == 504
    assert replaced(httpd, first) != first


def test_a_response_that_was_begun_is_cut_short(daemon, ours):
    httpd = daemon("threads=1 request-timeout=1 shutdown-timeout=1")
    allow_ours(httpd, ours)
    head, body = httpd.raw_get("/stuck/stream/sleep")
    assert " 200 " in head.splitlines()[0] and b"begun" in body
    if ours:
        assert not body.endswith(b"0\r\n\r\n")


@pytest.mark.ours("the original kills its process after shutdown-timeout only")
def test_a_request_that_holds_the_gil_is_given_up_with_stacks(daemon):
    httpd = daemon("threads=2 request-timeout=1 shutdown-timeout=1")
    allow_ours(httpd, True, "while one of them keeps the GIL")
    first = pid(httpd)
    assert timed(httpd, "/stuck/hold").result == 504
    assert replaced(httpd, first) != first
    assert any("stuck.wsgi" in line and "in hold" in line for line in stacks(httpd)), stacks(httpd)


def in_groups(httpd, options):
    """The stuck application in an interpreter of its own, another one in the main interpreter."""
    return httpd.start(f"""WSGIDaemonProcess app {options}
WSGIProcessGroup app
WSGIScriptAlias /stuck {httpd.root}/apps/stuck.wsgi application-group=x
WSGIScriptAlias /first {httpd.root}/apps/hello.wsgi application-group=x
WSGIScriptAlias /where {httpd.root}/apps/where.wsgi application-group=%{{GLOBAL}}
WSGIScriptAlias /hello {httpd.root}/apps/hello.wsgi application-group=%{{GLOBAL}}
""")


VERSIONS = [None, *pythons.other_versions()]


@pytest.mark.ours("the original is built for one version")
@pytest.mark.parametrize("version", VERSIONS, ids=lambda v: v or "system")
@pytest.mark.parametrize("way", ["spin", "lock", "hold"])
def test_stacks_of_other_application_groups_are_shown(httpd, version, way):
    httpd.all_apps()
    python = pythons.other_python(version) if version else pythons.SYSTEM_PYTHON
    in_groups(httpd, f"threads=2 request-timeout=1 shutdown-timeout=1 python={python}")
    allow_ours(httpd, True, f"GET /stuck/{way} on request thread")
    first = pid(httpd)
    assert httpd.get("/first").status == 200, "the interpreter is there"
    # Where a signal has the stacks written, it also ends C's sleep().
    assert timed(httpd, f"/stuck/{way}").result in ((504, 200) if way == "hold" else (504,))
    replaced(httpd, first)
    if (version, way) != ("3.10", "hold"):
        function = {"lock": "wait_for_lock"}.get(way, way)
        assert any("stuck.wsgi" in line and function in line for line in stacks(httpd)), stacks(httpd)


@pytest.mark.ours("the original gives up the whole process")
@pytest.mark.parametrize("more", ["", "interrupt-timeout=5"], ids=["", "interrupt"])
@pytest.mark.parametrize("app", ["echo", "stuck/body"])
def test_a_client_that_sends_its_body_slowly_costs_its_own_request_only(daemon, more, app):
    httpd = daemon(f"threads=1 request-timeout=2 shutdown-timeout=1 request-buffer=4096 {more}")
    line = f"POST /{app} .*request-timeout=2; its client is slow to send the body, so only this request is ended"
    httpd.log.expect(line)
    httpd.log.allow("Exception|Traceback|File|OSError|echo.wsgi|stuck.wsgi|client")
    first = pid(httpd)
    with httpd.connect() as sock:
        sock.sendall(f"POST /{app} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n".encode() + b"x" * 50000)
        httpd.log.wait_for(line)
        assert timed(httpd, "/hello").result == 200, "the request thread is free"
        # httpd reads the whole body before it answers.
        sock.sendall(b"x" * 50000)
        assert sock.recv(100).startswith(b"HTTP/1.1 504 ")
    assert timed(httpd, "/hello").result == 200
    assert pid(httpd) == first


# -- interrupt-timeout -----------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["spin", "nap"])
def test_an_interrupted_request_is_a_504_and_its_process_lives(daemon, ours, way):
    httpd = daemon("threads=1 request-timeout=1 interrupt-timeout=10")
    allow_ours(httpd, ours, f"GET /stuck/{way} .*request-timeout=1; the process raises mod_wsgi.RequestTimeout in it, and it has "
               "interrupt-timeout=10 to end")
    first = pid(httpd)
    for _ in range(2):
        assert timed(httpd, f"/stuck/{way}").result == 504
    assert pid(httpd) == first
    httpd.log.wait_for(r"\[wsgi:info\].*RequestTimeout" if ours else "RequestTimeout")


@pytest.mark.parametrize("way", ["sleep", "released", "kept", "receive"])
def test_a_request_in_a_call_that_ends_later_is_a_504_and_its_thread_recovers(daemon, ours, way):
    """The exception comes when the call of C is over; until then nothing can be done."""
    httpd = daemon("threads=1 request-timeout=1 interrupt-timeout=20")
    allow_ours(httpd, ours, f"GET /stuck/ends/{way} .*request-timeout=1; the process raises mod_wsgi.RequestTimeout in it")
    first = pid(httpd)
    for _ in range(2):
        # While it keeps the GIL nobody can raise anything, and it may be quicker than who waits for the GIL.
        assert timed(httpd, f"/stuck/ends/{way}").result in ((200, 504) if way == "kept" else (504,))
        assert timed(httpd, "/hello").result == 200, "the one request thread is free again"
    assert pid(httpd) == first


@pytest.mark.parametrize("way", [
    "sleep", pytest.param("hold", marks=pytest.mark.ours("the original's process lives on while the GIL is kept")),
])
def test_a_request_in_a_call_that_does_not_end_is_a_504_and_its_process_replaced(daemon, ours, way):
    httpd = daemon("threads=1 request-timeout=1 interrupt-timeout=1 shutdown-timeout=1")
    allow_ours(httpd, ours, "longer than request-timeout=1, and has not ended within interrupt-timeout=1 after that")
    first = pid(httpd)
    assert timed(httpd, f"/stuck/{way}").result == (504 if ours else 502)
    assert replaced(httpd, first) != first


def test_an_interrupted_request_in_another_interpreter(httpd, ours):
    httpd.all_apps()
    in_groups(httpd, "threads=2 request-timeout=1 interrupt-timeout=10")
    allow_ours(httpd, ours)
    first = pid(httpd)
    assert timed(httpd, "/stuck/nap").result == 504
    assert pid(httpd) == first


def test_an_interrupted_response_is_cut_short(daemon, ours):
    httpd = daemon("threads=1 request-timeout=1 interrupt-timeout=10")
    allow_ours(httpd, ours)
    first = pid(httpd)
    head, body = httpd.raw_get("/stuck/stream/nap")
    assert " 200 " in head.splitlines()[0] and b"begun" in body
    if ours:
        assert not body.endswith(b"0\r\n\r\n")
    assert pid(httpd) == first


def test_a_request_that_cannot_be_interrupted_is_given_up(daemon, ours):
    httpd = daemon("threads=1 request-timeout=1 interrupt-timeout=1 shutdown-timeout=1")
    allow_ours(httpd, ours, "longer than request-timeout=1, and has not ended within interrupt-timeout=1 after that")
    httpd.log.allow("interrupted$")
    first = pid(httpd)
    assert timed(httpd, "/stuck/stubborn").result == (504 if ours else 502)
    assert replaced(httpd, first) != first
    if ours:
        assert len(httpd.log.matching("Python stacks of all threads")) == 1


@pytest.mark.ours("the original answers 500 when a script is interrupted while it is loaded")
def test_an_interrupted_load_is_a_504(daemon):
    httpd = daemon("threads=1 request-timeout=1 interrupt-timeout=10")
    allow_ours(httpd, True)
    first = pid(httpd)
    assert timed(httpd, "/stuck_import").result == 504
    assert pid(httpd) == first


def test_no_exception_outlives_the_request_that_it_was_for(daemon, ours):
    httpd = daemon("threads=1 request-timeout=1 interrupt-timeout=10")
    allow_ours(httpd, ours)
    first = pid(httpd)
    # The exception arrives when time.sleep() returns, which is too late: the request has all but ended.
    for _ in range(2):
        assert timed(httpd, "/sleep?1.6").result in (200, 504)
        assert [timed(httpd, "/hello").result for _ in range(5)] == [200] * 5
    assert pid(httpd) == first


# -- deadlock-timeout ------------------------------------------------------------------------------


def test_a_gil_that_is_kept_ends_the_process(daemon, ours):
    httpd = daemon("threads=2 deadlock-timeout=2 shutdown-timeout=1")
    allow_ours(httpd, ours, r"process group \"app\": no thread could have Python's global lock \(GIL\) for \d+\.\d s, longer "
               r"than deadlock-timeout=2; executing GET /stuck/hold on request thread \d for \d+\.\d s; the process ends "
               "within shutdown-timeout=1")
    first = pid(httpd)
    assert timed(httpd, "/stuck/hold").result == 502
    assert replaced(httpd, first) != first
    if ours:
        assert any("stuck.wsgi" in line and "in hold" in line for line in stacks(httpd)), stacks(httpd)


def test_work_that_shares_the_gil_is_no_deadlock(daemon):
    httpd = daemon("threads=3 deadlock-timeout=2")
    first = pid(httpd)
    mark = httpd.root / "tmp/mark"
    assert timed(httpd, f"/busy?{mark},4").result == 200
    mark.unlink()
    assert pid(httpd) == first


@pytest.mark.ours("how long the original takes is not said")
def test_a_process_that_was_stopped_has_no_deadlock(daemon):
    httpd = daemon("threads=1 deadlock-timeout=2 request-timeout=1 interrupt-timeout=10")
    allow_ours(httpd, True, "GET /stuck/nap .*longer than request-timeout=1")
    first = pid(httpd)
    os.kill(first, signal.SIGSTOP)
    time.sleep(7)  # That is what is tested: time in which the process does not run.
    os.kill(first, signal.SIGCONT)
    # Who looks for deadlocks sees to this as well, and has looked several times when it is answered.
    assert timed(httpd, "/stuck/nap").result == 504
    assert pid(httpd) == first
    assert not httpd.log.matching("deadlock-timeout")


# -- startup-timeout -------------------------------------------------------------------------------


def test_a_script_that_does_not_load_ends_the_process(daemon, httpd, ours):
    httpd.all_apps()
    # A busy machine may take a second and more until Python itself has started, which the limit counts as well.
    httpd.start(f"""WSGIDaemonProcess app threads=2 startup-timeout=4 shutdown-timeout=1
WSGIProcessGroup app
WSGIApplicationGroup %{{GLOBAL}}
WSGIScriptAlias /hello {httpd.root}/apps/hello.wsgi
WSGIScriptAlias /stuck_import {httpd.root}/apps/stuck_import.wsgi
""")
    allow_ours(httpd, ours, r"process group \"app\": the first script has been loading for \d\.\d s, longer than "
               r"startup-timeout=4; executing GET /stuck_import on request thread \d for \d\.\d s")
    assert timed(httpd, "/stuck_import").result == 502
    wait_until(lambda: timed(httpd, "/hello").result == 200, 20, "another process serves")
    if ours:
        assert any("stuck_import.wsgi" in line for line in stacks(httpd))


@pytest.mark.ours("in the original, what is being loaded keeps requests for other scripts waiting")
def test_after_the_first_script_loading_may_take_its_time(daemon):
    httpd = daemon("threads=2 startup-timeout=3 request-timeout=5 shutdown-timeout=1")
    # Who looks at loads sees to this as well, when the load has taken longer than startup-timeout.
    allow_ours(httpd, True, "GET /stuck_import .*longer than request-timeout=5 allows")
    first = pid(httpd)
    assert timed(httpd, "/stuck_import").result == 504
    assert replaced(httpd, first) != first
    assert not httpd.log.matching("startup-timeout")


# -- signals ---------------------------------------------------------------------------------------


@pytest.mark.ours("the original's processes know no such signal")
@pytest.mark.check
def test_a_signal_shows_the_stacks_of_all_threads(daemon):
    httpd = daemon("threads=2")
    allow_ours(httpd, True)
    first = pid(httpd)
    with stuck(httpd, "/nap"):
        def shown():
            # The thread may have told that it begins, and not have come as far as its nap.
            os.kill(first, signal.SIGRTMAX - 3)
            return httpd.log.matching("stuck.wsgi.*in nap")

        wait_until(shown, 10, "the stack of the request")
        assert pid(httpd) == first
        os.kill(first, signal.SIGKILL)


@pytest.mark.ours("the original's lines say less")
@pytest.mark.parametrize("number, options, cause", [
    (signal.SIGUSR1, "", "it got SIGUSR1"), (signal.SIGUSR1, "eviction-timeout=5", "eviction-timeout=5 s: it got SIGUSR1"),
    (signal.SIGXCPU, "", ": cpu-time-limit is reached"),
], ids=["graceful", "eviction", "cpu"])
@pytest.mark.check
def test_signals_have_the_process_replaced(daemon, number, options, cause):
    httpd = daemon(f"threads=2 {options}")
    httpd.log.allow("cpu-time-limit")
    first = pid(httpd)
    with Load(httpd, "/hello", clients=2) as load:
        load.more(10)
        os.kill(first, number)
        httpd.log.wait_for(f"{cause}")
        wait_until(lambda: not processes.process(first), 15, "the process ends")
        load.more(10)
    assert set(load.results()) == {200}


# -- shutdown-timeout ------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["hold", "lock"])
def test_a_process_that_cannot_stop_is_ended_in_time(daemon, ours, way):
    httpd = daemon("threads=2 shutdown-timeout=1")
    allow_ours(httpd, ours, "did not end within shutdown-timeout=1; 1 request is cut off: executing GET /stuck")
    first = pid(httpd)
    with stuck(httpd, f"/{way}"):
        os.kill(first, signal.SIGTERM)
        wait_until(lambda: not processes.process(first), 15, "the process ends")


# -- stack-size, switch-interval -------------------------------------------------------------------


def stack_kib(process):
    """The stack of the biggest thread but the first, as the system has mapped it."""
    maps = processes.read_proc(process, "maps").decode().splitlines()
    sizes = [[int(n, 16) for n in line.split()[0].split("-")] for line in maps if line.endswith((" 0", "0 "))]
    return sorted((end - begin) // 1024 for begin, end in sizes)


@pytest.mark.parametrize("bytes_", [524288, 16 << 20])
def test_stack_size(daemon, ours, bytes_):
    httpd = daemon(f"threads=3 stack-size={bytes_}")
    sizes = stack_kib(pid(httpd))
    assert sizes.count(bytes_ // 1024) >= 3, sizes
    assert httpd.json("/evaluate?len(__import__('json').dumps(dict(os.environ)))") > 0


@pytest.mark.ours("the original takes what the system allows")
@pytest.mark.check
def test_a_stack_that_is_too_small_is_made_larger(daemon):
    httpd = daemon("threads=1 stack-size=16384")
    httpd.log.expect("process group \"app\": stack-size=16384 is too small for Python; request threads get the smallest stack that works, 262144 bytes")
    assert httpd.get("/hello").status == 200


def interval(httpd):
    return httpd.json("/evaluate?sys.getswitchinterval()")


def test_switch_interval(daemon):
    httpd = daemon("threads=1 switch-interval=0.02")
    assert interval(httpd) == pytest.approx(0.02)


@pytest.mark.parametrize("name", ["", "x"], ids=["main", "named"])
@pytest.mark.ours("in the original a new interpreter brings the top level's value back")
@pytest.mark.check
def test_switch_interval_stands_above_the_directive(httpd, name):
    httpd.all_apps()
    httpd.start(f"""WSGISwitchInterval 0.03
WSGIDaemonProcess app threads=1 switch-interval=0.02
WSGIProcessGroup app
WSGIScriptAlias /hello {httpd.root}/apps/hello.wsgi application-group=%{{GLOBAL}}
WSGIScriptAlias /evaluate {httpd.root}/apps/evaluate.wsgi application-group={name or "%{GLOBAL}"}
""")
    assert interval(httpd) == pytest.approx(0.02)


@pytest.mark.modes("daemon", "embedded")
def test_the_directive_holds_in_all_processes(httpd, mode):
    httpd.all_apps()
    group = "WSGIDaemonProcess app threads=1\nWSGIProcessGroup app" if mode == "daemon" else ""
    httpd.start(f"""WSGISwitchInterval 0.03
{group}
WSGIApplicationGroup %{{GLOBAL}}
WSGIScriptAlias /evaluate {httpd.root}/apps/evaluate.wsgi
""")
    assert interval(httpd) == pytest.approx(0.03)
