"""The life of processes: restarts, stops, and what happens when one of them is killed."""

import os
import shutil
import signal
import time

import pytest

import processes
from httpd import IS_ROOT
from load import Load, busy, timed
from processes import wait_until

GONE = "(?i)process|daemon|supervisor|signal|connection|closed|response|WSGI0"



def where(httpd):
    return httpd.json("/where")


# -- graceful, restart, stop -----------------------------------------------------------------------


@pytest.mark.check
def test_graceful_brings_new_processes(daemon):
    httpd = daemon("threads=2")
    before = where(httpd)["pid"]
    httpd.graceful()
    wait_until(lambda: where(httpd)["pid"] != before, 15, "a new process serves")
    wait_until(lambda: not processes.process(before), 15, "the old process ends")


@pytest.mark.ours("the original's daemon processes have 3 s")
def test_graceful_lets_long_requests_finish(daemon):
    httpd = daemon("threads=2")
    with busy(httpd, 6) as running:
        httpd.graceful()
        assert httpd.get("/hello").status == 200
    assert [o.result for o in running.outcomes()] == [200]


@pytest.mark.ours("the original closes sockets that children still use")
def test_graceful_under_load_fails_no_request(daemon):
    httpd = daemon("processes=2 threads=3")
    with Load(httpd, "/sleep?0.005", clients=6) as load:
        for _ in range(3):
            httpd.graceful()
            load.more(30)
    assert set(load.results()) == {200}, load.results()
    assert load.slowest() < 3


@pytest.mark.ours("the original closes sockets that children still use")
def test_graceful_with_more_threads_than_fit_fails_no_request(daemon):
    httpd = daemon("threads=1 listen-backlog=200")
    with Load(httpd, "/sleep?0.005", clients=6) as load:
        load.more(30)
        text = httpd.conf_file.read_text()
        httpd.conf_file.write_text(text.replace("threads=1 ", "threads=100 "))
        before = where(httpd)["pid"]
        httpd.graceful()
        wait_until(lambda: where(httpd)["pid"] != before, 15, "a new process serves")
        load.more(100)
        wait_until(lambda: not processes.process(before), 15, "the old process ends")
    assert set(load.results()) == {200}, load.results()


@pytest.mark.ours("the original has no supervisor")
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("back", [False, True], ids=["once", "and-back"])
def test_graceful_that_adds_a_group_of_another_user_fails_no_request(daemon, httpd, back):
    daemon("processes=2 threads=3")
    text = httpd.conf_file.read_text()
    with busy(httpd, 8) as running, Load(httpd, "/sleep?0.005", clients=6) as load:
        load.more(30)
        before = httpd.supervisor().pid
        httpd.conf_file.write_text(f"""{text}
WSGIDaemonProcess second threads=1 user=nobody home=/
WSGIScriptAlias /second {httpd.root}/apps/where.wsgi process-group=second
""")
        httpd.graceful()
        assert httpd.json("/second")["user"] == "nobody"
        if back:
            httpd.conf_file.write_text(text)
            httpd.graceful()
        load.more(100)
        wait_until(lambda: not processes.process(before), 20, "the former supervisor ends")
    assert [o.result for o in running.outcomes()] == [200]
    assert set(load.results()) == {200}, load.results()
    assert not httpd.log.matching("AH00167|was lost")


@pytest.mark.ours("the original has no supervisor")
def test_a_graceful_without_groups_ends_the_supervisor_and_another_one_brings_it_back(daemon, httpd):
    daemon("threads=2")
    text = httpd.conf_file.read_text()
    before = httpd.supervisor().pid
    httpd.conf_file.write_text("\n".join(
        line for line in text.splitlines() if not line.startswith(("WSGIDaemon", "WSGIProcess"))))
    httpd.graceful()
    wait_until(lambda: not processes.process(before), 15, "the supervisor ends")
    assert not httpd.supervisor()
    httpd.conf_file.write_text(text)
    httpd.graceful()
    wait_until(lambda: timed(httpd, "/hello").result == 200 and httpd.supervisor(), 15, "it is back")
    assert not httpd.log.matching("AH00167|was lost")


@pytest.mark.ours("the original has no supervisor")
def test_a_supervisor_that_cannot_be_started_is_started_later(daemon, httpd):
    home = httpd.root / "module"
    home.mkdir()
    for name in ("libmod_wsgi.so", "libwsgi_engine.so", "wsgi-supervisor"):
        shutil.copy(httpd.module.parent / name, home / name)
    httpd.module = home / "libmod_wsgi.so"
    daemon("threads=2")
    httpd.log.allow(GONE)
    program = home / "wsgi-supervisor"
    program.chmod(0o644)
    os.kill(httpd.supervisor().pid, signal.SIGKILL)
    httpd.log.wait_for("httpd tries again every few seconds", 10)
    program.chmod(0o755)
    wait_until(httpd.supervisor, 30, "a supervisor")
    assert timed(httpd, "/hello").result == 200


def test_restart_replaces_everything(daemon):
    httpd = daemon("threads=2")
    before = {p.pid for p in httpd.processes()} - {httpd.pid}
    httpd.restart()
    assert httpd.get("/hello").status == 200
    wait_until(lambda: not any(processes.process(p) for p in before), 15, "all old ones end")


@pytest.mark.check
def test_a_restart_with_changed_options_applies_them(daemon):
    httpd = daemon("threads=2 umask=0022")
    text = httpd.conf_file.read_text()
    httpd.conf_file.write_text(text.replace("umask=0022", "umask=0077"))
    httpd.graceful()
    wait_until(lambda: where(httpd)["umask"] == 0o077, 15, "the new umask")


def test_a_removed_group_ends_its_processes(daemon, httpd):
    daemon("threads=2", "WSGIDaemonProcess second threads=2\n"
           f"WSGIScriptAlias /second {httpd.root}/apps/where.wsgi process-group=second")
    pid = httpd.json("/second")["pid"]
    text = httpd.conf_file.read_text()
    httpd.conf_file.write_text("\n".join(
        line for line in text.splitlines() if "second" not in line))
    httpd.graceful()
    wait_until(lambda: not processes.process(pid), 15, "its process ends")
    assert httpd.get("/hello").status == 200


def test_stop_ends_everything_although_a_request_runs(daemon):
    httpd = daemon("threads=2 shutdown-timeout=2")
    httpd.log.allow(GONE + "|AH00046")
    with busy(httpd, 30):
        begun = time.monotonic()
        httpd.stop()
        wait_until(lambda: not httpd.processes(), 8, "all processes end")
        assert time.monotonic() - begun < 15, "httpd itself gives its children 10 s"


@pytest.mark.ours("the original kills after 3 s, and says nothing of each")
@pytest.mark.mpms("event", "prefork")
def test_stop_ends_processes_that_cannot_act(daemon):
    """The supervisor sees to it, and has the time to say so of each."""
    httpd = daemon("processes=6 shutdown-timeout=1")
    httpd.log.wait_for("is ready after", 20, count=6)
    stopped = [p.pid for p in httpd.processes() if p.ppid == httpd.supervisor().pid]
    assert len(stopped) == 6
    httpd.log.expect("shutdown-timeout=1")
    processes.kill(stopped, signal.SIGSTOP)
    httpd.stop()
    assert [pid for pid in stopped if not httpd.log.matching(f"process {pid} is gone .*killed by SIGKILL")] == []


def test_graceful_stop_lets_requests_finish(daemon):
    httpd = daemon("threads=2", "GracefulShutdownTimeout 10")
    with busy(httpd, 4) as running:
        httpd.graceful_stop()
    assert [o.result for o in running.outcomes()] == [200]


# -- killed ----------------------------------------------------------------------------------------


def test_a_killed_daemon_process_is_replaced_and_only_its_own_requests_fail(daemon):
    httpd = daemon("threads=2")
    httpd.log.allow(GONE)
    with busy(httpd, 5) as running:
        os.kill(running.pids[0], signal.SIGKILL)
        assert timed(httpd, "/hello").result == 200
    assert [o.result for o in running.outcomes()] == [502]


@pytest.mark.ours("the original words it otherwise")
@pytest.mark.check
def test_the_log_tells_the_group_and_the_signal_of_a_lost_process(daemon):
    httpd = daemon("threads=2")
    httpd.log.expect('"app".*SIGKILL')
    httpd.log.allow(GONE)
    os.kill(where(httpd)["pid"], signal.SIGKILL)
    wait_until(lambda: timed(httpd, "/hello").result == 200, 10, "it serves again")


@pytest.mark.ours("the original's clients may see 502 or 503")
def test_under_load_a_killed_process_costs_only_what_it_executed(daemon):
    httpd = daemon("processes=2 threads=2")
    httpd.log.allow(GONE)
    with Load(httpd, "/where", clients=4) as load:
        load.more(50)
        os.kill(where(httpd)["pid"], signal.SIGKILL)
        load.more(100)
    failed = sum(n for result, n in load.results().items() if result != 200)
    assert failed <= 2 and set(load.results()) <= {200, 502}, load.results()


@pytest.mark.ours("the original ends the response as if complete")
@pytest.mark.check
def test_a_process_killed_while_it_sends_truncates_visibly(daemon):
    httpd = daemon("threads=2")
    httpd.log.allow(GONE)
    head, body = httpd.raw_get("/crash/after")
    assert "200 OK" in head and not body.endswith(b"0\r\n\r\n")
    # And nothing comes after it, no error page either.
    assert b"xxx" in body and b"<" not in body and b"HTTP" not in body


def test_a_process_killed_before_it_answers_is_a_502(daemon):
    httpd = daemon("threads=2")
    httpd.log.allow(GONE)
    assert httpd.get("/crash/before").status == 502
    assert httpd.get("/hello").status == 200


@pytest.mark.ours("the original has no supervisor")
def test_a_killed_supervisor_is_replaced_within_two_seconds(daemon):
    httpd = daemon("processes=2 threads=2")
    httpd.log.allow(GONE)
    httpd.get("/hello")
    before = httpd.supervisor().pid
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: (found := httpd.supervisor()) and found.pid != before, 2, "a new one")
    assert timed(httpd, "/hello").result == 200
    os.kill(where(httpd)["pid"], signal.SIGKILL)
    assert timed(httpd, "/hello").result == 200, "the new supervisor does its work"


@pytest.mark.ours("the original has no supervisor")
def test_requests_are_served_while_the_supervisor_is_replaced(daemon):
    """By the processes that it had started, until others are ready; those that wait for a connection get one."""
    httpd = daemon("processes=2 threads=2")
    httpd.log.allow(GONE)
    with Load(httpd, "/hello", clients=4) as load:
        for count in 2, 4, 6:
            load.more(50)
            before = {where(httpd)["pid"] for _ in range(20)}
            os.kill(httpd.supervisor().pid, signal.SIGKILL)
            httpd.log.wait_for("was started by the lost supervisor", 10, count=count)
            wait_until(lambda: where(httpd)["pid"] not in before, 20, "new processes serve")
    assert set(load.results()) == {200}, load.results()


@pytest.mark.ours("the original has no supervisor")
@pytest.mark.parametrize("options", ["", "reload=rolling"], ids=["immediate", "rolling"])
def test_old_code_serves_after_the_loss_of_the_supervisor_if_new_code_cannot_be_loaded(httpd, options):
    script = "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'{}']\n"
    deploy = lambda text: httpd.write("apps/new", text).rename(httpd.root / "apps/a.wsgi")  # noqa: E731
    deploy(script.format("old"))
    httpd.start(f"WSGIDaemonProcess app processes=2 threads=2 {options}\n"
                f"WSGIScriptReloading {'On' if options else 'Off'}\n"
                f"WSGIScriptAlias / {httpd.root}/apps/a.wsgi process-group=app")
    httpd.log.allow(GONE + "|cannot be loaded|File |def application|SyntaxError|\\^")
    httpd.log.wait_for("is ready after", 20, count=2)
    with Load(httpd, "/", clients=4) as load:
        load.more(50)
        deploy("def application(:")
        os.kill(httpd.supervisor().pid, signal.SIGKILL)
        httpd.log.wait_for("kept the running version: the 2 running processes go on", 20)
        os.kill(httpd.supervisor().pid, signal.SIGKILL)
        httpd.log.wait_for("kept the running version: the 2 running processes go on", 20, count=2)
        load.more(50)
        assert {outcome.body for outcome in load.outcomes} == {b"old"}
        deploy(script.format("new"))
        wait_until(lambda: load.outcomes[-1].body == b"new", 20, "the mended script is served")
    assert set(load.results()) == {200}, load.results()


@pytest.mark.ours("the original has no supervisor")
@pytest.mark.parametrize("options", ["", "reload=rolling"], ids=["immediate", "rolling"])
def test_code_that_never_loaded_is_no_running_version_after_the_loss_of_the_supervisor(httpd, options):
    deploy = lambda text: httpd.write("apps/new", text).rename(httpd.root / "apps/a.wsgi")  # noqa: E731
    deploy("def application(:\n")
    httpd.start(f"WSGIDaemonProcess app processes=2 threads=2 {options}\n"
                f"WSGIScriptAlias / {httpd.root}/apps/a.wsgi process-group=app")
    httpd.log.allow(GONE + "|cannot be loaded|File |def application|SyntaxError|\\^|could not load")
    httpd.log.wait_for("requests get 500 until a process can load it", 20)
    assert httpd.get("/").status == 500
    os.kill(httpd.supervisor().pid, signal.SIGKILL)
    httpd.log.wait_for("was started by the lost supervisor", 10)
    deploy("def application(:  # still\n")
    assert httpd.get("/").status == 500
    deploy("def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'new']\n")
    wait_until(lambda: httpd.get("/").body == b"new", 20, "the mended script is served")
    assert not httpd.log.matching("kept the running version")


@pytest.mark.ours("the original has no supervisor")
@pytest.mark.skipif(not IS_ROOT or not shutil.which("setpriv"), reason="needs root and setpriv")
def test_what_processes_print_is_read_after_the_loss_of_a_supervisor_that_may_not_look_into_them(httpd):
    """As in containers: root, without the capability to look into other users' processes."""
    script = httpd.write("apps/a.wsgi", "import os\n"
                         "def application(environ, start_response):\n    os.write(2, (b'-' * 99 + bytes([10])) * 300)\n"
                         "    start_response('200 OK', [])\n    return [b'old']\n")
    httpd.wrapper = ["setpriv", "--bounding-set", "-sys_ptrace"]
    httpd.start("WSGIDaemonProcess app processes=1 threads=2 reload=rolling\nWSGIDaemonProcess other user=nobody\n"
                f"WSGIScriptAlias / {script} process-group=app")
    httpd.log.allow(GONE + "|-----|cannot be loaded|File |def application|SyntaxError|\\^")
    assert httpd.get("/").status == 200
    httpd.write("apps/new", "def application(:\n").rename(script)
    os.kill(httpd.supervisor().pid, signal.SIGKILL)
    httpd.log.wait_for("kept the running version", 20)
    with Load(httpd, "/", clients=1) as load:
        load.more(10)
    assert set(load.results()) == {200}, load.results()


@pytest.mark.ours("the original has no supervisor")
def test_restart_leaves_no_process_of_a_supervisor_that_was_just_lost(httpd):
    """Not even where another module's process has inherited httpd's descriptors."""
    httpd.configure(f"WSGIDaemonProcess app processes=2 threads=2\n"
                    f"WSGIScriptAlias / {httpd.app('hello')} process-group=app\nScriptSock {httpd.root}/tmp/cgi",
                    modules=["cgid"])
    httpd.start()
    httpd.log.allow(GONE)
    httpd.log.wait_for("is ready after", 20, count=2)
    old = [p.pid for p in httpd.processes() if "(wsgi:app)" in p.cmdline]
    os.kill(httpd.supervisor().pid, signal.SIGKILL)
    httpd.restart()
    wait_until(lambda: not any(processes.process(pid) for pid in old), 30, "they are gone")


@pytest.mark.ours("the original has no supervisor")
def test_a_process_on_its_own_ends_after_httpd_without_a_shutdown_timeout(daemon):
    httpd = daemon("processes=1 threads=1 shutdown-timeout=0")
    httpd.log.allow(GONE)
    with busy(httpd, 60):
        os.kill(httpd.supervisor().pid, signal.SIGKILL)
        httpd.control("-k", "stop")
        wait_until(lambda: not httpd.processes(), 30, "the process ends")


@pytest.mark.ours("the original leaves its daemon processes behind")
@pytest.mark.parametrize("stopped", [False, True], ids=["", "supervisor-stopped"])
def test_a_killed_parent_leaves_no_daemon_process(daemon, stopped):
    httpd = daemon("processes=2 threads=2 shutdown-timeout=2")
    httpd.log.allow(GONE)
    httpd.get("/hello")
    children = [p.pid for p in httpd.children()]
    stays = [httpd.supervisor().pid] if stopped else []
    with busy(httpd, 20):
        processes.kill(stays, signal.SIGSTOP)
        os.kill(httpd.pid, signal.SIGKILL)
        others = lambda: [p for p in httpd.processes() if p.pid not in children + stays]  # noqa: E731
        wait_until(lambda: not others(), 2 + 1.5 + 3 * stopped, "supervisor and daemon processes end")
        processes.kill(children + stays)
    httpd.pid_file.unlink()
