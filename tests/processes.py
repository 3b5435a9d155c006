"""What /proc says: which processes a test started, and what they hold.

The test runner makes itself a "child subreaper": every process that a test's httpd leaves
behind, whatever session or group it moved to, becomes a child of the runner. So the
descendants of the runner are exactly what a test started.
"""

import ctypes
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
CLIENTS = {"curl", "wrk"}


@dataclass(frozen=True)
class Process:
    pid: int
    ppid: int
    comm: str
    state: str

    @property
    def cmdline(self):
        raw = read_proc(self.pid, "cmdline")
        return raw.replace(b"\0", b" ").decode(errors="replace").strip()

    @property
    def uid(self):
        return os.stat(f"/proc/{self.pid}").st_uid

    def __str__(self):
        return f"{self.pid} ({self.comm}, parent {self.ppid}): {self.cmdline}"


def become_subreaper():
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def read_proc(pid, name):
    try:
        with open(f"/proc/{pid}/{name}", "rb", buffering=0) as file:
            return file.read()
    except OSError:
        return b""


def process(pid):
    """The process with this id, or None. A zombie is None too: it runs nothing."""
    raw = read_proc(pid, "stat").decode(errors="replace")
    if not raw:
        return None
    head, _, tail = raw.rpartition(")")
    state, ppid = tail.split()[:2]
    comm = head.partition("(")[2]
    return None if state in "ZX" else Process(int(pid), int(ppid), comm, state)


def all_processes():
    found = (process(entry) for entry in os.listdir("/proc") if entry.isdigit())
    return [p for p in found if p]


def descendants(root):
    """Every live descendant of `root`, without HTTP clients that tests run."""
    children = {}
    for p in all_processes():
        children.setdefault(p.ppid, []).append(p)
    found, queue = [], [root]
    while queue:
        for p in children.get(queue.pop(), []):
            found.append(p)
            queue.append(p.pid)
    return [p for p in found if p.comm not in CLIENTS]


def kill(pids, sig=signal.SIGKILL):
    for pid in pids:
        try:
            os.kill(pid, sig)
        except ProcessLookupError:
            pass


def reap():
    """Collects the zombies that the subreaper inherited."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def wait_until(condition, timeout=15.0, what="condition"):
    """Polls until `condition()` is true and returns its value."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout} s: {what}")
        time.sleep(0.01)


def threads(pid):
    return len(os.listdir(f"/proc/{pid}/task"))


def descriptors(pid):
    """What each descriptor of a process points to."""
    folder = f"/proc/{pid}/fd"
    found = {}
    for fd in os.listdir(folder):
        try:
            found[int(fd)] = os.readlink(f"{folder}/{fd}")
        except OSError:
            pass
    return found


def unix_sockets(pid):
    """The Unix sockets that a process has open."""
    lines = Path("/proc/net/unix").read_text().splitlines()[1:]
    unix = {f"socket:[{line.split()[6]}]" for line in lines}
    return unix & set(descriptors(pid).values())


def maps(pid):
    """The files that a process has mapped."""
    lines = read_proc(pid, "maps").decode(errors="replace").splitlines()
    return {fields[5] for fields in (line.split(None, 5) for line in lines) if len(fields) > 5}


def shared_memory(pids):
    """The names in /dev/shm that these processes have open or mapped."""
    found = set()
    for pid in pids:
        try:
            found |= {*maps(pid), *descriptors(pid).values()}
        except OSError:
            pass  # It has ended meanwhile.
    return {Path(path).name for path in found if path.startswith("/dev/shm/") and Path(path).exists()}


def supplementary_groups(pid):
    for line in read_proc(pid, "status").decode().splitlines():
        if line.startswith("Groups:"):
            return [int(gid) for gid in line.split()[1:]]
    return []
