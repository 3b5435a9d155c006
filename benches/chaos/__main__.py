"""A random schedule of faults under load, on a real httpd: what failed, why, and what is left.

    python benches/chaos [--module PATH] [--seconds 600] [--seed N] [--mpm event] [--keep]

Exits with 1 when a request failed that was not executed in a killed process, or was answered with the wrong bytes, when
memory or descriptors of httpd's parent and supervisor grew, or when something was left behind. The seed is printed: it
gives the same schedule again, though not the same interleaving.
"""

import argparse
import collections
import re
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE), str(ROOT / "tests")]

import processes  # noqa: E402
from clients import Client, Results  # noqa: E402
from faults import Faults  # noqa: E402
from httpd import Httpd  # noqa: E402

GROUPS = """
ServerLimit 16
StartServers 3
MaxRequestWorkers 200
WSGIChunkedRequest On
WSGIDaemonProcess one processes=2 threads=8 shutdown-timeout=3
WSGIDaemonProcess two processes=2 threads=4 shutdown-timeout=3
WSGIDaemonProcess touched processes=2 threads=4 shutdown-timeout=3
WSGIDaemonProcess edited processes=2 threads=4 shutdown-timeout=3
WSGIDaemonProcess rolled processes=2 threads=4 shutdown-timeout=3 reload=rolling maximum-requests=500
WSGIDaemonProcess small threads=1 listen-backlog=3 shutdown-timeout=3
WSGIDaemonProcess hostile user=nobody home=/ threads=3 shutdown-timeout=3 graceful-timeout=3
"""
KINDS = ["short", "short", "stream", "upload", "file", "big"]
# Growth that is none: pages that a busy process has touched once.
GROWTH_KB = 3072


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--module", default=str(ROOT / "target/release/libmod_wsgi.so"))
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 1_000_000)
    parser.add_argument("--mpm", default="event")
    parser.add_argument("--faults", default="", help="only these, comma-separated")
    parser.add_argument("--keep", action="store_true", help="leave the ServerRoot for a look")
    return parser.parse_args()


def start(args):
    """A server with its groups; also what the application notes, and the file that it serves."""
    httpd = Httpd(args.module, args.mpm)
    begun, served = httpd.write("tmp/begun", ""), httpd.write("htdocs/served", "file of the chaos\n" * 50_000)
    begun.chmod(0o666)
    app = (HERE / "app.wsgi").read_text()
    env = f"env=CHAOS_BEGUN={begun} env=CHAOS_FILE={served}"
    lines = [line + f" {env}" if line.startswith("WSGIDaemonProcess") else line for line in GROUPS.splitlines()]
    for group in ("one", "two", "touched", "edited", "rolled", "small"):
        script = httpd.write(f"apps/{group}.wsgi", app)
        lines.append(f"WSGIScriptAlias /{group} {script} process-group={group}")
    hostile = (ROOT / "tests/apps/hostile.wsgi").read_text()
    script = httpd.write("apps/hostile.wsgi", hostile)
    lines.append(f"WSGIScriptAlias /hostile {script} process-group=hostile")
    if args.mpm == "prefork":
        lines = [line for line in lines if not line.startswith(("ServerLimit", "StartServers", "MaxRequestWorkers"))]
    httpd.start("\n".join(lines))
    return httpd, Faults(httpd, args.seed, app, begun), served.read_bytes()


def taken(httpd):
    """Kilobytes of their own and descriptors, of parent and supervisor."""
    found = {}
    for name, pid in (("parent", httpd.pid), ("supervisor", httpd.supervisor().pid)):
        lines = processes.read_proc(pid, "smaps_rollup").decode().splitlines()
        memory = sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty:"))
        found[name] = (memory, len(processes.descriptors(pid)))
    return found


def quiet(httpd):
    """Waits until the processes are what the configuration says."""
    wanted = {"one": 2, "two": 2, "touched": 2, "edited": 2, "rolled": 2, "small": 1, "hostile": 1}

    def counted():
        lines = (p.cmdline for p in httpd.processes())
        return collections.Counter(found[1] for found in (re.search(r"\(wsgi:(\w+)\)", line) for line in lines) if found)

    try:
        processes.wait_until(lambda: counted() == wanted and httpd.supervisor(), 60)
        return None
    except TimeoutError:
        return f"processes after a minute of rest: {dict(counted())}, not {wanted}"


def run(args, httpd, faults, served, results):
    done = threading.Event()
    pairs = [(group, kind) for group in ("one", "two", "touched", "edited", "rolled") for kind in KINDS]
    clients = [Client(number, httpd.port, group, kind, args.seed, results, done, served)
               for number, (group, kind) in enumerate(pairs)]
    for client in clients:
        client.start()
    end = time.monotonic() + args.seconds
    time.sleep(2)
    while time.monotonic() < end:
        faults.one()
        time.sleep(faults.random.uniform(0.1, 1.5))
    time.sleep(2)
    done.set()
    for thread in [*clients, *faults.aside]:
        thread.join(70)
    return [f"no answer within a minute: {client.pending}" for client in clients if client.is_alive()]


def judge(faults, results):
    """Failures by cause, and the defects among them."""
    begun = faults.processes_of()
    causes, defects = collections.Counter(), []
    for trouble in results.troubles:
        pids = begun.get(trouble.name, [])
        cause = faults.excuse(trouble, pids)
        if cause:
            causes[cause] += 1
            continue
        causes["DEFECT"] += 1
        defects.append(f"{trouble.what}: {trouble.kind} {trouble.name}, begun in {pids or 'no process'}, "
                       f"{trouble.ended - trouble.begun:.2f} s, after {faults.before(trouble.ended, 4)}")
    for trouble in results.repeated:
        pids = begun.get(trouble.name, [])
        if pids and not faults.excuse(trouble, pids):
            defects.append(f"executed in {pids}, but the kept connection was closed: {trouble.kind} {trouble.name}")
    for name, pids in begun.items():
        if len(pids) > 1:
            defects.append(f"executed {len(pids)} times, in {pids}: {name}")
    return causes, defects


def main():
    args = parse()
    processes.become_subreaper()
    if args.faults:
        Faults.KINDS = args.faults.split(",")
    print(f"seed {args.seed}, {args.seconds:.0f} s, {args.mpm}", flush=True)
    httpd, faults, served = start(args)
    results = Results()
    problem = quiet(httpd)
    for _ in range(5):
        httpd.graceful()
    problem = problem or quiet(httpd)
    before = taken(httpd)
    defects = run(args, httpd, faults, served, results)
    defects += filter(None, [problem, quiet(httpd)])
    after = taken(httpd)
    for name, (memory, files) in before.items():
        print(f"{name}: {memory} -> {after[name][0]} kB, {files} -> {after[name][1]} descriptors")
        if after[name][0] > memory + GROWTH_KB or after[name][1] > files + 4:
            defects.append(f"{name} has grown")
    defects += [line for line in httpd.log.lines() if "panicked" in line]
    causes, found = judge(faults, results)
    defects += found
    (httpd.root / "tmp/begun").unlink()
    defects += httpd.close()
    report(faults, results, causes, defects)
    if args.keep:
        print(httpd.root)
    else:
        httpd.remove()
    sys.exit(bool(defects))


def report(faults, results, causes, defects):
    total = sum(results.count.values()) + len(results.troubles)
    made = collections.Counter(kind for _, kind in faults.log)
    print("faults: " + ", ".join(f"{count} {kind}" for kind, count in sorted(made.items())))
    print(f"{total} requests, {sum(causes.values())} failed; {len(results.repeated)} were sent again on another connection")
    for cause, count in causes.most_common():
        print(f"  {count} {cause}")
    for kind, (seconds, begun, group) in sorted(results.slowest.items()):
        print(f"slowest {kind}: {seconds:.2f} s ({group}, after {faults.before(begun + seconds)})")
    print(f"{len(defects)} defects")
    for defect in defects[:40]:
        print(f"  {defect}")


if __name__ == "__main__":
    main()
