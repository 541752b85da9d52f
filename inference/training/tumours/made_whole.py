"""Makes tumour-free brains: replaces the half with the tumour by the mirror image of the other half.

T1 after contrast, T2 and FLAIR of many healthy brains are not available. In a patient with a tumour in one half, the
other half is healthy tissue in all sequences, from the same scanner and with the same artefacts.
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
"""Must be increased with every change that alters the resulting brains."""

WHOLE = " whole"
"""Suffix that the name and the source of such a case get."""

COARSE = 3
"""The midplane is found on every third voxel: a plane is located far more precisely than a voxel."""

SWELLING = 4
"""Coarse voxels (`COARSE`) around a tumour in which the halves differ, 12 mm: oedema that was not drawn, and shifted
tissue."""

ACROSS_MM = 2.0
"""A tumour that reaches further over the midplane grows in both halves. Less is within the accuracy of an outline."""

SEAM_MM = 3.0
"""Width over which one half blends into the other."""


def made_whole(case: PreparedCase) -> PreparedCase | None:
    """Return a brain without its tumour, or None if that is not possible.

    It is not possible if there is tumour in both halves, if the halves are not mirror images of each other, if the
    images are not skull-stripped, or if the whole tumour is not annotated.
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
    """Return tumour-free brains of prepared cases, where possible. They are stored beside the cases.

    A brain that is not stored yet takes seconds.

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
    """Return the midplane of a brain with voxels of 1 mm, along (left, back, up) from its first voxel."""
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
    """Return the position of each voxel's mirror image, shape (3, slice, row, column)."""
    places = np.stack(np.meshgrid(*(np.arange(size, dtype=np.float32) for size in left_mm.shape), indexing="ij"))
    return np.asarray(places - 2 * plane.normal[::-1].astype(np.float32)[:, None, None, None] * left_mm, np.float32)


def _halved(
    images: NDArray[np.float32], inside: NDArray[np.float32], mirror: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return images in which the half with `inside` above 0 is the mirror image of the other half."""
    taken = inside > -SEAM_MM / 2
    places = mirror[:, taken]
    share = np.clip(inside[taken] / SEAM_MM + 0.5, 0, 1)
    # Air stays exactly zero: the brain mask is taken from the nearest voxel, not from an average over the edge.
    brain = ndimage.map_coordinates((images > 0).any(axis=0).astype(np.uint8), places, order=0) > 0
    changed = images.copy()
    for channel, values in zip(changed, images, strict=True):
        mirrored = ndimage.map_coordinates(values, places, order=1) * brain
        channel[taken] = values[taken] * (1 - share) + mirrored * share
    return changed
