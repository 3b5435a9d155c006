"""Options of mod_wsgi-express for timeouts, limits, logs and content, each with its effect."""

import gzip
import os
import signal
import threading

import pytest

from client import read_response
from express import APP
from httpd import IS_ROOT
from processes import wait_until
from test_buffers import fill

pytestmark = [pytest.mark.ours("a program of ours"), pytest.mark.mpms("event")]


# --- Timeouts and limits -----------------------------------------------------------------------------------------------

def test_request_timeout(express):
    express.start("--request-timeout", "1", "--threads", "1", "--graceful-timeout", "1", "--shutdown-timeout", "1")
    express.log.allow("wsgi:(error|warn)")
    express.log.allow("File|Thread|Stack|^$|time.sleep|application|Python")
    assert express.get("/spin").status in (502, 504)
    assert express.json("/")["PATH_INFO"] == "/"


def test_queue_timeout(express):
    express.start("--queue-timeout", "1", "--threads", "1")
    express.log.allow("wsgi:(error|warn)")
    slow = threading.Thread(target=express.get, args=("/sleep?4",))
    slow.start()
    wait_until(lambda: express.get("/").status in (503, 504), 20, "a request waits too long")
    slow.join()


def test_timeouts_of_connections(express):
    express.start("--socket-timeout", "2", "--connect-timeout", "3", "--shutdown-timeout", "4", "--graceful-timeout", "5",
                  "--header-timeout", "1", "--header-max-timeout", "1", "--header-min-rate", "1")
    for line in ("Timeout 2\n", "socket-timeout=2 ", "connect-timeout=3 ", "shutdown-timeout=4 ", "graceful-timeout=5 "):
        assert line in express.conf()
    # A client that sends only half of its request has header-timeout.
    with express.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n")
        assert connection.recv(100).partition(b"\r\n")[0] in (b"", b"HTTP/1.1 408 Request Timeout")
    assert express.json("/")["PATH_INFO"] == "/"


def test_socket_timeout(express):
    express.start("--socket-timeout", "1")
    express.log.allow("wsgi:(error|warn)")
    assert express.get("/sleep?5").status == 504


def test_graceful_timeout(express):
    express.start("--graceful-timeout", "1", "--shutdown-timeout", "1", "--reload-on-changes")
    express.log.allow("wsgi:(error|warn)|File|Thread|Stack|^$|application|Python")
    found = []
    slow = threading.Thread(target=lambda: found.append(express.get("/sleep?100").status))
    slow.start()
    wait_until(lambda: express.json("/")["asleep"], 20, "the application sleeps")
    express.write("site/app.wsgi", APP + "\n# changed\n")
    slow.join(60)
    assert found == [502] or found == [504]


@pytest.mark.skipif(not IS_ROOT, reason="only root may fill the socket of another's process")
def test_connect_timeout(express):
    express.start("--connect-timeout", "1")
    express.log.expect("no connection to a daemon process for GET / within connect-timeout=1")
    supervisor = express.supervisor().pid
    os.kill(supervisor, signal.SIGSTOP)
    try:
        fill(express.children()[0].pid)
        assert express.get("/").status == 503
    finally:
        os.kill(supervisor, signal.SIGCONT)


def test_shutdown_timeout(express):
    express.write("site/slow_end.wsgi", APP + "\nimport atexit\natexit.register(time.sleep, 60)\n")
    express.start("--shutdown-timeout", "1", entry="slow_end.wsgi")
    express.log.allow("wsgi:(error|warn)")
    express.json("/")
    express.run.terminate()
    assert express.run.wait(30) == 0


def test_limit_request_body(express):
    express.start("--limit-request-body", "1000")
    assert express.post("/", b"x" * 1000).json()["size"] == 1000
    express.log.allow("AH01587|AH00588|LimitRequestBody|larger than")
    assert express.post("/", b"x" * 1001).status == 413


def test_keep_alive_timeout(express):
    def kept():
        connection = express.connection()
        try:
            connection.request("GET", "/")
            return read_response(connection.getresponse()).header("Connection") != "close"
        finally:
            connection.close()
    express.start()
    assert kept()
    express.run.terminate()
    express.run.wait(30)
    express.start("--keep-alive-timeout", "0")
    assert not kept()


# --- Logs --------------------------------------------------------------------------------------------------------------

def test_log_to_terminal(express):
    express.start("--log-to-terminal", "--access-log", "--log-level", "info")
    express.get("/fail")
    wait_until(lambda: "the application fails" in express.said() and '"GET /fail HTTP/1.1" 500' in express.said(), 20)
    assert not (express.server / "error_log").exists()
    assert "wsgi:info" in express.said()


def test_access_log(express):
    express.start("--access-log", "--access-log-name", "requests", "--access-log-format", '%U "%{User-Agent}i" %>s')
    express.get("/a", headers={"User-Agent": "me"})
    log = express.server / "requests"
    wait_until(lambda: log.exists() and log.read_text() == '/a "me" 200\n', 20, "the line of the request")


def test_combined_access_log(express):
    express.start("--access-log", "--access-log-format", "combined")
    express.get("/a", headers={"User-Agent": "me", "Referer": "there"})
    log = express.server / "access_log"
    wait_until(lambda: log.read_text().endswith('"there" "me"\n'), 20, "the line of the request")


def test_log_directory_and_names(express):
    express.start("--log-directory", express.root / "more/logs", "--error-log-name", "errors", "--startup-log",
                  "--error-log-format", "mine %M", "--log-level", "info")
    express.get("/fail")
    log = express.root / "more/logs/errors"
    wait_until(lambda: "mine " in log.read_text() and "the application fails" in log.read_text(), 20)
    assert (express.root / "more/logs/startup_log").exists()
    assert str(log) in express.said()


def test_rotate_logs(express):
    express.start("--rotate-logs", "--access-log", "--max-log-size", "1")
    express.get("/a")

    def written():
        logs = [p for p in express.server.iterdir() if p.name.startswith("access_log.")]
        return len(logs) == 1 and "GET /a" in logs[0].read_text()
    wait_until(written, 20, "a log with a time in its name")


# --- Content -----------------------------------------------------------------------------------------------------------

def test_static_files_beside_the_application(express):
    express.write("pages/a.txt", "file\n")
    express.write("pages/sub/index.html", "index\n")
    express.write("pages/other/a.txt", "file\n")
    express.start("--document-root", express.root / "pages")
    assert express.get("/a.txt").text == "file\n"
    assert express.json("/b.txt")["PATH_INFO"] == "/b.txt"
    assert express.get("/sub/").text == "index\n"
    assert express.json("/other/")["PATH_INFO"] == "/other/"


def test_directory_index_and_listing(express):
    express.write("pages/sub/start.html", "index\n")
    express.write("pages/list/x.txt", "")
    express.start("--document-root", express.root / "pages", "--directory-index", "start.html", "--directory-listing")
    assert express.get("/sub/").text == "index\n"
    assert "x.txt" in express.get("/list/").text
    assert express.json("/b")["PATH_INFO"] == "/b"


def test_url_alias(express):
    express.write("pages/a b.txt", "spaced\n")
    express.write("one/icon.txt", "icon\n")
    express.write("one/secret.txt", "secret\n")
    express.start("--url-alias", "/static/", express.root / "pages", "--url-alias", "/icon", express.root / "one/icon.txt")
    assert express.get("/static/a%20b.txt").text == "spaced\n"
    assert express.get("/icon").text == "icon\n"
    assert express.json("/secret.txt")["PATH_INFO"] == "/secret.txt"


def test_include_file_and_its_names(express):
    express.write("site/more.conf", 'Header set X-More yes\n<IfDefine MOD_WSGI_ACCESS_LOG>\nHeader set X-Log yes\n</IfDefine>\n'
                                    "<IfDefine EMBEDDED_MODE>\nHeader set X-Embedded yes\n</IfDefine>\n")
    express.start("--include-file", "more.conf", "--access-log")
    found = express.get("/")
    assert (found.header("X-More"), found.header("X-Log"), found.header("X-Embedded")) == ("yes", "yes", None)


def test_compress_responses(express):
    express.start("--compress-responses")
    found = express.get("/large", headers={"Accept-Encoding": "gzip"})
    assert found.header("Content-Encoding") == "gzip"
    assert gzip.decompress(found.body) == b"x" * 100000
    assert express.get("/large").header("Content-Encoding") is None


def test_variables(express):
    express.env["PASSED"] = "from outside"
    express.write("site/own.sh", "export FROM_SCRIPT='a value'\n")
    express.start("--setenv", "NAME", "a b", "--passenv", "PASSED", "--envvars-script", "own.sh")
    env = express.json("/")
    assert (env["NAME"], env["PASSED"], env["variables"]["FROM_SCRIPT"]) == ("a b", "from outside", "a value")


def test_add_handler(express):
    express.write("pages/a.md", "# text\n")
    express.write("site/md.py", "def application(environ, start_response):\n    start_response('200 OK', [])\n"
                                "    return [environ['SCRIPT_FILENAME'].encode()]\n")
    express.start("--document-root", express.root / "pages", "--add-handler", ".md", "md.py")
    assert express.get("/a.md").text == str(express.root / "pages/a.md")
    assert express.json("/b.md")["PATH_INFO"] == "/b.md"


def test_error_document_and_override(express):
    express.write("pages/sorry.txt", "sorry\n")
    express.start("--document-root", express.root / "pages", "--error-document", "500", "/sorry.txt", "--error-override")
    express.log.allow("the application fails|Traceback|File|raise|wsgi:error")
    assert express.get("/fail").text == "sorry\n"


def test_server_status(express):
    express.start("--server-status")
    assert "Apache Server Status" in express.get("/server-status").text
    assert express.json("/")["PATH_INFO"] == "/"


def test_cgi(express):
    script = express.write("pages/x.cgi", "#!/bin/sh\necho Content-Type: text/plain\necho\necho from cgi\n")
    script.chmod(0o755)
    express.start("--document-root", express.root / "pages", "--with-cgi")
    assert express.get("/x.cgi").text == "from cgi\n"
