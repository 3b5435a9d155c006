"""The configuration: every directive where it may stand, with good and with bad values."""

import re

import pytest

import directives
from directives import OPTIONS, OUR_OPTIONS, PLACES, TABLE
from httpd import IS_ROOT


def cases(table, attribute):
    return [pytest.param(entry, value, id=f"{entry.name}-{value}")
            for entry in table for value in getattr(entry, attribute)]


def line(directive, value, root):
    text = f"{directive.name} {value}".replace("{root}", str(root))
    return f"{text}\n</WSGIInterpreterOptions>" if text.startswith("<") else text


def placed(place, text, root, before=""):
    wrap = {
        "server": "{0}",
        "vhost": "<VirtualHost *:9>\nServerName v.test\n{0}\n</VirtualHost>",
        "directory": '<Directory "{1}/htdocs">\n{0}\n</Directory>',
    }[place]
    return f"{before}\n{wrap.format(text, root)}"


def refusal(httpd):
    """The message of a refused configuration, which names the line."""
    assert re.search(r"line \d|httpd\.conf:\d", httpd.control_output), httpd.control_output
    return httpd.control_output


def test_the_table_is_complete():
    assert len(TABLE) == 49 and len(OPTIONS) == 44


# -- directives ------------------------------------------------------------------------------------


@pytest.mark.parametrize("directive, value", cases(TABLE, "good"))
def test_a_valid_directive_is_accepted_in_each_of_its_places(httpd, directive, value):
    for place in [p for p in directive.places if ":" not in p]:
        text = placed(place, line(directive, value, httpd.root), httpd.root, directive.before)
        assert httpd.configtest(text), (place, httpd.control_output)


@pytest.mark.parametrize("directive", TABLE, ids=lambda d: d.name)
def test_a_directive_is_refused_in_all_other_places(httpd, directive):
    for place in {"vhost", "directory"} - set(directive.places):
        text = placed(place, line(directive, sample(directive), httpd.root), httpd.root,
                      directive.before)
        assert not httpd.configtest(text), place
        assert directive.name.strip("<") in refusal(httpd)


def sample(directive):
    return directive.good[0]


def check_refused(httpd, directive, value):
    place = "server" if "server" in directive.places else directive.places[0]
    text = placed(place, line(directive, value, httpd.root), httpd.root, directive.before)
    assert not httpd.configtest(text)
    return refusal(httpd)


def names_the_value(message, value):
    """The word of the value that is wrong stands in the message, or what is missing is told."""
    words = re.split(r"[\s=>]+", value.replace('"', ""))
    return any(word in message for word in words if word)


@pytest.mark.parametrize("directive, value", cases(TABLE, "bad"))
def test_a_bad_value_is_refused(httpd, directive, value, ours):
    message = check_refused(httpd, directive, value)
    if ours:
        assert directive.name.strip("<") in message
        assert names_the_value(message, value) or re.search("argument|required|missing|needs", message)


@pytest.mark.ours("the original takes these")
@pytest.mark.parametrize("directive, value", cases(TABLE, "lax"))
def test_nonsense_is_refused(httpd, directive, value):
    message = check_refused(httpd, directive, value)
    assert directive.name in message and value in message


OVERRIDE = '<Directory "{root}/htdocs/{kind}">\nAllowOverride {kind}\n</Directory>\n'


def htaccess(httpd, directive, kind):
    """The status of a static page beside an .htaccess with the directive."""
    page = f"{kind}/{directive.name.strip('<')}/page"
    httpd.write(f"htdocs/{page}", "page")
    text = line(directive, sample(directive), httpd.root)
    httpd.write(f"htdocs/{page.replace('page', '.htaccess')}", f"{text}\n")
    return httpd.get(f"/{page}").status


def test_htaccess_takes_what_allowoverride_allows(httpd):
    httpd.log.allow(".*")
    httpd.app("hello")
    kinds = [place.partition(":")[2] for place in PLACES if ":" in place]
    httpd.start("".join(OVERRIDE.format(root=httpd.root, kind=kind) for kind in kinds))
    for directive in TABLE:
        for kind in kinds:
            refused = htaccess(httpd, directive, kind) == 500
            taken = f"htaccess:{kind}" in directive.places
            assert refused != taken, (directive.name, kind)


@pytest.mark.parametrize("name", ["mod_wsgi.c", "wsgi_module"])
def test_ifmodule_knows_the_module_by_both_names(httpd, name):
    assert not httpd.configtest(f"<IfModule {name}>\nNoSuchDirective\n</IfModule>")
    assert httpd.configtest(f"<IfModule !{name}>\nNoSuchDirective\n</IfModule>")


# -- options of WSGIDaemonProcess ------------------------------------------------------------------


def option_line(option, value, root):
    return f"WSGIDaemonProcess app {option.name}={value}".replace("{root}", str(root))


@pytest.mark.parametrize("option, value", cases(OPTIONS, "good"))
def test_a_valid_option_is_accepted(httpd, option, value):
    if option.name == "chroot" and not IS_ROOT:
        pytest.skip("only root can change the root folder")
    assert httpd.configtest(option_line(option, value, httpd.root)), httpd.control_output


@pytest.mark.parametrize("option, value", cases(OPTIONS, "bad"))
def test_a_bad_option_is_refused(httpd, option, value, ours):
    assert not httpd.configtest(option_line(option, value, httpd.root))
    if ours:
        assert option.name in refusal(httpd) and value in refusal(httpd)


@pytest.mark.ours("the original takes these")
@pytest.mark.parametrize("option, value", cases(OPTIONS, "lax"))
def test_a_nonsensical_option_is_refused(httpd, option, value):
    assert not httpd.configtest(option_line(option, value, httpd.root))
    assert option.name in refusal(httpd) and value in refusal(httpd)


@pytest.mark.ours("options of ours")
@pytest.mark.parametrize("option, value", cases(OUR_OPTIONS, "good"))
def test_a_valid_option_of_ours_is_accepted(httpd, option, value):
    assert httpd.configtest(option_line(option, value, httpd.root)), httpd.control_output


@pytest.mark.ours("options of ours")
@pytest.mark.parametrize("option, value", cases(OUR_OPTIONS, "bad"))
def test_a_bad_option_of_ours_is_refused(httpd, option, value):
    assert not httpd.configtest(option_line(option, value, httpd.root))
    assert option.name in refusal(httpd) and value in refusal(httpd)


def test_an_unknown_option_is_refused(httpd, ours):
    assert not httpd.configtest("WSGIDaemonProcess app colour=red")
    assert not ours or "colour" in refusal(httpd)


def test_a_group_needs_a_name(httpd):
    assert not httpd.configtest("WSGIDaemonProcess")


# -- the same group twice --------------------------------------------------------------------------

TWICE = """<VirtualHost *:9>
ServerName one.test
WSGIDaemonProcess app threads=2 home={root}
</VirtualHost>
<VirtualHost *:9>
ServerName two.test
WSGIDaemonProcess app {second}
</VirtualHost>
"""


@pytest.mark.ours("the original refuses any second definition")
def test_an_identical_second_definition_refers_to_the_first(httpd):
    text = TWICE.format(root=httpd.root, second=f"home={httpd.root} threads=2")
    assert httpd.configtest(text), httpd.control_output


def test_a_conflicting_second_definition_is_refused(httpd, ours):
    assert not httpd.configtest(TWICE.format(root=httpd.root, second="threads=3"))
    if ours:
        lines = httpd.conf_file.read_text().splitlines()
        places = [n for n, text in enumerate(lines, 1) if text.startswith("WSGIDaemonProcess app")]
        for number in places:
            assert re.search(rf"(:|line ){number}\b", httpd.control_output), httpd.control_output
        assert "threads" in httpd.control_output


def test_the_table_names_each_directive_once():
    names = [d.name for d in directives.TABLE] + [o.name for o in OPTIONS]
    assert len(names) == len(set(names))
