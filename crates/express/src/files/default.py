"""The page of a server without an application."""

PAGE = """<!DOCTYPE html>
<title>mod_wsgi-express</title>
<h1>The server runs</h1>
<p>It has no application. Start it with one: <code>mod_wsgi-express start-server app.wsgi</code>,
or <code>package.module:application</code>.</p>
<p><a href="__wsgi__/docs/">All options</a></p>
"""


def application(environ, start_response):
    body = PAGE.encode()
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [body]
