"""Configurations of older versions of mod_wsgi: what is gone is left out with a warning, and empty values ask for nothing."""

import re

import pytest

from httpd import IS_ROOT, RUN_USER

OLD = """WSGILazyInitialization On
WSGINewRelicConfigFile /etc/newrelic.ini
WSGINewRelicEnvironment production
WSGIPy3kWarningFlag On
WSGIReloadMechanism Process
WSGIPythonExecutable /usr/bin/python
WSGIOutputBuffering On
"""
NAMES = [line.split()[0] for line in OLD.splitlines()]
GROUP = "WSGIDaemonProcess app threads=2 newrelic-config-file=/x newrelic-environment=y proxy-buffer-size=8192\n"
OPTIONS = ["newrelic-config-file", "newrelic-environment", "proxy-buffer-size"]


def number(httpd, start):
    lines = httpd.conf_file.read_text().splitlines()
    return next(n for n, line in enumerate(lines, 1) if line.startswith(start))


def warnings(httpd, lines):
    """The warnings among the lines, as (name, line number)."""
    found = [re.search(rf"(\S+) at {httpd.conf_file}:(\d+) is left out, because mod_wsgi \S+ and later versions", line)
             for line in lines]
    return [(match[1], int(match[2])) for match in found if match]


def expected(httpd):
    group = number(httpd, "WSGIDaemonProcess")
    return [(name, number(httpd, name)) for name in NAMES] + [(f"{name}=", group) for name in OPTIONS]


@pytest.mark.check
@pytest.mark.ours("the original refuses what is gone")
def test_each_line_has_one_warning_at_a_start(httpd):
    httpd.log.expect("is left out, because mod_wsgi")
    httpd.start(f"{OLD}{GROUP}WSGIProcessGroup app\nWSGIScriptAlias / {httpd.app('hello')}")
    assert warnings(httpd, httpd.log.lines()) == expected(httpd)
    assert httpd.get("/").status == 200
    assert len(warnings(httpd, httpd.log.lines())) == len(expected(httpd))


@pytest.mark.check
@pytest.mark.ours("the original refuses what is gone")
def test_each_line_has_one_warning_of_configtest(httpd):
    assert httpd.configtest(f"{OLD}{GROUP}WSGIScriptAlias / {httpd.app('hello')} process-group=app")
    assert warnings(httpd, httpd.control_output.splitlines()) == expected(httpd)
    assert "start the agent in the WSGI script" in httpd.control_output
    # Without any application, too.
    assert httpd.configtest(OLD)
    assert [name for name, _ in warnings(httpd, httpd.control_output.splitlines())] == NAMES


@pytest.mark.ours("the original refuses what is gone")
@pytest.mark.parametrize("place", ["<VirtualHost *:9>\nServerName v.test\n{}\n</VirtualHost>", '<Directory "{root}/htdocs">\n{}\n</Directory>'])
def test_where_they_stood(httpd, place):
    for line in OLD.splitlines():
        if place.startswith("<VirtualHost") or line.split()[0] in ("WSGIReloadMechanism", "WSGIOutputBuffering"):
            assert httpd.configtest(place.replace("{root}", str(httpd.root)).replace("{}", line)), httpd.control_output
            [(name, _)] = warnings(httpd, httpd.control_output.splitlines())
            assert name == line.split()[0]


@pytest.mark.ours("the original refuses what is gone")
def test_arguments_do_not_matter(httpd):
    assert httpd.configtest("\n".join(NAMES) + "\nWSGILazyInitialization Maybe \"and more\"\n"), httpd.control_output


@pytest.mark.check
@pytest.mark.ours("the original refuses what is gone")
def test_in_htaccess_a_child_says_it_once(httpd):
    httpd.log.expect(r"WSGIReloadMechanism at .*/htdocs/old/\.htaccess:2 is left out, .* \(said once in each child\)")
    httpd.write("htdocs/old/.htaccess", "# first\nWSGIReloadMechanism Module\nWSGICallableObject app\n")
    script = httpd.app("hello").read_text()
    httpd.write("htdocs/old/app.wsgi", script.replace("application", "app"))
    httpd.start(f'<Directory "{httpd.root}/htdocs/old">\nAllowOverride FileInfo\nOptions +ExecCGI\n'
                "AddHandler wsgi-script .wsgi\n</Directory>")
    for _ in range(5):
        assert httpd.get("/old/app.wsgi").text == "Hello, world!\n"
    assert len(httpd.log.matching("is left out")) == len({re.search(r"\[pid (\d+)", line)[1]
                                                          for line in httpd.log.matching("is left out")})


# -- empty values ----------------------------------------------------------------------------------


NOTHING = ("display-name", "lang", "locale", "python-home", "python-path", "python-eggs", "supplementary-groups")


@pytest.mark.check
def test_empty_values_of_options_ask_for_nothing(httpd, ours):
    httpd.env["LANG"] = "C.UTF-8"
    httpd.log.allow("WSGI0100")  # The original looks for an empty python-home.
    options = " ".join(f'{name}=""' for name in NOTHING)
    httpd.start(f"WSGIDaemonProcess app threads=2 {options}\nWSGIProcessGroup app\nWSGIScriptAlias / {httpd.app('where')}")
    told = httpd.json("/")
    assert (told["env"]["LANG"], told["env"]["LC_ALL"], told["env"]["PYTHON_EGG_CACHE"]) == ("", "", "")
    assert told["prefix"] == "/usr"
    if IS_ROOT:
        assert told["user"] == RUN_USER and len(told["groups"]) == 1
    if ours:
        assert told["utf8_mode"] == 1


def test_an_empty_name_of_a_group_is_embedded_mode(httpd):
    httpd.log.expect("WSGI0149: .* not a member of allowed groups")
    script = httpd.app("hello")
    httpd.start(f'WSGIRestrictProcess ""\nWSGIDaemonProcess app threads=2\nWSGIScriptAlias /embedded {script}\n'
                f"WSGIScriptAlias /daemon {script} process-group=app")
    assert (httpd.get("/embedded").status, httpd.get("/daemon").status) == (200, 500)


@pytest.mark.parametrize("name", NOTHING)
def test_an_empty_value_at_the_end_of_a_line(httpd, name):
    assert httpd.configtest(f"WSGIDaemonProcess app threads=2 {name}="), httpd.control_output


@pytest.mark.ours("the original takes the next word for the value")
def test_an_empty_value_before_another_option(httpd):
    group = " ".join(f"{name}=" for name in NOTHING)
    httpd.start(f"WSGIDaemonProcess app {group} threads=1\nWSGIProcessGroup app\nWSGIScriptAlias / {httpd.app('where')}")
    assert httpd.json("/")["multithread"] is False


@pytest.mark.ours("an empty part is the working directory for the original")
def test_a_search_path_may_have_empty_parts(httpd):
    httpd.start(f"WSGIDaemonProcess app threads=2 python-path=:{httpd.root}/apps::\nWSGIProcessGroup app\n"
                f"WSGIScriptAlias / {httpd.app('where')}")
    path = httpd.json("/")["path"]
    assert path[0] == f"{httpd.root}/apps" and not {"", "/"} & set(path)
