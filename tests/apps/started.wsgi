"""How Python was started, as JSON."""

import json
import os
import sys


def documented():
    """A docstring."""


def application(environ, start_response):
    told = {
        "optimize": sys.flags.optimize,
        "debug": __debug__,
        "docstring": documented.__doc__,
        "dont_write_bytecode": sys.dont_write_bytecode,
        "warnings": sys.warnoptions,
        "hash": hash("some text"),
        "hash_randomization": sys.flags.hash_randomization,
        "eggs": os.environ.get("PYTHON_EGG_CACHE"),
        "version": "%d.%d" % sys.version_info[:2],
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(told).encode()]
