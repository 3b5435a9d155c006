"""A daemon process has what it needs, and nothing of httpd's, of the supervisor's, or of another group's."""

import os
import re
import signal
from urllib.parse import quote

import pytest

import processes
from httpd import IS_ROOT

needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root can change users")

TWO = """WSGIDaemonProcess one threads=3 {one}
WSGIDaemonProcess two threads=3 {two}
WSGIScriptAlias /one "{script}" process-group=one application-group=%{{GLOBAL}}
WSGIScriptAlias /two "{script}" process-group=two application-group=%{{GLOBAL}}
WSGIScriptAlias /child "{script}"
"""
USERS = dict(one="user=nobody group=nogroup home=/tmp", two="user=daemon group=daemon home=/tmp")


def start(httpd, one="", two=""):
    httpd.start(TWO.format(one=one, two=two, script=httpd.app("evaluate")))
    return value(httpd, "one", "os.getpid()"), value(httpd, "two", "os.getpid()")


def value(httpd, group, expression):
    return httpd.json(f"/{group}?{quote(expression)}")


def attempt(httpd, group, expression):
    """Whether the application may do this: its value, or the name of the exception."""
    code = f"(lambda ns: (exec({code_of(expression)!r}, ns), ns['value'])[1])({{}})"
    return value(httpd, group, code)


def code_of(expression):
    return f"import os\ntry:\n  value = {expression}\nexcept Exception as error:\n  value = type(error).__name__\n"


# -- descriptors and memory ------------------------------------------------------------------------

NEEDED = re.compile(r"/dev/null|pipe:\[\d+\]|socket:\[\d+\]|anon_inode:\[(eventpoll|eventfd|pidfd|timerfd|inotify)\]|"
                    r"anon_inode:inotify|/memfd:wsgi-\w+ \(deleted\)")


@pytest.mark.ours("the original's processes are forks of httpd")
@pytest.mark.check
def test_a_process_has_the_descriptors_that_it_needs(httpd):
    for pid in start(httpd):
        held = processes.descriptors(pid)
        strange = {fd: name for fd, name in held.items() if not NEEDED.fullmatch(name)}
        assert not strange
        assert held[0] == "/dev/null" and held[1] == held[2]
        assert len(held) < 16, held


def private(pid):
    """Sockets, pipes and shared memory of a process, as what they are and not by number."""
    held = {name for name in processes.descriptors(pid).values() if re.match(r"(socket|pipe):", name)}
    shared = set()
    for line in processes.read_proc(pid, "maps").decode().splitlines():
        fields = line.split(None, 5)
        if len(fields) > 5 and fields[5].startswith("/memfd:"):
            shared.add((fields[5], fields[4]))
    return held | shared


@pytest.mark.ours("the original's processes are forks of httpd")
def test_two_groups_share_nothing(httpd):
    one, two = start(httpd)
    assert private(one) and private(two)
    assert not private(one) & private(two)


@pytest.mark.ours("the original's processes are forks of httpd")
def test_a_process_maps_nothing_of_httpds(httpd):
    for pid in start(httpd):
        mapped = processes.maps(pid)
        assert not [path for path in mapped if re.search(r"apache2|httpd|libmod_wsgi|wsgi-supervisor|scoreboard", path)
                    and not path.startswith(str(httpd.root))]


@pytest.mark.ours("the original's processes are forks of httpd")
@pytest.mark.check
def test_no_process_holds_an_end_of_the_supervisors_sockets(httpd):
    """But for its own: the way to the supervisor for children and the parent is not open to it."""
    start(httpd)
    supervisor = httpd.supervisor().pid
    parent = set(processes.descriptors(httpd.pid).values())
    for pid in start_pids(httpd):
        held = {name for name in processes.descriptors(pid).values() if name.startswith("socket:")}
        assert not held & parent
        assert not held & set(processes.descriptors(supervisor).values())


def start_pids(httpd):
    return [value(httpd, group, "os.getpid()") for group in ("one", "two")]


# -- users -----------------------------------------------------------------------------------------

FORBIDDEN = ["open('/proc/{pid}/mem', 'rb')", "os.listdir('/proc/{pid}/fd')", "open('/proc/{pid}/environ', 'rb')",
             "os.kill({pid}, 0)", "open('/proc/{pid}/maps')"]


@needs_root
@pytest.mark.parametrize("what", FORBIDDEN)
def test_groups_of_different_users_cannot_reach_each_other(httpd, what):
    _, two = start(httpd, **USERS)
    assert attempt(httpd, "one", what.format(pid=two)) == "PermissionError"
    assert attempt(httpd, "one", "os.geteuid()") != attempt(httpd, "two", "os.geteuid()")


@needs_root
@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_group_reaches_httpds_parent(httpd, what):
    start(httpd)
    assert attempt(httpd, "one", what.format(pid=httpd.pid)) == "PermissionError"


@needs_root
@pytest.mark.parametrize("what", FORBIDDEN[:3])
@pytest.mark.check
def test_groups_of_httpds_user_cannot_look_into_its_children(httpd, what):
    start(httpd)
    child = value(httpd, "child", "os.getpid()")
    assert attempt(httpd, "one", what.format(pid=child)) == "PermissionError"


@needs_root
@pytest.mark.ours("the original has no supervisor")
@pytest.mark.parametrize("what", FORBIDDEN[:3])
@pytest.mark.parametrize("users", [{}, USERS], ids=["one user", "two users"])
def test_no_group_looks_into_the_supervisor(httpd, what, users):
    start(httpd, **users)
    assert attempt(httpd, "one", what.format(pid=httpd.supervisor().pid)) == "PermissionError"


@needs_root
def test_no_process_keeps_a_privilege(httpd):
    for pid in start(httpd, **USERS):
        status = processes.read_proc(pid, "status").decode()
        for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert int(re.search(rf"{name}:\s*(\w+)", status)[1], 16) == 0, name
        assert "0" not in re.search(r"Uid:(.*)", status)[1].split()
        assert "0" not in re.search(r"Gid:(.*)", status)[1].split()
    assert attempt(httpd, "one", "os.setuid(0)") == "PermissionError"


# -- environment and session -----------------------------------------------------------------------

SYSTEMD = {"NOTIFY_SOCKET": "/run/notify", "LISTEN_FDS": "2", "LISTEN_PID": "1", "LISTEN_FDNAMES": "http",
           "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1", "INVOCATION_ID": "abc", "MAINPID": "1"}


@pytest.mark.ours("the original leaves them all")
@pytest.mark.check
def test_what_systemd_says_to_httpd_is_not_said_to_applications(httpd):
    httpd.env.update({**SYSTEMD, "OTHER": "stays"})
    start(httpd)
    told = value(httpd, "one", "dict(os.environ)")
    assert not set(SYSTEMD) & set(told) and told["OTHER"] == "stays"


def test_signals_have_their_default_actions_and_none_is_blocked(httpd):
    for pid in start(httpd):
        status = processes.read_proc(pid, "status").decode()
        assert int(re.search(r"SigBlk:\s*(\w+)", status)[1], 16) == 0


@pytest.mark.ours("the original's processes are in httpd's group")
def test_each_process_leads_a_session_of_its_own(httpd):
    """A signal to httpd's process group, Ctrl-C for instance, is not for applications."""
    for pid in start(httpd):
        assert os.getsid(pid) == pid == os.getpgid(pid)
    os.kill(start_pids(httpd)[0], signal.SIGCONT)
