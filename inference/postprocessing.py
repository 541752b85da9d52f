"""From probabilities to labels: thresholds, hierarchy ET within TC within WT, small islands."""

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from inference.regions import Label

__all__ = ["label_regions", "largest_component", "touching", "without_islands"]


def without_islands(mask: NDArray[np.bool_], minimum_voxels: int) -> NDArray[np.bool_]:
    """Return the mask without connected components (26 neighbours) of fewer voxels."""
    if minimum_voxels <= 1 or not mask.any():
        return mask
    components = sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)), True)  # noqa: FBT003
    kept = sitk.RelabelComponent(components, minimumObjectSize=minimum_voxels)
    return np.asarray(sitk.GetArrayFromImage(kept) > 0)


def touching(mask: NDArray[np.bool_], places: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the connected components (26 neighbours) of a mask that hold any of some places."""
    if not mask.any():
        return mask
    components = sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)), True)  # noqa: FBT003
    numbers = sitk.GetArrayViewFromImage(components)
    held = np.zeros(int(numbers.max()) + 1, bool)
    held[np.unique(numbers[places & mask])] = True
    return np.asarray(held[numbers])


def largest_component(mask: NDArray[np.bool_]) -> int:
    """Return the number of voxels of the largest connected component (26 neighbours)."""
    if not mask.any():
        return 0
    components = sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)), True)  # noqa: FBT003
    return int(np.bincount(sitk.GetArrayViewFromImage(components).ravel())[1:].max())


def label_regions(
    wt: NDArray[np.bool_], tc: NDArray[np.bool_] | None, et: NDArray[np.bool_] | None
) -> NDArray[np.uint8]:
    """Combine nested masks into one label volume.

    Parameters
    ----------
    wt, tc, et
        Masks of equal shape; without TC and ET every tumour voxel is of unknown kind.
    """
    labels = np.zeros(wt.shape, np.uint8)
    if tc is None or et is None:
        labels[wt] = Label.WHOLE_TUMOUR
        return labels
    labels[wt] = Label.ED
    labels[wt & (tc | et)] = Label.NCR
    labels[wt & et] = Label.ET
    return labels
