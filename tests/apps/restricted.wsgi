"""Uses what the module may restrict; PATH_INFO names what."""
import os
import signal
import sys


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
        "change": lambda: change(sys.stdin), "signal": register, "fork": in_a_child, "import": lambda: AT_IMPORT,
        "path": lambda: "\n".join(sys.path),
        "group": lambda: environ["mod_wsgi.application_group"],
    }
    said = cases[environ["PATH_INFO"].strip("/")]()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [said.encode()]
