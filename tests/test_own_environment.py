"""Each interpreter of a process begins with the environment of the process, and not with what other applications made of it."""

import pytest

import pythons
from conftest import mode_directives

differs = pytest.mark.ours("a later interpreter starts from what the first application made of the environment")


def serve(httpd, mode, directives=None, groups=("one", "two")):
    script = httpd.app("settings")
    httpd.env["CONFIGURED"] = "by httpd"
    aliases = "".join(f"WSGIScriptAlias /{name} {script} application-group={group}\n"
                      for name, group in zip(("one", "two"), groups))
    httpd.start((mode_directives(mode, threads=1) if directives is None else directives) + aliases)


def ask(httpd, name, query=""):
    told = httpd.json(f"/{name}{query}")
    assert (told["settings"], told["only"]) == (f"{name}.settings", [f"ONLY_{name}"]), told
    return told


@differs
@pytest.mark.parametrize("groups", [("one", "two"), ("%{GLOBAL}", "two")], ids=["two named", "the main one and a named one"])
@pytest.mark.parametrize("order", [("one", "two"), ("two", "one")], ids="-first-".join)
@pytest.mark.mpms("event")
@pytest.mark.check
def test_each_application_has_its_own_settings(httpd, mode, order, groups):
    serve(httpd, mode, groups=groups)
    for name in (*order, *order):
        told = ask(httpd, name)
        assert told["configured"] == "by httpd"


@differs
@pytest.mark.parametrize("groups", [("one", "two"), ("%{GLOBAL}", "two")], ids=["two named", "the main one and a named one"])
@pytest.mark.parametrize("how", ["program", "popen"])
def test_programs_inherit_the_environment_of_their_application(httpd, mode, how, groups):
    serve(httpd, mode, groups=groups)
    pids = {ask(httpd, name)["pid"] for name in ("one", "two")}
    assert len(pids) == 1, "the test needs both in one process"
    for name in ("one", "two", "one"):
        told = ask(httpd, name, f"?{how}")
        assert told["started"] == [f"{name}.settings", [f"ONLY_{name}"]]


def test_a_program_gets_the_environment_that_it_is_given(httpd, mode):
    serve(httpd, mode)
    for name in ("one", "two"):
        assert httpd.json(f"/{name}?given")["started"] == ["given", ["ONLY_given"]]


def test_a_time_zone_that_an_application_sets_is_in_effect(httpd, mode):
    """Changes of os.environ reach C, in every interpreter."""
    serve(httpd, mode)
    for name in ("one", "two"):
        assert httpd.json(f"/{name}?zone")["zone"] == "JST"


@differs
def test_what_the_configuration_sets_is_set_in_every_interpreter(httpd):
    directives = "WSGIDaemonProcess app threads=1 env=CONFIGURED=by-env\nWSGIProcessGroup app\n"
    serve(httpd, "daemon", directives)
    assert [ask(httpd, name)["configured"] for name in ("one", "two")] == ["by-env"] * 2


@pytest.mark.parametrize("version", pythons.other_versions() or [None])
@differs
@pytest.mark.mpms("event")
def test_the_environment_in_other_pythons(httpd, mode, version):
    other = pythons.other_python(version)
    serve(httpd, mode, pythons.directives(other, mode))
    for name in ("one", "two", "one"):
        told = ask(httpd, name, "?program")
        assert told["started"] == [f"{name}.settings", [f"ONLY_{name}"]] and told["version"] == version
