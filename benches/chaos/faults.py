"""The faults of `make chaos`, and what each of them may cost.

Only a request that was being executed in a process that was killed may fail, or one whose connection was in a child that
was killed; with a script that does not load, its requests while that is so. [`Faults.excuse`] decides that from what
was noted at the time: ids with the processes that began them (by the application), killed processes, ports of killed children's
connections. Where the error log says that a killed process had begun a request, which its application did not get any more, that
counts as well.
"""

import http.client
import os
import random
import re
import signal
import threading
import time
from datetime import datetime

import processes

# Of the supervisor's lines: a crash loop, which waits before the next start, and for how long.
BACK_OFF = re.compile(r'^\[\w+ (\w+ \d+ [\d:.]+ \d+)\] .*process group "(\w+)".* next (?:start|try) (?:is )?in ([\d.]+) s')
# Of a child's: a request that a process had begun.
LOST = re.compile(r"process (\d+) was lost while it executed the request \w+ /\S+/([\w-]+): ")
BROKEN = "def application(:\n"
HOSTILE = ["noise", "ready", "retire", "loaded", "passes", "garbage", "closes", "frame/16,1,5000", "frame/17,0,4294967295",
           "frame/18,1,16", "frame/23,1,16", "frame/19,0,500"]
# In place of a child that has ended.
STOPPED = processes.Process(0, 0, "", "T")
# Seconds that a mended script may still cost, on a busy machine.
MENDING = 3.0


class Faults:
    """Makes faults, one at a time, and remembers them."""

    def __init__(self, httpd, seed, app, begun):
        self.httpd, self.app, self.begun = httpd, app, begun
        self.random = random.Random(seed)
        self.killed, self.suspects = set(), set()
        self.back_offs, self.lost = None, None
        self.ports = []
        self.broken = []
        self.log = []
        self.aside = []
        self.made = 0
        self.tick = 1_800_000_000

    # -- the faults --------------------------------------------------------------------------------

    KINDS = ["graceful", "touch", "break_script", "kill", "segv", "pause", "exit", "abort", "kill_supervisor", "kill_all",
             "stop_supervisor", "kill_child", "fill", "hostile", "overflow"]

    def one(self):
        kind = self.random.choice(self.KINDS)
        self.log.append((time.monotonic(), kind))
        getattr(self, kind)()

    def daemons(self):
        return [p.pid for p in self.httpd.processes() if "(wsgi:" in p.cmdline]

    def graceful(self):
        self.httpd.control("-k", "graceful")

    def touch(self):
        self.tick += 10
        script = self.random.choice(["touched", "rolled"])
        os.utime(self.httpd.root / f"apps/{script}.wsgi", (self.tick, self.tick))

    def write(self, name, text):
        script, fresh = self.httpd.root / f"apps/{name}.wsgi", self.httpd.root / f"apps/{name}.new"
        fresh.write_text(text)
        fresh.chmod(0o644)
        self.tick += 10
        os.utime(fresh, (self.tick, self.tick))
        fresh.rename(script)

    def break_script(self):
        """With `reload=rolling` that costs nothing, if there is old code to go on with: it begins when the group serves."""
        name = self.random.choice(["edited", "rolled"])
        processes.wait_until(lambda: self.request(name, "short") == 200, 60)
        begun = time.monotonic()
        self.write(name, BROKEN)
        time.sleep(self.random.uniform(0.2, 3))
        self.write(name, self.app)
        if name == "edited":
            self.broken.append((begun, time.monotonic() + MENDING, name))

    def send(self, pid, number):
        """A signal that ends a process; it is noted first, so that nothing fails before."""
        self.killed.add(pid)
        processes.kill([pid], number)

    def kill(self, number=signal.SIGKILL):
        daemons = self.daemons()
        if daemons:
            self.send(self.random.choice(daemons), number)

    def segv(self):
        self.kill(signal.SIGSEGV)

    def pause(self):
        daemons = self.daemons()
        if daemons:
            pid = self.random.choice(daemons)
            processes.kill([pid], signal.SIGSTOP)
            time.sleep(self.random.uniform(0.1, 2))
            processes.kill([pid], signal.SIGCONT)

    def exit(self, how="exit"):
        self.request(self.random.choice(["one", "two"]), how, "fatal")

    def abort(self):
        self.exit("abort")

    def request(self, group, path, name="fault"):
        """One request that does not come back, or whose answer does not matter; its status, if there is one."""
        self.made += 1
        connection = http.client.HTTPConnection("127.0.0.1", self.httpd.port, timeout=20)
        try:
            connection.request("GET", f"/{group}/{path}", headers={"X-Id": f"{name}-{self.made}"})
            response = connection.getresponse()
            response.read()
            return response.status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def kill_supervisor(self):
        supervisor = self.httpd.supervisor()
        if supervisor:
            processes.kill([supervisor.pid])

    def kill_all(self):
        """Everything but httpd itself."""
        for pid in self.daemons():
            self.send(pid, signal.SIGKILL)
        self.kill_supervisor()

    def stop_supervisor(self):
        supervisor = self.httpd.supervisor()
        if supervisor:
            processes.kill([supervisor.pid], signal.SIGSTOP)
            time.sleep(self.random.uniform(0.1, 3))
            processes.kill([supervisor.pid], signal.SIGCONT)

    def kill_child(self):
        """It is stopped first, so that the connections that it has are known."""
        children = self.httpd.children()
        if len(children) < 2:
            return
        pid = self.random.choice(children).pid
        processes.kill([pid], signal.SIGSTOP)
        processes.wait_until(lambda: (processes.process(pid) or STOPPED).state in "Tt", 30)
        begun = time.monotonic()
        ports = client_ports(pid, self.httpd.port)
        processes.kill([pid])
        processes.wait_until(lambda: not processes.process(pid), 10)
        self.ports.append((begun - 0.5, time.monotonic() + 0.5, ports))

    def background(self, group, path):
        thread = threading.Thread(target=self.request, args=(group, path), daemon=True)
        thread.start()
        self.aside.append(thread)

    def fill(self):
        group = self.random.choice(["one", "two"])
        for _ in range(24):
            self.background(group, "sleep/0.5")

    def overflow(self):
        for _ in range(12):
            self.background("small", "sleep/0.2")

    def hostile(self):
        self.background("hostile", self.random.choice(HOSTILE))

    # -- what they excuse --------------------------------------------------------------------------

    def processes_of(self):
        """Of each request that was begun: the processes that began it. Those that ended themselves count as killed."""
        found = {}
        for line in self.begun.read_text().splitlines():
            name, pid = line.split()
            found.setdefault(name, []).append(int(pid))
            if name.startswith("fatal-"):
                self.suspects.add(int(pid))
        return found

    def excuse(self, trouble, pids):
        """Why the request may fail; nothing when it may not."""
        if trouble.what.startswith("WRONG"):
            return None
        cut_short = not trouble.what.startswith("status") or trouble.what == "status 502"
        if cut_short and any(pid in self.killed or pid in self.suspects for pid in pids):
            return "executed in a killed process"
        if trouble.what == "status 503" and not pids and self.overlaps(trouble, self.waits()):
            return "its group waited after a crash loop"
        if any(first <= trouble.ended <= last and trouble.port in ports for first, last, ports in self.ports):
            return "its connection was in a killed child"
        if trouble.what in ("status 500", "status 503") and self.overlaps(trouble, self.broken):
            return "its script did not load"
        if trouble.what == "status 502" and self.took_up(trouble.name) in self.killed | self.suspects:
            return "begun in a killed process, which had not called its application"
        return None

    def took_up(self, name):
        """The process in which the request was lost, by the error log; 0: none."""
        if self.lost is None:
            found = [match for match in map(LOST.search, self.httpd.log.lines()) if match]
            self.lost = {match[2]: int(match[1]) for match in found}
        return self.lost.get(name, 0)

    @staticmethod
    def overlaps(trouble, spans):
        return any(first <= trouble.ended and trouble.begun <= last and group == trouble.group for first, last, group in spans)

    def waits(self):
        """When the supervisor said that a group's next start has to wait, by its log."""
        if self.back_offs is None:
            found = [match for match in map(BACK_OFF.match, self.httpd.log.lines()) if match]
            offset = time.time() - time.monotonic()
            self.back_offs = []
            for match in found:
                said = datetime.strptime(match[1], "%b %d %H:%M:%S.%f %Y").timestamp() - offset
                self.back_offs.append((said - 0.1, said + float(match[3]) + 1, match[2]))
        return self.back_offs

    def before(self, moment, count=1):
        """The last faults before a moment, the latest first, with how long before it they were made."""
        found = [f"{kind} {moment - at:.1f} s" for at, kind in reversed(self.log) if at <= moment]
        return ", ".join(found[:count]) or "none"


def client_ports(pid, port):
    """The ports at the other ends of a process's connections of clients (proc(5), net/tcp)."""
    inodes = {target[8:-1] for target in processes.descriptors(pid).values() if target.startswith("socket:[")}
    ports = set()
    for line in processes.read_proc(pid, "net/tcp").decode().splitlines()[1:]:
        fields = line.split()
        local, remote = fields[1].split(":")[1], fields[2].split(":")[1]
        if int(local, 16) == port and fields[9] in inodes:
            ports.add(int(remote, 16))
    return ports
