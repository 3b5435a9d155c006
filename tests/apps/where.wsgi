"""Tells which process, thread and interpreter answered."""
import grp
import json
import locale
import os
import pwd
import sys
import threading


def application(environ, start_response):
    mask = os.umask(0)
    os.umask(mask)
    told = {
        "pid": os.getpid(), "ppid": os.getppid(), "thread": threading.get_ident(),
        "user": pwd.getpwuid(os.geteuid()).pw_name, "group": grp.getgrgid(os.getegid()).gr_name,
        "groups": os.getgroups(), "umask": mask, "cwd": os.getcwd(), "path": sys.path,
        "env": dict(os.environ), "prefix": sys.prefix, "executable": sys.executable,
        "version": "%d.%d" % sys.version_info[:2], "utf8_mode": sys.flags.utf8_mode,
        "locale": locale.setlocale(locale.LC_CTYPE), "argv": sys.argv,
        "process_group": environ["mod_wsgi.process_group"],
        "application_group": environ["mod_wsgi.application_group"],
        "multithread": environ["wsgi.multithread"],
        "multiprocess": environ["wsgi.multiprocess"], "run_once": environ["wsgi.run_once"],
        "main_interpreter": sys.implementation.name and is_main_interpreter(),
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(told).encode()]


def is_main_interpreter():
    try:
        import _interpreters
        return _interpreters.get_current()[0] == 0
    except ImportError:
        import _xxsubinterpreters
        return int(_xxsubinterpreters.get_current()) == 0
