"""Deploys of code: `reload=rolling`, scripts that do not load, and how they are mended."""

import itertools
import re
import time

import pytest

from load import Load
from processes import wait_until

pytestmark = pytest.mark.ours("the original reloads in place, and has no rolling reload")
SCRIPT = """
import os, sys, time
time.sleep({import_time})
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"{text} %d" % os.getpid()]
"""
BROKEN = "import sys\nTEXT = {number}\ndef application(:\n"
TRACEBACK = "WSGI01(06|74)|SyntaxError|File |def application|\\^"
KEPT = "SyntaxError: .*; kept the running version: the {count} running process(es)? go(es)? on serving"


def text(response):
    return response.text.split()[0] if response.status == 200 else str(response.status)


class Site:
    """A server with one group and one script that is edited."""

    def __init__(self, httpd, options, import_time=0):
        self.httpd, self.import_time = httpd, import_time
        self.edit("old")
        group = f"WSGIDaemonProcess app threads=4 {options}\nWSGIProcessGroup app\n"
        httpd.start(f"{group}\nWSGIScriptAlias / {self.script}")
        assert text(httpd.get("/")) == "old"
        count = int(re.search(r"processes=(\d+)", options)[1])
        httpd.log.wait_for("is ready after", 30, count=count)

    def edit(self, name):
        self.put(SCRIPT.format(text=name, import_time=self.import_time))

    def put(self, content):
        """In place of the old file at once, as deploys do."""
        self.httpd.write("apps/next", content)
        self.script = self.httpd.root / "apps/edited.wsgi"
        (self.httpd.root / "apps/next").rename(self.script)

    def serves(self, name, timeout=30):
        wait_until(lambda: text(self.httpd.get("/")) == name, timeout, f"{name} serves")


def test_rolling_serves_old_code_until_the_new_is_ready(httpd):
    site = Site(httpd, "processes=2 reload=rolling", import_time=3)
    with Load(httpd, "/", clients=4) as load:
        load.more(20)
        site.edit("new")
        site.serves("new")
        httpd.log.wait_for("is draining .*: its script has changed", 30, count=2)
        wait_until(lambda: len({outcome.body for outcome in load.outcomes}) == 4, 30, "all four have served")
    assert set(load.results()) == {200}
    assert load.slowest() < 2.5, "nobody waited for an import"
    # Each process goes from old to new in one step.
    names = {}
    for outcome in load.outcomes:
        name, pid = outcome.body.decode().split()
        names.setdefault(pid, set()).add(name)
    assert all(len(each) == 1 for each in names.values())
    assert len(names) == 4


def test_rolling_keeps_the_running_version_when_the_new_one_fails(httpd):
    site = Site(httpd, "processes=2 reload=rolling")
    httpd.log.expect(KEPT.format(count=2))
    httpd.log.allow(TRACEBACK)
    with Load(httpd, "/", clients=4) as load:
        load.more(20)
        site.put(BROKEN.format(number=1))
        httpd.log.wait_for("kept the running version", 30)
        # The next attempt fails as well, and says nothing.
        httpd.log.wait_for(r"started \(attempt 2\)", 30)
        load.more(20)
        site.edit("mended")
        site.serves("mended")
        load.more(20)
    assert set(load.results()) == {200}
    assert len(httpd.log.matching("kept the running version")) == 1
    assert len(httpd.log.matching("SyntaxError: ")) == 2, "the traceback, and the line about it"
    httpd.log.wait_for("is ready after .*; before it .* attempts? to start failed", 30)


def test_the_default_answers_500_until_the_mend_and_recovers_at_once(httpd):
    site = Site(httpd, "processes=2")
    httpd.log.allow(f"{TRACEBACK}|could not load|was not loaded|cannot be loaded|Traceback")
    httpd.log.expect("could not load .*edited.wsgi: SyntaxError: .*; requests get 500")
    site.put(BROKEN.format(number=1))
    assert httpd.get("/").status == 500
    # By now the back-off is 4 s.
    httpd.log.wait_for(r"started \(attempt 3\)", 30)
    assert httpd.get("/").status == 500
    site.edit("mended")
    begun = time.monotonic()
    site.serves("mended")
    assert time.monotonic() - begun < 3
    assert len(httpd.log.matching("could not load .*requests get 500")) == 1


def test_the_default_lets_requests_wait_for_the_mended_code(httpd):
    """A request after the mend gets the mended code, though the watch may not have seen it yet."""
    site = Site(httpd, "processes=1", import_time=0.5)
    httpd.log.allow(f"{TRACEBACK}|could not load|Traceback")
    for number in range(3):
        site.put(BROKEN.format(number=number))
        wait_until(lambda: httpd.get("/").status == 500, 30, "broken")
        site.edit(f"mended{number}")
        site.serves(f"mended{number}")


@pytest.mark.parametrize("content", [BROKEN.format(number=1), "import os\nos._exit(3)\n"], ids=["fails", "exits"])
@pytest.mark.check
def test_graceful_keeps_the_running_version_and_picks_the_mend_up(httpd, content):
    site = Site(httpd, "processes=2")
    httpd.log.allow(TRACEBACK)
    httpd.log.expect("kept the running version: the 2 running processes go on serving")
    with Load(httpd, "/", clients=4) as load:
        load.more(20)
        httpd.conf_file.write_text(httpd.conf_file.read_text() + "\nWSGIScriptReloading Off\n")
        httpd.graceful()
        site.put(content)
        httpd.graceful()
        httpd.log.wait_for("kept the running version", 30)
        httpd.log.wait_for(r"started \(attempt 2\)", 30)
        load.more(20)
        site.edit("mended")
        site.serves("mended", 60)
        load.more(20)
    assert set(load.results()) == {200}
    assert {outcome.body.split()[0] for outcome in load.outcomes} == {b"old", b"mended"}


def test_every_change_counts_while_one_is_being_loaded(httpd):
    site = Site(httpd, "processes=1 reload=rolling", import_time=1)
    with Load(httpd, "/", clients=2) as load:
        for number in itertools.count():
            site.edit(f"version{number}")
            load.more(3)
            if number == 5:
                break
        site.serves("version5", 60)
    assert set(load.results()) == {200}
