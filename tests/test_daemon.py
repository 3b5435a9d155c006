"""Daemon mode: what an application sees of its process, and how requests find a thread."""

import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import processes
import pythons
from httpd import IS_ROOT
from load import Background, at_once, busy, timed
from processes import wait_until

needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root can change users")


def where(httpd):
    return httpd.json("/where")


# -- what the application sees ---------------------------------------------------------------------


@pytest.mark.parametrize("options, multithread, multiprocess", [
    ("", True, False), ("threads=1", False, False), ("processes=2 threads=3", True, True),
    ("processes=1 threads=1", False, True),
])
@pytest.mark.check
def test_processes_and_threads_are_told(daemon, options, multithread, multiprocess):
    told = where(daemon(options))
    assert (told["multithread"], told["multiprocess"]) == (multithread, multiprocess)
    assert told["run_once"] is False


def test_all_processes_and_threads_serve(daemon):
    httpd = daemon("processes=3 threads=2")
    outcomes = at_once(httpd, ["/sleep?1"] * 6)
    assert {o.result for o in outcomes} == {200}
    assert max(o.seconds for o in outcomes) < 1.9, "six requests ran side by side"
    assert len({o.body for o in outcomes}) == 3


@needs_root
def test_the_user_is_apaches_unless_configured(daemon):
    told = where(daemon("threads=2"))
    assert (told["user"], told["group"]) == ("www-data", "www-data")


@needs_root
def test_user_and_group(daemon):
    httpd = daemon("user=games group=daemon home=/tmp")
    told = where(httpd)
    assert (told["user"], told["group"]) == ("games", "daemon")
    assert 0 not in told["groups"]
    assert processes.process(told["pid"]).uid != 0


def test_the_user_root_is_refused(httpd):
    assert not httpd.configtest("WSGIDaemonProcess app user=root")
    assert "root" in httpd.control_output


@pytest.mark.check
def test_umask(daemon):
    assert where(daemon("umask=0027"))["umask"] == 0o027


def test_home_is_the_working_folder_and_first_on_the_path(daemon, httpd):
    home = httpd.root / "home"
    home.mkdir()
    told = where(daemon(f"home={home}"))
    assert told["cwd"] == str(home) and told["path"][0] == str(home)


def test_lang_and_locale(daemon):
    told = where(daemon("lang=C.UTF-8 locale=C.UTF-8"))
    assert told["env"]["LANG"] == told["env"]["LC_ALL"] == "C.UTF-8"
    assert told["locale"].upper().replace("-", "") == "C.UTF8"


def test_text_is_utf8_without_further_configuration(daemon):
    told = where(daemon())
    assert told["utf8_mode"] == 1 or "UTF" in told["locale"].upper()


@pytest.mark.check
def test_display_name(daemon):
    httpd = daemon("display-name=%{GROUP}")
    assert processes.process(where(httpd)["pid"]).cmdline.startswith("(wsgi:app)")


def test_python_path_comes_before_the_installed_packages(daemon, httpd):
    folder = httpd.root / "modules"
    folder.mkdir()
    path = where(daemon(f"python-path={folder}"))["path"]
    packages = [i for i, p in enumerate(path) if p.endswith(("dist-packages", "site-packages"))]
    assert path.index(str(folder)) < min(packages, default=len(path))


def test_python_home_is_a_virtual_environment(daemon):
    home = pythons.venv("plain")
    told = where(daemon(f"python-home={home}"))
    assert told["prefix"] == str(home)
    assert any(p.startswith(str(home)) for p in told["path"])


@pytest.mark.ours("an option of ours")
def test_environment_variables_by_option(daemon):
    env = where(daemon("env=ONE=1 env=TWO=a=b env=\"THREE=with space\""))["env"]
    assert (env["ONE"], env["TWO"], env["THREE"]) == ("1", "a=b", "with space")


@pytest.mark.ours("the original runs inside httpd's executable")
@pytest.mark.check
def test_the_process_is_an_ordinary_python(daemon):
    told = where(daemon("python=/usr/bin/python3"))
    assert told["executable"] == "/usr/bin/python3"
    target = os.readlink(f"/proc/{told['pid']}/exe")
    assert target == os.path.realpath("/usr/bin/python3")


@pytest.mark.ours("the original executes nothing")
def test_a_process_has_a_session_of_its_own_and_few_descriptors(daemon):
    httpd = daemon("threads=2")
    pid = where(httpd)["pid"]
    assert os.getsid(pid) != os.getsid(httpd.pid)
    listening = [t for t in processes.descriptors(pid).values() if t.endswith("error.log")]
    assert not listening, "the error log belongs to the supervisor"


# -- who may run what ------------------------------------------------------------------------------


@needs_root
@pytest.mark.parametrize("option", ["script-user=www-data", "script-group=www-data"])
def test_a_script_must_belong_to_the_configured_user_or_group(daemon, httpd, option):
    daemon(option)
    httpd.log.expect("hello.wsgi|apps")
    assert httpd.get("/hello").status == 403
    for path in (httpd.root / "apps", httpd.root / "apps/hello.wsgi"):
        shutil.chown(path, "www-data", "www-data")
    assert httpd.get("/hello").status == 200


@needs_root
def test_a_script_that_others_may_write_is_refused(daemon, httpd):
    daemon("script-user=www-data")
    httpd.own(httpd.root / "apps")
    httpd.own(httpd.root / "apps/hello.wsgi").chmod(0o666)
    httpd.log.expect("hello.wsgi")
    assert httpd.get("/hello").status == 403


# -- how requests find a thread --------------------------------------------------------------------


def test_no_request_queues_behind_a_busy_process(daemon):
    httpd = daemon("processes=5 threads=1")
    at_once(httpd, ["/sleep?0.3"] * 5)
    with busy(httpd, 3, count=4) as running:
        assert len(set(running.pids)) == 4
        short = [timed(httpd, "/sleep?0") for _ in range(50)]
        assert not any(f.done() for f in running.futures), "the four are still busy"
    assert {o.result for o in short} == {200}
    assert max(o.seconds for o in short) < 1
    assert {int(o.body) for o in short}.isdisjoint(running.pids)


def test_no_request_waits_while_a_thread_is_idle(daemon):
    httpd = daemon("processes=2 threads=2")
    at_once(httpd, ["/sleep?0.2"] * 4)
    with busy(httpd, 3, count=3):
        assert max(timed(httpd, "/sleep?0").seconds for _ in range(20)) < 1


def test_requests_beyond_the_capacity_wait_for_their_turn(daemon):
    httpd = daemon("processes=1 threads=2")
    outcomes = at_once(httpd, ["/sleep?0.2"] * 8)
    assert {o.result for o in outcomes} == {200}
    assert 0.75 < max(o.seconds for o in outcomes) < 3


def test_queue_timeout_is_a_504(daemon):
    httpd = daemon("threads=1 queue-timeout=1")
    httpd.get("/hello")
    httpd.log.allow("(?i)queue")
    with busy(httpd, 3) as running:
        late = timed(httpd, "/hello")
    assert late.result == 504
    assert [o.result for o in running.outcomes()] == [200]


@pytest.mark.ours("the original notices only when a thread is free")
def test_queue_timeout_ends_the_wait_itself_and_says_why(daemon):
    httpd = daemon("threads=1 queue-timeout=1")
    httpd.get("/hello")
    httpd.log.expect("queue-timeout")
    with busy(httpd, 4):
        late = timed(httpd, "/hello")
        assert late.result == 504 and 0.9 < late.seconds < 2.5


@pytest.mark.ours("the original retries and gives no hint when to come back")
def test_a_full_backlog_is_a_503_with_retry_after(daemon):
    httpd = daemon("threads=1 listen-backlog=2")
    httpd.get("/hello")
    httpd.log.expect("listen-backlog")
    with busy(httpd, 3), ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(httpd.get, ["/hello"] * 5))
    assert sorted(answer.status for answer in answers) == [200, 200, 503, 503, 503]
    assert all(answer.header("Retry-After") for answer in answers if answer.status == 503)


def test_socket_timeout_is_a_504(daemon):
    httpd = daemon("threads=2 socket-timeout=1")
    httpd.log.expect("(?i)time")
    begun = time.monotonic()
    assert httpd.get("/sleep?4").status == 504
    assert time.monotonic() - begun < 3.5


def test_maximum_requests_replaces_processes_and_fails_no_request(daemon):
    httpd = daemon("processes=2 threads=2 maximum-requests=10 graceful-timeout=10")
    outcomes = []

    def processes_seen():
        outcomes.extend(at_once(httpd, ["/sleep?0.005"] * 4))
        return len({o.body for o in outcomes})

    wait_until(lambda: processes_seen() > 4, 30, "replacements serve")
    assert {o.result for o in outcomes} == {200} and len(outcomes) > 20
