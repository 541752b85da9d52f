"""Task01 of the Decathlon: channels and labels as `dataset.json` says, and only as it says."""

from pathlib import Path

import numpy as np
import pytest

from conversion.sequences import Role
from inference.cases.msd import open_msd
from inference.errors import InferenceReason, UnreadableCase
from inference.regions import Region
from tests.support.case_sets import SHAPE, brats_labels, tissue, write_msd, write_nifti

MODALITY = ("FLAIR", "T1w", "t1gd", "T2w")
LABELS = {0: "background", 1: "edema", 2: "non-enhancing tumor", 3: "enhancing tumour"}


@pytest.mark.parametrize("modality", [MODALITY, MODALITY[::-1]])
def test_channels_are_what_the_description_says(tmp_path: Path, modality: tuple[str, ...]) -> None:
    write_msd(tmp_path, ["BRATS_001"], modality, LABELS)
    case = open_msd(tmp_path).cases[0].read()
    roles = {"FLAIR": Role.FLAIR, "T1w": Role.T1, "t1gd": Role.T1CE, "T2w": Role.T2}
    for channel, name in enumerate(modality):
        assert np.array_equal(case.volumes.volumes[roles[name]].voxels, tissue(channel, 60 + 40 * channel))
    assert case.volumes.grid.shape == SHAPE
    assert (case.patient, case.site, case.spacing_known) == ("BRATS_001", "", True)


def test_labels_are_what_the_description_says(tmp_path: Path) -> None:
    labels = brats_labels(3)
    write_msd(tmp_path / "a", ["BRATS_001"], MODALITY, LABELS)
    regions = open_msd(tmp_path / "a").cases[0].read().regions
    assert np.array_equal(regions[Region.WT], labels > 0)
    assert np.array_equal(regions[Region.TC], labels >= 2)
    assert np.array_equal(regions[Region.ET], labels == 3)
    write_msd(tmp_path / "b", ["BRATS_001"], MODALITY, {0: "background", 3: "edema", 1: "enhancing", 2: "necrosis"})
    other = open_msd(tmp_path / "b").cases[0].read().regions
    assert np.array_equal(other[Region.TC], (labels > 0) & (labels < 3))
    assert np.array_equal(other[Region.ET], labels == 1)


def test_cases_are_listed_and_what_lacks_a_half_is_skipped(tmp_path: Path) -> None:
    root = tmp_path / "Task01_BrainTumour"
    write_msd(root, ["BRATS_001", "BRATS_002", "BRATS_003"], MODALITY, LABELS)
    (root / "labelsTr" / "BRATS_002.nii.gz").unlink()
    (root / "imagesTr" / "BRATS_003.nii.gz").unlink()
    (root / "imagesTs").mkdir()
    (root / "imagesTs" / "BRATS_004.nii.gz").write_bytes(b"")
    found = open_msd(tmp_path)
    assert [case.case_id for case in found.cases] == ["BRATS_001"]
    assert {item.name: item.reason for item in found.skipped} == {
        "BRATS_002.nii.gz": "labelsTr/BRATS_002.nii.gz is missing",
        "BRATS_003.nii.gz": "imagesTr/BRATS_003.nii.gz is missing",
        "imagesTs": "1 test images without labels",
    }


@pytest.mark.parametrize(
    ("modality", "labels", "sentence"),
    [
        (("FLAIR", "PET"), LABELS, "'PET' is not recognised"),
        (MODALITY, {0: "background", 1: "liver"}, "'liver' is not recognised"),
        (MODALITY, {0: "background", 1: "whole tumor"}, "'whole tumor' is not recognised"),
    ],
)
def test_a_description_that_is_not_understood_is_refused(
    tmp_path: Path, modality: tuple[str, ...], labels: dict[int, str], sentence: str
) -> None:
    write_msd(tmp_path, ["BRATS_001"], modality, labels)
    with pytest.raises(UnreadableCase, match=sentence) as refused:
        open_msd(tmp_path)
    assert refused.value.reason is InferenceReason.NO_CASES


@pytest.mark.parametrize(
    ("text", "sentence"), [(None, "no such file"), ("{}", "needs 'modality'"), ("[", "needs 'modality'")]
)
def test_a_missing_description_is_refused(tmp_path: Path, text: str | None, sentence: str) -> None:
    if text is not None:
        (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(UnreadableCase, match=sentence):
        open_msd(tmp_path)


def test_a_case_that_contradicts_the_description_is_refused(tmp_path: Path) -> None:
    write_msd(tmp_path, ["BRATS_001"], MODALITY, LABELS)
    reference = open_msd(tmp_path).cases[0]
    write_nifti(tmp_path / "labelsTr" / "BRATS_001.nii.gz", brats_labels(5))
    with pytest.raises(UnreadableCase, match="label 5 is not in"):
        reference.read()
    write_nifti(tmp_path / "imagesTr" / "BRATS_001.nii.gz", tissue(0, 60))
    with pytest.raises(UnreadableCase, match="names 4 sequences"):
        reference.read()
