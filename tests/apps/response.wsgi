"""Response bodies of many kinds; PATH_INFO names the kind."""
import time

TEXT = ("Content-Type", "text/plain")


class WithLength:
    def __len__(self):
        return 1

    def __iter__(self):
        return iter([b"with length"])


class ByItems:
    """Iterable only through __getitem__."""

    def __getitem__(self, index):
        return [b"by ", b"items"][index]


def generator():
    for word in (b"gene", b"", b"rator"):
        yield word


def paused():
    yield b"one"
    time.sleep(0.1)
    yield b"two"


def big():
    block = bytes(range(256)) * 256
    for _ in range(320):
        yield block


BODIES = {
    "list": lambda: [b"one"], "parts": lambda: [b"one ", b"two ", b"three"],
    "tuple": lambda: (b"tu", b"ple"), "generator": generator, "iterator": lambda: iter([b"it"]),
    "with-length": WithLength, "by-items": ByItems, "bytes": lambda: b"bytes",
    "empty-list": lambda: [], "empty-item": lambda: [b""], "empty-generator": lambda: iter(()),
    "big": big, "paused": paused, "none": lambda: None, "number": lambda: 7, "text": lambda: ["text"],
    "one-big": lambda: [bytes(range(256)) * 256 * 320],
}


def application(environ, start_response):
    start_response("200 OK", [TEXT])
    return BODIES[environ["PATH_INFO"].strip("/")]()
