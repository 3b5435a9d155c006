"""Configurations as projects, packages and configuration tools write them, each on a server that answers.

They are modelled on what those document, in our own words. A comment `#:` in such a file tells what the test does:

    script PATH [CALLABLE]        a WSGI script that tells which process group runs it
    file PATH [TEXT]              another file; `|` in the text is a new line
    modules NAME ...              modules of httpd that are needed
    get PATH [host=HOST] [user=NAME:PASSWORD] -> GROUP an application answers there, in this process group or `embedded`
    static PATH                   httpd itself answers there
    status NUMBER PATH            the status there
    warns REGEX|REGEX             what the log warns of
    may log REGEX                 what may stand in the log
    ours WHY                      the original does not take it
"""

import os
import re
from pathlib import Path

import pytest

import pythons
from deciding import basic
from httpd import IS_ROOT, MODULES_DIR, RUN_GROUP, RUN_USER

FILES = sorted((Path(__file__).parent / "configurations").glob("*.conf"))
SCRIPT = """def {callable}(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%s answers" % (environ["mod_wsgi.process_group"] or "embedded").encode()]
"""
# Modules that the files take for granted; they may also be built into httpd.
MODULES = [name for name in ("authz_host", "version") if (MODULES_DIR / f"mod_{name}.so").exists()]


def steps(text, kind):
    return [line.removeprefix(f"#: {kind} ") for line in text.splitlines() if line.startswith(f"#: {kind} ")]


def cases():
    for path in FILES:
        why = steps(path.read_text(), "ours")
        yield pytest.param(path, id=path.stem, marks=[pytest.mark.ours(why[0])] if why else [])


def test_there_are_sixty_of_them_with_both_modes_among_them():
    asked = [line for path in FILES for line in steps(path.read_text(), "get")]
    assert len(FILES) >= 60
    assert sum(line.endswith("-> embedded") for line in asked) >= 8


def filled(text, httpd):
    venv = pythons.venv("plain")
    user, group = (RUN_USER, RUN_GROUP) if IS_ROOT else (f"#{os.getuid()}", f"#{os.getgid()}")
    places = {"ROOT": httpd.root, "PORT": httpd.port, "VENV": venv, "USER": user, "GROUP": group,
              "SITE": next(venv.glob("lib/python3*/site-packages"))}
    return re.sub(r"@([A-Z]+)@", lambda match: str(places[match[1]]), text)


@pytest.mark.parametrize("path", list(cases()))
def test_a_configuration_serves(httpd, path):
    text = path.read_text()
    for script in steps(text, "script"):
        name, _, callable = script.partition(" ")
        httpd.write(name, SCRIPT.format(callable=callable or "application"))
    for file in steps(text, "file"):
        name, _, content = file.partition(" ")
        httpd.write(name, content.replace("|", "\n") + "\n" if content else "static text\n")
    for warning in "|".join(steps(text, "warns")).split("|"):
        if warning:
            httpd.log.expect(warning)
    for pattern in steps(text, "may log"):
        httpd.log.allow(pattern)
    modules = [name for line in steps(text, "modules") for name in line.split()]
    httpd.start(filled(text, httpd), tuple(dict.fromkeys([*MODULES, *modules])))
    for line in steps(text, "get"):
        url, group = line.split(" -> ")
        url, _, login = url.partition(" user=")
        url, _, host = url.partition(" host=")
        answer = httpd.get(url, host=host or None, headers=basic(*login.split(":")) if login else None)
        assert (answer.status, answer.text) == (200, f"{group} answers"), line
    for url in steps(text, "static"):
        answer = httpd.get(url)
        assert answer.status == 200 and "answers" not in answer.text, url
    for line in steps(text, "status"):
        status, url = line.split(" ", 1)
        assert httpd.get(url).status == int(status), line
