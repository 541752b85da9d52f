"""Labels of a label map: FreeSurfer's for the brain, those of SynthSeg's maps around it, and our own.

The label maps of whole heads are those on which SynthSeg was trained (Billot et al. 2023, Medical Image Analysis
86:102789).
"""

from enum import StrEnum

__all__ = [
    "AIR",
    "BONE",
    "BRAIN_TISSUES",
    "CAVITY",
    "ENHANCING",
    "FLUID",
    "HIGHEST_LABEL",
    "IMPLANTED",
    "NECROSIS",
    "OEDEMA",
    "OPENED_SKULL",
    "OUTSIDE",
    "VENTRICLES",
    "WHITE_MATTER",
    "WHITE_MATTER_LESION",
    "Tissue",
]

AIR = 0

FLUID = 24
"""Around the brain and in its sulci."""

OUTSIDE = (500, 600)
"""Range of labels (first, end) outside the brain: skull, scalp, eyes, vessels and everything else."""

BONE = (511, 514)
"""Bone without marrow, which is dark in all common sequences."""

WHITE_MATTER = (2, 41)
VENTRICLES = (4, 43)

NECROSIS, OEDEMA, ENHANCING, CAVITY, OPENED_SKULL, WHITE_MATTER_LESION = 901, 902, 903, 904, 905, 906
"""Implanted by code. All but the opened skull are in the brain. The first three minus 900 are the labels 1, 2, 3 of a
`TumourShape`."""

IMPLANTED = 900
"""Labels above this one are implants."""

HIGHEST_LABEL = 999


class Tissue(StrEnum):
    """Tissues that have the same appearance within each sequence."""

    WHITE = "white matter"
    GREY = "grey matter"
    DEEP = "deep grey matter"
    FLUID = "fluid"


BRAIN_TISSUES: dict[Tissue, tuple[int, ...]] = {
    Tissue.WHITE: (2, 7, 16, 28, 41, 46, 60, 85),
    Tissue.GREY: (3, 8, 17, 18, 42, 47, 53, 54, 136, 137, 163, 164),
    Tissue.DEEP: (10, 11, 12, 13, 26, 30, 49, 50, 51, 52, 58, 62),
    Tissue.FLUID: (4, 5, 14, 15, 24, 25, 43, 44, 57, 72),
}
"""Every label of the brain with its tissue, left and right together."""
