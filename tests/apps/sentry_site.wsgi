"""An application that reports what it raises to the Sentry whose address is in the file `dsn` beside it."""
from pathlib import Path

import sentry_sdk
from sentry_sdk.integrations.wsgi import SentryWsgiMiddleware

sentry_sdk.init(dsn=(Path(__file__).parent / "dsn").read_text(), traces_sample_rate=1.0, shutdown_timeout=5)


def site(environ, start_response):
    if environ["PATH_INFO"] == "/raise":
        raise LookupError("no such item")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"the item"]


application = SentryWsgiMiddleware(site)
