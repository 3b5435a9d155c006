"""Tells the buffer sizes (send, receive) of each connection that its process has."""
import json
import os
import socket


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps([sizes(int(number)) for number in os.listdir("/proc/self/fd") if is_connection(number)]).encode()]


def is_connection(number):
    try:
        if not os.readlink(f"/proc/self/fd/{number}").startswith("socket:"):
            return False
        with socket.socket(fileno=os.dup(int(number))) as one:
            return (one.family, one.type) == (socket.AF_UNIX, socket.SOCK_STREAM)
    except OSError:
        return False


def sizes(number):
    with socket.socket(fileno=os.dup(number)) as one:
        return [one.getsockopt(socket.SOL_SOCKET, option) for option in (socket.SO_SNDBUF, socket.SO_RCVBUF)]
