"""A study that the node holds, as recognition reads it."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.orm import Session

from conversion.errors import ConversionReason, UnreadableSeries
from conversion.reading import read_study
from conversion.study import Series, Study
from conversion.volume import ImageVolume
from dicom_node.database.engine import Database
from dicom_node.database.tables import InstanceRow, ResultRow

__all__ = ["current_instances", "headers_only", "stored_study"]

_STUDIES_KEPT = 16  # at about 1 kB an image


def headers_only(series: Series) -> ImageVolume:
    """Refuse to read pixels, so that recognition uses only headers, which is quick enough for a page."""
    sentence = f"{series.name}: pixels are not read here"
    raise UnreadableSeries(ConversionReason.UNREADABLE_PIXELS, sentence)


def stored_study(database: Database, folder: Path, study_uid: str) -> Study:
    """Read the headers of a study that the node holds, without the node's own results.

    Raises
    ------
    UnusableStudy
        When it holds no MR series.
    """
    with database.session() as session:
        paths = sorted(row.path for row in current_instances(session, study_uid))
    return _read(tuple(folder / path for path in paths))


def current_instances(session: Session, study_uid: str) -> Sequence[InstanceRow]:
    """Return the current instances of a study, by series and instance.

    The node's own results are left out: a PACS that routes everything sends them back, and runs on them would never
    end.
    """
    own = InstanceRow.sop_instance_uid.in_(sa.select(ResultRow.sop_instance_uid))
    current = sa.select(InstanceRow).where(InstanceRow.study_uid == study_uid, InstanceRow.current, ~own)
    return session.scalars(current.order_by(InstanceRow.series_uid, InstanceRow.sop_instance_uid)).all()


@lru_cache(maxsize=_STUDIES_KEPT)
def _read(paths: tuple[Path, ...]) -> Study:
    return read_study(paths)  # what was received is never written to again, so its paths are its content
