"""mod_wsgi-express on a real httpd: what it starts, how it ends, what it says if it cannot start.

test_express_site.py and test_express_hosts.py have the options of content, logs, names and access. What all options write
is in `crates/express/src/conf/tests.rs`.
"""

import grp
import os
import pwd
import signal
import socket
import subprocess

import pytest

import processes
import pythons
from express import APP, PACKAGES, VERSION, version_served
from httpd import IS_ROOT
from processes import wait_until

pytestmark = [pytest.mark.ours("a program of ours"), pytest.mark.mpms("event")]


# --- The application ---------------------------------------------------------------------------------------------------

@pytest.mark.check
def test_a_script(express):
    express.start()
    env = express.json("/a/b?c=d")
    assert (env["SCRIPT_NAME"], env["PATH_INFO"], env["QUERY_STRING"]) == ("", "/a/b", "c=d")
    assert env["mod_wsgi.process_group"] == f"localhost:{express.port}"
    assert env["mod_wsgi.application_group"] == ""
    assert express.json("/")["PATH_INFO"] == "/"
    assert not env["multiprocess"] and env["multithread"]
    assert env["variables"]["MOD_WSGI_EXPRESS"] == "true"
    said = express.said()
    assert f"http://localhost:{express.port}/" in said and str(express.server / "error_log") in said and "Ctrl-C" in said
    express.run.send_signal(signal.SIGINT)
    assert express.run.wait(30) == 0


def test_a_module_and_a_factory(express):
    express.write("site/pkg/__init__.py", "")
    express.write("site/pkg/web.py", APP + "\n\ndef make_app():\n    return application\n\n\nclass site:\n    app = application\n")
    express.start(entry="pkg.web:site.app")
    assert express.json("/x")["PATH_INFO"] == "/x"
    express.run.terminate()
    express.run.wait(30)
    express.start(entry="pkg.web:make_app()")
    assert express.json("/x")["PATH_INFO"] == "/x"


def test_application_type_and_callable_object(express):
    express.write("site/web.py", APP.replace("def application", "def main"))
    express.start("--application-type", "module", "--callable-object", "main", entry="web")
    assert express.json("/x")["mod_wsgi.process_group"] == f"localhost:{express.port}"


def test_a_paste_file(express):
    express.env["VIRTUAL_ENV"] = str(pythons.venv("express", PACKAGES))
    express.write("site/web.py", APP + "\n\ndef factory(global_conf):\n    return application\n")
    express.write("site/site.ini", "[app:main]\npaste.app_factory = web:factory\n")
    express.start(entry="site.ini")
    assert express.json("/x")["PATH_INFO"] == "/x"


def test_static_files(express):
    express.write("pages/index.html", "index\n")
    express.write("pages/a/b.txt", "text\n")
    express.start(entry=express.root / "pages")
    assert express.get("/").text == "index\n"
    assert express.get("/a/b.txt").text == "text\n"
    assert express.get("/none").status == 404
    assert not [p for p in express.processes() if "python" in p.cmdline]


def test_without_an_application_there_is_a_page(express):
    express.start(entry=None)
    assert "It has no application" in express.get("/").text
    assert "--url-alias" in express.get("/__wsgi__/docs/").text


def test_mount_point(express):
    express.start("--mount-point", "/shop")
    env = express.json("/shop/a")
    assert (env["SCRIPT_NAME"], env["PATH_INFO"]) == ("/shop", "/a")
    assert express.json("/shop/")["PATH_INFO"] == "/"
    assert express.get("/other").status == 404


def test_httpds_children_have_no_python(express):
    express.start()
    express.json("/")
    for child in express.children() or [p for p in express.processes() if "httpd (mod_wsgi-express)" in p.cmdline]:
        assert not [path for path in processes.maps(child.pid) if "libpython" in path]
    assert [p for p in express.processes() if p.cmdline == f"(wsgi:localhost:{express.port}:{os.getuid()})"]


# --- Processes ---------------------------------------------------------------------------------------------------------

def test_processes_and_threads(express):
    express.start("--processes", "2", "--threads", "3")
    env = express.json("/")
    assert env["multiprocess"] and env["multithread"]
    shown = f"(wsgi:localhost:{express.port}:{os.getuid()})"
    assert len([p for p in express.processes() if p.cmdline == shown]) == 2
    assert "6 requests at once" in express.said()


def test_one_thread(express):
    express.start("--threads", "1")
    assert not express.json("/")["multithread"]


@pytest.mark.skipif(not IS_ROOT, reason="only root may choose users")
def test_user_and_group(express):
    express.start("--user", "nobody", "--group", "daemon")
    env = express.json("/")
    assert (env["uid"], env["gid"]) == (pwd.getpwnam("nobody").pw_uid, grp.getgrnam("daemon").gr_gid)


def test_working_directory_and_python_path(express):
    express.write("lib/one/helper.py", "")
    express.write("work/x", "")
    express.start("--working-directory", express.root / "work", "--python-path", "../lib/one", "--python-path", "/srv")
    env = express.json("/")
    assert env["cwd"] == str(express.root / "work")
    assert env["sys_path"].index(str(express.root / "work")) < env["sys_path"].index(str(express.root / "lib/one"))
    assert "/srv" in env["sys_path"]


def test_the_python_of_the_virtual_environment(express):
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", express.root / "venv"], check=True)
    express.env["VIRTUAL_ENV"] = str(express.root / "venv")
    express.start()
    assert express.json("/")["prefix"] == str(express.root / "venv")


def test_max_clients(express):
    express.start("--max-clients", "2", "--threads", "1")
    express.log.expect("AH00484|AH10159")  # httpd says that its threads are all busy.
    gate = express.root / "gate"
    clients = [express.connect() for _ in range(3)]
    for client in clients:
        client.sendall(f"GET /gate?{gate} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    # The third client has to wait.
    express.log.wait_for("AH00484|AH10159", 20)
    gate.touch()
    for client in clients:
        with client:
            assert client.recv(100).startswith(b"HTTP/1.1 200")
    assert "MaxRequestWorkers 2\n" in express.conf()


def test_embedded_mode(express):
    express.start("--embedded-mode", "--processes", "1", "--threads", "2")
    assert express.json("/")["mod_wsgi.process_group"] == ""
    assert not [p for p in express.processes() if p.cmdline.startswith("(wsgi:")]


# --- Code that changes, services ---------------------------------------------------------------------------------------

def test_reload_on_changes(express):
    express.write("site/v.wsgi", "import mine\n" + VERSION.replace("%r", "mine.TEXT"))
    express.write("site/mine.py", "TEXT = b'one'\n")
    express.start("--reload-on-change", entry="v.wsgi")
    assert express.get("/").text == "one"
    express.write("site/mine.py", "TEXT = b'the second'\n")
    wait_until(version_served(express, "the second"), 20, "the changed module")
    # Broken code: the old code serves, and the log has the traceback.
    express.log.allow("wsgi:(error|warn)|mine.py|Traceback|NameError|import mine|TEXT|handler.wsgi|File|load|exec|raise|^ ")
    express.write("site/mine.py", "TEXT = broken\n")
    express.log.wait_for("NameError", 20)
    assert express.get("/").text == "the second"
    express.write("site/mine.py", "TEXT = b'the mended one'\n")
    wait_until(version_served(express, "the mended one"), 30, "the mended module")


def test_a_change_while_the_changed_code_is_loaded(express):
    express.write("site/v.wsgi", "import time\nimport mine\ntime.sleep(1)\n" + VERSION.replace("%r", "mine.TEXT"))
    express.write("site/mine.py", "TEXT = b'one'\n")
    express.start("--reload-on-changes", "--log-level", "info", entry="v.wsgi")
    express.write("site/mine.py", "TEXT = b'the second'\n")
    express.log.wait_for("started to replace", 20)
    express.write("site/mine.py", "TEXT = b'the third one'\n")
    wait_until(version_served(express, "the third one"), 30, "the last version")


def test_a_changed_script_is_loaded_again(express):
    express.write("site/v.wsgi", VERSION % b"one")
    express.start(entry="v.wsgi")
    assert express.get("/").text == "one"
    express.write("site/v.wsgi", VERSION % b"the second")
    wait_until(version_served(express, "the second"), 20, "the changed script")


def test_disable_reloading(express):
    express.write("site/v.wsgi", VERSION % b"one")
    express.start("--disable-reloading", entry="v.wsgi")
    first = express.get("/").text
    express.write("site/v.wsgi", VERSION % b"the second")
    assert [express.get("/").text for _ in range(5)] == [first] * 5


def test_service_script(express):
    express.write("site/jobs.py", "import sys, time\nprint('the job runs', file=sys.stderr, flush=True)\ntime.sleep(1000)\n")
    express.start("--service-script", "jobs", "jobs.py", "--service-log-file", "jobs", "jobs_log")
    log = express.server / "jobs_log"
    wait_until(lambda: log.exists() and "the job runs" in log.read_text(), 20, "the line of the job")
    assert express.json("/x")["PATH_INFO"] == "/x"
    assert [p for p in express.processes() if p.cmdline == "(wsgi:service:jobs)"]


# --- Debug mode --------------------------------------------------------------------------------------------------------

def debugged(express, *arguments, entry="app.wsgi", **more):
    express.begin_run(entry, *arguments, **more)
    wait_until(lambda: express.accepts() or express.run.poll() is not None, 30, "httpd accepts")
    assert express.run.poll() is None, express.said()
    express.log.allow("wsgi:error|Traceback|File|raise|Error|^ ")
    return express


def test_debug_mode_shows_tracebacks(express):
    debugged(express, "--debug-mode")
    assert express.json("/x")["PATH_INFO"] == "/x"
    failed = express.get("/fail")
    assert failed.status == 500 and "RuntimeError: the application fails" in failed.text


def test_debug_mode_shows_why_code_does_not_load(express):
    express.write("site/bad.wsgi", "import nowhere\n")
    debugged(express, "--debug-mode", entry="bad.wsgi")
    assert "No module named 'nowhere'" in express.get("/").text
    express.write("site/bad.wsgi", VERSION % b"mended")
    assert express.get("/").text == "mended"


def test_profiler_and_recorder(express):
    debugged(express, "--enable-profiler", "--enable-recorder", "--recorder-directory", express.root / "kept")
    express.post("/x", b"the body")
    wait_until(lambda: len([*(express.root / "kept").glob("*.response")]) == 1, 20, "the saved response")
    [request] = (express.root / "kept").glob("*.request")
    assert request.read_text().endswith("\n\nthe body")
    express.run.terminate()
    express.run.wait(30)
    assert [*(express.server / "pstats").glob("*.pstats")]


def test_coverage(express):
    express.env["VIRTUAL_ENV"] = str(pythons.venv("express", PACKAGES))
    debugged(express, "--enable-coverage")
    assert express.json("/x")["PATH_INFO"] == "/x"
    express.run.terminate()
    express.run.wait(30)
    assert "app" in (express.server / "htmlcov/index.html").read_text()


def test_the_debugger(express):
    ours, theirs = os.pipe()
    with os.fdopen(ours), os.fdopen(theirs, "w") as keys:
        debugged(express, "--enable-debugger", "--debugger-startup", stdin=ours)
        keys.write("continue\n")
        keys.flush()
        assert express.json("/x")["PATH_INFO"] == "/x"
        keys.write("p 'the path is ' + path\nquit\n")
        keys.flush()
        assert express.get("/fail").status == 500
    assert "the path is /fail" in express.said()


# --- Commands and failures ---------------------------------------------------------------------------------------------

def test_setup_and_apachectl(express):
    assert express.ended("app.wsgi", "--setup-only") == 0
    assert not express.accepts()
    for name in ("httpd.conf", "apachectl", "handler.wsgi", "resource.wsgi", "default.wsgi", "rewrite.conf", "envvars", "htdocs"):
        assert (express.server / name).exists(), name
    assert express.apachectl("configtest").returncode == 0
    assert express.apachectl("start").returncode == 0
    wait_until(express.accepts, 20, "httpd accepts")
    assert wait_until(lambda: express.get("/x").status == 200, 20, "the application serves")
    assert express.apachectl("graceful").returncode == 0
    assert express.apachectl("stop").returncode == 0
    wait_until(lambda: not express.processes(), 20, "the server has ended")


def test_apachectl_serves_broken_code_when_it_is_mended(express):
    express.write("site/v.wsgi", "import nowhere\n")
    assert express.ended("v.wsgi", command="setup-server") == 0
    express.log.allow("wsgi:(error|warn)|Traceback|File|import|Error|handler.wsgi|^ ")
    assert express.apachectl("start").returncode == 0
    wait_until(express.accepts, 20, "httpd accepts")
    assert express.get("/").status in (500, 503)
    express.write("site/v.wsgi", VERSION % b"mended")
    wait_until(version_served(express, "mended"), 30, "the mended code")
    express.apachectl("stop")


def test_apachectl_in_the_foreground(express):
    assert express.ended("app.wsgi", command="setup-server") == 0
    with subprocess.Popen([express.server / "apachectl", "start", "-DFOREGROUND"], env=express.env) as running:
        wait_until(lambda: express.pid, 20, "httpd has started")
        wait_until(express.accepts, 20, "httpd accepts")
        assert express.json("/x")["PATH_INFO"] == "/x"
        running.terminate()
        assert running.wait(30) == 0


def test_signals_are_passed_on(express):
    express.start()
    express.run.send_signal(signal.SIGUSR1)
    express.log.wait_for("AH00493: SIGUSR1 received", 20)
    wait_until(lambda: len(express.log.matching("resuming normal operations")) == 2, 20, "httpd has restarted")
    assert express.json("/x")["PATH_INFO"] == "/x"
    express.run.send_signal(signal.SIGWINCH)
    assert express.run.wait(60) == 0


def refused(express, *arguments, **more):
    """Starts what cannot start: the lines of cause and cure."""
    assert express.ended(*arguments, **more) not in (0, None)
    return [line for line in express.said().splitlines() if line.startswith(("mod_wsgi-express: ", "to mend it: "))]


def test_a_port_in_use(express):
    with socket.create_server(("127.0.0.1", express.port)):
        cause, cure = refused(express, "app.wsgi", "--host", "127.0.0.1")
    assert f"port {express.port} is in use" in cause and "--port" in cure


def test_no_httpd(express):
    cause, cure = refused(express, "app.wsgi", "--httpd-executable", "/none/httpd")
    assert "there is no program /none/httpd" in cause and "--httpd-executable" in cure


def test_an_application_that_does_not_load(express):
    express.write("site/bad.wsgi", "import nowhere\n")
    express.log.allow("wsgi:(error|warn)|Traceback|File|import|Error|handler.wsgi|^ ")
    cause, cure = refused(express, "bad.wsgi")
    assert "bad.wsgi cannot be loaded: ModuleNotFoundError: No module named 'nowhere'" in cause
    assert "error_log" in cure
    assert not express.accepts()


def test_an_application_that_ends_its_process(express):
    express.write("site/dies.wsgi", "import os\nos._exit(3)\n")
    express.log.allow("wsgi:(error|warn)")
    cause, cure = refused(express, "dies.wsgi")
    assert "it ended before it was ready (exited with status 3)" in cause and "error_log" in cure


def test_other_failures(express):
    for arguments, cause in [
        (["none.wsgi"], "there is no file"),
        (["app.wsgi", "--working-directory", "/none"], "/none is not there"),
        (["app.wsgi", "--include-file", "none.conf"], "--include-file none.conf"),
        (["app.wsgi", "--enable-telemetry"], "--enable-telemetry is not implemented"),
        (["app.wsgi", "--server-root", "/proc/none"], "/proc/none cannot be written"),
    ]:
        said = refused(express, *arguments)
        assert len(said) == 2 and cause in said[0], said
    express.write("site/wrong.conf", "NoSuchDirective\n")
    assert "httpd has not started" in refused(express, "app.wsgi", "--include-file", "wrong.conf")[0]
    assert "NoSuchDirective" in express.said()


def test_options_of_older_versions(express):
    express.start("--with-newrelic")
    assert "--with-newrelic is an option of older versions and does nothing" in express.said()


@pytest.mark.skipif(not IS_ROOT, reason="only for root")
def test_root_needs_another_user(express):
    express.default = express.default[:4]
    cause, cure = refused(express, "app.wsgi")
    assert "as root" in cause and "--user" in cure


def test_commands_about_the_module(express):
    def said(*words):
        return subprocess.run([express.program, *words], env=express.env, capture_output=True, text=True, check=True).stdout
    assert said("module-location").strip() == str(express.module)
    assert f'LoadModule wsgi_module "{express.module}"\nWSGIPythonHome "/usr"' in said("module-config")
    (express.root / "modules").mkdir()
    assert f'"{express.root}/modules/mod_wsgi.so"' in said("install-module", "--modules-directory", express.root / "modules")
    names = sorted(path.name for path in (express.root / "modules").iterdir())
    assert names == ["libwsgi_engine.so", "mod_wsgi.so", "wsgi-supervisor"]
    assert os.access(express.root / "modules/wsgi-supervisor", os.X_OK)
