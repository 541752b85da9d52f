"""Registration of real series: against reference transforms, after known moves, and with what must not pass."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from conversion.errors import RegistrationFailed
from conversion.registration.quality import doubts
from conversion.registration.register import register
from conversion.simpleitk_bridge import from_simpleitk, grid_from_simpleitk
from conversion.volume import ImageVolume
from tests.support.moved_volumes import (
    degraded,
    errors_mm,
    mirrored,
    move,
    random_move,
    scanned,
    shifted_grid,
    tissue_mm,
)

pytestmark = pytest.mark.data

PATIENT = "TCGA-DU-7294"


@pytest.fixture(scope="module")
def sequences(shared_data: Path) -> dict[str, ImageVolume]:
    """Return the stripped brain's sequences, 0.47 to 0.94 mm in the plane and 2.5 or 5 mm between slices."""
    volumes = {}
    for name in ("t1", "t1c", "t2", "fla"):
        image = sitk.ReadImage(str(shared_data / f"native/{PATIENT}/{name}.nii.gz"), sitk.sitkFloat32)
        volumes[name] = from_simpleitk(image, grid_from_simpleitk(image, "1.2.3"))
    return volumes


def _reference(path: Path) -> NDArray[np.float64]:
    """Return an ANTs transform as shape (4, 4); it takes points of its fixed image to points of its moving image."""
    transform = sitk.ReadTransform(str(path))
    matrix = np.eye(4)
    matrix[:3, 3] = transform.TransformPoint((0.0, 0.0, 0.0))
    for axis in range(3):
        corner = tuple(float(k == axis) for k in range(3))
        matrix[:3, axis] = np.array(transform.TransformPoint(corner)) - matrix[:3, 3]
    return matrix


@pytest.mark.parametrize("name", ["t1c", "t2", "fla"])
def test_reference_transforms_are_met_in_the_whole_brain(
    shared_data: Path, sequences: dict[str, ImageVolume], name: str
) -> None:
    wanted = _reference(shared_data / f"native/{PATIENT}/transforms/{PATIENT}_{name}_to_t1_0GenericAffine.mat")
    found = register(sequences["t1"], sequences[name])
    assert errors_mm(found.matrix, wanted, tissue_mm(sequences["t1"], 20_000)).max() < 1.5
    assert not doubts(found)


def test_a_known_move_of_one_sequence_is_found(sequences: dict[str, ImageVolume]) -> None:
    rng = np.random.default_rng(11)
    fixed = sequences["fla"]
    expected = random_move(rng, tissue_mm(fixed).mean(axis=0))
    found = register(degraded(fixed, rng), degraded(scanned(fixed, expected, rng), rng))
    error = errors_mm(found.matrix, expected, tissue_mm(fixed))
    assert np.median(error) < 0.5
    assert np.percentile(error, 95) < 1.5
    assert not doubts(found)


def test_a_known_move_between_sequences_is_found(sequences: dict[str, ImageVolume]) -> None:
    """Measured against the same pair without the move, whose slices are 5 mm apart."""
    rng = np.random.default_rng(12)
    fixed, moving = sequences["t1c"], sequences["t2"]
    matrix = move((-20.0, 20.0, -20.0), (25.0, -25.0, 25.0), tissue_mm(fixed).mean(axis=0))
    still = register(fixed, moving)
    found = register(degraded(fixed, rng), degraded(shifted_grid(moving, matrix), rng))
    error = errors_mm(found.matrix, matrix @ still.matrix, tissue_mm(fixed))
    assert np.percentile(error, 95) < 5.0 / 3
    assert not doubts(found)


def _remarked(fixed: ImageVolume, moving: ImageVolume) -> bool:
    try:
        return bool(doubts(register(fixed, moving)))
    except RegistrationFailed:
        return True


def test_a_mirrored_brain_never_passes_unremarked(sequences: dict[str, ImageVolume]) -> None:
    assert _remarked(sequences["t1c"], mirrored(sequences["fla"]))
    assert not _remarked(sequences["t1c"], sequences["fla"])
