"""wsgiref.validate stays silent over many kinds of requests."""

import pytest

BODY = b"line one\nline two\n"

REQUESTS = [
    ("GET", "/validated", None, {}),
    ("GET", "/validated/caf%C3%A9?q=%FF&x", None, {"X-Header": "value"}),
    ("HEAD", "/validated", None, {}),
    ("OPTIONS", "/validated", None, {}),
    ("GET", "/validated/write", None, {}),
    ("DELETE", "/validated/read", None, {}),
    ("POST", "/validated/read", b"", {}),
    ("POST", "/validated/read", BODY, {"Content-Type": "text/plain"}),
    ("POST", "/validated/read-size", BODY, {}),
    ("POST", "/validated/readline", BODY, {}),
    ("POST", "/validated/lines", BODY, {}),
    ("PUT", "/validated/iterate", BODY, {}),
    ("POST", "/validated/ignore", BODY * 10000, {}),
]


@pytest.mark.parametrize("method, path, body, headers", REQUESTS, ids=lambda v: str(v)[:40])
@pytest.mark.check
def test_the_validator_has_no_complaint(site, method, path, body, headers):
    response = site.request(method, path, body, headers)
    assert (response.status, response.reason) == (200, "OK"), response.body
    assert b"AssertionError" not in response.body


@pytest.mark.check
def test_the_validator_has_no_complaint_over_http_1_0(site):
    head, body = site.raw_get("/validated", version="1.0")
    assert "200 OK" in head and b"AssertionError" not in body
