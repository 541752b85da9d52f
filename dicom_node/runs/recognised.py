"""How a run recognised each series of its study: stored in the database, so that a person can see and correct it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from conversion.decision import Evidence
from conversion.recognition.recognise import Recognition
from dicom_node.database.engine import Database
from dicom_node.database.tables import RecognitionRow, StudyRow

__all__ = ["Recognised", "recognised_as", "recognised_in_newest_run", "record_recognitions"]


@dataclass(frozen=True, kw_only=True)
class Recognised:
    """How one series was recognised; the fields are those of `Recognition`."""

    series_uid: str
    part: str
    kind: str
    confidence: float
    needs: tuple[str, ...]
    evidence: tuple[Evidence, ...]


def recognised_as(recognition: Recognition) -> Recognised:
    """Return what is stored of a recognition."""
    return Recognised(
        series_uid=recognition.series.series_uid,
        part=recognition.series.part,
        kind=recognition.kind,
        confidence=recognition.confidence,
        needs=recognition.needs,
        evidence=recognition.evidence,
    )


def record_recognitions(database: Database, run_id: str, recognitions: Sequence[Recognition]) -> None:
    """Store how a run recognised its series, replacing earlier rows, so that a repeated step adds nothing."""
    with database.session() as session:
        session.execute(sa.delete(RecognitionRow).where(RecognitionRow.run_id == run_id))
        for ordinal, recognition in enumerate(recognitions):
            kept = asdict(recognised_as(recognition))
            session.add(RecognitionRow(run_id=run_id, ordinal=ordinal, **kept))


def recognised_in_newest_run(database: Database, study_uid: str) -> tuple[Recognised, ...]:
    """Return how the newest run of a study recognised its series; nothing if no run has recognised them yet."""
    chosen = (
        sa.select(RecognitionRow)
        .join(StudyRow, StudyRow.current_run == RecognitionRow.run_id)
        .where(StudyRow.study_uid == study_uid)
        .order_by(RecognitionRow.ordinal)
    )
    with database.session() as session:
        rows = session.scalars(chosen).all()
    return tuple(
        Recognised(
            series_uid=row.series_uid,
            part=row.part,
            kind=row.kind,
            confidence=row.confidence,
            needs=tuple(row.needs),
            evidence=tuple(Evidence(**item) for item in row.evidence),
        )
        for row in rows
    )
