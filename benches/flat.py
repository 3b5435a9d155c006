#!/usr/bin/env python3
"""Memory and descriptors over many requests: prints both before and after, for each mode.

    benches/flat.py [--module PATH] [--requests 200000] [--path /hello] [--mpm event]

Needs wrk. The figures are of the whole tree: httpd, supervisor and daemon processes (PSS). Flat is within 3 MB after
the warm-up, with no descriptor more.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import processes  # noqa: E402
from httpd import Httpd  # noqa: E402

MODES = {
    "daemon": "WSGIDaemonProcess app processes=2 threads=5\nWSGIScriptAlias /hello {0} process-group=app",
    "embedded": "WSGIScriptAlias /hello {0}",
}


def pss_kb(pid):
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return int(re.search(r"^Pss:\s+(\d+)", text, re.M)[1])


def established(port):
    """Whether the server has a connection of a client."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    local = ["%04X" % port == line.split()[1].partition(":")[2] for line in lines]
    closed = [line.split()[3] in ("06", "07", "0A") for line in lines]
    return any(mine and not over for mine, over in zip(local, closed))


def descriptors(pids):
    return sum(len(processes.descriptors(pid)) for pid in pids)


def measure(httpd):
    pids = [process.pid for process in httpd.processes()]
    # The clients' connections are closed up to two seconds after the clients have gone (lingering close).
    processes.wait_until(lambda: not established(httpd.port), 10, "connections to close")
    return sum(map(pss_kb, pids)), descriptors(pids), len(pids)


def load(httpd, path, wanted):
    done = 0
    while done < wanted:
        url = f"http://127.0.0.1:{httpd.port}{path}"
        told = subprocess.run(["wrk", "-t1", "-c16", "-d3s", url], capture_output=True, text=True, check=True).stdout
        bad = re.search(r"Non-2xx or 3xx responses: (\d+)", told)
        if bad:
            sys.exit(f"{bad[1]} requests failed")
        done += int(re.search(r"(\d+) requests in", told)[1])
    return done


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--module", default=str(ROOT / "target/release/libmod_wsgi.so"))
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--mpm", default="event")
    args = parser.parse_args()
    processes.become_subreaper()
    flat = True
    for mode, directives in MODES.items():
        httpd = Httpd(args.module, args.mpm, "warn")
        httpd.start(directives.format(httpd.app("hello")) + "\nMaxKeepAliveRequests 0")
        load(httpd, "/hello", args.requests // 10)
        before = measure(httpd)
        done = load(httpd, "/hello", args.requests)
        after = measure(httpd)
        httpd.close()
        flat &= after[0] - before[0] <= 3072 and after[1] <= before[1]
        print(f"{mode}: {done} requests, PSS {before[0]} -> {after[0]} kB, descriptors {before[1]} -> {after[1]}, "
              f"processes {before[2]} -> {after[2]}")
    sys.exit(not flat)


if __name__ == "__main__":
    main()
