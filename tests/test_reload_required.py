"""A script that decides itself when it is loaded again: reload_required() and __mtime__, in both modes."""

import pytest

from conftest import mode_directives
from processes import wait_until

SCRIPT = """
import os
FOLDER = {folder!r}

def note(what):
    fd = os.open(FOLDER + "/" + what, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(fd, b"%d\\n" % os.getpid())
    os.close(fd)
    return len(open(FOLDER + "/" + what).readlines())

LOAD = note("loads")
asked = 0

def change():
    pass

{code}

def application(environ, start_response):
    change()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % LOAD]
"""

ONCE = """
def reload_required(path):
    global asked
    asked += 1
    return asked == 1
"""
ALWAYS = """
def reload_required(path):
    return [path]
"""
FLAG = """
if os.path.exists(FOLDER + "/flag"):
    os.unlink(FOLDER + "/flag")

def reload_required(path):
    with open(FOLDER + "/path", "w") as file:
        file.write(path)
    return os.path.exists(FOLDER + "/flag")
"""
NEVER = "def reload_required(path): return 0"
RAISES = "def reload_required(path): raise LookupError('who knows')"


@pytest.fixture(params=["alone", "one of two"])
def script(request, httpd, mode):
    """Starts httpd with this code in a script; returns what asks for it. Alone in its group, the script is loaded at the
    start of a process."""
    def start(code, extra="", **options):
        folder = httpd.root / "told"
        folder.mkdir()
        folder.chmod(0o777)
        path = httpd.write("apps/asked.wsgi", SCRIPT.format(folder=str(folder), code=code))
        other = f"WSGIScriptAlias /other {httpd.app('hello')}\n" if request.param == "one of two" else ""
        httpd.start(f"{mode_directives(mode, **options)}{extra}{other}WSGIScriptAlias / {path}")

        def get():
            response = httpd.get("/")
            assert response.status == 200, httpd.log.lines()[-20:]
            return int(response.text)

        return get

    return start


@pytest.mark.mpms("event")
@pytest.mark.check
def test_a_script_that_asks_once_is_loaded_once_more(script, httpd):
    get = script(ONCE)
    first = get()
    assert [get() for _ in range(2)] == [first + 1, first + 2]


@pytest.mark.mpms("event")
@pytest.mark.check
def test_a_script_that_always_asks_is_loaded_for_each_request(script, httpd):
    get = script(ALWAYS)
    first = get()
    assert [get() for _ in range(4)] == [first + at for at in range(1, 5)]


@pytest.mark.mpms("event")
@pytest.mark.check
def test_a_script_asks_by_a_flag_that_it_takes_away(script, httpd):
    get = script(FLAG)
    first = get()
    assert {get() for _ in range(3)} == {first}
    assert (httpd.root / "told/path").read_text() == str(httpd.root / "apps/asked.wsgi")
    flag = httpd.root / "told/flag"
    flag.touch()
    assert {get() for _ in range(5)} == {first + 1}
    assert not flag.exists()


@pytest.mark.mpms("event")
def test_a_script_that_does_not_ask_stays(script, httpd):
    get = script(NEVER)
    first = get()
    assert {get() for _ in range(4)} == {first}


@pytest.mark.mpms("event")
def test_a_script_whose_answer_fails_stays(script, httpd):
    get = script(RAISES)
    httpd.log.expect("LookupError: 'who knows'|LookupError: who knows")
    httpd.log.allow("Traceback|asked.wsgi|reload_required")
    first = get()
    assert {get() for _ in range(4)} == {first}


@pytest.mark.mpms("event")
def test_without_script_reloading_a_script_is_not_asked(script, httpd):
    get = script(ALWAYS, "WSGIScriptReloading Off\n")
    first = get()
    assert {get() for _ in range(4)} == {first}


@pytest.mark.mpms("event")
@pytest.mark.check
@pytest.mark.parametrize("code", ["del __mtime__", "__mtime__ = None", "__mtime__ = 0", "__mtime__ -= 1"])
def test_a_script_that_changes_its_time_is_loaded_for_each_request(script, code):
    get = script(f"def change():\n    global __mtime__\n    {code}\n")
    first = get()
    assert [get() for _ in range(3)] == [first + at for at in range(1, 4)]


@pytest.mark.mpms("event")
def test_the_time_of_a_script_is_set_when_it_is_loaded(script):
    """In microseconds, whatever the script has made of it."""
    get = script("__mtime__ = 5\ndef change():\n    assert __mtime__ == os.stat(__file__).st_mtime_ns // 1000")
    first = get()
    assert get() == first


@pytest.mark.ours("reload=rolling is ours")
@pytest.mark.mpms("event")
@pytest.mark.modes("daemon")
def test_old_code_serves_until_the_new_is_ready(script, httpd):
    get = script(FLAG, reload="rolling")
    first = get()
    (httpd.root / "told/flag").touch()
    assert get() == first
    wait_until(lambda: get() == first + 1, 20, "the new code serves")
    assert {get() for _ in range(5)} == {first + 1}
