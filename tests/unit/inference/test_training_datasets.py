"""Training cases from tiny files in the two layouts people download, and a split by patient."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from inference.training.datasets import TrainingCase, read_brats, read_lgg, split_by_patient

ROWS, COLUMNS = 24, 20
SLICES = 11


def _tissue(seed: int, level: int) -> NDArray[np.uint8]:
    """Return even tissue with a little noise inside a dark rim."""
    noise = np.random.default_rng(seed).integers(0, 9, (SLICES, ROWS, COLUMNS))
    volume = np.zeros((SLICES, ROWS, COLUMNS), np.uint8)
    volume[:, 3:-3, 3:-3] = (level + noise)[:, 3:-3, 3:-3]
    return volume


def _write_lgg(root: Path, case: str, t1: NDArray[np.uint8], flair: NDArray[np.uint8], t1ce: NDArray[np.uint8]) -> None:
    """Write slices 1 to 11; the mask of slice k marks row k."""
    (root / case).mkdir(parents=True)
    for k in range(SLICES):
        image = np.stack([t1[k], flair[k], t1ce[k]], axis=-1)
        mask = np.zeros((ROWS, COLUMNS), np.uint8)
        mask[k + 1, 5:9] = 255
        name = root / case / f"{case}_{k + 1}"
        sitk.WriteImage(sitk.GetImageFromArray(image, isVector=True), f"{name}.tif")
        sitk.WriteImage(sitk.GetImageFromArray(mask), f"{name}_mask.tif")


def _write_brats(root: Path, case: str, labels: NDArray[np.uint8]) -> None:
    (root / case).mkdir(parents=True)
    for seed, key in enumerate(("t1", "t1ce", "t2", "flair")):
        volume = _tissue(seed, 60 + 40 * seed)
        volume[2, 4, 5] = 255 - seed
        sitk.WriteImage(sitk.GetImageFromArray(volume), str(root / case / f"{case}_{key}.nii.gz"))
    sitk.WriteImage(sitk.GetImageFromArray(labels), str(root / case / f"{case}_seg.nii.gz"))


def _labels() -> NDArray[np.uint8]:
    labels = np.zeros((SLICES, ROWS, COLUMNS), np.uint8)
    labels[5, 8:14, 6:12] = 2
    labels[5, 9:12, 7:10] = 1
    labels[5, 9, 7:10] = 4
    return labels


def test_an_lgg_case_has_t1_t1ce_and_flair_in_their_channels(tmp_path: Path) -> None:
    t1, flair, t1ce = _tissue(1, 60), _tissue(2, 180), _tissue(3, 110)
    t1[3, 5, 5], flair[3, 7, 7], t1ce[3, 9, 9] = 255, 255, 255
    _write_lgg(tmp_path, "TCGA_CS_4941_19960909", t1, flair, t1ce)
    (tmp_path / "data.csv").write_text("not a case")
    (case,) = read_lgg(tmp_path)
    assert (case.patient, case.source) == ("TCGA_CS_4941", "lgg")
    assert case.present == (True, True, False, True)
    assert case.annotated == (True, False, False)
    assert case.images.shape == (4, SLICES, ROWS, COLUMNS)
    assert case.images.dtype == np.float16
    for channel, pixel in ((0, 5), (1, 9), (3, 7)):
        brightest = np.argwhere(case.images[channel] == case.images[channel].max())
        assert brightest.tolist() == [[3, pixel, pixel]]
    assert not case.images[2].any()
    assert float(np.median(case.images[3, :, 3:-3, 3:-3])) == pytest.approx(1.0, abs=0.01)


def test_lgg_slices_are_ordered_by_number_not_by_name(tmp_path: Path) -> None:
    _write_lgg(tmp_path, "TCGA_CS_1_2", _tissue(1, 60), _tissue(2, 180), _tissue(3, 110))
    (case,) = read_lgg(tmp_path)
    marked = case.regions[0].any(axis=2)
    assert np.array_equal(np.argmax(marked, axis=1), np.arange(1, SLICES + 1))
    assert case.regions[0].sum() == SLICES * 4
    assert not case.regions[1:].any()


@pytest.mark.parametrize(
    ("missing", "present"),
    [
        ("t1", (False, True, False, True)),
        ("t1ce", (True, False, False, True)),
        ("both", (False, False, False, True)),
    ],
)
def test_a_t1_equal_to_flair_is_recognised_as_missing(tmp_path: Path, missing: str, present: tuple[bool, ...]) -> None:
    flair = _tissue(2, 180)
    packed = flair.copy()
    packed[::2, 5, 5] += 2  # the packing of the images changes a few grey levels
    t1 = packed if missing in ("t1", "both") else _tissue(1, 60)
    t1ce = packed if missing in ("t1ce", "both") else _tissue(3, 110)
    _write_lgg(tmp_path, "TCGA_CS_1_2", t1, flair, t1ce)
    (case,) = read_lgg(tmp_path)
    assert case.present == present
    assert tuple(bool(channel.any()) for channel in case.images) == present


def test_a_brats_case_is_cut_to_the_brain_with_its_labels(tmp_path: Path) -> None:
    _write_brats(tmp_path, "Brats18_2013_3_1", _labels())
    (case,) = read_brats(tmp_path)
    assert (case.patient, case.source) == ("Brats18_2013_3_1", "brats")
    assert case.present == (True,) * 4
    assert case.annotated == (True, True, True)
    assert case.images.shape == (4, SLICES, ROWS - 6, COLUMNS - 6)
    for channel in case.images:
        assert channel[2, 1, 2] == channel.max()
        assert np.count_nonzero(channel == channel.max()) == 1
    wt, tc, et = case.regions
    cut = _labels()[:, 3:-3, 3:-3]
    assert np.array_equal(wt, cut > 0)
    assert np.array_equal(tc, (cut == 1) | (cut == 4))
    assert np.array_equal(et, cut == 4)


def test_the_label_of_enhancing_tumour_since_2023_is_read_alike(tmp_path: Path) -> None:
    labels = _labels()
    _write_brats(tmp_path / "old", "A", labels)
    _write_brats(tmp_path / "new", "A", np.where(labels == 4, 3, labels).astype(np.uint8))
    (old,), (new,) = read_brats(tmp_path / "old"), read_brats(tmp_path / "new")
    assert old.regions[2].any()
    assert np.array_equal(old.regions, new.regions)


def _case(patient: str) -> TrainingCase:
    return TrainingCase(
        patient=patient,
        source="lgg",
        images=np.zeros((4, 1, 1, 1), np.float16),
        present=(True, True, True, True),
        regions=np.zeros((3, 1, 1, 1), bool),
        annotated=(True, True, True),
    )


def test_the_split_is_by_patient_disjoint_complete_and_the_same_every_time() -> None:
    cases = [_case(f"P{k // 3}") for k in range(30)]
    training, held_out = split_by_patient(cases, 4)
    chosen = {case.patient for case in held_out}
    assert len(chosen) == 4
    assert len(held_out) == 12
    assert chosen.isdisjoint(case.patient for case in training)
    assert len(training) + len(held_out) == len(cases)
    assert {case.patient for case in split_by_patient(cases[::-1], 4)[1]} == chosen


def test_a_new_patient_moves_no_other_into_training() -> None:
    few = {case.patient for case in split_by_patient([_case(f"P{k}") for k in range(10)], 3)[1]}
    more = {case.patient for case in split_by_patient([_case(f"P{k}") for k in range(10)] + [_case("Q")], 4)[1]}
    assert few <= more


def test_cases_of_the_archive_that_both_sets_come_from_are_never_held_out() -> None:
    cases = [_case(f"Brats18_TCIA01_{k}_1") for k in range(20)] + [_case("Brats18_2013_3_1")]
    training, held_out = split_by_patient(cases, 5)
    assert [case.patient for case in held_out] == ["Brats18_2013_3_1"]
    assert len(training) == 20
