"""Every key of environ: when it is there, its type, its value. Beside test_environ.py."""

import base64
import hashlib
import os
import time
from urllib.parse import quote_plus

import pytest

from conftest import aliases, mode_directives
from httpd import MODULES_DIR

CGI = {
    "CONTEXT_DOCUMENT_ROOT", "CONTEXT_PREFIX", "DOCUMENT_ROOT", "HTTP_ACCEPT_ENCODING",
    "HTTP_HOST", "PATH_INFO", "QUERY_STRING", "REMOTE_ADDR", "REMOTE_PORT", "REQUEST_METHOD",
    "REQUEST_SCHEME", "REQUEST_URI", "SCRIPT_FILENAME", "SCRIPT_NAME", "SERVER_ADDR",
    "SERVER_ADMIN", "SERVER_NAME", "SERVER_PORT", "SERVER_PROTOCOL", "SERVER_SOFTWARE",
}
TYPES = {
    "wsgi.version": "tuple", "wsgi.url_scheme": "str", "wsgi.multithread": "bool",
    "wsgi.multiprocess": "bool", "wsgi.run_once": "bool", "wsgi.errors": "TextIOWrapper",
    "wsgi.input": "Input", "wsgi.input_terminated": "bool", "wsgi.file_wrapper": "type",
    "apache.version": "tuple", "mod_wsgi.version": "tuple", "mod_wsgi.process_group": "str",
    "mod_wsgi.application_group": "str", "mod_wsgi.callable_object": "str",
    "mod_wsgi.request_handler": "str", "mod_wsgi.handler_script": "str",
    "mod_wsgi.script_name": "str", "mod_wsgi.path_info": "str",
    "mod_wsgi.listener_host": "str", "mod_wsgi.listener_port": "str",
    "mod_wsgi.server_pid": "str", "mod_wsgi.request_id": "str", "mod_wsgi.thread_id": "int",
    "mod_wsgi.request_start": "float", "mod_wsgi.queue_start": "float",
    "mod_wsgi.daemon_start": "float", "mod_wsgi.application_start": "float",
}
PASSWORD = "Basic " + base64.b64encode(b"ada:secret").decode()


def environ(httpd, path="/environ", **more):
    return {key: value for key, (_, value) in httpd.json(path, **more).items()}


def value(httpd, expression, path="/evaluate", **more):
    return httpd.json(f"{path}?{quote_plus(expression)}", **more)


@pytest.fixture
def serve(httpd, mode):
    """Starts the server with every application at /NAME; `{root}` is the ServerRoot."""
    def start(directives="", modules=(), **options):
        group = mode_directives(mode, **options)
        mine = directives.replace("{root}", str(httpd.root))
        return httpd.start(f"{group}{mine}\n{aliases(httpd)}", modules)
    return start


# -- the table -------------------------------------------------------------------------------------


@pytest.mark.mpms("event", "prefork")
def test_exactly_these_keys_with_exactly_these_types(site):
    shown = {key: kind for key, (kind, _) in site.json("/environ").items()}
    assert shown == {**dict.fromkeys(CGI, "str"), **TYPES}


@pytest.mark.mpms("event", "prefork")
def test_the_times_stand_in_their_order(site, mode):
    before = time.time() - 0.001
    env = environ(site)
    names = ("request_start", "queue_start", "daemon_start", "application_start")
    times = [env[f"mod_wsgi.{name}"] for name in names]
    if mode == "embedded":
        assert times[1:3] == [0.0, 0.0]
        del times[1:3]
    times = [before, *times, time.time() + 0.001]
    assert times == sorted(times)


@pytest.mark.mpms("event", "prefork")
def test_server_pid_is_the_child_that_serves_the_connection(site, mode):
    pid = environ(site)["mod_wsgi.server_pid"]
    assert int(pid) in {p.pid for p in site.children()}
    same = value(site, "environ['mod_wsgi.server_pid'] == str(os.getpid())")
    assert same is (mode == "embedded")


@pytest.mark.mpms("event", "prefork")
def test_request_threads_count_from_one_and_a_main_thread_is_zero(site, mode, mpm):
    ids = range(1, 6) if mode == "daemon" else [0] if mpm == "prefork" else range(1, 26)
    assert {environ(site)["mod_wsgi.thread_id"] for _ in range(5)} <= set(ids)


def test_the_only_request_thread_is_number_one(daemon):
    assert environ(daemon("threads=1"))["mod_wsgi.thread_id"] == 1


def test_versions(site):
    env = environ(site)
    assert env["mod_wsgi.version"] == [6, 1, 1]
    told = env["SERVER_SOFTWARE"].partition("Apache/")[2].split()[0]
    assert ".".join(map(str, env["apache.version"])) == told


def test_the_types_come_from_the_module_mod_wsgi(site):
    kinds = value(site, "[[t.__module__, t.__name__] for t in"
                  " (type(environ['wsgi.input']), environ['wsgi.file_wrapper'])]")
    assert kinds == [["mod_wsgi", "Input"], ["mod_wsgi", "FileWrapper"]]
    assert value(site, "type(environ) is dict") is True


def test_wsgi_errors_is_a_text_stream_that_cannot_fail_on_a_character(site):
    told = value(site, "[getattr(environ['wsgi.errors'], n) for n in"
                 " ('name', 'encoding', 'errors', 'line_buffering', 'write_through')]")
    assert told == ["<wsgi.errors>", "utf-8", "replace", True, True]


def test_strings_are_latin1_however_odd_the_request(site):
    raw = site.raw(b"GET /environ/%F0%9F%90%8D?\xff=%00 HTTP/1.1\r\nHost: x\r\nX-\xff: 1\r\n"
                   b"X-B: \x80\xff\r\nConnection: close\r\n\r\n")
    assert raw.split(b"\r\n", 1)[0] in (b"HTTP/1.1 200 OK", b"HTTP/1.1 400 Bad Request")


def test_every_request_has_an_id_of_its_own(site):
    ids = [environ(site)["mod_wsgi.request_id"] for _ in range(10)]
    assert len(set(ids)) == 10 and all(ids)


def test_the_request_id_is_that_of_httpds_logs(serve):
    httpd = serve("<IfModule !log_config_module>\nLoadModule log_config_module " + str(MODULES_DIR) +
                  '/mod_log_config.so\n</IfModule>\nCustomLog "{root}/logs/access.log" "%L"')
    told = environ(httpd)["mod_wsgi.request_id"]
    httpd.graceful_stop()
    assert (httpd.root / "logs/access.log").read_text().strip() == told


def test_the_connection_id_is_told_when_the_connection_has_one(serve):
    httpd = serve('ErrorLogFormat "[%{u}t] [%-m:%l] [pid %P] [%{c}L] %M"\nLogLevel trace1')
    httpd.log.allow("line")
    connection = httpd.connection()
    connection.request("GET", "/errors/errors")
    connection.getresponse().read()
    connection.request("GET", "/environ")
    shown = eval(connection.getresponse().read(), {"true": True, "false": False, "null": None})
    connection.close()
    kind, told = shown["mod_wsgi.connection_id"]
    assert kind == "str" and f"[{told}]" in httpd.log.text()


# -- server and client -----------------------------------------------------------------------------


@pytest.mark.parametrize("host, name, port", [
    ("example.com:99", "example.com", "99"), ("example.com", "example.com", None),
    ("[::1]:99", "[::1]", "99"),
])
def test_the_server_is_named_as_the_client_named_it(site, host, name, port):
    env = environ(site, host=host)
    assert (env["SERVER_NAME"], env["SERVER_PORT"]) == (name, port or "80")
    assert env["HTTP_HOST"] == host and env["mod_wsgi.listener_port"] == str(site.port)


def test_canonical_names_when_configured(serve):
    httpd = serve("UseCanonicalName On\nUseCanonicalPhysicalPort On\nServerAdmin who@example.com")
    env = environ(httpd, host="example.com:99")
    assert (env["SERVER_NAME"], env["SERVER_PORT"]) == ("localhost", str(httpd.port))
    assert env["SERVER_ADMIN"] == "who@example.com"


def test_what_stays_hidden_even_when_configured(serve):
    httpd = serve("HostnameLookups On\nServerSignature On\nSetEnv LD_LIBRARY_PATH /x\n"
                  "SetEnv HTTPS Off\nSetEnv PATH /y")
    env = environ(httpd)
    assert not {"SERVER_SIGNATURE", "HTTPS", "PATH", "GATEWAY_INTERFACE"} & set(env)
    assert env["wsgi.url_scheme"] == "http"


def test_the_address_that_mod_remoteip_found(serve):
    httpd = serve("RemoteIPHeader X-Client", ["remoteip"])
    env = environ(httpd, headers={"X-Client": "192.0.2.7"})
    assert env["REMOTE_ADDR"] == "192.0.2.7"


def test_a_request_target_in_absolute_form(site):
    target = "http://example.com/environ/x?y=1"
    raw = site.raw(f"GET {target} HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n".encode())
    assert f'"REQUEST_URI": ["str", "{target}"]'.encode() in raw
    assert b'"HTTP_HOST": ["str", "example.com"]' in raw
    assert b'"PATH_INFO": ["str", "/x"]' in raw


# -- paths -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["caf\xe9", "\udcff\udcfe"])
def test_paths_of_the_file_system_are_usable_file_names(httpd, mode, folder):
    script = os.fsencode(httpd.root / "apps/caf\xe9.wsgi")
    root = os.fsencode(httpd.root / folder)
    os.mkdir(root, 0o755)
    os.rename(os.fsencode(httpd.app("evaluate")), script)
    httpd.configure(f"{mode_directives(mode)}DocumentRoot @R\nWSGIScriptAlias /evaluate @S")
    conf = httpd.conf_file.read_bytes().replace(b"@R", root).replace(b"@S", script)
    httpd.conf_file.write_bytes(conf)
    httpd.start()
    paths = ("environ['DOCUMENT_ROOT']", "environ['SCRIPT_FILENAME']")
    told = [value(httpd, f"os.fsencode({p}).hex()") for p in paths]
    assert told == [root.hex(), script.hex()]
    assert value(httpd, f"all(os.path.exists(p) for p in ({','.join(paths)}))") is True


@pytest.mark.parametrize("path, script_name, path_info", [
    ("/environ//a///b", "/environ", "/a/b"),
    ("//environ/a//", "/environ", "/a/"),
    ("///environ", "/environ", ""),
    ("/deep//mount///x", "/deep/mount", "/x"),
    ("/deep/mount//", "/deep/mount", "/"),
])
def test_repeated_slashes_collapse_though_httpd_keeps_them(serve, path, script_name, path_info):
    httpd = serve("MergeSlashes Off\nWSGIScriptAlias /deep/mount {root}/apps/environ.wsgi")
    env = environ(httpd, path)
    assert (env["SCRIPT_NAME"], env["PATH_INFO"]) == (script_name, path_info)
    assert (env["mod_wsgi.script_name"], env["mod_wsgi.path_info"]) == (script_name, path_info)
    assert env["REQUEST_URI"] == path


def test_a_mount_with_bytes_that_are_no_ascii(httpd, mode):
    httpd.start(f"{mode_directives(mode)}WSGIScriptAlias /caf\xe9 {httpd.app('environ')}")
    env = environ(httpd, "/caf%C3%A9/%e2%82%ac%20%2525")
    assert env["SCRIPT_NAME"].encode("latin-1").decode() == "/caf\xe9"
    assert env["PATH_INFO"].encode("latin-1").decode() == "/\u20ac %25"
    assert env["REQUEST_URI"] == "/caf%C3%A9/%e2%82%ac%20%2525"


def test_encoded_slashes_when_httpd_allows_them(serve):
    httpd = serve("AllowEncodedSlashes NoDecode")
    assert environ(httpd, "/environ/a%2Fb")["PATH_INFO"] == "/a%2Fb"


def test_dots_in_the_path_are_resolved(site):
    raw = site.raw(b"GET /hello/../environ/a/./b/../c HTTP/1.1\r\nHost: x\r\n"
                   b"Connection: close\r\n\r\n")
    assert b'"SCRIPT_NAME": ["str", "/environ"]' in raw
    assert b'"PATH_INFO": ["str", "/a/c"]' in raw


# -- variables of other modules --------------------------------------------------------------------


def test_variables_without_value_and_with_odd_ones(serve):
    httpd = serve('SetEnv EMPTY\nSetEnvIf Host . FLAG\nSetEnvIf Host . !GONE\n'
                  'SetEnv SPACES "  two  "\nSetEnv BYTES "caf\xe9"\nSetEnv lower.case x\n'
                  "PassEnv TMPDIR\nUnsetEnv NOWHERE")
    env = environ(httpd)
    assert (env["EMPTY"], env["FLAG"], env["SPACES"]) == ("", "1", "  two  ")
    assert env["BYTES"].encode("latin-1").decode() == "caf\xe9" and env["lower.case"] == "x"
    assert env["TMPDIR"] == str(httpd.root / "tmp")
    assert not {"GONE", "NOWHERE"} & set(env)


def test_a_variable_may_replace_a_cgi_variable_or_not(serve):
    """What SetEnv says about names that httpd and the module set themselves."""
    httpd = serve("SetEnv SERVER_NAME mine\nSetEnv REQUEST_METHOD PUT\nSetEnv wsgi.version x\n"
                  "SetEnv mod_wsgi.process_group other\nSetEnv HTTP_HOST host")
    env = environ(httpd)
    assert (env["SERVER_NAME"], env["HTTP_HOST"]) == ("127.0.0.1", f"127.0.0.1:{httpd.port}")
    assert env["REQUEST_METHOD"] == "GET" and env["wsgi.version"] == [1, 0]
    assert env["mod_wsgi.process_group"] != "other"


def test_the_unique_id_of_mod_unique_id(serve):
    assert len(environ(serve("", ["unique_id"]))["UNIQUE_ID"]) >= 24


def test_cgivar_changes_request_uri(serve):
    httpd = serve("<Location /environ>\nCGIVar REQUEST_URI current-uri\n</Location>")
    assert environ(httpd, "/environ/%41?b")["REQUEST_URI"] == "/environ/A"


@pytest.mark.parametrize("passing, seen", [
    ("", set()),
    ("WSGIPassAuthorization On", {"HTTP_AUTHORIZATION"}),
    ("CGIPassAuth On", {"HTTP_AUTHORIZATION", "HTTP_PROXY_AUTHORIZATION"}),
])
def test_who_may_see_credentials(serve, passing, seen, ours):
    if ours and not passing:
        seen = {"HTTP_AUTHORIZATION"}  # httpd authenticates nobody here
    httpd = serve(f"<Location /environ>\n{passing}\n</Location>")
    env = environ(httpd, headers={"Authorization": PASSWORD, "Proxy-Authorization": PASSWORD})
    assert {key for key in env if key.endswith("AUTHORIZATION")} == seen
    assert all(env[key] == PASSWORD for key in seen)


AUTH = """
<Location {path}>
    AuthType Basic
    AuthName realm
    AuthUserFile "{{root}}/users"
    Require valid-user
</Location>
"""
AUTH_MODULES = ["authn_core", "auth_basic", "authn_file", "authz_user"]


def user_file(httpd):
    digest = base64.b64encode(hashlib.sha1(b"secret").digest()).decode()
    httpd.write("users", f"ada:{{SHA}}{digest}\n")


def test_the_user_whom_httpd_knows(httpd, serve):
    user_file(httpd)
    httpd.log.allow("AH01618|AH01617|user")
    serve(AUTH.format(path="/environ"), AUTH_MODULES)
    assert httpd.get("/environ").status == 401
    env = environ(httpd, headers={"Authorization": PASSWORD})
    assert (env["REMOTE_USER"], env["AUTH_TYPE"]) == ("ada", "Basic")
    assert "HTTP_AUTHORIZATION" not in env


# -- internal redirects and subrequests ------------------------------------------------------------


def test_an_error_document_by_the_application(serve):
    httpd = serve("SetEnvIf Host . MARK=yes\nErrorDocument 404 /environ/told?of=it")
    response = httpd.post("/nowhere/at?all=1", b"body", headers={"X-A": "b"})
    env = {key: shown for key, (_, shown) in response.json().items()}
    assert response.status == 200
    assert (env["SCRIPT_NAME"], env["PATH_INFO"]) == ("/environ", "/told")
    assert (env["QUERY_STRING"], env["REQUEST_METHOD"]) == ("of=it", "GET")
    assert env["REQUEST_URI"] == "/nowhere/at?all=1"
    assert (env["REDIRECT_URL"], env["REDIRECT_STATUS"]) == ("/nowhere/at", "404")
    assert env["REDIRECT_QUERY_STRING"] == "all=1" and env["REDIRECT_REQUEST_METHOD"] == "POST"
    assert env["REDIRECT_MARK"] == env["MARK"] == "yes" and env["HTTP_X_A"] == "b"


def test_an_internal_redirect_to_the_application(httpd, serve):
    user_file(httpd)
    serve(AUTH.format(path="/old") + "<Directory {root}/htdocs>\nRewriteEngine On\n"
          "RewriteRule ^old/(.*)$ /environ/$1?new=1 [QSA,PT]\n</Directory>", AUTH_MODULES)
    env = environ(httpd, "/old/path?q=1", headers={"Authorization": PASSWORD})
    assert (env["SCRIPT_NAME"], env["PATH_INFO"]) == ("/environ", "/path")
    assert env["QUERY_STRING"] == "new=1&q=1" and env["REQUEST_URI"] == "/old/path?q=1"
    assert (env["REDIRECT_URL"], env["REDIRECT_STATUS"]) == ("/old/path", "200")
    assert env["REDIRECT_REMOTE_USER"] == "ada" and "REMOTE_USER" not in env


def test_fallback_to_the_application(serve):
    httpd = serve("FallbackResource /environ\n")
    env = environ(httpd, "/not/a/file?x")
    assert (env["SCRIPT_NAME"], env["PATH_INFO"], env["QUERY_STRING"]) == ("/environ", "", "x")
    assert env["REQUEST_URI"] == "/not/a/file?x" and "REDIRECT_URL" not in env
    assert httpd.get("/index.html").text == "static page\n"


@pytest.mark.skipif(not (MODULES_DIR / "mod_include.so").exists(), reason="mod_include is missing")
def test_a_subrequest_of_a_page(httpd, serve):
    httpd.write("htdocs/page.shtml", "<p><!--#include virtual='/environ/in/it?x=1' --></p>")
    serve("<Directory {root}/htdocs>\nOptions +Includes\nAddType text/html .shtml\n"
          "AddOutputFilter INCLUDES .shtml\n</Directory>", ["include", "filter"])
    page = httpd.get("/page.shtml?y=2")
    assert page.status == 200 and page.text.startswith("<p>{") and page.text.endswith("}</p>")
    shown = eval(page.text[3:-4], {"true": True, "false": False, "null": None})
    env = {key: told for key, (_, told) in shown.items()}
    assert env["SCRIPT_NAME"] == "/environ/in/it" and env["PATH_INFO"] == "/in/it"
    assert env["QUERY_STRING"] == "x=1" and env["DOCUMENT_URI"] == "/page.shtml"
    assert env["SERVER_PROTOCOL"] == "INCLUDED"


# -- modes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("options, flags", [
    ("threads=1", [False, False, False]), ("threads=2", [True, False, False]),
    ("threads=1 processes=1", [False, True, False]),
    ("threads=1 processes=2", [False, True, False]),
    ("threads=1 maximum-requests=1", [False, False, True]),
    ("threads=2 maximum-requests=1", [True, False, False]),
])
def test_flags_of_a_process_group(daemon, options, flags):
    env = environ(daemon(options))
    names = ("multithread", "multiprocess", "run_once")
    assert [env[f"wsgi.{name}"] for name in names] == flags


def test_a_handler_script_is_named(httpd, mode):
    script = httpd.write("apps/handler.wsgi", httpd.app("environ").read_text().replace(
        "def application", "def handle_request"))
    httpd.write("htdocs/page.odd", "not sent")
    httpd.start(f"{mode_directives(mode)}WSGIHandlerScript my-handler {script}\n"
                "AddHandler my-handler .odd")
    env = environ(httpd, "/page.odd/info")
    assert env["mod_wsgi.handler_script"] == str(script)
    assert env["mod_wsgi.request_handler"] == "my-handler"
    assert env["mod_wsgi.callable_object"] == "handle_request"
    assert (env["SCRIPT_NAME"], env["PATH_INFO"]) == ("/page.odd", "/info")
    assert env["SCRIPT_FILENAME"] == str(httpd.root / "htdocs/page.odd")
