"""Servers with TLS and HTTP/2, and curl over each of the protocols; what watch.wsgi tells."""

import json
import subprocess
import time
from urllib.parse import quote_plus

from conftest import aliases, mode_directives
from httpd import Ports
from made import curl
from processes import wait_until

PROTOCOLS = ("https", "h2", "h2c")
OPTIONS = {"https": ["--http1.1", "-k"], "h2": ["--http2", "-k"], "h2c": ["--http2-prior-knowledge"]}

SECURE = """
Protocols h2 h2c http/1.1
WSGIChunkedRequest On
Listen 127.0.0.1:{port}
<VirtualHost 127.0.0.1:{port}>
    ServerName secure.example
    SSLEngine on
    SSLCertificateFile "{root}/cert.pem"
    SSLCertificateKeyFile "{root}/key.pem"
</VirtualHost>
<Location /environ/std>
    SSLOptions +StdEnvVars +ExportCertData
</Location>
"""


def make_certificate(root):
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
               "/CN=secure.example", "-keyout", root / "key.pem", "-out", root / "cert.pem"]
    subprocess.run(command, check=True, capture_output=True)


def start_secure(server, mode, **options):
    """Starts the server with a second port that speaks TLS; every application at /NAME."""
    server.tls = Ports.free()
    make_certificate(server.root)
    (server.root / "marks").mkdir()
    (server.root / "marks").chmod(0o777)
    directives = SECURE.format(port=server.tls, root=server.root)
    group = mode_directives(mode, **options)
    return server.start(f"{group}{directives}\n{aliases(server)}", ["ssl", "http2"])


class Over:
    def __init__(self, server, protocol):
        self.server, self.protocol, self.log = server, protocol, server.log
        self.options = OPTIONS[protocol]
        self.is_tls = protocol != "h2c"
        self.base = f"https://127.0.0.1:{server.tls}" if self.is_tls else f"http://127.0.0.1:{server.port}"

    def run(self, path, *more):
        """curl's exit status and what came."""
        return curl(*self.options, *more, self.base + path)[:2]

    def get(self, path, *more):
        status, body = self.run(path, *more)
        assert status == 0, (status, body[:500])
        return body

    def begin(self, path, *more, **options):
        """Begins a request; the process must be killed."""
        command = ["curl", "-sSN", *self.options, *more, self.base + path]
        return subprocess.Popen(command, bufsize=0, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                **options)

    def environ(self, path="/environ"):
        return {key: value for key, (_, value) in json.loads(self.get(path)).items()}

    def mark(self, do, **given):
        """A URL of watch.wsgi and the file that it tells in."""
        path = self.server.root / "marks" / f"{self.protocol}-{time.monotonic_ns()}"
        given = {"mark": str(path), "do": do, **given}
        return f"/watch?{quote_plus(repr(given))}", path


def feed(pipe, size):
    """Writes that much to a client that may be killed meanwhile."""
    try:
        pipe.write(b"x" * size)
        pipe.flush()
    except OSError:
        pass


def read_exactly(pipe, size):
    seen = b""
    while len(seen) < size:
        block = pipe.read(size - len(seen))
        assert block, seen[-200:]
        seen += block
    return seen


def expect_mark(path, text):
    wait_until(lambda: path.exists() and text in path.read_text(), 5, f"{text!r} in {path}")
