"""What watches applications from inside, installed by pip: Sentry, New Relic's agent, OpenTelemetry; and Django's signals."""

import gzip
import http.server
import json
import queue
import threading

import pytest

import pythons
from processes import wait_until
from test_apps import WEB, python_directives

TOOLS = ("sentry-sdk>=2", "newrelic>=10", "opentelemetry-sdk>=1.27", "opentelemetry-instrumentation-wsgi>=0.48b0")
MODES = pytest.mark.modes("embedded", "daemon")
pytestmark = pytest.mark.timeout(400)


def serve(httpd, mode, name, **options):
    """The application, alone in the main interpreter, as its makers ask for."""
    home = pythons.venv("monitoring", TOOLS)
    script = httpd.app(name)
    httpd.own(script.parent)
    httpd.start(f"{python_directives(mode, home, **options)}WSGIApplicationGroup %{{GLOBAL}}\nWSGIScriptAlias / {script}")


class Sentry:
    """The items that clients sent, in the order of their arrival."""

    def __init__(self):
        self.items = queue.Queue()
        found = self.items

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers["Content-Encoding"] == "gzip":
                    body = gzip.decompress(body)
                lines = body.split(b"\n")
                for header, payload in zip(lines[1::2], lines[2::2]):
                    found.put((json.loads(header)["type"], json.loads(payload)))
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever).start()
        self.dsn = f"http://key@127.0.0.1:{self.server.server_port}/1"

    def next(self, kind):
        while True:
            found, payload = self.items.get(timeout=60)
            if found == kind:
                return payload

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def sentry():
    service = Sentry()
    yield service
    service.close()


@MODES
def test_sentry_hears_of_what_an_application_raises(httpd, mode, sentry):
    httpd.write("apps/dsn", sentry.dsn)
    serve(httpd, mode, "sentry_site")
    httpd.log.expect("LookupError: no such item")
    httpd.log.allow("Exception occurred|Traceback|File |raise |return |    |WSGI0174|reraise|wsgi.py")
    assert httpd.get("/item").text == "the item"
    assert httpd.get("/raise?id=7").status == 500
    event = sentry.next("event")
    assert event["exception"]["values"][-1]["type"] == "LookupError"
    assert event["request"]["url"] == f"http://127.0.0.1:{httpd.port}/raise"
    assert event["request"]["query_string"] == "id=7"
    assert httpd.get("/item").text == "the item"


@MODES
def test_new_relics_agent_knows_its_request_and_its_server(httpd, mode):
    httpd.write("apps/newrelic.ini", "[newrelic]\nlicense_key = 0123456789012345678901234567890123456789\napp_name = shop\n"
                                     "developer_mode = true\nlog_file = stderr\nlog_level = warning\n")
    serve(httpd, mode, "newrelic_site")
    httpd.log.allow("newrelic")
    known = httpd.json("/item")
    assert known["name"] == "/item"
    environment = known["environment"]
    assert environment["Dispatcher"] == f"Apache/mod_wsgi ({mode})" and environment["Dispatcher Version"]


@MODES
def test_opentelemetry_exports_from_its_thread_and_after_a_fork(httpd, mode):
    serve(httpd, mode, "opentelemetry_site")
    file = httpd.root / "apps/spans"
    spans = lambda: [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    assert httpd.get("/item").text == "0"
    wait_until(spans, what="the first span")
    (name, served_by, attributes), = spans()
    assert name.startswith("GET") and attributes["http.status_code"] == 200
    assert httpd.get("/fork").text == "0"
    assert httpd.get("/item").text == "0"
    wait_until(lambda: len(spans()) == 4, what="the spans of three requests and of the child")
    pids = {name: pid for name, pid, _ in spans()}
    assert pids["in the child"] != served_by
    if mode == "daemon":
        assert {pid for name, pid, _ in spans() if name != "in the child"} == {served_by}


SIGNALS = '''
from django.conf import settings
from pathlib import Path
settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="for tests",
                   DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": Path(__file__).with_name("db.sqlite3")}})
import django
django.setup()
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished
from django.db import connection
from django.http import HttpResponse
from django.urls import path

finished = []
request_finished.connect(lambda **_: finished.append(connection.connection is None), weak=False)


def uses_the_database(request):
    with connection.cursor() as cursor:
        cursor.execute("select 1")
    return HttpResponse(b"x" * int(request.GET["size"]))


def tells(request):
    return HttpResponse(f"{len(finished)} {connection.connection is None}")


urlpatterns = [path("use", uses_the_database), path("tell", tells)]
application = WSGIHandler()
'''


@MODES
def test_django_closes_its_connections_when_a_request_has_finished(httpd, mode):
    home = pythons.venv("web", WEB)
    script = httpd.write("apps/signals.wsgi", SIGNALS)
    httpd.own(script.parent)
    options = {"threads": 1} if mode == "daemon" else {}
    group = python_directives(mode, home, **options).replace("threads=5 ", "")
    httpd.start(f"{group}WSGIApplicationGroup %{{GLOBAL}}\nWSGIScriptAlias / {script}")
    for used in range(3):
        assert len(httpd.get(f"/use?size={100_000 * used}").body) == 100_000 * used
        assert httpd.get("/tell").text == f"{2 * used + 1} True"
