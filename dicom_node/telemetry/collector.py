"""Sends spans to an OpenTelemetry collector by OTLP over HTTP; only this file uses OpenTelemetry."""

import hashlib
import logging
import threading
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import NonRecordingSpan, SpanContext, StatusCode, TraceFlags, set_span_in_context

from dicom_node.settings import Settings
from dicom_node.telemetry.spans import Span

__all__ = ["Collector"]

_log = structlog.get_logger()

TIMEOUT_S = 5.0
"""For one request to the collector."""

DELAY_MS = 2000
MOST_WAITING = 4096
"""Spans that wait for a collector that is away; further ones are dropped."""


class Collector:
    """The way to the collector of the settings.

    The provider is this object's own: it is never made the global one, so that no library sends spans of its own
    making, in whose attributes there might be addresses or statements with values.
    """

    def __init__(self, settings: Settings, role: str) -> None:
        # Its messages quote answers of the collector; whether it can be reached is logged here.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        self._ids = _Ids()
        names = {
            "service.name": "glionode",
            "service.version": version("glionode"),
            "service.instance.id": f"{settings.node.ae_title}/{role}",
        }
        exporter = _Watched(OTLPSpanExporter(endpoint=settings.telemetry.endpoint, timeout=TIMEOUT_S))
        self._provider = TracerProvider(resource=Resource(names), id_generator=self._ids, shutdown_on_exit=False)
        self._provider.add_span_processor(
            BatchSpanProcessor(exporter, max_queue_size=MOST_WAITING, schedule_delay_millis=DELAY_MS)
        )
        self._tracer = self._provider.get_tracer("glionode", version("glionode"))

    def take(self, span: Span) -> None:
        """Queue a span."""
        context = Context()
        if span.trace and not span.is_root:
            parent = SpanContext(
                trace_id=_trace_id(span.trace),
                span_id=_root_id(span.trace),
                is_remote=True,
                trace_flags=TraceFlags(TraceFlags.SAMPLED),
            )
            context = set_span_in_context(NonRecordingSpan(parent), context)
        with self._ids.of(span):
            begun = self._tracer.start_span(
                span.name, context=context, attributes=dict(span.attributes), start_time=_ns(span.began_at)
            )
        begun.set_status(StatusCode.OK if span.ok else StatusCode.ERROR)
        begun.end(end_time=_ns(max(span.began_at, span.ended_at)))

    def stop(self) -> None:
        """Send what waits, and end."""
        self._provider.shutdown()


class _Ids(RandomIdGenerator):
    """Gives the first span of a named trace the ids that its name stands for, and every other span random ones."""

    def __init__(self) -> None:
        self._here = threading.local()

    def of(self, span: Span) -> "_Named":
        """Return a block in which a span is started."""
        return _Named(self._here, span.trace if span.is_root else "")

    def generate_trace_id(self) -> int:
        """Return the id of a trace."""
        name = getattr(self._here, "name", "")
        return _trace_id(name) if name else super().generate_trace_id()

    def generate_span_id(self) -> int:
        """Return the id of a span."""
        name = getattr(self._here, "name", "")
        return _root_id(name) if name else super().generate_span_id()


class _Named:
    def __init__(self, here: threading.local, name: str) -> None:
        self._here, self._name = here, name

    def __enter__(self) -> None:
        self._here.name = self._name

    def __exit__(self, *_: object) -> None:
        self._here.name = ""


class _Watched(SpanExporter):
    """Logs when the collector cannot be reached, and when it can be again."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter, self._ok = exporter, True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans."""
        result = self._exporter.export(spans)
        ok = result is SpanExportResult.SUCCESS
        if ok != self._ok:
            self._ok = ok
            (_log.info if ok else _log.warning)("traces_sent" if ok else "traces_lost", spans=len(spans))
        return result

    def shutdown(self) -> None:
        """End."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what waits."""
        return self._exporter.force_flush(timeout_millis)


def _trace_id(name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"trace {name}".encode()).digest()[:16])


def _root_id(name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"root {name}".encode()).digest()[:8])


def _ns(at: datetime) -> int:
    return round(at.timestamp() * 1e6) * 1000
