"""mod_wsgi-express on a real httpd: each test starts the program itself and looks at what it serves.

The options that are used most are here, each with its effect; what all options write is in `crates/express/src/conf/tests.rs`.
"""

import base64
import gzip
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

import processes
import pythons
from client import read_response
from conftest import finish
from httpd import IS_ROOT, RUN_GROUP, RUN_USER, SYSTEM_PATH, Httpd, Ports
from processes import wait_until
from test_buffers import fill

pytestmark = [pytest.mark.ours("mod_wsgi-express is a program of ours"), pytest.mark.mpms("event")]

# Of these the handler script imports something.
PACKAGES = ["PasteDeploy", "coverage"]

APP = """
import json, os, sys, threading, time

asleep = []


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/sleep":
        asleep.append(path)
        time.sleep(float(environ["QUERY_STRING"]))
    if path == "/spin":
        while True:
            time.sleep(0.01)
    if path == "/fail":
        raise RuntimeError("the application fails")
    if path == "/large":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"x" * 100000]
    size = len(environ["wsgi.input"].read())
    seen = {key: value for key, value in environ.items() if isinstance(value, str)}
    seen.update(size=size, asleep=len(asleep), pid=os.getpid(), cwd=os.getcwd(), sys_path=sys.path, uid=os.getuid(), gid=os.getgid(),
                threads=threading.active_count(), variables=dict(os.environ), prefix=sys.prefix,
                multiprocess=environ["wsgi.multiprocess"], multithread=environ["wsgi.multithread"])
    body = json.dumps(seen).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
"""


class Express(Httpd):
    """One mod_wsgi-express with its server. `root` is the ServerRoot of the tests' own; the server's is `root/server`."""

    def __init__(self, module):
        super().__init__(module)
        self.program = self.module.parent / "mod_wsgi-express"
        self.server = self.root / "server"
        self.terminal = self.root / "terminal.txt"
        self.pid_file = self.server / "httpd.pid"
        self.run = None
        self.env["MOD_WSGI_MODULE"] = str(self.module)
        self.write("site/app.wsgi", APP)
        self.log.path = self.server / "error_log"
        self.default = ["--server-root", self.server, "--port", self.port]
        if IS_ROOT:
            self.default += ["--user", RUN_USER, "--group", RUN_GROUP]

    def begin_run(self, *arguments, command="start-server", cwd=None, stdin=subprocess.DEVNULL):
        """Starts the program; `arguments` follow the usual options and win over them."""
        words = [self.program, command, *self.default, *arguments]
        with self.terminal.open("w") as out:
            self.run = subprocess.Popen([str(w) for w in words], env=self.env, cwd=cwd or self.root / "site",
                                        stdin=stdin, stdout=out, stderr=subprocess.STDOUT)
        return self

    def start(self, *arguments, entry="app.wsgi", **more):
        """Starts the program and waits until it says that the server is ready."""
        self.begin_run(*([entry] if entry else []), *arguments, **more)
        wait_until(lambda: "Ready" in self.said() or self.run.poll() is not None, 60, "the server is ready")
        assert self.run.poll() is None, self.said() + self.log.text()
        wait_until(self.accepts, 20, "httpd accepts")
        return self

    def said(self):
        return self.terminal.read_text()

    def ended(self, *arguments, **more):
        """Runs the program until it ends by itself; its exit status."""
        return self.begin_run(*arguments, **more).run.wait(60)

    def conf(self):
        return (self.server / "httpd.conf").read_text()

    def apachectl(self, *arguments):
        return subprocess.run([self.server / "apachectl", *arguments], env=self.env, capture_output=True, text=True, timeout=60)

    def _stopped(self):
        if self.run and self.run.poll() is None:
            self.run.send_signal(signal.SIGTERM)
            try:
                self.run.wait(30)
            except subprocess.TimeoutExpired:
                self.run.kill()
                return ["mod_wsgi-express does not stop"]
        return super()._stopped()


@pytest.fixture
def express(request, module, mpm):
    server = Express(module)
    yield server
    finish(server, request.config.getoption("keep"), check_log=True)


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
    import grp, pwd
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
    express.log.allow("AH00484|AH10159")  # httpd says that its threads are all busy.
    # Both clients are with httpd: the third gets no answer while they wait.
    held = [express.connect() for _ in range(2)]
    for connection in held:
        connection.sendall(b"GET /sleep?1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    for connection in held:
        with connection:
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
    assert "MaxRequestWorkers 2\n" in express.conf()


def test_embedded_mode(express):
    express.start("--embedded-mode", "--processes", "1", "--threads", "2")
    assert express.json("/")["mod_wsgi.process_group"] == ""
    assert not [p for p in express.processes() if p.cmdline.startswith("(wsgi:")]


# --- Timeouts and limits -----------------------------------------------------------------------------------------------

def test_request_timeout(express):
    express.start("--request-timeout", "1", "--threads", "1", "--graceful-timeout", "1", "--shutdown-timeout", "1")
    express.log.allow("wsgi:(error|warn)")
    express.log.allow("File|Thread|Stack|^$|time.sleep|application|Python")
    assert express.get("/spin").status in (502, 504)
    assert express.json("/")["PATH_INFO"] == "/"


def test_queue_timeout(express):
    express.start("--queue-timeout", "1", "--threads", "1")
    express.log.allow("wsgi:(error|warn)")
    slow = threading.Thread(target=express.get, args=("/sleep?4",))
    slow.start()
    wait_until(lambda: express.get("/").status in (503, 504), 20, "a request waits too long")
    slow.join()


def test_timeouts_of_connections(express):
    express.start("--socket-timeout", "2", "--connect-timeout", "3", "--shutdown-timeout", "4", "--graceful-timeout", "5",
                  "--header-timeout", "1", "--header-max-timeout", "1", "--header-min-rate", "1")
    for line in ("Timeout 2\n", "socket-timeout=2 ", "connect-timeout=3 ", "shutdown-timeout=4 ", "graceful-timeout=5 "):
        assert line in express.conf()
    # A client that sends only half of its request has header-timeout.
    with express.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n")
        assert connection.recv(100).partition(b"\r\n")[0] in (b"", b"HTTP/1.1 408 Request Timeout")
    assert express.json("/")["PATH_INFO"] == "/"


def test_socket_timeout(express):
    express.start("--socket-timeout", "1")
    express.log.allow("wsgi:(error|warn)")
    assert express.get("/sleep?5").status == 504


def test_graceful_timeout(express):
    express.start("--graceful-timeout", "1", "--shutdown-timeout", "1", "--reload-on-changes")
    express.log.allow("wsgi:(error|warn)|File|Thread|Stack|^$|application|Python")
    found = []
    slow = threading.Thread(target=lambda: found.append(express.get("/sleep?100").status))
    slow.start()
    wait_until(lambda: express.json("/")["asleep"], 20, "the application sleeps")
    express.write("site/app.wsgi", APP + "\n# changed\n")
    slow.join(60)
    assert found == [502] or found == [504]


@pytest.mark.skipif(not IS_ROOT, reason="only root may fill the socket of another's process")
def test_connect_timeout(express):
    express.start("--connect-timeout", "1")
    express.log.expect("no connection to a daemon process for GET / within connect-timeout=1")
    supervisor = express.supervisor().pid
    os.kill(supervisor, signal.SIGSTOP)
    try:
        fill(express.children()[0].pid)
        assert express.get("/").status == 503
    finally:
        os.kill(supervisor, signal.SIGCONT)


def test_shutdown_timeout(express):
    express.write("site/slow_end.wsgi", APP + "\nimport atexit\natexit.register(time.sleep, 60)\n")
    express.start("--shutdown-timeout", "1", entry="slow_end.wsgi")
    express.log.allow("wsgi:(error|warn)")
    express.json("/")
    express.run.terminate()
    assert express.run.wait(30) == 0


def test_limit_request_body(express):
    express.start("--limit-request-body", "1000")
    assert express.post("/", b"x" * 1000).json()["size"] == 1000
    express.log.allow("AH01587|AH00588|LimitRequestBody|larger than")
    assert express.post("/", b"x" * 1001).status == 413


def test_keep_alive_timeout(express):
    def kept():
        connection = express.connection()
        try:
            connection.request("GET", "/")
            return read_response(connection.getresponse()).header("Connection") != "close"
        finally:
            connection.close()
    express.start()
    assert kept()
    express.run.terminate()
    express.run.wait(30)
    express.start("--keep-alive-timeout", "0")
    assert not kept()


# --- Logs --------------------------------------------------------------------------------------------------------------

def test_log_to_terminal(express):
    express.start("--log-to-terminal", "--access-log", "--log-level", "info")
    express.get("/fail")
    wait_until(lambda: "the application fails" in express.said() and '"GET /fail HTTP/1.1" 500' in express.said(), 20)
    assert not (express.server / "error_log").exists()
    assert "wsgi:info" in express.said()


def test_access_log(express):
    express.start("--access-log", "--access-log-name", "requests", "--access-log-format", '%U "%{User-Agent}i" %>s')
    express.get("/a", headers={"User-Agent": "me"})
    log = express.server / "requests"
    wait_until(lambda: log.exists() and log.read_text() == '/a "me" 200\n', 20, "the line of the request")


def test_combined_access_log(express):
    express.start("--access-log", "--access-log-format", "combined")
    express.get("/a", headers={"User-Agent": "me", "Referer": "there"})
    log = express.server / "access_log"
    wait_until(lambda: log.read_text().endswith('"there" "me"\n'), 20, "the line of the request")


def test_log_directory_and_names(express):
    express.start("--log-directory", express.root / "more/logs", "--error-log-name", "errors", "--startup-log",
                  "--error-log-format", "mine %M", "--log-level", "info")
    express.get("/fail")
    log = express.root / "more/logs/errors"
    wait_until(lambda: "mine " in log.read_text() and "the application fails" in log.read_text(), 20)
    assert (express.root / "more/logs/startup_log").exists()
    assert str(log) in express.said()


def test_rotate_logs(express):
    express.start("--rotate-logs", "--access-log", "--max-log-size", "1")
    express.get("/a")

    def written():
        logs = [p for p in express.server.iterdir() if p.name.startswith("access_log.")]
        return len(logs) == 1 and "GET /a" in logs[0].read_text()
    wait_until(written, 20, "a log with a time in its name")


# --- Content -----------------------------------------------------------------------------------------------------------

def test_static_files_beside_the_application(express):
    express.write("pages/a.txt", "file\n")
    express.write("pages/sub/index.html", "index\n")
    express.write("pages/other/a.txt", "file\n")
    express.start("--document-root", express.root / "pages")
    assert express.get("/a.txt").text == "file\n"
    assert express.json("/b.txt")["PATH_INFO"] == "/b.txt"
    assert express.get("/sub/").text == "index\n"
    assert express.json("/other/")["PATH_INFO"] == "/other/"


def test_directory_index_and_listing(express):
    express.write("pages/sub/start.html", "index\n")
    express.write("pages/list/x.txt", "")
    express.start("--document-root", express.root / "pages", "--directory-index", "start.html", "--directory-listing")
    assert express.get("/sub/").text == "index\n"
    assert "x.txt" in express.get("/list/").text
    assert express.json("/b")["PATH_INFO"] == "/b"


def test_url_alias(express):
    express.write("pages/a b.txt", "spaced\n")
    express.write("one/icon.txt", "icon\n")
    express.write("one/secret.txt", "secret\n")
    express.start("--url-alias", "/static/", express.root / "pages", "--url-alias", "/icon", express.root / "one/icon.txt")
    assert express.get("/static/a%20b.txt").text == "spaced\n"
    assert express.get("/icon").text == "icon\n"
    assert express.json("/secret.txt")["PATH_INFO"] == "/secret.txt"


def test_include_file_and_its_names(express):
    express.write("site/more.conf", 'Header set X-More yes\n<IfDefine MOD_WSGI_ACCESS_LOG>\nHeader set X-Log yes\n</IfDefine>\n'
                                    "<IfDefine EMBEDDED_MODE>\nHeader set X-Embedded yes\n</IfDefine>\n")
    express.start("--include-file", "more.conf", "--access-log")
    found = express.get("/")
    assert (found.header("X-More"), found.header("X-Log"), found.header("X-Embedded")) == ("yes", "yes", None)


def test_compress_responses(express):
    express.start("--compress-responses")
    found = express.get("/large", headers={"Accept-Encoding": "gzip"})
    assert found.header("Content-Encoding") == "gzip"
    assert gzip.decompress(found.body) == b"x" * 100000
    assert express.get("/large").header("Content-Encoding") is None


def test_variables(express):
    express.env["PASSED"] = "from outside"
    express.write("site/own.sh", "export FROM_SCRIPT='a value'\n")
    express.start("--setenv", "NAME", "a b", "--passenv", "PASSED", "--envvars-script", "own.sh")
    env = express.json("/")
    assert (env["NAME"], env["PASSED"], env["variables"]["FROM_SCRIPT"]) == ("a b", "from outside", "a value")


def test_add_handler(express):
    express.write("pages/a.md", "# text\n")
    express.write("site/md.py", "def application(environ, start_response):\n    start_response('200 OK', [])\n"
                                "    return [environ['SCRIPT_FILENAME'].encode()]\n")
    express.start("--document-root", express.root / "pages", "--add-handler", ".md", "md.py")
    assert express.get("/a.md").text == str(express.root / "pages/a.md")
    assert express.json("/b.md")["PATH_INFO"] == "/b.md"


def test_error_document_and_override(express):
    express.write("pages/sorry.txt", "sorry\n")
    express.start("--document-root", express.root / "pages", "--error-document", "500", "/sorry.txt", "--error-override")
    express.log.allow("the application fails|Traceback|File|raise|wsgi:error")
    assert express.get("/fail").text == "sorry\n"


def test_server_status(express):
    express.start("--server-status")
    assert "Apache Server Status" in express.get("/server-status").text
    assert express.json("/")["PATH_INFO"] == "/"


def test_cgi(express):
    script = express.write("pages/x.cgi", "#!/bin/sh\necho Content-Type: text/plain\necho\necho from cgi\n")
    script.chmod(0o755)
    express.start("--document-root", express.root / "pages", "--with-cgi")
    assert express.get("/x.cgi").text == "from cgi\n"


# --- Names, TLS, proxies, access ---------------------------------------------------------------------------------------

def test_server_name(express):
    express.start("--server-name", "www.shop.org", "--server-alias", "*.shop.net")
    express.log.allow("AH01630")
    assert express.get("/", host="www.shop.org").status == 200
    assert express.get("/", host="a.shop.net").status == 200
    assert express.get("/", host="other.org").status == 403
    moved = express.get("/a", host="shop.org")
    assert (moved.status, moved.header("Location")) == (301, f"http://www.shop.org:{express.port}/a")


def test_host(express):
    express.start("--host", "127.0.0.1")
    assert express.json("/")["mod_wsgi.process_group"] == f"127.0.0.1:{express.port}"
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.2", express.port), 5)


@pytest.fixture
def certificate(express):
    stem = express.root / "own"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=shop.org",
                    "-keyout", f"{stem}.key", "-out", f"{stem}.crt"], check=True, capture_output=True)
    return stem


def secure_get(port, path, host="shop.org"):
    """(status, headers, body) of a request by TLS."""
    context = ssl._create_unverified_context()
    with context.wrap_socket(socket.create_connection(("127.0.0.1", port), 20), server_hostname=host) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        text = b"".join(iter(lambda: connection.recv(65536), b"")).decode("latin-1")
    head, _, body = text.partition("\r\n\r\n")
    return int(head.split()[1]), head, body


def test_https(express, certificate):
    port = Ports.free()
    express.start("--server-name", "shop.org", "--https-port", port, "--ssl-certificate-file", f"{certificate}.crt",
                  "--ssl-certificate-key-file", f"{certificate}.key", "--ssl-environment")
    status, _, body = secure_get(port, "/a")
    env = json.loads(body)
    assert (status, env["wsgi.url_scheme"], env["PATH_INFO"]) == (200, "https", "/a")
    assert env["SSL_PROTOCOL"].startswith("TLS")
    express.log.allow("AH01630")
    assert secure_get(port, "/a", host="other.org")[0] == 403
    assert express.get("/a", host="shop.org").status == 200


def test_https_only(express, certificate):
    port = Ports.free()
    express.start("--server-name", "shop.org", "--https-port", port, "--ssl-certificate", certificate, "--https-only",
                  "--hsts-policy", "max-age=99")
    moved = express.get("/a?b=c", host="shop.org")
    assert (moved.status, moved.header("Location")) == (302, f"https://shop.org:{port}/a?b=c")
    status, head, _ = secure_get(port, "/")
    assert status == 200 and "Strict-Transport-Security: max-age=99" in head


def test_trust_proxy_header(express):
    express.start("--trust-proxy-header", "X-Forwarded-For", "--trust-proxy-header", "X-Script-Name")
    env = express.json("/a", headers={"X-Forwarded-For": "192.0.2.7", "X-Script-Name": "/outside"})
    assert env["REMOTE_ADDR"] == "192.0.2.7"
    assert (env["SCRIPT_NAME"], env["PATH_INFO"]) == ("/outside", "/a")
    env = express.json("/a", headers={"X-Real-IP": "192.0.2.7"})
    assert env["REMOTE_ADDR"] == "127.0.0.1"


def test_trust_proxy(express):
    express.start("--trust-proxy-header", "X-Forwarded-For", "--trust-proxy", "192.0.2.1")
    assert express.json("/", headers={"X-Forwarded-For": "192.0.2.7"})["REMOTE_ADDR"] == "127.0.0.1"


@pytest.fixture
def behind():
    """A server that answers with what it was asked."""
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps({"path": self.path, **{k.lower(): v for k, v in self.headers.items()}}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass
    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def test_proxies(express, behind):
    target = f"http://127.0.0.1:{behind}"
    express.start("--proxy-mount-point", "/api", f"{target}/v1", "--proxy-virtual-host", "other.org", target)
    seen = express.json("/api/x")
    assert (seen["path"], seen["x-forwarded-prefix"], seen["x-forwarded-port"]) == ("/v1/x", "/api", str(express.port))
    moved = express.get("/api")
    assert moved.status == 302 and moved.header("Location").endswith("/api/")
    assert express.json("/y", host="other.org")["path"] == "/y"
    assert express.json("/y")["PATH_INFO"] == "/y"


def test_access_scripts(express):
    express.write("site/who.py", "def check_password(environ, user, password):\n    return user == 'ann' and password == 'x'\n\n\n"
                                 "def groups_for_user(environ, user):\n    return ['staff']\n\n\n"
                                 "def allow_access(environ, host):\n    return 'HTTP_X_EVIL' not in environ\n")
    express.start("--auth-user-script", "who.py", "--auth-group-script", "who.py", "--auth-group", "staff",
                  "--host-access-script", "who.py")
    express.log.allow("AH01617|AH01618|AH01797|wsgi:error|AH")

    def status(user, **headers):
        token = base64.b64encode(f"{user}:x".encode()).decode()
        return express.get("/", headers={"Authorization": f"Basic {token}", **headers}).status
    assert status("ann") == 200
    assert status("bob") == 401
    assert status("ann", **{"X-Evil": "1"}) == 403


# --- Code that changes, services ---------------------------------------------------------------------------------------

def version_served(express, text):
    return lambda: express.get("/").text == text


VERSION = "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [%r]\n"


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


ALL_TOGETHER = """
--application-group shop --python-eggs eggs --python-warnings ignore::UserWarning --switch-interval 0.01
--orphan-interpreter --http2 --allow-localhost --initial-workers 0.5 --minimum-spare-workers 0.2 --maximum-spare-workers 1
--maximum-requests 1000 --server-backlog 50 --daemon-backlog 10 --startup-timeout 20 --restart-interval 1000
--cpu-time-limit 100 --eviction-timeout 5 --deadlock-timeout 20 --inactivity-timeout 100 --ignore-activity /alive
--interrupt-timeout 3 --proxy-timeout 3 --header-timeout 5 --header-max-timeout 9 --header-min-rate 100 --body-timeout 5
--body-max-timeout 9 --body-min-rate 100 --send-buffer-size 65536 --receive-buffer-size 65536 --header-buffer-size 16384
--response-buffer-size 131072 --response-socket-timeout 9 --response-flush-delay 9 --enable-sendfile --chunked-request
--map-head-to-get On --allow-override AuthConfig --rewrite-rules rules.conf --server-metrics --verbose-debugging
--process-group shop --socket-prefix run --process-name shop --locale C.UTF-8 --mime-types types --server-mpm worker
--ssl-port 1 --server-name localhost --pid-file httpd.pid --access-log --shell-executable sh --lang C
"""


def test_the_configuration_of_many_options_parses(express, certificate):
    express.write("site/rules.conf", "RewriteRule ^old$ new\n")
    express.write("site/types", "text/plain txt\n")
    words = [str(Ports.free()) if word == "1" and before == "--ssl-port" else word
             for before, word in zip(["", *ALL_TOGETHER.split()], ALL_TOGETHER.split())]
    express.pid_file = express.root / "site/httpd.pid"
    express.start(*words, "--ssl-certificate", certificate, "--ssl-ca-certificate-file", f"{certificate}.crt",
                  "--ssl-certificate-chain-file", f"{certificate}.crt", "--ssl-verify-client", "/in")
    env = express.json("/old", host="localhost")
    assert (env["mod_wsgi.process_group"], env["mod_wsgi.application_group"]) == ("shop", "shop")
    assert env["REQUEST_URI"] == "/old"
    assert (env["variables"]["LC_ALL"], env["variables"]["PYTHON_EGG_CACHE"]) == ("C.UTF-8", str(express.root / "site/eggs"))
    assert express.apachectl("configtest").returncode == 0


MORE_TOGETHER = """
--embedded-mode --server-mpm prefork --processes 2 --threads 1 --application-group %{GLOBAL} --auth-user-script who.py
--auth-type Digest --error-document 404 /none --body-timeout 0 --header-timeout 0 --proxy-url-alias /b http://127.0.0.1:1/
--python-path lib --rotatelogs-executable /bin/cat --gdb-executable gdb --coverage-directory x --telemetry-interval 2
--access-log-format %h --startup-log-name s --profiler-directory y --ssl-environment --hsts-policy x --shutdown-timeout 1
"""


def test_the_configuration_of_more_options_parses(express):
    express.write("site/who.py", "def get_realm_hash(environ, user, realm):\n    return None\n")
    express.start(*MORE_TOGETHER.split())
    express.log.allow("AH")
    assert express.get("/").status == 401
    assert express.apachectl("configtest").returncode == 0
