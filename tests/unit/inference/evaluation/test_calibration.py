"""Calibration of voxels inside the head."""

import numpy as np
import pytest

from conversion.alignment import AlignedVolumes
from conversion.sequences import Role
from conversion.volume import Grid, ImageVolume
from inference.evaluation.calibration import BINS, calibrate, expected_error, head_mask


def test_error_is_the_weighted_gap_of_bins() -> None:
    probabilities = np.array([0.1, 0.1, 0.9, 0.9, 0.9, 0.9], np.float16)
    reference = np.array([0, 1, 1, 1, 1, 0], bool)
    sums = calibrate(probabilities, reference, np.ones(6, bool))
    gap = (2 * abs(0.1 - 0.5) + 4 * abs(0.9 - 0.75)) / 6
    assert expected_error(sums.voxels, sums.probability, sums.tumour) == pytest.approx(gap, abs=1e-3)
    assert sums.voxels.tolist() == [0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0]
    assert sums.tumour.tolist() == [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0]


def test_ends_of_the_scale_have_their_bins() -> None:
    sums = calibrate(np.array([0.0, 1.0], np.float16), np.array([False, True]), np.ones(2, bool))
    assert (sums.voxels[0], sums.voxels[BINS - 1]) == (1, 1)
    assert expected_error(sums.voxels, sums.probability, sums.tumour) == 0


def test_air_does_not_count() -> None:
    inside = np.array([True, False])
    sums = calibrate(np.array([0.5, 0.0], np.float16), np.array([True, False]), inside)
    assert sums.voxels.sum() == 1
    assert expected_error(sums.voxels, sums.probability, sums.tumour) == pytest.approx(0.5)


def test_without_voxels_it_is_undefined() -> None:
    assert np.isnan(expected_error(*np.zeros((3, BINS))))


def test_the_head_is_tissue_of_any_sequence_and_what_it_surrounds() -> None:
    grid = Grid(shape=(1, 9, 9), affine=np.eye(4)[[2, 1, 0, 3]], frame_of_reference_uid="1.2")
    ring, patch = np.full((2, 1, 9, 9), 1.0, np.float32)  # air that is not quite 0
    ring[0, 2:7, 2:7] = 100.0
    ring[0, 4, 4] = 0.0
    patch[0, 8, 8] = 50.0
    volumes = {role: ImageVolume(grid=grid, voxels=voxels) for role, voxels in ((Role.T1, ring), (Role.FLAIR, patch))}
    found = head_mask(AlignedVolumes(reference=Role.T1, volumes=volumes, registrations={}, decisions=()))
    expected = np.zeros((1, 9, 9), bool)
    expected[0, 2:7, 2:7] = True
    expected[0, 8, 8] = True
    assert np.array_equal(found, expected)
