"""Segmentations and reports of a study that a person made: by C-STORE from the PACS, or by STOW-RS from a viewer.

They are revisions by a person of what the node found. They are kept beside its results, change none of them, and are
what `glionode export --training` makes a training set of.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from conversion.correction_classes import CORRECTIONS, SEGMENTATIONS
from dicom_node.database.engine import Database
from dicom_node.database.tables import InstanceRow, ResultRow

__all__ = ["ReceivedCorrection", "corrections_of", "from_outside"]


@dataclass(frozen=True, kw_only=True)
class ReceivedCorrection:
    """One object.

    Attributes
    ----------
    kind
        ``SEG`` or ``SR``.
    number
        Counts the objects of this kind, from 1 in the order of their arrival.
    sender
        AE title, or ``(STOW-RS)``.
    """

    kind: str
    number: int
    sender: str
    at: datetime


def from_outside() -> sa.ColumnElement[bool]:
    """Return the condition for instances that the node holds and did not make itself."""
    return sa.and_(InstanceRow.current, InstanceRow.sop_instance_uid.not_in(sa.select(ResultRow.sop_instance_uid)))


def corrections_of(database: Database, study_uid: str) -> Sequence[ReceivedCorrection]:
    """Return what people made about a study, newest first."""
    query = (
        sa.select(InstanceRow)
        .where(InstanceRow.study_uid == study_uid, InstanceRow.sop_class_uid.in_(CORRECTIONS), from_outside())
        .order_by(InstanceRow.received_at, InstanceRow.id)
    )
    counted = {"SEG": 0, "SR": 0}
    found = []
    with database.session() as session:
        for row in session.scalars(query):
            kind = "SEG" if row.sop_class_uid in SEGMENTATIONS else "SR"
            counted[kind] += 1
            found.append(ReceivedCorrection(kind=kind, number=counted[kind], sender=row.calling_ae, at=row.received_at))
    return found[::-1]
