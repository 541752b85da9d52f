"""Brains made whole: the half that holds the tumour is replaced by the mirror image of the other half.

Nobody has T1 after contrast, T2 and FLAIR of many healthy brains; of a patient whose tumour lies in one half the other
half is one, in all sequences, of the same scanner and with the same artefacts.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from conversion.volume import Grid
from inference.cases.array_file import whole
from inference.cases.prepared import PreparedCase, PreparedReference, keep_prepared
from inference.midplane import Midplane, find_midplane

__all__ = ["WHOLE", "made_whole", "whole_cases"]

VERSION = 2
"""Goes up with every change that makes other brains of the same ones."""

WHOLE = " whole"
"""What the name and the source of such a case have behind those of the case that it was."""

COARSE = 3
"""Every third voxel is looked at to find the midplane: a plane is known far better than a voxel."""

SWELLING = 4
"""Voxels of `COARSE` around a tumour in which halves differ; 12 mm: oedema that nobody drew, and what is shifted."""

ACROSS_MM = 2.0
"""A tumour that reaches so far over the midplane grows in both halves; less is what an outline is exact to."""

SEAM_MM = 3.0
"""Width over which one half goes over into the other."""


def made_whole(case: PreparedCase) -> PreparedCase | None:
    """Return a brain without its tumour, or None where that is not to be had.

    None are brains in both halves of which tumour lies, whose halves are no mirror images, which are not shown alone or
    whose whole tumour nobody drew.
    """
    tumour = case.regions[0]
    if case.spacing_mm is None or not case.stripped or not case.annotated[0] or not tumour.any():
        return None
    plane = _midplane_of(case)
    if plane is None:
        return None
    left = plane.left_mm(_cubes(tumour.shape, 1.0), torch.device("cpu")).numpy()
    side = 1.0 if np.count_nonzero(tumour & (left > 0)) * 2 >= np.count_nonzero(tumour) else -1.0
    inside = left * np.float32(side)
    if (tumour & (inside < -ACROSS_MM)).any():
        return None
    images = _halved(case.images.astype(np.float32), inside, _mirrored(plane, left))
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


def _midplane_of(case: PreparedCase) -> Midplane | None:
    """Return the midplane of a brain on cubes of a millimetre, along (left, back, up) from its first voxel."""
    coarse = (slice(None, None, COARSE),) * 3
    image = case.images[(np.array(case.present), *coarse)].astype(np.float32).mean(axis=0)
    healthy = ~ndimage.binary_dilation(case.regions[0][coarse], iterations=SWELLING)
    smooth = torch.from_numpy(ndimage.gaussian_filter(image, 1.0))
    return find_midplane(smooth, torch.from_numpy(healthy), _cubes(image.shape, COARSE))


def _cubes(shape: tuple[int, ...], size_mm: float) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[::-1] * size_mm
    return Grid(shape=(shape[0], shape[1], shape[2]), affine=affine, frame_of_reference_uid="case")


def _mirrored(plane: Midplane, left_mm: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return where each voxel's mirror image lies, shape (3, slice, row, column)."""
    places = np.stack(np.meshgrid(*(np.arange(size, dtype=np.float32) for size in left_mm.shape), indexing="ij"))
    return np.asarray(places - 2 * plane.normal[::-1].astype(np.float32)[:, None, None, None] * left_mm, np.float32)


def _halved(
    images: NDArray[np.float32], inside: NDArray[np.float32], mirror: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return images whose half with `inside` above 0 is the mirror image of the other one."""
    taken = inside > -SEAM_MM / 2
    places = mirror[:, taken]
    share = np.clip(inside[taken] / SEAM_MM + 0.5, 0, 1)
    # Air stays exactly dark: what is no brain is told from the nearest voxel, not from a mean over the edge.
    brain = ndimage.map_coordinates((images > 0).any(axis=0).astype(np.uint8), places, order=0) > 0
    changed = images.copy()
    for channel, values in zip(changed, images, strict=True):
        mirrored = ndimage.map_coordinates(values, places, order=1) * brain
        channel[taken] = values[taken] * (1 - share) + mirrored * share
    return changed
