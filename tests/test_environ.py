"""environ: the CGI variables and the wsgi.* keys, their types, their encoding."""

import pytest

from conftest import mode_directives

pytestmark = pytest.mark.mpms("event", "prefork")

DIRECTIVES = """
SetEnv FROM_SETENV configured
SetEnv PATH /never/shown
SetEnvIf Request_URI environ FROM_SETENVIF=matched
RewriteEngine On
RewriteRule .* - [E=FROM_REWRITE:rewritten]
"""


def environ(site, path="/environ", **more):
    return {key: value for key, (_, value) in site.json(path, **more).items()}


def test_the_request_line_becomes_cgi_variables(site):
    env = environ(site, "/environ/some/path?a=1&b=%20x")
    assert env["REQUEST_METHOD"] == "GET"
    assert env["SCRIPT_NAME"] == "/environ"
    assert env["PATH_INFO"] == "/some/path"
    assert env["QUERY_STRING"] == "a=1&b=%20x"
    assert env["REQUEST_URI"] == "/environ/some/path?a=1&b=%20x"
    assert env["SERVER_PROTOCOL"] == "HTTP/1.1"
    assert env["REQUEST_SCHEME"] == "http"


def test_server_and_client_are_named(site):
    env = environ(site)
    assert env["SERVER_NAME"] == "127.0.0.1"
    assert env["SERVER_PORT"] == str(site.port)
    assert env["SERVER_ADDR"] == env["REMOTE_ADDR"] == "127.0.0.1"
    assert env["REMOTE_PORT"].isdigit()
    assert "Apache" in env["SERVER_SOFTWARE"]
    assert env["DOCUMENT_ROOT"] == f"{site.root}/htdocs"
    assert env["SCRIPT_FILENAME"] == f"{site.root}/apps/environ.wsgi"


def test_absent_parts_are_empty_strings_or_absent_keys(site):
    env = environ(site)
    assert env["PATH_INFO"] == "" and env["QUERY_STRING"] == ""
    assert not {"CONTENT_TYPE", "CONTENT_LENGTH", "REMOTE_USER", "AUTH_TYPE"} & set(env)


def test_wsgi_keys_have_the_types_of_the_specification(site, mode):
    shown = site.json("/environ")
    types = {key: kind for key, (kind, _) in shown.items() if key.startswith("wsgi.")}
    values = {key: value for key, (_, value) in shown.items()}
    assert values["wsgi.version"] == [1, 0] and types["wsgi.version"] == "tuple"
    assert values["wsgi.url_scheme"] == "http" and types["wsgi.url_scheme"] == "str"
    for flag in ("wsgi.multithread", "wsgi.multiprocess", "wsgi.run_once"):
        assert types[flag] == "bool"
    assert values["wsgi.run_once"] is False
    assert values["wsgi.input_terminated"] is True
    assert {"wsgi.input", "wsgi.errors", "wsgi.file_wrapper"} <= set(types)


def test_multithread_and_multiprocess_tell_the_truth(site, mode, mpm):
    env = environ(site)
    assert env["wsgi.multithread"] is (mode == "daemon" or mpm != "prefork")
    assert env["wsgi.multiprocess"] is (mode == "embedded")


def test_cgi_values_are_native_strings(site):
    shown = site.json("/environ/a?b", headers={"X-Any": "value"})
    for key, (kind, _) in shown.items():
        if key.isupper():
            assert kind == "str", key


def test_mod_wsgi_keys_name_the_place(site, mode):
    env = environ(site)
    assert env["mod_wsgi.process_group"] == ("app" if mode == "daemon" else "")
    assert env["mod_wsgi.application_group"] == ""
    assert env["mod_wsgi.callable_object"] == "application"
    assert env["mod_wsgi.request_handler"] == "wsgi-script"
    assert env["mod_wsgi.script_name"] == "/environ"
    assert env["mod_wsgi.path_info"] == ""
    assert len(env["mod_wsgi.version"]) == 3 and len(env["apache.version"]) == 3
    assert env["mod_wsgi.listener_port"] == str(site.port)


def test_times_of_the_request_are_seconds_since_the_epoch(site):
    env = environ(site)
    assert 1.6e9 < env["mod_wsgi.request_start"] <= env["mod_wsgi.application_start"]


def test_request_headers_become_http_variables(site):
    env = environ(site, headers={"X-Some-Header": "its value", "Accept-Language": "de"})
    assert env["HTTP_X_SOME_HEADER"] == "its value"
    assert env["HTTP_ACCEPT_LANGUAGE"] == "de"
    assert env["HTTP_HOST"] == f"127.0.0.1:{site.port}"


def test_repeated_headers_are_joined(site):
    raw = site.raw(b"GET /environ HTTP/1.1\r\nHost: x\r\nX-Two: a\r\nX-Two: b\r\n"
                   b"Connection: close\r\n\r\n")
    assert b'"a, b"' in raw


def test_content_type_and_length_have_no_http_prefix(site):
    headers = {"Content-Type": "text/x-test", "Content-Length": "4"}
    env = environ(site, headers=headers, body=b"abcd")
    assert env["CONTENT_TYPE"] == "text/x-test"
    assert env["CONTENT_LENGTH"] == "4"
    assert not {"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"} & set(env)


def test_header_names_that_could_be_confused_are_dropped(site):
    env = environ(site, headers={"X_Under": "1", "X.Dot": "2", "X-Dash": "3"})
    assert env["HTTP_X_DASH"] == "3"
    assert not {"HTTP_X_UNDER", "HTTP_X.DOT", "HTTP_X_DOT"} & set(env)


def test_proxy_headers_are_kept_back(site):
    env = environ(site, headers={"Proxy": "evil", "Proxy-Authorization": "Basic eDp5"})
    assert not {"HTTP_PROXY", "HTTP_PROXY_AUTHORIZATION"} & set(env)


def test_undecoded_bytes_arrive_as_latin1(site):
    env = environ(site, "/environ/caf%C3%A9%FF?q=%E9")
    assert env["PATH_INFO"].encode("latin-1") == b"/caf\xc3\xa9\xff"
    assert env["QUERY_STRING"] == "q=%E9"


def test_header_bytes_arrive_as_latin1(site):
    raw = site.raw(b"GET /environ HTTP/1.1\r\nHost: x\r\nX-Raw: \xe9\xc3\xa9\r\n"
                   b"Connection: close\r\n\r\n")
    assert rb"\u00e9\u00c3\u00a9" in raw


def test_variables_of_other_modules_are_passed_on(site):
    env = environ(site)
    assert env["FROM_SETENV"] == "configured"
    assert env["FROM_SETENVIF"] == "matched"
    assert env["FROM_REWRITE"] == "rewritten"


def test_variables_that_applications_never_see(site):
    env = environ(site)
    hidden = {"PATH", "HTTPS", "GATEWAY_INTERFACE", "PATH_TRANSLATED", "REMOTE_HOST",
              "SERVER_SIGNATURE", "LD_LIBRARY_PATH"}
    assert not hidden & set(env)
    assert not [key for key in env if key.startswith("mod_wsgi.x-")]


def test_slashes_in_the_path_are_merged(site):
    env = environ(site, "/environ//a///b")
    assert env["PATH_INFO"] == "/a/b"


def test_an_encoded_slash_in_the_path_follows_apache(site):
    assert site.get("/environ/a%2Fb").status == 404


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND"])
def test_methods_are_passed_through(site, method):
    response = site.request(method, "/environ")
    assert response.json()["REQUEST_METHOD"] == ["str", method]


def test_an_http_1_0_request_is_told_as_such(site):
    _, body = site.raw_get("/environ", version="1.0")
    assert b'"HTTP/1.0"' in body


def test_a_variable_of_the_scheme_is_honoured(httpd, mode):
    httpd.start(f"{mode_directives(mode)}SetEnv HTTPS On\nWSGIScriptAlias / {httpd.app('environ')}")
    env = environ(httpd, "/")
    assert env["wsgi.url_scheme"] == "https" and "HTTPS" not in env


def test_a_mount_at_the_root_has_an_empty_script_name(httpd, mode):
    httpd.start(f"{mode_directives(mode)}WSGIScriptAlias / {httpd.app('environ')}")
    env = environ(httpd, "/deep/path")
    assert (env["SCRIPT_NAME"], env["PATH_INFO"]) == ("", "/deep/path")
    env = environ(httpd, "/")
    assert (env["SCRIPT_NAME"], env["PATH_INFO"]) == ("", "/")
