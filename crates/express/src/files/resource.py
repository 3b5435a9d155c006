"""Gives requests for files with certain extensions to their scripts.

Made by mod_wsgi-express; the next run writes it anew. HANDLERS, above, names the scripts.
"""

import os
import sys
import types


def load(extension, path):
    module = types.ModuleType("__wsgi_resource_" + extension.lstrip(".") + "__")
    module.__file__ = path
    with open(path, "rb") as script:
        code = compile(script.read(), path, "exec")
    sys.modules[module.__name__] = module
    exec(code, module.__dict__)
    return module


scripts = {extension: load(extension, path) for extension, path in HANDLERS.items()}


def script_of(path):
    return scripts.get(os.path.splitext(path)[1])


def reload_required(resource):
    asked = getattr(script_of(resource), "reload_required", None)
    return asked is not None and asked(resource)


def handle_request(environ, start_response):
    script = script_of(environ["SCRIPT_NAME"])
    called = getattr(script, "handle_request", None) or script.application
    return called(environ, start_response)
