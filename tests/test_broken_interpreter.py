"""An application group whose interpreter cannot be set up: nothing is left of an attempt, and attempts have pauses."""

import pytest

import pythons
from conftest import mode_directives
from processes import wait_until

# The module has another name from 3.13 on.
COUNT = "/main?len(__import__(['_xxsubinterpreters','_interpreters'][sys.version_info[1]//13]).list_all())"
# Stands in the site directory: as long as the file exists, no further interpreter has `hashlib`.
BREAK = "import os, sys; os.path.exists({!r}) and sys.modules.__setitem__('hashlib', None)\n"


@pytest.mark.ours("its interpreters need no library")
def test_an_interpreter_that_cannot_be_set_up_leaves_nothing_behind(httpd, mode):
    home = httpd.root / "venv"
    pythons.build_venv(home, (), pythons.SYSTEM_PYTHON)
    broken = httpd.root / "broken"
    (site,) = home.glob("lib/python3*/site-packages")
    (site / "broken.pth").write_text(BREAK.format(str(broken)))
    python = f"WSGIPythonHome {home}\n" if mode == "embedded" else ""
    options = {"python_home": home} if mode == "daemon" else {}
    httpd.start(f"{python}{mode_directives(mode, **options)}"
                f"WSGIScriptAlias /main {httpd.app('evaluate')} application-group=%{{GLOBAL}}\n"
                f"WSGIScriptAlias /named {httpd.app('hello')} application-group=named\n")
    assert httpd.json(COUNT) == 1
    httpd.write("broken", "")
    httpd.log.expect(r"cannot make the interpreter of application group 'named' \(attempt 1\): ModuleNotFoundError")
    httpd.log.allow("'named'|Traceback|File|hashlib")
    assert {httpd.get("/named").status for _ in range(20)} == {500}
    told = r"cannot make the interpreter|a request gets 500: .* \(see attempt"
    httpd.log.wait_for(told, count=20)
    attempts = len(httpd.log.matching("cannot make the interpreter"))
    assert attempts == len(httpd.log.matching("Traceback")) <= 3, "one traceback an attempt, and few attempts"
    assert len(httpd.log.matching(told)) == 20
    assert httpd.json(COUNT) == 1, "what was made of the interpreter has been ended"
    broken.unlink()
    wait_until(lambda: httpd.get("/named").status == 200, 20, "the interpreter is made")
    assert httpd.json(COUNT) == 2
