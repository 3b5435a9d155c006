"""Options of mod_wsgi-express for names, TLS, proxies and access, and configurations with all the others."""

import base64
import json
import socket
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from httpd import Ports

pytestmark = [pytest.mark.ours("a program of ours"), pytest.mark.mpms("event")]


# --- Names, TLS, proxies, access ---------------------------------------------------------------------------------------

def test_server_name(express):
    express.start("--server-name", "www.shop.org", "--server-alias", "*.shop.net")
    express.log.allow("AH01630")
    assert express.get("/", host="www.shop.org").status == 200
    assert express.get("/", host="a.shop.net").status == 200
    assert express.get("/", host="other.org").status == 403
    moved = express.get("/a", host="shop.org")
    assert (moved.status, moved.header("Location")) == (301, f"http://www.shop.org:{express.port}/a")


def test_host(express):
    express.start("--host", "127.0.0.1")
    assert express.json("/")["mod_wsgi.process_group"] == f"127.0.0.1:{express.port}"
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.2", express.port), 5)


@pytest.fixture
def certificate(express):
    stem = express.root / "own"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=shop.org",
                    "-keyout", f"{stem}.key", "-out", f"{stem}.crt"], check=True, capture_output=True)
    return stem


def secure_get(port, path, host="shop.org"):
    """(status, headers, body) of a request by TLS."""
    context = ssl._create_unverified_context()
    with context.wrap_socket(socket.create_connection(("127.0.0.1", port), 20), server_hostname=host) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        text = b"".join(iter(lambda: connection.recv(65536), b"")).decode("latin-1")
    head, _, body = text.partition("\r\n\r\n")
    return int(head.split()[1]), head, body


def test_https(express, certificate):
    port = Ports.free()
    express.start("--server-name", "shop.org", "--https-port", port, "--ssl-certificate-file", f"{certificate}.crt",
                  "--ssl-certificate-key-file", f"{certificate}.key", "--ssl-environment")
    status, _, body = secure_get(port, "/a")
    env = json.loads(body)
    assert (status, env["wsgi.url_scheme"], env["PATH_INFO"]) == (200, "https", "/a")
    assert env["SSL_PROTOCOL"].startswith("TLS")
    express.log.allow("AH01630")
    assert secure_get(port, "/a", host="other.org")[0] == 403
    assert express.get("/a", host="shop.org").status == 200


def test_https_only(express, certificate):
    port = Ports.free()
    express.start("--server-name", "shop.org", "--https-port", port, "--ssl-certificate", certificate, "--https-only",
                  "--hsts-policy", "max-age=99")
    moved = express.get("/a?b=c", host="shop.org")
    assert (moved.status, moved.header("Location")) == (302, f"https://shop.org:{port}/a?b=c")
    status, head, _ = secure_get(port, "/")
    assert status == 200 and "Strict-Transport-Security: max-age=99" in head


def test_trust_proxy_header(express):
    express.start("--trust-proxy-header", "X-Forwarded-For", "--trust-proxy-header", "X-Script-Name")
    env = express.json("/a", headers={"X-Forwarded-For": "192.0.2.7", "X-Script-Name": "/outside"})
    assert env["REMOTE_ADDR"] == "192.0.2.7"
    assert (env["SCRIPT_NAME"], env["PATH_INFO"]) == ("/outside", "/a")
    env = express.json("/a", headers={"X-Real-IP": "192.0.2.7"})
    assert env["REMOTE_ADDR"] == "127.0.0.1"


def test_trust_proxy(express):
    express.start("--trust-proxy-header", "X-Forwarded-For", "--trust-proxy", "192.0.2.1")
    assert express.json("/", headers={"X-Forwarded-For": "192.0.2.7"})["REMOTE_ADDR"] == "127.0.0.1"


@pytest.fixture
def behind():
    """A server that answers with what it was asked."""
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps({"path": self.path, **{k.lower(): v for k, v in self.headers.items()}}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass
    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def test_proxies(express, behind):
    target = f"http://127.0.0.1:{behind}"
    express.start("--proxy-mount-point", "/api", f"{target}/v1", "--proxy-virtual-host", "other.org", target)
    seen = express.json("/api/x")
    assert (seen["path"], seen["x-forwarded-prefix"], seen["x-forwarded-port"]) == ("/v1/x", "/api", str(express.port))
    moved = express.get("/api")
    assert moved.status == 302 and moved.header("Location").endswith("/api/")
    assert express.json("/y", host="other.org")["path"] == "/y"
    assert express.json("/y")["PATH_INFO"] == "/y"


def test_access_scripts(express):
    express.write("site/who.py", "def check_password(environ, user, password):\n    return user == 'ann' and password == 'x'\n\n\n"
                                 "def groups_for_user(environ, user):\n    return ['staff']\n\n\n"
                                 "def allow_access(environ, host):\n    return 'HTTP_X_EVIL' not in environ\n")
    express.start("--auth-user-script", "who.py", "--auth-group-script", "who.py", "--auth-group", "staff",
                  "--host-access-script", "who.py")
    express.log.allow("AH01617|AH01618|AH01797|wsgi:error|AH")

    def status(user, **headers):
        token = base64.b64encode(f"{user}:x".encode()).decode()
        return express.get("/", headers={"Authorization": f"Basic {token}", **headers}).status
    assert status("ann") == 200
    assert status("bob") == 401
    assert status("ann", **{"X-Evil": "1"}) == 403


# --- What parses --------------------------------------------------------------------------------------------------------

ALL_TOGETHER = """
--application-group shop --python-eggs eggs --python-warnings ignore::UserWarning --switch-interval 0.01
--orphan-interpreter --http2 --allow-localhost --initial-workers 0.5 --minimum-spare-workers 0.2 --maximum-spare-workers 1
--maximum-requests 1000 --server-backlog 50 --daemon-backlog 10 --startup-timeout 20 --restart-interval 1000
--cpu-time-limit 100 --eviction-timeout 5 --deadlock-timeout 20 --inactivity-timeout 100 --ignore-activity /alive
--interrupt-timeout 3 --proxy-timeout 3 --header-timeout 5 --header-max-timeout 9 --header-min-rate 100 --body-timeout 5
--body-max-timeout 9 --body-min-rate 100 --send-buffer-size 65536 --receive-buffer-size 65536 --header-buffer-size 16384
--response-buffer-size 131072 --response-socket-timeout 9 --response-flush-delay 9 --enable-sendfile --chunked-request
--map-head-to-get On --allow-override AuthConfig --rewrite-rules rules.conf --server-metrics --verbose-debugging
--process-group shop --socket-prefix run --process-name shop --locale C.UTF-8 --mime-types types --server-mpm worker
--ssl-port 1 --server-name localhost --pid-file httpd.pid --access-log --shell-executable sh --lang C
"""


def test_the_configuration_of_many_options_parses(express, certificate):
    express.write("site/rules.conf", "RewriteRule ^old$ new\n")
    express.write("site/types", "text/plain txt\n")
    words = [str(Ports.free()) if word == "1" and before == "--ssl-port" else word
             for before, word in zip(["", *ALL_TOGETHER.split()], ALL_TOGETHER.split())]
    express.pid_file = express.root / "site/httpd.pid"
    express.start(*words, "--ssl-certificate", certificate, "--ssl-ca-certificate-file", f"{certificate}.crt",
                  "--ssl-certificate-chain-file", f"{certificate}.crt", "--ssl-verify-client", "/in")
    env = express.json("/old", host="localhost")
    assert (env["mod_wsgi.process_group"], env["mod_wsgi.application_group"]) == ("shop", "shop")
    assert env["REQUEST_URI"] == "/old"
    assert (env["variables"]["LC_ALL"], env["variables"]["PYTHON_EGG_CACHE"]) == ("C.UTF-8", str(express.root / "site/eggs"))
    assert express.apachectl("configtest").returncode == 0


MORE_TOGETHER = """
--embedded-mode --server-mpm prefork --processes 2 --threads 1 --application-group %{GLOBAL} --auth-user-script who.py
--auth-type Digest --error-document 404 /none --body-timeout 0 --header-timeout 0 --proxy-url-alias /b http://127.0.0.1:1/
--python-path lib --rotatelogs-executable /bin/cat --gdb-executable gdb --coverage-directory x --telemetry-interval 2
--access-log-format %h --startup-log-name s --profiler-directory y --ssl-environment --hsts-policy x --shutdown-timeout 1
"""


def test_the_configuration_of_more_options_parses(express):
    express.write("site/who.py", "def get_realm_hash(environ, user, realm):\n    return None\n")
    express.start(*MORE_TOGETHER.split())
    express.log.allow("AH")
    assert express.get("/").status == 401
    assert express.apachectl("configtest").returncode == 0
