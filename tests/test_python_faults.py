"""Sub-interpreters: who shares a process is told at the start, and so is a Python in which they do not work as they should."""

import pytest

import pythons

pytestmark = pytest.mark.ours("the original tells neither")
FAULT = r'has a fault in sub-interpreters: str\(\) and format\(\) of some objects are wrong'
SHARED = r'wsgi:info.* process group "app": several applications share its processes: (.*)\. Each runs in a sub-interpreter'
ASK = "/one?'__str__'%20in%20vars(int)"


def serve(httpd, mounts, options=""):
    httpd.app("evaluate")
    aliases = "".join(f'WSGIScriptAlias {url} {httpd.root}/apps/evaluate.wsgi {more}\n' for url, more in mounts.items())
    return f"WSGIDaemonProcess app {options}\nWSGIProcessGroup app\n{aliases}"


@pytest.mark.mpms("event")
def test_a_python_with_wrong_strings_in_sub_interpreters_is_named(httpd, mode):
    python = pythons.other_python("3.12")
    script = httpd.app("evaluate")
    httpd.start(f"{pythons.directives(python, mode)}WSGIScriptAlias /one {script}\nWSGIScriptAlias /two {script}\n")
    is_faulty = [httpd.json(f"/{name}?'__str__'%20in%20vars(int)") for name in ("one", "two")][0]
    told = httpd.log.matching(FAULT)
    # 3.12.5 and later are well.
    assert bool(told) == is_faulty and len(told) <= len(httpd.children())
    where = "embedded mode" if mode == "embedded" else 'process group "app"'
    for line in told:
        assert "wsgi:warn" in line and f"{where}: Python 3.12." in line and str(python.parent) in line
    assert httpd.control("-t") == 0
    assert ("has a fault in sub-interpreters" in httpd.control_output) == is_faulty, httpd.control_output


@pytest.mark.check
def test_the_main_interpreter_has_no_such_fault(httpd):
    httpd.start(serve(httpd, {"/one": ""}, f"python={pythons.other_python('3.12')}"))
    assert httpd.json(ASK) is False
    assert not httpd.log.matching(FAULT) and not httpd.log.matching(SHARED)


def test_configtest_says_nothing_of_it_where_an_application_is_alone(httpd):
    python = pythons.other_python("3.12")
    assert httpd.configtest(serve(httpd, {"/one": ""}, f"python={python}"))
    assert "has a fault" not in httpd.control_output


@pytest.mark.parametrize("mounts, named", [
    ({"/one": "", "/two": ""}, ["/one", "/two"]),
    ({"/one": "application-group=%{GLOBAL}", "/two": ""}, ["/one", "/two"]),
    ({"/one": "application-group=%{GLOBAL}", "/two": "application-group=%{GLOBAL}"}, None),
    ({"/one": "", "/two": "process-group=other"}, None),
])
@pytest.mark.check
def test_applications_that_share_a_process_are_told_of(httpd, mounts, named):
    httpd.start("WSGIDaemonProcess other\n" + serve(httpd, mounts))
    told = httpd.log.matching(SHARED)
    assert len(told) == (named is not None)
    for url in named or ():
        assert f"apps/evaluate.wsgi ({url})" in told[0]
