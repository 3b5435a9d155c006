"""mod_wsgi.server_metrics(): what httpd's scoreboard says, in both modes."""

import json
import os
import signal
from urllib.parse import quote

import pytest

import processes
from load import Background
from processes import wait_until

APP = """
import json, os, time, mod_wsgi

AT_IMPORT = mod_wsgi.server_metrics()

def application(environ, start_response):
    mark, _, release = environ["QUERY_STRING"].partition(",")
    if mark:
        open(mark, "w").write("here")
        while not os.path.exists(release):
            time.sleep(0.01)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"now": mod_wsgi.server_metrics(), "import": AT_IMPORT, "pid": os.getpid()}).encode()]
"""

WHOLE = {
    "server_limit": int,
    "thread_limit": int,
    "running_generation": int,
    "restart_time": float,
    "current_time": float,
    "running_time": int,
    "processes": list,
}
CHILD = {"process_num": int, "pid": int, "generation": int, "quiescing": bool, "workers": list}
THREAD = {
    "thread_num": int,
    "generation": int,
    "status": str,
    "access_count": int,
    "bytes_served": int,
    "start_time": float,
    "stop_time": float,
    "last_used": float,
    "client": str,
    "request": str,
    "vhost": str,
}


def types(found):
    return {key: type(value) for key, value in found.items()}


@pytest.fixture(params=["embedded", "daemon"])
def metrics(request, httpd):
    """Starts httpd with /app; returns what tells the metrics."""

    def start(switch="On", extra="ExtendedStatus On", path="/app"):
        script = httpd.write("apps/metrics.wsgi", APP)
        if request.param == "daemon":
            mode = f"WSGIDaemonProcess app threads=4 server-metrics={switch}"
            alias = f"WSGIScriptAlias /app {script} process-group=app application-group=%{{GLOBAL}}"
        else:
            mode = f"WSGIServerMetrics {switch}"
            alias = f"WSGIScriptAlias /app {script} application-group=%{{GLOBAL}}"
        httpd.start(f"{extra}\n{mode}\n{alias}")
        return lambda: httpd.json(path)

    return start


@pytest.mark.mpms("event", "prefork")
@pytest.mark.check
def test_the_keys_are_those_of_mod_wsgi(metrics):
    found = metrics()()["now"]
    assert types(found) == WHOLE
    assert len(found["processes"]) == found["server_limit"]
    for child in found["processes"]:
        assert types(child) == CHILD
        assert len(child["workers"]) == found["thread_limit"]
        assert [thread for thread in child["workers"] if types(thread) != THREAD] == []


@pytest.mark.mpms("event", "prefork")
@pytest.mark.check
def test_it_is_what_httpd_does_now(metrics, httpd):
    ask = metrics()
    mark, release = httpd.root / "tmp/mark", httpd.root / "tmp/release"
    with Background(httpd, f"/app/held?{quote(str(mark))},{quote(str(release))}") as running:
        try:
            wait_until(lambda: mark.exists() and mark.read_text(), 20, "it is executed")
            answer = ask()
            first = answer["now"]
        finally:
            release.write_text("")
    assert running.outcomes()[0].result == 200
    mark.unlink()
    release.unlink()
    children = {child["pid"]: child for child in first["processes"]}
    # A daemon process of the original is a child, too.
    either = {0, answer["pid"]}
    assert set(children) | either == {child.pid for child in httpd.children()} | either
    writing = [it for child in first["processes"] for it in child["workers"] if it["status"] == "W"]
    requests = [it["request"].split("?")[0] for it in writing]
    assert sorted(request.split()[1] for request in requests) == ["/app", "/app/held"]
    held = next(it for it in writing if "/held" in it["request"])
    assert held["client"] == "127.0.0.1"
    assert held["vhost"].endswith(str(httpd.port))
    assert first["restart_time"] <= held["start_time"] <= first["current_time"]
    second = ask()["now"]
    assert second["current_time"] > first["current_time"]
    count = lambda found: sum(it["access_count"] for child in found["processes"] for it in child["workers"])
    assert count(second) >= count(first) + 2 - len(writing)


@pytest.mark.mpms("event")
@pytest.mark.check
def test_it_is_known_while_the_script_is_loaded(metrics):
    found = metrics()()
    assert types(found["import"]) == WHOLE


FORKS = """
import json, os, threading, mod_wsgi

def ask():
    while True:
        mod_wsgi.server_metrics()

# Whatever is locked at the fork stays so.
threading.Thread(target=ask, daemon=True).start()

def application(environ, start_response):
    found = []
    for _ in range(20):
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.write(writer, repr(mod_wsgi.server_metrics()).encode())
            os._exit(0)
        os.close(writer)
        with open(reader) as file:
            found.append(file.read())
        os.waitpid(pid, 0)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(found).encode()]
"""


@pytest.mark.ours("in the original a forked process reads what it has inherited")
@pytest.mark.mpms("event")
def test_a_process_that_the_application_forks_gets_none(httpd, mode):
    """It has neither the sockets nor the locks for itself."""
    group = "process-group=app" if mode == "daemon" else ""
    httpd.start(f"""
WSGIServerMetrics On
WSGIDaemonProcess app server-metrics=On
WSGIScriptAlias / {httpd.write("apps/forks.wsgi", FORKS)} {group} application-group=%{{GLOBAL}}
""")
    for _ in range(3):
        assert httpd.json("/") == ["None"] * 20


MANY = """
import json, os, threading, time, mod_wsgi

def application(environ, start_response):
    mark, release, answer = environ["QUERY_STRING"].split(",")
    open(mark, "w").close()
    while not os.path.exists(release):
        time.sleep(0.01)
    def ask():
        begun = time.monotonic()
        found.append((mod_wsgi.server_metrics() is not None, time.monotonic() - begun))
    found = []
    threads = [threading.Thread(target=ask) for _ in range(8)]
    [it.start() for it in threads]
    [it.join() for it in threads]
    with open(answer, "w") as file:
        file.write(json.dumps(found))
    start_response("200 OK", [])
    return []
"""


@pytest.mark.ours("the original reads the scoreboard itself")
@pytest.mark.mpms("event")
def test_without_an_answer_nobody_waits_for_long(httpd):
    """All children are stopped in the middle of the request: nobody is there to answer."""
    httpd.start(f"""
WSGIDaemonProcess app server-metrics=On
WSGIScriptAlias / {httpd.write("apps/many.wsgi", MANY)} process-group=app
""")
    mark, release, answer = (httpd.root / f"tmp/{name}" for name in ("mark", "release", "answer"))
    with Background(httpd, f"/?{quote(str(mark))},{quote(str(release))},{quote(str(answer))}") as running:
        wait_until(mark.exists, 20, "it is executed")
        children = [child.pid for child in httpd.children()]
        processes.kill(children, signal.SIGSTOP)
        release.write_text("")
        try:
            wait_until(lambda: answer.exists() and answer.read_text().endswith("]"), 30, "it has asked")
        finally:
            processes.kill(children, signal.SIGCONT)
    assert running.outcomes()[0].result == 200
    found = json.loads(answer.read_text())
    assert [told for told, _ in found] == [False] * 8
    # Not one after the other.
    assert max(seconds for _, seconds in found) < 4
    for file in (mark, release, answer):
        file.unlink()


@pytest.mark.mpms("event")
@pytest.mark.check
def test_nothing_is_told_unless_it_is_switched_on(metrics):
    assert metrics("Off")()["now"] is None


@pytest.mark.mpms("event", "prefork")
def test_it_is_none_without_being_asked_for(httpd):
    script = httpd.write("apps/metrics.wsgi", APP)
    httpd.start(f"""
WSGIDaemonProcess app
WSGIDaemonProcess other server-metrics=On
WSGIScriptAlias /daemon {script} process-group=app
WSGIScriptAlias /embedded {script} application-group=%{{GLOBAL}}
WSGIScriptAlias /other {script} process-group=other
""")
    assert httpd.json("/daemon")["now"] is None
    assert httpd.json("/embedded")["now"] is None
    assert types(httpd.json("/other")["now"]) == WHOLE


@pytest.mark.ours("the original's processes end with each graceful")
@pytest.mark.mpms("event", "prefork")
def test_a_new_configuration_and_a_new_supervisor_answer_too(metrics, httpd, request):
    ask = metrics()
    assert ask()["now"]["running_generation"] == 0
    httpd.graceful()
    wait_until(lambda: ask()["now"]["running_generation"] == 1, 30, "the new children answer")
    if "daemon" not in request.node.callspec.id:
        return
    httpd.log.allow("(?i)supervisor|process")
    old = httpd.supervisor().pid
    os.kill(old, signal.SIGKILL)
    httpd.wait_for_other_supervisor(old, 30)
    wait_until(lambda: ask()["now"], 30, "it is asked")


@pytest.mark.ours("the original reads the scoreboard itself")
@pytest.mark.mpms("event")
def test_a_process_that_asks_all_the_time_keeps_nobody_busy(httpd):
    """Its questions on the control socket: each is answered at most from what is known already."""
    script = httpd.write("apps/greedy.wsgi", f"""
import json, mod_wsgi, threading

{APP}

def ask():
    while True:
        mod_wsgi.server_metrics()

for _ in range(4):
    threading.Thread(target=ask, daemon=True).start()
""")
    httpd.start(f"""
WSGIDaemonProcess greedy server-metrics=On
WSGIDaemonProcess other server-metrics=On
WSGIScriptAlias /greedy {script} process-group=greedy application-group=%{{GLOBAL}}
WSGIScriptAlias /other {httpd.write("apps/metrics.wsgi", APP)} process-group=other application-group=%{{GLOBAL}}
""")
    assert types(httpd.json("/greedy")["now"]) == WHOLE
    before = {it.pid: processes.descriptors(it.pid) for it in [httpd.supervisor(), *httpd.children()]}
    for _ in range(50):
        assert types(httpd.json("/other")["now"]) == WHOLE
    for pid, held in before.items():
        assert len(processes.descriptors(pid)) <= len(held) + 8, pid
