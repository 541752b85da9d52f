"""The axes of the atlas in a head: found in a tilted one, and left open where none of a believable size is seen."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, map_coordinates

from conversion.volume import Grid, ImageVolume
from inference.atlas_axes import BrainAtlas, atlas_axes, load_atlas
from tests.support.dicom_series import axis_aligned

ROOM = 16


@pytest.fixture(scope="module")
def atlas() -> BrainAtlas:
    return load_atlas()


@pytest.fixture(scope="module")
def drawn(atlas: BrainAtlas) -> NDArray[np.float64]:
    """Return the atlas' brain inside a dark skull and a bright scalp, with room around."""
    brain = np.pad(atlas.mask.labels.astype(float), ROOM)
    away = distance_transform_edt(brain == 0, sampling=atlas.mask.grid.spacing_mm)
    scalp = ((away > 7) & (away < 16)) * 1.2
    return np.asarray(np.where(brain > 0, np.pad(atlas.image.voxels / atlas.image.voxels.max(), ROOM), scalp))


def _head(atlas: BrainAtlas, drawn: NDArray[np.float64]) -> ImageVolume:
    """Return the drawn head on a grid of 5 mm."""
    affine = axis_aligned("axial", (5.0, 5.0, 5.0))
    affine[:3, 3] = -affine[:3, :3] @ np.full(3, 23.5)
    grid = Grid(shape=(48, 48, 48), affine=affine, frame_of_reference_uid="1.2.3")
    points = grid.position_mm(np.stack(np.meshgrid(*[np.arange(48.0)] * 3, indexing="ij"), axis=-1))
    into = np.linalg.inv(atlas.mask.grid.affine)
    centre = atlas.mask.grid.position_mm((np.array(atlas.mask.grid.shape) - 1) / 2)
    index = (points + centre) @ into[:3, :3].T + into[:3, 3] + ROOM
    head = map_coordinates(drawn, np.moveaxis(index, -1, 0), order=1)
    return ImageVolume(grid=grid, voxels=(700 * head).astype(np.float32))


def test_the_axes_are_found_in_a_tilted_head(atlas: BrainAtlas, drawn: NDArray[np.float64]) -> None:
    """The patient lies turned by 9 degrees about the head's long axis: the chin goes to the right."""
    head = _head(atlas, drawn)
    angle = np.radians(9.0)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])
    affine = head.grid.affine.copy()
    affine[:3] = turn @ affine[:3]
    tilted = Grid(shape=head.grid.shape, affine=affine, frame_of_reference_uid="1.2.3")
    found = [atlas_axes(atlas, ImageVolume(grid=tilted, voxels=head.voxels)) for _ in range(2)]
    assert found[0] is not None
    assert found[1] is not None
    off_deg = np.degrees(np.arccos(np.clip((found[0] * turn).sum(axis=0), -1, 1)))
    assert off_deg.max() < 3.0, off_deg
    assert np.array_equal(found[0], found[1])


@pytest.mark.parametrize("scale", [0.6, 1.5])
def test_a_head_of_no_believable_size_has_none(atlas: BrainAtlas, drawn: NDArray[np.float64], scale: float) -> None:
    head = _head(atlas, drawn)
    affine = head.grid.affine.copy()
    affine[:3, :3] *= scale
    resized = Grid(shape=head.grid.shape, affine=affine, frame_of_reference_uid="1.2.3")
    assert atlas_axes(atlas, ImageVolume(grid=resized, voxels=head.voxels)) is None
