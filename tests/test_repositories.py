"""Hosts of repositories behind an authentication script: git over HTTP (git-http-backend), Subversion where it is installed, Trac."""

import os
import shutil
import subprocess

import pytest

import deciding
from httpd import IS_ROOT, RUN_USER

PLACES = ["", pytest.param("process-group=logins", marks=pytest.mark.ours("the original has no such option"))]
places = pytest.mark.parametrize("place", PLACES, ids=["child", "daemon"])
EXEC_PATH = subprocess.run(["git", "--exec-path"], capture_output=True, text=True).stdout.strip() if shutil.which("git") else ""
BACKEND = f"{EXEC_PATH}/git-http-backend"

# Everybody with the password reads; who pushes is in the group `writers`.
LOGINS = """
def check_password(environ, user, password):
    if user not in ('ada', 'bob'):
        return None
    return password == 'secret'


def groups_for_user(environ, user):
    return ['writers'] if user == 'ada' else []
"""

GIT = """
<VirtualHost *>
SetEnv GIT_PROJECT_ROOT {root}/git
SetEnv GIT_HTTP_EXPORT_ALL 1
ScriptAlias /git/ {backend}/
<Directory {exec_path}>
    Require all granted
</Directory>
<Location /git>
    AuthType Basic
    AuthName git
    AuthBasicProvider wsgi
    WSGIAuthUserScript {logins} {place}
    WSGIAuthGroupScript {logins} {place}
    <RequireAll>
        Require valid-user
        <RequireAny>
            Require wsgi-group writers
            Require expr "%{{QUERY_STRING}} !~ /service=git-receive-pack/ && %{{REQUEST_URI}} !~ m#/git-receive-pack$#"
        </RequireAny>
    </RequireAll>
</Location>
</VirtualHost>
"""


def git(httpd, *arguments, user="ada", password="secret", folder=None, repository="shop.git"):
    """Runs git; {url} in the arguments is the repository's, with this user's name and password. Returns status and output."""
    url = f"http://{user}:{password}@127.0.0.1:{httpd.port}/git/{repository}"
    who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "credential.helper=", "-c", "http.postBuffer=100000"]
    done = subprocess.run(["git", *who, *(word.format(url=url) for word in arguments)], cwd=folder or httpd.root,
                          env={**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "true", "HOME": str(httpd.root)},
                          capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


@places
@pytest.mark.check
def test_git_is_cloned_and_pushed_by_whom_the_script_lets(httpd, place):
    if not os.path.exists(BACKEND):
        pytest.skip("no git-http-backend")
    repository = httpd.root / "git/shop.git"
    assert git(httpd, "init", "--bare", "-q", "-b", "main", str(repository))[0] == 0
    assert git(httpd, "config", "http.receivepack", "true", folder=repository)[0] == 0
    if IS_ROOT:
        subprocess.run(["chown", "-R", RUN_USER, repository], check=True)
    logins = httpd.write("apps/logins.py", LOGINS)
    httpd.start("WSGIDaemonProcess logins threads=2\n" + GIT.format(root=httpd.root, backend=BACKEND, exec_path=EXEC_PATH, logins=logins, place=place),
                (*deciding.MODULES, "cgid" if httpd.mpm != "prefork" else "cgi"))
    httpd.log.allow("AH01617|AH01618|AH01631|password mismatch|authorization failure|not found|WSGI00|not in (the )?required|cgid|AH01630")

    work = httpd.root / "work"
    status, said = git(httpd, "clone", "-q", "{url}", str(work))
    assert status == 0, said
    (work / "page").write_bytes(os.urandom(300_000))
    for step in (["add", "page"], ["commit", "-q", "-m", "page"], ["push", "-q", "{url}", "HEAD:main"]):
        status, said = git(httpd, *step, folder=work)
        assert status == 0, said
    # bob reads, and does not write.
    status, said = git(httpd, "clone", "-q", "{url}", str(httpd.root / "copy"), user="bob")
    assert status == 0, said
    assert (httpd.root / "copy/page").read_bytes() == (work / "page").read_bytes()
    assert git(httpd, "commit", "-q", "--allow-empty", "-m", "none", folder=work)[0] == 0
    status, said = git(httpd, "push", "{url}", "HEAD:main", user="bob", folder=work)
    assert status != 0 and ("403" in said or "401" in said or "Authentication failed" in said), said
    for user, password in (("ada", "wrong"), ("eve", "secret")):
        status, said = git(httpd, "clone", "{url}", str(httpd.root / "none"), user=user, password=password)
        assert status != 0 and "Authentication failed" in said, said
