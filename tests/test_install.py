"""`make install`, `make uninstall` and `make deb`: what is placed where, and that a running server takes no notice."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import ROOT
from httpd import Httpd
from load import Load

pytestmark = pytest.mark.ours("it installs our files")
MODULES = "/opt/httpd/modules"
CONF = "/opt/httpd/conf"


def install(httpd, module, action="install", **more):
    """Runs the script; returns its exit status and what it printed."""
    environment = {**os.environ, "DESTDIR": str(httpd.root / "image"), "MODULES_DIR": MODULES, "CONF_DIR": CONF, **more}
    done = subprocess.run([ROOT / "packaging/install.sh", action, Path(module).parent], env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def named_folder(httpd):
    return httpd.root / f"image{MODULES}/mod_wsgi_rs"


@pytest.mark.check
def test_what_is_installed_serves_and_is_replaced_and_removed(httpd, module):
    status, said = install(httpd, module)
    assert status == 0, said
    folder = named_folder(httpd)
    assert {"mod_wsgi.so", "wsgi-supervisor", "libwsgi_engine.so"} <= set(files(folder))
    assert not [name for name in files(httpd.root / "image") if name.endswith(".new")]

    installed = Httpd(str(folder / "mod_wsgi.so"), httpd.mpm)
    try:
        script = installed.app("hello")
        installed.start(f"WSGIDaemonProcess app threads=4\nWSGIScriptAlias / {script} process-group=app")
        before = (folder / "mod_wsgi.so").stat().st_ino
        with Load(installed, "/") as load:
            load.more(20)
            assert install(httpd, module)[0] == 0
            load.more(20)
            installed.restart()
            load.more(20)
        assert (folder / "mod_wsgi.so").stat().st_ino != before
        assert install(httpd, module, "uninstall")[0] == 0
        assert files(httpd.root / "image") == [] and not folder.exists()
        # What runs has its files open.
        assert installed.get("/").status == 200
        problems = installed.close() + installed.log.problems()
        assert problems == [] and set(load.results()) <= {200, "ConnectionRefusedError", "ConnectionResetError", "RemoteDisconnected"}
    finally:
        installed.close()
        installed.remove()


def test_a_foreign_file_in_the_folder_stays(httpd, module):
    assert install(httpd, module)[0] == 0
    (named_folder(httpd) / "mine").touch()
    status, said = install(httpd, module, "uninstall")
    assert status == 1 and "has other files in it, which stay" in said
    assert files(named_folder(httpd)) == ["mine"]


@pytest.mark.parametrize("more, said", [
    ({"MODULES_DIR": "", "APXS": "/nowhere/apxs"}, "/nowhere/apxs does not say where httpd's modules are: give APXS=, or MODULES_DIR= and CONF_DIR="),
], ids=["apxs"])
def test_what_is_missing_is_named(httpd, module, more, said):
    status, text = install(httpd, module, **more)
    assert status == 1 and said in text


def test_an_unbuilt_tree_is_told(httpd):
    status, text = install(httpd, httpd.root / "nothing/libmod_wsgi.so")
    assert status == 1 and "run 'make build' first" in text


@pytest.mark.timeout(300)
def test_the_debian_package_takes_the_place_of_the_distributions(httpd, module):
    if not shutil.which("dh_apache2"):
        pytest.skip("no debhelper")
    done = subprocess.run([ROOT / "packaging/deb.sh", Path(module).parent, httpd.root / "deb"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    package = done.stdout.strip()
    field = lambda name: subprocess.run(["dpkg-deb", "-f", package, name], capture_output=True, text=True).stdout.strip()
    assert "libapache2-mod-wsgi-py3 (= 6.1.1)" in field("Provides") and "libapache2-mod-wsgi-py3" in field("Conflicts")
    assert "apache2-api-" in field("Depends") and "libpython" not in field("Depends")
    image = httpd.root / "image"
    subprocess.run(["dpkg-deb", "-x", package, image], check=True)
    # Byte for byte the distribution's, and no wsgi.conf: dpkg asks nothing, and an administrator's changes stay.
    assert files(image / "etc") == ["apache2/mods-available/wsgi.load"]
    assert (image / "etc/apache2/mods-available/wsgi.load").read_text() == "LoadModule wsgi_module /usr/lib/apache2/modules/mod_wsgi.so\n"

    packaged = Httpd(str(image / "usr/lib/apache2/modules/mod_wsgi.so"), httpd.mpm)
    try:
        packaged.start(f"WSGIDaemonProcess app threads=4\nWSGIScriptAlias / {packaged.app('hello')} process-group=app")
        assert packaged.get("/").status == 200
        assert packaged.close() + packaged.log.problems() == []
    finally:
        packaged.close()
        packaged.remove()
