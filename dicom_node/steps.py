"""The six steps of a run: the line of `dicom_node.pipeline`, cut where a killed node resumes; and the shadow's.

Each step reads what the step before left in the artifacts, works, and leaves its own; done twice, it gives the same.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from conversion.alignment import align
from conversion.decision import Decision
from conversion.errors import ConversionReason, UnusableStudy
from conversion.reading import SourceImages, read_source_images, read_volumes
from conversion.recognition.site_rules import SiteRule
from conversion.selection import SeriesSelection, best_of_each_role, select_series
from conversion.sequences import Role
from conversion.study import Study
from dicom_node.artifacts import Artifacts
from dicom_node.closing import finish, follow
from dicom_node.database import Database
from dicom_node.durable import write_durably
from dicom_node.model_roles import ModelRole, as_chosen, chosen, production_model
from dicom_node.outbox import Outbox
from dicom_node.peers import destinations, sources
from dicom_node.query import QueryFailed, demographics_of
from dicom_node.readable import cores, read_run, recognise_run
from dicom_node.recognised import record_recognitions
from dicom_node.revisions import begin_revision, inputs_sha256, predecessor_of
from dicom_node.settings import Settings
from dicom_node.shadow import begin_shadow, fail_shadow, keep_shadow
from dicom_node.site_rules import site_rules
from dicom_node.states import RunState
from dicom_node.tables import DecisionRow, DeliveryRow, ResultRow, RunRow
from dicom_node.versions import version_decisions
from inference.errors import InferenceReason, UnusableModel
from inference.gate import with_flags, withhold
from inference.measurements import Findings, measure
from inference.registry import Registry, StoredModel
from inference.segmentation import Segmentation
from viewer_integration.profile import DEFAULT_PROFILE, ResultProfile
from viewer_integration.provenance import Provenance
from viewer_integration.rehearsal import rehearse
from viewer_integration.result import ResultObjects, encode_results
from viewer_integration.source_header import with_demographics

if TYPE_CHECKING:
    from inference.segmenter import Segmenter

__all__ = ["STEPS", "Steps", "processing_sha256"]

STEPS = ("select", "convert", "align", "segment", "encode", "deliver")


class Steps:
    """Step bodies over one database and one folder; a model is loaded at its first use, and when another is chosen."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._folder = settings.node.folder
        self._outbox = Outbox(settings, database)
        self._segmenters: dict[ModelRole, Segmenter] = {}

    def select(self, run_id: str) -> None:
        """Recognise the series, by headers and pixels, and choose one for each role."""
        artifacts = self._artifacts(run_id)
        run = self._run(run_id)
        changed = version_decisions(self._database, self._folder, run.study_uid)
        self._decide(run_id, "select", changed)
        study = self._study(run_id)
        artifacts.save_patient(study.patient)
        rules = site_rules(self._database)
        artifacts.save_rules(rules)
        recognitions = recognise_run(study, rules, threads=cores(self._settings.processing.threads))
        record_recognitions(self._database, run_id, recognitions)
        incomplete = artifacts.load_incomplete()
        # Before anything can be refused, so that a refused study says as much as any other.
        self._decide(
            run_id, "select", [*changed, *study.decisions, *best_of_each_role(recognitions, incomplete).decisions]
        )
        reference = Role(self._settings.processing.reference)
        selection = select_series(study, recognitions, reference, incomplete)
        artifacts.save_selection(selection)
        model = production_model(self._database, self._settings)
        if not begin_revision(
            self._database, run_id, inputs_sha256(selection, artifacts, self._settings, model.sha256)
        ):
            return
        roles = {role: series.name for role, series in selection.series.items()}
        self._summarise(run_id, {"sequences": roles, "reference": selection.reference})

    def convert(self, run_id: str) -> None:
        """Read the pixels of the chosen series, and see that a result could be written."""
        artifacts = self._artifacts(run_id)
        selection = artifacts.load_selection(self._study(run_id))
        volumes = read_volumes(selection)
        source = read_source_images(selection.series[selection.reference])
        rehearse(source, volumes[selection.reference].grid, self._profiles().values())
        artifacts.save_volumes(volumes)

    def align(self, run_id: str) -> None:
        """Bring every sequence onto the reference's grid."""
        artifacts = self._artifacts(run_id)
        reference = artifacts.load_selection(self._study(run_id)).reference
        aligned = align(artifacts.load_volumes(), reference)
        artifacts.save_aligned(aligned)
        self._decide(run_id, "align", aligned.decisions)

    def segment(self, run_id: str) -> None:
        """Find the tumour and measure it."""
        artifacts = self._artifacts(run_id)
        segmenter = self._segmenter(ModelRole.PRODUCTION, production_model(self._database, self._settings))
        segmentation = segmenter.segment(artifacts.load_aligned())
        artifacts.save_segmentation(segmentation)
        settings_sha256 = processing_sha256(self._settings, artifacts.load_rules())
        artifacts.save_gate(self._settings.processing.admitted, settings_sha256)
        findings = _findings(artifacts, segmentation)
        flags = [Decision(code=flag.code, subject="result", reason=flag.sentence) for flag in findings.flags]
        self._decide(run_id, "segment", [*segmentation.decisions, *flags])
        self._summarise(run_id, _summary(findings))

    def encode(self, run_id: str) -> None:
        """Write SEG and SR, proved, into the results folder; of a withheld result the SR alone, which says why."""
        artifacts = self._artifacts(run_id)
        selection = artifacts.load_selection(self._study(run_id))
        segmentation = artifacts.load_segmentation()
        source, corrected, patient_sha256 = self._source(run_id, selection)
        findings = _findings(artifacts, segmentation)
        made = {
            key: encode_results(
                source, segmentation, findings, self._provenance(run_id, one, patient_sha256), selection.decisions
            )
            for key, one in self._profiles().items()
        }
        self._decide(run_id, "encode", [*corrected, *next(iter(made.values())).decisions])
        self._keep_results(run_id, made)

    def _profiles(self) -> dict[str, ResultProfile]:
        """Return what destinations want, by its key; the default where there is none."""
        return {peer.profile.key: peer.profile for peer in destinations(self._database)} or {"": DEFAULT_PROFILE}

    def _source(self, run_id: str, selection: SeriesSelection) -> tuple[SourceImages, tuple[Decision, ...], str]:
        """Return the reference's headers, with the patient as the PACS has it now, and a hash of what that changed."""
        source = read_source_images(selection.series[selection.reference])
        study_uid = self._run(run_id).study_uid
        for peer in sources(self._database):
            try:
                now = demographics_of(peer, self._settings.node.ae_title, study_uid)
            except QueryFailed:
                continue  # results carry what the images say, as they do where no PACS can be asked
            if now:
                corrected, decisions = with_demographics(source, now)
                told = json.dumps(now, sort_keys=True).encode()
                return corrected, decisions, hashlib.sha256(told).hexdigest() if decisions else ""
        return source, (), ""

    def deliver(self, run_id: str) -> None:
        """Send the results to every destination, once; `dicom_node.outbox` goes on where not all accept them."""
        self._outbox.deliver(run_id)
        if self._run(run_id).state != RunState.UNDELIVERED:
            self._tidy(run_id)

    def shadow(self, run_id: str) -> None:
        """Let the shadow model look at what production has delivered or kept; nothing of it is sent."""
        choice, artifacts = chosen(self._database, ModelRole.SHADOW), self._artifacts(run_id)
        if choice is None:
            return
        if self._run(run_id).summary.get("withheld"):
            begin_shadow(self._database, run_id, choice)
            reason = "production withheld its result, so there is nothing to compare with"
            fail_shadow(self._database, run_id, InferenceReason.WITHHELD, reason)
            return
        if not artifacts.has_arrays():  # this step has been here before
            return
        begin_shadow(self._database, run_id, choice)
        model = as_chosen(self._settings, choice)
        found = self._segmenter(ModelRole.SHADOW, model).segment(artifacts.load_aligned())
        keep_shadow(self._database, self._folder, run_id, artifacts.load_segmentation(), found)

    def end_shadow(self, run_id: str, code: str = "", reason: str = "") -> None:
        """Close what the shadow left open, with the reason; production is not touched."""
        if code:
            fail_shadow(self._database, run_id, code, reason)
        if self._run(run_id).state in (RunState.DELIVERED, RunState.STORED):
            self._artifacts(run_id).clear_arrays()

    def note_shadow(self, run_id: str) -> None:
        """Note that the shadow model is to look at a run whose results are out, where one runs."""
        wanted = self._shadow_wanted()
        with self._database.session() as session:
            session.get_one(RunRow, run_id).shadow_due = wanted
        if not wanted:
            self.end_shadow(run_id)  # it may have been switched off since production ended

    def begin(self, run_id: str, step: str) -> None:
        """Note that a step has started."""
        with self._database.session() as session:
            run = session.get_one(RunRow, run_id)
            if run.step != step:
                run.takeovers = 0  # it has come further, so it is not the study that workers die of
            run.state, run.step = RunState.RUNNING, step
            follow(session, run)

    def finish(self, run_id: str, state: RunState, code: str = "", reason: str = "") -> None:
        """Close a run; the study follows unless newer content has arrived meanwhile."""
        with self._database.session() as session:
            finish(session, session.get_one(RunRow, run_id), state, code, reason)
        self._tidy(run_id)

    def is_open(self, run_id: str, attempt: int = 0) -> bool:
        """Tell whether a run is known and not yet closed, and has not been begun anew since this start of it."""
        with self._database.session() as session:
            run = session.get(RunRow, run_id)
            return run is not None and run.attempt == attempt and run.state in (RunState.QUEUED, RunState.RUNNING)

    def _shadow_wanted(self) -> bool:
        """Tell whether a model runs in the shadow."""
        return chosen(self._database, ModelRole.SHADOW) is not None

    def _tidy(self, run_id: str) -> None:
        """Remove the arrays of a run that nothing else will look at."""
        run = self._run(run_id)
        ended = run.state in (RunState.DELIVERED, RunState.STORED) and not self._shadow_wanted()
        if ended or run.summary.get("withheld") or run.state == RunState.REJECTED:
            self._artifacts(run_id).clear_arrays()

    def _segmenter(self, role: ModelRole, model: StoredModel) -> "Segmenter":
        """Return the model ready to run; it is loaded anew when another one has got the role."""
        from inference.model_bundle import load_model  # noqa: PLC0415 - seconds, for torch, in the child alone
        from inference.segmenter import Segmenter  # noqa: PLC0415

        kept = self._segmenters.pop(role, None)
        if kept is None or kept.model.identity.sha256 != model.sha256:
            processing = self._settings.processing
            Registry(self._folder).verify(model)
            kept = Segmenter(load_model(str(model.folder), processing.device, processing.threads))
        if kept.model.identity.sha256 != model.sha256:
            sentence = f"model {model.name}: its manifest changed while it was read; try again"
            raise UnusableModel(InferenceReason.MODEL_CHANGED, sentence)
        self._segmenters[role] = kept
        return kept

    def _artifacts(self, run_id: str) -> Artifacts:
        return Artifacts(self._folder, run_id)

    def _run(self, run_id: str) -> RunRow:
        with self._database.session() as session:
            return session.get_one(RunRow, run_id)

    def _study(self, run_id: str) -> Study:
        study = read_run([self._folder / entry["path"] for entry in self._artifacts(run_id).load_manifest()])
        if study.study_uid != self._run(run_id).study_uid:  # results would be filed under the other study
            sentence = "the images name another study inside than the one they were received as; correct that"
            raise UnusableStudy(ConversionReason.NO_IMAGES, sentence)
        return study

    def _provenance(self, run_id: str, profile: ResultProfile, patient_sha256: str) -> Provenance:
        run, (_, settings_sha256) = self._run(run_id), self._artifacts(run_id).load_gate()
        return Provenance(
            ready_at=run.ready_at,
            manifest_sha256=run.manifest_sha256,
            settings_sha256=settings_sha256,
            software_version=version("glionode"),
            station=self._settings.node.ae_title,
            predecessor=predecessor_of(self._database, run_id, profile.key),
            profile=profile,
            patient_sha256=patient_sha256,
        )

    def _decide(self, run_id: str, step: str, decisions: Iterable[Decision]) -> None:
        """Replace the step's decisions, so that a repeated step does not double them."""
        first = STEPS.index(step) * 10_000
        with self._database.session() as session:
            session.execute(
                sa.delete(DecisionRow).where(
                    DecisionRow.run_id == run_id, DecisionRow.ordinal.between(first, first + 9_999)
                )
            )
            for ordinal, decision in enumerate(decisions, start=first):
                session.add(DecisionRow(run_id=run_id, ordinal=ordinal, **asdict(decision)))

    def _summarise(self, run_id: str, facts: dict[str, Any]) -> None:
        with self._database.session() as session:
            run = session.get_one(RunRow, run_id)
            run.summary = {**run.summary, **facts}

    def _keep_results(self, run_id: str, made: Mapping[str, ResultObjects]) -> None:
        run = self._run(run_id)
        self._forget_others(run_id, {one.sop_instance_uid for results in made.values() for one in results.objects})
        for profile, result in ((profile, one) for profile, results in made.items() for one in results.objects):
            relative = Path("results", run.study_uid, run_id, profile, f"{result.kind}.dcm")
            write_durably(self._folder / relative, result.content)
            row = ResultRow(
                sop_instance_uid=result.sop_instance_uid,
                run_id=run_id,
                study_uid=run.study_uid,
                series_uid=result.series_uid,
                sop_class_uid=result.sop_class_uid,
                kind=result.kind,
                profile=profile,
                path=str(relative),
                sha256=hashlib.sha256(result.content).hexdigest(),
            )
            with self._database.session() as session:
                session.merge(row)

    def _forget_others(self, run_id: str, sop_instance_uids: Collection[str]) -> None:
        """Drop what an earlier try of the step wrote that this one does not: it must never be sent."""
        with self._database.session() as session:
            rows = session.scalars(sa.select(ResultRow).where(ResultRow.run_id == run_id)).all()
            for row in (one for one in rows if one.sop_instance_uid not in sop_instance_uids):
                (self._folder / row.path).unlink(missing_ok=True)
                session.execute(sa.delete(DeliveryRow).where(DeliveryRow.sop_instance_uid == row.sop_instance_uid))
                session.delete(row)


def _findings(artifacts: Artifacts, segmentation: Segmentation) -> Findings:
    """Measure, and hold what was measured against the gate as it stood when the tumour was found."""
    flagged = with_flags(measure(segmentation), artifacts.load_alignment_decisions(), artifacts.load_patient())
    return withhold(flagged, artifacts.load_gate()[0])


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


def processing_sha256(settings: Settings, rules: Sequence[SiteRule]) -> str:
    """Return the hash of what a site can change about a result: settings, but not the threads, and its rules."""
    effective = asdict(settings.processing) | {"threads": None, "rules": [asdict(rule) for rule in rules]}
    return hashlib.sha256(json.dumps(effective, sort_keys=True).encode()).hexdigest()
