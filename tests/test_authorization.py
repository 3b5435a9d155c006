"""Who sees the Authorization header: httpd, the application, or both."""

import base64

import pytest

from conftest import mode_directives

pytestmark = pytest.mark.mpms("event")

SENT = "Basic " + base64.b64encode(b"ada:secret").decode()
# The password is "secret" (APR's MD5).
USERS = "ada:$apr1$salt1234$G61s9lpZAELkzUFCbj/53/\n"
MODULES = ["authn_core", "authn_file", "auth_basic", "authz_user", "authz_host"]

BASIC = 'AuthType Basic\nAuthName x\nAuthBasicProvider file\nAuthUserFile "{root}/users"\n'
DIRECTIVES = """
WSGIScriptAlias /on {root}/apps/environ.wsgi pass-authorization=On
WSGIScriptAlias /off {root}/apps/environ.wsgi pass-authorization=Off
WSGIScriptAlias / {root}/apps/environ.wsgi
<Location /switched-off>
    WSGIPassAuthorization Off
</Location>
<Location /switched-on>
    WSGIPassAuthorization On
</Location>
<Location /basic>
    {basic}
    Require valid-user
</Location>
<Location /basic/on>
    WSGIPassAuthorization On
</Location>
<Location /basic/cgi>
    CGIPassAuth On
</Location>
<Location /basic/none>
    AuthType None
    Require all granted
</Location>
<Location /type-only>
    {basic}
</Location>
"""


@pytest.fixture
def serve(httpd, mode):
    httpd.all_apps()
    httpd.write("users", USERS)
    directives = DIRECTIVES.replace("{basic}", BASIC).replace("{root}", str(httpd.root))
    return httpd.start(mode_directives(mode) + directives, MODULES)


def header(httpd, path):
    shown = httpd.json(path, headers={"Authorization": SENT})
    return shown.get("HTTP_AUTHORIZATION", (None, None))[1]


SAID = "does not see the Authorization header"


def test_what_the_configuration_says_holds(serve):
    assert header(serve, "/on") == header(serve, "/switched-on") == header(serve, "/basic/on") == SENT
    assert header(serve, "/off") is None and header(serve, "/switched-off") is None
    assert header(serve, "/basic/cgi") == SENT


@pytest.mark.check
def test_a_request_without_the_header_has_no_variable(serve):
    assert "HTTP_AUTHORIZATION" not in serve.json("/on")
    assert not serve.log.matching(SAID)


@pytest.mark.check
def test_where_httpd_authenticates_its_passwords_stay_with_it(serve):
    serve.log.allow("AH01617|AH01618")
    assert serve.get("/basic").status == 401
    assert header(serve, "/basic") is None
    assert serve.json("/basic", headers={"Authorization": SENT})["REMOTE_USER"][1] == "ada"
    assert header(serve, "/type-only") is None


@pytest.mark.ours("the original keeps the header unless it is told to pass it")
@pytest.mark.parametrize("path", ["/", "/basic/none"])
@pytest.mark.check
def test_where_httpd_authenticates_nobody_the_header_is_the_applications(serve, path):
    assert header(serve, path) == SENT
    assert not serve.log.matching(SAID)


@pytest.mark.ours("the original says nothing")
@pytest.mark.parametrize("path, why", [("/off", "is Off here"), ("/basic", "httpd itself authenticates")])
@pytest.mark.check
def test_the_log_says_once_why_it_is_kept_back(serve, path, why):
    for _ in range(3):
        header(serve, path)
    lines = serve.log.matching(SAID)
    assert len(lines) == 1 and why in lines[0] and "WSGIPassAuthorization On" in lines[0]
    assert serve.log.matching("wsgi:info.*" + SAID)
