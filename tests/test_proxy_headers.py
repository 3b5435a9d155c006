"""WSGITrustedProxyHeaders and WSGITrustedProxies: whose word counts for what, and what is stripped."""

import pytest

pytestmark = pytest.mark.mpms("event")

EVERY = ("X-Forwarded-For X-Client-IP X-Real-IP X-Forwarded-Host X-Host X-Forwarded-Server X-Forwarded-Port "
         "X-Script-Name X-Forwarded-Script-Name X-Forwarded-Proto X-Forwarded-Scheme X-Scheme "
         "X-Forwarded-HTTPS X-Forwarded-SSL X-HTTPS")

DIRECTIVES = f"""
<Location /environ/any>
    WSGITrustedProxyHeaders {EVERY}
</Location>
<Location /environ/trusted>
    WSGITrustedProxyHeaders X-Forwarded-For X-Forwarded-Host
    WSGITrustedProxyHeaders X-Forwarded-Proto X-Script-Name X-No-Such-Header
    WSGITrustedProxies 127.0.0.1 10.0.0.0/8
    WSGITrustedProxies fd00::/8
</Location>
<Location /environ/untrusted>
    WSGITrustedProxyHeaders {EVERY}
    WSGITrustedProxies 10.0.0.0/8
</Location>
<Location /environ/partial>
    WSGITrustedProxyHeaders X-Forwarded-For X-Real-IP
    WSGITrustedProxies 127.0.0.0/8
</Location>
<Location /environ/list-only>
    WSGITrustedProxies 127.0.0.1
</Location>
<Location /environ/rules>
    CGIVar REQUEST_URI current-uri
    WSGITrustedProxyHeaders {EVERY}
</Location>
<Location /environ/made-up>
    SetEnv HTTP_X_REAL_IP 192.0.2.77
    WSGITrustedProxyHeaders X-Real-IP
</Location>
<Location /environ/on>
    SetEnv HTTPS on
    WSGITrustedProxyHeaders X-Forwarded-Proto
</Location>
"""

SPOOFED = {
    "X-Forwarded-For": "192.0.2.1", "X-Client-IP": "192.0.2.2", "X-Real-IP": "192.0.2.3",
    "X-Forwarded-Host": "host.test:81", "X-Host": "other.test", "X-Forwarded-Server": "server.test",
    "X-Forwarded-Port": "444", "X-Script-Name": "/mount", "X-Forwarded-Script-Name": "/other",
    "X-Forwarded-Proto": "https", "X-Forwarded-SSL": "on",
}


def environ(site, scope, headers):
    return {key: value for key, (_, value) in site.json(f"/environ/{scope}", headers=headers).items()}


def forwarded(env):
    """The variables of headers that proxies use."""
    return {key for key in env if key.startswith("HTTP_X_")}


@pytest.mark.parametrize("scope", ["plain", "list-only"])
def test_without_a_list_of_headers_nothing_is_believed_and_nothing_stripped(site, scope):
    env = environ(site, scope, SPOOFED)
    assert env["REMOTE_ADDR"] == "127.0.0.1" and env["SERVER_PORT"] == str(site.port)
    assert env["wsgi.url_scheme"] == "http" and "mod_wsgi.mount_point" not in env
    assert env["HTTP_X_FORWARDED_FOR"] == "192.0.2.1" and len(forwarded(env)) == len(SPOOFED)


EFFECTS = [
    ("X-Forwarded-For", "192.0.2.1, 192.0.2.9", "REMOTE_ADDR", "192.0.2.1"),
    ("X-Client-IP", "192.0.2.2", "REMOTE_ADDR", "192.0.2.2"),
    ("X-Real-IP", "no address", "REMOTE_ADDR", "no address"),
    ("X-Forwarded-Host", "host.test:81, b", "HTTP_HOST", "host.test:81, b"),
    ("X-Host", "other.test", "HTTP_HOST", "other.test"),
    ("X-Forwarded-Server", "server.test", "SERVER_NAME", "server.test"),
    ("X-Forwarded-Port", "444", "SERVER_PORT", "444"),
    ("X-Script-Name", "/mount//x/", "SCRIPT_NAME", "/mount//x/"),
    ("X-Script-Name", "", "SCRIPT_NAME", ""),
    ("X-Forwarded-Script-Name", "/mount", "mod_wsgi.mount_point", "/mount"),
    ("X-Forwarded-Proto", "HTTPS", "wsgi.url_scheme", "https"),
    ("X-Forwarded-Scheme", "http", "wsgi.url_scheme", "http"),
    ("X-Scheme", "wss", "wsgi.url_scheme", "http"),
    ("X-Forwarded-HTTPS", "On", "wsgi.url_scheme", "https"),
    ("X-Forwarded-SSL", "TRUE", "wsgi.url_scheme", "https"),
    ("X-HTTPS", "1", "wsgi.url_scheme", "https"),
    ("X-HTTPS", "https", "wsgi.url_scheme", "http"),
]


@pytest.mark.parametrize("scope", ["any", "rules"])
@pytest.mark.parametrize("name, value, variable, shown", EFFECTS)
def test_each_header_has_its_effect_and_stays(site, scope, name, value, variable, shown):
    env = environ(site, scope, {name: value})
    assert env[variable] == shown
    assert env["HTTP_" + name.upper().replace("-", "_")] == value
    assert env["PATH_INFO"] == f"/{scope}" == env["mod_wsgi.path_info"]
    assert env["mod_wsgi.script_name"] == "/environ"
    assert ("mod_wsgi.mount_point" in env) == ("Script" in name)


@pytest.mark.parametrize("sent, client", [({}, "192.0.2.77"), ({"X-Real-IP": "192.0.2.1"}, "192.0.2.1")])
def test_a_variable_of_the_server_may_stand_in_for_a_header(site, sent, client):
    assert environ(site, "made-up", sent)["REMOTE_ADDR"] == client


def test_the_last_of_a_category_wins_and_the_others_are_stripped(site):
    env = environ(site, "any", SPOOFED)
    assert env["REMOTE_ADDR"] == "192.0.2.3" and env["HTTP_HOST"] == "other.test"
    assert env["SCRIPT_NAME"] == "/other" == env["mod_wsgi.mount_point"]
    assert forwarded(env) == {"HTTP_X_REAL_IP", "HTTP_X_HOST", "HTTP_X_FORWARDED_SERVER", "HTTP_X_FORWARDED_PORT",
                              "HTTP_X_FORWARDED_SCRIPT_NAME", "HTTP_X_FORWARDED_SSL"}


def test_who_is_not_trusted_is_not_heard(site):
    env = environ(site, "untrusted", SPOOFED)
    assert env["REMOTE_ADDR"] == "127.0.0.1" and env["HTTP_HOST"] == f"127.0.0.1:{site.port}"
    assert env["SERVER_NAME"] == "127.0.0.1" and env["SERVER_PORT"] == str(site.port)
    assert env["SCRIPT_NAME"] == "/environ" and "mod_wsgi.mount_point" not in env
    assert env["wsgi.url_scheme"] == "http" and forwarded(env) == set()


def test_categories_that_are_not_listed_are_left_alone(site):
    env = environ(site, "partial", SPOOFED)
    assert env["REMOTE_ADDR"] == "192.0.2.3" and env["HTTP_HOST"] == f"127.0.0.1:{site.port}"
    assert not {"HTTP_X_FORWARDED_FOR", "HTTP_X_CLIENT_IP"} & forwarded(env)
    assert {"HTTP_X_FORWARDED_HOST", "HTTP_X_SCRIPT_NAME", "HTTP_X_FORWARDED_PROTO"} <= forwarded(env)


LISTS = [
    ("192.0.2.1", "192.0.2.1", "192.0.2.1"),
    ("192.0.2.1, 10.1.1.1", "192.0.2.1", "192.0.2.1, 10.1.1.1"),
    ("192.0.2.1,192.0.2.2 ,, 10.1.1.1,10.2.2.2", "192.0.2.2", "192.0.2.2, 10.1.1.1, 10.2.2.2"),
    ("10.1.1.1, 10.2.2.2", "10.1.1.1", "10.1.1.1, 10.2.2.2"),
    ("10.1.1.1, 192.0.2.1", "192.0.2.1", "192.0.2.1"),
    ("192.0.2.1, fd00::1", "192.0.2.1", "192.0.2.1, fd00::1"),
    ("192.0.2.1, ::ffff:10.1.1.1", "192.0.2.1", "192.0.2.1, ::ffff:10.1.1.1"),
    ("unknown, 10.1.1.1", "unknown", "unknown, 10.1.1.1"),
    (", ,", "127.0.0.1", ", ,"),
]

# The original takes none of these for an address, and looks up names in the DNS.
LISTS_OF_OURS = [
    ("192.0.2.1:99", "192.0.2.1", "192.0.2.1:99"),
    ("192.0.2.1, 10.1.1.1:99", "192.0.2.1", "192.0.2.1, 10.1.1.1:99"),
    ("192.0.2.1, [fd00::1]", "192.0.2.1", "192.0.2.1, [fd00::1]"),
    ("[2001:db8::1]:9, [fd00::1]:8", "2001:db8::1", "[2001:db8::1]:9, [fd00::1]:8"),
    ("10.1.1.1, localhost", "localhost", "localhost"),
]


def check_list(site, sent, client, shown):
    env = environ(site, "trusted", {"X-Forwarded-For": sent, "X-Real-IP": "192.0.2.99"})
    assert (env["REMOTE_ADDR"], env["HTTP_X_FORWARDED_FOR"]) == (client, shown)
    assert "HTTP_X_REAL_IP" not in env


@pytest.mark.parametrize("sent, client, shown", LISTS)
def test_forwarded_for_is_read_from_the_right(site, sent, client, shown):
    check_list(site, sent, client, shown)


@pytest.mark.ours("literal addresses only, with a port or without")
@pytest.mark.parametrize("sent, client, shown", LISTS_OF_OURS)
def test_forwarded_for_may_have_ports_but_no_names(site, sent, client, shown):
    check_list(site, sent, client, shown)


def test_repeated_headers_make_one_list(site):
    raw = site.raw(b"GET /environ/trusted HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.1\r\n"
                   b"X-Forwarded-For: 10.1.1.1\r\nConnection: close\r\n\r\n")
    assert b'"192.0.2.1, 10.1.1.1"' in raw and b'["str", "192.0.2.1"]' in raw


@pytest.mark.parametrize("told, scheme", [(None, "https"), ("http", "http"), ("wss", "https"), ("https", "https")])
def test_a_proxy_outvotes_setenv_on_the_scheme(site, told, scheme):
    env = environ(site, "on", {"X-Forwarded-Proto": told} if told else {})
    assert env["wsgi.url_scheme"] == scheme and "HTTPS" not in env
