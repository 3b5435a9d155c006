"""What applications and libraries do with the descriptors of sys.stdout and sys.stderr."""
import faulthandler
import logging
import os
import subprocess
import sys


def set_up_logging():
    """As Odoo does: colours for terminals only."""
    handler = logging.StreamHandler()
    is_terminal = hasattr(handler.stream, "fileno") and os.isatty(handler.stream.fileno())
    return f"{is_terminal} {sys.stderr.isatty()} {sys.stdout.isatty()}"


def enable_faulthandler():
    faulthandler.enable()
    is_enabled = faulthandler.is_enabled()
    faulthandler.dump_traceback()
    faulthandler.disable()
    return str(is_enabled)


def run_programs():
    for number, stream in enumerate([sys.stdout, sys.stderr]):
        subprocess.run(["/bin/echo", f"said by a program {number}"], stdout=stream, check=True)
        subprocess.run(["/bin/sh", "-c", f"echo complained by a program {number} >&2"], stderr=stream, check=True)
    return "done"


def application(environ, start_response):
    cases = {"logging": set_up_logging, "faulthandler": enable_faulthandler, "programs": run_programs}
    said = cases[environ["PATH_INFO"].strip("/")]()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [said.encode()]
