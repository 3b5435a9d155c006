"""Other Pythons, and virtual environments, where the server's user can run them.

A Python in a closed folder (root's pyenv) is copied into the cache folder, and the library path inside its
binary is made relative. Where there is no other Python, a test that needs one is skipped; in CI it must be there.

    pythons.py                  prints the versions that CI needs and that are not on this machine
    pythons.py free-threaded    prints the free-threaded interpreters on this machine
"""

import fcntl
import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

SYSTEM_PYTHON = "/usr/bin/python3"
PYENV = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
UV = os.path.expanduser("~/.local/share/uv/python")
PLACES = (f"{PYENV}/versions/*/bin/python3", f"{UV}/*/bin/python3", "/opt/*/bin/python3",
          "/usr/local/bin/python3.[0-9]*", "/usr/bin/python3.[0-9]*")
# What `.ci/pythons.sh` can install, or the system has.
CI_VERSIONS = ("3.10", "3.11", "3.12", "3.13")
VERSION = ("import sys, sysconfig; free = sysconfig.get_config_var('Py_GIL_DISABLED'); "
           "print('%d.%d' % sys.version_info[:2] + 't' * (free or 0))")


def cache_folder():
    """Outlives the run; another user must be able to enter it, so for root it is not in /root."""
    default = "/var/cache" if os.geteuid() == 0 else os.path.expanduser("~/.cache")
    folder = Path(os.environ.get("XDG_CACHE_HOME") or default) / "mod_wsgi-tests"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    return folder


@contextmanager
def made_once(folder):
    """Holds a lock; tells whether `folder` still has to be made. Parallel runners wait."""
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield not (folder / ".complete").exists()
        if folder.exists():
            (folder / ".complete").touch()


def version_of(python):
    done = subprocess.run([python, "-c", VERSION], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def version_key(version):
    return tuple(map(int, version.split(".")))


@functools.cache
def candidates():
    """Interpreters on this machine, by version: {'3.12': Path}."""
    found = {}
    for place in PLACES:
        for path in sorted(Path("/").glob(place.lstrip("/"))):
            if re.fullmatch(r"python3(\.\d+)?", path.name):
                found.setdefault(version_of(path), path)
    return {v: p for v, p in found.items() if re.fullmatch(r"[\d.]+", v) and version_key(v) >= (3, 10)}


@functools.cache
def free_threaded():
    """Free-threaded interpreters on this machine, by version: {'3.14t': Path}. No test needs one but those of
    free-threading, which are left out where there is none."""
    found = {}
    for place in (*PLACES, "/usr/local/pythons/*/bin/python3", "/usr/local/bin/python3.*t", "/usr/bin/python3.*t"):
        for path in sorted(Path("/").glob(place.lstrip("/"))):
            if "t" in (version := version_of(path)) and not below_closed_folder(path):
                found.setdefault(version, path)
    return found


def engine_of(version):
    """The file of the engine for this version of free-threaded Python: '3.14t'."""
    return f"libwsgi_engine-cp{version.replace('.', '')}.so"


def other_versions():
    """Versions, 3.10 or later, that are not the system's."""
    system = version_of(SYSTEM_PYTHON)
    return sorted((v for v in candidates() if v != system), key=version_key)


def other_python(version=None):
    """An interpreter of another version than the system's, runnable by the server's user."""
    versions = other_versions()
    wanted = version or (versions[-1] if versions else None)
    if wanted not in versions:
        pytest.skip(f"no Python {version or 'other than the system one'} (3.10 or later) here")
    python = candidates()[wanted]
    return copied(python, wanted) if below_closed_folder(python) else python


def directives(python, mode, threads=4):
    """Lines that have requests executed by this interpreter; for embedded mode it must have a shared libpython."""
    if mode == "daemon":
        return f"WSGIDaemonProcess app threads={threads} python={python}\nWSGIProcessGroup app\n"
    prefix = python.parent.parent
    usual = prefix / "bin/python3"
    if not [*prefix.glob("lib/libpython3.*.so*")] or not usual.exists() or version_of(usual) != version_of(python):
        pytest.skip(f"{prefix} is no home of Python {version_of(python)} with a shared libpython")
    return f"WSGIPythonHome {prefix}\n"


def below_closed_folder(path):
    if os.geteuid() != 0:
        return False
    return any(not p.stat().st_mode & 0o001 for p in path.resolve().parents)


def copied(python, version):
    """A copy of an installation in the cache folder; returns its interpreter."""
    prefix = python.resolve().parent.parent
    copy = cache_folder() / f"python-{prefix.name}"
    with made_once(copy) as needed:
        if needed:
            shutil.rmtree(copy, ignore_errors=True)
            skip = shutil.ignore_patterns("test", "tests", "__pycache__", "*.a", "share", "idlelib",
                                          "site-packages")
            shutil.copytree(prefix, copy, symlinks=True, ignore=skip)
            for binary in [*copy.glob("bin/python3.*"), *copy.glob("lib/libpython*.so.*")]:
                relocate(binary, prefix)
    return copy / f"bin/python{version}"


def relocate(binary, prefix):
    """Replaces the library path of an ELF file, in place, by one relative to the file."""
    if binary.is_symlink():
        return
    old = f"{prefix}/lib".encode() + b"\0"
    new = b"$ORIGIN/../lib\0"
    data = binary.read_bytes()
    if data.startswith(b"\x7fELF") and len(new) <= len(old):
        binary.write_bytes(data.replace(old, new.ljust(len(old), b"\0")))


def venv(name, packages=(), python=SYSTEM_PYTHON):
    """A virtual environment in the cache folder with these packages; made once."""
    key = hashlib.sha256(repr((sorted(packages), str(python), version_of(python))).encode())
    folder = cache_folder() / f"venv-{name}-{key.hexdigest()[:12]}"
    with made_once(folder) as needed:
        if needed:
            shutil.rmtree(folder, ignore_errors=True)
            build_venv(folder, packages, python)
    return folder


def build_venv(folder, packages, python):
    pip = [] if packages else ["--without-pip"]
    run([python, "-m", "venv", *pip, folder])
    if packages:
        run([folder / "bin/python", "-m", "pip", "install", "-q", *packages])
    run(["chmod", "-R", "a+rX", folder])


def run(command):
    done = subprocess.run(command, capture_output=True, text=True, umask=0o022)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


SYSCONFIGDATA = """\
import pathlib
_code = pathlib.Path({original!r}).read_text()
exec(compile(_code, {original!r}, "exec"))
build_time_vars.update(Py_ENABLE_SHARED=0, LDLIBRARY="libpython.a", INSTSONAME="libpython.a",
                       LIBRARY="libpython.a", LIBDIR={lib!r}, LIBPL={lib!r})
"""


def static_python(prefix):
    """An installation, made of links to the system's, whose sysconfig knows no shared library."""
    real = Path(SYSTEM_PYTHON).resolve()
    version = version_of(SYSTEM_PYTHON)
    library = prefix / f"lib/python{version}"
    library.mkdir(parents=True)
    (prefix / "bin").mkdir()
    for name in (f"python{version}", "python3", "python"):
        shutil.copy(real, prefix / "bin" / name)
    for entry in Path(f"/usr/lib/python{version}").iterdir():
        if entry.name.startswith("_sysconfigdata_"):
            text = SYSCONFIGDATA.format(original=str(entry), lib=str(prefix / "lib"))
            (library / entry.name).write_text(text)
        elif entry.name != "__pycache__":
            (library / entry.name).symlink_to(entry)
    return prefix


if __name__ == "__main__":
    if sys.argv[1:] == ["free-threaded"]:
        print(*free_threaded().values())
        sys.exit()
    print(*(version for version in CI_VERSIONS if version not in candidates()))
