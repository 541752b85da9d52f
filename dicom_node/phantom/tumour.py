"""The implanted tumour: necrosis in an enhancing rim in edema, each of known volume."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dicom_node.phantom.anatomy import Head, Tissue
from dicom_node.phantom.head_grid import HEAD_ORIGIN_MM, HEAD_SHAPE
from dicom_node.phantom.plan import PhantomPlan
from dicom_node.phantom.smooth_noise import smooth_noise

__all__ = ["ED", "ET", "NCR", "Tumour", "grow_tumour"]

NCR, ED, ET = 1, 2, 3
"""Label values: necrotic core, edema, enhancing tumour."""

_VOXELS_PER_ML = 1000
_BOX_HALF_MM = 62
_RIM_MM = 2.2
"""Minimum thickness of the enhancing rim."""

Field = NDArray[np.float32]
Mask = NDArray[np.bool_]
Box = tuple[slice, slice, slice]


@dataclass(frozen=True, kw_only=True)
class Tumour:
    """The tumour on the head's grid.

    Attributes
    ----------
    labels
        uint8, shape of the head's grid: 0, `NCR`, `ED`, `ET`.
    infiltration
        How strongly edema changes a voxel, 0 to 1; it fades with distance from the core.
    """

    labels: NDArray[np.uint8]
    infiltration: Field


def grow_tumour(plan: PhantomPlan, head: Head) -> Tumour:
    """Grow the tumour of a plan in a head; equal inputs give equal voxels.

    Raises
    ------
    ValueError
        When there is not enough brain around the centre for the planned size.
    """
    labels = np.zeros(HEAD_SHAPE, np.uint8)
    infiltration = np.zeros(HEAD_SHAPE, np.float32)
    if plan.size_ml > 0:
        box = _box_around(plan)
        labels[box], infiltration[box] = _grow(plan, head, box)
    return Tumour(labels=labels, infiltration=infiltration)


def _box_around(plan: PhantomPlan) -> Box:
    centre = [round(plan.tumour_centre_mm[2 - axis] - HEAD_ORIGIN_MM[2 - axis]) for axis in range(3)]
    z, y, x = (
        slice(max(c - _BOX_HALF_MM, 0), min(c + _BOX_HALF_MM, n)) for c, n in zip(centre, HEAD_SHAPE, strict=True)
    )
    return z, y, x


def _grow(plan: PhantomPlan, head: Head, box: Box) -> tuple[NDArray[np.uint8], Field]:
    gm, wm = head.gm[box], head.wm[box]
    x_mm, radius = _coordinates(plan, box)
    same_side = np.sign(plan.tumour_centre_mm[0]) * x_mm > 1.5
    brain = (head.tissue[box] == Tissue.BRAIN) & same_side
    parenchyma = brain & (gm + wm > 0.5)
    lobes = smooth_noise((plan.seed, 20), gm.shape, 18.0)
    core_voxels = round(plan.size_ml * plan.core_share * _VOXELS_PER_ML)
    core = _grown(radius * np.exp(0.22 * lobes), brain & ~_ventricles(head, box), core_voxels)
    depth = ndimage.distance_transform_edt(core)
    inner = radius * np.exp(0.3 * smooth_noise((plan.seed, 21), gm.shape, 10.0))
    necrosis = _grown(inner, core & (depth > _RIM_MM), round(core_voxels * plan.necrosis_share))
    reach = ndimage.distance_transform_edt(~core).astype(np.float32)
    along_tracts = 12.0 * ndimage.gaussian_filter(wm, 2.5) - 4.0 * ndimage.gaussian_filter(gm, 2.5)
    reach += 5.0 * smooth_noise((plan.seed, 22), gm.shape, 15.0) - along_tracts
    reach[core] = reach.min() - 1.0
    whole = _grown(reach, parenchyma | core, round(plan.size_ml * _VOXELS_PER_ML))
    labels = np.zeros(gm.shape, np.uint8)
    labels[whole] = ED
    labels[core] = ET
    labels[necrosis] = NCR
    edge = float(reach[whole].max())
    strength = np.clip((edge - reach) / 9.0, 0.0, 1.0).astype(np.float32)
    return labels, np.where(whole, 0.6 + 0.4 * strength, np.float32(0.0))


def _coordinates(plan: PhantomPlan, box: Box) -> tuple[Field, Field]:
    """Return x in LPS mm and the distance to the tumour's centre."""
    axes = [
        np.arange(s.start, s.stop, dtype=np.float32) + np.float32(HEAD_ORIGIN_MM[2 - axis])
        for axis, s in enumerate(box)
    ]
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    cx, cy, cz = plan.tumour_centre_mm
    return x, np.sqrt((x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2)


def _ventricles(head: Head, box: Box) -> Mask:
    """Return the large fluid spaces, which a tumour indents but does not fill."""
    brain = head.tissue[box] == Tissue.BRAIN
    fluid = brain & (head.gm[box] + head.wm[box] < 0.5)
    return np.asarray(ndimage.binary_dilation(ndimage.binary_erosion(fluid, iterations=2), iterations=3) & fluid)


def _grown(cost: Field, allowed: Mask, voxels: int) -> Mask:
    """Return the cheapest connected voxels, in the wanted number to within one in two hundred.

    Raises
    ------
    ValueError
        When the allowed voxels are too few, or so scattered that no connected body has that size.
    """
    wanted = voxels
    costs = np.sort(cost[allowed])
    for _ in range(10):
        if not 0 < wanted < costs.size:
            break
        body = _largest(allowed & (cost < costs[wanted]))
        missing = voxels - int(np.count_nonzero(body))
        if abs(missing) <= voxels / 200:
            return body
        wanted += missing
    message = f"no room for {voxels / _VOXELS_PER_ML:g} ml of tumour here; move its centre or make it smaller"
    raise ValueError(message)


def _largest(mask: Mask) -> Mask:
    components, _ = ndimage.label(mask)
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    return np.asarray(ndimage.binary_fill_holes(components == sizes.argmax()) & mask)
