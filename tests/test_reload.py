"""A touched script: the next request runs the new code."""

import os

import pytest

from conftest import mode_directives
from processes import wait_until

SCRIPT = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"{text}"]
"""


def edit(httpd, text, tick):
    """Writes the script with a time of change of its own."""
    path = httpd.write("apps/edited.wsgi", SCRIPT.format(text=text))
    os.utime(path, (1_700_000_000 + tick, 1_700_000_000 + tick))
    return path


def start(httpd, mode, extra="", **options):
    script = edit(httpd, "old", 0)
    httpd.start(f"{mode_directives(mode, **options)}{extra}\nWSGIScriptAlias / {script}")
    assert httpd.get("/").text == "old"


@pytest.mark.check
def test_a_newer_script_is_served_by_the_next_request(httpd, mode):
    start(httpd, mode)
    edit(httpd, "new", 10)
    assert httpd.get("/").text == "new"
    edit(httpd, "newer", 20)
    assert httpd.get("/").text == "newer"


@pytest.mark.check
def test_an_older_time_of_change_counts_too(httpd, mode):
    start(httpd, mode)
    edit(httpd, "restored", -1000)
    assert httpd.get("/").text == "restored"


def test_every_process_of_a_group_serves_the_new_code(httpd):
    start(httpd, "daemon", processes=3, threads=2)
    edit(httpd, "new", 10)
    assert {httpd.get("/").text for _ in range(20)} == {"new"}


@pytest.mark.mpms("event")  # another child may load the script for the first time
@pytest.mark.check
def test_without_script_reloading_the_old_code_stays(httpd, mode):
    start(httpd, mode, "WSGIScriptReloading Off")
    edit(httpd, "new", 10)
    assert {httpd.get("/").text for _ in range(5)} == {"old"}


def test_a_graceful_restart_serves_the_new_code(httpd, mode):
    start(httpd, mode, "WSGIScriptReloading Off")
    edit(httpd, "new", 10)
    httpd.graceful()
    wait_until(lambda: httpd.get("/").text == "new", 15, "new code serves")


@pytest.mark.check
def test_a_broken_edit_is_a_500_until_it_is_repaired(httpd, mode):
    start(httpd, mode)
    path = edit(httpd, "broken", 10)
    path.write_text("def application(:\n")
    os.utime(path, (1_700_000_020, 1_700_000_020))
    httpd.log.expect("SyntaxError")
    httpd.log.allow("edited.wsgi|SyntaxError|def app|\\^|Traceback|load")
    assert httpd.get("/").status == 500
    edit(httpd, "repaired", 30)
    wait_until(lambda: httpd.get("/").body == b"repaired", 15, "repaired code serves")
