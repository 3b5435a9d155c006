"""The type stubs in `stubs/`: mypy takes an application that uses all of them, and they say what the modules have."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import test_metrics
import test_server_metrics

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "tests/typed/example.py"


def mypy(path, cache, *options):
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", cache, *options, path]
    return subprocess.run(command, env={**os.environ, "MYPYPATH": str(ROOT / "stubs")}, capture_output=True, text=True)


@pytest.mark.ours("the stubs are of ours")
@pytest.mark.parametrize("version", ["3.10", "3.13"])
def test_an_application_that_uses_everything_has_no_errors(tmp_path, version):
    done = mypy(EXAMPLE, tmp_path, "--python-version", version)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.ours("the stubs are of ours")
def test_a_wrong_use_is_an_error(tmp_path):
    wrong = tmp_path / "wrong.py"
    wrong.write_text("import mod_wsgi\nmod_wsgi.subscribe_events(5)\nmod_wsgi.request_metrics()['pid']\n"
                     "mod_wsgi.no_such_name\n")
    done = mypy(wrong, tmp_path)
    assert [line.split(":")[1] for line in done.stdout.splitlines() if ": error:" in line] == ["2", "3", "4"]


def stub(name):
    return ast.parse((ROOT / f"stubs/{name}.pyi").read_text()).body


def keys(name):
    """The keys of a dict of the stubs."""
    found = next(node for node in stub("mod_wsgi") if isinstance(node, ast.ClassDef) and node.name == name)
    return {node.target.id for node in found.body}


def test_the_stubs_have_all_names_and_keys():
    names = {node.target.id if isinstance(node, ast.AnnAssign) else node.name for node in stub("mod_wsgi")
             if isinstance(node, (ast.AnnAssign, ast.ClassDef, ast.FunctionDef))}
    assert {name for name in names if name[0] != "_"} == test_metrics.PUBLIC
    assert keys("_RequestMetrics") == test_metrics.REQUESTS
    assert keys("_ProcessMetrics") == test_metrics.PROCESS
    assert keys("_ServerMetrics") == set(test_server_metrics.WHOLE)
    assert keys("_ServerChild") == set(test_server_metrics.CHILD)
    assert keys("_ServerThread") == set(test_server_metrics.THREAD)
