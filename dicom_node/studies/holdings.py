"""What the node can show: received instances, and the newest results of each study."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.errors import InvalidDicomError
from pydicom.uid import SegmentationStorage
from sqlalchemy.orm import Session

from conversion.encoding import SettledDataset, read_instance
from dicom_node.database.engine import Database
from dicom_node.database.tables import DecisionRow, InstanceRow, ResultRow, RunRow, StudyRow
from dicom_node.storage.byte_cache import ByteCache
from viewer_integration.big_endian import turn_little_endian

__all__ = ["HeldInstance", "HeldResult", "HeldSeries", "HeldStudy", "Holdings"]

_PAGE = 50  # studies that one query fetches; SQLite lets no process write meanwhile
_DEFERRED_BYTES = 1024  # a larger value, pixel data above all, stays on disk
_HEADER_BYTES = 256 * 2**20
_WHOLE_BYTES = 256 * 2**20  # a viewer requests the frames of one instance one by one
_IN_MEMORY = 55
"""Memory of an element that has been accessed, as a multiple of its size in the file, by `tracemalloc` on Python 3.11:
55 with functional groups, 20 with plain elements, at most 165 in empty items."""


@dataclass(frozen=True, kw_only=True)
class HeldInstance:
    """One instance on disk."""

    study_key: str
    study_uid: str
    series_uid: str
    sop_instance_uid: str
    path: Path


@dataclass(frozen=True, kw_only=True)
class HeldSeries:
    """One series: the number of its instances, their SOP classes, and a sample of the most frequent class."""

    series_uid: str
    sop_class_uids: tuple[str, ...]
    count: int
    sample: Path


@dataclass(frozen=True, kw_only=True)
class HeldStudy:
    """One study with at least one series; `key` names it in logs."""

    study_uid: str
    key: str
    series: tuple[HeldSeries, ...]


@dataclass(frozen=True, kw_only=True)
class HeldResult:
    """The newest result of a study, as a viewer shows it.

    Attributes
    ----------
    segmentation
        Its segmentation, with a plane for each segment; None if the result has none.
    series_uids
        Role to series UID of the series it was made from.
    """

    study_uid: str
    segmentation: HeldInstance | None
    series_uids: Mapping[str, str]


class Holdings:
    """Reads from the database which instances are there, and from the files what they contain.

    Parameters
    ----------
    database
        The node's database.
    folder
        The node's folder, to which the paths in the database are relative.
    """

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self._folder = folder

    def studies(self, study_uids: Collection[str] = ()) -> Iterator[HeldStudy]:
        """Yield studies, the last received first; the database is queried page by page.

        Parameters
        ----------
        study_uids
            Only these; empty for all.
        """
        page = 0
        while found := self._page(study_uids, page):
            yield from (study for study in found if study.series)
            page += 1

    def _page(self, study_uids: Collection[str], page: int) -> list[HeldStudy]:
        chosen = sa.select(StudyRow.study_uid, StudyRow.key)
        if study_uids:
            chosen = chosen.where(StudyRow.study_uid.in_(study_uids))
        order = (StudyRow.last_received_at.desc(), StudyRow.study_uid)
        with self._database.session() as session:
            rows = session.execute(chosen.order_by(*order).offset(page * _PAGE).limit(_PAGE)).all()
            return [self._study(session, row.study_uid, row.key) for row in rows]

    def _study(self, session: Session, study_uid: str, key: str) -> HeldStudy:
        held = _held(study_uid).subquery()
        rows = session.execute(
            sa.select(
                held.c.series_uid,
                held.c.sop_class_uid,
                sa.func.count().label("count"),
                sa.func.min(held.c.path).label("path"),
            ).group_by(held.c.series_uid, held.c.sop_class_uid)
        ).all()
        by_series: dict[str, list[Any]] = {}
        for row in rows:
            by_series.setdefault(row.series_uid, []).append(row)
        series = tuple(
            HeldSeries(
                series_uid=uid,
                sop_class_uids=tuple(sorted(row.sop_class_uid for row in kinds)),
                count=sum(row.count for row in kinds),
                # Of the most frequent SOP class, so that a screenshot among images does not represent the series.
                sample=self._folder / max(kinds, key=lambda row: (row.count, row.sop_class_uid)).path,
            )
            for uid, kinds in sorted(by_series.items())
        )
        return HeldStudy(study_uid=study_uid, key=key, series=series)

    def instances(
        self, study_uid: str, series_uid: str | None = None, sop_instance_uid: str | None = None
    ) -> list[HeldInstance]:
        """Return the instances of a study, of one of its series, or the one that is named; empty if not held."""
        held = _held(study_uid).subquery()
        chosen = sa.select(held, StudyRow.key).select_from(held).join(StudyRow, StudyRow.study_uid == study_uid)
        if series_uid is not None:
            chosen = chosen.where(held.c.series_uid == series_uid)
        if sop_instance_uid is not None:
            chosen = chosen.where(held.c.sop_instance_uid == sop_instance_uid)
        with self._database.session() as session:
            rows = session.execute(chosen.order_by(held.c.series_uid, held.c.path)).all()
        return [
            HeldInstance(
                study_key=row.key,
                study_uid=study_uid,
                series_uid=row.series_uid,
                sop_instance_uid=row.sop_instance_uid,
                path=self._folder / row.path,
            )
            for row in rows
        ]

    def result(self, study_key: str) -> HeldResult | None:
        """Return the newest result of a study; one without series if there is no result, None if not even the study."""
        with self._database.session() as session:
            study_uid = session.scalar(sa.select(StudyRow.study_uid).where(StudyRow.key == study_key))
            if study_uid is None:
                return None
            run = session.scalar(sa.select(RunRow).where(RunRow.run_id == _newest_run(study_uid)))
            if run is None:
                return HeldResult(study_uid=study_uid, segmentation=None, series_uids={})
            seg = session.scalar(
                sa.select(ResultRow)
                .where(ResultRow.run_id == run.run_id, ResultRow.sop_class_uid == SegmentationStorage)
                .order_by(ResultRow.profile)
                .limit(1)
            )
            chosen = sa.select(DecisionRow).where(DecisionRow.run_id == run.run_id, DecisionRow.code == "role")
            by_name = {row.subject: row.series_uid for row in session.scalars(chosen) if row.series_uid}
            names = run.summary.get("sequences", {})
        return HeldResult(
            study_uid=study_uid,
            segmentation=self._own(seg, study_key) if seg is not None else None,
            series_uids={role: by_name[name] for role, name in names.items() if name in by_name},
        )

    def _own(self, row: ResultRow, study_key: str) -> HeldInstance:
        return HeldInstance(
            study_key=study_key,
            study_uid=row.study_uid,
            series_uid=row.series_uid,
            sop_instance_uid=row.sop_instance_uid,
            path=self._folder / row.path,
        )

    def header(self, path: Path) -> SettledDataset:
        """Return an instance's header with large values left on disk; it is shared, so it must not be changed.

        It is read by its actual encoding, whatever its header states. What is stored in big endian is returned as
        explicit VR little endian.

        Raises
        ------
        OSError
            When the file is not there.
        InvalidDicomError
            When it is not DICOM, or contradicts itself.
        """
        return _headers.get((path, path.stat().st_mtime_ns), lambda: _read_header(path))

    def whole(self, path: Path) -> SettledDataset:
        """Return an instance with its pixel data; it is shared, so it must not be changed.

        It is read by its actual encoding, whatever its header states. What is stored in big endian is returned as
        explicit VR little endian.

        Raises
        ------
        OSError
            When the file is not there.
        InvalidDicomError
            When it is not DICOM, or contradicts itself.
        """
        return _wholes.get((path, path.stat().st_mtime_ns), lambda: _read_whole(path))


def _held(study_uid: str) -> sa.CompoundSelect[tuple[str, str, str, str]]:
    """Select the instances that are held of a study.

    An object of the node that a PACS sent back to it is not shown twice, and an outdated one not at all.
    """
    own = sa.select(ResultRow.sop_instance_uid).where(ResultRow.study_uid == study_uid)
    received = sa.select(
        InstanceRow.series_uid, InstanceRow.sop_instance_uid, InstanceRow.sop_class_uid, InstanceRow.path
    ).where(
        InstanceRow.study_uid == study_uid,
        InstanceRow.current.is_(True),
        InstanceRow.sop_instance_uid.not_in(own),
    )
    results = sa.select(
        ResultRow.series_uid, ResultRow.sop_instance_uid, ResultRow.sop_class_uid, ResultRow.path
    ).where(ResultRow.run_id == _newest_run(study_uid))
    return sa.union_all(received, results)


def _newest_run(study_uid: str) -> sa.ScalarSelect[str]:
    """Select the newest run that has results."""
    return (
        sa.select(RunRow.run_id)
        .join(ResultRow, ResultRow.run_id == RunRow.run_id)
        .where(RunRow.study_uid == study_uid)
        .order_by(RunRow.revision.desc(), RunRow.ready_at.desc())
        .limit(1)
        .scalar_subquery()
    )


def _read_header(path: Path) -> tuple[SettledDataset, int]:
    ds = _in_little_endian(path, defer_bytes=_DEFERRED_BYTES)
    size = path.stat().st_size
    return ds, _IN_MEMORY * max(size - _left_on_disk(ds, size), _DEFERRED_BYTES)


def _left_on_disk(ds: SettledDataset, size: int) -> int:
    """Return the bytes of values that stay on disk; a sequence is read as soon as it is accessed."""
    raw: list[object] = [ds.get_item(tag, keep_deferred=True) for tag in ds.keys()]  # noqa: SIM118 - no values read
    left = [one for one in raw if isinstance(one, RawDataElement) and one.value is None and not _is_sequence(one)]
    return sum(min(one.length, size - one.value_tell) for one in left)


def _is_sequence(element: RawDataElement) -> bool:
    """Return whether a value is read as a sequence, also if the file does not state its VR (PS3.5 7.1.3, 6.2.2)."""
    if element.VR in (None, "UN") and dictionary_has_tag(element.tag):
        return dictionary_VR(element.tag) == "SQ"
    return element.VR == "SQ"


def _read_whole(path: Path) -> tuple[SettledDataset, int]:
    return _in_little_endian(path), path.stat().st_size


_headers: ByteCache[SettledDataset] = ByteCache(_HEADER_BYTES)
_wholes: ByteCache[SettledDataset] = ByteCache(_WHOLE_BYTES)


def _in_little_endian(path: Path, defer_bytes: int | None = None) -> SettledDataset:
    try:
        ds = read_instance(path, defer_bytes=defer_bytes)
        turn_little_endian(ds)
    except (OSError, InvalidDicomError):
        raise
    except Exception as error:
        # pydicom raises many kinds of errors for a broken file; none of them may affect a reader of other studies.
        message = f"cannot be read ({type(error).__name__})"
        raise InvalidDicomError(message) from error
    return ds
