"""An application that uses all of the modules `mod_wsgi` and `apache`. test_stubs.py has mypy look at it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from io import BytesIO
from typing import TYPE_CHECKING, Any

import apache
import mod_wsgi

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class Handler(mod_wsgi.LogHandler):
    def emit(self, record: logging.LogRecord) -> None:
        super().emit(record)


@mod_wsgi.subscribe_events
def on_event(name: str, **event: Any) -> dict[str, Any] | None:
    if name == "request_started":
        event["request_data"]["user"] = event["request_environ"].get("REMOTE_USER")
        return {"application_object": application}
    return None


def on_shutdown(name: str, shutdown_reason: str, **event: object) -> None:
    logging.info("%s: %s", name, shutdown_reason)


mod_wsgi.subscribe_shutdown(on_shutdown)
mod_wsgi.subscribe_signals(lambda name, **event: None)
mod_wsgi.shutdown_callbacks.remove(on_shutdown)
mod_wsgi.start_recording_metrics()


def busiest() -> float:
    requests, process, server = mod_wsgi.request_metrics(), mod_wsgi.process_metrics(), mod_wsgi.server_metrics()
    if requests is None or process is None or server is None:
        return 0.0
    threads: list[int] = [thread["request_count"] for thread in process["threads"]]
    states = "".join(thread["status"] for child in server["processes"] for thread in child["workers"])
    queue: float | None = requests["queue_time"]
    return max([*requests["request_threads_busy_time"], queue or 0.0, len(threads), states.count("W")])


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    mod_wsgi.request_data()["seen"] = True
    try:
        others: dict[str, dict[Any, Any]] = mod_wsgi.active_requests
    except mod_wsgi.RequestTimeout:
        raise
    places: tuple[int, int, int] = apache.version if len(others) > 1 else mod_wsgi.version
    names: list[str] = [apache.description, apache.mpm_name, apache.build_date, mod_wsgi.process_group]
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Size", str(apache.maximum_processes + sum(places)))])
    return mod_wsgi.FileWrapper(BytesIO(" ".join(names).encode()), blksize=4096)
