"""WSGIPerInterpreterGIL: interpreters that run at the same moment, and what then needs a word."""

import re

import pytest

import pythons
from conftest import mode_directives
from load import Background, timed
from processes import wait_until

VERSIONS = [version for version in pythons.other_versions() if pythons.version_key(version) >= (3, 12)]
each_version = pytest.mark.parametrize("version", VERSIONS or ["3.12"])
# The original has the Python that it was built for.
OURS = pytest.mark.ours("each group has its own Python")
DAEMON = pytest.mark.modes("daemon")


@pytest.fixture
def serve(httpd):
    """Serves the application at /one, /two and /main, each in the interpreter of that name."""
    def start(lines, top="WSGIPerInterpreterGIL On"):
        script = httpd.app("own_gil")
        # Python 3.12 before 3.12.5 has another fault, of which it is warned.
        httpd.log.allow("has a fault in sub-interpreters")
        aliases = [f"WSGIScriptAlias /{name} {script} application-group={group}\n"
                   for name, group in (("one", "one"), ("two", "two"), ("main", "%{GLOBAL}"))]
        return httpd.start(f"{top}\n{lines}{''.join(aliases)}")

    return start


def in_daemon(version, options="", threads=4):
    python = pythons.other_python(version)
    return f"WSGIDaemonProcess app python={python} threads={threads} {options}\nWSGIProcessGroup app\n"


def results(running):
    return [outcome.result for request in running for outcome in request.outcomes()]


def meet(httpd, *names):
    """A request in each of two interpreters that ends only if both run at the same moment."""
    # What is made or loaded first needs the GIL of the main interpreter.
    assert all(httpd.get(f"/{name}/sleep?0").text == "slept" for name in names)
    shared = httpd.write("tmp/shared", "\0\0")
    httpd.own(shared)
    found = results([Background(httpd, f"/{name}/meet?{shared},{place}") for place, name in enumerate(names)])
    shared.unlink()
    return found


@OURS
@each_version
@pytest.mark.parametrize("names", [("one", "two"), ("main", "two")])
def test_two_interpreters_run_at_the_same_moment(httpd, serve, mode, version, names):
    # Two that keep their GIL at once need two threads.
    if mode == "embedded" and httpd.mpm == "prefork":
        pytest.skip("a child has one thread")
    serve(pythons.directives(pythons.other_python(version), mode))
    assert meet(httpd, *names) == [200, 200]


@OURS
@DAEMON
@each_version
def test_a_container_gives_one_interpreter_its_own(httpd, mode, serve, version):
    block = "<WSGIInterpreterOptions application-group=two>\nWSGIPerInterpreterGIL On\n</WSGIInterpreterOptions>"
    serve(in_daemon(version), block)
    assert meet(httpd, "one", "two") == [200, 200]
    # Which the others share with the main interpreter.
    assert httpd.get("/main/evaluate?sys.getswitchinterval()").text == "1000.0"
    assert httpd.get("/one/evaluate?sys.getswitchinterval()").text == "1000.0"


@OURS
@DAEMON
@each_version
def test_each_gil_has_its_own_switch_interval(httpd, mode, serve, version):
    block = ("WSGISwitchInterval 0.02\n<WSGIInterpreterOptions application-group=two>\nWSGISwitchInterval 0.04\n"
             "</WSGIInterpreterOptions>\nWSGIPerInterpreterGIL On")
    serve(in_daemon(version), block)
    told = [float(httpd.get(f"/{name}/evaluate?sys.getswitchinterval()").text) for name in ("one", "two", "main")]
    assert told == pytest.approx([0.02, 0.04, 0.02])


def test_an_older_python_shares_its_gil_and_one_warning_says_so(httpd, mode, serve, ours):
    if pythons.version_key(pythons.version_of(pythons.SYSTEM_PYTHON)) >= (3, 12):
        pytest.skip("the system's Python is new enough")
    # The original tells it elsewhere than in the log.
    if ours:
        httpd.log.expect(r"\[wsgi:warn\].*: WSGIPerInterpreterGIL On is left out: Python 3\.1[01]\.\d+ \(.*\) has one GIL for all ")
    serve(mode_directives(mode))
    assert [httpd.get(f"/{name}/sleep?0").text for name in ("one", "two", "one")] == ["slept"] * 3
    if ours and mode == "daemon":
        assert len(httpd.log.matching("WSGIPerInterpreterGIL On is left out")) == 1


# -- what reaches into all interpreters -----------------------------------------------------------------


def allow_exception(httpd):
    httpd.log.allow("Exception occurred|WSGI0174|Traceback|^  |    |  File|apache|\\^")


@OURS
@each_version
def test_forks_are_refused_as_soon_as_another_gil_is_there(httpd, mode, serve, version):
    serve(pythons.directives(pythons.other_python(version), mode))
    if mode == "daemon":
        assert httpd.get("/main/fork").text == "0"
    assert httpd.get("/one/sleep?0").text == "slept"
    httpd.log.expect(r"RuntimeError: os.fork\(\) is not possible in this process, in which an application group has a GIL of its "
                     r"own \(WSGIPerInterpreterGIL On\)")
    allow_exception(httpd)
    for _ in range(5):  # Embedded mode: in one of several children.
        if httpd.get("/main/fork").status == 500:
            break
        assert httpd.get("/one/sleep?0").text == "slept"
    httpd.log.wait_for("os.fork")
    # Programs can be started everywhere.
    call = "__import__('subprocess').call(['true'])"
    assert [httpd.get(f"/{name}/evaluate?{call}").text for name in ("one", "main")] == ["0", "0"]


@OURS
@DAEMON
@each_version
def test_frames_of_all_interpreters_are_refused(httpd, mode, serve, version):
    serve(in_daemon(version))
    assert httpd.get("/main/evaluate?len(sys._current_frames())>0").text == "True"
    assert httpd.get("/one/sleep?0").text == "slept"
    httpd.log.expect(r"RuntimeError: sys._current_frames\(\) is not possible in this process")
    allow_exception(httpd)
    assert httpd.get("/main/evaluate?sys._current_frames()").status == 500
    assert httpd.get("/one/evaluate?sys._current_frames()").status == 500


# -- timers -----------------------------------------------------------------------------------------


def begun(httpd, path):
    """A request that is being executed when this returns."""
    mark = httpd.root / "tmp" / f"mark{path.replace('/', '-')}"
    running = Background(httpd, f"{path}?{mark}")
    wait_until(mark.exists, 20, "it is executed")
    mark.unlink()
    return running


def allow_stacks(httpd):
    httpd.log.allow(r"\[wsgi:\w+\] \[pid \d+:tid \d+\] (WSGI(1103|135\d): process group|Thread|Current thread|  |$)|process \d+ was lost")


@OURS
@DAEMON
@each_version
def test_a_request_is_interrupted_beside_a_gil_that_is_kept(httpd, mode, serve, version):
    serve(in_daemon(version, "request-timeout=1 interrupt-timeout=60 shutdown-timeout=1 graceful-timeout=1"))
    httpd.log.expect("GET /two/spin on request thread .* the process raises mod_wsgi.RequestTimeout in it")
    httpd.log.expect(r"Request interrupted by RequestTimeout; thread recovered; the client gets 504")
    httpd.log.expect(r"Python stacks of application group 'one', while one of its threads keeps its GIL:")
    allow_stacks(httpd)
    # Both interpreters are there before one keeps its GIL, and the first to overrun has the stacks shown.
    assert [httpd.get(f"/{name}/sleep?0").text for name in ("one", "two")] == ["slept"] * 2
    spinner = begun(httpd, "/two/spin")
    keeper = begun(httpd, "/one/keep")
    assert results([spinner]) == [504]
    httpd.log.wait_for(r"own_gil.wsgi.*line \d+, in spin")
    httpd.log.wait_for(r"own_gil.wsgi.*line \d+.* in keep")
    assert httpd.log.matching(r"Thread 0x[0-9a-f]+ \(GET /two/spin on request thread \d\), most recent call last:")
    # The main interpreter, and the one whose request was interrupted, serve on.
    assert timed(httpd, "/two/sleep?0").result == 200 and timed(httpd, "/main/sleep?0").result == 200
    httpd.log.allow("did not end within|is cut off|killed")
    del keeper


@OURS
@DAEMON
@each_version
def test_a_gil_that_is_kept_is_found_whosever_it_is(httpd, mode, serve, version):
    serve(in_daemon(version, "deadlock-timeout=2 shutdown-timeout=1"))
    httpd.log.expect(r"no thread could have the global lock \(GIL\) of application group 'one' for \d+\.\d s, longer than "
                     r"deadlock-timeout=2; executing GET /one/keep on request thread \d for")
    allow_stacks(httpd)
    assert timed(httpd, "/main/sleep?0").result == 200
    assert results([begun(httpd, "/one/keep")]) == [502]
    wait_until(lambda: timed(httpd, "/two/sleep?0").result == 200, 30, "another process serves")
    assert httpd.log.matching(r"own_gil.wsgi.*line \d+.* in keep")


@OURS
@DAEMON
@each_version
def test_work_beside_other_gils_is_no_deadlock(httpd, mode, serve, version):
    serve(in_daemon(version, "deadlock-timeout=2 shutdown-timeout=1"))
    first = httpd.get("/one/evaluate?os.getpid()").text
    assert httpd.get("/two/sleep?5").text == "slept"
    assert [httpd.get(f"/{name}/evaluate?os.getpid()").text for name in ("one", "two", "main")] == [first] * 3


# -- extension modules ------------------------------------------------------------------------------


LIBRARY = ("asyncio", "datetime", "decimal", "hashlib", "json", "sqlite3", "ssl", "uuid", "xml.etree.ElementTree", "zoneinfo")


@OURS
@each_version
def test_the_library_works_in_several_interpreters(httpd, mode, serve, version):
    """CPython 3.12 and 3.13 break here by themselves: see load_extension in the engine."""
    serve(pythons.directives(pythons.other_python(version), mode))
    modules = ",".join(LIBRARY)
    expression = f"[__import__(name).__name__+for+name+in+'{modules}'.split(',')]"
    for name in ("one", "two", "main"):
        assert "zoneinfo" in httpd.get(f"/{name}/evaluate?{expression}").text
        now = "__import__('datetime').datetime(2026,1,2,tzinfo=__import__('zoneinfo').ZoneInfo('UTC')).isoformat()"
        assert httpd.get(f"/{name}/evaluate?{now}").text == "'2026-01-02T00:00:00+00:00'"
    httpd.stop()


@OURS
@DAEMON
@each_version
def test_a_module_that_refuses_is_named_with_what_helps(httpd, mode, serve, version):
    serve(in_daemon(version))
    refused = "The module readline, which the application imports, does not work in an interpreter with a GIL of its own"
    httpd.log.expect(re.escape(refused) + ".*WSGIPerInterpreterGIL Off.*WSGIApplicationGroup %{GLOBAL}")
    httpd.log.allow("ImportError: module readline")
    allow_exception(httpd)
    assert httpd.get("/one/evaluate?__import__('readline')").status == 500
    assert httpd.get("/main/evaluate?__import__('readline').__name__").text == "'readline'"


@OURS
@DAEMON
@each_version
@pytest.mark.timeout(400)
@pytest.mark.parametrize("package, imported", [("numpy", "numpy"), ("cryptography", "cryptography.fernet")])
def test_packages_with_extensions_work_or_say_what_helps(httpd, mode, serve, version, package, imported):
    home = pythons.venv(f"{package}-{version}", (package,), pythons.other_python(version))
    serve(f"WSGIDaemonProcess app python-home={home} threads=4\nWSGIProcessGroup app\n")
    # Whatever the package says of it, and no other line of ours.
    httpd.log.allow(r"own_gil\.wsgi\] (?!WSGI)")
    allow_exception(httpd)
    for name in ("one", "two"):
        if httpd.get(f"/{name}/evaluate?__import__('{imported}').__name__").status == 500:
            httpd.log.wait_for("(The module .*, which the application imports,|A module that the application imports) .*"
                               "WSGIApplicationGroup %{GLOBAL}")
    assert httpd.get(f"/main/evaluate?__import__('{imported}').__name__").text == repr(package)
