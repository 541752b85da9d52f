"""One list of steps, two ways to execute it: the same study gives the same decisions and the same bytes."""

import hashlib
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from conversion.decision import Decision
from conversion.recognition.site_rules import SiteRule
from dicom_node.database.engine import Database, open_database
from dicom_node.database.states import StudyState
from dicom_node.database.tables import DecisionRow, ResultRow, RunRow, StudyRow, utc_now
from dicom_node.models.roles import model_folder
from dicom_node.rules.site_rules import import_rules
from dicom_node.runs.durable import DurableRun, DurableSteps
from dicom_node.runs.in_memory import RunInMemory
from dicom_node.runs.pipeline import STEPS, find_tumour
from dicom_node.runs.segmenters import Segmenters
from dicom_node.runs.step import Step
from dicom_node.settings import Settings, read_settings
from dicom_node.studies.assembly import Assembly
from dicom_node.studies.run_folder import RunFolder
from inference.model_bundle import load_model
from inference.segmenter import Segmenter
from tests.support.detector_model import write_detector
from tests.support.held_study import hold_small_study
from viewer_integration.profile import DEFAULT_PROFILE
from viewer_integration.provenance import Provenance

pytestmark = pytest.mark.torch

FIELDS = [field.name for field in fields(Decision)]
RULE = SiteRule(name="nothing", kind="T2", description="a sequence that nobody sends")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    model = write_detector(tmp_path / "model", minimum_lesion_ml=0.0)
    environment = {
        "GLIONODE_NODE_FOLDER": str(tmp_path),
        "GLIONODE_PROCESSING_DEVICE": "cpu",
        "GLIONODE_PROCESSING_MODEL": str(model),
    }
    return read_settings(environment=environment)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    opened = open_database(settings.database_url)
    yield opened
    opened.engine.dispose()


def _ready_run(database: Database, settings: Settings, birth_date: str) -> str:
    attributes = {"PatientBirthDate": birth_date}
    hold_small_study(database, settings.node.folder, "both ways", ["FLAIR", "T1CE"], attributes=attributes)
    with database.session() as session:
        session.scalars(sa.select(StudyRow)).one().state = StudyState.RECEIVING
    assembly = Assembly(database, settings.node.folder, settings.assembly, "GLIONODE")
    (ready,) = assembly.ready_studies(utc_now() + timedelta(hours=1))
    return ready.run_id


def _durably(database: Database, settings: Settings, run_id: str) -> tuple[list[Decision], dict[str, str]]:
    """Return the decisions without those that repeat a flag, and the hash of every object."""
    for step in STEPS:
        DurableSteps(settings, database).perform(step, run_id)  # anew each time, as after a kill
    with database.session() as session:
        rows = session.scalars(sa.select(DecisionRow).filter_by(run_id=run_id).order_by(DecisionRow.ordinal)).all()
        told = [Decision.restored({name: getattr(row, name) for name in FIELDS}) for row in rows]
        objects = {row.kind: row.sha256 for row in session.scalars(sa.select(ResultRow).filter_by(run_id=run_id))}
    return told, objects


def _in_memory(database: Database, settings: Settings, run_id: str) -> RunInMemory:
    manifest = RunFolder(settings.node.folder, run_id).load_manifest()
    with database.session() as session:
        row = session.get_one(RunRow, run_id)
    durable = DurableRun(run_id, settings, database, Segmenters(settings))
    origin: Provenance = durable.provenance(DEFAULT_PROFILE, "", "")
    assert (origin.ready_at, origin.manifest_sha256) == (row.ready_at, row.manifest_sha256)
    run = RunInMemory(
        processing=settings.processing,
        model=Segmenter(load_model(model_folder(settings), "cpu", 1)),
        paths=[settings.node.folder / entry["path"] for entry in manifest],
        origin=origin,
        site_rules=[RULE],
    )
    find_tumour(run)
    return run


@pytest.mark.parametrize(
    ("birth_date", "admit", "made"),
    [
        ("19601231", "", {"SEG", "SR"}),
        ("20140601", "under_18", {"SEG", "SR"}),
        ("20140601", "", {"SR"}),  # withheld: its report alone is made
    ],
)
def test_both_ways_decide_the_same_and_make_the_same_bytes(
    database: Database, settings: Settings, birth_date: str, admit: str, made: set[str]
) -> None:
    settings = replace(settings, processing=replace(settings.processing, admit=admit))
    import_rules(database, [RULE])
    run_id = _ready_run(database, settings, birth_date)
    run = _in_memory(database, settings, run_id)
    told, objects = _durably(database, settings, run_id)
    flags = [Decision(code=flag.code, subject="result", reason=flag.sentence) for flag in run.findings.flags]
    assert {one.kind: hashlib.sha256(one.content).hexdigest() for one in run.results} == objects
    assert [one for one in told if one not in flags] == list(run.decisions)
    assert [one for one in told if one in flags] == flags
    assert len(run.decisions) > 3
    assert set(objects) == made


def test_the_list_and_the_delivery_are_the_steps_that_pages_name() -> None:
    assert [*STEPS, Step.DELIVER] == list(Step)
    assert [function.__module__.rpartition(".")[2] for function in STEPS.values()] == list(STEPS)
