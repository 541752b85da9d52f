"""The values of a stored study by which rules tell studies apart."""

from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from sqlalchemy.orm import InstrumentedAttribute

from conversion.encoding import read_instance
from dicom_node.database.engine import Database
from dicom_node.database.tables import AssociationRow, InstanceRow
from dicom_node.routing.rule import CALLED, CALLING

__all__ = ["StudyFacts", "header_values"]

_MOST_SERIES = 100
_MOST_VALUES = 100


class StudyFacts:
    """Looks up the values of attributes of one study, in one image of each of its series, which it reads when asked."""

    def __init__(self, database: Database, folder: Path, study_uid: str) -> None:
        self._database, self._folder, self._study_uid = database, folder, study_uid
        self._headers: list[Dataset] | None = None

    def __call__(self, attribute: str) -> Sequence[str]:
        """Return the values of an attribute; empty where no image has one."""
        if attribute == CALLED:
            return self._ae_titles(AssociationRow.called_ae)
        if attribute == CALLING:
            return self._ae_titles(InstanceRow.calling_ae)
        return [value for ds in self._read() for value in header_values(ds, attribute)]

    def _ae_titles(self, column: InstrumentedAttribute[str]) -> list[str]:
        of = sa.select(column).join_from(
            InstanceRow, AssociationRow, AssociationRow.association_id == InstanceRow.association_id, isouter=True
        )
        wanted = of.where(InstanceRow.study_uid == self._study_uid, InstanceRow.current).distinct()
        with self._database.session() as session:
            return [one for one in session.scalars(wanted) if one]

    def _read(self) -> list[Dataset]:
        if self._headers is None:
            first = sa.select(sa.func.min(InstanceRow.id)).where(InstanceRow.current)
            ids = first.where(InstanceRow.study_uid == self._study_uid).group_by(InstanceRow.series_uid)
            paths = sa.select(InstanceRow.path).where(InstanceRow.id.in_(ids)).order_by(InstanceRow.id)
            with self._database.session() as session:
                found = session.scalars(paths.limit(_MOST_SERIES)).all()
            self._headers = [ds for path in found if (ds := _header(self._folder / path)) is not None]
        return self._headers


def _header(path: Path) -> Dataset | None:
    try:
        return read_instance(path, pixels=False)
    except Exception:  # noqa: BLE001 - a stranger's file: the study is routed by its others, and refused when it is read
        return None


def header_values(ds: Dataset, keyword: str) -> list[str]:
    """Return the values of one attribute of a header as text; none where it has none, or none that can be read."""
    try:
        value = ds.get(keyword)
        if value is None:
            return []
        return [str(one) for one in (value[:_MOST_VALUES] if isinstance(value, MultiValue | list) else [value])]
    except Exception:  # noqa: BLE001 - a stranger's value, which pydicom cannot convert
        return []
