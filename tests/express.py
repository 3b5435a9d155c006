"""mod_wsgi-express for tests: the program beside the module under test, with a directory and a port of its own."""

import signal
import subprocess

from httpd import IS_ROOT, RUN_GROUP, RUN_USER, Httpd
from processes import wait_until

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
    if path == "/gate":
        while not os.path.exists(environ["QUERY_STRING"]):
            time.sleep(0.01)
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


def version_served(express, text):
    return lambda: express.get("/").text == text


VERSION = "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [%r]\n"
