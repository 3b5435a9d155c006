"""Every way in which an application ends: the client's status, whether it sees the truth, and what is logged."""

import re

import pytest

from test_logging import parsed

ERRORS = {
    "value": "ValueError: told", "exit": "SystemExit", "exit3": "SystemExit: 3", "interrupt": "KeyboardInterrupt: told",
    "genexit": "GeneratorExit: told", "odd": "Odd: told",
}
TIMEOUT = "Request interrupted by RequestTimeout"


def ask(site, path, error):
    """The response; of the log's lines only such as belong to `error`, which must be there."""
    site.log.allow("terminations.wsgi|close was called|Traceback|  |" + (re.escape(error) if error else "!"))
    if error:
        site.log.expect(re.escape(error))
    return site.get(f"/terminations/{path}")


def levels(site, pattern):
    site.log.wait_for(pattern)
    return {match["level"] for match in parsed(site.log, pattern)}


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("place", ["before", "started", "committed", "first", "empty", "iter"])
def test_an_exception_before_output_is_a_500(site, place, kind):
    response = ask(site, f"{place}/{kind}", ERRORS[kind])
    assert (response.status, response.complete) == (500, True)
    assert levels(site, re.escape(ERRORS[kind])) == {"error"}
    assert site.get("/hello").status == 200


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("place", ["written", "later"])
def test_an_exception_after_output_cuts_the_response_short(site, place, kind, ours, mode):
    response = ask(site, f"{place}/{kind}", ERRORS[kind])
    assert response.status == 200
    if ours or (mode, place) == ("embedded", "later"):
        assert (response.body, response.complete) == (b"begun", False)


@pytest.mark.parametrize("place", ["before", "started", "committed", "first", "empty", "iter"])
def test_a_request_timeout_before_output_is_a_504_and_no_error(site, place):
    response = site.get(f"/terminations/{place}/timeout")
    site.log.allow("close was called")
    assert (response.status, response.complete) == (504, True)
    assert levels(site, TIMEOUT) == {"info"}
    assert not parsed(site.log, "Traceback|told")


@pytest.mark.parametrize("place", ["written", "later"])
def test_a_request_timeout_after_output_cuts_the_response_short_and_is_no_error(site, place, ours, mode):
    response = site.get(f"/terminations/{place}/timeout")
    site.log.allow("close was called")
    assert response.body == b"begun"
    if ours or (mode, place) == ("embedded", "later"):
        assert not response.complete
    assert levels(site, TIMEOUT) == {"info"}


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("place, body", [("close", b"body"), ("close-empty", b"")])
def test_an_exception_in_close_is_logged_and_changes_nothing(site, place, body, kind):
    response = ask(site, f"{place}/{kind}", ERRORS[kind])
    assert (response.status, response.body, response.complete) == (200, body, True)


def test_a_request_timeout_in_close_is_nothing(site):
    response = ask(site, "close/timeout", None)
    assert (response.status, response.body, response.complete) == (200, b"body", True)
    site.log.wait_for("close was called")
    assert not parsed(site.log, "told|RequestTimeout")


def test_exceptions_in_iteration_and_close_are_logged_in_their_order(site):
    assert ask(site, "both/value", "ValueError: told").status == 500
    site.log.allow("KeyError|directly|During|^$")
    site.log.wait_for("ValueError: told")
    found = [m["text"] for m in parsed(site.log, "^KeyError: 'first'|^close was called|^ValueError: told")]
    assert found == ["KeyError: 'first'", "close was called", "ValueError: told"]


RETURNED = {
    "none": (500, "TypeError: 'NoneType' object is not iterable"),
    "number": (500, "TypeError: 'int' object is not iterable"),
    "str": (500, "TypeError: response iterable must yield bytes, not str"),
    "list-of-str": (500, "TypeError: response iterable must yield bytes, not str"),
    "bytearray": (500, "TypeError: response iterable must yield bytes, not bytearray"),
    "memoryview": (500, "TypeError: response iterable must yield bytes, not memoryview"),
    "late-str": (200, "TypeError: response iterable must yield bytes, not str"),
    "late-none": (200, "TypeError: response iterable must yield bytes, not NoneType"),
    "dict": (200, None),
    "close-is-no-function": (200, "TypeError: 'int' object is not callable"),
    "close-cannot-be-found": (200, "ValueError: told"),
}


@pytest.mark.parametrize("kind", RETURNED)
def test_what_is_returned(site, kind, ours, mode):
    status, error = RETURNED[kind]
    response = ask(site, f"returned/{kind}", error)
    site.log.allow("WSGI0194")
    assert response.status == status
    if kind.startswith("late") and (ours or mode == "embedded"):
        assert (response.body, response.complete) == (b"x", False)


@pytest.mark.parametrize("kind, error", [
    *[(kind, "RuntimeError: start_response() must be called before response content is produced")
      for kind in ("list", "empty", "bytes", "generator", "nothing")],
    ("none", "TypeError: 'NoneType' object is not iterable"),
])
def test_a_body_without_start_response_is_a_500(site, kind, error):
    assert ask(site, f"unstarted/{kind}", error).status == 500
