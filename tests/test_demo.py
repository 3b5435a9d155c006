"""`make run` and `make deps`: what they look at before they write or install anything, and what reaches the terminal."""

import os
import re
import shutil
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest

from httpd import Ports
from processes import wait_until

TOP = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.ours("scripts of ours")


class Run:
    """One `demo/run.sh`, with its terminal in a file."""

    def __init__(self, module, folder, port, **variables):
        self.port = port
        self.files = TOP / "target/run" / str(port)
        self.terminal = folder / f"terminal-{port}"
        env = {"PATH": os.environ["PATH"], "PORT": str(port), "MODULE": module, **variables}
        with self.terminal.open("w") as terminal:
            self.process = subprocess.Popen([TOP / "demo/run.sh"], env=env, stdin=subprocess.DEVNULL,
                                            stdout=terminal, stderr=subprocess.STDOUT)

    def text(self):
        return self.terminal.read_text()

    def opened(self):
        wait_until(lambda: f"Open http://127.0.0.1:{self.port}/ " in self.text() or self.process.poll() is not None,
                   60, "the server is up")
        assert self.process.poll() is None, self.text()
        return self

    def status(self, path="/"):
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=20).status
        except urllib.error.HTTPError as error:
            return error.code

    def ended(self):
        """The exit status of one that gives up by itself."""
        return self.process.wait(60)

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)
        shutil.rmtree(self.files, ignore_errors=True)


@pytest.fixture
def run(module, tmp_path):
    runs = []

    def start(port=None, **variables):
        runs.append(Run(module, tmp_path, port or Ports.free(), **variables))
        return runs[-1]
    yield start
    for one in runs:
        one.close()


@pytest.fixture
def app():
    """A script of the test's own, where httpd's user can read it."""
    folder = Path("/tmp") / f"mw-demo-{os.getpid()}"
    folder.mkdir(mode=0o755, exist_ok=True)

    def write(text):
        path = folder / "app.wsgi"
        path.write_text(text)
        return str(path)
    yield write
    shutil.rmtree(folder)


def test_the_demonstration_is_served_in_both_modes_and_on_two_ports(run):
    first = run().opened()
    second = run().opened()
    for one in (first, second):
        assert one.status() == one.status("/embedded") == 200
    assert first.process.poll() is None


def test_a_taken_port_is_noticed_before_anything_is_written(run):
    first = run().opened()
    # The server that runs goes on writing its logs.
    files = [path for path in first.files.rglob("*") if path.is_file() and path.suffix != ".log"]
    before = {path: path.stat().st_mtime_ns for path in files}
    again = run(first.port)
    assert again.ended() == 1
    found = re.search(rf"Port {first.port} is taken\. Choose another one: make run PORT=(\d+)", again.text())
    assert found and "Open" not in again.text()
    assert before == {path: path.stat().st_mtime_ns for path in before}
    with socket.socket() as advised:
        advised.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        advised.bind(("127.0.0.1", int(found[1])))
    assert first.status() == 200


@pytest.mark.parametrize("port", ["0", "99999", "65536", "080", "99999999999999999999", "http", "-1"])
def test_a_port_that_is_none_is_refused(run, port):
    one = run(port)
    assert one.ended() == 1
    assert one.text() == f"PORT must be a number from 1 to 65535, not '{port}'.\n"
    assert not one.files.exists()


def test_make_looks_at_the_port_before_it_builds():
    done = subprocess.run(["make", "run", "PORT=99999", "CARGO=/no/such/cargo"], cwd=TOP, capture_output=True, text=True)
    assert done.returncode != 0 and "PORT must be a number from 1 to 65535, not '99999'." in done.stderr
    assert "cargo" not in done.stderr + done.stdout


def test_what_a_script_raises_reaches_the_terminal(run, app):
    one = run(APP=app("def application(environ, start_response):\n    raise RuntimeError('broken on purpose')\n"))
    assert one.opened().status() == 500
    wait_until(lambda: "RuntimeError: broken on purpose" in one.text(), 10, "the traceback is shown")
    assert "Traceback (most recent call last):" in one.text()
    assert ":info]" not in one.text() and ":notice]" not in one.text()


def test_what_the_doctor_finds_reaches_the_terminal(run, tmp_path):
    python = tmp_path / "bin/python"
    python.parent.mkdir()
    python.write_text("#!/bin/sh\nexit 3\n")
    python.chmod(0o755)
    tmp_path.chmod(0o755)
    one = run(PYTHON_HOME=str(tmp_path)).opened()
    assert re.search(r'mod_wsgi: process group "demo" .*bin/python', one.text())
    assert "Syntax OK" not in one.text()


# -- make deps -------------------------------------------------------------------------------------


@pytest.fixture
def deps(tmp_path):
    """Runs .ci/deps.sh on a machine without any package, with this version of cargo."""
    def command(name, text):
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    def act(version):
        command("dpkg-query", "exit 1")
        command("apt-get", f'echo "$@" >>{tmp_path}/installed')
        cargo = command("cargo", f"echo cargo {version}") if version else tmp_path / "none"
        env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CARGO": str(cargo)}
        done = subprocess.run([TOP / ".ci/deps.sh"], env=env, capture_output=True, text=True)
        installed = tmp_path / "installed"
        return done.returncode, done.stderr, installed.read_text() if installed.exists() else ""
    return act


@pytest.mark.parametrize("version, told", [(None, "there is no cargo on the PATH"), ("1.63.0", "this cargo is 1.63.0")])
def test_cargo_is_looked_for_before_anything_is_installed(deps, version, told):
    status, text, installed = deps(version)
    assert status == 1 and told in text and installed == ""
    assert "on Debian 13 with: apt-get install cargo" in text


def test_what_the_scripts_call_is_among_what_is_installed(deps):
    status, text, installed = deps("1.85.0")
    missing = set(installed.split() + text.split())
    assert {"make", "procps", "apache2-dev", "python3-venv"} <= missing
    assert status == (0 if os.geteuid() == 0 else 1)
