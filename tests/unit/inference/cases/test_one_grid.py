"""Images of one grid: every byte is there, every voxel lies where the NIfTI standard says, and labels are whole."""

import gzip
import re
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from conversion.sequences import Role
from conversion.volume import Grid, ImageVolume
from inference.cases.one_grid import (
    as_delivered,
    check_same_grid,
    read_image,
    read_labels,
    regions_of,
    volume_of,
)
from inference.errors import InferenceReason, UnreadableCase
from inference.regions import Label, Region
from tests.support.case_sets import write_nifti

SHAPE = (4, 5, 6)
ORIGIN = (0.0, -239.0, 0.0)
BYTES = 352 + 4 * 5 * 6 * 2


def _nifti(order: str = "<") -> bytes:
    """Return a NIfTI-1 file by the standard's own offsets: int16, 6 columns of 2 mm, 5 rows of 3, 4 slices of 4."""
    header = bytearray(352)
    struct.pack_into(f"{order}i", header, 0, 348)
    struct.pack_into(f"{order}8h", header, 40, 3, 6, 5, 4, 1, 1, 1, 1)
    struct.pack_into(f"{order}2h", header, 70, 4, 16)
    struct.pack_into(f"{order}4f", header, 76, 1, 2, 3, 4)
    struct.pack_into(f"{order}3f", header, 108, 352, 1, 0)
    header[123] = 2
    struct.pack_into(f"{order}2h", header, 252, 0, 1)
    struct.pack_into(f"{order}12f", header, 280, *(2, 0, 0, -10), *(0, 3, 0, -20), *(0, 0, 4, 30))
    header[344:348] = b"n+1\0"
    return bytes(header) + np.arange(120, dtype=f"{order}i2").tobytes()


def _grid(
    shape: tuple[int, int, int] = SHAPE,
    spacing_mm: float = 1.0,
    moved_mm: Sequence[float] | NDArray[np.float64] = (0.0, 0.0, 0.0),
) -> Grid:
    """Return the grid of `write_nifti`, moved to the left, to the back and up."""
    affine = np.zeros((4, 4))
    affine[[2, 1, 0], [0, 1, 2]], affine[3, 3] = spacing_mm, 1.0
    affine[:3, 3] = np.array(ORIGIN) + moved_mm
    return Grid(shape=shape, affine=affine, frame_of_reference_uid="1.2.3")


def _volume(level: float = 7.0, moved_mm: Sequence[float] | NDArray[np.float64] = (0.0, 0.0, 0.0)) -> ImageVolume:
    return ImageVolume(grid=_grid(moved_mm=moved_mm), voxels=np.full(SHAPE, level, np.float32))


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_voxel_lies_where_its_header_says(tmp_path: Path, order: str) -> None:
    """NIfTI counts columns, rows and slices, and millimetres to the right and to the front (nifti1.h)."""
    (tmp_path / "a.nii").write_bytes(_nifti(order))
    volume = volume_of(read_image(tmp_path / "a.nii"), "a.nii", "1.2.3")
    assert volume.grid.shape == SHAPE
    assert volume.grid.spacing_mm == pytest.approx([4, 3, 2])
    assert volume.voxels.dtype == np.float32
    assert volume.voxels[3, 2, 1] == 3 * 30 + 2 * 6 + 1
    assert volume.grid.position_mm(np.array([3.0, 2.0, 1.0])) == pytest.approx([8, 14, 42])
    assert volume.grid.frame_of_reference_uid == "1.2.3"


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("lost", [1, 100, 240])
def test_a_file_without_its_last_bytes_is_refused(tmp_path: Path, order: str, lost: int) -> None:
    (tmp_path / "a.nii").write_bytes(_nifti(order)[:-lost])
    sentence = f"a.nii: the file is truncated; its {BYTES - lost} bytes are fewer than its header states"
    with pytest.raises(UnreadableCase, match=rf"^{re.escape(sentence)}$") as refused:
        read_image(tmp_path / "a.nii")
    assert refused.value.reason is InferenceReason.UNREADABLE_CASE


def test_what_follows_the_last_voxel_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(_nifti() + b"\0" * 64)
    assert np.array_equal(sitk.GetArrayFromImage(read_image(tmp_path / "a.nii")).ravel(), np.arange(120))


def test_a_compressed_file_is_measured_by_its_content(tmp_path: Path) -> None:
    packed = gzip.compress(_nifti())
    (tmp_path / "whole.nii.gz").write_bytes(packed)
    assert sitk.GetArrayFromImage(read_image(tmp_path / "whole.nii.gz")).shape == SHAPE
    (tmp_path / "short.nii.gz").write_bytes(gzip.compress(_nifti()[:-2]))
    with pytest.raises(UnreadableCase, match=f"its {BYTES - 2} bytes are fewer than its header states"):
        read_image(tmp_path / "short.nii.gz")
    for name, content in (("cut", packed[:-9]), ("bent", packed[:40] + b"\xff" + packed[41:]), ("plain", _nifti())):
        (tmp_path / f"{name}.nii.gz").write_bytes(content)
        with pytest.raises(UnreadableCase, match=rf"^{name}\.nii\.gz: cannot be read; the file is truncated, damaged"):
            read_image(tmp_path / f"{name}.nii.gz")


def test_other_formats_are_left_to_itk(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(np.arange(120, dtype=np.uint8).reshape(SHAPE))
    sitk.WriteImage(image, str(tmp_path / "a.nrrd"))
    assert np.array_equal(sitk.GetArrayFromImage(read_image(tmp_path / "a.nrrd")).ravel(), np.arange(120))
    (tmp_path / "notes.nii").write_text("no image")
    with pytest.raises(UnreadableCase, match=r"^notes\.nii: cannot be read; the file is damaged or not an image$"):
        read_image(tmp_path / "notes.nii")


def test_a_missing_file_is_refused_by_its_name_alone(tmp_path: Path) -> None:
    with pytest.raises(UnreadableCase, match=r"^gone\.nii: cannot be read") as refused:
        read_image(tmp_path / "gone.nii")
    assert str(tmp_path) not in str(refused.value)


def test_a_volume_has_three_dimensions() -> None:
    for shape, dimensions in (((5, 6), 2), ((2, 3, 4, 5), 4)):
        image = sitk.GetImageFromArray(np.ones(shape, np.float32), isVector=False)
        with pytest.raises(UnreadableCase, match=f"^x: has {dimensions} dimensions; a volume has three$"):
            volume_of(image, "x", "1")


@pytest.mark.parametrize("strange", [np.nan, np.inf, -np.inf])
def test_a_voxel_that_is_no_number_is_refused(strange: float) -> None:
    voxels = np.ones(SHAPE, np.float32)
    voxels[1, 2, 3] = strange
    with pytest.raises(UnreadableCase, match=r"^x: some voxels are not finite numbers$"):
        volume_of(sitk.GetImageFromArray(voxels), "x", "1")


def test_axes_that_are_not_at_right_angles_are_refused() -> None:
    image = sitk.GetImageFromArray(np.ones(SHAPE, np.float32))
    image.SetDirection([1, 0.2, 0, 0, 1, 0, 0, 0, 1])
    with pytest.raises(UnreadableCase, match=r"^x: the axes of a grid are not at right angles$"):
        volume_of(image, "x", "1")


def test_labels_are_whole_numbers_as_far_as_single_precision_keeps_them(tmp_path: Path) -> None:
    drawn = np.zeros(SHAPE, np.float32)
    drawn[1, 2, 3], drawn[0, 0, 1] = 3.0009, -0.9995
    write_nifti(tmp_path / "seg.nii", drawn)
    labels = read_labels(tmp_path / "seg.nii", _grid())
    assert labels.dtype == np.int16
    assert {tuple(place): int(labels[tuple(place)]) for place in np.argwhere(labels)} == {(1, 2, 3): 3, (0, 0, 1): -1}
    drawn[1, 2, 3] = 3.002
    write_nifti(tmp_path / "seg.nii", drawn)
    with pytest.raises(UnreadableCase, match=r"^seg\.nii: contains values between labels, so it was interpolated"):
        read_labels(tmp_path / "seg.nii", _grid())


def test_labels_of_another_place_are_refused(tmp_path: Path) -> None:
    write_nifti(tmp_path / "seg.nii", np.ones(SHAPE, np.uint8))
    with pytest.raises(UnreadableCase, match=r"^seg\.nii: is up to 2\.0 mm off the case's other files; register it"):
        read_labels(tmp_path / "seg.nii", _grid(moved_mm=(0, 0, 2)))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_quarter_of_a_millimetre_is_tolerated_along_each_axis(axis: int) -> None:
    check_same_grid("x", _grid(moved_mm=0.24 * np.eye(3)[axis]), _grid())
    with pytest.raises(UnreadableCase, match=r"x: is up to 0\.3 mm off"):
        check_same_grid("x", _grid(moved_mm=-0.27 * np.eye(3)[axis]), _grid())


def test_a_grid_is_held_against_the_case_at_its_far_corner() -> None:
    """A voxel that is a hundredth of a millimetre larger is 0.5 mm off after fifty of them."""
    far = (1, 1, 51)
    check_same_grid("x", _grid(far, 1.004), _grid(far))
    with pytest.raises(UnreadableCase, match=r"x: is up to 0\.5 mm off"):
        check_same_grid("x", _grid(far, 1.01), _grid(far))


def test_the_same_box_with_its_rows_reversed_is_another_grid() -> None:
    affine = _grid().affine.copy()
    affine[1, 1], affine[1, 3] = -1.0, affine[1, 3] + SHAPE[1] - 1
    turned = Grid(shape=SHAPE, affine=affine, frame_of_reference_uid="1.2.3")
    with pytest.raises(UnreadableCase, match=r"x: is up to 4\.0 mm off"):
        check_same_grid("x", turned, _grid())


def test_another_number_of_voxels_is_told_in_the_order_of_the_axes() -> None:
    with pytest.raises(UnreadableCase) as refused:
        check_same_grid("x", _grid((6, 5, 4)), _grid())
    assert str(refused.value) == "x: has (6, 5, 4) voxels (slice, row, column), the case (4, 5, 6)"


@pytest.mark.parametrize(
    ("given", "reference", "missing"),
    [
        ((Role.FLAIR, Role.T2, Role.T1CE), Role.T1CE, ["T1"]),
        ((Role.T1, Role.FLAIR), Role.FLAIR, ["T1CE", "T2"]),
        ((Role.T1CE,), Role.T1CE, ["T1", "T2", "FLAIR"]),
    ],
)
def test_a_case_has_one_grid_and_names_what_it_lacks(
    given: tuple[Role, ...], reference: Role, missing: list[str]
) -> None:
    volumes = {role: _volume(10.0 + place, (0.0, 0.1 * place, 0.0)) for place, role in enumerate(given)}
    found = as_delivered("case", volumes)
    assert found.reference is reference
    assert found.grid is volumes[reference].grid
    for role, volume in found.volumes.items():
        assert volume.grid is found.grid
        assert np.array_equal(volume.voxels, volumes[role].voxels)
    assert [one.subject for one in found.decisions if one.code == "missing_sequence"] == missing
    assert (found.decisions[0].code, found.decisions[0].subject) == ("already_aligned", "study")
    assert found.registrations == {}


def test_a_case_that_cannot_be_segmented_is_refused_with_its_name() -> None:
    with pytest.raises(UnreadableCase, match=r"^case: has neither T1CE nor FLAIR; one of them is needed$"):
        as_delivered("case", {Role.T1: _volume(), Role.T2: _volume()})
    with pytest.raises(UnreadableCase, match=r"^case, T2: is up to 1\.0 mm off"):
        as_delivered("case", {Role.FLAIR: _volume(), Role.T2: _volume(moved_mm=(1.0, 0.0, 0.0))})
    for level in (0.0, -3.0):
        with pytest.raises(UnreadableCase, match=r"^case, FLAIR: has no signal$"):
            as_delivered("case", {Role.T1CE: _volume(), Role.FLAIR: _volume(level)})


def _marks(mask: NDArray[np.bool_]) -> list[int]:
    return np.flatnonzero(mask).tolist()


def test_regions_are_unions_by_the_meaning_of_each_value() -> None:
    labels = np.array([[[0, 1, 2, 4, 9, -1]]], np.int16)
    found = regions_of(labels, {1: Label.NCR, 2: Label.ED, 4: Label.ET})
    assert list(found) == [Region.WT, Region.TC, Region.ET]
    assert [_marks(mask) for mask in found.values()] == [[1, 2, 3], [1, 3], [3]]
    whole = regions_of(labels, {9: Label.WHOLE_TUMOUR})
    assert [_marks(mask) for mask in whole.values()] == [[4], [], []]
    assert all(mask.shape == (1, 1, 6) for mask in whole.values())
