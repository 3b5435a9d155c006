"""Requests from several threads at once, and what became of each of them."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import quote

from processes import wait_until


@dataclass
class Outcome:
    result: object  # a status, or the name of the exception
    seconds: float
    body: bytes = b""


def timed(client, path, **more):
    """One request; an exception is an outcome too."""
    begun = time.monotonic()
    try:
        response = client.get(path, **more)
        result = response.status if response.complete else "truncated"
        return Outcome(result, time.monotonic() - begun, response.body)
    except Exception as error:
        return Outcome(type(error).__name__, time.monotonic() - begun)


def at_once(client, paths):
    """Requests all paths at the same time; returns the outcomes in their order."""
    with ThreadPoolExecutor(len(paths)) as pool:
        return list(pool.map(lambda path: timed(client, path), paths))


class Background:
    """A request that runs while the test goes on: `with Background(httpd, path) as slow`."""

    def __init__(self, client, *paths):
        self.pool = ThreadPoolExecutor(len(paths))
        self.futures = [self.pool.submit(timed, client, path) for path in paths]

    def outcomes(self, timeout=60):
        return [future.result(timeout) for future in self.futures]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.pool.shutdown()


# Of a client that sends steady requests, between two of them. Without it the clients take all processors of the machine
# from the servers, and from the tests that run beside this one; with it there are still hundreds of requests a second.
PAUSE = 0.015


class Load:
    """Steady requests from `clients` threads until the block ends."""

    def __init__(self, client, path, clients=4):
        self.client, self.path = client, path
        self.done = threading.Event()
        self.outcomes = []
        self.threads = [threading.Thread(target=self._run) for _ in range(clients)]

    def _run(self):
        while not self.done.wait(PAUSE):
            self.outcomes.append(timed(self.client, self.path))

    def more(self, count, timeout=20):
        """Waits for this many further outcomes."""
        wanted = len(self.outcomes) + count
        wait_until(lambda: len(self.outcomes) >= wanted, timeout, f"{count} more outcomes")

    def results(self):
        return Counter(outcome.result for outcome in self.outcomes)

    def slowest(self):
        return max(outcome.seconds for outcome in self.outcomes)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        for thread in self.threads:
            thread.join()


def busy(httpd, seconds, count=1):
    """Requests that are being executed when this returns."""
    marks = [httpd.root / f"tmp/busy-{n}" for n in range(count)]
    running = Background(httpd, *(f"/marked_sleep?{quote(str(m))},{seconds}" for m in marks))
    wait_until(lambda: all(m.exists() and m.read_text() for m in marks), 10, "all are executed")
    running.pids = [int(m.read_text()) for m in marks]
    for mark in marks:
        mark.unlink()
    return running
