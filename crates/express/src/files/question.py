# What mod_wsgi-express wants to know of the interpreter. The argument is the locale that was asked for, or empty.
import json
import locale
import mimetypes
import os
import sys
import sysconfig


def usable(name):
    try:
        return bool(locale.setlocale(locale.LC_ALL, name))
    except (locale.Error, ValueError):
        return False


def chosen(named):
    if not named:
        named = next((v for v in map(os.environ.get, ("LC_ALL", "LC_CTYPE", "LANG")) if v), "C")
    if named in ("C", "POSIX"):
        return next((name for name in ("en_US.UTF-8", "C.UTF-8") if usable(name)), named)
    return named


print(json.dumps({
    "executable": sys.executable,
    "prefix": sys.prefix,
    "version": sys.version_info[:2],
    "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    "locale": chosen(sys.argv[1]),
    "mime_types": next((f for f in mimetypes.knownfiles if os.path.isfile(f)), None),
}))
