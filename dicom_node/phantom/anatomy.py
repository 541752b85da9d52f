"""The head of the phantom: a brain from nilearn's MNI152 maps, and the tissues around it."""

import enum
import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from dicom_node.phantom.head_grid import HEAD_ORIGIN_MM, HEAD_SHAPE, axis_coordinates_mm
from dicom_node.phantom.plan import PhantomPlan, Vector
from dicom_node.phantom.smooth_noise import smooth_noise

__all__ = ["Head", "Tissue", "build_head"]

Field = NDArray[np.float32]

_MNI_X_MM, _MNI_Y_MM, _MNI_Z_MM = (-98, -98, -72)
"""LPS coordinates of the first voxel of the MNI152 maps after reversing x and y."""

_T1_OF_GM, _T1_OF_WM, _T1_OF_CSF = 0.65, 0.87, 0.27
"""Medians of pure grey matter, white matter and fluid in nilearn's T1 template (scaled to 0..1)."""


class Tissue(enum.IntEnum):
    """Tissue of a voxel; inside `BRAIN`, fractions of grey matter, white matter and fluid give the details."""

    AIR = 0
    BRAIN = 1
    CSF = 2
    DURA = 3
    BONE = 4
    MARROW = 5
    FAT = 6
    MUSCLE = 7
    SKIN = 8
    VITREOUS = 9
    VESSEL = 10


@dataclass(frozen=True, kw_only=True)
class Head:
    """Tissues on the head's grid of 1 mm, shape `HEAD_SHAPE`.

    Attributes
    ----------
    tissue
        uint8, values of `Tissue`.
    gm, wm
        Fractions of a voxel; the remainder in the brain is fluid.
    texture
        Signal of the T1 template beyond these fractions (deep nuclei, tracts), relative to white matter.
    """

    tissue: NDArray[np.uint8]
    gm: Field
    wm: Field
    texture: Field


@functools.lru_cache(maxsize=1)
def _templates() -> tuple[Field, Field, Field]:
    """Return T1, grey and white matter of MNI152 on the head's grid."""
    # nilearn imports scikit-learn and pandas, for which no other command and no upload has to wait.
    from nilearn.datasets import (  # noqa: PLC0415
        load_mni152_gm_template,
        load_mni152_template,
        load_mni152_wm_template,
    )

    t1, gm, wm = (
        load_mni152_template(resolution=1),
        load_mni152_gm_template(resolution=1),
        load_mni152_wm_template(resolution=1),
    )
    return _on_head_grid(t1.dataobj), _on_head_grid(gm.dataobj), _on_head_grid(wm.dataobj)


def _on_head_grid(maps: ArrayLike) -> Field:
    """Put a map indexed (right to left, back to front, up) into an array indexed (slice, row, column)."""
    lps = np.asarray(maps, np.float32)[::-1, ::-1, :].transpose(2, 1, 0)
    head = np.zeros(HEAD_SHAPE, np.float32)
    starts = (_MNI_Z_MM - HEAD_ORIGIN_MM[2], _MNI_Y_MM - HEAD_ORIGIN_MM[1], _MNI_X_MM - HEAD_ORIGIN_MM[0])
    into, out_of = [], []
    for axis, start in enumerate(map(round, starts)):
        first, end = max(start, 0), min(start + lps.shape[axis], HEAD_SHAPE[axis])
        into.append(slice(first, end))
        out_of.append(slice(first - start, end - start))
    head[tuple(into)] = lps[tuple(out_of)]
    return head


def build_head(plan: PhantomPlan) -> Head:
    """Make the head of a plan: an individual brain, displaced by the tumour, within skull and scalp."""
    coordinates, box = _warp(plan)
    t1, gm, wm = (_warped(template, coordinates, box) for template in _templates())
    gm, wm, csf = _sharpened(t1, gm, wm)
    expected = _T1_OF_GM * gm + _T1_OF_WM * wm + _T1_OF_CSF * csf
    brain = t1 > 0.1
    texture = np.where(brain, np.clip(t1 - expected, -0.15, 0.15), np.float32(0.0)) / np.float32(_T1_OF_WM)
    tissue = _surround(plan.seed, brain)
    _draw_vessels(plan.seed, tissue, csf)
    inside = tissue == Tissue.BRAIN
    return Head(tissue=tissue, gm=gm * inside, wm=wm * inside, texture=ndimage.gaussian_filter(texture, 0.6))


def _warped(template: Field, coordinates: Field, box: tuple[slice, ...]) -> Field:
    result = np.zeros_like(template)
    result[box] = ndimage.map_coordinates(template, coordinates, order=1)
    return result


def _warp(plan: PhantomPlan) -> tuple[Field, tuple[slice, ...]]:
    """Return the source coordinates of each voxel in the brain's bounding box, and that box.

    Displacements on two scales make the brain individual (large: shape, small: sulci). The third is the mass effect of
    the tumour, which fades near the surface so that the skull stays intact.
    """
    brain = _templates()[0] > 0
    extent = [np.nonzero(brain.any(axis=tuple({0, 1, 2} - {axis})))[0][[0, -1]] for axis in range(3)]
    box = tuple(
        slice(max(int(first) - 6, 0), min(int(last) + 7, n))
        for (first, last), n in zip(extent, HEAD_SHAPE, strict=True)
    )
    shape = tuple(s.stop - s.start for s in box)
    grid = [
        np.arange(s.start, s.stop, dtype=np.float32).reshape([-1 if i == a else 1 for i in range(3)])
        for a, s in enumerate(box)
    ]
    centre = [plan.tumour_centre_mm[2 - axis] - HEAD_ORIGIN_MM[2 - axis] for axis in range(3)]
    offsets = [g - np.float32(c) for g, c in zip(grid, centre, strict=True)]
    radius = np.sqrt(sum(offset**2 for offset in offsets)) + np.float32(1e-3)
    depth = np.clip(_distance_mm(~brain)[box] / 15.0, 0.0, 1.0)
    push = plan.mass_effect_mm * depth * np.exp(-((radius / 35.0) ** 2)) * np.clip(radius / 12.0, 0.0, 1.0)
    coordinates = np.empty((3, *shape), np.float32)
    for axis in range(3):
        shift = 2.5 * smooth_noise((plan.seed, 1, axis), shape, 40.0) + 0.8 * smooth_noise(
            (plan.seed, 2, axis), shape, 12.0
        )
        coordinates[axis] = grid[axis] - shift - push * offsets[axis] / radius
    return coordinates, box


def _sharpened(t1: Field, gm: Field, wm: Field) -> tuple[Field, Field, Field]:
    """Return fractions as sharp as those of a single brain: the template is the mean of 152 and blurrier than any.

    Dark voxels of the template count as fluid even in narrow sulci.
    """
    dark = np.clip((0.62 - t1) / 0.22, 0.0, 1.0)
    csf = np.maximum(np.clip(1.0 - gm - wm, 0.0, 1.0), 0.9 * dark)
    rest = (1.0 - csf) / np.maximum(gm + wm, 1e-3)
    parts = [part * part for part in (gm * rest, wm * rest, csf)]
    total = np.maximum(parts[0] + parts[1] + parts[2], np.float32(1e-6))
    return parts[0] / total, parts[1] / total, parts[2] / total


def _distance_mm(mask: NDArray[np.bool_]) -> Field:
    """Return the distance to the mask, computed at 2 mm and interpolated: smooth, and eight times faster."""
    distance = np.asarray(2.0 * ndimage.distance_transform_edt(~mask[::2, ::2, ::2]), np.float32)
    for axis in range(3):
        between = (distance + np.roll(distance, -1, axis)) / 2
        np.moveaxis(between, axis, 0)[-1] = np.moveaxis(distance, axis, 0)[-1]
        shape = [n * 2 if i == axis else n for i, n in enumerate(distance.shape)]
        distance = np.stack([distance, between], axis + 1).reshape(shape)
    return distance


def _surround(seed: int, brain: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Put fluid, dura, skull, muscle, fat and skin around the brain, and add the face."""
    closed = _distance_mm(_distance_mm(brain) > 8.0) > 6.3  # the skull bridges gaps narrower than 16 mm
    outside = _distance_mm(closed)
    x, y, z = axis_coordinates_mm()
    skull_mm = 6.0 + 1.0 * smooth_noise((seed, 3), HEAD_SHAPE, 30.0)
    temple = 6.0 * np.exp(-(((np.abs(x) - 62) / 24) ** 2) - ((y + 10) / 40) ** 2 - ((z + 18) / 30) ** 2)
    scalp_mm = 5.5 + 0.7 * smooth_noise((seed, 4), HEAD_SHAPE, 30.0) + temple
    head = (outside < skull_mm + scalp_mm) | _face(x, y, z)
    head = _closed(head, 12.0)
    depth = _distance_mm(~head)
    tissue = np.zeros(HEAD_SHAPE, np.uint8)
    tissue[head] = Tissue.MUSCLE
    marbling = smooth_noise((seed, 5), HEAD_SHAPE, 7.0)
    tissue[head & ((depth < 5.5) | (marbling > 0.9))] = Tissue.FAT
    _draw_face(tissue, head)
    tissue[head & (depth < 1.5)] = Tissue.SKIN
    for limit, kind in (
        (skull_mm, Tissue.BONE),
        (skull_mm - 2.0, Tissue.MARROW),
        (2.6, Tissue.BONE),
        (1.0, Tissue.DURA),
    ):
        tissue[outside < limit] = kind
    tissue[closed] = Tissue.BRAIN
    sinus = (np.abs(x) < 4.0) & (outside < 4.5) & ((y > -30) & (z > 10))
    tissue[sinus & (outside > 0)] = Tissue.VESSEL
    return tissue


def _closed(mask: NDArray[np.bool_], radius_mm: float) -> NDArray[np.bool_]:
    """Fill dents narrower than twice the radius; the mask continues below the grid and ends at its other borders."""
    margin = 2 * round(radius_mm / 2 + 1)
    sides = np.pad(mask, ((0, margin), (margin, margin), (margin, margin)))
    padded = np.pad(sides, ((margin, 0), (0, 0), (0, 0)), mode="edge")
    inner = (slice(margin, -margin),) * 3
    return np.asarray((_distance_mm(_distance_mm(padded) > radius_mm) > radius_mm)[inner])


def _ellipsoid(centre: Vector, radii: Vector) -> NDArray[np.bool_]:
    x, y, z = axis_coordinates_mm()
    return np.asarray(
        ((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2 + ((z - centre[2]) / radii[2]) ** 2 < 1.0
    )


def _face(x: Field, y: Field, z: Field) -> NDArray[np.bool_]:
    """Return face, nose and neck as one mask."""
    neck = ((x / 60) ** 2 + ((y - 22) / 66) ** 2 < 1.0) & (z < -60)
    face = _ellipsoid((0.0, -38.0, -66.0), (66.0, 56.0, 66.0))
    return np.asarray(face | neck | _ellipsoid((0.0, -92.0, -62.0), (14.0, 15.0, 26.0)))


_FACE_PARTS: tuple[tuple[Tissue, Vector, Vector], ...] = (
    (Tissue.FAT, (33.0, -56.0, -38.0), (21.0, 28.0, 19.0)),
    (Tissue.BONE, (0.0, -62.0, -52.0), (15.0, 34.0, 22.0)),
    (Tissue.AIR, (6.0, -62.0, -50.0), (5.0, 28.0, 18.0)),
    (Tissue.BONE, (27.0, -58.0, -74.0), (17.0, 20.0, 17.0)),
    (Tissue.AIR, (27.0, -58.0, -74.0), (15.0, 18.0, 15.0)),
    (Tissue.AIR, (9.0, -76.0, -16.0), (7.0, 5.0, 9.0)),
    (Tissue.AIR, (0.0, -12.0, -96.0), (10.0, 12.0, 24.0)),
    (Tissue.BONE, (46.0, 24.0, -46.0), (16.0, 12.0, 16.0)),
    (Tissue.MUSCLE, (25.0, -44.0, -38.0), (4.0, 22.0, 4.0)),
    (Tissue.MUSCLE, (43.0, -50.0, -38.0), (3.0, 18.0, 7.0)),
    (Tissue.MUSCLE, (33.0, -65.0, -38.0), (12.8, 12.8, 12.8)),
    (Tissue.VITREOUS, (33.0, -65.0, -38.0), (11.8, 11.8, 11.8)),
    (Tissue.MUSCLE, (33.0, -74.5, -38.0), (4.5, 2.5, 4.5)),
)
"""Tissue, centre and radii in mm of orbits with eyes, nose and paranasal sinuses, throat, and petrous bone. They are
drawn in this order on both sides."""


def _draw_face(tissue: NDArray[np.uint8], head: NDArray[np.bool_]) -> None:
    for kind, (cx, cy, cz), radii in _FACE_PARTS:
        for side in (-1.0, 1.0):
            tissue[_ellipsoid((side * cx, cy, cz), radii) & head] = kind


def _draw_vessels(seed: int, tissue: NDArray[np.uint8], csf: Field) -> None:
    """Draw vessels in the fluid, along the curves where two random fields are both near zero."""
    first, second = (smooth_noise((seed, 6, k), HEAD_SHAPE, 14.0) for k in range(2))
    tissue[(first**2 + second**2 < 0.03) & (csf > 0.3) & (tissue == Tissue.BRAIN)] = Tissue.VESSEL
