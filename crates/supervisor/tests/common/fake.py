#!/usr/bin/python3 -SE
"""Stands in for Python with the engine: speaks the control protocol as the file $FAKE says."""
import json
import os
import select
import signal
import socket
import sys
import threading
import time

control = socket.socket(fileno=3)
config = json.loads(control.recv(1 << 20))
with open(os.environ["FAKE"]) as file:
    mode = file.read().strip()
if mode == "exit":
    print("ModuleNotFoundError: No module named 'nothing'", file=sys.stderr)
    sys.exit(1)
if mode == "refuse":
    print("this Python is not wanted\nsecond line", file=sys.stderr)
    sys.exit(65)
if mode == "show":
    fds = sorted(int(name) for name in os.listdir("/proc/self/fd"))
    print("fds", fds[:5], len(fds), "cwd", os.getcwd(), "session", os.getsid(0) == os.getpid())
    print("argv", sys.argv[1:4], "uid", os.getuid(), "env", sorted(set(os.environ) - {"LC_CTYPE"}))
    print("default action", signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL, "engine", os.read(4, 6), flush=True)
if mode == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if mode == "hang":
    signal.signal(signal.SIGRTMAX - 3, lambda *_: print("here it hangs", file=sys.stderr, flush=True))
    while True:
        time.sleep(60)
if mode == "large":
    memory = b"x" * (64 << 20)
if mode.startswith("fail"):
    print(f"Traceback (most recent call last):\nSyntaxError: {mode}", file=sys.stderr)
control.send(bytes([3 if mode.startswith("fail") else 1, 0]))
if mode == "mute":
    control.close()
    os.close(3) if os.path.exists("/proc/self/fd/3") else None
    time.sleep(60)
if mode == "noise":
    control.send(b"123456789")
if mode == "flood":
    def flood(what):
        while True:
            try:
                what()
            except OSError:
                time.sleep(0.001)
    control.setblocking(False)
    threading.Thread(target=flood, args=[lambda: control.send(bytes([4, 0]))], daemon=True).start()
    threading.Thread(target=flood, args=[lambda: os.write(2, b"line\n" * 1000)], daemon=True).start()
    control.setblocking(True)
watching = mode.startswith("fail")
while True:
    while watching and not select.select([control], [], [], 0.02)[0]:
        with open(os.environ["FAKE"]) as file:
            now = file.read().strip()
        if now and now != mode:
            control.send(bytes([4, 0]))
            watching = False
    data, fds, _, _ = socket.recv_fds(control, 16, 4)
    if not data:
        # The supervisor is gone: go on until told by a signal.
        try:
            os.write(1, b"nobody is there\n")
        except BrokenPipeError:
            pass
        time.sleep(60)
    if mode == "deaf":
        time.sleep(60)
    if data[:1] == b"\2":
        sys.exit(0)
    if data[:1] == b"\1":
        os.write(fds[0], b"%d" % os.getpid())
        os.close(fds[0])
    if mode.startswith("retire"):
        control.send(bytes([2, int(mode[6:] or 2)]))
