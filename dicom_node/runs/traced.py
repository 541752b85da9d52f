"""One trace of a run, made of the times that the database keeps: a span for the run, and one for each of its steps."""

from collections.abc import Collection

import sqlalchemy as sa

from dicom_node.database.engine import Database
from dicom_node.database.history_tables import StepTimeRow
from dicom_node.database.keyed_hashes import KeyedHash
from dicom_node.database.states import RunState
from dicom_node.database.tables import DecisionRow, ResultRow, RunRow, StudyRow
from dicom_node.telemetry.spans import Span, Value, record

__all__ = ["trace_run"]

_BAD = (RunState.FAILED, RunState.REJECTED)


def trace_run(database: Database, run_id: str, attempt: int, steps: Collection[str]) -> None:
    """Record the trace of one start of a run that has just ended, where traces are on.

    Parameters
    ----------
    steps
        Names of those that this start was to perform.
    """
    record(lambda: _spans(database, run_id, attempt, steps))


def _spans(database: Database, run_id: str, attempt: int, steps: Collection[str]) -> list[Span]:
    trace = KeyedHash(database)("trace", run_id, str(attempt))  # a run's own id holds the UID of its study
    with database.session() as session:
        run = session.get_one(RunRow, run_id)
        key = session.get_one(StudyRow, run.study_uid).key
        chosen = sa.select(StepTimeRow).where(StepTimeRow.run_id == run_id, StepTimeRow.step.in_(steps))
        newest = {row.step: row for row in session.scalars(chosen.order_by(StepTimeRow.id)).all()}
        results, decisions = (
            session.scalar(sa.select(sa.func.count()).where(table.run_id == run_id)) or 0
            for table in (ResultRow, DecisionRow)
        )
    rows = [row for row in newest.values() if row.ended_at is not None]
    ends = [row.ended_at for row in rows if row.ended_at is not None]
    if run.finished_at is not None:
        ends.append(run.finished_at)
    begins = [row.began_at for row in rows] + ([run.ready_at] if attempt == 0 else [])
    if not begins or not ends:
        return []
    bad = run.state in _BAD
    about: dict[str, Value] = {
        "glionode.study": key,
        "glionode.revision": run.revision,
        "glionode.attempt": attempt,
        "glionode.state": str(run.state),
        "glionode.code": run.code,
        "glionode.results": results,
        "glionode.decisions": decisions,
    }
    whole = Span(
        name="run",
        began_at=min(begins),
        ended_at=max(ends),
        attributes=about,
        ok=not bad,
        trace=trace,
        is_root=True,
    )
    return [whole, *(_step(row, run, key, trace, bad=bad) for row in rows)]


def _step(row: StepTimeRow, run: RunRow, key: str, trace: str, *, bad: bool) -> Span:
    failed = bad and row.step == run.step
    about = {"glionode.study": key, "glionode.code": run.code if failed else ""}
    ended_at = row.ended_at or row.began_at
    return Span(
        name=f"step {row.step}", began_at=row.began_at, ended_at=ended_at, attributes=about, ok=not failed, trace=trace
    )
