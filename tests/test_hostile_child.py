"""An application in embedded mode can do to its child what it likes, because it runs in it. httpd's parent, the
supervisor and the processes of other groups outlive it, and other requests are served again."""

import re

import pytest

import processes
from load import Background, timed
from processes import wait_until

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.ours("the original has no supervisor and no shared memory"),
    pytest.mark.mpms("event", "prefork"),
]
# httpd says how the child ended that the test has killed.
KILLED = r"AH00052: child pid \d+ exit signal Killed"
# Sockets of httpd were among the descriptors that the application has closed.
CLOSED = r"AH00468: error closing socket|AH02179: apr_socket_accept: .client socket."
DAMAGED = r'process group "good": something wrote to its scoreboard'
LISTENS = "noise", "tells", "passes", "garbage", "closes"


@pytest.fixture
def server(httpd):
    httpd.log.allow(KILLED)
    httpd.own(httpd.root / "apps")
    httpd.start(f"""
WSGIDaemonProcess good processes=1 threads=4
WSGIScriptAlias /hostile {httpd.app("hostile_child")} application-group=%{{GLOBAL}}
WSGIScriptAlias /hello {httpd.app("hello")} process-group=good application-group=%{{GLOBAL}}
""")
    assert timed(httpd, "/hello").result == 200
    return httpd


def attack(httpd, how):
    """Does it, and ends the child that did it. Returns what the attack says of itself."""
    mark = httpd.root / "apps/mark"
    with Background(httpd, f"/hostile/{how}?{mark}"):
        wait_until(mark.exists, 30, "it is done")
        child, reached = map(int, mark.read_text().split())
        mark.unlink()
        processes.kill([child])
    wait_until(lambda: not processes.process(child), 20, "the child is gone")
    return reached


def serves(httpd, path="/hello"):
    return timed(httpd, path).result == 200


def good(httpd):
    return {p.pid for p in httpd.processes() if "(wsgi:good)" in p.cmdline}


def test_no_child_has_a_descriptor_that_it_does_not_need(server):
    """Of ours: the engine's file and those for free-threaded Python, its way to the supervisor, the pipe by which the supervisor sees that children are
    left. Shared memory has no descriptor."""
    assert attack(server, "nothing") == 0
    wait_until(lambda: serves(server) and serves(server, f"/hostile/nothing?{server.root}/apps/mark"), 20, "it serves")
    supervisor = set(processes.descriptors(server.supervisor().pid).values())
    for child in server.children():
        held = processes.descriptors(child.pid)
        assert not [name for name in held.values() if "memfd:" in name]
        files = [name.rpartition("/")[2] for name in held.values() if "wsgi" in name and "/logs/" not in name]
        files = [name for name in files if not re.fullmatch(r"libwsgi_engine-cp\d+t[.]so", name)]
        assert files in (["libwsgi_engine.so"], ["wsgi_engine.abi3.so"]), held
        parents = set(processes.descriptors(server.pid).values())
        ours = [name for name in held.values() if name.startswith("socket:") and name in parents]
        # httpd's own listening socket is the other one.
        assert len(ours) == 2, held
        assert not supervisor & set(ours)


def test_a_scoreboard_cannot_be_cut(server):
    before = server.supervisor().pid, good(server)
    assert attack(server, "cuts") == 0
    wait_until(lambda: serves(server), 20, "it serves")
    assert before == (server.supervisor().pid, good(server))


@pytest.mark.parametrize("how", ["scribbles", "fills"])
def test_whatever_stands_in_a_scoreboard(server, how):
    """Parent and supervisor go on. `graceful` gives the group a new scoreboard."""
    parent, supervisor = server.pid, server.supervisor().pid
    server.log.expect(DAMAGED)
    server.log.allow(r'process group "good": ')
    assert attack(server, how) == 1
    server.graceful()
    wait_until(lambda: serves(server), 20, "it serves")
    assert parent == server.pid and supervisor == server.supervisor().pid
    assert {timed(server, "/hello").result for _ in range(20)} == {200}


def test_a_supervisor_takes_a_scoreboard_over_whose_header_was_written_to(server):
    server.log.expect("was lost .signal 9.; httpd starts another one")
    server.log.expect(DAMAGED)
    server.log.allow(r'process group "good": ')
    assert attack(server, "fills") == 1
    lost = server.supervisor().pid
    processes.kill([lost])
    server.wait_for_other_supervisor(lost, 20)
    server.graceful()
    wait_until(lambda: serves(server), 20, "it serves")
    assert not server.log.matching("cannot be used")


@pytest.mark.parametrize("how", LISTENS)
def test_the_supervisor_and_other_groups_do_not_mind(server, how):
    before = server.pid, server.supervisor().pid, good(server)
    held = len(processes.descriptors(before[1]))
    if how == "closes":
        server.log.allow(CLOSED)
    attack(server, how)
    wait_until(lambda: serves(server), 20, "it serves")
    assert {timed(server, "/hello").result for _ in range(20)} == {200}
    assert before == (server.pid, server.supervisor().pid, good(server))
    assert not server.log.matching("panicked")
    wait_until(lambda: len(processes.descriptors(before[1])) <= held + 4, 20, "the supervisor's descriptors")
