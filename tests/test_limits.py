"""What daemon processes may use, whom they run as, and what they start with."""

import os
import re
import subprocess
from urllib.parse import quote

import pytest

import jails
import processes
import pythons
from httpd import IS_ROOT, RUN_GROUP, RUN_USER
from telemetry import Receiver

needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root can change users")


CAP_SYS_RESOURCE = 24


def value(httpd, expression, path="/evaluate"):
    return httpd.json(f"{path}?{quote(expression)}")


def limit(httpd, name):
    return value(httpd, f"__import__('resource').getrlimit(__import__('resource').{name})")


# -- limits ----------------------------------------------------------------------------------------


@pytest.mark.check
def test_cpu_priority(daemon):
    assert value(daemon("cpu-priority=5"), "os.getpriority(os.PRIO_PROCESS, 0)") == 5


@needs_root
def test_a_priority_that_only_root_can_give(daemon):
    httpd = daemon("cpu-priority=-3")
    assert value(httpd, "[os.getpriority(os.PRIO_PROCESS, 0), os.geteuid() != 0]") == [-3, True]


def test_memory_limit(daemon):
    assert limit(daemon("memory-limit=500000000"), "RLIMIT_DATA") == [500_000_000] * 2


def test_virtual_memory_limit(daemon):
    assert limit(daemon("virtual-memory-limit=4000000000"), "RLIMIT_AS") == [4_000_000_000] * 2


@pytest.mark.ours("the original has its processes in httpd's memory")
def test_a_process_without_memory_for_its_threads_ends_and_is_tried_again(daemon, httpd):
    daemon("virtual-memory-limit=20000000")
    httpd.log.expect('process group "app" .*cannot start .*virtual-memory-limit=20000000 bytes may be too little for Python')
    httpd.log.allow(r"cannot start the|-- end of its output|no process could be started")
    httpd.log.wait_for("attempt 2", 30)
    assert httpd.get("/hello").status == 503


def test_without_limits_those_of_httpd_hold(daemon):
    httpd = daemon("memory-limit=0 virtual-memory-limit=0 cpu-time-limit=0 cpu-priority=0")
    for name in ("RLIMIT_DATA", "RLIMIT_AS", "RLIMIT_CPU"):
        assert limit(httpd, name) == [-1, -1]


def test_cpu_time_limit_leaves_time_to_end(daemon):
    assert limit(daemon("cpu-time-limit=60 shutdown-timeout=7"), "RLIMIT_CPU") == [60, 68]


@pytest.mark.check
def test_an_application_that_meets_its_memory_limit_lives_on(daemon):
    httpd = daemon("memory-limit=400000000 threads=2")
    httpd.log.expect("MemoryError")
    httpd.log.allow("evaluate.wsgi")
    pid = value(httpd, "os.getpid()")
    assert httpd.get("/evaluate?len(bytearray(500000000))").status == 500
    assert value(httpd, "os.getpid()") == pid


@pytest.mark.ours("the original sets limits as the process's own user, and says less")
def test_a_limit_above_that_of_httpd_takes_root(httpd):
    """What cannot be set is named, and the process runs."""
    httpd.wrapper = ["prlimit", "--cpu=100000"]
    status = processes.read_proc("self", "status").decode()
    may_raise = int(re.search(r"CapEff:\s*(\w+)", status)[1], 16) >> CAP_SYS_RESOURCE & 1
    if not may_raise:
        httpd.log.expect(r'process group "app" .*process \d+ runs without cpu-time-limit=200000: '
                         r"setrlimit\(RLIMIT_CPU\) failed: .*above the hard limit")
    httpd.start(f"WSGIDaemonProcess app threads=2 cpu-time-limit=200000\n"
                f"WSGIScriptAlias / {httpd.app('evaluate')} process-group=app")
    assert limit(httpd, "RLIMIT_CPU") == ([200_000, 200_006] if may_raise else [100_000] * 2)


# -- users and files -------------------------------------------------------------------------------


@needs_root
@pytest.mark.parametrize("groups, expected", [("games,#12", {60, 12}), ("games", {60})])
def test_supplementary_groups(daemon, groups, expected):
    httpd = daemon(f"user=nobody group=daemon home=/tmp supplementary-groups={groups}")
    primary = value(httpd, "os.getegid()")
    assert set(value(httpd, "os.getgroups()")) == {primary, *expected}
    assert set(processes.supplementary_groups(value(httpd, "os.getpid()"))) == {primary, *expected}


@needs_root
def test_all_ids_of_the_process_are_those_of_the_user(daemon):
    httpd = daemon("user=nobody group=games home=/tmp")
    uids, gids = value(httpd, "[os.getresuid(), os.getresgid()]")
    assert len(set(uids)) == len(set(gids)) == 1 and 0 not in uids + gids


@needs_root
@pytest.mark.parametrize("option, user, allowed", [
    ("script-user=daemon", "daemon", True), ("script-user=daemon", "nobody", False),
    ("script-group=daemon", "daemon", True), ("script-group=daemon", "nobody", False),
])
def test_the_owner_of_the_script_decides(httpd, option, user, allowed):
    script = httpd.app("hello", "own/hello.wsgi")
    for path in (script.parent, script):
        httpd.own(path, user)
    if not allowed:
        httpd.log.expect("script-(user|group)|owned by|WSGI01")
    httpd.start(f"WSGIDaemonProcess app threads=2 {option}\nWSGIScriptAlias / {script} process-group=app")
    assert httpd.get("/").status == (200 if allowed else 403)


def test_socket_user_is_accepted(daemon):
    user = RUN_USER if IS_ROOT else f"#{os.geteuid()}"
    assert daemon(f"socket-user={user}").get("/hello").status == 200


def test_the_name_in_process_listings(daemon):
    httpd = daemon("display-name=shop")
    pid = value(httpd, "os.getpid()")
    shown = subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True).stdout
    # The original leaves what stands after the name.
    assert shown.split()[0] == "shop"


# -- environment -----------------------------------------------------------------------------------


@pytest.mark.check
def test_locale_sets_all_of_it(daemon):
    httpd = daemon("locale=C.UTF-8")
    expression = "__import__('locale').setlocale(__import__('locale').LC_ALL)"
    assert value(httpd, expression).replace("utf8", "UTF-8") == "C.UTF-8"


def test_a_locale_that_does_not_exist_is_a_warning(daemon):
    httpd = daemon("locale=xx_YY.nonsense")
    httpd.log.expect("xx_YY.nonsense")
    assert value(httpd, "os.environ['LC_ALL']") == "xx_YY.nonsense"


def test_python_eggs(daemon):
    assert value(daemon("python-eggs=/tmp/eggs"), "os.environ['PYTHON_EGG_CACHE']") == "/tmp/eggs"


ENV_FILE = """# for tests only
export FROM_FILE="a \\"quoted\\" value"
BOTH=file
LANG=C
PATH=/from/file
"""


@pytest.fixture
def env_file(httpd):
    """Nobody but root (or whoever runs the test) may read it."""
    path = httpd.write("secrets.env", ENV_FILE)
    path.chmod(0o600)
    return path


@pytest.mark.ours("an option of ours")
def test_variables_from_a_file(daemon, env_file):
    httpd = daemon(f"env-file={env_file} env=BOTH=option lang=C.UTF-8")
    env = value(httpd, "dict(os.environ)")
    assert env["FROM_FILE"] == 'a "quoted" value'
    assert (env["BOTH"], env["LANG"], env["PATH"]) == ("option", "C.UTF-8", "/from/file")
    assert "quoted" not in httpd.log.text()


@pytest.mark.ours("an option of ours")
def test_the_file_is_read_anew_at_graceful(daemon, env_file):
    httpd = daemon(f"env-file={env_file}")
    assert value(httpd, "os.environ['BOTH']") == "file"
    env_file.write_text("BOTH=new\n")
    httpd.graceful()
    processes.wait_until(lambda: value(httpd, "os.environ.get('BOTH')") == "new", 30, "the new variables")
    assert value(httpd, "os.environ.get('FROM_FILE')") is None


@pytest.mark.ours("an option of ours")
@pytest.mark.parametrize("text, problem", [
    ("A=1\nB='secret\n", "line 2: the quote is not closed"), ("secret word\n", "line 1: must be NAME=value"),
    ("A-B=secret\n", "line 1: the name"),
])
def test_a_mistake_in_the_file_names_its_line_and_no_value(httpd, env_file, text, problem):
    env_file.write_text(text)
    assert not httpd.configtest(f"WSGIDaemonProcess app env-file={env_file}")
    assert f"env-file={env_file}: {problem}" in httpd.control_output
    assert "httpd.conf:" in httpd.control_output and "secret" not in httpd.control_output.replace(str(env_file), "")


@pytest.mark.ours("an option of ours")
def test_a_missing_file_is_an_error_of_the_configuration(httpd):
    assert not httpd.configtest(f"WSGIDaemonProcess app env-file={httpd.root}/none.env")
    assert f"env-file={httpd.root}/none.env: it cannot be read: No such file" in httpd.control_output


@needs_root
@pytest.mark.ours("an option of ours")
@pytest.mark.check
def test_who_may_write_beside_the_file_can_neither_stop_httpd_nor_borrow_secrets(httpd, env_file):
    pipe, link = httpd.root / "pipe.env", httpd.root / "link.env"
    os.mkfifo(pipe)
    link.symlink_to(env_file)
    os.chown(link, 4_000_000, -1, follow_symlinks=False)
    for path, problem in (pipe, "it is not a regular file"), (link, "the symbolic link .* belongs to user id 4000000"):
        assert not httpd.configtest(f"WSGIDaemonProcess app env-file={path}")
        assert re.search(f"env-file={path}: it cannot be read: {problem}", httpd.control_output)


# -- chroot ----------------------------------------------------------------------------------------

CHROOT = "WSGIDaemonProcess app threads=2 chroot={jail} python={python} {options}\n"


@pytest.fixture
def jail(httpd):
    """A root directory with a Python, and an application of the test's own in it."""
    jail = jails.jail()
    for app in ("evaluate", "where"):
        httpd.app(app)
        target = jail / f"apps/{app}.wsgi"
        target.parent.mkdir(exist_ok=True)
        if not target.exists() or target.read_text() != (httpd.root / f"apps/{app}.wsgi").read_text():
            target.write_text((httpd.root / f"apps/{app}.wsgi").read_text())
    return jail


def imprisoned(httpd, jail, options="", extra=""):
    text = CHROOT.format(jail=jail, python=pythons.SYSTEM_PYTHON, options=options)
    grant = f'<Directory "{jail}">\nRequire all granted\n</Directory>\n'
    return httpd.start(f"{text}{grant}WSGIScriptAlias /evaluate {jail}/apps/evaluate.wsgi process-group=app\n{extra}")


@needs_root
@pytest.mark.ours("the original's Python is not in the test's root directory")
def test_chroot(httpd, jail):
    imprisoned(httpd, jail, extra=f'DocumentRoot "{jail}/apps"\n')
    assert sorted(value(httpd, "os.listdir('/')")) == sorted(p.name for p in jail.iterdir())
    assert value(httpd, "[os.getcwd(), os.geteuid() != 0]") == ["/", True]
    paths = value(httpd, "[environ['DOCUMENT_ROOT'], environ['SCRIPT_FILENAME'], __import__('sys').prefix]")
    assert paths == ["/apps", "/apps/evaluate.wsgi", "/usr"]
    assert value(httpd, "os.listdir('/tmp')") == [], "the copy of the engine is gone"
    assert findings(httpd) == []


@needs_root
@pytest.mark.ours("the original's Python is not in the test's root directory")
def test_a_document_root_outside_of_the_root_is_not_told(httpd, jail):
    imprisoned(httpd, jail, options="home=/apps")
    assert value(httpd, "['DOCUMENT_ROOT' in environ, os.getcwd()]") == [False, "/apps"]


@needs_root
@pytest.mark.ours("the original's Python is not in the test's root directory")
def test_a_script_in_the_root_is_reloaded(httpd, jail):
    script = jail / f"apps/{httpd.root.name}.wsgi"
    try:
        script.write_text((httpd.root / "apps/evaluate.wsgi").read_text())
        imprisoned(httpd, jail, extra=f"WSGIScriptAlias /own {script} process-group=app\n")
        before = value(httpd, "os.getpid()", "/own")
        script.write_text(script.read_text() + "\n# changed\n")
        assert value(httpd, "os.getpid()", "/own") != before
    finally:
        script.unlink()


@needs_root
@pytest.mark.ours("the original's Python is not in the test's root directory")
def test_telemetry_out_of_the_root(httpd, jail):
    with Receiver(jail / f"apps/{httpd.root.name}.socket") as receiver:
        imprisoned(httpd, jail, extra=f"WSGITelemetryService unix:{receiver.path} interval=0.5\n")
        value(httpd, "1")
        receiver.wait_for("REQUEST", lambda report: report["request_count"] == 1)


@needs_root
@pytest.mark.ours("the original drops the connection")
def test_a_script_outside_of_the_root_gets_502(httpd, jail):
    httpd.log.expect(r'process group "app": the script ".*/hello.wsgi" lies outside of chroot=')
    extra = f"WSGIScriptAlias /out {httpd.app('hello')}\n<Location /out>\nWSGIProcessGroup app\n</Location>\n"
    imprisoned(httpd, jail, extra=extra)
    assert httpd.get("/out").status == 502
    assert value(httpd, "os.getcwd()") == "/"


@needs_root
@pytest.mark.ours("the original says nothing before a request")
def test_a_script_that_always_lies_outside_is_an_error(httpd):
    assert not httpd.configtest("WSGIDaemonProcess app chroot=/srv\n"
                                f"WSGIScriptAlias / {httpd.app('hello')} process-group=app")
    assert re.search(r'WSGIScriptAlias / at .*httpd.conf:\d+: the script .* lies outside of chroot=/srv',
                     httpd.control_output)


def findings(httpd):
    assert httpd.control("-t") == 0
    return [line for line in httpd.control_output.splitlines() if line.startswith("mod_wsgi: ")]


@needs_root
@pytest.mark.ours("the original's messages differ")
@pytest.mark.parametrize("place, said", [
    ("/no/such/root", "cannot make /no/such/root the root directory (chroot=): No such file"),
    ("{root}/htdocs", "{root}/htdocs/usr does not exist, on the way to {root}/htdocs/usr/bin/python3"),
])
def test_an_unusable_root_is_told(httpd, place, said):
    httpd.log.allow("app")
    place, said = place.format(root=httpd.root), said.format(root=httpd.root)
    httpd.start(CHROOT.format(jail=place, python=pythons.SYSTEM_PYTHON, options="home=/"))
    httpd.log.wait_for(f'process group "app".*cannot start.*{re.escape(said)}')
    [line] = findings(httpd)
    assert said in line


@needs_root
@pytest.mark.ours("the original looks at nothing before it starts")
def test_commands_name_places_as_seen_from_outside(httpd, jail):
    closed = jail / f"closed-{httpd.root.name}"
    closed.mkdir(mode=0o700)
    try:
        httpd.configure(CHROOT.format(jail=jail, python=pythons.SYSTEM_PYTHON, options=f"home=/{closed.name}"))
        [line] = findings(httpd)
        assert line.endswith(f"to mend it: chmod o+x {closed}")
    finally:
        closed.rmdir()


def test_chroot_needs_root(httpd):
    if IS_ROOT:
        httpd.wrapper = ["setpriv", f"--reuid={RUN_USER}", f"--regid={RUN_GROUP}", "--clear-groups"]
    assert not httpd.configtest("WSGIDaemonProcess app chroot=/")
    assert "root" in httpd.control_output
