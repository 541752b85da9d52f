"""How much the node did, and how long it took, over the last day or week."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from dicom_node.database.engine import Database
from dicom_node.database.states import Priority, RunState
from dicom_node.database.tables import RunRow, StudyRow
from dicom_node.monitoring.counts import quantile

__all__ = ["ENDED", "RESULTS", "ActivityBin", "Span", "read_activity"]

MOST_ROWS = 20_000
"""Most studies and most runs that are looked at."""

RESULTS = (RunState.DELIVERED, RunState.STORED, RunState.UNDELIVERED)
ENDED = (*RESULTS, RunState.FAILED, RunState.REJECTED)
_EARLIER = timedelta(days=1)
"""A run that ends in the span may have been ready earlier; runs are found by that time."""


class Span(enum.StrEnum):
    """What is looked at: so many bins of so many hours."""

    DAY = "day"
    WEEK = "week"

    @property
    def bins(self) -> int:
        """Number of bins."""
        return 24 if self is Span.DAY else 7

    @property
    def width(self) -> timedelta:
        """Duration of a bin."""
        return timedelta(hours=1) if self is Span.DAY else timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class ActivityBin:
    """One hour or one day.

    Attributes
    ----------
    received
        Studies whose newest image arrived then.
    results, failures
        Runs that ended then with a result, and without one.
    median_s, p95_s
        From ready to the end, of the runs with a result; None without any.
    """

    begins: datetime
    received: int
    results: int
    failures: int
    median_s: float | None
    p95_s: float | None


def read_activity(database: Database, span: Span) -> tuple[ActivityBin, ...]:
    """Return the bins, oldest first; the last one ends now."""
    with database.session() as session:
        now = database.now(session)
        start = now - span.width * span.bins
        newest = sa.select(StudyRow.last_received_at).where(StudyRow.last_received_at >= start)
        received = session.scalars(newest.order_by(StudyRow.last_received_at.desc()).limit(MOST_ROWS)).all()
    ended = _ended(database, start)
    return tuple(_bin(begin, begin + span.width, received, ended) for begin in _begins(start, span))


def _begins(start: datetime, span: Span) -> list[datetime]:
    return [start + span.width * number for number in range(span.bins)]


def _ended(database: Database, start: datetime) -> Sequence[tuple[str, datetime, datetime]]:
    columns = (RunRow.state, RunRow.ready_at, RunRow.finished_at)
    among = (RunRow.state.in_(ENDED), RunRow.priority.in_(list(Priority)), RunRow.ready_at >= start - _EARLIER)
    with database.session() as session:  # by ix_run_queue
        rows = session.execute(sa.select(*columns).where(*among).limit(MOST_ROWS)).all()
    return [(str(state), ready, finished) for state, ready, finished in rows if finished is not None]


def _bin(
    begin: datetime, end: datetime, received: Sequence[datetime], ended: Sequence[tuple[str, datetime, datetime]]
) -> ActivityBin:
    within = [(state, (done - ready).total_seconds()) for state, ready, done in ended if begin <= done < end]
    took = [seconds for state, seconds in within if state in RESULTS]
    return ActivityBin(
        begins=begin,
        received=sum(begin <= at < end for at in received),
        results=len(took),
        failures=len(within) - len(took),
        median_s=quantile(took, 0.5) if took else None,
        p95_s=quantile(took, 0.95) if took else None,
    )
