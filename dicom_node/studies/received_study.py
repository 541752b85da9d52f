"""A study that is being received: the progress of its series, how it was sent, what its source holds."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pydicom
import sqlalchemy as sa
import structlog

from conversion.completeness import SeriesProgress, series_progress
from conversion.errors import UnusableStudy
from conversion.reading import read_header, read_studies
from conversion.recognition.recognise import recognise
from dicom_node.database.engine import Database
from dicom_node.database.states import AssociationEnd
from dicom_node.database.tables import AssociationRow, InstanceRow, StudyRow
from dicom_node.rules.site_rules import site_rules
from dicom_node.studies.readiness import StudyTransfer
from dicom_node.studies.source_counts import SourceCounts, SourceReader
from dicom_node.studies.stored_study import current_instances, headers_only

__all__ = ["ReceivedStudy", "StudyReader"]

_log = structlog.get_logger()

HEADERS_KEPT = 20_000
"""About 50 kB each in the worst case seen, so up to 1 GB; those of a study are dropped when it is ready."""


@dataclass(frozen=True, kw_only=True)
class ReceivedStudy:
    """What was received of a study at one moment."""

    series: tuple[SeriesProgress, ...]
    transfer: StudyTransfer
    source: SourceCounts | None


class StudyReader:
    """Reads each header once, however often a growing study is judged."""

    def __init__(self, database: Database, folder: Path, source: SourceReader) -> None:
        self._database = database
        self._folder = folder
        self._source = source
        self._headers: OrderedDict[Path, pydicom.Dataset] = OrderedDict()
        self._reported: set[str] = set()

    def read(self, study_uid: str, now: datetime) -> ReceivedStudy:
        """Read the state of a study, and query its source if something may have changed since the last query."""
        with self._database.session() as session:
            study = session.get_one(StudyRow, study_uid)
            instances = current_instances(session, study_uid)
            ids = {row.association_id for row in instances} - {""}
            # Also associations of the same senders that were aborted since, before any of their images was received.
            broken = sa.and_(
                AssociationRow.calling_ae.in_({row.calling_ae for row in instances}),
                AssociationRow.end == AssociationEnd.ABORTED,
                AssociationRow.ended_at >= study.last_received_at,
            )
            chosen = sa.or_(AssociationRow.association_id.in_(ids), broken)
            associations = session.scalars(sa.select(AssociationRow).where(chosen)).all()
        series = self._progress_or_none(study, instances)
        return ReceivedStudy(
            series=series,
            transfer=_transfer(study, instances, associations),
            source=self._ask(study, series, instances, now),
        )

    def forget(self, study_uid: str) -> None:
        """Drop the headers of a study that is ready."""
        below = self._folder / "inbox" / study_uid
        for path in [path for path in self._headers if path.is_relative_to(below)]:
            del self._headers[path]
        self._reported.discard(study_uid)

    def _progress_or_none(self, study: StudyRow, instances: Sequence[InstanceRow]) -> tuple[SeriesProgress, ...]:
        """Return the progress; none for a study whose headers cannot be interpreted: then only silence decides."""
        try:
            return self._progress(study.study_uid, instances)
        except (sa.exc.DBAPIError, OSError):
            raise
        except Exception:  # noqa: BLE001 - whatever a header contains: the study's run, in the child, gives a reason
            if study.study_uid not in self._reported:
                self._reported.add(study.study_uid)
                _log.exception("unreadable_study", study=study.key)
            return ()

    def _progress(self, study_uid: str, instances: Sequence[InstanceRow]) -> tuple[SeriesProgress, ...]:
        try:
            studies = read_studies((self._folder / row.path for row in instances), read=self._header)
        except UnusableStudy:
            return ()
        # Further on, an image may name another study than the one it was filed under; the run will be rejected then.
        study = next((study for study in studies if study.study_uid == study_uid), None)
        if study is None:
            return ()
        return series_progress(recognise(study, headers_only, site_rules(self._database)))

    def _header(self, path: Path) -> pydicom.Dataset:
        known = self._headers.get(path)
        if known is None:
            known = self._headers[path] = read_header(path)
            if len(self._headers) > HEADERS_KEPT:
                self._headers.popitem(last=False)
        return known

    def _ask(
        self, study: StudyRow, series: Sequence[SeriesProgress], instances: Sequence[InstanceRow], now: datetime
    ) -> SourceCounts | None:
        earlier = SourceCounts.from_json(study.source)
        held = {str(one.series_uid): one.held for one in series}
        if earlier is not None and now < earlier.ask_at(held):
            return earlier
        senders = [row.calling_ae for row in sorted(instances, key=lambda row: row.received_at, reverse=True)]
        here = frozenset((row.series_uid, row.sop_instance_uid) for row in instances)
        counts = self._source.ask(study.study_uid, senders, here, earlier, now)
        if counts is not None:
            with self._database.session() as session:
                session.get_one(StudyRow, study.study_uid).source = counts.to_json()
        return counts


def _transfer(
    study: StudyRow, instances: Sequence[InstanceRow], associations: Sequence[AssociationRow]
) -> StudyTransfer:
    ended = sorted((row for row in associations if row.ended_at is not None), key=lambda row: str(row.ended_at))
    return StudyTransfer(
        first_at=study.first_received_at,
        last_at=study.last_received_at,
        open_associations=sum(row.end == AssociationEnd.OPEN for row in associations),
        released=ended[-1].end == AssociationEnd.RELEASED if ended else None,
        patients=max(1, len({row.patient_key for row in instances})),
    )
