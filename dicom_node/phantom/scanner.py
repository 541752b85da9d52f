"""Samples the phantom like a scanner: on any grid, with thick slices and magnitude noise."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dicom_node.phantom.contrast import SEQUENCES
from dicom_node.phantom.head_grid import head_affine, rigid_affine
from dicom_node.phantom.plan import PhantomPlan, SeriesPlan

__all__ = ["head_to_patient", "scan", "series_affine"]

Field = NDArray[np.float32]
Affine = NDArray[np.float64]

_FIELD_CENTRE_MM = (0.0, 8.0, 3.0)
"""Centre of every stack in the head's space, before the head is positioned: the middle of the brain."""

_DIRECTIONS = {
    "axial": ((0, 0, 1), (0, 1, 0), (1, 0, 0)),
    "sagittal": ((-1, 0, 0), (0, 0, -1), (0, 1, 0)),
    "coronal": ((0, 1, 0), (0, 0, -1), (1, 0, 0)),
}
"""LPS directions of (slice, row, column); the slice axis is the cross product of column and row (PS3.3 C.7.6.2.1.1)."""


def head_to_patient(plan: PhantomPlan, series: SeriesPlan | None = None) -> Affine:
    """Return the matrix from the head's to the patient's LPS, in mm; with a series, at its time."""
    pose = rigid_affine(plan.patient_rotation_deg, plan.patient_shift_mm)
    if series is None:
        return pose
    return np.asarray(rigid_affine(series.patient_rotation_deg, series.patient_shift_mm) @ pose)


def series_affine(plan: PhantomPlan, series: SeriesPlan) -> Affine:
    """Return the matrix from index (slice, row, column, 1) to patient LPS mm."""
    directions = np.array(_DIRECTIONS[series.plane], np.float64).T
    rotated = rigid_affine(series.oblique_deg, (0.0, 0.0, 0.0))[:3, :3] @ directions
    linear = rotated * (series.slice_mm + series.gap_mm, series.in_plane_mm, series.in_plane_mm)
    centre = (head_to_patient(plan) @ [*_FIELD_CENTRE_MM, 1.0])[:3]
    middle = (np.array([series.slices, series.rows, series.columns]) - 1) / 2
    affine = np.eye(4)
    affine[:3, :3] = linear
    affine[:3, 3] = centre - linear @ middle
    return affine


def scan(plan: PhantomPlan, series: SeriesPlan, image: Field) -> NDArray[np.uint16]:
    """Return stored values of one series, shape (slice, row, column).

    Parameters
    ----------
    image
        Noiseless signal on the head's grid. The slice profile is a box as thick as the slice.
    """
    to_head = np.linalg.inv(head_to_patient(plan, series) @ head_affine()) @ series_affine(plan, series)
    layers = max(1, round(series.slice_mm))
    offsets = ((np.arange(layers) + 0.5) / layers - 0.5) * series.slice_mm / (series.slice_mm + series.gap_mm)
    blurred = ndimage.gaussian_filter(image, 0.3 * series.in_plane_mm) if series.in_plane_mm > 1.2 else image
    stack = np.empty((series.slices, series.rows, series.columns), np.uint16)
    step = to_head.copy()
    step[:3, 0] *= (offsets[1] - offsets[0]) if layers > 1 else 1.0
    rng = np.random.default_rng((plan.seed, 40, series.number))
    for k in range(series.slices):
        start = (to_head @ [k + offsets[0], 0.0, 0.0, 1.0])[:3]
        shape = (layers, series.rows, series.columns)
        slab = ndimage.affine_transform(blurred, step[:3, :3], start, shape, np.float32, order=1)
        stack[k] = _measured(slab.mean(axis=0), series.role, rng)
    return stack


def _measured(plane: Field, role: str, rng: np.random.Generator) -> NDArray[np.uint16]:
    """Return stored values with Rician noise, the magnitude of a signal with Gaussian noise in both channels."""
    sequence = SEQUENCES[role]
    real, imaginary = (sequence.noise * rng.standard_normal(plane.shape, np.float32) for _ in range(2))
    magnitude = np.hypot(plane + real, imaginary) * np.float32(sequence.scale)
    return np.asarray(np.clip(np.rint(magnitude), 0, 4095), np.uint16)
