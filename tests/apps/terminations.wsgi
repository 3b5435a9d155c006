"""Ends in every way; PATH_INFO is PLACE/KIND: where an exception is raised, or what is returned, and which."""
import mod_wsgi


class Odd(BaseException):
    pass


RAISED = {
    "value": ValueError("told"), "exit": SystemExit(), "exit3": SystemExit(3), "interrupt": KeyboardInterrupt("told"),
    "genexit": GeneratorExit("told"), "timeout": mod_wsgi.RequestTimeout("told"), "odd": Odd("told"),
    "stop": StopIteration("told"),
}


class Body:
    """Items, then an exception; another one in close()."""

    def __init__(self, items, error=None, in_close=None):
        self.items, self.error, self.in_close = iter(items), error, in_close

    def __iter__(self):
        return self

    def __next__(self):
        for item in self.items:
            return item
        raise self.error or StopIteration

    def close(self):
        print("close was called")
        if self.in_close:
            raise self.in_close


class BadIter(Body):
    def __iter__(self):
        raise self.error


class CloseIsNoFunction:
    close = 5

    def __iter__(self):
        return iter([b"body"])


class CloseCannotBeFound(CloseIsNoFunction):
    @property
    def close(self):
        raise ValueError("told")


def returned(kind):
    return {
        "none": None, "number": 5, "str": "text", "list-of-str": ["text"], "bytearray": [bytearray(b"x")],
        "memoryview": [memoryview(b"x")], "dict": {b"key": 1}, "late-str": iter([b"x", "y"]),
        "late-none": iter([b"x", None]), "close-is-no-function": CloseIsNoFunction(),
        "close-cannot-be-found": CloseCannotBeFound(),
    }[kind]


def unstarted(kind):
    return {"list": [], "empty": [b""], "bytes": [b"x"], "generator": (x for x in [b"x"]), "none": None,
            "nothing": iter(())}[kind]


def application(environ, start_response):
    place, _, kind = environ["PATH_INFO"].strip("/").partition("/")
    error = RAISED.get(kind)
    if place == "before":
        raise error
    if place == "unstarted":
        return unstarted(kind)
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    if place == "started":
        raise error
    if place == "committed":
        write(b"")
        raise error
    if place == "written":
        write(b"begun")
        raise error
    bodies = {
        "first": lambda: Body([], error), "empty": lambda: Body([b""], error), "later": lambda: Body([b"begun"], error),
        "iter": lambda: BadIter([], error), "close": lambda: Body([b"body"], None, error),
        "close-empty": lambda: Body([], None, error), "both": lambda: Body([], KeyError("first"), error),
        "returned": lambda: returned(kind),
    }
    return bodies[place]()
