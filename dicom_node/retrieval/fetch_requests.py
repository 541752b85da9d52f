"""Studies that people asked for on the panel: a worker fetches them, and the page says what came of it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session

from dicom_node.database.engine import Database
from dicom_node.database.states import FetchState
from dicom_node.database.tables import FetchRow
from dicom_node.database.worker_slots import list_workers
from dicom_node.invalid_entry import FieldProblem, InvalidEntryError
from dicom_node.peers.query_answers import QueryFailed, is_uid
from dicom_node.peers.registry import get_peer
from dicom_node.reception.intake import Fetched
from dicom_node.retrieval.fetch import Fetcher
from dicom_node.settings import Settings

__all__ = ["FetchRefused", "ask_for", "fetch_next", "newest_requests"]

SHOWN = 10
MOST_PRIORS = 20

MOST_ATTEMPTS = 3
"""A request that three workers ended over ends itself: it may be what ends them."""

_log = structlog.get_logger()


class FetchRefused(InvalidEntryError):  # noqa: N818 - named for what happened
    """A request that cannot be fulfilled as it was entered."""


def ask_for(database: Database, study_uid: str, source: str, priors: int) -> None:
    """Put a request among those that workers look for.

    Raises
    ------
    FetchRefused
        With every entry that cannot be used.
    """
    problems = []
    if not is_uid(study_uid):
        sentence = "A Study Instance UID is numbers with dots between them, such as 1.2.840.113619.2.1."
        problems.append(FieldProblem(field="study_uid", sentence=sentence))
    if not 0 <= priors <= MOST_PRIORS:
        problems.append(FieldProblem(field="priors", sentence=f"Priors are from 0 to {MOST_PRIORS}."))
    if problems:
        raise FetchRefused(*problems)
    get_peer(database, source)
    with database.session() as session:
        session.add(FetchRow(study_uid=study_uid, source=source, priors=priors))


@dataclass(frozen=True, kw_only=True)
class _Claim:
    request: int
    attempt: int
    study_uid: str
    source: str
    priors: int


def fetch_next(settings: Settings, database: Database, executor: str) -> bool:
    """Fetch the request that waits longest; tell whether there was one.

    Parameters
    ----------
    executor
        The worker's slot; one thread of it fetches, so whatever it still has when it asks is of one that died in it.
    """
    claim = _claim(database, executor)
    if claim is None:
        return False
    try:
        done = Fetcher(settings, database, get_peer(database, claim.source)).fetch(claim.study_uid, claim.priors)
        state = FetchState.DONE if all(one.complete for one in done) else FetchState.FAILED
        reason = _what_came(done)
    except (QueryFailed, InvalidEntryError) as error:
        state, reason = FetchState.FAILED, str(error)
    except Exception as error:  # noqa: BLE001 - part of the worker's loop: whatever happened, the page says so
        _log.exception("fetch_defect")
        state, reason = FetchState.FAILED, f"{type(error).__name__}: see the node's log for the details"
    with database.session() as session:
        row = session.get_one(FetchRow, claim.request, with_for_update=True)
        if (row.state, row.executor, row.attempt) == (FetchState.RUNNING, executor, claim.attempt):
            row.state, row.reason = state, reason  # else it was taken for dead, and another has it
    return True


def _claim(database: Database, executor: str) -> _Claim | None:
    alive = {worker.executor for worker in list_workers(database) if worker.alive}
    waiting = sa.select(FetchRow).where(FetchRow.state == FetchState.WAITING).order_by(FetchRow.id).limit(1)
    with database.session() as session:
        _give_back(session, alive - {executor})
        row = session.scalar(waiting.with_for_update(skip_locked=True))
        if row is None:
            return None
        row.state, row.executor, row.attempt = FetchState.RUNNING, executor, row.attempt + 1
        return _Claim(
            request=row.id, attempt=row.attempt, study_uid=row.study_uid, source=row.source, priors=row.priors
        )


def _give_back(session: Session, at_work: Collection[str]) -> None:
    """Let requests wait again whose worker has died, also one of a version that did not say which worker had it."""
    left = sa.select(FetchRow).where(FetchRow.state == FetchState.RUNNING, FetchRow.executor.not_in(list(at_work)))
    for row in session.scalars(left.with_for_update(skip_locked=True)).all():
        row.state, row.executor = FetchState.WAITING, ""
        _log.warning("fetch_given_back", request=row.id, attempt=row.attempt)
        if row.attempt >= MOST_ATTEMPTS:
            row.state = FetchState.FAILED
            row.reason = f"{row.attempt} workers ended while they fetched it; look at the node's log, then ask again"
    session.flush()


def _what_came(done: Sequence[Fetched]) -> str:
    count, failed = sum(one.instances for one in done), sum(one.failed for one in done)
    told = f"{count} instances of {len(done)} studies by {done[0].by}, {failed} failed"
    problems = [problem for one in done for problem in one.problems]
    return f"{told}: {'; '.join(problems)}" if problems else told


def newest_requests(database: Database) -> Sequence[FetchRow]:
    """Return the newest requests, newest first."""
    with database.session() as session:
        return session.scalars(sa.select(FetchRow).order_by(FetchRow.id.desc()).limit(SHOWN)).all()
