"""What the panel shows of a run: its sequences, labels and probabilities as small files for a viewer, and a key image.

The arrays of a run are removed when it is done; these files stay as long as its results.
"""

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conversion.alignment import AlignedVolumes
from conversion.nifti import write_nifti
from conversion.volume import Grid, LabelVolume
from dicom_node.runs.run import Kept
from dicom_node.studies.run_folder import PICTURES
from inference.regions import Region
from inference.segmentation import Segmentation
from viewer_integration.codes import SEGMENTS
from viewer_integration.overlay import grey_levels, write_overlay

__all__ = ["PROBABILITY_SCALE", "keep_pictures"]

PROBABILITY_SCALE = 100
"""Probabilities are kept in steps of a hundredth."""

_SPEED = 1
"""Level of gzip, chosen and not measured: the result waits for these files before it is sent."""

_WHITE = 255


def keep_pictures(kept: Kept, folder: Path, *, withheld: bool) -> None:
    """Write the pictures of a run into its folder, completely or not at all.

    Parameters
    ----------
    withheld
        Whether the result is withheld: then the sequences are shown without it.
    """
    aligned, segmentation = kept.load_aligned(), kept.load_segmentation()
    unfinished = folder / f"{PICTURES}.part"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for role, volume in aligned.volumes.items():
        _write(
            volume.grid,
            np.rint(grey_levels(volume.voxels) * _WHITE).astype(np.uint8),
            unfinished / f"image_{role.lower()}.nii",
        )
    if not withheld:
        _write_result(aligned, segmentation, unfinished)
    document = _document(segmentation, withheld=withheld)
    (unfinished / "pictures.json").write_text(json.dumps(document, indent=1))
    shutil.rmtree(folder / PICTURES, ignore_errors=True)
    unfinished.rename(folder / PICTURES)


def _write_result(aligned: AlignedVolumes, segmentation: Segmentation, folder: Path) -> None:
    labels = segmentation.label_volume
    _write(labels.grid, labels.labels, folder / "segmentation.nii")
    for region, values in segmentation.probabilities.items():
        steps = np.rint(values.astype(np.float32) * PROBABILITY_SCALE).astype(np.uint8)
        _write(labels.grid, steps, folder / f"probability_{region.lower()}.nii")
    write_overlay(aligned.volumes[aligned.reference], labels, folder / "key_images.png")


def _write(grid: Grid, values: NDArray[np.uint8], path: Path) -> None:
    write_nifti(LabelVolume(grid=grid, labels=values), path)
    path.with_suffix(".nii.gz").write_bytes(gzip.compress(path.read_bytes(), _SPEED, mtime=0))
    path.unlink()


def _document(segmentation: Segmentation, *, withheld: bool) -> dict[str, Any]:
    """Return what the viewer needs to know besides the voxels."""
    labels = segmentation.label_volume
    whole = np.argwhere(segmentation.mask_of(Region.WT))
    centre = (
        labels.grid.position_mm(whole.mean(axis=0)[np.newaxis])[0].tolist() if whole.size and not withheld else None
    )
    return {
        "labels": {str(int(label)): {"name": one.name, "rgb": one.rgb} for label, one in SEGMENTS.items()},
        "present": [] if withheld else [int(label) for label in np.unique(labels.labels) if label],
        "regions": {Region.WT: {"centroid_lps_mm": centre}},
        "probability_scale": PROBABILITY_SCALE,
        "grey": [0, _WHITE],
    }
