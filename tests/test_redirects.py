"""Responses that give way to something else: Location with status 200, and WSGIErrorOverride."""

from urllib.parse import quote_plus

import pytest

from conftest import mode_directives

pytestmark = pytest.mark.mpms("event", "prefork")

DIRECTIVES = """
ErrorDocument 404 /page404.html
ErrorDocument 500 "a page of httpd"
ErrorDocument 503 "a page of httpd"
ErrorDocument 403 /environ/for403
Header always set X-Always 1
<Location /answer/override>
    WSGIErrorOverride On
</Location>
<Location /failing>
    WSGIErrorOverride On
</Location>
"""
PLAIN = ("Content-Type", "text/plain")


def query(status, pairs=(), parts=(b"from the app",)):
    return quote_plus(repr((status, [PLAIN, *pairs], list(parts))))


@pytest.fixture
def answer(site):
    (site.root / "htdocs/page404.html").write_text("the page for 404\n")

    def ask(status, pairs=(), parts=(b"from the app",), path="/answer", method="GET", **more):
        return site.request(method, f"{path}?{query(status, pairs, parts)}", **more)
    return ask


# -- Location --------------------------------------------------------------------------------------


@pytest.fixture
def redirect(answer, mode, ours):
    if not ours and mode == "embedded":
        pytest.skip("the original's embedded mode sends Location as it is")
    return answer


def test_a_local_location_is_served_in_place_of_the_response(redirect):
    response = redirect("200 OK", [("Location", "/index.html"), ("X-App", "1"), ("Set-Cookie", "a=1")])
    assert (response.status, response.text) == (200, "static page\n")
    assert response.header("Location") is None and response.header("X-App") is None
    assert response.header("X-Always") == "1"


def test_another_application_gets_it_as_a_get_request(redirect):
    response = redirect("200 Fine", [("Location", "/environ/there?q=1")], method="POST", body=b"abc",
                        headers={"X-Read": "3", "X-Sent": "on"})
    env = {key: value for key, (_, value) in response.json().items()}
    assert env["REQUEST_METHOD"] == "GET" and "CONTENT_LENGTH" not in env
    assert (env["SCRIPT_NAME"], env["PATH_INFO"], env["QUERY_STRING"]) == ("/environ", "/there", "q=1")
    assert env["REDIRECT_URL"] == "/answer" and env["REDIRECT_QUERY_STRING"].startswith("%28")
    assert env["HTTP_X_SENT"] == "on" == env["REDIRECT_HTTP_X_SENT"]
    assert env["REDIRECT_REQUEST_METHOD"] == "POST"


def test_a_body_that_nobody_read_is_not_the_next_request(redirect, site):
    path = f"/answer?{query('200 OK', [('Location', '/index.html')])}"
    body = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    raw = site.raw(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
                   + b"GET /index.html HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert raw.count(b"HTTP/1.1 200 OK") == 2 and raw.count(b"HTTP/1.1") == 2


def test_a_head_request_gets_the_head_of_it(redirect):
    response = redirect("200 OK", [("Location", "/index.html")], method="HEAD")
    assert response.status == 200 and response.header("Content-Length") == "12" and response.body == b""


def test_the_last_location_counts(redirect):
    response = redirect("200 OK", [("Location", "/nowhere"), ("Location", "/index.html")])
    assert response.text == "static page\n"


def test_what_is_not_there_is_a_404(redirect):
    response = redirect("200 OK", [("Location", "/nowhere")])
    assert (response.status, response.text) == (404, "the page for 404\n")


@pytest.mark.mpms("event")  # One child knows of all requests.
def test_a_long_body_is_dropped_and_the_application_runs_to_its_end(redirect, site):
    before = int(site.get("/circle/ended").text)
    assert site.get("/circle/long").text == "static page\n"
    assert int(site.get("/circle/ended").text) == before + 1


def test_a_circle_ends_with_an_error(redirect, site):
    site.log.expect("AH00124")
    response = site.get("/circle")
    assert (response.status, response.text) == (500, "a page of httpd")


def test_one_thread_is_enough_for_both_requests(httpd, mode, ours):
    if not ours and mode == "embedded":
        pytest.skip("the original's embedded mode sends Location as it is")
    apps = httpd.all_apps()
    httpd.start(f"{mode_directives(mode, threads=1)}WSGIScriptAlias /answer {apps}/answer.wsgi\n"
                f"WSGIScriptAlias /hello {apps}/hello.wsgi")
    location = [("Location", "/hello")]
    for _ in range(5):
        assert httpd.get(f"/answer?{query('200 OK', location)}").text == "Hello, world!\n"


STAY = [("200 OK", "http://x.test/"), ("200 OK", "index.html"), ("200 OK", ""), ("201 Created", "/index.html"),
        ("302 Found", "/index.html"), ("404 Not Found", "/index.html")]


@pytest.mark.parametrize("status, location", STAY)
def test_other_locations_are_for_the_client(answer, status, location):
    response = answer(status, [("Location", location)])
    assert f"{response.status} {response.reason}" == status
    assert response.header("Location") == location and response.text == "from the app"


# -- WSGIErrorOverride -----------------------------------------------------------------------------


@pytest.fixture
def overridden(answer, mode, ours):
    if not ours and mode == "embedded":
        pytest.skip("the original overrides in daemon mode only")

    def ask(status, pairs=(), **more):
        return answer(status, pairs, path="/answer/override", **more)
    return ask


def test_an_error_page_of_httpd_stands_in(overridden):
    lost = [("X-App", "1"), ("Set-Cookie", "a=1"), ("Content-Length", "12"), ("ETag", '"x"'), ("Retry-After", "7"),
            ("Content-Encoding", "gzip")]
    response = overridden("404 Own Words", lost)
    assert (response.status, response.reason, response.text) == (404, "Not Found", "the page for 404\n")
    assert not [name for name, _ in lost if name not in ("ETag", "Content-Length") and response.header(name)]
    assert response.header("ETag") != '"x"' and response.header("X-Always") == "1"
    response = overridden("503 Busy", lost)
    assert (response.status, response.text) == (503, "a page of httpd") and response.header("Retry-After") is None


def test_a_page_that_is_an_application_knows_what_happened(overridden):
    env = {key: value for key, (_, value) in overridden("403 No").json().items()}
    assert env["REDIRECT_STATUS"] == "403" and env["REDIRECT_URL"] == "/answer/override"
    assert env["REDIRECT_REQUEST_METHOD"] == "GET"


def test_the_challenge_of_a_401_stays(overridden):
    response = overridden("401 Who", [("WWW-Authenticate", "Basic realm=x")])
    assert response.status == 401 and response.header("WWW-Authenticate") == "Basic realm=x"
    assert b"from the app" not in response.body


def test_a_head_request_has_no_page(overridden):
    response = overridden("404 No", method="HEAD")
    assert response.status == 404 and response.body == b""


@pytest.mark.parametrize("method, body", [("GET", b""), ("POST", b"y" * 100_000)])
def test_the_connection_goes_on_after_a_page(overridden, site, method, body):
    for _ in range(3):
        assert overridden("404 No", method=method, body=body).status == 404
        assert site.get("/hello").status == 200


DYING = """
import os

def application(environ, start_response):
    start_response("404 Not Found", [])
    yield b"x" * 100_000
    os._exit(1)
"""


@pytest.mark.ours("the original says nothing of the loss")
@pytest.mark.modes("daemon")
def test_a_process_that_is_lost_after_the_head_gives_the_page(httpd, mode):
    script = httpd.write("apps/dying.wsgi", DYING)
    httpd.start(f"{mode_directives(mode)}WSGIErrorOverride On\nWSGIScriptAlias / {script}")
    httpd.log.expect("was lost while it executed the request")
    httpd.log.allow("exit|ended|process")
    response = httpd.get("/")
    assert response.status == 404 and b"x" * 10 not in response.body


def test_success_and_redirects_are_left_alone(answer):
    for status in ("200 OK", "302 Found", "399 Odd"):
        response = answer(status, [("X-App", "1")], path="/answer/override")
        assert (response.status, response.text, response.header("X-App")) == (int(status[:3]), "from the app", "1")


def test_without_the_directive_an_error_is_the_applications(answer):
    response = answer("404 Own Words", [("X-App", "1")])
    assert (response.reason, response.text, response.header("X-App")) == ("Own Words", "from the app", "1")


@pytest.mark.ours("the original makes 500 of it")
@pytest.mark.parametrize("status", ["418 Teapot", "499 Own"])
def test_a_status_that_httpd_has_no_page_for_is_the_applications(answer, status):
    response = answer(status, [("X-App", "1")], path="/answer/override")
    assert f"{response.status} {response.reason}" == status and response.text == "from the app"


def test_an_exception_is_an_error_page_too(site):
    site.log.expect("ValueError: raised")
    site.log.allow("Exception occurred|Traceback|File |raise |ValueError|\\^")
    assert site.get("/failing/before").text == "a page of httpd"
