"""warmup=/path: a new process has been asked before a client's request comes."""

import pytest

from processes import wait_until

pytestmark = pytest.mark.ours("the original has no such option")
APP = """
import json
CALLS = []
def {callable}(environ, start_response):
    keys = "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "SERVER_NAME", "mod_wsgi.process_group"
    CALLS.append([environ[key] for key in keys])
    status = "500 No" if environ["PATH_INFO"] == "/broken" else "200 OK"
    start_response(status, [("Content-Type", "application/json")])
    return [json.dumps(CALLS).encode()]
"""


def start(httpd, path, alias="/", callable="application", extra="", processes=1):
    script = httpd.write("apps/warm.wsgi", APP.replace("{callable}", callable))
    group = f"WSGIDaemonProcess app threads=2 processes={processes} warmup={path}"
    httpd.start(f"{group}\nWSGIProcessGroup app\n{extra}\nWSGIScriptAlias {alias} {script}")
    return script


@pytest.mark.check
def test_a_client_is_never_the_first(httpd):
    start(httpd, "/health?deep=1", processes=2)
    httpd.log.wait_for("warmup=/health\\?deep=1 was answered with 200 after", count=2)
    assert httpd.json("/x")[0] == ["", "/health", "deep=1", "localhost", "app"]


@pytest.mark.check
def test_the_alias_and_the_callable_are_those_of_the_configuration(httpd):
    start(httpd, "/shop/health", "/shop", "app", "WSGICallableObject app")
    assert httpd.json("/shop/x")[0][:2] == ["/shop", "/health"]


@pytest.mark.check
def test_a_failing_warmup_is_an_error_line_and_no_more(httpd):
    httpd.log.expect("process group \"app\": warmup=/broken was answered with 500 .*takes requests all the same")
    start(httpd, "/broken")
    assert httpd.get("/x").status == 200


@pytest.mark.check
def test_several_applications_are_too_many(httpd):
    httpd.log.expect("process group \"app\": warmup=/health needs to know its application")
    start(httpd, "/health", extra=f"WSGIScriptAlias /other {httpd.app('hello')}")
    assert httpd.get("/other").status == 200


def test_every_new_process_is_asked(httpd):
    start(httpd, "/health")
    assert httpd.get("/x").status == 200
    httpd.graceful()
    httpd.log.wait_for("warmup=/health was answered with 200", 20, count=2)
    wait_until(lambda: len(httpd.json("/x")) < 4, 15, "the new process serves")
