"""The LGG set: slices by number, channels by place, missing sequences by their copies, patients by name."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from conversion.sequences import Role
from inference.cases.lgg import SLICE_DISTANCE_MM, open_lgg
from inference.errors import InferenceReason, UnreadableCase
from inference.regions import Region
from tests.support.case_sets import SHAPE, tissue, write_lgg

CASE = "TCGA_CS_4941_19960909"


def test_a_case_has_its_channels_masks_patient_and_site(tmp_path: Path) -> None:
    write_lgg(tmp_path, CASE)
    (reference,) = open_lgg(tmp_path).cases
    case = reference.read()
    assert (case.case_id, case.patient, case.site) == (CASE, "TCGA_CS_4941", "CS")
    assert (reference.case_id, reference.patient, reference.site) == (CASE, "TCGA_CS_4941", "CS")
    assert set(case.volumes.volumes) == {Role.T1, Role.FLAIR, Role.T1CE}
    for role, seed, level in ((Role.T1, 1, 60), (Role.FLAIR, 2, 180), (Role.T1CE, 3, 110)):
        assert np.array_equal(case.volumes.volumes[role].voxels, tissue(seed, level))
    assert case.volumes.reference is Role.T1CE
    assert list(case.regions) == [Region.WT]
    assert not case.spacing_known


def test_slices_are_ordered_by_number_and_lie_axially_from_below(tmp_path: Path) -> None:
    write_lgg(tmp_path, CASE)
    case = open_lgg(tmp_path).cases[0].read()
    marked = case.regions[Region.WT].any(axis=2)
    assert np.array_equal(np.argmax(marked, axis=1), np.arange(1, SHAPE[0] + 1))
    grid = case.volumes.grid
    assert grid.spacing_mm.tolist() == [SLICE_DISTANCE_MM, 1.0, 1.0]
    assert grid.directions.tolist() == [[0, 0, 1], [0, 1, 0], [1, 0, 0]]
    assert grid.axial_order() == ((0, 1, 2), (False, False, False))


@pytest.mark.parametrize(
    ("missing", "present", "reference"),
    [
        (("t1",), {Role.T1CE, Role.FLAIR}, Role.T1CE),
        (("t1ce",), {Role.T1, Role.FLAIR}, Role.FLAIR),
        (("t1", "t1ce"), {Role.FLAIR}, Role.FLAIR),
    ],
)
def test_a_copy_of_flair_is_a_missing_sequence(
    tmp_path: Path, missing: tuple[str, ...], present: set[Role], reference: Role
) -> None:
    flair = tissue(2, 180)
    packed = flair.copy()
    packed[::2, 5, 5] += 2  # packing changes a few grey levels
    write_lgg(tmp_path, CASE, dict.fromkeys(missing, packed))
    case = open_lgg(tmp_path).cases[0].read()
    assert set(case.volumes.volumes) == present
    assert case.volumes.reference is reference
    declared = {decision.subject for decision in case.volumes.decisions if decision.code == "missing_sequence"}
    assert declared == set(Role) - present


def test_a_dark_scan_is_no_copy(tmp_path: Path) -> None:
    """Grey levels of a dark scan differ by less than the noise of a bright one."""
    levels = {"t1": (1, 60), "flair": (2, 180), "t1ce": (3, 120)}
    dark = {key: tissue(seed, level) // 60 for key, (seed, level) in levels.items()}
    write_lgg(tmp_path, CASE, dark)
    assert set(open_lgg(tmp_path).cases[0].read().volumes.volumes) == {Role.T1, Role.FLAIR, Role.T1CE}


def test_what_is_no_whole_case_is_skipped_with_its_reason(tmp_path: Path) -> None:
    write_lgg(tmp_path, CASE)
    (write_lgg(tmp_path, "A_no_mask") / "A_no_mask_4_mask.tif").unlink()
    (write_lgg(tmp_path, "B_no_image") / "B_no_image_4.tif").unlink()
    gap = write_lgg(tmp_path, "C_gap")
    (gap / "C_gap_4.tif").unlink()
    (gap / "C_gap_4_mask.tif").unlink()
    (tmp_path / "D_empty").mkdir()
    (tmp_path / "data.csv").write_text("Patient")
    found = open_lgg(tmp_path)
    assert [case.case_id for case in found.cases] == [CASE]
    assert [item.name for item in found.skipped] == ["A_no_mask", "B_no_image", "C_gap", "D_empty", "data.csv"]
    said = ("slice 4 has no mask", "slice 4 has no image", "slice 4 of 1 to 11", "no slices", "beside the case folders")
    for item, words in zip(found.skipped, said, strict=True):
        assert words in item.reason


def test_the_folder_above_serves_as_well(tmp_path: Path) -> None:
    write_lgg(tmp_path / "kaggle_3m", CASE)
    assert [case.case_id for case in open_lgg(tmp_path).cases] == [CASE]


def test_a_name_of_another_form_is_the_patient(tmp_path: Path) -> None:
    write_lgg(tmp_path, "patient7")
    (reference,) = open_lgg(tmp_path).cases
    assert (reference.patient, reference.site) == ("patient7", "")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda folder: (folder / f"{CASE}_3.tif").write_bytes(b"no image"), "cannot be read"),
        (lambda folder: Image.new("RGB", (8, 8)).save(folder / f"{CASE}_3.tif"), "different size"),
        (lambda folder: [Image.new("L", SHAPE[:0:-1]).save(f) for f in folder.glob("*[0-9].tif")], "three channels"),
        (lambda folder: [Image.new("L", (8, 8)).save(f) for f in folder.glob("*_mask.tif")], "masks of shape"),
    ],
    ids=["damaged", "size", "channels", "masks"],
)
def test_slices_that_cannot_be_used_are_an_error_of_the_case(tmp_path: Path, spoil: object, sentence: str) -> None:
    spoil(write_lgg(tmp_path, CASE))  # type: ignore[operator]
    with pytest.raises(UnreadableCase, match=sentence) as refused:
        open_lgg(tmp_path).cases[0].read()
    assert refused.value.reason is InferenceReason.UNREADABLE_CASE
    assert CASE in str(refused.value)


@pytest.mark.data
@pytest.mark.parametrize(
    ("case", "present"),
    [("TCGA_DU_7013_19860523", {Role.FLAIR}), ("TCGA_CS_6186_20000601", {Role.T1, Role.FLAIR, Role.T1CE})],
)
def test_missing_sequences_of_real_patients_are_found(
    tmp_path: Path, shared_data: Path, case: str, present: set[Role]
) -> None:
    """One patient whose T1 and T1CE are copies, and the one whose T1 resembles FLAIR most."""
    (tmp_path / case).mkdir()
    images = np.moveaxis(tifffile.imread(shared_data / "lgg" / f"{case}.tif"), 1, -1)
    masks = tifffile.imread(shared_data / "lgg" / f"{case}_mask.tif")
    for k, (image, mask) in enumerate(zip(images, masks, strict=True), 1):
        Image.fromarray(np.ascontiguousarray(image)).save(tmp_path / case / f"{case}_{k}.tif")
        Image.fromarray((mask > 0).astype(np.uint8) * 255).save(tmp_path / case / f"{case}_{k}_mask.tif")
    found = open_lgg(tmp_path).cases[0].read()
    assert set(found.volumes.volumes) == present
    assert np.array_equal(found.regions[Region.WT], masks > 0)
