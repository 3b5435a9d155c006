"""The doctor: `apachectl configtest` looks at each process group as its user, and says what mends what is wrong."""

import os
import re
import shutil
import subprocess
import time

import pytest

import pythons
from httpd import IS_ROOT, RUN_USER

pytestmark = pytest.mark.ours("the original looks at nothing before it starts")
needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root can change users")

GROUP = "WSGIDaemonProcess app threads=2 python={python} {options}\nWSGIScriptAlias / \"{script}\" process-group=app\n"


def findings(httpd, options="", script=None, python=pythons.SYSTEM_PYTHON, extra=""):
    """What the doctor says of one group; the test of the configuration itself always succeeds."""
    script = script or httpd.app("hello")
    text = GROUP.format(python=python, options=options, script=script) + extra
    if "python-home" in options:
        text = text.replace(f"python={python} ", "")
    assert httpd.configtest(text), httpd.control_output
    assert httpd.control_output.rstrip().endswith("Syntax OK")
    return [line for line in httpd.control_output.splitlines() if line.startswith("mod_wsgi: ")]


def command(line):
    """The command that a finding names."""
    return re.search(r"; to mend it: (.*)$", line)[1]


def line_number(httpd, text):
    lines = httpd.conf_file.read_text().splitlines()
    return next(n for n, line in enumerate(lines, 1) if line.startswith(text))


# -- healthy groups --------------------------------------------------------------------------------


def test_of_a_healthy_group_nothing_is_said(httpd):
    assert findings(httpd) == []


def test_a_healthy_group_is_described_when_asked(httpd):
    findings(httpd, f"python-home={pythons.venv('plain')}")
    assert httpd.control("-t", "-D", "WSGI_DOCTOR") == 0
    version = pythons.version_of(pythons.SYSTEM_PYTHON)
    assert re.search(rf'process group "app" .*is well: .*venv-plain.* is Python {version}\.',
                     httpd.control_output)
    assert "process groups examined: 1, findings: 0" in httpd.control_output


def test_the_user_of_the_group_is_named(httpd):
    findings(httpd, "python-path=/no/such/lib")
    place = f"{httpd.conf_file}:{line_number(httpd, 'WSGIDaemonProcess')}"
    user = f", user {RUN_USER}" if IS_ROOT else ""
    assert f'process group "app" ({place}{user}): python-path: /no does not exist' in httpd.control_output


def test_dumps_of_the_configuration_examine_nothing(httpd):
    findings(httpd, "python-path=/no/such/lib")
    assert httpd.control("-S") == 0
    assert "mod_wsgi: " not in httpd.control_output


# -- embedded mode ---------------------------------------------------------------------------------


def embedded_findings(httpd, directives=""):
    assert httpd.configtest(f"{directives}WSGIScriptAlias / \"{httpd.app('hello')}\"\n"), httpd.control_output
    return [line for line in httpd.control_output.splitlines() if line.startswith("mod_wsgi: ")]


def test_of_embedded_mode_that_can_start_nothing_is_said(httpd):
    assert embedded_findings(httpd) == []
    assert embedded_findings(httpd, f"WSGIPythonHome {pythons.venv('plain')}\n") == []


def test_embedded_mode_with_a_home_that_does_not_exist(httpd):
    home = httpd.root / "venv"
    [line] = embedded_findings(httpd, f"WSGIPythonHome {home}\n")
    who = f"httpd's children (user {RUN_USER})" if IS_ROOT else "httpd's children"
    assert line == (f"mod_wsgi: {who}: embedded mode cannot start {home}/bin/python3 (WSGIPythonHome {home}): {home} does not "
                    f"exist, on the way to {home}/bin/python3; to mend it: python3 -m venv {home}")


def test_embedded_mode_with_a_python_without_libpython(httpd):
    home = pythons.static_python(httpd.root / "static")
    [line] = embedded_findings(httpd, f"WSGIPythonHome {home}\n")
    assert f"embedded mode cannot start {home}/bin/python3 (WSGIPythonHome {home}): " in line
    assert "was built without a shared libpython" in line and "use daemon mode" in line


def test_embedded_mode_with_a_home_that_is_an_interpreter(httpd):
    home = pythons.venv("plain")
    [line] = embedded_findings(httpd, f"WSGIPythonHome {home}/bin/python\n")
    assert f"WSGIPythonHome {home}/bin/python is a file, and has to be the directory of a virtual environment" in line
    assert line.endswith(f"write WSGIPythonHome {home}")


def test_embedded_mode_with_a_home_of_an_older_python(httpd, venv):
    change(venv, "version", "3.7.3")
    [line] = embedded_findings(httpd, f"WSGIPythonHome {venv}\n")
    assert "was made by Python 3.7.3" in line and "does not see the packages" in line


def test_embedded_mode_with_a_path_that_cannot_be_used(httpd):
    file = httpd.write("lib/packed.zip", "")
    container = "<WSGIInterpreterOptions process-group=%{GLOBAL}>\nWSGIPythonPath /no/such/own\n</WSGIInterpreterOptions>\n"
    lines = embedded_findings(httpd, f"WSGIPythonPath {file.parent}:{file}:/no/such/lib\n{container}")
    who = f"httpd's children (user {RUN_USER})" if IS_ROOT else "httpd's children"
    assert lines == [f"mod_wsgi: {who}: WSGIPythonPath: /no does not exist, on the way to /no/such/{name}"
                     for name in ("lib", "own")]


def packages_of_another_python(httpd):
    folder = httpd.root / "old/lib/python3.9/site-packages"
    folder.mkdir(parents=True)
    return folder


def test_embedded_mode_with_a_path_of_another_python(httpd):
    folder = packages_of_another_python(httpd)
    [line] = embedded_findings(httpd, f"WSGIPythonPath {folder}\n")
    version = pythons.version_of(pythons.SYSTEM_PYTHON)
    assert f": WSGIPythonPath: {folder} holds modules of Python 3.9, and Python {version} runs here" in line
    assert line.endswith(f"; name the directory of Python {version}")


def test_of_a_path_for_embedded_mode_nothing_is_said_where_nothing_runs_in_it(httpd):
    assert findings(httpd, extra="WSGIPythonPath /no/such/lib\n") == []


# -- who gets in -----------------------------------------------------------------------------------

SECTION = '<Directory "{path}">\nRequire all {whom}\n</Directory>\n'


def closed_script(httpd):
    """A script whose directory stands below one that is closed; the sections that close and open it."""
    script = httpd.write("closed/shop/app.wsgi", (httpd.app("hello")).read_text())
    closed = SECTION.format(path=script.parent.parent, whom="denied")
    return script, closed, SECTION.format(path=script.parent, whom="granted")


def test_a_directory_without_a_require_of_its_own(httpd):
    script, closed, opened = closed_script(httpd)
    [line] = findings(httpd, script=script, extra=closed)
    alias, require = (line_number(httpd, text) for text in ("WSGIScriptAlias", "Require all denied"))
    assert line == (
        f'mod_wsgi: WSGIScriptAlias / at {httpd.conf_file}:{alias}: every request gets 403, because "Require all denied" '
        f'at {httpd.conf_file}:{require} is the only Require for {script}; to mend it: add <Directory "{script.parent}"> '
        f"with Require all granted")
    httpd.start()
    httpd.log.expect("client denied by server configuration")
    httpd.log.expect("httpd refused a request for the script")
    assert httpd.get("/").status == 403
    httpd.stop()
    assert findings(httpd, script=script, extra=closed + opened) == []


def test_a_require_in_another_virtual_host_opens_nothing_here(httpd):
    script, closed, opened = closed_script(httpd)
    host = '<VirtualHost *:{port}>\nWSGIScriptAlias /{port} "{script}" process-group=app\n{inside}</VirtualHost>\n'
    hosts = [host.format(port=port, script=script, inside=inside) for port, inside in ((81, ""), (82, opened))]
    text = f"WSGIDaemonProcess app python={pythons.SYSTEM_PYTHON}\n{closed}{''.join(hosts)}"
    assert httpd.configtest(text), httpd.control_output
    [line] = [line for line in httpd.control_output.splitlines() if line.startswith("mod_wsgi: ")]
    assert f"{httpd.conf_file}:{line_number(httpd, 'WSGIScriptAlias /81')}: every request gets 403" in line


# -- interpreters ----------------------------------------------------------------------------------


def executable(httpd, name, text):
    path = httpd.write(name, text)
    path.chmod(0o755)
    return path


def test_a_python_that_does_not_exist(httpd):
    [line] = findings(httpd, python=f"{httpd.root}/no/python")
    assert f"{httpd.root}/no does not exist, on the way to {httpd.root}/no/python" in line


def test_a_virtual_environment_that_was_never_made(httpd):
    home = httpd.root / "venv"
    [line] = findings(httpd, f"python-home={home}")
    assert command(line) == f"python3 -m venv {home}"
    subprocess.run([pythons.SYSTEM_PYTHON, *command(line).split()[1:], "--without-pip"], check=True)
    assert findings(httpd, f"python-home={home}") == []


def test_a_home_that_is_an_interpreter(httpd):
    python = pythons.venv("plain") / "bin/python"
    [line] = findings(httpd, f"python-home={python}")
    assert f"python-home={python} is a file, and has to be the directory of a virtual environment" in line
    assert line.endswith(f"write python={python} (for this interpreter) or python-home={pythons.venv('plain')}")
    assert findings(httpd, f"python-home={pythons.venv('plain')}") == []


def test_a_limit_of_memory_that_is_too_small_for_the_threads(httpd):
    limit = "threads=60 virtual-memory-limit=300000000"
    [line] = findings(httpd, limit)
    assert "virtual-memory-limit=300000000 is too little: Python takes " in line
    assert "the stacks of threads=60 take 480 MiB (stack-size=8388608, the default), and what the C library reserves" in line
    enough = re.search(r"give at least (\d+) and", line)[1]
    assert findings(httpd, f"threads=60 virtual-memory-limit={enough}") == []
    # It is what such a process takes.
    httpd.start()
    assert httpd.get("/").status == 200
    httpd.stop()
    assert findings(httpd, f"{limit} stack-size=262144 env=MALLOC_ARENA_MAX=1") == []
    httpd.start()
    assert httpd.get("/").status == 200


@pytest.fixture
def venv(httpd):
    home = httpd.root / "venv"
    pythons.build_venv(home, (), pythons.SYSTEM_PYTHON)
    return home


def change(venv, key, value):
    config = venv / "pyvenv.cfg"
    config.write_text(re.sub(rf"(?m)^{key} = .*$", f"{key} = {value}", config.read_text()))


def test_a_path_of_another_python(httpd):
    folder = packages_of_another_python(httpd)
    [line] = findings(httpd, f"python-path={httpd.root}:{folder}")
    version = pythons.version_of(pythons.SYSTEM_PYTHON)
    assert f": python-path: {folder} holds modules of Python 3.9, and Python {version} runs here" in line
    (httpd.root / "old/pyvenv.cfg").write_text("home = /usr/bin\n")
    [line] = findings(httpd, f"python-path={folder}")
    assert line.endswith(f"; let python-home or WSGIPythonHome name {httpd.root}/old in its place")


def test_a_virtual_environment_whose_python_is_gone(httpd, venv):
    change(venv, "home", "/no/such/bin")
    [line] = findings(httpd, f"python-home={venv}")
    assert f"{venv}/pyvenv.cfg names home = /no/such/bin, which does not exist" in line
    assert command(line).startswith(f"python3 -m venv --clear {venv}")


def test_a_virtual_environment_with_a_dangling_link(httpd, venv):
    for link in venv.glob("bin/python*"):
        link.unlink()
        link.symlink_to("/no/such/python3.9")
    [line] = findings(httpd, f"python-home={venv}")
    assert f"{venv}/bin/python3 is a symbolic link to /no/such/python3.9, which does not exist" in line
    assert command(line).startswith(f"python3 -m venv --clear {venv}")


def test_a_virtual_environment_of_an_older_python(httpd, venv):
    change(venv, "version", "3.7.3")
    [line] = findings(httpd, f"python-home={venv}")
    assert "was made by Python 3.7.3" in line and "does not see the packages" in line


@pytest.mark.parametrize("text, said", [
    ("#!/bin/sh\necho broken on purpose >&2\nexit 3\n", "exited with status 3); its last words: broken on purpose"),
    ("#!/bin/sh\nkill -SEGV $$\n", "killed by SIGSEGV"),
    ("#!/bin/sh\nprintf '\\033[31mred\\n' >&2\nexit 3\n", r"its last words: \x1b[31mred"),
    ("#!/bin/sh\nexit 0\n", "is it a Python?"),
    ("#!/no/such/interpreter\n", "the loader or interpreter that it names is not"),
    ("\x7fELF nonsense", "not a program for this machine"),
    ("#!/bin/sh\necho 'mod_wsgi needs CPython 3.10 or later' >&2\nexit 64\n", "does not fit this Python"),
    ("#!/bin/sh\necho \"ModuleNotFoundError: No module named 'encodings'\" >&2\nexit 1\n",
     "does not find its standard library"),
])
def test_a_python_that_does_not_run(httpd, text, said):
    [line] = findings(httpd, python=executable(httpd, "python", text))
    assert f"cannot run {httpd.root}/python" in line and said in line


def test_a_python_that_hangs_is_a_finding_and_is_ended(httpd):
    python = executable(httpd, "python", "#!/bin/sh\necho waiting >&2\nsleep 1000 & wait\n")
    extra = "".join(f"WSGIDaemonProcess g{n} threads=1 python={python}\n" for n in range(3))
    begun = time.monotonic()
    lines = findings(httpd, python=python, extra=extra)
    assert time.monotonic() - begun < 19, "the groups are looked at side by side"
    assert len(lines) == 4
    assert all("it has not answered within 5 s; its last words: waiting" in line for line in lines)
    # What it has started is gone as well: Httpd.close looks for it.


def test_a_python_that_may_not_be_executed(httpd):
    python = httpd.root / "python"
    shutil.copy(os.path.realpath(pythons.SYSTEM_PYTHON), python)
    python.chmod(0o644)
    [line] = findings(httpd, python=python)
    assert "may not execute" in line
    subprocess.run(command(line), shell=True, check=True)
    assert findings(httpd, python=python) == []


def test_a_memory_limit_that_is_too_low_for_python(httpd):
    [line] = findings(httpd, "virtual-memory-limit=8000000")
    assert "virtual-memory-limit=8000000 bytes may be too little" in line


# -- directories and scripts -----------------------------------------------------------------------


def test_a_missing_script_is_told_once(httpd):
    script = httpd.root / "apps/none.wsgi"
    [line] = findings(httpd, script=script)
    number = line_number(httpd, "WSGIScriptAlias")
    assert f"WSGIScriptAlias / at {httpd.conf_file}:{number}: {script} does not exist" in line


def test_home_must_be_a_directory(httpd):
    [line] = findings(httpd, f"home={httpd.conf_file}")
    assert f"the working directory (home=): {httpd.conf_file} is not a directory" in line


@needs_root
def test_a_closed_directory_is_told_with_the_command_that_opens_it(httpd):
    script = httpd.app("hello", "closed/hello.wsgi")
    (httpd.root / "closed").chmod(0o700)
    lines = findings(httpd, f"user=nobody home={httpd.root}/closed", script=script)
    told = f'may not enter the directory {httpd.root}/closed (owner 0, group 0, mode 0700)'
    assert len(lines) == 3 and all(told in line for line in lines), lines
    assert any(line.startswith(f"mod_wsgi: httpd's children (user {RUN_USER})") for line in lines)
    for mend in {command(line) for line in lines}:
        subprocess.run(mend, shell=True, check=True)
    assert findings(httpd, f"user=nobody home={httpd.root}/closed", script=script) == []


@needs_root
def test_a_script_that_only_the_group_may_reach(httpd):
    """The daemon processes can; httpd's own children cannot, and they look first."""
    script = httpd.app("hello", "own/hello.wsgi")
    for path in (script.parent, script):
        httpd.own(path, "nobody")
    script.parent.chmod(0o700)
    [line] = findings(httpd, "user=nobody home=/tmp", script=script)
    assert line.startswith(f"mod_wsgi: httpd's children (user {RUN_USER})")
    assert f"may not enter the directory {script.parent}" in line


@needs_root
def test_an_unreadable_script(httpd):
    script = httpd.app("hello")
    script.chmod(0o600)
    [line] = findings(httpd, script=script)
    assert command(line) == f"chmod o+r {script}"


@needs_root
def test_a_python_in_roots_home(httpd):
    [line] = findings(httpd, python="/root/some/python")
    assert "may not enter the directory /root" in line and "/srv or /opt" in line
    assert "to mend it" not in line, "nobody should open /root"


@needs_root
def test_the_owner_of_a_script(httpd):
    [line] = findings(httpd, "script-user=daemon")
    assert "is refused by script-user=daemon: it belongs to user #0; requests get 403" in line
    httpd.own(httpd.root / "apps/hello.wsgi", "daemon")
    httpd.own(httpd.root / "apps", "daemon")
    assert findings(httpd, "script-user=daemon") == []


def test_an_alias_to_a_project_instead_of_a_script(httpd):
    httpd.write("project/manage.py", "")
    httpd.write("project/wsgi.py", "")
    [line] = findings(httpd, script=httpd.root / "project")
    assert f"name its script, such as {httpd.root}/project/wsgi.py" in line


def test_a_group_that_nothing_defines(httpd):
    [line] = findings(httpd, extra=f'WSGIScriptAlias /b "{httpd.app("hello")}" process-group=apq\n')
    number = line_number(httpd, "WSGIScriptAlias /b")
    assert f'WSGIScriptAlias /b at {httpd.conf_file}:{number}: there is no process group "apq": ' in line
    assert line.endswith("; did you mean app?")


def test_an_alias_to_a_directory_of_scripts_is_right(httpd):
    httpd.app("hello", "scripts/one.wsgi")
    assert findings(httpd, script=httpd.root / "scripts") == []


# -- starting all the same -------------------------------------------------------------------------


@needs_root
def test_at_a_start_the_supervisor_says_the_same(httpd):
    """Nothing is examined then, so that no start waits; what fails is explained in the same words."""
    shutil.copytree(pythons.venv("plain"), httpd.root / "closed/venv", symlinks=True)
    (httpd.root / "closed").chmod(0o700)
    httpd.log.expect(f'process group "app" .*cannot start .*may not enter the directory {httpd.root}/closed '
                     rf'.*; to mend it: chmod o\+x {httpd.root}/closed;')
    httpd.log.allow('"app"')
    httpd.start(GROUP.format(python=f"{httpd.root}/closed/venv/bin/python3", options="",
                             script=httpd.app("hello")))
    httpd.log.wait_for("to mend it")
    assert not httpd.log.matching("mod_wsgi: process group")
    assert httpd.get("/").status == 503
