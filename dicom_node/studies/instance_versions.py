"""Versions of one instance: a correction of the header, or other pixels under the same UID."""

from pathlib import Path

import numpy as np
import sqlalchemy as sa
from pydicom.errors import InvalidDicomError

from conversion.attributes import Attributes
from conversion.decision import Decision
from conversion.encoding import read_instance
from conversion.errors import ConversionError
from conversion.likeness import SAME_SHARE
from conversion.pixel_format import pixel_format
from conversion.pixels import stored_images
from dicom_node.database.engine import Database
from dicom_node.database.tables import InstanceRow

__all__ = ["version_decisions"]

_GEOMETRY = ("Rows", "Columns", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "NumberOfFrames")
_SCALING = ("RescaleSlope", "RescaleIntercept")


def version_decisions(database: Database, folder: Path, study_uid: str) -> list[Decision]:
    """Compare the newest version of every instance that was received in several with the one before it.

    Equal decoded pixels and geometry are a correction of the header; anything else is flagged. The newest version is
    used either way, and every version stays in the inbox.
    """
    corrected, differing = 0, []
    for newest, previous in _pairs(database, study_uid):
        if _same_image(folder / newest, folder / previous):
            corrected += 1
        else:
            differing.append(Path(newest).stem.rsplit(".", 1)[0])
    decisions = []
    if corrected:
        reason = f"{corrected} instance(s) received again with another header and equal pixels: the newest is used"
        decisions.append(Decision(code="header_corrected", subject="study", reason=reason))
    if differing:
        reason = (
            f"{len(differing)} instance(s) received again with OTHER PIXELS under the same UID: the newest is used, "
            f"all are kept; first: {differing[0]}"
        )
        decisions.append(Decision(code="pixels_differ", subject="study", reason=reason))
    return decisions


def _pairs(database: Database, study_uid: str) -> list[tuple[str, str]]:
    with database.session() as session:
        rows = session.scalars(
            sa.select(InstanceRow)
            .where(InstanceRow.study_uid == study_uid)
            .order_by(InstanceRow.sop_instance_uid, InstanceRow.current.desc(), InstanceRow.received_at.desc())
        ).all()
    versions: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        versions.setdefault((row.series_uid, row.sop_instance_uid), []).append(row.path)
    return [(paths[0], paths[1]) for paths in versions.values() if len(paths) > 1]


def _same_image(first: Path, second: Path) -> bool:
    try:
        a, b = read_instance(first), read_instance(second)
    except (ConversionError, InvalidDicomError):
        return False  # unreadable files do not count as equal
    if not all(_same_numbers(Attributes(a), Attributes(b), keyword) for keyword in (*_GEOMETRY, *_SCALING)):
        return False
    frames = range(pixel_format(a).frames)
    try:
        pairs = zip(stored_images(first, frames), stored_images(second, frames), strict=True)
        return all(np.array_equal(one.values, other.values) for (_, one), (_, other) in pairs)
    except Exception:  # noqa: BLE001 - what cannot be decoded, or is not a measurement, is compared by its bytes
        return a.get("PixelData") is not None and a.get("PixelData") == b.get("PixelData")


def _same_numbers(first: Attributes, second: Attributes, keyword: str) -> bool:
    """Return whether two headers contain the same numbers, however written; other values are compared as text."""
    one, other = first.numbers(keyword), second.numbers(keyword)
    if not one or len(one) != len(other):
        return first.text(keyword) == second.text(keyword)
    return all(abs(a - b) <= SAME_SHARE * max(abs(a), abs(b), 1.0) for a, b in zip(one, other, strict=True))
