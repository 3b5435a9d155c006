"""Root directories for `chroot`: a Python with its library and the shared libraries that it needs, and no more."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pythons


def jail(name="python"):
    """A folder with the system's Python in it, made once."""
    version = pythons.version_of(pythons.SYSTEM_PYTHON)
    folder = pythons.cache_folder() / f"jail-{name}-{version}"
    with pythons.made_once(folder) as needed:
        if needed:
            shutil.rmtree(folder, ignore_errors=True)
            build(folder, version)
    return folder


def build(folder, version):
    python = Path(pythons.SYSTEM_PYTHON).resolve()
    library = Path(f"/usr/lib/python{version}")
    skip = shutil.ignore_patterns("test", "tests", "idlelib", "ensurepip", "config-*", "lib2to3")
    shutil.copytree(library, inside(folder, library), ignore=skip, ignore_dangling_symlinks=True)
    copy(folder, python)
    inside(folder, Path(pythons.SYSTEM_PYTHON)).symlink_to(python.name)
    (folder / "tmp").mkdir()
    (folder / "tmp").chmod(0o1777)
    for file in [python, *library.glob("lib-dynload/*.so")]:
        for needed in libraries(file):
            copy(folder, needed)
    # What the engine needs beside them.
    for needed in libraries("/lib/x86_64-linux-gnu/libgcc_s.so.1"):
        copy(folder, needed)
    copy(folder, Path("/lib/x86_64-linux-gnu/libgcc_s.so.1"))


def libraries(file):
    done = subprocess.run(["ldd", file], capture_output=True, text=True)
    return [Path(path) for path in re.findall(r"(?:=> |^\t)(/\S+)", done.stdout, re.M)]


def inside(folder, path):
    return folder / str(path).lstrip("/")


def copy(folder, path):
    target = inside(folder, path)
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        shutil.copy(os.path.realpath(path), target)
