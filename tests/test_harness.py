"""What the tests rely on: the guards see what they are to see, and nothing of others."""

import os
from pathlib import Path

from errorlog import is_severe

LINE = "[Sat Nov 28 12:00:00.000000 2026] [wsgi:error] [pid 1:tid 2] [client 127.0.0.1:1] {}"
SCRIPT = """
import os
made = open(f'/dev/shm/mw-left-{os.getpid()}', 'wb')

def application(environ, start_response):
    start_response('200 OK', [])
    return [made.name.encode()]
"""


def test_shared_memory_of_others_is_not_this_servers(httpd):
    httpd.start("")
    others = Path(f"/dev/shm/mw-others-{os.getpid()}")
    others.touch()
    try:
        assert [p for p in httpd.close() if "shared memory" in p] == []
    finally:
        others.unlink()


def test_shared_memory_that_a_server_leaves_is_seen(httpd):
    script = httpd.write("apps/shared.wsgi", SCRIPT)
    httpd.start(f"WSGIDaemonProcess app threads=1\nWSGIScriptAlias / {script} process-group=app")
    left = Path(httpd.get("/").text)
    try:
        assert httpd.close() == [f"shared memory left: {left.name}"]
    finally:
        left.unlink()


def test_marks_below_a_traceback_are_no_line_of_their_own():
    for marks in ("    ~~^~~", "    ~~~~~~^^^^^^", "         ^"):
        assert not is_severe(LINE.format(marks))
    for text in ("x = 1 ^ 2", "^ not allowed", "a~"):
        assert is_severe(LINE.format(text))
