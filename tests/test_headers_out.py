"""Response headers: which may come twice, which belong to the connection, what httpd does about conditions."""

from urllib.parse import quote_plus

import pytest

pytestmark = pytest.mark.mpms("event")


@pytest.fixture
def answer(site):
    def ask(*pairs, status="200 OK", method="GET", **sent):
        query = quote_plus(repr((status, list(pairs), [b"body"])))
        sent = {name.replace("_", "-"): value for name, value in sent.items()}
        return site.request(method, f"/answer?{query}", headers=sent)
    return ask


@pytest.mark.parametrize("name", ["Set-Cookie", "WWW-Authenticate"])
def test_headers_that_are_no_lists_stay_apart(answer, name):
    assert answer((name, "a=1"), (name, "b=2")).all(name) == ["a=1", "b=2"]


@pytest.mark.parametrize("name", ["X-List", "Cache-Control", "Link", "Content-Language"])
def test_repeated_headers_are_all_there(answer, name, mode, ours):
    joined = not ours and mode == "daemon"
    assert answer((name, "one"), (name.lower(), "two")).all(name) == (["one, two"] if joined else ["one", "two"])


@pytest.mark.parametrize("name", ["Location", "Content-Range"])
def test_the_last_of_headers_that_are_one_counts(answer, name, mode, ours):
    if not ours and mode == "embedded":
        pytest.skip("the original's embedded mode sends both")
    assert answer((name, "one"), (name, "two")).all(name) == ["two"]


def test_the_last_content_type_counts(answer):
    assert answer(("Content-Type", "text/a"), ("Content-Type", "text/b")).all("Content-Type") == ["text/b"]


@pytest.mark.ours("the original sends both, or joins them with a comma")
@pytest.mark.parametrize("name", ["ETag", "Expires", "Content-Location", "Retry-After", "Last-Modified"])
def test_the_last_of_others_that_are_one_counts_too(answer, name):
    assert answer((name, '"one"'), (name, '"two"')).all(name) == ['"two"']


def test_the_content_type_stays_as_it_is(answer, mode, ours):
    given = "Text/HTML; Charset=UTF-8"
    lower = not ours and mode == "daemon"
    assert answer(("Content-Type", given)).all("Content-Type") == ["text/html; Charset=UTF-8" if lower else given]
    assert answer().header("Content-Type") is None


LAST = ["Sat, 29 Oct 1994 19:43:31 GMT", "Sat, 29 Oct 2044 19:43:31 GMT", "yesterday"]


@pytest.mark.parametrize("given", LAST)
def test_last_modified_stays_as_it_is(answer, given, mode, ours):
    shown = answer(("Last-Modified", given)).header("Last-Modified")
    if not ours and mode == "daemon" and given != LAST[0]:
        assert shown != given, "the original writes it anew, and not in the future"
    else:
        assert shown == given


def test_the_same_content_length_twice_is_one(answer):
    response = answer(("Content-Length", "4"), ("Content-Length", "4"))
    assert (response.status, response.all("Content-Length"), response.body) == (200, ["4"], b"body")


@pytest.mark.ours("the original passes them on: the response to one is broken")
@pytest.mark.parametrize("name, value", [("Transfer-Encoding", "gzip"), ("Keep-Alive", "timeout=9"),
                                         ("Trailer", "X"), ("TE", "trailers"),
                                         ("Proxy-Connection", "close"), ("Connection", "keep-alive, X-Foo")])
def test_what_belongs_to_the_connection_is_httpds(answer, name, value):
    response = answer((name, value))
    assert response.body == b"body" and value not in response.all(name) + [response.header("Connection")]


@pytest.mark.ours("the original sends the body without chunks")
def test_an_application_that_says_chunked_has_its_body_framed_once(answer):
    assert answer(("Transfer-Encoding", "chunked")).body == b"body"


def test_an_application_may_have_the_connection_closed(site):
    query = quote_plus(repr(("200 OK", [("Connection", "close")], [b"body"])))
    raw = site.raw(f"GET /answer?{query} HTTP/1.1\r\nHost: x\r\n\r\nGET /hello HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert raw.count(b"HTTP/1.1 200") == 1 and b"Connection: close\r\n" in raw


def test_an_upgrade_may_be_offered(answer):
    response = answer(("Connection", "upgrade"), ("Upgrade", "websocket"), status="426 Upgrade Required")
    assert response.status == 426 and response.header("Upgrade") == "websocket"
    assert "upgrade" in response.header("Connection")


CONDITIONS = [("If_None_Match", '"a"'), ("If_Modified_Since", LAST[0]), ("If_Match", '"b"'),
              ("If_Unmodified_Since", "Sat, 29 Oct 1993 19:43:31 GMT")]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("name, value", CONDITIONS)
def test_conditions_are_the_applications_business(answer, method, name, value):
    response = answer(("ETag", '"a"'), ("Last-Modified", LAST[0]), method=method, **{name: value})
    assert (response.status, response.body) == (200, b"body")


def test_an_applications_304_has_no_body(answer):
    response = answer(("ETag", '"a"'), ("Content-Type", "text/plain"), status="304 Not Modified")
    assert (response.status, response.body, response.header("ETag")) == (304, b"", '"a"')
    assert response.header("Content-Type") is None


def test_an_applications_206_stays_as_it_is(answer):
    response = answer(("Content-Range", "bytes 0-3/10"), status="206 Partial Content", Range="bytes=0-3")
    assert (response.status, response.body) == (206, b"body")
    assert response.header("Content-Range") == "bytes 0-3/10"
