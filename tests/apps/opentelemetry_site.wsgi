"""An application under OpenTelemetry: a thread in the background writes each finished span as a line of the file `spans`."""
import json
import os
from pathlib import Path

from opentelemetry import trace
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

SPANS = Path(__file__).with_name("spans")


class Lines(SpanExporter):
    def export(self, spans):
        with SPANS.open("a") as file:
            for span in spans:
                file.write(json.dumps([span.name, os.getpid(), dict(span.attributes)], default=str) + "\n")
        return SpanExportResult.SUCCESS


provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(Lines(), schedule_delay_millis=50))
trace.set_tracer_provider(provider)
tracer = trace.get_tracer(__name__)


def in_a_child():
    """Forks; the child's own span is exported by the child's own thread."""
    child = os.fork()
    if child == 0:
        try:
            with tracer.start_as_current_span("in the child"):
                pass
            provider.force_flush()
        finally:
            os._exit(0)
    return os.waitpid(child, 0)[1]


def site(environ, start_response):
    status = in_a_child() if environ["PATH_INFO"] == "/fork" else 0
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(status).encode()]


application = OpenTelemetryMiddleware(site)
