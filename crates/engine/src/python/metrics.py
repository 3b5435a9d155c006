# What applications ask about requests, their process and httpd. Run in the namespace of the prelude, once in each interpreter.


def add_metrics(api):
    """Puts these functions into the module mod_wsgi."""
    for function in (start_recording_metrics, request_metrics, process_metrics, server_metrics):
        function.__module__ = 'mod_wsgi'
        setattr(api, function.__name__, function)


def server_metrics():
    """What httpd's scoreboard says, as a dict; None unless server-metrics (or WSGIServerMetrics) is On."""
    return _parsed(_server_metrics())


def start_recording_metrics():
    """From now on request_metrics() and process_metrics() tell something, in all interpreters of the process."""
    _start_metrics()


def request_metrics():
    """What the requests since the last call have needed, as a dict; None before start_recording_metrics(), and with telemetry."""
    return _parsed(_request_metrics())


def process_metrics():
    """What the process has done and used, as a dict; None before start_recording_metrics(), and with telemetry."""
    return _parsed(_process_metrics())


def _parsed(found):
    if found is None:
        return None
    import json

    return json.loads(found)
