"""Freezes the instances of a ready study into the manifest of a run; until then, notes what is awaited."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session

from conversion.sequences import Role
from dicom_node.audit.trail import AuditTrail
from dicom_node.database.engine import Database
from dicom_node.database.keyed_hashes import KeyedHash
from dicom_node.database.notice_tables import note_event
from dicom_node.database.states import NodeEvent, Priority, RunState, StudyState
from dicom_node.database.tables import InstanceRow, ResultRow, RunRow, StudyRow
from dicom_node.peers.registry import urgent_ae_titles
from dicom_node.phantom.connection_uids import TEST_PATIENT_ID, is_test_uid
from dicom_node.routing.route import route_of
from dicom_node.routing.study_facts import StudyFacts
from dicom_node.routing.versions import routing_rules
from dicom_node.settings import AssemblySettings
from dicom_node.studies.readiness import Patience, Verdict, judge
from dicom_node.studies.received_study import StudyReader
from dicom_node.studies.revisions import stand_as
from dicom_node.studies.run_folder import RunFolder
from dicom_node.studies.run_queue import requeue
from dicom_node.studies.source_counts import ASK_AGAIN, SourceReader
from dicom_node.studies.stored_study import current_instances

__all__ = ["NOT_JUDGED", "TEST_STUDY", "Assembly", "StudyReady"]

_log = structlog.get_logger()

CLAIM = timedelta(seconds=30)
"""A worker that judges a study reserves it for this long; if the worker dies, the study is delayed by no more."""

JUDGED_AT_ONCE = 20

NOT_JUDGED = (
    "the node could not determine whether the study is complete: see its log; `glionode replay` or another image "
    "tries again"
)

TEST_STUDY = "a synthetic study of a connection test, made by a node; it is never processed"


@dataclass(frozen=True, kw_only=True)
class StudyReady:
    """A study that counts as complete.

    Attributes
    ----------
    run_id
        Made of the study's key and the hash of its manifest: equal content is the same run, other content another one.
    reason
        Why it counts as complete.
    """

    run_id: str
    study_key: str
    instances: int
    reason: str


class Assembly:
    """Judges studies of which something has arrived, and those whose waiting time is over.

    Parameters
    ----------
    calling_ae
        Calling AE title for queries to sources.
    """

    def __init__(self, database: Database, folder: Path, settings: AssemblySettings, calling_ae: str) -> None:
        self._database = database
        self._folder = folder
        self._patience = Patience(quiet=timedelta(seconds=settings.quiet_period_s))
        self._wanted = frozenset(Role(role) for role in settings.wanted_roles)
        trail = AuditTrail(folder, calling_ae, database)
        self._test_patient = KeyedHash(database)(TEST_PATIENT_ID)
        self._reader = StudyReader(database, folder, SourceReader(database, calling_ae, trail))

    def ready_studies(self, now: datetime) -> list[StudyReady]:
        """Judge the studies that are due, and freeze each that is ready into a queued run.

        Parameters
        ----------
        now
            The present time, aware.
        """
        with self._database.session() as session:
            due = sa.select(StudyRow.study_uid).where(StudyRow.state == StudyState.RECEIVING, StudyRow.look_at <= now)
            uids = session.scalars(due.order_by(StudyRow.look_at).limit(JUDGED_AT_ONCE)).all()
        return [ready for uid in uids if self._claim(uid, now) and (ready := self._judge_alone(uid, now)) is not None]

    def _claim(self, study_uid: str, now: datetime) -> bool:
        claimed = (
            sa.update(StudyRow)
            .where(StudyRow.study_uid == study_uid, StudyRow.state == StudyState.RECEIVING, StudyRow.look_at <= now)
            .values(look_at=now + CLAIM)
        )
        with self._database.session() as session:
            return bool(session.execute(claimed).rowcount)  # type: ignore[attr-defined]

    def _judge_alone(self, study_uid: str, now: datetime) -> StudyReady | None:
        """Judge one study; an error affects no other study."""
        try:
            return None if self._keep_out_test(study_uid) else self._judge(study_uid, now)
        except (sa.exc.DBAPIError, OSError) as error:  # temporary: the study is due again when the claim is over
            _log.warning("not_judged", error=type(error).__name__)
        except Exception:  # noqa: BLE001 - the worker's loop: one study must not stop those behind it
            self._close(study_uid)
        return None

    def _keep_out_test(self, study_uid: str) -> bool:
        """Keep out a study of a connection test, known by its UID or, where a router changed that, by its patient.

        It is synthetic: a result for it would be filed in the PACS, and mistaken for a patient's.
        """
        with self._database.session() as session:
            keys = set(session.scalars(sa.select(InstanceRow.patient_key).where(InstanceRow.study_uid == study_uid)))
            if not is_test_uid(study_uid) and keys != {self._test_patient}:
                return False
            _keep_out(session.get_one(StudyRow, study_uid, with_for_update=True), TEST_STUDY)
        return True

    def _close(self, study_uid: str) -> None:
        """Close a study that cannot be judged; after another image or `glionode replay` it is judged again."""
        with self._database.session() as session:
            study = session.get_one(StudyRow, study_uid, with_for_update=True)
            study.state, study.reason, study.awaited = StudyState.FAILED, NOT_JUDGED, []
            study.current_run = None
            note_event(session, NodeEvent.STUDY_STOPPED, study.key, "defect")
            _log.exception("judging_defect", study=study.key)
        self._reader.forget(study_uid)

    def _judge(self, study_uid: str, now: datetime) -> StudyReady | None:
        received = self._reader.read(study_uid, now)
        verdict = judge(received.series, self._wanted, received.transfer, received.source, self._patience, now)
        if not verdict.ready:
            self._wait(study_uid, verdict, now, has_source=received.source is not None)
            return None
        ready = self._freeze(study_uid, received.transfer.last_at, verdict, now)
        if ready is not None:
            self._reader.forget(study_uid)
        return ready

    def _wait(self, study_uid: str, verdict: Verdict, now: datetime, *, has_source: bool) -> None:
        look_at = verdict.look_at or now + self._patience.quiet
        with self._database.session() as session:
            study = session.get_one(StudyRow, study_uid, with_for_update=True)
            study.awaited = list(verdict.awaited)
            if study.look_at == now + CLAIM:  # otherwise something has arrived since, and the study is due at once
                study.look_at = min(look_at, now + ASK_AGAIN) if has_source else look_at

    def _freeze(self, study_uid: str, last_at: datetime, verdict: Verdict, now: datetime) -> StudyReady | None:
        urgent = urgent_ae_titles(self._database)
        route = route_of(routing_rules(self._database), StudyFacts(self._database, self._folder, study_uid))
        with self._database.session() as session:
            study = session.get_one(StudyRow, study_uid, with_for_update=True)
            if study.last_received_at != last_at or study.state != StudyState.RECEIVING:
                study.look_at = now
                return None  # something arrived in the meantime
            if route.keep_out:
                _keep_out(study, f"kept out by the routing rule {route.by['keep_out']!r}: {route.keep_out}")
                return None
            instances = current_instances(session, study_uid)
            manifest = [_entry(instance) for instance in instances]
            if urgent & {instance.calling_ae for instance in instances}:
                study.priority = Priority.STAT
            study.priority = min(study.priority, route.rank)  # a rule raises, and never lowers what a person has set
            digest = hashlib.sha256("\n".join(f"{m['sop_instance_uid']} {m['sha256']}" for m in manifest).encode())
            run_id = f"{study.key}-{digest.hexdigest()[:16]}"
            study.awaited = []
            known = session.get(RunRow, run_id)
            if known is not None and known.state == RunState.SUPERSEDED:  # back to content whose run was stopped midway
                known.route = route.as_document()
                _begin_anew(session, study, known, now)
                return StudyReady(run_id=run_id, study_key=study.key, instances=len(manifest), reason=verdict.reason)
            if known is not None:  # the study has gone back to content that was processed before
                stand_as(session, study, known)
                return None
            RunFolder(self._folder, run_id).save_manifest(manifest, verdict.incomplete)
            run = _run(session, study, run_id, digest.hexdigest(), verdict.reason, now)
            run.route = route.as_document()
            session.add(run)
            study.state, study.current_run = StudyState.QUEUED, run_id
            return StudyReady(run_id=run_id, study_key=study.key, instances=len(manifest), reason=verdict.reason)


def _keep_out(study: StudyRow, reason: str) -> None:
    study.state, study.reason, study.awaited = StudyState.KEPT_OUT, reason, []
    _log.info("study_kept_out", study=study.key)


def _begin_anew(session: Session, study: StudyRow, run: RunRow, now: datetime) -> None:
    """Start a superseded run again, as the newest of its study."""
    run.revision, run.step = _next_revision(session, study), ""
    made = session.scalar(sa.select(ResultRow.sop_instance_uid).where(ResultRow.run_id == run.run_id).limit(1))
    if made is None:  # otherwise its objects, which may have been sent, would state another time under the same UIDs
        run.ready_at = now.replace(microsecond=0)
    study.state, study.current_run = StudyState.QUEUED, run.run_id
    requeue(session, run)


def _next_revision(session: Session, study: StudyRow) -> int:
    counted = sa.select(sa.func.count()).where(RunRow.study_uid == study.study_uid, RunRow.state != RunState.UNCHANGED)
    return (session.scalar(counted) or 0) + 1


def _run(session: Session, study: StudyRow, run_id: str, manifest_sha256: str, reason: str, now: datetime) -> RunRow:
    return RunRow(
        run_id=run_id,
        study_uid=study.study_uid,
        revision=_next_revision(session, study),
        manifest_sha256=manifest_sha256,
        ready_because=reason,
        priority=study.priority,
        ready_at=now.replace(microsecond=0),
    )


def _entry(instance: InstanceRow) -> dict[str, str]:
    return {
        "series_uid": instance.series_uid,
        "sop_instance_uid": instance.sop_instance_uid,
        "sha256": instance.sha256,
        "path": instance.path,
        "patient_key": instance.patient_key,
    }
