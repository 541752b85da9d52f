"""Finds the midplane of a brain: the plane about which it is most nearly its own mirror image."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import optimize
from torch import Tensor

from conversion.volume import Grid
from inference.resampling import moved

__all__ = ["Midplane", "find_midplane"]

FURTHEST_DEG, FURTHEST_MM = 20.0, 15.0
"""Largest deviation of a midplane from the patient's axes and from the brain's centre. Heads lie within 20 degrees."""

LEAST_LIKENESS = 0.6
"""Correlation of the halves below which they are not mirror images; those of BraTS have 0.8 to 0.99."""

FEWEST = 100
"""Smallest number of voxels that both halves must show; the correlation of fewer is meaningless."""

SEARCH = {"xtol": 1e-2, "ftol": 1e-4, "maxfev": 250}
"""Options of Powell's method; it tries 40 to 130 planes. A hundredth of a degree is finer than an image of 4 mm can
show."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Midplane:
    """The plane between the halves, in millimetres along LPS.

    Attributes
    ----------
    normal
        Unit vector to the patient's left, shape (3,).
    offset_mm
        Position of the plane along the normal.
    likeness
        Correlation of the brain with its mirror image.
    """

    normal: NDArray[np.float64]
    offset_mm: float
    likeness: float

    def mirrored(self, values: Tensor, grid: Grid) -> Tensor:
        """Return the value at each voxel's mirror image; float32, shape (..., *grid.shape), zeros outside."""
        return moved(values, grid, _reflection(self.normal, self.offset_mm))

    def left_mm(self, grid: Grid, device: torch.device) -> Tensor:
        """Return the distance of each voxel to the left of the plane in mm; float32, shape of the grid."""
        steps = self.normal @ grid.affine[:3, :3]
        away = torch.tensor(self.normal @ grid.affine[:3, 3] - self.offset_mm, dtype=torch.float32, device=device)
        for axis, (size, step) in enumerate(zip(grid.shape, steps, strict=True)):
            shape = [-1 if axis == other else 1 for other in range(3)]
            away = away + torch.arange(size, dtype=torch.float32, device=device).reshape(shape) * float(step)
        return away


@torch.inference_mode()
def find_midplane(image: Tensor, healthy: Tensor, grid: Grid) -> Midplane | None:
    """Return the midplane of a brain; None where its halves are not mirror images.

    Parameters
    ----------
    image
        Of the brain alone, 0 around it; float32, shape of the grid. Voxels of 3 to 4 mm are enough: the position of a
        plane is known far better than to a voxel.
    healthy
        Voxels that are compared, bool: those where no tumour makes the halves differ.
    """
    places = (image > 0).nonzero().double().mean(dim=0).cpu().numpy()
    if not np.isfinite(places).all():
        return None
    centre = grid.position_mm(places)
    both = torch.stack([image, healthy.float()])

    def unlike(tilt_and_shift: NDArray[np.float64]) -> float:
        normal = _normal(tilt_and_shift)
        mirror = moved(both, grid, _reflection(normal, float(normal @ centre + tilt_and_shift[2])))
        compared = healthy & (mirror[1] > 0.5) & ((image > 0) | (mirror[0] > 0))
        one, other = image[compared].double(), mirror[0][compared].double()
        if len(one) < FEWEST:
            return 1.0
        one, other = one - one.mean(), other - other.mean()
        return -float((one * other).sum() / (one.norm() * other.norm()).clamp(min=1e-9))

    found = optimize.minimize(unlike, np.zeros(3), method="Powell", options=SEARCH)
    if -found.fun < LEAST_LIKENESS or np.abs(found.x[:2]).max() > FURTHEST_DEG or abs(found.x[2]) > FURTHEST_MM:
        return None
    normal = _normal(found.x)
    return Midplane(normal=normal, offset_mm=float(normal @ centre + found.x[2]), likeness=-float(found.fun))


def _normal(tilt_deg: NDArray[np.float64]) -> NDArray[np.float64]:
    back, up = np.tan(np.radians(tilt_deg[:2]))
    normal = np.array([1.0, back, up])
    return np.asarray(normal / np.linalg.norm(normal))


def _reflection(normal: NDArray[np.float64], offset_mm: float) -> NDArray[np.float64]:
    """Return the reflection about a plane as a matrix, shape (4, 4)."""
    matrix = np.eye(4)
    matrix[:3, :3] -= 2 * np.outer(normal, normal)
    matrix[:3, 3] = 2 * offset_mm * normal
    return matrix
