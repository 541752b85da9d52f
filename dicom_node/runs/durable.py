"""A run on a node: every step stores its data on the disk and its report in the database, and can be repeated.

A repeated step gives the same result. A node that was killed repeats the step that was interrupted.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
import structlog

from conversion.decision import Decision
from conversion.errors import ConversionReason, UnusableStudy
from conversion.reading import SourceImages
from conversion.recognition.recognise import Recognition
from conversion.recognition.site_rules import SiteRule
from conversion.selection import SeriesSelection
from conversion.study import SeriesUID, Study
from dicom_node.audit.queries import record_query
from dicom_node.audit.trail import AuditTrail
from dicom_node.database.engine import Database
from dicom_node.database.tables import DecisionRow, DeliveryRow, ResultRow, RunRow
from dicom_node.models.roles import ModelRole, production_model
from dicom_node.peers.query import QueryFailed, demographics_of
from dicom_node.peers.registry import destinations, disabled_destinations, sources
from dicom_node.routing.route import keeps, model_of, why_routed
from dicom_node.rules.site_rules import site_rules
from dicom_node.runs.artifacts import Artifacts
from dicom_node.runs.pictures import keep_pictures
from dicom_node.runs.pipeline import STEPS
from dicom_node.runs.reading import read_run
from dicom_node.runs.recognised import record_recognitions
from dicom_node.runs.segmenters import Segmenters
from dicom_node.runs.shadow import look_again
from dicom_node.runs.step import Step
from dicom_node.settings import ProcessingSettings, Settings
from dicom_node.storage.durable import write_durably
from dicom_node.studies.instance_versions import version_decisions
from dicom_node.studies.revisions import begin_revision, inputs_sha256, predecessor_of
from inference.flags import Flag
from inference.measurements import Findings
from inference.registry import Registry, StoredModel
from viewer_integration.profile import DEFAULT_PROFILE, ResultProfile
from viewer_integration.provenance import Provenance
from viewer_integration.result import ResultObjects
from viewer_integration.source_header import with_demographics

if TYPE_CHECKING:
    from inference.segmenter import Segmenter

__all__ = ["SHADOW", "DurableRun", "DurableSteps"]

_log = structlog.get_logger()

SHADOW = "shadow"
"""Requested like a step, after production has finished with a study."""


class DurableSteps:
    """Performs steps of any run of one database and one folder."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings, self._database = settings, database
        self._segmenters = Segmenters(settings)

    def perform(self, step: str, run_id: str) -> None:
        """Perform one step of the list, or run the shadow model."""
        if step == SHADOW:
            look_again(run_id, self._settings, self._database, self._segmenters)
            return
        run = DurableRun(run_id, self._settings, self._database, self._segmenters)
        STEPS[Step(step)](run)
        if step == Step.ENCODE:
            run.keep_pictures()


class DurableRun:
    """A run in the database; implements `dicom_node.runs.run.Run`."""

    spacing_known = True

    def __init__(self, run_id: str, settings: Settings, database: Database, segmenters: Segmenters) -> None:
        self._run_id, self._settings, self._database, self._segmenters = run_id, settings, database, segmenters
        self._folder = settings.node.folder
        self.kept = Artifacts(self._folder, run_id)

    @property
    def processing(self) -> ProcessingSettings:
        """The settings that affect a result."""
        return self._settings.processing

    def study(self) -> Study:
        """Read the headers of the images that the run processes.

        Raises
        ------
        UnusableStudy
            When they contain another Study Instance UID than expected, or more than one.
        """
        study = read_run([self._folder / entry["path"] for entry in self.kept.load_manifest()])
        if study.study_uid != self._row().study_uid:  # results would be filed under the other study
            sentence = "the images contain another Study Instance UID than the one they were received under; correct it"
            raise UnusableStudy(ConversionReason.NO_IMAGES, sentence)
        return study

    def rules(self) -> Sequence[SiteRule]:
        """Return the site's rules as they are now."""
        return site_rules(self._database)

    def incomplete(self) -> Mapping[SeriesUID, str]:
        """Return the series with missing images, and what is missing."""
        return self.kept.load_incomplete()

    def came_again(self) -> Sequence[Decision]:
        """Return the decisions about images that were received in several versions."""
        return version_decisions(self._database, self._folder, self._row().study_uid)

    def selection(self) -> SeriesSelection:
        """Return the stored selection, with the headers read again."""
        return self.kept.load_selection(self.study())

    def profiles(self) -> Mapping[str, ResultProfile]:
        """Return the result profiles of the destinations, by key; the default profile if there is no destination.

        Disabled destinations count: what is for them waits until they are enabled again.
        """
        route, peers = self._row().route, [*destinations(self._database), *disabled_destinations(self._database)]
        return {peer.profile.key: peer.profile for peer in peers if keeps(route, peer.name)} or {"": DEFAULT_PROFILE}

    def segmenter(self) -> "Segmenter":
        """Return the model whose results are sent."""
        return self._segmenters.of(ModelRole.PRODUCTION, self._model())

    def _model(self) -> StoredModel:
        """Return the model that a routing rule chose for the run, otherwise that of production."""
        if name := model_of(self._row().route):
            return Registry(self._folder).resolve(name)
        return production_model(self._database, self._settings)

    def corrected(self, source: SourceImages) -> tuple[SourceImages, Sequence[Decision], str]:
        """Return headers with the current patient data of the PACS, what that changed, and the hash of these data."""
        study_uid = self._row().study_uid
        trail = AuditTrail(self._settings.node.folder, self._settings.node.ae_title, self._database)
        for peer in sources(self._database):
            keys = {"StudyInstanceUID": study_uid}
            record_query(trail, peer.ae_title, peer.host, keys, by_web=bool(peer.dicomweb_url))
            try:
                demographics = demographics_of(peer, self._settings.node.ae_title, study_uid)
            except QueryFailed:
                continue  # results contain what the images state, as they do where no PACS can be queried
            if demographics:
                corrected, decisions = with_demographics(source, demographics)
                document = json.dumps(demographics, sort_keys=True).encode()
                return corrected, decisions, hashlib.sha256(document).hexdigest() if decisions else ""
        return source, (), ""

    def provenance(self, profile: ResultProfile, settings_sha256: str, patient_sha256: str) -> Provenance:
        """Return what the objects for a profile contain besides findings."""
        row = self._row()
        return Provenance(
            ready_at=row.ready_at,
            manifest_sha256=row.manifest_sha256,
            settings_sha256=settings_sha256,
            software_version=version("glionode"),
            station=self._settings.node.ae_title,
            predecessor=predecessor_of(self._database, self._run_id, profile.key),
            profile=profile,
            patient_sha256=patient_sha256,
        )

    def recognised(self, recognitions: Sequence[Recognition]) -> None:
        """Store how the series were recognised."""
        record_recognitions(self._database, self._run_id, recognitions)

    def decided(self, step: Step, decisions: Iterable[Decision], flags: Iterable[Flag] = ()) -> None:
        """Replace the step's decisions, so that a repeated step does not duplicate them."""
        first = step.place * 10_000
        of_step = DecisionRow.ordinal.between(first, first + 9_999)
        routed = why_routed(self._row().route) if step == Step.SELECT else ""
        if routed:
            decisions = [Decision(code="routed", subject="study", reason=routed), *decisions]
        of_flags = [Decision(code=flag.code, subject="result", reason=flag.sentence) for flag in flags]
        with self._database.session() as session:
            session.execute(sa.delete(DecisionRow).where(DecisionRow.run_id == self._run_id, of_step))
            for ordinal, decision in enumerate([*decisions, *of_flags], start=first):
                session.add(DecisionRow(run_id=self._run_id, ordinal=ordinal, **asdict(decision)))

    def chose(self, selection: SeriesSelection) -> None:
        """Note which series are used; end the run if an earlier revision used the same with the same model."""
        model = self._model()
        inputs = inputs_sha256(selection, self.kept.load_manifest(), self._settings, model.sha256)
        if begin_revision(self._database, self._run_id, inputs):
            roles = {role: series.name for role, series in selection.series.items()}
            self._summarise({"sequences": roles, "reference": selection.reference})

    def found(self, findings: Findings) -> None:
        """Note the findings, for pages and status."""
        self._summarise(_summary(findings))

    def encoded(self, made: Mapping[str, ResultObjects]) -> None:
        """Store the objects of each profile, and delete those that only an earlier attempt of the step wrote."""
        study_uid = self._row().study_uid
        self._forget_others({one.sop_instance_uid for results in made.values() for one in results.objects})
        for profile, result in ((profile, one) for profile, results in made.items() for one in results.objects):
            relative = Path("results", study_uid, self._run_id, profile, f"{result.kind}.dcm")
            write_durably(self._folder / relative, result.content)
            row = ResultRow(
                sop_instance_uid=result.sop_instance_uid,
                run_id=self._run_id,
                study_uid=study_uid,
                series_uid=result.series_uid,
                sop_class_uid=result.sop_class_uid,
                kind=result.kind,
                profile=profile,
                path=str(relative),
                sha256=hashlib.sha256(result.content).hexdigest(),
            )
            with self._database.session() as session:
                session.merge(row)

    def keep_pictures(self) -> None:
        """Store what the panel shows of the run. The result is there already, and is sent whatever happens here."""
        try:
            keep_pictures(self.kept, self.kept.folder, withheld=bool(self._row().summary.get("withheld")))
        except Exception:  # noqa: BLE001 - a picture that cannot be drawn must not cost a result
            _log.exception("pictures_not_kept", run=self._run_id)

    def _forget_others(self, sop_instance_uids: Collection[str]) -> None:
        """Delete all results of the run but these: others must never be sent."""
        with self._database.session() as session:
            rows = session.scalars(sa.select(ResultRow).where(ResultRow.run_id == self._run_id)).all()
            for row in (one for one in rows if one.sop_instance_uid not in sop_instance_uids):
                (self._folder / row.path).unlink(missing_ok=True)
                session.execute(sa.delete(DeliveryRow).where(DeliveryRow.sop_instance_uid == row.sop_instance_uid))
                session.delete(row)

    def _row(self) -> RunRow:
        with self._database.session() as session:
            return session.get_one(RunRow, self._run_id)

    def _summarise(self, facts: Mapping[str, Any]) -> None:
        with self._database.session() as session:
            run = session.get_one(RunRow, self._run_id)
            run.summary = {**run.summary, **facts}


def _summary(findings: Findings) -> dict[str, Any]:
    return {
        "volumes_ml": {finding.region: round(finding.volume_ml, 3) for finding in findings.regions},
        "intervals_ml": {
            finding.region: [round(end, 3) for end in finding.interval_ml]
            for finding in findings.regions
            if finding.interval_ml is not None
        },
        "flags": [flag.code for flag in findings.flags],
        "withheld": findings.withheld,
        "no_tumour": findings.no_tumour,
    }
