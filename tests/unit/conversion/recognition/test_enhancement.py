"""T1 before and after contrast agent, told by the difference of two volumes.

The weights were learned from pairs of the lgg and brats sets; benchmarks/recognition.md holds patients out. The real
studies here were never learned from.
"""

from pathlib import Path

import numpy as np
import pytest

from conversion.reading import dicom_files, read_series, read_study
from conversion.recognition.enhancement import CONFIDENT, after_contrast, enhancement, enhancement_evidence
from conversion.volume import Grid, ImageVolume
from tests.support.phantom_volumes import phantom_volume


def _noisy(volume: ImageVolume, share: float, seed: int) -> ImageVolume:
    noise = np.random.default_rng(seed).normal(0, share * float(np.percentile(volume.voxels, 95)), volume.grid.shape)
    return ImageVolume(grid=volume.grid, voxels=np.abs(volume.voxels + noise).astype(np.float32))


def test_the_volume_after_contrast_agent_is_told_in_another_plane_and_gain() -> None:
    t1, t1ce = phantom_volume("T1", "sagittal"), phantom_volume("T1CE")
    louder = ImageVolume(grid=t1ce.grid, voxels=t1ce.voxels * np.float32(30) + np.float32(200))

    found = enhancement(t1, louder)

    assert found.known
    assert found.second_is_after > CONFIDENT
    assert "brighter in the second volume" in found.reason


def test_swapped_volumes_give_exactly_the_opposite() -> None:
    t1, t1ce = phantom_volume("T1", "coronal"), phantom_volume("T1CE")

    one, other = enhancement_evidence(t1, t1ce), enhancement_evidence(t1ce, t1)

    assert one is not None
    assert other is not None
    assert other.values == tuple(-value for value in one.values)
    assert (other.brighter, other.darker) == (one.darker, one.brighter)
    assert after_contrast(one) + after_contrast(other) == pytest.approx(1, abs=1e-12)
    assert after_contrast(other) < 1 - CONFIDENT


@pytest.mark.parametrize(("shift_mm", "turned_degrees"), [(2.0, 2.0), (6.0, 4.0)])
def test_a_patient_who_moved_between_the_two_does_not_turn_their_order_round(
    shift_mm: float, turned_degrees: float
) -> None:
    """As they lie in one frame of reference they do not match; who is sure of them all the same is not wrong."""
    t1, t1ce = phantom_volume("T1"), phantom_volume("T1CE")
    angle = np.deg2rad(turned_degrees)
    move = np.eye(4)
    move[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    move[:3, 3] = shift_mm
    moved = Grid(
        shape=t1ce.grid.shape,
        affine=move @ t1ce.grid.affine,
        frame_of_reference_uid=t1.grid.frame_of_reference_uid,
    )

    assert enhancement(t1, ImageVolume(grid=moved, voxels=t1ce.voxels)).second_is_after > CONFIDENT
    assert enhancement(ImageVolume(grid=moved, voxels=t1ce.voxels), t1).second_is_after < 1 - CONFIDENT


def test_a_volume_and_itself_are_undecided() -> None:
    t1 = phantom_volume("T1")

    found = enhancement(t1, t1)

    assert found.second_is_after == 0.5
    assert not found.known


def test_two_scans_of_one_kind_are_undecided() -> None:
    volume = phantom_volume("T1CE")

    found = enhancement(_noisy(volume, 0.02, 1), _noisy(volume, 0.02, 2))

    assert not found.known


def test_volumes_without_a_head_are_not_judged() -> None:
    affine = np.diag([5.0, 2.0, 2.0, 1.0])[:, [2, 1, 0, 3]]
    grid = Grid(shape=(25, 96, 96), affine=affine, frame_of_reference_uid="1.2")
    empty = ImageVolume(grid=grid, voxels=np.zeros(grid.shape, np.float32))

    found = enhancement(empty, phantom_volume("T1"))

    assert found.second_is_after == 0.5
    assert found.reason.startswith("not judged")


@pytest.fixture(scope="module")
def philips(shared_data: Path) -> dict[int, ImageVolume]:
    series = read_study(dicom_files(shared_data / "dicom" / "philips-1.5T-tumour")).series
    return {s.number: read_series(s) for s in series if s.number in (502, 901, 1103, 1201)}


@pytest.mark.data
@pytest.mark.parametrize(("before", "after"), [(901, 1201), (502, 1103)])
def test_real_series_are_told_before_from_after(philips: dict[int, ImageVolume], before: int, after: int) -> None:
    assert enhancement(philips[before], philips[after]).second_is_after > CONFIDENT


@pytest.mark.data
def test_two_real_series_before_contrast_agent_are_undecided(philips: dict[int, ImageVolume]) -> None:
    assert not enhancement(philips[502], philips[901]).known
