"""How Python starts: WSGIPythonOptimize, WSGIPythonWarnings, WSGIPythonHashSeed, WSGIDontWriteBytecode, WSGIPythonEggs; and
how it ends: WSGIDestroyInterpreter."""

import os
import subprocess

import pytest

import pythons
from conftest import mode_directives
from processes import wait_until

ALL = """WSGIPythonOptimize 2
WSGIDontWriteBytecode On
WSGIPythonWarnings error::ResourceWarning
WSGIPythonWarnings ignore::ImportWarning
WSGIPythonHashSeed 4294967295
"""


def serve(httpd, mode, directives, group="%{GLOBAL}", **options):
    script = httpd.app("started")
    return httpd.start(f"{directives}\n{mode_directives(mode, **options)}WSGIApplicationGroup {group}\n"
                       f"WSGIScriptAlias / {script}")


def hash_at_a_shell(python, seed="4294967295"):
    done = subprocess.run([python, "-c", "print(hash('some text'))"], env={**os.environ, "PYTHONHASHSEED": seed},
                          capture_output=True, text=True, check=True)
    return int(done.stdout)


def check_all(told):
    assert (told["optimize"], told["debug"], told["docstring"]) == (2, False, None)
    assert told["dont_write_bytecode"]
    assert told["warnings"] == ["error::ResourceWarning", "ignore::ImportWarning"]


@pytest.mark.check
@pytest.mark.parametrize("group", ["%{GLOBAL}", "own"])
def test_options_hold_in_every_interpreter(httpd, mode, group):
    serve(httpd, mode, ALL, group)
    told = httpd.json("/")
    check_all(told)
    if told["version"] == pythons.version_of(pythons.SYSTEM_PYTHON):
        assert told["hash"] == hash_at_a_shell(pythons.SYSTEM_PYTHON)


@pytest.mark.ours("the original is built for one Python")
@pytest.mark.parametrize("version", ["3.10", "3.12", "3.13"])
def test_options_hold_in_every_version(httpd, mode, version):
    home = pythons.venv("plain", python=pythons.other_python(version))
    serve(httpd, mode, f"{ALL}WSGIPythonHome {home}")
    told = httpd.json("/")
    check_all(told)
    assert told["version"] == version
    assert told["hash"] == hash_at_a_shell(home / "bin/python")


@pytest.mark.check
def test_values_that_ask_for_nothing(httpd, mode):
    serve(httpd, mode, "WSGIPythonOptimize 0\nWSGIDontWriteBytecode Off")
    told = httpd.json("/")
    assert (told["optimize"], told["debug"], told["docstring"]) == (0, True, "A docstring.")
    assert told["hash_randomization"] == 1
    assert not told["dont_write_bytecode"] and told["warnings"] == [] and told["eggs"] is None


def test_only_the_last_of_several_lines_counts_except_for_warnings(httpd, mode):
    serve(httpd, mode, "WSGIPythonOptimize 2\nWSGIPythonOptimize 1\nWSGIDontWriteBytecode On\nWSGIDontWriteBytecode Off")
    told = httpd.json("/")
    assert told["optimize"] == 1 and not told["dont_write_bytecode"]


def hashes_after_restarts(httpd):
    found = [httpd.json("/")["hash"]]
    for _ in range(2):
        httpd.restart()
        found.append(httpd.json("/")["hash"])
    return found


def test_a_seed_makes_hashes_the_same_in_every_process(httpd, mode):
    serve(httpd, mode, "WSGIPythonHashSeed 7")
    assert len(set(hashes_after_restarts(httpd))) == 1


@pytest.mark.ours("the original takes random for the seed 0")
def test_a_random_seed_is_random_even_if_httpd_has_another(httpd, mode):
    httpd.env["PYTHONHASHSEED"] = "3"
    serve(httpd, mode, "WSGIPythonHashSeed random")
    assert len(set(hashes_after_restarts(httpd))) > 1


@pytest.mark.modes("daemon")
@pytest.mark.ours("env is an option of ours")
def test_what_the_group_says_of_its_own_environment_wins(httpd, mode):
    own = "PYTHONOPTIMIZE=1 env=PYTHONWARNINGS=default env=PYTHONHASHSEED=5 env=PYTHONDONTWRITEBYTECODE="
    serve(httpd, mode, ALL, env=own)
    told = httpd.json("/")
    assert told["optimize"] == 1 and told["warnings"] == ["default"] and not told["dont_write_bytecode"]
    assert told["hash"] == hash_at_a_shell(pythons.SYSTEM_PYTHON, "5")


# -- PYTHON_EGG_CACHE ------------------------------------------------------------------------------


@pytest.mark.parametrize("group", ["%{GLOBAL}", "own"])
def test_the_directive_for_eggs_is_for_embedded_mode(httpd, mode, group):
    serve(httpd, mode, "WSGIPythonEggs /srv/eggs", group)
    assert httpd.json("/")["eggs"] == ("/srv/eggs" if mode == "embedded" else None)


@pytest.mark.modes("daemon")
def test_the_option_for_eggs_is_the_group_s(httpd, mode):
    serve(httpd, mode, "WSGIPythonEggs /srv/eggs", python_eggs="/srv/own")
    assert httpd.json("/")["eggs"] == "/srv/own"


# -- WSGIDestroyInterpreter ------------------------------------------------------------------------

EXIT = '''
import atexit, mod_wsgi
atexit.register(lambda: print(f"exit function of {mod_wsgi.application_group!r}", file=sys.stderr))
'''
# Two scripts, so that none is alone in its group: one in the main interpreter, one in a named one.
BOTH = "WSGIScriptAlias /main {0} application-group=%{{GLOBAL}}\nWSGIScriptAlias /own {1} application-group=own"


def run_and_stop(httpd, mode, directive):
    text = httpd.app("started").read_text() + EXIT
    scripts = [httpd.write(f"apps/{name}.wsgi", text) for name in ("main", "own")]
    httpd.start(f"{directive}\n{mode_directives(mode)}{BOTH.format(*scripts)}")
    assert httpd.get("/main").status == httpd.get("/own").status == 200
    httpd.stop()
    wait_until(lambda: not httpd.processes(), 20, "all processes end")


@pytest.mark.check
@pytest.mark.parametrize("directive", ["", "WSGIDestroyInterpreter On"])
def test_exit_functions_run_when_a_process_stops(httpd, mode, directive):
    httpd.log.expect("exit function of ''")
    httpd.log.expect("exit function of 'own'")
    run_and_stop(httpd, mode, directive)


@pytest.mark.check
def test_exit_functions_do_not_run_where_interpreters_are_not_destroyed(httpd, mode):
    run_and_stop(httpd, mode, "WSGIDestroyInterpreter Off")
    assert httpd.log.matching("exit function") == []


@pytest.mark.modes("daemon")
def test_a_process_that_is_replaced_leaves_exit_functions_out_too(httpd, mode):
    script = httpd.write("apps/exit.wsgi", httpd.app("started").read_text() + EXIT)
    httpd.start(f"WSGIDestroyInterpreter Off\n{mode_directives(mode)}WSGIScriptAlias / {script}")
    assert httpd.get("/").status == 200
    old = {process.pid for process in httpd.processes()}
    httpd.restart()
    assert httpd.get("/").status == 200
    wait_until(lambda: not old & {process.pid for process in httpd.processes()} - {httpd.pid}, 20, "the old processes end")
    assert httpd.log.matching("exit function") == []
