"""Over HTTP/2 (clear text, with curl): the same responses, and the same visible truncation."""

import subprocess

import pytest

from conftest import mode_directives
from httpd import MODULES_DIR

TRACEBACK = r"WSGI01(0[5-9]|1[02]|3\d|4\d|7[45])|Traceback|File \"|Error|raise |\^|    "

pytestmark = pytest.mark.skipif(
    not (MODULES_DIR / "mod_http2.so").exists()
    or "HTTP2" not in subprocess.run(["curl", "-V"], capture_output=True, text=True).stdout,
    reason="mod_http2 or a curl that speaks HTTP/2 is missing",
)


@pytest.fixture
def curl(httpd, mode):
    """Requests a path of an application; returns curl's exit status, the body and the status."""
    def run(app, path, *options):
        if not httpd.pid:
            httpd.start(f"{mode_directives(mode)}Protocols h2c http/1.1\n"
                        f"WSGIScriptAlias / {httpd.app(app)}\n", ["http2"])
        command = ["curl", "-sS", "--http2-prior-knowledge", "-w", "\n%{http_code} %{http_version}",
                   *options, f"http://127.0.0.1:{httpd.port}{path}"]
        done = subprocess.run(command, capture_output=True, timeout=60)
        body, _, told = done.stdout.rpartition(b"\n")
        return done.returncode, body, told.decode()
    return run


@pytest.mark.check
def test_a_response(curl):
    assert curl("hello", "/") == (0, b"Hello, world!\n", "200 2")


@pytest.mark.check
def test_an_upload(curl):
    assert curl("echo", "/", "--data-binary", "some body") == (0, b"some body", "200 2")


@pytest.mark.check
def test_a_streamed_response(curl):
    status, body, told = curl("response", "/big")
    assert (status, len(body), told) == (0, 20 * 1024 * 1024, "200 2")


@pytest.mark.ours("the original ends the stream as if complete")
@pytest.mark.check
def test_a_response_that_was_cut_short_resets_the_stream(curl, httpd):
    httpd.log.expect("raised after output")
    httpd.log.allow(TRACEBACK)
    status, _, _ = curl("failing", "/after")
    assert status != 0
