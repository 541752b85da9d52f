"""What the page of a study shows of its newest result: warnings, volumes, and what became of the objects."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from dicom_node.database.engine import Database
from dicom_node.database.tables import DeliveryRow, ResultRow
from dicom_node.studies.status import StudyStatus, shown_run
from inference.flags import FlagCode
from inference.regions import Region

__all__ = ["SentObject", "ShownResult", "ShownVolume", "read_result"]

NAMES = {
    Region.WT: "Whole tumour",
    Region.TC: "Tumour core",
    Region.ET: "Enhancing tumour",
    Region.NCR: "Necrotic core",
    Region.ED: "Edema",
}


@dataclass(frozen=True, kw_only=True)
class ShownVolume:
    """One region, with the interval that contains the experts' volume in nine of ten patients."""

    name: str
    volume_ml: float
    interval_ml: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class SentObject:
    """One object and its delivery to one destination.

    Attributes
    ----------
    proof
        How it is known that the object is there: by storage commitment or by a query; empty while it is not.
    """

    kind: str
    destination: str
    state: str
    proof: str
    reason: str
    changed_at: datetime


@dataclass(frozen=True, kw_only=True)
class ShownResult:
    """The newest result of a study, as far as there is one."""

    warnings: tuple[str, ...]
    volumes: tuple[ShownVolume, ...]
    sent: tuple[SentObject, ...]


def read_result(database: Database, study: StudyStatus) -> ShownResult:
    """Return what the page shows of a study's newest result."""
    codes = set(FlagCode)
    warnings = [one.reason for one in study.decisions if one.code in codes and one.subject == "result"]
    volumes = study.summary.get("volumes_ml") or {}
    intervals = study.summary.get("intervals_ml") or {}
    shown = [
        ShownVolume(
            name=name, volume_ml=volumes[region], interval_ml=tuple(intervals[region]) if region in intervals else None
        )
        for region, name in NAMES.items()
        if region in volumes
    ]
    hidden = study.summary.get("withheld") or study.summary.get("no_tumour")
    return ShownResult(
        warnings=tuple(dict.fromkeys(_sentence(text) for text in warnings)),
        volumes=() if hidden else tuple(shown),
        sent=tuple(_sent(database, shown_run(database, study.key))),
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def _sent(database: Database, run_id: str) -> Sequence[SentObject]:
    rows = (
        sa.select(ResultRow.kind, DeliveryRow)
        .join(DeliveryRow, DeliveryRow.sop_instance_uid == ResultRow.sop_instance_uid)
        .where(DeliveryRow.run_id == run_id)
        .order_by(DeliveryRow.destination, ResultRow.kind)
    )
    with database.session() as session:
        return [
            SentObject(
                kind=kind,
                destination=row.destination,
                state=row.state,
                proof=row.proof,
                reason=row.reason,
                changed_at=row.changed_at,
            )
            for kind, row in session.execute(rows).all()
        ]
