"""HTTP clients for tests: one request per connection, and a raw socket that shows every byte."""

import http.client
import json
import socket
from dataclasses import dataclass, field


@dataclass
class Response:
    status: int
    reason: str
    headers: list = field(repr=False)
    body: bytes
    complete: bool = True

    def header(self, name):
        """The value of a header (the first one), or None."""
        return next((v for n, v in self.headers if n.lower() == name.lower()), None)

    def all(self, name):
        return [v for n, v in self.headers if n.lower() == name.lower()]

    @property
    def text(self):
        return self.body.decode()

    def json(self):
        return json.loads(self.body)


class Client:
    """Talks to one port of 127.0.0.1."""

    def __init__(self, port, timeout=30):
        self.port = port
        self.timeout = timeout

    def connection(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.timeout)

    def request(self, method, path, body=None, headers=None, host=None, chunked=False):
        headers = dict(headers or {})
        if host:
            headers["Host"] = host
        connection = self.connection()
        try:
            connection.request(method, path, body, headers, encode_chunked=chunked)
            return read_response(connection.getresponse())
        finally:
            connection.close()

    def get(self, path="/", **more):
        return self.request("GET", path, **more)

    def head(self, path="/", **more):
        return self.request("HEAD", path, **more)

    def post(self, path, body=b"", **more):
        return self.request("POST", path, body, **more)

    def json(self, path="/", **more):
        response = self.get(path, **more)
        assert response.status == 200, (response, response.body[:500])
        return response.json()

    def connect(self, timeout=None):
        return socket.create_connection(("127.0.0.1", self.port), timeout or self.timeout)

    def raw(self, data, timeout=None):
        """Sends bytes and returns all that comes until the server closes."""
        with self.connect(timeout) as sock:
            sock.sendall(data)
            return read_to_end(sock)

    def raw_get(self, path, version="1.1"):
        """A GET on a raw socket; returns (head, body) as on the wire, chunk frames and all."""
        request = f"GET {path} HTTP/{version}\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        head, _, body = self.raw(request.encode()).partition(b"\r\n\r\n")
        return head.decode("latin-1"), body


def read_response(answer):
    try:
        body, complete = answer.read(), True
    except http.client.IncompleteRead as error:
        body, complete = error.partial, False
    except ConnectionResetError:
        body, complete = b"", False
    return Response(answer.status, answer.reason, answer.getheaders(), body, complete)


def stalled(client, path):
    """A client that has asked for something large and takes nothing of it."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(30)
    sock.connect(("127.0.0.1", client.port))
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    return sock


def read_to_end(sock):
    parts = []
    while True:
        try:
            part = sock.recv(65536)
        except ConnectionResetError:
            break
        if not part:
            break
        parts.append(part)
    return b"".join(parts)


def ended_cleanly(head, body):
    """Whether a raw HTTP/1.1 answer looks complete to a client."""
    lines = dict(
        line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line
    )
    if lines.get("transfer-encoding") == "chunked":
        return body.endswith(b"0\r\n\r\n")
    if "content-length" in lines:
        return len(body) == int(lines["content-length"])
    return True
