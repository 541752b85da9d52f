"""The signal of each tissue in each sequence, and the bias field of the coils."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dicom_node.phantom.anatomy import Head, Tissue
from dicom_node.phantom.head_grid import HEAD_SHAPE, axis_coordinates_mm
from dicom_node.phantom.smooth_noise import smooth_noise
from dicom_node.phantom.tumour import ED, ET, NCR, Tumour

__all__ = ["SEQUENCES", "Sequence", "signal"]

Field = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """Signals relative to white matter, at ratios usual in clinical scans at 1.5 T, and noise.

    Attributes
    ----------
    texture
        Weight of the T1 template's variation within tissues; negative where dark and bright are inverted.
    noise
        Standard deviation of each channel of the complex noise, relative to white matter.
    scale
        Stored value of white matter.
    """

    gm: float
    csf: float
    ncr: float
    ed: float
    et: float
    dura: float
    marrow: float
    fat: float
    muscle: float
    skin: float
    vessel: float
    texture: float
    noise: float
    scale: float


SEQUENCES = {
    "T1": Sequence(
        gm=0.76, csf=0.36, ncr=0.58, ed=0.80, et=0.78, dura=0.6, marrow=1.1, fat=1.9, muscle=0.7, skin=0.9,
        vessel=0.45, texture=1.0, noise=0.03, scale=420.0,
    ),
    "T1CE": Sequence(
        gm=0.80, csf=0.36, ncr=0.62, ed=0.80, et=1.6, dura=1.25, marrow=1.15, fat=1.9, muscle=0.85, skin=1.1,
        vessel=1.9, texture=0.9, noise=0.03, scale=510.0,
    ),
    "T2": Sequence(
        gm=1.35, csf=3.0, ncr=2.4, ed=1.85, et=1.7, dura=0.7, marrow=0.9, fat=1.7, muscle=0.55, skin=0.8,
        vessel=0.4, texture=-1.2, noise=0.035, scale=300.0,
    ),
    "FLAIR": Sequence(
        gm=1.18, csf=0.3, ncr=1.35, ed=1.8, et=1.75, dura=0.8, marrow=0.9, fat=1.7, muscle=0.65, skin=0.9,
        vessel=0.5, texture=-0.6, noise=0.035, scale=360.0,
    ),
}  # fmt: skip


def signal(role: str, head: Head, tumour: Tumour, seed: int) -> Field:
    """Return the noiseless signal on the head's grid, with the bias field; white matter is about 1."""
    sequence = SEQUENCES[role]
    around = _outside_brain(sequence)[head.tissue] * (1.0 + 0.12 * smooth_noise((seed, 34), HEAD_SHAPE, 9.0))
    inside = head.tissue == Tissue.BRAIN
    brain = sequence.csf + head.gm * (sequence.gm - sequence.csf) + head.wm * (1.0 - sequence.csf)
    brain += sequence.texture * head.texture * (head.gm + head.wm)
    image = ndimage.gaussian_filter(np.where(inside, brain, around), 0.45, truncate=3.0)
    image = _with_tumour(image, sequence, tumour, seed)
    image *= 1.0 + 0.02 * smooth_noise((seed, 30), HEAD_SHAPE, 4.0) + 0.03 * smooth_noise((seed, 31), HEAD_SHAPE, 25.0)
    return np.asarray(image * _bias(role, seed), np.float32)


def _outside_brain(sequence: Sequence) -> Field:
    """Return the signal of each `Tissue` by its value."""
    table = np.zeros(len(Tissue), np.float32)
    for tissue, value in (
        (Tissue.CSF, sequence.csf),
        (Tissue.DURA, sequence.dura),
        (Tissue.BONE, 0.12),
        (Tissue.MARROW, sequence.marrow),
        (Tissue.FAT, sequence.fat),
        (Tissue.MUSCLE, sequence.muscle),
        (Tissue.SKIN, sequence.skin),
        (Tissue.VITREOUS, sequence.csf),
        (Tissue.VESSEL, sequence.vessel),
    ):
        table[tissue] = value
    return table


def _with_tumour(image: Field, sequence: Sequence, tumour: Tumour, seed: int) -> Field:
    if not tumour.labels.any():
        return image
    extent = ndimage.find_objects((tumour.labels > 0).astype(np.uint8))[0]
    box = tuple(slice(max(s.start - 5, 0), s.stop + 5) for s in extent)
    labels, part = tumour.labels[box], image[box]
    patchy = smooth_noise((seed, 32), part.shape, 6.0)
    edema = ndimage.gaussian_filter(tumour.infiltration[box] * (labels == ED), 0.8)
    water = 1.0 + 0.08 * patchy  # more water is darker on T1 and brighter on T2
    part += edema * 0.85 * (1.0 + (sequence.ed - 1.0) * water - part)
    for label, value, variation, softness in ((ET, sequence.et, 0.14, 0.6), (NCR, sequence.ncr, 0.08, 0.8)):
        weight = ndimage.gaussian_filter((labels == label).astype(np.float32), softness)
        part += weight * (value * (1.0 + variation * patchy) - part)
    return image


def _bias(role: str, seed: int) -> Field:
    """Return the receive bias field: a few per cent over the head, and less signal at the neck, where the coil ends."""
    x, y, z = (axis / np.float32(100.0) for axis in axis_coordinates_mm())
    a, b, c, d = np.random.default_rng((seed, 33, len(role))).uniform(-0.10, 0.10, 4).astype(np.float32)
    field = np.exp(a * x + b * y + c * z + d * (x * y - z * z))
    return np.asarray(field / (1.0 + np.exp(-(z + 1.05) / 0.06)), np.float32)
