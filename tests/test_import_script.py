"""WSGIImportScript, and scripts that an alias has loaded at the start: when, where, in which order."""

import pytest

from conftest import mode_directives
from processes import wait_until
from pythons import static_python

TELL = """
import mod_wsgi, os, sys
VALUE = "{name}"
sys.modules.setdefault("{name}_was_here", sys.modules[__name__])
print("{name}", "in", repr(mod_wsgi.process_group), repr(mod_wsgi.application_group),
      "extra" if "/extra" in sys.path else "plain", "pid", os.getpid(), file=sys.stderr)
"""
APP = """
import sys
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [" ".join(name for name in sys.modules if name.endswith("_was_here")).encode()]
"""


def importing(httpd, name, process="app", application="%{GLOBAL}", text=TELL):
    path = httpd.write(f"apps/{name}.py", text.format(name=name))
    return f"WSGIImportScript {path} process-group={process} application-group={application}\n"


def serving(httpd, options=""):
    return f"WSGIScriptAlias / {httpd.write('apps/served.wsgi', APP)} {options}\n"


@pytest.mark.check
def test_a_script_is_loaded_before_any_request(httpd, mode):
    process = "%{GLOBAL}" if mode == "embedded" else "app"
    name = "" if mode == "embedded" else "app"
    httpd.log.expect(f"early in '{name}' 'one' plain")
    groups = mode_directives(mode)
    httpd.start(groups + importing(httpd, "early", process, "one") + serving(httpd, "application-group=one"))
    httpd.log.wait_for("early in")
    assert httpd.get("/").text == "early_was_here"


def test_every_process_of_a_group_loads_it(httpd):
    httpd.log.expect("early in 'app' '' plain")
    httpd.start("WSGIDaemonProcess app processes=3 threads=2\n" + importing(httpd, "early"))
    httpd.log.wait_for("early in", count=3)
    assert len({line.split()[-1] for line in httpd.log.matching("early in")}) == 3


@pytest.mark.mpms("prefork", "event")
@pytest.mark.check
def test_every_child_loads_it(httpd):
    httpd.log.expect("early in '' '' plain")
    httpd.start(importing(httpd, "early", "%{GLOBAL}"))
    children = 4 if httpd.mpm == "prefork" else 1
    httpd.log.wait_for("early in", count=children)


def test_several_scripts_in_several_groups_in_their_order(httpd):
    httpd.log.allow(" in '")
    imports = [("first", "app", "%{GLOBAL}"), ("second", "other", "x"), ("third", "app", "%{GLOBAL}"), ("fourth", "app", "y")]
    lines = "".join(importing(httpd, *one) for one in imports)
    httpd.start(f"WSGIDaemonProcess app threads=2\nWSGIDaemonProcess other threads=2\n{lines}")
    httpd.log.wait_for(" in '", count=4)
    said = [line.partition("] ")[2] for line in httpd.log.matching(" in 'app'")]
    assert [next(n for n in ("first", "third", "fourth") if n in line) for line in said] == ["first", "third", "fourth"]
    assert httpd.log.matching("second in 'other' 'x'") and httpd.log.matching("fourth in 'app' 'y'")


@pytest.mark.check
def test_the_groups_settings_hold(httpd):
    httpd.log.expect("early in 'app' '' extra")
    httpd.log.expect("early_too in '' '' extra")
    httpd.start(
        f"WSGIPythonPath /extra\nWSGIDaemonProcess app threads=2 python-path=/extra\n{importing(httpd, 'early')}"
        + importing(httpd, "early_too", "%{GLOBAL}")
    )


def test_a_failure_stops_nothing(httpd, mode):
    process = "%{GLOBAL}" if mode == "embedded" else "app"
    httpd.log.expect("broken.py")
    httpd.log.expect("NameError")
    httpd.log.expect("early in")
    httpd.log.allow("Traceback|undefined|line 1")
    imports = importing(httpd, "broken", process, text="undefined") + importing(httpd, "early", process)
    httpd.start(f"{mode_directives(mode)}{imports}{serving(httpd, 'application-group=%{GLOBAL}')}")
    httpd.log.wait_for("early in")
    assert httpd.get("/").text == "early_was_here"
    assert len(httpd.log.matching("NameError: name")) == 1


@pytest.mark.check
def test_system_exit_stops_nothing(httpd, mode):
    process = "%{GLOBAL}" if mode == "embedded" else "app"
    httpd.log.allow("leaves.py|SystemExit|Traceback|raise")
    imports = importing(httpd, "leaves", process, text="raise SystemExit(3)")
    httpd.start(f"{mode_directives(mode)}{imports}{serving(httpd, 'application-group=%{GLOBAL}')}")
    httpd.log.wait_for("leaves.py")
    assert httpd.get("/").status == 200


def test_an_alias_with_both_groups_is_loaded_at_the_start(httpd, mode):
    process = "%{GLOBAL}" if mode == "embedded" else "app"
    httpd.log.expect("aliased in '.*' 'one'")
    script = httpd.write("apps/aliased.wsgi", TELL.format(name="aliased") + APP)
    options = f"process-group={process} application-group=one"
    httpd.start(f"{mode_directives(mode)}WSGIScriptAlias / {script} {options}")
    httpd.log.wait_for("aliased in")
    assert httpd.get("/").text == "aliased_was_here"
    assert len(httpd.log.matching("aliased in")) == 1


@pytest.mark.ours("the original tries again in the same process, and says nothing of files")
def test_an_import_script_that_also_serves_is_tried_again_when_it_changes(httpd):
    httpd.log.expect("SyntaxError")
    httpd.log.allow("served.wsgi|Traceback|def app|\\^|500|process")
    alias = serving(httpd)
    script = httpd.write("apps/served.wsgi", "def application(:\n")
    httpd.start(
        f"WSGIDaemonProcess app threads=2\nWSGIProcessGroup app\nWSGIApplicationGroup %{{GLOBAL}}\n"
        f"{alias}WSGIImportScript {script} process-group=app application-group=%{{GLOBAL}}\n"
    )
    assert httpd.get("/").status == 500
    httpd.write("apps/served.wsgi", APP)
    wait_until(lambda: httpd.get("/").status == 200, 15, "mended code serves")


@pytest.mark.ours("the original is built for one Python")
def test_a_python_that_cannot_be_embedded_is_said_once(httpd):
    httpd.log.expect("this child cannot load the scripts of WSGIImportScript and of aliases")
    httpd.log.allow("libpython|embedded|shared")
    static_python(httpd.root / "static")
    httpd.start(f"WSGIPythonHome {httpd.root}/static\n{importing(httpd, 'early', '%{GLOBAL}')}")
    httpd.log.wait_for("this child cannot load the scripts of WSGIImportScript and of aliases", 30)
