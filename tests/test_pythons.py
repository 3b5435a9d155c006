"""Daemon mode runs any Python from 3.10 on: several at once, and says what is wrong with one."""

import pytest

import pythons

pytestmark = pytest.mark.ours("the original is built for one Python")


@pytest.mark.parametrize("version", pythons.other_versions() or [None])
def test_two_pythons_serve_at_once(httpd, version):
    other = pythons.other_python(version)
    script = httpd.app("where")
    httpd.start(f"WSGIDaemonProcess system threads=2 python={pythons.SYSTEM_PYTHON}\n"
                f"WSGIDaemonProcess other threads=2 python={other}\n"
                f"WSGIScriptAlias /system {script} process-group=system\n"
                f"WSGIScriptAlias /other {script} process-group=other\n")
    told = {name: httpd.json(f"/{name}") for name in ("system", "other")}
    assert told["system"]["version"] == pythons.version_of(pythons.SYSTEM_PYTHON)
    assert told["other"]["version"] == pythons.version_of(other)
    assert told["other"]["executable"] == str(other)


@pytest.mark.parametrize("version", pythons.other_versions() or [None])
def test_a_virtual_environment_of_another_python(httpd, version):
    other = pythons.other_python(version)
    home = pythons.venv("other", python=other)
    httpd.start(f"WSGIDaemonProcess app threads=2 python-home={home}\nWSGIProcessGroup app\n"
                f"WSGIScriptAlias / {httpd.app('where')}")
    told = httpd.json("/")
    assert (told["prefix"], told["version"]) == (str(home), pythons.version_of(other))


@pytest.mark.parametrize("version", pythons.other_versions() or [None])
@pytest.mark.parametrize("app, path, body", [
    ("echo", "/", b"sent"), ("response", "/generator", None), ("file_wrapper", "/large", None),
])
def test_the_engine_works_in_every_python(httpd, version, app, path, body):
    other = pythons.other_python(version)
    httpd.start(f"WSGIDaemonProcess app threads=3 python={other}\nWSGIProcessGroup app\n"
                f"WSGIScriptAlias / {httpd.app(app)}\nWSGIApplicationGroup named\n")
    response = httpd.post(path, body) if body else httpd.get(path)
    assert response.status == 200 and len(response.body) > 3


def broken_pythons(root):
    """Interpreters that cannot serve: option, and the path that the report must name."""
    crash = root / "crashing-python"
    crash.write_text("#!/bin/sh\necho broken on purpose >&2\nexit 3\n")
    crash.chmod(0o755)
    plain = root / "not-executable"
    plain.write_text("text")
    return {
        "missing": (f"python={root}/no-such-python", f"{root}/no-such-python"),
        "not-executable": (f"python={plain}", str(plain)),
        "crashing": (f"python={crash}", str(crash)),
        "no-venv": (f"python-home={root}/no-such-venv", f"{root}/no-such-venv"),
    }


@pytest.mark.parametrize("kind", ["missing", "not-executable", "crashing", "no-venv"])
@pytest.mark.check
def test_an_unusable_python_is_reported_once_and_requests_get_503(httpd, kind):
    option, path = broken_pythons(httpd.root)[kind]
    httpd.log.allow(f"'app'|\"app\"|{path}|broken on purpose")
    httpd.start(f"WSGIDaemonProcess app threads=2 queue-timeout=5 {option}\n"
                f"WSGIProcessGroup app\nWSGIScriptAlias / {httpd.app('hello')}")
    httpd.log.wait_for(path)
    assert {httpd.get("/").status for _ in range(3)} == {503}
    reports = [line for line in httpd.log.matching(path)
               if "[wsgi:error]" in line and "[client" not in line]
    assert len(reports) == 1, reports
    assert "app" in reports[0]


@pytest.mark.check
def test_one_unusable_group_does_not_harm_another(httpd):
    httpd.log.allow("'bad'|\"bad\"|no-such-python")
    script = httpd.app("hello")
    httpd.start(f"WSGIDaemonProcess bad python={httpd.root}/no-such-python queue-timeout=5\n"
                "WSGIDaemonProcess good threads=2\n"
                f"WSGIScriptAlias /bad {script} process-group=bad\n"
                f"WSGIScriptAlias /good {script} process-group=good\n")
    assert (httpd.get("/good").status, httpd.get("/bad").status) == (200, 503)
