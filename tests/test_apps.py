"""Real applications, installed by pip: Flask, Django, Bottle, and C and Rust extensions."""

import http.cookiejar
import re
import subprocess
import urllib.parse
import urllib.request

import pytest

import deciding
import pythons
from httpd import APPS

WEB = ("flask", "django>=4.2,<6", "bottle")
EXTENSIONS = ("cryptography", "pydantic", "numpy")
MODES = pytest.mark.modes("embedded", "daemon")
pytestmark = pytest.mark.timeout(400)


def python_directives(mode, home, **options):
    if mode == "embedded":
        return f"WSGIPythonHome {home}\n"
    words = " ".join(f"{name}={value}" for name, value in options.items())
    return f"WSGIDaemonProcess app threads=5 python-home={home} {words}\nWSGIProcessGroup app\n"


@MODES
def test_flask(httpd, mode):
    home = pythons.venv("web", WEB)
    script = httpd.app("flask_site")
    httpd.start(f"{python_directives(mode, home)}WSGIScriptAlias /shop {script}")
    assert httpd.get("/shop/").text == "index at /shop/"
    assert httpd.get("/shop/items/7?q=caf%C3%A9").json() == {"item": 7, "q": "caf\xe9"}
    form = urllib.parse.urlencode({"name": "Ada", "text": "\u20ac"})
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert httpd.post("/shop/form", form, headers=headers).text == "Ada says \u20ac"
    assert httpd.get("/shop/nowhere").status == 404
    assert httpd.get("/shop/stream").text == "0,1,2,"
    cookie = httpd.get("/shop/login").header("Set-Cookie").partition(";")[0]
    assert httpd.get("/shop/me", headers={"Cookie": cookie}).text == "ada"


@MODES
def test_a_file_uploaded_to_flask(httpd, mode):
    home = pythons.venv("web", WEB)
    httpd.start(f"{python_directives(mode, home)}WSGIScriptAlias / {httpd.app('flask_site')}")
    content = bytes(range(256)) * 4096
    body = (b'--edge\r\nContent-Disposition: form-data; name="file"; filename="f.bin"\r\n\r\n'
            + content + b"\r\n--edge--\r\n")
    headers = {"Content-Type": "multipart/form-data; boundary=edge"}
    assert httpd.post("/upload", body, headers=headers).text == f"f.bin {len(content)}"


@MODES
@pytest.mark.check
def test_bottle(httpd, mode):
    home = pythons.venv("web", WEB)
    httpd.start(f"{python_directives(mode, home)}WSGIScriptAlias / {httpd.app('bottle_site')}")
    assert httpd.get("/hello/world").text == "Hello world!"
    assert httpd.get("/nowhere").status == 404


# -- Django ----------------------------------------------------------------------------------------


@pytest.fixture
def django(httpd, mode):
    """A Django site with a migrated sqlite database and an admin user."""
    home = pythons.venv("web", WEB)
    site = httpd.root / "site"
    site.mkdir()
    script = httpd.write("site/django_site.py", (APPS / "django_site.wsgi").read_text())
    for command in (["migrate", "-v0"], ["collectstatic", "-v0", "--noinput"], ["make_admin"]):
        done = subprocess.run([home / "bin/python", script, *command], cwd=site,
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    for path in (site, *site.glob("*.sqlite3")):
        httpd.own(path)
    return httpd.start(f"{python_directives(mode, home)}Alias /static {site}/static\n"
                       f"WSGIScriptAlias / {script}")


class Browser:
    """Keeps cookies, follows redirects, sends forms with the CSRF token of the page."""

    def __init__(self, httpd):
        self.base = f"http://127.0.0.1:{httpd.port}"
        jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self.opener = urllib.request.build_opener(jar)

    def get(self, path):
        with self.opener.open(self.base + path, timeout=30) as answer:
            self.page = answer.read().decode()
        return self.page

    def submit(self, path, **fields):
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', self.get(path))[1]
        data = urllib.parse.urlencode({"csrfmiddlewaretoken": token, **fields}).encode()
        request = urllib.request.Request(self.base + path, data, {"Referer": self.base + path})
        with self.opener.open(request, timeout=30) as answer:
            self.page = answer.read().decode()
        return self.page


@MODES
def test_django_admin_form_static_file_and_database(django):
    browser = Browser(django)
    page = browser.submit("/admin/login/", username="admin", password="secret", next="/admin/")
    assert "Site administration" in page and "Log out" in page
    browser.submit("/admin/auth/group/add/", name="readers \u20ac")
    assert "readers \u20ac" in browser.get("/admin/auth/group/")
    assert browser.submit("/form/", text="<posted>") == "posted: &lt;posted&gt;"
    assert "color" in browser.get("/static/admin/css/base.css")


# Django's own handlers for httpd (django.contrib.auth.handlers.modwsgi).
DJANGO_LOGINS = """
import django_site
from django.contrib.auth.handlers.modwsgi import check_password, groups_for_user
"""
DJANGO_USERS = """
import django_site
from django.contrib.auth.models import Group, User
user = User.objects.create_user("ada", "ada@example.com", "engine")
user.groups.add(Group.objects.create(name="staff"))
User.objects.create_user("bob", "bob@example.com", "builder")
"""


@pytest.mark.parametrize("place", ["", pytest.param("process-group=shop", marks=pytest.mark.ours("the original has no such option"))],
                         ids=["child", "daemon"])
def test_django_checks_passwords_and_groups_for_httpd(httpd, place):
    home = pythons.venv("web", WEB)
    site = httpd.root / "site"
    site.mkdir()
    script = httpd.write("site/django_site.py", (APPS / "django_site.wsgi").read_text())
    for command in ([script, "migrate", "-v0"], ["-c", DJANGO_USERS]):
        done = subprocess.run([home / "bin/python", *command], cwd=site, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    for path in (site, *site.glob("*.sqlite3")):
        httpd.own(path)
    logins = httpd.write("apps/logins.py", DJANGO_LOGINS)
    httpd.write("htdocs/reports/page", "the report")
    httpd.start(f"""WSGIPythonHome {home}
WSGIPythonPath {site}
WSGIDaemonProcess shop python-path={site}
<Location /reports>
    AuthType Basic
    AuthName reports
    AuthBasicProvider wsgi
    WSGIAuthUserScript {logins} {place}
    WSGIAuthGroupScript {logins} {place}
    Require wsgi-group staff
</Location>""", deciding.MODULES)
    httpd.log.allow("AH01617|AH01618|AH01631|password mismatch|authorization failure|not found|WSGI00")
    for user, password, status in (("ada", "engine", 200), ("ada", "wrong", 401), ("eve", "engine", 401), ("bob", "builder", 401)):
        answer = httpd.get("/reports/page", headers=deciding.basic(user, password))
        assert answer.status == status, user


# -- extensions ------------------------------------------------------------------------------------


@pytest.mark.ours("the original's default application group is a sub-interpreter")
def test_extensions_work_in_daemon_mode_without_further_directives(httpd):
    home = pythons.venv("extensions", EXTENSIONS)
    httpd.start(f"WSGIDaemonProcess app threads=4 python-home={home}\n"
                f"WSGIScriptAlias / {httpd.app('extensions')} process-group=app")
    for _ in range(3):
        told = httpd.json("/")
        assert told["sum"] == 45.0 and told["name"] == "Ada" and told["decrypted"] == "secret"
        assert told["main_interpreter"] is True
        assert told["application_group"] == f"localhost:{httpd.port}|"


@pytest.mark.ours("an option of ours")
def test_an_error_that_names_sub_interpreters_names_the_cure(httpd):
    home = pythons.venv("extensions", EXTENSIONS)
    script = httpd.app("extensions")
    httpd.log.expect("WSGIApplicationGroup %{GLOBAL}|application-group=%{GLOBAL}")
    httpd.log.allow("(?i)sub-?interpreter|Exception occurred|cannot be loaded|Traceback|File|Error|import|numpy|    |load")
    httpd.start(f"WSGIDaemonProcess app threads=4 python-home={home}\nWSGIProcessGroup app\n"
                f"WSGIScriptAlias /one {script} application-group=one\n"
                f"WSGIScriptAlias /two {script} application-group=two\n")
    # One sub-interpreter may have such modules, a second one not.
    assert httpd.get("/one").status == 200
    assert httpd.get("/two").status == 500


def test_extensions_work_in_the_main_interpreter(httpd):
    home = pythons.venv("extensions", EXTENSIONS)
    httpd.start(f"WSGIDaemonProcess app threads=4 python-home={home}\nWSGIProcessGroup app\n"
                f"WSGIApplicationGroup %{{GLOBAL}}\nWSGIScriptAlias / {httpd.app('extensions')}")
    assert httpd.json("/")["sum"] == 45.0
