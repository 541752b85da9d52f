"""Studies that people request on the panel: a worker fetches them, and the page shows the result."""

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
"""A request fails once three workers have ended while fetching it: it may be the cause."""

_log = structlog.get_logger()


class FetchRefused(InvalidEntryError):  # noqa: N818 - named for what happened
    """A request with invalid entries."""


def ask_for(database: Database, study_uid: str, source: str, priors: int) -> None:
    """Add a request to the queue of the workers.

    Raises
    ------
    FetchRefused
        With every invalid entry.
    """
    problems = []
    if not is_uid(study_uid):
        sentence = "A Study Instance UID consists of numbers separated by dots, such as 1.2.840.113619.2.1."
        problems.append(FieldProblem(field="study_uid", sentence=sentence))
    if not 0 <= priors <= MOST_PRIORS:
        problems.append(FieldProblem(field="priors", sentence=f"The number of priors is from 0 to {MOST_PRIORS}."))
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
    """Fetch the study of the oldest waiting request; return whether there was one.

    Parameters
    ----------
    executor
        The worker's slot. It fetches in one thread, so a request that the slot still holds was left by a dead worker.
    """
    claim = _claim(database, executor)
    if claim is None:
        return False
    try:
        done = Fetcher(settings, database, get_peer(database, claim.source)).fetch(claim.study_uid, claim.priors)
        state = FetchState.DONE if all(one.complete for one in done) else FetchState.FAILED
        reason = _summary(done)
    except (QueryFailed, InvalidEntryError) as error:
        state, reason = FetchState.FAILED, str(error)
    except Exception as error:  # noqa: BLE001 - part of the worker's loop: whatever happened, the page shows it
        _log.exception("fetch_defect")
        state, reason = FetchState.FAILED, f"{type(error).__name__}: see the node's log for the details"
    with database.session() as session:
        row = session.get_one(FetchRow, claim.request, with_for_update=True)
        if (row.state, row.executor, row.attempt) == (FetchState.RUNNING, executor, claim.attempt):
            row.state, row.reason = state, reason  # else this worker was assumed dead, and another has the request
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
    """Return the requests of dead workers to the queue, also those of versions that recorded no worker."""
    left = sa.select(FetchRow).where(FetchRow.state == FetchState.RUNNING, FetchRow.executor.not_in(list(at_work)))
    for row in session.scalars(left.with_for_update(skip_locked=True)).all():
        row.state, row.executor = FetchState.WAITING, ""
        _log.warning("fetch_given_back", request=row.id, attempt=row.attempt)
        if row.attempt >= MOST_ATTEMPTS:
            row.state = FetchState.FAILED
            row.reason = f"{row.attempt} workers ended while fetching it; check the node's log, then request it again"
    session.flush()


def _summary(done: Sequence[Fetched]) -> str:
    count, failed = sum(one.instances for one in done), sum(one.failed for one in done)
    images, studies = "instance" if count == 1 else "instances", "study" if len(done) == 1 else "studies"
    counts = f"{count} {images} of {len(done)} {studies} by {done[0].by}, {failed} failed"
    problems = [problem for one in done for problem in one.problems]
    return f"{counts}: {'; '.join(problems)}" if problems else counts


def newest_requests(database: Database) -> Sequence[FetchRow]:
    """Return the newest requests, newest first."""
    with database.session() as session:
        return session.scalars(sa.select(FetchRow).order_by(FetchRow.id.desc()).limit(SHOWN)).all()
