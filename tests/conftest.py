"""Options and fixtures of the test suite.

--module PATH   the module under test; the original mod_wsgi serves as an oracle
--mpm LIST      event,prefork,worker: only these, and these where a test asks for none
--check         a part of the tests that covers every file, under one MPM (choice.py)
--ci            a skipped test is an error, and so is a missing Python; CI=true in the environment does the same
--free-threaded PYTHON
                have this free-threaded Python run everything, without its GIL, where a test names no other
--keep          leave the ServerRoots of the tests for a look
"""

import os
from pathlib import Path

import pytest

import choice
import processes
import pythons
from errorlog import ErrorLog
from express import Express
from httpd import Httpd

ROOT = Path(__file__).resolve().parent.parent
MODES = ("embedded", "daemon")


def pytest_addoption(parser):
    group = parser.getgroup("mod_wsgi")
    group.addoption("--module", default=str(ROOT / "target/release/libmod_wsgi.so"))
    group.addoption("--mpm", default="", help="comma-separated: event, prefork, worker")
    group.addoption("--check", action="store_true", help="a part that covers every file")
    group.addoption("--ci", action="store_true", default=os.environ.get("CI") == "true", help="nothing may be skipped")
    group.addoption("--free-threaded", default="", metavar="PYTHON", help="a free-threaded Python that runs everything")
    group.addoption("--keep", action="store_true", help="keep the ServerRoots")


def pytest_configure(config):
    config.addinivalue_line("markers", "ours(why): needs what the original mod_wsgi lacks")
    config.addinivalue_line("markers", "mpms(*names): run under these MPMs and no other")
    config.addinivalue_line("markers", "modes(*names): embedded, daemon, or both")
    config.addinivalue_line("markers", "free_threaded: left out where there is no free-threaded Python with its engine")
    config.addinivalue_line("markers", "check: part of --check, although it has a server of its own")
    if not Path(config.getoption("module")).is_file():
        pytest.exit(f"no module at {config.getoption('module')}: run 'make build' first", 2)
    processes.become_subreaper()
    if python := config.getoption("free_threaded"):
        Httpd.usual = f"WSGIPythonHome {Path(python).absolute().parent.parent}\nWSGIFreeThreading On\n"
        ErrorLog.usual = [r"WSGIFreeThreading On has no effect: ", "is left out: there is no GIL to switch"]
    if config.getoption("ci") and (missing := choice.missing_pythons()):
        pytest.exit(f"CI needs Python {', '.join(missing)}, and they are not here: .ci/pythons.sh installs them", 2)
    if config.getoption("ci") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(NoSkips())


def is_ours(config):
    return (Path(config.getoption("module")).resolve().parent / "libwsgi_engine.so").exists()


def free_threaded_versions(config):
    """Free-threaded Pythons at hand whose engines are installed beside the module: {'3.14t': Path}."""
    folder = Path(config.getoption("module")).resolve().parent
    return {v: p for v, p in pythons.free_threaded().items() if (folder / pythons.engine_of(v)).exists()}


def pytest_report_header(config):
    found = free_threaded_versions(config)
    return f"free-threaded Python: {', '.join(found) or 'none with its engine, so no test of it runs'}"


def pytest_collection_modifyitems(config, items):
    # A test for which none of its MPMs was chosen has the marker of an empty parameter set.
    kept = [i for i in items if getattr(i, "callspec", None) is None or i.callspec.params.get("mpm") in (None, *choice.MPMS)]
    if not is_ours(config):
        kept = [i for i in kept if not i.get_closest_marker("ours")]
    if not free_threaded_versions(config):
        kept = [i for i in kept if not i.get_closest_marker("free_threaded")]
    if config.getoption("check"):
        kept = choice.for_check(kept)
    config.hook.pytest_deselected(items=[i for i in items if i not in set(kept)])
    items[:] = kept


def pytest_generate_tests(metafunc):
    if "mpm" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("mpms")
        chosen = [m for m in metafunc.config.getoption("mpm").split(",") if m]
        if metafunc.config.getoption("check"):
            chosen = chosen or ["event"]
        mpms = choice.mpms(marker and marker.args, chosen)
        metafunc.parametrize("mpm", mpms, scope="module")
    if "free" in metafunc.fixturenames:
        metafunc.parametrize("free", free_threaded_versions(metafunc.config) or ["none"], scope="module", indirect=True)
    if "mode" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("modes")
        metafunc.parametrize("mode", marker.args if marker else MODES, scope="module")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A failing test shows the end of its server's error log."""
    report = yield
    server = item.funcargs.get("httpd") or item.funcargs.get("site")
    if report.failed and server:
        report.sections.append(("error log", "\n".join(server.log.lines()[-60:])))
    return report


class NoSkips:
    """With --ci no test may be skipped: what the tests need must be there, or nobody sees that it is not tested."""

    def __init__(self):
        self.found = {}

    def pytest_runtest_logreport(self, report):
        if report.skipped:
            why = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
            self.found[report.nodeid] = why

    def pytest_sessionfinish(self, session):
        if self.found and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter):
        for nodeid, why in self.found.items():
            terminalreporter.write_line(f"skipped, which is an error in CI: {nodeid}: {why}", red=True)


@pytest.fixture(scope="session")
def module(request):
    return request.config.getoption("module")


@pytest.fixture(scope="session")
def ours(request):
    """Whether the module under test is ours."""
    return is_ours(request.config)


@pytest.fixture(scope="module")
def free(request):
    """A free-threaded Python, once with each: its interpreter. Tests with it have the mark `free_threaded`."""
    return free_threaded_versions(request.config)[request.param]


@pytest.fixture(scope="session")
def cache():
    """A folder that the server's user can enter and that outlives the run."""
    return pythons.cache_folder()


def mode_directives(mode, **options):
    """The process group of the mode: nothing for embedded, one daemon process for daemon."""
    if mode == "embedded":
        return ""
    options = {"threads": 5, **options}
    words = " ".join(f"{name.replace('_', '-')}={value}" for name, value in options.items())
    return f"WSGIDaemonProcess app {words}\nWSGIProcessGroup app\n"


def aliases(server):
    """Each application at /NAME, all in the main interpreter."""
    scripts = sorted(server.all_apps().glob("*.wsgi"))
    lines = [f'WSGIScriptAlias /{script.stem} "{script}"' for script in scripts]
    return "\n".join(["WSGIApplicationGroup %{GLOBAL}", *lines])


def finish(server, keep, check_log=False):
    problems = server.close()
    if check_log:
        problems += server.log.problems()
    if not keep:
        server.remove()
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


@pytest.fixture
def httpd(request, module, mpm):
    """A server of the test's own, not started yet."""
    server = Httpd(module, mpm)
    yield server
    finish(server, request.config.getoption("keep"), check_log=True)


@pytest.fixture
def express(request, module, mpm):
    """A mod_wsgi-express of the test's own, not started yet."""
    server = Express(module)
    yield server
    finish(server, request.config.getoption("keep"), check_log=True)


@pytest.fixture
def daemon(httpd):
    """Starts one process group `app` with these options, each application at /NAME."""
    def start(options="", extra=""):
        group = f"WSGIDaemonProcess app {options}\nWSGIProcessGroup app\n"
        return httpd.start(f"{group}{extra}\n{aliases(httpd)}")
    return start


@pytest.fixture(scope="module")
def shared_httpd(request, module, mpm, mode):
    """One server for all tests of a file that change nothing; each application at /NAME."""
    server = Httpd(module, mpm)
    extra = getattr(request.module, "DIRECTIVES", "")
    server.start(f"{mode_directives(mode)}{extra}\n{aliases(server)}")
    yield server
    finish(server, request.config.getoption("keep"))


@pytest.fixture
def site(shared_httpd):
    """The shared server; the log guard looks at this test's stretch of the log only."""
    shared_httpd.log.begin()
    yield shared_httpd
    problems = shared_httpd.log.problems()
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)
