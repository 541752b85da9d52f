"""Brains made whole: the half that holds the tumour is replaced by the mirror image of the other half.

Nobody has T1 after contrast, T2 and FLAIR of many healthy brains; of a patient whose tumour lies in one half the other
half is one, in all sequences, of the same scanner and with the same artefacts.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize

from inference.cases.array_file import whole
from inference.cases.prepared import PreparedCase, PreparedReference, keep_prepared

__all__ = ["WHOLE", "Midplane", "find_midplane", "made_whole", "whole_cases"]

VERSION = 1
"""Goes up with every change that makes other brains of the same ones."""

WHOLE = " whole"
"""What the name and the source of such a case have behind those of the case that it was."""

COARSE = 3
"""Every third voxel is looked at to find the midplane: a plane is known far better than a voxel."""

SWELLING = 4
"""Voxels of `COARSE` around a tumour in which halves differ; 12 mm: oedema that nobody drew, and what is shifted."""

FURTHEST_DEG, FURTHEST_MM = 12.0, 15.0
"""A midplane further from the middle of the brain and its axes is none; heads lie within 20 degrees in few scanners,
and all sets at hand within 8."""

LEAST_LIKENESS = 0.6
"""Correlation of the halves below which they are no mirror images; those of BraTS have 0.8 to 0.95."""

ACROSS_MM = 2.0
"""A tumour that reaches so far over the midplane grows in both halves; less is what an outline is exact to."""

SEAM_MM = 3.0
"""Width over which one half goes over into the other."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Midplane:
    """Where the halves of a brain meet, in indices of voxels that are cubes of a millimetre.

    Attributes
    ----------
    normal
        Unit vector along (slice, row, column), to the patient's left.
    offset
        Of the plane along it.
    likeness
        Correlation of the brain with its mirror image, the tumour aside.
    """

    normal: NDArray[np.float64]
    offset: float
    likeness: float

    def distances(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Return how far to the left of the plane each voxel lies."""
        places = np.ogrid[tuple(slice(0, size) for size in shape)]
        along = sum(part * step for part, step in zip(places, self.normal, strict=True))
        return np.asarray(along - self.offset, np.float32)


def made_whole(case: PreparedCase) -> PreparedCase | None:
    """Return a brain without its tumour, or None where that is not to be had.

    None are brains in both halves of which tumour lies, whose halves are no mirror images, which are not shown alone or
    whose whole tumour nobody drew.
    """
    tumour = case.regions[0]
    if case.spacing_mm is None or not case.stripped or not case.annotated[0] or not tumour.any():
        return None
    plane = find_midplane(case)
    if plane is None:
        return None
    left = plane.distances(tumour.shape)
    side = 1.0 if np.count_nonzero(tumour & (left > 0)) * 2 >= np.count_nonzero(tumour) else -1.0
    inside = left * np.float32(side)
    if (tumour & (inside < -ACROSS_MM)).any():
        return None
    images = _halved(case.images.astype(np.float32), inside, plane)
    nothing = np.zeros_like(case.regions)
    return replace(
        case,
        case_id=case.case_id + WHOLE,
        source=case.source + WHOLE,
        images=images.astype(np.float16),
        regions=nothing,
    )


def whole_cases(
    cases: Sequence[PreparedReference],
    progress: Callable[[Sequence[PreparedReference]], Iterable[PreparedReference]] = iter,
) -> tuple[PreparedReference, ...]:
    """Return the brains of prepared cases that can be made whole, kept beside them; seconds for each that is new.

    Parameters
    ----------
    progress
        Wraps the list, for a progress bar.
    """
    found = []
    for case in progress(cases):
        path = case.path.with_name(f"{case.path.stem}-whole-{VERSION}.npz")
        none = path.with_suffix(".none")
        if not whole(path) and not none.exists():
            made = made_whole(case.read())
            if made is None:
                none.touch()
            else:
                keep_prepared(made, path)
        if not none.exists():
            found.append(replace(case, case_id=case.case_id + WHOLE, source=case.source + WHOLE, path=path))
    return tuple(found)


def find_midplane(case: PreparedCase) -> Midplane | None:
    """Return the plane about which a brain is most nearly its own mirror image; None where it is nowhere near."""
    coarse = (slice(None, None, COARSE),) * 3
    image = case.images[(np.array(case.present), *coarse)].astype(np.float32).mean(axis=0)
    healthy = ~ndimage.binary_dilation(case.regions[0][coarse], iterations=SWELLING)
    middle = np.array(ndimage.center_of_mass(image > 0))
    image = ndimage.gaussian_filter(image, 1.0)

    def unlike(angles_and_shift: NDArray[np.float64]) -> float:
        normal = _normal(angles_and_shift)
        offset = float(normal @ middle + angles_and_shift[2])
        places = _mirrored(image.shape, normal, offset)
        other = ndimage.map_coordinates(image, places, order=1)
        both = healthy & (ndimage.map_coordinates(healthy.astype(np.float32), places, order=1) > 0.5)
        both &= (image > 0) | (other > 0)
        return -float(np.corrcoef(image[both], other[both])[0, 1]) if both.any() else 1.0

    found = optimize.minimize(unlike, np.zeros(3), method="Powell", options={"xtol": 1e-3, "ftol": 1e-4, "maxfev": 250})
    angles, shift = found.x[:2], float(found.x[2])
    if -found.fun < LEAST_LIKENESS or np.abs(angles).max() > FURTHEST_DEG or abs(shift) * COARSE > FURTHEST_MM:
        return None
    normal = _normal(found.x)
    return Midplane(normal=normal, offset=float(normal @ middle + shift) * COARSE, likeness=-float(found.fun))


def _normal(degrees: NDArray[np.float64]) -> NDArray[np.float64]:
    up, back = np.tan(np.radians(degrees[:2]))
    normal = np.array([up, back, 1.0])
    return np.asarray(normal / np.linalg.norm(normal))


def _mirrored(shape: tuple[int, ...], normal: NDArray[np.float64], offset: float) -> NDArray[np.float32]:
    """Return where each voxel's mirror image lies, shape (3, slice, row, column)."""
    places = np.stack(np.meshgrid(*(np.arange(size, dtype=np.float32) for size in shape), indexing="ij"))
    away = np.tensordot(normal.astype(np.float32), places, 1) - np.float32(offset)
    return np.asarray(places - 2 * normal.astype(np.float32)[:, None, None, None] * away, np.float32)


def _halved(images: NDArray[np.float32], inside: NDArray[np.float32], plane: Midplane) -> NDArray[np.float32]:
    """Return images whose half with `inside` above 0 is the mirror image of the other one."""
    taken = inside > -SEAM_MM / 2
    places = _mirrored(inside.shape, plane.normal, plane.offset)[:, taken]
    share = np.clip(inside[taken] / SEAM_MM + 0.5, 0, 1)
    # Air stays exactly dark: what is no brain is told from the nearest voxel, not from a mean over the edge.
    brain = ndimage.map_coordinates((images > 0).any(axis=0).astype(np.uint8), places, order=0) > 0
    changed = images.copy()
    for channel, values in zip(changed, images, strict=True):
        mirrored = ndimage.map_coordinates(values, places, order=1) * brain
        channel[taken] = values[taken] * (1 - share) + mirrored * share
    return changed
