"""What applications are given beyond PEP 3333."""

import pytest

from conftest import mode_directives


@pytest.mark.parametrize("switch", ["", "Off", "On"])
@pytest.mark.check
def test_the_request_record_is_passed_in_embedded_mode_where_it_is_asked_for(httpd, mode, switch):
    script = httpd.app("record")
    directive = switch and f"WSGIPassApacheRequest {switch}"
    httpd.start(f"{mode_directives(mode)}{directive}\nWSGIApplicationGroup %{{GLOBAL}}\nWSGIScriptAlias / {script}")
    said = httpd.get("/some/path?query").text
    assert said == ("GET /some/path?query HTTP/1.1" if switch == "On" and mode == "embedded" else "none")


@pytest.mark.check
def test_the_request_record_may_be_asked_for_by_directory(httpd):
    script = httpd.app("record")
    httpd.start(f"WSGIScriptAlias / {script}\n<Location /in>\nWSGIPassApacheRequest On\n</Location>")
    assert httpd.get("/in").text.startswith("GET /in")
    assert httpd.get("/out").text == "none"
