"""What applications write, and what goes wrong in them, stands in the error log."""

import re

import pytest

from conftest import mode_directives

LOADING = r"WSGI01(0[5-9]|10|7[45])|Traceback|File \"|Error|\^|def application|raise |mod_wsgi|    "


def level_of(line):
    return re.match(r"\[[^\]]+\] \[[\w-]*:(\w+)\]", line)[1]


def test_wsgi_errors_goes_to_the_error_log_line_by_line(site):
    for line in ("a line to wsgi.errors", "second line", "third line"):
        site.log.expect(line)
    assert site.get("/errors/errors").text == "done"
    assert level_of(site.log.wait_for("second line")) == "error"


def test_lines_to_wsgi_errors_name_the_client(site):
    site.log.allow("line")
    site.get("/errors/errors")
    assert "[client 127.0.0.1" in site.log.wait_for("a line to wsgi.errors") or \
        "[remote 127.0.0.1" in site.log.wait_for("a line to wsgi.errors")


@pytest.mark.parametrize("case, pattern", [
    ("print", r"a printed line, h(é|\\xc3\\xa9)"),
    ("stderr", "a line to stderr"),
    ("partial", "half and half$"),
    ("percent", "100%s %n %d sure"),
    ("unfinished", "a line without end"),
])
def test_output_of_the_application_reaches_the_log(site, case, pattern):
    site.log.expect(pattern)
    assert site.get(f"/errors/{case}").text == "done"


@pytest.mark.ours("the original shortens tracebacks to their last line")
def test_a_traceback_names_file_line_and_error(site):
    site.log.expect("Traceback")
    site.log.expect(r'File ".*/apps/failing.wsgi", line \d+, in application')
    site.log.expect("ValueError: raised before start_response")
    site.log.allow(LOADING)
    assert site.get("/failing/before").status == 500


@pytest.mark.parametrize("script, pattern", [
    ("syntax_error", "SyntaxError"), ("import_error", "RuntimeError: not today"),
])
def test_a_script_that_does_not_load_is_a_500_with_its_traceback(site, script, pattern):
    site.log.expect(pattern)
    site.log.expect(script)
    site.log.allow(LOADING)
    assert site.get(f"/{script}").status == 500


def test_loading_is_tried_again_on_the_next_request(site):
    site.log.allow(LOADING + "|not today")
    site.get("/import_error")
    site.get("/import_error")
    site.log.wait_for("RuntimeError: not today", count=2)


def test_a_missing_callable_is_a_500(site, mode, ours):
    site.log.expect("'?application'?")
    site.log.allow("application|callable")
    assert site.get("/other_callable").status == (404 if not ours and mode == "embedded" else 500)


def test_a_missing_script_is_a_404(httpd, mode):
    httpd.log.expect("nowhere.wsgi")
    httpd.start(f"{mode_directives(mode)}WSGIScriptAlias / {httpd.root}/apps/nowhere.wsgi")
    assert httpd.get("/").status == 404


def test_a_folder_is_no_script(httpd, mode):
    httpd.log.expect("apps")
    httpd.start(f"{mode_directives(mode)}WSGIScriptAlias /x/ {httpd.root}/apps/")
    assert httpd.get("/x/").status == 403


@pytest.mark.modes("daemon")
def test_output_while_the_script_loads_reaches_the_log(httpd, mode):
    script = httpd.write("apps/loud.wsgi", "print('said while loading')\n"
                         + (httpd.app("hello")).read_text())
    httpd.log.expect("said while loading")
    httpd.start(f"{mode_directives(mode)}WSGIScriptAlias / {script}")
    assert httpd.get("/").status == 200
