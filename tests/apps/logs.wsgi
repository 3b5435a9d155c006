"""Logs by the logging module and mod_wsgi.LogHandler; PATH_INFO names the case."""
import logging
import sys
import threading

import mod_wsgi

logger = logging.getLogger("app")
logger.propagate = False
logger.setLevel(1)
handler = mod_wsgi.LogHandler()
handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
logger.addHandler(handler)


class Formatted:
    """Knows whether somebody wanted its text."""

    wanted = False

    def __str__(self):
        self.wanted = True
        return "formatted"


def levels():
    for level in (60, 50, 49, 40, 39, 30, 29, 20, 19, 10, 1):
        logger.log(level, "python level %d", level)


def dropped():
    text = Formatted()
    logger.debug("%s", text)
    return str(text.wanted)


def exception():
    try:
        raise ValueError("caught")
    except ValueError:
        logger.exception("it went\nwrong")


def odd():
    logger.error("blank\n\nline\n")
    logger.error("percent %s %n 100%")
    logger.error("null a\0b")
    logger.error("long " + "x" * 20000 + " end")
    logger.error("surrogate \udcff")


def unformattable():
    logger.error("%d", "no number")


def many(number, others=10):
    barrier = threading.Barrier(others)

    def log(thread):
        barrier.wait()
        for at in range(20):
            logger.error("\n".join(f"r{number}.{thread}.{at} line {line} of 4" for line in range(4)))

    threads = [threading.Thread(target=log, args=(n,)) for n in range(others)]
    [t.start() for t in threads]
    [t.join() for t in threads]


def together(number):
    for at in range(30):
        logger.error("\n".join(f"r{number}.{at} line {line} of 4" for line in range(4)))


def interleaved(errors):
    for word in ("one ", "two ", "three\n"):
        errors.write("errors " + word)
        sys.stdout.write("stdout " + word)
        sys.stderr.write("stderr " + word)


def order(errors):
    print("first", file=errors)
    print("second")
    logger.error("third")
    print("fourth", file=sys.stderr)


def application(environ, start_response):
    case, _, argument = environ["PATH_INFO"].strip("/").partition("/")
    cases = {
        "levels": levels, "dropped": dropped, "exception": exception, "odd": odd, "unformattable": unformattable,
        "many": lambda: many(argument), "together": lambda: together(argument),
        "interleaved": lambda: interleaved(environ["wsgi.errors"]), "order": lambda: order(environ["wsgi.errors"]),
        "outside": lambda: run(lambda: logger.info("from a thread of its own")),
        "leave": lambda: run(lambda: sys.stderr.write("left by a thread")),
    }
    said = cases[case]()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [(said or "done").encode()]


def run(function):
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()
