"""Volumes of the phantom as a scanner would show them, without the way through DICOM files."""

import functools

import numpy as np

from conversion.volume import Grid, ImageVolume
from dicom_node.phantom.contrast import signal
from dicom_node.phantom.scanner import scan, series_affine
from tests.support.phantoms import phantom_of, small_plan


@functools.lru_cache(maxsize=16)
def phantom_volume(role: str, plane: str = "axial", seed: int = 7) -> ImageVolume:
    """Return one sequence of a head with a tumour: 2 mm pixels, slices 6 mm apart in the given plane."""
    plan = small_plan(plane, roles=(role,), seed=seed)
    phantom = phantom_of(plan)
    series = plan.series[0]
    voxels = scan(plan, series, signal(role, phantom.head, phantom.tumour, seed)).astype(np.float32)
    shape = (voxels.shape[0], voxels.shape[1], voxels.shape[2])
    grid = Grid(shape=shape, affine=series_affine(plan, series), frame_of_reference_uid=phantom.frame_of_reference_uid)
    return ImageVolume(grid=grid, voxels=voxels)
