"""Reads whose study each is, soon after its first image and after every change; studies of earlier versions too.

The listener only marks a study as due, with a statement that it executes anyway. The newest header decides, so that a
correction is shown as soon as its first image has arrived. One header of each series is read: their number of patients
is determined as in a run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session

from conversion.patient_identity import identity
from conversion.reading import read_header
from conversion.study_identity import StudyIdentity, study_identity
from dicom_node.database.engine import Database
from dicom_node.database.identity_tables import StudyIdentityRow
from dicom_node.database.tables import InstanceRow, ResultRow, StudyRow
from dicom_node.studies.search_words import indexed_words, searched_words

__all__ = ["AT_ONCE", "Identities", "identity_row"]

AT_ONCE = 20
"""Studies of one round, the newest first: those of an earlier version wait behind what arrives."""

_SERIES_READ = 30
"""The series received last; further ones add neither a name nor a patient in any study that is one."""

_HEADERS_KEPT = 2_000
"""At about 1 kB each; a growing study is read again and again."""

_NAME_KEY = 128

_log = structlog.get_logger()

_Patient = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Held:
    """What is on disk of a study: a file of each series, the newest first, and by what a change is noticed."""

    study_uid: str
    key: str
    paths: tuple[str, ...]
    patient_keys: int
    stamp: object


class Identities:
    """Keeps the identities of studies up to date.

    Parameters
    ----------
    folder
        The node's folder.
    """

    def __init__(self, database: Database, folder: Path) -> None:
        self._database, self._folder = database, folder
        self._out_of_reach: set[str] = set()

    def read_due(self) -> int:
        """Read the studies that are due, a bounded number of them; return how many there were."""
        chosen = sa.select(StudyRow.study_uid).where(StudyRow.identity_due)
        if self._out_of_reach:
            chosen = chosen.where(StudyRow.study_uid.not_in(self._out_of_reach))
        with self._database.session() as session:
            uids = session.scalars(chosen.order_by(StudyRow.last_received_at.desc()).limit(AT_ONCE)).all()
        for uid in uids:
            self._read(uid)
        if len(uids) < AT_ONCE:
            self._out_of_reach.clear()  # nothing else waits: they are tried again
        return len(uids)

    def _read(self, study_uid: str) -> None:
        with self._database.session() as session:
            held = _held(session, study_uid)
        if held is None:
            return
        try:
            headers = [found for path in held.paths if (found := _header(self._folder / path, held.key)) is not None]
        except OSError as error:
            _log.warning("identity_out_of_reach", study=held.key, error=type(error).__name__)
            self._out_of_reach = set(list(self._out_of_reach)[-AT_ONCE:]) | {study_uid}
            return
        self._database.transact(lambda session: _keep(session, held, headers))


def _held(session: Session, study_uid: str) -> _Held | None:
    study = session.get(StudyRow, study_uid)
    if study is None:
        return None
    own = InstanceRow.sop_instance_uid.in_(sa.select(ResultRow.sop_instance_uid))
    columns = (InstanceRow.series_uid, InstanceRow.path, InstanceRow.patient_key)
    newest_first = (InstanceRow.received_at.desc(), InstanceRow.id.desc())
    current = sa.select(*columns).where(InstanceRow.study_uid == study_uid, InstanceRow.current)
    rows = session.execute(current.where(~own).order_by(*newest_first)).all()
    rows = rows or session.execute(current.order_by(*newest_first)).all()
    newest: dict[str, str] = {}
    for row in rows:
        newest.setdefault(row.series_uid, row.path)
    return _Held(
        study_uid=study_uid,
        key=study.key,
        paths=tuple(newest.values())[:_SERIES_READ] or _result_paths(session, study_uid),
        patient_keys=len({row.patient_key for row in rows}),
        stamp=_stamp(session, study_uid),
    )


def _result_paths(session: Session, study_uid: str) -> tuple[str, ...]:
    """Return a result, which names the patient too, of a study whose images were removed."""
    kept = sa.select(ResultRow.path).where(ResultRow.study_uid == study_uid, ResultRow.path != "")
    return tuple(session.scalars(kept.order_by(ResultRow.created_at.desc()).limit(1)))


def _stamp(session: Session, study_uid: str) -> object:
    """Return what differs when an image has arrived or has become current."""
    newest = sa.select(sa.func.max(InstanceRow.id), sa.func.max(InstanceRow.received_at), sa.func.count())
    return tuple(session.execute(newest.where(InstanceRow.study_uid == study_uid)).one())


def _header(path: Path, key: str) -> tuple[StudyIdentity, _Patient] | None:
    """Return the identity and the patient in a header; None for one that cannot be read, whatever it contains."""
    try:
        return _read_header(path)
    except FileNotFoundError:  # removed by the policy in the meantime
        return None
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - a stranger's file may raise anything; its run gives the reason
        _log.warning("identity_unreadable", study=key, error=type(error).__name__)
        return None


@lru_cache(maxsize=_HEADERS_KEPT)
def _read_header(path: Path) -> tuple[StudyIdentity, _Patient]:
    ds = read_header(path)  # what was received is never written to again
    return study_identity(ds), identity(ds)


def _keep(session: Session, held: _Held, headers: Sequence[tuple[StudyIdentity, _Patient]]) -> None:
    """Write the row; the study stays due if something has arrived since it was read."""
    study = session.get(StudyRow, held.study_uid, with_for_update=True)
    if study is None:
        return
    if headers:
        patients = max(held.patient_keys, len({patient for _, patient in headers}))
        session.merge(identity_row(study.study_uid, study.last_received_at, [one for one, _ in headers], patients))
    if _stamp(session, held.study_uid) == held.stamp:
        study.identity_due = False


def identity_row(
    study_uid: str, received_at: datetime, found: Sequence[StudyIdentity], patients: int
) -> StudyIdentityRow:
    """Return the row of a study: the first of what was found is shown, and words of all are found."""
    newest = found[0]
    texts = [
        text for one in found for text in (one.patient_name, one.patient_id, one.accession_number, one.description)
    ]
    return StudyIdentityRow(
        study_uid=study_uid,
        patient_name=newest.patient_name,
        patient_id=newest.patient_id,
        birth_date=newest.birth_date,
        sex=newest.sex,
        accession_number=newest.accession_number,
        study_date=newest.study_date,
        study_time=newest.study_time,
        description=newest.description,
        modalities=", ".join(sorted({one.modality for one in found} - {""})),
        patients=patients,
        received_at=received_at,
        name_key=" ".join(searched_words(newest.patient_name))[:_NAME_KEY],
        words=indexed_words(*texts),
    )
