"""The training command on tiny sets: it trains, scores the held-out patients and says who they were."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from inference.networks import build_network
from inference.training import __main__ as command
from tests.support.detector_model import NETWORK


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _write_sets(root: Path, patients: int) -> None:
    """Write patients of both sets with a bright tumour, two slices of 24 x 20 each."""
    rng = np.random.default_rng(1)
    labels = np.zeros((2, 24, 20), np.uint8)
    labels[:, 8:14, 6:12] = 4
    for number in range(patients):
        case = root / "lgg" / f"TCGA_CS_{number}_2000"
        case.mkdir(parents=True)
        brats = root / "brats" / f"Brats18_2013_{number}_1"
        brats.mkdir(parents=True)
        for k in range(2):
            image = rng.integers(80, 120, (24, 20, 3)).astype(np.uint8)
            sitk.WriteImage(sitk.GetImageFromArray(image, isVector=True), str(case / f"{case.name}_{k + 1}.tif"))
            sitk.WriteImage(sitk.GetImageFromArray(labels[k]), str(case / f"{case.name}_{k + 1}_mask.tif"))
        for key in ("t1", "t1ce", "t2", "flair"):
            volume = rng.integers(80, 120, labels.shape).astype(np.uint8) + labels * 20
            sitk.WriteImage(sitk.GetImageFromArray(volume), str(brats / f"{brats.name}_{key}.nii.gz"))
        sitk.WriteImage(sitk.GetImageFromArray(labels), str(brats / f"{brats.name}_seg.nii.gz"))


def test_the_command_trains_and_reports_on_patients_it_did_not_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write_sets(tmp_path, patients=4)
    monkeypatch.setattr(command, "NETWORK", NETWORK)
    monkeypatch.setattr(command, "HELD_OUT", {"lgg": 1, "brats": 2})
    folders = [part for name in ("lgg", "brats", "out") for part in (f"--{name}", str(tmp_path / name))]
    monkeypatch.setattr(sys, "argv", ["training", *folders, "--steps", "2"])
    command.main()
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    training, held_out = set(report["training_patients"]), set(report["held_out_patients"])
    assert training.isdisjoint(held_out)
    assert (len(training), len(held_out)) == (5, 3)
    assert report["plan"]["steps"] == 2
    assert set(report["held_out_dice"]) == set(command.SEQUENCE_SETS)
    for scores in report["held_out_dice"].values():
        assert set(scores["cases"]) == held_out
        assert set(scores["mean"]) == {"lgg WT", "brats WT", "brats TC", "brats ET"}
        for key in ("WT", "TC", "ET"):
            values = [dice[key] for name, dice in scores["cases"].items() if name.startswith("Brats")]
            assert scores["mean"][f"brats {key}"] == pytest.approx(sum(values) / 2, abs=6e-4)
    weights = torch.load(tmp_path / "out" / "weights.pt", weights_only=True)
    build_network("unet2d", NETWORK).load_state_dict(weights)
    assert torch.load(tmp_path / "out" / "checkpoint.pt", weights_only=True)["step"] == 2
