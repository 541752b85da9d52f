"""What happens to intensities before a network sees them; the same code serves training and the node."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["CHANNELS", "MAXIMUM_INTENSITY", "box_around", "normalise_intensity", "signal_box", "tissue_level"]

CHANNELS = ("T1", "T1CE", "T2", "FLAIR")
"""Channel order of every shipped network; a missing sequence is a channel of zeros."""

FOREGROUND_FRACTION = 0.1
"""Share of the 99.5th percentile under which a voxel counts as air: separates air from tissue in whole heads
and in skull-stripped volumes alike (checked by eye on both training sets)."""

MAXIMUM_INTENSITY = 4.0
"""Ceiling in units of the tissue median; only fat, vessels and artefacts lie above."""


HEAD_LEVEL = 0.2
"""Share of the tissue's median above which a voxel shows something: normalised air lies below, even noisy air."""

HEAD_SHARE = 0.01
"""A plane of which less than this share shows something lies outside the head: noise, ghosts, wrapped-in ears. In LGG,
0.002 leaves a median of 245 by 255 of 256 by 256 pixels, 0.01 of 238 by 238, and 0.03 begins to cut the vertex."""

MARGIN_VOXELS = 2


def tissue_level(voxels: NDArray[np.floating]) -> float:
    """Return the intensity under which a voxel counts as air; negative values count as air too."""
    return FOREGROUND_FRACTION * float(np.percentile(np.maximum(voxels, 0), 99.5))


def normalise_intensity(voxels: NDArray[np.floating] | NDArray[np.uint8]) -> NDArray[np.float32]:
    """Scale one volume so that air is 0 and the median of the tissue is 1.

    Parameters
    ----------
    voxels
        Intensities of one sequence, any shape; negative values count as air.

    Returns
    -------
    numpy.ndarray
        Same shape, within 0 to `MAXIMUM_INTENSITY`; all zeros when the volume holds no tissue.
    """
    positive = np.maximum(voxels, 0).astype(np.float32)
    tissue = positive[positive > tissue_level(positive)]
    if tissue.size == 0:
        return np.zeros_like(positive)
    return np.asarray(np.clip(positive / float(np.median(tissue)), 0.0, MAXIMUM_INTENSITY), np.float32)


def box_around(mask: NDArray[np.bool_], margin: int = 0) -> tuple[slice, slice, slice] | None:
    """Return the smallest box that holds a mask of three axes, widened by some voxels; None where it is empty."""
    box = []
    for axis in range(3):
        places = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        if not len(places):
            return None
        box.append(slice(max(0, int(places[0]) - margin), min(mask.shape[axis], int(places[-1]) + 1 + margin)))
    return box[0], box[1], box[2]


def signal_box(
    images: NDArray[np.floating], keep: NDArray[np.bool_] | None = None, share: float = HEAD_SHARE
) -> tuple[slice, slice, slice]:
    """Return the smallest box that holds the head in every sequence.

    Parameters
    ----------
    images
        Normalised intensities, shape (channel, slice, row, column).
    keep
        Voxels that have to be inside, shape (slice, row, column).
    share
        A plane of which less shows something lies outside.
    """
    shown = np.asarray((images > HEAD_LEVEL).any(axis=0))
    box = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        inside = shown.mean(axis=others) > share
        kept = np.flatnonzero(inside if keep is None else inside | keep.any(axis=others))
        first, last = (int(kept[0]), int(kept[-1])) if len(kept) else (0, shown.shape[axis] - 1)
        box.append(slice(max(0, first - MARGIN_VOXELS), min(shown.shape[axis], last + 1 + MARGIN_VOXELS)))
    return box[0], box[1], box[2]
