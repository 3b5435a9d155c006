"""For tests of free-threaded Python: requests side by side, and what they share."""
import gc
import os
import subprocess
import sys
import threading
import time
from urllib.parse import parse_qs

if getattr(sys, '_is_gil_enabled', lambda: True)():
    # A thread that computes keeps the GIL for as long as it likes.
    sys.setswitchinterval(1000)

count = [0]
lock = threading.Lock()
seen = []
arrived = []
kept = []


def state(environ):
    return (sys._is_gil_enabled(), sys.version_info[:2], sys.flags.gil if hasattr(sys.flags, 'gil') else None,
            environ['mod_wsgi.application_group'])


def pid(environ):
    return os.getpid()


def meet(environ):
    """Computes until another request does the same: whether it came before the time was over."""
    seconds = float(parse_qs(environ['QUERY_STRING'])['seconds'][0])
    arrived.append(None)
    end = time.monotonic() + seconds
    while len(arrived) < 2 and time.monotonic() < end:
        pass
    return len(arrived) >= 2


def add(environ):
    """Changes what all requests share: a number below a lock, and a list without one."""
    for _ in range(100):
        with lock:
            count[0] += 1
        seen.append(None)
    return count[0], len(seen)


def readers(environ):
    """Threads read one body at the same time: each byte goes to one of them, or a thread is told that it is not alone."""
    body, parts, errors = environ['wsgi.input'], [], []

    def read():
        try:
            while piece := body.read(7):
                parts.append(piece)
        except RuntimeError as error:
            errors.append(str(error))

    together(read)
    rest = body.read()
    return sorted(b''.join(parts) + rest) == sorted(b'0123456789' * 10000), sorted(set(errors))


def together(function, number=4):
    threads = [threading.Thread(target=function) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def hold(environ, start_response):
    """Keeps what belongs to the request for later."""
    kept.append((environ['wsgi.input'], start_response))
    del kept[:-8]
    return len(kept)


def haunt(environ):
    """Threads call what belongs to other requests, which may be over or not."""
    end, told = time.monotonic() + 2, set()

    def call():
        while time.monotonic() < end:
            for body, start_response in list(kept):
                for use in (lambda: body.read(1), lambda: start_response('200 OK', []), lambda: body.readline()):
                    try:
                        use()
                    except (RuntimeError, OSError) as error:
                        told.add(str(error))

    together(call)
    return sorted(told)


def fork(environ):
    """Forks while other threads compute."""
    over = []

    def compute():
        while not over:
            dict.fromkeys(range(10))

    threads = [threading.Thread(target=compute) for _ in range(2)]
    for thread in threads:
        thread.start()
    statuses = []
    for status in range(5):
        pid = os.fork()
        if not pid:
            gc.collect()
            os._exit(status)
        statuses.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    over.append(None)
    for thread in threads:
        thread.join()
    done = subprocess.run([sys.executable, '-c', 'print(6 * 7)'], stdout=subprocess.PIPE, text=True)
    return statuses, done.stdout.strip()


def stream(environ, start_response):
    """Threads write at the same time, each line as a whole."""
    write = start_response('200 OK', [('Content-Type', 'text/plain')])
    names = list('abcd')

    def lines():
        name = names.pop()
        for _ in range(50):
            while True:
                try:
                    write((name * 99 + '\n').encode())
                    break
                except RuntimeError as error:
                    if 'another thread is writing' not in str(error):
                        raise

    together(lines)
    return [b'end']


def fail(environ):
    raise ValueError('on purpose')


def stuck(environ):
    while True:
        pass


def application(environ, start_response):
    name = environ['PATH_INFO'].strip('/')
    if name == 'stream':
        return stream(environ, start_response)
    told = hold(environ, start_response) if name == 'hold' else globals()[name](environ)
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [repr(told).encode()]
