"""Settles its settings as Django's wsgi.py does, at the first request of each mount; tells what it then has."""
import json
import os
import subprocess
import sys

SHOW = "import json, os; print(json.dumps([os.environ.get('SETTINGS'), sorted(n for n in os.environ if n.startswith('ONLY_'))]))"
OWN = []

def started(how):
    if how == "program":
        return json.loads(subprocess.check_output([sys.executable, "-c", SHOW]))
    if how == "given":
        return json.loads(subprocess.check_output([sys.executable, "-c", SHOW], env={"SETTINGS": "given", "ONLY_given": "1"}))
    if how == "popen":
        return json.loads(os.popen(f"{sys.executable} -c \"{SHOW}\"").read())
    return None


def zone():
    import time

    os.environ["TZ"] = "Asia/Tokyo"
    time.tzset()
    return time.strftime("%Z")


def application(environ, start_response):
    name = environ["SCRIPT_NAME"].strip("/")
    if not OWN:
        os.environ.setdefault("SETTINGS", f"{name}.settings")
        os.environ[f"ONLY_{name}"] = "1"
        OWN.append(os.environ["SETTINGS"])
    told = {
        "settings": OWN[0],
        "only": sorted(key for key in os.environ if key.startswith("ONLY_")),
        "configured": os.environ.get("CONFIGURED"),
        "started": started(environ["QUERY_STRING"]),
        "zone": zone() if environ["QUERY_STRING"] == "zone" else None,
        "pid": os.getpid(),
        "version": "%d.%d" % sys.version_info[:2],
        "application_group": environ["mod_wsgi.application_group"],
    }
    body = json.dumps(told).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
