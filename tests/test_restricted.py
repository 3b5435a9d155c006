"""WSGIRestrictStdin, WSGIRestrictStdout, WSGIRestrictSignal, and settings by <WSGIInterpreterOptions>."""

import subprocess

import pytest

from conftest import mode_directives
from httpd import HTTPD
from processes import wait_until

STDIN = "OSError: sys.stdin access restricted by mod_wsgi"
STDOUT = "OSError: sys.stdout access restricted by mod_wsgi"


def allow_failing_flush(httpd, ours):
    """At its end Python flushes sys.stdout, which fails in the original."""
    if not ours:
        httpd.log.allow("Exception ignored in|sys.stdout access restricted")


def serve(httpd, mode, directives, group="%{GLOBAL}"):
    script = httpd.app("restricted")
    return httpd.start(f"""{directives}
{mode_directives(mode)}WSGIApplicationGroup {group}
WSGIScriptAlias / {script}""")


@pytest.mark.check
def test_by_default_streams_can_be_used_and_signals_are_ignored(httpd, mode):
    serve(httpd, mode, "")
    assert httpd.get("/stdin").text == "'<stdin>'"
    assert httpd.get("/stdout").text == "'<stdout>'"
    assert httpd.get("/signal").text == "True"
    assert httpd.get("/import").text == "True"
    httpd.log.wait_for("signal 12")
    httpd.log.wait_for("line .*, in register")


@pytest.mark.parametrize("group", ["%{GLOBAL}", "own"])
def test_streams_can_be_restricted(httpd, mode, group, ours):
    allow_failing_flush(httpd, ours)
    serve(httpd, mode, "WSGIRestrictStdin On\nWSGIRestrictStdout On", group)
    assert httpd.get("/stdin").text == STDIN
    assert httpd.get("/change").text in (STDIN, "AttributeError")
    assert httpd.get("/stdout").text == STDOUT
    assert httpd.get("/stderr").text == "'<stderr>'"


@pytest.mark.check
def test_an_application_that_prints_where_it_may_not_fails(httpd, mode):
    httpd.log.expect("sys.stdout access restricted by mod_wsgi")
    httpd.log.allow("Exception|Traceback|File|print|OSError|\\^")
    script = httpd.app("errors")
    httpd.start(f"WSGIRestrictStdout On\n{mode_directives(mode)}WSGIScriptAlias / {script}")
    assert httpd.get("/print").status == 500
    httpd.log.expect("a line to stderr")
    assert httpd.get("/stderr").status == 200


@pytest.mark.ours("the process is ended by the signal")
@pytest.mark.parametrize("group", ["%{GLOBAL}", "own"])
def test_a_timer_whose_handler_is_not_registered_ends_nothing(httpd, mode, group):
    httpd.log.expect(r"\[wsgi:warn\].* WSGI1381: Ignoring Python signal handler registration for signal 14 \(SIGALRM\)")
    httpd.log.allow(r"restricted.wsgi|signal.signal|return func")
    serve(httpd, mode, "", group)
    assert httpd.get("/alarm").text == "0 SIGALRM"
    assert httpd.get("/alarm").text == "0 SIGALRM"
    told = httpd.log.wait_for("registration for signal 14")
    assert "the process ignores the signal" in told and len(httpd.log.matching("registration for signal 14")) == 1


@pytest.mark.modes("daemon")
@pytest.mark.ours("its threads are not Python's main thread, so Python refuses")
def test_signals_may_be_registered_while_the_script_loads(httpd, mode):
    serve(httpd, mode, "WSGIRestrictSignal Off")
    # The handler before it is returned, not the new one.
    assert httpd.get("/import").text == "False"


def test_unrestricted_signals_are_for_the_main_thread(httpd, mode):
    httpd.log.allow("ValueError|Exception|Traceback|File|main thread|register|\\^|restricted|signal")
    serve(httpd, mode, "WSGIRestrictSignal Off")
    assert httpd.get("/signal").status == 500


def test_a_forked_process_has_its_signals_for_itself(httpd, mode):
    httpd.log.allow("ValueError|Traceback|File|main thread")
    serve(httpd, mode, "")
    assert httpd.get("/fork").text == "7"


CONTAINERS = [
    ("WSGIRestrictStdin On", "", "x", True),
    ("", "WSGIRestrictStdin On", "x", True),
    ("WSGIRestrictStdin On", "WSGIRestrictStdin Off", "x", False),
    ("", "application-group=x WSGIRestrictStdin On", "x", True),
    ("", "application-group=y WSGIRestrictStdin On", "x", False),
    ("", "application-group=%{GLOBAL} WSGIRestrictStdin On", "x", False),
    ("", "application-group=%{GLOBAL} WSGIRestrictStdin On", "%{GLOBAL}", True),
    ("", "process-group=HERE WSGIRestrictStdin On", "x", True),
    ("", "process-group=there WSGIRestrictStdin On", "x", False),
    ("", "process-group=HERE application-group=x WSGIRestrictStdin On; WSGIRestrictStdin Off", "x", True),
    ("", "process-group=HERE WSGIRestrictStdin On; application-group=x WSGIRestrictStdin Off", "x", False),
]


def container(text, mode):
    *selectors, name, value = text.replace("HERE", "app" if mode == "daemon" else "%{GLOBAL}").split()
    return f"<WSGIInterpreterOptions {' '.join(selectors)}>\n{name} {value}\n</WSGIInterpreterOptions>\n"


@pytest.mark.parametrize("top, containers, group, restricted", CONTAINERS)
@pytest.mark.check
def test_the_most_specific_container_decides(httpd, mode, top, containers, group, restricted):
    blocks = "".join(container(text, mode) for text in containers.split(";") if text)
    serve(httpd, mode, f"{top}\n{blocks}", group)
    assert httpd.get("/stdin").text == (STDIN if restricted else "'<stdin>'")
    assert httpd.get("/group").text == ("" if group == "%{GLOBAL}" else group)


INTERVALS = [
    ("0.03", "process-group=HERE WSGISwitchInterval 0.04", "%{GLOBAL}", 0.04),
    ("", "process-group=HERE WSGISwitchInterval 0.04", "x", 0.04),
    ("0.03", "process-group=there WSGISwitchInterval 0.04", "%{GLOBAL}", 0.03),
    ("", "WSGISwitchInterval 0.04", "x", 0.04),
    ("0.03", "application-group=%{GLOBAL} WSGISwitchInterval 0.04", "%{GLOBAL}", 0.04),
    ("", "application-group=%{GLOBAL} WSGISwitchInterval 0.04; process-group=HERE WSGISwitchInterval 0.05", "%{GLOBAL}", 0.05),
]


@pytest.mark.parametrize("top, containers, group, expected", INTERVALS)
def test_containers_set_the_switch_interval_of_processes(httpd, mode, top, containers, group, expected):
    blocks = "".join(container(text, mode) for text in containers.split(";"))
    script = httpd.app("evaluate")
    httpd.start(f"{f'WSGISwitchInterval {top}' if top else ''}\n{blocks}{mode_directives(mode)}WSGIApplicationGroup {group}\n"
                f"WSGIScriptAlias / {script}")
    assert httpd.json("/?sys.getswitchinterval()") == pytest.approx(expected)


def test_a_switch_interval_for_one_interpreter_is_left_out_with_a_warning(httpd, mode):
    httpd.log.expect("(?i)switch.?interval.* 'x'")
    httpd.start(f"{container('application-group=x WSGISwitchInterval 0.04', mode)}{mode_directives(mode)}WSGIApplicationGroup x\n"
                f"WSGIScriptAlias / {httpd.app('evaluate')}")
    assert httpd.json("/?sys.getswitchinterval()") == pytest.approx(0.005)


def test_other_directives_in_a_container_are_those_of_the_server(httpd, mode):
    httpd.start(f"{container('process-group=there WSGIPythonOptimize 2', mode)}{mode_directives(mode)}"
                f"WSGIScriptAlias / {httpd.app('evaluate')}")
    assert httpd.json("/?sys.flags.optimize") == 2


def test_paths_of_containers_stand_first_the_most_specific_before_all(httpd, mode):
    folders = {name: httpd.write(f"{name}/x.txt", "").parent for name in ("base", "any", "group", "both")}
    for folder in folders.values():
        folder.chmod(0o755)
    here = "app" if mode == "daemon" else "%{GLOBAL}"
    base = f"WSGIPythonPath {folders['base']}\n" if mode == "embedded" else ""
    options = {"python-path": folders["base"]} if mode == "daemon" else {}
    script = httpd.app("restricted")
    httpd.start(f"""{base}
<WSGIInterpreterOptions process-group={here} application-group=x>
    WSGIPythonPath {folders['both']}
</WSGIInterpreterOptions>
<WSGIInterpreterOptions>
    WSGIPythonPath {folders['any']}
</WSGIInterpreterOptions>
<WSGIInterpreterOptions application-group=x>
    WSGIPythonPath {folders['group']}
</WSGIInterpreterOptions>
{mode_directives(mode, **options)}WSGIApplicationGroup x
WSGIScriptAlias / {script}""")
    path = httpd.get("/path").text.splitlines()
    assert path[:4] == [str(folders[name]) for name in ("both", "group", "any", "base")]


@pytest.mark.modes("daemon")
def test_a_process_whose_stdout_is_restricted_ends_in_order(httpd, mode, ours):
    allow_failing_flush(httpd, ours)
    httpd.log.allow("said at the end")
    script = httpd.write("apps/end.wsgi", "import atexit, sys\natexit.register(lambda: print('said at the end', file=sys.stderr))\n"
                         + httpd.app("hello").read_text())
    httpd.start(f"WSGIRestrictStdout On\n{mode_directives(mode)}WSGIScriptAlias / {script}")
    assert httpd.get("/").status == 200
    httpd.stop()
    httpd.log.wait_for("said at the end")


@pytest.mark.modes("embedded")
@pytest.mark.check
def test_the_streams_of_a_single_process_are_left_alone(httpd, mode):
    """`httpd -X`, as one starts it at a terminal to use a debugger."""
    script = httpd.write("apps/talk.wsgi", """import sys

def application(environ, start_response):
    print("asked at the terminal", flush=True)
    start_response("200 OK", [])
    return [sys.stdin.readline().encode()]
""")
    httpd.configure(f"WSGIRestrictStdin On\nWSGIRestrictStdout On\nWSGIApplicationGroup %{{GLOBAL}}\n"
                    f"WSGIScriptAlias / {script}")
    terminal = subprocess.Popen([HTTPD, "-f", httpd.conf_file, "-X"], env=httpd.env, cwd="/", text=True,
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        wait_until(httpd.accepts, 20, "httpd accepts")
        terminal.stdin.write("answered there\n")
        terminal.stdin.flush()
        assert httpd.get("/").text == "answered there\n"
        assert terminal.stdout.readline() == "asked at the terminal\n"
    finally:
        terminal.terminate()
        terminal.communicate(timeout=20)
        httpd.pid_file.unlink(missing_ok=True)  # A single process leaves it behind.
