"""WSGIDispatchScript: a script chooses process group, application group and callable of each request."""

import pytest

import json

APP = """
import json
import os
import mod_wsgi


def answer(environ, start_response, name):
    start_response('200 OK', [('Content-Type', 'application/json')])
    seen = [name, mod_wsgi.process_group, environ['mod_wsgi.process_group'], environ['mod_wsgi.application_group']]
    return [json.dumps(seen).encode()]


def application(environ, start_response):
    return answer(environ, start_response, 'application')


def other(environ, start_response):
    return answer(environ, start_response, 'other')
"""

DISPATCH = """
import json
import sys


def process_group(environ):
    if environ['QUERY_STRING'] == 'environ':
        seen = {key: value for key, value in environ.items() if isinstance(value, str)}
        print('SEEN', json.dumps(seen), file=sys.stderr)
    return {'two': 'two', 'bytes': b'two', 'raise': None, 'env': '%{ENV:CHOSEN}', 'global': '%{GLOBAL}', 'none': None, 'number': 2,
            'unknown': 'unknown'}.get(environ['QUERY_STRING'])


def application_group(environ):
    if environ['QUERY_STRING'] == 'raise':
        raise RuntimeError('refused')
    return 'sub' if environ['QUERY_STRING'] == 'sub' else None


def callable_object(environ):
    return 'other' if environ['QUERY_STRING'] == 'other' else None
"""
SAID = r"WSGI01(05|09|51|74|75)|Traceback|File |RuntimeError|raise |gives no answer|refused|gave no answer"


@pytest.fixture(params=["", pytest.param("process-group=two", marks=pytest.mark.ours("the original has no such option"))],
                ids=["child", "daemon"])
def server(request, httpd):
    app, dispatch = httpd.write("apps/app.wsgi", APP), httpd.write("apps/dispatch.py", DISPATCH)
    httpd.start(f"""
WSGIDaemonProcess one threads=3
WSGIDaemonProcess two threads=3
WSGIProcessGroup one
WSGIApplicationGroup %{{GLOBAL}}
WSGIScriptAlias /app {app}
WSGIDispatchScript {dispatch} {request.param}
SetEnv CHOSEN two""")
    return httpd


@pytest.mark.parametrize("query, seen", [
    ("none", ["application", "one", "one", ""]), ("two", ["application", "two", "two", ""]),
    ("bytes", ["application", "two", "two", ""]), ("env", ["application", "two", "two", ""]),
    ("global", ["application", "", "", ""]), ("other", ["other", "one", "one", ""]),
    ("sub", ["application", "one", "one", "sub"])])
def test_a_script_chooses_where_a_request_runs(server, query, seen):
    assert server.json(f"/app?{query}") == seen


@pytest.mark.parametrize("query", ["raise", "number", "unknown"])
def test_a_choice_that_is_none_refuses_the_request(server, ours, query):
    server.log.allow(SAID + '|No WSGI daemon process|group')
    if ours:
        server.log.expect({"raise": "RuntimeError: refused", "number": r"process_group\(\) returned a value of type int",
                           "unknown": "WSGI0151: No WSGI daemon process called 'unknown'"}[query])
        server.log.expect("the request is refused .500." if query != "unknown" else "no WSGIDaemonProcess defines it")
    assert server.get(f"/app?{query}").status == 500


@pytest.mark.ours("the original then serves the request where the configuration says")
@pytest.mark.parametrize("text", [None, "x ="], ids=["missing", "broken"])
def test_a_script_that_does_not_load_refuses_the_request(httpd, text):
    script = httpd.root / "apps/none.py"
    if text is not None:
        script.write_text(text)
    httpd.log.allow(SAID + r"|No such file|SyntaxError|x =|\^|FileNotFound")
    httpd.log.expect("WSGI0105: Could not read or compile WSGI script '.*none.py'")
    httpd.log.expect(r"WSGIDispatchScript /.*none.py .*; the request is refused \(500\)")
    httpd.start(f"WSGIScriptAlias /hello {httpd.app('hello')}\nWSGIDispatchScript {script}")
    assert httpd.get("/hello").status == 500


def test_a_script_sees_what_the_application_would_see(server, ours):
    server.log.allow("SEEN")
    server.get("/app/below?environ", headers={"X-Seen": "1"})
    line = server.log.wait_for("SEEN")
    environ = json.loads(line[line.index("SEEN") + 5:])
    expected = {"CHOSEN": "two", "HTTP_X_SEEN": "1", "SCRIPT_NAME": "/app", "PATH_INFO": "/below",
                "REQUEST_METHOD": "GET"}
    assert {key: environ.get(key) for key in expected} == expected
    assert "mod_wsgi.callable_object" not in environ and environ["mod_wsgi.application_group"] == ""


def test_a_restriction_holds_for_what_a_script_chooses(httpd):
    app, dispatch = httpd.write("apps/app.wsgi", APP), httpd.write("apps/dispatch.py", DISPATCH)
    httpd.start(f"""
WSGIDaemonProcess one
WSGIDaemonProcess two
WSGIProcessGroup one
WSGIRestrictProcess one
WSGIScriptAlias /app {app}
WSGIDispatchScript {dispatch}""")
    httpd.log.allow("WSGIRestrictProcess|WSGI0149|process group|not in the list")
    assert httpd.get("/app?none").status == 200
    assert httpd.get("/app?two").status == 500
