"""Forks in the ways that applications do. /NAME answers with what a way has come to, as JSON."""
import concurrent.futures
import json
import logging
import multiprocessing
import os
import pty
import signal
import subprocess
import sys
import time

import mod_wsgi

GENTLE, LIMIT = 0.05, 20


def process(method):
    it = multiprocessing.get_context(method).Process(target=time.sleep, args=(GENTLE,))
    it.start()
    it.join(LIMIT)
    return it.exitcode


def with_thread_known(method):
    """threading makes an object for a thread that it has not started when it is asked for it."""
    logging.getLogger("children").warning("asks for the thread")
    return process(method)


def pool():
    """Leaving the block terminates the workers and waits for them."""
    with multiprocessing.get_context("fork").Pool(2) as it:
        return it.map(abs, [-1, -2, -3])


def executor():
    with concurrent.futures.ProcessPoolExecutor(2) as it:
        return list(it.map(abs, [-1, -2, -3]))


def terminated():
    it = multiprocessing.get_context("fork").Process(target=time.sleep, args=(LIMIT,))
    it.start()
    it.terminate()
    it.join(LIMIT / 2)
    return it.exitcode


def terminal():
    pid, fd = pty.fork()
    if pid == 0:
        os._exit(7)
    code = status_of(pid)
    os.close(fd)
    return code


def shell():
    return subprocess.run(["sh", "-c", "echo hello; exit 3"], capture_output=True, text=True).returncode


def prepared():
    return subprocess.run(["sh", "-c", "exit 4"], preexec_fn=lambda: os.umask(0o77)).returncode


WAYS = {
    "fork": (process, "fork"), "known": (with_thread_known, "fork"), "forkserver": (process, "forkserver"),
    "spawn": (process, "spawn"), "pool": (pool,), "executor": (executor,), "terminated": (terminated,),
    "pty": (terminal,), "shell": (shell,), "preexec": (prepared,),
}


def attempt(what, *arguments):
    try:
        return what(*arguments)
    except Exception as error:
        return repr(error)


def status_of(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def from_fork(body):
    """What `body` returns in a forked process, as JSON."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        os.write(writer, json.dumps(body()).encode())
        os._exit(0)
    os.close(writer)
    with open(reader) as file:
        text = file.read()
    assert status_of(pid) == 0
    return json.loads(text)


def descriptors():
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append([int(name), os.readlink("/proc/self/fd/" + name)])
        except OSError:
            pass
    return sorted(found)


def error_of(call, *arguments):
    try:
        call(*arguments)
    except Exception as error:
        return type(error).__name__
    return "none"


def closed(environ, start_response):
    """The request, as a forked process finds it."""
    write = start_response("200 OK", [("Content-Type", "application/json")])
    stream = environ["wsgi.input"]
    return from_fork(lambda: [error_of(stream.read), error_of(stream.readline), error_of(next, stream), error_of(write, b"x"),
                         error_of(start_response, "200 OK", [])])


def talk(number):
    stderr, errors = sys.stderr, TALK["errors"]
    handler = mod_wsgi.LogHandler()
    logger = logging.Logger("talk")
    logger.addHandler(handler)
    for at in range(100):
        print("stderr", number, at, "x" * 100, file=stderr)
        errors.write("errors ")
        errors.write("%d %d %s\n" % (number, at, "x" * 3000))
        logger.error("logger %d %d %s", number, at, "x" * 100)
    errors.write("unfinished %d" % number)
    errors.flush()


TALK = {}


def talks(environ):
    """Four forked processes and this one write to the log at the same time."""
    TALK["errors"] = environ["wsgi.errors"]
    sys.stderr.write("half of the line of this process")
    pids = []
    for number in range(1, 5):
        pid = os.fork()
        if pid == 0:
            talk(number)
            os._exit(0)
        pids.append(pid)
    print(", and the other half", file=sys.stderr)
    talk(0)
    return [status_of(pid) for pid in pids]


def child_of(environ):
    """The number of a forked process in the process that serves; 0 in the other one."""
    pid = os.fork()
    if pid:
        environ["pid"] = pid
    return pid


class Iterated:
    def __init__(self, environ, in_close):
        self.environ, self.in_close, self.left = environ, in_close, 1

    def __iter__(self):
        return self

    def __next__(self):
        if not self.left:
            raise StopIteration
        self.left = 0
        if not self.in_close and child_of(self.environ) == 0:
            return b"of the forked process"
        return b"" if self.in_close else answer_of(self.environ)

    def close(self):
        if self.in_close and child_of(self.environ) == 0:
            return
        if self.in_close:
            with open(self.environ["QUERY_STRING"], "w") as file:
                file.write(json.dumps(status_of(self.environ["pid"])))


def answer_of(environ):
    return json.dumps(status_of(environ["pid"])).encode()


def comes_back(environ, start_response, how):
    """A forked process that leaves the application in this way; the answer is its status."""
    start_response("200 OK", [("Content-Type", "application/json")])
    if how in ("iterator", "close"):
        return Iterated(environ, how == "close")
    if child_of(environ) == 0:
        sys.stderr.write("last words of a forked process, without an end")
        if how == "exit":
            sys.exit(3)
        if how == "text":
            sys.exit("a reason to leave")
        if how == "raises":
            raise ValueError("of the forked process")
        if how == "signal":
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(LIMIT)
        return [b"of the forked process"]
    return [answer_of(environ)]


def application(environ, start_response):
    way, _, rest = environ["PATH_INFO"].strip("/").partition("/")
    if way == "back":
        return comes_back(environ, start_response, rest)
    if way == "large":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"x" * 3_000_000]
    if way == "closed":
        found = closed(environ, start_response)
    else:
        if way == "descriptors":
            found = [descriptors(), from_fork(descriptors)]
        elif way == "talks":
            found = talks(environ)
        elif way == "pid":
            found = os.getpid()
        else:
            found = attempt(*WAYS[way])
        start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(found).encode()]
