"""The demonstration: one page that shows which process and interpreter answered, and the environ."""

import html
import os
import pwd
import sys
import threading
from urllib.parse import quote

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>It works: {mode} mode</title>
<style>
  :root {{ color-scheme: light dark; --line: #8884; --soft: #8881; --accent: #3b7dd8; }}
  body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 3rem auto; padding: 0 1rem; }}
  h1 {{ font-size: 1.9rem; margin: 0; }}
  h2 {{ font-size: 1.15rem; margin: 2.2rem 0 .6rem; }}
  p.lead {{ margin: .4rem 0 1.4rem; opacity: .8; }}
  nav a {{ display: inline-block; padding: .35rem .9rem; margin-right: .4rem; border-radius: 2rem;
          border: 1px solid var(--line); text-decoration: none; color: inherit; }}
  nav a.here {{ background: var(--accent); border-color: var(--accent); color: white; }}
  dl {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(14rem, 1fr)); gap: .8rem; margin: 0; }}
  dl div {{ border: 1px solid var(--line); border-radius: .6rem; padding: .7rem .9rem; background: var(--soft); }}
  dt {{ font-size: .8rem; opacity: .7; }}
  dd {{ margin: 0; font-weight: 600; overflow-wrap: anywhere; }}
  table {{ border-collapse: collapse; width: 100%; font-size: .9rem; }}
  th, td {{ text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid var(--line); }}
  td {{ overflow-wrap: anywhere; }}
  th, td {{ font-family: ui-monospace, monospace; font-weight: normal; }}
  th {{ white-space: nowrap; opacity: .75; }}
</style>
</head>
<body>
<h1>It works.</h1>
<p class="lead">A Python application, served by Apache httpd in <strong>{mode} mode</strong>.</p>
<nav>{links}</nav>
<h2>Who answered</h2>
<dl>{facts}</dl>
<h2>The environ of this request</h2>
<table>{rows}</table>
</body>
</html>
"""

LINKS = (("daemon", "/"), ("embedded", "/embedded"))


def facts(environ):
    """What stands in the boxes, in their order."""
    group = environ.get("mod_wsgi.process_group", "")
    application_group = environ.get("mod_wsgi.application_group", "")
    return {
        "Mode": f"daemon, process group '{group}'" if group else "embedded, in a child of httpd",
        "Application group": application_group or "main interpreter",
        "Process": f"{os.getpid()}, child of {os.getppid()}",
        "User": f"{user_name()} (uid {os.getuid()})",
        "Thread": f"{threading.current_thread().name} ({threading.get_native_id()})",
        "Python": f"{sys.version.split()[0]} ({sys.implementation.name})",
        "Interpreter": sys.executable or "inside httpd",
        "Prefix": sys.prefix,
        "Server": environ.get("SERVER_SOFTWARE", ""),
        "Concurrency": concurrency(environ),
    }


def user_name():
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return "unnamed"


def concurrency(environ):
    threads = "several threads" if environ["wsgi.multithread"] else "one thread"
    processes = "several processes" if environ["wsgi.multiprocess"] else "one process"
    return f"{processes}, {threads}"


def boxes(values):
    return "".join(
        f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd></div>"
        for name, value in values.items()
    )


def rows(environ):
    return "".join(
        f"<tr><th>{html.escape(key)}</th><td>{html.escape(shown(value))}</td></tr>"
        for key, value in sorted(environ.items())
    )


def shown(value):
    return value if isinstance(value, str) else repr(value)


def links(mode):
    return "".join(
        f'<a href="{quote(path)}"{" class=here" if name == mode else ""}>{name}</a>'
        for name, path in LINKS
    )


def application(environ, start_response):
    mode = "daemon" if environ.get("mod_wsgi.process_group") else "embedded"
    page = PAGE.format(
        mode=mode, links=links(mode), facts=boxes(facts(environ)), rows=rows(environ)
    ).encode("utf-8", "backslashreplace")
    start_response("200 OK", [
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Length", str(len(page))),
        ("Cache-Control", "no-store"),
    ])
    return [page]
