"""Revisions of a study: what a run uses, whether an earlier one used the same, which report the new one replaces."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import sqlalchemy as sa
from sqlalchemy.orm import Session

from conversion.selection import SeriesSelection
from dicom_node.database.engine import Database
from dicom_node.database.states import DeliveryState, RunState, StudyState
from dicom_node.database.tables import DeliveryRow, ResultRow, RunRow, StudyRow, utc_now
from dicom_node.settings import Settings
from viewer_integration.provenance import PredecessorDocument

__all__ = ["begin_revision", "inputs_sha256", "predecessor_of", "stand_as"]

_STANDING = (RunState.DELIVERED, RunState.STORED, RunState.UNDELIVERED, RunState.REJECTED)
_OPEN = (RunState.QUEUED, RunState.RUNNING, RunState.UNDELIVERED)


def inputs_sha256(
    selection: SeriesSelection, manifest: Sequence[Mapping[str, str]], settings: Settings, model_sha256: str
) -> str:
    """Return the hash of everything that a result depends on: the bytes of the chosen images, settings and model.

    Parameters
    ----------
    manifest
        The instances that the run processes.
    """
    of_instance = {
        (series_uid, entry["sop_instance_uid"]): entry["sha256"]
        for entry in manifest
        # Older manifests, without Series Instance UIDs, contain one instance for each SOP Instance UID.
        for series_uid in (entry.get("series_uid", ""), "")
    }
    chosen = {
        role: [
            series.key,
            [
                of_instance.get((series.series_uid, image.sop_instance_uid)) or of_instance["", image.sop_instance_uid]
                for image in series.images
            ],
        ]
        for role, series in selection.series.items()
    }
    inputs = [chosen, selection.reference, asdict(settings.processing) | {"threads": None}, model_sha256]
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def begin_revision(database: Database, run_id: str, inputs: str) -> bool:
    """Note what a run uses. Stop it if an earlier run used the same; otherwise stop earlier runs that are still open.

    Returns
    -------
    bool
        False when the run was stopped: the earlier result remains valid, and nothing new is sent.
    """
    with database.session() as session:
        run = session.get_one(RunRow, run_id)
        run.inputs_sha256 = inputs
        earlier = session.scalars(
            sa.select(RunRow)
            .where(RunRow.study_uid == run.study_uid, RunRow.run_id != run_id, RunRow.ready_at <= run.ready_at)
            .order_by(RunRow.revision.desc(), RunRow.ready_at.desc())
        ).all()
        same = next((one for one in earlier if one.inputs_sha256 == inputs and one.state in (*_STANDING, *_OPEN)), None)
        if same is not None and not _outdated(same, earlier):
            reason = f"the new images are not used; the result of revision {same.revision} remains valid"
            _close(run, RunState.UNCHANGED, reason)
            run.same_as = same.run_id
            study = session.get_one(StudyRow, run.study_uid)
            if study.current_run == run_id and study.state != StudyState.RECEIVING:
                stand_as(session, study, same)
            return False
        for one in (one for one in earlier if one.state in _OPEN):
            _close(one, RunState.SUPERSEDED, f"revision {run.revision} uses other images")
        return True


def _outdated(same: RunRow, earlier: Sequence[RunRow]) -> bool:
    """Return whether other content was processed since: the study went back to this content, so its result must too."""
    return any(
        one.revision > same.revision and one.state not in (RunState.UNCHANGED, RunState.FAILED) for one in earlier
    )


def _close(run: RunRow, state: RunState, reason: str) -> None:
    run.state, run.reason, run.finished_at = state, reason, utc_now()


def stand_as(session: Session, study: StudyRow, run: RunRow) -> None:
    """Give a study the state of an earlier run; if that run was unchanged, the state of the run before it."""
    while run.same_as and (before := session.get(RunRow, run.same_as)) is not None:
        run = before
    study.state, study.reason, study.current_run = StudyState(run.state), run.reason, run.run_id


def predecessor_of(database: Database, run_id: str, profile: str = "") -> PredecessorDocument | None:
    """Return the report that a run's report replaces: the newest earlier one that somebody may have read.

    Parameters
    ----------
    profile
        Profile of the destinations that the report is for.
    """
    with database.session() as session:
        run = session.get_one(RunRow, run_id)
        read = sa.select(DeliveryRow.sop_instance_uid).where(DeliveryRow.state == DeliveryState.ACCEPTED)
        row = session.scalar(
            sa.select(ResultRow)
            .join(RunRow, RunRow.run_id == ResultRow.run_id)
            .where(
                ResultRow.study_uid == run.study_uid,
                ResultRow.kind == "SR",
                ResultRow.profile == profile,
                RunRow.revision < run.revision,
                sa.or_(RunRow.state == RunState.STORED, ResultRow.sop_instance_uid.in_(read)),
            )
            .order_by(RunRow.revision.desc())
            .limit(1)
        )
        if row is None:
            return None
        return PredecessorDocument(
            study_uid=row.study_uid,
            series_uid=row.series_uid,
            sop_class_uid=row.sop_class_uid,
            sop_instance_uid=row.sop_instance_uid,
        )
