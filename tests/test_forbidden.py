"""A script that httpd's access control keeps from everyone: the log names the lines that open its directory."""

import pytest

from conftest import mode_directives

pytestmark = [pytest.mark.mpms("event"), pytest.mark.ours("the original says nothing")]

DIRECTIVES = """
WSGIScriptAlias /closed {root}/closed/hello.wsgi
WSGIScriptAlias /other {root}/closed/hello.wsgi
WSGIScriptAlias /environ {root}/apps/environ.wsgi
WSGIScriptAlias /folder {root}/apps/
Alias /static {root}/closed
<Directory {root}/closed>
    Require all denied
</Directory>
<Location /environ/rule>
    RewriteEngine On
    RewriteRule .* - [F]
</Location>
"""
SAID = "before the application saw it"


@pytest.fixture
def serve(httpd, mode):
    httpd.all_apps()
    httpd.app("hello", "closed/hello.wsgi")
    httpd.log.allow("AH01630")
    return httpd.start(mode_directives(mode) + DIRECTIVES.replace("{root}", str(httpd.root)))


@pytest.mark.check
def test_the_missing_lines_are_named_once(serve):
    serve.log.expect(SAID)
    for path in ("/closed", "/closed/x", "/other"):
        assert serve.get(path).status == 403
    lines = serve.log.matching(SAID)
    assert len(lines) == 1
    assert f'<Directory "{serve.root}/closed"> | Require all granted | </Directory>' in lines[0].replace("\\", "")
    assert f"{serve.root}/closed/hello.wsgi" in lines[0] and serve.log.matching("wsgi:warn.*" + SAID)


@pytest.mark.check
def test_other_refusals_have_other_reasons(serve):
    serve.log.allow("WSGI0136: Attempt to invoke directory|AH00670|AH01276")
    assert serve.get("/environ/rule").status == 403
    assert serve.get("/folder/").status == 403
    assert serve.get("/static/hello.wsgi").status == 403
    assert serve.get("/environ").status == 200
    assert not serve.log.matching(SAID)
