"""Uses what the module may restrict; PATH_INFO names what."""
import os
import signal
import subprocess
import sys
import time

PYTHON = f"{sys.exec_prefix}/bin/python3"


def read(stream):
    try:
        return repr(stream.name)
    except OSError as error:
        return f"{type(error).__name__}: {error}"


def change(stream):
    try:
        stream.mode = "r"
        return "changed"
    except OSError as error:
        return f"{type(error).__name__}: {error}"
    except AttributeError:
        return "AttributeError"


def register():
    def handler(*_):
        pass

    return str(signal.signal(signal.SIGUSR2, handler) is handler)


def alarm():
    """A time limit that works by SIGALRM, twice; whether the process is still there afterwards."""
    ticks = []
    for _ in range(2):
        before = signal.signal(signal.SIGALRM, lambda *_: ticks.append(1))
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        time.sleep(0.1)
        signal.signal(signal.SIGALRM, before)
    # A program that it starts is ended by the signal as ever.
    code = "import signal, time; signal.pthread_sigmask(signal.SIG_SETMASK, []); signal.alarm(1); time.sleep(20)"
    ended = subprocess.run([PYTHON, "-c", code]).returncode
    return f"{len(ticks)} {signal.Signals(-ended).name}"


def in_a_child():
    """A forked child registers a handler and gets the signal."""
    pid = os.fork()
    if pid == 0:
        try:
            signal.signal(signal.SIGUSR2, lambda *_: os._exit(7))
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR2])
            os.kill(os.getpid(), signal.SIGUSR2)
            for _ in range(1000):
                pass
        finally:
            os._exit(1)
    return str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


AT_IMPORT = None
try:
    AT_IMPORT = register()
except ValueError as error:
    AT_IMPORT = f"ValueError: {error}"


def application(environ, start_response):
    cases = {
        "stdin": lambda: read(sys.stdin), "stdout": lambda: read(sys.stdout), "stderr": lambda: read(sys.stderr),
        "change": lambda: change(sys.stdin), "signal": register, "fork": in_a_child, "alarm": alarm, "import": lambda: AT_IMPORT,
        "path": lambda: "\n".join(sys.path),
        "group": lambda: environ["mod_wsgi.application_group"],
    }
    said = cases[environ["PATH_INFO"].strip("/")]()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [said.encode()]
