"""WSGIHandlerScript: a script behind a handler's name, which serves any resource."""

import os

import pytest

from conftest import mode_directives
from httpd import IS_ROOT

needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root may change owners")

SCRIPT = """
import json

asked = []


def reload_required(resource):
    asked.append(resource)
    return False


def handle_request(environ, start_response):
    shown = {key: value for key, value in environ.items() if isinstance(value, str)}
    shown.update(asked=asked[-1:], file=__file__, text="first")
    body = json.dumps(shown).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""

DIRECTIVES = """
WSGIHandlerScript pages {root}/apps/handler.py application-group=pages
Alias /docs {root}/docs
<Directory {root}/docs>
    AddHandler pages .md
    WSGICallableObject never_looked_at
</Directory>
"""


pytestmark = pytest.mark.mpms("event", "prefork")


@pytest.fixture
def serve(httpd, mode):
    """Starts the server with a handler script, documents, and these directives."""
    def start(directives=DIRECTIVES, options=None):
        httpd.all_apps()
        httpd.write("apps/handler.py", SCRIPT)
        httpd.write("docs/page.md", "a document\n")
        directives = directives.replace("{root}", str(httpd.root))
        return httpd.start(mode_directives(mode, **(options or {})) + directives)
    return start


def test_the_script_gets_the_requests_of_its_handler(serve):
    httpd = serve()
    env = httpd.json("/docs/page.md/more")
    assert env["SCRIPT_FILENAME"] == f"{httpd.root}/docs/page.md"
    assert (env["SCRIPT_NAME"], env["PATH_INFO"]) == ("/docs/page.md", "/more")
    assert env["mod_wsgi.handler_script"] == f"{httpd.root}/apps/handler.py" == env["file"]
    assert env["mod_wsgi.request_handler"] == "pages"
    assert env["mod_wsgi.callable_object"] == "handle_request"
    assert env["mod_wsgi.application_group"] == "pages"
    assert httpd.get("/index.html").text == "static page\n"


def test_the_resource_need_not_exist_nor_be_executable(serve):
    httpd = serve(DIRECTIVES + "<Location /set>\nSetHandler pages\nOptions None\n</Location>\n"
                  "<Location /docs>\nOptions None\n</Location>")
    assert httpd.json("/docs/page.md")["PATH_INFO"] == ""
    assert httpd.json("/docs/none.md")["SCRIPT_FILENAME"] == f"{httpd.root}/docs/none.md"
    env = httpd.json("/set/x/y")
    assert (env["SCRIPT_NAME"], env["PATH_INFO"]) == ("/set", "/x/y")


def test_mod_rewrite_may_choose_the_handler(serve):
    httpd = serve(DIRECTIVES + "RewriteEngine On\nRewriteRule ^/made/ - [H=pages]")
    env = httpd.json("/made/x")
    assert (env["SCRIPT_NAME"], env["PATH_INFO"]) == ("/made", "/x")


def test_an_alias_does_not_rule_the_handlers_requests(serve):
    httpd = serve(DIRECTIVES + "WSGIScriptAlias /environ {root}/apps/environ.wsgi application-group=alias "
                  "callable-object=missing\n<Location /environ>\nSetHandler pages\n</Location>")
    env = httpd.json("/environ/x")
    assert env["SCRIPT_FILENAME"] == f"{httpd.root}/apps/environ.wsgi"
    assert (env["mod_wsgi.application_group"], env["SCRIPT_NAME"]) == ("pages", "/environ")


def test_an_inner_scope_gives_the_name_another_script(serve):
    inner = "<Directory {root}/docs>\nWSGIHandlerScript pages {root}/apps/inner.py\n</Directory>\n"
    httpd = serve(DIRECTIVES + inner + "<Location /set>\nSetHandler pages\n</Location>")
    httpd.write("apps/inner.py", SCRIPT)
    assert httpd.json("/docs/page.md")["file"] == f"{httpd.root}/apps/inner.py"
    assert httpd.json("/set")["file"] == f"{httpd.root}/apps/handler.py"


def test_the_process_group_and_authorization_are_options(serve):
    httpd = serve("WSGIDaemonProcess other\nWSGIPassAuthorization Off\nWSGIHandlerScript pages {root}/apps/handler.py "
                  "process-group=other pass-authorization=On\n<Location /set>\nSetHandler pages\n</Location>")
    env = httpd.json("/set", headers={"Authorization": "Basic eDp5"})
    assert env["mod_wsgi.process_group"] == "other"
    assert env["HTTP_AUTHORIZATION"] == "Basic eDp5"


@pytest.mark.mpms("event")  # One child knows of all requests.
def test_the_script_is_asked_about_the_resource(serve):
    httpd = serve(options={"processes": 1})
    resource = f"{httpd.root}/docs/page.md"
    # The first request loads the script; it is only asked when it is loaded already.
    httpd.get("/docs/page.md")
    assert httpd.json("/docs/page.md")["asked"] == [resource]


def touch(httpd, text, tick):
    path = httpd.write("apps/handler.py", SCRIPT.replace("first", text))
    os.utime(path, (1_700_000_000 + tick, 1_700_000_000 + tick))


def test_a_changed_handler_script_is_loaded_again(serve):
    httpd = serve()
    assert httpd.json("/docs/page.md")["text"] == "first"
    touch(httpd, "second", 10)
    assert httpd.json("/docs/page.md")["text"] == "second"


@pytest.mark.mpms("event")  # One child knows of all requests.
def test_a_changed_resource_loads_nothing_again(serve):
    httpd = serve()
    httpd.get("/docs/page.md")
    os.utime(httpd.root / "docs/page.md", (1_700_000_000, 1_700_000_000))
    assert httpd.json("/docs/page.md")["asked"] != [], "what was loaded before the change still runs"


def test_a_missing_handler_script_is_a_500(serve):
    httpd = serve("WSGIHandlerScript pages {root}/apps/nowhere.py\n<Location /set>\nSetHandler pages\n</Location>")
    httpd.log.expect("nowhere.py")
    httpd.log.allow("Errno 2|Traceback|File |WSGI0174")
    assert httpd.get("/set").status == 500


@needs_root
@pytest.mark.ours("the original checks the owner of the resource")
@pytest.mark.modes("daemon")
@pytest.mark.check
def test_the_owner_of_the_handler_script_is_checked(serve):
    httpd = serve(options={"script-user": "www-data"})
    httpd.log.expect("handler.py.*script-user=www-data")
    assert httpd.get("/docs/page.md").status == 403
    for name in ("apps", "apps/handler.py"):
        httpd.own(httpd.root / name)
    assert httpd.get("/docs/page.md").status == 200
