"""The clients of `make chaos`: each sends requests of its kind on connections that it keeps for a while, and checks every
byte of what comes back."""

import hashlib
import http.client
import random
import threading
import time
from dataclasses import dataclass


def blob(name, size):
    seed = hashlib.sha256(name.encode()).hexdigest().encode()
    return (seed * (size // len(seed) + 1))[:size]


@dataclass
class Trouble:
    """A request that did not get its response."""
    name: str
    group: str
    kind: str
    what: str
    begun: float
    ended: float
    port: int


class Results:
    """What the clients have seen, together."""

    def __init__(self):
        self.lock = threading.Lock()
        self.count = {}
        self.slowest = {}
        self.troubles = []
        self.repeated = []

    def good(self, kind, group, begun, seconds):
        with self.lock:
            self.count[kind] = self.count.get(kind, 0) + 1
            self.slowest[kind] = max(self.slowest.get(kind, (0, 0, "")), (seconds, begun, group))


class Client(threading.Thread):
    """Requests of one kind to one group, until `done`."""

    def __init__(self, number, port, group, kind, seed, results, done, file):
        super().__init__(daemon=True)
        self.number, self.port, self.group, self.kind = number, port, group, kind
        self.random = random.Random(f"{seed} {number}")
        self.results, self.done, self.file = results, done, file
        self.connection, self.left, self.made = None, 0, 0
        self.pending = ""

    def run(self):
        while not self.done.is_set():
            self.once()
            if self.kind != "short":
                self.done.wait(self.random.random() * 0.1)
        self.hang_up()

    def hang_up(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def once(self):
        """One request; again on a new connection when httpd has closed the kept one before it had the request."""
        for _ in range(3):
            self.made += 1
            name = f"{self.group}-{self.number}-{self.made}"
            self.pending, begun = name, time.monotonic()
            was_kept, port = self.connect()
            try:
                what = self.exchange(name)
            except (OSError, http.client.HTTPException) as error:
                what = f"{type(error).__name__}: {error}"
                if was_kept and isinstance(error, (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)):
                    what = "kept"
            self.pending = ""
            if what is None:
                self.results.good(self.kind, self.group, begun, time.monotonic() - begun)
                return
            self.hang_up()
            trouble = Trouble(name, self.group, self.kind, what, begun, time.monotonic(), port)
            if what != "kept":
                return self.results.troubles.append(trouble)
            self.results.repeated.append(trouble)

    def connect(self):
        """Whether the connection has been used before, and its port."""
        if self.connection and self.left > 0:
            self.left -= 1
            return True, self.local
        self.hang_up()
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        self.left = self.random.choice([0, 3, 50])
        try:
            self.connection.connect()
            self.local = self.connection.sock.getsockname()[1]
        except OSError:
            self.local = 0
        return False, self.local

    def exchange(self, name):
        """What is wrong with the response; nothing when all is well."""
        path, body, expected = getattr(self, f"make_{self.kind}")(name)
        headers = {"X-Id": name}
        if self.left == 0:
            headers["Connection"] = "close"
        method = "GET" if body is None else "POST"
        self.connection.request(method, f"/{self.group}/{path}/{name}", body, headers, encode_chunked=hasattr(body, "__next__"))
        response = self.connection.getresponse()
        got = response.read()
        if response.getheader("Connection") == "close":
            self.left = 0
        if response.status != 200:
            return f"status {response.status}"
        if response.getheader("X-Id") != name:
            return f"WRONG: the response of {response.getheader('X-Id')}"
        return None if got == expected else f"WRONG: {len(got)} bytes, not the {len(expected)} expected ones"

    def make_short(self, name):
        return "short", None, blob(name, 200)

    def make_big(self, name):
        size = self.random.choice([20_000, 300_000, 3_000_000])
        return f"big/{size}", None, blob(name, size)

    def make_stream(self, name):
        size = self.random.choice([100, 100_000, 1_000_000])
        return f"stream/{size}", None, blob(name, size)

    def make_upload(self, name):
        size = self.random.choice([1000, 100_000, 3_000_000])
        body = blob(name[::-1], size)
        answer = blob(name, 200) + hashlib.sha256(body).hexdigest().encode()
        if self.random.random() < 0.5:
            return "upload", body, answer
        return "upload", self.slowly(body), answer

    def slowly(self, body):
        """In ten parts, with pauses, chunked."""
        size = len(body) // 10 + 1
        for at in range(0, len(body), size):
            time.sleep(0.03)
            yield body[at:at + size]

    def make_file(self, name):
        return "file", None, self.file
