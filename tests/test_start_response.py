"""start_response: what it accepts, what it raises, and when it may be called again."""

from urllib.parse import quote_plus

import pytest


def start(site, *arguments):
    return site.get(f"/start_response?{quote_plus(repr(arguments))}")


ACCEPTED = [
    ("200 OK", []),
    ("404 Not Found", [("Content-Type", "text/plain")]),
    ("299 Own reason of many words", []),
    ("200 OK", [("X-Empty", "")]),
    ("200 OK", [("X-Latin", "caf\xe9")]),
    ("200 OK", [], None),
]


@pytest.mark.parametrize("arguments", ACCEPTED, ids=repr)
def test_valid_arguments_are_accepted(site, arguments):
    response = start(site, *arguments)
    assert response.text == "accepted"
    assert f"{response.status} {response.reason}" == arguments[0]


REFUSED = [
    (("200 OK", ()), "TypeError"),
    (("200 OK", {}), "TypeError"),
    (("200 OK", None), "TypeError"),
    ((200, []), "TypeError"),
    ((b"200 OK", []), "TypeError"),
    (("", []), "ValueError"),
    (("OK", []), "ValueError"),
    (("20 OK", []), "ValueError"),
    (("2000 OK", []), "ValueError"),
    (("20x OK", []), "ValueError"),
    (("200OK", []), "ValueError"),
    (("200 O\nK", []), "ValueError"),
    (("200 O\rK", []), "ValueError"),
    (("200 \u20ac", []), "UnicodeEncodeError"),
    (("200 OK", [["X-List", "v"]]), "TypeError"),
    (("200 OK", [("X-Three", "v", "w")]), "ValueError"),
    (("200 OK", [("X-One",)]), "ValueError"),
    (("200 OK", [("X-Number", 1)]), "TypeError"),
    (("200 OK", [("X-None", None)]), "TypeError"),
    (("200 OK", [("X-Bytes", b"v")]), "TypeError"),
    (("200 OK", [(b"X-Bytes", "v")]), "TypeError"),
    (("200 OK", [("", "v")]), "ValueError"),
    (("200 OK", [("X Space", "v")]), "ValueError"),
    (("200 OK", [("X-Line\n", "v")]), "ValueError"),
    (("200 OK", [("X-Value", "a\r\nSet-Cookie: b")]), "ValueError"),
    (("200 OK", [("X-Value", "a\nb")]), "ValueError"),
    (("200 OK", [("X-Value", "a\rb")]), "ValueError"),
    (("200 OK", [("X-Value", "\u20ac")]), "UnicodeEncodeError"),
    (("200 OK", [], "not exc_info"), "RuntimeError"),
    (("200 OK",), "TypeError"),
    ((), "TypeError"),
]


@pytest.mark.parametrize("arguments, error", REFUSED, ids=repr)
def test_invalid_arguments_raise(site, arguments, error):
    response = start(site, *arguments)
    assert response.text.partition(":")[0] == error


NUL = [
    (("200 O\0K", []), "ValueError"),
    (("200 OK", [("X-Value", "a\0b")]), "ValueError"),
    (("200 OK", [("X\0Name", "v")]), "ValueError"),
]


@pytest.mark.ours("the original cuts at a NUL")
@pytest.mark.parametrize("arguments, error", NUL, ids=repr)
def test_a_nul_is_refused(site, arguments, error):
    assert start(site, *arguments).text.partition(":")[0] == error


@pytest.mark.ours("the original takes it apart into another header or lets httpd refuse it")
def test_a_header_name_with_a_colon_is_refused(site):
    assert start(site, "200 OK", [("X:Y", "v")]).text.startswith("ValueError")


def test_the_message_names_what_was_wrong(site):
    assert "must be list, not tuple" in start(site, "200 OK", ()).text
    assert "3 digit" in start(site, "20 OK", []).text


def test_a_second_call_before_output_replaces_the_first(site):
    response = site.get("/sequence/twice-before-output")
    assert (response.status, response.text) == (201, "body")
    assert response.header("X-Second") == "2" and response.header("X-First") is None


def test_exc_info_before_output_replaces_status_and_headers(site):
    response = site.get("/sequence/exc-info-before-output")
    assert (response.status, response.text) == (503, "replaced")
    assert response.header("X-First") is None


def test_exc_info_on_the_first_call_is_accepted(site):
    response = site.get("/sequence/exc-info-first")
    assert (response.status, response.text) == (202, "accepted")


def test_a_second_call_after_output_raises(site):
    response = site.get("/sequence/twice-after-output")
    assert response.status == 200
    assert response.text.startswith("begun RuntimeError")


def test_exc_info_after_output_is_raised_again(site):
    response = site.get("/sequence/exc-info-after-output")
    assert response.text.startswith("begun KeyError: 'first'")


def test_output_without_start_response_is_an_error(site):
    site.log.expect("start_response")
    site.log.allow("Exception occurred|Traceback|File |RuntimeError")
    assert site.get("/sequence/never").status == 500


def test_a_generator_may_call_start_response_late(site):
    response = site.get("/sequence/late")
    assert (response.status, response.text) == (200, "late")


def test_an_empty_item_may_come_before_start_response(site, ours):
    response = site.get("/sequence/late-on-empty")
    assert (response.status, response.text) == (200, "after empty")


def test_write_sends_before_the_iterable(site):
    assert site.get("/write/parts").text == "one two three"


def test_write_of_nothing_commits_an_empty_body(site):
    response = site.get("/write/empty")
    assert (response.status, response.body) == (200, b"")


def test_write_refuses_text(site):
    assert site.get("/write/text").text.startswith("TypeError: ")
