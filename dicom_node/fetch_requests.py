"""Studies that people asked for on the panel: a worker fetches them, and the page says what came of it."""

from collections.abc import Sequence

import sqlalchemy as sa
import structlog

from dicom_node.database import Database
from dicom_node.entries import EntryError, EntryProblem
from dicom_node.fetch import Fetcher
from dicom_node.peers import get_peer
from dicom_node.query import QueryFailed
from dicom_node.settings import Settings
from dicom_node.states import FetchState
from dicom_node.tables import FetchRow

__all__ = ["FetchRefused", "ask_for", "fetch_next", "newest_requests"]

SHOWN = 10
MOST_PRIORS = 20

_log = structlog.get_logger()


class FetchRefused(EntryError):  # noqa: N818 - named for what happened
    """A request that cannot be fulfilled as it was entered."""


def ask_for(database: Database, study_uid: str, source: str, priors: int) -> None:
    """Put a request among those that workers look for.

    Raises
    ------
    FetchRefused
        With every entry that cannot be used.
    """
    problems = []
    if not study_uid or len(study_uid) > 64 or any(not part.isdigit() for part in study_uid.split(".")):
        sentence = "A Study Instance UID is numbers with dots between them, such as 1.2.840.113619.2.1."
        problems.append(EntryProblem(field="study_uid", sentence=sentence))
    if not 0 <= priors <= MOST_PRIORS:
        problems.append(EntryProblem(field="priors", sentence=f"Priors are from 0 to {MOST_PRIORS}."))
    if problems:
        raise FetchRefused(*problems)
    get_peer(database, source)
    with database.session() as session:
        session.add(FetchRow(study_uid=study_uid, source=source, priors=priors))


def fetch_next(settings: Settings, database: Database) -> bool:
    """Fetch the request that waits longest; tell whether there was one."""
    waiting = sa.select(FetchRow).where(FetchRow.state == FetchState.WAITING).order_by(FetchRow.id).limit(1)
    with database.session() as session:
        row = session.scalar(waiting.with_for_update(skip_locked=True))
        if row is None:
            return False
        row.state = FetchState.RUNNING
        request, study_uid, source, priors = row.id, row.study_uid, row.source, row.priors
    try:
        done = Fetcher(settings, database, get_peer(database, source)).fetch(study_uid, priors)
        count, failed = sum(one.instances for one in done), sum(one.failed for one in done)
        state, reason = FetchState.DONE, f"{count} instances of {len(done)} studies by {done[0].by}, {failed} failed"
    except (QueryFailed, EntryError) as error:
        state, reason = FetchState.FAILED, str(error)
    except Exception as error:  # noqa: BLE001 - part of the worker's loop: whatever happened, the page says so
        _log.exception("fetch_defect")
        state, reason = FetchState.FAILED, f"{type(error).__name__}: see the node's log for the details"
    with database.session() as session:
        row = session.get_one(FetchRow, request)
        row.state, row.reason = state, reason
    return True


def newest_requests(database: Database) -> Sequence[FetchRow]:
    """Return the newest requests, newest first."""
    with database.session() as session:
        return session.scalars(sa.select(FetchRow).order_by(FetchRow.id.desc()).limit(SHOWN)).all()
