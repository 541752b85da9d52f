"""`glionode train` as a data scientist runs it: killed and started again, with two processes, up to a model in use."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.manifest import read_manifest
from tests.support.annotated_study import annotated_study, write_instances
from tests.support.case_sets import write_brats, write_nifti
from tests.support.leaning_brain import leaning_brain
from tests.support.lgg_files import write_lgg_cases

PLAN = """
crop = [1, 32, 32]
batch_size = 4
warm_up = 5
learning_rate = 0.02
checkpoint_every = 2
ema_decay = 0.8
[network]
filters = [4, 6, 8]
"""
STEPS = 24
DEADLINE_S = 120.0


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lgg")
    write_lgg_cases(folder / "kaggle_3m", patients=6)
    (folder / "plan.toml").write_text(PLAN)
    return folder


def _arguments(data: Path, out: Path, *more: str) -> list[str]:
    usual = ["--dataset", "lgg", "--data", str(data / "kaggle_3m"), "--out", str(out), "--cache", str(data / "cache")]
    return ["train", *usual, "--plan", str(data / "plan.toml"), "--steps", str(STEPS), "--folds", "3", *more]


def _environment() -> dict[str, str]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("GLIONODE_")}
    return inherited | {"OMP_NUM_THREADS": "1"}


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command], env=_environment(), capture_output=True, text=True, check=False
    )


def _trained(data: Path, out: Path, *more: str) -> dict[str, Any]:
    done = _run("dicom_node.cli", *_arguments(data, out, "--json", *more))
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("whole")
    return out, _trained(data, out, "--validate-every", "8", "--tensorboard", "--ablate", "sequences")


def test_a_training_tells_what_it_made_of_whom(whole: tuple[Path, dict[str, Any]]) -> None:
    out, told = whole
    report = json.loads((out / "report.json").read_text())
    split = json.loads((out / "split.json").read_text())
    held, trained = set(split["folds"][0]), {name for fold in split["folds"][1:] for name in fold}
    assert not held & trained
    assert {name.rsplit("_", 1)[0] for name in report["held_out_dice"]} == held
    assert report["cases"] == {"lgg": len(trained)}
    assert told["steps"] == STEPS
    assert 0 <= told["held_out_mean_dice"]["lgg WT"] <= 1
    assert list((out / "tensorboard").glob("events.out.tfevents.*"))
    assert json.loads((out / "skipped.json").read_text()) == []
    assert "research use only" in (out / "model" / "MODEL_CARD.md").read_text().lower()


def test_every_useful_subset_is_in_the_table(whole: tuple[Path, dict[str, Any]]) -> None:
    """The set has no T2, so subsets with T2 have no case and no figure."""
    rows = json.loads((whole[0] / "ablation.json").read_text())
    assert len(rows) == 12
    assert {row["cases"] for row in rows if "T2" in row["sequences"]} == {0}
    assert all(set(row["dice"]) == {"lgg WT"} for row in rows if "T2" not in row["sequences"])
    table = (whole[0] / "ablation.md").read_text().splitlines()
    assert len(table) == 14
    assert table[0] == "| sequences | cases | lgg WT |"


def test_a_killed_training_ends_with_the_same_weights(
    data: Path, whole: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "dicom_node.cli", *_arguments(data, tmp_path, "--validate-every", "8")]
    with subprocess.Popen(command, env=_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + DEADLINE_S
        while not (tmp_path / "checkpoint.pt").exists() and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert (tmp_path / "checkpoint.pt").exists()
    _trained(data, tmp_path, "--validate-every", "8")
    weights = [folder / "model" / "weights.safetensors" for folder in (whole[0], tmp_path)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_two_processes_train_one_network(data: Path, tmp_path: Path) -> None:
    launcher = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "dicom_node.cli")
    done = _run(*launcher, *_arguments(data, tmp_path, "--json"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"] == STEPS
    assert (tmp_path / "model" / "weights.safetensors").is_file()


def test_the_model_segments_once_it_is_added(data: Path, whole: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    case = next(path for path in (data / "kaggle_3m").iterdir())
    picture = case / f"{case.name}_3.tif"
    environment = _environment() | {"GLIONODE_NODE_FOLDER": str(tmp_path / "node")}

    def told(*arguments: str) -> dict[str, Any]:
        command = [sys.executable, "-m", "dicom_node.cli", *arguments, "--json"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    told("models", "add", str(whole[0] / "model"))
    environment["GLIONODE_PROCESSING_MODEL"] = read_manifest(str(whole[0] / "model"))[1].name
    assert told("segment", str(picture), str(tmp_path / "out"))["sequences"] == ["T1", "T1CE", "FLAIR"]


def test_the_folds_become_one_model_that_is_tuned_and_judged_on_who_was_held_out(
    data: Path, whole: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    _trained(data, tmp_path / "one", "--fold", "1")
    environment = _environment() | {"GLIONODE_NODE_FOLDER": str(tmp_path / "node"), "GLIONODE_PROCESSING_THREADS": "1"}
    cases = ["--dataset", "lgg", "--data", str(data / "kaggle_3m"), "--split", str(whole[0] / "split.json")]

    def told(*arguments: str) -> str:
        command = [sys.executable, "-m", "dicom_node.cli", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    model = str(tmp_path / "ours")
    told("models", "combine", str(whole[0]), str(tmp_path / "one"), "--name", "ours", "--out", model)
    tuned = json.loads(told("models", "tune", model, *cases, "--json"))["manifest"]
    assert [network["fold"] for network in tuned["networks"]] == [0, 1]
    assert all(network["regions"] == ["WT"] for network in tuned["networks"])
    assert len({tuple(network["thresholds"]) for network in tuned["networks"]}) == 1
    assert 0 <= tuned["metrics"]["cross-validated slices"]["WT mean Dice"] <= 1
    assert all(0 < one["agreement_gate"] < one["agreement_flag"] <= 1 for one in tuned["networks"])
    card = (tmp_path / "ours" / "MODEL_CARD.md").read_text()
    assert f"| slices | WT mean Dice | {tuned['metrics']['cross-validated slices']['WT mean Dice']:.3f} |" in card
    told("evaluate", *cases, "--model", model, "--json", str(tmp_path / "figures.json"))
    figures = json.loads((tmp_path / "figures.json").read_text())
    split = json.loads((whole[0] / "split.json").read_text())
    answered = {case["id"].rsplit("_", 1)[0] for case in figures["cases"]}
    assert answered == {patient for fold in split["folds"][:2] for patient in fold}
    assert len(figures["skipped"]) == len(split["folds"][2])
    assert figures["model"]["name"] == "ours"


def test_networks_along_all_axes_learn_from_brains_made_whole_too(tmp_path: Path) -> None:
    """Each of their tumours grows in one half; the whole brain stays with its patient, on one side of the split."""
    for number in range(4):
        image, tumour = leaning_brain(texture=number)
        folder = write_brats(tmp_path / "cases", f"case{number}", np.where(tumour, 4, 0).astype(np.uint8))
        for key in ("t1", "t1ce", "t2", "flair"):
            write_nifti(folder / f"case{number}_{key}.nii.gz", (image * 80).astype(np.uint8))
    (tmp_path / "plan.toml").write_text(PLAN.replace("[4, 6, 8]", "[4, 6, 8]\ncontext = 1"))
    out = tmp_path / "out"
    usual = ["--dataset", "brats", "--data", str(tmp_path / "cases"), "--plan", str(tmp_path / "plan.toml")]
    usual += ["--network", "views", "--steps", "2", "--folds", "2", "--json"]
    reports = {}
    for name, more in (("with", []), ("without", ["--as-they-are"])):
        done = _run("dicom_node.cli", "train", *usual, "--out", str(out / name), *more)
        assert done.returncode == 0, done.stderr
        reports[name] = json.loads((out / name / "report.json").read_text())
    assert set(reports["without"]["cases"]) == {"brats"}
    assert reports["with"]["cases"]["brats whole"] > 0
    held = set(json.loads((out / "with" / "split.json").read_text())["folds"][0])
    assert {name.removesuffix(" whole") for name in reports["with"]["held_out_dice"]} == held


def test_an_autoencoder_learns_heads_and_states_its_limits(tmp_path: Path) -> None:
    for number in range(4):
        write_brats(tmp_path / "brats", f"Brats18_CBICA_A{number}_1")
    (tmp_path / "plan.toml").write_text("batch_size = 2\n[network]\nfilters = [4, 8]\nnarrow = 4\n")
    where = ["--dataset", "brats", "--data", str(tmp_path / "brats"), "--out", str(tmp_path / "heads")]
    plan = ["--network", "autoencoder", "--plan", str(tmp_path / "plan.toml"), "--steps", "3", "--folds", "2"]
    done = _run("dicom_node.cli", "train", *where, *plan, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "heads" / "autoencoder" / "autoencoder.json").read_text())
    assert 0 < told["flag"] < told["gate"]
    assert len(told["whole"]) == 4
    assert set(told["channels"]) == {"T1", "T1CE", "T2", "FLAIR"}
    assert json.loads(done.stdout)["model"] == str(tmp_path / "heads" / "autoencoder")


def test_a_study_of_two_patients_is_trained_on_by_nobody_and_named(tmp_path: Path) -> None:
    """Of three studies one has an image, one a SEG of a second patient: neither is in the split or in the weights."""
    data, out = tmp_path / "studies", tmp_path / "out"
    for name in ("image", "seg"):
        images, seg = annotated_study(name, "ONE")
        (images[3] if name == "image" else seg).PatientID = "TWO"
        write_instances(data, [*images, seg])
    (tmp_path / "plan.toml").write_text(PLAN)
    usual = ["--dataset", "dicom", "--data", str(data), "--out", str(out), "--plan", str(tmp_path / "plan.toml")]
    done = _run("dicom_node.cli", "train", *usual, "--steps", "2", "--folds", "2")
    assert done.returncode == 1
    assert done.stderr.count("its files name 2 different patients; correct that at the source") == 2
    for name in ("THREE", "FOUR"):
        images, seg = annotated_study(name, name)
        write_instances(data, [*images, seg])
    done = _run("dicom_node.cli", "train", *usual, "--steps", "2", "--folds", "2")
    assert done.returncode == 0, done.stderr
    reasons = [item["reason"] for item in json.loads((out / "skipped.json").read_text())]
    assert reasons == ["its files name 2 different patients; correct that at the source"] * 2
    assert sum(len(fold) for fold in json.loads((out / "split.json").read_text())["folds"]) == 2
    assert json.loads((out / "report.json").read_text())["cases"] == {"dicom": 1}


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--fold", "3"], "folds are numbered from 0 to 2"),
        (["--dataset", "brats"], "once each"),
    ],
)
def test_bad_usage_is_explained(data: Path, tmp_path: Path, more: list[str], sentence: str) -> None:
    done = _run("dicom_node.cli", *_arguments(data, tmp_path / "out", *more))
    assert done.returncode == 2
    assert sentence in done.stderr


def test_a_setting_that_does_not_exist_is_named(data: Path, tmp_path: Path) -> None:
    (tmp_path / "wrong.toml").write_text("learning_speed = 1\n")
    done = _run("dicom_node.cli", *_arguments(data, tmp_path / "out", "--plan", str(tmp_path / "wrong.toml")))
    assert done.returncode == 2
    assert "'learning_speed' is not a setting of a plan" in done.stderr
