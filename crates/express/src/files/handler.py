"""Loads the application and gives it the requests that are no static files.

Made by mod_wsgi-express; the next run writes it anew. SETTINGS, above, say what to load.
"""

import importlib
import os
import sys
import time
import types


def load():
    """The application."""
    if SETTINGS["type"] == "paste":
        from paste.deploy import loadapp
        return loadapp("config:" + SETTINGS["target"])
    if SETTINGS["type"] == "module":
        found = importlib.import_module(SETTINGS["target"])
        for name in SETTINGS["callable"].split("."):
            found = getattr(found, name)
        return found() if SETTINGS["factory"] else found
    path = SETTINGS["target"]
    module = types.ModuleType("_mod_wsgi_express_script")
    module.__file__ = path
    with open(path, "rb") as script:
        code = compile(script.read(), path, "exec")
    sys.modules[module.__name__] = module
    exec(code, module.__dict__)
    if not hasattr(module, SETTINGS["callable"]):
        raise AttributeError(f"{path} does not define {SETTINGS['callable']}")
    return getattr(module, SETTINGS["callable"])


def tell(text):
    """Tells the command that has started the server how the application's start went, if it still asks."""
    try:
        with open(SETTINGS["start"], "r+") as asking:
            asking.seek(0, os.SEEK_END)
            asking.write(text + "\n")
    except OSError:
        pass


def signature(path):
    """What changes when the file does."""
    try:
        found = os.stat(path)
        return found.st_mtime_ns, found.st_size, found.st_ino
    except OSError:
        return None


def reload_required(resource):
    """Whether the script has changed since it was loaded; the module asks before each request."""
    return SETTINGS["reload"] and SETTINGS["type"] != "module" and signature(SETTINGS["target"]) != loaded


def place(environ):
    """Sets SCRIPT_NAME to the mount point. httpd takes the first part of the URL for it: it looks for a file."""
    if "mod_wsgi.mount_point" in environ:
        # A proxy has said where the application is for clients; that stays.
        environ["PATH_INFO"] = environ.get("mod_wsgi.script_name", "") + environ.get("PATH_INFO", "")
        mount = SETTINGS["mount"]
        if mount and environ["PATH_INFO"].startswith(mount):
            environ["PATH_INFO"] = environ["PATH_INFO"][len(mount):]
        return
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    mount = SETTINGS["mount"]
    if not path.startswith(mount):
        mount = ""
    environ["SCRIPT_NAME"] = mount
    environ["PATH_INFO"] = path[len(mount):]


def handle_request(environ, start_response):
    """The entry point of the module."""
    place(environ)
    return application(environ, start_response)


def changed_files(seen):
    """Files of loaded modules that differ from what they were when they were first seen. Adds the new ones."""
    paths = {path for module in list(sys.modules.values()) if isinstance(path := getattr(module, "__file__", None), str)}
    if SETTINGS["type"] != "module":
        paths.add(SETTINGS["target"])
    with looking:
        changed = [path for path, before in seen.items() if signature(path) != before]
        seen.update((path, signature(path)) for path in paths - seen.keys())
    return changed


def notifier():
    """A function that waits until a directory of these files changes or a second is over. Without inotify it waits
    for a part of a second."""
    import ctypes
    import select

    system = ctypes.CDLL(None, use_errno=True)
    try:
        descriptor = system.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
    except AttributeError:
        descriptor = -1
    # Modified, closed after writing, moved from, moved to, created, deleted.
    events = 0x2 | 0x8 | 0x40 | 0x80 | 0x100 | 0x200
    watched = set()

    def wait(paths):
        if descriptor < 0:
            return time.sleep(0.2)
        for directory in {os.path.dirname(path) for path in paths} - watched:
            watched.add(directory)
            system.inotify_add_watch(descriptor, os.fsencode(directory), events)
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        if poll.poll(1000):
            # An editor may write in several steps.
            time.sleep(0.02)
            os.read(descriptor, 65536)

    return wait


def watch():
    """Asks for another process when a file changes: SIGUSR1 makes the supervisor replace this one, which goes on until
    the other is ready."""
    import logging
    import signal

    import mod_wsgi

    logger = logging.getLogger("mod_wsgi-express")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(mod_wsgi.LogHandler())
    # While the application is loaded, each module is to be seen soon after it was read.
    while "application" not in globals() and SETTINGS["watch"]:
        changed_files(seen)
        time.sleep(0.02)
    wait = notifier()
    while SETTINGS["watch"]:
        changed = changed_files(seen)
        if changed:
            logger.info("%s has changed; this process is to be replaced", changed[0])
            return os.kill(os.getpid(), signal.SIGUSR1)
        with looking:
            paths = list(seen)
        wait(paths)


os.environ.update(SETTINGS["environ"])
loaded = signature(SETTINGS["target"])
if SETTINGS["watch"]:
    import threading
    seen = {}
    looking = threading.Lock()
    threading.Thread(target=watch, daemon=True, name="mod_wsgi-express-watch").start()
