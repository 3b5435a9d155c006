"""Code that does not load: what is served meanwhile, what the log says, and how it is mended.

By default the old code may not answer once its script has changed: requests get 500 until it is mended. `graceful` and
`reload=rolling` keep the old code serving. In each case a mended file is found without any request, restart or signal.
"""

import re
import time

import pytest

from load import Load, timed
from processes import wait_until

pytestmark = pytest.mark.ours("the original answers 500 until a request finds the script mended")
APP = """
import os
import {helper}
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"{text}"]
"""
BROKEN = "import os\nraise RuntimeError('broken in %d' % os.getpid())\n"
KEPT = "kept the running version"
IMPORT = 3
# So many that none waits for another one to end.
CHILDREN = "ServerLimit 16\nStartServers 4\nMinSpareThreads 75\nMaxSpareThreads 400\nMaxRequestWorkers 400\n"


class Site:
    """An application and a module of it, below a directory of their own."""

    def __init__(self, httpd):
        self.httpd = httpd
        self.edits = 0

    def write(self, name, text):
        """Replaces the file in one step, as deploys do."""
        self.edits += 1
        new = self.httpd.write(f"site/new-{self.edits}", text)
        return new.replace(self.httpd.root / "site" / name)

    def deploy(self, text, helper="os"):
        return self.write("app.wsgi", APP.format(text=text, helper=helper))

    def start(self, options="", extra=""):
        folder = self.httpd.root / "site"
        self.httpd.log.allow("RuntimeError|Traceback|app.wsgi|helper.py|raise|import|500|process group")
        self.httpd.start(
            f"WSGIDaemonProcess app threads=2 home={folder} {options}\n"
            f"{extra}WSGIScriptAlias / {folder}/app.wsgi process-group=app"
        )
        return self

    def failed_loads(self):
        """The processes whose log says why they cannot load the application, with each traceback."""
        return [int(found[1]) for found in re.finditer(r"\] RuntimeError: broken in (\d+)", self.httpd.log.text())]

    def starts(self):
        return self.httpd.log.matching(r"process \d+ started")

    def serves(self, text, timeout=20.0):
        wait_until(lambda: self.httpd.get("/").text == text, timeout, f"{text!r} is served")


@pytest.fixture
def site(httpd):
    return Site(httpd)


def mended_within(site, text):
    """Seconds until `text` is served."""
    begun = time.monotonic()
    site.serves(text)
    return time.monotonic() - begun


# -- the default: nothing but the new code may answer ----------------------------------------------


@pytest.mark.check
def test_each_request_gets_500_and_a_line_that_refers_to_the_traceback(site):
    site.write("app.wsgi", BROKEN)
    site.start()
    assert [site.httpd.get("/").status for _ in range(20)] == [500] * 20
    line = r"WSGI0109: Unable to execute Python script file '.*app.wsgi'. RuntimeError: broken in (\d+) \(process \1 tried it \d+ s ago; the log"
    wait_until(lambda: len(site.httpd.log.matching(line)) == 20, 10, "each request told it")
    started = {int(line.split("process ")[-1].split()[0]) for line in site.starts()}
    assert set(site.failed_loads()) <= started and len(started) < 10, "no request has it imported again"
    assert len(site.failed_loads()) == 1, "the traceback of an attempt is written once, and that of a like one not again"
    site.deploy("mended")
    assert mended_within(site, "mended") < 2.5


def test_requests_do_not_hasten_the_next_try(site):
    """The engine is opened by its descriptor; what comes and goes beside it in /proc is no code."""
    site.write("app.wsgi", "raise OSError('x')\n")
    site.httpd.log.allow("OSError: x")
    site.start()
    wait_until(lambda: site.httpd.log.matching("next try in 1 s"), 10, "the first try has failed")
    with Load(site.httpd, "/", clients=2) as load:
        wait_until(lambda: len(site.starts()) == 3, 20, "two more tries, after 1 and 2 s")
    assert set(load.results()) == {500} and len(load.outcomes) > 50
    begun = [line.partition("] ")[0].split()[3] for line in site.starts()]
    seconds = [sum(float(part) * 60 ** at for at, part in enumerate(reversed(it.split(":")))) for it in begun]
    assert seconds[1] - seconds[0] > 0.9 and seconds[2] - seconds[1] > 1.9, begun
    assert len(site.httpd.log.matching(r"\] OSError: x")) == 1


def test_the_file_that_has_changed_is_named(site):
    site.write("app.wsgi", BROKEN)
    site.start()
    assert site.httpd.get("/").status == 500
    site.deploy("mended")
    site.serves("mended")
    assert site.httpd.log.matching(r'process group "app": \S+/site/app.wsgi has changed, so a new process tries to load the script')


@pytest.mark.check
def test_a_touched_script_that_is_broken(site):
    site.deploy("old")
    site.start("processes=2").serves("old")
    site.write("app.wsgi", BROKEN)
    assert {site.httpd.get("/").status for _ in range(10)} == {500}
    site.deploy("mended")
    assert mended_within(site, "mended") < 2.5
    assert {site.httpd.get("/").text for _ in range(10)} == {"mended"}


def test_a_mended_module_is_found_though_the_script_stays(site):
    site.write("helper.py", BROKEN)
    site.deploy("mended", "helper")
    site.start()
    assert site.httpd.get("/").status == 500
    site.write("helper.py", "")
    assert mended_within(site, "mended") < 2.5


@pytest.mark.check
def test_a_missing_module_is_found_when_it_is_installed(site):
    site.deploy("mended", "helper")
    site.httpd.log.expect("ModuleNotFoundError: No module named 'helper'")
    site.httpd.log.expect(r"python3? looked for the module \(the default; .*\); sys.path was \[.*/site.*\]. Not set: python-home= \(a virtual environment\)\.$")
    site.start()
    assert site.httpd.get("/").status == 500
    site.write("helper.py", "")
    assert mended_within(site, "mended") < 2.5


@pytest.mark.check
def test_without_script_reloading_a_mended_script_is_found_all_the_same(site):
    site.write("app.wsgi", BROKEN)
    site.start(extra="WSGIScriptReloading Off\n")
    assert site.httpd.get("/").status == 500
    site.deploy("mended")
    assert mended_within(site, "mended") < 2.5


def test_mending_takes_several_attempts(site):
    site.write("app.wsgi", BROKEN)
    site.start()
    assert site.httpd.get("/").status == 500
    for lines in range(1, 4):
        site.write("app.wsgi", "\n" * lines + BROKEN)
        site.httpd.log.wait_for(f'app.wsgi", line {lines + 2}, in <module>')
        assert site.httpd.get("/").status == 500
    site.deploy("mended")
    assert mended_within(site, "mended") < 2.5


# -- graceful and rolling: the old code serves ------------------------------------------------------


def test_graceful_keeps_the_code_of_a_script_that_was_replaced_and_is_broken(site):
    site.deploy("old")
    site.start("processes=2").serves("old")
    site.write("app.wsgi", BROKEN)
    site.httpd.graceful()
    site.httpd.log.wait_for(KEPT)
    assert {site.httpd.get("/").text for _ in range(10)} == {"old"}
    site.write("app.wsgi", "\n" + BROKEN)
    site.httpd.log.wait_for('app.wsgi", line 3, in <module>')
    assert {site.httpd.get("/").text for _ in range(10)} == {"old"}
    site.deploy("mended")
    assert mended_within(site, "mended") < 2.5


def graceful(site):
    site.httpd.graceful()


def touched(site):
    """A request finds the change."""
    assert site.httpd.get("/").status == 200


KEEPING = pytest.mark.parametrize(
    "options, deploy",
    [("", graceful), ("reload=rolling", touched), ("reload=rolling processes=2", touched)],
    ids=["graceful", "rolling", "rolling-2"],
)


def old_code_serves(site, options):
    site.deploy("old")
    extra = "" if "rolling" in options else "WSGIScriptReloading Off\n" + CHILDREN
    site.start(options, extra).serves("old")


@KEEPING
def test_the_running_version_is_kept_and_the_mended_one_found(site, options, deploy):
    old_code_serves(site, options)
    site.write("app.wsgi", BROKEN)
    with Load(site.httpd, "/") as load:
        deploy(site)
        site.httpd.log.wait_for(KEPT, 20)
        load.more(50)
    assert set(load.results()) == {200} and {o.body for o in load.outcomes} == {b"old"}
    site.deploy("mended")
    with Load(site.httpd, "/") as load:
        load.more(40)
        # One process after the other.
        wait_until(lambda: {o.body for o in load.outcomes[-40:]} == {b"mended"}, 20, "mended code serves")
    assert set(load.results()) == {200}


@KEEPING
def test_a_second_broken_version_is_told_of_too(site, options, deploy):
    old_code_serves(site, options)
    site.write("app.wsgi", BROKEN)
    deploy(site)
    site.httpd.log.wait_for(KEPT, 20)
    site.write("app.wsgi", "import os\nraise RuntimeError('broken in %d' % os.getpid(), 'in another way')\n")
    site.httpd.log.wait_for("in another way", 20)
    assert site.httpd.get("/").text == "old"
    site.deploy("mended")
    site.serves("mended")


@KEEPING
def test_no_request_waits_for_new_code(site, options, deploy):
    old_code_serves(site, options)
    site.write("app.wsgi", f"import time; time.sleep({IMPORT})\n" + APP.format(text="new", helper="os"))
    with Load(site.httpd, "/") as load:
        deploy(site)
        wait_until(lambda: load.outcomes and load.outcomes[-1].body == b"new", 20, "new code serves")
    assert set(load.results()) == {200}
    assert load.slowest() < IMPORT * 2 / 3, "none waited for the import"


@pytest.mark.parametrize("options", ["reload=rolling"])
def test_a_canary_that_is_lost_is_followed_by_another_at_the_next_change(site, options):
    old_code_serves(site, options)
    site.write("app.wsgi", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    assert timed(site.httpd, "/").body == b"old"
    site.httpd.log.wait_for("SIGKILL", 20)
    assert timed(site.httpd, "/").body == b"old"
    site.deploy("mended")
    site.serves("mended")
