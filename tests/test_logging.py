"""Lines of applications: their levels, their order, and what stands around them."""

import re
import threading

import pytest

from conftest import mode_directives

LINE = re.compile(
    r"^\[[^\]]+\] \[wsgi:(?P<level>\w+)\] \[pid \d+:tid \d+\] "
    r"(?:\[(?:client|remote) (?P<client>[\d.]+):\d+\] )?(?:\[script (?P<script>[^\]]+)\] )?(?P<text>.*)$"
)


def parsed(log, pattern):
    """Level, client, script and text of the lines like this."""
    found = [LINE.match(line) for line in log.lines()]
    return [m for m in found if m and re.search(pattern, m["text"])]


LEVELS = {60: "crit", 50: "crit", 49: "error", 40: "error", 39: "warn", 30: "warn",
          29: "info", 20: "info", 19: "debug", 10: "debug", 1: "debug"}


@pytest.mark.parametrize("limit", ["debug", "info", "warn", "crit"])
def test_levels_of_python_become_levels_of_httpd(httpd, mode, limit):
    httpd.log.allow("python level")
    script = httpd.app("logs")
    httpd.start(f"LogLevel wsgi:{limit}\n{mode_directives(mode)}WSGIScriptAlias / {script}")
    assert httpd.get("/levels").status == 200
    order = ["crit", "error", "warn", "info", "debug"]
    wanted = [(str(n), name) for n, name in LEVELS.items() if order.index(name) <= order.index(limit)]
    httpd.log.wait_for("python level", count=len(wanted))
    assert [(m["text"].split()[-1], m["level"]) for m in parsed(httpd.log, "python level")] == wanted


def test_a_record_that_is_not_wanted_is_not_formatted(httpd, mode):
    script = httpd.app("logs")
    httpd.start(f"LogLevel wsgi:info\n{mode_directives(mode)}WSGIScriptAlias / {script}")
    assert httpd.get("/dropped").text == "False"


@pytest.mark.ours("the original asks for the level of the server in daemon mode")
def test_the_level_is_that_of_the_request(httpd, mode):
    script = httpd.app("logs")
    httpd.log.expect("app: formatted")
    httpd.start(f"""LogLevel wsgi:info
{mode_directives(mode)}WSGIScriptAlias / {script}
<Location /dropped>
    LogLevel wsgi:debug
</Location>""")
    assert httpd.get("/dropped").text == "True"
    httpd.log.allow("python level")
    assert httpd.get("/levels").status == 200
    assert not parsed(httpd.log, "python level 10")


def test_lines_go_to_the_log_of_the_virtual_host(httpd, mode):
    script = httpd.app("logs")
    httpd.start(f"""{mode_directives(mode)}
<VirtualHost *:{httpd.port}>
    ServerName other.example
    ErrorLog {httpd.root}/logs/other.log
    LogLevel wsgi:error
    WSGIScriptAlias / {script}
</VirtualHost>""")
    assert httpd.get("/order", host="other.example").status == 200
    assert httpd.get("/dropped", host="other.example").text == "False"
    text = (httpd.root / "logs/other.log").read_text()
    assert [line.split()[-1] for line in text.splitlines()][-4:] == ["first", "second", "third", "fourth"]
    assert not httpd.log.matching("first|second|third|fourth")


def test_lines_name_client_and_script(site):
    site.log.allow("first|second|third|fourth")
    site.get("/logs/order")
    site.log.wait_for("fourth")
    found = parsed(site.log, "first|second|third|fourth")
    assert [m["text"] for m in found] == ["first", "second", "app: third", "fourth"]
    assert {m["client"] for m in found} == {"127.0.0.1"}
    assert {m["script"] for m in found} == {f"{site.root}/apps/logs.wsgi"}


def test_lines_of_the_module_about_a_request_name_the_script(httpd, mode):
    httpd.log.expect(r"\[script .*/nowhere.wsgi\] ")
    httpd.log.allow("nowhere.wsgi")
    httpd.start(f"{mode_directives(mode)}WSGIScriptAlias / {httpd.root}/apps/nowhere.wsgi")
    assert httpd.get("/").status == 404


def test_a_format_of_its_own_may_leave_the_client_out(httpd, mode):
    script = httpd.app("logs")
    httpd.log.allow("<")
    httpd.start(f'ErrorLogFormat "<%l> %M"\n{mode_directives(mode)}WSGIScriptAlias / {script}')
    httpd.get("/order")
    httpd.log.wait_for("fourth")
    assert httpd.log.matching("fourth") == [f"<error> [script {script}] fourth"]


def test_each_line_of_a_record_is_a_line(site):
    site.log.allow("app: |wrong|Traceback|File|raise|ValueError")
    site.get("/logs/exception")
    site.log.wait_for("ValueError: caught")
    lines = [m["text"] for m in parsed(site.log, "")]
    begin = lines.index("app: it went")
    assert lines[begin:begin + 3] == ["app: it went", "wrong", "Traceback (most recent call last):"]
    assert lines[-1] == "ValueError: caught"


@pytest.mark.ours("the original cuts at 8191 bytes and at a NUL, and raises for a surrogate")
def test_odd_records(site):
    site.log.allow("blank|line|percent|null|long|x|end|surrogate|script")
    site.get("/logs/odd")
    site.log.wait_for("surrogate")
    lines = [m["text"] for m in parsed(site.log, "")]
    # The child may have started Python for this request, and says that it loads the script.
    lines = lines[lines.index("app: blank"):]
    assert lines[:5] == ["app: blank", "", "line", "app: percent %s %n 100%", "app: null a\\\\0b"]
    assert sum(line.count("x") for line in lines) == 20000
    assert lines[-1] == "app: surrogate \\\\udcff"


@pytest.mark.ours("the original says nothing")
def test_a_record_that_cannot_be_formatted_is_reported(site):
    site.log.expect("--- Logging error ---")
    site.log.expect("TypeError: %d format")
    site.log.allow("Traceback|File|Call stack|Message|Arguments| ")
    assert site.get("/logs/unformattable").status == 200


def whole_records(log, pattern, lines=4):
    found = [m["text"] for m in parsed(log, pattern)]
    records = [found[at:at + lines] for at in range(0, len(found), lines)]
    for record in records:
        name = re.search(pattern, record[0])[0]
        assert [line.removeprefix("app: ") for line in record] == [f"{name} line {n} of {lines}" for n in range(lines)]
    return len(records)


@pytest.mark.mpms("event")
def test_lines_of_a_record_stay_together_when_threads_log(httpd, mode):
    httpd.log.allow("r0|app")
    script = httpd.app("logs")
    httpd.start(f"ServerLimit 1\nMaxRequestWorkers 25\n{mode_directives(mode)}WSGIScriptAlias / {script}")
    assert httpd.get("/many/0").status == 200
    httpd.log.wait_for("line 3 of 4", count=200)
    assert whole_records(httpd.log, r"r0\.\d+\.\d+") == 200


@pytest.mark.mpms("event")
def test_lines_of_a_record_stay_together_when_requests_log(httpd, mode):
    httpd.log.allow("r0|app")
    script = httpd.app("logs")
    httpd.start(f"ServerLimit 1\nMaxRequestWorkers 25\n{mode_directives(mode)}WSGIScriptAlias / {script}")
    threads = [threading.Thread(target=httpd.get, args=(f"/together/{n}",)) for n in range(5)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    httpd.log.wait_for("line 3 of 4", count=150)
    assert whole_records(httpd.log, r"r\d+\.\d+") == 150


@pytest.mark.ours("the original has one buffer for the three of them in a request")
def test_streams_do_not_mix(site):
    site.log.allow("errors|stdout|stderr")
    site.get("/logs/interleaved")
    site.log.wait_for("stderr three")
    assert [m["text"] for m in parsed(site.log, "three")] == [
        f"{name} one {name} two {name} three" for name in ("errors", "stdout", "stderr")
    ]


def test_a_record_of_another_thread_keeps_its_level(site):
    site.get("/logs/outside")
    line = LINE.match(site.log.wait_for("from a thread of its own"))
    assert (line["level"], line["client"]) == ("info", None)


@pytest.mark.ours("the original writes it when something else is written")
def test_what_a_thread_leaves_is_a_line(site):
    site.log.expect("left by a thread$")
    site.get("/logs/leave")


@pytest.mark.ours("its streams have no descriptor")
@pytest.mark.parametrize("group", ["%{GLOBAL}", "own"])
def test_the_streams_have_descriptors_that_lead_to_the_log(httpd, mode, group):
    httpd.log.allow(r"by a program|thread|Thread|File|<no Python frame>|tid \d+\] $")
    httpd.start(f"{mode_directives(mode)}WSGIApplicationGroup {group}\n"
                f"WSGIScriptAlias / {httpd.app('descriptors')}")
    assert httpd.get("/logging").text == "False False False"
    assert httpd.get("/faulthandler").text == "True"
    httpd.log.wait_for("descriptors.wsgi.*enable_faulthandler")
    assert httpd.get("/programs").text == "done"
    for verb in ("said", "complained"):
        for number in range(2):
            httpd.log.wait_for(f"{verb} by a program {number}")
