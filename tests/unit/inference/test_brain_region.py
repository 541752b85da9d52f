"""Where the brain is: found in a whole head of any size and orientation, and left open where no head is seen."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, map_coordinates

from conversion.volume import Grid, ImageVolume
from inference.brain_region import BrainAtlas, find_brain
from inference.model_bundle import load_model
from tests.support.dicom_series import axis_aligned

ROOM = 16
Drawn = tuple[NDArray[np.float64], NDArray[np.float64]]


@pytest.fixture(scope="module")
def atlas() -> BrainAtlas:
    return load_model("glioma", "cpu", threads=1).atlas


@pytest.fixture(scope="module")
def drawn(atlas: BrainAtlas) -> Drawn:
    """Return the atlas' brain inside a dark skull and a bright scalp, and the brain alone, both with room around."""
    brain = np.pad(atlas.mask.labels.astype(float), ROOM)
    away = distance_transform_edt(brain == 0, sampling=atlas.mask.grid.spacing_mm)
    scalp = ((away > 7) & (away < 16)) * 1.2
    return np.where(brain > 0, np.pad(atlas.image.voxels / atlas.image.voxels.max(), ROOM), scalp), brain


def _head_and_brain(
    atlas: BrainAtlas, drawn: Drawn, plane: str, scale: float, shift_mm: tuple[float, float, float]
) -> tuple[ImageVolume, NDArray[np.bool_]]:
    """Return the drawn head, scaled and shifted, and its true brain on the same grid of 5 mm."""
    affine = axis_aligned(plane, (5.0, 5.0, 5.0))
    affine[:3, 3] = -affine[:3, :3] @ np.full(3, 23.5) + shift_mm
    grid = Grid(shape=(48, 48, 48), affine=affine, frame_of_reference_uid="1.2.3")
    points = grid.position_mm(np.stack(np.meshgrid(*[np.arange(48.0)] * 3, indexing="ij"), axis=-1))
    into = np.linalg.inv(atlas.mask.grid.affine)
    centre = atlas.mask.grid.position_mm((np.array(atlas.mask.grid.shape) - 1) / 2)
    index = ((points - shift_mm) / scale + centre) @ into[:3, :3].T + into[:3, 3] + ROOM
    head, brain = (map_coordinates(array, np.moveaxis(index, -1, 0), order=1) for array in drawn)
    return ImageVolume(grid=grid, voxels=(700 * head).astype(np.float32)), brain > 0.5


@pytest.mark.parametrize(
    ("plane", "scale", "shift_mm"),
    [("sagittal", 1.08, (12.0, -20.0, 30.0)), ("coronal", 0.94, (-8.0, 15.0, -40.0))],
)
def test_the_brain_is_found_with_a_margin(
    atlas: BrainAtlas, drawn: Drawn, plane: str, scale: float, shift_mm: tuple[float, float, float]
) -> None:
    head, truth = _head_and_brain(atlas, drawn, plane, scale, shift_mm)
    found = find_brain(atlas, head)
    assert found is not None
    assert found.possible.shape == head.grid.shape
    assert np.count_nonzero(found.possible & truth) > 0.97 * np.count_nonzero(truth)
    assert np.count_nonzero(found.possible) < 1.7 * np.count_nonzero(truth)
    assert np.count_nonzero(found.tight & truth) > 0.9 * np.count_nonzero(truth)
    assert np.count_nonzero(found.tight) < 1.25 * np.count_nonzero(truth)
    assert not (found.tight & ~found.possible).any()
    middle = [head.grid.position_mm(np.argwhere(mask).mean(axis=0)) for mask in (found.possible, truth)]
    assert np.linalg.norm(middle[0] - middle[1]) < 6.0


def test_the_atlas_axes_are_found_in_a_tilted_head(atlas: BrainAtlas, drawn: Drawn) -> None:
    """The patient lies turned by 9 degrees about the head's long axis: the chin goes to the right."""
    head, _ = _head_and_brain(atlas, drawn, "axial", 1.0, (0.0, 0.0, 0.0))
    angle = np.radians(9.0)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])
    affine = head.grid.affine.copy()
    affine[:3] = turn @ affine[:3]
    tilted = Grid(shape=head.grid.shape, affine=affine, frame_of_reference_uid="1.2.3")
    found = find_brain(atlas, ImageVolume(grid=tilted, voxels=head.voxels))
    assert found is not None
    off_deg = np.degrees(np.arccos(np.clip((found.rotation * turn).sum(axis=0), -1, 1)))
    assert off_deg.max() < 3.0, off_deg


def test_the_same_head_gives_the_same_brain(atlas: BrainAtlas, drawn: Drawn) -> None:
    head, _ = _head_and_brain(atlas, drawn, "axial", 1.02, (5.0, 5.0, 5.0))
    first, second = find_brain(atlas, head), find_brain(atlas, head)
    assert first is not None
    assert second is not None
    assert np.array_equal(first.possible, second.possible)
    assert np.array_equal(first.tight, second.tight)


def test_a_brain_without_its_head_is_left_as_it_is(atlas: BrainAtlas, drawn: Drawn) -> None:
    head, truth = _head_and_brain(atlas, drawn, "axial", 1.0, (0.0, 0.0, 0.0))
    assert find_brain(atlas, ImageVolume(grid=head.grid, voxels=head.voxels * truth)) is None


@pytest.mark.parametrize("scale", [0.6, 1.5])
def test_a_head_of_no_believable_size_is_left_as_it_is(atlas: BrainAtlas, drawn: Drawn, scale: float) -> None:
    head, _ = _head_and_brain(atlas, drawn, "axial", 1.0, (0.0, 0.0, 0.0))
    affine = head.grid.affine.copy()
    affine[:3, :3] *= scale
    resized = Grid(shape=head.grid.shape, affine=affine, frame_of_reference_uid="1.2.3")
    assert find_brain(atlas, ImageVolume(grid=resized, voxels=head.voxels)) is None
