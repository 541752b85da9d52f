"""Results of shadow models in the database: one row for each run and model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from dicom_node.database.engine import Database
from dicom_node.database.tables import RunRow, ShadowRow, StudyRow
from dicom_node.models.roles import ModelChoice

__all__ = ["ShadowResult", "begin_shadow", "end_shadow", "fail_shadow", "mean_dice", "shadow_results"]

RUNNING, DONE, FAILED = "running", "done", "failed"


@dataclass(frozen=True, kw_only=True)
class ShadowResult:
    """The shadow model's result for one study.

    Attributes
    ----------
    study_key
        The study's name in logs.
    regions
        Region to ``dice`` against production, ``volume_ml``, ``production_ml`` and ``difference_ml``.
    path
        Path of its labels, relative to the node's folder.
    """

    run_id: str
    study_key: str
    at: str
    name: str
    version: str
    sha256: str
    production_sha256: str
    state: str
    code: str
    reason: str
    regions: Mapping[str, Any]
    path: str


def begin_shadow(database: Database, run_id: str, choice: ModelChoice) -> None:
    """Note that the shadow model has started, so that a crash leaves a trace."""
    facts = {"name": choice.name, "version": choice.version, "state": RUNNING, "code": "", "reason": ""}
    _note(database, run_id, choice.sha256, **facts)


def end_shadow(
    database: Database, run_id: str, sha256: str, production_sha256: str, regions: Mapping[str, Any], path: str
) -> None:
    """Note the shadow model's result; repeated, it is noted once."""
    facts = {"production_sha256": production_sha256, "state": DONE, "regions": regions, "path": path}
    _note(database, run_id, sha256, **facts)


def fail_shadow(database: Database, run_id: str, code: str, reason: str) -> None:
    """Note that the running shadow model gave no result."""
    with database.session() as session:
        for row in session.scalars(sa.select(ShadowRow).filter_by(run_id=run_id, state=RUNNING)):
            row.state, row.code, row.reason = FAILED, code, reason


def shadow_results(database: Database, sha256: str = "", limit: int = 1000) -> tuple[ShadowResult, ...]:
    """Return the results of one shadow model or of all, newest first."""
    wanted = sa.select(ShadowRow, StudyRow.key).join(RunRow, RunRow.run_id == ShadowRow.run_id)
    wanted = wanted.join(StudyRow, StudyRow.study_uid == RunRow.study_uid).order_by(ShadowRow.id.desc()).limit(limit)
    if sha256:
        wanted = wanted.where(ShadowRow.sha256 == sha256)
    names = ("run_id", "name", "version", "sha256", "production_sha256", "state", "code", "reason", "regions", "path")
    with database.session() as session:
        return tuple(
            ShadowResult(
                study_key=key,
                at=row.at.isoformat(timespec="seconds"),
                **{name: getattr(row, name) for name in names},
            )
            for row, key in session.execute(wanted)
        )


def mean_dice(results: tuple[ShadowResult, ...]) -> dict[str, float]:
    """Return the mean Dice against production by region, over the studies that have the region."""
    values: dict[str, list[float]] = {}
    for result in results:
        for region, figures in result.regions.items():
            values.setdefault(region, []).append(figures["dice"])
    return {region: round(sum(dice) / len(dice), 4) for region, dice in values.items()}


def _note(database: Database, run_id: str, sha256: str, **facts: Any) -> None:  # noqa: ANN401 - columns of a row
    with database.session() as session:
        row = session.scalar(sa.select(ShadowRow).filter_by(run_id=run_id, sha256=sha256))
        if row is None:
            row = ShadowRow(run_id=run_id, sha256=sha256)
            session.add(row)
        for name, value in facts.items():
            setattr(row, name, value)
