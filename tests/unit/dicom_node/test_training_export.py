"""A training set of corrected studies: labels as drawn, names nobody can trace, and nothing left out silently."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from numpy.typing import NDArray
from pydicom import Dataset, dcmread

from conversion.sequences import Role
from dicom_node.cli.export import export
from dicom_node.database.engine import Database, open_database
from dicom_node.database.keyed_hashes import KeyedHash
from dicom_node.database.states import StudyState
from dicom_node.database.tables import InstanceRow, ResultRow, StudyRow
from dicom_node.workbench.training_export import TrainingExport, export_training_set
from inference.cases.layouts import open_cases
from inference.regions import Region
from tests.support.audit_schema import recorded
from tests.support.foreign_seg import ForeignSegment, foreign_seg
from tests.support.held_study import hold_small_study
from tests.support.small_study import uid_of
from tests.support.viewer_study import hold_results, instance_row

SHAPE = (10, 48, 40)
AFFINE = np.array([[0, 0, 4, -80], [0, 4, 0, -96], [11, 0, 0, 0], [0, 0, 0, 1]], float)
PATIENT = {"PatientID": "SECRET-77", "PatientName": "Doe^Jane", "InstitutionName": "Clinic A"}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path / 'node' / 'glionode.sqlite'}")
    yield opened
    opened.engine.dispose()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "node"


def _labels() -> NDArray[np.uint8]:
    """Return a lopsided tumour of 1 NCR, 2 ED and 3 ET."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[3:7, 16:26, 22:34] = 2
    labels[4:6, 18:23, 24:30] = 3
    labels[5, 19:21, 25:28] = 1
    return labels


def _parts(algorithm: str = "SEMIAUTOMATIC") -> list[ForeignSegment]:
    names = {1: "Necrotic core", 2: "Edema", 3: "Enhancing tumor"}
    return [ForeignSegment(label=n, mask=_labels() == v, algorithm=algorithm) for v, n in names.items()]


def _hold(
    database: Database, folder: Path, name: str, segments: Sequence[ForeignSegment], **attributes: object
) -> Dataset:
    """Keep a FLAIR study and a SEG that came from a viewer, and return the SEG."""
    study_uid = hold_small_study(database, folder, name, ["FLAIR"], attributes=PATIENT | attributes)
    images = [dcmread(path) for path in sorted((folder / "inbox" / name).iterdir())]
    seg = foreign_seg(images, segments, AFFINE, SOPInstanceUID=uid_of(name, "seg"), SeriesInstanceUID=uid_of(name, "s"))
    path = Path("inbox", name, "seg.dcm")
    patient_key = KeyedHash(database)(str(images[0].PatientID or ""))
    seg.save_as(folder / path, enforce_file_format=True)
    with database.session() as session:
        session.add(instance_row(seg, str(path)))
        session.flush()
        rows = sa.update(InstanceRow).where(InstanceRow.study_uid == study_uid)
        session.execute(rows.values(patient_key=patient_key))
        study = session.get(StudyRow, study_uid)
        assert study is not None
        study.state = StudyState.DELIVERED
    return seg


def _export(database: Database, folder: Path, out: Path) -> TrainingExport:
    return export_training_set(database, folder, out)


def test_a_corrected_study_becomes_a_case_that_is_read_back_as_it_was_drawn(
    database: Database, folder: Path, tmp_path: Path
) -> None:
    _hold(database, folder, "one", _parts())
    done = _export(database, folder, tmp_path / "set")
    (case,) = open_cases("brats", tmp_path / "set").cases
    read = case.read()
    assert set(read.volumes.volumes) == {Role.FLAIR}
    flair = [dcmread(folder / "inbox" / "one" / f"{k}.dcm").pixel_array for k in range(SHAPE[0])]
    assert np.array_equal(read.volumes.volumes[Role.FLAIR].voxels, flair)
    assert np.allclose(read.volumes.grid.affine, AFFINE)
    assert np.array_equal(read.regions[Region.WT], _labels() > 0)
    assert np.array_equal(read.regions[Region.TC], _labels() % 2 == 1)
    assert np.array_equal(read.regions[Region.ET], _labels() == 3)
    assert (done.skipped, [one.case for one in done.cases]) == ((), [case.case_id])


def test_only_what_was_annotated_counts_when_it_is_read_back(database: Database, folder: Path, tmp_path: Path) -> None:
    _hold(database, folder, "one", [ForeignSegment(label="Tumor", mask=_labels() > 0)])
    (exported,) = _export(database, folder, tmp_path / "set").cases
    regions = open_cases("brats", tmp_path / "set").cases[0].read().regions
    assert exported.annotated == ("WT",)
    assert list(regions) == [Region.WT]
    assert np.array_equal(regions[Region.WT], _labels() > 0)


def test_the_manifest_describes_every_case_and_names_nobody(database: Database, folder: Path, tmp_path: Path) -> None:
    seg = _hold(database, folder, "one", _parts())
    out = tmp_path / "set"
    (case,) = _export(database, folder, out).cases
    manifest = json.loads((out / "training_set.json").read_text("utf-8"))
    (told,) = manifest["cases"]
    assert (told["sequences"], told["reference"], told["annotated"]) == (["FLAIR"], "FLAIR", ["WT", "TC", "ET"])
    assert (told["drawn_by"], told["drawn_with"]) == (["SEMIAUTOMATIC"], "Another viewer")
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (out / case.case).iterdir()}
    assert told["files"] == files
    assert set(files) == {f"{case.case}_flair.nii.gz", f"{case.case}_seg.nii.gz"}
    written = (out / "training_set.json").read_text("utf-8") + " ".join(str(path) for path in out.rglob("*"))
    secrets = (*PATIENT.values(), str(seg.StudyInstanceUID), str(seg.SOPInstanceUID), "1970", "2024", str(folder))
    assert not [secret for secret in secrets if str(secret) in written]


def test_one_person_is_one_patient_and_nobody_is_many(database: Database, folder: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        _hold(database, folder, name, _parts())
    for name in ("third", "fourth"):
        _hold(database, folder, name, _parts(), PatientID="")
    _export(database, folder, tmp_path / "set")
    cases = open_cases("brats", tmp_path / "set").cases
    assert len({case.case_id for case in cases}) == 4
    assert sorted(sum(case.patient == name for case in cases) for name in {c.patient for c in cases}) == [1, 1, 2]


def test_the_same_books_give_the_same_set(database: Database, folder: Path, tmp_path: Path) -> None:
    _hold(database, folder, "one", _parts())
    first, second = (_export(database, folder, tmp_path / name) for name in ("a", "b"))
    assert first.cases == second.cases
    assert first.manifest.read_bytes() == second.manifest.read_bytes()


def test_what_no_person_corrected_is_left_out_with_its_reason(database: Database, folder: Path, tmp_path: Path) -> None:
    _hold(database, folder, "automatic", _parts("AUTOMATIC"))
    _hold(database, folder, "unknown", [ForeignSegment(label="Ventricles", mask=_labels() > 0)])
    arriving = _hold(database, folder, "arriving", _parts())
    with database.session() as session:
        row = session.get(StudyRow, str(arriving.StudyInstanceUID))
        assert row is not None
        row.state = StudyState.RECEIVING
    mixed = _hold(database, folder, "mixed", _parts())
    with database.session() as session:
        last = sa.select(InstanceRow).where(InstanceRow.study_uid == str(mixed.StudyInstanceUID)).limit(1)
        session.scalars(last).one().patient_key = "another"
    hold_small_study(database, folder, "without", ["FLAIR"])
    done = _export(database, folder, tmp_path / "set")
    assert done.cases == ()
    said = {item.name: item.reason for item in done.skipped}
    assert set(said) == {"automatic", "unknown", "arriving", "mixed"}
    assert "several patients" in said["mixed"]
    assert "no person has drawn or corrected it" in said["automatic"]
    assert "'Ventricles'" in said["unknown"]
    assert "still being received" in said["arriving"]
    manifest = (tmp_path / "set" / "training_set.json").read_text("utf-8")
    assert json.loads(manifest)["skipped_studies"] == 4
    assert "Ventricles" not in manifest


def test_the_nodes_own_result_that_came_back_is_no_correction(database: Database, folder: Path, tmp_path: Path) -> None:
    seg = _hold(database, folder, "one", _parts())
    hold_results(database, folder, (seg,), revision=1)
    with database.session() as session:
        assert session.get(ResultRow, str(seg.SOPInstanceUID)) is not None
    done = _export(database, folder, tmp_path / "set")
    assert (done.cases, done.skipped) == ((), ())


def test_sets_are_never_mixed(database: Database, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "old").write_text("")
    with pytest.raises(ValueError, match="not empty"):
        _export(database, folder, tmp_path / "set")


def test_the_command_writes_the_set_and_says_what_it_left_out(database: Database, folder: Path, tmp_path: Path) -> None:
    _hold(database, folder, "one", _parts())
    _hold(database, folder, "automatic", _parts("AUTOMATIC"))
    unset: dict[str, str | None] = {key: None for key in os.environ if key.startswith("GLIONODE_")}
    environment = {**unset, "GLIONODE_NODE_FOLDER": str(folder)}
    environment["GLIONODE_DATABASE_URL"] = f"sqlite:///{folder / 'glionode.sqlite'}"
    runner = CliRunner()
    done = runner.invoke(export, ["--training", str(tmp_path / "set"), "--json"], env=environment)
    assert (done.exit_code, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert len(told["cases"]) == 1
    assert [item["study"] for item in told["skipped"]] == ["automatic"]
    assert Path(told["manifest"]).exists()
    (exported,) = recorded(folder, database, "export")
    assert (exported.action, exported.about[0], exported.description) == ("R", "one", "training set")
    assert exported.patients == ("SECRET-77",)
    assert "Doe" not in exported.xml
    again = runner.invoke(export, ["--training", str(tmp_path / "set")], env=environment)
    assert (again.exit_code, again.stderr.count("\n")) == (1, 1)
    assert "not empty" in again.stderr
    missing = runner.invoke(export, [], env=environment)
    assert missing.exit_code == 2
