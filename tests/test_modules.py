"""The modules `mod_wsgi` and `apache`, and what they share with a package of that name and a module of the user's own."""

import re

import pytest

import pythons
from conftest import mode_directives

APP = """
import json, importlib, traceback

def found(name):
    try:
        return getattr(importlib.import_module(name), "WHAT", "there")
    except Exception as error:
        return type(error).__name__

def application(environ, start_response):
    import apache, mod_wsgi
    start_response("200 OK", [("Content-Type", "application/json")])
    told = {"apache": {name: value for name, value in vars(apache).items() if not name.startswith("__")},
            "path": getattr(mod_wsgi, "__path__", None), 
            "found": {name: found(name) for name in ("mod_wsgi.express", "mod_wsgi.telemetry.wire", "mod_wsgi.none")},
            "shape": [mod_wsgi.maximum_processes, mod_wsgi.threads_per_process], "mod_wsgi": mod_wsgi.version}
    return [json.dumps(told).encode()]
"""

OF_APACHE = {"version", "maximum_processes", "threads_per_process", "description", "mpm_name", "build_date"}


def start(httpd, mode, files=(), group="%{GLOBAL}", **options):
    """Serves with these files in a directory of the Python path."""
    script = httpd.write("apps/modules.wsgi", APP)
    path = httpd.root / "path"
    path.mkdir()
    for name, text in dict(files).items():
        httpd.write(f"path/{name}", text)
    embedded = f"WSGIPythonPath {path}\n" if mode == "embedded" else ""
    httpd.start(f"{embedded}{mode_directives(mode, python_path=path, **options)}"
                f"WSGIScriptAlias / {script} application-group={group}")
    return httpd.json("/")


@pytest.mark.mpms("event", "prefork")
@pytest.mark.check
def test_the_module_apache_tells_of_httpd(httpd, mode, mpm):
    told = start(httpd, mode, processes=3, threads=7)
    found = told["apache"]
    assert set(found) == OF_APACHE
    assert found["version"][:2] == [2, 4] and len(found["version"]) == 3
    version = ".".join(map(str, found["version"]))
    assert re.match(rf"Apache/{version} .*mod_wsgi/", found["description"])
    assert found["mpm_name"] == mpm
    assert re.match(r"\d{4}-\d\d-\d\dT|\w{3} \d", found["build_date"])
    assert found["threads_per_process"] == {"event": 25, "prefork": 1}[mpm]
    assert found["maximum_processes"] >= 1
    # In daemon processes too it is httpd's children that it tells of.
    assert (told["shape"] == [found["maximum_processes"], found["threads_per_process"]]) == (mode == "embedded")


OWN = {"apache.py": "WHAT = 'the user\\'s own'\nversion = 'replaced'\n"}


@pytest.mark.mpms("event")
@pytest.mark.check
def test_a_module_apache_of_the_users_own_is_taken_in_httpds_children(httpd, mode):
    found = start(httpd, mode, OWN)["apache"]
    assert set(found) == OF_APACHE | ({"WHAT"} if mode == "embedded" else set())
    assert found["version"][:2] == [2, 4]


@pytest.mark.ours("the original does not say that it fails")
@pytest.mark.mpms("event")
@pytest.mark.modes("embedded")
@pytest.mark.parametrize("code, error", [("1/0", "ZeroDivisionError"), ("import no_such_module", "ModuleNotFoundError"),
                                         ("raise SystemExit(1)", "SystemExit")])
def test_a_module_apache_that_fails_is_reported(httpd, mode, code, error):
    httpd.log.expect("The module apache, an extension of mod_wsgi, cannot be imported")
    httpd.log.expect(error)
    httpd.log.allow("Traceback|File|import|1/0|raise")
    assert set(start(httpd, mode, {"apache.py": f"{code}\n"})["apache"]) == OF_APACHE


PACKAGE = {
    "mod_wsgi/__init__.py": "",
    "mod_wsgi/express/__init__.py": "WHAT = 'express'\n",
    "mod_wsgi/telemetry/__init__.py": "",
    "mod_wsgi/telemetry/wire.py": "WHAT = 'telemetry'\n",
}


@pytest.mark.ours("the original looks for the package before python-path is in effect")
@pytest.mark.mpms("event")
@pytest.mark.check
def test_modules_of_an_installed_package_can_be_imported(httpd, mode):
    told = start(httpd, mode, PACKAGE)
    assert told["path"] == [str(httpd.root / "path/mod_wsgi")]
    assert told["found"] == {"mod_wsgi.express": "express", "mod_wsgi.telemetry.wire": "telemetry",
                             "mod_wsgi.none": "ModuleNotFoundError"}
    # It is still the module of the server.
    assert told["mod_wsgi"] == [6, 1, 1]


@pytest.mark.mpms("event")
def test_without_such_a_package_there_is_nothing_to_import(httpd, mode):
    told = start(httpd, mode)
    assert told["path"] is None
    assert set(told["found"].values()) == {"ModuleNotFoundError"}


@pytest.mark.ours("the original is built for one Python")
@pytest.mark.parametrize("version", pythons.other_versions() or [None])
def test_a_package_in_another_python(httpd, version):
    told = start(httpd, "daemon", PACKAGE, "named", python=pythons.other_python(version))
    assert told["found"]["mod_wsgi.express"] == "express"
    assert set(told["apache"]) == OF_APACHE
