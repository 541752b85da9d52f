"""When a study is ready: after a quiet period its instances are frozen into the manifest of a run."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dicom_node.artifacts import Artifacts
from dicom_node.database import Database, InstanceRow, ResultRow, RunRow, RunState, StudyRow, StudyState

__all__ = ["Assembly", "StudyReady"]


@dataclass(frozen=True, kw_only=True)
class StudyReady:
    """A study that counts as complete.

    Attributes
    ----------
    run_id
        Made of the study and the hash of its manifest: the same content is the same run, other content another one.
    reason
        Why it counts as complete.
    """

    run_id: str
    study_key: str
    instances: int
    reason: str


class Assembly:
    """Finds studies at which nothing has arrived for the quiet period."""

    def __init__(self, database: Database, folder: Path, quiet_period_s: float) -> None:
        self._database = database
        self._folder = folder
        self._quiet = timedelta(seconds=quiet_period_s)

    def ready_studies(self, now: datetime) -> list[StudyReady]:
        """Freeze every quiet study into a queued run.

        Parameters
        ----------
        now
            The present time, aware.
        """
        with self._database.session() as session:
            uids = session.scalars(
                sa.select(StudyRow.study_uid).where(
                    StudyRow.state == StudyState.RECEIVING, StudyRow.last_received_at <= now - self._quiet
                )
            ).all()
        return [ready for uid in uids if (ready := self._freeze(uid, now)) is not None]

    def queued_runs(self) -> Sequence[str]:
        """Return the ids of all runs that wait for their workflow, oldest first."""
        with self._database.session() as session:
            query = sa.select(RunRow.run_id).where(RunRow.state == RunState.QUEUED).order_by(RunRow.ready_at)
            return session.scalars(query).all()

    def _freeze(self, study_uid: str, now: datetime) -> StudyReady | None:
        with self._database.session() as session:
            study = session.get(StudyRow, study_uid)
            if study is None or study.last_received_at > now - self._quiet:
                return None  # something arrived in the meantime
            # A PACS that routes everything also sends the node's own results back; a run over them would never end.
            own = InstanceRow.sop_instance_uid.in_(sa.select(ResultRow.sop_instance_uid))
            instances = session.scalars(
                sa.select(InstanceRow)
                .where(InstanceRow.study_uid == study_uid, InstanceRow.current, ~own)
                .order_by(InstanceRow.series_uid, InstanceRow.sop_instance_uid)
            ).all()
            manifest = [_entry(instance) for instance in instances]
            digest = hashlib.sha256("\n".join(f"{m['sop_instance_uid']} {m['sha256']}" for m in manifest).encode())
            run_id = f"{study.key}-{digest.hexdigest()[:16]}"
            known = session.get(RunRow, run_id)
            if known is not None:  # the study has gone back to content that was processed before
                study.state, study.reason, study.current_run = known.state, known.reason, run_id
                return None
            Artifacts(self._folder, run_id).save_manifest(manifest)
            session.add(self._run(session, study, run_id, digest.hexdigest(), now))
            study.state, study.current_run = StudyState.QUEUED, run_id
            reason = f"nothing arrived for {self._quiet.total_seconds():g} s"
            return StudyReady(run_id=run_id, study_key=study.key, instances=len(manifest), reason=reason)

    def _run(self, session: Session, study: StudyRow, run_id: str, manifest_sha256: str, now: datetime) -> RunRow:
        earlier = session.scalar(sa.select(sa.func.count()).where(RunRow.study_uid == study.study_uid)) or 0
        return RunRow(
            run_id=run_id,
            study_uid=study.study_uid,
            revision=earlier + 1,
            manifest_sha256=manifest_sha256,
            ready_at=now.replace(microsecond=0),
        )


def _entry(instance: InstanceRow) -> dict[str, str]:
    return {
        "sop_instance_uid": instance.sop_instance_uid,
        "sha256": instance.sha256,
        "path": instance.path,
        "patient_key": instance.patient_key,
    }
