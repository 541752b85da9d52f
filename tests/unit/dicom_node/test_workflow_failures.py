"""The one table of the worker: what follows from each kind of error, and what a person is told."""

import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from psycopg import OperationalError
from psycopg.errors import CannotConnectNow, CrashShutdown, LockNotAvailable

from conversion.errors import ConversionError, ConversionReason, UnusableStudy
from dicom_node.database.engine import Database
from dicom_node.database.states import RunState
from dicom_node.database.tables import RunRow, StudyRow, utc_now
from dicom_node.runs import workflow
from dicom_node.runs.child_process import StepOutcome
from dicom_node.runs.consequences import (
    OUTAGES,
    Consequence,
    UnreadableStudy,
    consequence_of,
    is_foreseen,
    reason_of,
)
from dicom_node.runs.lifecycle import Lifecycle
from dicom_node.settings import read_settings
from inference.errors import InferenceError, InferenceReason, UnusableModel
from viewer_integration.errors import ProofFailed, ResultError, ResultReason

PATH = "/inbox/1.2.3/TELLTALE.dcm"
PASSING = [
    OSError(5, "Input/output error", PATH),
    ConnectionResetError(PATH),
    TimeoutError(PATH),
    sa.exc.OperationalError("SELECT 'TELLTALE'", ("TELLTALE",), Exception("database is locked")),
]
DEFECTS = [ValueError(PATH), KeyError("TELLTALE"), RuntimeError("TELLTALE"), AssertionError("TELLTALE")]
OF_THE_NODE = (UnusableModel, ProofFailed)


def _below(kind: type[Exception]) -> list[type[Exception]]:
    return [kind, *(deeper for lower in kind.__subclasses__() for deeper in _below(lower))]


LOWER_ERRORS = [
    (kind, reason)
    for root, reasons in (
        (ConversionError, ConversionReason),
        (InferenceError, InferenceReason),
        (ResultError, ResultReason),
    )
    for kind in _below(root)[1:]
    for reason in reasons
]


@pytest.mark.parametrize(("kind", "reason"), LOWER_ERRORS)
def test_every_error_of_the_rooms_is_told_with_its_own_reason(kind: type[Exception], reason: str) -> None:
    error = kind(reason, "one sentence")
    assert consequence_of(error) is (Consequence.FAIL if issubclass(kind, OF_THE_NODE) else Consequence.REJECT)
    assert reason_of(error) == (str(reason), "one sentence")


def test_mixed_patients_are_rejected() -> None:
    error = UnusableStudy(ConversionReason.PATIENTS_MIXED, "the images name 2 different patients")
    assert consequence_of(error) is Consequence.REJECT
    assert reason_of(error) == ("patients_mixed", "the images name 2 different patients")


@pytest.mark.parametrize("error", PASSING, ids=lambda error: type(error).__name__)
def test_a_passing_fault_is_tried_again_and_told_without_its_text(error: Exception) -> None:
    assert consequence_of(error) is Consequence.RETRY
    code, reason = reason_of(error)
    assert code == ("database" if isinstance(error, sa.exc.OperationalError) else "input_output")
    assert reason == f"{type(error).__name__}: see the node's log for the details"


@pytest.mark.parametrize("error", DEFECTS, ids=lambda error: type(error).__name__)
def test_what_nobody_foresaw_is_a_defect_and_told_without_its_text(error: Exception) -> None:
    assert consequence_of(error) is Consequence.FAIL
    assert reason_of(error) == ("defect", f"{type(error).__name__}: see the node's log for the details")


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device", PATH),
        OSError(122, "Disk quota exceeded", PATH),
        sa.exc.OperationalError("SELECT 'TELLTALE'", ("TELLTALE",), Exception("database or disk is full")),
    ],
    ids=["disk", "quota", "books"],
)
def test_a_full_disk_is_told_as_one(error: Exception) -> None:
    assert consequence_of(error) is Consequence.RETRY
    assert reason_of(error) == ("disk_full", "the node's disk is full")


@pytest.mark.parametrize("error", [OperationalError("closed"), CrashShutdown(), CannotConnectNow()])
def test_a_database_that_is_away_is_told_as_that(error: OperationalError) -> None:
    away = sa.exc.OperationalError("SELECT 'TELLTALE'", (), error)
    assert consequence_of(away) is Consequence.RETRY
    assert reason_of(away) == ("database_away", "the database cannot be reached")
    locked = sa.exc.OperationalError("SELECT 1", (), LockNotAvailable())
    assert reason_of(locked)[0] == "database"


@pytest.mark.parametrize("outage", OUTAGES)
def test_an_outage_is_waited_for_longer_than_any_fault_of_a_study(
    monkeypatch: pytest.MonkeyPatch, database: Database, tmp_path: Path, outage: str
) -> None:
    """What a study alone suffers ends its run after four attempts; this ends none."""
    full = StepOutcome(consequence=Consequence.RETRY, code=outage)
    outcomes = [full] * 10 + [StepOutcome()]
    monkeypatch.setattr(workflow, "FIRST_RETRY_S", 0.001)
    monkeypatch.setattr(workflow, "_stopping", threading.Event())  # another workflow of this process may have ended
    monkeypatch.setattr(workflow, "_perform_step", [lambda _name, _run: outcomes.pop(0)])
    settings = read_settings(environment={"GLIONODE_NODE_FOLDER": str(tmp_path)})
    monkeypatch.setattr(workflow, "_lifecycle", [Lifecycle(settings, database)])
    with database.session() as session:
        session.add(StudyRow(study_uid="1.2", key="k"))
        session.flush()
        facts = {"manifest_sha256": "0", "revision": 1, "ready_at": utc_now(), "state": RunState.RUNNING}
        session.add(RunRow(run_id="run", study_uid="1.2", **facts))
    assert workflow._run_step("convert", "run") == workflow._DONE
    assert outcomes == []


def test_too_little_memory_fails() -> None:
    assert consequence_of(MemoryError()) is Consequence.FAIL
    assert reason_of(MemoryError())[0] == "out_of_memory"


@pytest.mark.parametrize("error", [*PASSING, MemoryError(), UnreadableStudy("its images: ValueError")])
def test_what_stands_in_the_table_is_foreseen(error: Exception) -> None:
    assert is_foreseen(error)


@pytest.mark.parametrize("error", DEFECTS, ids=lambda error: type(error).__name__)
def test_a_defect_is_not_foreseen(error: Exception) -> None:
    assert not is_foreseen(error)


def test_an_unreadable_study_is_rejected_with_what_is_known_of_it() -> None:
    error = UnreadableStudy("series 4: ZeroDivisionError")
    assert consequence_of(error) is Consequence.REJECT
    assert reason_of(error) == ("unreadable_study", "series 4: ZeroDivisionError")
