"""WSGIAccessScript, WSGIAuthUserScript, WSGIAuthGroupScript: what scripts allow, in httpd's children and in daemon processes.
Whatever is no answer refuses."""

import pytest

from deciding import MODULES, basic, calls, write_script
from httpd import Ports
from made import curl
from secure import make_certificate

# Where the script runs. The original runs it in httpd's children only.
PLACES = ["", pytest.param("process-group=deciders", marks=pytest.mark.ours("the original has no such option"))]
GROUP = "WSGIDaemonProcess deciders threads=3\n"
places = pytest.mark.parametrize("place", PLACES, ids=["child", "daemon"])
both_mpms = pytest.mark.mpms("event", "prefork")

# What the original says of the same, and tracebacks.
SAID = r"WSGI0(0[4-6]\d|105|109|17[4-9])|Traceback|File |RuntimeError|raise |return |SyntaxError|x =|invalid syntax|\^|answer\(|gives no answer|NoneType|refused"


def closed(httpd, place, lines, script=None, modules=MODULES):
    """Starts a server whose /closed/ has these lines; {script} is the script with its place."""
    script = script or write_script(httpd)
    httpd.write("htdocs/closed/page", "the page")
    lines = lines.format(script=f'"{script}" {place}')
    httpd.start(f"{GROUP}<Directory {httpd.root}/htdocs/closed>\n{lines}\n</Directory>", modules)
    return httpd


def told(httpd, ours, pattern):
    httpd.log.expect(pattern) if ours else None
    httpd.log.allow(SAID)


# -- access ----------------------------------------------------------------------------------------


@places
@pytest.mark.parametrize("word, status", [
    ("yes", 200), ("none", 200), ("no", 403), ("one", 403), ("text", 403), ("raise", 403)])
def test_an_access_script_lets_in_or_not(httpd, ours, place, word, status):
    closed(httpd, place, "WSGIAccessScript {script}\nRequire all granted")
    if status == 403:
        told(httpd, ours, r"access is denied \(403\)$" if word != "no" else "WSGI0057: Client denied by server configuration: '.*WSGIAccessScript")
    response = httpd.get(f"/closed/page?{word}")
    assert response.status == status and ("the page" in response.text) == (status == 200)


@places
@pytest.mark.parametrize("text, line", [
    (None, "WSGI0105: Could not read or compile WSGI script '.*none.py'"),
    ("x =", "WSGI0105: Could not read or compile WSGI script '.*none.py'"),
    ("", r"WSGI0056: .*none.py.* does not contain a function allow_access\(\)")],
    ids=["missing", "broken", "empty"])
def test_an_access_script_that_cannot_answer_denies(httpd, ours, place, text, line):
    script = httpd.root / "apps/none.py"
    if text is not None:
        script.write_text(text)
    closed(httpd, place, "WSGIAccessScript {script}\nRequire all granted", script)
    told(httpd, ours, line)
    told(httpd, ours, r"WSGIAccessScript /.*none.py \(at .*httpd.conf:\d+\): .*gave no answer.*; access is denied \(403\)")
    httpd.log.allow("No such file|unable to open|FileNotFound")
    for _ in range(2):
        assert httpd.get("/closed/page").status == 403


@both_mpms
@places
def test_an_access_script_sees_a_cut_down_environ(httpd, ours, place):
    closed(httpd, place, "SetEnv SECRET 1\nWSGIAccessScript {script}\nRequire all granted")
    headers = {"Authorization": "Basic x", "Proxy": "evil", "X-Seen": "1", "Cookie": "a=b"}
    assert httpd.get("/closed/page?yes", headers=headers).status == 200
    (function, environ, arguments, pid, _), = calls(httpd)
    assert function == "allow_access" and arguments == ["127.0.0.1"]
    expected = {"REQUEST_METHOD": "GET", "QUERY_STRING": "yes", "REQUEST_URI": "/closed/page?yes", "SCRIPT_NAME": "/closed/page",
                "PATH_INFO": "", "REMOTE_ADDR": "127.0.0.1", "SERVER_NAME": "127.0.0.1", "SERVER_PORT": str(httpd.port),
                "SERVER_PROTOCOL": "HTTP/1.1", "HTTP_X_SEEN": "1", "HTTP_COOKIE": "a=b", "DOCUMENT_ROOT": f"{httpd.root}/htdocs",
                "mod_wsgi.process_group": "deciders" if place else "", "mod_wsgi.application_group": ""}
    assert {key: environ.get(key) for key in expected} == expected
    assert not {"SECRET", "HTTP_AUTHORIZATION", "REMOTE_USER", "wsgi.input", "SCRIPT_FILENAME"} & set(environ)
    if ours:
        assert "HTTP_PROXY" not in environ
        assert (pid in [child.pid for child in httpd.children()]) == (not place)


@both_mpms
@places
def test_a_changed_script_decides_anew(httpd, place):
    script = httpd.write("apps/changing.py", "def allow_access(environ, host):\n    return True\n")
    closed(httpd, place, "WSGIAccessScript {script}\nRequire all granted", script)
    httpd.log.allow("Client denied|WSGI0057")
    assert httpd.get("/closed/page").status == 200
    script.with_suffix(".new").write_text("def allow_access(environ, host):\n    return False\n")
    script.with_suffix(".new").rename(script)
    assert httpd.get("/closed/page").status == 403


@places
def test_who_is_denied_may_authenticate_under_satisfy_any(httpd, ours, place):
    closed(httpd, place, """WSGIAccessScript {script}
WSGIAuthUserScript {script}
AuthType Basic
AuthName closed
AuthBasicProvider wsgi
Require valid-user
Satisfy Any""")
    httpd.log.allow("password mismatch|AH01617|AH01618|not found")
    assert httpd.get("/closed/page?yes").status == 200
    assert httpd.get("/closed/page?no").status == 401
    assert httpd.get("/closed/page?no", headers=basic("me")).status == 200
    assert httpd.get("/closed/page?no", headers=basic("me", "wrong")).status == 401
    assert not httpd.log.matching("Client denied")


# -- passwords -------------------------------------------------------------------------------------

BASIC = "AuthType Basic\nAuthName closed\nAuthBasicProvider wsgi\nWSGIAuthUserScript {script}\n"


@places
@pytest.mark.parametrize("user, status", [
    ("me", 200), ("yes", 200), ("no", 401), ("none", 401), ("one", 500), ("empty", 500), ("bytes", 500), ("raise", 500)])
def test_a_script_checks_passwords(httpd, ours, place, user, status):
    closed(httpd, place, BASIC + "Require valid-user")
    httpd.log.allow("AH01617|AH01618|AH01620|password mismatch|not found")
    if status == 500:
        told(httpd, ours, r"WSGIAuthUserScript .*: .*gave no answer.*; nobody is let in \(500\)")
    assert httpd.get("/closed/page").status == 401 and not calls(httpd)
    response = httpd.get("/closed/page", headers=basic(user))
    assert response.status == status and ("the page" in response.text) == (status == 200)
    (_, environ, arguments, *_), = calls(httpd, "check_password")
    assert arguments == [user, "secret"] and "HTTP_AUTHORIZATION" not in environ


@both_mpms
@places
def test_a_script_may_give_the_user_another_name(httpd, place):
    httpd.write("apps/environ.wsgi", httpd.app("environ").read_text())
    script = write_script(httpd)
    httpd.start(f"""{GROUP}WSGIScriptAlias /app {httpd.root}/apps/environ.wsgi
<Location /app>
{BASIC.format(script=f'{script} {place}')}
Require valid-user
</Location>""", MODULES)
    environ = httpd.json("/app", headers=basic("as-someone"))
    assert (environ["REMOTE_USER"][1], environ["AUTH_TYPE"][1]) == ("someone", "Basic")


@places
def test_users_whom_no_file_knows_are_asked_for(httpd, place):
    closed(httpd, place, BASIC.replace("Provider wsgi", "Provider file wsgi")
           + f"AuthUserFile {httpd.root}/apps/users\nRequire valid-user")
    httpd.write("apps/users", "listed:$apr1$x$lFpK4bSjCMxlVG1fYzUYD/\n")
    httpd.log.allow("AH01617|AH01618|password mismatch|not found")
    assert httpd.get("/closed/page", headers=basic("me")).status == 200
    assert httpd.get("/closed/page", headers=basic("listed", "wrong")).status == 401
    assert [arguments for _, _, arguments, *_ in calls(httpd)] == [["me", "secret"]]


@places
def test_a_cache_of_logins_may_stand_before_a_script(httpd, place):
    """mod_authn_socache keeps what files and databases know. It never holds what a script answers, so the script is asked each time."""
    closed(httpd, place, BASIC.replace("Provider wsgi", "Provider socache file wsgi")
           + f"AuthUserFile {httpd.root}/apps/users\nAuthnCacheProvideFor file wsgi\nRequire valid-user",
           modules=(*MODULES, "authn_socache", "socache_shmcb"))
    httpd.write("apps/users", "listed:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n")
    httpd.log.allow("AH01617|AH01618|password mismatch|not found")
    for _ in range(2):
        assert httpd.get("/closed/page", headers=basic("listed")).status == 200
        assert httpd.get("/closed/page", headers=basic("me")).status == 200
        assert httpd.get("/closed/page", headers=basic("me", "wrong")).status == 401
    assert [arguments for _, _, arguments, *_ in calls(httpd)] == [["me", "secret"], ["me", "wrong"]] * 2


@places
@pytest.mark.parametrize("user, status", [
    ("me", b"200"), ("bytes-user", b"200"), ("none", b"401"), ("yes", b"500"), ("empty", b"500"), ("raise", b"500")])
def test_a_script_gives_hashes_for_digest(httpd, ours, place, user, status):
    closed(httpd, place, "AuthType Digest\nAuthName closed\nAuthDigestProvider wsgi\nWSGIAuthUserScript {script}\nRequire valid-user")
    httpd.log.allow("AH01790|AH01791|AH01792|AH01776|not found|user .* in realm")
    if status == b"500":
        told(httpd, ours, r"WSGIAuthUserScript .*nobody is let in \(500\)")
    where = f"http://127.0.0.1:{httpd.port}/closed/page"
    got = curl("--digest", "-u", f"{user}:secret", "-o", "/dev/null", "-w", "%{http_code}", where)[1]
    assert got == status
    assert calls(httpd, "get_realm_hash")[0][2] == [user, "closed"]


# -- groups ----------------------------------------------------------------------------------------


@places
@pytest.mark.parametrize("user, is_member", [
    ("listed", True), ("tuple", True), ("bytes", True), ("generator", True), ("nobody", False), ("others", False),
    ("numbers", False), ("nothing", False), ("raise", False)])
def test_a_script_gives_the_groups_of_a_user(httpd, ours, place, user, is_member):
    script = write_script(httpd)
    users = httpd.write("apps/check.py", "def check_password(environ, user, password):\n    return True\n")
    closed(httpd, place, BASIC.replace("{script}", f'"{users}"') + """WSGIAuthGroupScript {script}
<RequireAny>
Require wsgi-group admin
Require wsgi-group "two words" staff
</RequireAny>""", script)
    httpd.log.allow(SAID + "|AH01631|authorization failure")
    if not is_member:
        told(httpd, ours, "names none of the groups|User is not a member of any groups|the user counts as a member of no group")
    response = httpd.get("/closed/page", headers=basic(user))
    assert response.status == (200 if is_member else 401)
    if ours:
        assert len(calls(httpd, "groups_for_user")) == 1


@pytest.mark.ours("the original takes the letters for names of groups")
def test_a_text_is_no_list_of_groups(httpd):
    users = httpd.write("apps/check.py", "def check_password(environ, user, password):\n    return True\n")
    closed(httpd, "", BASIC.replace("{script}", f'"{users}"') + "WSGIAuthGroupScript {script}\nRequire wsgi-group s staff")
    httpd.log.expect(r"groups_for_user\(\) returned a value of type str; it must return an iterable of names")
    httpd.log.allow(SAID + "|AH01631|authorization failure|member of no group")
    assert httpd.get("/closed/page", headers=basic("letters")).status == 401


# -- where and how often ---------------------------------------------------------------------------


@both_mpms
@pytest.mark.ours("the original asks again for subrequests and internal redirects")
@places
def test_a_check_runs_once_for_a_request(httpd, place):
    """mod_dir looks for the index by a subrequest, and redirects to it."""
    httpd.write("htdocs/closed/index.html", "the index")
    closed(httpd, place, "DirectoryIndex missing.html index.html\n" + BASIC + "WSGIAccessScript {script}\nRequire valid-user")
    assert httpd.get("/closed/", headers=basic("me")).text == "the index"
    assert [function for function, *_ in calls(httpd)] == ["allow_access", "check_password"]


@both_mpms
def test_a_htaccess_may_name_a_script(httpd, ours):
    script = write_script(httpd)
    httpd.write("htdocs/closed/page", "the page")
    httpd.write("htdocs/closed/.htaccess", f'WSGIAccessScript "{script}"\n')
    httpd.start(f"<Directory {httpd.root}/htdocs/closed>\nAllowOverride AuthConfig\n</Directory>")
    httpd.log.allow("Client denied|WSGI0057")
    assert httpd.get("/closed/page?yes").status == 200
    assert httpd.get("/closed/page?no").status == 403


@pytest.mark.ours("the original has no such option, and no such limit")
def test_a_htaccess_chooses_no_process_group_and_respects_the_restriction(httpd):
    script = write_script(httpd)
    for name, option in (("group", "process-group=deciders"), ("child", "")):
        httpd.write(f"htdocs/{name}/page", "the page")
        httpd.write(f"htdocs/{name}/.htaccess", f'WSGIAccessScript "{script}" {option}\n')
    httpd.start(f"{GROUP}WSGIRestrictEmbedded On\n<Directory {httpd.root}/htdocs>\nAllowOverride AuthConfig\n</Directory>")
    httpd.log.expect(r"\.htaccess: line 1: WSGIAccessScript: process-group= cannot stand in a \.htaccess file")
    httpd.log.expect("WSGIRestrictEmbedded On lets no script of a .htaccess file run in httpd's children; access is denied")
    assert httpd.get("/group/page?yes").status == 500
    assert httpd.get("/child/page?yes").status == 403
    assert not calls(httpd)


@pytest.mark.ours("the original has no such option")
@pytest.mark.parametrize("group, said", [
    ("none", "No WSGI daemon process called 'none'"), ("jobs", "threads=0"), ("%{ENV:X}", "must be a name")])
def test_a_group_that_cannot_answer_is_refused_at_the_start(httpd, group, said):
    script = write_script(httpd)
    directives = f"""WSGIDaemonProcess deciders
WSGIDaemonProcess jobs threads=0
<Location />
WSGIAuthUserScript "{script}" process-group={group}
</Location>"""
    assert not httpd.configtest(directives)
    assert said in httpd.control_output or httpd.log.matching(said)
    httpd.log.allow(said)


@both_mpms
@pytest.mark.ours("the original has no such option")
def test_a_daemon_process_answers_in_time_or_access_is_denied(httpd):
    script = httpd.write("apps/slow.py", """
import os, time
def allow_access(environ, host):
    if environ['QUERY_STRING'] == 'exit':
        os._exit(3)
    if environ['QUERY_STRING'] == 'sleep':
        time.sleep(60)
    return True
""")
    httpd.write("htdocs/closed/page", "the page")
    httpd.start(f"""WSGIDaemonProcess deciders threads=3 request-timeout=1 shutdown-timeout=1
<Location /closed>
WSGIAccessScript {script} process-group=deciders
</Location>""")
    httpd.log.expect(r"GET /closed/page on request thread \d has run for")
    httpd.log.expect(r'process \d+ was lost while it executed the request allow_access\(\) for GET /closed/page: exited with '
                     'status 3.*; there is no answer')
    httpd.log.expect(r'WSGIAccessScript /.*slow.py .*: process group "deciders" gave no answer .its own lines say why.; access')
    httpd.log.allow(r"process group \"deciders\"|Thread|Current thread|File |time.sleep|\] $")
    assert httpd.get("/closed/page").status == 200
    assert httpd.get("/closed/page?exit").status == 403
    assert httpd.get("/closed/page?sleep").status == 403
    assert httpd.get("/closed/page").status == 200


@both_mpms
@pytest.mark.ours("the original runs such scripts in httpd's children")
def test_a_group_answers_as_its_user_and_no_python_runs_in_the_children(httpd):
    script = write_script(httpd)
    httpd.write("htdocs/closed/page", "the page")
    httpd.start(f"""WSGIDaemonProcess deciders user=nobody group=nogroup home=/ threads=2
WSGIRestrictEmbedded On
<Location /closed>
WSGIAccessScript {script} process-group=deciders
</Location>""")
    assert {httpd.get("/closed/page").status for _ in range(20)} == {200}
    assert len({(pid, user) for *_, pid, user in calls(httpd)}) == 1
    for child in httpd.children():
        with open(f"/proc/{child.pid}/maps") as maps:
            assert "libpython" not in maps.read()


TLS = """
def allow_access(environ, host):
    is_https, lookup = environ['mod_ssl.is_https'], environ['mod_ssl.var_lookup']
    seen = [is_https(), lookup('SSL_PROTOCOL'), lookup('SSL_SERVER_S_DN_CN'), lookup('SSL_CLIENT_VERIFY'), lookup('NONE')]
    print('SEEN', seen, file=environ['wsgi.errors'])
    return True
"""


@both_mpms
@places
def test_a_script_sees_the_tls_connection(httpd, place):
    make_certificate(httpd.root)
    port = Ports.free()
    closed(httpd, place, f"""WSGIAccessScript {{script}}
Require all granted
</Directory>
Listen 127.0.0.1:{port}
<VirtualHost 127.0.0.1:{port}>
    ServerName secure.example
    SSLEngine on
    SSLCertificateFile "{httpd.root}/cert.pem"
    SSLCertificateKeyFile "{httpd.root}/key.pem"
</VirtualHost>
<Directory {httpd.root}/htdocs/other>""", httpd.write("apps/tls.py", TLS), [*MODULES, "ssl", "http2"])
    httpd.log.allow("SEEN")
    assert httpd.get("/closed/page").status == 200
    assert "[0, '', '', '', '']" in httpd.log.wait_for("SEEN")
    for count, option in enumerate(("--http1.1", "--http2"), 2):
        assert curl("-k", option, f"https://127.0.0.1:{port}/closed/page")[1] == b"the page"
        assert "[1, 'TLSv1.3', 'secure.example', 'NONE', '']" in httpd.log.wait_for("SEEN", count=count)
