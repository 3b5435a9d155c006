"""A daemon process that is under somebody else's control harms nobody but itself: no request of another group, no child,
not the supervisor, whose memory stays as it was."""

import zlib
from urllib.parse import quote

import pytest

import processes
from httpd import IS_ROOT
from load import Background, Load, timed
from processes import wait_until

pytestmark = [pytest.mark.timeout(120), pytest.mark.ours("the original's daemon processes are httpd's own image")]

# -- what the log may say, of the hostile group only -----------------------------------------------

OF = r'process group "hostile": '
PROCESS = OF + r"process \d+ "
RESPONSE = (f"({OF}|Daemon process 'hostile' closed connection before sending complete response headers: "
            "|Timeout when reading response headers from daemon process 'hostile': "
            r"|Unable to proxy response from daemon process 'hostile' to client: )process \d+ ")
# While the group is without a process.
ALWAYS = [OF + "it has no process, and for .* no process could be started", OF + "it takes requests again",
          OF + r"no request thread was free for GET /hostile/\S+ within socket-timeout=10"]
LOST = RESPONSE + "was lost while it executed the request GET /hostile/"
KILLED = [PROCESS + "sent (an unknown message|a message) on its control socket", LOST,
          PROCESS + r"is gone \(it broke the protocol\)"]
GARBLED = [RESPONSE + "sent bytes that are not a response: "]
SILENT = [RESPONSE + "sent nothing of the response to GET /hostile/",
          OF + r"process \d+ did not end within shutdown-timeout=2; "]
RETIRED = [PROCESS + "still executes .* when graceful-timeout=2 s is over", PROCESS + r"is gone \(graceful-timeout\)",
           OF + r"process \d+ did not end within shutdown-timeout=2; ", LOST]
# Rust's library ends a process whose descriptors somebody else has closed, in a debug build; else the supervisor does.
DIED = [PROCESS + "was lost: killed by SIGABRT", PROCESS + "lives on without its control socket; it gets SIGKILL",
        RESPONSE + "closed the connection while it executed the request GET /hostile/",  "fatal runtime error: IO Safety violation", LOST,
        r"request thread \d+ ends: epoll_wait: Bad file descriptor"]
UNFIT = [OF + "the file of a response (is no regular file, or is shorter|became shorter)"]
STOPPED = [PROCESS + "has not stopped when shutdown-timeout=2 s is over", LOST, *SILENT, *RETIRED]
# A frame may be a log line.
LOGGED = [r"\[script \S+/hostile.wsgi\] "]

EXPECTED = {
    "noise": KILLED, "flood": KILLED, "ready": SILENT, "retire": RETIRED, "metrics": [], "loaded": SILENT, "scripts": KILLED,
    "passes": KILLED + GARBLED, "stream": GARBLED, "garbage": KILLED + GARBLED, "closes": DIED, "forks": [],
}
FRAMES = [f"frame/{tag},{flags},{length}" for tag in (*range(16, 25), 1, 2, 0, 255) for flags in (0, 255)
          for length in (16, 0xFFFF_FFFF)]


def memory_kb(pid):
    lines = processes.read_proc(pid, "smaps_rollup").decode().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty:"))


@pytest.fixture
def server(httpd):
    """A group that may do anything, as a user of its own where that is possible; and another one under load."""
    user = "user=nobody home=/ " if IS_ROOT else ""
    (httpd.root / "tmp/hostile").mkdir(mode=0o1777)
    (httpd.root / "tmp/hostile").chmod(0o1777)
    expect(httpd, ALWAYS)
    httpd.start(f"""
WSGIDaemonProcess hostile {user}processes=1 threads=3 shutdown-timeout=2 graceful-timeout=2 socket-timeout=10 server-metrics=On
WSGIDaemonProcess good processes=1 threads=4
WSGIScriptAlias /hostile {httpd.app("hostile")} process-group=hostile application-group=%{{GLOBAL}}
WSGIScriptAlias /hello {httpd.app("hello")} process-group=good application-group=%{{GLOBAL}}
<Location /hostile/flips>
SetOutputFilter DEFLATE
</Location>
""", modules=["deflate", "filter"])
    assert timed(httpd, "/hostile/nothing").result == 200
    yield httpd
    for mark in (httpd.root / "tmp/hostile").iterdir():
        mark.unlink()
    (httpd.root / "tmp/hostile").rmdir()


def expect(httpd, patterns):
    for pattern in patterns:
        httpd.log.allow(pattern)


def attack(httpd, how):
    """Has the process do it; returns its id. What becomes of the request does not matter."""
    mark = httpd.root / "tmp/hostile/mark"
    with Background(httpd, f"/hostile/{how}?{quote(str(mark))}") as request:
        wait_until(lambda: request.futures[0].done() or mark.exists() and mark.read_text(), 30, "it has begun")
        pid = int(mark.read_text() or 0) if mark.exists() else 0
    mark.unlink(missing_ok=True)
    return pid


def heals(httpd):
    wait_until(lambda: timed(httpd, "/hostile/nothing").result == 200, 30, "the hostile group serves again")


class Unharmed:
    """Around attacks: children, supervisor and the other group's process are the same and of the same size after it;
    every request to the other group gets its answer."""

    def __init__(self, httpd):
        self.httpd = httpd
        self.load = Load(httpd, "/hello", clients=2)

    def look(self):
        good = [p for p in self.httpd.processes() if "(wsgi:good)" in p.cmdline]
        others = [self.httpd.supervisor(), *self.httpd.children()]
        return {p.pid for p in good}, {p.pid: len(processes.descriptors(p.pid)) for p in others}

    def __enter__(self):
        self.load.__enter__()
        self.load.more(50)
        self.supervisor = self.httpd.supervisor().pid
        self.good, self.others = self.look()
        self.memory = memory_kb(self.supervisor)
        return self

    def __exit__(self, *error):
        try:
            if not error[0]:
                self.load.more(50)
        finally:
            self.load.__exit__()
        if error[0]:
            return
        assert set(self.load.results()) == {200}, self.load.results()
        assert {outcome.body for outcome in self.load.outcomes} == {b"Hello, world!\n"}
        good, others = self.look()
        assert self.good == good
        assert self.others.keys() == others.keys()
        assert not self.httpd.log.matching("panicked|AH00051|AH00052|exit signal")
        wait_until(lambda: len(processes.descriptors(self.supervisor)) <= self.others[self.supervisor] + 4, 20,
                   "the supervisor's descriptors")
        assert memory_kb(self.supervisor) <= self.memory + 1024


@pytest.mark.parametrize("how", EXPECTED)
def test_it_harms_nobody_else(server, how):
    expect(server, EXPECTED[how])
    with Unharmed(server):
        for _ in range(3):
            pid = attack(server, how)
            if how == "garbage":
                # What it has written to its own log, and what it says of signals that nobody has sent.
                expect(server, [rf"\[wsgi:\w+\] \[pid {pid}:tid {pid}\] "])
        heals(server)


def test_frames_of_all_kinds(server):
    expect(server, GARBLED + LOGGED)
    with Unharmed(server):
        for how in FRAMES:
            attack(server, how)
        heals(server)


@pytest.mark.parametrize("how", ["closes", "noise"])
def test_one_that_does_not_keep_to_the_protocol_is_replaced(server, how):
    expect(server, EXPECTED[how])
    pid = attack(server, how)
    wait_until(lambda: not processes.process(pid), 20, "it is gone")
    heals(server)
    assert server.log.matching(f'process group "hostile": process {pid} .*(SIGKILL|lost)')


def test_one_that_stops_itself(server):
    """Its own requests wait; nobody else does; a stop and a graceful are not held up."""
    expect(server, STOPPED)
    with Unharmed(server):
        pid = stop_itself(server)
        assert processes.process(pid).state == "T"
    server.graceful()
    wait_until(lambda: not processes.process(pid), 20, "graceful-timeout and shutdown-timeout end it")
    heals(server)


# -- descriptors and memory that it sends ----------------------------------------------------------

SECRET = "only root and httpd may read this"
KINDS = ["opath", "writeonly", "directory", "pipe", "fifo", "zero", "socket", "short", "memory"]
RANGES = [{}, {"Range": "bytes=0-9"}]


def send(httpd, how, **more):
    folder = httpd.root / "tmp/hostile"
    try:
        return timed(httpd, f"/hostile/{how}?{quote(str(folder / 'mark'))}", **more)
    finally:
        for name in ("mark", "fifo"):
            (folder / name).unlink(missing_ok=True)


@pytest.fixture
def files(server):
    folder = server.root / "tmp/hostile"
    (folder / "file").write_text("short")
    (folder / "file").chmod(0o666)
    (folder / "secret").write_text(SECRET)
    (folder / "secret").chmod(0o640)
    server.own(folder / "secret")
    return server


@pytest.mark.parametrize("sendfile", ["Off", "On"])
def test_a_file_is_read_with_the_rights_of_who_sent_it(files, sendfile):
    """A descriptor by which the daemon process cannot read, or that is no file, or one that is cut: the response is cut short
    at once. httpd's child waits for nothing and lives."""
    files.conf_file.write_text(files.conf_file.read_text() + f"\nEnableSendfile {sendfile}\nWSGIEnableSendfile {sendfile}\n")
    daemons = lambda: {p.pid for p in files.processes() if "(wsgi:" in p.cmdline}
    old = wait_until(lambda: (lambda found: found if len(found) == 2 else None)(daemons()), 20, "two processes")
    files.graceful()
    wait_until(lambda: len(daemons()) == 2 and not daemons() & old, 20, "two others have taken their place")
    expect(files, UNFIT)
    with Unharmed(files):
        for kind in KINDS:
            for headers in RANGES:
                outcome = send(files, f"sends/{kind}", headers=headers)
                assert outcome.seconds < 10, (kind, headers)
                assert SECRET[:4].encode() not in outcome.body, (kind, headers)
                assert outcome.result != 200 or kind == "memory", (kind, headers, outcome)
        heals(files)


def test_no_filter_sees_memory_that_the_process_still_changes(server):
    """mod_deflate reads what it compresses twice: for the checksum, and to compress it."""
    with Unharmed(server):
        for _ in range(5):
            outcome = send(server, "flips", headers={"Accept-Encoding": "gzip"})
            assert outcome.result == 200
            assert len(zlib.decompress(outcome.body, wbits=31)) == 1 << 20
        heals(server)


def stop_itself(httpd):
    mark = httpd.root / "tmp/hostile/stop"
    request = Background(httpd, f"/hostile/stops?{quote(str(mark))}")
    request.pool.shutdown(wait=False)
    pid = int(wait_until(lambda: mark.exists() and mark.read_text(), 20, "it has begun"))
    wait_until(lambda: processes.process(pid).state == "T", 10, "it is stopped")
    return pid
