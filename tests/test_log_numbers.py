"""The numbers and the words of log lines that watchers of logs know; with mod_wsgi 6.1 they are the same."""

import os
import re
import socket

import pytest

from conftest import mode_directives
from deciding import basic

# What stands below a line about an exception.
BELOW = r'Traceback|  File "|    |^\S*Error|\] \w*Error: |\] SystemExit: |\] mod_wsgi\.RequestTimeout'
NUMBER = re.compile(r"\] (?:\[(?:client|remote) [^\]]+\] )?(?:\[script [^\]]+\] )?(WSGI\d{4}): (?:\[script [^\]]+\] )?(.*)$")


def numbered(log):
    """Number and text of each line that has one."""
    found = map(NUMBER.search, log.lines())
    return [(line[1], line[2]) for line in found if line]


def expect(log, *lines):
    """Declares lines with these numbers; the words may stand behind the name of the script. No other number may come."""
    for number, words in lines:
        log.expect(rf"{number}: (\[script [^\]]+\] )?{words}")
    log.allow(BELOW)


def place(mode):
    return "main interpreter " + ("in embedded mode" if mode == "embedded" else "of daemon process 'app'")


def script(site, name):
    return re.escape(str(site.root / f"apps/{name}.wsgi"))


# -- a request that fails --------------------------------------------------------------------------


@pytest.mark.parametrize("path, kind", [
    ("/failing/before", "ValueError"), ("/failing/keyboard-interrupt", "KeyboardInterrupt"),
    ("/failing/after-start-response", "ValueError"), ("/close/close-raises", "ValueError"), ("/close/error", "ValueError")])
def test_an_exception(site, mode, path, kind):
    site.log.allow("KeyboardInterrupt: ")
    name = script(site, path.split("/")[1])
    expect(site.log, ("WSGI0174", f"{kind} exception raised processing WSGI script '{name}' for {place(mode)}\\."))
    try:
        site.get(path)
    except (OSError, ValueError):
        pass  # The response is cut short.
    site.log.wait_for("WSGI0174")
    assert {number for number, _ in numbered(site.log)} == {"WSGI0174"}


def test_sys_exit(site, mode):
    line = f"SystemExit exception raised by WSGI script '{script(site, 'failing')}' for {place(mode)}; ignored\\."
    expect(site.log, ("WSGI0175", line))
    assert site.get("/failing/system-exit").status == 500
    site.log.wait_for("SystemExit: 3")


@pytest.mark.parametrize("name, number, words, kind", [
    ("syntax_error", "WSGI0105", "Could not read or compile WSGI script '{script}' for {place}\\.", "SyntaxError"),
    ("import_error", "WSGI0109", "Unable to execute Python script file '{script}'\\.", "RuntimeError")])
def test_a_script_that_cannot_be_loaded(site, mode, name, number, words, kind):
    path = script(site, name)
    expect(site.log, (number, words.format(script=path, place=place(mode))),
           ("WSGI0174", f"{kind} exception raised processing WSGI script '{path}' for {place(mode)}\\."))
    site.log.allow("def application|\\^")
    assert site.get(f"/{name}").status == 500


def test_a_script_without_an_application(site):
    line = f"Target WSGI script '{script(site, 'other_callable')}' does not contain WSGI application 'application'"
    expect(site.log, ("WSGI0089", line))
    assert site.get("/other_callable").status in (404, 500)


def test_a_lookup_of_close_that_fails(site, mode):
    expect(site.log, ("WSGI0194", "Lookup of 'close' attribute on WSGI response iterable raised an exception\\."),
           ("WSGI0174", "\\w+ exception raised processing WSGI script"))
    site.get("/terminations/returned/close-cannot-be-found")


# -- the life of scripts ---------------------------------------------------------------------------

APPLICATION = """
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'%s']
"""


def start(httpd, mode, lines="", url="/", **options):
    alias = f"WSGIApplicationGroup %{{GLOBAL}}\nWSGIScriptAlias {url} {httpd.root}/apps/app.wsgi\n"
    return httpd.start(f"{mode_directives(mode, **options)}{alias}{lines}")


@pytest.mark.check
def test_loading_and_reloading(httpd, mode):
    path = httpd.write("apps/app.wsgi", APPLICATION % "one")
    os.utime(path, (1, 1))
    start(httpd, mode)
    assert httpd.get("/").text == "one"
    httpd.log.wait_for(rf"\[wsgi:info\] .*Loading WSGI script '{path}' into {place(mode)}\.")
    path.write_text(APPLICATION % "two")
    assert httpd.get("/").text == "two"
    again = "Reloading" if mode == "embedded" else "Loading"
    httpd.log.wait_for(rf"\[wsgi:info\] .* {again} WSGI script '{path}' into {place(mode)}\.",
                       count=1 if mode == "embedded" else 2)


@pytest.mark.parametrize("text, number, words", [
    ("def x(\n", "WSGI0106", "Could not read or compile WSGI script '{path}' for {place}\\."),
    ("raise RuntimeError('not today')\n", "WSGI0110", "Unable to execute Python script file '{path}'\\."),
    ("raise SystemExit(4)\n", "WSGI0108", "SystemExit exception raised when doing exec of Python script file '{path}'\\."),
])
def test_an_import_script_that_cannot_be_loaded(httpd, mode, text, number, words):
    httpd.write("apps/app.wsgi", APPLICATION % "served")
    path = httpd.write("apps/first.py", text)
    expect(httpd.log, (number, words.format(path=path, place=place(mode))))
    httpd.log.allow("WSGI017[45]: |def x|\\^|raise ")
    group = "%{GLOBAL}" if mode == "embedded" else "app"
    start(httpd, mode, f"WSGIImportScript {path} process-group={group} application-group=%{{GLOBAL}}")
    httpd.log.wait_for(number)
    assert httpd.get("/").text == "served"


def test_sys_exit_while_a_script_loads(httpd, mode):
    httpd.write("apps/app.wsgi", APPLICATION % "served")
    # No process loads a script of a directory before a request.
    path = httpd.write("all/exits.wsgi", "import sys\nsys.exit(4)\n")
    expect(httpd.log, ("WSGI0107", f"SystemExit exception raised when doing exec of Python script file '{path}'\\."),
           ("WSGI0175", f"SystemExit exception raised by WSGI script '{path}' for {place(mode)}; ignored\\."))
    start(httpd, mode, f"WSGIScriptAlias /all/ {httpd.root}/all/", url="/app")
    assert httpd.get("/all/exits.wsgi").status == 500


EVENTS = """
import sys
import mod_wsgi


def fails(name, **event):
    if name == 'request_started':
        raise ValueError('a subscriber fails')


def exits(name, **event):
    if name == 'request_started':
        sys.exit(3)


mod_wsgi.subscribe_events(fails)
mod_wsgi.subscribe_events(exits)
""" + APPLICATION % "served"


def test_subscribers_that_fail(httpd, mode):
    httpd.write("apps/app.wsgi", EVENTS)
    expect(httpd.log, ("WSGI0112", "ValueError exception raised by event callback for 'request_started'"),
           ("WSGI0190", "SystemExit exception raised by event callback for 'request_started'; ignored"))
    start(httpd, mode)
    assert httpd.get("/").text == "served"


SIGNALS = """
import signal


def application(environ, start_response):
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    start_response('200 OK', [])
    return [b'served']
"""


def test_a_handler_for_a_signal(httpd, mode):
    httpd.write("apps/app.wsgi", SIGNALS)
    start(httpd, mode)
    assert httpd.get("/").text == "served"
    httpd.log.wait_for(r"\[wsgi:info\] .*Ignoring Python signal handler registration for signal 15.* in WSGI process; mod_wsgi manages signals")


# -- requests that are refused ---------------------------------------------------------------------


@pytest.mark.check
def test_refusals(httpd, mode):
    httpd.write("apps/app.wsgi", APPLICATION % "served")
    expect(
        httpd.log,
        ("WSGI0135", "Target WSGI script not found or unable to stat"),
        ("WSGI0136", "Attempt to invoke directory as WSGI application"),
        ("WSGI0137", "AcceptPathInfo off disallows user's path"),
        ("WSGI0134", "Options ExecCGI is off in this directory"),
        ("WSGI0139", "Request requires chunked transfer encoding, but support for chunked transfer encoding has not been enabled"),
        ("WSGI0149", "Daemon process called '[^']*' cannot be accessed by this WSGI application as not a member of allowed groups"),
        ("WSGI0151", "No WSGI daemon process called 'nobody' has been configured"),
        ("WSGI0152", "Daemon process called 'far' cannot be accessed by this WSGI application"),
    )
    app = httpd.root / "apps/app.wsgi"
    start(httpd, mode, url="/app", lines=f"""
<VirtualHost 127.0.0.1:1>
    ServerName elsewhere
    WSGIDaemonProcess far
</VirtualHost>
<Location /ours/missing>
    Options ExecCGI
    SetHandler wsgi-script
</Location>
Alias /ours/missing {httpd.root}/apps/missing.wsgi
Alias /ours/closed {app}
<Location /ours/closed>
    Options None
    SetHandler wsgi-script
</Location>
<Location /ours/folder>
    Options ExecCGI
    SetHandler wsgi-script
</Location>
Alias /ours/folder {httpd.root}/apps
<Location /app/short>
    AcceptPathInfo Off
</Location>
<Location /app/unknown>
    WSGIProcessGroup nobody
</Location>
<Location /app/far>
    WSGIProcessGroup far
</Location>
<Location /app/restricted>
    WSGIRestrictProcess other
</Location>
<Location /app/unchunked>
    WSGIChunkedRequest Off
</Location>
""")
    wanted = {"/ours/missing": 404, "/ours/folder/": 403, "/ours/closed": 403, "/app/short/x": 404, "/app/unknown": 500, "/app/far": 500,
              "/app/restricted": 500}
    assert {path: httpd.get(path).status for path in wanted} == wanted
    with socket.create_connection(("127.0.0.1", httpd.port)) as client:
        client.sendall(b"POST /app/unchunked HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 411 ")


@pytest.mark.modes("embedded")
def test_embedded_mode_that_is_switched_off(httpd, mode):
    httpd.write("apps/app.wsgi", APPLICATION % "served")
    expect(httpd.log, ("WSGI0143", "Embedded mode of mod_wsgi disabled by runtime configuration"))
    start(httpd, mode, "WSGIRestrictEmbedded On")
    assert httpd.get("/").status == 500


@pytest.mark.modes("daemon")
@pytest.mark.parametrize("option, mode_of_file, owner, number, words", [
    ("script_user", 0o644, "root", "WSGI0164", "WSGI script file owner '[^']+' does not match user required for daemon process"),
    ("script_group", 0o644, "root", "WSGI0155", "WSGI script file group '[^']+' does not match group required for daemon process"),
    ("script_user", 0o664, "www-data", "WSGI0166", "WSGI script file is writable to group"),
    ("script_user", 0o644, "www-data", "WSGI0171", "Parent directory of WSGI script file has owner '[^']+' which does not match"),
    ("script_group", 0o666, "www-data", "WSGI0157", "WSGI script file is writable to world"),
    ("script_group", 0o644, "www-data", "WSGI0160", "Parent directory of WSGI script file has group '[^']+' which does not match"),
])
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_owners(httpd, mode, option, mode_of_file, owner, number, words):
    path = httpd.write("apps/app.wsgi", APPLICATION % "served")
    if owner != "root":
        httpd.own(path, owner)
    path.chmod(mode_of_file)
    expect(httpd.log, (number, words))
    start(httpd, mode, **{option: "www-data"})
    assert httpd.get("/").status == 403


# -- scripts that decide ---------------------------------------------------------------------------

DECIDES = """
def allow_access(environ, host):
    return {'/no': False, '/odd': 3}.get(environ['REQUEST_URI'], True)


def check_password(environ, user, password):
    return {'odd': 3, 'empty': ''}.get(user, True)


def groups_for_user(environ, user):
    return [] if user == 'none' else ['a']
"""


@pytest.mark.modes("embedded")
@pytest.mark.check
def test_decisions(httpd, mode):
    httpd.write("apps/app.wsgi", APPLICATION % "served")
    script = httpd.write("apps/decides.py", DECIDES)
    nothing = httpd.write("apps/nothing.py", "")
    expect(httpd.log, ("WSGI0057", "Client denied by server configuration: "), ("WSGI0055", ".*allow_access"),
           ("WSGI0056", ".*allow_access"), ("WSGI0177", ""), ("WSGI0176", ""), ("WSGI0043", f".*'{nothing}'"),
           ("WSGI0052", f".*'{nothing}'"),
           ("WSGI0059", "Authorization of user '?none'? to access '?/group'? failed\\. User is not a member of any groups"),
           ("WSGI0060", "Authorization of user '?some'? to access '?/group'? failed\\. User is not a member of designated groups"))
    httpd.log.allow("AH0|WSGI1221|no group|WSGI00[45]")
    login = "AuthType Basic\nAuthName here\nAuthBasicProvider wsgi\n"
    httpd.start("WSGIScriptAlias / {0}/apps/app.wsgi\n".format(httpd.root) + "".join(
        f"<Location {path}>\n{lines}\n</Location>\n" for path, lines in [
            ("/no", f"WSGIAccessScript {script}"), ("/odd", f"WSGIAccessScript {script}"),
            ("/nothing", f"WSGIAccessScript {nothing}"),
            ("/user", f"{login}WSGIAuthUserScript {script}\nRequire valid-user"),
            ("/missing", f"{login}WSGIAuthUserScript {nothing}\nRequire valid-user"),
            ("/group", f"{login}WSGIAuthUserScript {script}\nWSGIAuthGroupScript {script}\nRequire wsgi-group b"),
            ("/lost", f"{login}WSGIAuthUserScript {script}\nWSGIAuthGroupScript {nothing}\nRequire wsgi-group b"),
        ]), ("auth_basic", "authn_core", "authz_user", "authz_host"))
    assert [httpd.get(path).status for path in ("/no", "/odd", "/nothing")] == [403] * 3
    assert [httpd.get("/user", headers=basic(user)).status for user in ("odd", "empty", "good")] == [500, 500, 200]
    assert httpd.get("/missing", headers=basic("good")).status == 500
    assert [httpd.get(path, headers=basic(user)).status for path, user in
            (("/group", "none"), ("/group", "some"), ("/lost", "some"))] == [401] * 3


# -- daemon processes ------------------------------------------------------------------------------

SLOW = """
import time
import os


def application(environ, start_response):
    if environ['PATH_INFO'] == '/exit':
        os._exit(7)
    if environ['PATH_INFO'] == '/kill':
        os.kill(os.getpid(), 9)
    if environ['PATH_INFO'] == '/long':
        start_response('200 OK', [('X-Long', 'x' * 40000)])
        return [b'never']
    start_response('200 OK', [])
    if environ['PATH_INFO'] == '/stream':
        return stream(6000)
    if environ['PATH_INFO'] == '/short-stream':
        return stream(200)
    for _ in range(6000):
        time.sleep(0.01)
    return [b'late']


def stream(count):
    yield b'begun'
    for _ in range(count):
        time.sleep(0.01)
"""


@pytest.mark.modes("daemon")
def test_the_limit_for_a_response(httpd, mode):
    httpd.write("apps/app.wsgi", SLOW)
    expect(httpd.log, ("WSGI0145", "Timeout when reading response headers from daemon process 'app'"))
    httpd.log.allow("WSGI1103|WSGI1105|WSGI1355|still executes")
    start(httpd, mode, socket_timeout=1, shutdown_timeout=1)
    assert httpd.get("/slow").status == 504


@pytest.mark.modes("daemon")
def test_the_limit_for_a_request(httpd, mode):
    httpd.write("apps/app.wsgi", SLOW)
    httpd.log.allow("request-timeout|Thread|tid \\d+\\] |RequestTimeout|  File")
    start(httpd, mode, request_timeout=1, interrupt_timeout=20, threads=1)
    assert httpd.get("/slow").status == 504
    httpd.log.wait_for(r"\[wsgi:info\] .*Injected RequestTimeout into thread \d+ of daemon process 'app'\.")
    httpd.log.wait_for(r"\[wsgi:info\] .*Request interrupted by RequestTimeout; thread recovered")
    try:
        httpd.get("/stream")
    except (OSError, ValueError):
        pass  # The response is cut short.
    httpd.log.wait_for(r"\[wsgi:info\] .*Request interrupted by RequestTimeout after headers sent; response truncated")


@pytest.mark.modes("daemon")
def test_processes_that_are_lost_and_headers_that_are_too_long(httpd, mode):
    httpd.write("apps/app.wsgi", SLOW)
    httpd.log.expect(r"WSGI0146: .*aemon process 'app' closed connection before sending complete response headers|"
                     r"WSGI0147: Error reading response headers from daemon process 'app'")
    expect(httpd.log, ("WSGI0144", "Response header line too long from daemon process 'app'"))
    httpd.log.allow("WSGI1102|WSGI0127")
    start(httpd, mode)
    assert [httpd.get(path).status for path in ("/exit", "/kill", "/long")] == [502, 502, 500]


@pytest.mark.modes("daemon")
def test_the_limit_of_the_queue(httpd, mode):
    httpd.write("apps/app.wsgi", SLOW)
    expect(httpd.log, ("WSGI0084", "Queue timeout expired for WSGI daemon process 'app'"))
    start(httpd, mode, threads=1, queue_timeout=1)
    with socket.create_connection(("127.0.0.1", httpd.port)) as first:
        first.sendall(b"GET /short-stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert first.recv(100).startswith(b"HTTP/1.1 200 ")
        assert httpd.get("/slow").status == 504


@pytest.mark.modes("daemon")
def test_a_working_directory_that_is_missing(httpd, mode):
    httpd.write("apps/app.wsgi", APPLICATION % "served")
    httpd.log.expect("WSGI0009: .*/no/such/home")
    httpd.log.allow("WSGI0025|WSGI0145|WSGI1201")
    start(httpd, mode, home="/no/such/home", socket_timeout=1)
    httpd.log.wait_for("WSGI0009")


def test_a_record_begins_with_its_numbers(httpd, mode):
    """The lines of the traceback have none."""
    httpd.write("apps/app.wsgi", "raise RuntimeError('not today')\n")
    httpd.log.allow("WSGI0|RuntimeError|raise|Traceback|File")
    start(httpd, mode)
    assert httpd.get("/").status == 500
    httpd.log.wait_for("RuntimeError: not today")
    text = [line for line in httpd.log.lines() if "[wsgi:error] " in line]
    # In daemon mode the process has loaded it before there is a request.
    assert re.search(r"WSGI01(09|10): ", text[0]) and re.search(r"WSGI0174: ", text[1])
