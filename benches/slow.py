#!/usr/bin/env python3
"""Slow clients beside quick ones: one daemon process with 5 threads, 40 clients that upload 100 KB at 10 KB/s or
download 5 MB at 200 KB/s, and two ordinary clients. Prints the ordinary requests' rate and latency undisturbed, beside
uploads and beside downloads.

    benches/slow.py [--module PATH] [--seconds 8] [--clients 40] [--kinds upload,download] [--mpm event]
"""

import argparse
import http.client
import socket
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from httpd import MPM_LIMITS, Httpd  # noqa: E402

APP = '''
def application(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/download':
        start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', str(5 << 20))])
        return (b'x' * 65536 for _ in range(80))
    if path == '/upload':
        body = str(len(environ['wsgi.input'].read())).encode()
    else:
        body = b'Hello World!'
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', str(len(body)))])
    return [body]
'''
TICK = 0.05


class Slow(threading.Thread):
    """One slow client, again and again until `done`."""

    def __init__(self, port, kind, done):
        super().__init__(daemon=True)
        self.port, self.kind, self.done_event = port, kind, done
        self.finished = self.failed = 0

    def run(self):
        while not self.done_event.is_set():
            try:
                getattr(self, self.kind)()
                self.finished += 1
            except (OSError, EOFError):
                self.failed += not self.done_event.is_set()

    def connect(self):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
        sock.settimeout(60)
        sock.connect(("127.0.0.1", self.port))
        return sock

    def upload(self, size=100_000, rate=10_000):
        with self.connect() as sock:
            sock.sendall(b"POST /upload HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % size)
            sent = 0
            while sent < size and not self.done_event.wait(TICK):
                part = min(int(rate * TICK), size - sent)
                sock.sendall(b"b" * part)
                sent += part
            if sent == size and b"100000" not in sock.recv(65536):
                raise EOFError

    def download(self, rate=200_000):
        with self.connect() as sock:
            sock.sendall(b"GET /download HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            got = 0
            while not self.done_event.wait(TICK):
                want = int(rate * TICK)
                while want > 0:
                    part = len(sock.recv(want))
                    got, want = got + part, want - part
                    if part == 0:
                        if got < 5 << 20:
                            raise EOFError
                        return


def ordinary(port, seconds, clients=2):
    """Latencies in ms of requests on kept connections, and how many a second."""
    latencies, end = [], time.monotonic() + seconds

    def run():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while time.monotonic() < end:
            begun = time.monotonic()
            connection.request("GET", "/")
            answer = connection.getresponse()
            assert answer.status == 200 and answer.read() == b"Hello World!"
            latencies.append((time.monotonic() - begun) * 1000)
            time.sleep(0.002)

    threads = [threading.Thread(target=run) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    latencies.sort()
    return len(latencies) / seconds, latencies[len(latencies) // 2], latencies[int(len(latencies) * 0.99)], latencies[-1]


def report(name, figures, note=""):
    print("%-12s %6.0f req/s  p50 %6.2f ms  p99 %7.2f ms  slowest %8.2f ms  %s" % (name, *figures, note), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--module", default=str(ROOT / "target/release/libmod_wsgi.so"))
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--clients", type=int, default=40)
    parser.add_argument("--kinds", default="upload,download")
    parser.add_argument("--mpm", default="event")
    args = parser.parse_args()
    MPM_LIMITS["event"] = MPM_LIMITS["worker"] = "StartServers 2\nServerLimit 2\nThreadsPerChild 50\nMaxRequestWorkers 100"
    MPM_LIMITS["prefork"] = "StartServers 60\nServerLimit 100\nMaxRequestWorkers 100"
    httpd = Httpd(args.module, args.mpm, log_level="warn")
    script = httpd.write("apps/slow.wsgi", APP)
    group = "WSGIDaemonProcess app processes=1 threads=5\nWSGIScriptAlias / %s process-group=app application-group=%%{GLOBAL}"
    try:
        httpd.configure(group % script)
        assert httpd.control("-k", "start") == 0, httpd.control_output
        while not httpd.accepts():
            time.sleep(0.05)
        ordinary(httpd.port, 1)
        alone = ordinary(httpd.port, args.seconds)
        report("undisturbed", alone)
        for kind in args.kinds.split(","):
            done = threading.Event()
            slow = [Slow(httpd.port, kind, done) for _ in range(args.clients)]
            for client in slow:
                client.start()
            time.sleep(1)
            figures = ordinary(httpd.port, args.seconds)
            done.set()
            for client in slow:
                client.join()
            counts = sum(client.finished for client in slow), sum(client.failed for client in slow)
            report(kind, figures, "%.0f %% of the rate; slow clients finished %d, failed %d"
                   % (100 * figures[0] / alone[0], *counts))
        print(*httpd.log.lines()[-5:], sep="\n")
    finally:
        problems = httpd.close()
        httpd.remove()
    print(*problems, sep="\n")


if __name__ == "__main__":
    main()
