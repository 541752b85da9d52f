"""Spans: what took how long. They are recorded once they are over, and nobody waits until they are sent."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

import structlog

from dicom_node.settings import Settings

__all__ = ["Span", "Value", "is_on", "record", "timed", "tracing"]

_log = structlog.get_logger()

STOP_S = 3.0
"""How long a process that ends waits for its last spans to be sent."""

Value = str | int | bool


@dataclass(frozen=True, kw_only=True)
class Span:
    """One piece of work that is over.

    Attributes
    ----------
    attributes
        Names, counts, states and keys of studies; never anything from a header.
    trace
        Names the trace that it belongs to, in every process alike; empty: a trace of its own.
    is_root
        Whether the other spans of its trace are parts of it.
    """

    name: str
    began_at: datetime
    ended_at: datetime
    attributes: Mapping[str, Value] = field(default_factory=lambda: MappingProxyType({}))
    ok: bool = True
    trace: str = ""
    is_root: bool = False


_takers: list[Callable[[Span], None]] = []
"""What takes spans in this process; empty while traces are off."""


def is_on() -> bool:
    """Return whether spans are taken at all."""
    return bool(_takers)


def record(make: Callable[[], Iterable[Span]]) -> None:
    """Hand over spans; they are queued, or dropped where the collector has been away for long.

    Parameters
    ----------
    make
        Makes them; called only while traces are on. Whatever it raises is logged, and the work goes on.
    """
    if not is_on():
        return
    try:
        for span in make():
            for take in _takers:
                take(span)
    except Exception:  # noqa: BLE001 - what only watches the work must not end it
        _log.exception("not_traced")


@contextlib.contextmanager
def timed(make: Callable[[datetime, datetime, bool], Span]) -> Iterator[None]:
    """Record a span over the block, also when it raises.

    Parameters
    ----------
    make
        Makes the span of begin, end and whether the block has ended well; called only while traces are on.
    """
    if not is_on():
        yield
        return
    began_at, since, ok = datetime.now(UTC), time.monotonic(), False
    try:
        yield
        ok = True
    finally:
        ended_at = began_at + timedelta(seconds=time.monotonic() - since)
        record(lambda: [make(began_at, ended_at, ok)])


@contextlib.contextmanager
def tracing(settings: Settings, role: str) -> Iterator[None]:
    """Send the spans that this process records in the block to the collector of the settings, where there is one."""
    if not settings.telemetry.endpoint:
        yield
        return
    try:
        from dicom_node.telemetry.collector import Collector  # noqa: PLC0415 - an extra, and only where it is on
    except ImportError:
        _log.warning("telemetry_not_installed", remedy="pip install 'glionode[telemetry]'")
        yield
        return
    collector = Collector(settings, role)
    _takers[:] = [collector.take]
    try:
        yield
    finally:
        _takers.clear()
        last = threading.Thread(target=collector.stop, daemon=True)  # a collector that is away must not delay the end
        last.start()
        last.join(STOP_S)
