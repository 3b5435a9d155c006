#!/usr/bin/env python3
"""Two application groups of one process, with one GIL and with one each: requests per second, and their ratio.

    benches/own_gil.py --python /path/to/python3.13 [--module PATH] [--seconds 1] [--rounds 5] [--ms 1] [--least 1.6]

Each request computes for --ms of processor time. Two groups at a time get as many requests as they answer, over two connections
each; in each round first a pair that shares a GIL, then one that does not, so that other load meets both. Ends with status 1
where the ratio is below --least. Needs wrk, and two processors.
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

# Counts as far as the machine does in the time, once; then each request does as much.
SCRIPT = """
import time

def work(count):
    total = 0
    for number in range(count):
        total += number * number
    return total

def rate():
    begin = time.thread_time()
    work(1000000)
    return 1000000 / (time.thread_time() - begin)

COUNT = int(max(rate() for _ in range(3)) * %r)

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(work(COUNT)).encode()]
"""


def load(port, paths, seconds):
    """Two connections to each path; requests per second, of all together."""
    command = ["wrk", "-t1", "-c2", f"-d{seconds}s"]
    clients = [subprocess.Popen([*command, f"http://127.0.0.1:{port}{path}"], stdout=subprocess.PIPE, text=True)
               for path in paths]
    told = [client.communicate()[0] for client in clients]
    assert not any("Non-2xx" in text for text in told), told
    return sum(float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]) for text in told)


def measure(arguments):
    """Requests per second: of the pair that shares a GIL, and of the other one."""
    httpd = Httpd(arguments.module, log_level="warn")
    try:
        script = httpd.write("bench.wsgi", SCRIPT % (arguments.ms / 1000))
        own = "".join(f"<WSGIInterpreterOptions application-group={name}>\nWSGIPerInterpreterGIL On\n</WSGIInterpreterOptions>\n"
                      for name in ("three", "four"))
        aliases = "".join(f"WSGIScriptAlias /{name} {script} application-group={name}\n"
                          for name in ("one", "two", "three", "four"))
        httpd.start(f"{own}WSGIDaemonProcess app threads=4 python={arguments.python}\nWSGIProcessGroup app\n{aliases}")
        pairs = ("/one", "/two"), ("/three", "/four")
        for paths in pairs:
            load(httpd.port, paths, 1)
        rates = [[load(httpd.port, paths, arguments.seconds) for paths in pairs] for _ in range(arguments.rounds)]
        return [sum(column) / arguments.rounds for column in zip(*rates)]
    finally:
        httpd.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True)
    parser.add_argument("--module", default=str(ROOT / "target/release/libmod_wsgi.so"))
    parser.add_argument("--seconds", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ms", type=float, default=1)
    parser.add_argument("--least", type=float, default=1.6)
    arguments = parser.parse_args()
    processes.become_subreaper()
    shared, own = measure(arguments)
    print(f"one GIL: {shared:.0f} requests/s; a GIL each: {own:.0f} requests/s; {own / max(shared, 1):.2f} times")
    return own / max(shared, 1) < arguments.least


if __name__ == "__main__":
    sys.exit(main())
