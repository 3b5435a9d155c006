"""From a URL to a script, a process group, an application group and a callable."""

import pytest

from conftest import mode_directives


def where(httpd, path="/", **more):
    return httpd.json(path, **more)


# -- WSGIScriptAlias -------------------------------------------------------------------------------


@pytest.fixture
def serve(httpd, mode):
    """Starts the server with these directives in the mode; `{apps}` is the scripts' folder."""
    def start(directives, modules=()):
        apps = str(httpd.all_apps())
        return httpd.start(mode_directives(mode) + directives.replace("{apps}", apps), modules)
    return start


def path_of(httpd, path):
    env = httpd.json(path)
    return env["SCRIPT_NAME"][1], env["PATH_INFO"][1]


@pytest.mark.check
def test_the_prefix_ends_at_a_slash(serve):
    httpd = serve("WSGIScriptAlias /app {apps}/environ.wsgi")
    assert path_of(httpd, "/app") == ("/app", "")
    assert path_of(httpd, "/app/") == ("/app", "/")
    assert path_of(httpd, "/app/x/y") == ("/app", "/x/y")
    assert httpd.get("/apple").status == 404
    assert httpd.get("/index.html").text == "static page\n"


def test_the_first_matching_alias_wins(serve):
    httpd = serve("WSGIScriptAlias /a/b {apps}/environ.wsgi\nWSGIScriptAlias /a {apps}/hello.wsgi\n"
                  "WSGIScriptAlias /a/c {apps}/environ.wsgi")
    assert path_of(httpd, "/a/b/x") == ("/a/b", "/x")
    assert httpd.get("/a/c").text == "Hello, world!\n"


@pytest.mark.check
def test_an_alias_at_the_root_leaves_room_for_mod_alias(serve):
    httpd = serve("Alias /static/ {apps}/../htdocs/\nWSGIScriptAlias / {apps}/hello.wsgi")
    assert httpd.get("/static/index.html").text == "static page\n"
    assert httpd.get("/anything").text == "Hello, world!\n"


def test_an_alias_to_a_folder_finds_scripts_by_name(serve):
    httpd = serve("WSGIScriptAlias /run/ {apps}/")
    assert httpd.get("/run/hello.wsgi").text == "Hello, world!\n"
    assert path_of(httpd, "/run/environ.wsgi/x") == ("/run/environ.wsgi", "/x")
    httpd.log.allow("missing.wsgi|apps")
    assert httpd.get("/run/missing.wsgi").status == 404


def test_an_alias_by_expression_substitutes_groups(serve):
    httpd = serve(r"WSGIScriptAliasMatch ^/by/([a-z]+) {apps}/$1.wsgi")
    assert httpd.get("/by/hello").text == "Hello, world!\n"
    assert path_of(httpd, "/by/environ/rest") == ("/by/environ", "/rest")
    assert httpd.get("/by/").status == 404


def test_handlers_need_execcgi(serve):
    httpd = serve("Alias /with {apps}\nAlias /without {apps}\nAddHandler wsgi-script .wsgi\n"
                  "<Location /with>\nOptions +ExecCGI\n</Location>\n"
                  "<Location /without>\nOptions -ExecCGI\n</Location>")
    httpd.log.expect("ExecCGI")
    assert httpd.get("/with/hello.wsgi").text == "Hello, world!\n"
    assert httpd.get("/without/hello.wsgi").status == 403


def test_a_handler_can_be_set_for_a_folder(serve):
    httpd = serve("Alias /set {apps}\n<Directory {apps}>\nSetHandler wsgi-script\n"
                  "Options +ExecCGI\n</Directory>")
    assert httpd.get("/set/hello.wsgi").text == "Hello, world!\n"


# -- callable --------------------------------------------------------------------------------------


def test_the_callable_may_have_another_name(serve):
    httpd = serve("WSGIScriptAlias /alias {apps}/other_callable.wsgi callable-object=second\n"
                  "WSGIScriptAlias /directive {apps}/other_callable.wsgi\n"
                  "WSGIScriptAlias /env {apps}/other_callable.wsgi\n"
                  "SetEnvIf Request_URI /env WANTED=second\n"
                  "<Location /env>\nWSGICallableObject %{ENV:WANTED}\n</Location>\n"
                  "WSGICallableObject first")
    assert httpd.get("/alias").text == "second"
    assert httpd.get("/directive").text == "first"
    assert httpd.get("/env").text == "second"


# -- application group -----------------------------------------------------------------------------


def group(httpd, path="/", **more):
    return where(httpd, path, **more)["application_group"]


def test_the_default_application_group_is_the_resource(serve):
    httpd = serve("WSGIScriptAlias /one {apps}/where.wsgi\nWSGIScriptAlias /two {apps}/where.wsgi")
    assert group(httpd, "/one") == f"localhost:{httpd.port}|/one"
    assert group(httpd, "/two/x") == f"localhost:{httpd.port}|/two"


@pytest.mark.parametrize("token, expected", [
    ("%{GLOBAL}", ""), ("%{SERVER}", "localhost:{port}"), ("%{HOST}", "127.0.0.1:{port}"),
    ("%{RESOURCE}", "localhost:{port}|"), ("named", "named"), ("%{ENV:CHOSEN}", "by-variable"),
    ("%{ENV:INDIRECT}", ""),
])
def test_application_group_tokens(serve, token, expected):
    httpd = serve("SetEnvIf Request_URI . CHOSEN=by-variable INDIRECT=%{GLOBAL}\n"
                  f"WSGIScriptAlias / {{apps}}/where.wsgi\nWSGIApplicationGroup {token}")
    assert group(httpd) == expected.format(port=httpd.port)


@pytest.mark.check
def test_named_application_groups_are_interpreters_of_their_own(serve):
    httpd = serve("WSGIScriptAlias /main {apps}/where.wsgi application-group=%{GLOBAL}\n"
                  "WSGIScriptAlias /sub {apps}/where.wsgi application-group=sub")
    assert where(httpd, "/main")["main_interpreter"] is True
    assert where(httpd, "/sub")["main_interpreter"] is False


def test_the_inner_scope_beats_the_outer(serve):
    httpd = serve("WSGIApplicationGroup outer\n<Location /in>\nWSGIApplicationGroup inner\n"
                  "</Location>\nWSGIScriptAlias /in {apps}/where.wsgi\n"
                  "WSGIScriptAlias /alias {apps}/where.wsgi application-group=alias\n"
                  "WSGIScriptAlias /out {apps}/where.wsgi")
    assert [group(httpd, path) for path in ("/in", "/alias", "/out")] == ["inner", "alias", "outer"]


# -- process group ---------------------------------------------------------------------------------

TWO_GROUPS = "WSGIDaemonProcess one threads=2\nWSGIDaemonProcess two threads=2\n"


def start(httpd, directives):
    return httpd.start(directives.replace("{apps}", str(httpd.all_apps())))


def test_the_process_group_of_an_alias_a_location_and_a_server(httpd):
    start(httpd, TWO_GROUPS + "WSGIProcessGroup one\nWSGIScriptAlias /server {apps}/where.wsgi\n"
          "WSGIScriptAlias /alias {apps}/where.wsgi process-group=two\n"
          "WSGIScriptAlias /location {apps}/where.wsgi\n"
          "<Location /location>\nWSGIProcessGroup two\n</Location>\n"
          "WSGIScriptAlias /embedded {apps}/where.wsgi process-group=%{GLOBAL}")
    groups = [where(httpd, f"/{p}")["process_group"]
              for p in ("server", "alias", "location", "embedded")]
    assert groups == ["one", "two", "two", ""]


def test_the_process_group_by_variable(httpd):
    start(httpd, TWO_GROUPS + "SetEnvIf X-Group (.+) CHOSEN=$1\n"
          "WSGIScriptAlias / {apps}/where.wsgi process-group=%{ENV:CHOSEN}\n")
    assert where(httpd, headers={"X-Group": "one"})["process_group"] == "one"
    assert where(httpd, headers={"X-Group": "two"})["process_group"] == "two"
    httpd.log.expect("CHOSEN")
    assert httpd.get("/").status == 500


def test_the_process_group_by_server_name(httpd):
    start(httpd, f"WSGIDaemonProcess localhost:{httpd.port} threads=2\n"
          "WSGIProcessGroup %{SERVER}\nWSGIScriptAlias / {apps}/where.wsgi\n")
    assert where(httpd)["process_group"] == f"localhost:{httpd.port}"


@pytest.mark.check
def test_an_unknown_process_group_is_a_500_that_names_it(httpd):
    httpd.log.expect("nobody")
    start(httpd, "WSGIScriptAlias / {apps}/hello.wsgi process-group=%{ENV:G}\nSetEnv G nobody\n"
          "SetEnvIf Request_URI . G=nobody")
    assert httpd.get("/").status == 500


VHOSTS = """
<VirtualHost 127.0.0.1:{port}>
    ServerName first.test
    WSGIDaemonProcess mine threads=2
    WSGIScriptAlias / {apps}/where.wsgi process-group=mine
</VirtualHost>
<VirtualHost 127.0.0.1:{port}>
    ServerName second.test
    WSGIScriptAlias /own {apps}/where.wsgi
    WSGIScriptAlias /theirs {apps}/where.wsgi process-group=mine
</VirtualHost>
<VirtualHost 127.0.0.1:{port}>
    ServerName first.test
    ServerAlias first-again.test
    WSGIScriptAlias / {apps}/where.wsgi process-group=mine
</VirtualHost>
"""


def test_a_group_of_a_virtual_host_is_for_hosts_of_that_name(httpd):
    start(httpd, VHOSTS.replace("{port}", str(httpd.port)))
    assert where(httpd, host="first.test")["process_group"] == "mine"
    assert where(httpd, host="first-again.test")["process_group"] == "mine"
    assert where(httpd, "/own", host="second.test")["process_group"] == ""
    httpd.log.expect("mine")
    assert httpd.get("/theirs", host="second.test").status == 500


# -- restrictions ----------------------------------------------------------------------------------


def test_restrict_embedded_forbids_embedded_mode_only(httpd):
    httpd.log.expect("(?i)embedded mode|WSGIRestrictEmbedded")
    start(httpd, "WSGIRestrictEmbedded On\nWSGIDaemonProcess one threads=2\n"
          "WSGIScriptAlias /embedded {apps}/where.wsgi\n"
          "WSGIScriptAlias /daemon {apps}/where.wsgi process-group=one\n")
    assert httpd.get("/embedded").status == 500
    assert where(httpd, "/daemon")["process_group"] == "one"


def test_restrict_process_allows_the_listed_groups_only(httpd):
    httpd.log.expect("two")
    start(httpd, TWO_GROUPS + "WSGIRestrictProcess one\n"
          "WSGIScriptAlias /one {apps}/where.wsgi process-group=one\n"
          "WSGIScriptAlias /two {apps}/where.wsgi process-group=two\n"
          "WSGIScriptAlias /embedded {apps}/where.wsgi process-group=%{GLOBAL}\n"
          "<Location /embedded>\nWSGIRestrictProcess %{GLOBAL} two\n</Location>")
    assert [httpd.get(p).status for p in ("/one", "/two", "/embedded")] == [200, 500, 200]


# -- authorization ---------------------------------------------------------------------------------


def test_the_authorization_header_is_passed_on_request(serve):
    httpd = serve("WSGIScriptAlias /kept {apps}/authorization.wsgi pass-authorization=Off\n"
                  "WSGIScriptAlias /alias {apps}/authorization.wsgi pass-authorization=On\n"
                  "WSGIScriptAlias /location {apps}/authorization.wsgi\n"
                  "<Location /location>\nWSGIPassAuthorization On\n</Location>")
    headers = {"Authorization": "Bearer secret"}
    told = [httpd.get(f"/{p}", headers=headers).text for p in ("kept", "alias", "location")]
    assert told == ["none", "Bearer secret", "Bearer secret"]
