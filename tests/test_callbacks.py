"""C code that calls back into Python (PyGILState_Ensure) lands in the interpreter of the application that called it."""

import pytest

import pythons
from conftest import mode_directives

GROUPS = ("first", "second", "%{GLOBAL}", "first")


def serve(httpd, mode, directives=""):
    script = httpd.app("callback")
    aliases = "".join(f"WSGIScriptAlias /{number} {script} application-group={group}\n"
                      for number, group in enumerate(GROUPS))
    httpd.start(f"{directives or mode_directives(mode, threads=1)}{aliases}")


def check(httpd, version=None):
    """One thread serves several interpreters in turn."""
    for turn in range(1, 4):
        for path in ("released", "kept"):
            for number in range(len(GROUPS)):
                told = httpd.json(f"/{number}/{path}")
                assert (told["sorted"], told["seen"]) == ([1, 2, 3], ["mine"]), (number, path, turn)
                assert version in (None, told["version"])
    return told["count"]


@pytest.mark.ours("the first interpreter of a thread gets the callbacks of all")
@pytest.mark.mpms("event", "prefork")
@pytest.mark.check
def test_a_callback_runs_in_the_interpreter_of_its_application(httpd, mode):
    serve(httpd, mode)
    count = check(httpd)
    if mode == "daemon":
        assert count > 10, "the thread has lost what the application kept for it"


@pytest.mark.parametrize("version", pythons.other_versions() or [None])
@pytest.mark.ours("the original is built for one Python")
def test_a_callback_in_another_python(httpd, version):
    other = pythons.other_python(version)
    serve(httpd, "daemon", f"WSGIDaemonProcess app threads=1 python={other}\nWSGIProcessGroup app\n")
    assert check(httpd, version) > 10
