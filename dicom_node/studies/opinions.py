"""What people think of results: agree, disagree or edited, with a comment, kept for those who train models."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from dicom_node.database.engine import Database
from dicom_node.database.history_tables import OpinionRow
from dicom_node.database.states import Verdict
from dicom_node.database.tables import RunRow, StudyRow
from dicom_node.invalid_entry import FieldProblem, InvalidEntryError

__all__ = ["MOST_COMMENT", "Opinion", "add_opinion", "all_opinions", "opinions_of"]

MOST_COMMENT = 2000
"""Characters of a comment."""


@dataclass(frozen=True, kw_only=True)
class Opinion:
    """What a person thinks of the result of a run.

    Attributes
    ----------
    study
        Its key.
    revision
        Of the study, which the result is of.
    volumes_ml
        Of that result, by region.
    """

    study: str
    revision: int
    verdict: Verdict
    comment: str
    who: str
    at: datetime
    volumes_ml: dict[str, float]
    flags: tuple[str, ...]


def add_opinion(database: Database, key: str, verdict: str, comment: str, who: str) -> None:
    """Keep what a person thinks of the newest result of a study.

    Raises
    ------
    InvalidEntryError
        With a sentence for each field that cannot be kept.
    """
    if verdict not in set(Verdict):
        raise InvalidEntryError(FieldProblem(field="verdict", sentence="Choose agree, disagree or edited."))
    if len(comment) > MOST_COMMENT:
        sentence = f"A comment may have at most {MOST_COMMENT} characters."
        raise InvalidEntryError(FieldProblem(field="comment", sentence=sentence))
    with database.session() as session:
        study = session.scalar(sa.select(StudyRow).where(StudyRow.key == key))
        if study is None or study.current_run is None:
            sentence = "This study has no result yet, so there is nothing to judge."
            raise InvalidEntryError(FieldProblem(field="verdict", sentence=sentence))
        facts = {"study_uid": study.study_uid, "run_id": study.current_run}
        session.add(OpinionRow(verdict=verdict, comment=comment.strip(), who=who, **facts))


def opinions_of(database: Database, key: str) -> Sequence[Opinion]:
    """Return what people think of a study's results, newest first."""
    return _read(database, StudyRow.key == key)


def all_opinions(database: Database) -> Sequence[Opinion]:
    """Return what people think of all results, newest first."""
    return _read(database, sa.true())


def _read(database: Database, which: sa.ColumnElement[bool]) -> Sequence[Opinion]:
    rows = (
        sa.select(OpinionRow, StudyRow.key, RunRow.revision, RunRow.summary)
        .join(StudyRow, StudyRow.study_uid == OpinionRow.study_uid)
        .join(RunRow, RunRow.run_id == OpinionRow.run_id)
        .where(which)
        .order_by(OpinionRow.at.desc(), OpinionRow.id.desc())
    )
    with database.session() as session:
        return [
            Opinion(
                study=key,
                revision=revision,
                verdict=Verdict(row.verdict),
                comment=row.comment,
                who=row.who,
                at=row.at,
                volumes_ml=dict(summary.get("volumes_ml") or {}),
                flags=tuple(summary.get("flags") or ()),
            )
            for row, key, revision, summary in session.execute(rows).all()
        ]
