"""Several scripts in one process group that requests have loaded: a process that takes the place of another one has loaded
them before requests come to it, and one that cannot load them leaves that one in its place."""

import contextlib
import os
import re
import signal

import pytest

import processes
from load import Load, timed
from processes import wait_until

pytestmark = [pytest.mark.timeout(180), pytest.mark.ours("the original imports with the first request")]
APP = """
import os, time
time.sleep({seconds})
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"{text} %d" % os.getpid()]
"""
BROKEN = "raise RuntimeError('{name} is broken')\n"
KEPT = "kept the running version"
IMPORT = 3
PATIENCE = IMPORT * 2 / 3
# So many that none waits for another one to end.
CHILDREN = "ServerLimit 16\nStartServers 4\nMinSpareThreads 75\nMaxSpareThreads 400\nMaxRequestWorkers 400\n"
ALIASES = """
WSGIScriptAlias /a {folder}/a.wsgi process-group=app
WSGIScriptAlias /b {folder}/b.wsgi process-group=app
"""
# A change is found by `graceful` alone.
UNWATCHED = "WSGIScriptReloading Off\n"
DIRECTORY = "WSGIScriptAlias / {folder} process-group=app\n"
HANDLER = """
Alias / {folder}/
<Directory {folder}>
    AddHandler wsgi-script .wsgi
    Options +ExecCGI
    WSGIProcessGroup app
</Directory>
"""


class Site:
    """The scripts a and b in one group, none of which is loaded before a request asks for it."""

    def __init__(self, httpd):
        self.httpd = httpd
        self.edits = 0
        self.paths = ["/a", "/b"]
        self.deploy("a", "old")
        self.deploy("b", "old")

    def write(self, name, text):
        """In place of the old file at once, as deploys do."""
        self.edits += 1
        new = self.httpd.write(f"site/new-{self.edits}", text)
        new.rename(self.httpd.root / f"site/{name}.wsgi")

    def deploy(self, name, text, seconds=IMPORT):
        self.write(name, APP.format(text=f"{name}-{text}", seconds=seconds))

    def break_(self, name):
        self.httpd.log.allow(f"WSGI01(09|10|74)|Traceback|File |raise|RuntimeError: {name} is broken")
        self.write(name, BROKEN.format(name=name))

    def start(self, options, routes=ALIASES):
        self.count = int(re.search(r"processes=(\d+)", options)[1])
        routes = routes.format(folder=self.httpd.root / "site")
        if "<Directory" in routes or "WSGIScriptAlias / " in routes:
            self.paths = ["/a.wsgi", "/b.wsgi"]
        self.httpd.start(f"{CHILDREN}WSGIDaemonProcess app threads=4 {options}\n{routes}")
        self.httpd.log.wait_for("is ready after", 30, count=self.count)
        self.warm_up()
        return self

    def warm_up(self):
        """Until each process has loaded each script."""
        with self.load() as loads:
            for load in loads:
                wait_until(lambda: len(pids(load.outcomes)) >= self.count, 60, "each process has served it")

    @contextlib.contextmanager
    def load(self, clients=2):
        """Requests to both scripts."""
        with Load(self.httpd, self.paths[0], clients) as a, Load(self.httpd, self.paths[1], clients) as b:
            yield a, b

    def change(self, old, new):
        text = self.httpd.conf_file.read_text()
        assert old in text
        self.httpd.conf_file.write_text(text.replace(old, new))

    def broken(self, name):
        """What was said about it: tracebacks, and processes that were not used for it."""
        folder = self.httpd.root / "site"
        not_used = self.httpd.log.matching(f"could not load {folder}/{name}.wsgi: RuntimeError: {name} is broken; {KEPT}")
        return len(self.httpd.log.matching(f"\\] RuntimeError: {name} is broken")), len(not_used)


@pytest.fixture
def site(httpd):
    return Site(httpd)


def pids(outcomes):
    return {int(outcome.body.split()[1]) for outcome in outcomes if outcome.result == 200}


def last(load, count=20):
    return {outcome.body.split()[0].decode() for outcome in load.outcomes[-count:] if outcome.result == 200}


def comes(load, text):
    """All that is served from now on is this."""
    begin = len(load.outcomes)
    load.more(30)
    wait_until(lambda: last(load) == {text}, 60, f"{text} is served")
    assert len(load.outcomes) > begin


def nobody_waited(*loads):
    for load in loads:
        assert set(load.results()) == {200}, load.results()
        assert load.slowest() < PATIENCE, "no request waited for an import"


def touched(_):
    """A request finds the change."""


def graceful(site):
    site.httpd.graceful()


WAYS = pytest.mark.parametrize(
    "options, deploy",
    [("processes=1 reload=rolling", touched), ("processes=2 reload=rolling", touched),
     ("processes=2 reload=rolling", graceful)],
    ids=["rolling-1", "rolling-2", "graceful"],
)


@WAYS
def test_nobody_waits_for_any_script_of_a_new_process(site, options, deploy):
    site.start(options)
    nobody_waits_for_a_new_process(site, deploy)


@pytest.mark.parametrize("routes, deploy", [(DIRECTORY, touched), (DIRECTORY, graceful), (HANDLER, touched)],
                         ids=["directory-touched", "directory-graceful", "handler-touched"])
def test_scripts_are_found_in_other_ways_than_by_name(site, routes, deploy):
    site.start("processes=1 reload=rolling", routes)
    nobody_waits_for_a_new_process(site, deploy)


def test_nobody_waits_after_the_loss_of_the_supervisor(site):
    """The next one hears of the scripts, also of those that only an earlier process was asked for."""
    site.start("processes=2")
    site.httpd.log.expect("supervisor .* was lost")
    with site.load() as loads:
        for load in loads:
            load.more(20)
    for _ in range(2):
        before = {p.pid for p in site.httpd.processes() if "(wsgi:app)" in p.cmdline}
        assert len(before) == 2
        os.kill(site.httpd.supervisor().pid, signal.SIGKILL)
        wait_until(lambda: not any(processes.process(pid) for pid in before), 60, "others have taken their place")
    with site.load() as loads:
        for load in loads:
            load.more(20)
    assert not pids(loads[0].outcomes) & before
    nobody_waited(*loads)


def nobody_waits_for_a_new_process(site, deploy):
    with site.load() as (a, b):
        a.more(20)
        before = pids(a.outcomes)
        site.deploy("a", "new")
        deploy(site)
        comes(a, "a-new")
        wait_until(lambda: not pids(b.outcomes[-20:]) & before, 60, "new processes serve the other one")
        b.more(20)
    nobody_waited(a, b)
    assert last(b) == {"b-old"}


@WAYS
def test_one_broken_script_keeps_the_running_version_of_all(site, options, deploy):
    site.start(options)
    with site.load() as (a, b):
        a.more(20)
        site.deploy("a", "new")
        site.break_("b")
        deploy(site)
        site.httpd.log.wait_for(KEPT, 60)
        site.httpd.log.wait_for(r"started \(attempt 2\)", 60)
        a.more(40)
        b.more(40)
        assert (last(a), last(b)) == ({"a-old"}, {"b-old"})
        assert site.broken("b") == (1, 1)
        site.deploy("b", "mended")
        comes(a, "a-new")
        comes(b, "b-mended")
    nobody_waited(a, b)
    assert site.broken("b") == (1, 1)


def test_a_script_that_is_not_configured_any_more_does_not_hold_a_new_configuration(site):
    another = "WSGIScriptAlias /c {folder}/a.wsgi process-group=app\n"
    site.start("processes=1", UNWATCHED + ALIASES + another)
    with Load(site.httpd, "/a") as load:
        load.more(20)
        site.deploy("a", "new")
        site.break_("b")
        site.httpd.graceful()
        site.httpd.log.wait_for(KEPT, 60)
        load.more(20)
        assert last(load) == {"a-old"}
        site.change(f"WSGIScriptAlias /b {site.httpd.root}/site/b.wsgi process-group=app\n", "")
        site.httpd.graceful()
        comes(load, "a-new")
    nobody_waited(load)
    assert site.httpd.get("/b").status == 404
    assert site.broken("b") == (1, 1)


def test_a_script_that_moves_to_another_application_group_is_not_loaded_where_it_was(site):
    site.start("processes=1", UNWATCHED + ALIASES)
    site.change("a.wsgi process-group=app", "a.wsgi process-group=app application-group=other")
    site.deploy("b", "new")
    with Load(site.httpd, "/b") as load:
        load.more(20)
        site.httpd.graceful()
        comes(load, "b-new")
    nobody_waited(load)
    # The alias names both groups now, so the configuration has it loaded.
    assert timed(site.httpd, "/a").seconds < PATIENCE


def test_a_script_behind_a_handler_is_not_loaded_for_a_new_configuration(site):
    """Whether that still makes it a script only httpd knows. It may have been taken away because it is a bad one."""
    site.start("processes=1", UNWATCHED + HANDLER)
    with Load(site.httpd, "/a.wsgi") as load:
        load.more(20)
        site.deploy("a", "new")
        site.break_("b")
        site.httpd.graceful()
        comes(load, "a-new")
    assert set(load.results()) == {200}
    assert not site.httpd.log.matching(r"WSGI\d+: .*b\.wsgi")
    assert len(site.httpd.log.matching("Loading WSGI script .*b.wsgi")) == 1
    site.httpd.log.expect("WSGI01(09|10): Unable to execute Python script file .*b.wsgi'")
    assert site.httpd.get("/b.wsgi").status == 500


def test_a_script_that_was_removed_is_forgotten(site):
    site.start("processes=1 reload=rolling")
    with Load(site.httpd, "/a") as load:
        load.more(20)
        (site.httpd.root / "site/b.wsgi").unlink()
        site.deploy("a", "new")
        comes(load, "a-new")
    nobody_waited(load)
    site.httpd.log.allow("b.wsgi")
    assert site.httpd.get("/b").status == 404


@pytest.mark.parametrize("options", ["", "reload=rolling"], ids=["immediate", "rolling"])
def test_nobody_waits_after_a_recycling(site, options):
    site.start(f"processes=1 {options}")
    with site.load() as (a, b):
        a.more(20)
        before = pids(a.outcomes)
        os.kill(*before, signal.SIGUSR1)
        wait_until(lambda: not (pids(a.outcomes[-20:]) | pids(b.outcomes[-20:])) & before, 60, "others serve")
        a.more(20)
        b.more(20)
    nobody_waited(a, b)

    # What it has loaded is handed further, though nobody has asked the next one for it.
    for count in 2, 3:
        ready = site.httpd.log.matching(r"process \d+ is ready after")[-1]
        os.kill(int(re.search(r"process (\d+) is", ready)[1]), signal.SIGUSR1)
        site.httpd.log.wait_for("is draining .*: it got SIGUSR1", 60, count=count)
    assert timed(site.httpd, "/a").seconds < PATIENCE
    assert timed(site.httpd, "/b").seconds < PATIENCE


@pytest.mark.parametrize("options", ["", "reload=rolling"], ids=["immediate", "rolling"])
def test_the_successor_of_a_lost_process_has_its_scripts(site, options):
    site.start(f"processes=2 {options}")
    site.httpd.log.expect("was lost: killed by SIGKILL")
    site.httpd.log.allow("lost|502|response")
    with site.load() as (a, b):
        a.more(20)
        before = pids(a.outcomes)
        os.kill(min(before), signal.SIGKILL)
        new = lambda load: pids(load.outcomes) - before
        wait_until(lambda: new(a) and new(b), 60, "the successor serves both")
    for load in a, b:
        of_new = [outcome for outcome in load.outcomes if outcome.result == 200 and pids([outcome]) - before]
        assert max(outcome.seconds for outcome in of_new) < PATIENCE


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.check
def test_by_default_a_broken_script_disturbs_no_other(site, count):
    """The first request for it finds the change; then only new code of it may answer, which there is none of."""
    site.deploy("a", "old", seconds=0)
    site.deploy("b", "old", seconds=0)
    site.start(f"processes={count}")
    with Load(site.httpd, "/a") as load:
        load.more(20)
        before = pids(load.outcomes)
        site.break_("b")
        site.httpd.log.expect("WSGI01(09|10): Unable to execute Python script file .*b.wsgi'")
        assert [site.httpd.get("/b").status for _ in range(5)] == [500] * 5
        wait_until(lambda: len(pids(load.outcomes[-20 * count:]) - before) == count, 60, "all processes are there again")
        load.more(20)
        assert site.httpd.get("/b").status == 500
        site.deploy("b", "mended", seconds=0)
        wait_until(lambda: site.httpd.get("/b").text.startswith("b-mended"), 20, "the mended one is served")
        load.more(20)
    assert set(load.results()) == {200} and last(load) == {"a-old"}
    assert not site.httpd.log.matching(f"{KEPT}|could not load")


def test_by_default_a_changed_script_waits_for_no_other(site):
    site.deploy("a", "old", seconds=0)
    site.start("processes=2")
    site.deploy("a", "new", seconds=0)
    outcome = timed(site.httpd, "/a")
    assert outcome.body.startswith(b"a-new") and outcome.seconds < PATIENCE


def test_by_default_a_recycling_keeps_what_serves_and_gives_in_when_that_may_not_answer(site):
    """The successor cannot load a script that nobody has asked for since it was broken."""
    site.deploy("a", "old", seconds=0)
    site.deploy("b", "old", seconds=0)
    site.start("processes=1")
    with Load(site.httpd, "/a") as load:
        load.more(20)
        old, = pids(load.outcomes)
        site.break_("b")
        os.kill(old, signal.SIGUSR1)
        site.httpd.log.expect(f"b.wsgi: RuntimeError: b is broken; {KEPT}")
        # A request for b that came before would end the old process's service.
        site.httpd.log.wait_for(f"b.wsgi: RuntimeError: b is broken; {KEPT}", 30)
        load.more(20)
        assert pids(load.outcomes) == {old}
        assert site.httpd.get("/b").status == 500
        wait_until(lambda: old not in pids(load.outcomes[-20:]), 60, "another one serves")
        load.more(20)
        assert site.httpd.get("/b").status == 500
        site.deploy("b", "mended", seconds=0)
        wait_until(lambda: site.httpd.get("/b").text.startswith("b-mended"), 20, "the mended one is served")
    assert set(load.results()) == {200}


def test_a_script_that_ends_its_process_costs_the_others_nothing(site):
    """It is tried once; the next process does without."""
    site.deploy("a", "old", seconds=0)
    site.deploy("b", "old", seconds=0)
    site.start("processes=2")
    with Load(site.httpd, "/a") as load:
        wait_until(lambda: len(pids(load.outcomes[-40:])) == 2, 30, "two processes serve")
        (site.httpd.root / "site/b.wsgi").write_text("import os\nos._exit(3)\n")
        lost, left = sorted(pids(load.outcomes[-40:]))
        site.httpd.log.expect(f"process {lost} was lost: killed by SIGKILL")
        site.httpd.log.allow("the client gets 502")
        site.httpd.log.expect(r"exited with status 3.*; it was loading the scripts that an earlier process had loaded, and /.*/b.wsgi was the next")
        processes.kill([lost])
        wait_until(lambda: len(pids(load.outcomes[-40:]) - {lost}) == 2, 30, "there are two again")
    assert set(load.results()) <= {200, 502}


def test_a_script_that_moves_to_another_group_does_not_hold_the_one_where_it_was(site):
    """As many configurations have it: a <Location> says which group it is."""
    site.deploy("a", "old", seconds=0)
    site.deploy("b", "old", seconds=0)
    location = "<Location /b>\nWSGIProcessGroup {group}\n</Location>\n"
    aliases = UNWATCHED + "WSGIProcessGroup app\n" + ALIASES.replace(" process-group=app", "")
    groups = "WSGIDaemonProcess other\n"
    site.start("processes=1", groups + location.format(group="app") + aliases)
    assert site.httpd.get("/b").text.startswith("b-old")
    with Load(site.httpd, "/a") as load:
        load.more(20)
        site.deploy("a", "new", seconds=0)
        site.break_("b")
        site.change(location.format(group="app"), location.format(group="other"))
        site.httpd.graceful()
        comes(load, "a-new")
    assert set(load.results()) == {200}
    assert not site.httpd.log.matching("could not load")
