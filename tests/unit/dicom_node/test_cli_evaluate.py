"""`glionode evaluate` as scripts see it: small NIfTI cases, a real network, and the files that come out."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from dicom_node.cli.evaluate import evaluate
from inference.cases.layouts import LAYOUTS
from tests.support.annotated_study import annotated_study, write_instances
from tests.support.detector_model import SHIFT_ROWS, write_detector

SHAPE = (12, 40, 36)
RADIUS = {"flair": 9.0, "t1ce": 6.0, "t1": 4.0}
"""Where each sequence is bright, in voxels of 1 mm; the detector sees WT, TC and ET there, `SHIFT_ROWS` to the back."""


def _ball(radius: float, rows: int) -> NDArray[np.bool_]:
    index = np.indices(SHAPE) - np.reshape([6, 20 + rows, 18], (3, 1, 1, 1))
    return np.asarray((index**2).sum(axis=0) <= radius**2)


def _write(path: Path, voxels: NDArray[Any]) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    sitk.WriteImage(sitk.GetImageFromArray(voxels), str(path))


def _write_case(root: Path, name: str, sequences: tuple[str, ...] = ("t1", "t1ce", "t2", "flair")) -> None:
    """Write a case in the layout of BraTS 2018 whose annotation lies where the detector answers."""
    head = np.zeros(SHAPE, np.float32)
    head[:, 2:-2, 2:-2] = 100.0
    for sequence in sequences:
        voxels = head.copy()
        if sequence in RADIUS:
            voxels[_ball(RADIUS[sequence], 0)] = 320.0
        _write(root / name / f"{name}_{sequence}.nii.gz", voxels)
    labels = np.zeros(SHAPE, np.uint8)
    for sequence, label in (("flair", 2), ("t1ce", 1), ("t1", 4)):
        labels[_ball(RADIUS[sequence], SHIFT_ROWS)] = label
    _write(root / name / f"{name}_seg.nii.gz", labels)


@pytest.fixture(scope="module")
def brats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("brats")
    _write_case(root, "Brats18_CBICA_AAA_1")
    _write_case(root, "Brats18_TCIA01_001_1", ("t2", "flair"))
    return root


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_detector(tmp_path_factory.mktemp("models") / "detector")


def _evaluate(*arguments: str | Path, node: Path = Path("no-node")) -> Result:
    unset: dict[str, str | None] = {key: None for key in os.environ if key.startswith("GLIONODE_")}
    chosen = {"PROCESSING_DEVICE": "cpu", "PROCESSING_THREADS": "1", "NODE_FOLDER": str(node)}
    return CliRunner().invoke(
        evaluate,
        list(map(str, arguments)),
        env={**unset, **{f"GLIONODE_{key}": value for key, value in chosen.items()}},
    )


def test_json_and_report_are_written(brats: Path, model: Path, tmp_path: Path) -> None:
    document, report = tmp_path / "new" / "figures.json", tmp_path / "report"
    done = _evaluate("--dataset", "brats", "--data", brats, "--model", model, "--json", document, "--report", report)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "Research use only. Not a medical device.",
        f"wrote {document}",
        f"wrote {report / 'index.html'}",
    ]
    found = json.loads(document.read_text("utf-8"))
    assert [case["id"] for case in found["cases"]] == ["Brats18_CBICA_AAA_1", "Brats18_TCIA01_001_1"]
    for region in ("WT", "TC", "ET"):
        assert found["cases"][0]["regions"][region]["dice"] > 0.9
        assert found["cases"][0]["regions"][region]["hd95_mm"] <= 1.5
    assert found["cases"][0]["regions"]["WT"]["reference_ml"] == pytest.approx(_ball(9.0, 0).sum() / 1000)
    assert found["cases"][1]["regions"]["TC"]["told"] is False
    assert (found["model"]["name"], len(found["model"]["sha256"])) == ("detector", 64)
    page = (report / "index.html").read_text("utf-8")
    assert "Evaluation of detector 1.2.3" in page
    assert brats.name in page
    assert str(brats.parent) not in page + document.read_text("utf-8")


def test_without_files_a_table_is_printed(brats: Path, model: Path) -> None:
    done = _evaluate(
        "--dataset", "brats", "--data", brats, "--model", model, "--sequences", "flair,t1ce", "--cases", "2"
    )
    assert (done.exit_code, done.stderr) == (0, "")
    notice, title, head, whole, core, enhancing, lacking = done.stdout.splitlines()
    assert (notice, title) == (
        "Research use only. Not a medical device.",
        "detector 1.2.3 on 2 cases (brats), given only FLAIR, T1CE",
    )
    assert " ".join(head.split()) == ("cases mean Dice (95 %) pooled Dice precision recall median HD95 mm concordance")
    assert whole.split()[:2] == ["WT", "2"]
    assert float(whole.split()[2]) > 0.9
    assert (core.split()[:2], enhancing.split()[:3]) == (["TC", "2"], ["ET", "2", "0.000"])
    assert lacking == "Brats18_TCIA01_001_1: without T1CE"


def test_one_case_may_be_picked(brats: Path, model: Path, tmp_path: Path) -> None:
    document = tmp_path / "figures.json"
    picked = ("--dataset", "brats", "--data", brats, "--model", model, "--json", document)
    assert _evaluate(*picked, "--only", "Brats18_TCIA01_001_1").exit_code == 0
    assert [case["id"] for case in json.loads(document.read_text())["cases"]] == ["Brats18_TCIA01_001_1"]
    done = _evaluate(*picked, "--only", "nobody")
    assert done.exit_code == 2
    assert "--only nobody: no such case among 2, such as Brats18_CBICA_AAA_1" in done.stderr


def test_a_model_of_the_node_is_found_by_its_name(brats: Path, model: Path, tmp_path: Path) -> None:
    """As `glionode models add` puts it: models/NAME/VERSION in the node's folder."""
    shutil.copytree(model, tmp_path / "node" / "models" / "detector" / "1.2.3")
    chosen = ("--dataset", "brats", "--data", brats, "--cases", "1", "--model", "detector/1.2.3")
    done = _evaluate(*chosen, node=tmp_path / "node")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1] == "detector 1.2.3 on 1 case (brats)"


def test_bad_usage_is_told_before_any_work(brats: Path, tmp_path: Path) -> None:
    for arguments, words in (
        (("--dataset", "brats", "--data", brats, "--sequences", "flair,pd"), "--sequences 'pd': use some of t1, t1ce"),
        (("--dataset", "kits", "--data", brats), "'kits' is not one of"),
        (("--dataset", "brats", "--data", tmp_path / "none"), "does not exist"),
        (("--data", brats), "Missing option '--dataset'"),
    ):
        done = _evaluate(*arguments)
        assert done.exit_code == 2
        assert words in done.stderr


def test_a_failure_is_one_clear_line(brats: Path, model: Path, tmp_path: Path) -> None:
    document = tmp_path / "figures.json"
    for arguments, words in (
        (("--dataset", "brats", "--data", tmp_path, "--model", model), "no case of the layout brats"),
        (("--dataset", "brats", "--data", brats, "--model", "none-such"), "no model 'none-such'"),
        (("--dataset", "brats", "--data", brats, "--model", model, "--sequences", "t2"), "needs one of T1CE, FLAIR"),
    ):
        done = _evaluate(*arguments, "--json", document)
        assert (done.exit_code, done.stdout) == (1, "")
        assert done.stderr.startswith("glionode: ")
        assert words in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert not document.exists()


def test_a_study_of_two_patients_is_judged_by_nobody_and_named(model: Path, tmp_path: Path) -> None:
    data, document = tmp_path / "studies", tmp_path / "figures.json"
    images, seg = annotated_study("mixed", "ONE")
    images[3].PatientID = "TWO"
    write_instances(data, [*images, seg])
    asked = ("--dataset", "dicom", "--data", data, "--model", model)
    done = _evaluate(*asked)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "its files name 2 different patients; correct that at the source" in done.stderr
    images, seg = annotated_study("good", "ONE")
    write_instances(data, [*images, seg])
    assert _evaluate(*asked, "--json", document).exit_code == 0
    found = json.loads(document.read_text("utf-8"))
    assert [len(found[kind]) for kind in ("cases", "skipped")] == [1, 1]
    assert "name 2 different patients" in found["skipped"][0]["reason"]
    assert found["cases"][0]["id"] != found["skipped"][0]["name"]


def test_the_command_knows_every_layout() -> None:
    (choice,) = [option.type.choices for option in evaluate.params if option.name == "dataset"]
    assert tuple(choice) == LAYOUTS
