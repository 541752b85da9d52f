"""The picture of a result: which slices, which way up, which colours, and true proportions."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from conversion.volume import Grid, ImageVolume, LabelVolume
from inference.regions import Label
from tests.support.dicom_series import axis_aligned
from viewer_integration.codes import SEGMENTS
from viewer_integration.overlay import write_overlay

TILE = 256
CAPTION = 24


def _picture(
    path: Path, voxels: NDArray[np.floating], labels: NDArray[np.uint8], affine: NDArray[np.float64] | None = None
) -> NDArray[np.int_]:
    """Return the picture as numbers (row, column, colour)."""
    shape = (voxels.shape[0], voxels.shape[1], voxels.shape[2])
    where = axis_aligned("axial", (2.0, 1.0, 1.0)) if affine is None else affine
    grid = Grid(shape=shape, affine=where, frame_of_reference_uid="1.2")
    image = ImageVolume(grid=grid, voxels=voxels.astype(np.float32))
    write_overlay(image, LabelVolume(grid=grid, labels=labels), path / "overlay.png")
    with Image.open(path / "overlay.png") as opened:
        assert (opened.format, opened.mode) == ("PNG", "RGB")
        return np.asarray(opened).astype(int)


def _flat(shape: tuple[int, int, int]) -> tuple[NDArray[np.floating], NDArray[np.uint8]]:
    return np.full(shape, 100.0), np.zeros(shape, np.uint8)


@pytest.mark.parametrize(("filled", "tiles"), [(0, 1), (1, 1), (4, 4), (6, 6), (14, 6), (20, 6)])
def test_there_are_up_to_six_slices_with_regions_and_one_without_any(tmp_path: Path, filled: int, tiles: int) -> None:
    voxels, labels = _flat((24, 8, 8))
    labels[2 : 2 + filled, 3:5, 3:5] = Label.ED
    picture = _picture(tmp_path, voxels, labels)
    assert picture.shape == (2 * TILE + CAPTION, tiles * TILE, 3)


def test_slices_are_in_order_from_the_lowest_that_has_a_region(tmp_path: Path) -> None:
    voxels, labels = _flat((10, 8, 8))
    voxels *= np.arange(10.0)[:, None, None] / 9
    labels[[2, 5, 8], 0, 0] = Label.ET
    picture = _picture(tmp_path, voxels, labels)
    middles = [int(picture[TILE // 2, TILE * tile + TILE // 2, 0]) for tile in range(3)]
    assert picture.shape[1] == 3 * TILE
    assert middles == pytest.approx([255 * k / 9 for k in (2, 5, 8)], abs=2)


def test_the_middle_slice_is_shown_where_nothing_was_found(tmp_path: Path) -> None:
    voxels, labels = _flat((9, 8, 8))
    voxels *= (np.arange(9) == 4)[:, None, None]
    picture = _picture(tmp_path, voxels, labels)
    assert picture[: 2 * TILE].min() == 255


@pytest.mark.parametrize("label", list(SEGMENTS), ids=lambda label: label.name)
def test_a_region_is_painted_in_its_colour_on_the_lower_picture_alone(tmp_path: Path, label: Label) -> None:
    voxels, labels = _flat((1, 8, 8))
    labels[0, 2:6, 2:6] = label
    picture = _picture(tmp_path, voxels, labels)
    middle = TILE // 2
    assert picture[middle, middle].tolist() == [255, 255, 255]
    assert picture[TILE + 8, 8].tolist() == [255, 255, 255], "outside of the region"
    wanted = [0.55 * 255 + 0.45 * part for part in SEGMENTS[label].rgb]
    assert picture[TILE + middle, middle].tolist() == pytest.approx(wanted, abs=1.5)


@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal"])
@pytest.mark.parametrize("reverse", [False, True])
def test_the_nose_is_above_and_the_patients_left_on_the_right_in_every_plane(
    tmp_path: Path,
    plane: str,
    reverse: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """The convention of radiologists, whichever way the slices of the series were taken."""
    affine = axis_aligned(plane, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    if reverse:
        affine[:3, 0] *= -1
    grid = Grid(shape=(8, 8, 8), affine=affine, frame_of_reference_uid="1.2")
    place = grid.position_mm(np.argwhere(np.ones((8, 8, 8), bool)).astype(float).reshape(8, 8, 8, 3))
    x, y, z = (place[..., axis] - place[..., axis].mean() for axis in range(3))
    voxels = np.where((x > 0) & (y < 0), 100.0, 0.0)  # the front left quarter of the patient
    labels = np.where(np.abs(z - 2.5) < 0.1, np.uint8(Label.ED), np.uint8(0))  # one axial slice
    picture = _picture(tmp_path, voxels, labels, affine)[:, :, 0]
    assert picture.shape == (2 * TILE + CAPTION, TILE)
    quarter = TILE // 4
    corners = [int(picture[row, column]) for row in (quarter, 3 * quarter) for column in (quarter, 3 * quarter)]
    assert corners == [0, 255, 0, 0]


@pytest.mark.parametrize(
    ("spacing_mm", "shape", "width"),
    [
        ((5.0, 1.0, 1.0), (1, 10, 10), 256),
        ((5.0, 1.0, 1.0), (1, 10, 20), 512),
        ((5.0, 1.0, 0.5), (1, 10, 20), 256),
        ((5.0, 2.0, 1.0), (1, 10, 10), 128),
        ((5.0, 0.5, 1.0), (1, 10, 10), 512),
    ],
)
def test_proportions_are_those_in_millimetres(
    tmp_path: Path, spacing_mm: tuple[float, float, float], shape: tuple[int, int, int], width: int
) -> None:
    picture = _picture(tmp_path, *_flat(shape), axis_aligned("axial", spacing_mm))
    assert picture.shape[:2] == (2 * TILE + CAPTION, width)


def test_the_brightest_half_percent_does_not_darken_the_rest(tmp_path: Path) -> None:
    voxels, labels = _flat((1, 40, 40))
    voxels[0, 0, 0] = 1e6
    picture = _picture(tmp_path, voxels, labels)
    assert picture[TILE // 2, TILE // 2].tolist() == [255, 255, 255]


def test_an_image_of_nothing_is_black(tmp_path: Path) -> None:
    voxels, labels = _flat((2, 8, 8))
    assert _picture(tmp_path, voxels * 0.0, labels)[: 2 * TILE].max() == 0


def test_the_caption_lies_below_the_pictures_and_grows_with_the_regions(tmp_path: Path) -> None:
    voxels, labels = _flat((1, 8, 40))
    bare = _picture(tmp_path, voxels, labels)[2 * TILE :]
    labels[0, 4, 4], labels[0, 4, 6] = Label.ED, Label.NCR
    named = _picture(tmp_path, voxels, labels)[2 * TILE :]
    ends = [int(np.nonzero(caption.any(axis=(0, 2)))[0].max()) for caption in (bare, named)]
    assert bare.any(axis=2).sum() > 100
    assert ends[1] > ends[0] + 60, "Necrotic core, Edema"


def test_lesions_far_apart_are_all_in_the_picture(tmp_path: Path) -> None:
    image, labels = _flat((100, 8, 8))
    labels[[0, 1, 2, 3, 96, 97, 98, 99], 2:6, 2:6] = 2
    picture = _picture(tmp_path, image, labels)
    tiles = np.split(picture[: picture.shape[0] - 24], 6, axis=1)
    assert all(np.ptp(tile.astype(int), axis=2).max() > 40 for tile in tiles)


def test_an_image_below_zero_is_not_inverted(tmp_path: Path) -> None:
    image = np.linspace(-5.0, -1.0, 64, dtype=np.float32).reshape(1, 8, 8)
    picture = _picture(tmp_path, image, np.zeros((1, 8, 8), np.uint8)).astype(int)
    assert picture[4, 4, 0] < 10
    assert picture[238, picture.shape[1] - 4, 0] > 240
