"""httpd in the sandbox that systemd makes for it, as Debian's unit has it: everything works in it that may."""

import os
import re
import shutil
import tempfile
from pathlib import Path
from urllib.parse import quote

import pytest

import hardened
import processes
import pythons
from conftest import mode_directives
from httpd import IS_ROOT, TESTS

PRIVATE = ["no-new-privileges", "write-execute"]
ALL = [*PRIVATE, "home", "system", "proc"] if IS_ROOT else PRIVATE

pytestmark = pytest.mark.skipif(not hardened.works(*ALL), reason="this system cannot make the sandbox")


@pytest.fixture
def sandbox(httpd):
    httpd.wrapper = [pythons.SYSTEM_PYTHON, str(TESTS / "hardened.py"), *ALL, "--"]
    return httpd


@pytest.fixture
def home():
    """A folder of the server's user in a home directory."""
    folder = Path(tempfile.mkdtemp(prefix="mw-", dir="/home" if IS_ROOT else os.path.expanduser("~")))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def value(httpd, expression):
    return httpd.json(f"/?{quote(expression)}")


def start(httpd, mode, app="evaluate", **options):
    return httpd.start(f"{mode_directives(mode, **options)}WSGIScriptAlias / {httpd.app(app)}")


STATUS = "[l for l in open('/proc/self/status') if l.startswith('NoNewPrivs')][0].split()[1]"
MDWE = "__import__('ctypes').CDLL(None).prctl(66, 0, 0, 0, 0)"


def test_it_serves(sandbox, mode):
    start(sandbox, mode)
    assert value(sandbox, f"[{STATUS}, {MDWE}, 6 * 7]") == ["1", 1, 42]
    sandbox.graceful()
    assert sandbox.get("/?1").status == 200


def test_bodies_and_files_pass(sandbox, mode):
    sandbox.all_apps()
    sandbox.start(f"{mode_directives(mode)}WSGIScriptAlias /echo {sandbox.root}/apps/echo.wsgi\n"
                  f"WSGIScriptAlias /files {sandbox.root}/apps/file_wrapper.wsgi")
    body = os.urandom(3 << 20)
    assert sandbox.post("/echo", body).body == body
    assert sandbox.get("/files/large").status == 200


@pytest.mark.parametrize("name", ["ctypes", "ssl", "sqlite3", "hashlib", "decimal"])
@pytest.mark.check
def test_modules_in_c_work(sandbox, name):
    start(sandbox, "daemon")
    assert value(sandbox, f"__import__('{name}').__name__") == name


@pytest.mark.skipif(not IS_ROOT, reason="only root can change users")
@pytest.mark.parametrize("options", [{}, {"user": "nobody", "home": "/tmp"}], ids=["own user", "another user"])
@pytest.mark.check
def test_a_touched_script_and_a_lost_process_are_replaced(sandbox, options):
    sandbox.log.allow("was lost|502|evaluate.wsgi|Truncated|died|closed")
    start(sandbox, "daemon", **options)
    first = value(sandbox, "os.getpid()")
    sandbox.app("evaluate").write_text((TESTS / "apps/evaluate.wsgi").read_text() + "\n#\n")
    second = value(sandbox, "os.getpid()")
    assert second != first
    os.kill(second, 9)
    processes.wait_until(lambda: sandbox.get("/?1").status == 200, 30, "a new process")
    assert value(sandbox, "os.getpid()") not in (first, second)


@pytest.mark.ours("the original has no supervisor")
@pytest.mark.check
def test_the_supervisor_names_the_sandbox(sandbox):
    start(sandbox, "daemon")
    line = sandbox.log.wait_for("httpd runs in a sandbox")
    assert "[wsgi:info]" in line and "MemoryDenyWriteExecute=" in line
    assert ("below /home (ProtectHome=" in line) == IS_ROOT


@pytest.mark.ours("the original has no supervisor")
def test_without_a_sandbox_there_is_no_such_line(httpd):
    start(httpd, "daemon")
    assert httpd.get("/?1").status == 200
    assert not httpd.log.matching("in a sandbox")


@pytest.mark.skipif(not IS_ROOT, reason="only root can mount")
@pytest.mark.ours("the original has no such lines")
@pytest.mark.parametrize("expression, said", [
    ("open('{home}/new', 'w')", "The file system is read-only for httpd.*ProtectHome="),
    ("__import__('sqlite3').connect('{home}/new.db').execute('create table t (x)')", "SQLite writes.*ReadWritePaths="),
])
def test_what_the_sandbox_denies_is_explained(sandbox, home, mode, expression, said):
    sandbox.log.expect(said)
    sandbox.log.allow("evaluate.wsgi")
    start(sandbox, mode)
    assert sandbox.get(f"/?{quote(expression.format(home=home))}").status == 500
    assert not list(home.iterdir())


@pytest.mark.ours("the original looks at nothing before it starts")
@pytest.mark.check
def test_the_doctor_works_in_it(sandbox, mode):
    options = mode_directives(mode, **{"user": "nobody", "home": "/tmp"} if IS_ROOT else {})
    assert sandbox.configtest(f"{options}WSGIScriptAlias / {sandbox.app('hello')}")
    assert not re.search("^mod_wsgi: ", sandbox.control_output, re.M), sandbox.control_output
