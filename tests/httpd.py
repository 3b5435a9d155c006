"""A real httpd for tests: its own ServerRoot, its own port, the configuration that the test writes.

`Httpd.start` and the others run the server's binary itself (`-f CONF -k ACTION`) and return when
the state is reached. `Httpd.close` stops it and says what it left behind.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import processes
from client import Client
from errorlog import ErrorLog
from processes import wait_until

TESTS = Path(__file__).resolve().parent
APPS = TESTS / "apps"
HTTPD = next((p for p in map(shutil.which, ("apache2", "httpd")) if p), "/usr/sbin/apache2")
MODULES_DIR = Path(os.environ.get("HTTPD_MODULES", "/usr/lib/apache2/modules"))
MODULES = ["authz_core", "alias", "mime", "env", "setenvif", "rewrite", "dir", "headers"]
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
RUN_USER, RUN_GROUP = "www-data", "www-data"
IS_ROOT = os.geteuid() == 0
# What is loaded into all processes of the servers, and its options: WSGI_TESTS_LD_PRELOAD and the like (asan.sh).
LOADED = {name: os.environ[f"WSGI_TESTS_{name}"]
          for name in ("LD_PRELOAD", "ASAN_OPTIONS", "MALLOC_CHECK_", "MALLOC_PERTURB_")
          if f"WSGI_TESTS_{name}" in os.environ}

MPM_LIMITS = {
    "event": "StartServers 1\nServerLimit 2\nThreadsPerChild 25\nMaxRequestWorkers 50\n"
    "MinSpareThreads 1\nMaxSpareThreads 50",
    "prefork": "StartServers 4\nMinSpareServers 2\nMaxSpareServers 16\nServerLimit 32\n"
    "MaxRequestWorkers 32",
}
MPM_LIMITS["worker"] = MPM_LIMITS["event"]

CONF = """\
ServerRoot "{root}"
ServerName localhost
DefaultRuntimeDir "{root}/run"
PidFile "{root}/run/httpd.pid"
Listen 127.0.0.1:{port}
ErrorLog "{root}/logs/error.log"
LogLevel {log_level}
Timeout 20
{user}
LoadModule mpm_{mpm}_module {modules_dir}/mod_mpm_{mpm}.so
{mpm_limits}
{modules}
LoadModule wsgi_module "{module}"
TypesConfig /dev/null
DocumentRoot "{root}/htdocs"
<Directory "{root}">
    Require all granted
</Directory>
WSGISocketPrefix "{root}/run/wsgi"
{usual}
{directives}
"""


class Ports:
    """Ports below the range that the kernel gives to clients; each runner has its own stretch."""

    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    next = 20000 + worker * 1000 + os.getpid() % 500

    @classmethod
    def free(cls):
        while True:
            cls.next += 1
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", cls.next))
                    return cls.next
                except OSError:
                    continue


class Httpd(Client):
    """One httpd. Everything it needs and writes is below `root`."""

    # Directives of every configuration, for all tests of a run: conftest.py.
    usual = ""

    def __init__(self, module, mpm="event", log_level="info"):
        super().__init__(Ports.free())
        self.module = Path(module).resolve()
        self.mpm = mpm
        self.log_level = log_level
        self.env = {"PATH": SYSTEM_PATH, "LANG": "C", **LOADED}
        self.root = Path(tempfile.mkdtemp(prefix="mw-", dir="/tmp"))
        self.conf_file = self.root / "httpd.conf"
        self.pid_file = self.root / "run/httpd.pid"
        self.control_output = ""
        # What the binary is run by: a program that changes what it is allowed to do.
        self.wrapper = []
        self._make_root()
        self.log = ErrorLog(self.root / "logs/error.log")
        self._shm = set(os.listdir("/dev/shm"))
        self._before = {p.pid for p in processes.descendants(os.getpid())}

    def _make_root(self):
        self.root.chmod(0o755)
        for name in ("logs", "run", "htdocs", "apps", "tmp"):
            (self.root / name).mkdir()
        (self.root / "tmp").chmod(0o1777)
        self.env["TMPDIR"] = str(self.root / "tmp")
        (self.root / "htdocs/index.html").write_text("static page\n")

    # -- files ---------------------------------------------------------------------------------

    def app(self, name, to=None):
        """Copies tests/apps/NAME.wsgi to where the server's user can read it; returns the path."""
        return self.write(to or f"apps/{name}.wsgi", (APPS / f"{name}.wsgi").read_text())

    def all_apps(self):
        """Copies every application; returns the folder."""
        for script in APPS.glob("*.wsgi"):
            self.app(script.stem)
        return self.root / "apps"

    def write(self, name, text):
        """Writes a file below the ServerRoot and returns its path."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o644)
        return path

    def own(self, path, user=RUN_USER):
        """Gives a file or folder to the server's user."""
        if IS_ROOT:
            shutil.chown(path, user, pwd.getpwnam(user).pw_gid)
        return path

    # -- configuration -------------------------------------------------------------------------

    def configure(self, directives="", modules=()):
        """Writes the configuration: what every test needs, then the test's own directives."""
        load = (
            f"LoadModule {m}_module {MODULES_DIR}/mod_{m}.so" for m in [*MODULES, *modules]
        )
        self.conf_file.write_text(
            CONF.format(
                root=self.root,
                port=self.port,
                log_level=self.log_level,
                user=f"User {RUN_USER}\nGroup {RUN_GROUP}" if IS_ROOT else "",
                mpm=self.mpm,
                modules_dir=MODULES_DIR,
                mpm_limits=MPM_LIMITS[self.mpm],
                modules="\n".join(load),
                module=self.module,
                usual=self.usual,
                directives=directives,
            )
        )
        return self

    # -- control -------------------------------------------------------------------------------

    def control(self, *arguments):
        """Runs the server's binary; returns its exit status. The output is in `control_output`."""
        output = self.root / "control.txt"
        with output.open("w") as out:
            done = subprocess.run(
                [*self.wrapper, HTTPD, "-f", self.conf_file, *arguments],
                env=self.env,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                timeout=60,
            )
        self.control_output = output.read_text(errors="replace")
        return done.returncode

    def configtest(self, directives=None, modules=()):
        """Whether the configuration is accepted; the messages are in `control_output`."""
        if directives is not None:
            self.configure(directives, modules)
        return self.control("-t") == 0

    def start(self, directives=None, modules=()):
        if directives is not None:
            self.configure(directives, modules)
        status = self.control("-k", "start")
        assert status == 0, self.control_output
        self.log.wait_for("resuming normal operations", 20)
        wait_until(self.accepts, 20, "httpd accepts")
        return self

    def graceful(self):
        self._again("graceful")

    def restart(self):
        self._again("restart")

    def _again(self, action):
        resumed = len(self.log.matching("resuming normal operations"))
        assert self.control("-k", action) == 0, self.control_output
        self.log.wait_for("resuming normal operations", 30, resumed + 1)
        wait_until(self.accepts, 20, "httpd accepts")

    def stop(self):
        """Stops at once; waits until the parent is gone."""
        self._end("stop", 20)

    def graceful_stop(self, timeout=30):
        self._end("graceful-stop", timeout)

    def _end(self, action, timeout):
        parent = self.pid
        assert self.control("-k", action) == 0, self.control_output
        wait_until(lambda: not processes.process(parent), timeout, "httpd parent ends")

    # -- state ---------------------------------------------------------------------------------

    def accepts(self):
        try:
            self.connect(1).close()
            return True
        except OSError:
            return False

    @property
    def pid(self):
        """The parent's process id, or None when it does not run."""
        try:
            pid = int(self.pid_file.read_text())
        except (OSError, ValueError):
            return None
        return pid if processes.process(pid) else None

    def processes(self):
        """All live processes that this server brought forth."""
        found = processes.descendants(os.getpid())
        return [p for p in found if p.pid not in self._before]

    def children(self):
        """The processes that httpd forked to serve connections."""
        names = {Path(HTTPD).name}
        return [p for p in self.processes() if p.ppid == self.pid and p.comm in names]

    def wait_for_other_supervisor(self, lost, timeout):
        """Waits for the supervisor that takes the place of the lost one."""
        def another():
            found = self.supervisor()
            return found and found.pid != lost
        wait_until(another, timeout, "another supervisor")

    def supervisor(self):
        """The process that watches the daemon processes."""
        # Its name as a program, which it has from the first moment (it is executed by descriptor).
        return next((p for p in self.processes() if p.cmdline.startswith("wsgi-supervisor")), None)

    # -- end -----------------------------------------------------------------------------------

    def close(self):
        """Stops the server as `-k stop` does, by SIGTERM; returns what it should not have left behind."""
        # Others use shared memory on this machine, too.
        shared = processes.shared_memory(p.pid for p in self.processes()) - self._shm
        problems = self._stopped()
        left = self._left_processes()
        problems += [f"process left after stop: {p}" for p in left]
        problems += [f"file left after stop: {f}" for f in self._left_files()]
        problems += [f"shared memory left: {n}" for n in shared & set(os.listdir("/dev/shm"))]
        processes.kill(p.pid for p in left)
        processes.reap()
        return problems

    def _stopped(self):
        try:
            parent = self.pid
            if parent:
                processes.kill([parent], signal.SIGTERM)
                wait_until(lambda: not processes.process(parent), 20, "httpd parent ends")
            return []
        except TimeoutError as error:
            processes.kill([self.pid] if self.pid else [])
            return [f"httpd does not stop: {error}"]

    def remove(self):
        shutil.rmtree(self.root, ignore_errors=True)

    def _left_processes(self):
        try:
            wait_until(lambda: not self.processes(), 10)
            return []
        except TimeoutError:
            return self.processes()

    def _left_files(self):
        return [*(self.root / "run").iterdir(), *(self.root / "tmp").iterdir()]
